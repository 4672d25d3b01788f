//! The standby thread: it sees to connections while every core is inside the application.
//!
//! It never runs the application. What it does is decided by [`Judge`], a pure function of what the cores do: it looks
//! once a tick while they run, calls a parked core when those that run do not come back, takes the polling over when
//! there is none, and sleeps while a core waits for events, who will see them first.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use ruwsgi_sys::clock;
use ruwsgi_sys::epoll::Event;

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
    calm: u32,
    quick: u32,
}

impl Judge {
    pub(crate) fn new(cores: usize) -> Self {
        Self { seen: vec![0; cores], calm: 0, quick: 0 }
    }

    pub(crate) fn decide(&mut self, view: View<'_>) -> Move {
        let mut stuck = 0;
        for (seen, now) in self.seen.iter_mut().zip(view.epochs) {
            stuck += usize::from(now % 2 == 1 && *seen == *now);
            *seen = *now;
        }
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

/// Where the standby sleeps.
#[derive(Default)]
pub(crate) struct Bed {
    asleep: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Bed {
    /// Wakes the standby if it sleeps: a core that has waited for events has one.
    pub(crate) fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            self.call();
        }
    }

    /// Wakes it in any case.
    pub(crate) fn call(&self) {
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
        let mut epochs = vec![0; self.cores];
        while !self.crew.is_over() {
            for (core, epoch) in epochs.iter_mut().enumerate() {
                *epoch = self.seat.core(core).epoch();
            }
            let view = View { led: self.crew.is_led(), parked: self.crew.parked(), epochs: &epochs };
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
                Move::TakeOver => self.take_over(&mut driver),
            }
        }
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
    fn take_over(&self, driver: &mut Standby) {
        let mut calm = self.pass(driver);
        self.log.flush();
        let now_ms = clock::coarse_ms();
        if now_ms >= self.next_tick_ms.load(Ordering::Relaxed) {
            self.tick(driver, now_ms);
            self.drop_stale(driver, now_ms);
        }
        calm &= self.ring.is_empty();
        // What is left for cores keeps epoll readable.
        if !calm || self.epoll.watch(self.patience(false).unwrap_or(1000)).is_err() {
            thread::park_timeout(TICK);
        }
    }

    /// Sees to events until there are none, or a core is back. `false`: some are left alone.
    fn pass(&self, driver: &mut Standby) -> bool {
        let mut calm = true;
        self.send_off();
        for _ in 0..ROUNDS {
            let mut next = self.ring.next(&self.epoll);
            let mut seen = 0;
            let mut left = 0;
            while let Some(event) = next {
                seen += 1;
                left += u32::from(!self.see_to(driver, event));
                if self.crew.is_led() {
                    // What is still in the ring is for the core that waits for events.
                    self.nudge();
                    return calm;
                }
                next = self.ring.pop();
            }
            calm &= left == 0;
            if seen == left {
                break;
            }
        }
        calm
    }

    /// `false`: it is for others, who will see it too.
    fn see_to(&self, driver: &mut Standby, event: Event) -> bool {
        match self.what(event) {
            What::Parcel => false,
            // A sibling that is idle was woken for it.
            What::Door(_) if self.scoreboard.has_idle() => false,
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
        View { led, parked, epochs }
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
