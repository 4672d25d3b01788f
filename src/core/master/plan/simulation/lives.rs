//! Lives under orders of every kind: letters of the FIFO, load, memory, deadlines, knocks, with all kinds of settings.

use ruwsgi_contract::scoreboard::Activity;

use super::super::Plan;
use super::super::cheaper::{ALGORITHMS, Cheaper, usual};
use super::{Random, World, settings};
use crate::master::order::{Command, Input, Recycling, Settings, Signal, Usage};

/// All kinds of settings.
fn any_settings(random: &mut Random) -> Settings {
    let processes = 1 + random.below(5) as u32;
    let mut settings = settings(processes);
    settings.surge = 1 + random.below(u64::from(processes)) as u32;
    settings.in_place = random.one_in(4);
    settings.load_ms = if random.one_in(2) { 5_000 } else { 0 };
    settings.cheap = random.one_in(6);
    settings.idle_ms = if random.one_in(5) { 4_000 } else { 0 };
    settings.recycling.age_ms = if random.one_in(3) { 15_000 } else { 0 };
    settings.recycling.age_step_ms = 700;
    settings.recycling.look_ms = if random.one_in(3) { 3_000 } else { 0 };
    settings.recycling.soft.resident = 100;
    settings.recycling.hard.resident = 200;
    if processes > 1 && random.one_in(2) {
        settings.cheaper = Some(Cheaper {
            least: 1,
            initial: 1 + random.below(u64::from(processes)) as u32,
            step: 1 + random.below(3) as u32,
            algorithm: random.below(ALGORITHMS.len() as u64) as usize,
            ..usual()
        });
    }
    settings
}

/// One life under orders of every kind; at its end, with good code, as many workers serve as are wanted, and a stop ends
/// it.
fn play_any_life(seed: u64) {
    const COMMANDS: [Command; 7] = [
        Command::Reload,
        Command::ReloadBrutally,
        Command::RenewWorkers,
        Command::RenewWorkersBrutally,
        Command::More,
        Command::Fewer,
        Command::Cheap,
    ];
    let mut random = Random::new(seed);
    let mut world = World::new(seed, 1, false);
    world.next = any_settings(&mut random);
    world.plan = Plan::new(world.next);
    world.play(11_000);
    world.wild = random.one_in(2);
    for second in 0..40 {
        match random.below(6) {
            0 => {
                let command = COMMANDS[random.below(7) as usize];
                world.feed(Input::Command { command, in_flight: 0 });
                world.next = any_settings(&mut random);
            }
            1 => world.feed(Input::Knock),
            2 if random.one_in(4) => world.feed(Input::Command { command: Command::Pause, in_flight: 0 }),
            3 => {
                let worker = world.up.first().copied().unwrap_or(1);
                let usage = Usage { resident: random.below(250), ..Usage::default() };
                world.feed(Input::Memory { worker, usage });
            }
            4 => {
                let worker = world.up.last().copied().unwrap_or(1);
                let activity = Activity { since_ms: 1, deadline_ms: 2, request: "a".into() };
                let others = random.below(2) as usize;
                world.feed(Input::Overdue { worker, requests: vec![(0, activity)], others, waiting: 0 });
            }
            _ => {}
        }
        let (busy, backlog) = (random.below(11), random.below(3) as u32 * 20);
        let load = world.load(busy, backlog);
        world.feed(Input::Load(load));
        world.play(12_000 + second * 1_000);
    }
    // What the wild time has left waiting is over; then the code is good, and nothing more is asked for.
    world.wild = false;
    world.play(150_000);
    if world.plan.is_paused() {
        world.feed(Input::Command { command: Command::Pause, in_flight: 0 });
    }
    let calm = Settings { recycling: Recycling::default(), idle_ms: 0, ..any_settings(&mut random) };
    world.next = calm;
    world.signal(0, Signal::Hup);
    world.play(300_000);
    assert_eq!(world.exit, None, "seed {seed}");
    world.feed(Input::Knock);
    world.play(310_000);
    let wanted = world.plan.wanted();
    let least = calm.cheaper.map_or(calm.processes, |rules| rules.least) as usize;
    assert!((least..=calm.processes as usize).contains(&wanted), "seed {seed}: {wanted} of {calm:?}");
    assert_eq!((world.up.len(), world.workers.len()), (wanted, wanted), "seed {seed}: {:?}", world.plan);
    world.signal(0, Signal::Term);
    world.play(320_000);
    assert_eq!(world.exit, Some(0), "seed {seed}");
}

#[test]
fn whatever_is_asked_for_as_many_workers_serve_as_are_wanted() {
    for seed in 1..300 {
        play_any_life(seed);
    }
}

#[test]
#[ignore = "minutes: for who changes the plan"]
fn a_hundred_thousand_lives() {
    for seed in 1..=100_000 {
        play_any_life(seed);
    }
}
