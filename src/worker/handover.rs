//! Connections on their way between the workers of an instance: sending one off, receiving one.
//!
//! A request that is ready where no core is free travels, and so do the connections of a worker that drains while others
//! go on: a reload cuts none. `contract::handover` has the form, `queue.rs` the rule.

use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use ruwsgi_contract::handover::{Arrival, Parcel};
use ruwsgi_sys::clock;
use ruwsgi_sys::epoll::Interest;
use ruwsgi_sys::table::{Own, Owned};
use ruwsgi_wire::{Head, Refusal};

use crate::connection::{Connection, Ready, State};
use crate::driver::Driver;
use crate::engine::Engine;
use crate::input::Input;
use crate::queue::{self, Place, View};

/// Where a connection with a ready request is now.
pub(crate) enum Queued<'t> {
    /// With another worker.
    Away,
    /// Still here, to wait.
    Here(Owned<'t, Connection>),
    /// Still here, and not to wait.
    Refused(Owned<'t, Connection>),
}

impl Engine<'_> {
    fn view(&self) -> View {
        let siblings = if self.draining.load(Ordering::Relaxed) {
            usize::from(self.has_heirs.load(Ordering::Relaxed))
        } else {
            self.scoreboard.up().saturating_sub(1)
        };
        View {
            siblings,
            under_way: self.handover.under_way(),
            waiting: self.scoreboard.waiting(),
            limit: self.rules.queue_limit,
        }
    }

    /// A request is ready, and no core is free.
    pub(crate) fn enqueue<'t>(&self, mut connection: Owned<'t, Connection>) -> Queued<'t> {
        let State::Ready(ready) = &mut connection.state else { return Queued::Here(connection) };
        let now_ms = clock::coarse_ms().max(1);
        // One that has waited elsewhere was let in there.
        let new = ready.since_ms == 0;
        if new {
            ready.since_ms = now_ms;
        }
        ready.queued = true;
        let since_ms = ready.since_ms;
        let timeout_ms = self.rules.queue_timeout_ms;
        connection.deadline_ms = if timeout_ms > 0 { since_ms + timeout_ms } else { u64::MAX };
        let view = self.view();
        match if new { queue::place(view) } else { Place::Here } {
            Place::Refused => Queued::Refused(connection),
            Place::Away => self.give(connection).map_or_else(Queued::Here, |()| Queued::Away),
            Place::Here => Queued::Here(connection),
        }
    }

    /// Sends off what waits here, as far as that is allowed: whoever is free first takes it.
    pub(crate) fn send_off(&self) {
        while !self.queue.is_empty() && queue::may_travel(self.view()) {
            let Some(token) = self.queue.pop() else { break };
            let Own::Mine(connection) = self.table.own(token) else { continue };
            if !matches!(connection.state, State::Ready(_)) {
                self.give_back(connection);
                continue;
            }
            if let Err(connection) = self.give(connection) {
                self.queue.put_back(token);
                self.give_back(connection);
                break;
            }
        }
        self.seat.set_waiting(self.queue.len());
    }

    /// Gives a connection to another worker: its request, or what is here of its next one. `Err`: it stays.
    pub(crate) fn give<'t>(&self, connection: Owned<'t, Connection>) -> Result<(), Owned<'t, Connection>> {
        let (since_ms, body, bytes) = match &connection.state {
            State::Head => (0, None, &connection.input[..]),
            State::Ready(ready) => match ready.input.parcel() {
                Some((bytes, body)) => (ready.since_ms, body, bytes),
                None => return Err(connection),
            },
            _ => return Err(connection),
        };
        let Some(listener) = self.listeners.get(connection.door) else { return Err(connection) };
        let parcel = Parcel {
            door: listener.identity,
            peer: connection.peer,
            requests: connection.requests,
            begun: connection.begun,
            deadline_ms: connection.deadline_ms,
            since_ms,
            body,
        };
        // Its description lives on under way: epoll would go on to tell of it, and it could not be removed any more.
        if connection.watched && self.epoll.delete(connection.fd.as_fd()).is_err() {
            return Err(connection);
        }
        if self.handover.give(&parcel, bytes, connection.fd.as_fd()).is_ok() {
            drop(connection.remove());
            self.finish_if_drained();
            return Ok(());
        }
        // What has happened to it meanwhile is told again.
        let token = connection.token().number();
        if connection.watched && self.epoll.add(connection.fd.as_fd(), token, Interest::Connection).is_err() {
            drop(connection.remove());
            self.finish_if_drained();
            return Ok(());
        }
        Err(connection)
    }

    /// A connection that was only looked at.
    fn give_back(&self, connection: Owned<'_, Connection>) {
        if let Err(again) = connection.release() {
            let token = again.token();
            // Whoever has left word finds it in the ring.
            let _ = again.release();
            self.later(token);
        }
    }

    /// Receives one connection and drives it; `false`: none is under way.
    pub(crate) fn receive(&self, driver: &mut impl Driver) -> bool {
        let arrival = match self.handover.take(driver.room()) {
            Ok(None) => return false,
            Ok(Some(arrival)) => arrival,
            Err(error) => {
                // Its client sees the end.
                tracing::error!("{error}");
                return true;
            }
        };
        let Arrival { parcel, fd, bytes } = arrival;
        let Some(door) = self.listeners.iter().position(|listener| listener.identity == parcel.door) else {
            tracing::error!("a connection was handed over that came through no socket of this worker: closed");
            return true;
        };
        let exchange = (self.listeners[door].exchange)(&self.rules.limits);
        let mut connection = Connection::new(fd, parcel.peer, door, exchange);
        connection.requests = parcel.requests;
        connection.begun = parcel.begun;
        connection.deadline_ms = parcel.deadline_ms;
        connection.input = bytes;
        if let Some(body) = parcel.body {
            if !self.unpack(driver, &mut connection, body, parcel.since_ms) {
                tracing::error!("a request was handed over that can't be read again: closed");
                return true;
            }
        }
        if queue::is_stale(parcel.since_ms, clock::coarse_ms(), self.rules.queue_timeout_ms) && parcel.since_ms > 0 {
            self.refuse(driver, &mut connection, Refusal::Stale);
        }
        match self.table.insert(connection) {
            Some(connection) => self.attend(driver, connection, true, true),
            None => tracing::error!("a connection was closed: a worker holds at most a million of them"),
        }
        true
    }

    /// Reads the head again; the body behind it is whole and decoded.
    fn unpack(
        &self,
        driver: &mut impl Driver,
        connection: &mut Connection,
        (start, end): (u64, u64),
        since_ms: u64,
    ) -> bool {
        let mut vars = driver.vars().take().unwrap_or_default();
        let (start, end) = (start as usize, end as usize);
        let head = connection.exchange.head(&connection.input, &mut vars);
        if !matches!(head, Head::Whole { bytes, .. } if bytes == start) || end < start || end > connection.input.len() {
            return false;
        }
        let input = Input::whole(std::mem::take(&mut connection.input), start, end);
        connection.state = State::Ready(Box::new(Ready { vars, input, since_ms, queued: false }));
        true
    }
}
