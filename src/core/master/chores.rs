//! What an operator asks for that changes no process: the log opened anew or put aside, statistics in it, a command.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::rc::Rc;

use ruwsgi_contract::message::{Message, ToWorker, ToZygote};
use ruwsgi_options::{Config, Hook};
use ruwsgi_stage::hooks::{self, Phase, Scene};
use ruwsgi_stage::privileges::{self, Moment};
use ruwsgi_sys::exec::{self, Own, Program};
use ruwsgi_sys::reap::End;
use ruwsgi_sys::{clock, signal};

use super::host::environment;
use super::run::Master;
use crate::start::Failure;
use crate::why;

/// How long a log is left alone that could not be opened anew or put aside.
const LEAVE_LOG_MS: u64 = 60_000;

impl Master {
    /// Opens the log file anew; `aside`: what is there goes to another name first. Everybody goes on in the new one.
    pub(super) fn renew_log(&mut self, aside: bool) {
        let Some(config) = self.plan.generation().and_then(|id| Some(self.generations.get(&id)?.config.clone())) else {
            return;
        };
        let renewed = if aside { self.outlet.put_aside(&config, clock::unix_seconds()) } else { Ok(()) }
            .and_then(|()| self.outlet.renew(&config, &self.source))
            .and_then(|()| self.outlet.descriptors());
        match renewed {
            Err(reason) => {
                tracing::error!("{reason}");
                self.outlet.leave_alone(clock::coarse_ms() + LEAVE_LOG_MS);
            }
            Ok(log) => {
                self.ground.log = log;
                self.send_log();
                tracing::info!("the log was opened anew");
            }
        }
    }

    fn send_log(&self) {
        // The pipe to the master stays the same.
        if self.outlet.pipes().next().is_some() {
            return;
        }
        let [log, _] = &self.ground.log;
        self.gateways.renew_log(log.as_fd());
        // Whoever is dead already needs no log.
        for hosted in self.generations.values() {
            let _ = hosted.zygote.as_ref().map(|it| it.send(&ToZygote::Log.encode(), &[log.as_fd()]));
        }
        for line in self.workers.values() {
            let _ = line.channel.as_ref().map(|it| it.send(&ToWorker::Log.encode(), &[log.as_fd()]));
        }
    }

    /// Says in the log what each worker does.
    pub(super) fn say_stats(&self) {
        let picture = self.survey();
        tracing::info!(
            "statistics: {} workers, {} connections wait, queues were full {} times",
            picture.workers.len(),
            picture.listen_queue,
            picture.listen_queue_errors
        );
        for worker in &picture.workers {
            let is = &worker.is;
            let requests = is.before.wrapping_add(is.requests);
            tracing::info!(
                "worker {} (pid {}) {}: {requests} requests, {} exceptions, {} MiB resident, {} times born",
                is.slot,
                is.pid,
                worker.status,
                is.exceptions,
                worker.resident >> 20,
                is.respawns.saturating_add(1)
            );
            for (core, (activity, _)) in worker.cores.iter().filter_map(|it| Some((it.number, it.request.as_ref()?))) {
                let took_s = clock::coarse_ms().saturating_sub(activity.since_ms) / 1000;
                tracing::info!("  core {core}: {} since {took_s} s", activity.request);
            }
        }
    }

    /// Runs a command of the shell, and does not wait for it.
    pub(super) fn run_command(&mut self, option: &str, command: &str) {
        let args = ["-c".into(), command.into()];
        let program = Program {
            program: "/bin/sh".as_ref(),
            args: &args,
            env: &self.ground.env,
            umask: None,
            keep: &[],
            input: false,
            own: Own { interruptible: true, session: true, ..Own::default() },
        };
        match exec::start(&program) {
            Ok(pid) => {
                tracing::info!("{option} (pid {pid}): {command}");
                self.commands.insert(pid, format!("{option}: {command}"));
            }
            Err(error) => tracing::error!("{option}: {command}: {}", why(&error)),
        }
    }

    /// What a file asks for that was touched. The master waits for nothing that it does.
    pub(super) fn run_hook(&mut self, hook: &Hook) {
        let mut scene = self.scene();
        scene.hurried = true;
        hooks::run_anyway(&[hook], &mut scene);
        self.take(scene);
    }

    /// Where hooks run now.
    fn scene(&self) -> Scene {
        let config = self.config();
        Scene::new(&config, environment(&self.ground.env, &config))
    }

    /// What hooks have left to do.
    fn take(&mut self, scene: Scene) {
        set_variables(&mut self.ground.env, scene.variables);
        self.meanings.extend(scene.meanings);
        self.commands.extend(scene.started);
    }

    /// The hooks of the beginning; one that fails is the end.
    pub(super) fn begin_hooks(&mut self) -> Result<(), Failure> {
        let mut scene = self.scene();
        hooks::run(Phase::MasterStart, &self.config(), &mut scene)?;
        self.take(scene);
        Ok(())
    }

    /// The hooks of the end.
    pub(super) fn end_hooks(&mut self) {
        let config = self.config();
        hooks::run_anyway(&Phase::AsUserAtexit.hooks(&config.hooks), &mut self.scene());
        // Nobody would reap them any more.
        for pid in std::mem::take(&mut self.commands).into_keys() {
            let _ = signal::kill_group(pid);
        }
    }

    /// The master becomes who it is to be, where that comes after the application was loaded.
    pub(super) fn lower(&mut self) -> Result<(), Failure> {
        let config = self.config();
        if self.lowered || privileges::moment(&config) != Moment::AfterApps {
            return Ok(());
        }
        let mut scene = self.scene();
        privileges::lower(&config, &mut scene)?;
        self.lowered = true;
        self.take(scene);
        Ok(())
    }

    /// The configuration that serves, or the first one.
    pub(super) fn config(&self) -> Rc<Config> {
        let serving = self.plan.generation().and_then(|id| self.generations.get(&id));
        serving.map_or_else(|| self.first.0.clone(), |hosted| hosted.config.clone())
    }

    /// A command that somebody has asked for has ended; `false`: it was none of those.
    pub(super) fn note_command(&mut self, pid: i32, end: End) -> bool {
        let Some(command) = self.commands.remove(&pid) else { return false };
        if end != End::Exited(0) {
            tracing::warn!("{command} (pid {pid}): {end}");
        }
        true
    }
}

/// Adds to an environment.
pub(super) fn set_variables(env: &mut Vec<(OsString, OsString)>, variables: Vec<(String, String)>) {
    for (name, value) in variables {
        env.retain(|(known, _)| known != name.as_str());
        env.push((name.into(), value.into()));
    }
}
