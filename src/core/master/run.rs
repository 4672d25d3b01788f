//! The hands of the master: wait, ask the plan, do what it says, again. Short enough to read; all judgement is in
//! [`plan`](super::plan).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ruwsgi_contract::message::ToWorker;
use ruwsgi_options::{Config, Meaning, Source};
use ruwsgi_stage::hooks::Scene;
use ruwsgi_sys::lock::Locks;
use ruwsgi_sys::signal::{self, Signals};
use ruwsgi_sys::{clock, memory, process, reap};

use super::bells::Bells;
use super::beside::Beside;
use super::children::{Line, close};
use super::chores::set_variables;
use super::desk::Desk;
use super::event::{Event, Level};
use super::fifo::Fifos;
use super::host::{Ground, Hosted, for_children, settings};
use super::inherit::Left;
use super::notice::{self, Told};
use super::notify_socket::NotifySocket;
use super::order::{Command, How, Input, Order, Signal};
use super::own::Own;
use super::plan::Plan;
use super::queues::Queues;
use super::rounds::Rounds;
use super::stacks::Inquiry;
use super::subscriptions::Subscriptions;
use super::touch::Touches;
use super::upgrade::Trials;
use crate::audience::Audience;
use crate::emperor::Child;
use crate::exit;
use crate::gateway::Gateways;
use crate::listeners::{Bound, Opened};
use crate::logfile::Outlet;
use crate::module::Module;
use crate::pidfile::Pidfile;
use crate::service::Service;
use crate::start::{Failure, pidfile};
use crate::unknown::Unknown;
use crate::upgrade::Executable;
use crate::vassal::Allegiance;

/// What a listener that the master watches says.
const KNOCK: Token = Token(1);

/// The configuration and the listeners of a generation.
type Grounds = (Rc<Config>, Opened);

/// What a start has made.
pub(crate) struct First {
    pub source: Source,
    pub config: Config,
    pub listeners: Opened,
    pub module: Module,
    pub pidfiles: Vec<Pidfile>,
    pub signals: Signals,
    pub outlet: Outlet,
    pub audience: Audience,
    pub unknown: Unknown,
    pub emperor: Option<Allegiance>,
    pub court: Option<Child>,
    pub service: Service,
    pub scene: Scene,
    pub gateways: Gateways,
    /// `None`: nobody can tell, and there is no upgrade.
    pub executable: Option<Executable>,
    /// What another executable has left.
    pub left: Option<Left>,
}

/// The master.
pub(crate) struct Master {
    pub(super) plan: Plan,
    pub(super) poll: Poll,
    signals: Signals,
    pub(super) source: Source,
    pub(super) ground: Ground,
    /// What the first generation begins with; later ones begin with what a reload reads.
    pub(super) first: (Rc<Config>, Opened),
    pub(super) generations: BTreeMap<u32, Hosted>,
    pub(super) workers: BTreeMap<u64, Line>,
    pub(super) pidfiles: Vec<Pidfile>,
    pub(super) outlet: Outlet,
    /// Whoever waits for the start.
    audience: Audience,
    pub(super) touches: Touches,
    pub(super) bells: Bells,
    /// For the generation that begins next.
    pub(super) unknown: Unknown,
    pub(super) desk: Desk,
    pub(super) fifos: Fifos,
    pub(super) queues: Queues,
    pub(super) rounds: Rounds,
    /// Who has started this instance.
    pub(super) emperor: Option<Allegiance>,
    /// The emperor that this master has started.
    pub(super) court: Option<Child>,
    pub(super) service: Service,
    pub(super) told: Told,
    pub(super) inquiry: Option<Inquiry>,
    pub(super) subscriptions: Subscriptions,
    pub(super) notify_socket: NotifySocket,
    pub(super) executable: Option<Executable>,
    pub(super) trials: Trials,
    /// The listeners that are watched, because no worker does.
    knocking: Vec<Rc<Bound>>,
    /// Somebody connects there.
    knocked: bool,
    /// Whoever waits for the start was told.
    welcomed: bool,
    pub(super) beside: Beside,
    /// What signals mean that hooks have given another meaning.
    pub(super) meanings: BTreeMap<i32, Meaning>,
    /// Commands that somebody has asked for and nobody waits for.
    pub(super) commands: BTreeMap<i32, String>,
    /// The privileges that went last are gone.
    pub(super) lowered: bool,
    pub(super) gateways: Gateways,
    /// More has come than was dealt out in one turn.
    more_lines: bool,
    pub(super) over: Option<(u8, Option<String>)>,
}

impl Master {
    pub(crate) fn new(first: First) -> Result<Self, String> {
        let failed = |error| format!("epoll: {error}");
        let poll = Poll::new().map_err(failed)?;
        let signals = first.signals;
        watch(&poll, &signals).map_err(failed)?;
        let mut left = first.left;
        let locks = left.as_mut().and_then(|left| left.locks.take());
        let locks = locks.map_or_else(|| Locks::create(super::host::locks(&first.config)), Ok);
        let locks = locks.map_err(|error| format!("locks: {error}"))?;
        let log = first.outlet.descriptors()?;
        first.outlet.pipes().iter().try_for_each(|pipe| watch(&poll, pipe)).map_err(failed)?;
        let mut env = for_children(&first.source.env);
        set_variables(&mut env, first.scene.variables);
        let ground = Ground { env, module: first.module, log, locks };
        let mut touches = Touches::default();
        touches.renew(&first.config);
        let (config, listeners) = (&first.config, &first.listeners.workers);
        let Own { bells, desk, subscriptions, fifos, notify_socket } = match &left {
            Some(left) => Own::behind(&poll, config, listeners, &left.bound),
            None => Own::new(&poll, config, listeners)?,
        };
        if let Some(emperor) = &first.emperor {
            watch(&poll, emperor).map_err(failed)?;
        }
        let settings = settings(&first.config);
        let mut plan = match &left {
            Some(left) => Plan::inherit(settings, &left.state, clock::coarse_ms()),
            None => Plan::new(settings),
        };
        plan.set_vassal(first.emperor.is_some());
        let mut master = Self {
            plan,
            poll,
            signals,
            source: first.source,
            ground,
            first: (Rc::new(first.config), first.listeners),
            generations: BTreeMap::new(),
            workers: BTreeMap::new(),
            pidfiles: first.pidfiles,
            outlet: first.outlet,
            audience: first.audience,
            touches,
            bells,
            desk,
            fifos,
            queues: Queues::default(),
            rounds: Rounds::default(),
            emperor: first.emperor,
            court: first.court,
            service: first.service,
            told: Told::default(),
            inquiry: None,
            subscriptions,
            notify_socket,
            knocking: Vec::new(),
            knocked: false,
            welcomed: false,
            unknown: first.unknown,
            executable: first.executable,
            trials: Trials::default(),
            meanings: first.scene.meanings.into_iter().collect(),
            commands: BTreeMap::new(),
            beside: Beside::default(),
            lowered: false,
            gateways: first.gateways,
            more_lines: false,
            over: None,
        };
        if let Some(left) = left {
            master.inherit(left)?;
        }
        Ok(master)
    }

    /// Lives until it is told to stop, or can't begin.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        if !self.plan.is_inherited() {
            self.service.tell(notice::patience(settings(&self.first.0).load_ms));
            self.begin_hooks()?;
        }
        self.tell_emperor(Allegiance::is_ready);
        self.feed(Input::Start);
        let mut events = Events::with_capacity(64);
        let mut slims = true;
        while self.over.is_none() || self.court.is_some() {
            let now = clock::coarse_ms();
            // The coarse clock stands still for up to 4 ms: without the 1, this would spin until it moves.
            let wakes = [self.plan.wake_ms(), self.rounds_wake_ms(), self.trials.wake_ms(), self.fealty_wake_ms()];
            let wake = wakes.into_iter().flatten().min();
            let wait = wake.map(|wake| Duration::from_millis(wake.saturating_sub(now).max(1)));
            let wait = if self.more_lines { Some(Duration::ZERO) } else { wait };
            if self.welcomed && std::mem::take(&mut slims) {
                // Most of what has run so far was for the start. What can't be let go of is kept.
                let _ = memory::let_go_of_code();
                memory::let_go_of_free();
            }
            match self.poll.poll(&mut events, wait) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    tracing::error!("epoll: {error}");
                }
                _ => {
                    self.knocked = events.iter().any(|event| event.token() == KNOCK);
                    self.wake();
                }
            }
        }
        if self.plan.orphans() > 0 {
            tracing::info!("{} orphans of the application were reaped", self.plan.orphans());
        }
        self.end_beside();
        self.end_hooks();
        self.outlet.finish();
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
        self.more_lines = self.outlet.deal() | self.notify_socket.tell();
        self.take_signals();
        self.hear_emperor();
        self.take_messages();
        // A worker's birth is told before its parent ends, so before this process can be the one to reap it: what
        // was said is read again while the dead one's pid is still its own.
        while let Ok(Some(pid)) = reap::dead_child() {
            self.take_messages();
            let (requests, of_use) = self.record_of(pid);
            match reap::reap(pid) {
                Ok(Some(end)) if self.court.as_mut().is_some_and(|court| court.died(pid, end)) => {}
                Ok(Some(end)) if self.is_trial(pid, end) || self.note_end_beside(pid, end) => {}
                Ok(Some(end)) if self.gateways.exited(&self.poll, pid, end) => {}
                Ok(Some(end)) => self.feed(Input::Exited { pid, end, requests, of_use }),
                _ => break,
            }
        }
        self.attend_court();
        self.look_at_trial();
        self.make_rounds();
        self.attend_gateways();
        if std::mem::take(&mut self.knocked) {
            self.feed(Input::Knock);
        }
        self.feed(Input::Tick);
        self.listen_for_knocks();
        self.attend_desk();
    }

    /// Watches the listeners of the generation that serves while none of its workers does. Whoever comes while it is
    /// paused is told by watching anew after it: an arrival is told once.
    fn listen_for_knocks(&mut self) {
        let listens = self.plan.is_cheap() && !self.plan.is_paused();
        let hosted = self.plan.generation().filter(|_| listens).and_then(|id| self.generations.get(&id));
        let wanted = hosted.map_or(&[][..], |hosted| &hosted.listeners);
        let same = wanted.iter().zip(&self.knocking).all(|(one, other)| Rc::ptr_eq(one, other));
        if same && wanted.len() == self.knocking.len() {
            return;
        }
        for bound in std::mem::replace(&mut self.knocking, wanted.to_vec()) {
            let _ = self.poll.registry().deregister(&mut SourceFd(&bound.as_fd().as_raw_fd()));
        }
        for bound in &self.knocking {
            let number = bound.as_fd().as_raw_fd();
            if let Err(error) = self.poll.registry().register(&mut SourceFd(&number), KNOCK, Interest::READABLE) {
                tracing::error!("epoll: {error}");
            }
        }
    }

    /// Hears router processes, and tells the plan whether there are any.
    fn attend_gateways(&mut self) {
        self.gateways.look(&self.poll);
        self.feed(Input::Routers { alive: self.gateways.is_alive() });
    }

    /// Last, so that who asks is told what came of everything else.
    fn attend_desk(&mut self) {
        let mut desk = std::mem::take(&mut self.desk);
        let asked = desk.look(&self.poll, clock::coarse_ms(), |question| self.answer(question));
        self.desk = desk;
        if asked {
            self.ask_for_stacks(false);
        }
        self.attend_inquiry(clock::coarse_ms());
    }

    fn take_signals(&mut self) {
        while let Ok(Some((number, word))) = self.signals.next_with_word() {
            if let Some(meaning) = self.meanings.get(&number).copied() {
                self.mean(meaning);
                continue;
            }
            let signal = match number {
                1 => Signal::Hup,
                2 => Signal::Int,
                3 => Signal::Quit,
                15 => Signal::Term,
                20 => Signal::Tstp,
                10 => {
                    self.say_stats();
                    continue;
                }
                signal::ASK_STACKS => {
                    self.asked_for_stacks(word);
                    continue;
                }
                // SIGCHLD has done its work by waking; the others mean nothing (yet), and end nobody.
                _ => continue,
            };
            let ends = matches!(signal, Signal::Int | Signal::Quit | Signal::Term);
            if let (true, Some(_), Some(court)) = (ends, &self.over, &mut self.court) {
                // Nobody else is left to be told.
                court.quit();
            }
            let in_flight = self.in_flight();
            self.feed(Input::Signal { signal, in_flight });
        }
    }

    /// Somebody has sent a signal that ends a server.
    pub(super) fn is_told_to_end(&mut self) -> bool {
        let mut told = false;
        while let Ok(Some(number)) = self.signals.next() {
            told |= matches!(number, 2 | 3 | 15);
        }
        told
    }

    /// What a hook has made of a signal.
    fn mean(&mut self, meaning: Meaning) {
        let command = match meaning {
            Meaning::Stop => Command::Stop,
            Meaning::StopNow => Command::StopNow,
            Meaning::Reload => Command::Reload,
            Meaning::ReloadNow => Command::ReloadBrutally,
            Meaning::Pause => Command::Pause,
            Meaning::Stats => return self.say_stats(),
        };
        let in_flight = self.in_flight();
        self.feed(Input::Command { command, in_flight });
    }

    /// Tells the plan, does what it orders, tells it what came of it.
    pub(super) fn feed(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        // What could not begin orders nothing any more.
        while let Some(input) = inputs.pop_front().filter(|_| self.over.is_none()) {
            let orders = self.plan.decide(input, clock::coarse_ms());
            self.keep_announced();
            for order in orders {
                if self.over.is_none() {
                    inputs.extend(self.perform(order));
                }
            }
        }
    }

    pub(super) fn perform(&mut self, order: Order) -> Option<Input> {
        match order {
            Order::Begin { generation, how } => {
                let upgrade = (how == How::Reload).then(|| self.begin_upgrade(generation)).flatten();
                upgrade.unwrap_or_else(|| Some(self.begin(generation, how)))
            }
            Order::Spawn { generation, worker, slot, seat } => self.spawn(generation, worker, slot, seat),
            Order::Drain { worker, mercy_ms, last } => {
                let heirs = !last && self.has_heirs(worker);
                let last = last || self.is_last_to_accept(worker);
                self.workers.get_mut(&worker).into_iter().for_each(|line| line.draining = true);
                self.tell_worker(worker, ToWorker::Drain { mercy_ms, last, heirs });
                None
            }
            Order::Pause { worker, on } => {
                self.tell_worker(worker, if on { ToWorker::Pause } else { ToWorker::Resume });
                None
            }
            Order::Expire { worker } => {
                self.expire(worker);
                None
            }
            Order::RetireRouters { mercy_ms } => {
                self.gateways.retire(&self.poll, mercy_ms);
                None
            }
            Order::KillRouters => {
                self.gateways.kill(&self.poll);
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
            Order::Farewell => {
                self.tell_emperor(Allegiance::is_idle);
                None
            }
            Order::Exit { code, reason } => {
                self.court.iter_mut().for_each(Child::let_go);
                self.over = Some((code, reason));
                None
            }
        }
    }

    fn begin(&mut self, generation: u32, how: How) -> Input {
        let reloaded = match how {
            How::Start => false,
            How::Reload => true,
            How::Again { like } => self.generations.get(&like).is_some_and(|like| like.reloaded),
        };
        // The master stays where the generation is that serves.
        let home = if how == How::Reload { process::folder().ok() } else { None };
        let begun = match self.ground_for(how) {
            Ok(ground) if ground.0.is_routers_only() => self.begin_bare(generation, reloaded, ground),
            ground => self.begin_zygote(generation, reloaded, ground),
        };
        if let Some(home) = home {
            let hosted = self.generations.get_mut(&generation);
            hosted.into_iter().for_each(|hosted| hosted.folder = process::folder().ok());
            if let Err(error) = process::enter_folder(&home) {
                tracing::error!("the folder of the application can't be entered again: {error}");
            }
        }
        begun
    }

    fn begin_zygote(&mut self, generation: u32, reloaded: bool, ground: Result<Grounds, String>) -> Input {
        let begun = ground.and_then(|(config, listeners)| {
            let settings = Box::new(settings(&config));
            let same = self.generations.values().find(|hosted| hosted.listens_on(&listeners.workers));
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
                hosted.scoreboard.set_paused(self.plan.is_paused());
                self.generations.insert(generation, hosted);
                Input::Began { generation, zygote, python, settings }
            }
        }
    }

    fn begin_bare(&mut self, generation: u32, reloaded: bool, (config, listeners): Grounds) -> Input {
        self.unknown.tell("");
        let settings = Box::new(settings(&config));
        match self.ground.bare(reloaded, config, listeners) {
            Err(reason) => Input::NotBegun { generation, reason },
            Ok(hosted) => {
                self.generations.insert(generation, hosted);
                Input::Bare { generation, settings }
            }
        }
    }

    /// The configuration and the listeners of a new generation.
    fn ground_for(&mut self, how: How) -> Result<Grounds, String> {
        match how {
            How::Start => Ok(self.first.clone()),
            How::Again { like } => match self.generations.get(&like) {
                Some(like) => {
                    let listeners = Opened { workers: like.listeners.clone(), routers: like.doors.clone() };
                    Ok((like.config.clone(), listeners))
                }
                None => Err("its generation is gone".to_owned()),
            },
            How::Reload => self.ground_for_reload(),
        }
    }

    fn tell(&mut self, event: &Event) {
        if let Event::ReloadFailed { .. } = event {
            self.give_up_reload();
        }
        if let Event::Closing { .. } = event {
            // Before anybody can read of it: what is answered from here on is the last.
            self.generations.values().for_each(|hosted| hosted.scoreboard.set_closing());
        }
        self.tell_service(event);
        match event.level() {
            Level::Info => tracing::info!("{event}"),
            Level::Warning => tracing::warn!("{event}"),
            Level::Error => tracing::error!("{event}"),
        }
        match event {
            Event::Loaded { .. } => match self.lower() {
                Ok(()) => self.begin_beside(),
                Err(Failure { code, reason }) => {
                    self.over = Some((code, Some(reason)));
                    self.court.iter_mut().for_each(Child::let_go);
                }
            },
            // The start went well.
            Event::Ready { .. } => {
                self.welcome();
                self.set_up_gateways();
            }
            Event::Stopping { .. } => self.court.iter_mut().for_each(Child::let_go),
            Event::StoppingNow => {
                self.court.iter_mut().for_each(Child::quit);
                self.beside.hurried = true;
            }
            // For who begins to accept later.
            Event::Paused => self.generations.values().for_each(|hosted| hosted.scoreboard.set_paused(true)),
            Event::Resumed => self.generations.values().for_each(|hosted| hosted.scoreboard.set_paused(false)),
            Event::Serving { generation } => {
                let hosted = self.generations.get_mut(generation);
                if let Some((config, folder)) = hosted.map(|hosted| (hosted.config.clone(), hosted.folder.take())) {
                    self.adopt_reload(&config, folder);
                    self.renew_fealty(&config);
                }
            }
            Event::Complete { generation, .. } => {
                // `cheap`: no worker was ready before.
                self.welcome();
                self.settle_in(*generation);
                // A stop may have come while the former workers went.
                if !self.plan.stops() {
                    self.set_up_gateways();
                    self.hand_over_beside();
                }
            }
            _ => {}
        }
    }

    /// Router processes are those of the generation that serves.
    fn set_up_gateways(&mut self) {
        let Some(hosted) = self.plan.generation().and_then(|id| self.generations.get(&id)) else { return };
        let sockets = (&hosted.doors[..], &hosted.listeners[..]);
        self.gateways.set_up(&self.poll, &hosted.config, sockets);
    }

    /// The start went well: whoever waits for it is told, and the pidfiles are ours.
    pub(super) fn welcome(&mut self) {
        let config = &self.first.0;
        let safe = [("safe-pidfile", &config.process.safe_pidfile), ("safe-pidfile2", &config.process.safe_pidfile2)];
        if !std::mem::replace(&mut self.welcomed, true) {
            self.tell_emperor(Allegiance::accepts);
            for (option, path) in safe {
                let path = path.as_deref().filter(|path| !self.pidfiles.iter().any(|file| file.is_at(path)));
                match pidfile(config, option, path) {
                    Ok(written) => self.pidfiles.extend(written),
                    Err(reason) => tracing::error!("{reason}"),
                }
            }
        }
        self.pidfiles.iter_mut().for_each(Pidfile::keep);
        self.audience.dismiss();
    }

    /// Whoever waited for the start was told.
    pub(super) fn is_welcome(&self) -> bool {
        self.welcomed
    }

    /// A generation is complete: what was only held for the case that the start fails is let go.
    fn settle_in(&mut self, generation: u32) {
        let Some(hosted) = self.generations.get(&generation) else { return };
        for bound in hosted.listeners.iter().chain(&hosted.doors) {
            bound.set_vacuum(hosted.config.sockets.vacuum);
        }
        // Listeners that this generation does not have are closed with the last one that had them.
        self.first = (hosted.config.clone(), Opened::default());
    }
}

/// One token for all: at each wake everything is looked at.
pub(super) fn watch(poll: &Poll, source: &impl AsRawFd) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&source.as_raw_fd()), Token(0), Interest::READABLE)
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
