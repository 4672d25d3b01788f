//! Stream sockets of clients: accept, read, write, never blocking unless a `wait` is asked for by name.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, sendmsg, shutdown,
    socket,
};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// An internet address; IPv4 ones that came over an IPv6 socket are shown as IPv4.
    Inet(SocketAddr),
    /// A unix socket: no address worth showing.
    Local,
}

impl Peer {
    /// The address, if it has one.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet(address) => Some(address.ip()),
            Self::Local => None,
        }
    }
}

/// Accepts one connection of a listener: non-blocking and close-on-exec. `None`: nobody waits (or whoever waited is
/// gone).
pub fn accept(listener: BorrowedFd<'_>) -> io::Result<Option<(OwnedFd, Peer)>> {
    // SAFETY: an all-zero sockaddr_storage is valid; accept4 writes at most `length` bytes into it.
    let (fd, address) = unsafe {
        let mut address: libc::sockaddr_storage = std::mem::zeroed();
        let mut length = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        let fd = libc::accept4(
            listener.as_raw_fd(),
            (&raw mut address).cast(),
            &raw mut length,
            libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
        );
        (fd, address)
    };
    if fd < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            // ECONNABORTED and the network errors of accept(2) are the client's, not the listener's.
            Some(
                libc::EAGAIN
                | libc::EINTR
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
                | libc::ENOPROTOOPT
                | libc::EOPNOTSUPP
                | libc::ENONET,
            ) => Ok(None),
            _ => Err(error),
        };
    }
    // SAFETY: accept4 has just made it for us.
    Ok(Some((unsafe { OwnedFd::from_raw_fd(fd) }, peer(&address))))
}

/// Whose address that is; one of no family is nobody's.
pub(crate) fn peer(address: &libc::sockaddr_storage) -> Peer {
    // SAFETY: the family says which of the two layouts the kernel wrote; the storage is large enough for both.
    unsafe {
        match i32::from(address.ss_family) {
            libc::AF_INET => {
                let v4 = &*(&raw const *address).cast::<libc::sockaddr_in>();
                let ip = IpAddr::from(v4.sin_addr.s_addr.to_ne_bytes());
                Peer::Inet(SocketAddr::new(ip, u16::from_be(v4.sin_port)))
            }
            libc::AF_INET6 => {
                let v6 = &*(&raw const *address).cast::<libc::sockaddr_in6>();
                let ip = IpAddr::from(v6.sin6_addr.s6_addr).to_canonical();
                Peer::Inet(SocketAddr::new(ip, u16::from_be(v6.sin6_port)))
            }
            _ => Peer::Local,
        }
    }
}

/// The user at the other end of a unix socket, as the kernel noted it when it connected.
pub fn peer_user(stream: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?.uid())
}

/// Reads what is there, at most `limit` bytes, and appends it to `buffer`. 0 is the end; nothing there is
/// `WouldBlock`.
// Through rustix, as `send` below: the calls of every request go to the kernel directly. Those of the C library are
// points at which a thread can be cancelled, and a process with threads pays for that in each of them.
pub fn read(stream: BorrowedFd<'_>, buffer: &mut Vec<u8>, limit: usize) -> io::Result<usize> {
    buffer.reserve(limit);
    loop {
        let room = &mut buffer.spare_capacity_mut()[..limit];
        match recv(stream, room, RecvFlags::DONTWAIT) {
            Ok(((_, _), got)) => {
                // SAFETY: the kernel has written these bytes.
                unsafe { buffer.set_len(buffer.len() + got) };
                return Ok(got);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Writes one part; how much went out. Nothing fits: `WouldBlock`. A client that is gone: an error, never a signal.
pub fn write(stream: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send(stream, bytes, SendFlags::empty())
}

/// Writes one part as [`write`] does, and a FIN behind it if all of it fits: over TCP both travel in one segment, which
/// saves each side a packet and the client a wake-up.
pub fn write_last(stream: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let sent = send(stream, bytes, SendFlags::MORE)?;
    // What was sent waits for more: the FIN takes it along, or what is written next does.
    if sent == bytes.len() {
        // A client that is gone by now has lost nothing that the next read does not tell.
        let _ = finish_writing(stream);
    }
    Ok(sent)
}

/// The same as [`write`], where more follows at once: it may share a packet with this.
pub fn write_more(stream: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    send(stream, bytes, SendFlags::MORE)
}

fn send(stream: BorrowedFd<'_>, bytes: &[u8], flags: SendFlags) -> io::Result<usize> {
    loop {
        match rustix::net::send(stream, bytes, flags | SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Writes several parts with one call, as [`write`] does.
pub fn write_parts(stream: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match sendmsg::<SockaddrStorage>(stream.as_raw_fd(), parts, &[], flags, None) {
            Err(nix::errno::Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Remote {
    /// An internet address.
    Inet(SocketAddr),
    /// A unix socket: its file, or behind a NUL its name.
    Unix(Vec<u8>),
}

/// Begins to connect: non-blocking and close-on-exec. `true`: the connection is there; otherwise it is, or has failed
/// ([`failure`]), when the stream becomes writable. A unix socket whose queue is full is `WouldBlock`: nothing has begun.
pub fn connect(remote: &Remote) -> io::Result<(OwnedFd, bool)> {
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let (family, address): (_, Box<dyn SockaddrLike>) = match remote {
        Remote::Inet(address @ SocketAddr::V4(_)) => (AddressFamily::Inet, Box::new(SockaddrStorage::from(*address))),
        Remote::Inet(address) => (AddressFamily::Inet6, Box::new(SockaddrStorage::from(*address))),
        Remote::Unix(name) => {
            let address = match name.strip_prefix(b"\0") {
                Some(name) => UnixAddr::new_abstract(name)?,
                None => UnixAddr::new(&name[..])?,
            };
            (AddressFamily::Unix, Box::new(address))
        }
    };
    let fd = socket(family, SockType::Stream, flags, None)?;
    match nix::sys::socket::connect(fd.as_raw_fd(), &*address) {
        Ok(()) => Ok((fd, true)),
        // The connection goes on being made when a signal comes between.
        Err(nix::errno::Errno::EINPROGRESS | nix::errno::Errno::EINTR) => Ok((fd, false)),
        Err(error) => Err(error.into()),
    }
}

/// What a connection has failed of; nothing, where it has not.
pub fn failure(stream: &OwnedFd) -> io::Result<()> {
    match nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::SocketError)? {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// What to wait for.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// Bytes, an end of file or an error.
    Readable,
    /// Room, or an error.
    Writable,
}

/// Reads at most as much as there is room for of what waits, whatever kind of descriptor it is and whoever else reads
/// from it. `None`: nothing waits; 0 bytes: nobody will write any more.
pub fn read_waiting(fd: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<Option<usize>> {
    let into = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    loop {
        // SAFETY: one vector, which is `room`; -1 is the descriptor's own position.
        let got = unsafe { libc::preadv2(fd.as_raw_fd(), &raw const into, 1, -1, libc::RWF_NOWAIT) };
        if got >= 0 {
            return Ok(Some(got as usize));
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => {}
            error if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            // A terminal and the like can't be read that way.
            error if error.raw_os_error() == Some(libc::EOPNOTSUPP) => break,
            error => return Err(error),
        }
    }
    if !wait(fd, Until::Readable, Duration::ZERO)? {
        return Ok(None);
    }
    Ok(Some(nix::unistd::read(fd, room)?))
}

/// Blocks until the stream is ready; `false` when the time is over first.
pub fn wait(stream: BorrowedFd<'_>, until: Until, timeout: Duration) -> io::Result<bool> {
    let flags = match until {
        Until::Readable => PollFlags::POLLIN,
        Until::Writable => PollFlags::POLLOUT,
    };
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let left = PollTimeout::try_from(left.as_millis().min(i32::MAX as u128) as i32).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(stream, flags)], left) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Nobody has closed or reset this connection. (A client that has said all it has to say is still there.)
pub fn is_connected(stream: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(stream.as_fd(), PollFlags::empty())];
    let error = nix::sys::socket::getsockopt(stream, nix::sys::socket::sockopt::SocketError);
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
    let told = poll(&mut polled, PollTimeout::ZERO).map(|_| polled[0].revents().unwrap_or(gone));
    error == Ok(0) && told.is_ok_and(|told| !told.intersects(gone))
}

/// Who is at the other end of a unix socket, as the kernel says: process and user.
pub fn credentials(stream: BorrowedFd<'_>) -> io::Result<(i32, u32)> {
    let found = nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?;
    Ok((found.pid(), found.uid()))
}

/// Connects to a name in the abstract namespace, without waiting for anybody.
pub fn connect_abstract(name: &[u8]) -> io::Result<OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let fd = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    connect(fd.as_raw_fd(), &UnixAddr::new_abstract(name)?)?;
    Ok(fd)
}

/// Sends a FIN: the client sees the end after what was written; what it still sends can be read.
pub fn finish_writing(stream: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(stream.as_raw_fd(), Shutdown::Write)?)
}

/// Writes what fits of this and ends the writing side. `stream` is a number because another thread owns the socket: the
/// caller sees to it that it stays open meanwhile.
pub fn say_last(stream: std::os::fd::RawFd, bytes: &[u8]) {
    // SAFETY: send reads `bytes` only, and shutdown touches no memory.
    unsafe {
        libc::send(stream, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        libc::shutdown(stream, libc::SHUT_WR);
    }
}

/// Makes the close of this descriptor a reset: the client can tell that what it got is not the whole.
pub fn reset_on_close(stream: BorrowedFd<'_>) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // A unix socket has no reset: the close is all that its client sees.
    let _ = nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger);
}

/// Turns Nagle's algorithm off; a unix socket has none.
pub fn no_delay(stream: BorrowedFd<'_>) {
    let _ = nix::sys::socket::setsockopt(&stream.as_fd(), nix::sys::socket::sockopt::TcpNoDelay, &true);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_are_made_without_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (stream, _) = connect(&Remote::Inet(listener.local_addr().unwrap())).unwrap();
        assert!(wait(stream.as_fd(), Until::Writable, Duration::from_secs(5)).unwrap());
        failure(&stream).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let refused = connect(&Remote::Inet(free)).and_then(|(stream, _)| {
            wait(stream.as_fd(), Until::Writable, Duration::from_secs(5))?;
            failure(&stream)
        });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let name = format!("\0ruwsgi-connect-{}", std::process::id()).into_bytes();
        assert_eq!(connect(&Remote::Unix(name.clone())).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let listener = crate::listen::abstract_unix(&name[1..]).unwrap();
        crate::listen::listen(listener.as_fd(), 0).unwrap();
        let (_one, there) = connect(&Remote::Unix(name.clone())).unwrap();
        assert!(there);
        assert_eq!(connect(&Remote::Unix(name)).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn bytes_come_and_the_end_is_zero() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = accept(listener.as_fd()).unwrap().unwrap();
        assert_eq!(peer, Peer::Inet(client.local_addr().unwrap()));
        let mut buffer = Vec::new();
        assert_eq!(read(server.as_fd(), &mut buffer, 10).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"hello").unwrap();
        assert!(wait(server.as_fd(), Until::Readable, Duration::from_secs(5)).unwrap());
        assert_eq!(read(server.as_fd(), &mut buffer, 3).unwrap(), 3);
        assert_eq!(read(server.as_fd(), &mut buffer, 10).unwrap(), 2);
        assert_eq!(buffer, b"hello");
        drop(client);
        assert!(wait(server.as_fd(), Until::Readable, Duration::from_secs(5)).unwrap());
        assert_eq!(read(server.as_fd(), &mut buffer, 10).unwrap(), 0);
    }

    #[test]
    fn the_last_bytes_take_the_end_along() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let (server, _) = accept(listener.as_fd()).unwrap().unwrap();
        assert_eq!(write_last(server.as_fd(), b"bye").unwrap(), 3);
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, "bye");
        client.write_all(b"late").unwrap();
        assert!(wait(server.as_fd(), Until::Readable, Duration::from_secs(5)).unwrap());
    }
}
