//! Who drives connections: a core, which runs the application as soon as a request is ready, or the standby thread,
//! which lets it wait. `attend.rs` and `receive.rs` ask nothing else of them.

use ruwsgi_contract::scoreboard::CoreSeat;
use ruwsgi_wire::Vars;

use crate::app::App;
use crate::attend::{Fate, Progress};
use crate::connection::{Connection, Ready, State};
use crate::engine::{Core, Engine};
use crate::input::Input;
use crate::now::Now;

/// A pooled buffer keeps at most this.
const POOLED_BYTES: usize = 64 * 1024;

pub(crate) trait Driver {
    /// Its own time.
    fn now(&mut self) -> &mut Now;

    /// Room for the variables of a request whose head is not whole.
    fn vars(&mut self) -> &mut Option<Box<Vars>>;

    /// Empty buffers for connections that have something to read.
    fn pool(&mut self) -> &mut Vec<Vec<u8>>;

    /// Room for connections that come from other workers.
    fn room(&mut self) -> &mut Vec<u8>;

    /// A request is whole.
    fn serve(&mut self, engine: &Engine<'_>, connection: &mut Connection, vars: Box<Vars>, input: Input) -> Progress;

    /// A request that was whole before waits for a core.
    fn serve_ready(&mut self, engine: &Engine<'_>, connection: &mut Connection) -> Progress;

    /// Does what may wait for a disk, and needs no application: others run meanwhile.
    fn read_disk<T>(&mut self, _: &Engine<'_>, work: impl FnOnce() -> T) -> T {
        work()
    }

    /// It is one of those who wait for disks.
    fn is_for_disks(&self) -> bool {
        false
    }

    /// Keeps an empty buffer for the next connection that needs one.
    fn pool_buffer(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() <= POOLED_BYTES && self.pool().len() < 64 {
            self.pool().push(buffer);
        }
    }
}

impl Engine<'_> {
    /// Does what may wait for a disk while the application of a core rests. It counts as a request inside the
    /// application: where it lasts, the standby sees to the others.
    pub(crate) fn read_disk<A: App, T>(&self, app: &mut A, seat: CoreSeat<'_>, work: impl FnOnce() -> T) -> T {
        seat.enter();
        app.rest();
        let done = work();
        self.crew.hold(|| app.resume());
        seat.leave_disk();
        done
    }
}

impl<A: App> Driver for Core<'_, A> {
    fn now(&mut self) -> &mut Now {
        &mut self.now
    }

    fn vars(&mut self) -> &mut Option<Box<Vars>> {
        &mut self.vars
    }

    fn pool(&mut self) -> &mut Vec<Vec<u8>> {
        &mut self.pool
    }

    fn room(&mut self) -> &mut Vec<u8> {
        &mut self.room
    }

    fn serve(&mut self, engine: &Engine<'_>, connection: &mut Connection, vars: Box<Vars>, input: Input) -> Progress {
        engine.crew.call_successor();
        engine.serve(self, connection, vars, input)
    }

    fn serve_ready(&mut self, engine: &Engine<'_>, connection: &mut Connection) -> Progress {
        match std::mem::replace(&mut connection.state, State::Head) {
            State::Ready(ready) => {
                let Ready { vars, input, .. } = *ready;
                self.serve(engine, connection, vars, input)
            }
            other => {
                connection.state = other;
                Progress::On
            }
        }
    }

    fn read_disk<T>(&mut self, engine: &Engine<'_>, work: impl FnOnce() -> T) -> T {
        engine.read_disk(&mut self.app, self.seat, work)
    }
}

/// What the standby thread drives with, and those that wait for disks.
pub(crate) struct Standby {
    now: Now,
    vars: Option<Box<Vars>>,
    pool: Vec<Vec<u8>>,
    room: Vec<u8>,
    /// In its last pass it has left new connections, or those of other workers, to cores that are idle.
    pub left: bool,
    /// It is not the standby thread, it waits for disks.
    for_disks: bool,
}

impl Standby {
    pub(crate) fn new() -> Self {
        let now = Now::new();
        Self { now, vars: None, pool: Vec::new(), room: Vec::new(), left: false, for_disks: false }
    }

    /// What a thread drives with that waits for disks.
    pub(crate) fn for_disks() -> Self {
        Self { for_disks: true, ..Self::new() }
    }
}

impl Driver for Standby {
    fn is_for_disks(&self) -> bool {
        self.for_disks
    }

    fn now(&mut self) -> &mut Now {
        &mut self.now
    }

    fn vars(&mut self) -> &mut Option<Box<Vars>> {
        &mut self.vars
    }

    fn pool(&mut self) -> &mut Vec<Vec<u8>> {
        &mut self.pool
    }

    fn room(&mut self) -> &mut Vec<u8> {
        &mut self.room
    }

    fn serve(&mut self, _: &Engine<'_>, connection: &mut Connection, vars: Box<Vars>, input: Input) -> Progress {
        let mut input = input;
        input.shrink();
        connection.state = State::Ready(Box::new(Ready { vars, input, since_ms: 0, queued: false }));
        Progress::Done(Fate::Ready)
    }

    fn serve_ready(&mut self, _: &Engine<'_>, connection: &mut Connection) -> Progress {
        match &connection.state {
            // It has its place in the queue.
            State::Ready(ready) if ready.queued => Progress::Done(Fate::Wait),
            State::Ready(_) => Progress::Done(Fate::Ready),
            _ => Progress::On,
        }
    }
}
