//! Files that clients may ask for: found beneath a directory and nowhere else, sent without a copy through this process.
//!
//! The worker calls it. Which directories there are, and what a missing file means, is decided above.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, pthread_sigmask};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::{AccessFlags, faccessat, geteuid};

use crate::stream;

/// What is known of a regular file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// In bytes.
    pub size: u64,
    /// When its content changed last, in seconds since 1970.
    pub modified: i64,
    /// The nanoseconds behind these seconds.
    pub modified_nanos: u32,
}

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(OwnedFd, Facts),
    /// A directory.
    Directory,
    /// A FIFO, a socket, a device: never opened.
    Special,
}

/// Which symbolic links a path may lead through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// Those that stay beneath the root.
    Beneath,
    /// None.
    None,
}

/// For reading. Whatever stands there by now, this neither waits for anybody nor takes a terminal.
const READ: OFlag = OFlag::O_RDONLY.union(OFlag::O_NONBLOCK).union(OFlag::O_NOCTTY).union(OFlag::O_CLOEXEC);

/// How often a path is tried again while somebody moves directories about.
const ATTEMPTS: u32 = 8;

/// A read of a file takes at most this, where sendfile(2) can't send it.
const PIECE_BYTES: usize = 64 * 1024;

/// openat2(2) was asked for in vain: the kernel is older than 5.6, or a filter of system calls does not know it.
static STEPWISE: AtomicBool = AtomicBool::new(false);

/// sendfile(2) is not to be used.
static COPIES: AtomicBool = AtomicBool::new(false);

/// From now on, files are read and written where sendfile(2) would send them: some file systems get it wrong.
pub fn always_copy() {
    COPIES.store(true, Ordering::Relaxed);
}

/// Whether paths are resolved step by step, because there is no openat2(2). Known after the first look.
#[must_use]
pub fn is_stepwise() -> bool {
    STEPWISE.load(Ordering::Relaxed)
}

/// A directory beneath which files are found. Its own path is trusted, links and all.
pub fn root(path: &Path) -> io::Result<OwnedFd> {
    Ok(nix::fcntl::open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?)
}

/// Finds what `path` leads to beneath `root`; an empty one is the root itself. What lies outside is never opened,
/// whatever the path says and whoever changes links meanwhile: `EXDEV` or `ELOOP` say that it leads there, or that it
/// leads through a link that is not followed.
pub fn find_beneath(root: BorrowedFd<'_>, path: &[u8], links: Links) -> io::Result<Found> {
    let path = CString::new(if path.is_empty() { b"." } else { path }).map_err(|_| Errno::EINVAL)?;
    find(|flags| open_beneath(root, &path, flags, links))
}

/// A regular file at an absolute path that leads through no link at all. `None`: there is none, or nobody can tell.
#[must_use]
pub fn find_plain(path: &Path) -> Option<(OwnedFd, Facts)> {
    // To open a FIFO or a device does things to others. This look decides nothing else: what it saw may lie behind a
    // link, or be another thing by now.
    if is_stepwise() || kind(&nix::sys::stat::stat(path).ok()?) != SFlag::S_IFREG {
        return None;
    }
    let how = OpenHow::new().flags(READ).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let file = openat2(AT_FDCWD, path, how).ok()?;
    match look(&file) {
        Ok((SFlag::S_IFREG, facts)) => Some((file, facts)),
        _ => None,
    }
}

/// Finds what is at a path that is trusted.
pub fn find_at(path: &Path) -> io::Result<Found> {
    find(|flags| nix::fcntl::open(path, flags, Mode::empty()))
}

/// Looks first, and opens what is a regular file: to open a FIFO or a device does things to others.
fn find(open: impl Fn(OFlag) -> nix::Result<OwnedFd>) -> io::Result<Found> {
    let (kind, _) = look(&open(OFlag::O_PATH | OFlag::O_CLOEXEC)?)?;
    match kind {
        SFlag::S_IFREG => {}
        SFlag::S_IFDIR => return Ok(Found::Directory),
        _ => return Ok(Found::Special),
    }
    let file = open(READ)?;
    Ok(match look(&file)? {
        (SFlag::S_IFREG, facts) => Found::File(file, facts),
        (SFlag::S_IFDIR, _) => Found::Directory,
        _ => Found::Special,
    })
}

fn look(file: &OwnedFd) -> nix::Result<(SFlag, Facts)> {
    let stat = fstat(file)?;
    let facts = Facts {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        modified: stat.st_mtime,
        modified_nanos: u32::try_from(stat.st_mtime_nsec).unwrap_or(0),
    };
    Ok((kind(&stat), facts))
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

fn open_beneath(root: BorrowedFd<'_>, path: &CStr, flags: OFlag, links: Links) -> nix::Result<OwnedFd> {
    if is_stepwise() {
        return walk(root, path.to_bytes(), flags);
    }
    let mut resolve = ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    if links == Links::None {
        resolve |= ResolveFlag::RESOLVE_NO_SYMLINKS;
    }
    for _ in 0..ATTEMPTS {
        match openat2(root, path, OpenHow::new().flags(flags).resolve(resolve)) {
            Err(Errno::EAGAIN) => {}
            // EPERM is what old filters of containers say to a call that they do not know.
            Err(Errno::ENOSYS | Errno::EPERM) => {
                STEPWISE.store(true, Ordering::Relaxed);
                return walk(root, path.to_bytes(), flags);
            }
            other => return other,
        }
    }
    Err(Errno::EXDEV)
}

/// Opens a path as openat2 would with no link followed: one directory at a time, none of them by a link.
fn walk(root: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> nix::Result<OwnedFd> {
    let flags = if path.ends_with(b"/") { flags | OFlag::O_DIRECTORY } else { flags };
    let mut names = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").peekable();
    let mut parent: Option<OwnedFd> = None;
    while let Some(name) = names.next() {
        if name == b".." {
            return Err(Errno::EXDEV);
        }
        let at = parent.as_ref().map_or(root, OwnedFd::as_fd);
        let step = openat(at, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())?;
        if look(&step)?.0 == SFlag::S_IFLNK {
            return Err(Errno::ELOOP);
        }
        if names.peek().is_none() {
            let opened = openat(at, name, flags | OFlag::O_NOFOLLOW, Mode::empty())?;
            // With O_PATH, a link is opened itself.
            return if look(&opened)?.0 == SFlag::S_IFLNK { Err(Errno::ELOOP) } else { Ok(opened) };
        }
        parent = Some(step);
    }
    openat(root, c".", flags, Mode::empty())
}

/// Reads from `offset` on until `length` bytes are there or the file ends, and appends them to `buffer`.
pub fn read(file: BorrowedFd<'_>, offset: u64, length: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
    let start = buffer.len();
    buffer.resize(start + length, 0);
    let mut got = 0;
    let mut result = Ok(());
    while got < length {
        let at = libc::off_t::try_from(offset + got as u64).unwrap_or(libc::off_t::MAX);
        match nix::sys::uio::pread(file, &mut buffer[start + got..], at) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(Errno::EINTR) => {}
            Err(error) => {
                result = Err(error.into());
                break;
            }
        }
    }
    buffer.truncate(start + got);
    result
}

/// Whether reading a file at `offset` waits for no disk. Where nobody can say, it might.
#[must_use]
pub fn is_cached(file: BorrowedFd<'_>, offset: u64) -> bool {
    let Ok(at) = libc::off_t::try_from(offset) else { return true };
    let mut byte = 0_u8;
    let room = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the one part has room for the one byte that is read.
    unsafe { libc::preadv2(file.as_raw_fd(), &raw const room, 1, at, libc::RWF_NOWAIT) >= 0 }
}

/// Sends `length` bytes of a file from `offset` on, as many as the stream takes now, without blocking on it; how many
/// went out. 0 is the end of the file, `WouldBlock` no room. A client that is gone: an error, never a signal.
pub fn send(stream: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
    if COPIES.load(Ordering::Relaxed) {
        return copy(stream, file, offset, length);
    }
    let mut at = libc::off64_t::try_from(offset).map_err(|_| Errno::EOVERFLOW)?;
    let sent = without_sigpipe(|| {
        loop {
            match nix::sys::sendfile::sendfile64(stream, file, Some(&mut at), length) {
                Err(Errno::EINTR) => {}
                other => return other,
            }
        }
    });
    match sent {
        // Some file systems can't.
        Err(Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP) => copy(stream, file, offset, length),
        sent => Ok(sent?),
    }
}

fn copy(stream: BorrowedFd<'_>, file: BorrowedFd<'_>, offset: u64, length: usize) -> io::Result<usize> {
    let mut piece = Vec::new();
    read(file, offset, length.min(PIECE_BYTES), &mut piece)?;
    if piece.is_empty() { Ok(0) } else { stream::write(stream, &piece) }
}

/// sendfile(2) has no MSG_NOSIGNAL. Python ignores SIGPIPE, unless the application has set it back to deadly: then it
/// is held off while the call runs, and taken away if it came.
fn without_sigpipe<T>(call: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    // SAFETY: all zeroes is a valid sigaction; the call only writes the present one into it.
    let deadly = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGPIPE, std::ptr::null(), &raw mut action);
        action.sa_sigaction == libc::SIG_DFL
    };
    if !deadly {
        return call();
    }
    let pipe = SigSet::from(Signal::SIGPIPE);
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&pipe), Some(&mut before))?;
    let result = call();
    // It comes with a part that went out, too, not only with EPIPE.
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: set and time are alive; nobody wants to know who sent the signal.
    unsafe { libc::sigtimedwait(pipe.as_ref(), std::ptr::null_mut(), &raw const now) };
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    result
}

/// For files that are opened without waiting: O_NONBLOCK.
pub const NONBLOCK: i32 = libc::O_NONBLOCK;

/// Makes a FIFO, with exactly these permissions.
pub fn make_fifo(path: &Path, mode: u32) -> io::Result<()> {
    let before = crate::listen::set_umask(!mode & 0o777);
    let made = nix::unistd::mkfifo(path, Mode::from_bits_truncate(mode));
    crate::listen::set_umask(before);
    Ok(made?)
}

/// Whether this process may make something under this path, in place of what is there. Nothing is touched.
pub fn may_replace(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent() else { return Err(Errno::EISDIR.into()) };
    let needed = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, folder, needed, AtFlags::AT_EACCESS)?;
    let (Ok(there), around) = (std::fs::symlink_metadata(path), std::fs::metadata(folder)?) else { return Ok(()) };
    let (sticky, me) = (around.mode() & 0o1000 != 0, geteuid());
    if sticky && !me.is_root() && ![there.uid(), around.uid()].contains(&me.as_raw()) {
        // Only its owner may remove it.
        return Err(Errno::EPERM.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixStream;
    use std::path::PathBuf;

    /// `in/` is the root, with files, links and a FIFO; `out/secret` is what must not be reached.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let top = std::env::temp_dir().join(format!("ruwsgi-file-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&top);
            fs::create_dir_all(top.join("in/sub")).unwrap();
            fs::create_dir_all(top.join("out")).unwrap();
            fs::write(top.join("out/secret"), "secret").unwrap();
            fs::write(top.join("in/sub/a"), "hello").unwrap();
            symlink("sub/a", top.join("in/near")).unwrap();
            symlink("../in/sub/a", top.join("in/around")).unwrap();
            symlink("../out/secret", top.join("in/far")).unwrap();
            symlink("../out", top.join("in/door")).unwrap();
            symlink(top.join("in/sub/a"), top.join("in/absolute")).unwrap();
            symlink("/proc/self/root", top.join("in/magic")).unwrap();
            nix::unistd::mkfifo(&top.join("in/fifo"), Mode::S_IRWXU).unwrap();
            Self(top)
        }

        fn root(&self) -> OwnedFd {
            root(&self.0.join("in")).unwrap()
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// What is found, in a word, or the error's.
    fn word(found: io::Result<Found>) -> String {
        match found {
            Ok(Found::File(_, facts)) => format!("file of {}", facts.size),
            Ok(Found::Directory) => "directory".into(),
            Ok(Found::Special) => "special".into(),
            Err(error) => format!("{:?}", Errno::from_raw(error.raw_os_error().unwrap())),
        }
    }

    #[test]
    fn nothing_outside_of_the_root_is_found() {
        let tree = Tree::new("beneath");
        for (path, expected) in [
            ("", "directory"),
            ("sub", "directory"),
            ("sub/a", "file of 5"),
            ("sub//a", "file of 5"),
            ("sub/../sub/a", "file of 5"),
            ("sub/a/", "ENOTDIR"),
            ("sub/a/b", "ENOTDIR"),
            ("none", "ENOENT"),
            ("near", "file of 5"),
            ("around", "EXDEV"),
            ("far", "EXDEV"),
            ("door/secret", "EXDEV"),
            ("absolute", "EXDEV"),
            ("magic/etc/passwd", "EXDEV"),
            ("../out/secret", "EXDEV"),
            ("..", "EXDEV"),
            ("/etc/passwd", "EXDEV"),
            ("fifo", "special"),
            ("a\0b", "EINVAL"),
        ] {
            assert_eq!(word(find_beneath(tree.root().as_fd(), path.as_bytes(), Links::Beneath)), expected, "{path}");
        }
        assert_eq!(word(find_beneath(tree.root().as_fd(), b"near", Links::None)), "ELOOP");
        assert_eq!(word(find_at(&tree.0.join("in/far"))), "file of 6");
        assert_eq!(word(find_at(Path::new("/dev/null"))), "special");
    }

    #[test]
    fn a_plain_path_leads_through_no_link() {
        let tree = Tree::new("plain");
        let top = tree.0.canonicalize().unwrap();
        let found = |path: &str| find_plain(&top.join(path)).map(|(_, facts)| facts.size);
        assert_eq!((found("in/sub/a"), found("in/sub//a"), found("out/secret")), (Some(5), Some(5), Some(6)));
        for path in ["in", "in/near", "in/door/secret", "in/absolute", "in/fifo", "in/none", "in/sub/a/", "in/sub/a/b"]
        {
            assert_eq!(found(path), None, "{path}");
        }
        assert!(find_plain(Path::new("/dev/null")).is_none());
    }

    #[test]
    fn a_walk_finds_the_same_but_follows_no_link() {
        let tree = Tree::new("walk");
        for (path, expected) in [
            (".", "directory"),
            ("sub", "directory"),
            ("sub/", "directory"),
            ("sub/a", "file of 5"),
            ("./sub//a", "file of 5"),
            ("sub/a/", "ENOTDIR"),
            ("sub/a/b", "ENOTDIR"),
            ("none/a", "ENOENT"),
            ("near", "ELOOP"),
            ("far", "ELOOP"),
            ("door/secret", "ELOOP"),
            ("magic/etc/passwd", "ELOOP"),
            ("../out/secret", "EXDEV"),
            ("sub/../../out/secret", "EXDEV"),
            ("fifo", "special"),
        ] {
            let root = tree.root();
            assert_eq!(word(find(|flags| walk(root.as_fd(), path.as_bytes(), flags))), expected, "{path}");
        }
    }

    #[test]
    fn a_file_is_read_and_sent_from_an_offset() {
        let tree = Tree::new("send");
        let Found::File(file, _) = find_beneath(tree.root().as_fd(), b"sub/a", Links::Beneath).unwrap() else {
            panic!("no file")
        };
        let mut buffer = b">".to_vec();
        read(file.as_fd(), 1, 3, &mut buffer).unwrap();
        read(file.as_fd(), 4, 100, &mut buffer).unwrap();
        assert_eq!(buffer, b">ello");
        assert!(is_cached(file.as_fd(), 4), "it was read just now");
        let (server, mut client) = UnixStream::pair().unwrap();
        assert_eq!(send(server.as_fd(), file.as_fd(), 2, 100).unwrap(), 3);
        assert_eq!(send(server.as_fd(), file.as_fd(), 5, 100).unwrap(), 0);
        assert_eq!(copy(server.as_fd(), file.as_fd(), 4, 100).unwrap(), 1);
        drop(server);
        let mut got = String::new();
        io::Read::read_to_string(&mut client, &mut got).unwrap();
        assert_eq!(got, "lloo");
    }

    #[test]
    fn a_client_that_is_gone_is_an_error_and_no_signal() {
        let tree = Tree::new("gone");
        let file = fs::File::open(tree.0.join("in/sub/a")).unwrap();
        let (server, client) = UnixStream::pair().unwrap();
        drop(client);
        // Rust's runtime ignores the signal; what is tested is that it is held off where it is deadly.
        let default = nix::sys::signal::SigAction::new(
            nix::sys::signal::SigHandler::SigDfl,
            nix::sys::signal::SaFlags::empty(),
            SigSet::empty(),
        );
        #[allow(clippy::disallowed_methods, reason = "as an application does it")]
        // SAFETY: the default runs no code of ours.
        let before = unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &default) }.unwrap();
        let error = send(server.as_fd(), file.as_fd(), 0, 5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        #[allow(clippy::disallowed_methods, reason = "as an application does it")]
        // SAFETY: what was there before.
        unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &before) }.unwrap();
    }
}
