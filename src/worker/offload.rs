//! Threads that wait for disks (`offload-threads`): they send what is left of a response in a file, where that file is
//! not in memory. Cores and the standby thread give them the connection (`attend`), and get it back with its next event.
//!
//! They never run the application.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, PoisonError};

use ruwsgi_sys::table::{Own, Token};

use crate::connection::Connection;
use crate::driver::Standby;
use crate::engine::{Engine, lock};

/// The connections that wait for one of the threads.
pub(crate) struct Offload {
    threads: usize,
    waiting: Mutex<VecDeque<Token>>,
    came: Condvar,
}

impl Offload {
    pub(crate) fn new(threads: u32) -> Self {
        Self { threads: threads as usize, waiting: Mutex::default(), came: Condvar::new() }
    }

    /// So many threads are to be started.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// There are such threads.
    pub(crate) fn is_there(&self) -> bool {
        self.threads > 0
    }

    /// Whether what this connection has to send is for one of the threads.
    pub(crate) fn wants(&self, connection: &Connection) -> bool {
        self.is_there() && connection.file.as_ref().is_some_and(|file| !file.is_cached())
    }

    pub(crate) fn give(&self, token: Token) {
        lock(&self.waiting).push_back(token);
        self.came.notify_one();
    }

    /// Lets all threads look whether it is over.
    pub(crate) fn wake_all(&self) {
        drop(lock(&self.waiting));
        self.came.notify_all();
    }

    /// The next connection; `None`: it is over.
    fn next(&self, is_over: impl Fn() -> bool) -> Option<Token> {
        let mut waiting = lock(&self.waiting);
        while !is_over() {
            if let Some(token) = waiting.pop_front() {
                return Some(token);
            }
            waiting = self.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        None
    }
}

impl Engine<'_> {
    /// The life of one of the threads.
    pub(crate) fn wait_for_disks(&self) {
        if let Err(error) = ruwsgi_sys::signal::block_in_this_thread() {
            tracing::warn!("an offload thread can't leave signals to others: {error}");
        }
        let mut driver = Standby::for_disks();
        while let Some(token) = self.offload.next(|| self.crew.is_over()) {
            // Who else has it looks at it again, and brings it here again if that is right.
            if let Own::Mine(connection) = self.table.own(token) {
                self.attend(&mut driver, connection, true, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn tokens_come_in_order_until_it_is_over() {
        let offload = Offload::new(1);
        let over = AtomicBool::new(false);
        let is_over = || over.load(Ordering::SeqCst);
        for number in [1, 2] {
            offload.give(Token::from_number(number));
        }
        assert_eq!(offload.next(is_over), Some(Token::from_number(1)));
        assert_eq!(offload.next(is_over), Some(Token::from_number(2)));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| offload.next(is_over));
            offload.give(Token::from_number(3));
            assert_eq!(waits.join().unwrap(), Some(Token::from_number(3)));
            let waits = scope.spawn(|| offload.next(is_over));
            over.store(true, Ordering::SeqCst);
            offload.wake_all();
            assert_eq!(waits.join().unwrap(), None);
        });
    }
}
