//! The parts of a file that a client asks for: the value of a `Range` field (RFC 9110 14). Called by `conditions`.
//!
//! Whatever is asked for, an answer is never larger than the file and the heads of [`MOST_PARTS`] parts: ranges that
//! overlap until they are more than the file, or that are too many, are answered with the whole.

/// So many ranges at most are answered one by one.
pub(super) const MOST_PARTS: usize = 32;

/// From the first byte to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub first: u64,
    pub last: u64,
}

impl Part {
    pub(super) fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Whole,
    /// At least one.
    Parts(Vec<Part>),
    /// Nothing of it is there, or it is no range at all.
    Nothing,
}

/// Units that nobody knows are answered with the whole; what is no range can't be satisfied, as in uWSGI and nginx.
pub(super) fn wanted(value: &[u8], size: u64) -> Wanted {
    if value.get(..6).is_none_or(|unit| !unit.eq_ignore_ascii_case(b"bytes=")) {
        return Wanted::Whole;
    }
    let ranges = || value[6..].split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|range| !range.is_empty());
    if ranges().nth(MOST_PARTS).is_some() {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    for range in ranges() {
        match part(range, size) {
            Some(part) => parts.extend(part),
            None => return Wanted::Nothing,
        }
    }
    match parts.len() {
        0 => Wanted::Nothing,
        1 => Wanted::Parts(parts),
        _ if parts.iter().map(|part| u128::from(part.length())).sum::<u128>() > u128::from(size) => Wanted::Whole,
        _ => Wanted::Parts(parts),
    }
}

/// One range; `None` is no range at all, an empty one lies outside of the file.
fn part(range: &[u8], size: u64) -> Option<Option<Part>> {
    let dash = range.iter().position(|byte| *byte == b'-')?;
    Some(match (&range[..dash], &range[dash + 1..]) {
        ([], count) => match number(count)? {
            count @ 1.. if size > 0 => Some(Part { first: size.saturating_sub(count), last: size - 1 }),
            _ => None,
        },
        (first, last) => {
            let first = number(first)?;
            let last = if last.is_empty() { u64::MAX } else { number(last)? };
            (first <= last && first < size).then(|| Part { first, last: last.min(size - 1) })
        }
    })
}

/// Digits only; what is too large for 64 bits is behind every end.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(parts: &[(u64, u64)]) -> Wanted {
        Wanted::Parts(parts.iter().map(|(first, last)| Part { first: *first, last: *last }).collect())
    }

    #[test]
    fn one_range() {
        for (range, expected) in [
            ("bytes=0-0", parts(&[(0, 0)])),
            ("bytes=0-", parts(&[(0, 99)])),
            ("BYTES=10-19", parts(&[(10, 19)])),
            ("bytes= 10-19 ", parts(&[(10, 19)])),
            ("bytes=99-", parts(&[(99, 99)])),
            ("bytes=90-1000", parts(&[(90, 99)])),
            ("bytes=-1", parts(&[(99, 99)])),
            ("bytes=-1000", parts(&[(0, 99)])),
            ("bytes=0-99999999999999999999999999", parts(&[(0, 99)])),
            ("bytes=-99999999999999999999999999", parts(&[(0, 99)])),
            ("bytes=100-", Wanted::Nothing),
            ("bytes=99999999999999999999999999-", Wanted::Nothing),
            ("bytes=18446744073709551615-18446744073709551615", Wanted::Nothing),
            ("bytes=-0", Wanted::Nothing),
            ("bytes=2-1", Wanted::Nothing),
            ("bytes=", Wanted::Nothing),
            ("bytes=-", Wanted::Nothing),
            ("bytes=a-b", Wanted::Nothing),
            ("bytes=+1-2", Wanted::Nothing),
            ("bytes=--1", Wanted::Nothing),
            ("lines=0-1", Wanted::Whole),
            ("bytes", Wanted::Whole),
            ("", Wanted::Whole),
        ] {
            assert_eq!(wanted(range.as_bytes(), 100), expected, "{range}");
        }
        for range in ["bytes=0-", "bytes=-1", "bytes=0-0", "bytes=0-,-1"] {
            assert_eq!(wanted(range.as_bytes(), 0), Wanted::Nothing, "{range}");
        }
    }

    #[test]
    fn several_ranges() {
        let many = |count: usize| format!("bytes={}", vec!["1-1"; count].join(","));
        for (range, expected) in [
            ("bytes=0-1,3-4".to_owned(), parts(&[(0, 1), (3, 4)])),
            // In the order in which they were asked for.
            ("bytes=-1, 0-0 ,,5-5,".to_owned(), parts(&[(99, 99), (0, 0), (5, 5)])),
            ("bytes=0-1,100-".to_owned(), parts(&[(0, 1)])),
            ("bytes=100-,200-".to_owned(), Wanted::Nothing),
            ("bytes=0-1,x".to_owned(), Wanted::Nothing),
            ("bytes=,".to_owned(), Wanted::Nothing),
            // More than the file.
            ("bytes=0-,0-".to_owned(), Wanted::Whole),
            ("bytes=0-99,0-0".to_owned(), Wanted::Whole),
            ("bytes=0-49,50-99".to_owned(), parts(&[(0, 49), (50, 99)])),
            (many(MOST_PARTS), parts(&[(1, 1); MOST_PARTS])),
            (many(MOST_PARTS + 1), Wanted::Whole),
            (many(10_000), Wanted::Whole),
        ] {
            assert_eq!(wanted(range.as_bytes(), 100), expected, "{range}");
        }
        let end = u64::MAX;
        assert_eq!(wanted(b"bytes=0-,0-,0-", end), Wanted::Whole, "lengths are not added up in 64 bits");
    }
}
