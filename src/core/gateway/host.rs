//! The master's hands for router processes: forks them, hears and tells them, and does what `supervise` orders.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_sys::channel::{Channel, Received};
use ruwsgi_sys::process::{self, Side};
use ruwsgi_sys::reap::{self, End};
use ruwsgi_sys::{clock, signal};

use super::child::{self, Birth};
use super::ears::Heard;
use super::mapper::Route;
use super::message::{FromRouter, ToRouter};
use super::settings::{Router, Settings};
use super::supervise::{EARLY_MS, Event, Input, Order, Place, Supervision};
use super::target::Target;
use crate::listeners::{Bound, door};
use crate::master::mercy_ms;
use crate::subscription::Rules;
use crate::{Place as Origin, why};

/// The router processes of an instance.
pub(crate) struct Gateways {
    pub(super) routers: &'static [Router],
    log: Log,
    pub(super) plan: Supervision,
    pub(super) lines: BTreeMap<u64, Line>,
    /// What the processes are made of.
    setup: Option<Setup>,
    /// For the configuration that was checked last.
    pub(super) made: Made,
    /// There are processes of another executable, which the next configuration replaces in any case.
    pub(super) is_former: bool,
    /// What the processes of a router last knew: a file for those that come when all of them are dead.
    kept: BTreeMap<usize, OwnedFd>,
}

/// What a configuration makes of routers, and what it has bound for them.
struct Setup {
    config: Rc<Config>,
    routers: Vec<(usize, Settings)>,
    doors: Vec<Rc<Bound>>,
    own: Vec<Target>,
    made: Made,
}

/// What is bound for routers beside their listeners, by the number of the router.
#[derive(Clone, Default)]
pub(super) struct Made {
    pub(super) stats: Vec<(usize, Rc<Bound>)>,
    pub(super) ears: Vec<(usize, Vec<Rc<Heard>>)>,
}

/// What the master holds of a process.
pub(super) struct Line {
    pub(super) pid: i32,
    pub(super) router: usize,
    shown: String,
    /// It lets clients in.
    up: bool,
    /// It waits for what others know.
    awaits: bool,
    /// `None`: it has closed its end.
    pub(super) channel: Option<Channel>,
    failure: Option<String>,
    born_ms: u64,
}

impl Line {
    /// Tells it what others have known.
    fn learn(&mut self, file: &OwnedFd) {
        self.awaits = false;
        // Who does not hear it waits no longer than a moment.
        let told = ToRouter::Known.encode();
        let _ = self.channel.as_ref().map(|channel| channel.send(&told, &[file.as_fd()]));
    }
}

impl Line {
    /// Of a process that another executable has left.
    pub(super) fn inherited((pid, router, shown): (i32, usize, String), up: bool, channel: Option<Channel>) -> Self {
        Self { pid, router, shown, up, awaits: !up, channel, failure: None, born_ms: 0 }
    }
}

impl Gateways {
    pub(crate) fn new(routers: &'static [Router], log: Log) -> Self {
        Self {
            routers,
            log,
            plan: Supervision::default(),
            lines: BTreeMap::new(),
            setup: None,
            made: Made::default(),
            kept: BTreeMap::new(),
            is_former: false,
        }
    }

    /// Whether the routers that a configuration asks for could begin, and binds what they need beside listeners; an error has
    /// its place. `own`: what the workers
    /// listen on.
    pub(crate) fn prepare(&mut self, config: &Config, own: &[Rc<Bound>]) -> Result<(), String> {
        let own = targets(config, own);
        for (number, settings) in wanted(self.routers, config) {
            let name = self.routers[number].name;
            let place = |option: &str| Origin(config, option).to_string();
            if settings.mapping.is_empty() {
                let origin = settings.listeners.first().map(|one| format!(" ({})", one.origin)).unwrap_or_default();
                return Err(format!(
                    "{name}: no backend is named: say {name}-to = ADDRESS, {name}-subscription-server = ADDRESS or another \
                     way{origin}"
                ));
            }
            Route::new(&settings.mapping, &own, Rules::default()).map_err(|(option, why)| {
                let option = format!("{name}-{option}");
                format!("{option}: {why}{}", place(&option))
            })?;
            child::person(&settings).map_err(|why| {
                let option = if why.contains("user") { format!("{name}-uid") } else { format!("{name}-gid") };
                format!("{option}: {why}{}", place(&option))
            })?;
        }
        self.made = self.make(config)?;
        Ok(())
    }

    /// What is bound beside listeners.
    pub(super) fn made(&self) -> &Made {
        self.setup.as_ref().map_or(&self.made, |setup| &setup.made)
    }

    /// Binds what routers need beside listeners, or takes it over from those that run.
    fn make(&self, config: &Config) -> Result<Made, String> {
        let former = self.made().clone();
        let bound: Vec<Rc<Bound>> = former.stats.into_iter().map(|(_, bound)| bound).collect();
        let heard: Vec<Rc<Heard>> = former.ears.into_iter().flat_map(|(_, ears)| ears).collect();
        let mut made = Made::default();
        for (number, settings) in &wanted(self.routers, config) {
            if let Some((option, address)) = &settings.stats {
                made.stats.push((*number, door(option, address, config, &bound)?));
            }
            let name = self.routers[*number].name;
            made.ears.push((*number, Heard::of(name, settings, config, &heard)?));
        }
        Ok(made)
    }

    /// Has the processes of this configuration; those that run stay where nothing of it has changed.
    pub(crate) fn set_up(&mut self, poll: &Poll, config: &Rc<Config>, (doors, own): (&[Rc<Bound>], &[Rc<Bound>])) {
        if wanted(self.routers, config).is_empty() && self.setup.is_none() {
            return;
        }
        let same = self.setup.as_ref().is_some_and(|setup| {
            let doors_stay = setup.doors.len() == doors.len()
                && setup.doors.iter().zip(doors).all(|(one, other)| Rc::ptr_eq(one, other));
            let said = |config: &Config| -> Vec<_> {
                config.directives.iter().map(|one| (one.name.clone(), one.value.clone())).collect()
            };
            doors_stay && setup.own == targets(config, own) && said(&setup.config) == said(config)
        });
        if same && !self.is_former {
            return;
        }
        self.is_former = false;
        let places = self.arrange(config, (doors, own));
        self.feed(poll, Input::Wanted { places, renew: true, mercy_ms: u64::from(mercy_ms(config)) });
    }

    /// Processes are made of this from here on; which there are to be.
    pub(super) fn arrange(&mut self, config: &Rc<Config>, (doors, own): (&[Rc<Bound>], &[Rc<Bound>])) -> Vec<Place> {
        let routers = wanted(self.routers, config);
        let places = routers.iter().flat_map(|(number, settings)| (1..=settings.processes).map(|one| (*number, one)));
        let places = places.collect();
        let (own, made) = (targets(config, own), std::mem::take(&mut self.made));
        self.setup = Some(Setup { config: config.clone(), routers, doors: doors.to_vec(), own, made });
        places
    }

    /// When somebody has to look again.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        self.plan.wake_ms()
    }

    /// There are processes.
    pub(crate) fn is_alive(&self) -> bool {
        self.plan.is_alive()
    }

    /// Hears what processes say, and does what time asks for.
    pub(crate) fn look(&mut self, poll: &Poll) {
        for id in self.lines.keys().copied().collect::<Vec<_>>() {
            while let Some((said, fds)) = self.hear(poll, id) {
                match said {
                    FromRouter::Up => {
                        self.lines.get_mut(&id).into_iter().for_each(|line| line.up = true);
                        self.feed(poll, Input::Up { id });
                    }
                    FromRouter::Known => self.pass_known(id, fds),
                    FromRouter::Heard(sender, datagram) => self.pass_on(id, &ToRouter::Heard(sender, datagram)),
                    FromRouter::Failed(why) => {
                        self.lines.get_mut(&id).into_iter().for_each(|line| line.failure = Some(why.clone()));
                    }
                }
            }
        }
        self.feed(poll, Input::Tick);
    }

    /// A child is dead; `false`: it was none of these.
    pub(crate) fn exited(&mut self, poll: &Poll, pid: i32, end: End) -> bool {
        let Some(id) = self.lines.iter().find(|(_, line)| line.pid == pid).map(|(id, _)| *id) else { return false };
        self.look(poll);
        // Perhaps because of what it was told.
        let early = |line: &&Line| clock::coarse_ms() < line.born_ms + EARLY_MS;
        if let Some(router) = self.lines.get(&id).filter(early).map(|line| line.router) {
            self.kept.remove(&router);
        }
        self.feed(poll, Input::Exited { id, end });
        if let Some(Line { channel: Some(channel), .. }) = self.lines.remove(&id) {
            let _ = poll.registry().deregister(&mut SourceFd(&channel.as_raw_fd()));
        }
        true
    }

    /// Nobody is let in any more, and what there is ends within this time.
    pub(crate) fn retire(&mut self, poll: &Poll, mercy_ms: u64) {
        self.setup = None;
        self.feed(poll, Input::Retire { mercy_ms });
    }

    /// Everybody is killed.
    pub(crate) fn kill(&mut self, poll: &Poll) {
        self.setup = None;
        self.feed(poll, Input::StopNow);
    }

    /// They go on in this log.
    pub(crate) fn renew_log(&self, log: BorrowedFd<'_>) {
        for channel in self.lines.values().filter_map(|line| line.channel.as_ref()) {
            // Whoever is dead already needs no log.
            let _ = channel.send(&ToRouter::Log.encode(), &[log]);
        }
    }

    fn hear(&mut self, poll: &Poll, id: u64) -> Option<(FromRouter, Vec<OwnedFd>)> {
        let line = self.lines.get_mut(&id)?;
        loop {
            match line.channel.as_ref()?.receive(false) {
                Ok(Received::Message(message)) => {
                    // What is no message is a word of a release that this one does not know.
                    if let Some(said) = FromRouter::decode(&message.bytes) {
                        return Some((said, message.fds));
                    }
                }
                Ok(Received::Nothing) => return None,
                Ok(Received::Closed) | Err(_) => {
                    let channel = line.channel.take()?;
                    let _ = poll.registry().deregister(&mut SourceFd(&channel.as_raw_fd()));
                }
            }
        }
    }

    pub(super) fn feed(&mut self, poll: &Poll, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for order in self.plan.decide(input, clock::coarse_ms()) {
                match order {
                    Order::Spawn { id, place } => {
                        if let Err(why) = self.spawn(poll, id, place) {
                            tracing::error!("{}", why);
                            inputs.push(Input::Unborn { id });
                        }
                    }
                    Order::Drain { id, mercy_ms, last } => {
                        let mercy_ms = u32::try_from(mercy_ms).unwrap_or(u32::MAX);
                        self.say(id, &ToRouter::Drain { mercy_ms, last });
                    }
                    Order::Kill { id } => self.kill_one(id),
                    Order::Tell(event) => self.tell(&event),
                }
            }
        }
    }

    /// Tells the other processes of the same router.
    fn pass_on(&self, id: u64, message: &ToRouter) {
        let Some(router) = self.lines.get(&id).map(|line| line.router) else { return };
        let others = self.lines.iter().filter(|(other, line)| **other != id && line.router == router);
        for other in others.map(|(other, _)| *other).collect::<Vec<_>>() {
            self.say(other, message);
        }
    }

    /// Keeps what a process knows, and tells those of the same router who wait for it.
    fn pass_known(&mut self, id: u64, mut fds: Vec<OwnedFd>) {
        let (Some(router), Some(file)) = (self.lines.get(&id).map(|line| line.router), fds.pop()) else { return };
        for line in self.lines.values_mut().filter(|line| line.router == router && line.awaits) {
            line.learn(&file);
        }
        self.kept.insert(router, file);
    }

    fn say(&self, id: u64, message: &ToRouter) {
        if let Some(channel) = self.lines.get(&id).and_then(|line| line.channel.as_ref()) {
            // It may be dead already, which its end tells.
            let _ = channel.send(&message.encode(), &[]);
        }
    }

    fn kill_one(&self, id: u64) {
        let Some(pid) = self.lines.get(&id).map(|line| line.pid).filter(|pid| reap::is_child(*pid)) else { return };
        if let Err(error) = signal::kill(pid) {
            tracing::error!("pid {pid} can't be signalled: {}", why(&error));
        }
    }

    fn spawn(&mut self, poll: &Poll, id: u64, (number, process): Place) -> Result<(), String> {
        let router = &self.routers[number];
        let shown = format!("{} {process}", router.name);
        let failed = |error: std::io::Error| format!("{shown} can't be forked: {}", why(&error));
        let Some(setup) = &self.setup else { return Err(format!("{shown} is not wanted any more")) };
        let Some((_, settings)) = setup.routers.iter().find(|(one, _)| *one == number) else {
            return Err(format!("{shown} is not wanted any more"));
        };
        let hears = !settings.mapping.subscription.is_empty();
        let knows = |(_, line): &(&u64, &Line)| line.router == number && line.up && line.channel.is_some();
        // The youngest: older ones may be leaving, and hear nothing any more.
        let elder = self.lines.iter().rfind(|line| hears && knows(line)).map(|(id, _)| *id);
        let kept = self.kept.get(&number).filter(|_| hears && elder.is_none());
        let (ours, theirs) = Channel::pair().map_err(failed)?;
        poll.registry().register(&mut SourceFd(&ours.as_raw_fd()), Token(0), Interest::READABLE).map_err(failed)?;
        let master = process::id();
        match process::fork().map_err(failed)? {
            Side::Child => {
                let made = &setup.made;
                let stats = made.stats.iter().find(|(one, _)| *one == number && process == 1);
                let ears = made.ears.iter().find(|(one, _)| *one == number);
                let birth = Birth {
                    router,
                    settings: settings.clone(),
                    config: setup.config.clone(),
                    number: process,
                    doors: setup.doors_of(settings),
                    own: setup.own.clone(),
                    stats: stats.map(|(_, bound)| bound.clone()),
                    ears: ears.map(|(_, ears)| ears.clone()).unwrap_or_default(),
                    awaits: elder.is_some() || kept.is_some(),
                    log: self.log.clone(),
                    master,
                };
                process::exit_now(child::live(birth, theirs));
            }
            Side::Parent(pid) => {
                let mut line = Line {
                    pid,
                    router: number,
                    shown,
                    up: false,
                    awaits: elder.is_some(),
                    channel: Some(ours),
                    failure: None,
                    born_ms: clock::coarse_ms(),
                };
                kept.into_iter().for_each(|file| line.learn(file));
                self.lines.insert(id, line);
                elder.into_iter().for_each(|elder| self.say(elder, &ToRouter::Tell));
                Ok(())
            }
        }
    }

    fn tell(&self, event: &Event) {
        let named = |id: &u64| {
            let line = self.lines.get(id);
            line.map_or_else(String::new, |line| format!("{} (pid {})", line.shown, line.pid))
        };
        match event {
            Event::Ready { id, after_ms } => tracing::info!("{} ready after {after_ms} ms", named(id)),
            Event::Ended { id, end } => tracing::info!("{} {end}", named(id)),
            Event::NoMercy { id } => tracing::warn!("{} does not end: killed", named(id)),
            Event::Died { id, end, wait_ms } => {
                let reason = self.lines.get(id).and_then(|line| line.failure.as_deref());
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                let next = if *wait_ms == 0 { "now".to_owned() } else { format!("in {} s", wait_ms / 1_000) };
                tracing::warn!("{} {end}{reason}: the next one comes {next}", named(id));
            }
        }
    }
}

impl Setup {
    /// The listeners of a router: those of all routers stand in one list, in the order of the configuration.
    fn doors_of(&self, settings: &Settings) -> Vec<Rc<Bound>> {
        let all = self.config.router_listeners().zip(&self.doors);
        all.filter(|(said, _)| settings.listeners.contains(said)).map(|(_, bound)| bound.clone()).collect()
    }
}

fn wanted(routers: &'static [Router], config: &Config) -> Vec<(usize, Settings)> {
    let all = routers.iter().enumerate();
    let said = all.filter_map(|(number, router)| Some((number, (router.settings)(config)?)));
    said.filter(|(_, settings)| !settings.listeners.is_empty()).collect()
}

/// Where the workers are reached.
fn targets(config: &Config, own: &[Rc<Bound>]) -> Vec<Target> {
    let target = |(said, bound): (&ruwsgi_options::Listener, &Rc<Bound>)| {
        Some(Target::of(&bound.at().ok()?, Target::dialect_of(said.protocol)))
    };
    config.listeners().iter().zip(own).filter_map(target).collect()
}
