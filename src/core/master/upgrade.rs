//! The upgrade in place, as the running master does it: the trial of another executable, and what becomes of it. What
//! is tried and what is handed over is in `crate::upgrade`.

use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use ruwsgi_contract::{SHAPE, VERSION};
use ruwsgi_sys::exec::{self, Own, Program};
use ruwsgi_sys::reap::End;
use ruwsgi_sys::{clock, confine, memory, process, signal};

use super::order::Input;
use super::reload::fixed;
use super::run::Master;
use crate::emperor::Child;
use crate::upgrade::{Executable, REPLY_BYTES, Stamp, State, TRIAL, WORKS, environment};
use crate::vassal::Allegiance;
use crate::{service, why};

/// So much longer than loading may take, a trial may.
const GRACE_MS: u64 = 10_000;

/// The trials of this master.
#[derive(Default)]
pub(super) struct Trials {
    current: Option<Trial>,
    /// Those that nobody waits for any more: killed, and not yet reaped.
    given_up: Vec<i32>,
    /// The generations that were to begin with those.
    vain: Vec<u32>,
}

/// An executable that is being tried.
struct Trial {
    generation: u32,
    pid: i32,
    reply: OwnedFd,
    path: PathBuf,
    stamp: Option<Stamp>,
    until_ms: Option<u64>,
    late: bool,
}

impl Trials {
    /// When the patience with it is over.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.current.as_ref().filter(|trial| !trial.late)?.until_ms
    }

    /// Ends the one that is under way.
    fn give_up(&mut self) {
        if let Some(trial) = self.current.take() {
            // Dead already: so be it.
            let _ = signal::kill(trial.pid);
            self.given_up.push(trial.pid);
            self.vain.push(trial.generation);
        }
    }
}

impl Drop for Trials {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Master {
    /// Begins a generation by an upgrade, if another executable or module is on the disk. `None`: there is none, a
    /// reload is a reload. The answer comes when the trial is over.
    pub(super) fn begin_upgrade(&mut self, generation: u32) -> Option<Option<Input>> {
        self.trials.give_up();
        let executable = self.executable.as_ref()?;
        let (path, stamp) = (executable.path.clone(), executable.successor());
        if stamp.is_none() && !self.ground.module.has_successor() {
            return None;
        }
        if let Some(why) = self.stays_what_it_is() {
            tracing::warn!("{} is another executable: {why}: it is for the next restart", path.display());
            return None;
        }
        Some(match self.try_out(generation, path, stamp) {
            Ok(()) => None,
            Err(reason) => Some(Input::NotBegun { generation, reason }),
        })
    }

    /// Why this master can't become another executable, if it can't.
    fn stays_what_it_is(&self) -> Option<&'static str> {
        let pushed = self.emperor.as_ref().is_some_and(Allegiance::pushes_config);
        pushed.then_some("its configuration comes through the pipe of an emperor")
    }

    fn try_out(&mut self, generation: u32, path: PathBuf, stamp: Option<Stamp>) -> Result<(), String> {
        let failed = |error| format!("upgrade to {}: it can't be tried: {}", path.display(), why(&error));
        let (reply, theirs) = process::pipe().map_err(failed)?;
        let mut state = self.state();
        state.reply = Some(theirs.as_raw_fd());
        let mut keep = state.descriptors();
        let file = memory::sealed_file(&state.encode()).map_err(failed)?;
        keep.push(file.as_raw_fd());
        let program = Program {
            program: path.as_os_str(),
            args: &[TRIAL.into()],
            env: &self.successors_env(file.as_raw_fd()),
            umask: None,
            input: true,
            keep: &keep,
            own: Own::default(),
        };
        let pid = exec::start(&program).map_err(failed)?;
        let until_ms = self.plan.load_ms().map(|load_ms| clock::coarse_ms() + load_ms + GRACE_MS);
        let what = if stamp.is_some() { "another executable" } else { "another extension module" };
        tracing::info!("upgrade: {what} is on the disk: {} is tried (pid {pid})", path.display());
        self.trials.current = Some(Trial { generation, pid, reply, path, stamp, until_ms, late: false });
        Ok(())
    }

    /// A child is dead and reaped: whether it was one that tried.
    pub(super) fn is_trial(&mut self, pid: i32, end: End) -> bool {
        if let Some(at) = self.trials.given_up.iter().position(|other| *other == pid) {
            self.trials.given_up.remove(at);
            return true;
        }
        let Some(trial) = self.trials.current.take_if(|trial| trial.pid == pid) else { return false };
        let generation = trial.generation;
        let concluded = if self.is_awaited(generation) { self.conclude(&trial, end) } else { Ok(()) };
        let why = concluded.err().unwrap_or_else(|| "given up".to_owned());
        let reason = format!("upgrade to {}: {why}", trial.path.display());
        self.feed(Input::NotBegun { generation, reason });
        true
    }

    /// The generation of a trial is wanted. Another executable would know nothing of a stop that is ordered.
    fn is_awaited(&self, generation: u32) -> bool {
        self.plan.is_candidate(generation) && !self.plan.stops()
    }

    /// Ends a trial that takes too long, or that nobody waits for any more.
    pub(super) fn look_at_trial(&mut self) {
        if self.trials.current.as_ref().is_some_and(|trial| !self.is_awaited(trial.generation)) {
            self.trials.give_up();
        }
        for generation in std::mem::take(&mut self.trials.vain) {
            self.feed(Input::NotBegun { generation, reason: "given up".to_owned() });
        }
        let Some(trial) = &mut self.trials.current else { return };
        if trial.until_ms.is_some_and(|until| until <= clock::coarse_ms()) && !trial.late {
            trial.late = true;
            // Dead already: its end is on the way.
            let _ = signal::kill(trial.pid);
        }
    }

    /// What came of a trial. It does not come back where the new executable has taken over.
    fn conclude(&mut self, trial: &Trial, end: End) -> Result<(), String> {
        if trial.late {
            return Err("it took longer to try than load-timeout allows".to_owned());
        }
        // All that is there: the one who wrote it is dead.
        let said = process::read_now(&trial.reply, REPLY_BYTES).map_err(|error| why(&error))?;
        let said = String::from_utf8_lossy(&said);
        match said.strip_prefix(WORKS) {
            Some(version) if end == End::Exited(0) => self.become_successor(trial, version),
            _ if said.is_empty() => Err(format!("its trial {end}: it is no ruwsgi that can take over")),
            _ => Err(said.into_owned()),
        }
    }

    fn become_successor(&mut self, trial: &Trial, version: &str) -> Result<(), String> {
        if self.executable.as_ref().and_then(Executable::successor) != trial.stamp {
            return Err("it was changed again while it was tried".to_owned());
        }
        self.plan.starting_pids().into_iter().for_each(|pid| {
            // They hold no request, and their zygote goes with this executable.
            let _ = signal::kill(pid);
        });
        tracing::info!("upgrade: ruwsgi {version} takes over: {}", self.state().told());
        // All that was said is on its way by now, this line included.
        self.outlet.deal();
        let mut state = self.state();
        state.waiting = self.outlet.waiting();
        let mut keep = state.descriptors();
        let file = memory::sealed_file(&state.encode()).map_err(|error| why(&error))?;
        keep.push(file.as_raw_fd());
        let env = self.successors_env(file.as_raw_fd());
        let error = exec::replace(trial.path.as_os_str(), &self.source.argv, &env, &keep);
        Err(why(&error))
    }

    fn successors_env(&self, number: RawFd) -> Vec<(OsString, OsString)> {
        let mut env = environment(&self.ground.env, number);
        let is_own = |name: &OsString| service::VARIABLES.iter().any(|variable| name == variable);
        env.extend(self.source.env.iter().filter(|(name, _)| is_own(name)).cloned());
        self.tell_emperor(|emperor| emperor.leave(&mut env));
        env
    }

    /// What this master leaves.
    fn state(&self) -> State {
        let mut state = State {
            version: VERSION.to_owned(),
            shape: SHAPE.to_owned(),
            argv: self.source.argv.clone(),
            cwd: self.source.cwd.clone(),
            fixed: fixed(&self.config()),
            lowered: self.lowered,
            meanings: self.meanings.iter().map(|(signal, it)| (*signal, it.function().to_owned())).collect(),
            log: self.outlet.kept(),
            held: self.fifos.descriptor().into_iter().chain(self.emperor.as_ref().map(AsRawFd::as_raw_fd)).collect(),
            locks: Some(self.ground.locks.file().as_raw_fd()),
            daemons: self.beside.daemons.legacy(),
            commands: self.commands.iter().map(|(pid, command)| (*pid, command.clone())).collect(),
            dealt: self.outlet.dealt(),
            capabilities: self.config().process.cap.map(|_| confine::held()),
            court: self.court.as_ref().and_then(Child::left),
            ..self.plan.legacy()
        };
        let mut bound = self.desk.doors();
        bound.extend(self.gateways.doors());
        bound.extend(self.first.1.all().cloned());
        bound
            .extend(self.generations.values().flat_map(|hosted| hosted.listeners.iter().chain(&hosted.doors).cloned()));
        for one in bound {
            let socket = one.left();
            if state.sockets.iter().all(|other| other.fd != socket.fd) {
                state.held.extend(one.given());
                state.sockets.push(socket);
            }
        }
        state.pidfiles.extend(self.pidfiles.iter().map(crate::pidfile::Pidfile::kept));
        if let Some(hosted) = self.generations.get(&state.generation) {
            state.boards.push(hosted.scoreboard.file().as_raw_fd());
            state.boards.extend(hosted.handover.files().iter().map(AsRawFd::as_raw_fd));
        }
        for former in &mut state.workers {
            let channel = self.workers.get(&former.worker).and_then(|line| line.channel.as_ref());
            former.channel = channel.map(|channel| channel.as_fd().as_raw_fd());
        }
        self.gateways.legacy(&mut state);
        self.beside.crons.legacy(&mut state);
        // Killed, and not yet reaped.
        state.ending.extend(&self.trials.given_up);
        state
    }
}
