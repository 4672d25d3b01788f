//! The fields of a request, under the names that any protocol gives them. For everything that decides about a file.

use ruwsgi_wire::{Name, Vars};

/// The values of all fields of a name, whichever protocol brought them.
pub(super) fn lines<'v>(vars: &'v Vars, name: &str) -> impl Iterator<Item = &'v [u8]> {
    vars.others().filter_map(move |(have, value)| {
        let same = match have {
            Name::Field(field) => field.eq_ignore_ascii_case(name.as_bytes()),
            Name::Cgi(variable) => variable.strip_prefix(b"HTTP_").is_some_and(|variable| {
                variable.len() == name.len()
                    && variable.iter().zip(name.bytes()).all(|(have, want)| match want {
                        b'-' => *have == b'_',
                        _ => *have == want.to_ascii_uppercase(),
                    })
            }),
        };
        same.then_some(value)
    })
}

/// A field that means something only where it is alone.
pub(super) fn single<'v>(vars: &'v Vars, name: &str) -> Option<&'v [u8]> {
    let mut lines = lines(vars, name);
    let first = lines.next()?;
    lines.next().is_none().then_some(first)
}

/// The members of a list that may be spread over several fields, each with its weight in thousandths (RFC 9110 12.4.2):
/// `gzip;q=0.5` is `gzip` and 500. A weight that can't be read is none at all: 0.
pub(super) fn weighted<'v>(vars: &'v Vars, name: &str) -> impl Iterator<Item = (&'v [u8], u16)> {
    let members = lines(vars, name).flat_map(|line| line.split(|byte| *byte == b','));
    members.filter_map(|member| {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let named = parts.next().filter(|named| !named.is_empty())?;
        let weight = parts.find_map(|part| match part {
            [b'q' | b'Q', b'=', digits @ ..] => Some(thousandths(digits).unwrap_or(0)),
            _ => None,
        });
        Some((named, weight.unwrap_or(1000)))
    })
}

/// `0`, `0.5`, `1.000`: at most three digits behind the dot, and nothing above one.
fn thousandths(text: &[u8]) -> Option<u16> {
    let (whole, rest) = text.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        _ => return None,
    };
    let behind = digits.iter().chain(b"000").take(3).fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match (whole, behind) {
        (b'0', behind) => Some(behind),
        (b'1', 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_read_as_the_rfc_writes_them() {
        for (said, expected) in [
            ("gzip", Some(("gzip", 1000))),
            (" gzip ; q=0.5 ", Some(("gzip", 500))),
            ("gzip;Q=0.25", Some(("gzip", 250))),
            ("text/html;level=1;q=0.001", Some(("text/html", 1))),
            ("gzip;q=1.000", Some(("gzip", 1000))),
            ("gzip;q=0", Some(("gzip", 0))),
            ("gzip;q=0.", Some(("gzip", 0))),
            ("gzip;q=1.001", Some(("gzip", 0))),
            ("gzip;q=2", Some(("gzip", 0))),
            ("gzip;q=0.0001", Some(("gzip", 0))),
            ("gzip;q=", Some(("gzip", 0))),
            ("gzip;q=high", Some(("gzip", 0))),
            (";q=1", None),
            ("", None),
        ] {
            let mut vars = Vars::default();
            let (name, value) = (vars.add(b"Accept-Encoding"), vars.add(said.as_bytes()));
            vars.push_field(name, value);
            let expected = expected.map(|(named, weight)| (named.as_bytes(), weight));
            assert_eq!(weighted(&vars, "accept-encoding").next(), expected, "{said}");
        }
    }
}
