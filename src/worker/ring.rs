//! Events that were taken from epoll and by nobody yet, and the cores that share them.
//!
//! One core at a time leads: it blocks in `epoll_wait`. It goes on leading while it runs fast requests, which costs no
//! wake-up; the others are parked until somebody calls one of them: the standby, when those that run do not come back,
//! or from then on each core before it enters the application.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};

use ruwsgi_sys::epoll::{BATCH, Epoll, Event};

use crate::engine::lock;

/// The events. Its lock covers nothing that blocks.
pub(crate) struct Ring(Mutex<Waiting>);

struct Waiting {
    events: VecDeque<Event>,
    /// Of connections that have had their turn and have more to do: others come first, and those are in epoll.
    later: VecDeque<Event>,
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Waiting { events: VecDeque::with_capacity(BATCH), later: VecDeque::new() }))
    }

    /// The next event: of those that wait here, or of those that epoll has just now.
    pub(crate) fn next(&self, epoll: &Epoll) -> Option<Event> {
        let Waiting { events, later } = &mut *lock(&self.0);
        if events.is_empty() {
            // An error here is one of the arguments, which are ours: blocking tells it again.
            let _ = epoll.wait(Some(0), |event| events.push_back(event));
            if !later.is_empty() {
                events.append(later);
            }
        }
        events.pop_front()
    }

    /// The next of those that wait here and have not had their turn.
    pub(crate) fn pop(&self) -> Option<Event> {
        lock(&self.0).events.pop_front()
    }

    pub(crate) fn push(&self, event: Event) {
        lock(&self.0).events.push_back(event);
    }

    /// Puts an event behind those that epoll has by the time that all others are taken.
    pub(crate) fn push_later(&self, event: Event) {
        let later = &mut lock(&self.0).later;
        // epoll tells of the same connection while it waits here: its turns are not to multiply.
        if later.iter().all(|other| other.token != event.token) {
            later.push_back(event);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        let waiting = lock(&self.0);
        waiting.events.is_empty() && waiting.later.is_empty()
    }
}

/// The cores, as far as they wait.
#[derive(Default)]
pub(crate) struct Crew {
    /// One of them blocks in `epoll_wait`, or is about to.
    leading: AtomicBool,
    parked: Mutex<Vec<Thread>>,
    /// How many are parked.
    count: AtomicUsize,
    /// A core calls its successor before it enters the application.
    eager: AtomicBool,
    /// So many have an event and wait until the language lets them run.
    held: AtomicUsize,
    /// Everything is done: nobody waits any more.
    over: AtomicBool,
}

impl Crew {
    /// Takes the lead. `false`: another core has it, and this one was parked until it was called.
    pub(crate) fn lead(&self) -> bool {
        let mut parked = lock(&self.parked);
        if self.is_over() {
            return false;
        }
        if !self.leading.swap(true, Ordering::SeqCst) {
            return true;
        }
        let own = thread::current();
        let id = own.id();
        parked.push(own);
        self.count.store(parked.len(), Ordering::Relaxed);
        loop {
            drop(parked);
            thread::park();
            parked = lock(&self.parked);
            if parked.iter().all(|thread| thread.id() != id) {
                return false;
            }
        }
    }

    /// Gives the lead back.
    pub(crate) fn follow(&self) {
        self.leading.store(false, Ordering::SeqCst);
    }

    /// Somebody blocks in `epoll_wait`, or is about to.
    pub(crate) fn is_led(&self) -> bool {
        self.leading.load(Ordering::SeqCst)
    }

    pub(crate) fn parked(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Waits for the language.
    pub(crate) fn hold(&self, wait: impl FnOnce()) {
        self.held.fetch_add(1, Ordering::Relaxed);
        wait();
        self.held.fetch_sub(1, Ordering::Relaxed);
    }

    /// Calls one that is parked.
    pub(crate) fn promote(&self) {
        let mut parked = lock(&self.parked);
        let called = parked.pop();
        self.count.store(parked.len(), Ordering::Relaxed);
        drop(parked);
        if let Some(thread) = called {
            thread.unpark();
        }
    }

    /// Requests take long: who enters the application leaves nobody waiting.
    pub(crate) fn set_eager(&self, eager: bool) {
        self.eager.store(eager, Ordering::Relaxed);
    }

    /// To be called before the application is.
    pub(crate) fn call_successor(&self) {
        if self.eager.load(Ordering::Relaxed) && self.parked() > 0 && !self.is_led() {
            self.promote();
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Sends everybody home.
    pub(crate) fn dismiss(&self) {
        self.over.store(true, Ordering::Relaxed);
        while self.parked() > 0 {
            self.promote();
        }
        // Who looked before it was over has parked by now, or is about to under this lock.
        let mut parked = lock(&self.parked);
        for thread in parked.drain(..) {
            thread.unpark();
        }
        self.count.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::fd::AsFd;

    use ruwsgi_sys::epoll::Interest;
    use ruwsgi_sys::notify;

    #[test]
    fn who_has_more_to_do_comes_behind_what_epoll_has() {
        let event = |token| Event { token, readable: true, writable: false, closed: true };
        let (ring, epoll, came) = (Ring::new(), Epoll::new().unwrap(), notify::Event::new().unwrap());
        epoll.add(came.as_fd(), 7, Interest::Level).unwrap();
        let next = || ring.next(&epoll).map(|event| event.token);
        for token in [1, 2, 1] {
            ring.push_later(event(token));
        }
        ring.push(event(3));
        came.raise();
        assert_eq!([(); 2].map(|()| next()), [Some(3), Some(7)]);
        // Its next turn is behind what comes meanwhile.
        assert_eq!(next(), Some(1));
        ring.push_later(event(1));
        assert_eq!(ring.pop().map(|event| event.token), Some(2));
        assert!(ring.pop().is_none() && !ring.is_empty());
        assert_eq!([(); 2].map(|()| next()), [Some(7), Some(1)]);
        came.take();
        assert!(next().is_none() && ring.is_empty());
    }

    #[test]
    fn one_leads_and_the_others_come_when_they_are_called() {
        let crew = Crew::default();
        assert!(crew.lead() && crew.is_led());
        thread::scope(|scope| {
            let second = scope.spawn(|| crew.lead());
            while crew.parked() == 0 {
                thread::yield_now();
            }
            crew.follow();
            crew.promote();
            assert!(!second.join().unwrap(), "it was called to look, not to lead");
            assert!(crew.lead());
            let third = scope.spawn(|| crew.lead());
            while crew.parked() == 0 {
                thread::yield_now();
            }
            crew.dismiss();
            assert!(!third.join().unwrap());
            assert!(!crew.lead());
        });
    }

    #[test]
    fn a_successor_is_called_only_where_requests_take_long_and_nobody_waits_for_events() {
        let crew = Crew::default();
        assert!(crew.lead());
        thread::scope(|scope| {
            let second = scope.spawn(|| crew.lead());
            while crew.parked() == 0 {
                thread::yield_now();
            }
            crew.follow();
            crew.call_successor();
            assert_eq!(crew.parked(), 1);
            crew.set_eager(true);
            assert!(crew.lead());
            crew.call_successor();
            assert_eq!(crew.parked(), 1);
            crew.follow();
            crew.call_successor();
            assert!(!second.join().unwrap());
        });
    }
}
