//! Messages between parent and child: `SOCK_SEQPACKET` pairs that keep boundaries, carry descriptors and prove the
//! sender's pid.

use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixCredentials, recv, recvmsg,
    sendmsg, setsockopt, socketpair, sockopt,
};

/// The largest message, in bytes. A longer one is refused by [`Channel::send`].
pub const MESSAGE_BYTES: usize = 32 * 1024;
/// The most descriptors in one message (the kernel's own limit is 253).
pub const MESSAGE_FDS: usize = 250;

/// One end of a message pair.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// What [`Channel::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A whole message.
    Message(Message),
    /// Nothing for now (only without `wait`).
    Nothing,
    /// Nobody holds the other end any more.
    Closed,
}

/// A message as it came.
#[derive(Debug)]
pub struct Message {
    /// The payload, never empty.
    pub bytes: Vec<u8>,
    /// The descriptors that came along, close-on-exec.
    pub fds: Vec<OwnedFd>,
    /// The sender's pid as the kernel saw it, where this end asked for it with [`Channel::identify`].
    pub pid: Option<i32>,
}

impl Channel {
    /// A connected pair, both ends close-on-exec.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Self(a), Self(b)))
    }

    /// Takes over a descriptor that an `exec` passed on by number, and makes it close-on-exec again.
    pub fn inherited(number: RawFd) -> io::Result<Self> {
        crate::exec::inherited(number).map(Self)
    }

    /// From a descriptor that came in a message.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// The same end, for another thread.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.try_clone()?))
    }

    /// Asks the kernel for the sender's pid with each message received here.
    pub fn identify(&self) -> io::Result<()> {
        Ok(setsockopt(&self.0, sockopt::PassCred, &true)?)
    }

    /// Sends one message; never blocks: a full channel is `WouldBlock`.
    pub fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_parts(&[IoSlice::new(bytes)], fds)
    }

    /// The same, with a message that is in several places.
    pub fn send_parts(&self, parts: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length == 0 || length > MESSAGE_BYTES || fds.len() > MESSAGE_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a message of this size can't be sent"));
        }
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &control[..] };
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        loop {
            match sendmsg::<()>(self.0.as_raw_fd(), parts, control, flags, None) {
                Err(nix::errno::Errno::EINTR) => {}
                other => return Ok(other.map(drop)?),
            }
        }
    }

    /// Receives one message into memory that is used again and again, of at least [`MESSAGE_BYTES`]; never blocks. How
    /// long it is, and its first two descriptors. `None`: nothing there. `EMFILE`: its descriptors are lost.
    pub fn receive_into(&self, room: &mut [u8]) -> io::Result<Option<(usize, [Option<OwnedFd>; 2])>> {
        let mut control = nix::cmsg_space!([RawFd; 2]);
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        let mut parts = [IoSliceMut::new(room)];
        let received = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control), flags) {
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => return Ok(None),
                Err(error) => return Err(error.into()),
                Ok(received) => break received,
            }
        };
        let mut fds = [None, None];
        // There is room for all that is sent: what was cut off found no number.
        for message in received.cmsgs().map_err(|_| nix::errno::Errno::EMFILE)? {
            if let ControlMessageOwned::ScmRights(raw) = message {
                // SAFETY: the kernel has just made these descriptors for this process; nobody else owns them.
                let mut owned = raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                fds = [owned.next(), owned.next()];
            }
        }
        Ok(Some((received.bytes, fds)))
    }

    /// Copies the start of the next message and leaves it where it is. `None`: nothing there.
    pub fn peek(&self, start: &mut [u8]) -> io::Result<Option<usize>> {
        // Without room for them, its descriptors stay where they are.
        match recv(self.0.as_raw_fd(), start, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT) {
            Ok(length) => Ok(Some(length)),
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks for room for so many bytes of messages under way; the kernel has a limit of its own.
    pub fn enlarge(&self, bytes: usize) {
        // Less room is no error: what does not fit is tried again.
        let _ = setsockopt(&self.0, sockopt::SndBuf, &bytes);
    }

    /// Receives one message; with `wait`, blocks for it.
    pub fn receive(&self, wait: bool) -> io::Result<Received> {
        let mut bytes = vec![0; MESSAGE_BYTES];
        let mut control = nix::cmsg_space!([RawFd; MESSAGE_FDS], UnixCredentials);
        let mut flags = MsgFlags::MSG_CMSG_CLOEXEC;
        if !wait {
            flags |= MsgFlags::MSG_DONTWAIT;
        }
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = loop {
            match recvmsg::<()>(self.0.as_raw_fd(), &mut parts, Some(&mut control), flags) {
                // ECONNRESET: the other end closed without having read all that was sent to it. It is told once, and
                // before the messages that it left here: they come next, then the end.
                Err(nix::errno::Errno::EINTR | nix::errno::Errno::ECONNRESET) => {}
                Err(nix::errno::Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(error) => return Err(error.into()),
                Ok(received) => break received,
            }
        };
        let (mut fds, mut pid) = (Vec::new(), None);
        for message in received.cmsgs()? {
            match message {
                ControlMessageOwned::ScmRights(raw) => {
                    // SAFETY: the kernel has just made these descriptors for this process; nobody else owns them.
                    fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
                ControlMessageOwned::ScmCredentials(sender) => pid = Some(sender.pid()),
                _ => {}
            }
        }
        let length = received.bytes;
        if length == 0 {
            return Ok(Received::Closed);
        }
        bytes.truncate(length);
        Ok(Received::Message(Message { bytes, fds, pid }))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_carry_descriptors() {
        let (a, b) = Channel::pair().unwrap();
        b.identify().unwrap();
        let (read, _write) = nix::unistd::pipe().unwrap();
        a.send(b"one", &[read.as_fd()]).unwrap();
        a.send(b"two", &[]).unwrap();
        let Received::Message(one) = b.receive(true).unwrap() else { panic!("no message") };
        assert_eq!((one.bytes.as_slice(), one.fds.len()), (&b"one"[..], 1));
        assert_eq!(one.pid, Some(std::process::id() as i32));
        let Received::Message(two) = b.receive(true).unwrap() else { panic!("no message") };
        assert_eq!((two.bytes.as_slice(), two.fds.len()), (&b"two"[..], 0));
        assert!(matches!(b.receive(false).unwrap(), Received::Nothing));
        drop(a);
        assert!(matches!(b.receive(true).unwrap(), Received::Closed));
    }

    #[test]
    fn a_message_can_be_looked_at_before_it_is_taken() {
        let (a, b) = Channel::pair().unwrap();
        let (read, _write) = nix::unistd::pipe().unwrap();
        let (mut start, mut room) = ([0; 3], vec![0; MESSAGE_BYTES]);
        assert_eq!(b.peek(&mut start).unwrap(), None);
        assert!(b.receive_into(&mut room).unwrap().is_none());
        a.send_parts(&[IoSlice::new(b"he"), IoSlice::new(b"llo")], &[read.as_fd()]).unwrap();
        for _ in 0..2 {
            assert_eq!(b.peek(&mut start).unwrap(), Some(3));
            assert_eq!(&start, b"hel");
        }
        let (length, [first, second]) = b.receive_into(&mut room).unwrap().unwrap();
        assert_eq!((&room[..length], first.is_some(), second.is_some()), (&b"hello"[..], true, false));
    }

    #[test]
    fn the_last_words_of_who_left_unread_mail_are_heard() {
        let (a, b) = Channel::pair().unwrap();
        a.send(b"nobody reads this", &[]).unwrap();
        b.send(b"last words", &[]).unwrap();
        drop(b);
        let Received::Message(last) = a.receive(false).unwrap() else { panic!("no message") };
        assert_eq!(last.bytes, b"last words");
        assert!(matches!(a.receive(false).unwrap(), Received::Closed));
    }

    #[test]
    fn a_message_that_is_too_long_is_refused() {
        let (a, _b) = Channel::pair().unwrap();
        assert!(a.send(&vec![0; MESSAGE_BYTES + 1], &[]).is_err());
        assert!(a.send(&[], &[]).is_err());
    }
}
