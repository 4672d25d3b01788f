//! What the master and signals ask of a worker.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use ruwsgi_contract::message::{FromWorker, Message, Recycle, ToWorker};
use ruwsgi_contract::scoreboard::Status;
use ruwsgi_sys::channel::Received;
use ruwsgi_sys::clock;
use ruwsgi_sys::table::Token;

use crate::driver::Driver;
use crate::engine::Engine;

/// So many connections of a listener are taken at the end: where clients never cease to come, so does the end.
const LAST: u32 = 4096;

impl Engine<'_> {
    /// Reads what the master says.
    pub(crate) fn take_orders(&self, driver: &mut impl Driver) {
        match self.channel.receive(false) {
            Ok(Received::Nothing) => {}
            Ok(Received::Message(message)) => match ToWorker::decode(&message.bytes) {
                Some(ToWorker::Drain { last, heirs, .. }) => self.drain(driver, last, heirs),
                Some(ToWorker::Pause) => self.pause(),
                Some(ToWorker::Resume) => self.resume(),
                Some(ToWorker::Log) => message.fds.iter().for_each(|sink| self.log.go_on_in(sink.as_fd())),
                Some(ToWorker::Expire) => self.expire(),
                Some(ToWorker::Stacks) => message.fds.into_iter().for_each(self.stacks),
                None => tracing::warn!("the master sent a message that this worker does not know"),
            },
            // Without the master nobody would replace this worker or stop it. Closed, its channel is readable for ever.
            Ok(Received::Closed) | Err(_) => {
                let _ = self.epoll.delete(self.channel.as_fd());
                self.drain(driver, false, false);
            }
        }
    }

    /// Somebody sent a signal to this worker alone: it asks to be replaced and serves on until it is.
    pub(crate) fn signalled(&self) {
        self.signalled.take();
        self.ask_to_be_replaced(Recycle::Signal);
    }

    /// Asks the master for a successor, once.
    pub(crate) fn ask_to_be_replaced(&self, why: Recycle) {
        if !self.recycle_asked.swap(true, Ordering::Relaxed)
            && self.channel.send(&FromWorker::Recycle(why).encode(), &[]).is_err()
        {
            self.recycle_asked.store(false, Ordering::Relaxed);
        }
    }

    /// Takes no new connections until the master says so; what is there goes on.
    fn pause(&self) {
        self.doors_shut_until_ms.store(u64::MAX, Ordering::Relaxed);
        self.shut_doors();
    }

    fn resume(&self) {
        let shut = self.doors_shut_until_ms.swap(0, Ordering::Relaxed);
        if shut != 0
            && !self.draining.load(Ordering::Relaxed)
            && let Err(error) = self.open_doors()
        {
            tracing::error!("a listener can't be watched again: {error}");
        }
    }

    /// Takes no new connections from here on and finishes the others. `last`: nobody else will take what waits in the
    /// listen queues, so that is taken first. `heirs`: others take what comes next on connections that are kept.
    fn drain(&self, driver: &mut impl Driver, last: bool, heirs: bool) {
        if self.draining.load(Ordering::Relaxed) {
            return;
        }
        if last {
            for door in 0..self.listeners.len() {
                for _ in 0..LAST {
                    if !self.accept_one(driver, door) {
                        break;
                    }
                }
            }
        }
        if !heirs {
            // What this worker has sent off and nobody has taken is there, too.
            while self.receive(driver) {}
        }
        self.shut_doors();
        // Connections come and go below: none of them is the last one before this is done.
        self.arriving.fetch_add(1, Ordering::SeqCst);
        self.has_heirs.store(heirs, Ordering::Relaxed);
        self.draining.store(true, Ordering::SeqCst);
        self.seat.set_status(Status::Draining);
        self.hurry();
        if heirs {
            self.pass_on(driver);
            if self.is_doomed() {
                self.send_off(driver);
            }
        }
        let now_ms = clock::coarse_ms();
        let tokens: Vec<Token> = self.table.tokens().collect();
        for token in tokens {
            if let ruwsgi_sys::table::Own::Mine(connection) = self.table.own(token) {
                self.check(driver, connection, now_ms);
            }
        }
        self.arriving.fetch_sub(1, Ordering::SeqCst);
        self.finish_if_drained();
    }
}
