//! The end of children: who is dead, how it ended, and whether a pid is a child of ours at all.

use std::fmt;
use std::io;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With an exit code.
    Exited(i32),
    /// By a signal.
    Killed(i32),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited with code {code}"),
            Self::Killed(signal) => write!(f, "killed by signal {signal}"),
        }
    }
}

/// Makes this process the parent of every orphan among its descendants: of the workers, whose own parent ends at
/// once, and of what the application leaves behind.
pub fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// A child that is dead and not yet reaped, so that its pid still names it. `None`: all live.
pub fn dead_child() -> io::Result<Option<i32>> {
    Ok(wait(libc::P_ALL, 0, libc::WNOWAIT)?.map(|(pid, _)| pid))
}

/// Takes a dead child's end; from here on the kernel may use its pid again. `None`: it is no dead child of ours.
pub fn reap(pid: i32) -> io::Result<Option<End>> {
    Ok(wait(libc::P_PID, pid, 0)?.map(|(_, end)| end))
}

/// `pid` is a child of this process, alive or not yet reaped.
#[must_use]
pub fn is_child(pid: i32) -> bool {
    raw_wait(libc::P_PID, pid, libc::WNOWAIT).is_ok()
}

fn wait(kind: libc::idtype_t, pid: i32, flags: i32) -> io::Result<Option<(i32, End)>> {
    match raw_wait(kind, pid, flags) {
        Ok(found) => Ok(found),
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
        Err(error) => Err(error),
    }
}

/// waitid(2) itself and not nix's, which fails on a child that was killed by a real-time signal.
fn raw_wait(kind: libc::idtype_t, pid: i32, flags: i32) -> io::Result<Option<(i32, End)>> {
    loop {
        // SAFETY: all zeroes is a valid siginfo_t; waitid writes into it, and the accessors read the fields that
        // belong to SIGCHLD, which are zero where nothing was written.
        let (result, pid, status, code) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let result = libc::waitid(kind, pid as libc::id_t, &raw mut info, libc::WEXITED | libc::WNOHANG | flags);
            (result, info.si_pid(), info.si_status(), info.si_code)
        };
        if result == 0 {
            let end = if code == libc::CLD_EXITED { End::Exited(status) } else { End::Killed(status) };
            return Ok((pid != 0).then_some((pid, end)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    #[allow(clippy::zombie_processes, reason = "it is reaped by what is tested")]
    fn an_end_is_seen_first_and_taken_then() {
        let script = ["-c", "read x; kill -40 $$"];
        let mut child = Command::new("sh").args(script).stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = child.id() as i32;
        assert!(is_child(pid));
        assert_eq!(reap(pid).unwrap(), None);
        drop(child.stdin.take());
        let end = loop {
            if let Some(end) = reap(pid).unwrap() {
                break end;
            }
            std::thread::yield_now();
        };
        assert_eq!(end, End::Killed(40));
        assert!(!is_child(pid));
        assert_eq!(reap(pid).unwrap(), None);
    }

    #[test]
    fn a_stranger_is_no_child() {
        assert!(!is_child(std::process::id() as i32));
        assert!(!is_child(1));
    }
}
