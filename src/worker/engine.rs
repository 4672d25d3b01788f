//! The engine of a worker: one epoll instance, one table of connections, and the cores that share both.
//!
//! A core takes an event, and does everything that follows from it on its own thread: accept, read, parse, run the
//! application, write. Before it looks for an event it looks for a request that is ready already: one that comes from
//! another worker (`handover.rs`), or one that the standby thread has read while all cores were busy (`standby.rs`).
//! Events that nobody has taken are in a ring (`ring.rs`), so none waits for a core that is busy with another.
//!
//! Who pumps is kept apart from what an event means (`attend.rs`, `turn.rs`): other event loops find their place here.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};
use std::time::Duration;

use ruwsgi_contract::handover::Handover;
use ruwsgi_contract::message::{FromWorker, Message};
use ruwsgi_contract::scoreboard::{CoreSeat, Scoreboard, Seat, Status};
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::clock;
use ruwsgi_sys::epoll::{Epoll, Event, Interest};
use ruwsgi_sys::nix::sys::signal::Signal;
use ruwsgi_sys::notify;
use ruwsgi_sys::stream;
use ruwsgi_sys::table::{Own, Table, Token};
use ruwsgi_wire::proxy::Proxied;
use ruwsgi_wire::{Exchange, Limits, Vars};

use crate::app::{App, Language};
use crate::collect::Collect;
use crate::connection::Connection;
use crate::driver::Driver;
use crate::harakiri::Right;
use crate::headers::Headers;
use crate::log::{RequestLog, Times};
use crate::now::{Moderation, Now};
use crate::offload::Offload;
use crate::pace::{self, Pace};
use crate::queue::Queue;
use crate::response::Patience;
use crate::ring::{Crew, Ring};
use crate::standby::Bed;
use crate::static_files::StaticFiles;
use crate::wheel::{SLOT_MS, Wheel};
use ruwsgi_wire::trust::Trust;

/// A listening socket with the protocol that it speaks.
pub struct Listener {
    /// The socket, listening and non-blocking.
    pub fd: OwnedFd,
    /// Starts the conversation of a new connection.
    pub exchange: fn(&Limits) -> Box<dyn Exchange>,
    /// Whether a load balancer says who the client is.
    pub proxied: Proxied,
    /// Other workers do not have it: its connections stay here.
    pub is_mapped: bool,
    /// What the application sees as `SERVER_PORT`.
    pub port: String,
    /// What tells it from all others, in every worker of the instance (`listen::identity`).
    pub identity: u64,
}

/// Everything a worker is made of.
pub struct Setup<'s> {
    /// The configuration.
    pub config: &'s Config,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// To the master.
    pub channel: Channel,
    /// To and from the other workers of the instance.
    pub handover: &'s Handover,
    /// What the master reads.
    pub scoreboard: &'s Scoreboard,
    /// This worker's seat there.
    pub seat: usize,
    /// Its number as people see it, from 1.
    pub slot: u32,
    /// Where the request lines go.
    pub log: Log,
    /// Where the lines of requests go.
    pub requests: Log,
    /// Writes where the threads are into this, and returns at once.
    pub stacks: &'s (dyn Fn(OwnedFd) + Sync),
}

/// What the options say, in the units of the engine.
pub(crate) struct Rules {
    /// `None`: no keep-alive.
    pub keepalive: Option<Duration>,
    /// For a head as a whole, and for each wait inside bodies and responses.
    pub timeout: Duration,
    pub patience: Patience,
    /// `request-queue`; 0: no limit.
    pub queue_limit: u64,
    /// `request-queue-timeout`; 0: none.
    pub queue_timeout_ms: u64,
    /// `harakiri`; 0: none.
    pub harakiri_ms: u64,
    /// A request past its deadline is left alone until enough connections wait.
    pub waits_for_queue: bool,
    /// `max-requests`; 0: none.
    pub max_requests: u64,
    /// Before this, by `clock::coarse_ms`, `max-requests` does not count.
    pub recycle_from_ms: u64,
    /// `limit-post`, in bytes.
    pub body_bytes: Option<u64>,
    /// `post-buffering`, in bytes.
    pub post_buffering: Option<usize>,
    /// `None`: no request ever has a line.
    pub log: Option<RequestLog>,
    /// A client that is gone before its response is out is told (`ignore-write-errors = false`).
    pub tells_write_errors: bool,
    /// Programs that the application starts get the connections too (`close-on-exec = false`).
    pub inherits: bool,
    /// What becomes a variable of the request: `None`: nothing.
    pub collect: Option<Collect>,
    /// `None`: responses stay as they are.
    pub headers: Option<Headers>,
    pub trust: Trust,
    pub limits: Limits,
    pub host: String,
}

/// The engine; its cores share it.
pub(crate) struct Engine<'e> {
    /// Of each core: who answers its request.
    pub rights: Vec<Right>,
    pub epoll: Epoll,
    pub table: Table<Connection>,
    pub ring: Ring,
    pub crew: Crew,
    /// Requests that are ready and wait for a core.
    pub queue: Queue,
    pub bed: Bed,
    /// Raised: the core that waits for events looks for work that epoll does not know of.
    pub nudged: notify::Event,
    pub listeners: &'e [Listener],
    pub rules: Rules,
    /// Who waits for disks.
    pub offload: Offload,
    /// `None`: the application answers everything.
    pub static_files: Option<StaticFiles>,
    pub handover: &'e Handover,
    pub scoreboard: &'e Scoreboard,
    pub seat: Seat<'e>,
    pub channel: &'e Channel,
    pub log: &'e Log,
    pub requests: &'e Log,
    pub stacks: &'e (dyn Fn(OwnedFd) + Sync),
    pub pid: u32,
    pub slot: u32,
    /// The worker takes no new connections and finishes what it has.
    pub draining: AtomicBool,
    /// So many connections are on their way into the table.
    pub arriving: AtomicUsize,
    /// While it drains: others take what comes next on the connections that are kept.
    pub has_heirs: AtomicBool,
    pub recycle_asked: AtomicBool,
    /// A request is past its deadline: the worker ends, whatever else it has.
    pub doomed: AtomicBool,
    over_event: notify::Event,
    pub signalled: &'static notify::Event,
    pub next_tick_ms: AtomicU64,
    /// The time-outs of connections.
    pub wheel: Wheel,
    /// The listeners are not watched until then: there is no descriptor left to accept with. 0: they are.
    pub doors_shut_until_ms: AtomicU64,
    pub pace: Pace,
    pub refusals: Moderation,
    pub spool_failures: Moderation,
    pub untrusted_told: AtomicBool,
    /// Names of dropped fields that were told; bounded.
    pub dropped_told: Mutex<BTreeSet<Vec<u8>>>,
    pub cores: usize,
}

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Connection(Token),
    /// A listener, by its place in the list.
    Door(usize),
    /// A connection of another worker.
    Parcel,
    /// The master says something.
    Orders,
    Signal,
    /// Only to look for work, or for the end.
    Nudge,
}

/// What belongs to one core.
pub(crate) struct Core<'e, A> {
    pub app: A,
    pub number: usize,
    pub seat: CoreSeat<'e>,
    pub vars: Option<Box<Vars>>,
    pub line: Vec<u8>,
    /// When the log was flushed last, by `clock::coarse_ms`.
    pub flushed_ms: u64,
    pub times: Times,
    pub now: Now,
    /// Empty buffers for connections that have something to read.
    pub pool: Vec<Vec<u8>>,
    /// For connections that come from other workers.
    pub room: Vec<u8>,
}

/// Tokens above the connections' (which are below 2^62).
const LISTENERS: u64 = 1 << 62;
pub(crate) const CHANNEL: u64 = 2 << 62;
pub(crate) const SIGNAL: u64 = CHANNEL + 1;
const NUDGE: u64 = CHANNEL + 2;
const PARCEL: u64 = CHANNEL + 3;

/// How often something is looked for that is awaited: the end of a drain, or a descriptor to accept with.
const SHORT_TICK_MS: u64 = 100;

/// Serves until the master says to drain and everything is finished.
pub fn run<L: Language>(setup: Setup<'_>, language: &L) -> io::Result<()> {
    let Setup { config, listeners, channel, handover, scoreboard, seat, slot, log, requests, stacks } = setup;
    let cores = config.workers.threads.max(1) as usize;
    let seat = scoreboard.seat(seat);
    // It has signals for the rest of the process's life.
    let signalled: &'static notify::Event = Box::leak(Box::new(notify::Event::new()?));
    let engine = Engine {
        epoll: Epoll::new()?,
        table: Table::default(),
        ring: Ring::new(),
        crew: Crew::default(),
        queue: Queue::default(),
        bed: Bed::new()?,
        nudged: notify::Event::new()?,
        listeners: &listeners,
        rules: rules(config, slot),
        rights: (0..cores).map(|_| Right::default()).collect(),
        offload: Offload::new(config.static_files.offload_threads),
        static_files: StaticFiles::new(&config.static_files),
        handover,
        scoreboard,
        seat,
        channel: &channel,
        log: &log,
        requests: &requests,
        stacks,
        pid: std::process::id(),
        slot,
        draining: AtomicBool::new(false),
        arriving: AtomicUsize::new(0),
        has_heirs: AtomicBool::new(false),
        recycle_asked: AtomicBool::new(false),
        doomed: AtomicBool::new(false),
        over_event: notify::Event::new()?,
        signalled,
        next_tick_ms: AtomicU64::new(0),
        wheel: Wheel::new(clock::coarse_ms()),
        doors_shut_until_ms: AtomicU64::new(0),
        pace: Pace::default(),
        refusals: Moderation::default(),
        spool_failures: Moderation::default(),
        untrusted_told: AtomicBool::new(false),
        dropped_told: Mutex::default(),
        cores,
    };
    engine.epoll.add(engine.channel.as_fd(), CHANNEL, Interest::Level)?;
    engine.epoll.add(engine.over_event.as_fd(), NUDGE, Interest::Level)?;
    engine.epoll.add(engine.nudged.as_fd(), NUDGE, Interest::Edge)?;
    engine.epoll.add(signalled.as_fd(), SIGNAL, Interest::Level)?;
    if config.sockets.tcp_nodelay {
        // Connections have it from their listener: once here saves a call for each of them.
        listeners.iter().for_each(|listener| stream::no_delay(listener.fd.as_fd()));
    }
    let mut core = Core::new(language.app(0), 0, engine.seat);
    let served = thread::scope(|scope| {
        let leader = Leader { engine: &engine, core: &mut core };
        start(scope, "standby", || engine.stand_by())?;
        for number in 1..=engine.offload.threads() {
            start(scope, &format!("offload {number}"), || engine.wait_for_disks())?;
        }
        for number in 1..cores {
            let engine = &engine;
            let core = move || engine.pump(&mut Core::new(language.app(number), number, engine.seat));
            start(scope, &format!("core {number}"), core)?;
        }
        engine.open_doors()?;
        signalled.raise_on(&[Signal::SIGTERM, Signal::SIGHUP])?;
        engine.seat.set_status(Status::Up);
        engine.channel.send(&FromWorker::Up.encode(), &[])?;
        engine.pump(leader.core);
        Ok(())
    });
    core.app.resume();
    served
}

fn start<'s>(scope: &'s Scope<'s, '_>, name: &str, life: impl FnOnce() + Send + 's) -> io::Result<()> {
    let failed =
        |error: io::Error| io::Error::new(error.kind(), format!("the thread {name:?} can't be started: {error}"));
    thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, life).map(drop).map_err(failed)
}

/// The first core: however it ends, the others do, too.
struct Leader<'l, 'e, A: App> {
    engine: &'l Engine<'e>,
    core: &'l mut Core<'e, A>,
}

impl<A: App> Drop for Leader<'_, '_, A> {
    fn drop(&mut self) {
        self.engine.finish();
        // They may need what this thread holds to leave.
        self.core.app.rest();
    }
}

fn rules(config: &Config, slot: u32) -> Rules {
    let (trust, wrong) = Trust::new(&config.sockets.trusted_proxies);
    for word in wrong {
        tracing::warn!("trusted-proxies: \"{word}\" is no address and no network: not trusted");
    }
    let recycle_from_ms = clock::coarse_ms() + u64::from(config.workers.min_worker_lifetime) * 1000;
    Rules {
        keepalive: config.keepalive(),
        timeout: config.head_timeout(),
        patience: Patience { timeout: config.head_timeout(), bytes: config.sockets.response_buffer },
        queue_limit: config.sockets.request_queue,
        queue_timeout_ms: u64::from(config.sockets.request_queue_timeout) * 1000,
        harakiri_ms: u64::from(config.workers.harakiri) * 1000,
        waits_for_queue: config.workers.harakiri_queue_threshold > 0,
        max_requests: config.max_requests_of(slot),
        recycle_from_ms,
        body_bytes: Some(config.sockets.limit_post).filter(|limit| *limit > 0),
        post_buffering: usize::try_from(config.sockets.post_buffering).ok().filter(|size| *size > 0),
        log: RequestLog::of(config),
        tells_write_errors: !config.sockets.ignore_write_errors || !config.sockets.ignore_sigpipe,
        inherits: !config.process.close_on_exec,
        collect: Collect::of(config),
        headers: Headers::of(config),
        trust,
        limits: Limits {
            head_bytes: config.sockets.buffer_size,
            keep_alive: config.keepalive().is_some(),
            underscore_fields: config.sockets.underscore_headers,
            ..Limits::default()
        },
        host: ruwsgi_sys::nix::unistd::gethostname()
            .map_or_else(|_| "localhost".to_owned(), |name| name.to_string_lossy().into_owned()),
    }
}

impl<'e, A: App> Core<'e, A> {
    /// On the thread that the core will be.
    fn new(app: A, number: usize, seat: Seat<'e>) -> Self {
        let seat = seat.core(number);
        seat.set_thread(ruwsgi_sys::process::thread_id());
        Self {
            app,
            number,
            seat,
            vars: None,
            line: Vec::new(),
            flushed_ms: 0,
            times: Times::default(),
            now: Now::new(),
            pool: Vec::new(),
            room: Vec::new(),
        }
    }
}

impl Engine<'_> {
    /// Writes what waits for the log, as far as it goes. `true`: all of it.
    pub(crate) fn flush_logs(&self) -> bool {
        let written = self.log.flush();
        if self.log.is(self.requests) { written } else { self.requests.flush() && written }
    }

    /// Writes lines before the leader blocks, if there were not too many of such writes. How long it may block.
    fn settle_logs(&self) -> Option<u16> {
        if self.requests.waiting() + self.log.waiting() == 0 {
            return self.patience(true);
        }
        if self.pace.may_write(clock::coarse_ms()) { self.patience(self.flush_logs()) } else { Some(pace::TICK_MS) }
    }

    /// One core's life: find something to do, do it, again.
    fn pump<A: App>(&self, core: &mut Core<'_, A>) {
        while !self.crew.is_over() {
            if !self.work(core) {
                if self.crew.is_led() {
                    // Who leads has looked for lines already, and this core is about to be parked.
                    self.flush_logs();
                }
                core.app.rest();
                let event = self.block();
                self.crew.hold(|| core.app.resume());
                core.now.look();
                if let Some(event) = event {
                    self.dispatch(core, self.what(event), event);
                }
            }
            let now_ms = core.now.next_ms();
            if now_ms != core.flushed_ms {
                // Lines wait for one tick of the coarse clock at most, also where no core ever blocks.
                core.flushed_ms = now_ms;
                self.flush_logs();
            }
            if now_ms >= self.next_tick_ms.load(Ordering::Relaxed) {
                self.tick(core, now_ms);
            }
        }
        self.flush_logs();
    }

    /// Does the next thing that is to be done; `false`: there is none.
    fn work<A: App>(&self, core: &mut Core<'_, A>) -> bool {
        self.bed.relieve();
        if self.handover.under_way() > 0 && self.takes_more() && self.receive(core) {
            return true;
        }
        if self.take_ready(core) {
            return true;
        }
        let Some(event) = self.ring.next(&self.epoll) else { return false };
        self.dispatch(core, self.what(event), event);
        true
    }

    /// It has not been told to drain, and there is a descriptor left for what comes.
    fn takes_more(&self) -> bool {
        !self.draining.load(Ordering::Relaxed) && self.doors_shut_until_ms.load(Ordering::Relaxed) == 0
    }

    /// Serves the request that has waited here for the longest time.
    fn take_ready<A: App>(&self, core: &mut Core<'_, A>) -> bool {
        let Some(token) = self.queue.pop() else { return false };
        self.seat.set_waiting(self.queue.len());
        // Who else has it looks at it again and queues it anew.
        if let Own::Mine(connection) = self.table.own(token) {
            self.attend(core, connection, true, true);
        }
        true
    }

    /// A connection's request waits for a core.
    pub(crate) fn wait_in_queue(&self, token: Token) {
        self.queue.push(token);
        self.seat.set_waiting(self.queue.len());
        // A core that looked before this is about to wait for events.
        self.nudge();
    }

    pub(crate) fn what(&self, event: Event) -> What {
        match event.token {
            CHANNEL => What::Orders,
            SIGNAL => What::Signal,
            NUDGE => What::Nudge,
            PARCEL => What::Parcel,
            token if token >= LISTENERS => What::Door((token - LISTENERS) as usize),
            token => What::Connection(Token::from_number(token)),
        }
    }

    pub(crate) fn dispatch(&self, driver: &mut impl Driver, what: What, event: Event) {
        match what {
            What::Orders => self.take_orders(driver),
            What::Signal => self.signalled(),
            What::Nudge => {}
            What::Parcel => drop(self.receive(driver)),
            What::Door(door) => self.accept_some(driver, door),
            What::Connection(token) => {
                if let Own::Mine(connection) = self.table.own(token) {
                    self.attend(driver, connection, event.readable, event.closed);
                }
            }
        }
    }

    /// Waits for an event, in the lead or until there is work again. `None`: look for work.
    fn block(&self) -> Option<Event> {
        if !self.crew.lead() {
            return None;
        }
        let mut first = None;
        // What came before the others could see that this core waits.
        if !self.has_work() {
            self.seat.set_idle(!self.draining.load(Ordering::Relaxed));
            let take = |event| match first {
                None => first = Some(event),
                Some(_) => self.ring.push(event),
            };
            if let Err(error) = self.epoll.wait(self.settle_logs(), take) {
                tracing::error!("epoll: {error}: this worker can't go on");
                self.finish();
            }
            self.seat.set_idle(false);
        }
        self.crew.follow();
        self.bed.wake();
        first
    }

    pub(crate) fn has_work(&self) -> bool {
        self.crew.is_over() || !self.queue.is_empty() || !self.ring.is_empty()
    }

    /// How long the leader may block, in milliseconds.
    pub(crate) fn patience(&self, log_written: bool) -> Option<u16> {
        if self.cores == 1 && self.table.is_empty() && log_written && !self.waits_shortly() {
            return None;
        }
        let left = self.next_tick_ms.load(Ordering::Relaxed).saturating_sub(clock::coarse_ms());
        Some(left.clamp(1, SLOT_MS) as u16)
    }

    fn waits_shortly(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.doors_shut_until_ms.load(Ordering::Relaxed) != 0
    }

    /// Time-outs; all connections that nobody owns, where a worker drains.
    pub(crate) fn tick(&self, driver: &mut impl Driver, now_ms: u64) {
        let due = self.next_tick_ms.load(Ordering::Relaxed);
        let next = if self.waits_shortly() { now_ms + SHORT_TICK_MS } else { (now_ms / SLOT_MS + 1) * SLOT_MS };
        let claim = self.next_tick_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        if now_ms < due || claim.is_err() {
            return;
        }
        let shut = self.doors_shut_until_ms.load(Ordering::Relaxed);
        if shut != 0 && now_ms >= shut && !self.draining.load(Ordering::Relaxed) {
            self.doors_shut_until_ms.store(0, Ordering::Relaxed);
            if let Err(error) = self.open_doors() {
                tracing::error!("a listener can't be watched again: {error}");
            }
        }
        if !self.draining.load(Ordering::Relaxed) {
            return self.turn_wheel(driver, now_ms);
        }
        let tokens: Vec<Token> = self.table.tokens().collect();
        for token in tokens {
            if let Own::Mine(connection) = self.table.own(token) {
                self.check(driver, connection, now_ms);
            }
        }
    }

    /// Makes the next tick come soon.
    pub(crate) fn hurry(&self) {
        self.next_tick_ms.store(clock::coarse_ms() + SHORT_TICK_MS, Ordering::Relaxed);
        self.nudge();
    }

    /// Watches the listeners, and what comes from other workers. After an error that is tried again.
    pub(crate) fn open_doors(&self) -> io::Result<()> {
        if self.seat.is_paused() {
            self.doors_shut_until_ms.store(u64::MAX, Ordering::Relaxed);
            return Ok(());
        }
        self.watch_doors().inspect_err(|_| {
            // What is watched already could not be added again.
            self.shut_doors();
            let until = clock::coarse_ms() + SLOT_MS;
            // Unless it was told to pause meanwhile.
            let _ = self.doors_shut_until_ms.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed);
        })
    }

    fn watch_doors(&self) -> io::Result<()> {
        self.epoll.add(self.handover.end(), PARCEL, Interest::Shared)?;
        for (door, listener) in self.listeners.iter().enumerate() {
            self.epoll.add(listener.fd.as_fd(), LISTENERS + door as u64, Interest::Shared)?;
        }
        Ok(())
    }

    /// Does not watch them any more; what waits there is for others.
    pub(crate) fn shut_doors(&self) {
        // Not watched already: so be it.
        let _ = self.epoll.delete(self.handover.end());
        for listener in self.listeners {
            let _ = self.epoll.delete(listener.fd.as_fd());
        }
    }

    /// A connection has more to do, and others come first: those that epoll has, too.
    pub(crate) fn later(&self, token: Token) {
        let event = Event { token: token.number(), readable: true, writable: false, closed: true };
        self.ring.push_later(event);
        self.nudge();
    }

    /// The worker drains, and nobody goes on with its connections.
    pub(crate) fn is_leaving(&self) -> bool {
        self.draining.load(Ordering::Relaxed) && !self.has_heirs.load(Ordering::Relaxed)
    }

    /// Puts a connection into the table, if one comes, and drives it; `false`: none came. Meanwhile nobody takes an empty
    /// table for the end. `closed` as for [`attend`](Self::attend).
    pub(crate) fn admit<D: Driver>(
        &self,
        driver: &mut D,
        closed: bool,
        connect: impl FnOnce(&mut D) -> Option<Connection>,
    ) -> bool {
        self.arriving.fetch_add(1, Ordering::SeqCst);
        // A worker that drains may be over before this has come.
        let admits = !self.draining.load(Ordering::SeqCst);
        let connection = if admits { connect(driver) } else { None };
        let admitted = connection.map(|connection| self.table.insert(connection));
        self.arriving.fetch_sub(1, Ordering::SeqCst);
        let came = admitted.is_some();
        match admitted {
            Some(Some(connection)) => self.attend(driver, connection, true, closed),
            Some(None) => tracing::error!("a connection was closed: a worker holds at most a million of them"),
            None => self.finish_if_drained(),
        }
        came
    }

    /// A drained worker without connections is over.
    pub(crate) fn finish_if_drained(&self) {
        // In this order: what arrives is in the table before it is no longer counted.
        let is_drained = self.draining.load(Ordering::SeqCst) && self.arriving.load(Ordering::SeqCst) == 0;
        if is_drained && self.table.is_empty() {
            self.finish();
        }
    }

    fn finish(&self) {
        self.crew.dismiss();
        self.over_event.raise();
        self.bed.call();
        self.offload.wake_all();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
