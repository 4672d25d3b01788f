//! The body of a FastCGI request: the `STDIN` stream, which ends with an empty record.
//!
//! Called through [`crate::Decoder`], however the input is cut. Records of other requests and of the connection itself
//! are passed over: the front end was told that there is one request at a time.

use super::record::{HEADER, Header, Kind};
use crate::{Refusal, Step};

/// Decodes the stream of one request.
#[derive(Debug)]
pub struct Stdin {
    id: u16,
    /// `CONTENT_LENGTH`
    length: Option<u64>,
    taken: u64,
    header: [u8; HEADER],
    have: usize,
    /// What is still to come of the body of a record, and of its padding.
    content: u16,
    padding: u8,
    /// The content belongs to the stream.
    ours: bool,
    /// This record ends it.
    last: bool,
}

impl Stdin {
    pub(super) fn new(id: u16, length: Option<u64>) -> Self {
        let header = [0; HEADER];
        Self { id, length, taken: 0, header, have: 0, content: 0, padding: 0, ours: false, last: false }
    }

    /// See [`crate::Decoder::decode`]. What is longer than `CONTENT_LENGTH` is dropped; less is refused, so that no
    /// application takes a part for the whole (section 6.2).
    pub(crate) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Step, Refusal> {
        let mut at = 0;
        loop {
            let in_record = self.content > 0 || self.padding > 0;
            if self.last && !in_record {
                return Ok(Step { consumed: at, done: true });
            }
            let rest = &input[at..];
            if rest.is_empty() {
                return Ok(Step { consumed: at, done: false });
            }
            at += if self.content > 0 {
                let here = rest.len().min(usize::from(self.content));
                self.take(&rest[..here], out);
                self.content -= here as u16;
                here
            } else if self.padding > 0 {
                let here = rest.len().min(usize::from(self.padding));
                self.padding -= here as u8;
                here
            } else {
                let here = rest.len().min(HEADER - self.have);
                self.header[self.have..self.have + here].copy_from_slice(&rest[..here]);
                self.have += here;
                if self.have == HEADER {
                    self.have = 0;
                    self.begin()?;
                }
                here
            };
        }
    }

    fn take(&mut self, content: &[u8], out: &mut Vec<u8>) {
        if !self.ours {
            return;
        }
        let room = self.length.map_or(u64::MAX, |length| length - self.taken);
        let content = &content[..usize::try_from(room).unwrap_or(usize::MAX).min(content.len())];
        self.taken += content.len() as u64;
        out.extend_from_slice(content);
    }

    /// A header is whole.
    fn begin(&mut self) -> Result<(), Refusal> {
        let Ok(header) = Header::read(self.header) else {
            return Err(Refusal::Malformed("a FastCGI record of another version"));
        };
        (self.content, self.padding) = (header.length, header.padding);
        self.ours = (header.kind, header.id) == (Kind::Stdin, self.id);
        match header.kind {
            Kind::Stdin if self.ours && header.length == 0 => {
                if self.length.is_some_and(|length| self.taken < length) {
                    return Err(Refusal::Malformed("STDIN ends before CONTENT_LENGTH"));
                }
                self.last = true;
                Ok(())
            }
            Kind::AbortRequest if header.id == self.id => Err(Refusal::Aborted),
            Kind::BeginRequest => Err(Refusal::Malformed("a FastCGI request begins in the body of another")),
            _ => Ok(()),
        }
    }
}
