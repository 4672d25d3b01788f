//! How long a vassal waits for its next start: never less than `emperor-throttle` after the last one, and after each
//! failure twice as long as after the one before, up to `emperor-max-throttle`.

use super::Rules;

/// A vassal that has failed often enough looks like a good one when it has lived for so long, in milliseconds.
const LONG_LIFE_MS: u64 = 60_000;

/// What a vassal has to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Throttle {
    /// No start and no reload before.
    pub not_before: u64,
    /// How long it waits after the last failure; 0: it has not failed.
    pub level_ms: u64,
    /// Failures in a row.
    pub failures: u32,
    /// When the first of them was, and the last one.
    pub first_ms: u64,
    pub last_ms: u64,
    started_ms: u64,
}

impl Throttle {
    /// It starts, or reloads.
    pub(crate) fn started(&mut self, rules: &Rules, now: u64) {
        self.started_ms = now;
        self.not_before = now + rules.throttle_ms;
    }

    /// It is dead, or could not be started; how long it waits.
    pub(crate) fn failed(&mut self, rules: &Rules, now: u64) -> u64 {
        self.failures = self.failures.saturating_add(1);
        if self.failures == 1 {
            self.first_ms = now;
        }
        self.last_ms = now;
        self.level_ms = match self.level_ms {
            0 => rules.throttle_ms.max(1),
            level if rules.blacklist => level.saturating_mul(2),
            level => level,
        };
        self.level_ms = self.level_ms.min(rules.max_throttle_ms.max(rules.throttle_ms)).max(1);
        self.not_before = self.not_before.max(now + self.level_ms);
        self.not_before - now
    }

    /// It is a good one, its file has changed, or somebody says so: what was is forgotten.
    pub(crate) fn forgive(&mut self, rules: &Rules) {
        let started_ms = self.started_ms;
        let spaced = if started_ms == 0 { 0 } else { started_ms + rules.throttle_ms };
        *self = Self { started_ms, not_before: spaced, ..Self::default() };
    }

    /// It has lived from then to now: was that a good life?
    pub(crate) fn is_long(since: u64, now: u64) -> bool {
        now.saturating_sub(since) >= LONG_LIFE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_forgiven() {
        let rules = Rules { throttle_ms: 1_000, max_throttle_ms: 5_000, ..Rules::default() };
        let mut throttle = Throttle::default();
        throttle.started(&rules, 10);
        assert_eq!(throttle.not_before, 1_010);
        let waits: Vec<u64> = (0..5).map(|_| throttle.failed(&rules, 50)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 5_000, 5_000]);
        throttle.forgive(&rules);
        assert_eq!((throttle.not_before, throttle.failures), (1_010, 0));
        let rules = Rules { blacklist: false, ..rules };
        let waits: Vec<u64> = (0..3).map(|_| throttle.failed(&rules, 50)).collect();
        assert_eq!(waits, [1_000; 3]);
    }
}
