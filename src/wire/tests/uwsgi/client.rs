//! A front end and an engine without a socket: bytes go in in given pieces, and what came of them comes out. The fuzz
//! target `uwsgi_packet` shares it.

use ruwsgi_wire::{Body, Exchange, Head, Limits, Name, Next, Refusal, Vars, uwsgi};

/// What came of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The end came between two requests: nothing was said.
    Nothing,
    /// It came in the middle of a packet.
    CutHead,
    /// It came in the middle of a body.
    CutBody,
    /// The server answered by itself.
    Replied(Vec<u8>),
    /// Not served, and what was sent about it.
    Refused(Refusal, Vec<u8>),
    /// All names and values, in their order, and the body.
    Served(Vec<(String, Vec<u8>)>, Vec<u8>),
}

impl Outcome {
    /// Whether the application would run.
    pub fn is_served(&self) -> bool {
        matches!(self, Self::Served(..))
    }
}

struct Engine {
    exchange: Box<dyn Exchange>,
    vars: Vars,
    buffer: Vec<u8>,
    /// The length of the head and of the body, when the head is there.
    head: Option<(usize, usize)>,
}

impl Engine {
    /// What comes of the bytes that are there, if they are enough.
    fn turn(&mut self) -> Option<Outcome> {
        if self.head.is_none() {
            match self.exchange.head(&self.buffer, &mut self.vars) {
                Head::Partial { begun } => {
                    assert_eq!(begun, !self.buffer.is_empty());
                    return None;
                }
                Head::Reply(bytes) => return Some(Outcome::Replied(bytes.to_vec())),
                Head::Refused(refusal) => return Some(self.refuse(refusal)),
                Head::Whole { bytes, body, expects_continue } => {
                    assert!(bytes <= self.buffer.len() && !expects_continue);
                    let length = match body {
                        Body::Empty => 0,
                        Body::Length(length) => usize::try_from(length).unwrap(),
                        Body::Framed(_) => panic!("uwsgi frames no bodies"),
                    };
                    self.head = Some((bytes, length));
                }
            }
        }
        let (head, length) = self.head?;
        let body = self.buffer[head..].get(..length)?.to_vec();
        let keyed = self.vars.keyed().map(|(key, value)| (key.name().to_owned(), value.to_vec()));
        let others = self.vars.others().map(|(name, value)| match name {
            Name::Cgi(name) => (latin1(name), value.to_vec()),
            Name::Field(_) => panic!("uwsgi has no header fields"),
        });
        let vars = keyed.chain(others).collect();
        self.respond();
        Some(Outcome::Served(vars, body))
    }

    fn refuse(&mut self, refusal: Refusal) -> Outcome {
        assert_eq!((self.vars.count(), self.vars.dropped().count()), (0, 0));
        let mut out = Vec::new();
        self.exchange.refuse(refusal, b"today", &mut out);
        assert!(out.is_empty() || out.starts_with(b"HTTP/1.0 "));
        Outcome::Refused(refusal, out)
    }

    /// Whatever the request was, the response is one of HTTP.
    fn respond(&mut self) {
        let mut out = Vec::new();
        self.exchange.status(b"200 OK", &mut out).unwrap();
        self.exchange.end_head(None, b"today", false, &mut out);
        assert_eq!(self.exchange.finish(&mut out), Next::Close);
        let version = out.strip_prefix(b"HTTP/").and_then(|rest| rest.strip_suffix(b" 200 OK\r\n\r\n")).unwrap();
        assert!(matches!(version, [b'0'..=b'9', b'.', b'0'..=b'9']), "{version:?}");
    }
}

/// As WSGI has it.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// What comes of a front end that sends `pieces` and then the end of file.
pub fn hold<'p>(limits: &Limits, pieces: impl IntoIterator<Item = &'p [u8]>) -> Outcome {
    let exchange = uwsgi::exchange(limits);
    let mut engine = Engine { exchange, vars: Vars::default(), buffer: Vec::new(), head: None };
    for piece in pieces {
        engine.buffer.extend_from_slice(piece);
        if let Some(outcome) = engine.turn() {
            return outcome;
        }
    }
    match (engine.head, engine.buffer.is_empty()) {
        (Some(_), _) => Outcome::CutBody,
        (None, false) => Outcome::CutHead,
        (None, true) => Outcome::Nothing,
    }
}
