//! A worker, as the plan knows it: from the order to fork it until it is reaped.

use crate::master::event::{Who, Why};

/// How long after a worker's channel was closed its end may still be under way.
pub(super) const DEAF_MS: u64 = 1_000;
/// How often an order to kill is repeated, until the dead one is reaped.
pub(super) const KILL_AGAIN_MS: u64 = 1_000;
/// How long a zygote may take to fork.
pub(super) const FORK_MS: u64 = 60_000;

/// A worker.
#[derive(Debug)]
pub(super) struct Worker {
    pub generation: u32,
    pub slot: u32,
    pub seat: u32,
    /// Known from its birth on.
    pub pid: Option<i32>,
    pub state: State,
    pub asked_ms: u64,
    pub up_ms: Option<u64>,
    /// Its application sets deadlines of its own.
    pub deadlines: bool,
    /// It would like to be replaced.
    pub leaving: Option<Why>,
    /// Requests of it are past their deadline since then: it ends.
    pub expired_ms: Option<u64>,
    /// People were told that requests past their deadline are left alone.
    pub spared: bool,
    /// Its channel is closed since then.
    pub deaf_ms: Option<u64>,
    /// What it said before it failed: exit code and reason.
    pub failure: Option<(u8, String)>,
    /// It has answered requests: told when it is dead.
    pub of_use: bool,
}

/// What a worker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Ordered, born, loading: not yet accepting.
    Starting,
    /// Accepting.
    Up,
    /// Told to end when its requests are done.
    Draining { kill_at: u64 },
    /// Killed, or to be killed as soon as it is born; not yet reaped.
    Killed { again_at: u64 },
}

impl Worker {
    pub(super) fn new(generation: u32, slot: u32, seat: u32, now_ms: u64) -> Self {
        Self {
            generation,
            slot,
            seat,
            pid: None,
            state: State::Starting,
            asked_ms: now_ms,
            up_ms: None,
            deadlines: false,
            leaving: None,
            expired_ms: None,
            spared: false,
            deaf_ms: None,
            failure: None,
            of_use: false,
        }
    }

    pub(super) fn who(&self) -> Who {
        Who { slot: self.slot, pid: self.pid }
    }

    /// It counts as its slot's worker: nobody has told it to end.
    pub(super) fn stays(&self) -> bool {
        matches!(self.state, State::Starting | State::Up)
    }

    /// It serves, and would go on.
    pub(super) fn serves(&self) -> bool {
        self.state == State::Up && self.leaving.is_none()
    }
}
