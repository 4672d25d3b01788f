//! Traces of load for the tests of the algorithms: requests that would be served at a time, second by second, by workers
//! with one core each.

pub(super) use super::usual as rules;
use super::{Algorithm, Cheaper};
use crate::master::order::{Load, Work};

pub(super) struct Trace {
    algorithm: Box<dyn Algorithm>,
    rules: Cheaper,
    most: u32,
    pub workers: u32,
    second: u64,
    done: Vec<(u64, u64)>,
}

impl Trace {
    pub(super) fn new(algorithm: Box<dyn Algorithm>, rules: Cheaper, most: u32) -> Self {
        let done = vec![(0, 0); most as usize + 1];
        Self { algorithm, workers: rules.initial, rules, most, second: 0, done }
    }

    /// Plays so many seconds with so many requests at a time in each; how many workers there are then.
    pub(super) fn seconds(&mut self, count: u64, wanted: impl Fn(u64) -> u32) -> u32 {
        for _ in 0..count {
            self.second += 1;
            let wanted = wanted(self.second);
            let mut load = Load { backlog: wanted.saturating_sub(self.workers), ..Load::default() };
            for slot in 1..=self.workers {
                let busy = slot <= wanted;
                let (requests, running_us) = &mut self.done[slot as usize];
                if busy {
                    *requests += 10;
                    *running_us += 1_000_000;
                }
                let (requests, running_us) = (*requests, *running_us);
                load.workers.insert(slot, Work { busy, idle: !busy, requests, running_us, resident: 0 });
            }
            if let Some((change, why)) = self.algorithm.advise(&load, &self.rules, self.most) {
                assert!(!why.is_empty());
                let workers = i64::from(self.workers) + i64::from(change);
                self.workers = workers.clamp(self.rules.least.into(), self.most.into()) as u32;
            }
        }
        self.workers
    }
}
