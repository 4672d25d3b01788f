//! What the service manager hears of an emperor, in the words of sd_notify(3), as `master/notice.rs` tells it of an
//! instance. `run` says when; nothing here waits.

use std::fmt::Write;

use ruwsgi_options::{Config, Source};
use ruwsgi_sys::{clock, process};

use super::plan::Plan;
use super::start::rules;
use crate::service::Service;

/// How often the manager is told how the vassals are, in milliseconds.
const STATUS_MS: u64 = 10_000;
/// How much longer than its own limit a stop may take before the manager ends it, in milliseconds.
const MARGIN_MS: u64 = 10_000;

/// The way to the manager, and what it was told last.
pub(super) struct Notice {
    service: Service,
    next_ms: u64,
    text: String,
    /// Between the end of the start and the begin of the stop.
    settled: bool,
}

impl Notice {
    /// `beside`: the manager hears the master, and not its emperor.
    pub(super) fn of(source: &Source, beside: bool) -> Self {
        let service = if beside { Service::default() } else { Service::of(&source.env) };
        Self { service, next_ms: 0, text: String::new(), settled: false }
    }

    /// All files have been looked at.
    pub(super) fn ready(&mut self, plan: &Plan) {
        self.settled = true;
        let text = status(plan);
        self.tell(format!("READY=1\nMAINPID={}\nSTATUS={text}", process::id()));
        self.text = text;
    }

    /// The emperor's configuration is read again; `None` as a reason: it was, and vassals go on with it.
    pub(super) fn reloaded(&mut self, begun_us: u64, refused: Option<&str>) {
        let text = match refused {
            Some(reason) => format!("the last reload failed: {}", reason.replace(char::is_control, " ")),
            None => "all vassals reload".to_owned(),
        };
        self.tell(format!("RELOADING=1\nMONOTONIC_USEC={begun_us}"));
        self.tell(format!("READY=1\nMAINPID={}\nSTATUS={text}", process::id()));
    }

    /// The vassals are told to stop.
    pub(super) fn stopping(&mut self, config: &Config) {
        self.settled = false;
        let more_us = (rules(config).mercy_ms + MARGIN_MS) * 1_000;
        self.tell(format!("STOPPING=1\nEXTEND_TIMEOUT_USEC={more_us}\nSTATUS=all vassals stop"));
    }

    /// When [`attend`](Self::attend) is wanted.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.service.wake_ms().into_iter().chain(self.says_status().then_some(self.next_ms)).min()
    }

    /// A sign of life, and how the vassals are, where it is time.
    pub(super) fn attend(&mut self, plan: &Plan) {
        let now_ms = clock::coarse_ms();
        self.service.beat(now_ms);
        if !self.says_status() || now_ms < self.next_ms {
            return;
        }
        self.next_ms = now_ms + STATUS_MS;
        let text = status(plan);
        if text != self.text {
            self.service.tell(format!("STATUS={text}"));
            self.text = text;
        }
    }

    fn says_status(&self) -> bool {
        self.settled && self.service.is_there()
    }

    fn tell(&mut self, words: String) {
        self.service.tell(words);
        // It stands there for a while.
        self.text.clear();
        self.next_ms = clock::coarse_ms() + STATUS_MS;
    }
}

/// `3 vassals: 1 asleep, 2 loyal`
fn status(plan: &Plan) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (_, vassal) in plan.vassals() {
        match counts.iter_mut().find(|(state, _)| *state == vassal.state()) {
            Some((_, count)) => *count += 1,
            None => counts.push((vassal.state(), 1)),
        }
    }
    counts.sort_unstable();
    let total = plan.vassals().count();
    let mut text = format!("{total} {}", if total == 1 { "vassal" } else { "vassals" });
    for (at, (state, count)) in counts.iter().enumerate() {
        let gap = if at == 0 { ": " } else { ", " };
        // A String takes everything: writing to it can't fail.
        let _ = write!(text, "{gap}{count} {state}");
    }
    text
}
