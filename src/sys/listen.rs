//! Listening sockets: made non-blocking and close-on-exec, bound, and put to listening in two steps, so that nobody
//! connects before its owner is ready.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, FcntlArg, FdFlag, OFlag, fcntl, open};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, SockaddrStorage, UnixAddr, bind, connect, getsockname,
    getsockopt, setsockopt, socket, sockopt,
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

/// How many connections wait to be accepted, and how many may, as the kernel knows it; (0, 0) where it does not tell.
#[must_use]
pub fn queue(listener: &OwnedFd) -> (u32, u32) {
    // SAFETY: an all-zero tcp_info is valid; getsockopt writes at most `length` bytes into it.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
        let info_at = (&raw mut info).cast();
        let told = libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info_at, &raw mut length);
        // Of a listening socket, these are its queue.
        if told == 0 {
            return (info.tcpi_unacked, info.tcpi_sacked);
        }
    }
    crate::diag::queue(listener.as_fd()).unwrap_or((0, 0))
}

/// Binds a TCP socket. `v6_only`: an IPv6 socket leaves IPv4 to another one.
pub fn tcp(address: SocketAddr, v6_only: bool) -> io::Result<OwnedFd> {
    tcp_tuned(address, v6_only, &Tuning::default())
}

/// The same, set up as somebody wants it.
pub fn tcp_tuned(address: SocketAddr, v6_only: bool, tuning: &Tuning) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = new(family)?;
    // A restart must not wait until the last connections of the former instance have left TIME_WAIT.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if address.is_ipv6() {
        // Said either way: the default is the machine's (net.ipv6.bindv6only).
        setsockopt(&fd, sockopt::Ipv6V6Only, &v6_only)?;
    }
    tuning.set_inet(&fd)?;
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

/// Whether the kernel keeps a client until it says something, for a second at most (`TCP_DEFER_ACCEPT`): who accepts it finds
/// its request at once. For servers whose clients speak first; can be changed while the socket listens.
pub fn defer(listener: BorrowedFd<'_>, wanted: bool) -> io::Result<()> {
    set_tcp(listener, libc::TCP_DEFER_ACCEPT, wanted.into())
}

fn set_tcp(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let (value, size) = ((&raw const value).cast(), size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: setsockopt reads an int from `value`.
    match unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, option, value, size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
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

/// What is set on a socket before it listens; what is accepted from it has the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tuning {
    /// Others may listen at the same address, and the kernel spreads the clients (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// The address need not be there yet (`IP_FREEBIND`).
    pub free_bind: bool,
    /// Silent peers are asked whether they live (`SO_KEEPALIVE`).
    pub keep_alive: bool,
    /// So many clients may send data with their first packet (`TCP_FASTOPEN`); 0: none.
    pub fast_open: u32,
    /// The room for what is sent, in bytes (`SO_SNDBUF`); 0: the kernel's choice.
    pub send_bytes: u32,
    /// The same for what is received (`SO_RCVBUF`).
    pub receive_bytes: u32,
}

impl Tuning {
    /// Sets what a socket of any kind can have.
    pub fn set_buffers(&self, fd: &OwnedFd) -> io::Result<()> {
        if self.send_bytes > 0 {
            setsockopt(fd, sockopt::SndBuf, &(self.send_bytes as usize))?;
        }
        if self.receive_bytes > 0 {
            setsockopt(fd, sockopt::RcvBuf, &(self.receive_bytes as usize))?;
        }
        Ok(())
    }

    fn set_inet(&self, fd: &OwnedFd) -> io::Result<()> {
        if self.reuse_port {
            setsockopt(fd, sockopt::ReusePort, &true)?;
        }
        if self.free_bind {
            setsockopt(fd, sockopt::IpFreebind, &true)?;
        }
        if self.keep_alive {
            setsockopt(fd, sockopt::KeepAlive, &true)?;
        }
        if self.fast_open > 0 {
            set_tcp(fd.as_fd(), libc::TCP_FASTOPEN, libc::c_int::try_from(self.fast_open).unwrap_or(libc::c_int::MAX))?;
        }
        self.set_buffers(fd)
    }
}

/// Where a socket is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// An internet address.
    Inet(SocketAddr),
    /// A file.
    Unix(PathBuf),
    /// A name in the abstract namespace.
    Abstract(Vec<u8>),
}

/// A socket that whoever started this process has opened, under its number: a descriptor of our own for it, and where
/// it is bound. What is no listening stream socket is an error, and left alone. The first one stays, and is closed at exec.
pub fn inherited(number: RawFd) -> io::Result<(OwnedFd, At)> {
    // SAFETY: the number is only asked about, and nothing is done where nobody has opened it.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    let fd = given.try_clone_to_owned()?;
    let told = |found: nix::Result<bool>| found.unwrap_or(false);
    let is_stream = told(getsockopt(&fd, sockopt::SockType).map(|kind| kind == SockType::Stream));
    if !is_stream || !told(getsockopt(&fd, sockopt::AcceptConn)) {
        return Err(io::Error::other("is no socket that listens"));
    }
    fcntl(given, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    let at = place(fd.as_fd())?;
    Ok((fd, at))
}

/// Where a socket is bound, whatever its family.
pub fn place(fd: BorrowedFd<'_>) -> io::Result<At> {
    if let Ok(address) = local_address(fd) {
        return Ok(At::Inet(address));
    }
    let address: UnixAddr = getsockname(fd.as_raw_fd())?;
    let name = address.as_abstract().map(|name| At::Abstract(name.to_vec()));
    name.or_else(|| address.path().map(|path| At::Unix(path.to_owned())))
        .ok_or_else(|| io::Error::other("is a socket without an address"))
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
    fn a_socket_that_somebody_has_opened_is_taken_over() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let (fd, at) = inherited(listener.as_raw_fd()).unwrap();
        assert_eq!(at, At::Inet(listener.local_addr().unwrap()));
        assert!(fd.as_raw_fd() != listener.as_raw_fd());
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(inherited(client.as_raw_fd()).is_err() && inherited(9999).is_err());
        let name = format!("ruwsgi-inherited-{}", std::process::id()).into_bytes();
        let named = abstract_unix(&name).unwrap();
        assert!(inherited(named.as_raw_fd()).is_err(), "it does not listen");
        listen(named.as_fd(), 1).unwrap();
        assert_eq!(inherited(named.as_raw_fd()).unwrap().1, At::Abstract(name));
    }

    #[test]
    fn sockets_are_tuned_before_they_are_bound() {
        let tuning = Tuning {
            reuse_port: true,
            free_bind: true,
            keep_alive: true,
            fast_open: 16,
            send_bytes: 100_000,
            receive_bytes: 50_000,
        };
        let fd = tcp_tuned("127.0.0.1:0".parse().unwrap(), false, &tuning).unwrap();
        let other = tcp_tuned(local_address(fd.as_fd()).unwrap(), false, &tuning).unwrap();
        for fd in [&fd, &other] {
            assert!(getsockopt(fd, sockopt::ReusePort).unwrap() && getsockopt(fd, sockopt::KeepAlive).unwrap());
            // The kernel doubles them for its own needs.
            assert!(getsockopt(fd, sockopt::SndBuf).unwrap() >= 100_000);
            assert_eq!(getsockopt(fd, sockopt::RcvBuf).unwrap(), 100_000);
        }
        // An address of nobody (RFC 5737).
        let absent = "192.0.2.1:0".parse().unwrap();
        assert!(tcp(absent, false).is_err() && tcp_tuned(absent, false, &tuning).is_ok());
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
