//! A response: status, fields and body from the application, framed so that the client can tell its end.
//!
//! Called by [`super::Http`], once per request. Nothing that the application says can break the framing: what could is
//! refused ([`BadResponse`]) or cut. It never waits and never keeps bytes: all goes to `out` at once.
//!
//! Hop-by-hop fields are the server's (PEP 3333, RFC 9110 7.6.1), but applications send them, and copy them from other
//! servers. `Connection: close` is obeyed; `Upgrade` is passed on, with its connection option (a 426 needs it);
//! `Keep-Alive`, `Proxy-Connection`, `TE`, `Trailer` and other connection options are dropped, as gunicorn does.
//! `Transfer-Encoding` is an error: some applications that send it have put their body into chunks and others have
//! not, and a wrong guess is a broken body.

use super::octets;
use super::reason;
use super::request::Asked;
use crate::{BadResponse, Next};

/// The response that is being sent.
#[derive(Debug, Default)]
pub(crate) struct Response {
    code: u16,
    /// `Content-Length` of the application.
    length: Option<u64>,
    dated: bool,
    close: bool,
    upgrade: bool,
    framing: Framing,
    /// The connection can be used again, if the body is whole.
    keep_alive: bool,
    /// Bytes of a chunk were announced.
    in_chunk: bool,
}

#[derive(Debug, Default)]
enum Framing {
    /// No body at all.
    #[default]
    None,
    /// So many bytes are missing.
    Counted(u64),
    Chunked,
    /// Until the connection is closed.
    Open,
}

impl Response {
    /// Begins anew, with `before` and the status. `200 OK`, `200 ` and `200` are the same (the last two are uWSGI's).
    /// 1xx is no response to end with.
    pub(crate) fn status(&mut self, before: &[u8], status: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        let (code, phrase) = match status {
            [code @ .., b' '] | code if code.len() == 3 => (code, None),
            [a, b, c, b' ', phrase @ ..] => (&[*a, *b, *c][..], Some(phrase)),
            _ => return Err(BadResponse::Status),
        };
        let number = match octets::decimal(code) {
            Some(Some(number @ 200..)) => number as u16,
            _ => return Err(BadResponse::Status),
        };
        if phrase.is_some_and(|phrase| !octets::is_field(phrase)) {
            return Err(BadResponse::Status);
        }
        *self = Self { code: number, ..Self::default() };
        out.extend_from_slice(before);
        out.extend_from_slice(code);
        out.push(b' ');
        out.extend_from_slice(phrase.unwrap_or_else(|| reason::phrase(number).as_bytes()));
        out.extend_from_slice(b"\r\n");
        Ok(())
    }

    pub(crate) fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        // What nearly every response has, as nearly everybody writes it, is known to be right.
        let is_usual = matches!(name, b"Content-Type" | b"Content-Length");
        if !is_usual && !octets::is_token(name) {
            return Err(BadResponse::FieldName);
        }
        if !octets::is_field(value) {
            return Err(BadResponse::FieldValue);
        }
        if self.takes(name, value)? {
            push_field(name, value, out);
        }
        Ok(())
    }

    /// Whether a field is to be sent; notes what it says if it says something.
    fn takes(&mut self, name: &[u8], value: &[u8]) -> Result<bool, BadResponse> {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            2 if is("TE") => Ok(false),
            4 if is("Date") => {
                self.dated = true;
                Ok(true)
            }
            7 if is("Upgrade") => {
                self.upgrade = true;
                Ok(true)
            }
            7 if is("Trailer") => Ok(false),
            // RFC 2616 and PEP 3333 write it so.
            8 if is("Trailers") => Ok(false),
            10 if is("Connection") => {
                self.close |= octets::list(value).any(|option| option.eq_ignore_ascii_case(b"close"));
                Ok(false)
            }
            10 if is("Keep-Alive") => Ok(false),
            14 if name == b"Content-Length" || is("Content-Length") => self.content_length(value),
            16 if is("Proxy-Connection") => Ok(false),
            17 if is("Transfer-Encoding") => Err(BadResponse::HopByHop),
            _ => Ok(true),
        }
    }

    /// The same one twice is sent once. RFC 9110 8.6 and 15.3.6: none with 204, and 205 says zero, which the end of
    /// the head does.
    fn content_length(&mut self, value: &[u8]) -> Result<bool, BadResponse> {
        let Some(Some(length)) = octets::decimal(octets::trim(value)) else { return Err(BadResponse::ContentLength) };
        match self.length.replace(length) {
            None => Ok(!matches!(self.code, 204 | 205)),
            Some(before) if before == length => Ok(false),
            Some(_) => Err(BadResponse::ContentLength),
        }
    }

    /// Chooses the framing (RFC 9112 6.3) and adds the server's fields. `length`: of the whole body, if it is known.
    pub(crate) fn end_head(&mut self, asked: Asked, length: Option<u64>, date: &[u8], out: &mut Vec<u8>) {
        if !self.dated {
            push_field(b"Date", date, out);
        }
        self.framing = match (self.code, self.length.or(length)) {
            (204 | 304, _) => Framing::None,
            (205, _) => {
                push_length(0, out);
                Framing::None
            }
            (_, known) if asked.head => {
                // An application that leaves a body out for HEAD says nothing about the length of that of a GET.
                if let (None, Some(length @ 1..)) = (self.length, known) {
                    push_length(length, out);
                }
                Framing::None
            }
            (_, Some(known)) => {
                if self.length.is_none() {
                    push_length(known, out);
                }
                Framing::Counted(known)
            }
            (_, None) if asked.one_one => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                Framing::Chunked
            }
            (_, None) => Framing::Open,
        };
        self.keep_alive = asked.keep_alive && !self.close && !matches!(self.framing, Framing::Open);
        let option = match (self.keep_alive, asked.one_one) {
            (false, true) => Some("close"),
            (true, false) => Some("keep-alive"),
            _ => None,
        };
        match (option, self.upgrade) {
            (None, false) => {}
            (Some(option), false) => push_field(b"Connection", option.as_bytes(), out),
            (None, true) => out.extend_from_slice(b"Connection: upgrade\r\n"),
            (Some(option), true) => push_field(b"Connection", format!("{option}, upgrade").as_bytes(), out),
        }
        out.extend_from_slice(b"\r\n");
    }

    /// The same for a front end, which frames the response for the client: nothing is added to what the application
    /// says, and a body without a length ends with the connection, unless the protocol has another end for it.
    pub(crate) fn end_fronted_head(&mut self, asked: Asked, out: &mut Vec<u8>) {
        self.framing = match (self.code, self.length) {
            (204 | 205 | 304, _) => Framing::None,
            _ if asked.head => Framing::None,
            (_, Some(length)) => Framing::Counted(length),
            (_, None) => Framing::Open,
        };
        self.keep_alive = asked.keep_alive && !self.close;
        out.extend_from_slice(b"\r\n");
    }

    /// The body is not as long as its `Content-Length`.
    pub(crate) fn is_short(&self) -> bool {
        matches!(self.framing, Framing::Counted(1..))
    }

    pub(crate) fn data(&mut self, length: usize, out: &mut Vec<u8>) -> usize {
        match &mut self.framing {
            Framing::None => 0,
            Framing::Counted(missing) => {
                let fitting = usize::try_from(*missing).map_or(length, |missing| missing.min(length));
                *missing -= fitting as u64;
                fitting
            }
            // A chunk of no bytes would be the last one.
            Framing::Chunked => {
                if length > 0 {
                    push_size(length, out);
                    self.in_chunk = true;
                }
                length
            }
            Framing::Open => length,
        }
    }

    pub(crate) fn data_end(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.in_chunk) {
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Ends the body. A response that has no end of its own, or misses a part, ends with the connection.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Next {
        self.data_end(out);
        if matches!(self.framing, Framing::Chunked) {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        let whole = !self.is_short() && !matches!(self.framing, Framing::Open);
        let keep_alive = self.keep_alive && whole;
        *self = Self::default();
        if keep_alive { Next::KeepAlive } else { Next::Close }
    }
}

/// What a status line begins with.
pub(super) fn version(asked: Asked) -> &'static [u8] {
    if asked.one_one { b"HTTP/1.1 " } else { b"HTTP/1.0 " }
}

/// Appends a field line. Name and value are known to be right.
pub(crate) fn push_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Appends a `Content-Length`.
pub(crate) fn push_length(length: u64, out: &mut Vec<u8>) {
    push_field(b"Content-Length", itoa::Buffer::new().format(length).as_bytes(), out);
}

/// Appends the line in front of a chunk.
pub(crate) fn push_size(length: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[length >> (4 * digit) & 15]));
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    const ONE_ONE: Asked = Asked { one_one: true, head: false, keep_alive: true };
    const ONE_ZERO: Asked = Asked { one_one: false, head: false, keep_alive: false };
    const ONE_ZERO_KEPT: Asked = Asked { keep_alive: true, ..ONE_ZERO };
    const HEAD: Asked = Asked { head: true, ..ONE_ONE };
    const LAST: Asked = Asked { keep_alive: false, ..ONE_ONE };

    /// What an application and the engine say, and what the client gets: everything behind the `Date`.
    struct Case {
        asked: Asked,
        status: &'static str,
        fields: &'static [(&'static str, &'static str)],
        length: Option<u64>,
        body: &'static [&'static str],
        gets: &'static str,
        next: Next,
    }

    fn respond(case: &Case) -> (String, Next) {
        let (mut response, mut out) = (Response::default(), Vec::new());
        response.status(version(case.asked), case.status.as_bytes(), &mut out).unwrap();
        for (name, value) in case.fields {
            response.field(name.as_bytes(), value.as_bytes(), &mut out).unwrap();
        }
        response.end_head(case.asked, case.length, DATE, &mut out);
        for piece in case.body {
            let take = response.data(piece.len(), &mut out);
            out.extend_from_slice(&piece.as_bytes()[..take]);
            response.data_end(&mut out);
        }
        let next = response.finish(&mut out);
        (String::from_utf8(out).unwrap(), next)
    }

    #[track_caller]
    fn check(case: &Case) {
        let (text, next) = respond(case);
        let (start, gets) = text.split_once("Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n").unwrap();
        let version = if case.asked.one_one { "HTTP/1.1" } else { "HTTP/1.0" };
        assert!(start.starts_with(&format!("{version} {}", &case.status[..3])), "{start}");
        assert_eq!((gets, next), (case.gets, case.next), "{start}");
    }

    macro_rules! case {
        (
            $asked:ident, $status:literal, [$($name:literal: $value:literal),*], $length:expr, [$($body:literal),*]
            => $gets:literal, $next:ident
        ) => {
            check(&Case {
                asked: $asked,
                status: $status,
                fields: &[$(($name, $value)),*],
                length: $length,
                body: &[$($body),*],
                gets: $gets,
                next: Next::$next,
            })
        };
    }

    #[test]
    fn the_length_is_known() {
        case!(ONE_ONE, "200 OK", [], Some(5), ["hel", "", "lo"] => "Content-Length: 5\r\n\r\nhello", KeepAlive);
        case!(ONE_ONE, "200 OK", [], Some(0), [] => "Content-Length: 0\r\n\r\n", KeepAlive);
        case!(LAST, "200 OK", [], Some(1), ["x"] => "Content-Length: 1\r\nConnection: close\r\n\r\nx", Close);
        case!(ONE_ZERO, "200 OK", [], Some(1), ["x"] => "Content-Length: 1\r\n\r\nx", Close);
        case!(ONE_ZERO_KEPT, "200 OK", [], Some(1), ["x"] =>
            "Content-Length: 1\r\nConnection: keep-alive\r\n\r\nx", KeepAlive);
        // The fields of the application stand in front of the date.
        case!(ONE_ONE, "200 OK", ["content-length": "5"], Some(5), ["hello"] => "\r\nhello", KeepAlive);
        case!(ONE_ONE, "200 OK", ["Content-Length": " 5 ", "Content-Length": "05"], None, ["hello"] =>
            "\r\nhello", KeepAlive);
    }

    #[test]
    fn bodies_are_cut_at_their_length() {
        case!(ONE_ONE, "200 OK", ["Content-Length": "3"], Some(5), ["hello"] => "\r\nhel", KeepAlive);
        case!(ONE_ONE, "200 OK", ["Content-Length": "3"], None, ["he", "llo", "!"] => "\r\nhel", KeepAlive);
        case!(ONE_ONE, "200 OK", ["Content-Length": "9"], None, ["hello"] => "\r\nhello", Close);
        case!(ONE_ONE, "200 OK", ["Content-Length": "9"], Some(5), ["hello"] => "\r\nhello", Close);
    }

    #[test]
    fn the_length_is_not_known() {
        case!(ONE_ONE, "200 OK", [], None, ["hello, wide world", "", "!"] =>
            "Transfer-Encoding: chunked\r\n\r\n11\r\nhello, wide world\r\n1\r\n!\r\n0\r\n\r\n", KeepAlive);
        case!(ONE_ONE, "200 OK", [], None, [] => "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", KeepAlive);
        case!(LAST, "200 OK", [], None, ["x"] =>
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\nx\r\n0\r\n\r\n", Close);
        case!(ONE_ZERO, "200 OK", [], None, ["hello"] => "\r\nhello", Close);
        case!(ONE_ZERO_KEPT, "200 OK", [], None, ["hello"] => "\r\nhello", Close);
    }

    #[test]
    fn some_responses_have_no_body() {
        case!(HEAD, "200 OK", [], None, ["hello"] => "\r\n", KeepAlive);
        case!(HEAD, "200 OK", [], Some(0), [] => "\r\n", KeepAlive);
        case!(HEAD, "200 OK", [], Some(5), ["hello"] => "Content-Length: 5\r\n\r\n", KeepAlive);
        case!(HEAD, "200 OK", ["Content-Length": "9"], Some(0), [] => "\r\n", KeepAlive);
        case!(ONE_ONE, "204 No Content", [], Some(5), ["hello"] => "\r\n", KeepAlive);
        case!(ONE_ONE, "204 No Content", ["Content-Length": "5"], None, ["hello"] => "\r\n", KeepAlive);
        case!(ONE_ZERO, "204 No Content", [], None, ["hello"] => "\r\n", Close);
        case!(ONE_ONE, "205 Reset Content", ["Content-Length": "5"], None, ["hello"] =>
            "Content-Length: 0\r\n\r\n", KeepAlive);
        case!(ONE_ONE, "304 Not Modified", [], Some(5), ["hello"] => "\r\n", KeepAlive);
        case!(ONE_ONE, "304 Not Modified", ["Content-Length": "5"], None, [] => "\r\n", KeepAlive);
        case!(HEAD, "205 Reset Content", [], None, [] => "Content-Length: 0\r\n\r\n", KeepAlive);
    }

    #[test]
    fn lengths_stay_where_they_are_allowed() {
        let head = |asked, status: &str| {
            let (mut response, mut out) = (Response::default(), Vec::new());
            response.status(version(asked), status.as_bytes(), &mut out).unwrap();
            response.field(b"Content-Length", b"9", &mut out).unwrap();
            response.end_head(asked, None, DATE, &mut out);
            String::from_utf8(out).unwrap().matches("Content-Length: 9\r\n").count()
        };
        assert_eq!(head(ONE_ONE, "304 Not Modified"), 1);
        assert_eq!(head(HEAD, "200 OK"), 1);
        assert_eq!(head(ONE_ONE, "204 No Content"), 0);
        assert_eq!(head(ONE_ONE, "205 Reset Content"), 0);
    }

    #[test]
    fn hop_by_hop_fields() {
        case!(ONE_ONE, "200 OK", ["Connection": "close"], Some(0), [] =>
            "Content-Length: 0\r\nConnection: close\r\n\r\n", Close);
        case!(ONE_ONE, "200 OK", ["connection": "foo , Close"], Some(0), [] =>
            "Content-Length: 0\r\nConnection: close\r\n\r\n", Close);
        case!(ONE_ONE, "200 OK", ["Connection": "keep-alive", "Keep-Alive": "timeout=5", "TE": "x",
            "Trailer": "y", "Trailers": "y", "Proxy-Connection": "close"], Some(0), [] =>
            "Content-Length: 0\r\n\r\n", KeepAlive);
        case!(LAST, "426 Upgrade Required", ["Upgrade": "websocket"], Some(0), [] =>
            "Content-Length: 0\r\nConnection: close, upgrade\r\n\r\n", Close);
        case!(ONE_ONE, "426 Upgrade Required", ["Upgrade": "websocket"], Some(0), [] =>
            "Content-Length: 0\r\nConnection: upgrade\r\n\r\n", KeepAlive);
        let mut response = Response::default();
        let chunked = response.field(b"transfer-encoding", b"chunked", &mut Vec::new());
        assert_eq!(chunked, Err(BadResponse::HopByHop));
    }

    #[test]
    fn the_server_may_close() {
        let (mut response, mut out) = (Response::default(), Vec::new());
        response.status(version(ONE_ONE), b"200 OK", &mut out).unwrap();
        response.end_head(LAST, Some(0), DATE, &mut out);
        assert_eq!(response.finish(&mut out), Next::Close);
        assert!(out.ends_with(b"Content-Length: 0\r\nConnection: close\r\n\r\n"));
    }

    #[test]
    fn statuses() {
        let line = |status: &[u8]| {
            let mut out = Vec::new();
            Response::default()
                .status(version(ONE_ZERO), status, &mut out)
                .map(|()| String::from_utf8_lossy(&out).into_owned())
        };
        for (status, gets) in [
            ("200 OK", "200 OK"),
            ("200 \u{fc}ber\tx", "200 \u{fc}ber\tx"),
            ("404", "404 Not Found"),
            ("404 ", "404 Not Found"),
            ("418 ", "418 I'm a teapot"),
            ("299", "299 Unknown"),
            ("999 Denied", "999 Denied"),
        ] {
            assert_eq!(line(status.as_bytes()), Ok(format!("HTTP/1.0 {gets}\r\n")), "{status}");
        }
        for status in [
            "",
            "20",
            "2000",
            "200OK",
            "20x OK",
            "+20 OK",
            " 200 OK",
            "100 Continue",
            "101",
            "000 x",
            "099 x",
            "200\tOK",
        ] {
            assert_eq!(line(status.as_bytes()), Err(BadResponse::Status), "{status}");
        }
        for status in ["200 O\rK", "200 O\nK", "200 \0", "200 OK\r\n", "200 \x7f"] {
            assert_eq!(line(status.as_bytes()), Err(BadResponse::Status), "{status:?}");
        }
    }

    #[test]
    fn fields_can_not_split_responses() {
        let field = |name: &[u8], value: &[u8]| {
            let mut out = Vec::new();
            Response::default().field(name, value, &mut out).map(|()| out)
        };
        assert_eq!(field(b"X-A", b"b\tc\xe9").unwrap(), b"X-A: b\tc\xe9\r\n");
        assert_eq!(field(b"Set-Cookie", b"").unwrap(), b"Set-Cookie: \r\n");
        for name in ["", "a b", "a:", "a\r\n", "\u{e9}", " a", "a\0"] {
            assert_eq!(field(name.as_bytes(), b"x"), Err(BadResponse::FieldName), "{name:?}");
        }
        for value in ["a\r\nb", "a\n", "\r", "\0", "\x1b[1m", "\x7f"] {
            assert_eq!(field(b"a", value.as_bytes()), Err(BadResponse::FieldValue), "{value:?}");
        }
        for value in ["", "x", "-1", "1.0", "5, 5", "99999999999999999999"] {
            assert_eq!(field(b"Content-Length", value.as_bytes()), Err(BadResponse::ContentLength), "{value:?}");
        }
        let mut response = Response::default();
        response.field(b"Content-Length", b"5", &mut Vec::new()).unwrap();
        assert_eq!(response.field(b"Content-Length", b"6", &mut Vec::new()), Err(BadResponse::ContentLength));
    }

    #[test]
    fn a_response_can_be_begun_anew() {
        let (mut response, mut out) = (Response::default(), Vec::new());
        response.status(version(ONE_ONE), b"204 No Content", &mut out).unwrap();
        for (name, value) in [("Date", "today"), ("Connection", "close"), ("Upgrade", "x"), ("Content-Length", "3")] {
            response.field(name.as_bytes(), value.as_bytes(), &mut out).unwrap();
        }
        out.clear();
        response.status(version(ONE_ONE), b"500", &mut out).unwrap();
        response.end_head(ONE_ONE, Some(1), DATE, &mut out);
        let head = String::from_utf8_lossy(&out);
        assert_eq!(
            head,
            "HTTP/1.1 500 Internal Server Error\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 1\r\n\r\n"
        );
    }

    #[test]
    fn sizes_are_hexadecimal() {
        for length in [1, 9, 10, 15, 16, 255, 256, 65_535, 1_048_576, usize::MAX] {
            let mut out = Vec::new();
            push_size(length, &mut out);
            assert_eq!(out, format!("{length:x}\r\n").into_bytes());
        }
    }
}
