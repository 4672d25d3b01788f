//! The end of a response that lies in a file: the connection owns it and sends it while the client takes it, so that a
//! slow reader of a large file costs a descriptor and no core. Made by `Response::hand_over`, driven by `attend`.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ruwsgi_sys::{file, stream};
use ruwsgi_wire::fastcgi::Records;

/// So many bytes go out in one turn, before other connections get theirs.
const TURN_BYTES: u64 = 1024 * 1024;

/// Some bytes, then a piece of the file.
pub(crate) struct Slice {
    pub text: Vec<u8>,
    pub at: u64,
    pub length: u64,
}

impl Slice {
    /// What is still to be sent of it, in bytes.
    pub(crate) fn left(&self) -> u64 {
        self.text.len() as u64 + self.length
    }
}

/// What is still to be sent.
pub(crate) struct FilePart {
    file: OwnedFd,
    slices: VecDeque<Slice>,
    /// Of all slices together, in bytes.
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
    /// Slices of `file`, `left` bytes of which were announced: what is more is not sent.
    pub(crate) fn new(file: OwnedFd, slices: Vec<Slice>, left: u64, records: Option<Records>) -> Self {
        let piece = records.map_or(left, |_| left.min(Records::MOST as u64));
        Self { file, slices: slices.into(), left, behind: Vec::new(), records, piece, header: Vec::new() }
    }

    /// Sends what the stream takes, at most a turn's share.
    pub(crate) fn send(&mut self, stream: BorrowedFd<'_>) -> Turn {
        let mut share = TURN_BYTES;
        while self.left > 0 && share > 0 {
            if let Err(error) = self.begin_piece(stream) {
                return of(&error);
            }
            match self.send_slice(stream, self.piece.min(share)) {
                Ok(0) => return Turn::Broken,
                Ok(sent) => {
                    self.left -= sent;
                    self.piece -= sent;
                    share -= sent;
                }
                Err(error) => return of(&error),
            }
        }
        if self.left == 0 { Turn::Done } else { Turn::More }
    }

    /// Whether what the next turn reads is in memory, as far as anybody can say: its beginning and its end are looked at.
    pub(crate) fn is_cached(&self) -> bool {
        let mut share = TURN_BYTES;
        for slice in &self.slices {
            let read = slice.length.min(share);
            let is_here = |at| file::is_cached(self.file.as_fd(), at);
            if read > 0 && !(is_here(slice.at) && is_here(slice.at + read - 1)) {
                return false;
            }
            share -= read;
            if share == 0 {
                break;
            }
        }
        true
    }

    /// Sends at most `most` bytes of the slice that is next. 0: the file is over before its end.
    fn send_slice(&mut self, stream: BorrowedFd<'_>, most: u64) -> io::Result<u64> {
        let Some(slice) = self.slices.front_mut() else { return Ok(0) };
        let sent = if slice.text.is_empty() {
            let sent = file::send(stream, self.file.as_fd(), slice.at, slice.length.min(most) as usize)? as u64;
            slice.at += sent;
            slice.length -= sent;
            sent
        } else {
            let most = usize::try_from(most).unwrap_or(usize::MAX).min(slice.text.len());
            let sent = stream::write(stream, &slice.text[..most])?;
            slice.text.drain(..sent);
            sent as u64
        };
        if slice.left() == 0 {
            self.slices.pop_front();
        }
        Ok(sent)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    #[test]
    fn slices_go_out_one_after_the_other_in_any_pieces() {
        let sealed = ruwsgi_sys::memory::sealed_file(b"0123456789").unwrap();
        let slice = |text: &str, at, length| Slice { text: text.into(), at, length };
        let slices = vec![slice("<", 0, 2), slice("><", 8, 2), slice(">", 0, 0)];
        let left = slices.iter().map(Slice::left).sum();
        assert_eq!(left, 8);
        let mut part = FilePart::new(sealed.try_clone().unwrap(), slices, left, None);
        let (server, mut client) = UnixStream::pair().unwrap();
        assert_eq!(part.send(server.as_fd()), Turn::Done);
        drop(server);
        let mut got = String::new();
        client.read_to_string(&mut got).unwrap();
        assert_eq!(got, "<01><89>");
        let mut part = FilePart::new(sealed, vec![Slice { text: Vec::new(), at: 8, length: 9 }], 9, None);
        let (server, _client) = UnixStream::pair().unwrap();
        assert_eq!(part.send(server.as_fd()), Turn::Broken, "the file is shorter");
    }
}
