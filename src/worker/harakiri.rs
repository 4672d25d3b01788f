//! What a worker does when the master says that a request is past its deadline: the stack of its thread goes to the log,
//! and the client gets a 504, before the worker is killed. Done by whichever thread hears the master: the guilty one is
//! inside the application and hears nobody.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use ruwsgi_sys::{clock, signal, stream};

use crate::engine::{Engine, lock};

/// The right to answer one request: whoever takes it answers, and nobody else does.
#[derive(Default)]
pub(crate) struct Right(Mutex<Option<Answer>>);

/// What a client gets that gets no other answer, and where it is.
#[derive(Clone, Copy)]
struct Answer {
    socket: RawFd,
    bytes: &'static [u8],
}

impl Right {
    /// A request with a deadline goes into the application. The socket stays open until [`take`](Self::take).
    pub(crate) fn give(&self, socket: BorrowedFd<'_>, bytes: &'static [u8]) {
        *lock(&self.0) = Some(Answer { socket: socket.as_raw_fd(), bytes });
    }

    /// The response begins, or is given up; `false`: the client has got another one.
    pub(crate) fn take(&self) -> bool {
        lock(&self.0).take().is_some()
    }

    /// Answers in the place of the application, if that has not begun to.
    fn use_up(&self) {
        let mut right = lock(&self.0);
        if let Some(Answer { socket, bytes }) = right.take() {
            // Under the lock, so that the socket is not closed meanwhile. A client that takes nothing gets nothing.
            stream::say_last(socket, bytes);
        }
    }
}

impl Engine<'_> {
    /// Requests are past their deadline: says where they are, and tells their clients. This worker takes nothing more.
    pub(crate) fn expire(&self) {
        self.doomed.store(true, Ordering::Relaxed);
        self.shut_doors();
        let now_ms = clock::coarse_ms();
        for (core, _) in self.seat.overdue(now_ms) {
            if let Some(right) = self.rights.get(core) {
                right.use_up();
            }
            // What the thread says goes to standard error, as all that an application says.
            if let Some(thread) = self.seat.core(core).thread()
                && let Err(error) = signal::ask_for_stack(thread)
            {
                tracing::warn!("core {core} can't say where it is: {error}");
            }
        }
    }
}

impl Engine<'_> {
    /// What this worker takes now would go down with it: a request is past its deadline, and nobody has said yet that this
    /// is the end. Where that depends on who waits (`harakiri-queue-threshold`), it takes on.
    pub(crate) fn is_past_help(&self) -> bool {
        !self.rules.waits_for_queue && (self.is_doomed() || self.seat.is_late(clock::coarse_ms()))
    }

    /// The master has said so.
    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_request_is_answered_once() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let right = Right::default();
        right.give(here.as_fd(), b"late");
        assert!(right.take(), "the application");
        right.use_up();
        right.give(here.as_fd(), b"late");
        right.use_up();
        right.use_up();
        assert!(!right.take(), "too late");
        let mut text = String::new();
        there.read_to_string(&mut text).unwrap();
        assert_eq!(text, "late", "and nothing follows");
    }
}
