//! HTTP/1.0 and HTTP/1.1 as an origin server speaks them (RFC 9110, RFC 9112), for [`crate::PROTOCOLS`].
//!
//! The engine drives [`Http`] through [`Exchange`], one for each connection. It has no socket, no clock and no buffer:
//! bytes that are not a whole head yet are shown to it again with more behind them.
//!
//! `request` reads a head that is there at once: the usual case, one pass. `syntax` is asked about all other bytes: it
//! is slower, remembers how far it came, and says exactly what is wrong. Both accept the same heads; a test holds them
//! to it.

mod chunked;
pub(crate) mod octets;
mod reason;
mod request;
mod response;
mod syntax;
mod target;

pub use chunked::Chunked;
pub(crate) use request::Asked;
pub(crate) use response::{Response, push_field, push_length, push_size};
pub use target::decode;

use crate::{BadResponse, Body, Exchange, Head, Limits, Next, Refusal, Vars};
use request::Request;
use syntax::Syntax;

/// How many blank lines may stand before a request line. RFC 9112 2.2 asks for one: old clients end a POST with it.
const BLANK_LINES: usize = 8;

/// Starts the conversation of a new connection.
#[must_use]
pub fn exchange(limits: &Limits) -> Box<dyn Exchange> {
    Box::new(Http {
        limits: limits.clone(),
        syntax: Syntax::default(),
        asked: Asked::default(),
        response: Response::default(),
    })
}

/// One connection.
struct Http {
    limits: Limits,
    /// How far a head that came in pieces is understood.
    syntax: Syntax,
    asked: Asked,
    response: Response,
}

impl Http {
    /// Reads a head from bytes that start with a request line and are not longer than a head may be.
    fn read(&mut self, input: &[u8], vars: &mut Vars) -> Result<Option<Request>, Refusal> {
        if self.syntax.is_fresh() {
            if let Ok(Some(request)) = request::parse(input, &self.limits, vars) {
                return Ok(Some(request));
            }
            vars.clear();
        }
        let Some(bytes) = self.syntax.feed(input, self.limits.fields)? else { return Ok(None) };
        let head = &input[..bytes];
        if !self.syntax.has_later_minor() {
            return request::parse(head, &self.limits, vars);
        }
        // RFC 9110 2.5: a later minor version is read as the latest one that is known.
        let mut known = head.to_vec();
        if let Some(line) = memchr::memchr(b'\r', head) {
            known[line - 1] = b'1';
        }
        request::parse(&known, &self.limits, vars)
    }

    /// The head is longer than allowed: by its target alone, or in all.
    fn too_large(&self) -> Refusal {
        if self.syntax.in_target() { Refusal::TargetTooLong } else { Refusal::HeadTooLarge }
    }
}

impl Exchange for Http {
    fn head(&mut self, input: &[u8], vars: &mut Vars) -> Head {
        vars.clear();
        let blank = match blank_lines(input) {
            Ok(blank) => blank,
            Err(how) => return Head::Refused(Refusal::Malformed(how)),
        };
        let rest = &input[blank..];
        if rest.is_empty() || rest == b"\r" {
            return Head::Partial { begun: false };
        }
        let input = &rest[..rest.len().min(self.limits.head_bytes)];
        self.asked = Asked { head: input.starts_with(b"HEAD "), ..Asked::default() };
        let refusal = match self.read(input, vars) {
            Ok(Some(Request { bytes, body, expects_continue, asked })) => {
                self.syntax = Syntax::default();
                let keep_alive =
                    asked.keep_alive && self.limits.keep_alive && (asked.one_one || is_last(&rest[bytes..], &body));
                self.asked = Asked { keep_alive, ..asked };
                return Head::Whole { bytes: blank + bytes, body, expects_continue };
            }
            Ok(None) if input.len() < self.limits.head_bytes => return Head::Partial { begun: true },
            Ok(None) => self.too_large(),
            Err(refusal) => refusal,
        };
        self.syntax = Syntax::default();
        vars.clear();
        Head::Refused(refusal)
    }

    fn proceed(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
    }

    fn status(&mut self, status: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.response.status(response::version(self.asked), status, out)
    }

    fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.response.field(name, value, out)
    }

    fn end_head(&mut self, length: Option<u64>, date: &[u8], close: bool, out: &mut Vec<u8>) {
        let asked = Asked { keep_alive: self.asked.keep_alive && !close, ..self.asked };
        self.response.end_head(asked, length, date, out);
    }

    fn data(&mut self, length: usize, out: &mut Vec<u8>) -> usize {
        self.response.data(length, out)
    }

    fn data_end(&mut self, out: &mut Vec<u8>) {
        self.response.data_end(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Next {
        self.asked = Asked::default();
        self.response.finish(out)
    }

    /// The status is all that the client is told: what exactly was wrong is for the log.
    fn refuse(&mut self, refusal: Refusal, date: &[u8], out: &mut Vec<u8>) {
        let status = refusal.status();
        out.extend_from_slice(response::version(self.asked));
        out.extend_from_slice(status.as_bytes());
        out.extend_from_slice(b"\r\n");
        push_field(b"Date", date, out);
        push_field(b"Content-Type", b"text/plain", out);
        push_length(status.len() as u64 + 1, out);
        if let Some(seconds) = refusal.retry_after() {
            push_field(b"Retry-After", seconds.as_bytes(), out);
        }
        push_field(b"Connection", b"close", out);
        out.extend_from_slice(b"\r\n");
        if !self.asked.head {
            out.extend_from_slice(status.as_bytes());
            out.push(b'\n');
        }
        self.asked = Asked::default();
        self.response = Response::default();
    }
}

/// Whether nothing is there behind a request. HTTP/1.0 clients may keep a connection, but have no pipelining (RFC 2068
/// 19.7.1): what stands behind a request of theirs is not theirs, and goes down with the connection.
fn is_last(rest: &[u8], body: &Body) -> bool {
    match body {
        Body::Empty => rest.is_empty(),
        Body::Length(length) => rest.len() as u64 <= *length,
        Body::Framed(_) => true,
    }
}

/// The length of the blank lines at the start.
fn blank_lines(input: &[u8]) -> Result<usize, &'static str> {
    let mut length = 0;
    while let Some(rest) = input[length..].strip_prefix(b"\r\n") {
        length = input.len() - rest.len();
        if length > BLANK_LINES * 2 {
            return Err("too many blank lines before the request");
        }
    }
    match &input[length..] {
        [b'\n', ..] => Err("a bare LF before the request"),
        [b'\r', _, ..] => Err("a bare CR before the request"),
        _ => Ok(length),
    }
}
