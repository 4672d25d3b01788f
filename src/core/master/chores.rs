//! What an operator asks for that changes no process: the log opened anew or put aside, statistics in it, a command.

use std::os::fd::AsFd;

use ruwsgi_contract::message::{Message, ToWorker, ToZygote};
use ruwsgi_sys::clock;
use ruwsgi_sys::exec::{self, Program};

use super::run::Master;
use crate::why;

impl Master {
    /// Opens the log file anew; `aside`: what is there goes to another name first. Everybody goes on in the new one.
    pub(super) fn renew_log(&mut self, aside: bool) {
        let Some(config) = self.plan.generation().and_then(|id| Some(self.generations.get(&id)?.config.clone())) else {
            return;
        };
        let renewed = if aside { self.outlet.put_aside(clock::unix_seconds()) } else { Ok(()) }
            .and_then(|()| self.outlet.renew(&config, &self.source))
            .and_then(|()| self.outlet.descriptor());
        match renewed {
            Err(reason) => tracing::error!("{reason}"),
            Ok(log) => {
                self.ground.log = log;
                self.send_log();
                tracing::info!("the log was opened anew");
            }
        }
    }

    fn send_log(&self) {
        self.gateways.renew_log(self.ground.log.as_fd());
        // Whoever is dead already needs no log.
        for hosted in self.generations.values() {
            let _ = hosted.zygote.as_ref().map(|it| it.send(&ToZygote::Log.encode(), &[self.ground.log.as_fd()]));
        }
        for line in self.workers.values() {
            let _ = line.channel.as_ref().map(|it| it.send(&ToWorker::Log.encode(), &[self.ground.log.as_fd()]));
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
    pub(super) fn run_command(&self, command: &str) {
        let args = ["-c".into(), command.into()];
        let program = Program {
            program: "/bin/sh".as_ref(),
            args: &args,
            env: &self.ground.env,
            umask: None,
            keep: &[],
            input: false,
        };
        match exec::start(&program) {
            Ok(pid) => tracing::info!("touch-exec (pid {pid}): {command}"),
            Err(error) => tracing::error!("touch-exec: {command}: {}", why(&error)),
        }
    }
}
