//! How a router process listens to announcements: at once where somebody says something now and then. Where many do, it
//! does not wake up for each, but takes what they say in a moment together.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;

use mio::Registry;
use mio::unix::SourceFd;
use ruwsgi_sys::datagram::Batch;
use ruwsgi_sys::epoll;
use ruwsgi_wire::subscription::MOST_BYTES;

use super::ears::Heard;
use crate::subscription::Sender;

/// So many announcements come with one call, and so many calls before others are heard.
const TOGETHER: usize = 32;
const CALLS: usize = 2;
/// How long that moment is, in milliseconds.
const PAUSE_MS: u64 = 20;

/// The ears, and when they are used.
pub(super) struct Hearing {
    ears: Vec<Rc<Heard>>,
    batch: Batch,
    /// What events carry: this, and the number of the ear.
    token: usize,
    /// There may be something to hear, but not before `next_ms`.
    murmur: bool,
    next_ms: u64,
    /// When something was heard.
    last_ms: u64,
    /// They wake nobody.
    resting: bool,
}

impl Hearing {
    /// The processes of a router share the ears: each announcement wakes one of them.
    pub(super) fn new(ears: Vec<Rc<Heard>>, epoll: RawFd, token: usize) -> std::io::Result<Self> {
        // One byte more than there may be shows what is too large.
        let batch = Batch::new(if ears.is_empty() { 0 } else { TOGETHER }, MOST_BYTES + 1);
        let hearing = Self { ears, batch, token, murmur: true, next_ms: 0, last_ms: 0, resting: false };
        hearing.watch(epoll).map(|()| hearing)
    }

    fn watch(&self, epoll: RawFd) -> std::io::Result<()> {
        let watch =
            |(number, ear): (usize, &Rc<Heard>)| epoll::share(epoll, ear.ear.borrow().as_fd(), self.token + number);
        self.ears.iter().enumerate().try_for_each(watch)
    }

    fn rest(&mut self, registry: &Registry) {
        if !std::mem::replace(&mut self.resting, true) {
            for ear in &self.ears {
                // One that is not watched does not wake anybody.
                let _ = registry.deregister(&mut SourceFd(&ear.as_raw_fd()));
            }
        }
    }

    /// An event has come.
    pub(super) fn note(&mut self) {
        self.murmur = !self.ears.is_empty();
    }

    /// When to listen.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.murmur.then_some(self.next_ms)
    }

    /// Nothing is heard any more: the other processes are woken.
    pub(super) fn end(&mut self, registry: &Registry) {
        self.rest(registry);
        self.ears.clear();
        self.murmur = false;
    }

    /// Gives what there is to hear to `take`. An error says where.
    pub(super) fn listen(
        &mut self,
        (registry, epoll): (&Registry, RawFd),
        now_ms: u64,
        mut take: impl FnMut(&[u8], Sender),
    ) -> Result<(), String> {
        if !self.murmur || now_ms < self.next_ms {
            return Ok(());
        }
        // Also where this call ends early: ears that rest are not left so.
        (self.murmur, self.next_ms) = (true, now_ms + PAUSE_MS);
        let (mut count, mut more) = (0, false);
        for ear in &self.ears {
            let ear = ear.ear.borrow();
            for call in 1..=CALLS {
                let came = ear.receive(&mut self.batch, &mut take).map_err(|error| format!("{ear}: {error}"))?;
                count += came;
                if came < TOGETHER {
                    break;
                }
                more |= call == CALLS;
            }
        }
        let before_ms = self.last_ms;
        self.last_ms = if count > 0 { now_ms } else { before_ms };
        if more {
            self.next_ms = now_ms;
        } else if count > 0 && (self.resting || now_ms < before_ms + PAUSE_MS) {
            self.rest(registry);
        } else {
            if self.resting {
                // What has come meanwhile is an event.
                self.watch(epoll).map_err(|error| format!("epoll: {error}"))?;
            }
            (self.murmur, self.next_ms, self.resting) = (false, 0, false);
        }
        Ok(())
    }
}
