//! The uwsgi protocol, as nginx and other front ends speak it to an application server, for [`crate::PROTOCOLS`].
//!
//! A request is a packet: `modifier1 u8 | size u16 LE | modifier2 u8`, then `size` bytes of variables (`u16 LE` length
//! and name, `u16 LE` length and value), then the body, as many bytes as `CONTENT_LENGTH` says. The answer is a whole
//! HTTP response, and the connection ends with it. `modifier1` says what kind of packet it is; `modifier2`, which
//! chooses among applications in some plugins of uWSGI, says nothing to one application.
//!
//! The engine drives it through [`Exchange`]. What variables must be like is `cgi`'s business. As uWSGI does, it
//! says nothing to what is no request; a request that is not served gets an HTTP response, which front ends pass on.

use crate::fronted::{Answer, Begin, Fronted, Heads};
use crate::http::octets;
use crate::{Body, Exchange, Head, Key, Limits, Next, Refusal, Vars, cgi};

/// A WSGI request.
const WSGI: u8 = 0;
/// The same; `PATH_INFO` still holds `SCRIPT_NAME`. uWSGI says so, too, but under Python 3 it leaves `PATH_INFO` alone.
const WSGI_WITH_SCRIPT_NAME: u8 = 30;
/// Are you there?
const PING: u8 = 100;
/// Yes: the same kind of packet, empty, with 1 for `modifier2`.
const PONG: &[u8] = &[PING, 0, 0, 1];

/// Starts the conversation of a new connection.
#[must_use]
pub fn exchange(limits: &Limits) -> Box<dyn Exchange> {
    new(limits, false)
}

/// Starts the conversation of a connection that carries one packet after the other (`puwsgi-socket`). It ends with a
/// response that has no length of its own: nobody could tell where the next one begins.
#[must_use]
pub fn persistent_exchange(limits: &Limits) -> Box<dyn Exchange> {
    new(limits, true)
}

/// Starts the conversation of a new connection whose packets are passed on: packets of any kind that hold variables. Only
/// WSGI requests are judged, and answered where nobody else answers.
#[must_use]
pub fn routed_exchange(limits: &Limits) -> Box<dyn Exchange> {
    let uwsgi = Uwsgi { limits: limits.clone(), persistent: false, routed: true, modifiers: (WSGI, 0) };
    Box::new(Fronted::new(uwsgi, Begin::StatusLine))
}

fn new(limits: &Limits, persistent: bool) -> Box<dyn Exchange> {
    let uwsgi = Uwsgi { limits: limits.clone(), persistent, routed: false, modifiers: (WSGI, 0) };
    Box::new(Fronted::new(uwsgi, Begin::StatusLine))
}

/// One connection.
struct Uwsgi {
    limits: Limits,
    persistent: bool,
    /// Packets of other kinds are for others.
    routed: bool,
    modifiers: (u8, u8),
}

impl Uwsgi {
    /// Makes variables of the block behind the header.
    fn read(&self, block: &[u8], vars: &mut Vars, answer: &mut Answer) -> Result<Body, Refusal> {
        if !matches!(self.modifiers.0, WSGI | WSGI_WITH_SCRIPT_NAME) {
            return read_foreign(block, vars);
        }
        let whole = vars.add(block);
        let mut reader = cgi::Reader::new(vars, self.limits.fields);
        let mut at = 0;
        while at < block.len() {
            let (Some(name), Some(value)) = (text(block, &mut at), text(block, &mut at)) else {
                // No request, then: nobody knows what the bytes mean.
                answer.forget();
                return Err(Refusal::Malformed("a length in the uwsgi packet points behind its end"));
            };
            reader.take(Vars::part(whole, name), Vars::part(whole, value))?;
        }
        reader.finish()
    }
}

impl Heads for Uwsgi {
    fn head(&mut self, input: &[u8], vars: &mut Vars, answer: &mut Answer) -> Head {
        let Some((&header, rest)) = input.split_first_chunk() else {
            return Head::Partial { begun: !input.is_empty() };
        };
        let [modifier1, low, high, modifier2] = header;
        self.modifiers = (modifier1, modifier2);
        let is_wsgi = matches!(modifier1, WSGI | WSGI_WITH_SCRIPT_NAME);
        if !is_wsgi && modifier1 != PING && (!self.routed || is_no_packet(header)) {
            return Head::Refused(foreign(header));
        }
        if is_wsgi {
            answer.expect();
        }
        let size = usize::from(u16::from_le_bytes([low, high]));
        if size > self.limits.head_bytes {
            return Head::Refused(Refusal::HeadTooLarge);
        }
        let Some(block) = rest.get(..size) else { return Head::Partial { begun: true } };
        if modifier1 == PING {
            return Head::Reply { bytes: header.len() + size, answer: PONG.to_vec(), next: Next::Close };
        }
        let body = match self.read(block, vars, answer) {
            Ok(body) => body,
            Err(refusal) => return Head::Refused(refusal),
        };
        if modifier1 == WSGI_WITH_SCRIPT_NAME && !self.routed {
            cgi::strip_script_name(vars);
        }
        if is_wsgi {
            answer.ask(vars, self.persistent);
        }
        // A front end asks its client for the body when it likes.
        Head::Whole { bytes: header.len() + size, body, expects_continue: false }
    }

    fn modifiers(&self) -> (u8, u8) {
        self.modifiers
    }
}

/// The next name or value: where it is in the block, if it ends there.
fn text(block: &[u8], at: &mut usize) -> Option<std::ops::Range<usize>> {
    let length = block.get(*at..)?.first_chunk()?;
    let start = *at + length.len();
    let end = start + usize::from(u16::from_le_bytes(*length));
    *at = end;
    (end <= block.len()).then_some(start..end)
}

/// The variables of a packet that is for somebody else: whatever they say, as long as they are some.
fn read_foreign(block: &[u8], vars: &mut Vars) -> Result<Body, Refusal> {
    let whole = vars.add(block);
    let mut at = 0;
    while at < block.len() {
        let (Some(name), Some(value)) = (text(block, &mut at), text(block, &mut at)) else {
            return Err(Refusal::Malformed("the uwsgi packet holds no variables"));
        };
        let (name, value) = (Vars::part(whole, name), Vars::part(whole, value));
        match Key::named(vars.bytes(name)) {
            Some(key) => vars.set_span(key, value),
            None => vars.push_cgi(name, value),
        }
    }
    let said = vars.key(Key::ContentLength).unwrap_or_default();
    match octets::decimal(said) {
        Some(Some(length @ 1..)) => Ok(Body::Length(length)),
        _ => Ok(Body::Empty),
    }
}

/// Bytes of another protocol.
fn is_no_packet(header: [u8; 4]) -> bool {
    header.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b' ') || header.starts_with(&[22, 3])
}

/// Why a packet of a kind that is not served is refused: the usual reason is that it is no packet.
fn foreign(header: [u8; 4]) -> Refusal {
    if header.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b' ') {
        return Refusal::Malformed("HTTP on a socket that speaks uwsgi (http-socket speaks HTTP)");
    }
    // RFC 8446 5.1: a handshake record of any version. As modifier1 it would be code to evaluate.
    if header.starts_with(&[22, 3]) {
        return Refusal::Malformed("TLS on a socket that speaks uwsgi");
    }
    Refusal::Modifier(header[0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BadResponse;

    const BASE: [(&str, &str); 4] =
        [("REQUEST_METHOD", "GET"), ("PATH_INFO", "/a"), ("REQUEST_URI", "/a?b"), ("SERVER_PROTOCOL", "HTTP/1.1")];

    fn packet(modifier1: u8, said: &[(&str, &str)]) -> Vec<u8> {
        let mut block = Vec::new();
        for text in said.iter().flat_map(|(name, value)| [name, value]) {
            block.extend((text.len() as u16).to_le_bytes());
            block.extend(text.as_bytes());
        }
        let [low, high] = (block.len() as u16).to_le_bytes();
        [vec![modifier1, low, high, 0], block].concat()
    }

    fn with(said: &[(&'static str, &'static str)]) -> Vec<u8> {
        packet(WSGI, &[&BASE[..], said].concat())
    }

    struct Talk {
        exchange: Box<dyn Exchange>,
        vars: Vars,
    }

    impl Talk {
        fn new(head_bytes: usize) -> Self {
            Self { exchange: exchange(&Limits { head_bytes, ..Limits::default() }), vars: Vars::default() }
        }

        fn head(&mut self, raw: &[u8]) -> Head {
            self.exchange.head(raw, &mut self.vars)
        }

        /// What a request gets that is refused.
        fn refused(&mut self, raw: &[u8]) -> (Refusal, String) {
            let Head::Refused(refusal) = self.head(raw) else { panic!("{raw:?} is served") };
            assert_eq!(self.vars.count(), 0);
            let mut out = Vec::new();
            self.exchange.refuse(refusal, b"today", &mut out);
            (refusal, String::from_utf8(out).unwrap())
        }

        /// What the client gets for a response of the application.
        fn response(&mut self, status: &str, fields: &[(&str, &str)], body: &str) -> String {
            let mut out = Vec::new();
            self.exchange.status(status.as_bytes(), &mut out).unwrap();
            for (name, value) in fields {
                self.exchange.field(name.as_bytes(), value.as_bytes(), &mut out).unwrap();
            }
            self.exchange.end_head(Some(body.len() as u64), b"today", false, &mut out);
            let take = self.exchange.data(body.len(), &mut out);
            out.extend_from_slice(&body.as_bytes()[..take]);
            self.exchange.data_end(&mut out);
            assert_eq!(self.exchange.finish(&mut out), Next::Close);
            String::from_utf8(out).unwrap()
        }
    }

    fn talk() -> Talk {
        Talk::new(4096)
    }

    #[test]
    fn a_packet_is_a_request() {
        let mut talk = talk();
        let raw = with(&[("CONTENT_LENGTH", "5"), ("HTTP_X", "y"), ("HTTP_X", "z")]);
        for end in 0..raw.len() {
            assert!(matches!(talk.head(&raw[..end]), Head::Partial { begun } if begun == (end > 0)), "{end}");
        }
        let whole = talk.head(&[&raw[..], b"hello"].concat());
        assert!(
            matches!(whole, Head::Whole { bytes, body: Body::Length(5), expects_continue: false } if bytes == raw.len())
        );
        assert_eq!(talk.vars.key(Key::RequestUri), Some(&b"/a?b"[..]));
        assert_eq!((talk.vars.count(), talk.vars.size() + 4 * 7), (7, raw.len() - 4), "uWSGI's log counts so");
        assert!(talk.exchange.is_fronted());
    }

    #[test]
    fn lengths_hold_or_nothing_is_answered() {
        let mut talk = talk();
        for broken in
            [&[1][..], &[1, 0], &[1, 0, b'A'], &[1, 0, b'A', 1], &[1, 0, b'A', 1, 0], &[255, 255, b'A'], &[0x40, 0x9c]]
        {
            let mut raw = with(&[]);
            raw.extend(broken);
            let size = (raw.len() as u16 - 4).to_le_bytes();
            raw[1..3].copy_from_slice(&size);
            let (refusal, out) = talk.refused(&raw);
            assert!(refusal.reason().contains("length") && out.is_empty(), "{broken:?}: {refusal:?} {out}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_is_answered_in_http() {
        let mut talk = talk();
        for said in [("wsgi.input", "x"), ("UWSGI_FILE", "/x"), ("CONTENT_LENGTH", "x"), ("", "x")] {
            let (_, out) = talk.refused(&with(&[said]));
            assert_eq!(
                out,
                "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n400 Bad Request\n",
                "{said:?}"
            );
        }
        assert_eq!(talk.refused(&[0, 0, 0, 0]).0, Refusal::Malformed("no REQUEST_METHOD"));
        assert!(talk.refused(&with(&[("CONTENT_LENGTH", "99999999999999999999")])).1.starts_with("HTTP/1.0 413 "));
        // The same after a head that was read.
        talk.head(&with(&[]));
        let mut out = Vec::new();
        talk.exchange.refuse(Refusal::Failed, b"today", &mut out);
        assert!(out.starts_with(b"HTTP/1.1 500 Internal Server Error\r\nContent-Type"));
        talk.head(&with(&[("REQUEST_METHOD", "HEAD")]));
        out.clear();
        talk.exchange.refuse(Refusal::Failed, b"today", &mut out);
        assert!(out.ends_with(b"\r\n\r\n"));
    }

    #[test]
    fn a_slow_request_is_told_if_it_is_one() {
        let mut talk = talk();
        for (begun, told) in [(&b"\0"[..], false), (b"\0\x10\0\0", true), (b"\x64\x10\0\0", false)] {
            assert!(matches!(talk.head(begun), Head::Partial { .. }));
            let mut out = Vec::new();
            talk.exchange.refuse(Refusal::Timeout, b"today", &mut out);
            assert_eq!(out.starts_with(b"HTTP/1.0 408 "), told, "{begun:?}");
        }
    }

    #[test]
    fn the_size_is_limited_as_in_uwsgi() {
        let sized = |size: usize| {
            let rest = size - with(&[("HTTP_X", "")]).len() + 4;
            packet(WSGI, &[&BASE[..], &[("HTTP_X", &*"x".repeat(rest))]].concat())
        };
        assert!(matches!(talk().head(&sized(4096)), Head::Whole { bytes: 4100, .. }));
        let (refusal, out) = talk().refused(&sized(4097)[..4]);
        assert_eq!(refusal, Refusal::HeadTooLarge);
        assert!(out.starts_with("HTTP/1.0 431 "));
        assert!(matches!(Talk::new(1 << 20).head(&sized(65_535)), Head::Whole { .. }));
    }

    #[test]
    fn other_kinds_of_packets_get_nothing() {
        let mut talk = talk();
        for modifier1 in (0..=255).filter(|modifier1| ![WSGI, WSGI_WITH_SCRIPT_NAME, PING].contains(modifier1)) {
            let (refusal, out) = talk.refused(&packet(modifier1, &BASE));
            assert_eq!((refusal, &*out), (Refusal::Modifier(modifier1), ""));
        }
        let (refusal, out) = talk.refused(b"GET / HTTP/1.1\r\n");
        assert!(refusal.reason().starts_with("HTTP on a socket") && out.is_empty());
        assert!(talk.refused(&[22, 3, 1, 2, 0, 1]).0.reason().starts_with("TLS"));
    }

    #[test]
    fn a_ping_is_answered() {
        let mut talk = talk();
        let pong = Head::Reply { bytes: 4, answer: vec![100, 0, 0, 1], next: Next::Close };
        assert_eq!(format!("{:?}", talk.head(&[PING, 0, 0, 0])), format!("{pong:?}"));
        assert!(matches!(talk.head(&packet(PING, &BASE)), Head::Reply { bytes: 77.., .. }));
        assert!(matches!(talk.head(&packet(PING, &BASE)[..9]), Head::Partial { begun: true }));
        assert!(talk.refused(&[PING, 1, 16, 0]).1.is_empty());
    }

    #[test]
    fn the_name_of_the_application_leaves_the_path() {
        let mut talk = talk();
        let said = [&BASE[..], &[("SCRIPT_NAME", "/app"), ("PATH_INFO", "/app/x")]].concat();
        talk.head(&packet(WSGI, &said));
        assert_eq!(talk.vars.key(Key::PathInfo), Some(&b"/app/x"[..]));
        talk.head(&packet(WSGI_WITH_SCRIPT_NAME, &said));
        assert_eq!(talk.vars.key(Key::PathInfo), Some(&b"/x"[..]));
        assert_eq!(talk.vars.key(Key::ScriptName), Some(&b"/app"[..]));
    }

    #[test]
    fn a_response_says_what_the_application_says() {
        let mut talk = talk();
        talk.head(&with(&[]));
        let plain = [("Content-Type", "text/plain"), ("X-A", "b")];
        assert_eq!(
            talk.response("200 OK", &plain, "hello"),
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-A: b\r\n\r\nhello"
        );
        for (said, begins) in [
            ("HTTP/1.0", "HTTP/1.0 404 Not Found\r\n"),
            ("HTTP/2.0", "HTTP/2.0 404 Not Found\r\n"),
            ("HTTP/2", "HTTP/1.0 404 Not Found\r\n"),
            ("INCLUDED", "HTTP/1.0 404 Not Found\r\n"),
            ("", "HTTP/1.0 404 Not Found\r\n"),
        ] {
            talk.head(&with(&[("SERVER_PROTOCOL", said)]));
            assert_eq!(talk.response("404", &[], ""), format!("{begins}\r\n"), "{said}");
        }
        talk.head(&packet(WSGI, &BASE[..1]));
        assert_eq!(
            talk.response("200 OK", &[("Connection", "close"), ("Keep-Alive", "x")], ""),
            "HTTP/1.0 200 OK\r\n\r\n"
        );
    }

    #[test]
    fn a_body_is_never_longer_than_it_may_be() {
        let mut talk = talk();
        let mut body = |method, status, length: &'static str| {
            talk.head(&with(&[("REQUEST_METHOD", method)]));
            talk.response(status, &[("Content-Length", length)], "hello")
        };
        assert_eq!(body("GET", "200 OK", "3"), "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhel");
        assert_eq!(body("GET", "200 OK", "9"), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello");
        assert_eq!(body("HEAD", "200 OK", "5"), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(body("GET", "304 Not Modified", "5"), "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n");
        assert_eq!(body("GET", "204 No Content", "5"), "HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(body("GET", "205 Reset Content", "5"), "HTTP/1.1 205 Reset Content\r\n\r\n");
    }

    #[test]
    fn a_response_can_not_be_split() {
        let mut talk = talk();
        talk.head(&with(&[]));
        let (exchange, mut out) = (&mut talk.exchange, Vec::new());
        assert_eq!(exchange.status(b"200 OK\r\nX: y", &mut out), Err(BadResponse::Status));
        exchange.status(b"200 OK", &mut out).unwrap();
        assert_eq!(exchange.field(b"X", b"a\r\nb", &mut out), Err(BadResponse::FieldValue));
        assert_eq!(exchange.field(b"Transfer-Encoding", b"chunked", &mut out), Err(BadResponse::HopByHop));
    }
}
