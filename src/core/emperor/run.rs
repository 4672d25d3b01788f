//! The hands of the emperor: wait, ask the plan, do what it says, again. All judgement is in [`plan`](super::plan).

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ruwsgi_log::Log;
use ruwsgi_options::{Config, Hook, Source};
use ruwsgi_stage::hooks::{self, Scene};
use ruwsgi_sys::signal::{self, Signals};
use ruwsgi_sys::{clock, reap};

use super::control::{self, Errand};
use super::desk::{Desk, Question};
use super::host::{Hosts, Part};
use super::launch::{Ground, hook};
use super::monitor::Monitors;
use super::name::Name;
use super::notice::Notice;
use super::on_demand;
use super::plan::{Event, Input, Level, Order, Plan, Terms, Wish};
use super::start::{reread, rules};
use super::stats;
use super::voice::Heard;
use crate::audience::Audience;
use crate::logfile::Outlet;
use crate::pidfile::Pidfile;
use crate::start::pidfile;
use crate::vassal::{Allegiance, Will};
use crate::why;

const SIGNALS: Token = Token(0);
const WATCHER: Token = Token(1);
const SUZERAIN: Token = Token(2);
const DESK: Token = Token(3);
const LEASH: Token = Token(4);

/// A log that can't be written is tried again after this time, in milliseconds; vassals wait meanwhile.
const LOG_PAUSE_MS: u64 = 50;

/// What a start has made.
pub(super) struct First {
    pub source: Source,
    pub config: Config,
    /// What places of vassals are relative to.
    pub folder: PathBuf,
    pub log: Log,
    pub outlet: Outlet,
    pub audience: Audience,
    pub signals: Signals,
    pub monitors: Monitors,
    pub ground: Ground,
    pub pidfiles: Vec<Pidfile>,
    pub suzerain: Option<Allegiance>,
    pub notice: Notice,
    /// Who has started this emperor ends it by closing this.
    pub leash: Option<std::os::fd::OwnedFd>,
}

/// The emperor.
pub(super) struct Emperor {
    first: First,
    plan: Plan,
    poll: Poll,
    hosts: Hosts,
    desk: Desk,
    /// Vassals that have more to say than they had time for.
    talkative: BTreeSet<Name>,
    /// The log can't be written: nobody is heard.
    deaf_until_ms: Option<u64>,
    over: bool,
    /// Whoever waits for the start was told.
    welcomed: bool,
}

impl Emperor {
    pub(super) fn new(first: First) -> Result<Self, String> {
        let failed = |error: io::Error| format!("epoll: {error}");
        let poll = Poll::new().map_err(failed)?;
        let watch = |token, source: &dyn std::os::fd::AsRawFd| {
            poll.registry().register(&mut SourceFd(&source.as_raw_fd()), token, Interest::READABLE).map_err(failed)
        };
        watch(SIGNALS, &first.signals)?;
        first.monitors.watcher().map_or(Ok(()), |watcher| watch(WATCHER, watcher))?;
        first.suzerain.as_ref().map_or(Ok(()), |suzerain| watch(SUZERAIN, suzerain))?;
        first.leash.as_ref().map_or(Ok(()), |leash| watch(LEASH, leash))?;
        let mut desk = Desk::default();
        desk.renew(&poll, DESK, &first.config)?;
        Ok(Self {
            plan: Plan::new(rules(&first.config)),
            poll,
            hosts: Hosts::default(),
            desk,
            talkative: BTreeSet::new(),
            deaf_until_ms: None,
            over: false,
            welcomed: false,
            first,
        })
    }

    /// Lives until it is told to stop, and all vassals have stopped.
    pub(super) fn run(mut self) {
        if let Some(suzerain) = &mut self.first.suzerain {
            // An emperor serves no request that could make it loyal.
            suzerain.is_ready();
            suzerain.accepts();
            suzerain.is_loyal();
        }
        let mut events = Events::with_capacity(256);
        while !self.over {
            let now = clock::coarse_ms();
            let wait = match self.wake_ms(now) {
                0 => Duration::ZERO,
                // The coarse clock stands still for up to 4 ms: without the 1, this would spin until it moves.
                wake => Duration::from_millis(wake.saturating_sub(now).max(1)),
            };
            match self.poll.poll(&mut events, Some(wait)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => tracing::error!("epoll: {error}"),
                _ => {
                    let tokens: Vec<Token> = events.iter().map(mio::event::Event::token).collect();
                    self.wake(&tokens);
                }
            }
        }
        self.first.log.flush();
        tracing::info!("stopped");
    }

    fn wake_ms(&self, now: u64) -> u64 {
        if !self.talkative.is_empty() && self.deaf_until_ms.is_none() {
            return 0;
        }
        let suzerain = self.first.suzerain.as_ref().and_then(Allegiance::wake_ms);
        let others =
            [self.plan.wake_ms(), self.desk.wake_ms(), suzerain, self.deaf_until_ms, self.first.notice.wake_ms()];
        let wake = others.into_iter().flatten().chain([self.first.monitors.wake_ms()]).min();
        wake.unwrap_or(now).max(1)
    }

    fn wake(&mut self, tokens: &[Token]) {
        self.take_signals();
        self.hear_suzerain();
        if tokens.contains(&LEASH) {
            self.first.leash = None;
            tracing::info!("who has started this emperor stops");
            self.stop_once();
        }
        for token in tokens {
            match self.hosts.whose(*token) {
                Some((name, Part::Pipe)) => self.hear_pipe(&name),
                Some((name, Part::Voice)) => drop(self.talkative.insert(name)),
                Some((name, Part::Socket)) => {
                    self.hosts.ignore_socket(&self.poll, &name);
                    self.feed(Input::Knock { name });
                }
                None => {}
            }
        }
        self.listen();
        self.reap();
        if tokens.contains(&WATCHER) {
            self.first.monitors.hear();
        }
        let now = clock::coarse_ms();
        if now >= self.first.monitors.wake_ms() {
            let seen = self.first.monitors.look(&self.first.config, now);
            self.feed(Input::Seen(seen));
            self.welcome();
        }
        self.feed(Input::Tick);
        self.first.notice.attend(&self.plan);
        self.attend_desk();
    }

    /// All that was there at the start has been looked at.
    fn welcome(&mut self) {
        if !std::mem::replace(&mut self.welcomed, true) {
            let process = &self.first.config.process;
            let safe = [("safe-pidfile", &process.safe_pidfile), ("safe-pidfile2", &process.safe_pidfile2)];
            for (option, path) in safe.into_iter().filter(|_| self.first.leash.is_none()) {
                match pidfile(&self.first.config, option, path.as_deref()) {
                    Ok(written) => self.first.pidfiles.extend(written),
                    Err(reason) => tracing::error!("{reason}"),
                }
            }
            self.first.pidfiles.iter_mut().for_each(Pidfile::keep);
            self.first.audience.dismiss();
            self.first.notice.ready(&self.plan);
            let count = self.plan.vassals().count();
            tracing::info!("the emperor governs {count} vassals");
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(number)) = self.first.signals.next() {
            match number {
                1 => self.reload(),
                2 | 15 => self.stop(Wish::Stop),
                3 => self.stop(Wish::StopNow),
                10 => self.say_status(),
                23 => self.feed(Input::Wish(Wish::Forgive)),
                28 => self.first.monitors.look_now(),
                // SIGCHLD has done its work by waking; the others mean nothing, and end nobody.
                _ => {}
            }
        }
    }

    fn hear_suzerain(&mut self) {
        let Some(suzerain) = &mut self.first.suzerain else { return };
        let wills = suzerain.hear();
        suzerain.beat();
        for will in wills {
            if let Some(suzerain) = &self.first.suzerain {
                suzerain.obey(will, &self.first.config);
            }
            match will {
                Will::Reload => self.reload(),
                // The second one is meant.
                Will::Stop => self.stop(Wish::Stop),
                Will::StopGracefully | Will::Lost => self.stop_once(),
            }
        }
    }

    /// Stops, unless that is under way.
    fn stop_once(&mut self) {
        if !self.plan.is_over() {
            self.stop(Wish::Stop);
        }
    }

    fn stop(&mut self, wish: Wish) {
        self.first.notice.stopping(&self.first.config);
        self.feed(Input::Wish(wish));
    }

    /// Reads the emperor's own configuration again, and has all vassals reload. What can't be read changes nothing.
    fn reload(&mut self) {
        let begun_us = clock::monotonic_us();
        let First { source, config, folder, outlet, monitors, .. } = &mut self.first;
        let done = reread(source, config).and_then(|new| {
            monitors.renew(&new, folder)?;
            outlet.renew(&new, source)?;
            self.desk.renew(&self.poll, DESK, &new)?;
            Ok(new)
        });
        self.first.notice.reloaded(begun_us, done.as_ref().err().map(String::as_str));
        match done {
            Err(reason) => tracing::error!("reload: the emperor goes on as it was: {reason}"),
            Ok(new) => {
                let now = rules(&new);
                if let Some(suzerain) = &mut self.first.suzerain {
                    suzerain.renew(&new);
                }
                self.first.config = new;
                self.feed(Input::Rules(now));
            }
        }
        self.feed(Input::Wish(Wish::Reload));
    }

    fn hear_pipe(&mut self, name: &Name) {
        let (bytes, closed) = self.hosts.bytes(name);
        for byte in bytes {
            self.feed(Input::Said { name: name.clone(), byte });
        }
        if closed {
            self.feed(Input::Hung { name: name.clone() });
        }
    }

    /// Hears those who have something to say, each for a while, as long as the log takes it.
    fn listen(&mut self) {
        let now = clock::coarse_ms();
        if self.deaf_until_ms.is_some_and(|until| now < until) {
            return;
        }
        self.deaf_until_ms = None;
        for name in std::mem::take(&mut self.talkative) {
            if self.deaf_until_ms.is_some() || self.hear(&name) == Heard::Part {
                self.talkative.insert(name);
            }
        }
    }

    fn hear(&mut self, name: &Name) -> Heard {
        let log = self.first.log.clone();
        let heard = self.hosts.hear(name, |line| log.push(line));
        if !log.flush() {
            // What has no room here waits in the pipes, where the vassals notice.
            self.deaf_until_ms = Some(clock::coarse_ms() + LOG_PAUSE_MS);
        }
        heard
    }

    /// Takes the dead: first their last words and their last bytes, then what they leave behind, then their number.
    fn reap(&mut self) {
        while let Ok(Some(pid)) = reap::dead_child() {
            let name = self.hosts.of_pid(pid);
            if let Some(name) = &name {
                self.hear_pipe(name);
                // Its workers and whatever else is in its group: nobody looks after them any more.
                let _ = signal::kill_group(pid);
                while self.hear(name) == Heard::Part {}
            }
            let Ok(Some(end)) = reap::reap(pid) else { break };
            if let Some(name) = name {
                let words = self.hosts.known(&name).and_then(|host| host.voice.reason());
                self.hosts.died(&self.poll, &name, pid);
                self.talkative.remove(&name);
                self.feed(Input::Exited { name, end, words });
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
            Order::Start { name, owner } => return Some(self.start(name, owner)),
            Order::Send { name, bytes } => self.hosts.send(&name, bytes),
            Order::Terminate { pid, .. } => signal_child(pid, signal::terminate),
            Order::Kill { pid, .. } => signal_child(pid, signal::kill),
            Order::Listen { name, terms } => return Some(self.open(name, &terms)),
            Order::Watch { name } => {
                if let Err(error) = self.hosts.watch_socket(&self.poll, &name) {
                    tracing::error!("vassal {name}: its socket can't be watched: {}", why(&error));
                }
            }
            Order::Unlisten { name } => {
                self.hosts.ignore_socket(&self.poll, &name);
                self.hosts.host(&name).socket = None;
            }
            Order::Forget { name } => {
                self.hosts.forget(&self.poll, &name);
                let command = self.first.config.emperor.stop_hook.as_ref();
                let gone: Vec<Hook> =
                    command.map(|command| hook("vassals-stop-hook", command, name.os())).into_iter().collect();
                self.run_hooks(&gone.iter().collect::<Vec<_>>(), self.first.ground.env.clone());
            }
            Order::Tell(event) => tell(&event),
            Order::Exit => self.over = true,
        }
        None
    }

    fn open(&mut self, name: Name, terms: &Terms) -> Input {
        match on_demand::hold(terms, &self.first.config) {
            Ok(held) => {
                self.hosts.hold(&name, held);
                Input::Listening { name }
            }
            Err(reason) => Input::NotListening { name, reason },
        }
    }

    fn start(&mut self, name: Name, owner: Option<(u32, u32)>) -> Input {
        let Some(place) = self.first.monitors.place(&name).cloned() else {
            return Input::NotStarted { name, reason: "its file is gone".to_owned() };
        };
        self.hosts.ignore_socket(&self.poll, &name);
        let socket = self.hosts.known(&name).and_then(|host| host.socket.as_ref()).map(AsFd::as_fd);
        // Looked at once more: what was seen is some time ago.
        let checked = match owner {
            Some(_) => super::tyrant::owner(&place.path, self.first.config.emperor.tyrant_nofollow).map(Some),
            None => Ok(None),
        };
        let born = checked.and_then(|now| match now == owner {
            true => self.first.ground.start(&self.first.config, &place, owner, socket),
            false => Err("its owner has changed just now".to_owned()),
        });
        match born {
            Err(reason) => {
                self.first.monitors.look_now();
                Input::NotStarted { name, reason }
            }
            Ok(born) => {
                let pid = born.pid;
                if let Err(error) = self.hosts.born(&self.poll, &name, born) {
                    tracing::error!("vassal {name}: epoll: {}", why(&error));
                }
                self.greet(&name, pid, owner);
                Input::Started { name, pid }
            }
        }
    }

    /// What the emperor does for a vassal that has started.
    fn greet(&self, name: &Name, pid: i32, owner: Option<(u32, u32)>) {
        let options = &self.first.config.emperor;
        let lists =
            [&options.hook_as_emperor, &options.mount_as_emperor, &options.umount_as_emperor, &options.exec_as_emperor];
        let all: Vec<&Hook> = lists.into_iter().flatten().collect();
        self.run_hooks(&all, self.env_of(name, pid, owner));
    }

    /// Does these; the emperor waits for none of their commands.
    fn run_hooks(&self, all: &[&Hook], env: Vec<(OsString, OsString)>) {
        let mut scene = Scene { hurried: true, ..Scene::new(&self.first.config, env) };
        hooks::run_anyway(all, &mut scene);
    }

    fn env_of(&self, name: &Name, pid: i32, owner: Option<(u32, u32)>) -> Vec<(OsString, OsString)> {
        let mut env = self.first.ground.env.clone();
        let (uid, gid) = owner.unwrap_or(ruwsgi_sys::process::owner());
        for (variable, value) in [("PID", pid.to_string()), ("UID", uid.to_string()), ("GID", gid.to_string())] {
            env.push((format!("UWSGI_VASSAL_{variable}").into(), value.into()));
        }
        env.push(("UWSGI_VASSAL_CONFIG".into(), name.os().to_owned()));
        env
    }

    /// Last, so that who asks is told what came of everything else.
    fn attend_desk(&mut self) {
        for (index, question) in self.desk.look(&self.poll, DESK, clock::coarse_ms()) {
            let answer = match question {
                Question::Stats => self.statistics(),
                Question::Errand { errand, user } => self.run_errand(errand, user),
            };
            self.desk.answer(index, answer);
        }
        self.desk.send();
    }

    fn run_errand(&mut self, errand: Errand, user: u32) -> Vec<u8> {
        let name = match &errand {
            Errand::List => return control::granted(&control::list(&self.plan, user)),
            Errand::Log(name) | Errand::Do(_, name) => name.clone(),
        };
        let vassal = self.plan.vassal(&name);
        // Who may not touch it need not know whether it is there.
        if !control::may(user, vassal) {
            return control::refusal(&format!("user {user} has no vassal {name}"));
        }
        if vassal.is_none() {
            return control::refusal(&format!("there is no vassal {name}"));
        }
        match errand {
            Errand::Do(command, name) => {
                tracing::info!("vassal {name}: user {user} asks: {}", format!("{command:?}").to_lowercase());
                self.feed(Input::Command { name: name.clone(), command });
                let state = self.plan.vassal(&name).map_or("gone", |vassal| vassal.state());
                control::granted(format!("{name}: {state}\n").as_bytes())
            }
            _ => {
                let lines = self.hosts.known(&name).map(|host| host.voice.lines()).unwrap_or_default();
                control::granted(&lines)
            }
        }
    }

    fn statistics(&self) -> Vec<u8> {
        let config = &self.first.config;
        let scene = stats::Scene {
            emperor: config.emperor.provinces.iter().map(|one| super::name::shown(&one.said)).collect(),
            tyrant: config.emperor.tyrant,
            file: &|name| self.first.monitors.facts(name),
            now_ms: clock::coarse_ms(),
            minified: config.stats.stats_minified,
        };
        stats::document(&self.plan, &scene)
    }

    fn say_status(&self) {
        let text = control::list(&self.plan, 0);
        String::from_utf8_lossy(&text).lines().for_each(|line| tracing::info!("{line}"));
    }
}

fn tell(event: &Event) {
    match event.level() {
        Level::Info => tracing::info!("{event}"),
        Level::Warning => tracing::warn!("{event}"),
        Level::Error => tracing::error!("{event}"),
    }
}

/// Sends a signal to a child, and to nobody else.
fn signal_child(pid: i32, send: fn(i32) -> io::Result<()>) {
    if reap::is_child(pid)
        && let Err(error) = send(pid)
    {
        tracing::error!("pid {pid} can't be signalled: {}", why(&error));
    }
}
