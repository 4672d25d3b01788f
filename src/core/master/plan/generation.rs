//! A generation, as the plan knows it: one reading of the configuration and its zygote.

use crate::master::order::{How, Settings};

/// A generation.
#[derive(Debug)]
pub(super) struct Generation {
    pub how: How,
    /// The former workers are killed, not drained.
    pub brutal: bool,
    pub settings: Settings,
    pub zygote: Zygote,
    /// The interpreter that the zygote is.
    pub python: String,
    pub began_ms: u64,
    /// Its first worker: the one by which it is judged.
    pub first: Option<u64>,
    /// Every worker is of this generation, and people were told.
    pub complete: bool,
    /// Of another executable: its configuration is not what it was made of, and may want listeners that are not there.
    pub inherited: bool,
}

/// What a zygote is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zygote {
    /// Ordered.
    Beginning,
    /// Loading the application.
    Loading { pid: i32 },
    /// Forking workers on order.
    Ready { pid: i32, since_ms: u64 },
    /// Told to end, or about to.
    Ending { pid: i32, since_ms: Option<u64>, kill_at: u64 },
    /// Killed, not yet reaped.
    Killed { pid: i32, since_ms: Option<u64>, again_at: u64 },
    /// Reaped, or never started.
    Gone,
}

impl Zygote {
    /// The pid of a living or unreaped zygote.
    pub(super) fn pid(&self) -> Option<i32> {
        match *self {
            Self::Loading { pid } | Self::Ready { pid, .. } | Self::Ending { pid, .. } | Self::Killed { pid, .. } => {
                Some(pid)
            }
            Self::Beginning | Self::Gone => None,
        }
    }

    /// Since when it has been ready, or was before it was told to end.
    pub(super) fn since_ms(&self) -> Option<u64> {
        match *self {
            Self::Ready { since_ms, .. } => Some(since_ms),
            Self::Ending { since_ms, .. } | Self::Killed { since_ms, .. } => since_ms,
            Self::Beginning | Self::Loading { .. } | Self::Gone => None,
        }
    }

    /// Forks on order.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }
}

impl Generation {
    pub(super) fn new(how: How, brutal: bool, settings: Settings, now_ms: u64) -> Self {
        Self {
            how,
            brutal,
            settings,
            zygote: Zygote::Beginning,
            python: String::new(),
            began_ms: now_ms,
            first: None,
            complete: false,
            inherited: false,
        }
    }
}
