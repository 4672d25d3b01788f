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
pub(crate) fn for_a_child() -> io::Result<()> {
    dispose(Signal::SIGINT, SigHandler::SigIgn)?;
    Ok(pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?)
}

#[allow(clippy::disallowed_methods, reason = "this is the master's one place for dispositions")]
fn dispose(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    // SAFETY: default and ignore run no code of ours.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
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
