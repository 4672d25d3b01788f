//! Connections on their way between the workers of an instance: sending one off, receiving one.
//!
//! A request that is ready where no core is free travels, and so do the connections of a worker that drains while others
//! go on: a reload cuts none. `contract::handover` has the form, `queue.rs` the rule.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use ruwsgi_contract::handover::{Arrival, Bounds, Parcel};
use ruwsgi_sys::clock;
use ruwsgi_sys::epoll::Interest;
use ruwsgi_sys::nix::errno::Errno;
use ruwsgi_sys::table::{Own, Owned};
use ruwsgi_wire::{Head, Refusal};

use crate::connection::{Connection, Ready, State};
use crate::driver::Driver;
use crate::engine::Engine;
use crate::input::Input;
use crate::queue::{self, Place, View};

/// So many connections of a listener a worker that drains passes on: others come after it.
const PASSED_ON: u32 = 1024;

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
    pub(crate) fn send_off(&self, driver: &mut impl Driver) {
        // What waits in a worker that is about to be killed waits nowhere else worse.
        let all = self.is_doomed() && self.has_heirs.load(Ordering::Relaxed);
        while !self.queue.is_empty() && (all || queue::may_travel(self.view())) {
            let Some(token) = self.queue.pop() else { break };
            let Own::Mine(connection) = self.table.own(token) else { continue };
            let is_ready = matches!(connection.state, State::Ready(_));
            match if is_ready { self.give(connection) } else { Err(connection) } {
                Ok(()) => {}
                // It was in the queue twice.
                Err(other) if !is_ready => self.attend(driver, other, true, true),
                Err(mut stays) => {
                    // It is the first again. What has happened to it can wait until it is served: all is read then.
                    while let Err(again) = stays.release() {
                        stays = again;
                    }
                    self.queue.put_back(token);
                    break;
                }
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
        if listener.is_mapped || !connection.exchange.is_portable() {
            return Err(connection);
        }
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

    /// What this worker may have been woken for, alone of all, before it stopped to watch its doors: others are woken for
    /// it.
    pub(crate) fn pass_on(&self, driver: &mut impl Driver) {
        for door in 0..self.listeners.len() {
            for _ in 0..PASSED_ON {
                let Some(connection) = self.open_door(door) else { break };
                let Some(connection) = self.table.insert(connection) else { break };
                if let Err(stays) = self.give(connection) {
                    self.attend(driver, stays, true, false);
                }
            }
        }
        self.stir(driver, self.handover.under_way());
    }

    /// Has others woken for what is under way. What finds no room there any more stays here.
    pub(crate) fn stir(&self, driver: &mut impl Driver, count: usize) {
        let back = self.handover.stir(count, driver.room());
        if let Some(connection) = self.arrived(driver, back)
            && let Some(connection) = self.table.insert(connection)
        {
            self.attend(driver, connection, true, true);
        }
    }

    /// Receives one connection and drives it; `false`: none was under way.
    pub(crate) fn receive(&self, driver: &mut impl Driver) -> bool {
        let mut came = false;
        self.admit(driver, true, |driver| {
            let arrival = self.handover.take(driver.room());
            came = !matches!(arrival, Ok(None));
            self.arrived(driver, arrival)
        });
        came
    }

    /// What came of another worker. Whatever is wrong with it, the client sees the end.
    fn arrived(&self, driver: &mut impl Driver, came: io::Result<Option<Arrival>>) -> Option<Connection> {
        if let Err(error) = &came
            && error.raw_os_error() == Some(Errno::EMFILE as i32)
        {
            // The next one would be lost, too.
            self.rest_doors(error);
        }
        let told = came.map_err(|error| error.to_string()).and_then(|arrival| {
            arrival.map(|arrival| self.welcome(driver, arrival)).transpose().map_err(str::to_owned)
        });
        told.unwrap_or_else(|why| {
            tracing::error!("a connection of another worker is closed: {why}");
            None
        })
    }

    fn welcome(&self, driver: &mut impl Driver, arrival: Arrival) -> Result<Connection, &'static str> {
        let Arrival { parcel, fd, bytes } = arrival;
        let door = self.listeners.iter().position(|listener| listener.identity == parcel.door);
        let door = door.ok_or("it came through a socket that this one does not have")?;
        let mut connection = Connection::new(fd, parcel.peer, door, self.converse(door, &parcel.peer));
        connection.requests = parcel.requests;
        connection.begun = parcel.begun;
        connection.deadline_ms = parcel.deadline_ms;
        connection.input = bytes;
        if let Some(body) = parcel.body {
            self.unpack(driver, &mut connection, body, parcel.since_ms)?;
        }
        let waited = parcel.since_ms > 0;
        if waited && queue::is_stale(parcel.since_ms, clock::coarse_ms(), self.rules.queue_timeout_ms) {
            self.refuse(driver, &mut connection, Refusal::Stale);
        }
        Ok(connection)
    }

    /// Reads the head again; the body behind it is whole and decoded.
    fn unpack(
        &self,
        driver: &mut impl Driver,
        connection: &mut Connection,
        (start, end): Bounds,
        since_ms: u64,
    ) -> Result<(), &'static str> {
        let mut vars = driver.vars().take().unwrap_or_default();
        let (start, end) = (start as usize, end as usize);
        let head = connection.exchange.head(&connection.input, &mut vars);
        if !matches!(head, Head::Whole { bytes, .. } if bytes == start) || end < start || end > connection.input.len() {
            return Err("its request can't be read again");
        }
        let input = Input::whole(std::mem::take(&mut connection.input), start, end);
        connection.state = State::Ready(Box::new(Ready { vars, input, since_ms, queued: false }));
        Ok(())
    }
}
