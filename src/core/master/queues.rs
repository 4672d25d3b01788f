//! The listen queues: who comes while one is full is turned away by the kernel, and nobody else would say so.

use std::rc::Rc;

use super::event::Event;
use crate::listeners::Bound;

/// How often they are looked at, in milliseconds.
const PERIOD_MS: u64 = 1_000;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Queues {
    next_ms: u64,
    times_full: u64,
}

impl Queues {
    /// When to look again.
    pub(super) fn wake_ms(&self) -> u64 {
        self.next_ms
    }

    /// How often a queue was found full.
    pub(super) fn times_full(&self) -> u64 {
        self.times_full
    }

    /// Looks, if it is time; what people must know.
    pub(super) fn look(&mut self, now_ms: u64, listeners: &[Rc<Bound>]) -> Vec<Event> {
        if now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms = now_ms + PERIOD_MS;
        let full = |bound: &Rc<Bound>| {
            let (waiting, most) = bound.queue();
            let name = bound.name().1.to_owned();
            (most > 0 && waiting >= most).then_some(Event::QueueFull { name, waiting, most })
        };
        let full: Vec<Event> = listeners.iter().filter_map(full).collect();
        self.times_full += full.len() as u64;
        full
    }
}
