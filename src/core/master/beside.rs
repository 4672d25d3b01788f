//! What runs beside the workers: daemons and jobs. They begin when the application was loaded, change hands when a
//! generation is complete, and end after the last worker.

use std::rc::Rc;
use std::time::Duration;

use mio::Events;
use ruwsgi_sys::clock;
use ruwsgi_sys::reap::{self, End};

use super::host::environment;
use super::order::{Command, Input};
use super::run::Master;
use crate::cron::Crons;
use crate::daemons::Daemons;
use crate::upgrade::State;

/// Daemons and jobs, and the configuration that asks for them.
#[derive(Default)]
pub(super) struct Beside {
    pub daemons: Daemons,
    pub crons: Crons,
    config: Option<Rc<ruwsgi_options::Config>>,
    /// Somebody is in a hurry to end.
    pub hurried: bool,
}

impl Master {
    /// What another executable has left goes on as it was, until a generation of this one has the say.
    pub(super) fn inherit_beside(&mut self, left: &State) {
        let config = self.config();
        let env = environment(&self.ground.env, &config);
        self.beside.daemons.inherit(&config, env.clone(), &left.daemons);
        self.beside.crons.want(&config, env);
        self.beside.crons.inherit(left);
        self.beside.config = Some(config);
        self.commands.extend(left.commands.iter().cloned());
    }

    /// The generation that serves has the say from here on.
    pub(super) fn hand_over_beside(&mut self) {
        let config = self.config();
        // A zygote that was replaced has changed nothing.
        if self.beside.config.as_ref().is_some_and(|known| Rc::ptr_eq(known, &config)) {
            return;
        }
        let env = environment(&self.ground.env, &config);
        self.beside.daemons.want(&config, env.clone());
        self.beside.crons.want(&config, env);
        self.beside.config = Some(config);
    }

    /// The application was loaded for the first time.
    pub(super) fn begin_beside(&mut self) {
        if self.beside.config.is_none() {
            self.hand_over_beside();
        }
    }

    pub(super) fn beside_wake_ms(&self) -> Option<u64> {
        self.beside.daemons.wake_ms().into_iter().chain(self.beside.crons.wake_ms()).min()
    }

    pub(super) fn look_beside(&mut self, now_ms: u64) {
        self.beside.daemons.look(now_ms);
        self.beside.crons.look(now_ms);
        if self.beside.daemons.take_wish_to_stop() {
            let in_flight = self.in_flight();
            self.feed(Input::Command { command: Command::Stop, in_flight });
        }
    }

    /// A child is dead: `true`, if it was nobody of the plan.
    pub(super) fn note_end_beside(&mut self, pid: i32, end: End) -> bool {
        self.note_command(pid, end) || self.beside.daemons.note_end(pid, end) || self.beside.crons.note_end(pid, end)
    }

    /// The last worker is gone: so are daemons, in their time. A second signal hurries them.
    pub(super) fn end_beside(&mut self) {
        self.beside.crons.stop();
        self.beside.daemons.stop(self.beside.hurried);
        let mut events = Events::with_capacity(64);
        while !self.beside.daemons.is_over() {
            let now = clock::coarse_ms();
            let wait = self.beside.daemons.wake_ms().map(|wake| Duration::from_millis(wake.saturating_sub(now).max(1)));
            // What failed is looked at again all the same.
            let _ = self.poll.poll(&mut events, Some(wait.unwrap_or(Duration::from_secs(1))));
            self.outlet.deal();
            if self.is_told_to_end() {
                self.beside.daemons.stop(true);
            }
            while let Ok(Some(pid)) = reap::dead_child() {
                match reap::reap(pid) {
                    Ok(Some(end)) => drop(self.note_end_beside(pid, end)),
                    _ => break,
                }
            }
            self.beside.daemons.look(clock::coarse_ms());
        }
    }
}
