//! How long to wait before the next try of something that keeps dying early.

/// Less life than this, in milliseconds, is an early death.
pub(super) const EARLY_MS: u64 = 2_000;
/// The same of a worker that has answered requests: it can work, and the next one may do so for as long.
pub(super) const EARLY_IN_USE_MS: u64 = 100;
const FIRST_WAIT_MS: u64 = 1_000;
const LONGEST_WAIT_MS: u64 = 30_000;

/// The early deaths in a row, and when the next try may be.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    pub deaths: u32,
    pub not_before_ms: u64,
}

impl Backoff {
    /// Notes a death; how long the next try has to wait. The first `free` early deaths in a row cost nothing, then
    /// the waits double: 1, 2, 4 ... 30 seconds.
    pub(crate) fn death(&mut self, early: bool, free: u32, now_ms: u64) -> u64 {
        if !early {
            *self = Self::default();
            return 0;
        }
        self.deaths = self.deaths.saturating_add(1);
        let wait = match self.deaths.checked_sub(free + 1) {
            None => 0,
            Some(doublings) => (FIRST_WAIT_MS << doublings.min(10)).min(LONGEST_WAIT_MS),
        };
        self.not_before_ms = now_ms + wait;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_the_third_early_death() {
        let mut slot = Backoff::default();
        let waits: Vec<u64> = (0..9).map(|_| slot.death(true, 2, 500)).collect();
        assert_eq!(waits, [0, 0, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        assert_eq!((slot.deaths, slot.not_before_ms), (9, 30_500));
        assert_eq!(slot.death(false, 2, 500), 0);
        assert_eq!(slot.deaths, 0);
    }
}
