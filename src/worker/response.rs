//! The response to one request: the head and the body go through the protocol into as few system calls as possible.
//!
//! Nothing here blocks but [`Response::wait_for_room`], which the language calls where others can run meanwhile.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use ruwsgi_sys::stream::{self, Until};
use ruwsgi_wire::{BadResponse, Exchange, Next, Refusal};

/// So many bytes of a response may wait for a slow reader before the application waits too.
pub const BUFFER_BYTES: usize = 1024 * 1024;

/// A piece of body below this size is copied behind the head; a larger one goes out from where it is.
const COPY_BYTES: usize = 4096;

/// Small pieces of a body of known length are gathered up to this size.
const GATHER_BYTES: usize = 16 * 1024;

/// The client is gone, or takes nothing for too long: nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// No head yet, or one that can still be replaced.
    Open,
    /// The head is out (or on its way): only body can follow.
    Body,
    /// Nothing can follow: the response is broken and the connection will be cut.
    Cut,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Whole.
    Next(Next),
    /// In its middle: nothing of it may follow, and the client must be able to tell.
    Cut,
}

/// What was sent, for the log.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sent {
    pub status: u16,
    pub fields: u32,
    pub head_bytes: u64,
    pub body_bytes: u64,
    pub switches: u32,
}

/// A response while it is made.
pub struct Response<'r> {
    fd: BorrowedFd<'r>,
    exchange: &'r mut dyn Exchange,
    /// Bytes that are not sent yet; the first `sent_at` of them are.
    out: &'r mut Vec<u8>,
    sent_at: usize,
    date: &'r [u8],
    /// The server wants to close after this response.
    close: bool,
    timeout: Duration,
    stage: Stage,
    begun: bool,
    length: Option<u64>,
    failed: bool,
    pub(crate) sent: Sent,
}

/// What a response needs from the connection that it goes to.
pub(crate) struct Wire<'r> {
    pub fd: BorrowedFd<'r>,
    pub exchange: &'r mut dyn Exchange,
    pub out: &'r mut Vec<u8>,
}

impl<'r> Response<'r> {
    pub(crate) fn new(wire: Wire<'r>, date: &'r [u8], close: bool, timeout: Duration) -> Self {
        let Wire { fd, exchange, out } = wire;
        Self {
            fd,
            exchange,
            out,
            sent_at: 0,
            date,
            close,
            timeout,
            stage: Stage::Open,
            begun: false,
            length: None,
            failed: false,
            sent: Sent::default(),
        }
    }

    /// A head was begun.
    #[must_use]
    pub fn is_begun(&self) -> bool {
        self.begun
    }

    /// The head is out: it can't be replaced any more.
    #[must_use]
    pub fn is_committed(&self) -> bool {
        self.stage != Stage::Open
    }

    /// Begins the head, `200 OK`; one that was begun before is forgotten.
    pub fn begin(&mut self, status: &[u8]) -> Result<(), BadResponse> {
        debug_assert!(self.stage == Stage::Open, "a head after the head");
        self.out.clear();
        self.begun = false;
        self.length = None;
        self.sent.fields = 0;
        self.sent.status = status.get(..3).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok()).unwrap_or(0);
        self.exchange.status(status, self.out)?;
        self.begun = true;
        Ok(())
    }

    /// Adds a field to the head. After an error, begin again.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadResponse> {
        self.exchange.field(name, value, self.out)?;
        self.sent.fields += 1;
        Ok(())
    }

    /// The whole body will have `length` bytes, all of them at hand: to be said before the first [`write`](Self::write).
    /// Small pieces are then sent together.
    pub fn length(&mut self, length: u64) {
        self.length = Some(length);
    }

    /// One more step of the application's iterator: for the log, which calls it a switch.
    pub fn count_switch(&mut self) {
        self.sent.switches += 1;
    }

    /// Sends a piece of the body, behind the head if that is still here; how much of it was taken. If not all, call
    /// [`wait_for_room`](Self::wait_for_room) and go on with the rest. What is longer than the announced
    /// `Content-Length` is taken and not sent.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Gone> {
        if self.stage == Stage::Cut {
            return Err(Gone);
        }
        if self.out.len() - self.sent_at >= BUFFER_BYTES {
            self.send(&[])?;
            if self.out.len() - self.sent_at >= BUFFER_BYTES {
                return Ok(0);
            }
        }
        self.commit();
        let bytes = &bytes[..bytes.len().min(BUFFER_BYTES)];
        let body = &bytes[..self.exchange.data(bytes.len(), self.out)];
        self.sent.body_bytes += body.len() as u64;
        if body.len() < COPY_BYTES {
            self.out.extend_from_slice(body);
            self.exchange.data_end(self.out);
            if self.length.is_none() || self.out.len() >= GATHER_BYTES {
                self.send(&[])?;
            }
        } else {
            self.send(body)?;
        }
        Ok(bytes.len())
    }

    /// Blocks until a slow reader has taken enough that [`write`](Self::write) takes more.
    pub fn wait_for_room(&mut self) -> Result<(), Gone> {
        while self.out.len() - self.sent_at > BUFFER_BYTES / 2 {
            match stream::wait(self.fd, Until::Writable, self.timeout) {
                Ok(true) => self.send(&[])?,
                Ok(false) | Err(_) => return Err(self.cut()),
            }
        }
        Ok(())
    }

    /// The application failed. Before the head is out, the client gets a 500; afterwards the connection is cut, so that
    /// the client can tell.
    pub fn fail(&mut self) {
        self.failed = true;
        if self.stage == Stage::Open {
            self.out.clear();
            self.exchange.refuse(Refusal::Failed, self.date, self.out);
            self.sent = Sent { status: 500, head_bytes: self.out.len() as u64, ..self.sent };
            self.stage = Stage::Body;
        } else {
            self.stage = Stage::Cut;
        }
    }

    /// Ends the response: how, and how many bytes of `out` are sent already.
    pub(crate) fn finish(mut self) -> (End, usize, Sent) {
        if self.stage == Stage::Open && !self.begun {
            self.fail();
        }
        let mut next = Next::Close;
        if !self.failed && self.stage != Stage::Cut {
            if self.stage == Stage::Open && self.length.is_none() {
                self.length = Some(0);
            }
            self.commit();
            next = self.exchange.finish(self.out);
        }
        if self.stage == Stage::Cut || self.send(&[]).is_err() {
            self.out.clear();
            return (End::Cut, 0, self.sent);
        }
        (End::Next(next), self.sent_at, self.sent)
    }

    fn commit(&mut self) {
        if self.stage == Stage::Open {
            self.exchange.end_head(self.length, self.date, self.close, self.out);
            self.sent.head_bytes = self.out.len() as u64;
            self.stage = Stage::Body;
        }
    }

    fn cut(&mut self) -> Gone {
        self.stage = Stage::Cut;
        Gone
    }

    /// Sends what waits, then `body` (with what the protocol puts behind it); what does not fit waits.
    fn send(&mut self, body: &[u8]) -> Result<(), Gone> {
        let waiting = &self.out[self.sent_at..];
        if waiting.is_empty() && body.is_empty() {
            return Ok(());
        }
        let mut behind = Vec::new();
        let result = if body.is_empty() {
            stream::write(self.fd, waiting)
        } else {
            self.exchange.data_end(&mut behind);
            stream::write_parts(self.fd, &[IoSlice::new(waiting), IoSlice::new(body), IoSlice::new(&behind)])
        };
        let written = match result {
            Ok(written) => written,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(self.cut()),
        };
        let before = waiting.len();
        if written < before {
            self.sent_at += written;
            self.out.extend_from_slice(body);
            self.out.extend_from_slice(&behind);
        } else {
            self.out.clear();
            self.sent_at = 0;
            let rest = written - before;
            self.out.extend_from_slice(&body[rest.min(body.len())..]);
            self.out.extend_from_slice(&behind[rest.saturating_sub(body.len())..]);
        }
        Ok(())
    }
}
