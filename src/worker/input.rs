//! The body of a request, as the application reads it.
//!
//! Nearly always the whole body is in memory before the application runs. A body above [`MEMORY_BYTES`] is read while
//! the application asks for it; only then can [`Input::fill`] block.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use ruwsgi_sys::stream::{self, Until};
use ruwsgi_wire::Decoder;

/// Bodies up to this size are read by the engine, and cost no core while they arrive.
pub const MEMORY_BYTES: usize = 1024 * 1024;

/// How much one read of a streamed body takes at most, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// A body. The bytes that are here are a plain slice; the rest, if any, comes by [`fill`](Self::fill).
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    at: usize,
    /// Where the body ends in `bytes`, as far as it is here; what follows belongs to the next request.
    end: usize,
    stream: Option<Stream>,
}

/// The part of a body that is still to come.
#[derive(Debug)]
pub(crate) struct Stream {
    pub fd: OwnedFd,
    pub framing: Framing,
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
        Self { bytes, at, end, stream: None }
    }

    /// A body whose start is `bytes[at..end]`.
    pub(crate) fn streamed(bytes: Vec<u8>, at: usize, end: usize, stream: Stream) -> Self {
        Self { bytes, at, end, stream: Some(stream) }
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
        self.stream.as_ref().is_none_or(|stream| matches!(stream.framing, Framing::Length(0)))
    }

    /// Reads until `want` bytes are buffered or the body is complete. May block: let others run meanwhile. An error
    /// (the client is gone, too slow, or breaks the framing) stays: every later call fails too.
    pub fn fill(&mut self, want: usize) -> io::Result<()> {
        while self.end - self.at < want {
            let Some(stream) = &mut self.stream else { return Ok(()) };
            if matches!(stream.framing, Framing::Length(0)) {
                return Ok(());
            }
            if self.at > 0 && self.at == self.end {
                self.bytes.clear();
                (self.at, self.end) = (0, 0);
            }
            match stream.read(&mut self.bytes) {
                Ok(true) => {}
                Ok(false) => stream.framing = Framing::Length(0),
                Err(error) => {
                    stream.failed = true;
                    return Err(error);
                }
            }
            self.end = self.bytes.len();
        }
        Ok(())
    }

    /// After the request: the buffer with what belongs to the next request, or `None` if the body was not read to its
    /// end, so that the connection can't be used again.
    pub(crate) fn finish(self) -> Option<Vec<u8>> {
        let Self { mut bytes, end, stream, .. } = self;
        match stream {
            None => {
                bytes.drain(..end);
                Some(bytes)
            }
            Some(Stream { framing: Framing::Length(0), failed: false, behind, .. }) => Some(behind),
            Some(_) => None,
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
            // A hundred bytes at the start of a response always fit.
            stream::write(self.fd.as_fd(), &std::mem::take(&mut self.proceed))?;
        }
        match &mut self.framing {
            Framing::Length(left) => {
                let limit = usize::try_from(*left).unwrap_or(usize::MAX).min(PIECE_BYTES);
                *left -= receive(&self.fd, bytes, limit, self.timeout)? as u64;
                Ok(*left > 0)
            }
            Framing::Framed(decoder) => {
                let mut raw = Vec::new();
                receive(&self.fd, &mut raw, PIECE_BYTES, self.timeout)?;
                let step = decoder
                    .decode(&raw, bytes)
                    .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal.reason()))?;
                if step.done {
                    self.behind = raw.split_off(step.consumed);
                }
                Ok(!step.done)
            }
        }
    }
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
    fn a_client_that_leaves_in_its_body_is_an_error_that_stays() {
        let (client, server) = UnixStream::pair().unwrap();
        let mut input = Input::streamed(Vec::new(), 0, 0, stream(server.into(), 9));
        drop(client);
        assert_eq!(input.fill(1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert!(input.fill(1).is_err());
        assert!(input.finish().is_none());
    }
}
