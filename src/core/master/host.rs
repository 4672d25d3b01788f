//! Hosting a zygote: the user's own interpreter, executed with our extension module and one end of a channel.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use ruwsgi_contract::BUILD;
use ruwsgi_contract::handover::Handover;
use ruwsgi_contract::message::{AppInfo, Message, ToZygote};
use ruwsgi_contract::scoreboard::{APPS, Scoreboard};
use ruwsgi_options::{Config, Workers, encode};
use ruwsgi_stage::limits;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::exec::{self, Own, Program};
use ruwsgi_sys::lock::Locks;
use ruwsgi_sys::{clock, memory, process};

use super::order::{Harakiri, Recycling, Settings, Usage};
use super::plan::{ALGORITHMS, Busyness, Cheaper};
use crate::emperor::pipe;
use crate::listeners::{Bound, Opened, VARIABLES};
use crate::module::Module;
use crate::unknown::Unknown;
use crate::{python, service, why};

/// The pipes of an emperor are the master's.
const EMPEROR_VARIABLES: [&str; 2] = [pipe::VARIABLE, pipe::CONFIG_VARIABLE];
/// What the interpreter runs first.
const BOOT: &str = include_str!("../../../plugins/python/src/boot.py");
/// Places on the scoreboard beyond `processes` and `reload-surge`: for those that are not yet reaped.
const SPARE_SEATS: u32 = 1;
/// How long a worker may drain where nobody says otherwise is the option's default; a zygote has no requests.
const ZYGOTE_MERCY_S: u32 = 3;
/// How long routers have to hear that an instance leaves, in milliseconds.
const FAREWELL_MS: u64 = 200;

/// A generation, as far as the master holds it.
pub(crate) struct Hosted {
    pub config: Rc<Config>,
    pub listeners: Vec<Rc<Bound>>,
    /// What its routers listen on.
    pub doors: Vec<Rc<Bound>>,
    /// Shared by all generations that have the same listeners.
    pub handover: Rc<Handover>,
    pub scoreboard: Scoreboard,
    /// The interpreter, as it was executed.
    pub python: String,
    /// Where it was started, until the master follows: when it serves.
    pub folder: Option<OwnedFd>,
    /// Closed: the zygote ends.
    pub zygote: Option<Channel>,
    /// Somebody asked for a reload since the instance was started.
    pub reloaded: bool,
    /// What it has loaded, by number.
    pub apps: BTreeMap<u32, AppInfo>,
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
    /// How often one of its workers had a request that was past its deadline.
    harakiris: u64,
}

impl Hosted {
    /// Of an executable that is no more: nobody forks for it.
    pub(super) fn former(
        config: Rc<Config>,
        (listeners, doors): (Vec<Rc<Bound>>, Vec<Rc<Bound>>),
        handover: Rc<Handover>,
        scoreboard: Scoreboard,
    ) -> Self {
        Self {
            config,
            listeners,
            doors,
            handover,
            scoreboard,
            python: String::new(),
            folder: None,
            zygote: None,
            reloaded: true,
            apps: BTreeMap::new(),
            unknown: Unknown::default(),
            pasts: BTreeMap::new(),
        }
    }

    /// An application that the zygote or a worker has loaded. All of a generation have the same, and not very many.
    pub(super) fn note_app(&mut self, app: AppInfo) {
        if (app.number as usize) < APPS {
            self.apps.insert(app.number, app);
        }
    }

    /// A request of this slot is past its deadline.
    pub(super) fn note_harakiri(&mut self, slot: u32) {
        self.pasts.entry(slot).or_default().harakiris += 1;
    }

    /// How often that was.
    pub(super) fn harakiris(&self, slot: u32) -> u64 {
        self.pasts.get(&slot).map_or(0, |past| past.harakiris)
    }

    /// What the workers of a slot that are gone have answered, and how often it was filled.
    pub(super) fn past(&self, slot: u32) -> (u64, u64) {
        self.pasts.get(&slot).map_or((0, 0), |past| (past.requests, past.spawns))
    }

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
pub(crate) struct Ground {
    pub env: Vec<(OsString, OsString)>,
    pub module: Module,
    /// For all lines, and for those of requests.
    pub log: [OwnedFd; 2],
    /// For the applications of all generations: old and new workers exclude each other.
    pub locks: Locks,
}

impl Ground {
    /// What the master keeps of a generation that has no workers.
    pub(super) fn bare(&self, reloaded: bool, config: Rc<Config>, opened: Opened) -> Result<Hosted, String> {
        let failed = |error| format!("no scoreboard can be made: {}", why(&error));
        Ok(Hosted {
            config,
            listeners: opened.workers,
            doors: opened.routers,
            handover: Rc::new(Handover::create().map_err(failed)?),
            scoreboard: Scoreboard::create(1, 1).map_err(failed)?,
            python: String::new(),
            folder: None,
            zygote: None,
            reloaded,
            apps: BTreeMap::new(),
            unknown: Unknown::default(),
            pasts: BTreeMap::new(),
        })
    }

    /// Starts a zygote; its pid and what the master keeps of it.
    pub(crate) fn start(
        &self,
        (generation, reloaded): (u32, bool),
        config: Rc<Config>,
        (opened, handover): (Opened, Option<Rc<Handover>>),
    ) -> Result<(i32, Hosted), String> {
        let Opened { workers: listeners, routers: doors } = opened;
        let env = environment(&self.env, &config);
        let interpreter = python::find(&config, &env)?;
        let failed = |error| format!("no zygote can be made: {}", why(&error));
        let seats = processes(&config) + surge(&config) + SPARE_SEATS;
        let scoreboard = Scoreboard::create(seats as usize, config.workers.threads.max(1) as usize).map_err(failed)?;
        let handover = handover.map_or_else(|| Handover::create().map(Rc::new), Ok).map_err(failed)?;
        let directives = memory::sealed_file(&encode(&config.directives)).map_err(failed)?;
        let (ours, theirs) = Channel::pair().map_err(failed)?;
        ours.identify().map_err(failed)?;
        let hello = ToZygote::Hello { master: process::id(), generation, reloaded };
        let mut fds: Vec<BorrowedFd<'_>> =
            vec![self.log[0].as_fd(), self.log[1].as_fd(), directives.as_fd(), scoreboard.file(), self.locks.file()];
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
            keep: &[number(self.module.as_fd()), number(theirs.as_fd())],
            own: Own { limits: &limits::of(&config), ..Own::default() },
        };
        let pid = exec::start(&program).map_err(|error| python::not_started(&interpreter, &env, &error))?;
        let python = interpreter.program.to_string_lossy().into_owned();
        let zygote = Some(ours);
        if config.stats.stats.is_some() || config.cheaper.algorithm == "busyness" {
            scoreboard.measure();
        }
        let (unknown, apps, pasts) = (Unknown::default(), BTreeMap::new(), BTreeMap::new());
        Ok((
            pid,
            Hosted {
                config,
                listeners,
                doors,
                handover,
                scoreboard,
                python,
                folder: None,
                zygote,
                reloaded,
                unknown,
                apps,
                pasts,
            },
        ))
    }
}

/// What the plan goes by.
pub(super) fn settings(config: &Config) -> Settings {
    let workers = &config.workers;
    let ms = |seconds: u32| seconds.saturating_mul(1_000);
    Settings {
        processes: processes(config),
        mercy_ms: mercy_ms(config),
        zygote_mercy_ms: ms(workers.reload_mercy.unwrap_or(ZYGOTE_MERCY_S)),
        deadlines: workers.harakiri > 0,
        term_reloads: workers.die_on_term == Some(false),
        exit_on_reload: workers.exit_on_reload,
        recycling: recycling(workers),
        cheaper: cheaper(config),
        cheap: config.cheaper.cheap && processes(config) > 0,
        idle_ms: if processes(config) > 0 { u64::from(config.cheaper.idle) * 1_000 } else { 0 },
        die_on_idle: config.cheaper.die_on_idle,
        surge: surge(config),
        in_place: workers.reload_in_place,
        drain_delay_ms: drain_delay_ms(config),
        load_ms: u64::from(workers.load_timeout) * 1_000,
        harakiri: Harakiri {
            grace_ms: u64::from(workers.harakiri_graceful_timeout) * 1_000,
            queue: workers.harakiri_queue_threshold,
        },
    }
}

/// How long those that have requests may take to end.
pub(crate) fn mercy_ms(config: &Config) -> u32 {
    let workers = &config.workers;
    // `reload-mercy` is for everything that has to end; workers have a time of their own, if somebody says one.
    let own = config.origin("worker-reload-mercy").map(|_| workers.worker_reload_mercy);
    own.or(workers.reload_mercy).unwrap_or(workers.worker_reload_mercy).saturating_mul(1_000)
}

/// How long requests are still taken after an order to stop. Routers that were told of this instance are told to send no
/// more, and need a moment to hear it.
fn drain_delay_ms(config: &Config) -> u64 {
    let said_ms = u64::from(config.workers.drain_delay) * 1_000;
    let announced = !config.subscriptions.to.is_empty() || !config.subscriptions.to_by_keys.is_empty();
    if announced { said_ms.max(FAREWELL_MS) } else { said_ms }
}

fn surge(config: &Config) -> u32 {
    config.workers.reload_surge.clamp(1, processes(config).max(1))
}

fn recycling(workers: &Workers) -> Recycling {
    let bytes = |mib: u64| mib.saturating_mul(1 << 20);
    let soft = Usage {
        addresses: bytes(workers.reload_on_as),
        resident: bytes(workers.reload_on_rss),
        unshared: bytes(workers.reload_on_uss),
        proportional: bytes(workers.reload_on_pss),
    };
    let hard = Usage {
        addresses: bytes(workers.evil_reload_on_as),
        resident: bytes(workers.evil_reload_on_rss),
        unshared: bytes(workers.evil_reload_on_uss),
        proportional: bytes(workers.evil_reload_on_pss),
    };
    let limited = [soft, hard].iter().any(|limit| *limit != Usage::default());
    Recycling {
        min_age_ms: u64::from(workers.min_worker_lifetime) * 1_000,
        age_ms: u64::from(workers.max_worker_lifetime) * 1_000,
        age_step_ms: u64::from(workers.max_worker_lifetime_delta) * 1_000,
        soft,
        hard,
        look_ms: if limited { u64::from(workers.mem_collector_freq) * 1_000 } else { 0 },
    }
}

fn cheaper(config: &Config) -> Option<Cheaper> {
    let said = &config.cheaper;
    // uWSGI refuses more than `processes`, and takes all of them as no order at all.
    let least = Some(said.cheaper).filter(|least| (1..processes(config)).contains(least))?;
    Some(Cheaper {
        least,
        initial: said.initial.clamp(least, processes(config)),
        step: said.step,
        overload: said.overload,
        idle_s: said.idle_after,
        soft_bytes: said.rss_limit_soft,
        hard_bytes: said.rss_limit_hard,
        algorithm: ALGORITHMS.iter().position(|(name, _)| *name == said.algorithm).unwrap_or(0),
        busyness: Busyness {
            most: said.busyness_max,
            least: said.busyness_min,
            multiplier: said.busyness_multiplier,
            penalty: said.busyness_penalty,
            backlog_alert: said.busyness_backlog_alert,
            backlog_multiplier: said.busyness_backlog_multiplier,
            backlog_step: said.busyness_backlog_step,
            backlog_nonzero: said.busyness_backlog_nonzero,
        },
    })
}

/// How many locks the applications share: one that is always there, and those that `locks` adds, as in uWSGI.
pub(crate) fn locks(config: &Config) -> usize {
    1 + config.workers.locks as usize
}

fn processes(config: &Config) -> u32 {
    if config.is_routers_only() { 0 } else { config.workers.processes.max(1) }
}

/// The environment without what it says to this process alone.
pub(super) fn for_children(ours: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let is_own = |name: &OsString| VARIABLES.iter().chain(&service::VARIABLES).any(|variable| name == variable);
    ours.iter().filter(|(name, _)| !is_own(name)).cloned().collect()
}

/// The environment of the application: ours, and what `env` adds and removes, in order.
pub(crate) fn environment(ours: &[(OsString, OsString)], config: &Config) -> Vec<(OsString, OsString)> {
    let mut env = for_children(ours);
    env.retain(|(name, _)| !EMPEROR_VARIABLES.iter().any(|variable| name == variable));
    for (name, value) in &config.process.env {
        env.retain(|(known, _)| known != name);
        env.extend(value.as_ref().map(|value| (name.clone(), value.clone())));
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
