//! The end of a response that lies in a file: the connection owns it and sends it while the client takes it, so that a
//! slow reader of a large file costs a descriptor and no core. Made by `Response::hand_over`, driven by `attend`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ruwsgi_sys::file;

/// So many bytes go out in one turn, before other connections get theirs.
const TURN_BYTES: u64 = 1024 * 1024;

/// What is still to be sent.
pub(crate) struct FilePart {
    pub file: OwnedFd,
    pub at: u64,
    pub left: u64,
    /// What the protocol puts behind it.
    pub behind: Vec<u8>,
}

/// How far a turn got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// All of it is sent.
    Done,
    /// The client takes more at once, after others.
    More,
    /// The client takes no more now.
    Full,
    /// The client is gone.
    Gone,
    /// The file has become shorter than the head said, or can't be read: nothing right can follow.
    Broken,
}

impl FilePart {
    /// Sends what the stream takes, at most a turn's share.
    pub(crate) fn send(&mut self, stream: BorrowedFd<'_>) -> Turn {
        let mut share = TURN_BYTES;
        while self.left > 0 && share > 0 {
            let want = self.left.min(share);
            match file::send(stream, self.file.as_fd(), self.at, want as usize) {
                Ok(0) => return Turn::Broken,
                Ok(sent) => {
                    self.at += sent as u64;
                    self.left -= sent as u64;
                    share -= sent as u64;
                }
                Err(error) => return of(&error),
            }
        }
        if self.left == 0 { Turn::Done } else { Turn::More }
    }
}

fn of(error: &io::Error) -> Turn {
    match error.kind() {
        io::ErrorKind::WouldBlock => Turn::Full,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut => Turn::Gone,
        _ => Turn::Broken,
    }
}
