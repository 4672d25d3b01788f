//! Daemons beside the workers. [`plan`] decides, without touching anything; this does what it decided, for the master.

mod plan;
#[cfg(test)]
mod simulation;

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ruwsgi_options::{Config, DaemonSaid};
use ruwsgi_stage::limits;
use ruwsgi_sys::exec::{self, Own, Program};
use ruwsgi_sys::reap::End;
use ruwsgi_sys::{clock, process, signal};

use self::plan::{Input, Order, Plan};
use crate::upgrade::Daemon as Left;
use crate::why;

/// How long a daemon may take to end where nobody says (`reload-mercy`), in seconds: uWSGI's.
const MERCY_S: u32 = 3;
/// How often files are looked at whose touch starts a daemon anew, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// The daemons of the instance.
#[derive(Default)]
pub(crate) struct Daemons {
    plan: Plan,
    /// What they are started with.
    ground: Option<Ground>,
    /// Files, and how they were.
    touches: BTreeMap<(u64, PathBuf), Option<Stamp>>,
    look_ms: u64,
    /// One that controls the instance has ended.
    wants_stop: bool,
}

struct Ground {
    env: Vec<(OsString, OsString)>,
    config: Config,
}

type Stamp = (i64, i64, u64, u64);

/// All that a configuration attaches, in the order of uWSGI's options.
fn wanted(config: &Config) -> Vec<DaemonSaid> {
    let it = &config.hooks;
    let lists = [
        &it.attach_daemon,
        &it.attach_control_daemon,
        &it.smart_attach_daemon,
        &it.smart_attach_daemon2,
        &it.attach_daemon2,
    ];
    lists.into_iter().flatten().cloned().collect()
}

impl Daemons {
    /// These are wanted from here on.
    pub(crate) fn want(&mut self, config: &Config, env: Vec<(OsString, OsString)>) {
        self.prepare(config, env);
        self.feed(Input::Want(wanted(config)));
    }

    /// Goes on with those of another executable, as this configuration would.
    pub(crate) fn inherit(&mut self, config: &Config, env: Vec<(OsString, OsString)>, left: &[Left]) {
        self.prepare(config, env);
        self.plan.inherit(left);
        let files =
            self.plan.said().flat_map(|(daemon, said)| said.touch.iter().map(move |path| (daemon, path.clone())));
        self.touches = files.map(|file| (file.clone(), stamp(&file.1))).collect();
    }

    /// What is left to another executable.
    pub(crate) fn legacy(&self) -> Vec<Left> {
        self.plan.legacy()
    }

    fn prepare(&mut self, config: &Config, env: Vec<(OsString, OsString)>) {
        let mercy_s = config.workers.reload_mercy.unwrap_or(MERCY_S);
        self.plan.set_mercy(u64::from(mercy_s) * 1_000);
        self.ground = Some(Ground { env, config: config.clone() });
    }

    /// When somebody has to look.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        let look = (!self.touches.is_empty()).then_some(self.look_ms);
        self.plan.wake_ms().into_iter().chain(look).min()
    }

    /// Does what is due.
    pub(crate) fn look(&mut self, now_ms: u64) {
        if now_ms >= self.look_ms && !self.touches.is_empty() {
            self.look_ms = now_ms + LOOK_MS;
            self.look_at_files();
        }
        if self.plan.wake_ms().is_some_and(|wake| wake <= now_ms) {
            self.feed(Input::Tick);
        }
    }

    /// A child is dead: `true`, if it was one of these.
    pub(crate) fn note_end(&mut self, pid: i32, end: End) -> bool {
        let mine = self.plan.has(pid);
        if mine {
            self.feed(Input::Exited { pid, end });
        }
        mine
    }

    /// One that controls the instance has ended. Told once.
    pub(crate) fn take_wish_to_stop(&mut self) -> bool {
        std::mem::take(&mut self.wants_stop)
    }

    /// The instance ends, and they with it.
    pub(crate) fn stop(&mut self, now: bool) {
        self.touches.clear();
        self.feed(if now { Input::StopNow } else { Input::Stop });
    }

    /// Nobody is left.
    pub(crate) fn is_over(&self) -> bool {
        self.plan.is_over()
    }

    /// Command, pid, how often it was started again.
    pub(crate) fn list(&self) -> Vec<(&str, i32, u32)> {
        self.plan.list()
    }

    fn look_at_files(&mut self) {
        let mut touched = Vec::new();
        for ((daemon, path), seen) in &mut self.touches {
            let now = stamp(path);
            if now != std::mem::replace(seen, now) && now.is_some() {
                tracing::info!("attach-daemon2: {} has changed", path.display());
                touched.push(*daemon);
            }
        }
        for daemon in touched {
            self.feed(Input::Touched { daemon });
        }
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for order in self.plan.decide(input, clock::coarse_ms()) {
                inputs.extend(self.perform(order));
            }
        }
    }

    fn perform(&mut self, order: Order) -> Option<Input> {
        match order {
            Order::Spawn { daemon, said } => Some(match self.spawn(&said) {
                Ok(pid) => {
                    let files = said.touch.iter().map(|path| ((daemon, path.clone()), stamp(path)));
                    self.touches.extend(files);
                    Input::Spawned { daemon, pid }
                }
                Err(reason) => Input::NotSpawned { daemon, reason },
            }),
            Order::Look { daemon, said } => {
                let pid = said.pidfile.as_deref().and_then(named);
                Some(Input::Seen { daemon, pid })
            }
            Order::Signal { pid, signal } => {
                // One that has ended in this moment is reaped soon.
                let _ = signal::send_to_group(pid, signal);
                None
            }
            Order::Kill { pid } => {
                let _ = signal::kill_group(pid);
                None
            }
            Order::Tell(told) => {
                if told.is_warning() {
                    tracing::warn!("{told}");
                } else {
                    tracing::info!("{told}");
                }
                None
            }
            Order::StopInstance => {
                self.wants_stop = true;
                None
            }
        }
    }

    fn spawn(&self, said: &DaemonSaid) -> Result<i32, String> {
        let Some(Ground { env, config }) = &self.ground else { return Err("nothing is configured".to_owned()) };
        let args: [OsString; 2] = ["-c".into(), (&said.command).into()];
        let limits = limits::of(config);
        let program = Program {
            program: "/bin/sh".as_ref(),
            args: &args,
            env,
            umask: None,
            input: said.input || config.hooks.daemons_honour_stdin,
            keep: &[],
            own: Own {
                session: true,
                outlives: said.pidfile.is_some(),
                interruptible: true,
                folder: said.folder.as_deref(),
                user: said.user,
                group: said.group,
                limits: &limits,
                output: None,
            },
        };
        let pid = exec::start(&program).map_err(|error| format!("{} ({})", why(&error), said.origin))?;
        if let Some(path) = said.pidfile.as_ref().filter(|_| said.keeps)
            && let Err(error) = std::fs::write(path, format!("{pid}\n"))
        {
            tracing::error!("{}: cannot write {}: {} ({})", said.option, path.display(), why(&error), said.origin);
        }
        Ok(pid)
    }
}

/// Whom a pidfile names, if that one lives.
fn named(path: &Path) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    process::is_alive(pid).then_some(pid)
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |it: Metadata| (it.mtime(), it.mtime_nsec(), it.size(), it.ino());
    std::fs::metadata(path).ok().map(of)
}
