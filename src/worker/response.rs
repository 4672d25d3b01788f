//! The response to one request: the head and the body go through the protocol into as few system calls as possible.
//!
//! Nothing here blocks but [`Response::wait_for_room`], which the language calls where others can run meanwhile.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use ruwsgi_sys::file;
use ruwsgi_sys::stream::{self, Until};
use ruwsgi_wire::fastcgi::Records;
use ruwsgi_wire::{BadResponse, Exchange, Next, Refusal};

use crate::collect::Collect;
use crate::file_part::{FilePart, Slice};
use crate::headers::Headers;
use crate::watch::Watch;

/// How far a slow reader is waited for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// How long it may take nothing.
    pub timeout: Duration,
    /// So many bytes of a response may wait for it before the application waits too (`response-buffer`).
    pub bytes: usize,
}

/// A piece of body below this size is copied behind the head; a larger one goes out from where it is.
const COPY_BYTES: usize = 4096;

/// Small pieces of a body of known length are gathered up to this size.
const GATHER_BYTES: usize = 16 * 1024;

/// A file up to this size goes out with the head, in one call, by way of memory: cheaper than sendfile(2) behind it. With 10 KB it
/// is not.
const SMALL_FILE_BYTES: u64 = 4 * 1024;

/// So much of a file goes out in one call at most.
const FILE_BYTES: u64 = 1024 * 1024;

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
    /// A piece of a file was announced and is not out yet: nothing but the rest of it can follow.
    File,
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
    /// Which application answered.
    pub app: u32,
    /// Some of the body came from a file.
    pub from_file: bool,
    /// The client was gone, or took nothing for too long.
    pub write_errors: u32,
}

/// What is left of a response when it is finished.
pub(crate) struct Finished {
    pub end: End,
    /// It was the server that wanted to close.
    pub close: bool,
    /// So many bytes of the output are sent already.
    pub sent_at: usize,
    pub sent: Sent,
    /// What the connection has to send behind the output.
    pub file: Option<Box<FilePart>>,
    /// What the application has said about the request.
    pub logvars: Logvars,
    /// Fields of the response that are variables of the request.
    pub collected: Logvars,
}

/// Names and values for the log.
pub(crate) type Logvars = Vec<(Vec<u8>, Vec<u8>)>;

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
    /// Whether it does by now, asked when the head goes out.
    leaves: Option<&'r (dyn Fn() -> bool + Sync)>,
    patience: Patience,
    stage: Stage,
    begun: bool,
    length: Option<u64>,
    failed: bool,
    /// So many bytes of a file were announced and are not out yet.
    announced: u64,
    /// The stream was full when a file was to be sent.
    full: bool,
    file: Option<Box<FilePart>>,
    watch: Option<Watch<'r>>,
    /// Over TCP, the end of the stream may travel with the last bytes.
    tcp: bool,
    /// What is sent now is the last on this connection.
    last: bool,
    /// What the application says about the request, for the log.
    logvars: Logvars,
    /// Which fields are kept for the log, and what was kept.
    collect: Option<&'r Collect>,
    headers: Option<&'r Headers>,
    collected: Logvars,
    /// Others read what is not in memory.
    offloads: bool,
    pub(crate) sent: Sent,
}

/// What a response needs from the connection that it goes to.
pub(crate) struct Wire<'r> {
    pub fd: BorrowedFd<'r>,
    pub exchange: &'r mut dyn Exchange,
    pub out: &'r mut Vec<u8>,
    pub tcp: bool,
}

impl<'r> Response<'r> {
    pub(crate) fn new(wire: Wire<'r>, date: &'r [u8], close: bool, patience: Patience) -> Self {
        let Wire { fd, exchange, out, tcp } = wire;
        Self {
            fd,
            exchange,
            out,
            sent_at: 0,
            date,
            close,
            leaves: None,
            patience,
            stage: Stage::Open,
            begun: false,
            length: None,
            failed: false,
            announced: 0,
            full: false,
            file: None,
            watch: None,
            tcp,
            last: false,
            logvars: Vec::new(),
            collect: None,
            headers: None,
            collected: Vec::new(),
            offloads: false,
            sent: Sent::default(),
        }
    }

    pub(crate) fn set_watch(&mut self, watch: Watch<'r>) {
        self.watch = Some(watch);
    }

    pub(crate) fn set_collect(&mut self, collect: Option<&'r Collect>) {
        self.collect = collect;
    }

    pub(crate) fn set_headers(&mut self, headers: Option<&'r Headers>) {
        self.headers = headers;
    }

    /// What its worker does: whether others read what is not in memory, and whether it leaves.
    pub(crate) fn set_worker(&mut self, offloads: bool, leaves: &'r (dyn Fn() -> bool + Sync)) {
        self.offloads = offloads;
        self.leaves = Some(leaves);
    }

    /// Lets the request go on for `wait_ms` and no longer; `None`: as long as any other. Somebody must have told the
    /// master that there are such deadlines.
    pub fn set_deadline(&self, wait_ms: Option<u64>) {
        if let Some(watch) = &self.watch {
            watch.set(wait_ms);
        }
    }

    /// The socket of the client, for who wants to look at it.
    #[must_use]
    pub fn socket(&self) -> BorrowedFd<'r> {
        self.fd
    }

    /// Says which of several applications answers.
    pub fn set_app(&mut self, app: usize) {
        self.sent.app = u32::try_from(app).unwrap_or(u32::MAX);
    }

    /// Keeps a value for the log under a name, in the place of one that it had.
    pub fn set_logvar(&mut self, name: &[u8], value: &[u8]) {
        match self.logvars.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.to_vec(),
            None => self.logvars.push((name.to_vec(), value.to_vec())),
        }
    }

    /// What was kept under this name.
    #[must_use]
    pub fn logvar(&self, name: &[u8]) -> Option<&[u8]> {
        self.logvars.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_slice())
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
        self.collected.clear();
        self.exchange.status(status, self.out)?;
        // Three digits, or the exchange would have refused it.
        self.sent.status = status.iter().take(3).fold(0, |code, digit| code * 10 + u16::from(digit.wrapping_sub(b'0')));
        self.begun = true;
        Ok(())
    }

    /// Adds a field to the head. After an error, begin again.
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), BadResponse> {
        if self.collect.is_some_and(|collect| collect.keep(name, value, &mut self.collected))
            || self.headers.is_some_and(|headers| headers.removes(name))
        {
            return Ok(());
        }
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
        if matches!(self.stage, Stage::Cut | Stage::File) {
            return Err(self.cut());
        }
        if self.out.len() - self.sent_at >= self.patience.bytes {
            self.send(&[])?;
            if self.out.len() - self.sent_at >= self.patience.bytes {
                return Ok(0);
            }
        }
        self.commit();
        let bytes = &bytes[..bytes.len().min(self.piece(self.patience.bytes as u64) as usize)];
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

    /// Sends a piece of the body out of a file, `length` bytes from `offset` on, behind all that was written before; how
    /// much of it was taken. If not all, call [`wait_for_room`](Self::wait_for_room) and go on with the rest: nothing
    /// else may follow before it is out. What is longer than the announced `Content-Length` is taken and not sent. A
    /// file that turns out to be shorter than `length` breaks the response.
    pub fn send_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<u64, Gone> {
        if self.stage == Stage::Cut {
            return Err(Gone);
        }
        if self.stage != Stage::File {
            if length <= SMALL_FILE_BYTES {
                return self.copy_file(file, offset, length);
            }
            self.commit();
            let piece = self.piece(length);
            self.announced = self.announce(piece);
            if self.announced == 0 {
                return Ok(piece);
            }
            self.stage = Stage::File;
        }
        self.send(&[])?;
        self.full = !self.out.is_empty();
        if self.full {
            return Ok(0);
        }
        let want = length.min(self.announced).min(FILE_BYTES);
        let sent = match file::send(self.fd, file, offset, want as usize) {
            Ok(0) if want > 0 => return Err(self.cut()),
            Ok(sent) => sent as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(_) => return Err(self.cut()),
        };
        self.full = sent < want;
        self.announced -= sent;
        if self.announced > 0 {
            return Ok(sent);
        }
        self.stage = Stage::Body;
        self.exchange.data_end(self.out);
        // Behind the last piece, what is left is longer than the Content-Length.
        Ok(if self.exchange.records().is_some() { sent } else { length })
    }

    /// How much of so many bytes can be announced as one piece.
    fn piece(&self, length: u64) -> u64 {
        self.exchange.records().map_or(length, |_| length.min(Records::MOST as u64))
    }

    /// Gives the last piece of the body away: `length` bytes of `file` from `offset` on, which the connection sends
    /// while the client takes them, however long that lasts. The response must be finished then.
    pub fn hand_over(&mut self, file: OwnedFd, offset: u64, length: u64) -> Result<(), Gone> {
        if matches!(self.stage, Stage::Cut | Stage::File) {
            return Err(self.cut());
        }
        let is_small = length <= SMALL_FILE_BYTES && self.out.len() - self.sent_at < self.patience.bytes;
        if is_small && (!self.offloads || file::is_cached(file.as_fd(), offset)) {
            let taken = self.copy_file(file.as_fd(), offset, length)?;
            return if taken == length { Ok(()) } else { Err(self.cut()) };
        }
        self.hand_over_slices(file, vec![Slice { text: Vec::new(), at: offset, length }])
    }

    /// The same with several pieces, and bytes between them.
    pub(crate) fn hand_over_slices(&mut self, file: OwnedFd, slices: Vec<Slice>) -> Result<(), Gone> {
        if matches!(self.stage, Stage::Cut | Stage::File) {
            return Err(self.cut());
        }
        self.commit();
        let left = self.announce(slices.iter().map(Slice::left).sum());
        if left > 0 {
            self.stage = Stage::File;
            self.file = Some(Box::new(FilePart::new(file, slices, left, self.exchange.records())));
        }
        Ok(())
    }

    /// Announces a piece of a file; how much of it may be sent.
    fn announce(&mut self, length: u64) -> u64 {
        let fitting = self.exchange.data(usize::try_from(length).unwrap_or(usize::MAX), self.out) as u64;
        self.sent.body_bytes += fitting;
        self.sent.from_file |= fitting > 0;
        fitting
    }

    fn copy_file(&mut self, file: BorrowedFd<'_>, offset: u64, length: u64) -> Result<u64, Gone> {
        let mut bytes = Vec::new();
        if file::read(file, offset, length as usize, &mut bytes).is_err() || (bytes.is_empty() && length > 0) {
            return Err(self.cut());
        }
        let before = self.sent.body_bytes;
        let taken = self.write(&bytes)?;
        self.sent.from_file |= self.sent.body_bytes > before;
        Ok(taken as u64)
    }

    /// Blocks until a slow reader has taken enough that [`write`](Self::write) or [`send_file`](Self::send_file) takes
    /// more.
    pub fn wait_for_room(&mut self) -> Result<(), Gone> {
        let mut full = std::mem::take(&mut self.full);
        while full || self.out.len() - self.sent_at > self.patience.bytes / 2 {
            match stream::wait(self.fd, Until::Writable, self.patience.timeout) {
                Ok(true) => self.send(&[])?,
                Ok(false) | Err(_) => return Err(self.cut()),
            }
            // A file goes out behind everything else only.
            full &= !self.out.is_empty();
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

    /// Ends the response, and says how.
    pub(crate) fn finish(mut self) -> Finished {
        if !self.is_ours() {
            self.cut();
        }
        if self.stage == Stage::Open && !self.begun {
            self.fail();
        }
        let mut next = Next::Close;
        if self.stage == Stage::File && self.file.is_none() {
            self.stage = Stage::Cut;
        }
        if !self.failed && self.stage != Stage::Cut {
            if self.stage == Stage::Open && self.length.is_none() {
                self.length = Some(0);
            }
            self.commit();
            next = match &mut self.file {
                None => self.exchange.finish(self.out),
                Some(file) => {
                    self.exchange.data_end(&mut file.behind);
                    self.exchange.finish(&mut file.behind)
                }
            };
            self.last = self.tcp && next == Next::Close && self.file.is_none();
        }
        if self.stage == Stage::Cut || self.send(&[]).is_err() {
            self.out.clear();
            let Self { close, sent, logvars, collected, .. } = self;
            return Finished { end: End::Cut, close, sent_at: 0, sent, file: None, logvars, collected };
        }
        let Self { close, failed, sent_at, sent, file, logvars, collected, .. } = self;
        let close = close || failed;
        Finished { end: End::Next(next), close, sent_at, sent, file, logvars, collected }
    }

    fn commit(&mut self) {
        if self.stage == Stage::Open {
            if let Some(headers) = self.headers {
                self.sent.fields += headers.add(self.exchange, self.out);
            }
            self.close |= self.leaves.is_some_and(|leaves| leaves());
            self.exchange.end_head(self.length, self.date, self.close, self.out);
            // The head itself: uWSGI counts so, too.
            let framing = self.exchange.records().map_or(0, |_| Records::HEADER);
            self.sent.head_bytes = (self.out.len() - framing) as u64;
            self.stage = Stage::Body;
        }
    }

    /// Nobody else has answered meanwhile.
    fn is_ours(&self) -> bool {
        self.watch.as_ref().is_none_or(Watch::claim)
    }

    fn cut(&mut self) -> Gone {
        self.stage = Stage::Cut;
        self.sent.write_errors += 1;
        Gone
    }

    /// Sends what waits, then `body` (with what the protocol puts behind it); what does not fit waits.
    fn send(&mut self, body: &[u8]) -> Result<(), Gone> {
        if !self.is_ours() {
            return Err(self.cut());
        }
        let waiting = &self.out[self.sent_at..];
        if waiting.is_empty() && body.is_empty() {
            return Ok(());
        }
        let mut behind = Vec::new();
        let result = if self.last && body.is_empty() {
            stream::write_last(self.fd, waiting)
        } else if body.is_empty() && self.file.is_some() {
            stream::write_more(self.fd, waiting)
        } else if body.is_empty() {
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
