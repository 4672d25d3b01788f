//! What the service manager is told of the instance's life: [`words`] is a pure function from an event to the assignments
//! of sd_notify(3). `run` tells each event; once in a while it tells how the instance is.

use ruwsgi_sys::clock;

use super::event::Event;
use super::run::Master;

/// How often the manager is told how the instance is, in milliseconds.
const STATUS_MS: u64 = 10_000;
/// How much longer than its own limit a start or a stop may take before the manager ends it, in milliseconds.
const MARGIN_MS: u64 = 10_000;

/// What was told last.
#[derive(Debug, Default)]
pub(super) struct Told {
    next_ms: u64,
    text: String,
    /// Requests that were answered when it was told.
    requests: u64,
    since_ms: u64,
    /// The last reload came to nothing.
    failed: bool,
}

/// What the manager is to know of an event, if anything. `READY` is said when the first worker accepts, and again at the end
/// of each reload, as `Type=notify-reload` wants it.
pub(super) fn words(event: &Event, pid: i32, now_us: u64) -> Option<String> {
    let more_us = |ms: u64| (ms + MARGIN_MS) * 1_000;
    let state = match event {
        Event::Ready { .. } | Event::Complete { .. } | Event::ReloadFailed { .. } => format!("READY=1\nMAINPID={pid}"),
        Event::Reloading { .. } => format!("RELOADING=1\nMONOTONIC_USEC={now_us}"),
        Event::Closing { delay_ms } => format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", more_us(*delay_ms)),
        Event::Stopping { mercy_ms, .. } => {
            format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", more_us(u64::from(*mercy_ms)))
        }
        Event::StoppingNow => "STOPPING=1".to_owned(),
        Event::Paused | Event::Resumed | Event::Idle { .. } | Event::Woken => String::new(),
        _ => return None,
    };
    let gap = if state.is_empty() { "" } else { "\n" };
    Some(format!("{state}{gap}STATUS={event}"))
}

/// A start may take as long as loading may.
pub(super) fn patience(load_ms: u64) -> String {
    let more =
        if load_ms > 0 { format!("\nEXTEND_TIMEOUT_USEC={}", (load_ms + MARGIN_MS) * 1_000) } else { String::new() };
    format!("STATUS=loading the application{more}")
}

impl Master {
    /// Tells an event. A worker that is ready is one only until the start is over: later ones are nobody's affair.
    pub(super) fn tell_service(&mut self, event: &Event) {
        if !self.service.is_there() || (self.is_welcome() && matches!(event, Event::Ready { .. })) {
            return;
        }
        match event {
            Event::ReloadFailed { .. } => self.told.failed = true,
            Event::Serving { .. } => self.told.failed = false,
            _ => {}
        }
        if let Some(words) = words(event, ruwsgi_sys::process::id(), clock::monotonic_us()) {
            self.service.tell(words);
            // It stands there for a while.
            self.told.text.clear();
            self.told.next_ms = clock::coarse_ms() + STATUS_MS;
        }
    }

    /// When the manager is to hear something again.
    pub(super) fn service_wake_ms(&self) -> Option<u64> {
        self.service.wake_ms().into_iter().chain(self.says_status().then_some(self.told.next_ms)).min()
    }

    /// A sign of life, and how the instance is, where it is time.
    pub(super) fn attend_service(&mut self, now_ms: u64) {
        self.service.beat(now_ms);
        if !self.says_status() || now_ms < self.told.next_ms {
            return;
        }
        let requests = self.generations.values().fold(0, |sum: u64, it| sum.wrapping_add(it.scoreboard.requests()));
        let (workers, busy) = self.standing();
        let passed_ms = now_ms.saturating_sub(self.told.since_ms).max(1);
        let rate = requests.saturating_sub(self.told.requests).saturating_mul(1_000) / passed_ms;
        let failed = if self.told.failed { "; the last reload failed" } else { "" };
        let text = format!("STATUS={busy}/{workers} workers busy, {rate} requests/s{failed}");
        (self.told.requests, self.told.since_ms, self.told.next_ms) = (requests, now_ms, now_ms + STATUS_MS);
        if text != self.told.text {
            self.service.tell(text.clone());
            self.told.text = text;
        }
    }

    /// What comes of a start or a stop stands there until it is over.
    fn says_status(&self) -> bool {
        use super::health::Health;
        self.service.is_there() && self.is_welcome() && self.plan.health() == Health::Ready && !self.plan.is_cheap()
    }

    /// Workers that accept, and those of them that have a request.
    fn standing(&self) -> (usize, usize) {
        let up = self.workers.iter().filter(|(worker, _)| self.plan.is_up(**worker));
        let busy = |line: &super::children::Line| {
            let hosted = self.generations.get(&line.generation);
            hosted.is_some_and(|hosted| hosted.scoreboard.seat(line.seat as usize).in_flight() > 0)
        };
        up.fold((0, 0), |(all, some), (_, line)| (all + 1, some + usize::from(busy(line))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::master::event::Who;

    #[test]
    fn the_manager_hears_what_concerns_it() {
        let said = |event: Event| words(&event, 7, 1_234_567);
        let who = Who { slot: 1, pid: Some(8) };
        let ready = said(Event::Ready { who, after_ms: 180 }).unwrap();
        assert_eq!(ready, "READY=1\nMAINPID=7\nSTATUS=worker 1 (pid 8) ready after 180 ms");
        let reloading = said(Event::Reloading { generation: 2 }).unwrap();
        assert_eq!(reloading, "RELOADING=1\nMONOTONIC_USEC=1234567\nSTATUS=reload: generation 2 begins");
        let stopping = said(Event::Stopping { in_flight: 1, mercy_ms: 60_000, hint: false }).unwrap();
        assert!(stopping.starts_with("STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000\nSTATUS=stopping: 1 request"));
        assert_eq!(said(Event::Paused).unwrap().lines().count(), 1);
        assert_eq!(said(Event::ReloadWaits), None);
        assert_eq!(patience(0), "STATUS=loading the application");
    }

    #[test]
    fn a_reason_forges_no_assignment() {
        let reason = "no\nREADY=1\nMAINPID=1".to_owned();
        let said = words(&Event::ReloadFailed { generation: 2, reason, serving: 1 }, 7, 0).unwrap();
        assert_eq!(said.lines().collect::<Vec<_>>()[..2], ["READY=1", "MAINPID=7"]);
        assert_eq!(said.lines().count(), 3, "{said}");
    }
}
