//! Bytes to values and back: the protocols that reach a worker, without a socket and without a clock.
//!
//! The engine feeds bytes in and sends bytes out; what they mean is decided here. A protocol is one file, one row in
//! [`PROTOCOLS`], and an [`Exchange`] for each connection.

#![forbid(unsafe_code)]

use std::error::Error;
use std::fmt;

pub mod body;
mod cgi;
pub mod client;
pub mod fastcgi;
mod fronted;
pub mod http;
pub mod proxy;
pub mod refusal;
pub mod scgi;
pub mod subscription;
pub mod trust;
pub mod uwsgi;
pub mod vars;

pub use body::{Body, Decoder, Step};
pub use refusal::Refusal;
pub use vars::{Key, Name, Span, Vars};

/// What a listener's protocol is told once, for all its connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The longest request head, in bytes (`buffer-size`).
    pub head_bytes: usize,
    /// The most header fields in one head.
    pub fields: usize,
    /// Connections may carry more than one request (`http-keepalive`).
    pub keep_alive: bool,
    /// Fields with an underscore in their name reach the application (`underscore-headers`). Otherwise they are left
    /// out: `X_Real_IP` would be the same variable as `X-Real-IP`, which a proxy in front has cleaned.
    pub underscore_fields: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { head_bytes: 32 * 1024, fields: 256, keep_alive: true, underscore_fields: false }
    }
}

/// A protocol that a listener can speak.
pub struct Protocol {
    /// Its name in options, logs and statistics.
    pub name: &'static str,
    /// Starts the conversation of a new connection.
    pub exchange: fn(&Limits) -> Box<dyn Exchange>,
}

/// All protocols.
pub const PROTOCOLS: &[Protocol] = &[
    Protocol { name: "http", exchange: http::exchange },
    Protocol { name: "uwsgi", exchange: uwsgi::exchange },
    Protocol { name: "puwsgi", exchange: uwsgi::persistent_exchange },
    Protocol { name: "fastcgi", exchange: fastcgi::exchange },
    Protocol { name: "fastcgi-nph", exchange: fastcgi::nph_exchange },
    Protocol { name: "scgi", exchange: scgi::exchange },
    Protocol { name: "scgi-nph", exchange: scgi::nph_exchange },
];

/// What is known of a request head.
#[derive(Debug)]
pub enum Head {
    /// More bytes are needed. `begun`: part of a request is there (blank lines before one don't count), so an end of
    /// file now would cut it.
    Partial {
        /// Part of a request is there.
        begun: bool,
    },
    /// A whole head.
    Whole {
        /// How many bytes it took, from the start of the input.
        bytes: usize,
        /// How the body that follows is framed.
        body: Body,
        /// The client waits for `100 Continue` before it sends the body.
        expects_continue: bool,
    },
    /// Something for the server, not for the application: `bytes` of the input are done with, and `answer`, which may
    /// be empty, goes to the client. What was understood of a request around them is remembered.
    Reply {
        /// How many bytes it took, from the start of the input.
        bytes: usize,
        /// What to answer.
        answer: Vec<u8>,
        /// Whether the conversation goes on.
        next: Next,
    },
    /// Not to be served: answer with [`Exchange::refuse`], then close.
    Refused(Refusal),
}

/// How the bytes of a response body may go out, once the head is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The connection can carry another request.
    KeepAlive,
    /// The connection must be closed so that the client can tell the end, or because somebody asked for it.
    Close,
}

/// Why a response of the application can't be sent as it is (it is the application's error, raised there).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadResponse {
    /// The status is not three digits, a space and a reason without control characters.
    Status,
    /// A field name is not a token.
    FieldName,
    /// A field value holds a control character other than tab: CR, LF, NUL ...
    FieldValue,
    /// A hop-by-hop field that only the server may send (PEP 3333).
    HopByHop,
    /// `Content-Length` is no number or was given twice with different values.
    ContentLength,
}

impl fmt::Display for BadResponse {
    /// What is wrong, to stand behind the text that is: `"200 OK\n": ...`.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match self {
            Self::Status => {
                "the status is not three digits from 200 on, a space and a reason without control characters"
            }
            Self::FieldName => "the field name is not a token",
            Self::FieldValue => "the field value holds a control character",
            Self::HopByHop => "only the server may send this hop-by-hop field",
            Self::ContentLength => "Content-Length is not a number, or differs from the one before",
        })
    }
}

impl Error for BadResponse {}

/// The conversation on one connection: any number of requests, one after the other.
///
/// For each: [`head`](Self::head) until it is whole, the body by its [`Decoder`], then
/// [`status`](Self::status), [`field`](Self::field) for each field, [`end_head`](Self::end_head), [`data`](Self::data)
/// for each piece of body, [`finish`](Self::finish). All `out` parameters are appended to.
pub trait Exchange: Send {
    /// Looks for a request head at the start of `input`. `vars` is cleared, and filled when the head is whole. May be
    /// called again with the same bytes and more behind them.
    fn head(&mut self, input: &[u8], vars: &mut Vars) -> Head;

    /// Whether a front end speaks for the client: `REMOTE_ADDR` and its kin are its word, and where it says nothing,
    /// nothing is known. Otherwise the client is whoever is connected.
    fn is_fronted(&self) -> bool {
        false
    }

    /// Who the client is and where it has connected to, where a load balancer has said so.
    fn origin(&self) -> Option<proxy::Origin> {
        None
    }

    /// Whether the bytes of a request are all that another exchange needs to go on with the connection.
    fn is_portable(&self) -> bool {
        true
    }

    /// What kind of packet the last head was, in the uwsgi protocol; other protocols have no kinds.
    fn modifiers(&self) -> (u8, u8) {
        (0, 0)
    }

    /// Tells the client to go on with its body.
    fn proceed(&mut self, out: &mut Vec<u8>);

    /// Begins a response. `status` is `200 OK`.
    fn status(&mut self, status: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse>;

    /// Adds one field. After an error the response is to be given up: truncate `out` and begin again.
    fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse>;

    /// Ends the head. `length`: the size of the whole body in bytes where it is known, `date`: the value of a `Date`
    /// field (29 bytes), `close`: the server wants this to be the last response of the connection.
    fn end_head(&mut self, length: Option<u64>, date: &[u8], close: bool, out: &mut Vec<u8>);

    /// Announces `length` bytes of body: appends what goes before them, and says how many of them may be sent (fewer
    /// when the response would become longer than its `Content-Length`, none for HEAD, 204 and 304). Of more than
    /// [`records`](Self::records) allows, only the first piece has something before it.
    fn data(&mut self, length: usize, out: &mut Vec<u8>) -> usize;

    /// Appends what goes behind the bytes announced by the last [`data`](Self::data).
    fn data_end(&mut self, out: &mut Vec<u8>);

    /// How a long body is cut, where the protocol has a longest piece.
    fn records(&self) -> Option<fastcgi::Records> {
        None
    }

    /// Ends the response and makes ready for the next request. `Close` also when the body was shorter than announced.
    fn finish(&mut self, out: &mut Vec<u8>) -> Next;

    /// A whole response for a request that is not served; the connection is to be closed after it. Appends nothing
    /// where the protocol has no such answer.
    fn refuse(&mut self, refusal: Refusal, date: &[u8], out: &mut Vec<u8>);

    /// What a client gets whose request is past its deadline, from a thread that may not touch the conversation.
    fn late(&self) -> &'static [u8] {
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Type: text/plain\r\nContent-Length: 20\r\nConnection: close\r\n\r\n\
          504 Gateway Timeout\n"
    }
}
