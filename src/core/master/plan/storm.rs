//! Reloads that come faster than they can be done: one is under way, one is remembered, those between are dropped.

/// A reload begins at once only if the last one began longer ago than this, in milliseconds.
const APART_MS: u64 = 1_000;
/// A remembered reload waits until nobody has asked for this long ...
const QUIET_MS: u64 = 300;
/// ... but not longer than this after it was first asked for.
const PATIENCE_MS: u64 = 3_000;

/// The reloads that were asked for.
#[derive(Debug, Default)]
pub(super) struct Storm {
    began_ms: Option<u64>,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    first_ms: u64,
    last_ms: u64,
    at_once: bool,
    brutal: bool,
}

impl Storm {
    /// Somebody asks; `idle`: nothing is under way. `true`: it is the first one that has to wait.
    pub(super) fn ask(&mut self, idle: bool, brutal: bool, now_ms: u64) -> bool {
        let apart = self.began_ms.is_none_or(|began| now_ms > began + APART_MS);
        match &mut self.waiting {
            Some(waiting) => {
                waiting.last_ms = now_ms;
                waiting.brutal |= brutal;
                false
            }
            none => {
                let at_once = idle && apart;
                *none = Some(Waiting { first_ms: now_ms, last_ms: now_ms, at_once, brutal });
                !at_once
            }
        }
    }

    /// When the remembered reload may begin.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let waiting = self.waiting.as_ref()?;
        if waiting.at_once {
            return Some(waiting.first_ms);
        }
        let quiet = (waiting.last_ms + QUIET_MS).min(waiting.first_ms + PATIENCE_MS);
        Some(quiet.max(self.began_ms.map_or(0, |began| began + APART_MS)))
    }

    /// It begins; whether without mercy.
    pub(super) fn begin(&mut self, now_ms: u64) -> bool {
        self.began_ms = Some(now_ms);
        self.waiting.take().is_some_and(|waiting| waiting.brutal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_one_reload_at_once_and_one_after_it() {
        let mut storm = Storm::default();
        let mut began = Vec::new();
        for now in 5_000..9_000 {
            // 200 within a second, with a pause in the middle that is longer than the quiet time.
            if now < 6_000 && now % 5 == 0 && !(5_300..5_700).contains(&now) {
                storm.ask(true, false, now);
            }
            if storm.due_ms().is_some_and(|due| due <= now) {
                storm.begin(now);
                began.push(now);
            }
        }
        assert_eq!(began, [5_000, 6_295]);
    }

    #[test]
    fn asking_for_ever_is_answered_every_three_seconds() {
        let mut storm = Storm::default();
        let mut began = Vec::new();
        for now in 0..10_000 {
            if now % 100 == 0 {
                storm.ask(true, false, now);
            }
            if storm.due_ms().is_some_and(|due| due <= now) {
                storm.begin(now);
                began.push(now);
            }
        }
        assert_eq!(began, [0, 3_100, 6_200, 9_300]);
    }
}
