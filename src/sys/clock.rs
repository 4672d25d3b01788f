//! Clocks: monotonic for deadlines, wall for what people read.

use std::ffi::CStr;

/// Milliseconds of a monotonic clock that is the same in every process of this machine. Coarse (one tick, at most
/// 4 ms) and cheap (a few nanoseconds): for deadlines.
#[must_use]
pub fn coarse_ms() -> u64 {
    let time = read(libc::CLOCK_MONOTONIC_COARSE);
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}

/// Microseconds of the monotonic clock, exact.
#[must_use]
pub fn monotonic_us() -> u64 {
    micros(read(libc::CLOCK_MONOTONIC))
}

/// Seconds since 1970, coarse.
#[must_use]
pub fn unix_seconds() -> i64 {
    read(libc::CLOCK_REALTIME_COARSE).tv_sec
}

/// Microseconds since 1970, exact.
#[must_use]
pub fn unix_us() -> u64 {
    micros(read(libc::CLOCK_REALTIME))
}

/// `time` in the machine's time zone, as `Www Mmm dd hh:mm:ss yyyy`: the shape of ctime(3) that uWSGI's log lines
/// carry, without the newline.
#[must_use]
pub fn ctime(time: i64) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let tm = local(time);
    format!(
        "{} {} {:2} {:02}:{:02}:{:02} {}",
        DAYS[tm.tm_wday.rem_euclid(7) as usize],
        MONTHS[tm.tm_mon.rem_euclid(12) as usize],
        tm.tm_mday,
        tm.tm_hour,
        tm.tm_min,
        tm.tm_sec,
        1900 + tm.tm_year
    )
}

/// `time` in the machine's time zone, in a format of strftime(3). A result of more than 4 KiB is empty.
#[must_use]
pub fn strftime(format: &CStr, time: i64) -> Vec<u8> {
    let tm = local(time);
    let mut text = vec![0_u8; 4096];
    // SAFETY: writes at most `text.len()` bytes into `text`, and reads a C string and a tm; all of them are alive.
    let length = unsafe { libc::strftime(text.as_mut_ptr().cast(), text.len(), format.as_ptr(), &raw const tm) };
    text.truncate(length);
    text
}

fn local(time: i64) -> libc::tm {
    // SAFETY: tm is plain data for which all zeroes is valid; localtime_r writes into it and reads `time`, both alive.
    unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const time, &raw mut tm);
        tm
    }
}

/// Several times for each request, so without more around it than there must be.
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes into `time`. These clocks exist on every Linux: the call can't fail.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time
}

fn micros(time: libc::timespec) -> u64 {
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// A time as the clock on the wall shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wall {
    /// 0 to 59.
    pub minute: i32,
    /// 0 to 23.
    pub hour: i32,
    /// Of the month, from 1.
    pub day: i32,
    /// From 1.
    pub month: i32,
    /// From 0, Sunday.
    pub weekday: i32,
}

/// A time in the time zone of the process.
#[must_use]
pub fn wall(time: i64) -> Wall {
    // SAFETY: tm is plain data for which all zeroes is valid; localtime_r writes into it and reads `time`, both alive.
    let tm = unsafe {
        let mut tm: libc::tm = std::mem::zeroed();
        libc::localtime_r(&raw const time, &raw mut tm);
        tm
    };
    Wall { minute: tm.tm_min, hour: tm.tm_hour, day: tm.tm_mday, month: tm.tm_mon + 1, weekday: tm.tm_wday }
}

/// `2026-11-21T23:59:59`: a time in UTC, to the second.
#[must_use]
pub fn utc(time: i64) -> String {
    let (days, rest) = (time.div_euclid(86_400), time.rem_euclid(86_400));
    // Years begin in March here, so that the day that may be missing is the last one; eras have 400 years.
    let shifted = days + 719_468;
    let (era, day) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (date, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

/// Waits a little: for what sends nobody an event, such as another process that is about to listen. A signal ends it.
pub fn pause(most: std::time::Duration) {
    let most = nix::poll::PollTimeout::try_from(most).unwrap_or(nix::poll::PollTimeout::MAX);
    let _ = nix::poll::poll(&mut [], most);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_that_of_strftime() {
        let time = 1_795_305_599;
        assert_eq!(strftime(c"%a %b %e %H:%M:%S %Y", time), ctime(time).into_bytes());
        assert_eq!(strftime(c"100%%", time), b"100%");
        assert_eq!(strftime(c"", time), b"");
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        for (time, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (1_795_305_599, "2026-11-21T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
        ] {
            assert_eq!(utc(time), text);
        }
    }
}
