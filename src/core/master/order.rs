//! What the plan is told and what it orders: the whole language between [`plan`](super::plan) and
//! [`run`](super::run).

use ruwsgi_contract::message::{FromWorker, FromZygote};
use ruwsgi_contract::scoreboard::Activity;
use ruwsgi_sys::reap::End;

use super::event::Event;
use super::plan::Cheaper;

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
        settings: Box<Settings>,
    },
    /// No zygote is needed: there are routers, and no workers.
    Bare {
        /// Of which generation.
        generation: u32,
        /// What its configuration says.
        settings: Box<Settings>,
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
    /// Somebody asks for something through the FIFO, or by a file that has changed.
    Command {
        /// What.
        command: Command,
        /// Requests inside the application at this moment.
        in_flight: usize,
    },
    /// What the workers have been doing.
    Load(Load),
    /// What memory a worker has.
    Memory {
        /// The worker.
        worker: u64,
        /// So much.
        usage: Usage,
    },
    /// Somebody connects while no worker accepts.
    Knock,
    /// Whether there are router processes, whose requests the workers answer.
    Routers {
        /// There are.
        alive: bool,
    },
    /// Requests of a worker are past their deadline.
    Overdue {
        /// The worker.
        worker: u64,
        /// Core and request.
        requests: Vec<(usize, Activity)>,
        /// Its requests that are not.
        others: usize,
        /// Connections that wait for a worker: to be accepted, or for one of its cores.
        waiting: u32,
    },
    /// A child is dead and reaped.
    Exited {
        /// Its former pid.
        pid: i32,
        /// How it ended.
        end: End,
        /// What a worker was doing, as it has said: core and request.
        requests: Vec<(usize, Activity)>,
        /// It has answered some, as it has said.
        of_use: bool,
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
    /// Pause, or resume.
    Tstp,
}

/// What an operator may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// As [`Signal::Hup`] does.
    Reload,
    /// The same, and the former workers are killed.
    ReloadBrutally,
    /// Another worker of the same generation in the place of each, one by one.
    RenewWorkers,
    /// The same, and those that run are killed first.
    RenewWorkersBrutally,
    /// Stop with mercy.
    Stop,
    /// Stop now.
    StopNow,
    /// Pause, or resume.
    Pause,
    /// One worker more.
    More,
    /// One worker fewer.
    Fewer,
    /// No worker until somebody connects.
    Cheap,
}

/// What the workers have been doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Those of the current generation that are up, by slot.
    pub workers: std::collections::BTreeMap<u32, Work>,
    /// Connections that wait for a worker: to be accepted, or for one of its cores.
    pub backlog: u32,
}

/// What a worker has been doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// All of its cores have a request.
    pub busy: bool,
    /// No core has one.
    pub idle: bool,
    /// Requests that it has answered since its birth.
    pub requests: u64,
    /// The time inside them, in microseconds.
    pub running_us: u64,
    /// Its resident memory, in bytes.
    pub resident: u64,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Of its addresses.
    pub addresses: u64,
    /// What is resident.
    pub resident: u64,
    /// Its own alone.
    pub unshared: u64,
    /// Its own, and its part of what is shared.
    pub proportional: u64,
}

/// When workers are replaced although they work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recycling {
    /// Not before this age.
    pub min_age_ms: u64,
    /// At this age; 0: never.
    pub age_ms: u64,
    /// And so much later for each slot behind the first one.
    pub age_step_ms: u64,
    /// Above this memory; 0: never.
    pub soft: Usage,
    /// Above this memory they are killed; 0: never.
    pub hard: Usage,
    /// How often memory is looked at; 0: nobody asks.
    pub look_ms: u64,
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
    /// When workers are replaced although they work.
    pub recycling: Recycling,
    /// Workers come and go with the load.
    pub cheaper: Option<Cheaper>,
    /// No worker until somebody connects.
    pub cheap: bool,
    /// Nobody has asked for anything for so long: back to `cheap`, or the end; 0: never.
    pub idle_ms: u64,
    /// The end, in that case.
    pub die_on_idle: bool,
    /// So many workers above `processes` may live while some are replaced.
    pub surge: u32,
    /// The former workers end before new ones begin.
    pub in_place: bool,
    /// How long after an order to stop requests are still taken.
    pub drain_delay_ms: u64,
    /// How long loading an application may take; 0: any time.
    pub load_ms: u64,
    /// What somebody who kills for a deadline waits for.
    pub harakiri: Harakiri,
}

/// How a request past its deadline ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Harakiri {
    /// How long its worker may still take; 0: a second, for its last words.
    pub grace_ms: u64,
    /// Only where at least so many connections wait.
    pub queue: u32,
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
    /// Have a worker take no new connections, or take them again.
    Pause {
        /// The worker.
        worker: u64,
        /// Not again.
        on: bool,
    },
    /// Have a worker tell where its requests past their deadline are, and their clients that they get no answer.
    Expire {
        /// The worker.
        worker: u64,
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
    /// Have the router processes let nobody in any more, and end.
    RetireRouters {
        /// Within this time.
        mercy_ms: u64,
    },
    /// Kill the router processes.
    KillRouters,
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
    /// Tell the emperor that nobody asks for anything: it decides what comes then.
    Farewell,
    /// All is over.
    Exit {
        /// The exit code.
        code: u8,
        /// Why, if something went wrong.
        reason: Option<String>,
    },
}
