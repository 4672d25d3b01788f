//! Driving one connection: from an event to the point where it has to wait again.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ruwsgi_sys::epoll::Interest;
use ruwsgi_sys::nix::errno::Errno;
use ruwsgi_sys::stream::Peer;
use ruwsgi_sys::table::Owned;
use ruwsgi_sys::{clock, exec, stream};
use ruwsgi_wire::proxy::{self, Proxied};
use ruwsgi_wire::{Exchange, Head, Next, Refusal, Vars};

use crate::app::App;
use crate::connection::{Connection, Flushed, State, Then};
use crate::driver::Driver;
use crate::engine::{Core, Engine, Listener};
use crate::handover::Queued;
use crate::input::Input;
use crate::receive::Begun;

/// How much one read takes at most, in bytes.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// How many pipelined requests one event serves before others get their turn.
const PIPELINED: u32 = 16;
/// So many bytes one event reads, about, before others get their turn.
const READ_IN_A_GO: usize = 1024 * 1024;
/// How many connections of a listener one event takes, while that is fast.
const CROWD: u32 = 8;
/// How long a connection that was told the end may stay before it is closed.
const LINGER: Duration = Duration::from_secs(2);
/// How long a worker that drains waits for the first request of a connection that is open already.
const FIRST_REQUEST: Duration = Duration::from_secs(3);
/// The deadline of a connection that ends if nothing has come: nobody looks at a clock for that.
const OVERDUE: u64 = 0;
/// How long the listeners rest when there is no descriptor to accept with.
const DOORS_SHUT: Duration = Duration::from_millis(100);

/// What is to be done with a connection.
pub(crate) enum Fate {
    /// Wait for the next event.
    Wait,
    /// It has more to do, after others.
    Later,
    /// Its request is ready, and who drives it runs no application.
    Ready,
    /// What it has to send is on a disk, for which others wait.
    Disk,
    /// Go on with another worker, or wait.
    Leave,
    /// Go on with another worker, or here, after others.
    Pass,
    Close,
}

/// How far the bytes that are here lead.
pub(crate) enum Progress {
    /// A request was served, or something was said: look again.
    On,
    /// So many bytes at most should be read.
    More(usize),
    Done(Fate),
}

impl Engine<'_> {
    /// Takes one connection from a listener, and reads from it at once: mostly its first request is here already.
    /// `false`: nobody waits there.
    pub(crate) fn accept_one(&self, driver: &mut impl Driver, door: usize) -> bool {
        self.admit(driver, false, |_| self.open_door(door))
    }

    /// Takes the first connection from a listener, and those that follow as long as that is fast and nothing else is known
    /// to wait: clients that connect for each request come in crowds, and asking epoll for each of them costs more.
    pub(crate) fn accept_some(&self, driver: &mut impl Driver, door: usize) {
        let began_ms = clock::coarse_ms();
        for _ in 0..CROWD {
            if !self.accept_one(driver, door) || self.has_work() || clock::coarse_ms() != began_ms {
                break;
            }
        }
    }

    /// Takes one connection from a listener.
    pub(crate) fn open_door(&self, door: usize) -> Option<Connection> {
        let listener = self.listeners.get(door)?;
        let (fd, peer) = stream::accept(listener.fd.as_fd()).unwrap_or_else(|error| {
            self.rest_doors(&error);
            None
        })?;
        if self.rules.inherits {
            // What an application starts may hold the connection open, or not: nothing else depends on it.
            let _ = exec::keep_at_exec(fd.as_fd());
        }
        let mut connection = Connection::new(fd, peer, door, self.converse(door, &peer));
        connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
        Some(connection)
    }

    /// Starts the conversation with a client, or with who speaks for it where that is trusted to.
    pub(crate) fn converse(&self, door: usize, peer: &Peer) -> Box<dyn Exchange> {
        let Listener { exchange, proxied, .. } = &self.listeners[door];
        let trusted = *proxied != Proxied::Never && self.rules.trust.covers(peer.ip());
        proxy::exchange(exchange(&self.rules.limits), *proxied, trusted)
    }

    /// No descriptor, no memory: the queue keeps the clients, and asking again at once would only burn a core.
    pub(crate) fn rest_doors(&self, error: &io::Error) {
        let until = clock::coarse_ms() + millis(DOORS_SHUT);
        if self.doors_shut_until_ms.swap(until, Ordering::Relaxed) == 0 {
            let hint = if error.raw_os_error() == Some(Errno::EMFILE as i32) { " (see ulimit -n)" } else { "" };
            tracing::warn!("accept: {error}{hint}: new connections wait in the listen queue");
        }
        self.shut_doors();
        self.hurry();
    }

    /// Drives a connection until it has to wait. `readable`: there may be something to read; `closed`: a short read
    /// does not mean that there is nothing behind it.
    pub(crate) fn attend(
        &self,
        driver: &mut impl Driver,
        mut connection: Owned<'_, Connection>,
        mut readable: bool,
        mut closed: bool,
    ) {
        loop {
            let fate = self.advance(driver, &mut connection, readable, closed);
            if connection.input.is_empty() && connection.input.capacity() > 0 {
                driver.pool_buffer(std::mem::take(&mut connection.input));
            }
            connection = match fate {
                Fate::Close => {
                    drop(connection.remove());
                    return self.finish_if_drained();
                }
                Fate::Leave | Fate::Pass => match self.give(connection) {
                    Ok(()) => return,
                    Err(stays) => stays,
                },
                Fate::Ready => match self.enqueue(connection) {
                    Queued::Away => return,
                    Queued::Here(waits) => waits,
                    Queued::Refused(mut refused) => {
                        self.refuse(driver, &mut refused, Refusal::Crowded);
                        (connection, readable, closed) = (refused, true, true);
                        continue;
                    }
                },
                Fate::Wait | Fate::Later | Fate::Disk => connection,
            };
            if !connection.watched {
                let token = connection.token().number();
                if self.epoll.add(connection.fd.as_fd(), token, Interest::Connection).is_err() {
                    drop(connection.remove());
                    return self.finish_if_drained();
                }
                connection.watched = true;
            }
            let token = connection.token();
            match self.leave_alone(connection) {
                Ok(()) => {
                    match fate {
                        Fate::Later | Fate::Pass => self.later(token),
                        Fate::Disk => self.offload.give(token),
                        Fate::Ready => self.wait_in_queue(token),
                        _ => {}
                    }
                    return;
                }
                // Something happened meanwhile, and nobody said what.
                Err(mut again) => {
                    again.lose_place();
                    (connection, readable, closed) = (again, true, true);
                }
            }
        }
    }

    /// Looks after a connection that nobody has touched for a while: its deadline, or the end of the worker.
    pub(crate) fn check(&self, driver: &mut impl Driver, mut connection: Owned<'_, Connection>, now_ms: u64) {
        if now_ms >= connection.deadline_ms {
            match connection.state {
                // Its next request may be here, unread.
                State::Head if connection.is_idle() => connection.deadline_ms = OVERDUE,
                State::Head | State::Body(_) => self.refuse(driver, &mut connection, Refusal::Timeout),
                State::Ready(_) => self.refuse(driver, &mut connection, Refusal::Stale),
                State::Flush(_) | State::Linger => {
                    if let State::Flush(_) = connection.state {
                        // A FIN would make a response that has no length look whole.
                        stream::reset_on_close(connection.fd.as_fd());
                    }
                    drop(connection.remove());
                    return self.finish_if_drained();
                }
            }
        } else if !(self.draining.load(Ordering::Relaxed) && matches!(connection.state, State::Head)) {
            match self.leave_alone(connection) {
                Ok(()) => return,
                Err(mut again) => {
                    again.lose_place();
                    connection = again;
                }
            }
        }
        self.attend(driver, connection, true, true);
    }

    fn advance(&self, driver: &mut impl Driver, connection: &mut Connection, readable: bool, closed: bool) -> Fate {
        let mut dry = !readable;
        let served = connection.requests;
        let mut taken = 0;
        loop {
            if let State::Flush(then) = connection.state {
                if !driver.is_for_disks() && self.offload.wants(connection) {
                    return Fate::Disk;
                }
                let before = connection.unsent();
                let flushed = self.flush(driver, connection);
                match flushed {
                    Flushed::Gone => return Fate::Close,
                    Flushed::Some | Flushed::More => {
                        // A client that only sends does not take.
                        if connection.unsent() < before {
                            connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
                        }
                        return if let Flushed::More = flushed { Fate::Later } else { Fate::Wait };
                    }
                    Flushed::All if then == Then::Close => return Fate::Close,
                    Flushed::All if then == Then::Linger => self.say_goodbye(connection),
                    Flushed::All => {
                        driver.pool_buffer(std::mem::take(&mut connection.output));
                        self.await_head(connection, clock::coarse_ms());
                    }
                }
            }
            let turns = connection.requests.wrapping_sub(served);
            let is_enough = turns >= PIPELINED || (turns > 0 && self.others_wait());
            if is_enough && !connection.input.is_empty() {
                return self.put_off(connection);
            }
            let limit = match self.progress(driver, connection) {
                Progress::On => continue,
                Progress::Done(fate) => return fate,
                Progress::More(_) if connection.eof => return Fate::Close,
                // Who watches it from now on will be told of what is here already.
                Progress::More(_) if dry || (turns > 0 && !connection.watched) => return self.settle(connection),
                Progress::More(_) if is_enough || taken >= READ_IN_A_GO => return self.put_off(connection),
                Progress::More(limit) => limit,
            };
            if connection.input.capacity() == 0 {
                connection.input = driver.pool().pop().unwrap_or_default();
            }
            match stream::read(connection.fd.as_fd(), &mut connection.input, limit) {
                Ok(0) => connection.eof = true,
                Ok(got) => {
                    taken += got;
                    dry = got < limit && !closed;
                    if let State::Body(_) = connection.state {
                        connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => dry = true,
                Err(_) => return Fate::Close,
            }
        }
    }

    /// It has had its turn: a client that never stops asking is not to keep a worker that others follow.
    fn put_off(&self, connection: &Connection) -> Fate {
        let goes = self.draining.load(Ordering::Relaxed) && self.has_heirs.load(Ordering::Relaxed);
        if goes && matches!(connection.state, State::Head) { Fate::Pass } else { Fate::Later }
    }

    /// Nothing more to read: the connection waits, unless the worker drains.
    fn settle(&self, connection: &mut Connection) -> Fate {
        if connection.deadline_ms == OVERDUE && connection.is_idle() {
            self.say_goodbye(connection);
            return Fate::Wait;
        }
        if !self.draining.load(Ordering::Relaxed) || !matches!(connection.state, State::Head) {
            return Fate::Wait;
        }
        if self.has_heirs.load(Ordering::Relaxed) {
            return Fate::Leave;
        }
        if connection.is_idle() && connection.requests > 0 {
            self.say_goodbye(connection);
        } else if connection.is_idle() {
            // Its first request may be on the way: a FIN now would be a lost request.
            let soon = clock::coarse_ms() + millis(FIRST_REQUEST);
            connection.deadline_ms = connection.deadline_ms.min(soon);
        }
        Fate::Wait
    }

    /// Requests of other connections are ready: they have waited for longer than what this client says next.
    fn others_wait(&self) -> bool {
        self.handover.under_way() > 0 || !self.queue.is_empty()
    }

    fn progress(&self, driver: &mut impl Driver, connection: &mut Connection) -> Progress {
        match &mut connection.state {
            State::Head if connection.input.is_empty() => Progress::More(READ_BYTES),
            State::Head => self.progress_head(driver, connection),
            State::Body(_) => self.progress_body(driver, connection),
            State::Linger => {
                connection.input.clear();
                Progress::More(READ_BYTES)
            }
            State::Ready(_) => driver.serve_ready(self, connection),
            State::Flush(_) => Progress::On,
        }
    }

    fn progress_head(&self, driver: &mut impl Driver, connection: &mut Connection) -> Progress {
        let mut vars = driver.vars().take().unwrap_or_default();
        match connection.exchange.head(&connection.input, &mut vars) {
            Head::Partial { begun } => {
                *driver.vars() = Some(vars);
                if begun && !connection.begun {
                    connection.begun = true;
                    connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
                }
                Progress::More(READ_BYTES)
            }
            Head::Reply { bytes, answer, next } => {
                *driver.vars() = Some(vars);
                connection.input.drain(..bytes);
                self.reply(connection, &answer, next)
            }
            Head::Refused(refusal) => {
                *driver.vars() = Some(vars);
                self.refuse(driver, connection, refusal);
                Progress::On
            }
            Head::Whole { bytes, body, expects_continue } => {
                connection.begun = true;
                self.begin_body(driver, connection, Begun { vars, head: bytes, expects_continue }, body)
            }
        }
    }

    /// One turn, and where it leaves the connection.
    pub(crate) fn serve<A: App>(
        &self,
        core: &mut Core<'_, A>,
        connection: &mut Connection,
        mut vars: Box<Vars>,
        input: Input,
    ) -> Progress {
        let then = self.turn(core, connection, &mut vars, input);
        core.vars = Some(vars);
        let Some(then) = then else {
            stream::reset_on_close(connection.fd.as_fd());
            return Progress::Done(Fate::Close);
        };
        if connection.unsent() > 0 {
            connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
            connection.state = State::Flush(then);
            // A file is not tried yet.
            return if connection.file.is_some() { Progress::On } else { Progress::Done(Fate::Wait) };
        }
        if connection.output.capacity() > 0 {
            connection.output.clear();
            connection.output_at = 0;
            core.pool_buffer(std::mem::take(&mut connection.output));
        }
        match then {
            Then::Close => return Progress::Done(Fate::Close),
            Then::Linger => self.say_goodbye(connection),
            Then::Next => self.await_head(connection, core.now.ms()),
        }
        Progress::On
    }

    /// Sends what waits. A file is read while others run: its disk may take a while.
    fn flush(&self, driver: &mut impl Driver, connection: &mut Connection) -> Flushed {
        if connection.file.is_none() {
            return connection.flush();
        }
        driver.read_disk(self, || connection.flush())
    }

    fn await_head(&self, connection: &mut Connection, now_ms: u64) {
        connection.state = State::Head;
        connection.begun = false;
        connection.deadline_ms = now_ms + millis(self.rules.keepalive.unwrap_or(self.rules.timeout));
    }

    /// Answers with an error, and ends the conversation.
    pub(crate) fn refuse(&self, driver: &mut impl Driver, connection: &mut Connection, refusal: Refusal) {
        driver.now().look();
        let before = connection.output.len();
        connection.exchange.refuse(refusal, driver.now().date(), &mut connection.output);
        self.tell_refusal(driver.now().second(), connection, refusal, connection.output.len() > before);
        self.end_conversation(connection);
    }

    /// Sends what the protocol has answered by itself.
    fn reply(&self, connection: &mut Connection, answer: &[u8], next: Next) -> Progress {
        connection.output.extend_from_slice(answer);
        if let Some(origin) = connection.exchange.origin() {
            connection.peer = Peer::Inet(origin.client);
        }
        match next {
            Next::Close => self.end_conversation(connection),
            Next::KeepAlive if answer.is_empty() => {}
            Next::KeepAlive => {
                connection.state = State::Flush(Then::Next);
                connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
            }
        }
        Progress::On
    }

    /// What is in the output is the last that this client gets.
    fn end_conversation(&self, connection: &mut Connection) {
        connection.input.clear();
        connection.state = State::Flush(Then::Linger);
        connection.deadline_ms = clock::coarse_ms() + millis(self.rules.timeout);
    }

    /// A FIN behind what was sent; from here on the connection is only read.
    fn say_goodbye(&self, connection: &mut Connection) {
        // A connection that is broken already: the next read tells.
        let _ = stream::finish_writing(connection.fd.as_fd());
        connection.state = State::Linger;
        connection.input.clear();
        connection.deadline_ms = clock::coarse_ms() + millis(LINGER);
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}
