//! The pipe through which the lines of zygote, workers, daemons and of whatever they start come to the master.

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::{fs, io};

use ruwsgi_sys::process;
use ruwsgi_sys::sink::SinkFd;

use super::{Loggers, Sort};

/// A line that has no end is cut here.
const LONGEST: usize = 64 * 1024;
/// So much is read before somebody else has his turn.
const TURN: usize = 1024 * 1024;

/// Both ends of the pipe, and what was read of a line that has not ended.
pub(crate) struct Lines {
    sort: Sort,
    read: fs::File,
    write: OwnedFd,
    begun: Vec<u8>,
    /// What was begun was so long at the last look.
    seen: usize,
}

impl Lines {
    pub(crate) fn new(sort: Sort) -> io::Result<Self> {
        let (read, write) = process::wide_pipe()?;
        Ok(Self { sort, read: read.into(), write, begun: Vec::new(), seen: 0 })
    }

    /// For programs, which may block on it.
    pub(crate) fn write_end(&self) -> BorrowedFd<'_> {
        self.write.as_fd()
    }

    /// For our own processes, which never do.
    pub(crate) fn sink(&self) -> io::Result<OwnedFd> {
        SinkFd::open(self.write.as_fd())?.as_fd().try_clone_to_owned()
    }

    /// Deals out what has come. `true`: there may be more.
    pub(crate) fn read(&mut self, loggers: &Loggers) -> bool {
        let mut room = vec![0; 64 * 1024];
        let mut got = 0;
        while got < TURN {
            match self.read.read(&mut room) {
                Ok(0) => return false,
                Ok(more) => {
                    got += more;
                    self.deal(&room[..more], loggers);
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

    /// What has waited for its end since the last look is a line.
    pub(crate) fn look(&mut self, loggers: &Loggers) {
        if !self.begun.is_empty() && self.begun.len() == self.seen {
            self.end(loggers);
        }
        self.seen = self.begun.len();
    }

    /// What has begun is a line.
    pub(crate) fn end(&mut self, loggers: &Loggers) {
        if !self.begun.is_empty() {
            loggers.take(self.sort, self.begun.strip_suffix(b"\n").unwrap_or(&self.begun));
            self.begun.clear();
        }
    }
}

impl AsRawFd for Lines {
    fn as_raw_fd(&self) -> RawFd {
        self.read.as_raw_fd()
    }
}
