//! A request as FastCGI records, and the records of the answer.

use super::{BadAnswer, Said, Unaskable, Var, others};
use crate::fastcgi::record::{self, HEADER, Header, Kind, MOST};

/// One request at a time: they all have this id.
const ID: u16 = 1;

/// Appends `BEGIN_REQUEST` and the stream of variables.
pub(super) fn push(vars: &[Var<'_>], length: Option<u64>, out: &mut Vec<u8>) -> Result<(), Unaskable> {
    let mut block = Vec::new();
    let mut text = itoa::Buffer::new();
    let length = length.map(|length| (&b"CONTENT_LENGTH"[..], text.format(length).as_bytes()));
    for (name, value) in others(vars).chain(length) {
        if name.len().max(value.len()) > i32::MAX as usize {
            return Err(Unaskable::TooLarge);
        }
        record::push_pair(name, value, &mut block);
    }
    out.extend_from_slice(&record::header(record::BEGIN_REQUEST, ID, 8));
    let [role1, role0] = record::RESPONDER.to_be_bytes();
    out.extend_from_slice(&[role1, role0, record::KEEP_CONN, 0, 0, 0, 0, 0]);
    push_stream(record::PARAMS, &block, out);
    out.extend_from_slice(&record::header(record::PARAMS, ID, 0));
    Ok(())
}

/// Appends a piece of the body.
pub(super) fn push_body(piece: &[u8], out: &mut Vec<u8>) {
    push_stream(record::STDIN, piece, out);
}

/// Ends the body.
pub(super) fn push_end(out: &mut Vec<u8>) {
    out.extend_from_slice(&record::header(record::STDIN, ID, 0));
}

fn push_stream(kind: u8, bytes: &[u8], out: &mut Vec<u8>) {
    for piece in bytes.chunks(MOST) {
        out.extend_from_slice(&record::header(kind, ID, piece.len() as u16));
        out.extend_from_slice(piece);
    }
}

/// The records that a server sends, up to the next one that is not all there.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// What is here of a record.
    begun: Vec<u8>,
    heard: bool,
}

impl Records {
    /// No record has come yet.
    pub(super) fn is_fresh(&self) -> bool {
        !self.heard && self.begun.is_empty()
    }

    /// Appends what is on `STDOUT`; whether the request has ended.
    pub(super) fn take(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        tell: &mut dyn FnMut(Said<'_>),
    ) -> Result<bool, BadAnswer> {
        self.begun.extend_from_slice(input);
        let mut at = 0;
        let mut ended = false;
        while let Some((&header, _)) = self.begun.get(at..).and_then(<[u8]>::split_first_chunk::<HEADER>) {
            let header = Header::read(header).map_err(|()| BadAnswer::Malformed("this is no FastCGI record"))?;
            let start = at + HEADER;
            let end = start + header.rest();
            if self.begun.len() < end {
                break;
            }
            let content = &self.begun[start..start + usize::from(header.length)];
            at = end;
            self.heard = true;
            if header.id != ID {
                continue;
            }
            match header.kind {
                Kind::Stdout => out.extend_from_slice(content),
                Kind::Other(record::STDERR) if !content.is_empty() => tell(Said::Log(content)),
                Kind::EndRequest => {
                    end_status(content)?;
                    ended = true;
                }
                _ => {}
            }
        }
        self.begun.drain(..at);
        Ok(ended)
    }
}

/// What `END_REQUEST` says about the request (section 5.5).
fn end_status(content: &[u8]) -> Result<(), BadAnswer> {
    match content.get(4) {
        Some(0) => Ok(()),
        Some(1) => Err(BadAnswer::Malformed("FastCGI: the server takes one request at a time (CANT_MPX_CONN)")),
        Some(2) => Err(BadAnswer::Malformed("FastCGI: the server is overloaded")),
        Some(3) => Err(BadAnswer::Malformed("FastCGI: the server is no responder (UNKNOWN_ROLE)")),
        _ => Err(BadAnswer::Malformed("FastCGI: END_REQUEST says nothing known")),
    }
}
