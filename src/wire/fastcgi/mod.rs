//! FastCGI 1.0 as a responder speaks it, for [`crate::PROTOCOLS`].
//!
//! All that goes over a connection is records. A request is `BEGIN_REQUEST`, the stream of its variables (`PARAMS`) and
//! the stream of its body (`STDIN`); the answer is the stream `STDOUT`, a response as CGI has it, and `END_REQUEST`. With
//! `KEEP_CONN` the connection goes on. One request at a time: another one is told `CANT_MPX_CONN`, and what belongs to no
//! open request is passed over.
//!
//! The engine drives [`FastCgi`] through [`Exchange`]. What variables must be like is `cgi`'s business.

pub(crate) mod record;
mod stdin;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use self::record::{Ended, HEADER, Header, Kind};
pub use self::stdin::Stdin;
use crate::fronted::{Answer, Begin};
use crate::{BadResponse, Body, Decoder, Exchange, Head, Key, Limits, Next, Refusal, Vars, cgi};

/// What records and their padding may need beside the variables themselves, in bytes, before that is a flood.
const OVERHEAD: usize = 128 * 1024;

/// Starts the conversation of a new connection.
#[must_use]
pub fn exchange(limits: &Limits) -> Box<dyn Exchange> {
    new(limits, Begin::StatusField)
}

/// The same; answers begin with a status line of HTTP (`fastcgi-nph-socket`).
#[must_use]
pub fn nph_exchange(limits: &Limits) -> Box<dyn Exchange> {
    new(limits, Begin::StatusLine)
}

fn new(limits: &Limits, begin: Begin) -> Box<dyn Exchange> {
    Box::new(FastCgi {
        limits: limits.clone(),
        answer: Answer::new(begin),
        open: None,
        at: 0,
        parts: Vec::new(),
        params: 0,
        saved: Vec::new(),
        pieced: false,
        head_at: 0,
        close: false,
    })
}

/// How a long body is cut into records of `STDOUT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Records {
    id: u16,
}

impl Records {
    /// The longest piece, in bytes.
    pub const MOST: usize = record::MOST;
    /// How long what stands before a piece is, in bytes.
    pub const HEADER: usize = HEADER;

    /// What stands before a piece of so many bytes, at most [`MOST`](Self::MOST).
    #[must_use]
    pub fn header(self, length: usize) -> [u8; HEADER] {
        record::header(record::STDOUT, self.id, length.min(Self::MOST) as u16)
    }
}

/// The request that is open.
#[derive(Clone, Copy)]
struct Open {
    id: u16,
    /// The connection goes on when it is over.
    keep: bool,
}

/// One connection.
struct FastCgi {
    limits: Limits,
    answer: Answer,
    open: Option<Open>,
    /// Where the next record begins: all before it is understood.
    at: usize,
    /// Where in the input the contents of `PARAMS` are.
    parts: Vec<Range<usize>>,
    /// How many bytes of variables there are in all.
    params: usize,
    /// Those that were in the input before something else was answered.
    saved: Vec<u8>,
    /// Part of the request was in bytes that are done with.
    pieced: bool,
    /// Where the response begins in the output.
    head_at: usize,
    /// The server wants to close after this response.
    close: bool,
}

/// What a record leads to.
enum Found {
    /// The next record is to be looked at.
    On,
    /// It is done with, and this is the answer to it.
    Said(Vec<u8>),
    /// The request is over before it was whole.
    Over(u16, Next),
    /// All variables are there.
    Params,
}

impl FastCgi {
    fn id(&self) -> u16 {
        self.open.map_or(0, |open| open.id)
    }

    /// Nothing of a request is here any more.
    fn close_request(&mut self) {
        self.open = None;
        self.rewind();
        self.saved.clear();
        self.params = 0;
        self.pieced = false;
    }

    /// What was looked at of the input is done with.
    fn rewind(&mut self) {
        self.at = 0;
        self.parts.clear();
    }

    /// What a whole record means; `content` is where its content is in the input.
    fn look(&mut self, header: Header, content: Range<usize>, input: &[u8]) -> Result<Found, Refusal> {
        let bytes = &input[content.clone()];
        let ours = self.open.is_some_and(|open| open.id == header.id);
        match header.kind {
            Kind::BeginRequest if ours => malformed("a FastCGI request begins twice"),
            Kind::BeginRequest => self.begin(header.id, bytes),
            Kind::Params if ours && bytes.is_empty() => Ok(Found::Params),
            Kind::Params if ours => {
                self.params += bytes.len();
                self.parts.push(content);
                Ok(Found::On)
            }
            Kind::AbortRequest if ours => {
                let next = if self.open.is_some_and(|open| open.keep) { Next::KeepAlive } else { Next::Close };
                Ok(Found::Over(header.id, next))
            }
            Kind::Stdin if ours => malformed("STDIN begins before PARAMS ends"),
            Kind::EndRequest | Kind::Stdout if ours => malformed("a FastCGI record that only applications send"),
            Kind::GetValues if header.id == 0 => values(bytes).map(Found::Said),
            Kind::Other(number) if header.id == 0 => {
                let mut answer = record::header(record::UNKNOWN_TYPE, 0, 8).to_vec();
                answer.extend_from_slice(&[number, 0, 0, 0, 0, 0, 0, 0]);
                Ok(Found::Said(answer))
            }
            _ => Ok(Found::Said(Vec::new())),
        }
    }

    fn begin(&mut self, id: u16, bytes: &[u8]) -> Result<Found, Refusal> {
        let Ok(&[role1, role0, flags, ..]) = <&[u8; 8]>::try_from(bytes) else {
            return malformed("the content of BEGIN_REQUEST is not 8 bytes long");
        };
        if id == 0 {
            return malformed("a FastCGI request with the id 0");
        }
        if self.open.is_some() {
            let mut answer = Vec::new();
            record::push_end(id, Ended::CantMultiplex, &mut answer);
            return Ok(Found::Said(answer));
        }
        self.open = Some(Open { id, keep: flags & record::KEEP_CONN != 0 });
        self.answer.expect();
        match u16::from_be_bytes([role1, role0]) {
            record::RESPONDER => Ok(Found::On),
            role => Err(Refusal::Role(role)),
        }
    }

    /// Goes through the records that are there. `None`: more are needed.
    fn scan(&mut self, input: &[u8], vars: &mut Vars) -> Result<Option<Head>, Refusal> {
        loop {
            let Some((&header, _)) = input.get(self.at..).and_then(<[u8]>::split_first_chunk) else { return Ok(None) };
            let header = Header::read(header).map_err(|()| self.foreign(input))?;
            let is_params = header.kind == Kind::Params && self.open.is_some_and(|open| open.id == header.id);
            if is_params && self.params + usize::from(header.length) > self.limits.head_bytes
                || self.at > 4 * self.limits.head_bytes + OVERHEAD
            {
                return Err(Refusal::HeadTooLarge);
            }
            let start = self.at + HEADER;
            let end = start + header.rest();
            if input.len() < end {
                return Ok(None);
            }
            let found = self.look(header, start..start + usize::from(header.length), input)?;
            let head = match found {
                Found::On => {
                    self.at = end;
                    continue;
                }
                Found::Said(answer) => {
                    self.save(input);
                    self.pieced = self.open.is_some();
                    Head::Reply { bytes: end, answer, next: Next::KeepAlive }
                }
                Found::Over(id, next) => {
                    self.close_request();
                    let mut answer = Vec::new();
                    record::push_end(id, Ended::Complete, &mut answer);
                    Head::Reply { bytes: end, answer, next }
                }
                Found::Params => self.whole(end, input, vars)?,
            };
            self.rewind();
            return Ok(Some(head));
        }
    }

    /// Keeps the variables of which the input is done with.
    fn save(&mut self, input: &[u8]) {
        for part in self.parts.drain(..) {
            self.saved.extend_from_slice(&input[part]);
        }
    }

    /// All variables are there, and the body begins at `end`.
    fn whole(&mut self, end: usize, input: &[u8], vars: &mut Vars) -> Result<Head, Refusal> {
        let block = match &*self.parts {
            [part] if self.saved.is_empty() => Cow::Borrowed(&input[part.clone()]),
            _ => {
                self.save(input);
                Cow::Owned(std::mem::take(&mut self.saved))
            }
        };
        self.params = 0;
        let whole = vars.add(&block);
        let mut reader = cgi::Reader::new(vars, self.limits.fields);
        let mut at = 0;
        while at < block.len() {
            let Some((name, value)) = record::pair(&block, &mut at) else {
                return malformed("a length in PARAMS points behind its end");
            };
            reader.take(Vars::part(whole, name), Vars::part(whole, value))?;
        }
        let body = reader.finish()?;
        self.answer.ask(vars, self.open.is_some_and(|open| open.keep));
        // Nearly always this is here: no decoder is needed to find nothing.
        let nothing = record::header(record::STDIN, self.id(), 0);
        if matches!(body, Body::Empty) && input[end..].starts_with(&nothing) {
            return Ok(Head::Whole { bytes: end + HEADER, body, expects_continue: false });
        }
        let said = vars.key(Key::ContentLength).is_some_and(|text| !text.is_empty());
        let length = match body {
            Body::Length(length) => Some(length),
            _ => said.then_some(0),
        };
        let body = Body::Framed(Decoder::Stdin(Stdin::new(self.id(), length)));
        Ok(Head::Whole { bytes: end, body, expects_continue: false })
    }

    /// Why something that is no record is refused: at the start it mostly is another protocol.
    fn foreign(&mut self, input: &[u8]) -> Refusal {
        // Nobody knows what the bytes mean.
        self.answer.forget();
        Refusal::Malformed(match input[0] {
            b'A'..=b'Z' if self.at == 0 && self.open.is_none() => {
                "HTTP on a socket that speaks FastCGI (http-socket speaks HTTP)"
            }
            // RFC 8446 5.1: a handshake record.
            22 if self.at == 0 && self.open.is_none() => "TLS on a socket that speaks FastCGI",
            _ => "a FastCGI record of another version",
        })
    }
}

impl Exchange for FastCgi {
    fn head(&mut self, input: &[u8], vars: &mut Vars) -> Head {
        vars.clear();
        if self.open.is_none() {
            self.answer.forget();
        }
        match self.scan(input, vars) {
            Ok(Some(head)) => head,
            Ok(None) => Head::Partial { begun: !input.is_empty() || self.open.is_some() },
            Err(refusal) => {
                vars.clear();
                Head::Refused(refusal)
            }
        }
    }

    fn is_fronted(&self) -> bool {
        true
    }

    fn is_portable(&self) -> bool {
        !self.pieced
    }

    fn proceed(&mut self, _: &mut Vec<u8>) {}

    fn status(&mut self, status: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.head_at = out.len();
        out.extend_from_slice(&[0; HEADER]);
        self.answer.status(status, out)
    }

    fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.answer.field(name, value, out)
    }

    fn end_head(&mut self, _: Option<u64>, _: &[u8], close: bool, out: &mut Vec<u8>) {
        self.close = close;
        self.answer.end_head(close, out);
        frame(self.id(), self.head_at, out);
    }

    fn data(&mut self, length: usize, out: &mut Vec<u8>) -> usize {
        let fitting = self.answer.data(length, out);
        if fitting > 0 {
            out.extend_from_slice(&Records { id: self.id() }.header(fitting));
        }
        fitting
    }

    fn data_end(&mut self, _: &mut Vec<u8>) {}

    fn records(&self) -> Option<Records> {
        Some(Records { id: self.id() })
    }

    /// A response that misses a part has no end, so that the front end can tell.
    fn finish(&mut self, out: &mut Vec<u8>) -> Next {
        let short = self.answer.is_short();
        self.answer.finish(out);
        let open = self.open;
        self.close_request();
        match open {
            Some(open) if !short => {
                push_end(open.id, out);
                if open.keep && !self.close { Next::KeepAlive } else { Next::Close }
            }
            _ => Next::Close,
        }
    }

    fn refuse(&mut self, refusal: Refusal, _: &[u8], out: &mut Vec<u8>) {
        let id = self.id();
        self.close_request();
        match refusal {
            Refusal::Aborted => record::push_end(id, Ended::Complete, out),
            Refusal::Role(_) => record::push_end(id, Ended::UnknownRole, out),
            _ => {
                let start = out.len();
                out.extend_from_slice(&[0; HEADER]);
                self.answer.refuse(refusal, out);
                if out.len() == start + HEADER {
                    return out.truncate(start);
                }
                frame(id, start, out);
                push_end(id, out);
            }
        }
    }

    /// Front ends that send one request at a time call it 1; for others, the end of the connection has to do.
    fn late(&self) -> &'static [u8] {
        static LATE: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
            [Begin::StatusLine, Begin::StatusField].map(|begin| {
                let mut records = [&[0; HEADER], begin.late()].concat();
                frame(1, 0, &mut records);
                push_end(1, &mut records);
                records
            })
        });
        if self.id() != 1 {
            return &[];
        }
        let [line, field] = &*LATE;
        match self.answer.begin() {
            Begin::StatusLine => line,
            Begin::StatusField => field,
        }
    }
}

/// Makes records of what is in `out` from `start` on, where there is room for the first header.
fn frame(id: u16, start: usize, out: &mut Vec<u8>) {
    let content = start + HEADER;
    let length = out.len() - content;
    let records = Records { id };
    if length <= Records::MOST {
        out[start..content].copy_from_slice(&records.header(length));
        return;
    }
    let long = out.split_off(content);
    out.truncate(start);
    for piece in long.chunks(Records::MOST) {
        out.extend_from_slice(&records.header(piece.len()));
        out.extend_from_slice(piece);
    }
}

/// Ends the output of a request, and the request.
fn push_end(id: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&record::header(record::STDOUT, id, 0));
    record::push_end(id, Ended::Complete, out);
}

/// The answer to `GET_VALUES` (section 4.1). How many connections and requests there may be, nobody knows: as many as
/// the memory holds.
fn values(asked: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut content = Vec::new();
    let mut at = 0;
    while at < asked.len() {
        let Some((name, _)) = record::pair(asked, &mut at) else {
            return malformed("a length in GET_VALUES points behind its end");
        };
        // Once is enough, however often it is asked.
        if &asked[name.clone()] == b"FCGI_MPXS_CONNS" && content.is_empty() {
            record::push_pair(b"FCGI_MPXS_CONNS", b"0", &mut content);
        }
    }
    let mut answer = record::header(record::GET_VALUES_RESULT, 0, content.len() as u16).to_vec();
    answer.append(&mut content);
    Ok(answer)
}

fn malformed<T>(how: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Malformed(how))
}
