//! Workers that are replaced although they work: for their age, for their memory, because somebody asks. The replacement
//! is up before the replaced one drains, and `roll` does one at a time.

use super::worker::{State, Worker};
use super::{Event, Plan};
use crate::master::event::Why;
use crate::master::order::{Harakiri, Usage};
use ruwsgi_contract::scoreboard::Activity;

/// How long a worker whose request is past its deadline has for its last words.
const LAST_WORDS_MS: u64 = 1_000;

impl Plan {
    /// How often somebody must look what memory the workers have; `None`: nobody asks.
    pub(crate) fn looks_at_memory_ms(&self) -> Option<u64> {
        Some(self.settings().recycling.look_ms).filter(|look_ms| *look_ms > 0 && self.stop.is_none())
    }

    /// That includes what is shared and what is not, which is dearer to find out.
    pub(crate) fn wants_detailed_memory(&self) -> bool {
        let rules = self.settings().recycling;
        [rules.soft, rules.hard].iter().any(|limit| limit.unshared + limit.proportional > 0)
    }

    /// Replaces who has lived long enough.
    pub(super) fn note_age(&mut self) {
        for id in self.workers_where(Worker::serves) {
            let Some((slot, up_ms, generation)) =
                self.workers.get(&id).and_then(|it| Some((it.slot, it.up_ms?, it.generation)))
            else {
                continue;
            };
            let rules = self.settings_of(generation).recycling;
            let age_ms = rules.age_ms + rules.age_step_ms * u64::from(slot - 1);
            if rules.age_ms > 0 && self.due(up_ms + age_ms) {
                self.leave(id, Why::Age);
            }
        }
    }

    /// What memory a worker has.
    pub(super) fn measured(&mut self, id: u64, usage: Usage) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (who, up_ms, serves, state) = (worker.who(), worker.up_ms, worker.serves(), worker.state);
        let rules = self.settings_of(worker.generation).recycling;
        let old = up_ms.is_some_and(|up| self.now >= up + rules.min_age_ms);
        if let Some((option, bytes)) = above(usage, rules.hard, EVIL)
            && state == State::Up
        {
            self.tell(Event::Outgrown { who, option, bytes });
            self.kill_worker(id);
        } else if let Some((option, bytes)) = above(usage, rules.soft, KIND)
            && serves
            && old
        {
            self.leave(id, Why::Memory(option, bytes));
        }
    }

    /// Others in the place of all workers, of the same generation.
    pub(super) fn renew_workers(&mut self, brutally: bool) {
        for id in self.workers_where(|worker| worker.serves() && Some(worker.generation) == self.current) {
            if brutally {
                self.kill_worker(id);
            } else {
                self.leave(id, Why::Asked);
            }
        }
    }

    pub(super) fn leave(&mut self, id: u64, why: Why) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.leaving.replace(why).is_none() && worker.stays() {
            let who = worker.who();
            self.tell(Event::Leaving { who, why });
        }
    }

    /// Requests of a worker are past their deadline, and so many `others` in it are not: those have the mercy of a
    /// drain, while a replacement starts. When none is left, the worker ends.
    pub(super) fn overdue(&mut self, id: u64, requests: Vec<(usize, Activity)>, others: usize, waiting: u32) {
        let Some(worker) = self.workers.get(&id) else { return };
        // Who was never up has no request, whatever its seat says.
        if worker.pid.is_none() || worker.up_ms.is_none() || matches!(worker.state, State::Killed { .. }) {
            return;
        }
        let (who, now_ms, stays) = (worker.who(), self.now, worker.stays());
        let (expired, spared) = (worker.expired_ms, worker.spared);
        let Harakiri { grace_ms, queue } = self.settings_of(worker.generation).harakiri;
        if let Some(expired) = expired {
            if others == 0 && now_ms >= expired + grace_ms.max(LAST_WORDS_MS) {
                self.kill_worker(id);
            }
            return;
        }
        if waiting < queue {
            if let Some(worker) = self.workers.get_mut(&id).filter(|_| !spared) {
                worker.spared = true;
                self.tell(Event::HarakiriSkipped { who });
            }
            return;
        }
        for (core, activity) in requests {
            self.tell(Event::Harakiri { who, core, activity, now_ms });
        }
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.expired_ms = Some(now_ms);
        }
        self.orders.push(super::Order::Expire { worker: id });
        if stays {
            self.drain(id, false);
        }
    }
}

/// The options, in the order of the fields of [`Usage`].
const KIND: [&str; 4] = ["reload-on-as", "reload-on-rss", "reload-on-uss", "reload-on-pss"];
const EVIL: [&str; 4] = ["evil-reload-on-as", "evil-reload-on-rss", "evil-reload-on-uss", "evil-reload-on-pss"];

/// The first limit that is reached.
fn above(usage: Usage, limit: Usage, options: [&'static str; 4]) -> Option<(&'static str, u64)> {
    let fields = |of: Usage| [of.addresses, of.resident, of.unshared, of.proportional];
    let all = fields(usage).into_iter().zip(fields(limit)).zip(options);
    all.into_iter().find_map(|((has, limit), option)| (limit > 0 && has >= limit).then_some((option, has)))
}
