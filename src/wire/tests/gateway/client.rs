//! A front end and an engine without a socket: bytes go in in given pieces, and what came of them comes out. The fuzz
//! targets of the front ends' protocols share it.

use ruwsgi_wire::{Body, Exchange, Head, Limits, Name, Next, PROTOCOLS, Refusal, Vars};

/// What came of a connection, one after the other; the last one is how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The end came between two requests: nothing was said.
    Nothing,
    /// It came in the middle of a head.
    CutHead,
    /// It came in the middle of a body.
    CutBody,
    /// The server answered by itself.
    Replied(Vec<u8>),
    /// Not served, and what was sent about it.
    Refused(Refusal, Vec<u8>),
    /// All names and values, in their order, and the body.
    Served(Vec<(String, Vec<u8>)>, Vec<u8>),
    /// It was closed behind the last one.
    Closed,
}

impl Outcome {
    /// Whether the application would run.
    pub fn is_served(&self) -> bool {
        matches!(self, Self::Served(..))
    }
}

struct Engine {
    protocol: &'static str,
    exchange: Box<dyn Exchange>,
    vars: Vars,
    buffer: Vec<u8>,
    /// What frames the body when the head is there, and what there is of it.
    body: Option<(Body, Vec<u8>)>,
    outcomes: Vec<Outcome>,
}

impl Engine {
    /// Does what can be done with the bytes that are there; whether that is the end of it.
    fn turn(&mut self) -> bool {
        loop {
            let next = match &self.body {
                None if self.buffer.is_empty() => return false,
                None => self.head(),
                Some(_) => self.take_body(),
            };
            match next {
                None => return false,
                Some(Next::KeepAlive) => {}
                Some(Next::Close) => return true,
            }
        }
    }

    /// `None`: more bytes are needed.
    fn head(&mut self) -> Option<Next> {
        match self.exchange.head(&self.buffer, &mut self.vars) {
            Head::Partial { begun } => {
                assert!(begun);
                None
            }
            Head::Reply { bytes, answer, next } => {
                assert!(bytes > 0);
                self.buffer.drain(..bytes);
                if !answer.is_empty() {
                    self.outcomes.push(Outcome::Replied(answer));
                }
                if next == Next::Close {
                    self.outcomes.push(Outcome::Closed);
                }
                Some(next)
            }
            Head::Refused(refusal) => Some(self.refuse(refusal)),
            Head::Whole { bytes, body, expects_continue } => {
                assert!(bytes <= self.buffer.len() && !expects_continue);
                self.buffer.drain(..bytes);
                self.body = Some((body, Vec::new()));
                Some(Next::KeepAlive)
            }
        }
    }

    fn take_body(&mut self) -> Option<Next> {
        let (body, data) = self.body.as_mut()?;
        let done = match body {
            Body::Empty => true,
            Body::Length(length) => {
                let missing = usize::try_from(*length).unwrap() - data.len();
                data.extend(self.buffer.drain(..missing.min(self.buffer.len())));
                data.len() as u64 == *length
            }
            Body::Framed(decoder) => match decoder.decode(&self.buffer, data) {
                Err(refusal) => return Some(self.refuse(refusal)),
                Ok(step) => {
                    self.buffer.drain(..step.consumed);
                    assert!(step.done || self.buffer.is_empty());
                    step.done
                }
            },
        };
        if !done {
            return None;
        }
        let (_, body) = self.body.take()?;
        let keyed = self.vars.keyed().map(|(key, value)| (key.name().to_owned(), value.to_vec()));
        let others = self.vars.others().map(|(name, value)| match name {
            Name::Cgi(name) => (latin1(name), value.to_vec()),
            Name::Field(_) => panic!("front ends send no header fields"),
        });
        let vars = keyed.chain(others).collect();
        self.outcomes.push(Outcome::Served(vars, body));
        Some(self.respond())
    }

    fn refuse(&mut self, refusal: Refusal) -> Next {
        let mut out = Vec::new();
        self.exchange.refuse(refusal, b"today", &mut out);
        let text = self.unframed(&out);
        let begin: &[u8] = if self.protocol == "uwsgi" { b"HTTP/" } else { b"Status: " };
        assert!(text.is_empty() || text.starts_with(begin), "{out:?}");
        self.outcomes.push(Outcome::Refused(refusal, out));
        Next::Close
    }

    /// Whatever the request was, the response is one.
    fn respond(&mut self) -> Next {
        let mut out = Vec::new();
        self.exchange.status(b"200 OK", &mut out).unwrap();
        self.exchange.end_head(None, b"today", false, &mut out);
        let next = self.exchange.finish(&mut out);
        let text = self.unframed(&out);
        if self.protocol == "uwsgi" {
            let version = text.strip_prefix(b"HTTP/").and_then(|rest| rest.strip_suffix(b" 200 OK\r\n\r\n")).unwrap();
            assert!(matches!(version, [b'0'..=b'9', b'.', b'0'..=b'9']), "{version:?}");
        } else {
            assert_eq!(text, b"Status: 200 OK\r\n\r\n");
        }
        if next == Next::Close {
            self.outcomes.push(Outcome::Closed);
        }
        next
    }

    /// What stands in the records of a FastCGI answer, of which the last one ends the request.
    fn unframed(&self, out: &[u8]) -> Vec<u8> {
        if self.protocol != "fastcgi" || out.is_empty() {
            return out.to_vec();
        }
        let all = records(out);
        let (last, others) = all.split_last().unwrap();
        assert_eq!((last.0, last.2.len()), (3, 8), "{all:?}");
        assert!(others.iter().all(|record| (record.0, record.1) == (6, last.1)), "{all:?}");
        others.iter().flat_map(|(_, _, content)| content.clone()).collect()
    }
}

/// The type, the id and the content of each record.
pub fn records(mut out: &[u8]) -> Vec<(u8, u16, Vec<u8>)> {
    let mut records = Vec::new();
    while let Some((&[1, kind, id1, id0, length1, length0, padding, _], rest)) = out.split_first_chunk() {
        let (content, rest) = rest.split_at(usize::from(u16::from_be_bytes([length1, length0])));
        records.push((kind, u16::from_be_bytes([id1, id0]), content.to_vec()));
        out = &rest[usize::from(padding)..];
    }
    assert!(out.is_empty(), "no record: {out:?}");
    records
}

/// As WSGI has it.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

/// What comes of a front end that sends `pieces` and then the end of file.
pub fn hold<'p>(protocol: &'static str, limits: &Limits, pieces: impl IntoIterator<Item = &'p [u8]>) -> Vec<Outcome> {
    let exchange = PROTOCOLS.iter().find(|known| known.name == protocol).unwrap().exchange;
    let (exchange, vars, outcomes) = (exchange(limits), Vars::default(), Vec::new());
    let mut engine = Engine { protocol, exchange, vars, buffer: Vec::new(), body: None, outcomes };
    for piece in pieces {
        engine.buffer.extend_from_slice(piece);
        if engine.turn() {
            return engine.outcomes;
        }
    }
    engine.outcomes.push(match (&engine.body, engine.buffer.is_empty()) {
        (Some(_), _) => Outcome::CutBody,
        (None, false) => Outcome::CutHead,
        (None, true) => Outcome::Nothing,
    });
    engine.outcomes
}
