//! Asking single threads of this process where they are: a signal that somebody else (Python's faulthandler) answers, and
//! a handler behind his that tells when the answer is whole.
//!
//! `plugins/python/src/stacks` calls [`Probe::install`], then has faulthandler register the same signal with `chain`.

use std::io;
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::notify::Event;

/// The signal: the last but one, which nobody uses.
pub const SIGNAL: i32 = 63;

/// The threads of this process can be asked.
pub struct Probe(Event);

static INSTALLED: OnceLock<Probe> = OnceLock::new();

impl Probe {
    /// Makes the signal mean: this thread has answered. The first call of a process counts.
    pub fn install() -> io::Result<&'static Self> {
        if let Some(probe) = INSTALLED.get() {
            return Ok(probe);
        }
        let event = Event::new()?;
        let probe = INSTALLED.get_or_init(|| Self(event));
        // SAFETY: all zeroes is a valid sigaction; the handler calls only write(2) and keeps errno.
        let result = unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = answered as *const () as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(SIGNAL, &raw const action, std::ptr::null_mut())
        };
        if result == 0 { Ok(probe) } else { Err(io::Error::last_os_error()) }
    }

    /// Asks a thread; whether it has answered within that time. A thread that blocks signals does not. One call at a time.
    pub fn ask(&self, thread: i32, patience: Duration) -> io::Result<bool> {
        self.0.take();
        // SAFETY: tgkill touches no memory; the thread is one of this process, or there is none of this number in it.
        if unsafe { libc::syscall(libc::SYS_tgkill, nix::unistd::getpid().as_raw(), thread, SIGNAL) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left.as_millis().min(10_000) as i32).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], left) {
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        let answered = self.0.take();
        // faulthandler puts its own handler out of the way to reach ours, and then back: whoever is asked before that
        // would only say that he has answered.
        while answered && is_ours() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        Ok(answered)
    }
}

/// The signal would come to our handler alone.
fn is_ours() -> bool {
    // SAFETY: all zeroes is a valid sigaction; the call only writes into it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let told = libc::sigaction(SIGNAL, std::ptr::null(), &raw mut action) == 0;
        told && action.sa_sigaction == answered as *const () as libc::sighandler_t
    }
}

/// The threads of this process.
pub fn threads() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let mut threads: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    threads.sort_unstable();
    threads
}

/// What a thread of this process is called.
pub fn name(thread: i32) -> String {
    let name = std::fs::read_to_string(format!("/proc/self/task/{thread}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

extern "C" fn answered(_: libc::c_int) {
    // SAFETY: errno of the interrupted code is put back; what is between is a write(2).
    unsafe {
        let errno = *libc::__errno_location();
        if let Some(probe) = INSTALLED.get() {
            probe.0.raise();
        }
        *libc::__errno_location() = errno;
    }
}
