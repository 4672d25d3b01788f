//! What the plan is told and what it orders: the whole language between [`plan`](super::plan) and
//! [`run`](super::run).

use ruwsgi_contract::message::{FromWorker, FromZygote};
use ruwsgi_contract::scoreboard::Activity;
use ruwsgi_sys::reap::End;

use super::event::Event;

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The master is ready to begin.
    Start,
    /// Only time has passed.
    Tick,
    /// Somebody sent a signal.
    Signal {
        /// Which.
        signal: Signal,
        /// Requests inside the application at this moment.
        in_flight: usize,
    },
    /// A zygote was started, as [`Order::Begin`] asked.
    Began {
        /// Whose zygote.
        generation: u32,
        /// Its pid.
        zygote: i32,
        /// The interpreter that was executed.
        python: String,
        /// What its configuration says.
        settings: Settings,
    },
    /// No zygote could be started.
    NotBegun {
        /// Of which generation.
        generation: u32,
        /// Why.
        reason: String,
    },
    /// A message of a zygote.
    Zygote {
        /// Whose zygote.
        generation: u32,
        /// The message.
        said: FromZygote,
    },
    /// A zygote holds its channel no longer.
    ZygoteClosed {
        /// Whose zygote.
        generation: u32,
    },
    /// A message on a worker's channel.
    Worker {
        /// Whose channel.
        worker: u64,
        /// The pid of the sender, as the kernel says.
        sender: i32,
        /// The message.
        said: FromWorker,
    },
    /// Nobody holds a worker's channel any more.
    WorkerClosed {
        /// Whose channel.
        worker: u64,
    },
    /// Requests of a worker are past their deadline.
    Overdue {
        /// The worker.
        worker: u64,
        /// Core and request.
        requests: Vec<(usize, Activity)>,
    },
    /// A child is dead and reaped.
    Exited {
        /// Its former pid.
        pid: i32,
        /// How it ended.
        end: End,
    },
    /// A pid that was to be killed is no child of ours (yet, or at all).
    NoChild {
        /// That pid.
        pid: i32,
    },
}

/// The signals that mean something to a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Reload.
    Hup,
    /// Stop; see `die-on-term`.
    Term,
    /// Stop.
    Int,
    /// Stop now.
    Quit,
}

/// The part of a configuration that the plan goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How many workers.
    pub processes: u32,
    /// How long a worker may drain.
    pub mercy_ms: u32,
    /// How long a zygote may take to end.
    pub zygote_mercy_ms: u32,
    /// Requests have deadlines, which somebody must watch.
    pub deadlines: bool,
    /// `die-on-term = false`.
    pub term_reloads: bool,
    /// `exit-on-reload`.
    pub exit_on_reload: bool,
}

/// From what a generation begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// The configuration that the master was started with.
    Start,
    /// The configuration as it is now.
    Reload,
    /// The configuration of a generation whose zygote died.
    Again {
        /// That generation.
        like: u32,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start a zygote. Answered with [`Input::Began`] or [`Input::NotBegun`].
    Begin {
        /// The number of the new generation.
        generation: u32,
        /// From what.
        how: How,
    },
    /// Have a zygote fork a worker.
    Spawn {
        /// Whose zygote.
        generation: u32,
        /// The worker's name for the whole life of the instance.
        worker: u64,
        /// Its number as people see it.
        slot: u32,
        /// Its place on the scoreboard of its generation.
        seat: u32,
    },
    /// Have a worker finish what it has and end.
    Drain {
        /// The worker.
        worker: u64,
        /// How long that may take.
        mercy_ms: u32,
        /// Nobody accepts after it.
        last: bool,
    },
    /// SIGKILL, if this is a child of ours.
    Kill {
        /// Whom.
        pid: i32,
    },
    /// SIGTERM, if this is a child of ours.
    Terminate {
        /// Whom.
        pid: i32,
    },
    /// Do what this signal would do.
    Raise {
        /// Which.
        signal: Signal,
    },
    /// Close the channel of a zygote: it ends.
    Retire {
        /// Whose.
        generation: u32,
    },
    /// Close the channel of a worker: it is gone.
    Close {
        /// Whose.
        worker: u64,
    },
    /// All processes of a generation are gone: free what it held.
    Forget {
        /// The generation.
        generation: u32,
    },
    /// Tell people.
    Tell(Event),
    /// All is over.
    Exit {
        /// The exit code.
        code: u8,
        /// Why, if something went wrong.
        reason: Option<String>,
    },
}
