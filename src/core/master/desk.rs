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

use super::health;
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
    /// Somebody who is not on this machine asks for that.
    Refused,
}

/// The doors and who stands there.
#[derive(Default)]
pub(super) struct Desk {
    doors: Vec<Door>,
    /// Those of a reload, for when it is known to be good. Whoever comes there waits.
    next: Option<Vec<Door>>,
    visitors: Vec<Visitor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Stats,
    StatsHttp,
    Admin,
    /// One who has asked for stacks by a signal.
    Asking,
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
    /// Waits for what is being collected.
    waits: bool,
    /// Sits at this machine.
    near: bool,
    until_ms: u64,
}

impl Desk {
    /// Opens the doors that a configuration asks for, and closes those that it does not. `left`: what is open already, and
    /// may be one of them.
    pub(super) fn renew(&mut self, poll: &Poll, config: &Config, left: &[Rc<Bound>]) -> Result<(), String> {
        self.prepare(config, left)?;
        self.adopt(poll)
    }

    /// Opens the doors that a configuration asks for.
    pub(super) fn prepare(&mut self, config: &Config, left: &[Rc<Bound>]) -> Result<(), String> {
        let former = [&self.doors(), left].concat();
        let doors: Result<Vec<Door>, String> = wanted(config).map(|said| open(said, config, &former)).collect();
        self.next = Some(doors?);
        Ok(())
    }

    /// What was prepared counts: visitors are let in there, and other doors are closed.
    pub(super) fn adopt(&mut self, poll: &Poll) -> Result<(), String> {
        let Some(doors) = self.next.take() else { return Ok(()) };
        self.take(poll, doors)
    }

    /// What was prepared is closed again.
    pub(super) fn give_up(&mut self) {
        self.next = None;
    }

    /// Opens those that can be opened; what is wrong with the others.
    pub(super) fn go_on(&mut self, poll: &Poll, config: &Config, left: &[Rc<Bound>]) -> Vec<String> {
        let (mut doors, mut wrong) = (Vec::new(), Vec::new());
        for said in wanted(config) {
            match open(said, config, left) {
                Ok(door) => doors.push(door),
                Err(reason) => wrong.push(reason),
            }
        }
        wrong.extend(self.take(poll, doors).err());
        wrong
    }

    fn take(&mut self, poll: &Poll, doors: Vec<Door>) -> Result<(), String> {
        let watched = self.doors();
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

    /// The sockets of all doors.
    pub(super) fn doors(&self) -> Vec<Rc<Bound>> {
        self.doors.iter().map(|door| door.bound.clone()).collect()
    }

    /// When somebody's patience is over.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.visitors.iter().map(|visitor| visitor.until_ms).min()
    }

    /// Lets somebody in who waits for stacks.
    pub(super) fn admit(&mut self, poll: &Poll, stream: OwnedFd, now_ms: u64) {
        if self.visitors.len() < VISITORS && watch(poll, &stream).is_ok() {
            self.visitors.push(Visitor::new(stream, Kind::Asking, true, now_ms));
        }
    }

    /// What was collected goes to everybody who waits for it.
    pub(super) fn deliver(&mut self, text: &[u8]) {
        for visitor in self.visitors.iter_mut().filter(|visitor| visitor.waits) {
            visitor.waits = false;
            let http = visitor.kind != Kind::Asking;
            let bytes =
                if http { health::over_http("200 OK", "text/plain; charset=utf-8", text) } else { text.to_vec() };
            visitor.answer = Some((bytes, 0));
        }
        self.visitors.retain_mut(|visitor| visitor.go_on(&mut |_| Vec::new()));
    }

    /// Lets visitors in, hears them and answers, as far as that goes without waiting. `true`: somebody has come who waits
    /// for stacks.
    pub(super) fn look(&mut self, poll: &Poll, now_ms: u64, mut answer: impl FnMut(Question<'_>) -> Vec<u8>) -> bool {
        self.visitors.retain(|visitor| visitor.until_ms > now_ms);
        for door in &self.doors {
            // Until nobody waits: an arrival is told once. An error is told again by the next one.
            while let Ok(Some((stream, peer))) = stream::accept(door.bound.as_fd()) {
                if self.visitors.len() < VISITORS && watch(poll, &stream).is_ok() {
                    let near = peer.ip().is_none_or(|ip| ip.is_loopback());
                    self.visitors.push(Visitor::new(stream, door.kind, near, now_ms));
                }
            }
        }
        let waited = self.waiting();
        self.visitors.retain_mut(|visitor| visitor.go_on(&mut answer));
        self.waiting() > waited
    }

    fn waiting(&self) -> usize {
        self.visitors.iter().filter(|visitor| visitor.waits).count()
    }
}

impl Visitor {
    fn new(stream: OwnedFd, kind: Kind, near: bool, now_ms: u64) -> Self {
        let (waits, until_ms) = (kind == Kind::Asking, now_ms + PATIENCE_MS);
        Self { stream, kind, heard: Vec::new(), answer: None, waits, near, until_ms }
    }

    /// Hears and answers what it can; `false`: this visit is over.
    fn go_on(&mut self, answer: &mut impl FnMut(Question<'_>) -> Vec<u8>) -> bool {
        if self.waits {
            return true;
        }
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
                        Kind::Admin if path == "/stacks" && self.near => {
                            self.waits = true;
                            return true;
                        }
                        Kind::Admin if path == "/stacks" => Question::Refused,
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

/// An option, where it says to be, and what is told there.
type Said<'c> = (&'static str, &'c str, Kind);

fn wanted(config: &Config) -> impl Iterator<Item = Said<'_>> {
    let said = &config.stats;
    let stats = if said.stats_http { Kind::StatsHttp } else { Kind::Stats };
    let all = [("stats", &said.stats, stats), ("admin", &said.admin, Kind::Admin)];
    all.into_iter().filter_map(|(option, address, kind)| Some((option, address.as_deref()?, kind)))
}

fn open((option, address, kind): Said<'_>, config: &Config, former: &[Rc<Bound>]) -> Result<Door, String> {
    Ok(Door { bound: door(option, address, config, former)?, kind })
}

/// One token for all: at each wake everything is looked at.
fn watch(poll: &Poll, source: &impl AsRawFd) -> io::Result<()> {
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut SourceFd(&source.as_raw_fd()), Token(0), interest)
}
