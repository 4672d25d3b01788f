//! A descriptor to write log lines to without ever waiting, and without changing the flags that others share.
//!
//! O_NONBLOCK belongs to the open file description, which a shell, systemd or our own parent may hold too. So a pipe or
//! a terminal is opened anew through `/proc`, a socket is written with MSG_DONTWAIT, and a regular file is used as it
//! is: it never answers EAGAIN, and a second description would have an offset of its own.

use std::fs::OpenOptions;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use nix::sys::stat::{SFlag, fstat};

/// A descriptor for log lines.
#[derive(Debug)]
pub struct SinkFd {
    fd: OwnedFd,
    kind: SFlag,
}

impl SinkFd {
    /// For what `fd` refers to.
    pub fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let anew = || OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
        let fd = match kind {
            SFlag::S_IFIFO | SFlag::S_IFCHR => match anew() {
                Ok(file) => file.into(),
                // No /proc, or a terminal of another user: the line is worth more than the promise.
                Err(_) => fd.try_clone_to_owned()?,
            },
            _ => fd.try_clone_to_owned()?,
        };
        Ok(Self { fd, kind })
    }

    /// One that another process of ours has opened and sent.
    pub fn received(fd: OwnedFd) -> io::Result<Self> {
        let kind = SFlag::from_bits_truncate(fstat(&fd)?.st_mode) & SFlag::S_IFMT;
        Ok(Self { fd, kind })
    }

    /// The longest write that goes in whole or not at all, in bytes; what several processes write in longer ones can
    /// be mixed. `None`: any does.
    #[must_use]
    pub fn whole_bytes(&self) -> Option<usize> {
        // PIPE_BUF, pipe(7).
        (self.kind == SFlag::S_IFIFO).then_some(4096)
    }

    /// Writes what fits; nothing fits: `WouldBlock`.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.kind == SFlag::S_IFSOCK {
            return crate::stream::write(self.fd.as_fd(), bytes);
        }
        Ok(nix::unistd::write(&self.fd, bytes)?)
    }
}

/// Both refer to the same file, pipe or socket.
#[must_use]
pub fn is_same(first: BorrowedFd<'_>, second: BorrowedFd<'_>) -> bool {
    let identity = |fd| fstat(fd).map(|stat| (stat.st_dev, stat.st_ino)).ok();
    identity(first).is_some() && identity(first) == identity(second)
}

impl AsFd for SinkFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
