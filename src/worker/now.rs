//! The time, as a core needs it: cheap, and formatted once a second.

use std::io::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use httpdate::HttpDate;
use ruwsgi_sys::clock;

/// The last second of the year 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// The time of one core.
pub(crate) struct Now {
    ms: u64,
    /// There was a look at the clock since the last [`next_ms`](Self::next_ms).
    is_new: bool,
    second: i64,
    date: [u8; 29],
    ctime: String,
}

impl Now {
    pub(crate) fn new() -> Self {
        let mut now = Self { ms: 0, is_new: false, second: i64::MIN, date: [0; 29], ctime: String::new() };
        now.look();
        now
    }

    /// Looks at the clock: after what may have taken long, an application or a wait for events.
    pub(crate) fn look(&mut self) {
        let ms = clock::coarse_ms();
        self.is_new = true;
        if ms == self.ms {
            return;
        }
        self.ms = ms;
        let second = clock::unix_seconds();
        if second != self.second {
            self.second = second;
            self.date = imf_date(second);
            self.ctime = clock::ctime(second);
        }
    }

    /// The last look, in milliseconds of `clock::coarse_ms`.
    pub(crate) fn ms(&self) -> u64 {
        self.ms
    }

    /// The same, of a look that was made since the last call of this.
    pub(crate) fn next_ms(&mut self) -> u64 {
        if !self.is_new {
            self.look();
        }
        self.is_new = false;
        self.ms
    }

    /// The value of a `Date` field.
    pub(crate) fn date(&self) -> &[u8] {
        &self.date
    }

    /// Seconds since 1970.
    pub(crate) fn second(&self) -> i64 {
        self.second
    }

    /// Local time, in the shape of uWSGI's request line.
    pub(crate) fn ctime(&self) -> &str {
        &self.ctime
    }
}

/// Lets something be told once a second.
#[derive(Default)]
pub(crate) struct Moderation {
    second: AtomicI64,
    untold: AtomicU64,
}

impl Moderation {
    /// It happened: `Some` if it may be told, with how often it was not told before.
    pub(crate) fn count(&self, second: i64) -> Option<u64> {
        if self.second.swap(second, Ordering::Relaxed) == second {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.untold.swap(0, Ordering::Relaxed))
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: the IMF-fixdate of RFC 9110 5.6.7, which has four digits for a year. What it can't
/// say becomes the nearest that it can, from 1970 on.
pub(crate) fn imf_date(unix: i64) -> [u8; 29] {
    let seconds = unix.clamp(0, LAST_SECOND).unsigned_abs();
    let mut date = [b' '; 29];
    let written = write!(&mut date[..], "{}", HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds)));
    debug_assert!(written.is_ok(), "a date has 29 bytes until the year 9999");
    date
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_rfc() {
        assert_eq!(&imf_date(784_111_777), b"Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(&imf_date(0), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&imf_date(951_782_400), b"Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(&imf_date(1_795_305_599), b"Sat, 21 Nov 2026 23:59:59 GMT");
        assert_eq!(&imf_date(-1), b"Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(&imf_date(i64::MAX), b"Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
