//! One end of what a session joins: a non-blocking stream, the bytes that have come from it, and those that go to it.
//!
//! Events are edges: `readable` stays up until a read finds nothing more. Room to write is asked about only once a
//! write has found none, so that most connections are registered once and never again.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use ruwsgi_sys::stream;

/// A stream and what is under way on it.
pub(super) struct End {
    fd: OwnedFd,
    token: Token,
    /// What has come and is not passed on.
    pub(super) input: Vec<u8>,
    /// What goes out: everything behind `sent`.
    pub(super) out: Vec<u8>,
    sent: usize,
    /// So many bytes have gone out.
    pub(super) sent_bytes: u64,
    /// So many have come.
    pub(super) received_bytes: u64,
    readable: bool,
    /// A short read is not the last one: the end is behind it.
    closing: bool,
    /// The other side has said all it has to say.
    pub(super) ended: bool,
    /// Nobody is there any more.
    pub(super) gone: bool,
    /// What is sent does not arrive.
    pub(super) deaf: bool,
    /// What has ended it.
    trouble: Option<io::Error>,
    /// Something has happened since it was registered.
    news: bool,
    /// Nothing more is said from here.
    finished: bool,
    watches_room: bool,
}

/// What a read has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// More bytes.
    Some,
    /// None, for now.
    Nothing,
    /// None any more.
    Ended,
}

impl End {
    /// Registers a stream. `room`: its first event is that it can be written to.
    pub(super) fn new(fd: OwnedFd, token: Token, registry: &Registry, room: bool) -> io::Result<Self> {
        let interest = if room { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        registry.register(&mut SourceFd(&fd.as_raw_fd()), token, interest)?;
        Ok(Self {
            fd,
            token,
            input: Vec::new(),
            out: Vec::new(),
            sent: 0,
            sent_bytes: 0,
            received_bytes: 0,
            readable: false,
            closing: false,
            ended: false,
            gone: false,
            deaf: false,
            trouble: None,
            news: false,
            finished: false,
            watches_room: room,
        })
    }

    /// There may be something to read, whether an event has said so or not.
    pub(super) fn look(&mut self) {
        self.readable = true;
    }

    /// Notes what an event says.
    pub(super) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.closing |= event.is_read_closed() || event.is_error();
        self.news = true;
        // An event may be about a stream that had this token before. The kernel tells an error once.
        if event.is_error()
            && let Err(error) = stream::failure(&self.fd)
        {
            self.gone = true;
            self.trouble = Some(error);
        }
    }

    /// Reads at most `limit` bytes more.
    pub(super) fn fill(&mut self, limit: usize) -> Filled {
        if self.ended || self.gone {
            return Filled::Ended;
        }
        if !self.readable {
            return Filled::Nothing;
        }
        match stream::read(self.fd.as_fd(), &mut self.input, limit) {
            Ok(0) => {
                self.ended = true;
                Filled::Ended
            }
            Ok(got) => {
                self.received_bytes += got as u64;
                self.readable = got == limit || self.closing;
                Filled::Some
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                Filled::Nothing
            }
            Err(_) => {
                (self.ended, self.gone) = (true, true);
                Filled::Ended
            }
        }
    }

    /// How many bytes wait to go out.
    pub(super) fn waiting(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Something has happened.
    pub(super) fn has_news(&self) -> bool {
        self.news
    }

    /// All that has come was read, as far as anybody knows.
    pub(super) fn is_drained(&self) -> bool {
        self.input.is_empty() && (!self.readable || self.ended)
    }

    /// Writes what fits; `true`: nothing waits any more. Where nobody is there, nothing waits either.
    pub(super) fn flush(&mut self, registry: &Registry) -> bool {
        while self.waiting() > 0 && !self.deaf {
            match stream::write(self.fd.as_fd(), &self.out[self.sent..]) {
                Ok(sent) => {
                    self.sent += sent;
                    self.sent_bytes += sent as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.watch_room(registry);
                    return false;
                }
                Err(_) => self.deaf = true,
            }
        }
        if self.waiting() == 0 || self.deaf {
            self.out.clear();
            self.sent = 0;
        }
        true
    }

    fn watch_room(&mut self, registry: &Registry) {
        if !std::mem::replace(&mut self.watches_room, true) {
            let interest = Interest::READABLE | Interest::WRITABLE;
            if registry.reregister(&mut SourceFd(&self.fd.as_raw_fd()), self.token, interest).is_err() {
                self.deaf = true;
            }
        }
    }

    /// Says that nothing more comes, once everything is out.
    pub(super) fn finish(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            // Whoever is gone needs no word.
            let _ = stream::finish_writing(self.fd.as_fd());
        }
    }

    /// It was said.
    pub(super) fn is_finished(&self) -> bool {
        self.finished
    }

    /// The close will be a reset: what was sent is not the whole.
    pub(super) fn break_off(&self) {
        stream::reset_on_close(self.fd.as_fd());
    }

    /// Whether a connection that was begun has been made.
    pub(super) fn failure(&mut self) -> io::Result<()> {
        self.trouble.take().map_or_else(|| stream::failure(&self.fd), Err)
    }

    /// Gives up the memory that is not in use.
    pub(super) fn rest(&mut self, spare: &mut Spare) {
        if self.input.is_empty() {
            spare.give(std::mem::take(&mut self.input));
        }
        if self.waiting() == 0 {
            self.sent = 0;
            spare.give(std::mem::take(&mut self.out));
        }
    }

    /// Takes memory from those that rest.
    pub(super) fn rise(&mut self, spare: &mut Spare) {
        if self.input.capacity() == 0 {
            self.input = spare.take();
        }
        if self.out.capacity() == 0 {
            self.out = spare.take();
        }
    }
}

/// Buffers that nobody uses: most sessions wait most of the time.
#[derive(Default)]
pub(super) struct Spare(Vec<Vec<u8>>);

/// So many are kept, and none that has grown larger.
const KEPT: usize = 32;
const KEPT_BYTES: usize = 128 * 1024;

impl Spare {
    fn give(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < KEPT && (1..=KEPT_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            self.0.push(buffer);
        }
    }

    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }
}
