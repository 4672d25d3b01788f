//! epoll(7): one instance that the cores of a worker share.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::epoll::{Epoll as Raw, EpollCreateFlags, EpollEvent, EpollFlags};
use rustix::event::Timespec;
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;

/// How many events one [`Epoll::wait`] takes at most.
pub const BATCH: usize = 64;

/// What to be told of.
#[derive(Clone, Copy, Debug)]
pub enum Interest {
    /// A connection: edges of readable, writable and closed, added once and never re-armed.
    Connection,
    /// A listener, or an end of messages, that several processes share: level, and only one of them is woken.
    Shared,
    /// An event of this process that nobody takes back: one edge each time that it is raised.
    Edge,
    /// Anything else: level, readable.
    Level,
}

/// One event.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// The value that was given to [`Epoll::add`].
    pub token: u64,
    /// Bytes, an end of file or an error can be read.
    pub readable: bool,
    /// There is room to write again.
    pub writable: bool,
    /// The peer has closed its side, or the connection failed: read to the end before trusting a short read.
    pub closed: bool,
}

/// An epoll instance.
pub struct Epoll(Raw);

impl Epoll {
    /// A new instance, close-on-exec.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Raw::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches `fd`, whose events will carry `token`.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, interest: Interest) -> io::Result<()> {
        let flags = match interest {
            Interest::Connection => {
                EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET
            }
            Interest::Shared => EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
            Interest::Edge => EpollFlags::EPOLLIN | EpollFlags::EPOLLET,
            Interest::Level => EpollFlags::EPOLLIN,
        };
        Ok(self.0.add(fd, EpollEvent::new(flags, token))?)
    }

    /// Stops watching `fd`. To be called before a descriptor is closed whose description lives on elsewhere.
    pub fn delete(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Waits for events, at most `timeout_ms` (`None`: for ever; 0: not at all), and passes each to `take`, at most
    /// [`BATCH`]. EINTR is no event.
    pub fn wait(&self, timeout_ms: Option<u16>, mut take: impl FnMut(Event)) -> io::Result<usize> {
        let timeout =
            timeout_ms.map(|ms| Timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 });
        // By rustix for the reason of `stream::read`.
        let mut room = [const { MaybeUninit::<epoll::Event>::uninit() }; BATCH];
        let events = match epoll::wait(self, &mut room, timeout.as_ref()) {
            Ok((events, _)) => &*events,
            Err(Errno::INTR) => &[],
            Err(error) => return Err(error.into()),
        };
        for raw in events {
            let (flags, data) = (raw.flags, raw.data);
            let closed = flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
            take(Event {
                token: data.u64(),
                readable: closed || flags.contains(EventFlags::IN),
                writable: flags.contains(EventFlags::OUT),
                closed,
            });
        }
        Ok(events.len())
    }

    /// Blocks until a [`wait`](Self::wait) would find something, or `bell` is readable, at most `timeout_ms`; takes
    /// nothing. Who waits here does not count among those of which a [`Interest::Shared`] descriptor wakes one: a
    /// blocking `wait` does. An event that somebody else takes at once may go unseen.
    pub fn watch(&self, bell: BorrowedFd<'_>, timeout_ms: u16) -> io::Result<()> {
        let mut polled = [self.as_fd(), bell].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut polled, PollTimeout::from(timeout_ms)) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Has an epoll instance that somebody else drives watch a descriptor that several processes watch: an edge for what
/// comes, and only one of those that wait is woken. Events carry `token`. Removed by EPOLL_CTL_DEL, like any other.
pub fn share(epoll: RawFd, fd: BorrowedFd<'_>, token: usize) -> io::Result<()> {
    let events = (libc::EPOLLIN | libc::EPOLLET | libc::EPOLLEXCLUSIVE) as u32;
    let mut event = libc::epoll_event { events, u64: token as u64 };
    // SAFETY: epoll_ctl reads one event; whatever `epoll` is, it says so.
    match unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event) } {
        0 => Ok(()),
        _ => match io::Error::last_os_error() {
            // It is watched already.
            error if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            error => Err(error),
        },
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}
