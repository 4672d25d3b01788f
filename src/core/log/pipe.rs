//! The pipe through which the lines of zygote, workers, daemons and of whatever they start come to the master.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::{fs, io};

use ruwsgi_sys::sink::SinkFd;
use ruwsgi_sys::{exec, process};

use super::{Loggers, Sort};
use crate::upgrade::Pipe as Left;

/// A line that has no end is cut here.
const LONGEST: usize = 64 * 1024;
/// So much is read before somebody else has his turn.
const TURN: usize = 1024 * 1024;

/// The pipes of an instance.
pub(crate) struct Pipes {
    others: Lines,
    /// `None`: they come with the others.
    requests: Option<Lines>,
}

impl Pipes {
    pub(crate) fn new(apart: bool) -> io::Result<Self> {
        let requests = if apart { Some(Lines::new(Sort::Request)?) } else { None };
        Ok(Self { others: Lines::new(Sort::Other)?, requests })
    }

    /// Those of another executable.
    pub(crate) fn inherited(left: &[Left]) -> io::Result<Self> {
        let lines = |left: Option<&Left>, sort| left.map(|left| Lines::inherited(sort, left)).transpose();
        let others = lines(left.first(), Sort::Other)?.ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { others, requests: lines(left.get(1), Sort::Request)? })
    }

    /// What is left to another executable.
    pub(crate) fn left(&self) -> Vec<Left> {
        [Some(&self.others), self.requests.as_ref()].into_iter().flatten().map(Lines::left).collect()
    }

    /// For programs, which may block on it.
    pub(crate) fn write_end(&self) -> BorrowedFd<'_> {
        self.others.write.as_fd()
    }

    /// For our own processes, which never do: for all lines, and for those of requests.
    pub(crate) fn sinks(&self) -> io::Result<[OwnedFd; 2]> {
        Ok([self.others.sink()?, self.requests.as_ref().unwrap_or(&self.others).sink()?])
    }

    /// Lines of requests come apart.
    pub(crate) fn has_requests(&self) -> bool {
        self.requests.is_some()
    }

    /// What the master watches.
    pub(crate) fn numbers(&self) -> Vec<RawFd> {
        [Some(&self.others), self.requests.as_ref()].into_iter().flatten().map(|lines| lines.read.as_raw_fd()).collect()
    }

    /// Deals out what has come. `true`: there may be more.
    pub(crate) fn read(&mut self, loggers: &Loggers) -> bool {
        let more = self.others.read(loggers);
        self.requests.as_mut().is_some_and(|requests| requests.read(loggers)) || more
    }

    /// What has waited for its end since the last look is a line; `now`: whatever has begun is one.
    pub(crate) fn look(&mut self, loggers: &Loggers, now: bool) {
        for lines in [Some(&mut self.others), self.requests.as_mut()].into_iter().flatten() {
            if now { lines.end(loggers) } else { lines.look(loggers) }
        }
    }
}

/// Both ends of the pipe, and what was read of a line that has not ended.
struct Lines {
    sort: Sort,
    read: fs::File,
    write: OwnedFd,
    begun: Vec<u8>,
    /// What was begun was so long at the last look.
    seen: usize,
}

impl Lines {
    fn new(sort: Sort) -> io::Result<Self> {
        let (read, write) = process::wide_pipe()?;
        Ok(Self { sort, read: read.into(), write, begun: Vec::new(), seen: 0 })
    }

    fn inherited(sort: Sort, left: &Left) -> io::Result<Self> {
        let (read, write) = (exec::inherited(left.read)?, exec::inherited(left.write)?);
        Ok(Self { sort, read: read.into(), write, begun: left.begun.clone(), seen: 0 })
    }

    fn left(&self) -> Left {
        Left { read: self.read.as_raw_fd(), write: self.write.as_raw_fd(), begun: self.begun.clone() }
    }

    fn sink(&self) -> io::Result<OwnedFd> {
        SinkFd::open(self.write.as_fd())?.as_fd().try_clone_to_owned()
    }

    fn read(&mut self, loggers: &Loggers) -> bool {
        let mut room = vec![0; 64 * 1024];
        let mut got = 0;
        while got < TURN {
            match self.read.read(&mut room) {
                Ok(0) => return false,
                Ok(more) => {
                    got += more;
                    self.deal(&room[..more], loggers);
                    // Otherwise more would wait than may.
                    loggers.hurry();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn deal(&mut self, bytes: &[u8], loggers: &Loggers) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(part);
            if part.ends_with(b"\n") || self.begun.len() >= LONGEST {
                self.end(loggers);
            }
        }
    }

    fn look(&mut self, loggers: &Loggers) {
        if !self.begun.is_empty() && self.begun.len() == self.seen {
            self.end(loggers);
        }
        self.seen = self.begun.len();
    }

    /// What has begun is a line.
    fn end(&mut self, loggers: &Loggers) {
        if !self.begun.is_empty() {
            loggers.take(self.sort, self.begun.strip_suffix(b"\n").unwrap_or(&self.begun));
            self.begun.clear();
        }
    }
}
