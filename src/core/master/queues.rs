//! The listen queues: who comes while one is full is turned away by the kernel, and nobody else would say so.

use std::rc::Rc;

use super::event::Event;
use crate::listeners::Bound;

/// How often they are looked at, in milliseconds.
const PERIOD_MS: u64 = 1_000;
/// How often one that stays full is told again, in milliseconds.
const AGAIN_MS: u64 = 30_000;

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Queues {
    next_ms: u64,
    times_full: u64,
    full: Vec<Full>,
}

/// One that is full.
#[derive(Debug)]
struct Full {
    name: String,
    since_ms: u64,
    told_ms: u64,
    /// It was not full when it was looked at last.
    relieved: bool,
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

    /// Looks, if it is time; what people must know. `limit`: who says how long they are.
    pub(super) fn look(&mut self, now_ms: u64, listeners: &[Rc<Bound>], limit: &str) -> Vec<Event> {
        if now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms = now_ms + PERIOD_MS;
        let seen = listeners.iter().map(|bound| {
            let (waiting, most) = bound.queue();
            (bound.name().1.to_owned(), waiting, most)
        });
        self.judge(now_ms, seen.collect(), limit)
    }

    /// A queue that fills is told at once, and once in a while as long as it is full; that it has room again, when it has
    /// had so twice in a row.
    fn judge(&mut self, now_ms: u64, seen: Vec<(String, u32, u32)>, limit: &str) -> Vec<Event> {
        let mut events = Vec::new();
        for (name, waiting, most) in seen {
            let known = self.full.iter().position(|full| full.name == name);
            if most == 0 || waiting < most {
                if let Some(index) = known
                    && std::mem::replace(&mut self.full[index].relieved, true)
                {
                    let Full { since_ms, .. } = self.full.swap_remove(index);
                    events.push(Event::QueueRelieved { name, after_ms: now_ms - since_ms });
                }
                continue;
            }
            self.times_full += 1;
            let index = known.unwrap_or_else(|| {
                self.full.push(Full { name: name.clone(), since_ms: now_ms, told_ms: 0, relieved: false });
                self.full.len() - 1
            });
            let full = &mut self.full[index];
            full.relieved = false;
            if full.told_ms == 0 || now_ms >= full.told_ms + AGAIN_MS {
                full.told_ms = now_ms;
                let for_ms = now_ms - full.since_ms;
                events.push(Event::QueueFull { name, waiting, most, for_ms, limit: limit.to_owned() });
            }
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_stays_full_is_told_now_and_then() {
        let mut queues = Queues::default();
        let mut told = Vec::new();
        for second in 1..=100_u64 {
            let waiting = if second <= 70 { 11 } else { 3 };
            let seen = vec![(":80".to_owned(), waiting, 10), ("/sock".to_owned(), 0, 0)];
            let events = queues.judge(second * 1_000, seen, "listen = 10");
            told.extend(events.into_iter().map(|event| (second, event.to_string())));
        }
        let full = |more: &str| {
            let head = "listen queue of socket \":80\" full (11/10): clients are turned away";
            format!("{head}{more}; see listen = 10")
        };
        let expected = [
            (1, full("")),
            (31, full(" for 30 s")),
            (61, full(" for 60 s")),
            (72, "listen queue of socket \":80\" has room again after 71 s".to_owned()),
        ];
        assert_eq!(told, expected);
        assert_eq!(queues.times_full(), 70);
    }

    #[test]
    fn one_that_is_full_now_and_then_is_told_once() {
        let mut queues = Queues::default();
        let full = |second: u64| vec![(":80".to_owned(), 10 * u32::from(second.is_multiple_of(2)), 10)];
        let told: usize = (1..=20).map(|second| queues.judge(second * 1_000, full(second), "").len()).sum();
        assert_eq!(told, 1);
    }
}
