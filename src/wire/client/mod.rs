//! The other side of the protocols: how a server is asked, and what its answer says, without a socket.
//!
//! Used by `ruwsgi curl`, and by whatever passes requests on. A request is what a front end knows: CGI variables
//! (RFC 3875) and a body. [`Client::ask`] makes bytes of the variables, [`Client::body`] and [`Client::body_end`] of the
//! body; what the server sends goes into [`Client::hear`] and [`Client::hear_end`], however it is cut.

mod answer;
mod fastcgi;
mod forward;
mod http;
mod scgi;
mod uwsgi;

use std::error::Error;
use std::fmt;

use self::answer::Answer;
pub use self::answer::Head;
use self::fastcgi::Records;
pub use self::forward::Passed;

/// A protocol in which a server can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// HTTP/1.1
    Http,
    /// The uwsgi protocol.
    Uwsgi,
    /// The same, one packet after the other on a connection (`puwsgi-socket`).
    PersistentUwsgi,
    /// FastCGI 1.0
    FastCgi,
    /// SCGI
    Scgi,
}

impl Dialect {
    /// Whether a server that speaks it may leave the connection open for another request.
    #[must_use]
    pub fn keeps(self) -> bool {
        matches!(self, Self::Http | Self::FastCgi | Self::PersistentUwsgi)
    }
}

/// A variable: name and value.
pub type Var<'v> = (&'v [u8], &'v [u8]);

/// What a server has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The head of the answer.
    Head {
        /// 200
        status: u16,
        /// The bytes of it.
        raw: Vec<u8>,
    },
    /// Part of its body.
    Data(Vec<u8>),
    /// What the application has written for the log of the front end (FastCGI).
    Log(Vec<u8>),
    /// The answer is whole. `reusable`: the connection can be asked again.
    End {
        /// The connection can be asked again.
        reusable: bool,
    },
}

/// What a server says, as it comes by.
#[derive(Debug)]
pub enum Said<'s> {
    /// The head of the answer.
    Head(Head<'s>),
    /// Part of its body.
    Data(&'s [u8]),
    /// What the application has written for the log of the front end (FastCGI).
    Log(&'s [u8]),
    /// The answer is whole. `reusable`: the connection can be asked again.
    End {
        /// The connection can be asked again.
        reusable: bool,
    },
}

impl From<Said<'_>> for Heard {
    fn from(said: Said<'_>) -> Self {
        match said {
            Said::Head(head) => Self::Head { status: head.status, raw: head.raw.to_vec() },
            Said::Data(data) => Self::Data(data.to_vec()),
            Said::Log(text) => Self::Log(text.to_vec()),
            Said::End { reusable } => Self::End { reusable },
        }
    }
}

/// Why a request can't be asked in a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unaskable {
    /// The variables are larger than the protocol can say.
    TooLarge,
    /// The protocol can't say a body of unknown length.
    NoLength,
    /// A name or value holds a byte that would end it.
    Byte,
}

impl fmt::Display for Unaskable {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::TooLarge => "the variables are larger than the protocol can say",
            Self::NoLength => "the protocol needs to know the length of the body",
            Self::Byte => "a name or value holds a byte that would end it",
        })
    }
}

impl Error for Unaskable {}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadAnswer {
    /// It breaks the protocol; the text says how.
    Malformed(&'static str),
    /// It ended before it was whole.
    Cut,
    /// Nothing came at all.
    Empty,
}

impl fmt::Display for BadAnswer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Malformed(how) => how,
            Self::Cut => "the answer ends before it is whole",
            Self::Empty => "the server closes without an answer",
        })
    }
}

impl Error for BadAnswer {}

/// The longest head of an answer, in bytes.
const HEAD_BYTES: usize = 64 * 1024;

/// One connection to a server, one request after the other.
#[derive(Debug)]
pub struct Client {
    dialect: Dialect,
    /// The body is sent in chunks.
    chunked: bool,
    answer: Answer,
    records: Records,
}

impl Client {
    /// On a new connection.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, chunked: false, answer: Answer::new(dialect), records: Records::default() }
    }

    /// Appends what begins a request. `length`: of the body that follows; `None`: nobody knows. With FastCGI the
    /// server is asked to keep the connection.
    pub fn ask(&mut self, vars: &[Var<'_>], length: Option<u64>, out: &mut Vec<u8>) -> Result<(), Unaskable> {
        let is_head = vars.iter().any(|(name, value)| *name == b"REQUEST_METHOD" && *value == b"HEAD");
        self.answer.begin(is_head);
        self.chunked = false;
        match self.dialect {
            Dialect::Http => {
                self.chunked = length.is_none();
                http::push(vars, length, out)
            }
            Dialect::Uwsgi | Dialect::PersistentUwsgi => uwsgi::push(vars, length, out),
            Dialect::FastCgi => fastcgi::push(vars, length, out),
            Dialect::Scgi => scgi::push(vars, length, out),
        }
    }

    /// Appends a piece of the body, framed.
    pub fn body(&self, piece: &[u8], out: &mut Vec<u8>) {
        match self.dialect {
            Dialect::FastCgi => fastcgi::push_body(piece, out),
            Dialect::Http if self.chunked => http::push_chunk(piece, out),
            _ => out.extend_from_slice(piece),
        }
    }

    /// Appends the end of the body; also where there is none.
    pub fn body_end(&self, out: &mut Vec<u8>) {
        match self.dialect {
            Dialect::FastCgi => fastcgi::push_end(out),
            Dialect::Http if self.chunked => out.extend_from_slice(b"0\r\n\r\n"),
            _ => {}
        }
    }

    /// Takes what the server has sent, and says what it means.
    pub fn hear(&mut self, input: &[u8], heard: &mut Vec<Heard>) -> Result<(), BadAnswer> {
        self.listen(input, &mut |said| heard.push(said.into()))
    }

    /// The same, without a copy of what is passed on anyway.
    pub fn listen(&mut self, input: &[u8], tell: &mut dyn FnMut(Said<'_>)) -> Result<(), BadAnswer> {
        if self.dialect != Dialect::FastCgi {
            return self.answer.take(input, tell);
        }
        let mut out = Vec::new();
        let ended = self.records.take(input, &mut out, tell)?;
        self.answer.take(&out, tell)?;
        if ended { self.answer.end(true, tell) } else { Ok(()) }
    }

    /// The server has closed: that is the end of an answer that has no other.
    pub fn hear_end(&mut self, heard: &mut Vec<Heard>) -> Result<(), BadAnswer> {
        self.listen_end(&mut |said| heard.push(said.into()))
    }

    /// The same.
    pub fn listen_end(&mut self, tell: &mut dyn FnMut(Said<'_>)) -> Result<(), BadAnswer> {
        if self.dialect == Dialect::FastCgi && !self.answer.is_over() {
            return Err(if self.records.is_fresh() { BadAnswer::Empty } else { BadAnswer::Cut });
        }
        self.answer.end(false, tell)
    }

    /// In which protocol it asks.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }
}

/// The text of a variable, empty where it is not there.
fn var<'v>(vars: &[Var<'v>], name: &str) -> &'v [u8] {
    vars.iter().rfind(|(known, _)| *known == name.as_bytes()).map_or(b"", |(_, value)| value)
}

/// The variables that are sent, beside that of the length: it is said once, and by who knows it.
fn others<'v>(vars: &'v [Var<'v>]) -> impl Iterator<Item = Var<'v>> {
    vars.iter().copied().filter(|(name, _)| *name != b"CONTENT_LENGTH")
}

#[cfg(test)]
mod tests;
