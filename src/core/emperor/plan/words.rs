//! What the plan is told, what it orders, and what it has to say: the whole language between the plan and the runner.

use std::fmt;

use ruwsgi_sys::reap::End;

use crate::emperor::name::Name;

/// The part of the emperor's configuration that the plan goes by. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The least time between two starts or reloads of a vassal.
    pub throttle_ms: u64,
    /// The longest wait of a vassal that keeps failing.
    pub max_throttle_ms: u64,
    /// Waits grow.
    pub blacklist: bool,
    /// The longest silence of a vassal that has sent a heartbeat; 0: any.
    pub heartbeat_ms: u64,
    /// How long a vassal may take to stop.
    pub tolerance_ms: u64,
    /// How long all of them may take when the emperor stops.
    pub mercy_ms: u64,
    /// Vassals finish their requests when they are stopped.
    pub graceful: bool,
    /// So many vassals may be on their way up at a time.
    pub at_once: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            throttle_ms: 1_000,
            max_throttle_ms: 180_000,
            blacklist: true,
            heartbeat_ms: 30_000,
            tolerance_ms: 30_000,
            mercy_ms: 30_000,
            graceful: true,
            at_once: 8,
        }
    }
}

/// On which terms a vassal runs. It is another one where they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Terms {
    /// The user and group that it runs as, where its file says so.
    pub owner: Option<(u32, u32)>,
    /// The address at which the first connection starts it.
    pub address: Option<String>,
}

/// What there is to say about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It can be run.
    Fine(Terms),
    /// It can't be run, and one that runs goes on.
    Broken(String),
    /// Nobody may run it, not even one that runs.
    Forbidden(String),
}

/// A file that a monitor sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sighting {
    pub name: Name,
    /// Another number: it has changed in a way that counts.
    pub version: u64,
    pub verdict: Verdict,
}

/// What happened.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// All the files that there are.
    Seen(Vec<Sighting>),
    /// A vassal was started, as [`Order::Start`] asked.
    Started { name: Name, pid: i32 },
    /// It could not be.
    NotStarted { name: Name, reason: String },
    /// The socket of a vassal is open, as [`Order::Listen`] asked.
    Listening { name: Name },
    /// It can't be.
    NotListening { name: Name, reason: String },
    /// Somebody connects to the socket of a vassal that sleeps.
    Knock { name: Name },
    /// A byte of the vassal.
    Said { name: Name, byte: u8 },
    /// The vassal holds its end of the pipe no longer.
    Hung { name: Name },
    /// The vassal is dead and reaped. What it said last, where that is a reason.
    Exited { name: Name, end: End, words: Option<String> },
    /// Somebody asks for something that is about all of them.
    Wish(Wish),
    /// Somebody asks for something that is about one.
    Command { name: Name, command: Command },
    /// Other rules hold from here on.
    Rules(Rules),
    /// Only time has passed.
    Tick,
}

/// What can be asked of the emperor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Stop, and let the requests in flight be finished.
    Stop,
    /// Stop now.
    StopNow,
    /// Reload all vassals.
    Reload,
    /// Forget who has failed how often.
    Forgive,
}

/// What can be asked of a vassal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Start,
    Stop,
    Reload,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start a vassal. Answered with [`Input::Started`] or [`Input::NotStarted`].
    Start { name: Name, owner: Option<(u32, u32)> },
    /// Send it these bytes.
    Send { name: Name, bytes: &'static [u8] },
    /// SIGTERM: it does not listen to bytes.
    Terminate { name: Name, pid: i32 },
    /// SIGKILL.
    Kill { name: Name, pid: i32 },
    /// Open its socket. Answered with [`Input::Listening`] or [`Input::NotListening`].
    Listen { name: Name, terms: Terms },
    /// Say when somebody connects there.
    Watch { name: Name },
    /// Close it.
    Unlisten { name: Name },
    /// It is gone, and so is its file.
    Forget { name: Name },
    /// Tell people.
    Tell(Event),
    /// All is over.
    Exit,
}

/// Why a vassal is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    Gone,
    ByHand,
    OtherTerms,
    Forbidden,
    Idle,
    /// It does not hear us.
    Cursed,
    Over,
}

/// Why it reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    Changed,
    Asked,
}

/// A vassal, as lines name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    pub name: Name,
    pub pid: i32,
}

/// An event that people are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Started {
        who: Who,
    },
    NotStarted {
        name: Name,
        reason: String,
        wait_ms: u64,
    },
    Ready {
        who: Who,
        after_ms: u64,
    },
    Loyal {
        who: Who,
    },
    Reload {
        who: Who,
        cause: Cause,
    },
    Stop {
        who: Who,
        why: Why,
        mercy_ms: u64,
    },
    /// It ended as it was told to.
    Ended {
        who: Who,
        end: End,
        why: Why,
    },
    Removed {
        name: Name,
    },
    Died {
        who: Who,
        end: End,
        lived_ms: u64,
        wait_ms: u64,
        failures: u32,
        reason: Option<String>,
    },
    Exiled {
        who: Who,
    },
    Cursed {
        who: Who,
        mercy_ms: u64,
    },
    Silent {
        who: Who,
        for_ms: u64,
    },
    NoMercy {
        who: Who,
        after_ms: u64,
    },
    Broken {
        name: Name,
        reason: String,
        runs: bool,
    },
    Forbidden {
        name: Name,
        reason: String,
    },
    Asleep {
        name: Name,
        address: String,
    },
    Woken {
        name: Name,
    },
    NotListening {
        name: Name,
        address: String,
        reason: String,
        wait_ms: u64,
    },
    Stopping {
        count: usize,
        mercy_ms: u64,
    },
    StoppingNow {
        count: usize,
    },
    Reloading {
        count: usize,
    },
    Forgiven,
}

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Info,
    Warning,
    Error,
}

impl Event {
    /// How loud this is.
    pub(crate) fn level(&self) -> Level {
        match self {
            Self::NotStarted { .. } | Self::Broken { .. } | Self::Forbidden { .. } | Self::NotListening { .. } => {
                Level::Error
            }
            Self::Died { .. }
            | Self::Exiled { .. }
            | Self::Cursed { .. }
            | Self::Silent { .. }
            | Self::NoMercy { .. } => Level::Warning,
            _ => Level::Info,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vassal {} (pid {})", self.name, self.pid)
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "its file is gone",
            Self::ByHand => "somebody asks for it",
            Self::OtherTerms => "its owner or its socket is another one now",
            Self::Forbidden => "nobody may run its file any more",
            Self::Idle => "it is idle",
            Self::Cursed => "it does not hear",
            Self::Over => "the emperor stops",
        })
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { who } => write!(f, "{who} started"),
            Self::NotStarted { name, reason, wait_ms } => {
                write!(f, "vassal {name} can't be started: {reason}; next try in {}", Time(*wait_ms))
            }
            Self::Ready { who, after_ms } => write!(f, "{who} ready after {}", Time(*after_ms)),
            Self::Loyal { who } => write!(f, "{who} is now loyal"),
            Self::Reload { who, cause: Cause::Changed } => write!(f, "{who} reloads: its file has changed"),
            Self::Reload { who, cause: Cause::Asked } => write!(f, "{who} reloads: somebody asks for it"),
            Self::Stop { who, why, mercy_ms } => write!(f, "{who} stops: {why}; deadline {}", Time(*mercy_ms)),
            Self::Ended { who, end, why } => write!(f, "{who} {end}: {why}"),
            Self::Removed { name } => write!(f, "vassal {name} is removed"),
            Self::Died { who, end, lived_ms, wait_ms, failures, reason } => {
                write!(f, "{who} {end} after {}: next start in {}", Time(*lived_ms), Time(*wait_ms))?;
                if *failures > 1 {
                    write!(f, " ({failures} failures in a row)")?;
                }
                reason.iter().try_for_each(|reason| write!(f, "; it said: {reason}"))
            }
            Self::Exiled { who } => {
                write!(f, "{who} wants no other start (exit code 26): until its file changes, or vassals start")
            }
            Self::Cursed { who, mercy_ms } => {
                write!(f, "{who} has closed its pipe and lives: killed in {}", Time(*mercy_ms))
            }
            Self::Silent { who, for_ms } => write!(f, "{who} has sent no heartbeat for {}: killed", Time(*for_ms)),
            Self::NoMercy { who, after_ms } => write!(f, "{who} has not stopped for {}: killed", Time(*after_ms)),
            Self::Broken { name, reason, runs: true } => {
                write!(f, "vassal {name}: {reason}; the one that runs goes on")
            }
            Self::Broken { name, reason, runs: false } => write!(f, "vassal {name}: {reason}; it is not started"),
            Self::Forbidden { name, reason } => write!(f, "vassal {name}: {reason}; nobody may run it"),
            Self::Asleep { name, address } => write!(f, "vassal {name} sleeps: a connection to {address} starts it"),
            Self::Woken { name } => write!(f, "vassal {name}: somebody connects"),
            Self::NotListening { name, address, reason, wait_ms } => {
                write!(f, "vassal {name}: {address} {reason}; next try in {}", Time(*wait_ms))
            }
            Self::Stopping { count, mercy_ms } => {
                write!(f, "stopping: {count} vassals run, deadline {}", Time(*mercy_ms))
            }
            Self::StoppingNow { count } => write!(f, "stopping now: {count} vassals run"),
            Self::Reloading { count } => write!(f, "reload: {count} vassals are told"),
            Self::Forgiven => f.write_str("all failures of vassals are forgotten"),
        }
    }
}

/// Milliseconds as people read them.
pub(crate) struct Time(pub u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ ..1000 => write!(f, "{ms} ms"),
            ms => write!(f, "{} s", ms / 1000),
        }
    }
}
