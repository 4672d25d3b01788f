//! After every input: what is due by the clock, and which worker to start or to end next, so that each slot comes to
//! be served by the current generation. The replacement is up before the replaced one drains.

use ruwsgi_contract::message::Recycle;

use super::generation::{Generation, Zygote};
use super::worker::{DEAF_MS, FORK_MS, State, Worker};
use super::{Event, How, Order, Plan, Why};

/// How often requests past their deadline are looked for.
const WATCH_MS: u64 = 1_000;

impl Plan {
    /// Until nothing more is to be done now: the last round only finds out when to wake.
    pub(super) fn settle(&mut self) {
        loop {
            let before = self.orders.len();
            self.wake = None;
            self.round();
            if self.orders.len() == before || self.over {
                break;
            }
        }
    }

    fn round(&mut self) {
        self.bury_strays();
        if self.stop.is_none() {
            self.close_in_time();
        }
        if self.stop.is_none() {
            self.note_deaf();
            self.note_age();
            self.reload();
            self.renew();
            self.end_replaced();
            self.fill_empty();
            self.start_first();
            self.replace();
            self.tell_complete();
        }
        self.deadlines();
        self.forget();
        self.finish();
    }

    /// Workers whose pid nobody knows and whose zygote is gone: nobody will ever say more about them.
    fn bury_strays(&mut self) {
        for id in self.workers_where(|worker| worker.pid.is_none()) {
            let Some(worker) = self.workers.get(&id).filter(|_| self.is_stray(id)) else { continue };
            let until = match worker.state {
                State::Killed { again_at } => again_at + DEAF_MS,
                _ => worker.asked_ms + FORK_MS,
            };
            if self.due(until) {
                self.bury(id, None);
            }
        }
    }

    /// A worker that lives on without its channel can't be told anything: better to replace it.
    fn note_deaf(&mut self) {
        for id in self.workers_where(|worker| worker.deaf_ms.is_some() && worker.stays() && worker.leaving.is_none()) {
            let Some((since, state)) = self.workers.get(&id).and_then(|it| Some((it.deaf_ms?, it.state))) else {
                continue;
            };
            if !self.due(since + DEAF_MS) {
                continue;
            }
            if state == State::Starting {
                self.distrust(id);
            } else {
                self.leave(id, Why::Said(Recycle::Broken));
            }
        }
    }

    /// A reload that was asked for before a stop is not begun after it.
    fn reload(&mut self) {
        let Some(due) = self.storm.due_ms().filter(|_| !self.stops()) else { return };
        if !self.due(due) {
            return;
        }
        let mut brutal = self.storm.begin(self.now);
        if let Some(loading) = self.candidate.take() {
            brutal |= self.generations.get(&loading).is_some_and(|generation| generation.brutal);
            self.tell(Event::Overtaken { generation: loading });
            self.abandon(loading);
        }
        self.begin(How::Reload, brutal);
    }

    /// The zygote of the current generation is dead: another one, which may find newer code on the disk, and so is a
    /// generation of its own.
    fn renew(&mut self) {
        let Some(current) = self.current else { return };
        let forks = |generation: &&Generation| generation.settings.processes > 0;
        let gone = self.generations.get(&current).filter(forks).filter(|it| it.zygote == Zygote::Gone);
        let Some(how) = gone.map(|it| if it.inherited { How::Reload } else { How::Again { like: current } }) else {
            return;
        };
        if self.candidate.is_none() && self.due(self.renewal.not_before_ms) {
            self.begin(how, false);
        }
    }

    /// Ends who is replaced, and whose slot is no more.
    fn end_replaced(&mut self) {
        let Some(current) = self.current else { return };
        let (in_place, brutal) =
            self.generations.get(&current).map_or((false, false), |it| (it.settings.in_place, it.brutal));
        let slots = self.slots_of(current);
        for id in self.workers_where(|worker| worker.stays() && Some(worker.generation) != self.candidate) {
            let worker = &self.workers[&id];
            let newer = |(other, its): (&u64, &Worker)| {
                let replaces = its.slot == worker.slot && its.generation == current && its.state == State::Up;
                replaces && (worker.generation != current || *other > id)
            };
            let makes_room = in_place && worker.generation != current;
            if slots.contains(&worker.slot) && !makes_room && !self.workers.iter().any(newer) {
                continue;
            }
            if worker.state == State::Starting || brutal && worker.generation != current {
                self.kill_worker(id);
            } else {
                self.drain(id, false);
            }
        }
    }

    /// Who counts as the worker of a slot; the candidate's first one is on trial and does not.
    fn holds(&self, worker: &Worker, slot: u32) -> bool {
        worker.slot == slot && worker.stays() && Some(worker.generation) != self.candidate
    }

    fn is_empty(&self, slot: u32) -> bool {
        !self.workers.values().any(|worker| self.holds(worker, slot))
    }

    /// The current generation, if its zygote forks, and the slots that it is to serve.
    fn forking(&self) -> Option<(u32, Vec<u32>)> {
        let id = self.current?;
        let generation = self.generations.get(&id)?;
        generation.zygote.is_ready().then(|| (id, self.slots_of(id)))
    }

    /// So many more than `processes` may live, whatever they do, and so many more than are wanted may stay.
    fn has_room(&self) -> bool {
        let settings = self.settings();
        let staying = self.workers.values().filter(|worker| worker.stays()).count();
        let surge = settings.surge as usize;
        staying < self.wanted() + surge && self.workers.len() < settings.processes as usize + surge
    }

    /// Where former workers make room first, none begins before that.
    fn waits_for_room(&self, current: u32) -> bool {
        let settings = self.settings_of(current);
        let former = self.workers.values().any(|worker| worker.generation != current);
        settings.in_place && former && self.workers.len() >= settings.processes as usize
    }

    fn may_try(&mut self, slot: u32) -> bool {
        let not_before = self.slots.get(&slot).map_or(0, |backoff| backoff.not_before_ms);
        self.due(not_before)
    }

    fn fill_empty(&mut self) {
        let Some((current, slots)) = self.forking() else { return };
        for slot in slots {
            if self.is_empty(slot) && self.may_try(slot) && self.has_room() && !self.waits_for_room(current) {
                self.spawn(current, slot);
            }
        }
    }

    /// The first worker of a candidate: in an empty slot if there is one.
    fn start_first(&mut self) {
        let Some(id) = self.waiting_candidate() else { return };
        let slots = self.slots_of(id);
        if slots.is_empty() || self.settings_of(id).in_place && self.current.is_some() {
            // There is no worker to judge it by.
            return self.accept(id);
        }
        if !self.has_room() {
            // It is not kept waiting by a replacement that would be replaced at once.
            let replacement = |worker: &Worker| worker.state == State::Starting && self.is_doubled(worker.slot);
            if let Some(id) = self.workers_where(replacement).first() {
                self.kill_worker(*id);
            }
            return;
        }
        let slot = slots.iter().copied().find(|slot| self.is_empty(*slot)).unwrap_or(slots[0]);
        let worker = self.spawn(id, slot);
        if let Some(generation) = self.generations.get_mut(&id) {
            generation.first = Some(worker);
        }
    }

    fn waiting_candidate(&self) -> Option<u32> {
        let id = self.candidate?;
        let generation = self.generations.get(&id)?;
        (generation.zygote.is_ready() && generation.first.is_none()).then_some(id)
    }

    fn is_doubled(&self, slot: u32) -> bool {
        self.workers.values().filter(|worker| self.holds(worker, slot)).count() > 1
    }

    /// Replacements for workers of former generations and for those that want to go.
    fn replace(&mut self) {
        let Some((current, slots)) = self.forking() else { return };
        if self.waiting_candidate().is_some() {
            return;
        }
        for slot in slots {
            let good = |worker: &Worker| {
                let starts = worker.state == State::Starting;
                self.holds(worker, slot) && worker.generation == current && (starts || worker.serves())
            };
            if self.is_empty(slot) || self.workers.values().any(good) {
                continue;
            }
            if self.may_try(slot) && self.has_room() {
                self.spawn(current, slot);
            }
        }
    }

    fn spawn(&mut self, generation: u32, slot: u32) -> u64 {
        let taken = |seat: u32| self.workers.values().any(|it| it.generation == generation && it.seat == seat);
        let seat = (0..).find(|seat| !taken(*seat)).unwrap_or(0);
        self.ordered += 1;
        let worker = self.ordered;
        self.workers.insert(worker, Worker::new(generation, slot, seat, self.now));
        self.orders.push(Order::Spawn { generation, worker, slot, seat });
        worker
    }

    fn tell_complete(&mut self) {
        let Some(id) = self.current else { return };
        let of_this = self.workers.values().all(|worker| worker.generation == id);
        let slots = self.slots_of(id);
        let served = |slot: &u32| self.workers.values().any(|worker| worker.slot == *slot && worker.serves());
        let complete = of_this && slots.iter().all(served);
        let start = id == 1;
        let Some(generation) = self.generations.get_mut(&id) else { return };
        if complete && !generation.complete {
            generation.complete = true;
            let took_ms = self.now - generation.began_ms;
            self.tell(Event::Complete { generation: id, workers: slots.len() as u32, took_ms, start });
        }
    }

    fn deadlines(&mut self) {
        for id in self.workers_where(|_| true) {
            self.worker_deadline(id);
        }
        for id in self.generations.keys().copied().collect::<Vec<_>>() {
            let zygote = self.generations.get(&id).map(|generation| generation.zygote);
            if let Some(Zygote::Ending { kill_at: at, .. } | Zygote::Killed { again_at: at, .. }) = zygote
                && self.due(at)
            {
                self.kill_zygote(id);
            }
        }
        self.load_deadline();
        if self.watches() {
            self.due(self.now + WATCH_MS);
        }
    }

    /// Loading must come to an end, in the zygote or (`lazy-apps`) in the worker by which it is judged.
    fn load_deadline(&mut self) {
        let Some(id) = self.candidate else { return };
        let Some(generation) = self.generations.get(&id) else { return };
        let (limit_ms, zygote) = (generation.settings.load_ms, generation.zygote);
        let first = generation.first.and_then(|first| self.workers.get(&first)).map(|worker| worker.asked_ms);
        let since = match zygote {
            Zygote::Loading { .. } => generation.began_ms,
            _ => first.unwrap_or(self.now),
        };
        if limit_ms > 0 && self.due(since + limit_ms) {
            let limit_s = limit_ms / 1_000;
            let reason = format!("the application was not loaded within {limit_s} s (load-timeout)");
            self.candidate_failed(id, 1, reason);
            self.kill_zygote(id);
        }
    }

    fn worker_deadline(&mut self, id: u64) {
        let Some(worker) = self.workers.get(&id) else { return };
        let (who, state, asked, generation) = (worker.who(), worker.state, worker.asked_ms, worker.generation);
        match (who.pid, state) {
            (Some(_), State::Draining { kill_at }) if self.due(kill_at) => {
                self.tell(Event::NoMercy { who, after_ms: u64::from(self.settings_of(generation).mercy_ms) });
                self.kill_worker(id);
            }
            (Some(_), State::Killed { again_at }) if self.due(again_at) => self.kill_worker(id),
            (None, _) if !self.is_stray(id) && self.due(asked + FORK_MS) => self.give_up_forking(generation, asked),
            // That of a candidate is its own matter.
            (Some(_), State::Starting) if self.candidate != Some(generation) => {
                let limit_ms = self.settings_of(generation).load_ms;
                if limit_ms > 0 && self.due(asked + limit_ms) {
                    self.tell(Event::NotReady { who, after_ms: limit_ms });
                    self.distrust(id);
                }
            }
            _ => {}
        }
    }

    /// The zygote was told to fork long ago.
    fn give_up_forking(&mut self, generation: u32, asked_ms: u64) {
        let zygote = self.generations.get(&generation).map(|generation| generation.zygote);
        if let Some(Zygote::Ready { pid, .. }) = zygote {
            self.tell(Event::ZygoteStuck { pid, after_ms: self.now - asked_ms });
            self.kill_zygote(generation);
        }
    }

    /// Nobody can tell its pid any more.
    fn is_stray(&self, id: u64) -> bool {
        let Some(worker) = self.workers.get(&id).filter(|worker| worker.pid.is_none()) else { return false };
        self.generations.get(&worker.generation).is_none_or(|generation| generation.zygote == Zygote::Gone)
    }

    fn forget(&mut self) {
        let kept = |id: u32| Some(id) == self.current || Some(id) == self.candidate;
        let used = |id: u32| self.workers.values().any(|worker| worker.generation == id);
        let gone = |(id, zygote): (&u32, Zygote)| (zygote == Zygote::Gone && !kept(*id) && !used(*id)).then_some(*id);
        let over: Vec<u32> = self.generations.iter().filter_map(|(id, it)| gone((id, it.zygote))).collect();
        for id in over {
            self.generations.remove(&id);
            self.orders.push(Order::Forget { generation: id });
        }
    }
}
