//! An answer: its head, and where its body ends (RFC 9112 6.3, RFC 3875 6).

use std::mem::MaybeUninit;

use super::{BadAnswer, Dialect, HEAD_BYTES, Said};
use crate::http::{Chunked, octets};

/// The head of an answer, where it was received.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h> {
    /// 200
    pub status: u16,
    /// `OK`, as it was sent.
    pub reason: &'h [u8],
    /// The bytes of it.
    pub raw: &'h [u8],
    fields: &'h [httparse::Header<'h>],
    /// The status came as a field, which is none for others.
    cgi: bool,
}

impl<'h> Head<'h> {
    /// Names and values, as they came.
    pub fn fields(&self) -> impl Iterator<Item = (&'h [u8], &'h [u8])> {
        let shown = |field: &&httparse::Header<'_>| !(self.cgi && field.name.eq_ignore_ascii_case("Status"));
        self.fields.iter().filter(shown).map(|field| (field.name.as_bytes(), field.value))
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'h [u8]> {
        self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value)
    }
}

/// Where the body ends.
#[derive(Debug)]
enum Framing {
    None,
    /// So many bytes are missing.
    Counted(u64),
    Chunked(Chunked),
    /// With the connection, or with what carries it.
    Open,
}

#[derive(Debug)]
enum Stage {
    /// So much of the head is here.
    Head(Vec<u8>),
    Body(Framing),
    Over,
}

/// The answer that is being heard.
#[derive(Debug)]
pub(super) struct Answer {
    dialect: Dialect,
    to_head: bool,
    keep_alive: bool,
    stage: Stage,
}

impl Answer {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, to_head: false, keep_alive: false, stage: Stage::Over }
    }

    /// Something was asked.
    pub(super) fn begin(&mut self, to_head: bool) {
        (self.to_head, self.keep_alive, self.stage) = (to_head, false, Stage::Head(Vec::new()));
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Takes bytes of it.
    pub(super) fn take(&mut self, input: &[u8], tell: &mut dyn FnMut(Said<'_>)) -> Result<(), BadAnswer> {
        match &mut self.stage {
            Stage::Over if input.is_empty() => Ok(()),
            Stage::Over => Err(BadAnswer::Malformed("the server says more than was asked")),
            Stage::Body(_) => self.take_body(input, tell),
            // Usually it comes at once.
            Stage::Head(begun) if begun.is_empty() => match end_of_head(input) {
                Some(end) => self.take_head(&input[..end], &input[end..], tell),
                None => self.keep_head(input),
            },
            Stage::Head(begun) => {
                begun.extend_from_slice(input);
                let bytes = std::mem::take(begun);
                let Some(end) = end_of_head(&bytes) else { return self.keep_head(&bytes) };
                self.take_head(&bytes[..end], &bytes[end..], tell)
            }
        }
    }

    fn keep_head(&mut self, begun: &[u8]) -> Result<(), BadAnswer> {
        if begun.len() > HEAD_BYTES {
            return Err(BadAnswer::Malformed("the head of the answer is too long"));
        }
        self.stage = Stage::Head(begun.to_vec());
        Ok(())
    }

    fn take_head(&mut self, raw: &[u8], rest: &[u8], tell: &mut dyn FnMut(Said<'_>)) -> Result<(), BadAnswer> {
        // On the stack, as it is: 8 KB that most answers do not touch.
        let mut room = [const { MaybeUninit::uninit() }; FIELDS];
        if matches!(self.dialect, Dialect::FastCgi | Dialect::Scgi) && !raw.starts_with(b"HTTP/") {
            let mut room = [httparse::EMPTY_HEADER; FIELDS];
            return self.begin_body(&cgi(raw, &mut room)?, true, rest, tell);
        }
        let (head, one_one) = http(raw, &mut room)?;
        self.begin_body(&head, one_one, rest, tell)
    }

    fn begin_body(
        &mut self,
        head: &Head<'_>,
        one_one: bool,
        rest: &[u8],
        tell: &mut dyn FnMut(Said<'_>),
    ) -> Result<(), BadAnswer> {
        if (100..200).contains(&head.status) && head.status != 101 {
            // It announces the answer, and is none (RFC 9110 15.2).
            self.stage = Stage::Head(Vec::new());
            return self.take(rest, tell);
        }
        let framing = framing(head, self.to_head)?;
        let option = |wanted: &[u8]| {
            head.all("Connection").flat_map(octets::list).any(|option| option.eq_ignore_ascii_case(wanted))
        };
        let ends = matches!(framing, Framing::Open) || option(b"close");
        self.keep_alive = match self.dialect {
            Dialect::Http => !ends && (one_one || option(b"keep-alive")),
            // The version is that of the client's request.
            Dialect::PersistentUwsgi => !ends,
            _ => false,
        };
        tell(Said::Head(*head));
        self.stage = Stage::Body(framing);
        self.take_body(rest, tell)
    }

    fn take_body(&mut self, input: &[u8], tell: &mut dyn FnMut(Said<'_>)) -> Result<(), BadAnswer> {
        let Stage::Body(framing) = &mut self.stage else { return Ok(()) };
        let (taken, done) = match framing {
            Framing::None => (0, true),
            Framing::Open => {
                data(input, tell);
                (input.len(), false)
            }
            Framing::Counted(missing) => {
                let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(input.len());
                data(&input[..here], tell);
                *missing -= here as u64;
                (here, *missing == 0)
            }
            Framing::Chunked(chunked) => {
                let mut decoded = Vec::new();
                let step =
                    chunked.decode(input, &mut decoded).map_err(|refusal| BadAnswer::Malformed(refusal.reason()))?;
                data(&decoded, tell);
                (step.consumed, step.done)
            }
        };
        if done && self.dialect == Dialect::FastCgi {
            // Its end has a record of its own; what comes before that is more than was announced.
            self.stage = Stage::Body(Framing::None);
        } else if done {
            self.stage = Stage::Over;
            tell(Said::End { reusable: self.keep_alive && taken == input.len() });
        }
        Ok(())
    }

    /// The connection, or what carries the answer, has ended.
    pub(super) fn end(&mut self, reusable: bool, tell: &mut dyn FnMut(Said<'_>)) -> Result<(), BadAnswer> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Over => return Ok(()),
            Stage::Head(begun) if begun.is_empty() => return Err(BadAnswer::Empty),
            Stage::Body(Framing::Open | Framing::None) => {}
            Stage::Head(_) | Stage::Body(_) => return Err(BadAnswer::Cut),
        }
        tell(Said::End { reusable });
        Ok(())
    }
}

fn data(bytes: &[u8], tell: &mut dyn FnMut(Said<'_>)) {
    if !bytes.is_empty() {
        tell(Said::Data(bytes));
    }
}

/// Behind the first blank line. CGI programs end lines with LF alone, too (RFC 3875 6.2).
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'\n', bytes).find_map(|at| match &bytes[at + 1..] {
        [b'\n', ..] => Some(at + 2),
        [b'\r', b'\n', ..] => Some(at + 3),
        _ => None,
    })
}

const FIELDS: usize = 256;

fn http<'h>(raw: &'h [u8], room: &'h mut [MaybeUninit<httparse::Header<'h>>]) -> Result<(Head<'h>, bool), BadAnswer> {
    let mut parsed = httparse::Response::new(&mut []);
    match httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, raw, room) {
        Ok(httparse::Status::Complete(_)) => {}
        _ => return Err(BadAnswer::Malformed("this is no head of an HTTP response")),
    }
    let (status, reason) = (parsed.code.unwrap_or_default(), parsed.reason.unwrap_or_default().as_bytes());
    Ok((Head { status, reason, raw, fields: parsed.headers, cgi: false }, parsed.version == Some(1)))
}

/// The status is a field, and 200 where there is none; beside a `Location` alone it is 302 (RFC 3875 6.2.3).
fn cgi<'h>(raw: &'h [u8], room: &'h mut [httparse::Header<'h>]) -> Result<Head<'h>, BadAnswer> {
    let Ok(httparse::Status::Complete((_, fields))) = httparse::parse_headers(raw, room) else {
        return Err(BadAnswer::Malformed("this is no head of a CGI response"));
    };
    let mut head = Head { status: 200, reason: b"OK", raw, fields, cgi: true };
    let (said, location) = (head.all("Status").next(), head.all("Location").next());
    if let Some(said) = said {
        let (code, reason) = said.split_at(said.len().min(3));
        let Some(Some(status @ 100..=999)) = octets::decimal(code) else {
            return Err(BadAnswer::Malformed("the Status of the answer is no number"));
        };
        (head.status, head.reason) = (status as u16, octets::trim(reason));
    } else if location.is_some() {
        (head.status, head.reason) = (302, b"Found");
    }
    Ok(head)
}

fn framing(head: &Head<'_>, to_head: bool) -> Result<Framing, BadAnswer> {
    if to_head || matches!(head.status, 204 | 304) {
        return Ok(Framing::None);
    }
    let mut codings = head.all("Transfer-Encoding").flat_map(octets::list);
    let mut lengths = head.all("Content-Length");
    match (codings.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(BadAnswer::Malformed("both Content-Length and Transfer-Encoding")),
        (Some(coding), None) if coding.eq_ignore_ascii_case(b"chunked") && codings.next().is_none() => {
            Ok(Framing::Chunked(Chunked::default()))
        }
        (Some(_), None) => Err(BadAnswer::Malformed("an unknown transfer coding")),
        (None, Some(length)) => match octets::decimal(length) {
            Some(Some(number)) if lengths.all(|other| other == length) => Ok(Framing::Counted(number)),
            _ => Err(BadAnswer::Malformed("Content-Length is not a number, or differs from another one")),
        },
        (None, None) => Ok(Framing::Open),
    }
}
