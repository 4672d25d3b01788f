//! The events of a life that people are told of, each in one shape, wherever it comes from.

use std::fmt;

use ruwsgi_contract::message::{Recycle, Wish};
use ruwsgi_contract::scoreboard::Activity;
use ruwsgi_sys::reap::End;

/// A worker, as lines name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Who {
    /// Its number.
    pub slot: u32,
    /// Its pid; `None` before it is born.
    pub pid: Option<i32>,
}

/// What comes after a death.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another one, now.
    Replaced,
    /// Another one, later: it has died early too often.
    Later {
        /// Early deaths in a row.
        deaths: u32,
        /// How much later.
        wait_ms: u64,
    },
    /// Another one when there is a zygote again.
    NoZygote,
}

/// Why a worker is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// It wants to be.
    Said(Recycle),
    /// It has lived long enough.
    Age,
    /// It has so many bytes, as this option counts them.
    Memory(&'static str, u64),
    /// Somebody asked for other workers.
    Asked,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// So many connections wait that no more may.
    QueueFull { name: String, waiting: u32, most: u32, for_ms: u64, limit: String },
    /// Connections fit in again.
    QueueRelieved { name: String, after_ms: u64 },
    /// Nobody accepts until somebody says so.
    Paused,
    /// Everybody accepts again.
    Resumed,
    /// More or fewer workers for the load.
    Cheaper { from: usize, to: usize, why: String },
    /// All workers end until somebody connects.
    Idle { after_ms: u64 },
    /// Somebody connects.
    Woken,
    /// A worker has so much memory that it is killed.
    Outgrown { who: Who, option: &'static str, bytes: u64 },
    /// Requests are past their deadline, but too few wait for it to matter.
    HarakiriSkipped { who: Who },
    /// Requests are still taken; after this time they are not.
    Closing { delay_ms: u64 },
    /// A reload begins.
    Reloading { generation: u32 },
    /// Somebody asked for a reload while one is under way.
    ReloadWaits,
    /// A newer reload began before this one was loaded.
    Overtaken { generation: u32 },
    /// A zygote is ready.
    Loaded { pid: i32, load_ms: u32, python: String },
    /// A reload came to nothing.
    ReloadFailed { generation: u32, reason: String, serving: u32 },
    /// The zygote that should have replaced a dead one came to nothing.
    RenewalFailed { reason: String, wait_ms: u64 },
    /// The zygote of the generation that serves is dead.
    ZygoteDied { pid: i32, end: End, wait_ms: u64 },
    /// A zygote does not fork.
    ZygoteStuck { pid: i32, after_ms: u64 },
    /// The first worker of a generation is ready: from here on it replaces the former one.
    Serving { generation: u32 },
    /// Every worker is of this generation, and nobody else is left.
    Complete { generation: u32, workers: u32, took_ms: u64, start: bool },
    /// A worker accepts connections.
    Ready { who: Who, after_ms: u64 },
    /// A worker would like to be replaced.
    Leaving { who: Who, why: Why },
    /// The application of a worker asks for something.
    Asked { who: Who, wish: Wish },
    /// A worker died unasked.
    Died { who: Who, end: End, lived_ms: u64, reason: Option<String>, next: Next },
    /// A worker that died had this request.
    Lost { who: Who, core: usize, activity: Activity, now_ms: u64 },
    /// A worker was never born.
    Unborn { who: Who, next: Next },
    /// A worker ended as it was asked to.
    Ended { who: Who, end: End, lived_ms: u64 },
    /// A worker does not end.
    NoMercy { who: Who, after_ms: u64 },
    /// A worker of the generation that serves was not up in time, and is killed.
    NotReady { who: Who, after_ms: u64 },
    /// A worker is killed for a request that is past its deadline.
    Harakiri { who: Who, core: usize, activity: Activity, now_ms: u64 },
    /// A message that was not sent by whom it should be.
    Imposter { who: Who, sender: i32 },
    /// The instance stops when its requests are done.
    Stopping { in_flight: usize, mercy_ms: u32, hint: bool },
    /// The instance stops now.
    StoppingNow,
}

/// How loud an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warning,
    /// Something did not work.
    Error,
}

impl Event {
    /// How loud this is.
    pub(crate) fn level(&self) -> Level {
        match self {
            Self::ReloadFailed { .. } | Self::RenewalFailed { .. } | Self::Imposter { .. } => Level::Error,
            Self::QueueFull { .. } | Self::Outgrown { .. } => Level::Warning,
            Self::ZygoteDied { .. }
            | Self::ZygoteStuck { .. }
            | Self::Died { .. }
            | Self::Lost { .. }
            | Self::Unborn { .. }
            | Self::NoMercy { .. }
            | Self::NotReady { .. }
            | Self::Harakiri { .. } => Level::Warning,
            _ => Level::Info,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reloading { generation } => write!(f, "reload: generation {generation} begins"),
            Self::ReloadWaits => write!(f, "reload: one more is to come after the one under way"),
            Self::Overtaken { generation } => write!(f, "reload: generation {generation} is given up for a newer one"),
            Self::Loaded { pid, load_ms, python } => {
                write!(f, "zygote (pid {pid}) ready after {}: {}", Time(u64::from(*load_ms)), Clean(python))
            }
            Self::ReloadFailed { generation, reason, serving } => {
                write!(f, "reload: generation {generation} failed, generation {serving} goes on: {}", Clean(reason))
            }
            Self::RenewalFailed { reason, wait_ms } => {
                write!(f, "no new zygote, next try in {}: {}", Time(*wait_ms), Clean(reason))
            }
            Self::ZygoteDied { pid, end, wait_ms: 0 } => {
                write!(f, "zygote (pid {pid}) {end}: a new one is loaded, the workers go on")
            }
            Self::ZygoteDied { pid, end, wait_ms } => {
                write!(f, "zygote (pid {pid}) {end}: a new one is loaded in {}, the workers go on", Time(*wait_ms))
            }
            Self::ZygoteStuck { pid, after_ms } => {
                write!(f, "zygote (pid {pid}) has not forked for {}: killed", Time(*after_ms))
            }
            Self::Serving { generation } => write!(f, "generation {generation} serves and replaces the former one"),
            Self::Complete { workers, took_ms, start: true, .. } => {
                write!(f, "started after {}: {} serving", Time(*took_ms), Count(*workers as usize, "worker"))
            }
            Self::Complete { generation, workers, took_ms, start: false } => {
                let workers = Count(*workers as usize, "worker");
                write!(f, "generation {generation} is complete after {}: {workers} serving", Time(*took_ms))
            }
            Self::Stopping { in_flight, mercy_ms, hint } => {
                let requests = Count(*in_flight, "request");
                write!(f, "stopping: {requests} in flight, deadline {}", Time(u64::from(*mercy_ms)))?;
                f.write_str(if *hint { " (TERM stops (uWSGI reloads); HUP reloads)" } else { "" })
            }
            Self::StoppingNow => write!(f, "stopping now"),
            Self::Closing { delay_ms } => {
                write!(f, "stopping in {} (drain-delay): not ready, and still serving", Time(*delay_ms))
            }
            _ => self.of_the_load(f),
        }
    }
}

impl Event {
    fn of_the_load(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The words that people look for in uWSGI's log.
            Self::QueueFull { name, waiting, most, for_ms, limit } => {
                write!(f, "listen queue of socket \"{name}\" full ({waiting}/{most}): clients are turned away")?;
                if *for_ms > 0 {
                    write!(f, " for {}", Time(*for_ms))?;
                }
                write!(f, "; see {limit}")
            }
            Self::QueueRelieved { name, after_ms } => {
                write!(f, "listen queue of socket \"{name}\" has room again after {}", Time(*after_ms))
            }
            Self::Paused => write!(f, "paused: nobody accepts until it is resumed (SIGTSTP)"),
            Self::Resumed => write!(f, "resumed"),
            Self::Cheaper { from, to, why } => write!(f, "cheaper: {from} to {}: {why}", Count(*to, "worker")),
            Self::Idle { after_ms } => write!(f, "idle for {}: no workers until somebody connects", Time(*after_ms)),
            Self::Woken => write!(f, "somebody connects: workers are started"),
            _ => self.of_a_worker(f),
        }
    }

    fn of_a_worker(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready { who, after_ms } => write!(f, "{who} ready after {}", Time(*after_ms)),
            Self::Leaving { who, why } => {
                let why = match why {
                    Why::Said(Recycle::MaxRequests) => "has answered max-requests",
                    Why::Said(Recycle::Signal) => "was sent a signal",
                    Why::Said(Recycle::Broken) => "can't go on",
                    Why::Age => "has lived max-worker-lifetime",
                    Why::Asked => "is renewed",
                    Why::Memory(option, bytes) => {
                        return write!(f, "{who} has {} MiB ({option}): to be replaced", bytes >> 20);
                    }
                };
                write!(f, "{who} {why}: to be replaced")
            }
            Self::Outgrown { who, option, bytes } => write!(f, "{who} has {} MiB: killed ({option})", bytes >> 20),
            Self::HarakiriSkipped { who } => {
                write!(f, "{who} has requests past their deadline: left alone (harakiri-queue-threshold)")
            }
            Self::Asked { who, wish: Wish::Reload } => write!(f, "{who}: the application asks for a reload"),
            Self::Asked { who, wish: Wish::Stop } => write!(f, "{who}: the application asks for a stop"),
            Self::Died { who, end, lived_ms, reason, next } => {
                write!(f, "{who} {end} after {}", Time(*lived_ms))?;
                if let Some(reason) = reason {
                    write!(f, " ({})", Clean(reason))?;
                }
                write!(f, ": {next}")
            }
            Self::Lost { who, core, activity, now_ms } => {
                let (request, since) = (Clean(&activity.request), Time(now_ms.saturating_sub(activity.since_ms)));
                write!(f, "{who} had a request that is lost: [core {core}] {request} since {since}")
            }
            Self::Unborn { who, next } => write!(f, "{who} could not be forked: {next}"),
            Self::Ended { who, end: End::Exited(0), lived_ms } => write!(f, "{who} done after {}", Time(*lived_ms)),
            Self::Ended { who, end, lived_ms } => write!(f, "{who} {end} after {}", Time(*lived_ms)),
            Self::NotReady { who, after_ms } => {
                write!(f, "{who} is not ready after {}: killed (load-timeout)", Time(*after_ms))
            }
            Self::NoMercy { who, after_ms } => {
                write!(f, "{who} is not done after {}: killed (worker-reload-mercy)", Time(*after_ms))
            }
            // The words that people's alerts look for in uWSGI's log.
            Self::Harakiri { who, core, activity, now_ms } => {
                let (request, since) = (Clean(&activity.request), Time(now_ms.saturating_sub(activity.since_ms)));
                let pid = who.pid.unwrap_or_default();
                write!(f, "HARAKIRI ON WORKER {} (pid {pid}): HARAKIRI [core {core}] {request} since {since}", who.slot)
            }
            Self::Imposter { who, sender } => write!(f, "a message for {who} came from pid {sender}: ignored"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(f, "worker {} (pid {pid})", self.slot),
            None => write!(f, "worker {}", self.slot),
        }
    }
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replaced => f.write_str("replaced"),
            Self::Later { deaths, wait_ms } => {
                write!(f, "{deaths} early deaths in a row, replaced in {}", Time(*wait_ms))
            }
            Self::NoZygote => f.write_str("replaced as soon as there is a zygote"),
        }
    }
}

/// Milliseconds as people read them.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ ..1000 => write!(f, "{ms} ms"),
            ms => write!(f, "{} s", ms / 1000),
        }
    }
}

struct Count(usize, &'static str);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// A text from another process, on one line and without what a terminal would obey.
struct Clean<'t>(&'t str);

impl fmt::Display for Clean<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.trim_end().split(char::is_control).enumerate().try_for_each(|(part, text)| {
            f.write_str(if part == 0 { "" } else { " " })?;
            f.write_str(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_shape_that_people_search_for() {
        let who = Who { slot: 2, pid: Some(412) };
        let line = |event: Event| event.to_string();
        assert_eq!(line(Event::Ready { who, after_ms: 180 }), "worker 2 (pid 412) ready after 180 ms");
        let died = Event::Died { who, end: End::Killed(9), lived_ms: 3_200, reason: None, next: Next::Replaced };
        assert_eq!(line(died), "worker 2 (pid 412) killed by signal 9 after 3 s: replaced");
        let stopping = Event::Stopping { in_flight: 3, mercy_ms: 60_000, hint: true };
        assert_eq!(
            line(stopping),
            "stopping: 3 requests in flight, deadline 60 s (TERM stops (uWSGI reloads); HUP reloads)"
        );
        let reason = "two\nlines \x1b[2J\n".to_owned();
        assert_eq!(
            line(Event::ReloadFailed { generation: 2, reason, serving: 1 }),
            "reload: generation 2 failed, generation 1 goes on: two lines  [2J"
        );
    }
}
