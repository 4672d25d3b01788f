//! The standby thread: it sees to connections while every core is inside the application.
//!
//! It never runs the application. What it does is decided by [`Judge`], a pure function of what the cores do: it looks
//! once a tick while they run, calls a parked core when those that run do not come back, takes the polling over when
//! there is none, and sleeps while a core waits for events, who will see them first.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};
use std::time::Duration;

use ruwsgi_sys::clock;
use ruwsgi_sys::epoll::Event;
use ruwsgi_sys::notify;

use crate::driver::Standby;
use crate::engine::{Engine, What};

/// How long a request may run until others are seen to.
const TICK: Duration = Duration::from_millis(1);
/// After so many calm ticks the standby sleeps.
const CALM: u32 = 4;
/// After so many ticks in which every request was quick, cores call no successors any more.
const QUICK: u32 = 200;
/// How many times a pass asks for more events, [`BATCH`](ruwsgi_sys::epoll::BATCH) at a time.
const ROUNDS: u32 = 4;
/// How many connections of a listener one pass accepts.
const ACCEPTED: u32 = 16;

/// What the standby sees of the cores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'v> {
    /// One of them waits for events.
    pub led: bool,
    /// So many are parked.
    pub parked: usize,
    /// So many have something to do and wait until the language lets them.
    pub held: usize,
    /// Of each: odd while a request is inside the application, and another number for each request.
    pub epochs: &'v [u64],
}

/// What it does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Move {
    /// Look again after a tick.
    Look,
    /// Sleep until the core that waits for events has one.
    Sleep,
    /// Call a parked core, and look again after a tick.
    Promote,
    /// See to the connections.
    TakeOver,
}

/// Decides about the moves of the standby.
pub(crate) struct Judge {
    seen: Vec<u64>,
    held: usize,
    calm: u32,
    quick: u32,
}

impl Judge {
    pub(crate) fn new(cores: usize) -> Self {
        Self { seen: vec![0; cores], held: 0, calm: 0, quick: 0 }
    }

    pub(crate) fn decide(&mut self, view: View<'_>) -> Move {
        let mut stuck = 0;
        for (seen, now) in self.seen.iter_mut().zip(view.epochs) {
            stuck += usize::from(now % 2 == 1 && *seen == *now);
            *seen = *now;
        }
        stuck += self.held.min(view.held);
        self.held = view.held;
        self.quick = if stuck > 0 { 0 } else { self.quick.saturating_add(1) };
        if view.led {
            self.calm += 1;
            if self.calm < CALM {
                return Move::Look;
            }
            self.calm = 0;
            return Move::Sleep;
        }
        self.calm = 0;
        match view.epochs.len().saturating_sub(view.parked) {
            running if stuck < running => Move::Look,
            _ if view.parked > 0 => Move::Promote,
            _ => Move::TakeOver,
        }
    }

    /// Every request was quick for a while.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick >= QUICK
    }
}

/// Where the standby waits.
pub(crate) struct Bed {
    /// It sleeps until a core that has waited for events comes back.
    asleep: AtomicBool,
    /// It waits for events itself, until any core is back.
    watching: AtomicBool,
    bell: notify::Event,
    thread: OnceLock<Thread>,
}

impl Bed {
    pub(crate) fn new() -> io::Result<Self> {
        let (asleep, watching) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { asleep, watching, bell: notify::Event::new()?, thread: OnceLock::new() })
    }

    /// A core that has waited for events has one.
    pub(crate) fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            self.call();
        }
    }

    /// A core is out of the application: it takes events that the standby may not see then.
    pub(crate) fn relieve(&self) {
        // Between the epoch, which the core has just changed, and what it reads here.
        fence(Ordering::SeqCst);
        if self.watching.load(Ordering::Relaxed) && self.watching.swap(false, Ordering::Relaxed) {
            self.bell.raise();
        }
    }

    /// Wakes it in any case.
    pub(crate) fn call(&self) {
        self.bell.raise();
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Engine<'_> {
    /// The life of the standby.
    pub(crate) fn stand_by(&self) {
        if let Err(error) = ruwsgi_sys::signal::block_in_this_thread() {
            tracing::warn!("the standby thread can't leave signals to others: {error}");
        }
        let _ = self.bed.thread.set(thread::current());
        let mut judge = Judge::new(self.cores);
        let mut driver = Standby::new();
        while !self.crew.is_over() {
            let epochs = self.epochs();
            let crew = &self.crew;
            let view = View { led: crew.is_led(), parked: crew.parked(), held: crew.held(), epochs: &epochs };
            let decided = judge.decide(view);
            if judge.is_quick() {
                self.crew.set_eager(false);
            }
            match decided {
                Move::Look => thread::park_timeout(TICK),
                Move::Sleep => self.sleep(),
                Move::Promote => {
                    self.crew.set_eager(true);
                    self.crew.promote();
                    thread::park_timeout(TICK);
                }
                Move::TakeOver => self.take_over(&mut driver, &epochs),
            }
        }
    }

    fn epochs(&self) -> Vec<u64> {
        (0..self.cores).map(|core| self.seat.core(core).epoch()).collect()
    }

    fn sleep(&self) {
        self.bed.asleep.store(true, Ordering::SeqCst);
        // A core that comes back after this looks at `asleep`, so no event is missed.
        if self.crew.is_led() && !self.crew.is_over() {
            thread::park();
        }
        self.bed.asleep.store(false, Ordering::SeqCst);
    }

    /// One pass over what there is to do, then a wait for more: nothing ticks through a long request.
    fn take_over(&self, driver: &mut Standby, epochs: &[u64]) {
        let calm = self.pass(driver);
        self.flush_logs();
        let now_ms = clock::coarse_ms();
        if now_ms >= self.next_tick_ms.load(Ordering::Relaxed) {
            self.tick(driver, now_ms);
            self.drop_stale(driver, now_ms);
        }
        // What is left for cores keeps epoll readable.
        if !calm || !self.ring.is_empty() {
            return thread::park_timeout(TICK);
        }
        self.bed.watching.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.epochs() == epochs && !self.crew.is_over() {
            let patience = self.patience(false).unwrap_or(1000);
            if let Err(error) = self.epoll.watch(self.bed.bell.as_fd(), patience) {
                tracing::error!("epoll: {error}");
                thread::park_timeout(TICK);
            }
        }
        self.bed.watching.store(false, Ordering::Relaxed);
        self.bed.bell.take();
    }

    /// Sees to events until there are none, or a core is back. `false`: some are left alone.
    fn pass(&self, driver: &mut Standby) -> bool {
        self.send_off(driver);
        let mut left = false;
        for _ in 0..ROUNDS {
            let mut next = self.ring.next(&self.epoll);
            let mut seen = false;
            while let Some(event) = next {
                let is_left = !self.see_to(driver, event);
                left |= is_left;
                seen |= !is_left;
                if self.crew.is_led() {
                    // What is still in the ring is for the core that waits for events.
                    self.nudge();
                    return !left;
                }
                next = self.ring.pop();
            }
            if !seen {
                break;
            }
        }
        driver.left = left;
        !left
    }

    /// `false`: it is for others, who will see it too. Unless they have not done so for a tick: the one of them who was
    /// woken for it may be this worker, or gone.
    fn see_to(&self, driver: &mut Standby, event: Event) -> bool {
        match self.what(event) {
            What::Parcel => {
                if driver.left && self.scoreboard.has_idle() {
                    self.stir(driver, 1);
                }
                false
            }
            What::Door(_) if self.is_past_help() || (!driver.left && self.scoreboard.has_idle()) => false,
            What::Door(door) => {
                for _ in 0..ACCEPTED {
                    if !self.accept_one(driver, door) {
                        break;
                    }
                }
                true
            }
            what => {
                self.dispatch(driver, what, event);
                true
            }
        }
    }

    /// Refuses what has been under way between workers for too long: nobody else looks at it before a core is free.
    fn drop_stale(&self, driver: &mut Standby, now_ms: u64) {
        let is_stale = |since| crate::queue::is_stale(since, now_ms, self.rules.queue_timeout_ms);
        while self.handover.oldest_ms().is_some_and(is_stale) && self.receive(driver) {}
    }

    /// Wakes the core that waits for events, if one does: there is work that epoll does not know of.
    pub(crate) fn nudge(&self) {
        if self.crew.is_led() {
            self.nudged.raise();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(led: bool, parked: usize, epochs: &[u64]) -> View<'_> {
        View { led, parked, held: 0, epochs }
    }

    #[test]
    fn a_core_that_waits_for_the_language_is_stuck_too() {
        let mut judge = Judge::new(2);
        let view = |held| View { led: false, parked: 0, held, epochs: &[1, 0] };
        let moves = [1, 0, 1, 1].map(|held| judge.decide(view(held)));
        assert_eq!(moves, [Move::Look, Move::Look, Move::Look, Move::TakeOver]);
    }

    #[test]
    fn a_request_is_stuck_when_it_is_the_same_one_a_tick_later() {
        let mut judge = Judge::new(1);
        assert_eq!(judge.decide(view(false, 0, &[1])), Move::Look);
        assert_eq!(judge.decide(view(false, 0, &[1])), Move::TakeOver);
        assert_eq!(judge.decide(view(false, 0, &[1])), Move::TakeOver);
        assert_eq!(judge.decide(view(false, 0, &[3])), Move::Look);
        assert_eq!(judge.decide(view(false, 0, &[4])), Move::Look);
        assert_eq!(judge.decide(view(false, 0, &[4])), Move::Look);
    }

    #[test]
    fn parked_cores_are_called_before_the_standby_does_it_itself() {
        let mut judge = Judge::new(3);
        judge.decide(view(false, 2, &[1, 0, 0]));
        assert_eq!(judge.decide(view(false, 2, &[1, 0, 0])), Move::Promote);
        assert_eq!(judge.decide(view(false, 1, &[1, 1, 0])), Move::Look);
        assert_eq!(judge.decide(view(false, 1, &[1, 1, 0])), Move::Promote);
        assert_eq!(judge.decide(view(false, 0, &[1, 1, 7])), Move::Look);
        assert_eq!(judge.decide(view(false, 0, &[1, 1, 7])), Move::TakeOver);
        assert_eq!(judge.decide(view(false, 0, &[1, 2, 7])), Move::Look);
    }

    #[test]
    fn it_sleeps_only_while_a_core_waits_for_events() {
        let mut judge = Judge::new(2);
        for _ in 0..3 {
            assert_eq!(judge.decide(view(true, 0, &[1, 0])), Move::Look);
        }
        assert_eq!(judge.decide(view(true, 0, &[1, 0])), Move::Sleep);
        assert_eq!(judge.decide(view(true, 0, &[1, 0])), Move::Look);
        for epoch in 0..1000 {
            assert_ne!(judge.decide(view(false, 0, &[epoch, 2 * epoch])), Move::Sleep);
        }
    }

    #[test]
    fn requests_are_quick_again_after_a_while() {
        let mut judge = Judge::new(1);
        for epoch in 0..u64::from(QUICK) {
            assert!(!judge.is_quick());
            judge.decide(view(false, 0, &[epoch]));
        }
        assert!(judge.is_quick());
        judge.decide(view(false, 0, &[7]));
        judge.decide(view(false, 0, &[7]));
        assert!(!judge.is_quick());
    }
}
