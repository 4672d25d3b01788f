//! The mind of the master: what happened goes in, what is to be done comes out. Nothing here touches the kernel, the
//! clock or the log, so that thousands of lives can be played through in a test.
//!
//! * A *generation* is one reading of the configuration and its zygote. One generation is `current`: the newest whose
//!   first worker came up. One may be the `candidate`: it loads beside, and is judged by its first worker.
//! * A *slot* is the number of a worker as people see it, from 1 to `processes`. [`roll`] keeps each slot served by a
//!   worker of the current generation, with never more than one worker above `processes`.
//! * A *seat* is a worker's place on the scoreboard of its generation.

mod backoff;
mod cheaper;
mod generation;
mod legacy;
mod recycle;
mod roll;
#[cfg(test)]
mod simulation;
mod slots;
mod stop;
mod storm;
mod worker;

use std::collections::{BTreeMap, BTreeSet};

use ruwsgi_contract::message::{FromWorker, FromZygote, Wish};
use ruwsgi_contract::scoreboard::Activity;
use ruwsgi_sys::reap::End;

pub(crate) use self::backoff::Backoff;
use self::backoff::{EARLY_IN_USE_MS, EARLY_MS};
pub(crate) use self::cheaper::{ALGORITHMS, Busyness, Cheaper};
use self::generation::{Generation, Zygote};
use self::stop::Stop;
use self::storm::Storm;
use self::worker::{KILL_AGAIN_MS, State, Worker};
use super::event::{Event, Next, Why};
use super::health::Health;
use super::order::{Command, How, Input, Order, Settings, Signal};

/// How many early deaths in a row a slot has for nothing. A zygote has none: loading is dear.
const FREE_DEATHS: u32 = 2;

/// The plan.
#[derive(Debug)]
pub(crate) struct Plan {
    now: u64,
    /// When the next thing is due; found anew by each decision.
    wake: Option<u64>,
    orders: Vec<Order>,
    generations: BTreeMap<u32, Generation>,
    workers: BTreeMap<u64, Worker>,
    slots: BTreeMap<u32, Backoff>,
    current: Option<u32>,
    candidate: Option<u32>,
    begun: u32,
    ordered: u64,
    storm: Storm,
    renewal: Backoff,
    stop: Option<Stop>,
    /// The stop begins then, and so many requests were in flight when it was ordered.
    closing: Option<(u64, usize)>,
    /// There are router processes.
    routers: bool,
    /// They are ending; the workers follow, at the latest then.
    parting_ms: Option<u64>,
    /// Nobody accepts.
    paused: bool,
    /// Slots that have no worker.
    off: BTreeSet<u32>,
    /// No slot has one, until somebody connects.
    cheap: bool,
    /// What the load asks for, and which row of the algorithms that is.
    algorithm: Option<(usize, Box<dyn cheaper::Algorithm>)>,
    /// What the workers had answered when somebody last asked for something, and when that was.
    answered: u64,
    idle_since_ms: u64,
    /// Another executable has left what there is; whether its workers are to be killed.
    inherited: Option<bool>,
    /// TERM has been explained.
    hinted: bool,
    over: bool,
    /// Somebody else decides when this instance is over.
    vassal: bool,
    orphans: u64,
    /// What holds before any configuration is at work.
    settings: Settings,
}

impl Plan {
    /// For an instance that is started with these settings.
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            now: 0,
            wake: None,
            orders: Vec::new(),
            generations: BTreeMap::new(),
            workers: BTreeMap::new(),
            slots: BTreeMap::new(),
            current: None,
            candidate: None,
            begun: 0,
            ordered: 0,
            storm: Storm::default(),
            renewal: Backoff::default(),
            stop: None,
            closing: None,
            routers: false,
            parting_ms: None,
            paused: false,
            off: BTreeSet::new(),
            cheap: false,
            algorithm: None,
            answered: 0,
            idle_since_ms: 0,
            inherited: None,
            hinted: false,
            over: false,
            vassal: false,
            orphans: 0,
            settings,
        }
    }

    /// This instance has an emperor, which ends it when it is idle.
    pub(crate) fn set_vassal(&mut self, vassal: bool) {
        self.vassal = vassal;
    }

    /// What is to be done after this, in this order.
    pub(crate) fn decide(&mut self, input: Input, now_ms: u64) -> Vec<Order> {
        if self.over {
            return Vec::new();
        }
        self.now = now_ms;
        match input {
            Input::Start => match self.inherited.take() {
                Some(brutal) if self.current.is_some() => self.begin(How::Reload, brutal),
                _ => self.begin(How::Start, false),
            },
            Input::Tick => {}
            Input::Signal { signal, in_flight } => self.signal(signal, in_flight),
            Input::Began { generation, zygote, python, settings } => {
                self.began(generation, zygote, python, *settings);
            }
            Input::Bare { generation, settings } => self.bare(generation, *settings),
            Input::NotBegun { generation, reason } => self.not_begun(generation, reason),
            Input::Zygote { generation, said } => self.zygote_said(generation, said),
            Input::ZygoteClosed { generation } => self.end_zygote(generation),
            Input::Worker { worker, sender, said } => self.worker_said(worker, sender, said),
            Input::WorkerClosed { worker } => self.worker_closed(worker),
            Input::Overdue { worker, requests, others, waiting } => self.overdue(worker, requests, others, waiting),
            Input::Command { command, in_flight } => self.command(command, in_flight),
            Input::Load(load) => self.loaded(&load),
            Input::Memory { worker, usage } => self.measured(worker, usage),
            Input::Knock => self.knocked(),
            Input::Routers { alive } => self.routers = alive,
            Input::Exited { pid, end, requests, of_use } => self.exited(pid, end, requests, of_use),
            Input::NoChild { pid } => self.no_child(pid),
        }
        self.settle();
        std::mem::take(&mut self.orders)
    }

    /// When [`Input::Tick`] is wanted at the latest; `None`: not before something else happens.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        self.wake
    }

    /// How many orphans of the application were reaped.
    pub(crate) fn orphans(&self) -> u64 {
        self.orphans
    }

    /// Somebody must look for requests that are past their deadline, once a second.
    pub(crate) fn watches(&self) -> bool {
        let has_deadlines = |worker: &Worker| worker.deadlines || self.settings_of(worker.generation).deadlines;
        self.workers.values().any(|worker| worker.up_ms.is_some() && has_deadlines(worker))
    }

    /// How the instance is for those who send requests.
    pub(crate) fn health(&self) -> Health {
        match () {
            () if self.stops() => Health::Stopping,
            () if self.paused => Health::Paused,
            () if self.is_cheap() => Health::Ready,
            // Routers alone.
            () if self.current.is_some() && self.settings().processes == 0 => Health::Ready,
            () if self.workers.values().any(|worker| worker.state == State::Up) => Health::Ready,
            () => Health::Starting,
        }
    }

    /// Nobody accepts.
    pub(crate) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Workers are about to be replaced by those of another reading of the configuration.
    pub(crate) fn is_reloading(&self) -> bool {
        let unfinished = |id| self.generations.get(&id).is_some_and(|it| it.how == How::Reload && !it.complete);
        self.current.is_some_and(|current| self.candidate.is_some_and(unfinished) || unfinished(current))
    }

    /// This worker accepts.
    pub(crate) fn is_up(&self, worker: u64) -> bool {
        self.workers.get(&worker).is_some_and(|worker| worker.state == State::Up)
    }

    /// The pid of a worker that accepts.
    pub(crate) fn pid_of(&self, worker: u64) -> Option<i32> {
        self.workers.get(&worker).filter(|worker| worker.state == State::Up)?.pid
    }

    /// The pid of a worker, whatever it does.
    pub(crate) fn process_of(&self, worker: u64) -> Option<i32> {
        self.workers.get(&worker)?.pid
    }

    /// The generation that serves, or the first one while it loads.
    pub(crate) fn generation(&self) -> Option<u32> {
        self.current.or(self.candidate)
    }

    /// The settings that signals go by.
    fn settings(&self) -> Settings {
        self.current.or(self.candidate).map_or(self.settings, |generation| self.settings_of(generation))
    }

    fn settings_of(&self, generation: u32) -> Settings {
        self.generations.get(&generation).map_or(self.settings, |generation| generation.settings)
    }

    fn tell(&mut self, event: Event) {
        self.orders.push(Order::Tell(event));
    }

    /// `at_ms` has come; otherwise it is remembered as a time to wake at.
    fn due(&mut self, at_ms: u64) -> bool {
        let due = at_ms <= self.now;
        if !due {
            self.wake = Some(self.wake.map_or(at_ms, |wake| wake.min(at_ms)));
        }
        due
    }

    // Generations.

    fn begin(&mut self, how: How, brutal: bool) {
        self.begun += 1;
        let generation = self.begun;
        self.generations.insert(generation, Generation::new(how, brutal, self.settings(), self.now));
        self.candidate = Some(generation);
        if how == How::Reload {
            self.tell(Event::Reloading { generation });
        }
        self.orders.push(Order::Begin { generation, how });
    }

    fn began(&mut self, id: u32, pid: i32, python: String, settings: Settings) {
        let Some(generation) = self.generations.get_mut(&id) else { return };
        generation.settings = settings;
        generation.python = python;
        generation.zygote = Zygote::Loading { pid };
        if self.candidate != Some(id) {
            self.kill_zygote(id);
        } else if self.current.is_none() {
            self.fit_slots(id);
        }
    }

    /// A generation that needs neither application nor workers: it serves as soon as it is there.
    fn bare(&mut self, id: u32, settings: Settings) {
        let Some(generation) = self.generations.get_mut(&id) else { return };
        (generation.settings, generation.zygote) = (settings, Zygote::Gone);
        if self.candidate == Some(id) {
            self.fit_slots(id);
            self.accept(id);
        }
    }

    fn not_begun(&mut self, id: u32, reason: String) {
        if let Some(generation) = self.generations.get_mut(&id) {
            generation.zygote = Zygote::Gone;
        }
        self.candidate_failed(id, 1, reason);
    }

    /// The first worker of the candidate is up: it is the current generation now, and replaces the former one.
    fn accept(&mut self, id: u32) {
        let reload = self.current.is_some();
        if reload {
            self.fit_slots(id);
        }
        self.idle_since_ms = self.now;
        self.current = Some(id);
        self.candidate = None;
        self.slots.clear();
        let former: Vec<u32> = self.generations.keys().copied().filter(|other| *other != id).collect();
        for other in former {
            self.end_zygote(other);
        }
        let starting = |worker: &Worker| worker.generation != id && worker.state == State::Starting;
        for worker in self.workers_where(starting) {
            self.kill_worker(worker);
        }
        if reload {
            self.tell(Event::Serving { generation: id });
        }
    }

    /// The candidate came to nothing. The current generation goes on; without one, this is the end.
    fn candidate_failed(&mut self, id: u32, code: u8, reason: String) {
        if self.candidate != Some(id) {
            return;
        }
        self.candidate = None;
        let how = self.generations.get(&id).map_or(How::Reload, |generation| generation.how);
        match self.current {
            None => self.fail(code, reason),
            Some(_) if matches!(how, How::Again { .. }) => {
                let wait_ms = self.renewal.death(true, 0, self.now);
                self.tell(Event::RenewalFailed { reason, wait_ms });
            }
            Some(serving) => {
                if self.generations.get(&serving).is_some_and(|serving| serving.inherited) {
                    // It has no zygote: it is tried again, and not at once.
                    self.renewal.death(true, 0, self.now);
                }
                self.tell(Event::ReloadFailed { generation: id, reason, serving });
            }
        }
        self.end_zygote(id);
        self.kill_workers_of(id);
    }

    /// Nobody wants this generation any more, and it holds no request.
    fn abandon(&mut self, id: u32) {
        self.kill_zygote(id);
        self.kill_workers_of(id);
    }

    fn kill_workers_of(&mut self, id: u32) {
        for worker in self.workers_where(|worker| worker.generation == id) {
            self.kill_worker(worker);
        }
    }

    // Zygotes.

    fn zygote_said(&mut self, id: u32, said: FromZygote) {
        let now = self.now;
        let Some(generation) = self.generations.get_mut(&id) else { return };
        let Zygote::Loading { pid } = generation.zygote else { return };
        match said {
            FromZygote::Ready { load_ms, python } => {
                generation.zygote = Zygote::Ready { pid, since_ms: now };
                self.tell(Event::Loaded { pid, load_ms, python });
            }
            // For statistics, and for those who tell what nobody knows.
            FromZygote::App(_) | FromZygote::Asked(_) => {}
            FromZygote::Refused(reason) => self.candidate_failed(id, 1, reason),
            FromZygote::Failed { code, reason } => self.candidate_failed(id, code, reason),
        }
    }

    /// Closes the channel of a zygote, or finds it closed: it has some time to end by itself.
    fn end_zygote(&mut self, id: u32) {
        let Some(generation) = self.generations.get_mut(&id) else { return };
        let (Zygote::Loading { pid } | Zygote::Ready { pid, .. }) = generation.zygote else { return };
        let kill_at = self.now + u64::from(generation.settings.zygote_mercy_ms);
        generation.zygote = Zygote::Ending { pid, since_ms: generation.zygote.since_ms(), kill_at };
        self.orders.push(Order::Retire { generation: id });
    }

    fn kill_zygote(&mut self, id: u32) {
        let Some(generation) = self.generations.get_mut(&id) else { return };
        let Some(pid) = generation.zygote.pid() else { return };
        let again_at = self.now + KILL_AGAIN_MS;
        generation.zygote = Zygote::Killed { pid, since_ms: generation.zygote.since_ms(), again_at };
        self.orders.push(Order::Kill { pid });
    }

    fn zygote_exited(&mut self, id: u32, pid: i32, end: End) {
        let Some(generation) = self.generations.get_mut(&id) else { return };
        let since = generation.zygote.since_ms();
        generation.zygote = Zygote::Gone;
        self.orders.push(Order::Retire { generation: id });
        if self.candidate == Some(id) {
            let python = &generation.python;
            let reason = match since {
                None => format!("zygote (pid {pid}, {python}) {end} before the application was loaded"),
                Some(_) => format!("zygote (pid {pid}, {python}) {end} before its first worker was ready"),
            };
            self.candidate_failed(id, 1, reason);
        } else if self.current == Some(id) && self.stop.is_none() {
            let early = since.is_none_or(|since| self.now < since + EARLY_MS);
            let wait_ms = self.renewal.death(early, 0, self.now);
            self.tell(Event::ZygoteDied { pid, end, wait_ms });
        }
    }

    // Workers.

    fn workers_where(&self, which: impl Fn(&Worker) -> bool) -> Vec<u64> {
        self.workers.iter().filter(|(_, worker)| which(worker)).map(|(id, _)| *id).collect()
    }

    fn worker_said(&mut self, id: u64, sender: i32, said: FromWorker) {
        let (claimed, proven) = match said {
            FromWorker::Born { pid } => (pid, false),
            _ => (sender, true),
        };
        let free = claimed > 1 && self.owner_of(claimed).is_none();
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.pid {
            None if free => worker.pid = Some(claimed),
            Some(pid) if pid == claimed => {}
            _ => {
                let who = worker.who();
                let accepted = worker.up_ms.is_some();
                if !accepted {
                    // The claim was wrong; the kernel says who holds the channel.
                    worker.pid = (proven && free).then_some(sender);
                }
                self.tell(Event::Imposter { who, sender });
                if !accepted {
                    self.distrust(id);
                }
                return;
            }
        }
        if matches!(worker.state, State::Killed { .. }) {
            return self.kill_worker(id);
        }
        match said {
            FromWorker::Born { .. } | FromWorker::App(_) => {}
            FromWorker::Up if worker.state == State::Starting => {
                worker.state = State::Up;
                worker.up_ms = Some(now);
                let (who, after_ms, generation) = (worker.who(), now - worker.asked_ms, worker.generation);
                self.tell(Event::Ready { who, after_ms });
                if self.candidate == Some(generation) {
                    self.accept(generation);
                }
            }
            FromWorker::Up => {}
            FromWorker::Recycle(why) => self.leave(id, Why::Said(why)),
            FromWorker::Asks(wish) => {
                let who = worker.who();
                let signal = match wish {
                    Wish::Reload => Signal::Hup,
                    Wish::Stop => Signal::Quit,
                };
                self.tell(Event::Asked { who, wish });
                self.orders.push(Order::Raise { signal });
            }
            FromWorker::Deadlines => worker.deadlines = true,
            FromWorker::Failed { code, reason } => worker.failure = Some((code, reason)),
        }
    }

    fn worker_closed(&mut self, id: u64) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.pid.is_some() {
            // Its end is on the way, or the application has closed a descriptor that it did not know.
            worker.deaf_ms.get_or_insert(now);
        } else {
            self.bury(id, None);
        }
    }

    /// A worker that is not up, and can't be trusted to come up.
    fn distrust(&mut self, id: u64) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (who, slot, generation, stays) = (worker.who(), worker.slot, worker.generation, worker.stays());
        if self.candidate == Some(generation) {
            self.candidate_failed(generation, 1, format!("{who} did not come up as it should"));
        } else if stays {
            self.next(slot, true, true);
        }
        self.kill_worker(id);
    }

    fn kill_worker(&mut self, id: u64) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.state = State::Killed { again_at: self.now + KILL_AGAIN_MS };
        if let Some(pid) = worker.pid {
            self.orders.push(Order::Kill { pid });
        }
    }

    /// Has a worker finish what it has, within the mercy of its generation.
    fn drain(&mut self, id: u64, last: bool) {
        let Some(worker) = self.workers.get(&id) else { return };
        let mercy_ms = self.settings_of(worker.generation).mercy_ms;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.state = State::Draining { kill_at: self.now + u64::from(mercy_ms) };
        self.orders.push(Order::Drain { worker: id, mercy_ms, last });
        if let (Some(_), Some(pid)) = (worker.deaf_ms, worker.pid) {
            self.orders.push(Order::Terminate { pid });
        }
    }

    /// A worker is gone: dead, or (without an end) never born.
    fn bury(&mut self, id: u64, end: Option<End>) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.orders.push(Order::Close { worker: id });
        let (who, lived_ms) = (worker.who(), self.now - worker.asked_ms);
        if !worker.stays() || self.stop.is_some() {
            if let Some(end) = end {
                self.tell(Event::Ended { who, end, lived_ms });
            }
            return;
        }
        if self.candidate == Some(worker.generation) {
            let how = end.map_or("could not be forked".to_owned(), |end| format!("{end} before it was ready"));
            let (code, reason) = worker.failure.unwrap_or_else(|| (1, format!("{who} {how}")));
            return self.candidate_failed(worker.generation, code, reason);
        }
        let early_ms = if worker.of_use { EARLY_IN_USE_MS } else { EARLY_MS };
        let early = worker.up_ms.is_none_or(|up| self.now < up + early_ms);
        let ready = self
            .current
            .and_then(|current| self.generations.get(&current))
            .is_some_and(|current| current.zygote.is_ready());
        let next = if end.is_none() && !ready { Next::NoZygote } else { self.next(worker.slot, early, ready) };
        match end {
            Some(end) => {
                let reason = worker.failure.map(|(_, reason)| reason);
                self.tell(Event::Died { who, end, lived_ms, reason, next });
            }
            None => self.tell(Event::Unborn { who, next }),
        }
    }

    fn next(&mut self, slot: u32, early: bool, ready: bool) -> Next {
        let backoff = self.slots.entry(slot).or_default();
        match backoff.death(early, FREE_DEATHS, self.now) {
            _ if !ready => Next::NoZygote,
            0 => Next::Replaced,
            wait_ms => Next::Later { deaths: backoff.deaths, wait_ms },
        }
    }

    /// Whom a pid belongs to.
    fn owner_of(&self, pid: i32) -> Option<Owner> {
        let worker = self.workers.iter().find(|(_, worker)| worker.pid == Some(pid));
        let zygote = || self.generations.iter().find(|(_, generation)| generation.zygote.pid() == Some(pid));
        worker.map(|(id, _)| Owner::Worker(*id)).or_else(|| zygote().map(|(id, _)| Owner::Zygote(*id)))
    }

    fn exited(&mut self, pid: i32, end: End, requests: Vec<(usize, Activity)>, of_use: bool) {
        match self.owner_of(pid) {
            Some(Owner::Worker(id)) => {
                // Those past their deadline were told when it was past.
                let worker = self.workers.get_mut(&id);
                let told = worker.and_then(|worker| {
                    worker.of_use = of_use;
                    worker.expired_ms.is_none().then(|| worker.who())
                });
                self.bury(id, Some(end));
                for (who, (core, activity)) in requests.into_iter().filter_map(|lost| Some((told?, lost))) {
                    self.tell(Event::Lost { who, core, activity, now_ms: self.now });
                }
            }
            Some(Owner::Zygote(id)) => self.zygote_exited(id, pid, end),
            // What the application left behind when it ended: adopted, reaped, none of our business.
            None => self.orphans += 1,
        }
    }

    /// A worker that is not adopted yet, or somebody else's pid: the worker's own next message says who it is.
    fn no_child(&mut self, pid: i32) {
        let Some(Owner::Worker(id)) = self.owner_of(pid) else { return };
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.pid = None;
        if worker.deaf_ms.is_some() {
            self.bury(id, None);
        }
    }

    // Signals.

    fn signal(&mut self, signal: Signal, in_flight: usize) {
        let settings = self.settings();
        match signal {
            Signal::Quit => self.stop_now(),
            Signal::Term | Signal::Int if self.stops() => self.stop_now(),
            Signal::Hup if self.stops() => {}
            Signal::Tstp if self.stop.is_some() || self.parting_ms.is_some() => {}
            Signal::Hup if settings.exit_on_reload => self.stop_gracefully(in_flight, false),
            Signal::Hup => self.ask_reload(false),
            Signal::Term if settings.term_reloads && settings.exit_on_reload => self.stop_now(),
            Signal::Term if settings.term_reloads => self.ask_reload(true),
            Signal::Term => self.close(in_flight, true),
            Signal::Int => self.close(in_flight, false),
            Signal::Tstp => self.toggle_pause(),
        }
    }

    fn command(&mut self, command: Command, in_flight: usize) {
        match command {
            Command::StopNow => self.stop_now(),
            _ if self.stops() => {}
            Command::Stop => self.close(in_flight, false),
            Command::Reload => self.signal(Signal::Hup, in_flight),
            Command::ReloadBrutally if self.settings().exit_on_reload => self.stop_now(),
            Command::ReloadBrutally => self.ask_reload(true),
            Command::RenewWorkers => self.renew_workers(false),
            Command::RenewWorkersBrutally => self.renew_workers(true),
            Command::Pause => self.toggle_pause(),
            Command::More => self.more(1, "asked for".to_owned()),
            Command::Fewer => self.fewer_by_hand(),
            Command::Cheap => self.go_cheap(),
        }
    }

    fn ask_reload(&mut self, brutal: bool) {
        if self.stops() {
            return;
        }
        let complete = self.current.and_then(|id| self.generations.get(&id)).is_some_and(|current| current.complete);
        let idle = self.candidate.is_none() && complete;
        if self.storm.ask(idle, brutal, self.now) {
            self.tell(Event::ReloadWaits);
        }
    }
}

/// Whom a pid belongs to.
enum Owner {
    Worker(u64),
    Zygote(u32),
}
