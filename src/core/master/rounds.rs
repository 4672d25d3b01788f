//! What the master looks at from time to time, because nobody tells it: requests past their deadline, the load, the
//! memory of workers, listen queues, files. Each look becomes an input of the plan.

use std::rc::Rc;

use ruwsgi_contract::scoreboard::{Activity, Seat};
use ruwsgi_sys::{clock, listen, process};

use super::children::Line;
use super::fifo::Letter;
use super::order::{Input, Load, Order, Usage, Work};
use super::run::Master;
use super::touch::Wish;
use crate::Place;
use crate::listeners::Bound;

/// How often the load is looked at, in milliseconds.
const LOAD_MS: u64 = 1_000;

/// So many requests of a worker that dies are told.
const LOST: usize = 64;

/// When what is looked at next.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    load_ms: u64,
    memory_ms: u64,
}

impl Master {
    /// When somebody has to look again.
    pub(super) fn rounds_wake_ms(&self) -> Option<u64> {
        let load = self.plan.wants_load().then_some(self.rounds.load_ms);
        let memory = self.plan.looks_at_memory_ms().map(|_| self.rounds.memory_ms);
        let log = self.outlet.wake_ms(&self.config());
        let others = [
            log,
            self.beside_wake_ms(),
            load,
            memory,
            self.touches.wake_ms(),
            self.bells.wake_ms(),
            self.desk.wake_ms(),
            Some(self.queues.wake_ms()),
            self.subscriptions.wake_ms(),
            self.gateways.wake_ms(),
            self.service_wake_ms(),
            self.inquiry_wake_ms(),
        ];
        others.into_iter().flatten().min()
    }

    /// Looks at everything whose time has come.
    pub(super) fn make_rounds(&mut self) {
        let now = clock::coarse_ms();
        if self.plan.watches() {
            self.look_for_overdue(now);
        }
        if self.plan.wants_load() && now >= self.rounds.load_ms {
            self.rounds.load_ms = now + LOAD_MS;
            let load = self.load();
            self.feed(Input::Load(load));
        }
        if let Some(period_ms) = self.plan.looks_at_memory_ms().filter(|_| now >= self.rounds.memory_ms) {
            self.rounds.memory_ms = now + period_ms;
            self.look_at_memory();
        }
        if now >= self.queues.wake_ms() {
            let (listeners, limit) = (self.listeners(), self.queue_limit());
            for event in self.queues.look(now, &listeners, &limit) {
                self.perform(Order::Tell(event));
            }
            self.fifos.look(&self.poll);
        }
        self.outlet.look(now);
        self.look_beside(now);
        if self.outlet.is_too_large(&self.config(), now) {
            self.renew_log(true);
        }
        self.attend_service(now);
        for wish in self.touches.look(now) {
            match wish {
                Wish::Letter(letter) => self.obey(letter),
                Wish::Run(command) => self.run_command("touch-exec", &command),
                Wish::Hook(hook) => self.run_hook(&hook),
            }
        }
        for letter in self.fifos.read() {
            self.obey(letter);
        }
        for command in self.bells.look(&self.poll) {
            self.obey(Letter::Command(command));
        }
    }

    /// What a letter asks for.
    fn obey(&mut self, letter: Letter) {
        match letter {
            Letter::Command(command) => {
                let in_flight = self.in_flight();
                self.feed(Input::Command { command, in_flight });
            }
            Letter::Turn(number) => {
                if let Err(why) = self.fifos.turn(&self.poll, number) {
                    tracing::error!("{why}");
                }
            }
            Letter::LogReopen => self.renew_log(false),
            Letter::LogRotate => self.renew_log(true),
            Letter::Stats => self.say_stats(),
            Letter::Pidfiles => self.pidfiles.iter_mut().for_each(|pidfile| {
                if let Err(error) = pidfile.write_again() {
                    tracing::error!("pidfile: {}", crate::why(&error));
                }
            }),
            Letter::Subscriptions => {
                self.subscriptions.toggle();
                self.keep_announced();
            }
            Letter::Nothing => tracing::warn!("master-fifo: there is no emperor and no fork here"),
        }
    }

    /// The sockets of the generation that serves.
    fn listeners(&self) -> Vec<Rc<Bound>> {
        let hosted = self.plan.generation().and_then(|id| self.generations.get(&id));
        hosted.map_or_else(Vec::new, |hosted| hosted.listeners.clone())
    }

    /// Who says how long the listen queues are.
    fn queue_limit(&self) -> String {
        let hosted = self.plan.generation().and_then(|id| self.generations.get(&id));
        let most = listen::somaxconn();
        match hosted.and_then(|hosted| Some((hosted.config.sockets.listen?, hosted))) {
            Some((asked, hosted)) => format!("listen = {asked}{}, somaxconn {most}", Place(&hosted.config, "listen")),
            None => format!("listen, which nobody has set, and somaxconn {most}"),
        }
    }

    /// The requests of the worker that has this pid, and whether it has answered others, as its scoreboard shows them:
    /// bounded, and nobody's orders.
    pub(super) fn record_of(&self, pid: i32) -> (Vec<(usize, Activity)>, bool) {
        let is_it = |(worker, _): &(&u64, &Line)| self.plan.process_of(**worker) == Some(pid);
        let seat = self.workers.iter().find(is_it).and_then(|(_, line)| self.seat(line));
        let of = |seat: Seat<'_>| {
            let all = (0..seat.cores()).filter_map(|core| Some((core, seat.core(core).activity()?)));
            (all.take(LOST).collect(), seat.requests() > 0)
        };
        seat.map_or_else(Default::default, of)
    }

    pub(super) fn backlog(&self) -> u32 {
        self.listeners().iter().fold(0, |sum, bound| sum.saturating_add(bound.queue().0))
    }

    fn seat(&self, line: &Line) -> Option<Seat<'_>> {
        Some(self.generations.get(&line.generation)?.scoreboard.seat(line.seat as usize))
    }

    pub(super) fn in_flight(&self) -> usize {
        self.workers.values().filter_map(|line| self.seat(line)).map(|seat| seat.in_flight()).sum()
    }

    fn look_for_overdue(&mut self, now: u64) {
        let overdue = |(worker, line): (&u64, &Line)| {
            let seat = self.seat(line)?;
            let requests = seat.overdue(now);
            let others = seat.in_flight().saturating_sub(requests.len());
            (!requests.is_empty()).then_some((*worker, requests, others))
        };
        let found: Vec<_> = self.workers.iter().filter_map(overdue).collect();
        for (worker, requests, others) in found {
            let waiting = self.backlog();
            self.feed(Input::Overdue { worker, requests, others, waiting });
        }
    }

    fn load(&self) -> Load {
        let current = self.plan.generation();
        let wants_memory = self.plan.counts_memory();
        let of = |line: &Line| {
            let hosted = self.generations.get(&line.generation)?;
            let seat = hosted.scoreboard.seat(line.seat as usize);
            let (is, in_flight) = (seat.occupant(), seat.in_flight());
            let (resident, _) = process::memory_of(is.pid).filter(|_| wants_memory).unwrap_or_default();
            let (busy, idle) = (in_flight >= hosted.scoreboard.cores(), in_flight == 0);
            Some((line.slot, Work { busy, idle, requests: is.requests, running_us: is.running_us, resident }))
        };
        let up = |(worker, line): &(&u64, &Line)| Some(line.generation) == current && self.plan.is_up(**worker);
        let workers = self.workers.iter().filter(up).filter_map(|(_, line)| of(line)).collect();
        Load { workers, backlog: self.backlog().saturating_add(self.waiting_inside(current)) }
    }

    /// How many requests wait in workers: while all their cores are busy, they accept all the same.
    fn waiting_inside(&self, generation: Option<u32>) -> u32 {
        let hosted = generation.and_then(|id| self.generations.get(&id));
        let count = hosted.map_or(0, |it| it.scoreboard.waiting().saturating_add(it.handover.under_way()));
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn look_at_memory(&mut self) {
        let detailed = self.plan.wants_detailed_memory();
        let pids = self.workers.keys().filter_map(|worker| Some((*worker, self.plan.pid_of(*worker)?)));
        let usage = |(worker, pid)| {
            let (resident, addresses) = process::memory_of(pid)?;
            let (unshared, proportional) = if detailed { process::own_memory_of(pid)? } else { (0, 0) };
            Some(Input::Memory { worker, usage: Usage { addresses, resident, unshared, proportional } })
        };
        for input in pids.filter_map(usage).collect::<Vec<_>>() {
            self.feed(input);
        }
    }
}
