//! The hands of the master: wait, ask the plan, do what it says, again. Short enough to read; all judgement is in
//! [`plan`](super::plan).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ruwsgi_contract::message::{FromWorker, FromZygote, Message, ToWorker, ToZygote};
use ruwsgi_options::{Config, Source};
use ruwsgi_sys::channel::{self, Channel, Received};
use ruwsgi_sys::lock::Locks;
use ruwsgi_sys::signal::{self, Signals};
use ruwsgi_sys::{clock, reap};

use super::event::{Event, Level};
use super::host::{Ground, Hosted, locks, settings};
use super::order::{How, Input, Order, Signal};
use super::plan::Plan;
use super::reload::{Read, reload};
use super::touch::Touches;
use crate::audience::Audience;
use crate::exit;
use crate::listeners::Bound;
use crate::logfile::Outlet;
use crate::module::Module;
use crate::pidfile::Pidfile;
use crate::start::{Failure, show_name};
use crate::unknown::Unknown;

/// What a start has made.
pub(crate) struct First {
    pub source: Source,
    pub config: Config,
    pub listeners: Vec<Rc<Bound>>,
    pub module: Module,
    pub pidfile: Option<Pidfile>,
    pub signals: Signals,
    pub outlet: Outlet,
    pub audience: Audience,
    pub unknown: Unknown,
}

/// The master.
pub(crate) struct Master {
    plan: Plan,
    poll: Poll,
    signals: Signals,
    source: Source,
    ground: Ground,
    /// What the first generation begins with; later ones begin with what a reload reads.
    first: (Rc<Config>, Vec<Rc<Bound>>),
    generations: BTreeMap<u32, Hosted>,
    workers: BTreeMap<u64, Line>,
    pidfile: Option<Pidfile>,
    outlet: Outlet,
    /// Whoever waits for the start.
    audience: Audience,
    touches: Touches,
    /// For the generation that begins next.
    unknown: Unknown,
    over: Option<(u8, Option<String>)>,
}

/// What the master holds of a worker.
struct Line {
    generation: u32,
    slot: u32,
    seat: u32,
    /// It accepts connections.
    up: bool,
    draining: bool,
    /// `None`: the worker holds its end no longer.
    channel: Option<Channel>,
}

impl Master {
    pub(crate) fn new(first: First) -> Result<Self, String> {
        let failed = |error| format!("epoll: {error}");
        let poll = Poll::new().map_err(failed)?;
        let signals = first.signals;
        watch(&poll, &signals).map_err(failed)?;
        let locks = Locks::create(locks(&first.config)).map_err(|error| format!("locks: {error}"))?;
        let log = first.outlet.descriptor()?;
        let ground = Ground { env: first.source.env.clone(), module: first.module, log, locks };
        let mut touches = Touches::default();
        touches.renew(&first.config.workers.touch_reload);
        Ok(Self {
            plan: Plan::new(settings(&first.config)),
            poll,
            signals,
            source: first.source,
            ground,
            first: (Rc::new(first.config), first.listeners),
            generations: BTreeMap::new(),
            workers: BTreeMap::new(),
            pidfile: first.pidfile,
            outlet: first.outlet,
            audience: first.audience,
            touches,
            unknown: first.unknown,
            over: None,
        })
    }

    /// Lives until it is told to stop, or can't begin.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        self.feed(Input::Start);
        let mut events = Events::with_capacity(64);
        while self.over.is_none() {
            let now = clock::coarse_ms();
            // The coarse clock stands still for up to 4 ms: without the 1, this would spin until it moves.
            let wake = self.plan.wake_ms().into_iter().chain(self.touches.wake_ms()).min();
            let wait = wake.map(|wake| Duration::from_millis(wake.saturating_sub(now).max(1)));
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    tracing::error!("epoll: {error}");
                }
                _ => self.wake(),
            }
        }
        if self.plan.orphans() > 0 {
            tracing::info!("{} orphans of the application were reaped", self.plan.orphans());
        }
        match self.over.take() {
            Some((code, reason)) if code != exit::DONE => {
                Err(Failure { code, reason: reason.unwrap_or_else(|| "stopped".to_owned()) })
            }
            _ => {
                tracing::info!("stopped");
                Ok(())
            }
        }
    }

    /// Signals first, so that a stop is known before what the workers make of it; then what children said; then who
    /// of them is dead.
    fn wake(&mut self) {
        self.take_signals();
        self.take_messages();
        // A worker's birth is told before its parent ends, so before this process can be the one to reap it: what
        // was said is read again while the dead one's pid is still its own.
        while let Ok(Some(pid)) = reap::dead_child() {
            self.take_messages();
            match reap::reap(pid) {
                Ok(Some(end)) => self.feed(Input::Exited { pid, end }),
                _ => break,
            }
        }
        if self.plan.watches() {
            self.look_for_overdue();
        }
        if self.touches.look(clock::coarse_ms()) {
            let in_flight = self.in_flight();
            self.feed(Input::Signal { signal: Signal::Hup, in_flight });
        }
        self.feed(Input::Tick);
    }

    fn take_signals(&mut self) {
        while let Ok(Some(number)) = self.signals.next() {
            let signal = match number {
                1 => Signal::Hup,
                2 => Signal::Int,
                3 => Signal::Quit,
                15 => Signal::Term,
                // SIGCHLD has done its work by waking; the others mean nothing (yet), and end nobody.
                _ => continue,
            };
            let in_flight = self.in_flight();
            self.feed(Input::Signal { signal, in_flight });
        }
    }

    fn in_flight(&self) -> usize {
        let seat = |line: &Line| Some(self.generations.get(&line.generation)?.scoreboard.seat(line.seat as usize));
        self.workers.values().filter_map(seat).map(|seat| seat.in_flight()).sum()
    }

    fn look_for_overdue(&mut self) {
        let now = clock::coarse_ms();
        let overdue = |(worker, line): (&u64, &Line)| {
            let requests = self.generations.get(&line.generation)?.scoreboard.seat(line.seat as usize).overdue(now);
            (!requests.is_empty()).then_some(Input::Overdue { worker: *worker, requests })
        };
        for input in self.workers.iter().filter_map(overdue).collect::<Vec<_>>() {
            self.feed(input);
        }
    }

    fn take_messages(&mut self) {
        for generation in self.generations.keys().copied().collect::<Vec<_>>() {
            while let Some(input) = self.zygote_message(generation) {
                self.feed(input);
            }
        }
        for worker in self.workers.keys().copied().collect::<Vec<_>>() {
            while let Some(input) = self.worker_message(worker) {
                self.feed(input);
            }
        }
    }

    fn zygote_message(&mut self, generation: u32) -> Option<Input> {
        let hosted = self.generations.get_mut(&generation)?;
        loop {
            match receive(&self.poll, &mut hosted.zygote)? {
                None => {
                    hosted.unknown.tell("");
                    return Some(Input::ZygoteClosed { generation });
                }
                Some(message) => match FromZygote::decode(&message.bytes) {
                    Some(FromZygote::Asked(names)) => hosted.unknown.tell(&names),
                    Some(said) => {
                        hosted.unknown.tell("");
                        return Some(Input::Zygote { generation, said });
                    }
                    None => tracing::error!("a zygote sent what is no message: ignored"),
                },
            }
        }
    }

    fn worker_message(&mut self, worker: u64) -> Option<Input> {
        let line = self.workers.get_mut(&worker)?;
        loop {
            match receive(&self.poll, &mut line.channel)? {
                None => return Some(Input::WorkerClosed { worker }),
                Some(message) => match (FromWorker::decode(&message.bytes), message.pid) {
                    (Some(said), Some(sender)) => {
                        line.up |= said == FromWorker::Up;
                        return Some(Input::Worker { worker, sender, said });
                    }
                    _ => tracing::error!("a worker sent what is no message: ignored"),
                },
            }
        }
    }

    /// Tells the plan, does what it orders, tells it what came of it.
    fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for order in self.plan.decide(input, clock::coarse_ms()) {
                inputs.extend(self.perform(order));
            }
        }
    }

    fn perform(&mut self, order: Order) -> Option<Input> {
        match order {
            Order::Begin { generation, how } => Some(self.begin(generation, how)),
            Order::Spawn { generation, worker, slot, seat } => self.spawn(generation, worker, slot, seat),
            Order::Drain { worker, mercy_ms, last } => {
                let heirs = !last && self.has_heirs(worker);
                let last = last || self.is_last_to_accept(worker);
                self.tell_worker(worker, ToWorker::Drain { mercy_ms, last, heirs });
                None
            }
            Order::Raise { signal } => Some(Input::Signal { signal, in_flight: self.in_flight() }),
            Order::Kill { pid } => signal_child(pid, signal::kill),
            Order::Terminate { pid } => signal_child(pid, signal::terminate),
            Order::Retire { generation } => {
                let zygote = self.generations.get_mut(&generation).and_then(|hosted| hosted.zygote.take());
                close(&self.poll, zygote);
                None
            }
            Order::Close { worker } => {
                if let Some(line) = self.workers.remove(&worker) {
                    if let Some(hosted) = self.generations.get_mut(&line.generation) {
                        hosted.vacate(line.slot, line.seat);
                    }
                    close(&self.poll, line.channel);
                }
                None
            }
            Order::Forget { generation } => {
                self.generations.remove(&generation);
                None
            }
            Order::Tell(event) => {
                self.tell(&event);
                None
            }
            Order::Exit { code, reason } => {
                self.over = Some((code, reason));
                None
            }
        }
    }

    fn begin(&mut self, generation: u32, how: How) -> Input {
        let begun = self.ground_for(how).and_then(|(config, listeners)| {
            let settings = settings(&config);
            let reloaded = match how {
                How::Start => false,
                How::Reload => true,
                How::Again { like } => self.generations.get(&like).is_some_and(|like| like.reloaded),
            };
            let same = self.generations.values().find(|hosted| hosted.listens_on(&listeners));
            let handover = same.map(|hosted| hosted.handover.clone());
            let (zygote, hosted) = self.ground.start((generation, reloaded), config, (listeners, handover))?;
            Ok((zygote, hosted, settings))
        });
        match begun {
            Err(reason) => {
                self.unknown.tell("");
                Input::NotBegun { generation, reason }
            }
            Ok((zygote, mut hosted, settings)) => {
                hosted.unknown = std::mem::take(&mut self.unknown);
                if let Some(error) = hosted.zygote.as_ref().and_then(|channel| watch(&self.poll, channel).err()) {
                    tracing::error!("epoll: {error}");
                }
                let python = hosted.python.clone();
                self.generations.insert(generation, hosted);
                Input::Began { generation, zygote, python, settings }
            }
        }
    }

    /// The configuration and the listeners of a new generation.
    fn ground_for(&mut self, how: How) -> Result<(Rc<Config>, Vec<Rc<Bound>>), String> {
        match how {
            How::Start => Ok(self.first.clone()),
            How::Again { like } => match self.generations.get(&like) {
                Some(like) => Ok((like.config.clone(), like.listeners.clone())),
                None => Err("its generation is gone".to_owned()),
            },
            How::Reload => {
                let mut bound = self.first.1.clone();
                bound.extend(self.generations.values().flat_map(|hosted| hosted.listeners.iter().cloned()));
                let now = self.generations.values().next_back().map_or(&self.first.0, |hosted| &hosted.config);
                let Read { config, listeners, unknown } = reload(&self.source, now, &bound)?;
                self.unknown = unknown;
                self.outlet.renew(&config, &self.source)?;
                self.ground.log = self.outlet.descriptor()?;
                self.touches.renew(&config.workers.touch_reload);
                show_name(&config);
                Ok((Rc::new(config), listeners))
            }
        }
    }

    fn spawn(&mut self, generation: u32, worker: u64, slot: u32, seat: u32) -> Option<Input> {
        let sent = self.send_spawn(generation, worker, slot, seat);
        let channel = match sent {
            Ok(channel) => Some(channel),
            Err(error) => {
                tracing::error!("worker {slot} can't be ordered: {error}");
                None
            }
        };
        let lost = channel.is_none().then_some(Input::WorkerClosed { worker });
        self.workers.insert(worker, Line { generation, slot, seat, up: false, draining: false, channel });
        lost
    }

    fn send_spawn(&mut self, generation: u32, worker: u64, slot: u32, seat: u32) -> io::Result<Channel> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let hosted = self.generations.get_mut(&generation).ok_or_else(gone)?;
        hosted.seat(slot, seat);
        let zygote = hosted.zygote.as_ref().ok_or_else(gone)?;
        let (ours, theirs) = Channel::pair()?;
        ours.identify()?;
        watch(&self.poll, &ours)?;
        zygote.send(&ToZygote::Spawn { worker, slot, seat }.encode(), &[theirs.as_fd()])?;
        Ok(ours)
    }

    fn tell_worker(&mut self, worker: u64, message: ToWorker) {
        let Some(line) = self.workers.get_mut(&worker) else { return };
        line.draining = true;
        if let Some(channel) = &line.channel {
            // It may be dead already, which its closed channel tells.
            let _ = channel.send(&message.encode(), &[]);
        }
    }

    /// No generation that goes on has one of this worker's listeners, and no other worker of its own accepts: what
    /// waits there is its.
    fn is_last_to_accept(&self, worker: u64) -> bool {
        let Some(generation) = self.workers.get(&worker).map(|line| line.generation) else { return false };
        let mut others = self.workers.iter().filter(|(other, line)| **other != worker && line.generation == generation);
        let Some(hosted) = self.generations.get(&generation) else { return false };
        let dropped = hosted.listeners.iter().any(|bound| Rc::strong_count(bound) == 1);
        dropped && others.all(|(_, line)| line.draining)
    }

    /// Another worker goes on with the same listeners: it can take over connections that are kept.
    fn has_heirs(&self, worker: u64) -> bool {
        let handover = |line: &Line| Some(&self.generations.get(&line.generation)?.handover);
        let Some(own) = self.workers.get(&worker).and_then(handover) else { return false };
        let goes_on = |line: &Line| line.up && !line.draining;
        let mut others = self.workers.iter().filter(|(other, line)| **other != worker && goes_on(line));
        others.any(|(_, line)| handover(line).is_some_and(|its| Rc::ptr_eq(own, its)))
    }

    fn tell(&mut self, event: &Event) {
        match event.level() {
            Level::Info => tracing::info!("{event}"),
            Level::Warning => tracing::warn!("{event}"),
            Level::Error => tracing::error!("{event}"),
        }
        match event {
            // The start went well.
            Event::Ready { .. } => {
                self.pidfile.iter_mut().for_each(Pidfile::keep);
                self.audience.dismiss();
            }
            Event::Complete { generation, .. } => self.settle_in(*generation),
            _ => {}
        }
    }

    /// A generation is complete: what was only held for the case that the start fails is let go.
    fn settle_in(&mut self, generation: u32) {
        let Some(hosted) = self.generations.get(&generation) else { return };
        for bound in &hosted.listeners {
            bound.set_vacuum(hosted.config.sockets.vacuum);
        }
        // Listeners that this generation does not have are closed with the last one that had them.
        self.first = (hosted.config.clone(), Vec::new());
    }
}

/// Reads one message. `None`: nothing there; `Some(None)`: closed just now, and forgotten.
fn receive(poll: &Poll, slot: &mut Option<Channel>) -> Option<Option<channel::Message>> {
    match slot.as_ref()?.receive(false) {
        Ok(Received::Message(message)) => Some(Some(message)),
        Ok(Received::Nothing) => None,
        Ok(Received::Closed) => {
            close(poll, slot.take());
            Some(None)
        }
        Err(error) => {
            tracing::error!("a channel failed: {error}");
            close(poll, slot.take());
            Some(None)
        }
    }
}

/// One token for all: at each wake everything is looked at.
fn watch(poll: &Poll, source: &impl AsRawFd) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&source.as_raw_fd()), Token(0), Interest::READABLE)
}

fn close(poll: &Poll, channel: Option<Channel>) {
    if let Some(channel) = channel {
        // Before it is closed: a child that was just forked may still hold the description, which would go on to wake.
        let _ = poll.registry().deregister(&mut SourceFd(&channel.as_raw_fd()));
    }
}

/// Sends a signal to a child, and to nobody else: a pid may be a zygote's claim.
fn signal_child(pid: i32, send: fn(i32) -> io::Result<()>) -> Option<Input> {
    if !reap::is_child(pid) {
        return Some(Input::NoChild { pid });
    }
    if let Err(error) = send(pid) {
        tracing::error!("pid {pid} can't be signalled: {error}");
    }
    None
}
