//! Signals of a process that must not block them (its children would inherit the mask): a handler that wakes an eventfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

/// An event that anybody can raise: a descriptor that stays readable once it was raised, until it is taken.
pub struct Event(EventFd);

static RAISED_BY_SIGNAL: AtomicI32 = AtomicI32::new(-1);

impl Event {
    /// A new one, not raised.
    pub fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    /// Raises it.
    pub fn raise(&self) {
        // The only failure is a counter that is full: raised it is.
        let _ = self.0.write(1);
    }

    /// Takes it back; whether it was raised.
    pub fn take(&self) -> bool {
        self.0.read().is_ok()
    }

    /// From now on, each of these signals raises this event and does nothing else. One event of a process can have
    /// signals; it must live as long as the process.
    pub fn raise_on(&'static self, signals: &[Signal]) -> io::Result<()> {
        RAISED_BY_SIGNAL.store(self.as_fd().as_raw_fd(), Ordering::Relaxed);
        // SA_RESTART: an application's system calls go on.
        let action = SigAction::new(SigHandler::Handler(raised), SaFlags::SA_RESTART, SigSet::empty());
        for signal in signals {
            #[allow(clippy::disallowed_methods, reason = "this is a home of signal dispositions")]
            // SAFETY: the handler calls only write(2), which is async-signal-safe, and keeps errno.
            unsafe { sigaction(*signal, &action) }?;
        }
        Ok(())
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

extern "C" fn raised(_: libc::c_int) {
    let one = 1_u64;
    // SAFETY: write(2) reads eight bytes of a local; errno of the interrupted code is put back.
    unsafe {
        let errno = *libc::__errno_location();
        libc::write(RAISED_BY_SIGNAL.load(Ordering::Relaxed), (&raw const one).cast(), 8);
        *libc::__errno_location() = errno;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_stays_until_it_is_taken() {
        let event = Event::new().unwrap();
        assert!(!event.take());
        event.raise();
        event.raise();
        assert!(event.take());
        assert!(!event.take());
    }
}
