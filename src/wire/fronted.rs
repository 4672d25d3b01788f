//! The answer to a front end: what the application says and nothing more, since the front end frames it for the client.
//!
//! Shared by the protocols of front ends (`uwsgi`, `fastcgi`, `scgi`), which put it into their own framing, if they
//! have one. It begins with a status line of HTTP, or with a `Status` field as CGI has it (RFC 3875 6).

use crate::http::{self, Asked, Response};
use crate::{BadResponse, Exchange, Head, Key, Next, Refusal, Vars};

/// What a response says where the request has not said its protocol, as uWSGI does.
const PROTOCOL: [u8; 8] = *b"HTTP/1.0";

/// How an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// `HTTP/1.1 200 OK`, with the version of the request.
    StatusLine,
    /// `Status: 200 OK`
    StatusField,
}

impl Begin {
    /// The whole answer to a request that is past its deadline.
    pub(crate) fn late(self) -> &'static [u8] {
        match self {
            Self::StatusLine => {
                b"HTTP/1.1 504 Gateway Timeout\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n504 Gateway Timeout\n"
            }
            Self::StatusField => {
                b"Status: 504 Gateway Timeout\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n504 Gateway Timeout\n"
            }
        }
    }
}

/// The answers of one connection, one after the other.
pub(crate) struct Answer {
    begin: Begin,
    /// `None`: nothing that could be answered was asked.
    asked: Option<Asked>,
    /// `SERVER_PROTOCOL`
    protocol: [u8; 8],
    response: Response,
}

impl Answer {
    pub(crate) fn new(begin: Begin) -> Self {
        Self { begin, asked: None, protocol: PROTOCOL, response: Response::default() }
    }

    pub(crate) fn begin(&self) -> Begin {
        self.begin
    }

    /// Nothing is asked.
    pub(crate) fn forget(&mut self) {
        (self.asked, self.protocol) = (None, PROTOCOL);
    }

    /// Something is asked: it could be answered, whatever it turns out to be.
    pub(crate) fn expect(&mut self) {
        self.asked = Some(Asked::default());
        self.protocol = PROTOCOL;
    }

    /// This is asked. `keep_alive`: the front end can go on using the connection.
    pub(crate) fn ask(&mut self, vars: &Vars, keep_alive: bool) {
        let head = vars.key(Key::RequestMethod) == Some(b"HEAD");
        self.asked = Some(Asked { head, keep_alive, ..Asked::default() });
        self.protocol = protocol(vars.key(Key::ServerProtocol));
    }

    fn asked(&self) -> Asked {
        self.asked.unwrap_or_default()
    }

    fn push_begin(&self, out: &mut Vec<u8>) {
        match self.begin {
            Begin::StatusLine => {
                out.extend_from_slice(&self.protocol);
                out.push(b' ');
            }
            Begin::StatusField => out.extend_from_slice(b"Status: "),
        }
    }

    pub(crate) fn status(&mut self, status: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        match self.begin {
            Begin::StatusLine => {
                let [a, b, c, d, e, f, g, h] = self.protocol;
                self.response.status(&[a, b, c, d, e, f, g, h, b' '], status, out)
            }
            Begin::StatusField => self.response.status(b"Status: ", status, out),
        }
    }

    pub(crate) fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        let start = out.len();
        self.response.field(name, value, out)?;
        if self.begin == Begin::StatusField && name.eq_ignore_ascii_case(b"Status") {
            // It would be taken for the status, which is said already.
            out.truncate(start);
        }
        Ok(())
    }

    /// The front end adds what its client needs: nothing is added here, and the length of the body is the
    /// application's to tell.
    pub(crate) fn end_head(&mut self, close: bool, out: &mut Vec<u8>) {
        let asked = self.asked();
        self.response.end_fronted_head(Asked { keep_alive: asked.keep_alive && !close, ..asked }, out);
    }

    pub(crate) fn data(&mut self, length: usize, out: &mut Vec<u8>) -> usize {
        self.response.data(length, out)
    }

    /// The body is not as long as its `Content-Length`.
    pub(crate) fn is_short(&self) -> bool {
        self.response.is_short()
    }

    /// Ends the response. `KeepAlive` where the front end can tell its end by its length.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) -> Next {
        self.asked = None;
        self.response.finish(out)
    }

    /// A whole response for a request that is not served. Appends nothing where nothing was asked.
    pub(crate) fn refuse(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        self.response = Response::default();
        let Some(asked) = self.asked.take() else { return };
        let status = refusal.status();
        self.push_begin(out);
        out.extend_from_slice(status.as_bytes());
        out.extend_from_slice(b"\r\n");
        http::push_field(b"Content-Type", b"text/plain", out);
        http::push_length(status.len() as u64 + 1, out);
        if let Some(seconds) = refusal.retry_after() {
            http::push_field(b"Retry-After", seconds.as_bytes(), out);
        }
        out.extend_from_slice(b"\r\n");
        if !asked.head {
            out.extend_from_slice(status.as_bytes());
            out.push(b'\n');
        }
    }
}

/// A protocol that passes the bytes of an answer on as they are: all that is its own is how a request reads.
pub(crate) trait Heads: Send {
    /// As [`Exchange::head`]; `answer`, in which nothing is asked yet, hears what is.
    fn head(&mut self, input: &[u8], vars: &mut Vars, answer: &mut Answer) -> Head;

    /// As [`Exchange::modifiers`].
    fn modifiers(&self) -> (u8, u8) {
        (0, 0)
    }
}

/// One connection of such a protocol.
pub(crate) struct Fronted<H> {
    heads: H,
    answer: Answer,
}

impl<H: Heads> Fronted<H> {
    pub(crate) fn new(heads: H, begin: Begin) -> Self {
        Self { heads, answer: Answer::new(begin) }
    }
}

impl<H: Heads> Exchange for Fronted<H> {
    fn head(&mut self, input: &[u8], vars: &mut Vars) -> Head {
        vars.clear();
        self.answer.forget();
        let head = self.heads.head(input, vars, &mut self.answer);
        if matches!(head, Head::Refused(_)) {
            vars.clear();
        }
        head
    }

    fn is_fronted(&self) -> bool {
        true
    }

    fn modifiers(&self) -> (u8, u8) {
        self.heads.modifiers()
    }

    /// A front end asks its client for the body when it likes.
    fn proceed(&mut self, _: &mut Vec<u8>) {}

    fn status(&mut self, status: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.answer.status(status, out)
    }

    fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.answer.field(name, value, out)
    }

    fn end_head(&mut self, _: Option<u64>, _: &[u8], close: bool, out: &mut Vec<u8>) {
        self.answer.end_head(close, out);
    }

    fn data(&mut self, length: usize, out: &mut Vec<u8>) -> usize {
        self.answer.data(length, out)
    }

    fn data_end(&mut self, _: &mut Vec<u8>) {}

    fn finish(&mut self, out: &mut Vec<u8>) -> Next {
        self.answer.finish(out)
    }

    fn refuse(&mut self, refusal: Refusal, _: &[u8], out: &mut Vec<u8>) {
        self.answer.refuse(refusal, out);
    }

    fn late(&self) -> &'static [u8] {
        self.answer.begin().late()
    }
}

/// The protocol that the response is to begin with: the request's, whatever its version (nginx: `HTTP/2.0`).
fn protocol(said: Option<&[u8]>) -> [u8; 8] {
    let said: Option<[u8; 8]> = said.and_then(|said| said.try_into().ok());
    match said {
        Some(said @ [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']) => said,
        _ => PROTOCOL,
    }
}
