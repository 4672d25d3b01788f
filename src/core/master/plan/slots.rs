//! Which slots are to have a worker: all of them, or as many as the load asks for (`cheaper`), or none until somebody
//! connects (`cheap`, `idle`).

use super::cheaper::ALGORITHMS;
use super::worker::State;
use super::{Event, Order, Plan};
use crate::master::order::Load;

impl Plan {
    /// The slots of a generation that are to have a worker.
    pub(super) fn slots_of(&self, generation: u32) -> Vec<u32> {
        (1..=self.settings_of(generation).processes).filter(|slot| !self.off.contains(slot)).collect()
    }

    /// So many of the current generation.
    pub(super) fn wanted(&self) -> usize {
        self.generation().map_or(0, |id| self.slots_of(id).len())
    }

    /// A generation begins to count: as many slots as before have a worker, where the load decides, or else all.
    pub(super) fn fit_slots(&mut self, generation: u32) {
        let settings = self.settings_of(generation);
        let former = self.current.map(|id| self.slots_of(id).len() as u32);
        if former.is_none() && settings.cheap {
            self.cheap = true;
        }
        let count = match settings.cheaper {
            _ if self.cheap => 0,
            None => settings.processes,
            Some(rules) => former.unwrap_or(rules.initial).clamp(rules.least.max(1), settings.processes),
        };
        self.off = (count + 1..=settings.processes).collect();
        if self.algorithm.as_ref().map(|(row, _)| *row) != settings.cheaper.map(|rules| rules.algorithm) {
            self.algorithm = settings.cheaper.and_then(|rules| {
                let (_, new) = ALGORITHMS.get(rules.algorithm)?;
                Some((rules.algorithm, new()))
            });
        }
    }

    /// Somebody must tell once a second what the workers do.
    pub(crate) fn wants_load(&self) -> bool {
        let settings = self.settings();
        self.stop.is_none() && !self.cheap && (settings.cheaper.is_some() || settings.idle_ms > 0)
    }

    /// The load includes the memory of the workers.
    pub(crate) fn counts_memory(&self) -> bool {
        self.settings().cheaper.is_some_and(|rules| rules.soft_bytes + rules.hard_bytes > 0)
    }

    /// No worker runs until somebody connects.
    pub(crate) fn is_cheap(&self) -> bool {
        self.cheap && self.current.is_some() && self.stop.is_none()
    }

    /// What the workers have been doing: once a second.
    pub(super) fn loaded(&mut self, load: &Load) {
        if self.stop.is_some() || self.cheap {
            return;
        }
        self.rest_if_idle(load);
        let settings = self.settings();
        let Some(rules) = settings.cheaper.filter(|_| !self.paused && !self.cheap) else { return };
        let memory: u64 = load.workers.values().fold(0, |sum, work| sum.saturating_add(work.resident));
        if rules.hard_bytes > 0 && memory >= rules.hard_bytes {
            return self.fewer(load, rules.least, "cheaper-rss-limit-hard".to_owned());
        }
        let Some((_, algorithm)) = &mut self.algorithm else { return };
        let Some((change, why)) = algorithm.advise(load, &rules, settings.processes) else { return };
        if change < 0 {
            self.fewer(load, rules.least, why);
        } else if rules.soft_bytes == 0 || memory < rules.soft_bytes {
            self.more(change.unsigned_abs(), why);
        }
    }

    /// So many more slots have a worker.
    pub(super) fn more(&mut self, count: u32, why: String) {
        let from = self.wanted();
        for slot in self.off.iter().copied().take(count as usize).collect::<Vec<_>>() {
            self.off.remove(&slot);
        }
        self.tell_change(from, why);
    }

    /// One slot fewer has a worker: the last one that has nothing to do.
    fn fewer(&mut self, load: &Load, least: u32, why: String) {
        let from = self.wanted();
        let idle = |slot: &u32| load.workers.get(slot).is_some_and(|work| work.idle);
        let slots = self.current.map(|id| self.slots_of(id)).unwrap_or_default();
        if let Some(slot) = slots.into_iter().rev().find(idle).filter(|_| from > least.max(1) as usize) {
            self.off.insert(slot);
        }
        self.tell_change(from, why);
    }

    /// One slot fewer has a worker, because somebody says so.
    pub(super) fn fewer_by_hand(&mut self) {
        let from = self.wanted();
        let last = self.current.and_then(|id| self.slots_of(id).last().copied());
        if let Some(slot) = last.filter(|_| from > 1) {
            self.off.insert(slot);
        }
        self.tell_change(from, "asked for".to_owned());
    }

    fn tell_change(&mut self, from: usize, why: String) {
        let to = self.wanted();
        if to != from {
            self.tell(Event::Cheaper { from, to, why });
        }
    }

    /// Nobody asks for anything: back to no workers, or the end.
    fn rest_if_idle(&mut self, load: &Load) {
        let settings = self.settings();
        let answered = load.workers.values().fold(0, |sum: u64, work| sum.wrapping_add(work.requests));
        let asleep = load.backlog == 0 && load.workers.values().all(|work| work.idle);
        if !asleep || answered != self.answered || self.paused || self.current.is_none() {
            self.answered = answered;
            self.idle_since_ms = self.now;
            return;
        }
        let after_ms = self.now.saturating_sub(self.idle_since_ms);
        if settings.idle_ms == 0 || after_ms < settings.idle_ms {
            return;
        }
        self.idle_since_ms = self.now;
        if settings.die_on_idle && self.vassal {
            // Once in each idle time: until it is stopped, it serves.
            return self.orders.push(Order::Farewell);
        }
        if settings.die_on_idle {
            return self.stop_gracefully(0, false);
        }
        self.go_cheap();
        self.tell(Event::Idle { after_ms });
    }

    /// No worker until somebody connects.
    pub(super) fn go_cheap(&mut self) {
        self.cheap = true;
        self.off = (1..=self.settings().processes).collect();
    }

    /// Somebody connects.
    pub(super) fn knocked(&mut self) {
        let Some(current) = self.current.filter(|_| self.is_cheap() && !self.paused) else { return };
        self.cheap = false;
        let settings = self.settings_of(current);
        let count = settings.cheaper.map_or(settings.processes, |rules| rules.initial.max(1));
        self.off = (count + 1..=settings.processes).collect();
        self.idle_since_ms = self.now;
        self.tell(Event::Woken);
    }

    /// Nobody accepts from here on, or everybody does again.
    pub(super) fn toggle_pause(&mut self) {
        self.paused = !self.paused;
        let on = self.paused;
        self.tell(if on { Event::Paused } else { Event::Resumed });
        for worker in self.workers_where(|worker| matches!(worker.state, State::Starting | State::Up)) {
            self.orders.push(Order::Pause { worker, on });
        }
    }
}
