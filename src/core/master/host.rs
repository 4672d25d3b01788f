//! Hosting a zygote: the user's own interpreter, executed with our extension module and one end of a channel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ruwsgi_contract::BUILD;
use ruwsgi_contract::handover::Handover;
use ruwsgi_contract::message::{Message, ToZygote};
use ruwsgi_contract::scoreboard::Scoreboard;
use ruwsgi_options::{Config, encode};
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::exec::{self, Program};
use ruwsgi_sys::lock::Locks;
use ruwsgi_sys::{clock, memory, process};

use super::order::Settings;
use crate::listeners::{Bound, VARIABLES};
use crate::module::Module;
use crate::unknown::Unknown;
use crate::{python, why};

/// What the interpreter runs first.
const BOOT: &str = include_str!("../../../plugins/python/src/boot.py");
/// Places on the scoreboard beyond `processes`: for replacements.
const SPARE_SEATS: u32 = 2;
/// How long a worker may drain where nobody says otherwise is the option's default; a zygote has no requests.
const ZYGOTE_MERCY_S: u32 = 3;

/// A generation, as far as the master holds it.
pub(super) struct Hosted {
    pub config: Rc<Config>,
    pub listeners: Vec<Rc<Bound>>,
    /// Shared by all generations that have the same listeners.
    pub handover: Rc<Handover>,
    pub scoreboard: Scoreboard,
    /// The interpreter, as it was executed.
    pub python: String,
    /// Closed: the zygote ends.
    pub zygote: Option<Channel>,
    /// Somebody asked for a reload since the instance was started.
    pub reloaded: bool,
    /// What its application may still ask for.
    pub unknown: Unknown,
    /// The past of each slot.
    pasts: BTreeMap<u32, Past>,
}

/// What the workers of a slot were before, which only the master knows.
#[derive(Clone, Copy, Debug, Default)]
struct Past {
    /// How often it was filled.
    spawns: u64,
    /// What those of its workers that are gone have answered.
    requests: u64,
}

impl Hosted {
    /// Makes a seat ready for a worker of `slot` that is about to be born.
    pub(super) fn seat(&mut self, slot: u32, seat: u32) {
        let past = self.pasts.entry(slot).or_default();
        let seat = self.scoreboard.seat(seat as usize);
        seat.clear();
        seat.set_before(past.requests);
        seat.assign(slot, clock::unix_seconds().unsigned_abs(), past.spawns);
        past.spawns += 1;
    }

    /// The worker of `slot` is gone from its seat.
    pub(super) fn vacate(&mut self, slot: u32, seat: u32) {
        let past = self.pasts.entry(slot).or_default();
        let gone = self.scoreboard.seat(seat as usize);
        past.requests = past.requests.wrapping_add(gone.requests());
        gone.vacate();
        if let Some((successor, _)) = self.scoreboard.occupant(slot) {
            successor.set_before(past.requests);
        }
    }

    /// Connections that came through the listeners of the one have come through those of the other, too.
    pub(super) fn listens_on(&self, listeners: &[Rc<Bound>]) -> bool {
        let has = |all: &[Rc<Bound>], one: &Rc<Bound>| all.iter().any(|other| Rc::ptr_eq(one, other));
        listeners.iter().all(|one| has(&self.listeners, one)) && self.listeners.iter().all(|one| has(listeners, one))
    }
}

/// What every zygote of the instance gets.
pub(super) struct Ground {
    pub env: Vec<(OsString, OsString)>,
    pub module: Module,
    pub log: OwnedFd,
    /// For the applications of all generations: old and new workers exclude each other.
    pub locks: Locks,
}

impl Ground {
    /// Starts a zygote; its pid and what the master keeps of it.
    pub(super) fn start(
        &self,
        (generation, reloaded): (u32, bool),
        config: Rc<Config>,
        (listeners, handover): (Vec<Rc<Bound>>, Option<Rc<Handover>>),
    ) -> Result<(i32, Hosted), String> {
        let env = environment(&self.env, &config);
        let interpreter = python::find(&config, &env)?;
        let failed = |error| format!("no zygote can be made: {}", why(&error));
        let seats = processes(&config) + SPARE_SEATS;
        let scoreboard = Scoreboard::create(seats as usize, config.workers.threads.max(1) as usize).map_err(failed)?;
        let handover = handover.map_or_else(|| Handover::create().map(Rc::new), Ok).map_err(failed)?;
        let directives = memory::sealed_file(&encode(&config.directives)).map_err(failed)?;
        let (ours, theirs) = Channel::pair().map_err(failed)?;
        ours.identify().map_err(failed)?;
        let hello = ToZygote::Hello { master: process::id(), generation, reloaded };
        let mut fds: Vec<BorrowedFd<'_>> =
            vec![self.log.as_fd(), directives.as_fd(), scoreboard.file(), self.locks.file()];
        fds.extend(handover.files());
        fds.extend(listeners.iter().map(|bound| bound.as_fd()));
        ours.send(&hello.encode(), &fds).map_err(failed)?;
        let number = |fd: BorrowedFd<'_>| fd.as_raw_fd();
        let program = Program {
            program: &interpreter.program,
            args: &[
                "-c".into(),
                BOOT.into(),
                format!("/proc/self/fd/{}", number(self.module.as_fd())).into(),
                BUILD.into(),
                number(theirs.as_fd()).to_string().into(),
            ],
            env: &env,
            umask: config.process.umask,
            input: config.process.honour_stdin,
            keep: &[self.module.as_fd(), theirs.as_fd()],
        };
        let pid = exec::start(&program).map_err(|error| python::not_started(&interpreter, &env, &error))?;
        let python = interpreter.program.to_string_lossy().into_owned();
        let zygote = Some(ours);
        Ok((
            pid,
            Hosted {
                config,
                listeners,
                handover,
                scoreboard,
                python,
                zygote,
                reloaded,
                unknown: Unknown::default(),
                pasts: BTreeMap::new(),
            },
        ))
    }
}

/// What the plan goes by.
pub(super) fn settings(config: &Config) -> Settings {
    let workers = &config.workers;
    // `reload-mercy` is for everything that has to end; workers have a time of their own, if somebody says one.
    let own = config.origin("worker-reload-mercy").map(|_| workers.worker_reload_mercy);
    let mercy = own.or(workers.reload_mercy).unwrap_or(workers.worker_reload_mercy);
    let ms = |seconds: u32| seconds.saturating_mul(1_000);
    Settings {
        processes: processes(config),
        mercy_ms: ms(mercy),
        zygote_mercy_ms: ms(workers.reload_mercy.unwrap_or(ZYGOTE_MERCY_S)),
        deadlines: workers.harakiri > 0,
        term_reloads: workers.die_on_term == Some(false),
        exit_on_reload: workers.exit_on_reload,
    }
}

/// How many locks the applications share: one that is always there, and those that `locks` adds, as in uWSGI.
pub(super) fn locks(config: &Config) -> usize {
    1 + config.workers.locks as usize
}

fn processes(config: &Config) -> u32 {
    config.workers.processes.max(1)
}

/// The environment of the application: ours, and what `env` adds and removes, in order.
fn environment(ours: &[(OsString, OsString)], config: &Config) -> Vec<(OsString, OsString)> {
    let mut env = ours.to_vec();
    env.retain(|(name, _)| !VARIABLES.iter().any(|variable| name == variable));
    for (name, value) in &config.process.env {
        env.retain(|(known, _)| known != name.as_str());
        env.extend(value.as_ref().map(|value| (name.into(), value.into())));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::{Directive, Origin};

    fn config(lines: &[(&str, &str)]) -> Config {
        let directive = |(name, value): &(&str, &str)| Directive {
            name: (*name).to_owned(),
            value: Some((*value).into()),
            origin: Origin::Argv,
        };
        Config::interpret(lines.iter().map(directive).collect()).unwrap().0
    }

    #[test]
    fn mercy_is_the_workers_own_before_the_general_one() {
        let mercy = |lines: &[(&str, &str)]| {
            let settings = settings(&config(lines));
            (settings.mercy_ms, settings.zygote_mercy_ms)
        };
        assert_eq!(mercy(&[]), (60_000, 3_000));
        assert_eq!(mercy(&[("reload-mercy", "7")]), (7_000, 7_000));
        assert_eq!(mercy(&[("reload-mercy", "7"), ("worker-reload-mercy", "5")]), (5_000, 7_000));
        assert!(settings(&config(&[("die-on-term", "false")])).term_reloads);
        assert!(!settings(&config(&[("die-on-term", "true")])).term_reloads);
    }

    #[test]
    fn env_is_added_in_order_and_the_last_one_counts() {
        let ours: Vec<(OsString, OsString)> = vec![("A".into(), "1".into()), ("B".into(), "2".into())];
        let env = environment(&ours, &config(&[("env", "A=3"), ("env", "C="), ("env", "A=4")]));
        let expected: Vec<(OsString, OsString)> =
            vec![("B".into(), "2".into()), ("C".into(), String::new().into()), ("A".into(), "4".into())];
        assert_eq!(env, expected);
    }
}
