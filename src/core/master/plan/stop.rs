//! The end of the instance: with mercy, at once, or because it could not begin.

use super::generation::Zygote;
use super::worker::{State, Worker};
use super::{Event, Order, Plan};

/// An end that is under way.
#[derive(Debug)]
pub(super) struct Stop {
    code: u8,
    reason: Option<String>,
}

impl Plan {
    /// A stop is under way.
    pub(in super::super) fn stops(&self) -> bool {
        self.stop.is_some() || self.closing.is_some() || self.parting_ms.is_some()
    }

    /// A stop is ordered: requests are still taken while front ends find out.
    pub(super) fn close(&mut self, in_flight: usize, by_term: bool) {
        let delay_ms = self.settings().drain_delay_ms;
        if delay_ms == 0 || self.current.is_none() {
            return self.stop_gracefully(in_flight, by_term);
        }
        self.closing = Some((self.now + delay_ms, in_flight));
        self.tell(Event::Closing { delay_ms });
    }

    /// Front ends have had the time to find out.
    pub(super) fn close_in_time(&mut self) {
        if let Some((at_ms, in_flight)) = self.closing
            && self.due(at_ms)
        {
            self.stop_gracefully(in_flight, false);
        }
        if let Some(at_ms) = self.parting_ms
            && (!self.routers || self.due(at_ms))
        {
            self.stop_workers();
        }
    }

    /// First those whose requests the workers answer, then the workers.
    pub(super) fn stop_gracefully(&mut self, in_flight: usize, by_term: bool) {
        let hint = by_term && !std::mem::replace(&mut self.hinted, by_term);
        let mercy_ms = self.settings().mercy_ms;
        self.closing = None;
        self.tell(Event::Stopping { in_flight, mercy_ms, hint });
        if !self.routers {
            return self.stop_workers();
        }
        self.parting_ms = Some(self.now + u64::from(mercy_ms));
        self.orders.push(Order::RetireRouters { mercy_ms: u64::from(mercy_ms) });
    }

    /// Every worker finishes what it has; whoever is not up holds no request and is killed.
    fn stop_workers(&mut self) {
        self.parting_ms = None;
        self.stop = Some(Stop { code: 0, reason: None });
        if let Some(loading) = self.candidate.take() {
            self.abandon(loading);
        }
        for id in self.workers_where(Worker::stays) {
            match self.workers[&id].state {
                State::Up => self.drain(id, true),
                _ => self.kill_worker(id),
            }
        }
        for id in self.generations.keys().copied().collect::<Vec<_>>() {
            self.end_zygote(id);
        }
    }

    /// Everybody is killed.
    pub(super) fn stop_now(&mut self) {
        self.tell(Event::StoppingNow);
        (self.parting_ms, self.closing) = (None, None);
        self.stop.get_or_insert(Stop { code: 0, reason: None });
        self.candidate = None;
        if self.routers {
            self.orders.push(Order::KillRouters);
        }
        for id in self.workers_where(|_| true) {
            self.kill_worker(id);
        }
        for id in self.generations.keys().copied().collect::<Vec<_>>() {
            self.kill_zygote(id);
        }
    }

    /// The instance could not begin.
    pub(super) fn fail(&mut self, code: u8, reason: String) {
        self.stop.get_or_insert(Stop { code, reason: Some(reason) });
    }

    /// When the last process is gone, so is the master.
    pub(super) fn finish(&mut self) {
        let all_gone =
            self.workers.is_empty() && !self.routers && self.generations.values().all(|it| it.zygote == Zygote::Gone);
        if let Some(stop) = self.stop.as_mut().filter(|_| all_gone) {
            self.over = true;
            let (code, reason) = (stop.code, stop.reason.take());
            self.orders.push(Order::Exit { code, reason });
        }
    }
}
