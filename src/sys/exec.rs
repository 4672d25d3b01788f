//! Starting another program as a child of the master: fork, the few things between, exec.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout};

use crate::limit::Limit;
use crate::reap::{self, End};
use crate::{process, signal};

/// What to start. Without a slash, `program` is looked for on the `PATH` of `env`.
pub struct Program<'a> {
    /// The file.
    pub program: &'a OsStr,
    /// Its arguments, without the name.
    pub args: &'a [OsString],
    /// Its whole environment; of a name that comes twice the last counts.
    pub env: &'a [(OsString, OsString)],
    /// Its file creation mask; `None`: ours.
    pub umask: Option<u32>,
    /// It reads our standard input; otherwise there is nothing to read.
    pub input: bool,
    /// Descriptors, open until it is started, that it gets under the numbers they have here. All others are
    /// close-on-exec.
    pub keep: &'a [RawFd],
    /// What else it differs in from this process.
    pub own: Own<'a>,
}

/// What a program may have of its own.
#[derive(Clone, Copy, Debug, Default)]
pub struct Own<'a> {
    /// It leads a session, and so a group: no terminal, and all of it can be signalled at once.
    pub session: bool,
    /// It goes on when this process is gone.
    pub outlives: bool,
    /// It hears SIGINT.
    pub interruptible: bool,
    /// Its folder; `None`: ours.
    pub folder: Option<&'a Path>,
    /// Its user and group, in this order; `None`: ours.
    pub user: Option<u32>,
    /// Its group; `None`: ours.
    pub group: Option<u32>,
    /// What it may have at most.
    pub limits: &'a [Limit],
    /// It writes there instead of to our standard output and error.
    pub output: Option<BorrowedFd<'a>>,
}

/// Starts it; its pid. An error is the exec's own: what is not there or not executable is told here, not by a dead
/// child. The child has no signal blocked, ignores SIGINT and dies with this process, unless it is to have it otherwise.
pub fn start(program: &Program<'_>) -> io::Result<i32> {
    let keep = program.keep.to_vec();
    let (parent, mask, own) = (process::id(), program.umask, &program.own);
    let (session, outlives, interruptible) = (own.session, own.outlives, own.interruptible);
    let limits = own.limits.to_vec();
    let mut command = Command::new(program.program);
    command.args(program.args).env_clear().envs(program.env.iter().map(|(name, value)| (name, value)));
    if !program.input {
        command.stdin(Stdio::null());
    }
    if let Some(output) = own.output {
        command.stdout(output.try_clone_to_owned()?).stderr(output.try_clone_to_owned()?);
    }
    if let Some(folder) = own.folder {
        command.current_dir(folder);
    }
    if let Some(user) = own.user {
        command.uid(user);
    }
    if let Some(group) = own.group {
        command.gid(group);
    }
    let between = move || {
        signal::for_a_child(interruptible)?;
        if session {
            process::new_session()?;
        }
        if let Some(mask) = mask {
            crate::listen::set_umask(mask);
        }
        for number in &keep {
            set_flags(*number, FdFlag::empty())?;
        }
        limits.iter().try_for_each(Limit::set)?;
        if outlives {
            return Ok(());
        }
        process::die_with_parent()?;
        if process::parent_id() == parent { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    };
    // SAFETY: between makes system calls and reads what was made before the fork; it neither allocates nor locks.
    unsafe { command.pre_exec(between) };
    // The child is not waited for here: its end is taken in one place.
    Ok(command.spawn()?.id() as i32)
}

/// A child that ends, as somebody waits for it.
pub struct Ending {
    pid: i32,
    bell: Option<OwnedFd>,
}

impl Ending {
    /// Of this child.
    pub fn of(pid: i32) -> io::Result<Self> {
        // SAFETY: two numbers; the descriptor is new and nobody else's.
        let number = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as RawFd;
        // SAFETY: as above.
        let bell = (number >= 0).then(|| unsafe { OwnedFd::from_raw_fd(number) });
        Ok(Self { pid, bell })
    }

    /// Waits so long for it at most. `Ok(None)`: it lives on. Its end was taken by somebody else: `Exited(0)`, since
    /// nobody can tell.
    pub fn wait(&self, most: Duration) -> io::Result<Option<End>> {
        // A time too far away to be told is never.
        let until = Instant::now().checked_add(most);
        loop {
            if let Some(end) = reap::reap(self.pid)? {
                return Ok(Some(end));
            }
            if !reap::is_child(self.pid) {
                return Ok(Some(End::Exited(0)));
            }
            let left = until.map_or(most, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return Ok(None);
            }
            // Without a bell (an older kernel), one looks again from time to time.
            let nap = if self.bell.is_some() { left } else { left.min(Duration::from_millis(50)) };
            let mut fds: Vec<PollFd<'_>> =
                self.bell.iter().map(|bell| PollFd::new(bell.as_fd(), PollFlags::POLLIN)).collect();
            match nix::poll::poll(&mut fds, PollTimeout::try_from(nap).unwrap_or(PollTimeout::MAX)) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Becomes another program, which gets these descriptors under their numbers: the process stays, with its pid and its
/// children, and signals stay blocked, so that none of them ends the other one before it is ready for them. It returns
/// only where that can't be, and then nothing has changed.
pub fn replace(program: &OsStr, argv: &[OsString], env: &[(OsString, OsString)], keep: &[RawFd]) -> io::Error {
    let mut command = Command::new(program);
    if let Some((name, args)) = argv.split_first() {
        command.arg0(name).args(args);
    }
    command.env_clear().envs(env.iter().map(|(name, value)| (name, value)));
    let set = |flags| keep.iter().try_for_each(|number| set_flags(*number, flags));
    let error = match set(FdFlag::empty()) {
        Ok(()) => command.exec(),
        Err(error) => error,
    };
    // What is not open can't be set back either.
    let _ = set(FdFlag::FD_CLOEXEC);
    error
}

/// Takes over a descriptor that an exec has passed on by its number, and makes it close-on-exec again.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    set_flags(number, FdFlag::FD_CLOEXEC)?;
    // SAFETY: the number was handed to this process for exactly this owner, and is open.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Programs that this process starts get none of these that an exec has passed on; the three standard ones they do.
pub fn close_at_exec(numbers: &[RawFd]) {
    for number in numbers.iter().filter(|number| **number > 2) {
        // What is not open is passed on to nobody.
        let _ = set_flags(*number, FdFlag::FD_CLOEXEC);
    }
}

fn set_flags(number: RawFd, flags: FdFlag) -> io::Result<()> {
    // SAFETY: nothing is done with the descriptor but to set its flags, and nothing at all where it is not open.
    fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Programs that this process starts get this descriptor too.
pub fn keep_at_exec(fd: BorrowedFd<'_>) -> io::Result<()> {
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    fn end_of(pid: i32) -> End {
        loop {
            if let Some(end) = reap::reap(pid).unwrap() {
                return end;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_child_gets_its_descriptors_environment_and_mask() {
        let (read, write) = process::pipe().unwrap();
        let script = format!("printf '%s %s %s' \"$ONLY\" \"$HOME\" $(umask) >&{}", write.as_raw_fd());
        let program = Program {
            program: OsStr::new("sh"),
            args: &["-c".into(), script.into()],
            env: &[("ONLY".into(), "this".into()), ("PATH".into(), "/usr/bin:/bin".into())],
            umask: Some(0o027),
            input: true,
            keep: &[write.as_raw_fd()],
            own: Own::default(),
        };
        assert_eq!(end_of(start(&program).unwrap()), End::Exited(0));
        drop(write);
        let mut text = String::new();
        io::Read::read_to_string(&mut std::fs::File::from(read), &mut text).unwrap();
        assert_eq!(text, "this  0027");
    }

    #[test]
    fn what_is_not_there_is_an_error_here() {
        let program = Program {
            program: OsStr::new("/nonexistent/python3"),
            args: &[],
            env: &[],
            umask: None,
            input: false,
            keep: &[],
            own: Own::default(),
        };
        assert_eq!(start(&program).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
