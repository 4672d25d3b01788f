//! Requests that are ready while every core is inside the application: where they wait, and which of them are too many.
//!
//! The rule is a pure function. A queue of this worker holds what can't or need not travel; the rest is under way
//! between the workers (`handover.rs`), where whoever becomes free takes it first.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ruwsgi_sys::table::Token;

use crate::engine::lock;

/// So many requests are under way between workers at most: more would wait there no shorter than here, and here they can
/// be watched.
const UNDER_WAY: usize = 64;

/// What is known when a request is ready and no core is free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    /// Other workers that accept.
    pub siblings: usize,
    /// Requests under way between workers.
    pub under_way: usize,
    /// Requests that wait inside workers.
    pub waiting: usize,
    /// `request-queue`; 0: no limit.
    pub limit: u64,
}

/// Where such a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// To whoever is free first.
    Away,
    /// It stays with this worker.
    Here,
    /// Nowhere: the client is told to come again.
    Refused,
}

/// Decides about a request that is new.
pub(crate) fn place(view: View) -> Place {
    if view.limit > 0 && (view.under_way.saturating_add(view.waiting)) as u64 >= view.limit {
        return Place::Refused;
    }
    if may_travel(view) { Place::Away } else { Place::Here }
}

/// Decides about one that has its place in the queue already.
pub(crate) fn may_travel(view: View) -> bool {
    view.siblings > 0 && view.under_way < UNDER_WAY
}

/// A request that is ready at `since_ms` has waited too long; `timeout_ms` 0: never.
pub(crate) fn is_stale(since_ms: u64, now_ms: u64, timeout_ms: u64) -> bool {
    timeout_ms > 0 && now_ms.saturating_sub(since_ms) >= timeout_ms
}

/// The queue of one worker: connections whose request is ready, the longest waiting first.
#[derive(Default)]
pub(crate) struct Queue {
    tokens: Mutex<VecDeque<Token>>,
    count: AtomicUsize,
}

impl Queue {
    /// Looking at an empty queue costs one load.
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn push(&self, token: Token) {
        let mut tokens = lock(&self.tokens);
        tokens.push_back(token);
        self.count.store(tokens.len(), Ordering::SeqCst);
    }

    /// Back to where it was.
    pub(crate) fn put_back(&self, token: Token) {
        let mut tokens = lock(&self.tokens);
        tokens.push_front(token);
        self.count.store(tokens.len(), Ordering::SeqCst);
    }

    pub(crate) fn pop(&self) -> Option<Token> {
        if self.is_empty() {
            return None;
        }
        let mut tokens = lock(&self.tokens);
        let token = tokens.pop_front();
        self.count.store(tokens.len(), Ordering::SeqCst);
        token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(siblings: usize, under_way: usize, waiting: usize, limit: u64) -> View {
        View { siblings, under_way, waiting, limit }
    }

    #[test]
    fn a_request_goes_where_it_is_served_first() {
        assert_eq!(place(view(3, 0, 0, 10)), Place::Away);
        assert_eq!(place(view(0, 0, 0, 10)), Place::Here);
        assert_eq!(place(view(3, UNDER_WAY, 0, 1000)), Place::Here);
        assert_eq!(place(view(3, 4, 6, 10)), Place::Refused);
        assert_eq!(place(view(0, 0, 10, 10)), Place::Refused);
        assert_eq!(place(view(3, UNDER_WAY, usize::MAX, 0)), Place::Here);
    }

    /// Workers with one core each; requests become ready, and cores become free, as chance has it.
    #[test]
    fn no_request_waits_in_a_worker_while_another_worker_is_free() {
        for seed in 1..200_u64 {
            let mut chance = crate::chance::of(seed);
            let workers = 2 + chance(4) as usize;
            let limit = 1 + chance(200);
            let (mut busy, mut here, mut away) = (vec![true; workers], vec![0_usize; workers], 0_usize);
            let (mut made, mut served, mut refused) = (0_u64, 0_u64, 0_u64);
            for _ in 0..400 {
                let worker = chance(workers as u64) as usize;
                if chance(3) > 0 && busy[worker] {
                    made += 1;
                    let view = view(workers - 1, away, here.iter().sum(), limit);
                    match place(view) {
                        Place::Away => away += 1,
                        Place::Here => here[worker] += 1,
                        Place::Refused => refused += 1,
                    }
                } else {
                    busy[worker] = false;
                }
                // Whoever is free looks at what is under way first, then at its own queue.
                for worker in 0..workers {
                    let queue = if away > 0 { &mut away } else { &mut here[worker] };
                    if !busy[worker] && *queue > 0 {
                        *queue -= 1;
                        served += 1;
                        busy[worker] = true;
                    }
                }
                let waiting: usize = here.iter().sum();
                assert!(away == 0 || busy.iter().all(|busy| *busy), "a request is under way and a core is free");
                assert!(away <= UNDER_WAY && (away + waiting) as u64 <= limit);
                assert_eq!(made, served + refused + (away + waiting) as u64);
            }
        }
    }

    #[test]
    fn a_request_is_stale_at_its_time_and_not_before() {
        assert!(!is_stale(100, 159, 60) && is_stale(100, 160, 60));
        assert!(!is_stale(100, u64::MAX, 0) && !is_stale(100, 50, 60));
    }
}
