//! Signals: all of them come to the master as bytes of one descriptor; none interrupts or ends it.
//!
//! The master calls [`Signals::take_over`] once, before it has children. What a signal means is the plan's affair.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask, sigaction};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// What the processor raises in a process that went wrong: blocking these would hide the end, not prevent it.
const FAULTS: [Signal; 7] =
    [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGFPE, Signal::SIGILL, Signal::SIGTRAP, Signal::SIGABRT, Signal::SIGSYS];

/// The signals of this process, blocked and readable.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks every signal but the faults. A disposition that the parent left at "ignore" (nohup, a SIGCHLD that
    /// nobody wanted) is set back to the default, or the kernel would drop the signal before we see it.
    pub fn take_over() -> io::Result<Self> {
        let mut all = SigSet::all();
        for fault in FAULTS {
            all.remove(fault);
        }
        for signal in Signal::iterator() {
            let ours = !FAULTS.contains(&signal);
            // SIGPIPE stays ignored: a write to a reader that is gone is an error, not an end.
            if ours && !matches!(signal, Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGPIPE) {
                dispose(signal, SigHandler::SigDfl)?;
            }
        }
        dispose(Signal::SIGPIPE, SigHandler::SigIgn)?;
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&all), None)?;
        Ok(Self(SignalFd::with_flags(&all, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The number of the next signal that came; `None` when there is none.
    pub fn next(&self) -> io::Result<Option<i32>> {
        loop {
            match self.0.read_signal() {
                Ok(found) => return Ok(found.map(|info| info.ssi_signo as i32)),
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Somebody has sent a signal that ends a master, and nobody has taken it yet: for who waits for something else.
#[must_use]
pub fn end_is_pending() -> bool {
    let mut pending = SigSet::empty();
    // SAFETY: the set is alive and written by the call.
    let asked = unsafe { libc::sigpending(std::ptr::from_mut(&mut pending).cast()) };
    asked == 0 && [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT].iter().any(|signal| pending.contains(*signal))
}

/// A signal to a whole group of processes, whose leader has this pid.
pub fn send_to_group(leader: i32, number: i32) -> io::Result<()> {
    if leader <= 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{leader} is no process of ours")));
    }
    // SAFETY: two numbers, no memory.
    if unsafe { libc::killpg(leader, number) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// SIGKILL to a whole group.
pub fn kill_group(leader: i32) -> io::Result<()> {
    send_to_group(leader, libc::SIGKILL)
}

/// Lets no signal interrupt this thread: they are for those that run the application.
pub fn block_in_this_thread() -> io::Result<()> {
    let mut all = SigSet::all();
    for fault in FAULTS {
        all.remove(fault);
    }
    Ok(all.thread_block()?)
}

impl AsRawFd for Signals {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// What a child of the master does between fork and exec: nothing stays blocked, and SIGINT is ignored, because
/// Python takes SIGINT over where it finds the default, and a Ctrl-C of the terminal reaches every process at once.
pub(crate) fn for_a_child(interruptible: bool) -> io::Result<()> {
    dispose(Signal::SIGINT, if interruptible { SigHandler::SigDfl } else { SigHandler::SigIgn })?;
    // Rust's runtime ignores it, and what is ignored stays so over an exec.
    dispose(Signal::SIGPIPE, SigHandler::SigDfl)?;
    Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

/// As a program finds it that is started by a shell: nothing is blocked, nothing ignored.
pub(crate) fn as_at_birth() -> io::Result<()> {
    for signal in [Signal::SIGINT, Signal::SIGPIPE] {
        dispose(signal, SigHandler::SigDfl)?;
    }
    Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

#[allow(clippy::disallowed_methods, reason = "this is the master's one place for dispositions")]
fn dispose(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: default and ignore run no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// The signal at which a thread of a worker writes its stack to standard error: the last one, which nobody uses.
pub const STACK: i32 = 64;

/// Asks a thread of this process for its stack, if somebody has said how that is done; nothing happens otherwise.
pub fn ask_for_stack(thread: i32) -> io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction; the first call writes into it, and tgkill touches no memory. The thread is
    // one of this process, or there is none of this number in it.
    let result = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(STACK, std::ptr::null(), &raw mut action) != 0 || action.sa_sigaction == libc::SIG_DFL {
            return Ok(());
        }
        libc::syscall(libc::SYS_tgkill, process_id(), thread, STACK)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn process_id() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// A signal by its number to one process.
#[allow(clippy::disallowed_methods, reason = "this is the one place that sends signals")]
pub fn send_number(pid: i32, number: i32) -> io::Result<()> {
    let signal = Signal::try_from(number).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    send(pid, signal)
}

/// SIGKILL to one process.
pub fn kill(pid: i32) -> io::Result<()> {
    send(pid, Signal::SIGKILL)
}

/// SIGTERM to one process.
pub fn terminate(pid: i32) -> io::Result<()> {
    send(pid, Signal::SIGTERM)
}

/// SIGINT to one process.
pub fn interrupt(pid: i32) -> io::Result<()> {
    send(pid, Signal::SIGINT)
}

/// SIGTSTP to one process.
pub fn pause(pid: i32) -> io::Result<()> {
    send(pid, Signal::SIGTSTP)
}

/// SIGHUP to one process.
pub fn hang_up(pid: i32) -> io::Result<()> {
    send(pid, Signal::SIGHUP)
}

#[allow(clippy::disallowed_methods, reason = "this is the one place that sends signals")]
fn send(pid: i32, signal: Signal) -> io::Result<()> {
    // 0 and negative numbers name groups of processes: nobody here means those.
    if pid <= 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is no process of ours")));
    }
    Ok(nix::sys::signal::kill(Pid::from_raw(pid), signal)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_never_signalled() {
        for pid in [1, 0, -1, i32::MIN] {
            assert_eq!(kill(pid).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        }
    }
}
