//! Datagram sockets: who sends, as the kernel says, over unix sockets and over UDP. Never blocks.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::path::Path;

use nix::sys::socket::{setsockopt, sockopt};

use crate::listen::{Place, set_umask};
use crate::stream;

/// Each datagram over this unix socket carries the pid, user and group of its sender, in both directions.
pub fn identify(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::PassCred, &true)?)
}

/// How a datagram has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
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

/// What one datagram is received into, beside its bytes.
#[derive(Clone, Copy)]
struct Slip {
    part: libc::iovec,
    sender: libc::sockaddr_storage,
    /// Large enough for the credentials of one sender, and aligned as a `cmsghdr` is.
    control: [u64; 8],
}

/// Room for datagrams that are received together: one call for many of them.
pub struct Batch {
    room: Vec<u8>,
    most_bytes: usize,
    slips: Vec<Slip>,
    /// In one piece, as the call wants them.
    headers: Vec<libc::mmsghdr>,
}

impl Batch {
    /// For so many datagrams of so many bytes.
    #[must_use]
    pub fn new(count: usize, most_bytes: usize) -> Self {
        // SAFETY: all of these are plain numbers and pointers, for which zeros are values.
        let (slip, header) = unsafe { std::mem::zeroed() };
        Self { room: vec![0; count * most_bytes], most_bytes, slips: vec![slip; count], headers: vec![header; count] }
    }

    /// Receives what is there, and gives each to `take`; how many there were. Fewer than there is room for: these were
    /// all.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, mut take: impl FnMut(&[u8], Came)) -> io::Result<usize> {
        let count = loop {
            self.prepare();
            let (headers, most) = (self.headers.as_mut_ptr(), self.headers.len() as libc::c_uint);
            let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
            // SAFETY: each header points to places of `self` that nobody else uses meanwhile, with their lengths.
            match unsafe { libc::recvmmsg(socket.as_raw_fd(), headers, most, flags, std::ptr::null_mut()) } {
                count @ 0.. => break count as usize,
                _ => match io::Error::last_os_error() {
                    error if error.kind() == io::ErrorKind::Interrupted => {}
                    error if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
                    error => return Err(error),
                },
            }
        };
        let pieces = self.room.chunks(self.most_bytes).zip(&self.headers).zip(&self.slips);
        for ((room, header), slip) in pieces.take(count) {
            let length = (header.msg_len as usize).min(room.len());
            take(&room[..length], Came::of(&header.msg_hdr, slip));
        }
        Ok(count)
    }

    /// Points the headers to the room, all of it free.
    fn prepare(&mut self) {
        let rooms = self.room.chunks_mut(self.most_bytes);
        for ((slip, header), room) in self.slips.iter_mut().zip(&mut self.headers).zip(rooms) {
            slip.part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            // One that has no address says none.
            slip.sender.ss_family = 0;
            header.msg_hdr = libc::msghdr {
                msg_name: (&raw mut slip.sender).cast(),
                msg_namelen: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
                msg_iov: &raw mut slip.part,
                msg_iovlen: 1,
                msg_control: slip.control.as_mut_ptr().cast(),
                msg_controllen: size_of_val(&slip.control) as _,
                ..header.msg_hdr
            };
        }
    }
}

impl Came {
    fn of(header: &libc::msghdr, slip: &Slip) -> Self {
        let mut credentials = None;
        // SAFETY: the kernel has written whole messages into `msg_control`, and their length into `msg_controllen`.
        unsafe {
            let mut next = libc::CMSG_FIRSTHDR(header);
            while let Some(message) = next.as_ref() {
                if (message.cmsg_level, message.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) {
                    let sender = libc::CMSG_DATA(next).cast::<libc::ucred>().read_unaligned();
                    credentials = Some((sender.pid, sender.uid, sender.gid));
                }
                next = libc::CMSG_NXTHDR(header, next);
            }
        }
        let cut = header.msg_flags & libc::MSG_TRUNC != 0;
        Self { cut, ip: stream::peer(&slip.sender).ip(), credentials }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// Everything that has come, three at a time.
    fn all(ear: &OwnedFd, most_bytes: usize) -> Vec<(Vec<u8>, Came)> {
        let (mut batch, mut found) = (Batch::new(3, most_bytes), Vec::new());
        while batch.receive(ear.as_fd(), |bytes, came| found.push((bytes.to_vec(), came))).unwrap() > 0 {}
        found
    }

    #[test]
    fn who_sends_is_told_by_the_kernel() {
        let path = std::env::temp_dir().join(format!("ruwsgi-datagram-{}", std::process::id()));
        let ear = unix(&path, 0o600).unwrap();
        identify(ear.as_fd()).unwrap();
        assert_eq!(look(&path).unwrap(), Place::Live);
        let mouth = UnixDatagram::unbound().unwrap();
        mouth.send_to(b"hello", &path).unwrap();
        let came = all(&ear, 4);
        assert_eq!((&came[0].0[..], came[0].1.cut, came[0].1.ip), (&b"hell"[..], true, None));
        assert_eq!(came[0].1.credentials.map(|(pid, ..)| pid), Some(std::process::id() as i32));
        assert_eq!(all(&ear, 4), []);
        drop(ear);
        assert_eq!(look(&path).unwrap(), Place::Stale);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(look(&path).unwrap(), Place::Free);
        let name = format!("ruwsgi-datagram-{}", std::process::id());
        let ear = abstract_unix(name.as_bytes()).unwrap();
        mouth.send_to_addr(b"hi", &UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
        assert_eq!(all(&ear, 4), [(b"hi".to_vec(), Came { cut: false, ip: None, credentials: None })]);
    }

    #[test]
    fn who_sends_over_udp_has_an_address() {
        let ear = udp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = UdpSocket::from(ear.try_clone().unwrap()).local_addr().unwrap();
        enlarge(ear.as_fd(), 1 << 20);
        let mouth = UdpSocket::bind("127.0.0.1:0").unwrap();
        for text in [&b"hello"[..], b"", b"wide world", b"more"] {
            mouth.send_to(text, address).unwrap();
        }
        let came = all(&ear, 16);
        let texts: Vec<&[u8]> = came.iter().map(|(bytes, _)| &bytes[..]).collect();
        assert_eq!(texts, [&b"hello"[..], b"", b"wide world", b"more"], "more than one call takes");
        assert!(came.iter().all(|(_, came)| !came.cut && came.ip == Some("127.0.0.1".parse().unwrap())));
    }
}
