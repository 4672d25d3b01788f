//! The birth of a vassal: a fork, perhaps into namespaces of its own, and the steps of the child until it is another
//! program. The emperor calls it; what the child does in between (hooks, the change of the user) is decided there.

use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, getsockopt, socketpair, sockopt};

use crate::process::{self, Side};
use crate::{signal, stdio};

/// How long somebody waits for an emperor that has something to say.
const PATIENCE: Duration = Duration::from_secs(10);

/// fork(2), with new namespaces where flags of clone(2) ask for them.
pub fn fork_into(namespaces: i32) -> io::Result<Side> {
    if namespaces == 0 {
        return process::fork();
    }
    // SAFETY: without CLONE_VM and a stack, clone is a fork: the child goes on here, in memory of its own. The process has
    // one thread, so no lock can be held by another one.
    let pid = unsafe { libc::syscall(libc::SYS_clone, i64::from(namespaces | libc::SIGCHLD), 0, 0, 0, 0) };
    match pid {
        ..0 => Err(io::Error::last_os_error()),
        0 => Ok(Side::Child),
        pid => Ok(Side::Parent(pid as i32)),
    }
}

/// The flags of clone(2) for namespaces by uWSGI's names: `fs`, `net` ...; a name that is none is no flag.
#[must_use]
pub fn namespaces(names: &[&str]) -> i32 {
    let flag = |name: &&str| match *name {
        "cgroup" => libc::CLONE_NEWCGROUP,
        "fs" => libc::CLONE_NEWNS,
        "ipc" => libc::CLONE_NEWIPC,
        "net" => libc::CLONE_NEWNET,
        "pid" => libc::CLONE_NEWPID,
        "user" => libc::CLONE_NEWUSER,
        "uts" => libc::CLONE_NEWUTS,
        _ => 0,
    };
    names.iter().map(flag).fold(0, |flags, flag| flags | flag)
}

/// The child's standard input and output, its own session, no blocked signals.
pub fn settle(input: Option<BorrowedFd<'_>>, output: BorrowedFd<'_>, keep: BorrowedFd<'_>) -> io::Result<()> {
    match input {
        Some(socket) => nix::unistd::dup2_stdin(socket)?,
        None => stdio::close_input()?,
    }
    stdio::redirect_output(output)?;
    fcntl(keep, FcntlArg::F_SETFD(FdFlag::empty()))?;
    // A Ctrl-C on the terminal is for the emperor, which tells its vassals; and who leads a group can be ended with it.
    process::new_session()?;
    signal::as_at_birth()
}

/// Dies with `parent`; in a namespace of pids, the parent has no number.
pub fn die_with(parent: i32) -> io::Result<()> {
    process::die_with_parent()?;
    let now = process::parent_id();
    if now == parent || now == 0 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
}

/// Becomes this program. It returns only where that fails.
pub fn become_program(program: &Path, argv: &[OsString], env: &[(OsString, OsString)]) -> io::Error {
    let text = |text: &OsString| CString::new(text.as_bytes());
    let pair = |(name, value): &(OsString, OsString)| {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        CString::new(pair.into_vec())
    };
    let path = CString::new(program.as_os_str().as_bytes());
    let argv: Result<Vec<CString>, _> = argv.iter().map(text).collect();
    let env: Result<Vec<CString>, _> = env.iter().map(pair).collect();
    let (Ok(path), Ok(argv), Ok(env)) = (path, argv, env) else { return io::ErrorKind::InvalidInput.into() };
    match nix::unistd::execve(&path, &argv, &env) {
        Ok(never) => match never {},
        Err(error) => error.into(),
    }
}

/// A pair of stream sockets, both close-on-exec; ours does not block.
pub fn pipe_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)?;
    set_nonblocking(ours.as_fd())?;
    Ok((ours, theirs))
}

/// Takes over a stream socket that whoever started this process has left open under this number; what is something else
/// is left alone.
pub fn inherited_stream(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(Errno::EBADF.into());
    }
    // SAFETY: only asked about; an unknown number fails with EBADF.
    let given = unsafe { BorrowedFd::borrow_raw(number) };
    if getsockopt(&given, sockopt::SockType)? != SockType::Stream || getsockopt(&given, sockopt::AcceptConn)? {
        return Err(Errno::ENOTSOCK.into());
    }
    let ours = given.try_clone_to_owned()?;
    set_nonblocking(ours.as_fd())?;
    // The number itself stays open, for whoever else looks it up, but nobody inherits it.
    fcntl(given, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(ours)
}

/// The same, to be read by somebody who waits, though not for ever.
pub fn inherited_reader(number: RawFd) -> io::Result<UnixStream> {
    let stream = inherited_stream(number)?;
    let stream = UnixStream::from(stream);
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads and writes of it never wait.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Reads what is there, at most as much as fits; 0 is the end, nothing there is `WouldBlock`.
pub fn read(fd: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    loop {
        match nix::unistd::read(fd, room) {
            Err(Errno::EINTR) => {}
            other => return Ok(other?),
        }
    }
}

/// How many files this process may have open: the limit that holds, and the one up to which it can be raised.
pub fn file_limits() -> io::Result<(u64, u64)> {
    Ok(nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)?)
}

/// Sets them.
pub fn set_file_limits((soft, hard): (u64, u64)) -> io::Result<()> {
    Ok(nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, soft, hard)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reap::{self, End};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_child_becomes_another_program_with_its_own_input_and_output() {
        let (ours, theirs) = pipe_pair().unwrap();
        let (read_end, write_end) = process::pipe().unwrap();
        let script = format!("printf '%s %s' \"$ONLY\" \"$0\"; test -S /proc/self/fd/{}", theirs.as_raw_fd());
        let argv = ["name".into(), "-c".into(), script.into()];
        let pid = match fork_into(0).unwrap() {
            Side::Parent(pid) => pid,
            Side::Child => {
                let settled = settle(None, write_end.as_fd(), theirs.as_fd());
                if settled.is_ok() {
                    become_program(Path::new("/bin/sh"), &argv, &[("ONLY".into(), "this".into())]);
                }
                process::exit_now(99);
            }
        };
        drop((write_end, theirs));
        let mut text = String::new();
        io::Read::read_to_string(&mut std::fs::File::from(read_end), &mut text).unwrap();
        let end = loop {
            if let Some(end) = reap::reap(pid).unwrap() {
                break end;
            }
            std::thread::yield_now();
        };
        assert_eq!((text.as_str(), end), ("this name", End::Exited(0)));
        assert_eq!(read(&ours, &mut [0; 8]).unwrap(), 0, "the other end is closed");
    }

    #[test]
    fn what_is_no_stream_is_left_alone() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(inherited_stream(file.as_raw_fd()).is_err() && inherited_stream(9999).is_err());
        assert!(inherited_stream(0).is_err() && inherited_stream(-1).is_err());
        let (ours, _theirs) = pipe_pair().unwrap();
        assert!(inherited_stream(ours.as_raw_fd()).is_ok());
    }
}
