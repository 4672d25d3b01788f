//! Where the master itself answers: statistics, and health checks. `run` calls it at each wake.
//!
//! Nothing here blocks: a visitor that sends or takes nothing waits, for a while, and costs nobody else anything. What
//! is told is made by `stats` and `health`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use ruwsgi_options::Config;
use ruwsgi_sys::stream;

use crate::listeners::{Bound, door};

/// How long a visitor may take, in milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// So many visitors at a time; others wait in the listen queue.
const VISITORS: usize = 128;
/// The largest head of a request.
const HEAD_BYTES: usize = 8 * 1024;

/// What a visitor asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question<'q> {
    /// The statistics, and whether over HTTP.
    Stats { http: bool },
    /// What this path of `admin` says.
    Health { path: &'q str },
}

/// The doors and who stands there.
#[derive(Default)]
pub(super) struct Desk {
    doors: Vec<Door>,
    visitors: Vec<Visitor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stats,
    StatsHttp,
    Admin,
}

struct Door {
    bound: Rc<Bound>,
    kind: Kind,
}

struct Visitor {
    stream: OwnedFd,
    kind: Kind,
    heard: Vec<u8>,
    answer: Option<(Vec<u8>, usize)>,
    until_ms: u64,
}

impl Desk {
    /// Opens the doors that a configuration asks for, and closes those that it does not.
    pub(super) fn renew(&mut self, poll: &Poll, config: &Config) -> Result<(), String> {
        self.open(poll, config, &[])
    }

    /// `left`: doors that are open and that nobody watches.
    fn open(&mut self, poll: &Poll, config: &Config, left: &[Rc<Bound>]) -> Result<(), String> {
        let watched = self.doors();
        let former = [&watched, left].concat();
        let said = &config.stats;
        let stats = if said.stats_http { Kind::StatsHttp } else { Kind::Stats };
        let mut doors = Vec::new();
        for (option, address, kind) in [("stats", &said.stats, stats), ("admin", &said.admin, Kind::Admin)] {
            if let Some(address) = address {
                doors.push(Door { bound: door(option, address, config, &former)?, kind });
            }
        }
        for door in &doors {
            if !watched.iter().any(|bound| Rc::ptr_eq(bound, &door.bound)) {
                watch(poll, &door.bound.as_fd()).map_err(|error| format!("epoll: {error}"))?;
            }
        }
        for bound in watched {
            if !doors.iter().any(|door| Rc::ptr_eq(&bound, &door.bound)) {
                let _ = poll.registry().deregister(&mut SourceFd(&bound.as_fd().as_raw_fd()));
            }
        }
        self.doors = doors;
        Ok(())
    }

    /// One that goes on behind these.
    pub(super) fn renewed(poll: &Poll, config: &Config, former: &[Rc<Bound>]) -> Result<Self, String> {
        let mut desk = Self::default();
        desk.open(poll, config, former)?;
        Ok(desk)
    }

    /// The sockets of all doors.
    pub(super) fn doors(&self) -> Vec<Rc<Bound>> {
        self.doors.iter().map(|door| door.bound.clone()).collect()
    }

    /// When somebody's patience is over.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.visitors.iter().map(|visitor| visitor.until_ms).min()
    }

    /// Lets visitors in, hears them and answers, as far as that goes without waiting.
    pub(super) fn look(&mut self, poll: &Poll, now_ms: u64, mut answer: impl FnMut(Question<'_>) -> Vec<u8>) {
        self.visitors.retain(|visitor| visitor.until_ms > now_ms);
        for door in &self.doors {
            // Until nobody waits: an arrival is told once. An error is told again by the next one.
            while let Ok(Some((stream, _))) = stream::accept(door.bound.as_fd()) {
                if self.visitors.len() < VISITORS && watch(poll, &stream).is_ok() {
                    let until_ms = now_ms + PATIENCE_MS;
                    self.visitors.push(Visitor { stream, kind: door.kind, heard: Vec::new(), answer: None, until_ms });
                }
            }
        }
        self.visitors.retain_mut(|visitor| visitor.go_on(&mut answer));
    }
}

impl Visitor {
    /// Hears and answers what it can; `false`: this visit is over.
    fn go_on(&mut self, answer: &mut impl FnMut(Question<'_>) -> Vec<u8>) -> bool {
        if self.answer.is_none() && !self.listen(answer) {
            return false;
        }
        let Some((bytes, sent)) = &mut self.answer else { return true };
        while *sent < bytes.len() {
            match stream::write(self.stream.as_fd(), &bytes[*sent..]) {
                Ok(more) => *sent += more,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        if self.kind == Kind::Stats {
            // Whoever sends something here is not heard, and would get a reset instead of the end.
            let _ = stream::read(self.stream.as_fd(), &mut Vec::new(), HEAD_BYTES);
        }
        false
    }

    /// Reads the question, where there is one to read; `false`: nobody asks any more.
    fn listen(&mut self, answer: &mut impl FnMut(Question<'_>) -> Vec<u8>) -> bool {
        if self.kind == Kind::Stats {
            self.answer = Some((answer(Question::Stats { http: false }), 0));
            return true;
        }
        loop {
            let room = HEAD_BYTES - self.heard.len();
            match stream::read(self.stream.as_fd(), &mut self.heard, room) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
            let mut fields = [httparse::EMPTY_HEADER; 64];
            let mut request = httparse::Request::new(&mut fields);
            match request.parse(&self.heard) {
                Ok(httparse::Status::Complete(_)) => {
                    let target = request.path.unwrap_or_default();
                    let path = target.split('?').next().unwrap_or_default();
                    let question = match self.kind {
                        Kind::Admin => Question::Health { path },
                        _ => Question::Stats { http: true },
                    };
                    self.answer = Some((answer(question), 0));
                    return true;
                }
                Ok(httparse::Status::Partial) if self.heard.len() < HEAD_BYTES => {}
                _ => return false,
            }
        }
    }
}

/// One token for all: at each wake everything is looked at.
fn watch(poll: &Poll, source: &impl AsRawFd) -> io::Result<()> {
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut SourceFd(&source.as_raw_fd()), Token(0), interest)
}
