//! Listening sockets: made non-blocking and close-on-exec, bound, and put to listening in two steps, so that nobody
//! connects before its owner is ready.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind, connect, getsockname,
    setsockopt, socket, sockopt,
};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, fchownat, geteuid};

/// The kernel's limit for the queue of a listening socket.
#[must_use]
pub fn somaxconn() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    // 128: what kernels before 5.4 had.
    text.trim().parse().unwrap_or(128)
}

/// How many connections wait to be accepted. Linux tells it of TCP only: 0 for others.
#[must_use]
pub fn queue(listener: &OwnedFd) -> u32 {
    // SAFETY: an all-zero tcp_info is valid; getsockopt writes at most `length` bytes into it.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let info_at = (&raw mut info).cast();
        let told = libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info_at, &raw mut length);
        // Of a listening socket, this is its queue.
        if told == 0 { info.tcpi_unacked } else { 0 }
    }
}

/// Binds a TCP socket. `v6_only`: an IPv6 socket leaves IPv4 to another one.
pub fn tcp(address: SocketAddr, v6_only: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = new(family)?;
    // A restart must not wait until the last connections of the former instance have left TIME_WAIT.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        // Said either way: the default is the machine's (net.ipv6.bindv6only).
        setsockopt(&fd, sockopt::Ipv6V6Only, &v6_only)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

/// Binds a unix socket, whose file appears with exactly this mode: the mask makes it, no moment is between.
/// A file that is already there is `AddrInUse`.
pub fn unix(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let address = UnixAddr::new(path)?;
    let before = set_umask(!mode & 0o777);
    let bound = bind_unix(&address);
    set_umask(before);
    bound
}

/// Whom a file is to belong to; `None`: it stays with whom it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: Option<u32>,
    /// The group.
    pub group: Option<u32>,
}

/// Gives a unix socket that this process has just bound to somebody. The file that is looked at is the one that is
/// given, and it is a socket of our own with no other name: whoever can write to the directory can't put another
/// file into the way.
pub fn give(path: &Path, owner: Owner) -> io::Result<()> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.file_type().is_socket() || found.uid() != geteuid().as_raw() || found.nlink() != 1 {
        return Err(io::Error::other("another file stands in its place"));
    }
    let (user, group) = (owner.user.map(Uid::from_raw), owner.group.map(Gid::from_raw));
    Ok(fchownat(&file, "", user, group, AtFlags::AT_EMPTY_PATH)?)
}

/// Binds a name in the abstract namespace, which has no file.
pub fn abstract_unix(name: &[u8]) -> io::Result<OwnedFd> {
    bind_unix(&UnixAddr::new_abstract(name)?)
}

fn bind_unix(address: &UnixAddr) -> io::Result<OwnedFd> {
    let fd = new(AddressFamily::Unix)?;
    bind(fd.as_raw_fd(), address as &dyn SockaddrLike)?;
    Ok(fd)
}

fn new(family: AddressFamily) -> io::Result<OwnedFd> {
    Ok(socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)?)
}

/// Lets clients in; called again, changes the length of the queue.
pub fn listen(fd: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = Backlog::new(i32::try_from(backlog).unwrap_or(i32::MAX)).unwrap_or(Backlog::MAXALLOWABLE);
    Ok(nix::sys::socket::listen(&fd, backlog)?)
}

/// What tells a socket from all others of this machine, whichever process has it: the number of its inode.
pub fn identity(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(fd)?.st_ino)
}

/// Where a TCP socket is bound: with a port that the kernel chose, that one.
pub fn local_address(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let storage: SockaddrStorage = getsockname(fd.as_raw_fd())?;
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::from((v4.ip(), v4.port())));
    let v6 = storage.as_sockaddr_in6().map(|v6| SocketAddr::from((v6.ip(), v6.port())));
    v4.or(v6).ok_or_else(|| io::Error::other("this is no TCP socket"))
}

/// What stands in the place of a unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Free,
    /// A socket that nobody listens on any more.
    Stale,
    /// A socket that somebody listens on.
    Live,
    /// A file that is no socket.
    Taken,
}

/// Looks, by a connection that is closed at once. Not being allowed to connect is an error: it may be live.
pub fn look(path: &Path) -> io::Result<Place> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Free),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => return Ok(Place::Taken),
        Ok(_) => {}
    }
    let fd = new(AddressFamily::Unix)?;
    match connect(fd.as_raw_fd(), &UnixAddr::new(path)?) {
        Err(Errno::ECONNREFUSED) => Ok(Place::Stale),
        Err(Errno::ENOENT) => Ok(Place::Free),
        // Its queue is full, or it is a socket of another kind: somebody is there.
        Ok(()) | Err(Errno::EAGAIN | Errno::EPROTOTYPE) => Ok(Place::Live),
        Err(error) => Err(error.into()),
    }
}

/// Names the file that a path leads to now: device and inode.
#[must_use]
pub fn file_identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Sets the mask of files that this process creates; the former one.
pub fn set_umask(mask: u32) -> u32 {
    umask(Mode::from_bits_truncate(mask)).bits()
}

/// The IPv4 addresses of this machine's interfaces, in the kernel's order.
pub fn interface_addresses() -> io::Result<Vec<IpAddr>> {
    let all = nix::ifaddrs::getifaddrs()?;
    Ok(all.filter_map(|one| one.address?.as_sockaddr_in().map(|v4| IpAddr::from(v4.ip()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_free_port_is_chosen_and_told() {
        let fd = tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        listen(fd.as_fd(), 16).unwrap();
        let address = local_address(fd.as_fd()).unwrap();
        assert_ne!(address.port(), 0);
        std::net::TcpStream::connect(address).unwrap();
        assert_eq!(tcp(address, false).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_socket_is_given_away_and_nothing_else() {
        let folder = std::env::temp_dir().join(format!("ruwsgi-give-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        let _fd = unix(&at("sock"), 0o660).unwrap();
        let me = std::fs::metadata(at("sock")).unwrap();
        give(&at("sock"), Owner { user: Some(me.uid()), group: Some(me.gid()) }).unwrap();
        let (user, group) = if geteuid().is_root() { (4_242, 4_343) } else { (me.uid(), me.gid()) };
        std::os::unix::fs::symlink(at("sock"), at("link")).unwrap();
        std::fs::write(at("file"), "").unwrap();
        for other in ["link", "file"] {
            assert!(give(&at(other), Owner { user: Some(user), group: None }).is_err(), "{other}");
        }
        std::fs::hard_link(at("sock"), at("other")).unwrap();
        assert!(give(&at("other"), Owner { user: Some(user), group: None }).is_err(), "a second name");
        std::fs::remove_file(at("other")).unwrap();
        give(&at("sock"), Owner { user: None, group: Some(group) }).unwrap();
        give(&at("sock"), Owner { user: Some(user), group: None }).unwrap();
        let now = std::fs::metadata(at("sock")).unwrap();
        assert_eq!((now.uid(), now.gid(), now.permissions().mode() & 0o777), (user, group, 0o660));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_unix_socket_has_its_mode_and_is_seen() {
        let folder = std::env::temp_dir().join(format!("ruwsgi-listen-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("one.sock");
        assert_eq!(look(&path).unwrap(), Place::Free);
        let fd = unix(&path, 0o660).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
        assert_eq!(look(&path).unwrap(), Place::Stale);
        listen(fd.as_fd(), 1).unwrap();
        assert_eq!(look(&path).unwrap(), Place::Live);
        assert_eq!(unix(&path, 0o660).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(fd);
        assert_eq!(look(&path).unwrap(), Place::Stale);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        assert_eq!(look(&path).unwrap(), Place::Taken);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
