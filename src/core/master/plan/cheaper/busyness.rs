//! `busyness`: how much of a window of `cheaper-overload` seconds the workers were inside requests. Above the upper bound
//! there are more workers; below the lower one for long enough, one fewer. Where the queue grows all the same, an
//! emergency brings more at once.

use std::collections::BTreeMap;

use super::{Advice, Algorithm, Cheaper, fewer, more};
use crate::master::order::Load;

/// What was seen in this window and before.
#[derive(Debug, Default)]
pub(super) struct Busyness {
    second: u32,
    /// Requests and time inside them, by slot, at the begin of the window.
    before: BTreeMap<u32, (u64, u64)>,
    /// Windows in a row below the lower bound.
    idle: u32,
    /// What is added to the multiplier, because workers were missed soon after they were ended.
    penalty: u32,
    /// Windows since the last worker ended; `None`: none has.
    since_fewer: Option<u32>,
    /// Seconds in a row in which somebody waited.
    waiting: u32,
    /// Workers that an emergency brought, and windows that they stay.
    emergency: (u32, u32),
}

impl Algorithm for Busyness {
    fn advise(&mut self, load: &Load, rules: &Cheaper, _: u32) -> Advice {
        if let Some(advice) = self.alarm(load, rules) {
            return Some(advice);
        }
        self.second += 1;
        if self.second < rules.overload.max(1) {
            return None;
        }
        self.second = 0;
        self.close_window(load, rules)
    }
}

impl Busyness {
    /// The queue tells what busyness can't: all are at work and more is to come.
    fn alarm(&mut self, load: &Load, rules: &Cheaper) -> Advice {
        let bounds = rules.busyness;
        self.waiting = if load.backlog > 0 { self.waiting + 1 } else { 0 };
        let long = bounds.backlog_nonzero > 0 && self.waiting >= bounds.backlog_nonzero;
        let (step, why) = match load.backlog {
            many if bounds.backlog_alert > 0 && many > bounds.backlog_alert => {
                (bounds.backlog_step, format!("{many} connections wait"))
            }
            _ if long => (1, format!("connections have waited for {} s", self.waiting)),
            _ => return None,
        };
        self.waiting = 0;
        self.idle = 0;
        self.emergency = (self.emergency.0 + step, bounds.backlog_multiplier);
        more(step, why)
    }

    fn close_window(&mut self, load: &Load, rules: &Cheaper) -> Advice {
        let bounds = rules.busyness;
        let busyness = self.busyness(load, rules);
        self.since_fewer = self.since_fewer.map(|windows| windows + 1);
        self.emergency.1 = self.emergency.1.saturating_sub(1);
        if busyness > bounds.most {
            // Ended too early: next time, wait longer.
            if self.since_fewer.take().is_some_and(|windows| windows <= bounds.multiplier) {
                self.penalty += bounds.penalty;
            }
            self.idle = 0;
            return more(rules.step, format!("busyness {busyness}%"));
        }
        if busyness >= bounds.least {
            self.idle = 0;
            return None;
        }
        self.idle += 1;
        if load.workers.len() as u32 <= rules.least {
            return None;
        }
        let patience = if self.emergency.0 > 0 && self.emergency.1 == 0 {
            // Whom only the emergency brought goes first, and sooner.
            self.emergency.0 -= 1;
            0
        } else {
            bounds.multiplier + self.penalty
        };
        if self.idle < patience {
            return None;
        }
        if self.since_fewer.is_some_and(|windows| windows > 3 * bounds.multiplier) {
            self.penalty = self.penalty.saturating_sub(bounds.penalty);
        }
        self.idle = 0;
        self.since_fewer = Some(0);
        fewer(format!("busyness {busyness}%"))
    }

    /// The mean of the workers, in percent.
    fn busyness(&mut self, load: &Load, rules: &Cheaper) -> u32 {
        let window_us = u64::from(rules.overload.max(1)) * 1_000_000;
        let percent = |(slot, work): (&u32, &_)| {
            let crate::master::order::Work { requests, running_us, busy, .. } = *work;
            let (requests_before, running_before) = self.before.get(slot).copied().unwrap_or((0, 0));
            if busy && requests == requests_before {
                // Inside a request for the whole window, of which nobody has counted the time yet.
                return 100;
            }
            // Less than before: another worker has the slot.
            let ran = if running_us >= running_before { running_us - running_before } else { running_us };
            (ran.saturating_mul(100) / window_us).min(100)
        };
        let sum: u64 = load.workers.iter().map(percent).sum();
        self.before = load.workers.iter().map(|(slot, work)| (*slot, (work.requests, work.running_us))).collect();
        u32::try_from(sum / (load.workers.len() as u64).max(1)).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Trace, rules};
    use super::*;

    #[test]
    fn the_share_of_time_decides() {
        let mut trace = Trace::new(Box::<Busyness>::default(), rules(), 10);
        assert_eq!(trace.seconds(30, |_| 0), 2);
        assert_eq!(trace.seconds(60, |_| 4), 8, "as many that four of them are the upper bound of a half");
        assert_eq!(trace.seconds(200, |_| 4), 8, "between the bounds nothing changes");
        assert_eq!(trace.seconds(600, |_| 0), 2);
    }

    #[test]
    fn a_queue_is_an_emergency() {
        let mut trace = Trace::new(Box::<Busyness>::default(), rules(), 10);
        assert_eq!(trace.seconds(2, |_| 60), 4, "one for each second in which so many wait");
    }

    #[test]
    fn who_is_missed_soon_is_ended_later_next_time() {
        let rules = Cheaper { overload: 1, ..rules() };
        let mut trace = Trace::new(Box::<Busyness>::default(), rules, 10);
        trace.seconds(20, |_| 4);
        let high = trace.workers;
        let ended = |trace: &mut Trace| (1..200).find(|_| trace.seconds(1, |_| 0) < high).unwrap_or(200);
        let first = ended(&mut trace);
        trace.seconds(8, |_| 9);
        trace.workers = high;
        let second = ended(&mut trace);
        assert!(second > first, "{first} then {second}");
    }
}
