//! How many workers the load asks for: an algorithm looks once a second and says how many more or fewer.
//!
//! An algorithm is a file and a row in [`ALGORITHMS`]; it sees what the workers did and nothing else, so that its life is
//! played through in its own tests. Bounds, memory and who ends are the affair of `slots`.

mod backlog;
mod busyness;
mod manual;
mod spare;
mod spare2;
#[cfg(test)]
mod trace;

use std::fmt::Debug;

use crate::master::order::Load;

/// What is said about `cheaper`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cheaper {
    /// The least number of workers.
    pub least: u32,
    /// At the start.
    pub initial: u32,
    /// So many more at once.
    pub step: u32,
    /// How long something must last, in seconds, or how long the queue, in connections.
    pub overload: u32,
    /// For `spare2`: how long too many must have been idle, in seconds.
    pub idle_s: u32,
    /// Above this sum of resident memory, in bytes, there are no more; 0: no limit.
    pub soft_bytes: u64,
    /// Above this sum there are fewer; 0: no limit.
    pub hard_bytes: u64,
    /// The algorithm, a row of [`ALGORITHMS`].
    pub algorithm: usize,
    /// For `busyness`.
    pub busyness: Busyness,
}

/// What is said about `cheaper-busyness-*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busyness {
    /// Above this, in percent, there are more.
    pub most: u32,
    /// Below this, in percent, there are fewer, after a while ...
    pub least: u32,
    /// ... of so many windows.
    pub multiplier: u32,
    /// And so many more, where workers that were ended are missed soon.
    pub penalty: u32,
    /// So many connections that wait are an emergency.
    pub backlog_alert: u32,
    /// So many windows after which workers for an emergency may end.
    pub backlog_multiplier: u32,
    /// So many more in an emergency.
    pub backlog_step: u32,
    /// So many seconds with anybody waiting are an emergency, too; 0: they are not.
    pub backlog_nonzero: u32,
}

/// Advice: so many more (or fewer) workers, and why.
pub(crate) type Advice = Option<(i32, String)>;

/// Says how many workers the load asks for.
pub(crate) trait Algorithm: Debug {
    /// Called once a second. `most`: so many there may be.
    fn advise(&mut self, load: &Load, rules: &Cheaper, most: u32) -> Advice;
}

/// Makes an algorithm that has seen nothing yet.
type New = fn() -> Box<dyn Algorithm>;

/// All algorithms, by the names of `cheaper-algo`; the first is the usual one.
pub(crate) const ALGORITHMS: &[(&str, New)] = &[
    ("spare", || Box::<spare::Spare>::default()),
    ("spare2", || Box::<spare2::Spare2>::default()),
    ("backlog", || Box::<backlog::Backlog>::default()),
    ("manual", || Box::<manual::Manual>::default()),
    ("busyness", || Box::<busyness::Busyness>::default()),
];

/// So many of the workers have all their cores busy.
fn busy(load: &Load) -> usize {
    load.workers.values().filter(|work| work.busy).count()
}

fn more(count: u32, why: impl Into<String>) -> Advice {
    Some((i32::try_from(count).unwrap_or(i32::MAX), why.into()))
}

fn fewer(why: impl Into<String>) -> Advice {
    Some((-1, why.into()))
}

/// What uWSGI does where nobody says more than `cheaper = 2`.
#[cfg(test)]
pub(super) fn usual() -> Cheaper {
    Cheaper {
        least: 2,
        initial: 2,
        step: 1,
        overload: 3,
        idle_s: 10,
        soft_bytes: 0,
        hard_bytes: 0,
        algorithm: 0,
        busyness: Busyness {
            most: 50,
            least: 25,
            multiplier: 10,
            penalty: 2,
            backlog_alert: 33,
            backlog_multiplier: 3,
            backlog_step: 1,
            backlog_nonzero: 60,
        },
    }
}
