//! The syntax of a request head, byte by byte (RFC 9112 2 to 5): strict, and resumable at any byte.
//!
//! [`super::Http`] asks it when a head came in pieces or when the fast parser did not like it. It says where the head
//! ends, or which byte is the first wrong one, and never looks at a byte twice: a client that sends a byte at a time
//! costs no more than one that sends all at once, and is refused at the same byte with the same words.
//! It knows nothing of what the fields mean.

use super::octets::{self, FIELD, STRANGE, TOKEN};
use crate::Refusal;

/// How far a head is understood.
#[derive(Debug, Default)]
pub(super) struct Syntax {
    seen: usize,
    fields: usize,
    at: At,
    later_minor: bool,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Start,
    Method,
    TargetStart,
    Target,
    /// So many bytes of `HTTP/1.1` are there.
    Version(usize),
    LineCr,
    LineLf,
    FieldStart,
    Name,
    Value,
    ValueLf,
    EndLf,
    Done,
}

impl Syntax {
    /// Whether no byte was seen yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.seen == 0
    }

    /// Whether the request target has begun and not ended.
    pub(super) fn in_target(&self) -> bool {
        self.at == At::Target
    }

    /// Whether the version is HTTP/1.2 to HTTP/1.9.
    pub(super) fn has_later_minor(&self) -> bool {
        self.later_minor
    }

    /// Goes on where the last call ended. `head` starts with the same bytes as then. Says how long the head is when its
    /// end is there.
    pub(super) fn feed(&mut self, head: &[u8], most_fields: usize) -> Result<Option<usize>, Refusal> {
        for &byte in head.get(self.seen..).unwrap_or_default() {
            self.seen += 1;
            self.at = self.step(byte)?;
            if self.fields > most_fields {
                return Err(Refusal::TooManyFields);
            }
            if self.at == At::Done {
                return Ok(Some(self.seen));
            }
        }
        Ok(None)
    }

    fn step(&mut self, byte: u8) -> Result<At, Refusal> {
        let next = match (self.at, byte) {
            (At::Start | At::Method, _) if octets::is(byte, TOKEN) => At::Method,
            (At::Method, b' ') => At::TargetStart,
            (At::Start | At::Method, _) => return malformed("the method is not a token"),
            (At::TargetStart | At::Target, _) => target(self.at, byte)?,
            (At::Version(at), _) => self.version(at, byte)?,
            (At::LineCr, b'\r') => At::LineLf,
            (At::LineLf | At::ValueLf, b'\n') => At::FieldStart,
            (At::EndLf, b'\n') => At::Done,
            (At::LineLf | At::ValueLf | At::EndLf, _) => return malformed("a bare CR"),
            (At::LineCr | At::FieldStart | At::Value, b'\n') => return malformed("a bare LF ends a line"),
            (At::LineCr, _) => return malformed("the request line does not end behind the version"),
            (At::FieldStart, b'\r') => At::EndLf,
            (At::FieldStart, b' ' | b'\t') => return malformed("a field line is folded"),
            (At::FieldStart, b':') => return malformed("a field name is empty"),
            (At::FieldStart, _) if octets::is(byte, TOKEN) => {
                self.fields += 1;
                At::Name
            }
            (At::Name, b':') => At::Value,
            (At::Name, b'\r' | b'\n') => return malformed("a field line has no colon"),
            (At::Name, b' ' | b'\t') => return malformed("whitespace in a field name, or between it and the colon"),
            (At::Name, _) if octets::is(byte, TOKEN) => At::Name,
            (At::FieldStart | At::Name, _) => return malformed("a field name is not a token"),
            (At::Value, b'\r') => At::ValueLf,
            (At::Value, _) if octets::is(byte, FIELD) => At::Value,
            (At::Value, _) => return malformed("a control character in a field value"),
            (At::Done, _) => At::Done,
        };
        Ok(next)
    }

    fn version(&mut self, at: usize, byte: u8) -> Result<At, Refusal> {
        match (at, byte) {
            (0..=4, _) if byte == b"HTTP/"[at] => Ok(At::Version(at + 1)),
            (5, b'1') | (6, b'.') => Ok(At::Version(at + 1)),
            (5, b'0'..=b'9') => Err(Refusal::Version),
            (7, b'0'..=b'9') => {
                self.later_minor = byte > b'1';
                Ok(At::LineCr)
            }
            _ => malformed("the request line is not method, target and HTTP version with one space between them"),
        }
    }
}

fn target(at: At, byte: u8) -> Result<At, Refusal> {
    match byte {
        b' ' if at == At::Target => Ok(At::Version(0)),
        b' ' => malformed("more than one space in the request line"),
        b'\r' | b'\n' => malformed("the request line has no version"),
        b'#' => malformed("a fragment in the request target"),
        0x80.. => malformed("the request target is not ASCII"),
        _ if octets::is(byte, STRANGE) => malformed("a control character in the request target"),
        _ => Ok(At::Target),
    }
}

fn malformed<T>(how: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Malformed(how))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(head: &[u8]) -> Result<Option<usize>, Refusal> {
        let whole = Syntax::default().feed(head, 3);
        let mut pieces = Syntax::default();
        let mut last = Ok(None);
        for end in 1..=head.len() {
            last = pieces.feed(&head[..end], 3);
            if last != Ok(None) {
                break;
            }
        }
        assert_eq!(whole, last, "{:?}", String::from_utf8_lossy(head));
        whole
    }

    #[test]
    fn a_head_ends_at_its_blank_line() {
        assert_eq!(judge(b"GET / HTTP/1.1\r\n\r\nrest"), Ok(Some(18)));
        assert_eq!(judge(b"GET / HTTP/1.1\r\nA: b\r\nC:\r\n\r\nrest"), Ok(Some(28)));
        assert_eq!(judge(b"GET / HTTP/1.1\r\nA: b\r\n\r"), Ok(None));
        assert_eq!(judge(b""), Ok(None));
    }

    #[test]
    fn versions() {
        let mut syntax = Syntax::default();
        assert_eq!(syntax.feed(b"GET / HTTP/1.7\r\n\r\n", 3), Ok(Some(18)));
        assert!(syntax.has_later_minor());
        assert_eq!(judge(b"PRI * HTTP/2"), Err(Refusal::Version));
        assert_eq!(judge(b"GET / HTTP/0.9\r\n"), Err(Refusal::Version));
        for line in
            ["GET / http/1.1", "GET / HTTP/1.10", "GET / HTTP/1.x", "GET / HTTP/-1.1", "GET / FTP/1.1", "GET /\r"]
        {
            assert!(matches!(judge(line.as_bytes()), Err(Refusal::Malformed(_))), "{line}");
        }
    }

    #[test]
    fn the_first_wrong_byte_decides() {
        for (head, how) in [
            (&b" GET"[..], "the method is not a token"),
            (b"\x16\x03\x01", "the method is not a token"),
            (b"G\xc9T / HTTP/1.1", "the method is not a token"),
            (b"GET  /", "more than one space in the request line"),
            (b"GET /a#b", "a fragment in the request target"),
            (b"GET /\xc3\xa9", "the request target is not ASCII"),
            (b"GET /\x7f", "a control character in the request target"),
            (b"GET /\t", "a control character in the request target"),
            (b"GET / HTTP/1.1\n", "a bare LF ends a line"),
            (b"GET / HTTP/1.1\r\r", "a bare CR"),
            (b"GET / HTTP/1.1\r\n A: b", "a field line is folded"),
            (b"GET / HTTP/1.1\r\nA: b\n", "a bare LF ends a line"),
            (b"GET / HTTP/1.1\r\nA: b\r\n\n", "a bare LF ends a line"),
            (b"GET / HTTP/1.1\r\nA: b\r\n\rX", "a bare CR"),
            (b"GET / HTTP/1.1\r\nA\r\n", "a field line has no colon"),
            (b"GET / HTTP/1.1\r\nA : b\r\n", "whitespace in a field name, or between it and the colon"),
            (b"GET / HTTP/1.1\r\nA(: b\r\n", "a field name is not a token"),
            (b"GET / HTTP/1.1\r\n: b\r\n", "a field name is empty"),
            (b"GET / HTTP/1.1\r\nA: b\0", "a control character in a field value"),
        ] {
            assert_eq!(judge(head), Err(Refusal::Malformed(how)), "{:?}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn fields_are_counted() {
        assert_eq!(judge(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), Ok(Some(36)));
        assert_eq!(judge(b"GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n"), Err(Refusal::TooManyFields));
    }
}
