//! Lives of daemons that die, hang and are touched, against what must always hold.

use std::collections::BTreeMap;

use ruwsgi_options::{Config, DaemonSaid, Directive, Origin};
use ruwsgi_sys::reap::End;

use super::plan::{EARLY_MS, Input, Order, Plan, What};
use super::wanted;

fn said(lines: &[(&str, &str)]) -> Vec<DaemonSaid> {
    let directive = |(name, value): &(&str, &str)| Directive::new(*name, Some(value), Origin::Argv);
    wanted(&Config::interpret(lines.iter().map(directive).collect()).unwrap().0)
}

/// A machine with daemons.
#[derive(Default)]
struct World {
    plan: Plan,
    now: u64,
    next_pid: i32,
    /// Who runs, by pid: whose it is.
    alive: BTreeMap<i32, u64>,
    /// When each daemon was started.
    starts: Vec<(u64, u64)>,
    told: Vec<What>,
    stopped: bool,
    /// Nobody ends by a signal.
    deaf: bool,
}

impl World {
    fn new(lines: &[(&str, &str)]) -> Self {
        let mut world = Self { next_pid: 100, ..Self::default() };
        world.plan.set_mercy(3_000);
        world.feed(Input::Want(said(lines)));
        world
    }

    fn feed(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for order in self.plan.decide(input, self.now) {
                match order {
                    Order::Spawn { daemon, said } => {
                        let twin = self.alive.values().filter(|other| **other == daemon).count();
                        assert_eq!(twin, 0, "{} runs twice", said.command);
                        self.next_pid += 1;
                        self.alive.insert(self.next_pid, daemon);
                        self.starts.push((daemon, self.now));
                        inputs.push(Input::Spawned { daemon, pid: self.next_pid });
                    }
                    Order::Look { daemon, .. } => inputs.push(Input::Seen { daemon, pid: None }),
                    Order::Signal { pid, .. } if !self.deaf => inputs.extend(self.end(pid, End::Killed(15))),
                    Order::Signal { .. } => {}
                    Order::Kill { pid } => inputs.extend(self.end(pid, End::Killed(9))),
                    Order::Tell(told) => {
                        assert!(!told.to_string().contains('\n'));
                        self.told.push(told.what);
                    }
                    Order::StopInstance => self.stopped = true,
                }
            }
        }
    }

    fn end(&mut self, pid: i32, end: End) -> Option<Input> {
        self.alive.remove(&pid).map(|_| Input::Exited { pid, end })
    }

    /// Whoever runs now dies.
    fn kill_all(&mut self) {
        for pid in self.alive.keys().copied().collect::<Vec<_>>() {
            let died = self.end(pid, End::Exited(1));
            died.into_iter().for_each(|input| self.feed(input));
        }
    }

    fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(wake) = self.plan.wake_ms().filter(|wake| *wake <= until) {
            self.now = wake.max(self.now);
            self.feed(Input::Tick);
        }
        self.now = until;
    }
}

#[test]
fn one_that_ends_at_once_is_started_later_and_later() {
    let mut world = World::new(&[("attach-daemon2", "cmd=a,max_throttle=20")]);
    for _ in 0..8 {
        world.kill_all();
        world.pass(30_000);
    }
    let times: Vec<u64> = world.starts.iter().map(|(_, at)| *at).collect();
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Each lives until it is killed: right after the former turn, and so for long.
    assert_eq!(pauses[0], 1_000);
    let mut world = World::new(&[("attach-daemon2", "cmd=a,max_throttle=20")]);
    while world.now < 200_000 {
        world.kill_all();
        let wake = world.plan.wake_ms().unwrap();
        world.pass(wake - world.now);
    }
    let times: Vec<u64> = world.starts.iter().map(|(_, at)| *at).collect();
    let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(pauses[..7], [1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
}

#[test]
fn one_that_has_lived_is_started_at_once() {
    let mut world = World::new(&[("attach-daemon", "a")]);
    world.pass(EARLY_MS);
    world.kill_all();
    assert_eq!(world.starts.len(), 2);
    assert!(world.told.iter().any(|what| matches!(what, What::Ended { wait_ms: 0, .. })));
}

#[test]
fn the_end_of_one_that_controls_is_the_end() {
    let mut world = World::new(&[("attach-control-daemon", "a"), ("attach-daemon", "b")]);
    world.kill_all();
    assert!(world.stopped);
    world.feed(Input::Stop);
    assert!(world.plan.is_over() && world.alive.is_empty());
}

#[test]
fn one_that_does_not_end_is_killed_after_its_mercy() {
    let mut world = World::new(&[("attach-daemon", "a")]);
    world.deaf = true;
    world.feed(Input::Stop);
    assert!(!world.plan.is_over());
    world.pass(2_999);
    assert_eq!(world.alive.len(), 1);
    world.pass(1);
    assert!(world.plan.is_over() && world.alive.is_empty());
}

#[test]
fn a_reload_ends_the_attached_ones_and_keeps_the_smart_ones() {
    let mut world = World::new(&[("attach-daemon", "a"), ("smart-attach-daemon2", "/p b")]);
    let smart = *world.alive.iter().find(|(_, daemon)| **daemon == 2).unwrap().0;
    world.feed(Input::Want(said(&[("attach-daemon", "c"), ("smart-attach-daemon2", "/p b")])));
    assert!(world.alive.contains_key(&smart), "it goes on");
    assert_eq!(world.starts.len(), 3);
    let names: Vec<&str> = world.plan.list().iter().map(|it| it.0).collect();
    assert_eq!(names, ["b", "c"]);
    world.feed(Input::Stop);
    assert!(world.plan.is_over() && world.alive.len() == 1, "it outlives the instance");
}

#[test]
fn lives_of_any_kind_end_and_never_double() {
    for seed in 0..300_u64 {
        let mut state = seed;
        let mut random = move |most: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % most
        };
        let lines =
            [("attach-daemon", "a"), ("smart-attach-daemon2", "/p b"), ("attach-daemon2", "cmd=c,reloadsignal=1")];
        let mut world = World::new(&lines);
        for _ in 0..60 {
            world.deaf = random(4) == 0;
            match random(5) {
                0 => world.kill_all(),
                1 => world.feed(Input::Want(said(&lines[random(3) as usize..]))),
                2 => (1..9).for_each(|daemon| world.feed(Input::Touched { daemon })),
                _ => world.pass(random(9_000)),
            }
        }
        world.feed(Input::Stop);
        world.pass(10_000);
        assert!(world.plan.is_over(), "seed {seed}");
    }
}

#[test]
fn another_plan_goes_on_with_what_one_leaves() {
    let mut world = World::new(&[("attach-daemon", "a"), ("attach-daemon2", "cmd=b,stopsignal=2,max_throttle=20")]);
    world.kill_all();
    world.pass(EARLY_MS);
    let starts = world.starts.len();
    let left = world.plan.legacy();
    let mut plan = Plan::default();
    plan.set_mercy(3_000);
    plan.inherit(&left);
    assert_eq!(plan.legacy(), left);
    world.plan = plan;
    assert_eq!(world.starts.len(), starts, "nobody is started anew");
    world.kill_all();
    world.pass(60_000);
    assert_eq!(world.starts.len(), starts + 2, "who dies comes again");
    // What was attached before makes room for what is wanted now.
    world.feed(Input::Want(said(&[("attach-daemon", "c")])));
    world.pass(10_000);
    assert_eq!((world.alive.len(), world.plan.list()[0].0), (1, "c"));
    // One that was ending goes on with that, and has a deadline.
    world.deaf = true;
    world.feed(Input::Stop);
    let mut plan = Plan::default();
    plan.inherit(&world.plan.legacy());
    world.plan = plan;
    world.pass(10_000);
    assert!(world.plan.is_over() && world.alive.is_empty());
}
