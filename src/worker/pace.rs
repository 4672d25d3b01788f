//! How often a worker writes request lines: at once while they are few, once a tick of the coarse clock while they are many.
//! So a quiet worker keeps no line back, and a busy one writes large pieces. `engine.rs` asks before it blocks.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// So many writes are made within a tick before lines have to wait for the next one.
const AT_ONCE: u32 = 8;
/// How long lines that wait may be left alone, in milliseconds: a tick, or the larger part of one.
pub(crate) const TICK_MS: u16 = 4;

/// The writes of this tick.
#[derive(Default)]
pub(crate) struct Pace {
    tick_ms: AtomicU64,
    writes: AtomicU32,
}

impl Pace {
    /// Lines may be written now, by `clock::coarse_ms`; that counts as a write.
    pub(crate) fn may_write(&self, now_ms: u64) -> bool {
        if self.tick_ms.swap(now_ms, Ordering::Relaxed) != now_ms {
            self.writes.store(0, Ordering::Relaxed);
        }
        self.writes.fetch_add(1, Ordering::Relaxed) < AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_lines_are_written_at_once_and_many_once_a_tick() {
        let pace = Pace::default();
        for tick in 1..4 {
            let written = (0..100).filter(|_| pace.may_write(tick)).count();
            assert_eq!(written, AT_ONCE as usize);
        }
        assert!((4..1000).all(|tick| pace.may_write(tick)));
    }
}
