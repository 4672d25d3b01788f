//! Which version of a file a client has, and how much of it it wants: RFC 9110 13, decided from the request's fields and
//! three facts. Nothing here touches a file.

use std::time::UNIX_EPOCH;

use ruwsgi_options::Encoding;
use ruwsgi_sys::file::Facts;
use ruwsgi_wire::{BadResponse, Vars};

use super::fields::{lines, single};
use super::ranges::{self, Part, Wanted};
use crate::now::imf_date;
use crate::response::Response;

/// The version of a file, as validators tell it.
pub(super) struct Version {
    /// With its quotes; strong.
    pub etag: String,
    /// `Last-Modified`, in seconds since 1970.
    pub modified: i64,
    pub size: u64,
}

/// How to answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Whole,
    Part(Part),
    /// More than one.
    Parts(Vec<Part>),
    NotModified,
    /// A precondition does not hold.
    Failed,
    /// Nothing of the range is there.
    Unsatisfiable,
}

impl Verdict {
    pub(super) fn status(&self) -> &'static [u8] {
        match self {
            Self::Whole => b"200 OK",
            Self::Part(_) | Self::Parts(_) => b"206 Partial Content",
            Self::NotModified => b"304 Not Modified",
            Self::Failed => b"412 Precondition Failed",
            // uWSGI's phrase, from RFC 2616.
            Self::Unsatisfiable => b"416 Requested Range Not Satisfiable",
        }
    }
}

impl Version {
    /// The tag is made of the time of the last change and of the size. Not of the inode: the same file has another one
    /// on the next machine behind a balancer. `now` in seconds since 1970: RFC 9110 8.8.2.1 wants no `Last-Modified`
    /// behind it, whatever the file says.
    pub(super) fn of(facts: &Facts, encoding: Option<Encoding>, now: i64) -> Self {
        let Facts { size, modified, modified_nanos, .. } = *facts;
        // Another encoding is another sequence of bytes, whatever its time and size (RFC 9110 8.8.3.3).
        let (dash, name) = encoding.map_or(("", ""), |encoding| ("-", encoding.name()));
        let etag = format!("\"{modified:x}.{modified_nanos:x}-{size:x}{dash}{name}\"");
        Self { etag, modified: modified.clamp(0, now.max(0)), size }
    }

    /// Tells the client which version this is.
    pub(super) fn validators(&self, response: &mut Response<'_>) -> Result<(), BadResponse> {
        response.field(b"Last-Modified", &imf_date(self.modified))?;
        response.field(b"ETag", self.etag.as_bytes())
    }

    /// A tag of the client's is this one; `weakly`: a weak one counts.
    fn is(&self, (weak, tag): (bool, &[u8]), weakly: bool) -> bool {
        tag == self.etag.as_bytes() && (weakly || !weak)
    }
}

/// In the order of RFC 9110 13.2.2. `ranges`: a part may be sent.
pub(super) fn decide(vars: &Vars, version: &Version, ranges: bool) -> Verdict {
    if let Some(matches) = any_tag(vars, "If-Match", version, false) {
        if !matches {
            return Verdict::Failed;
        }
    } else if date(vars, "If-Unmodified-Since").is_some_and(|since| version.modified > since) {
        return Verdict::Failed;
    }
    if let Some(matches) = any_tag(vars, "If-None-Match", version, true) {
        if matches {
            return Verdict::NotModified;
        }
    } else if date(vars, "If-Modified-Since").is_some_and(|since| version.modified <= since) {
        return Verdict::NotModified;
    }
    match single(vars, "Range") {
        Some(range) if ranges && is_unchanged(vars, version) => match ranges::wanted(range, version.size) {
            Wanted::Whole => Verdict::Whole,
            Wanted::Nothing => Verdict::Unsatisfiable,
            Wanted::Parts(parts) => match *parts {
                [part] => Verdict::Part(part),
                _ => Verdict::Parts(parts),
            },
        },
        _ => Verdict::Whole,
    }
}

/// `If-Range`: the client's other parts are of this version. A date must be the very one (RFC 9110 13.1.5).
fn is_unchanged(vars: &Vars, version: &Version) -> bool {
    let mut said = lines(vars, "If-Range");
    match (said.next(), said.next()) {
        (None, _) => true,
        (Some(value), None) if value.contains(&b'"') => tags(value).next().is_some_and(|tag| version.is(tag, false)),
        (Some(value), None) => parse_date(value) == Some(version.modified),
        _ => false,
    }
}

/// Whether one of the tags in these fields is the version's, or a star; `None`: there are no such fields.
fn any_tag(vars: &Vars, name: &str, version: &Version, weakly: bool) -> Option<bool> {
    let mut found = None;
    for value in lines(vars, name) {
        let matches = value.trim_ascii() == b"*" || tags(value).any(|tag| version.is(tag, weakly));
        found = Some(found.unwrap_or(false) || matches);
    }
    found
}

/// The entity tags of a list (RFC 9110 8.8.3): whether one is weak, and the tag with its quotes. A tag may hold commas.
fn tags(mut list: &[u8]) -> impl Iterator<Item = (bool, &[u8])> {
    std::iter::from_fn(move || {
        let start = list.iter().position(|byte| *byte == b'"')?;
        let end = start + 1 + list[start + 1..].iter().position(|byte| *byte == b'"')?;
        let (weak, tag) = (list[..start].ends_with(b"W/"), &list[start..=end]);
        list = &list[end + 1..];
        Some((weak, tag))
    })
}

fn date(vars: &Vars, name: &str) -> Option<i64> {
    parse_date(single(vars, name)?)
}

/// In all three forms of RFC 9110 5.6.7.
fn parse_date(value: &[u8]) -> Option<i64> {
    let time = httpdate::parse_http_date(std::str::from_utf8(value.trim_ascii()).ok()?).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const NEW: &str = "Sunday, 06-Nov-94 08:49:38 GMT";

    fn version() -> Version {
        Version { etag: "\"a,b\"".into(), modified: 784_111_777, size: 100 }
    }

    fn decided(fields: &[(&str, &str)]) -> Verdict {
        let mut vars = Vars::default();
        for (name, value) in fields {
            let (name, value) = (vars.add(name.as_bytes()), vars.add(value.as_bytes()));
            vars.push_field(name, value);
        }
        decide(&vars, &version(), true)
    }

    #[test]
    fn a_client_that_has_it_is_told_so() {
        use Verdict::{NotModified, Whole};
        for (fields, expected) in [
            (&[][..], Whole),
            (&[("If-None-Match", "\"a,b\"")], NotModified),
            (&[("if-none-match", "W/\"x\" , W/\"a,b\"")], NotModified),
            (&[("If-None-Match", " * ")], NotModified),
            (&[("If-None-Match", "\"x\""), ("If-None-Match", "\"a,b\"")], NotModified),
            (&[("If-None-Match", "a,b")], Whole),
            (&[("If-None-Match", "\"a\", \"b\"")], Whole),
            (&[("If-None-Match", "\"a,b")], Whole),
            (&[("If-Modified-Since", OLD)], Whole),
            (&[("If-Modified-Since", SAME)], NotModified),
            (&[("If-Modified-Since", NEW)], NotModified),
            (&[("If-Modified-Since", "Sun Nov  6 08:49:37 1994")], NotModified),
            (&[("If-Modified-Since", "yesterday")], Whole),
            (&[("If-Modified-Since", SAME), ("If-Modified-Since", SAME)], Whole),
            // The tag says more than the date.
            (&[("If-None-Match", "\"x\""), ("If-Modified-Since", SAME)], Whole),
        ] {
            assert_eq!(decided(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn a_client_that_wants_another_version_is_told_so() {
        use Verdict::{Failed, NotModified, Whole};
        for (fields, expected) in [
            (&[("If-Match", "\"a,b\"")][..], Whole),
            (&[("If-Match", "*")], Whole),
            (&[("If-Match", "W/\"a,b\"")], Failed),
            (&[("If-Match", "\"x\"")], Failed),
            (&[("If-Match", "")], Failed),
            (&[("If-Unmodified-Since", SAME)], Whole),
            (&[("If-Unmodified-Since", OLD)], Failed),
            (&[("If-Unmodified-Since", "never")], Whole),
            (&[("If-Match", "\"a,b\""), ("If-Unmodified-Since", OLD)], Whole),
            (&[("If-Match", "\"x\""), ("If-None-Match", "\"a,b\"")], Failed),
            (&[("If-Match", "*"), ("If-None-Match", "*")], NotModified),
        ] {
            assert_eq!(decided(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn ranges() {
        let part = |first, last| Part { first, last };
        for (range, expected) in [
            ("bytes=1-2", Verdict::Part(part(1, 2))),
            ("bytes=0-1,3-4", Verdict::Parts(vec![part(0, 1), part(3, 4)])),
            ("bytes=0-1,100-", Verdict::Part(part(0, 1))),
            ("bytes=100-", Verdict::Unsatisfiable),
            ("lines=0-1", Verdict::Whole),
        ] {
            assert_eq!(decided(&[("Range", range)]), expected, "{range}");
        }
        assert_eq!(decided(&[("Range", "bytes=0-1"), ("Range", "bytes=2-3")]), Verdict::Whole);
    }

    #[test]
    fn a_part_fits_to_the_version_that_the_client_has() {
        let some = || Verdict::Part(Part { first: 0, last: 1 });
        let range = ("Range", "bytes=0-1");
        for (value, expected) in [
            ("\"a,b\"", some()),
            (SAME, some()),
            ("W/\"a,b\"", Verdict::Whole),
            ("\"x\"", Verdict::Whole),
            (OLD, Verdict::Whole),
            (NEW, Verdict::Whole),
            ("what", Verdict::Whole),
        ] {
            assert_eq!(decided(&[range, ("If-Range", value)]), expected, "{value}");
        }
        assert_eq!(decided(&[range, ("If-None-Match", "\"a,b\"")]), Verdict::NotModified);
    }

    #[test]
    fn fields_are_found_under_their_cgi_names() {
        let mut vars = Vars::default();
        let (name, value) = (vars.add(b"HTTP_IF_NONE_MATCH"), vars.add(b"*"));
        vars.push_cgi(name, value);
        assert_eq!(decide(&vars, &version(), true), Verdict::NotModified);
    }

    #[test]
    fn a_file_of_the_future_is_of_now() {
        let facts = Facts { size: 255, modified: 1 << 40, modified_nanos: 16 };
        let version = Version::of(&facts, None, 1000);
        assert_eq!((version.modified, version.etag.as_str()), (1000, "\"10000000000.10-ff\""));
        assert_eq!(Version::of(&Facts { modified: -5, ..facts }, None, 1000).modified, 0);
        let compressed = Version::of(&facts, Some(Encoding::Gzip), 1000);
        assert_eq!(compressed.etag, "\"10000000000.10-ff-gzip\"");
    }
}
