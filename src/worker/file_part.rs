//! The end of a response that lies in a file: the connection owns it and sends it while the client takes it, so that a
//! slow reader of a large file costs a descriptor and no core. Made by `Response::hand_over`, driven by `attend`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ruwsgi_sys::{file, stream};
use ruwsgi_wire::fastcgi::Records;

/// So many bytes go out in one turn, before other connections get theirs.
const TURN_BYTES: u64 = 1024 * 1024;

/// What is still to be sent.
pub(crate) struct FilePart {
    pub file: OwnedFd,
    pub at: u64,
    pub left: u64,
    /// What the protocol puts behind it.
    pub behind: Vec<u8>,
    /// How the protocol cuts it; the first piece was announced with the response.
    records: Option<Records>,
    /// What is left of a piece.
    piece: u64,
    /// What is left of the header of a piece.
    header: Vec<u8>,
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
    /// `left` bytes of `file` from `at` on, announced as a whole.
    pub(crate) fn new(file: OwnedFd, at: u64, left: u64, records: Option<Records>) -> Self {
        let piece = records.map_or(left, |_| left.min(Records::MOST as u64));
        Self { file, at, left, behind: Vec::new(), records, piece, header: Vec::new() }
    }

    /// Sends what the stream takes, at most a turn's share.
    pub(crate) fn send(&mut self, stream: BorrowedFd<'_>) -> Turn {
        let mut share = TURN_BYTES;
        while self.left > 0 && share > 0 {
            if let Err(error) = self.begin_piece(stream) {
                return of(&error);
            }
            let want = self.piece.min(share);
            match file::send(stream, self.file.as_fd(), self.at, want as usize) {
                Ok(0) => return Turn::Broken,
                Ok(sent) => {
                    self.at += sent as u64;
                    self.left -= sent as u64;
                    self.piece -= sent as u64;
                    share -= sent as u64;
                }
                Err(error) => return of(&error),
            }
        }
        if self.left == 0 { Turn::Done } else { Turn::More }
    }

    /// Sends the header of the next piece, if one begins here.
    fn begin_piece(&mut self, stream: BorrowedFd<'_>) -> io::Result<()> {
        if let Some(records) = self.records.filter(|_| self.piece == 0) {
            self.piece = self.left.min(Records::MOST as u64);
            self.header = records.header(self.piece as usize).to_vec();
        }
        while !self.header.is_empty() {
            let sent = stream::write(stream, &self.header)?;
            self.header.drain(..sent);
        }
        Ok(())
    }
}

fn of(error: &io::Error) -> Turn {
    match error.kind() {
        io::ErrorKind::WouldBlock => Turn::Full,
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::TimedOut => Turn::Gone,
        _ => Turn::Broken,
    }
}
