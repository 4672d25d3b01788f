//! The body of a request, as the application reads it.
//!
//! Nearly always the whole body is in memory before the application runs. A body above [`MEMORY_BYTES`] is read from a
//! file (`post-buffering`), or from the client while the application asks for it; only then can [`Input::fill`] block.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use ruwsgi_contract::handover::Bounds;
use ruwsgi_sys::stream::{self, Until};
use ruwsgi_wire::{Decoder, Refusal};

/// Bodies up to this size are read by the engine, and cost no core while they arrive.
pub const MEMORY_BYTES: usize = 1024 * 1024;

/// How much one read of a body that is not in memory takes at most, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// A body. The bytes that are here are a plain slice; the rest, if any, comes by [`fill`](Self::fill).
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    at: usize,
    /// Where the body ends in `bytes`, as far as it is here; what follows belongs to the next request.
    end: usize,
    /// What was consumed and is no longer in `bytes`; for a body in memory, what lies before it there is negative.
    origin: i64,
    source: Source,
}

/// Where the rest of a body comes from.
#[derive(Debug, Default)]
enum Source {
    /// There is none: it is all in memory.
    #[default]
    Memory,
    /// A file with the whole body. `next` is where the next read begins, `behind` came behind the body.
    Spooled { file: File, next: u64, length: u64, behind: Vec<u8> },
    /// The client.
    Stream(Stream),
}

/// The part of a body that is still to come.
#[derive(Debug)]
pub(crate) struct Stream {
    pub fd: OwnedFd,
    pub framing: Framing,
    /// How many bytes more `limit-post` allows.
    pub room: Option<u64>,
    /// How long one wait for bytes may take.
    pub timeout: Duration,
    /// What to tell a client that waits for `100 Continue`, before the first read.
    pub proceed: Vec<u8>,
    /// Bytes that came behind the body.
    pub behind: Vec<u8>,
    pub failed: bool,
}

#[derive(Debug)]
pub(crate) enum Framing {
    /// So many bytes are to come.
    Length(u64),
    Framed(Decoder),
}

impl Input {
    /// A body that is whole: `bytes[at..end]`.
    pub(crate) fn whole(bytes: Vec<u8>, at: usize, end: usize) -> Self {
        Self { bytes, at, end, origin: -(at as i64), source: Source::Memory }
    }

    /// A body whose start is `bytes[at..end]`.
    pub(crate) fn streamed(bytes: Vec<u8>, at: usize, end: usize, stream: Stream) -> Self {
        Self { bytes, at, end, origin: -(at as i64), source: Source::Stream(stream) }
    }

    /// A body that is whole, in a file.
    pub(crate) fn spooled(file: File, length: u64, behind: Vec<u8>) -> Self {
        Self { source: Source::Spooled { file, next: 0, length, behind }, ..Self::default() }
    }

    /// The bytes that are here and were not consumed.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        &self.bytes[self.at..self.end]
    }

    /// `count` of the buffered bytes are done with.
    ///
    /// # Panics
    /// If fewer are buffered.
    pub fn consume(&mut self, count: usize) {
        assert!(count <= self.end - self.at, "consumed more than there is");
        self.at += count;
    }

    /// Nothing will come behind the buffered bytes.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        match &self.source {
            Source::Memory => true,
            Source::Spooled { next, length, .. } => next == length,
            Source::Stream(stream) => matches!(stream.framing, Framing::Length(0)),
        }
    }

    /// How much of the body was consumed, in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        (self.origin + self.at as i64).max(0) as u64
    }

    /// Goes to a place of the body, at most to its end. `false`: it is still coming, and there is no way back.
    pub fn seek(&mut self, position: u64) -> bool {
        match &mut self.source {
            Source::Memory => {
                let place = position as i64 - self.origin;
                self.at = usize::try_from(place).unwrap_or(usize::MAX).min(self.end);
                true
            }
            Source::Spooled { next, length, .. } => {
                *next = position.min(*length);
                self.bytes.clear();
                (self.at, self.end, self.origin) = (0, 0, *next as i64);
                true
            }
            Source::Stream(_) => false,
        }
    }

    /// The size of the whole body where it is known, in bytes.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match &self.source {
            Source::Memory => Some((self.origin + self.end as i64).max(0) as u64),
            Source::Spooled { length, .. } => Some(*length),
            Source::Stream(_) => None,
        }
    }

    /// Reads until `want` bytes are buffered or the body is complete. May block: let others run meanwhile. An error
    /// (the client is gone, too slow, or breaks the framing) stays: every later call fails too.
    pub fn fill(&mut self, want: usize) -> io::Result<()> {
        while self.end - self.at < want && !self.is_complete() {
            // What was consumed makes room, once that is worth the move of the rest.
            if self.at == self.end || self.at >= PIECE_BYTES {
                self.bytes.drain(..self.at);
                self.origin += self.at as i64;
                (self.at, self.end) = (0, self.end - self.at);
            }
            match &mut self.source {
                Source::Memory => {}
                Source::Spooled { file, next, length, .. } => {
                    let left = usize::try_from(*length - *next).unwrap_or(usize::MAX);
                    self.bytes.resize(self.end + left.min(PIECE_BYTES), 0);
                    let got = file.read_at(&mut self.bytes[self.end..], *next)?;
                    self.bytes.truncate(self.end + got);
                    if got == 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *next += got as u64;
                }
                Source::Stream(stream) => match stream.read(&mut self.bytes) {
                    Ok(true) => {}
                    Ok(false) => stream.framing = Framing::Length(0),
                    Err(error) => {
                        stream.failed = true;
                        return Err(error);
                    }
                },
            }
            self.end = self.bytes.len();
        }
        Ok(())
    }

    /// All bytes of a request of which nothing was read yet, and where in them its body is, if that is whole. `None`:
    /// they are not all here, or no longer as they came.
    pub(crate) fn parcel(&self) -> Option<(&[u8], Option<Bounds>)> {
        // What lies before the body is the head.
        let untouched = self.at > 0 && self.origin == -(self.at as i64);
        match &self.source {
            Source::Memory if untouched => Some((&self.bytes, Some((self.at as u64, self.end as u64)))),
            Source::Stream(Stream { framing: Framing::Length(_), failed: false, .. }) if untouched => {
                Some((&self.bytes, None))
            }
            _ => None,
        }
    }

    /// The client left, was too slow or broke the framing while its body was read.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(&self.source, Source::Stream(stream) if stream.failed)
    }

    /// After the request: the buffer with what belongs to the next request, or `None` if the body was not read to its
    /// end, so that the connection can't be used again.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        let Self { mut bytes, end, source, .. } = self;
        match source {
            Source::Memory => {
                bytes.drain(..end);
                Some(bytes)
            }
            Source::Spooled { behind, .. } => Some(behind),
            Source::Stream(Stream { framing: Framing::Length(0), failed: false, behind, .. }) => Some(behind),
            Source::Stream(_) => None,
        }
    }
}

impl Stream {
    /// Waits for more, and appends it to `bytes`; `false`: the body is over.
    fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        if self.failed {
            return Err(io::Error::other("the request body is broken"));
        }
        if !self.proceed.is_empty() {
            // A few bytes at the start of a response always fit.
            stream::write(self.fd.as_fd(), &std::mem::take(&mut self.proceed))?;
        }
        let before = bytes.len();
        let goes_on = match &mut self.framing {
            Framing::Length(left) => {
                let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                *left -= receive(&self.fd, bytes, limit, self.timeout)? as u64;
                *left > 0
            }
            Framing::Framed(decoder) => {
                let mut raw = Vec::new();
                receive(&self.fd, &mut raw, PIECE_BYTES, self.timeout)?;
                let step = decoder.decode(&raw, bytes).map_err(refused)?;
                if step.done {
                    self.behind = raw.split_off(step.consumed);
                }
                !step.done
            }
        };
        if let Some(room) = &mut self.room {
            let taken = (bytes.len() - before) as u64;
            *room = room.checked_sub(taken).ok_or_else(|| refused(Refusal::BodyTooLarge))?;
        }
        Ok(goes_on)
    }
}

fn refused(refusal: Refusal) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refusal.reason())
}

fn receive(fd: &OwnedFd, bytes: &mut Vec<u8>, limit: usize, timeout: Duration) -> io::Result<usize> {
    loop {
        match stream::read(fd.as_fd(), bytes, limit) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the client closed in the request body")),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if !stream::wait(fd.as_fd(), Until::Readable, timeout)? {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "time-out while reading the request body"));
                }
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    fn stream(fd: OwnedFd, left: u64) -> Stream {
        Stream {
            fd,
            framing: Framing::Length(left),
            room: None,
            timeout: Duration::from_secs(5),
            proceed: Vec::new(),
            behind: Vec::new(),
            failed: false,
        }
    }

    #[test]
    fn what_follows_a_whole_body_is_the_next_request() {
        let mut input = Input::whole(b"headbodyGET".to_vec(), 4, 8);
        assert_eq!(input.buffered(), b"body");
        input.consume(2);
        assert!(input.is_complete());
        input.fill(100).unwrap();
        assert_eq!(input.buffered(), b"dy");
        assert_eq!(input.finish().unwrap(), b"GET");
    }

    #[test]
    fn a_streamed_body_is_read_to_its_end_and_no_further() {
        let (mut client, server) = UnixStream::pair().unwrap();
        client.write_all(b"llo worldGET").unwrap();
        let mut input = Input::streamed(b"headhe".to_vec(), 4, 6, stream(server.into(), 9));
        input.fill(5).unwrap();
        assert_eq!(&input.buffered()[..5], b"hello");
        input.fill(1000).unwrap();
        assert_eq!(input.buffered(), b"hello world");
        assert!(input.is_complete());
        assert!(input.finish().unwrap().is_empty());
    }

    #[test]
    fn a_request_that_nobody_has_read_can_travel() {
        let (_client, server) = UnixStream::pair().unwrap();
        let mut whole = Input::whole(b"headbodyGET".to_vec(), 4, 8);
        assert_eq!(whole.parcel().unwrap(), (&b"headbodyGET"[..], Some((4, 8))));
        whole.consume(1);
        assert!(whole.parcel().is_none());
        let coming = Input::streamed(b"headbo".to_vec(), 4, 6, stream(server.into(), 2));
        assert_eq!(coming.parcel().unwrap(), (&b"headbo"[..], None));
        let file = tempfile::tempfile().unwrap();
        assert!(Input::spooled(file, 5, Vec::new()).parcel().is_none());
    }

    #[test]
    fn a_client_that_leaves_in_its_body_is_an_error_that_stays() {
        let (client, server) = UnixStream::pair().unwrap();
        let mut input = Input::streamed(Vec::new(), 0, 0, stream(server.into(), 9));
        drop(client);
        assert_eq!(input.fill(1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(input.fill(1).is_err());
        assert!(input.finish().is_none());
    }

    #[test]
    fn a_body_in_memory_and_one_in_a_file_can_be_read_again() {
        let mut file = tempfile::tempfile().unwrap();
        let body: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
        file.write_all(&body).unwrap();
        let spooled = Input::spooled(file, body.len() as u64, b"GET".to_vec());
        let memory = Input::whole([b"head", &body[..], b"GET"].concat(), 4, 4 + body.len());
        for mut input in [spooled, memory] {
            for position in [0, 1, 100_000, 199_999, 200_000, 5] {
                assert!(input.seek(position));
                assert_eq!(input.position(), position);
                let mut read = Vec::new();
                loop {
                    input.fill(1000).unwrap();
                    let count = input.buffered().len().min(1000);
                    if count == 0 {
                        break;
                    }
                    read.extend_from_slice(&input.buffered()[..count]);
                    input.consume(count);
                }
                assert!(read == body[position as usize..], "from {position}");
                assert_eq!(input.position(), body.len() as u64);
            }
            assert_eq!(input.length(), Some(200_000));
            assert_eq!(input.finish().unwrap(), b"GET");
        }
    }

    #[test]
    fn a_long_body_does_not_stay_in_memory_while_it_is_read() {
        let (mut client, server) = UnixStream::pair().unwrap();
        let length = 20_000_000_u64;
        let sender = std::thread::spawn(move || client.write_all(&vec![b'x'; length as usize]).unwrap());
        let mut input = Input::streamed(Vec::new(), 0, 0, stream(server.into(), length));
        let mut read = 0;
        while read < length {
            input.fill(1000).unwrap();
            let count = input.buffered().len().min(1000);
            input.consume(count);
            read += count as u64;
            assert!(input.bytes.capacity() < 1_000_000, "{} bytes are kept", input.bytes.capacity());
        }
        sender.join().unwrap();
    }
}
