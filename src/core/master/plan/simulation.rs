//! Lives of an instance, played through: a world of zygotes and workers that load slowly, die, hang, lie and are
//! killed, under storms of signals; after each order it is checked that nothing that must not happen has happened.

mod lives;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ruwsgi_contract::message::{FromWorker, FromZygote, Recycle, Wish};
use ruwsgi_contract::scoreboard::Activity;
use ruwsgi_sys::reap::End;

use super::Plan;
use crate::master::event::Event;
use crate::master::order::{Harakiri, How, Input, Load, Order, Recycling, Settings, Signal, Work};

/// A small generator (xorshift), so that a seed is a life.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Input(Input),
    /// A process does something, if it still lives.
    Of(i32, Act),
    /// A process is forked, if its zygote still lives.
    Fork {
        zygote: i32,
        worker: u64,
    },
}

#[derive(Clone, Debug)]
enum Act {
    Says(FromZygote),
    Tells(FromWorker),
    Dies(End),
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Zygote(u32),
    Worker(u64),
}

struct Process {
    kind: Kind,
    dead: bool,
}

struct World {
    plan: Plan,
    random: Random,
    now: u64,
    count: u64,
    due: BTreeMap<(u64, u64), Happening>,
    processes: BTreeMap<i32, Process>,
    /// Ordered and neither reaped nor lost: generation, slot, seat.
    workers: BTreeMap<u64, (u32, u32, u32)>,
    up: BTreeSet<u64>,
    zygote_of: BTreeMap<u32, i32>,
    bogus: BTreeSet<i32>,
    /// Workers whose zygote lied about their pid.
    wronged: BTreeSet<u64>,
    /// Zygotes that do not fork, and whom they should have forked.
    stuck: Vec<(i32, u64)>,
    settings: BTreeMap<u32, Settings>,
    next: Settings,
    /// Things go wrong.
    wild: bool,
    begun: Vec<(u64, How)>,
    events: Vec<Event>,
    exit: Option<u8>,
    inputs: VecDeque<Input>,
    feeding: bool,
}

fn settings(processes: u32) -> Settings {
    Settings {
        processes,
        mercy_ms: 4_000,
        zygote_mercy_ms: 3_000,
        deadlines: false,
        term_reloads: false,
        exit_on_reload: false,
        recycling: Recycling::default(),
        cheaper: None,
        cheap: false,
        idle_ms: 0,
        die_on_idle: false,
        surge: 1,
        in_place: false,
        drain_delay_ms: 0,
        load_ms: 0,
        harakiri: Harakiri::default(),
    }
}

impl World {
    fn new(seed: u64, processes: u32, wild: bool) -> Self {
        let mut world = Self {
            plan: Plan::new(settings(processes)),
            random: Random::new(seed),
            now: 10_000,
            count: 0,
            due: BTreeMap::new(),
            processes: BTreeMap::new(),
            workers: BTreeMap::new(),
            up: BTreeSet::new(),
            zygote_of: BTreeMap::new(),
            bogus: BTreeSet::new(),
            wronged: BTreeSet::new(),
            stuck: Vec::new(),
            settings: BTreeMap::new(),
            next: settings(processes),
            wild,
            begun: Vec::new(),
            events: Vec::new(),
            exit: None,
            inputs: VecDeque::new(),
            feeding: false,
        };
        world.at(0, Happening::Input(Input::Start));
        world
    }

    fn at(&mut self, delay: u64, happening: Happening) {
        self.count += 1;
        self.due.insert((self.now + delay, self.count), happening);
    }

    fn soon(&mut self, limit: u64, happening: Happening) {
        let delay = self.random.below(limit);
        self.at(delay, happening);
    }

    fn signal(&mut self, delay: u64, signal: Signal) {
        self.at(delay, Happening::Input(Input::Signal { signal, in_flight: 0 }));
    }

    /// Plays until nothing is left to do before `until`.
    fn play(&mut self, until: u64) {
        while self.exit.is_none() {
            let next = self.due.first_key_value().map(|(key, _)| *key);
            let happening = next.map(|(at, _)| at);
            let wake = self.plan.wake_ms();
            let Some(time) = happening.into_iter().chain(wake).min().filter(|time| *time <= until) else { break };
            self.now = time;
            match next.filter(|(at, _)| *at == time).and_then(|key| self.due.remove(&key)) {
                Some(happening) => self.happen(happening),
                None => {
                    self.feed(Input::Tick);
                    assert!(self.plan.wake_ms().is_none_or(|wake| wake > self.now), "a wake in the past never ends");
                }
            }
        }
        self.now = self.now.max(until);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Input(Input::Exited { pid, end, of_use, .. }) => {
                if let Some(Process { kind: Kind::Worker(worker), .. }) = self.processes.remove(&pid) {
                    self.workers.remove(&worker);
                    self.up.remove(&worker);
                }
                self.feed(Input::Exited { pid, end, requests: Vec::new(), of_use });
            }
            Happening::Input(input) => self.feed(input),
            Happening::Fork { zygote, worker } => self.fork(zygote, worker),
            Happening::Of(pid, act) => {
                let Some(process) = self.processes.get_mut(&pid).filter(|process| !process.dead) else { return };
                match (process.kind.clone(), act) {
                    (Kind::Zygote(generation), Act::Says(said)) => self.feed(Input::Zygote { generation, said }),
                    (Kind::Worker(worker), Act::Tells(said)) => {
                        if said == FromWorker::Up {
                            self.up.insert(worker);
                        }
                        self.feed(Input::Worker { worker, sender: pid, said });
                    }
                    (kind, Act::Dies(end)) => {
                        process.dead = true;
                        self.death(pid, &kind, end);
                    }
                    (kind, act) => panic!("{kind:?} does {act:?}"),
                }
            }
        }
    }

    /// A process is dead: its channel closes, it is reaped, in this order or the other.
    fn death(&mut self, pid: i32, kind: &Kind, end: End) {
        for (_, worker) in self.stuck.extract_if(.., |(zygote, _)| *zygote == pid).collect::<Vec<_>>() {
            self.soon(10, Happening::Fork { zygote: pid, worker });
        }
        let closed = match kind {
            Kind::Zygote(generation) => Input::ZygoteClosed { generation: *generation },
            Kind::Worker(worker) => {
                self.up.remove(worker);
                Input::WorkerClosed { worker: *worker }
            }
        };
        let limit = if self.wild { 1_500 } else { 3 };
        self.soon(limit, Happening::Input(closed));
        let of_use = matches!(kind, Kind::Worker(_)) && self.wild && self.random.one_in(2);
        self.soon(limit, Happening::Input(Input::Exited { pid, end, requests: Vec::new(), of_use }));
    }

    fn pid(&mut self) -> i32 {
        self.count += 1;
        self.count as i32 + 1_000
    }

    fn fork(&mut self, zygote: i32, worker: u64) {
        if self.processes.get(&zygote).is_none_or(|zygote| zygote.dead) || self.wild && self.random.one_in(20) {
            self.workers.remove(&worker);
            return self.feed(Input::WorkerClosed { worker });
        }
        let pid = self.pid();
        self.processes.insert(pid, Process { kind: Kind::Worker(worker), dead: false });
        let mut claim = pid;
        if self.wild && self.random.one_in(30) {
            claim = match self.random.below(3) {
                0 => 1,
                1 => zygote,
                _ => self.pid() + 1_000_000,
            };
            self.bogus.insert(claim);
            self.wronged.insert(worker);
        }
        self.feed(Input::Worker { worker, sender: zygote + 500_000, said: FromWorker::Born { pid: claim } });
        let wild = self.wild;
        match self.random.below(if wild { 12 } else { 1 }) {
            1 => self.soon(300, Happening::Of(pid, Act::Dies(End::Killed(11)))),
            2 => {
                let failed = FromWorker::Failed { code: 22, reason: "no app".into() };
                self.at(10, Happening::Of(pid, Act::Tells(failed)));
                self.at(11, Happening::Of(pid, Act::Dies(End::Exited(22))));
            }
            // Loads for ever.
            3 if self.random.one_in(3) => {}
            _ => self.soon(if wild { 800 } else { 30 }, Happening::Of(pid, Act::Tells(FromWorker::Up))),
        }
        match self.random.below(if wild { 6 } else { 1 }) {
            1 => self.soon(20_000, Happening::Of(pid, Act::Dies(End::Exited(1)))),
            2 => self.soon(3_000, Happening::Of(pid, Act::Dies(End::Killed(9)))),
            3 => self.soon(9_000, Happening::Of(pid, Act::Tells(FromWorker::Recycle(Recycle::MaxRequests)))),
            5 => self.soon(900, Happening::Of(pid, Act::Tells(FromWorker::Deadlines))),
            4 if self.random.one_in(8) => self.soon(9_000, Happening::Input(Input::WorkerClosed { worker })),
            _ => {}
        }
    }

    /// As the runner does it: what comes of an order is told when all orders of a decision are done.
    fn feed(&mut self, input: Input) {
        self.inputs.push_back(input);
        if std::mem::replace(&mut self.feeding, true) {
            return;
        }
        while let Some(input) = self.inputs.pop_front() {
            for order in self.plan.decide(input, self.now) {
                self.perform(order);
                self.check();
            }
        }
        self.feeding = false;
    }

    fn perform(&mut self, order: Order) {
        assert!(self.exit.is_none(), "{order:?} after the end");
        match order {
            Order::Begin { generation, how } => self.begin(generation, how),
            Order::Spawn { generation, worker, slot, seat } => {
                let taken = |other: &(u32, u32, u32)| other.0 == generation && other.2 == seat;
                assert!(!self.workers.values().any(taken), "two workers in one seat");
                let Settings { processes, surge, .. } = self.settings[&generation];
                assert!(seat < processes + surge, "no such seat");
                assert!(slot >= 1 && slot <= self.settings[&generation].processes, "no such slot");
                self.workers.insert(worker, (generation, slot, seat));
                let zygote = self.zygote_of[&generation];
                assert!(self.processes.contains_key(&zygote), "a reaped zygote is to fork");
                if self.wild && self.random.one_in(60) {
                    // Stuck: to be found out, and killed.
                    self.stuck.push((zygote, worker));
                } else {
                    self.soon(20, Happening::Fork { zygote, worker });
                }
            }
            Order::Drain { worker, mercy_ms, .. } => {
                assert!(self.workers.contains_key(&worker), "a worker that is gone is to drain");
                let pid = self.processes.iter().find(|(_, process)| process.kind == Kind::Worker(worker));
                let Some(pid) = pid.map(|(pid, _)| *pid) else { return };
                let limit = if self.wild { u64::from(mercy_ms) * 2 } else { 50 };
                self.soon(limit, Happening::Of(pid, Act::Dies(End::Exited(0))));
            }
            Order::Pause { worker, .. } => {
                let is_known = self.workers.contains_key(&worker) || self.wronged.contains(&worker);
                assert!(is_known, "a worker that is gone is paused");
            }
            Order::Expire { worker } => assert!(self.workers.contains_key(&worker), "a worker that is gone expires"),
            Order::RetireRouters { .. } | Order::KillRouters => panic!("there are no routers here"),
            Order::Raise { signal } => self.feed(Input::Signal { signal, in_flight: 0 }),
            Order::Kill { pid } => {
                let real = self.processes.contains_key(&pid);
                assert!(real || self.bogus.contains(&pid), "pid {pid} is reaped, and is to be killed");
                if real {
                    self.soon(20, Happening::Of(pid, Act::Dies(End::Killed(9))));
                } else {
                    self.feed(Input::NoChild { pid });
                }
            }
            Order::Terminate { pid } => assert!(self.processes.contains_key(&pid) || self.bogus.contains(&pid)),
            Order::Retire { generation } => {
                let pid = self.zygote_of[&generation];
                if !(self.wild && self.random.one_in(4)) {
                    self.soon(100, Happening::Of(pid, Act::Dies(End::Exited(0))));
                }
            }
            Order::Close { worker } => {
                self.workers.remove(&worker);
                let before = self.processes.len();
                // A stray ends when it finds its channel closed.
                self.processes.retain(|_, process| process.kind != Kind::Worker(worker));
                assert!(self.processes.len() == before || self.wronged.contains(&worker), "a worker is forgotten");
            }
            Order::Forget { generation } => {
                assert!(!self.workers.values().any(|worker| worker.0 == generation));
                let zygote = self.zygote_of.remove(&generation);
                assert!(zygote.is_none_or(|zygote| !self.processes.contains_key(&zygote)));
            }
            Order::Tell(event) => self.events.push(event),
            Order::Farewell => {}
            Order::Exit { code, reason } => {
                let left: Vec<&i32> = self.processes.keys().collect();
                assert!(left.is_empty(), "{left:?} stay behind");
                assert_eq!(code == 0, reason.is_none());
                self.exit = Some(code);
            }
        }
    }

    fn begin(&mut self, generation: u32, how: How) {
        self.begun.push((self.now, how));
        let settings = match how {
            How::Again { like } => self.settings[&like],
            How::Start | How::Reload => self.next,
        };
        self.settings.insert(generation, settings);
        if self.wild && self.random.one_in(6) {
            return self.feed(Input::NotBegun { generation, reason: "a broken file".into() });
        }
        let zygote = self.pid();
        self.processes.insert(zygote, Process { kind: Kind::Zygote(generation), dead: false });
        self.zygote_of.insert(generation, zygote);
        self.feed(Input::Began { generation, zygote, python: "python3".into(), settings: Box::new(settings) });
        let load = if self.wild { 5 + self.random.below(3_000) } else { 20 };
        match self.random.below(if self.wild { 8 } else { 1 }) {
            1 => {
                let failed = FromZygote::Failed { code: 22, reason: "SyntaxError".into() };
                self.at(load, Happening::Of(zygote, Act::Says(failed)));
            }
            2 => self.at(load, Happening::Of(zygote, Act::Dies(End::Killed(9)))),
            // Loads for ever.
            3 if self.random.one_in(3) => {}
            _ => {
                let ready = FromZygote::Ready { load_ms: load as u32, python: "CPython".into() };
                self.at(load, Happening::Of(zygote, Act::Says(ready)));
            }
        }
        if self.wild && self.random.one_in(5) {
            self.soon(9_000, Happening::Of(zygote, Act::Dies(End::Killed(9))));
        }
    }

    fn check(&self) {
        let most =
            self.settings.values().map(|settings| settings.processes + settings.surge).max().unwrap_or(1) as usize;
        assert!(self.workers.len() <= most, "{} workers of {most}", self.workers.len());
        let seated: BTreeSet<(u32, u32)> = self.workers.values().map(|worker| (worker.0, worker.2)).collect();
        assert_eq!(seated.len(), self.workers.len(), "two workers in one seat");
    }

    /// What the workers do, as the runner would tell it.
    fn load(&mut self, most_busy: u64, backlog: u32) -> Load {
        let mut load = Load { backlog, ..Load::default() };
        let newest = self.plan.generation().unwrap_or(0);
        let up: Vec<u32> =
            self.workers.iter().filter(|(id, it)| self.up.contains(id) && it.0 == newest).map(|(_, it)| it.1).collect();
        for slot in up {
            let busy = self.random.below(10) < most_busy;
            let requests = if busy { self.now / 100 } else { 7 };
            load.workers
                .insert(slot, Work { busy, idle: !busy, requests, running_us: self.now * 500, resident: 1 << 20 });
        }
        load
    }

    /// Every slot is served by the newest generation, and nobody else is left.
    fn check_served(&self, processes: u32) {
        let newest = self.zygote_of.last_key_value().map(|(generation, _)| *generation).unwrap();
        let mut slots: Vec<u32> = self.workers.values().map(|worker| worker.1).collect();
        slots.sort_unstable();
        assert_eq!(slots, (1..=processes).collect::<Vec<_>>(), "{:?}", self.workers);
        assert!(self.workers.values().all(|worker| worker.0 == newest), "{:?} of {newest}", self.workers);
        assert_eq!(self.up.len(), processes as usize);
        assert_eq!(self.processes.len(), processes as usize + 1, "workers and one zygote");
    }
}

/// A start that goes well, then trouble.
fn started(seed: u64, processes: u32) -> World {
    let mut world = World::new(seed, processes, false);
    world.play(11_000);
    world.check_served(processes);
    world
}

#[test]
fn whatever_happens_the_newest_good_generation_serves_in_the_end() {
    for seed in 1..2_000 {
        let mut random = Random::new(seed);
        let processes = 1 + random.below(5) as u32;
        let mut world = started(seed, processes);
        world.wild = true;
        for _ in 0..random.below(12) {
            let when = random.below(40_000);
            for one in 0..[1, 1, 3, 40][random.below(4) as usize] {
                world.signal(when + one * 7, Signal::Hup);
            }
        }
        for generation in [1, 2, 3] {
            let zygote = world.zygote_of[&1] + generation * 100;
            world.at(random.below(40_000), Happening::Of(zygote, Act::Dies(End::Killed(9))));
        }
        world.play(60_000);
        world.wild = false;
        // What the wild time has left waiting is over; then the code is good, and somebody says so.
        world.play(100_000);
        let more = processes + random.below(3) as u32;
        let wanted = if random.one_in(3) { 1 } else { more };
        world.next = settings(wanted);
        world.signal(0, Signal::Hup);
        world.play(250_000);
        assert_eq!(world.exit, None, "seed {seed}");
        world.check_served(wanted);
        world.signal(0, Signal::Term);
        world.play(260_000);
        assert_eq!(world.exit, Some(0), "seed {seed}");
    }
}

#[test]
fn a_stop_always_ends() {
    for seed in 1..2_000 {
        let mut random = Random::new(seed);
        let mut world = World::new(seed, 1 + random.below(4) as u32, true);
        for _ in 0..random.below(4) {
            let when = random.below(9_000);
            world.signal(when, Signal::Hup);
        }
        let (signal, at) = match random.below(3) {
            0 => (Signal::Term, random.below(10_000)),
            1 => (Signal::Int, random.below(10_000)),
            _ => (Signal::Quit, random.below(10_000)),
        };
        world.signal(at, signal);
        if random.one_in(2) {
            world.signal(at + random.below(2_000), Signal::Term);
        }
        // The mercy of the workers, that of the zygotes, and the time to reap.
        world.play(10_000 + at + 12_000);
        assert!(world.exit.is_some(), "seed {seed} at {}: {:?}", world.now, world.plan);
    }
}

#[test]
fn two_hundred_hups_in_a_second_are_at_most_two_reloads() {
    for seed in 1..500 {
        let mut random = Random::new(seed);
        let processes = 1 + random.below(4) as u32;
        let mut world = started(seed, processes);
        world.wild = random.one_in(2);
        for _ in 0..200 {
            let when = random.below(1_000);
            world.signal(when, Signal::Hup);
        }
        world.play(30_000);
        let reloads = world.begun.iter().filter(|(_, how)| *how == How::Reload).count();
        assert!((1..=2).contains(&reloads), "seed {seed}: {:?}", world.begun);
    }
}

#[test]
fn no_reload_begins_once_a_stop_is_ordered() {
    let mut world = World::new(1, 2, false);
    world.next.drain_delay_ms = 10_000;
    world.play(20_000);
    // The second one waits for the end of the first, and the stop comes before it is due.
    for (delay, signal) in [(0, Signal::Hup), (100, Signal::Hup), (200, Signal::Term), (300, Signal::Hup)] {
        world.signal(delay, signal);
    }
    world.play(30_000);
    assert_eq!((world.begun.len(), world.exit), (2, None), "{:?}", world.begun);
    world.play(40_000);
    assert_eq!((world.begun.len(), world.exit), (2, Some(0)), "{:?}", world.begun);
}

#[test]
fn a_worker_may_ask_for_a_reload_and_nobody_else() {
    let mut world = started(1, 2);
    let pid = |world: &World| {
        let worker = |(pid, process): (&i32, &Process)| matches!(process.kind, Kind::Worker(_)).then_some(*pid);
        world.processes.iter().find_map(worker).expect("a worker")
    };
    let (asker, asks) = (pid(&world), FromWorker::Asks(Wish::Reload));
    let Kind::Worker(worker) = world.processes[&asker].kind else { panic!("no worker") };
    world.feed(Input::Worker { worker, sender: asker + 1, said: asks.clone() });
    world.play(20_000);
    assert_eq!(world.begun.len(), 1, "{:?}", world.begun);
    world.happen(Happening::Of(asker, Act::Tells(asks)));
    world.play(40_000);
    assert_eq!(world.begun.last().map(|(_, how)| *how), Some(How::Reload));
    world.check_served(2);
}

#[test]
fn the_old_generation_goes_on_where_a_new_one_fails() {
    let mut world = started(1, 2);
    world.signal(0, Signal::Hup);
    world.play(11_001);
    let zygote = world.zygote_of[&2];
    world.happen(Happening::Of(zygote, Act::Says(FromZygote::Failed { code: 22, reason: "SyntaxError".into() })));
    world.play(20_000);
    let told = Event::ReloadFailed { generation: 2, reason: "SyntaxError".into(), serving: 1 };
    assert!(world.events.contains(&told));
    world.check_served(2);
    assert_eq!(world.zygote_of.keys().copied().collect::<Vec<_>>(), [1]);
}

#[test]
fn a_start_that_fails_exits_with_the_code_of_the_application() {
    let mut world = World::new(1, 2, false);
    world.play(10_001);
    let zygote = world.zygote_of[&1];
    world.happen(Happening::Of(zygote, Act::Says(FromZygote::Failed { code: 22, reason: "no app".into() })));
    world.play(20_000);
    assert_eq!(world.exit, Some(22));
}

#[test]
fn a_dead_worker_is_replaced_at_once_and_a_crash_loop_waits() {
    let mut world = started(1, 1);
    let mut waits = Vec::new();
    for _ in 0..6 {
        let before = world.now;
        let worker = *world.processes.iter().find(|(_, process)| process.kind != Kind::Zygote(1)).unwrap().0;
        world.happen(Happening::Of(worker, Act::Dies(End::Killed(11))));
        while world.up.is_empty() {
            world.play(world.now + 10);
        }
        waits.push((world.now - before) / 1_000);
    }
    assert_eq!(waits, [0, 0, 1, 2, 4, 8]);
}

#[test]
fn a_worker_that_has_answered_requests_is_replaced_at_once_however_often_one_dies() {
    let mut world = started(1, 1);
    for _ in 0..20 {
        world.play(world.now + 200);
        let pid = *world.processes.iter().find(|(_, process)| process.kind != Kind::Zygote(1)).unwrap().0;
        let before = world.now;
        world.happen(Happening::Input(Input::Exited { pid, end: End::Killed(9), requests: Vec::new(), of_use: true }));
        while world.up.is_empty() {
            world.play(world.now + 10);
        }
        assert!(world.now - before < 200, "{} ms", world.now - before);
    }
}

#[test]
fn a_dead_zygote_is_replaced_while_the_workers_go_on() {
    let mut world = started(1, 3);
    let up = world.up.clone();
    world.happen(Happening::Of(world.zygote_of[&1], Act::Dies(End::Killed(9))));
    world.play(11_010);
    assert_eq!(world.up, up);
    world.play(20_000);
    assert_eq!(world.begun.last().unwrap().1, How::Again { like: 1 });
    world.check_served(3);
}

#[test]
fn term_reloads_where_the_file_says_so_and_the_second_one_stops_nothing() {
    let mut world = started(1, 2);
    world.next.term_reloads = true;
    world.signal(0, Signal::Hup);
    world.play(13_000);
    world.signal(0, Signal::Term);
    world.play(15_000);
    assert_eq!(world.begun.len(), 3);
    assert_eq!(world.exit, None);
    world.check_served(2);
    world.signal(0, Signal::Int);
    world.play(20_000);
    assert_eq!(world.exit, Some(0));
}

#[test]
fn requests_past_their_deadline_end_their_worker() {
    let mut world = started(1, 2);
    let worker = *world.up.first().unwrap();
    let activity = Activity { since_ms: 9_000, deadline_ms: 10_000, request: "127.0.0.1 - GET /".into() };
    let overdue = |others| Input::Overdue { worker, requests: vec![(0, activity.clone())], others, waiting: 0 };
    let mut orders = world.plan.decide(overdue(1), world.now);
    let has = |orders: &[Order], which: fn(&Order) -> bool| orders.iter().any(which);
    assert!(has(&orders, |order| matches!(order, Order::Expire { .. })), "{orders:?}");
    assert!(has(&orders, |order| matches!(order, Order::Drain { .. })), "the others have their mercy: {orders:?}");
    assert!(has(&orders, |order| matches!(order, Order::Spawn { .. })), "replaced at once: {orders:?}");
    let later = world.now + 2_000;
    let spared = world.plan.decide(overdue(1), later);
    assert!(!has(&spared, |order| matches!(order, Order::Kill { .. })), "others are in flight: {spared:?}");
    let killed = world.plan.decide(overdue(0), later);
    assert!(has(&killed, |order| matches!(order, Order::Kill { .. })), "{killed:?}");
    orders.extend(spared.into_iter().chain(killed));
    for order in orders {
        world.perform(order);
    }
    world.play(17_000);
    let told = world.events.iter().find(|event| matches!(event, Event::Harakiri { .. })).unwrap().to_string();
    assert!(told.ends_with("HARAKIRI [core 0] 127.0.0.1 - GET / since 2 s"), "{told}");
    assert!(!world.up.contains(&worker));
    world.check_served(2);
}

#[test]
fn a_worker_that_can_t_be_told_anything_any_more_is_replaced() {
    let mut world = started(1, 2);
    let worker = *world.up.first().unwrap();
    world.feed(Input::WorkerClosed { worker });
    world.play(15_000);
    assert!(!world.up.contains(&worker));
    world.check_served(2);
}
