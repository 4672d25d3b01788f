//! What a plan leaves to that of another executable, and how that one goes on from there: the former workers are those
//! of the generation that serves, until a new one has replaced them.

use super::generation::{Generation, Zygote};
use super::worker::{KILL_AGAIN_MS, State, Worker};
use super::{How, Plan, Settings};
use crate::upgrade::{Former, State as Left};

impl Plan {
    /// What there is to leave: no descriptor, which are the runner's.
    pub(crate) fn legacy(&self) -> Left {
        let former = |(id, worker): (&u64, &Worker)| {
            let kill_at = match worker.state {
                State::Up => None,
                State::Draining { kill_at } => Some(kill_at),
                // On its way to its end.
                State::Starting | State::Killed { .. } => Some(0),
            };
            Some(Former {
                worker: *id,
                generation: worker.generation,
                slot: worker.slot,
                seat: worker.seat,
                pid: worker.pid?,
                asked_ms: worker.asked_ms,
                up_ms: worker.up_ms.unwrap_or(worker.asked_ms),
                kill_at,
                channel: None,
            })
        };
        Left {
            generation: self.current.unwrap_or_default(),
            // The one under way is begun anew.
            begun: self.begun - u32::from(self.candidate.is_some()),
            ordered: self.ordered,
            paused: self.paused,
            brutal: self.candidate.and_then(|id| self.generations.get(&id)).is_some_and(|candidate| candidate.brutal),
            workers: self.workers.iter().filter_map(former).collect(),
            ending: self.generations.values().filter_map(|generation| generation.zygote.pid()).collect(),
            ..Left::default()
        }
    }

    /// The pids of workers that are not up.
    pub(crate) fn starting_pids(&self) -> Vec<i32> {
        self.workers.values().filter(|worker| worker.state == State::Starting).filter_map(|worker| worker.pid).collect()
    }

    /// It goes on where another executable was, and has not begun yet.
    pub(crate) fn is_inherited(&self) -> bool {
        self.inherited.is_some()
    }

    /// This generation is awaited.
    pub(crate) fn is_candidate(&self, generation: u32) -> bool {
        self.candidate == Some(generation)
    }

    /// How long loading an application may take; `None`: any time.
    pub(crate) fn load_ms(&self) -> Option<u64> {
        Some(self.settings().load_ms).filter(|limit| *limit > 0)
    }

    /// Goes on where the plan of another executable ended. It begins with a reload.
    pub(crate) fn inherit(settings: Settings, left: &Left, now_ms: u64) -> Self {
        let mut plan = Self::new(settings);
        plan.now = now_ms;
        plan.begun = left.begun;
        plan.ordered = left.ordered;
        plan.paused = left.paused;
        plan.inherited = Some(left.brutal);
        plan.idle_since_ms = now_ms;
        if left.generation == 0 {
            return plan;
        }
        // Its zygote goes with the former executable; another one of the same kind can only be had by loading anew.
        let mut current = Generation::new(How::Reload, false, settings, now_ms);
        (current.zygote, current.complete, current.inherited) = (Zygote::Gone, true, true);
        plan.generations.insert(left.generation, current);
        plan.current = Some(left.generation);
        for (id, pid) in (0..u32::MAX).rev().zip(&left.ending) {
            let mut ending = Generation::new(How::Reload, false, settings, now_ms);
            let kill_at = now_ms + u64::from(settings.zygote_mercy_ms);
            ending.zygote = Zygote::Ending { pid: *pid, since_ms: None, kill_at };
            plan.generations.insert(id, ending);
        }
        for it in &left.workers {
            let mut worker = Worker::new(it.generation, it.slot, it.seat, it.asked_ms);
            worker.pid = Some(it.pid);
            worker.up_ms = Some(it.up_ms);
            worker.state = match it.kill_at {
                None => State::Up,
                Some(0) => State::Killed { again_at: now_ms + KILL_AGAIN_MS },
                Some(kill_at) => State::Draining { kill_at },
            };
            plan.workers.insert(it.worker, worker);
        }
        if settings.cheaper.is_some() || settings.cheap {
            let taken = |slot: &u32| plan.workers.values().any(|it| it.slot == *slot && it.state == State::Up);
            plan.off = (1..=settings.processes).filter(|slot| !taken(slot)).collect();
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::order::{Input, Order};
    use ruwsgi_contract::message::{FromWorker, FromZygote};
    use ruwsgi_sys::reap::End;

    fn settings() -> Settings {
        crate::master::host::settings(&ruwsgi_options::Config::default())
    }

    fn former(worker: u64, slot: u32, kill_at: Option<u64>) -> Former {
        let pid = 100 + worker as i32;
        Former { worker, generation: 3, slot, seat: slot, pid, asked_ms: 1, up_ms: 2, kill_at, channel: None }
    }

    fn left() -> Left {
        Left {
            generation: 3,
            begun: 3,
            ordered: 9,
            workers: vec![former(7, 1, None), former(8, 2, Some(90_000)), former(9, 3, Some(0))],
            ending: vec![55],
            ..Left::default()
        }
    }

    fn inherited() -> (Plan, Vec<Order>) {
        let mut plan = Plan::inherit(Settings { processes: 1, ..settings() }, &left(), 10_000);
        let orders = plan.decide(Input::Start, 10_000);
        (plan, orders)
    }

    #[test]
    fn it_begins_with_a_reload_and_the_former_workers_serve_until_it_is_there() {
        let (mut plan, orders) = inherited();
        assert!(orders.contains(&Order::Begin { generation: 4, how: How::Reload }), "{orders:?}");
        assert!(plan.is_up(7) && !plan.is_up(8));
        let began = Input::Began {
            generation: 4,
            zygote: 200,
            python: String::new(),
            settings: Box::new(Settings { processes: 1, ..settings() }),
        };
        plan.decide(began, 10_010);
        // The former zygote, one that was draining, and one that was to be killed anyway: none of them is an orphan.
        for pid in [55, 108, 109] {
            plan.decide(Input::Exited { pid, end: End::Killed(9), requests: Vec::new(), of_use: false }, 10_020);
        }
        let ready = Input::Zygote { generation: 4, said: FromZygote::Ready { load_ms: 1, python: String::new() } };
        let orders = plan.decide(ready, 10_030);
        let spawned = orders.iter().find_map(|order| match order {
            Order::Spawn { generation: 4, worker, slot, .. } => Some((*worker, *slot)),
            _ => None,
        });
        assert_eq!(spawned, Some((10, 1)), "{orders:?}");
        let orders = plan.decide(Input::Worker { worker: 10, sender: 210, said: FromWorker::Up }, 10_040);
        assert!(orders.iter().any(|order| matches!(order, Order::Drain { worker: 7, .. })), "{orders:?}");
        plan.decide(Input::Exited { pid: 107, end: End::Exited(0), requests: Vec::new(), of_use: false }, 10_050);
        assert_eq!((plan.orphans(), plan.workers.len()), (0, 1));
        assert_eq!(plan.generations.keys().copied().collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn where_it_comes_to_nothing_they_serve_on_and_it_is_tried_again() {
        let (mut plan, _) = inherited();
        let orders = plan.decide(Input::NotBegun { generation: 4, reason: "no".into() }, 10_010);
        assert!(plan.is_up(7) && !orders.iter().any(|order| matches!(order, Order::Drain { .. } | Order::Exit { .. })));
        let again = |orders: &[Order], generation| orders.contains(&Order::Begin { generation, how: How::Reload });
        assert!(!again(&orders, 5), "{orders:?}");
        assert!(!again(&plan.decide(Input::Tick, 11_009), 5));
        assert!(again(&plan.decide(Input::Tick, 11_010), 5), "nobody tries again");
        plan.decide(Input::NotBegun { generation: 5, reason: "no".into() }, 11_010);
        assert!(!again(&plan.decide(Input::Tick, 13_009), 6) && again(&plan.decide(Input::Tick, 13_010), 6));
    }

    #[test]
    fn what_is_left_is_what_was_left() {
        let (plan, _) = inherited();
        let legacy = plan.legacy();
        // What is under way is begun anew, and who is dying stays so.
        assert_eq!(Left { ending: vec![55], ..legacy.clone() }, Left { ..left() });
        assert_eq!(legacy.workers[1].kill_at, Some(90_000));
    }

    #[test]
    fn a_stop_reaches_former_workers_too() {
        let (mut plan, _) = inherited();
        let orders = plan.decide(Input::Signal { signal: crate::master::order::Signal::Int, in_flight: 0 }, 10_010);
        assert!(orders.iter().any(|order| matches!(order, Order::Drain { worker: 7, .. })), "{orders:?}");
        let mut over = false;
        for pid in [55, 107, 108, 109] {
            let orders =
                plan.decide(Input::Exited { pid, end: End::Exited(0), requests: Vec::new(), of_use: false }, 10_020);
            over |= orders.iter().any(|order| matches!(order, Order::Exit { code: 0, .. }));
        }
        plan.decide(Input::NotBegun { generation: 4, reason: String::new() }, 10_030);
        over |= plan.decide(Input::Tick, 10_040).iter().any(|order| matches!(order, Order::Exit { .. })) || plan.over;
        assert!(over, "it ends when everybody is gone");
    }
}
