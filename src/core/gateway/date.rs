//! The time of a router: for deadlines, and as the value of a `Date` field, made once a second.

use std::io::Write;
use std::time::{Duration, UNIX_EPOCH};

use ruwsgi_sys::clock;

/// The time at the last look.
pub(super) struct Now {
    /// Of the monotonic clock.
    pub(super) ms: u64,
    second: i64,
    date: [u8; 29],
}

impl Now {
    pub(super) fn new() -> Self {
        let mut now = Self { ms: 0, second: i64::MIN, date: [b' '; 29] };
        now.look();
        now
    }

    /// Looks at the clock: once a wake-up.
    pub(super) fn look(&mut self) {
        self.ms = clock::coarse_ms();
        let second = clock::unix_seconds();
        if second != self.second {
            self.second = second;
            let since = Duration::from_secs(second.max(0).unsigned_abs());
            // A year of five digits would not fit, and leaves what was there.
            let _ = write!(&mut self.date[..], "{}", httpdate::HttpDate::from(UNIX_EPOCH + since));
        }
    }

    /// Seconds since 1970.
    pub(super) fn unix(&self) -> u64 {
        self.second.max(0).unsigned_abs()
    }

    /// The value of a `Date` field.
    pub(super) fn date(&self) -> &[u8] {
        &self.date
    }
}
