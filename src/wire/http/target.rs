//! Request targets (RFC 9112 3.2) and hosts (RFC 3986 3.2.2), and how a path becomes `PATH_INFO`.
//!
//! Called by the request parser with targets whose bytes are known to be visible ASCII without `#`. Never looks at the
//! file system: `PATH_INFO` is a name, and what it may reach is for others to decide.

use std::net::Ipv6Addr;
use std::ops::Range;

use super::octets::{self, NAME};
use crate::Refusal;

/// The parts of a request target, as ranges of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The host and port of an absolute form.
    pub(super) authority: Option<Range<usize>>,
    /// Empty, or from a `/` on. Empty only for `*` and for `http://host`.
    pub(super) path: Range<usize>,
    /// Without the question mark; empty if there is none.
    pub(super) query: Range<usize>,
    /// The target is `*`: the whole server is asked, not a path of it.
    pub(super) asterisk: bool,
}

impl Target {
    /// Splits a target. CONNECT is refused: only proxies have tunnels.
    pub(super) fn split(method: &[u8], target: &[u8]) -> Result<Self, Refusal> {
        if method == b"CONNECT" {
            return Err(Refusal::Method);
        }
        let end = target.len();
        if target == b"*" {
            if method != b"OPTIONS" {
                return Err(Refusal::Malformed("the request target * with another method than OPTIONS"));
            }
            return Ok(Self { authority: None, path: end..end, query: end..end, asterisk: true });
        }
        let (authority, path) = if target[0] == b'/' { (None, 0) } else { absolute(target)? };
        let mark = memchr::memchr(b'?', &target[path..]).map_or(end, |at| path + at);
        Ok(Self { authority, path: path..mark, query: (mark + 1).min(end)..end, asterisk: false })
    }
}

/// The authority of an absolute form, and where the path starts. Other schemes than http and https are for other
/// servers (RFC 9110 7.4), and names of users in front of hosts are for phishing (RFC 9110 4.2.4).
fn absolute(target: &[u8]) -> Result<(Option<Range<usize>>, usize), Refusal> {
    let start = [&b"http://"[..], b"https://"]
        .iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
        .map(|scheme| scheme.len())
        .ok_or(Refusal::Malformed("the request target is neither a path nor an http URI"))?;
    let end = memchr::memchr2(b'/', b'?', &target[start..]).map_or(target.len(), |at| start + at);
    if start == end || target[start] == b':' {
        return Err(Refusal::Malformed("the request target has no host"));
    }
    check_host(&target[start..end]).map_err(|_| Refusal::Malformed("the host in the request target is not valid"))?;
    Ok((Some(start..end), end))
}

/// `uri-host [ ":" port ]` (RFC 9110 7.2), and no more than a DNS name and a TCP port can be: no empty label but the
/// last, no port above 65535. An empty value is right: the client knows no name (RFC 9112 3.2).
pub(super) fn check_host(host: &[u8]) -> Result<(), Refusal> {
    let valid = if host.is_empty() {
        true
    } else if let Some(rest) = host.strip_prefix(b"[") {
        match memchr::memchr(b']', rest) {
            Some(end) => is_literal(&rest[..end]) && is_port_part(&rest[end + 1..]),
            None => false,
        }
    } else {
        let end = memchr::memchr(b':', host).unwrap_or(host.len());
        is_name(&host[..end]) && is_port_part(&host[end..])
    };
    if valid { Ok(()) } else { Err(Refusal::Malformed("Host is not a valid host and port")) }
}

/// Nothing, or a colon and a number; the number may be missing (RFC 3986 3.2.3).
fn is_port_part(part: &[u8]) -> bool {
    match part {
        [] | [b':'] => true,
        [b':', port @ ..] => matches!(octets::decimal(port), Some(Some(0..=65535))),
        _ => false,
    }
}

fn is_name(name: &[u8]) -> bool {
    // In front of the first label nothing may be missing either.
    let (mut before, mut plain, mut gap) = (b'.', true, false);
    for &byte in name {
        plain &= octets::is(byte, NAME);
        gap |= byte == b'.' && before == b'.';
        before = byte;
    }
    !name.is_empty() && !gap && (plain || has_good_escapes(name))
}

fn has_good_escapes(mut name: &[u8]) -> bool {
    loop {
        match name {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => name = rest,
            [byte, rest @ ..] if octets::is(*byte, NAME) => name = rest,
            _ => return false,
        }
    }
}

/// `IPv6address / IPvFuture` (RFC 3986 3.2.2).
fn is_literal(literal: &[u8]) -> bool {
    if let [b'v' | b'V', future @ ..] = literal {
        let Some(dot) = memchr::memchr(b'.', future) else { return false };
        let (version, address) = (&future[..dot], &future[dot + 1..]);
        return !version.is_empty()
            && version.iter().all(u8::is_ascii_hexdigit)
            && !address.is_empty()
            && address.iter().all(|&byte| byte == b':' || octets::is(byte, NAME));
    }
    std::str::from_utf8(literal).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// Whether a path is its own `PATH_INFO`. `classes` are those of all its bytes.
pub(super) fn is_plain(path: &[u8], classes: u8) -> bool {
    !path.is_empty()
        && classes & octets::PERCENT == 0
        && (classes & octets::DOT == 0 || !path.windows(2).any(|pair| pair == b"/."))
}

/// Appends the `PATH_INFO` of a path: percent-escapes decoded, then dot segments removed (RFC 3986 5.2.4), so that
/// neither `/../` nor `/%2e%2e/` nor `..%2f` is left in it; what is left starts with a slash. An escape that is none
/// stays as it is. `//` stays: for uWSGI and for RFC 3986 it is another path than `/`.
pub(super) fn append_path_info(path: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    decode(if path.is_empty() { b"/" } else { path }, out);
    remove_dot_segments(out, start);
}

/// Appends a path with its percent-escapes decoded; one that is none stays as it is.
pub fn decode(mut path: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = memchr::memchr(b'%', path) {
        out.extend_from_slice(&path[..at]);
        match path[at..] {
            [_, high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(nibble(high) << 4 | nibble(low));
                path = &path[at + 3..];
            }
            _ => {
                out.push(b'%');
                path = &path[at + 1..];
            }
        }
    }
    out.extend_from_slice(path);
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// In place, from `start` on, where a slash is: each segment is kept, dropped, or takes the one before it along.
fn remove_dot_segments(out: &mut Vec<u8>, start: usize) {
    let (mut read, mut kept) = (start, start);
    while read < out.len() {
        let end = memchr::memchr(b'/', &out[read + 1..]).map_or(out.len(), |at| read + 1 + at);
        let segment = &out[read + 1..end];
        let dots = segment == b"." || segment == b"..";
        if segment == b".." {
            kept = memchr::memrchr(b'/', &out[start..kept]).map_or(start, |at| start + at);
        }
        if !dots {
            out.copy_within(read..end, kept);
            kept += end - read;
        } else if end == out.len() {
            out[kept] = b'/';
            kept += 1;
        }
        read = end;
    }
    out.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split() {
        let parts = |method: &str, target: &'static str| {
            let split = Target::split(method.as_bytes(), target.as_bytes()).unwrap();
            (split.authority.map(|range| &target[range]), &target[split.path], &target[split.query])
        };
        assert_eq!(parts("GET", "/a?b?c"), (None, "/a", "b?c"));
        assert_eq!(parts("GET", "/?"), (None, "/", ""));
        assert_eq!(parts("GET", "/a"), (None, "/a", ""));
        assert_eq!(parts("OPTIONS", "*"), (None, "", ""));
        assert_eq!(parts("GET", "HTTP://h:80/p?q"), (Some("h:80"), "/p", "q"));
        assert_eq!(parts("GET", "https://h"), (Some("h"), "", ""));
        assert_eq!(parts("GET", "http://h?q"), (Some("h"), "", "q"));
        assert_eq!(parts("GET", "http://[::1]:8/"), (Some("[::1]:8"), "/", ""));
        for target in
            ["a", "*a", "?a", "localhost:80", "http:/a", "http:///a", "http://:80/", "ftp://h/", "http://u@h/"]
        {
            let refused = Target::split(b"GET", target.as_bytes());
            assert!(matches!(refused, Err(Refusal::Malformed(_))), "{target}");
        }
        assert!(Target::split(b"GET", b"*").is_err());
        assert_eq!(Target::split(b"CONNECT", b"h:443"), Err(Refusal::Method));
    }

    #[test]
    fn hosts() {
        for host in
            ["", "a", "a.b.", "A-b_c~", "a:80", "a:", "a:00080", "a%20b", "a,b;c=d", "[::1]", "[::1]:80", "[v1.a:b]"]
        {
            assert_eq!(check_host(host.as_bytes()), Ok(()), "{host}");
        }
        for host in [
            "a b",
            "a/b",
            "a?b",
            "u@a",
            "a:80:80",
            "a:-1",
            "a:+80",
            "a:65536",
            "a%zz",
            "a%2",
            "é",
            "a\\b",
            "<a>",
            "a..b",
            ".",
            ".a",
            ":80",
            "[::1",
            "[::1]x",
            "[12345::]",
            "[1.2.3.4]",
            "[]",
            "[v.a]",
            "[v1.]",
            "x[::1]",
            "[::1%25eth0]",
        ] {
            assert!(check_host(host.as_bytes()).is_err(), "{host}");
        }
    }

    /// uWSGI 2.0.31 gives the same, but where it says otherwise.
    #[test]
    fn paths_are_decoded_and_normalised() {
        for (path, info) in [
            ("/", "/"),
            ("", "/"),
            ("/a%2fb", "/a/b"),
            ("/a%3Fb%23", "/a?b#"),
            ("/a+b", "/a+b"),
            ("/a%00b", "/a\0b"),
            ("//a//b", "//a//b"),
            ("/a//", "/a//"),
            ("/a/./b", "/a/b"),
            ("/./foo/.bar.", "/foo/.bar."),
            ("/a/../b", "/b"),
            ("/../../etc", "/etc"),
            ("/a/.", "/a/"),
            ("/.", "/"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/b/../", "/a/"),
            ("/a//../b", "/a/b"),
            ("/a/b//../c", "/a/b/c"),
            ("//../a", "/a"),
            ("/a/..//b", "//b"),
            ("/a/b/../../..//c", "//c"),
            ("/.one/..two/...", "/.one/..two/..."),
            ("/%252e%252e/", "/%2e%2e/"),
            // uWSGI: empty
            ("/..", "/"),
            // uWSGI decodes last, and leaves `/../x`, `/a/../b` and `/../../etc` to the application
            ("/%2e%2E/x", "/x"),
            ("/a%2f..%2fb", "/b"),
            ("/..%2f..%2fetc", "/etc"),
            // uWSGI makes NUL of bad escapes, and drops short ones
            ("/a%zzb", "/a%zzb"),
            ("/a%2", "/a%2"),
            ("/a%", "/a%"),
            ("/%%41", "/%A"),
        ] {
            let mut out = b"before".to_vec();
            append_path_info(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("before{info}"), "{path}");
            let plain = is_plain(path.as_bytes(), octets::union(path.as_bytes()));
            assert!(!plain || path == info, "{path} is not plain");
        }
    }

    #[test]
    fn no_path_escapes() {
        let pieces = ["/", "/.", "/..", "%2e", "%2f", ".", "a", "%", "//"];
        for number in 0..pieces.len().pow(5) {
            let mut path = String::from("/");
            for place in 0..5 {
                path.push_str(pieces[number / pieces.len().pow(place) % pieces.len()]);
            }
            let mut out = Vec::new();
            append_path_info(path.as_bytes(), &mut out);
            let info = String::from_utf8_lossy(&out);
            assert!(info.starts_with('/'), "{path} -> {info}");
            assert!(!info.split('/').any(|segment| segment == "." || segment == ".."), "{path} -> {info}");
        }
    }
}
