//! Which router processes there are to be: what happened goes in, what is to be done comes out. Touches nothing, so that
//! many lives can be played through in a test; `host` does what it orders.
//!
//! A *place* is one process of one router, as people count them: `http 1`. An *issue* is one reading of the configuration.
//! Each place is served by a process of the newest issue; the former one retires when that one is up.

use std::collections::BTreeMap;

use ruwsgi_sys::reap::End;

use crate::master::Backoff;

/// Less life than this is an early death, in milliseconds.
pub(super) const EARLY_MS: u64 = 2_000;
/// How many early deaths in a row cost nothing.
const FREE_DEATHS: u32 = 2;
/// A process that was killed and still is not dead is killed again.
const KILL_AGAIN_MS: u64 = 1_000;

/// A process of a router: which router, and its number from 1.
pub(super) type Place = (usize, u32);

/// What happened.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// These are wanted from now on; all anew, if `renew`.
    Wanted { places: Vec<Place>, renew: bool, mercy_ms: u64 },
    /// A process lets clients in.
    Up { id: u64 },
    /// A process could not be made.
    Unborn { id: u64 },
    /// A process is dead.
    Exited { id: u64, end: End },
    /// All are to end, within so many milliseconds.
    Retire { mercy_ms: u64 },
    /// All are to end now.
    StopNow,
    /// Only time has passed.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Fork a process for this place.
    Spawn { id: u64, place: Place },
    /// Have a process end.
    Drain { id: u64, mercy_ms: u64, last: bool },
    /// Kill it.
    Kill { id: u64 },
    /// Tell people.
    Tell(Event),
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// It lets clients in.
    Ready { id: u64, after_ms: u64 },
    /// It died unasked; the next one comes so much later.
    Died { id: u64, end: End, wait_ms: u64 },
    /// It ended as it was asked to.
    Ended { id: u64, end: End },
    /// It does not end.
    NoMercy { id: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Up,
    Draining { kill_at: u64 },
    Killed { again_at: u64 },
}

#[derive(Clone, Debug)]
struct Process {
    place: Place,
    issue: u64,
    state: State,
    born_ms: u64,
}

impl Process {
    fn stays(&self) -> bool {
        matches!(self.state, State::Starting | State::Up)
    }
}

/// The plan of the router processes.
#[derive(Debug, Default)]
pub(super) struct Supervision {
    wanted: Vec<Place>,
    /// The instance ends: nobody is wanted any more, whoever asks.
    ends: bool,
    issue: u64,
    mercy_ms: u64,
    processes: BTreeMap<u64, Process>,
    backoffs: BTreeMap<Place, Backoff>,
    ordered: u64,
    now: u64,
    wake: Option<u64>,
    orders: Vec<Order>,
}

impl Supervision {
    /// What is to be done after this, in this order.
    pub(super) fn decide(&mut self, input: Input, now_ms: u64) -> Vec<Order> {
        self.now = now_ms;
        match input {
            Input::Wanted { .. } if self.ends => {}
            Input::Wanted { places, renew, mercy_ms } => {
                self.issue += u64::from(renew);
                (self.wanted, self.mercy_ms) = (places, mercy_ms);
            }
            Input::Up { id } => self.up(id),
            Input::Unborn { id } => self.gone(id, None),
            Input::Exited { id, end } => self.gone(id, Some(end)),
            Input::Retire { mercy_ms } => {
                self.ends = true;
                self.wanted.clear();
                // Those that have been leaving have no more time than the others.
                self.drain_where(mercy_ms, true, |process| !matches!(process.state, State::Killed { .. }));
            }
            Input::StopNow => {
                self.ends = true;
                self.wanted.clear();
                for id in self.processes.keys().copied().collect::<Vec<_>>() {
                    self.kill(id);
                }
            }
            Input::Tick => {}
        }
        self.settle();
        std::mem::take(&mut self.orders)
    }

    /// One that another executable has left: how far it is, and when it is killed if it was told to end. Its number.
    pub(super) fn inherit(&mut self, place: Place, up: bool, kill_at: Option<u64>, now_ms: u64) -> u64 {
        let state = match (kill_at, up) {
            (Some(0), _) => State::Killed { again_at: now_ms + KILL_AGAIN_MS },
            (Some(kill_at), _) => State::Draining { kill_at },
            (None, true) => State::Up,
            (None, false) => State::Starting,
        };
        self.ordered += 1;
        self.processes.insert(self.ordered, Process { place, issue: self.issue, state, born_ms: now_ms });
        self.ordered
    }

    /// The same, to be left.
    pub(super) fn process(&self, id: u64) -> Option<(Place, bool, Option<u64>)> {
        let process = self.processes.get(&id)?;
        let kill_at = match process.state {
            State::Starting | State::Up => None,
            State::Draining { kill_at } => Some(kill_at),
            State::Killed { .. } => Some(0),
        };
        Some((process.place, process.state == State::Up, kill_at))
    }

    /// When [`Input::Tick`] is wanted at the latest.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.wake
    }

    /// Somebody is there.
    pub(super) fn is_alive(&self) -> bool {
        !self.processes.is_empty()
    }

    fn due(&mut self, at_ms: u64) -> bool {
        let due = at_ms <= self.now;
        if !due {
            self.wake = Some(self.wake.map_or(at_ms, |wake| wake.min(at_ms)));
        }
        due
    }

    fn up(&mut self, id: u64) {
        let Some(process) = self.processes.get_mut(&id).filter(|process| process.state == State::Starting) else {
            return;
        };
        process.state = State::Up;
        let after_ms = self.now - process.born_ms;
        self.orders.push(Order::Tell(Event::Ready { id, after_ms }));
    }

    fn gone(&mut self, id: u64, end: Option<End>) {
        let Some(process) = self.processes.remove(&id) else { return };
        let event = if process.stays() {
            let early = process.state == State::Starting || self.now < process.born_ms + EARLY_MS;
            let wait_ms = self.backoffs.entry(process.place).or_default().death(early, FREE_DEATHS, self.now);
            end.map(|end| Event::Died { id, end, wait_ms })
        } else {
            end.map(|end| Event::Ended { id, end })
        };
        self.orders.extend(event.map(Order::Tell));
    }

    fn kill(&mut self, id: u64) {
        let again_at = self.now + KILL_AGAIN_MS;
        if let Some(process) = self.processes.get_mut(&id) {
            process.state = State::Killed { again_at };
            self.orders.push(Order::Kill { id });
        }
    }

    fn drain_where(&mut self, mercy_ms: u64, last: bool, which: impl Fn(&Process) -> bool) {
        let found: Vec<u64> = self.processes.iter().filter(|(_, it)| which(it)).map(|(id, _)| *id).collect();
        for id in found {
            let Some(process) = self.processes.get_mut(&id) else { continue };
            process.state = State::Draining { kill_at: self.now + mercy_ms };
            self.orders.push(Order::Drain { id, mercy_ms, last });
        }
    }

    fn settle(&mut self) {
        self.wake = None;
        for place in self.wanted.clone() {
            let current = |process: &&Process| process.place == place && process.issue == self.issue && process.stays();
            if self.processes.values().any(|process| current(&process)) {
                continue;
            }
            let not_before = self.backoffs.get(&place).map_or(0, |backoff| backoff.not_before_ms);
            if self.due(not_before) {
                self.ordered += 1;
                let process = Process { place, issue: self.issue, state: State::Starting, born_ms: self.now };
                self.processes.insert(self.ordered, process);
                self.orders.push(Order::Spawn { id: self.ordered, place });
            }
        }
        let (issue, wanted) = (self.issue, self.wanted.clone());
        let served: Vec<Place> = self
            .processes
            .values()
            .filter(|process| process.issue == issue && process.state == State::Up)
            .map(|process| process.place)
            .collect();
        let replaced = |process: &Process| {
            let unwanted = !wanted.contains(&process.place);
            process.stays() && (unwanted || process.issue != issue && served.contains(&process.place))
        };
        self.drain_where(self.mercy_ms, false, replaced);
        self.deadlines();
    }

    fn deadlines(&mut self) {
        for (id, state) in self.processes.iter().map(|(id, it)| (*id, it.state)).collect::<Vec<_>>() {
            match state {
                State::Draining { kill_at } if self.due(kill_at) => {
                    self.orders.push(Order::Tell(Event::NoMercy { id }));
                    self.kill(id);
                }
                State::Killed { again_at } if self.due(again_at) => self.kill(id),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spawned(orders: &[Order]) -> Vec<(u64, Place)> {
        let spawn = |order: &Order| if let Order::Spawn { id, place } = order { Some((*id, *place)) } else { None };
        orders.iter().filter_map(spawn).collect()
    }

    fn wanted(places: &[Place], renew: bool) -> Input {
        Input::Wanted { places: places.to_vec(), renew, mercy_ms: 5_000 }
    }

    const KILLED: End = End::Killed(9);

    #[test]
    fn the_former_one_goes_when_the_new_one_is_up() {
        let mut plan = Supervision::default();
        let orders = plan.decide(wanted(&[(0, 1), (0, 2)], true), 0);
        assert_eq!(spawned(&orders), [(1, (0, 1)), (2, (0, 2))]);
        plan.decide(Input::Up { id: 1 }, 1);
        plan.decide(Input::Up { id: 2 }, 1);
        assert_eq!(plan.decide(wanted(&[(0, 1), (0, 2)], false), 5), [], "nothing has changed");
        let orders = plan.decide(wanted(&[(0, 1)], true), 10);
        assert_eq!(spawned(&orders), [(3, (0, 1))]);
        assert!(orders.contains(&Order::Drain { id: 2, mercy_ms: 5_000, last: false }), "nobody wants it");
        assert_eq!(orders.len(), 2, "the first one goes on until the third is up");
        let orders = plan.decide(Input::Up { id: 3 }, 20);
        assert!(orders.contains(&Order::Drain { id: 1, mercy_ms: 5_000, last: false }));
        assert_eq!(plan.wake_ms(), Some(5_010));
        let orders = plan.decide(Input::Tick, 5_010);
        assert!(orders.contains(&Order::Kill { id: 2 }) && !orders.contains(&Order::Kill { id: 1 }));
    }

    #[test]
    fn a_reload_that_is_complete_during_a_stop_wants_nobody() {
        let mut plan = Supervision::default();
        plan.decide(wanted(&[(0, 1)], true), 0);
        plan.decide(Input::Up { id: 1 }, 1);
        assert_eq!(plan.decide(Input::Retire { mercy_ms: 60_000 }, 2).len(), 1);
        assert_eq!(plan.decide(wanted(&[(0, 1)], true), 3), []);
        plan.decide(Input::Exited { id: 1, end: End::Exited(0) }, 4);
        assert!(!plan.is_alive());
    }

    #[test]
    fn who_dies_comes_back_and_who_keeps_dying_waits() {
        let mut plan = Supervision::default();
        plan.decide(wanted(&[(0, 1)], true), 0);
        for id in 1..=2 {
            assert_eq!(spawned(&plan.decide(Input::Exited { id, end: KILLED }, 10)), [(id + 1, (0, 1))]);
        }
        assert_eq!(spawned(&plan.decide(Input::Exited { id: 3, end: KILLED }, 10)), []);
        assert_eq!(plan.wake_ms(), Some(1_010));
        assert_eq!(spawned(&plan.decide(Input::Tick, 1_010)), [(4, (0, 1))]);
    }

    #[test]
    fn another_plan_goes_on_with_what_one_leaves() {
        let (mut former, mut plan) = (Supervision::default(), Supervision::default());
        former.decide(wanted(&[(0, 1), (0, 2), (0, 3)], true), 0);
        former.decide(Input::Up { id: 1 }, 1);
        former.decide(Input::Up { id: 3 }, 1);
        former.decide(wanted(&[(0, 1), (0, 2)], false), 10);
        for id in 1..=3 {
            let (place, up, kill_at) = former.process(id).unwrap();
            assert_eq!(plan.inherit(place, up, kill_at, 20), id);
            assert_eq!(plan.process(id), former.process(id));
        }
        assert_eq!(plan.decide(wanted(&[(0, 1), (0, 2)], false), 20), [], "they are there");
        assert_eq!(spawned(&plan.decide(Input::Exited { id: 2, end: KILLED }, 30)), [(4, (0, 2))]);
        let orders = plan.decide(wanted(&[(0, 1), (0, 2)], true), 40);
        assert_eq!(spawned(&orders), [(5, (0, 1)), (6, (0, 2))]);
        assert!(!orders.iter().any(|order| matches!(order, Order::Drain { .. })), "they serve until then");
        assert!(plan.decide(Input::Up { id: 5 }, 50).contains(&Order::Drain { id: 1, mercy_ms: 5_000, last: false }));
        assert!(plan.decide(Input::Tick, 5_010).contains(&Order::Kill { id: 3 }), "its deadline has come along");
    }

    #[test]
    fn random_lives_end() {
        for seed in 1..300_u64 {
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut random = move |below: u64| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state % below
            };
            let (mut plan, mut alive, mut now) = (Supervision::default(), Vec::new(), 0);
            let live = |orders: Vec<Order>, alive: &mut Vec<u64>| {
                for order in orders {
                    match order {
                        Order::Spawn { id, .. } => alive.push(id),
                        Order::Kill { id } => assert!(alive.contains(&id), "seed {seed}: a dead one is killed"),
                        Order::Drain { id, .. } => assert!(alive.contains(&id)),
                        Order::Tell(_) => {}
                    }
                }
            };
            for _ in 0..200 {
                now += random(800);
                let some = if alive.is_empty() { 0 } else { alive[random(alive.len() as u64) as usize] };
                let input = match random(6) {
                    0 => wanted(&[(0, 1), (0, 2), (1, 1)][..random(4) as usize], random(2) == 0),
                    1 | 2 => Input::Up { id: some },
                    3 => {
                        alive.retain(|id| *id != some);
                        Input::Exited { id: some, end: KILLED }
                    }
                    _ => Input::Tick,
                };
                live(plan.decide(input, now), &mut alive);
                assert!(alive.len() < 40, "seed {seed}: too many processes");
            }
            live(plan.decide(Input::Retire { mercy_ms: 100 }, now), &mut alive);
            let orders = plan.decide(Input::Tick, now + 2_000);
            let killed = orders.iter().filter(|order| matches!(order, Order::Kill { .. })).count();
            assert_eq!(killed, alive.len(), "seed {seed}: everybody ends");
            for id in alive {
                assert_eq!(spawned(&plan.decide(Input::Exited { id, end: KILLED }, now + 2_100)), []);
            }
            assert!(!plan.is_alive());
        }
    }
}
