//! Datagram sockets: who sends, as the kernel says, over unix sockets and over UDP. Never blocks.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::Path;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, UnixCredentials, recvmsg, setsockopt, sockopt};

use crate::listen::{Place, set_umask};

/// Each datagram over this unix socket carries the pid, user and group of its sender, in both directions.
pub fn identify(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::PassCred, &true)?)
}

/// A datagram that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    /// So many bytes; of one that is larger than the room, what fits.
    pub length: usize,
    /// It is larger than the room.
    pub cut: bool,
    /// Its sender's address, over UDP.
    pub ip: Option<IpAddr>,
    /// The pid, user and group of its sender, over a unix socket that asks.
    pub credentials: Option<(i32, u32, u32)>,
}

/// A UDP socket at this address.
pub fn udp(address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A unix socket at this path, whose file appears with this mode.
pub fn unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let before = set_umask(!mode & 0o777);
    let bound = UnixDatagram::bind(path);
    set_umask(before);
    let socket = bound?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A unix socket with a name instead of a file.
pub fn abstract_unix(name: &[u8]) -> io::Result<OwnedFd> {
    let socket = UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(name)?)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What is at this path. Not being allowed to connect is an error: somebody may receive there.
pub fn look(path: &Path) -> io::Result<Place> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return Ok(Place::Taken),
        Ok(_) => {}
    }
    match UnixDatagram::unbound()?.connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Place::Stale),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Place::Free),
        // Of another kind: somebody is there.
        Err(error) if error.raw_os_error() == Some(libc::EPROTOTYPE) => Ok(Place::Live),
        Err(error) => Err(error),
        Ok(()) => Ok(Place::Live),
    }
}

/// Asks for room for so many bytes that wait to be received; the kernel has a limit of its own.
pub fn enlarge(socket: BorrowedFd<'_>, bytes: usize) {
    // Less room is no error: who announces does so again.
    let _ = setsockopt(&socket, sockopt::RcvBuf, &bytes);
}

/// The next datagram. `None`: none is there.
pub fn receive(socket: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<Option<Came>> {
    let mut control = nix::cmsg_space!(UnixCredentials);
    let mut parts = [IoSliceMut::new(room)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let came = loop {
        match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(nix::errno::Errno::EAGAIN) => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(came) => break came,
        }
    };
    let ip = came.address.as_ref().and_then(|address| {
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let credentials = came.cmsgs()?.find_map(|message| match message {
        ControlMessageOwned::ScmCredentials(sender) => Some((sender.pid(), sender.uid(), sender.gid())),
        _ => None,
    });
    Ok(Some(Came { length: came.bytes, cut: came.flags.contains(MsgFlags::MSG_TRUNC), ip, credentials }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn who_sends_is_told_by_the_kernel() {
        let path = std::env::temp_dir().join(format!("ruwsgi-datagram-{}", std::process::id()));
        let ear = unix(&path, 0o600).unwrap();
        identify(ear.as_fd()).unwrap();
        assert_eq!(look(&path).unwrap(), Place::Live);
        let mouth = UnixDatagram::unbound().unwrap();
        mouth.send_to(b"hello", &path).unwrap();
        let mut room = [0; 4];
        let came = receive(ear.as_fd(), &mut room).unwrap().unwrap();
        assert_eq!((came.length, came.cut, came.ip), (4, true, None));
        assert_eq!(came.credentials.map(|(pid, ..)| pid), Some(std::process::id() as i32));
        assert_eq!(receive(ear.as_fd(), &mut room).unwrap(), None);
        drop(ear);
        assert_eq!(look(&path).unwrap(), Place::Stale);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look(&path).unwrap(), Place::Free);
        let name = format!("ruwsgi-datagram-{}", std::process::id());
        let ear = abstract_unix(name.as_bytes()).unwrap();
        mouth.send_to_addr(b"hi", &UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert_eq!(receive(ear.as_fd(), &mut room).unwrap().map(|came| came.credentials), Some(None));
    }

    #[test]
    fn who_sends_over_udp_has_an_address() {
        let ear = udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = UdpSocket::from(ear.try_clone().unwrap()).local_addr().unwrap();
        enlarge(ear.as_fd(), 1 << 20);
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", address).unwrap();
        let came = receive(ear.as_fd(), &mut [0; 16]).unwrap().unwrap();
        assert_eq!((came.length, came.cut, came.ip), (5, false, Some("127.0.0.1".parse().unwrap())));
    }
}
