//! The engine of a worker: one epoll instance, one table of connections, and the cores that share both.
//!
//! A core takes an event, and does everything that follows from it on its own thread: accept, read, parse, run the
//! application, write. One core at a time may block in `epoll_wait`; the others wait for that right, and whoever comes
//! back with an event passes it on before it runs the application. Events that nobody has taken are in a ring that all
//! cores look into first, so none waits for a core that is busy with another.
//!
//! Who pumps is kept apart from what an event means (`attend.rs`, `turn.rs`): a standby thread and other event loops
//! find their place here.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ruwsgi_contract::message::{FromWorker, Message};
use ruwsgi_contract::scoreboard::{CoreSeat, Scoreboard, Seat, Status};
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::clock;
use ruwsgi_sys::epoll::{BATCH, Epoll, Event, Events, Interest};
use ruwsgi_sys::nix::sys::signal::Signal;
use ruwsgi_sys::notify;
use ruwsgi_sys::table::{Own, Table, Token};
use ruwsgi_wire::proxy::{self, Proxied};
use ruwsgi_wire::{Exchange, Limits, Vars};

use crate::app::{App, Language};
use crate::collect::Collect;
use crate::connection::Connection;
use crate::headers::Headers;
use crate::log::{RequestLog, Times};
use crate::now::{Moderation, Now};
use crate::static_files::StaticFiles;
use crate::trust::Trust;

/// A listening socket with the protocol that it speaks.
pub struct Listener {
    /// The socket, listening and non-blocking.
    pub fd: OwnedFd,
    /// Starts the conversation of a new connection.
    pub exchange: fn(&Limits) -> Box<dyn Exchange>,
    /// Whether a load balancer says who the client is.
    pub proxied: Proxied,
    /// What the application sees as `SERVER_PORT`.
    pub port: String,
}

impl Listener {
    /// Starts the conversation with a client. `trusted`: it may say who it speaks for.
    pub(crate) fn converse(&self, limits: &Limits, trusted: bool) -> Box<dyn Exchange> {
        proxy::exchange((self.exchange)(limits), self.proxied, trusted)
    }
}

/// Everything a worker is made of.
pub struct Setup<'s> {
    /// The configuration.
    pub config: &'s Config,
    /// Where clients come in.
    pub listeners: Vec<Listener>,
    /// To the master.
    pub channel: Channel,
    /// What the master reads.
    pub scoreboard: &'s Scoreboard,
    /// This worker's seat there.
    pub seat: usize,
    /// Its number as people see it, from 1.
    pub slot: u32,
    /// Where the request lines go.
    pub log: Log,
}

/// What the options say, in the units of the engine.
pub(crate) struct Rules {
    /// `None`: no keep-alive.
    pub keepalive: Option<Duration>,
    /// For a head as a whole, and for each wait inside bodies and responses.
    pub timeout: Duration,
    /// `harakiri`; 0: none.
    pub harakiri_ms: u64,
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
    pub epoll: Epoll,
    pub table: Table<Connection>,
    /// Events that were taken from epoll and by no core.
    ring: Mutex<Ring>,
    /// The right to block in `epoll_wait`.
    lead: Mutex<Events>,
    pub listeners: &'e [Listener],
    pub rules: Rules,
    /// `None`: the application answers everything.
    pub static_files: Option<StaticFiles>,
    pub seat: Seat<'e>,
    pub channel: &'e Channel,
    pub log: &'e Log,
    pub pid: u32,
    pub slot: u32,
    /// The worker takes no new connections and finishes what it has.
    pub draining: AtomicBool,
    pub recycle_asked: AtomicBool,
    /// Everything is done: the cores leave.
    over: AtomicBool,
    over_event: notify::Event,
    pub signalled: &'static notify::Event,
    next_tick_ms: AtomicU64,
    /// The listeners are not watched until then: there is no descriptor left to accept with. 0: they are.
    pub doors_shut_until_ms: AtomicU64,
    pub refusals: Moderation,
    pub spool_failures: Moderation,
    pub untrusted_told: AtomicBool,
    /// Names of dropped fields that were told; bounded.
    pub dropped_told: Mutex<BTreeSet<Vec<u8>>>,
    cores: usize,
}

struct Ring {
    queue: VecDeque<Event>,
    room: Events,
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
}

/// Tokens above the connections' (which are below 2^62).
const LISTENERS: u64 = 1 << 62;
pub(crate) const CHANNEL: u64 = 2 << 62;
pub(crate) const SIGNAL: u64 = CHANNEL + 1;
const OVER: u64 = CHANNEL + 2;

/// How often time-outs are looked for.
const TICK_MS: u64 = 1000;
/// The same where something is awaited: a drain, or a descriptor to accept with.
const SHORT_TICK_MS: u64 = 100;

/// Serves until the master says to drain and everything is finished.
pub fn run<L: Language>(setup: Setup<'_>, language: &L) -> io::Result<()> {
    let Setup { config, listeners, channel, scoreboard, seat, slot, log } = setup;
    let cores = config.workers.threads.max(1) as usize;
    let seat = scoreboard.seat(seat);
    // It has signals for the rest of the process's life.
    let signalled: &'static notify::Event = Box::leak(Box::new(notify::Event::new()?));
    let engine = Engine {
        epoll: Epoll::new()?,
        table: Table::default(),
        // With several cores, one that polls in passing takes no event that it does not serve itself.
        ring: Mutex::new(Ring {
            queue: VecDeque::with_capacity(BATCH),
            room: Events::new(if cores == 1 { BATCH } else { 1 }),
        }),
        lead: Mutex::new(Events::new(BATCH)),
        listeners: &listeners,
        rules: rules(config),
        static_files: StaticFiles::new(&config.static_files),
        seat,
        channel: &channel,
        log: &log,
        pid: std::process::id(),
        slot,
        draining: AtomicBool::new(false),
        recycle_asked: AtomicBool::new(false),
        over: AtomicBool::new(false),
        over_event: notify::Event::new()?,
        signalled,
        next_tick_ms: AtomicU64::new(0),
        doors_shut_until_ms: AtomicU64::new(0),
        refusals: Moderation::default(),
        spool_failures: Moderation::default(),
        untrusted_told: AtomicBool::new(false),
        dropped_told: Mutex::default(),
        cores,
    };
    engine.epoll.add(engine.channel.as_fd(), CHANNEL, Interest::Level)?;
    engine.epoll.add(engine.over_event.as_fd(), OVER, Interest::Level)?;
    engine.epoll.add(signalled.as_fd(), SIGNAL, Interest::Level)?;
    engine.open_doors()?;
    signalled.raise_on(&[Signal::SIGTERM, Signal::SIGHUP])?;
    engine.seat.set_status(Status::Up);
    channel.send(&FromWorker::Up.encode(), &[])?;
    std::thread::scope(|scope| {
        for number in 1..cores {
            let (engine, name) = (&engine, format!("core {number}"));
            let core = move || engine.pump(&mut Core::new(language.app(number), number, engine.seat));
            std::thread::Builder::new().name(name).spawn_scoped(scope, core)?;
        }
        let mut core = Core::new(language.app(0), 0, engine.seat);
        engine.pump(&mut core);
        // The other cores may need what this thread holds to leave.
        core.app.rest();
        Ok(core)
    })
    .map(|mut core: Core<'_, L::App>| core.app.resume())
}

fn rules(config: &Config) -> Rules {
    let (trust, wrong) = Trust::new(&config.sockets.trusted_proxies);
    for word in wrong {
        tracing::warn!("trusted-proxies: \"{word}\" is no address and no network: not trusted");
    }
    let recycle_from_ms = clock::coarse_ms() + u64::from(config.workers.min_worker_lifetime) * 1000;
    Rules {
        keepalive: config.keepalive(),
        timeout: config.head_timeout(),
        harakiri_ms: u64::from(config.workers.harakiri) * 1000,
        max_requests: config.workers.max_requests,
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
    fn new(app: A, number: usize, seat: Seat<'e>) -> Self {
        Self {
            app,
            number,
            seat: seat.core(number),
            vars: None,
            line: Vec::new(),
            flushed_ms: 0,
            times: Times::default(),
            now: Now::new(),
            pool: Vec::new(),
        }
    }
}

impl Engine<'_> {
    /// One core's life: take an event, do what follows from it, again.
    fn pump<A: App>(&self, core: &mut Core<'_, A>) {
        while let Some(event) = self.next(core) {
            self.dispatch(core, event);
            let now_ms = clock::coarse_ms();
            if now_ms != core.flushed_ms {
                // Lines wait for one tick of the coarse clock at most, also where no core ever blocks.
                core.flushed_ms = now_ms;
                self.log.flush();
            }
            if now_ms >= self.next_tick_ms.load(Ordering::Relaxed) {
                self.tick(core, now_ms);
            }
        }
        self.log.flush();
    }

    fn dispatch<A: App>(&self, core: &mut Core<'_, A>, event: Event) {
        match event.token {
            CHANNEL => self.take_orders(core),
            SIGNAL => self.signalled(),
            OVER => {}
            token if token >= LISTENERS => self.accept(core, (token - LISTENERS) as usize),
            token => {
                if let Own::Mine(connection) = self.table.own(Token::from_number(token)) {
                    self.attend(core, connection, event.readable, event.closed);
                }
            }
        }
    }

    /// The next event for this core; `None` when the worker is over. Blocks only where nothing is to be done.
    fn next<A: App>(&self, core: &mut Core<'_, A>) -> Option<Event> {
        if self.over.load(Ordering::Relaxed) {
            return None;
        }
        {
            let mut ring = lock(&self.ring);
            let Ring { queue, room } = &mut *ring;
            if queue.is_empty() {
                // An error here is one of the arguments, which are ours: blocking below would tell it again.
                let _ = self.epoll.wait(room, Some(0), |event| queue.push_back(event));
            }
            if let Some(event) = queue.pop_front() {
                return Some(event);
            }
        }
        let written = self.log.flush();
        core.app.rest();
        let event = self.block(core, written);
        core.app.resume();
        event
    }

    /// Waits for the lead, then for an event.
    fn block<A: App>(&self, core: &mut Core<'_, A>, log_written: bool) -> Option<Event> {
        let mut room = lock(&self.lead);
        loop {
            if self.over.load(Ordering::Relaxed) {
                return None;
            }
            if let Some(event) = lock(&self.ring).queue.pop_front() {
                return Some(event);
            }
            let mut first = None;
            let take = |event| match first {
                None => first = Some(event),
                Some(_) => lock(&self.ring).queue.push_back(event),
            };
            if let Err(error) = self.epoll.wait(&mut room, self.patience(log_written), take) {
                tracing::error!("epoll: {error}: this worker can't go on");
                self.finish();
                return None;
            }
            if first.is_some() {
                return first;
            }
            let now_ms = clock::coarse_ms();
            if now_ms >= self.next_tick_ms.load(Ordering::Relaxed) {
                // What a tick does may run the application: never in the lead, and never without the language.
                drop(room);
                core.app.resume();
                self.tick(core, now_ms);
                self.log.flush();
                core.app.rest();
                room = lock(&self.lead);
            }
        }
    }

    /// How long the leader may block, in milliseconds.
    fn patience(&self, log_written: bool) -> Option<u16> {
        if self.cores == 1 && self.table.is_empty() && log_written && !self.waits_shortly() {
            return None;
        }
        let left = self.next_tick_ms.load(Ordering::Relaxed).saturating_sub(clock::coarse_ms());
        Some(left.clamp(1, TICK_MS) as u16)
    }

    fn waits_shortly(&self) -> bool {
        self.draining.load(Ordering::Relaxed) || self.doors_shut_until_ms.load(Ordering::Relaxed) != 0
    }

    /// A pass over all connections that nobody owns: time-outs, and idle ones of a worker that drains.
    fn tick<A: App>(&self, core: &mut Core<'_, A>, now_ms: u64) {
        let due = self.next_tick_ms.load(Ordering::Relaxed);
        let pause = if self.waits_shortly() { SHORT_TICK_MS } else { TICK_MS };
        let claim = self.next_tick_ms.compare_exchange(due, now_ms + pause, Ordering::Relaxed, Ordering::Relaxed);
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
        let tokens: Vec<Token> = self.table.tokens().collect();
        for token in tokens {
            if let Own::Mine(connection) = self.table.own(token) {
                self.check(core, connection, now_ms);
            }
        }
    }

    /// Makes the next tick come soon.
    pub(crate) fn hurry(&self) {
        self.next_tick_ms.store(clock::coarse_ms() + SHORT_TICK_MS, Ordering::Relaxed);
    }

    /// Watches the listeners.
    pub(crate) fn open_doors(&self) -> io::Result<()> {
        for (door, listener) in self.listeners.iter().enumerate() {
            self.epoll.add(listener.fd.as_fd(), LISTENERS + door as u64, Interest::Listener)?;
        }
        Ok(())
    }

    /// Does not watch the listeners any more; what waits in their queues is for others.
    pub(crate) fn shut_doors(&self) {
        for listener in self.listeners {
            // Not watched already: so be it.
            let _ = self.epoll.delete(listener.fd.as_fd());
        }
    }

    /// Puts an event behind all others: a connection has more to do, and others come first.
    pub(crate) fn later(&self, token: Token) {
        let event = Event { token: token.number(), readable: true, writable: false, closed: true };
        lock(&self.ring).queue.push_back(event);
    }

    /// A drained worker without connections is over.
    pub(crate) fn finish_if_drained(&self) {
        if self.draining.load(Ordering::Relaxed) && self.table.is_empty() {
            self.finish();
        }
    }

    fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.over_event.raise();
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
