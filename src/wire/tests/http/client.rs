//! A client and an engine without a socket: bytes go in in given pieces, and what was understood comes out.

use ruwsgi_wire::{Body, Exchange, Head, Key, Limits, Name, Next, Refusal, Vars, http};

/// A `Date` of RFC 9110 5.6.7.
pub const DATE: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

/// A request as the application would see it, body included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    pub method: String,
    pub target: String,
    pub protocol: String,
    /// All names and values.
    pub variables: Vec<u8>,
    pub body: Vec<u8>,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Between two requests.
    Idle,
    /// The server closed after a response.
    Closed,
    CutHead,
    CutBody,
    Refused(Refusal),
}

/// All that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub served: Vec<Served>,
    pub end: End,
}

impl Outcome {
    /// That another cut of the same bytes came to the same. HTTP/1.0 has no pipelining: what is seen behind such a
    /// request ends the connection, what comes after its response is the next request.
    #[track_caller]
    pub fn assert_same(&self, whole: &Self, place: &str) {
        let last = whole.served.len();
        let pipelined = whole.end == End::Closed && whole.served.last().is_some_and(|last| last.protocol == "HTTP/1.0");
        if pipelined && self.served.len() >= last {
            assert_eq!(self.served[..last], whole.served, "{place}");
        } else {
            assert_eq!(self, whole, "{place}");
        }
    }
}

/// Latin-1, as WSGI has it.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

struct Engine {
    exchange: Box<dyn Exchange>,
    vars: Vars,
    buffer: Vec<u8>,
    /// The body that is being read, and what there is of it.
    body: Option<(Body, Vec<u8>)>,
    served: Vec<Served>,
}

impl Engine {
    /// Does what can be done with the bytes that are there. Says how it ended, if it did.
    fn turn(&mut self) -> Option<End> {
        loop {
            let Some((body, data)) = &mut self.body else {
                match self.exchange.head(&self.buffer, &mut self.vars) {
                    Head::Partial { .. } => return None,
                    Head::Reply { .. } => panic!("HTTP is for the application"),
                    Head::Refused(refusal) => return Some(End::Refused(refusal)),
                    Head::Whole { bytes, body, .. } => {
                        self.buffer.drain(..bytes);
                        self.body = Some((body, Vec::new()));
                    }
                }
                continue;
            };
            let done = match body {
                Body::Empty => true,
                Body::Length(length) => {
                    let take = usize::try_from(*length - data.len() as u64).unwrap().min(self.buffer.len());
                    data.extend(self.buffer.drain(..take));
                    data.len() as u64 == *length
                }
                Body::Framed(decoder) => match decoder.decode(&self.buffer, data) {
                    Ok(step) => {
                        self.buffer.drain(..step.consumed);
                        assert!(step.done || self.buffer.is_empty(), "bytes were left");
                        step.done
                    }
                    Err(refusal) => return Some(End::Refused(refusal)),
                },
            };
            if !done {
                return None;
            }
            if self.serve() == Next::Close {
                return Some(End::Closed);
            }
        }
    }

    fn serve(&mut self) -> Next {
        let (_, body) = self.body.take().unwrap();
        let key = |key| latin1(self.vars.key(key).unwrap());
        let mut variables = Vec::with_capacity(self.vars.size() * 2);
        let keyed = self.vars.keyed().map(|(key, value)| (key.name().as_bytes(), value));
        let others = self.vars.others().map(|(name, value)| match name {
            Name::Cgi(name) | Name::Field(name) => (name, value),
        });
        for (name, value) in keyed.chain(others) {
            variables.extend_from_slice(name);
            variables.push(b'=');
            variables.extend_from_slice(value);
            variables.push(0);
        }
        self.served.push(Served {
            method: key(Key::RequestMethod),
            target: key(Key::RequestUri),
            protocol: key(Key::ServerProtocol),
            variables,
            body,
        });
        let mut out = Vec::new();
        self.exchange.status(b"200 OK", &mut out).unwrap();
        self.exchange.end_head(Some(0), DATE, false, &mut out);
        self.exchange.finish(&mut out)
    }
}

/// Holds a conversation with a client that sends `pieces` and then the end of file.
pub fn hold<'p>(limits: &Limits, pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    let mut engine = Engine {
        exchange: http::exchange(limits),
        vars: Vars::default(),
        buffer: Vec::new(),
        body: None,
        served: Vec::new(),
    };
    let mut end = None;
    for piece in pieces {
        engine.buffer.extend_from_slice(piece);
        end = engine.turn();
        if end.is_some() {
            break;
        }
    }
    let end = end.unwrap_or_else(|| match (&engine.body, engine.exchange.head(&engine.buffer, &mut engine.vars)) {
        (Some(_), _) => End::CutBody,
        (None, Head::Partial { begun: true }) => End::CutHead,
        (None, _) => End::Idle,
    });
    Outcome { served: engine.served, end }
}

/// Numbers that look random and are the same each time (xorshift64*).
pub struct Numbers(pub u64);

impl Numbers {
    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }
}
