//! A hundred thousand random histories of files, processes and people, played against the plan in a world without a
//! kernel. After each step these hold:
//!
//! * a vassal has at most one process, and only its own process is told anything;
//! * between two starts or reloads of a vassal lies at least `emperor-throttle`;
//! * nothing is started while the emperor stops, or for a file that nobody may run.
//!
//! And when everybody has come to rest and the clock runs on: the directory and the processes are the same.

use std::collections::{BTreeMap, BTreeSet};

use ruwsgi_sys::reap::End;

use super::*;

const HISTORIES: u64 = 100_000;
const NAMES: [&str; 3] = ["a.ini", "b.ini", "c.ini"];

/// xorshift64*, so that a history is its number.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33
    }

    fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    fn one_of(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }
}

#[derive(Debug)]
struct Process {
    pid: i32,
    version: u64,
    /// What it does with what it is told.
    stubborn: bool,
    told_to_stop: bool,
}

struct World {
    plan: Plan,
    random: Random,
    now: u64,
    pids: i32,
    files: BTreeMap<Name, (u64, Verdict)>,
    /// The number of the last change.
    changes: u64,
    /// What was there at the last look.
    seen: BTreeMap<Name, (u64, Verdict)>,
    processes: BTreeMap<Name, Process>,
    sockets: BTreeSet<Name>,
    watched: BTreeSet<Name>,
    last: BTreeMap<Name, u64>,
    by_hand: BTreeSet<Name>,
    exiled: BTreeSet<Name>,
    throttle_ms: u64,
    exited: bool,
    stopping: bool,
    /// Nothing goes wrong any more.
    calm: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let throttle_ms = [0, 10, 1_000][random.below(3) as usize];
        let rules = Rules {
            throttle_ms,
            max_throttle_ms: 20_000,
            blacklist: !random.one_of(4),
            graceful: !random.one_of(4),
            at_once: 1 + random.below(3) as usize,
            ..Rules::default()
        };
        Self {
            plan: Plan::new(rules),
            random,
            now: 5_000,
            pids: 100,
            files: BTreeMap::new(),
            changes: 0,
            seen: BTreeMap::new(),
            processes: BTreeMap::new(),
            sockets: BTreeSet::new(),
            watched: BTreeSet::new(),
            last: BTreeMap::new(),
            by_hand: BTreeSet::new(),
            exiled: BTreeSet::new(),
            throttle_ms,
            exited: false,
            stopping: false,
            calm: false,
        }
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = std::collections::VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for order in self.plan.decide(input, self.now) {
                inputs.extend(self.perform(order));
            }
        }
    }

    fn spaced(&mut self, name: &Name) {
        if let Some(last) = self.last.insert(name.clone(), self.now) {
            assert!(self.now - last >= self.throttle_ms, "{name} after {} ms", self.now - last);
        }
    }

    fn perform(&mut self, order: Order) -> Option<Input> {
        match order {
            Order::Start { name, owner } => {
                assert!(!self.stopping && !self.by_hand.contains(&name) && !self.exiled.contains(&name), "{name}");
                let (version, verdict) = self.seen.get(&name).expect("a file");
                let Verdict::Fine(terms) = verdict else { panic!("{name} is started: {verdict:?}") };
                assert_eq!(terms.owner, owner);
                assert_eq!(terms.address.is_some(), self.sockets.contains(&name));
                let version = *version;
                self.spaced(&name);
                if !self.calm && self.random.one_of(10) {
                    return Some(Input::NotStarted { name, reason: "no luck".into() });
                }
                self.pids += 1;
                let process = Process { pid: self.pids, version, stubborn: self.random.one_of(5), told_to_stop: false };
                assert!(self.processes.insert(name.clone(), process).is_none(), "{name} has two processes");
                Some(Input::Started { name, pid: self.pids })
            }
            Order::Send { name, bytes } => {
                let reload = bytes == [pipe::RELOAD];
                if reload {
                    self.spaced(&name);
                }
                let version = self.seen.get(&name).map(|(version, _)| *version);
                let process = self.processes.get_mut(&name).expect("a process is told something");
                if reload {
                    assert!(!process.told_to_stop);
                    process.version = version.expect("a file");
                } else {
                    process.told_to_stop = true;
                }
                None
            }
            Order::Terminate { name, pid } => {
                let process = self.processes.get_mut(&name).expect("a process is told something");
                assert_eq!(process.pid, pid);
                process.told_to_stop = true;
                None
            }
            Order::Kill { name, pid } => {
                assert_eq!(self.processes.get(&name).expect("a process is killed").pid, pid);
                // The kernel takes its time.
                let process = self.processes.get_mut(&name)?;
                (process.stubborn, process.told_to_stop) = (false, true);
                None
            }
            Order::Listen { name, terms } => {
                assert!(terms.address.is_some() && !self.sockets.contains(&name));
                if !self.calm && self.random.one_of(5) {
                    return Some(Input::NotListening { name, reason: "is taken".into() });
                }
                self.sockets.insert(name.clone());
                Some(Input::Listening { name })
            }
            Order::Watch { name } => {
                assert!(self.sockets.contains(&name) && !self.processes.contains_key(&name));
                self.watched.insert(name);
                None
            }
            Order::Unlisten { name } => {
                assert!(self.sockets.remove(&name));
                self.watched.remove(&name);
                None
            }
            Order::Forget { name } => {
                assert!(!self.processes.contains_key(&name) && !self.sockets.contains(&name));
                self.by_hand.remove(&name);
                None
            }
            Order::Tell(_) => None,
            Order::Exit => {
                assert!(self.stopping && self.processes.is_empty());
                self.exited = true;
                None
            }
        }
    }

    fn name(&mut self) -> Name {
        Name::from(NAMES[self.random.below(3) as usize])
    }

    fn look(&mut self) {
        let all = self.files.iter().map(|(name, (version, verdict))| Sighting {
            name: name.clone(),
            version: *version,
            verdict: verdict.clone(),
        });
        let all: Vec<Sighting> = all.collect();
        let version =
            |files: &BTreeMap<Name, (u64, Verdict)>, name: &Name| files.get(name).map(|(version, _)| *version);
        self.exiled.retain(|name| version(&self.seen, name) == version(&self.files, name));
        self.seen = self.files.clone();
        self.feed(Input::Seen(all));
    }

    fn change_file(&mut self) {
        let name = self.name();
        if self.random.one_of(3) {
            self.files.remove(&name);
            return;
        }
        let owner = self.random.one_of(5).then(|| (1_000, self.random.below(2) as u32));
        let address = self.random.one_of(3).then(|| format!("/run/{}", self.random.below(2)));
        let verdict = match self.random.below(8) {
            0 => Verdict::Broken("is empty".into()),
            1 => Verdict::Forbidden("is root's".into()),
            _ => Verdict::Fine(Terms { owner, address }),
        };
        self.changes += 1;
        self.files.insert(name, (self.changes, verdict));
    }

    fn die(&mut self, name: &Name, end: End) {
        if self.processes.remove(name).is_some() {
            self.feed(Input::Exited { name: name.clone(), end, words: None });
        }
    }

    fn live(&mut self) {
        let name = self.name();
        let Some(process) = self.processes.get(&name) else { return };
        let (told, stubborn) = (process.told_to_stop, process.stubborn);
        let end = match self.random.below(4) {
            0 => End::Killed(9),
            1 if !told => End::Exited(pipe::EXILE),
            2 => End::Exited(1),
            _ => End::Exited(0),
        };
        match self.random.below(8) {
            0 => self.feed(Input::Said { name, byte: pipe::READY }),
            1 => self.feed(Input::Said { name, byte: pipe::ACCEPTING }),
            2 => self.feed(Input::Said { name, byte: pipe::LOYAL }),
            3 => self.feed(Input::Said { name, byte: pipe::HEARTBEAT }),
            4 => self.feed(Input::Said { name, byte: self.random.0 as u8 }),
            5 => self.feed(Input::Hung { name }),
            _ if told && stubborn => {}
            _ => {
                if end == End::Exited(pipe::EXILE) {
                    self.exiled.insert(name.clone());
                }
                self.die(&name, end);
            }
        }
    }

    fn people(&mut self) {
        let name = self.name();
        match self.random.below(12) {
            0 if self.plan.vassal(&name).is_some() => {
                self.by_hand.insert(name.clone());
                self.feed(Input::Command { name, command: Command::Stop });
            }
            1 => {
                self.by_hand.remove(&name);
                self.exiled.remove(&name);
                self.feed(Input::Command { name, command: Command::Start });
            }
            2 => self.feed(Input::Command { name, command: Command::Reload }),
            3 => self.feed(Input::Wish(Wish::Reload)),
            4 => self.feed(Input::Wish(Wish::Forgive)),
            _ if self.watched.contains(&name) => {
                self.watched.remove(&name);
                self.feed(Input::Knock { name });
            }
            _ => {}
        }
    }

    fn step(&mut self) {
        self.now += [0, 1, 40, 700, 4_000][self.random.below(5) as usize];
        match self.random.below(6) {
            0 => self.change_file(),
            1 => self.look(),
            2 | 3 => self.live(),
            4 => self.people(),
            _ => self.feed(Input::Tick),
        }
    }

    /// Time runs on and everybody does what he is told, until all is as it should be; what is not in the end.
    fn settle(&mut self) -> Option<String> {
        self.calm = true;
        self.look();
        for _ in 0..500 {
            let wrong = self.wrong()?;
            let told = self.processes.iter().find(|(_, it)| it.told_to_stop && !it.stubborn);
            if let Some(name) = told.map(|(name, _)| name.clone()) {
                self.die(&name, End::Exited(0));
                continue;
            }
            for name in self.processes.keys().cloned().collect::<Vec<_>>() {
                self.feed(Input::Said { name, byte: pipe::HEARTBEAT });
            }
            let Some(wake) = self.plan.wake_ms() else { return Some(wrong) };
            self.now = wake.max(self.now);
            self.feed(Input::Tick);
        }
        self.wrong()
    }

    fn wrong(&self) -> Option<String> {
        if self.stopping {
            return (!self.exited).then(|| "the emperor does not end".to_owned());
        }
        NAMES.map(Name::from).into_iter().find_map(|name| {
            let (process, wrong) = (self.processes.get(&name), |what: &str| Some(format!("{name} {what}")));
            let out = self.by_hand.contains(&name) || self.exiled.contains(&name);
            match self.files.get(&name) {
                None if process.is_some() || self.sockets.contains(&name) => wrong("is left"),
                Some((_, Verdict::Forbidden(_))) if process.is_some() => wrong("runs and is forbidden"),
                Some((_, Verdict::Fine(_))) if process.is_some() && self.by_hand.contains(&name) => wrong("runs"),
                Some((version, Verdict::Fine(terms))) if !out => match process {
                    Some(process) if process.told_to_stop => wrong("does not stop"),
                    Some(process) if process.version != *version => wrong("runs an old file"),
                    None if terms.address.is_none() => wrong("does not run"),
                    None if !self.watched.contains(&name) => wrong("sleeps for ever"),
                    _ => None,
                },
                _ => None,
            }
        })
    }
}

#[test]
fn all_histories_end_as_the_directory_says() {
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        for _ in 0..20 + world.random.below(30) {
            world.step();
        }
        assert_eq!(world.settle(), None, "history {seed}");
        world.stopping = true;
        world.feed(Input::Wish(Wish::Stop));
        if world.random.one_of(2) {
            world.feed(Input::Wish(Wish::StopNow));
        }
        assert_eq!(world.settle(), None, "history {seed}");
        assert!(world.processes.is_empty(), "history {seed}");
    }
}

/// The file of one vassal.
fn sighting(version: u64, verdict: Verdict) -> Input {
    Input::Seen(vec![Sighting { name: Name::from("a.ini"), version, verdict }])
}

fn fine() -> Verdict {
    Verdict::Fine(Terms::default())
}

fn orders(plan: &mut Plan, input: Input, now: u64) -> Vec<Order> {
    let all = plan.decide(input, now);
    all.into_iter().filter(|order| !matches!(order, Order::Tell(_))).collect()
}

fn running() -> (Plan, Name) {
    let (mut plan, name) = (Plan::new(Rules::default()), Name::from("a.ini"));
    let started = orders(&mut plan, sighting(1, fine()), 10_000);
    assert_eq!(started, [Order::Start { name: name.clone(), owner: None }]);
    plan.decide(Input::Started { name: name.clone(), pid: 7 }, 10_000);
    (plan, name)
}

#[test]
fn a_file_that_is_broken_leaves_the_running_one_and_one_that_is_forbidden_does_not() {
    let (mut plan, name) = running();
    assert_eq!(orders(&mut plan, sighting(2, Verdict::Broken("is empty".into())), 20_000), []);
    assert_eq!(
        orders(&mut plan, sighting(3, fine()), 21_000),
        [Order::Send { name: name.clone(), bytes: &[pipe::RELOAD] }]
    );
    let stop = orders(&mut plan, sighting(4, Verdict::Forbidden("is root's".into())), 23_000);
    assert_eq!(stop, [Order::Send { name, bytes: &[pipe::STOP_GRACEFULLY] }]);
}

#[test]
fn a_vassal_that_does_not_stop_is_killed_in_time() {
    let (mut plan, name) = running();
    plan.decide(Input::Seen(Vec::new()), 20_000);
    assert_eq!(plan.wake_ms(), Some(50_000));
    assert_eq!(orders(&mut plan, Input::Tick, 49_999), []);
    assert_eq!(orders(&mut plan, Input::Tick, 50_000), [Order::Kill { name: name.clone(), pid: 7 }]);
    let gone = orders(&mut plan, Input::Exited { name: name.clone(), end: End::Killed(9), words: None }, 50_001);
    assert_eq!(gone, [Order::Forget { name }]);
}

#[test]
fn who_keeps_failing_waits_longer_and_a_changed_file_does_not_wait() {
    let (mut plan, name) = running();
    let (mut now, mut waits) = (10_000, Vec::new());
    for _ in 0..4 {
        now += 300;
        plan.decide(Input::Exited { name: name.clone(), end: End::Exited(1), words: Some("no port".into()) }, now);
        let wake = plan.wake_ms().unwrap();
        waits.push(wake - now);
        now = wake;
        assert_eq!(orders(&mut plan, Input::Tick, now), [Order::Start { name: name.clone(), owner: None }]);
        plan.decide(Input::Started { name: name.clone(), pid: 8 }, now);
    }
    assert_eq!(waits, [1_000, 2_000, 4_000, 8_000]);
    now += 300;
    plan.decide(Input::Exited { name: name.clone(), end: End::Exited(1), words: Some("no port".into()) }, now);
    assert_eq!(plan.vassal(&name).unwrap().reason.as_deref(), Some("exited with code 1; no port"));
    assert_eq!(orders(&mut plan, sighting(2, fine()), now), []);
    assert_eq!(plan.wake_ms(), Some(now + 700), "a second after the last start");
}

#[test]
fn a_silent_heart_is_noticed_once_it_has_beaten() {
    let (mut plan, name) = running();
    assert_eq!(orders(&mut plan, Input::Tick, 90_000), []);
    plan.decide(Input::Said { name: name.clone(), byte: pipe::HEARTBEAT }, 90_000);
    assert_eq!(orders(&mut plan, Input::Tick, 119_999), []);
    assert_eq!(orders(&mut plan, Input::Tick, 120_000), [Order::Kill { name, pid: 7 }]);
}

#[test]
fn who_sleeps_is_started_by_a_knock_and_sleeps_again_when_idle() {
    let (mut plan, name) = (Plan::new(Rules::default()), Name::from("a.ini"));
    let terms = Terms { owner: None, address: Some("/run/a".into()) };
    let first = orders(&mut plan, sighting(1, Verdict::Fine(terms.clone())), 10_000);
    assert_eq!(first, [Order::Listen { name: name.clone(), terms }]);
    let watch = [Order::Watch { name: name.clone() }];
    assert_eq!(orders(&mut plan, Input::Listening { name: name.clone() }, 10_000), watch);
    let start = orders(&mut plan, Input::Knock { name: name.clone() }, 20_000);
    assert_eq!(start, [Order::Start { name: name.clone(), owner: None }]);
    plan.decide(Input::Started { name: name.clone(), pid: 9 }, 20_000);
    let stop = orders(&mut plan, Input::Said { name: name.clone(), byte: pipe::IDLE }, 60_000);
    assert_eq!(stop, [Order::Send { name: name.clone(), bytes: &[pipe::STOP_GRACEFULLY] }]);
    let asleep = orders(&mut plan, Input::Exited { name: name.clone(), end: End::Exited(0), words: None }, 60_001);
    assert_eq!(asleep, watch);
    assert_eq!(plan.vassal(&name).unwrap().state(), "asleep");
}
