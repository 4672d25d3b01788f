//! What routers are told: the hands of `subscription::announce`. Datagrams are sent from here and never waited for; what
//! is sent, and when, is decided there.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::rc::Rc;

use ruwsgi_options::{Config, Server};
use ruwsgi_sys::{clock, datagram};
use ruwsgi_wire::subscription::Command;

use super::health::Health;
use super::run::Master;
use crate::listeners::Bound;
use crate::subscription::{Item, Name, Presence, Rhythm, Socket, Step, Targets};
use crate::why;

/// So many datagrams at once, and then the others after a pause: thousands of keys would overrun the router's buffer.
const AT_ONCE: usize = 64;
/// That pause, in milliseconds.
const PAUSE_MS: u64 = 20;
/// The pause where no router has room, in milliseconds.
const FULL_MS: u64 = 200;
/// After so many of those in a row, what waits is given up until the next round.
const MOST_STUCK: u32 = 10;
/// Signatures take time: so much of it at once, and then the others after a pause, in microseconds.
const BUDGET_US: u64 = 10_000;
/// Who leaves may take more: what comes next closes sockets.
const FAREWELL_US: u64 = 150_000;

/// How long the stamp of a signature is kept when nothing is announced any more, in seconds.
const STAMP_S: u64 = 60;

/// What is announced, to whom, and how.
pub(super) struct Subscriptions {
    targets: Rc<Targets>,
    /// What a reload has read, for when it is known to be good.
    next: Option<Rc<Targets>>,
    rhythm: Rhythm,
    /// Somebody has said `S`.
    blocked: bool,
    /// Whoever leaves while a reload is under way.
    off_at_reload: bool,
    /// What routers have been told and not been told to forget, as it was said.
    told: HashMap<Name, (Rc<Targets>, Item)>,
    /// The stamps of the last signatures.
    stamps: HashMap<Name, u64>,
    queue: VecDeque<(Command, Rc<Targets>, Item)>,
    queue_ms: u64,
    /// How often in a row nobody had room for anything of it.
    stuck: u32,
    doors: Doors,
    /// What went wrong the last time, so that it is told once.
    troubles: HashSet<String>,
}

impl Subscriptions {
    /// Those of the first generation.
    pub(super) fn new(config: &Config, listeners: &[Rc<Bound>]) -> Result<Self, String> {
        Ok(Self::of(targets(config, listeners)?, config))
    }

    /// Nobody is told anything until a reload says whom to tell.
    pub(super) fn none(config: &Config) -> Self {
        Self::of(Targets::default(), config)
    }

    fn of(targets: Targets, config: &Config) -> Self {
        let targets = Rc::new(targets);
        Self {
            rhythm: Rhythm::new(targets.period_ms),
            targets,
            next: None,
            blocked: config.subscriptions.start_off,
            off_at_reload: config.subscriptions.off_at_reload,
            told: HashMap::new(),
            stamps: HashMap::new(),
            queue: VecDeque::new(),
            queue_ms: 0,
            stuck: 0,
            doors: Doors::default(),
            troubles: HashSet::new(),
        }
    }

    /// Reads what a reload says: it counts when the generation serves.
    pub(super) fn prepare(&mut self, config: &Config, listeners: &[Rc<Bound>]) -> Result<(), String> {
        self.next = Some(Rc::new(targets(config, listeners)?));
        Ok(())
    }

    /// The generation of the last reload serves.
    pub(super) fn adopt(&mut self, config: &Config) {
        let Some(next) = self.next.take() else { return };
        self.off_at_reload = config.subscriptions.off_at_reload;
        self.rhythm.renew(next.period_ms);
        self.targets = next;
    }

    /// The reload has failed: what it says is not said.
    pub(super) fn give_up(&mut self) {
        self.next = None;
    }

    /// Stops or goes on, as somebody has asked through the FIFO.
    pub(super) fn toggle(&mut self) {
        self.blocked = !self.blocked;
        tracing::info!("subscriptions {}", if self.blocked { "blocked" } else { "re-enabled" });
    }

    /// Nobody ever has to be told anything.
    fn is_idle(&self) -> bool {
        self.targets.is_empty() && self.told.is_empty() && self.queue.is_empty()
    }

    /// When to look again.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        match () {
            () if !self.queue.is_empty() => Some(self.queue_ms),
            () if self.is_idle() => None,
            () => self.rhythm.wake_ms(),
        }
    }

    fn take(&mut self, step: Step, load: u64) {
        match step {
            Step::Announce => self.announce(load),
            Step::Leave => {
                self.queue.clear();
                for text in self.targets.texts().filter(|_| !self.told.is_empty()) {
                    tracing::info!("unsubscribing from {text}");
                }
                let told = std::mem::take(&mut self.told).into_values();
                self.queue.extend(told.map(|(targets, item)| (Command::Unsubscribe, targets, item)));
                self.drain(usize::MAX, FAREWELL_US, load);
            }
        }
    }

    fn announce(&mut self, load: u64) {
        let (items, problems) = self.targets.items();
        if self.told.is_empty() {
            self.targets.texts().for_each(|text| tracing::info!("subscribing to {text}"));
        }
        for problem in problems {
            self.complain(format!("subscribe-to: {problem}"));
        }
        self.queue.clear();
        for item in items {
            let said = (self.targets.clone(), item.clone());
            self.told.insert(item.name.clone(), said);
            self.queue.push_back((Command::Subscribe, self.targets.clone(), item));
        }
        let wanted: HashSet<&Name> = self.queue.iter().map(|(.., item)| &item.name).collect();
        // A key that has left its file, the address of the generation before.
        let over: Vec<Name> = self.told.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        for name in over {
            let said = self.told.remove(&name);
            self.queue.extend(said.map(|(targets, item)| (Command::Unsubscribe, targets, item)));
        }
        let now = clock::unix_seconds().unsigned_abs();
        self.stamps.retain(|name, stamp| self.told.contains_key(name) || *stamp + STAMP_S > now);
        self.drain(AT_ONCE, BUDGET_US, load);
    }

    /// Sends some of what waits: so many, for so long.
    fn drain(&mut self, most: usize, budget_us: u64, load: u64) {
        let (began_us, mut sent, mut full) = (clock::monotonic_us(), 0, HashSet::new());
        for _ in 0..self.queue.len() {
            let Some((command, targets, item)) = self.queue.pop_front() else { break };
            // A router that takes nothing is nobody else's trouble.
            if full.contains(&item.name.server) {
                self.queue.push_back((command, targets, item));
            } else if self.send(command, &targets, &item, load) {
                sent += 1;
            } else {
                full.insert(item.name.server.clone());
                self.queue.push_back((command, targets, item));
            }
            if sent >= most || clock::monotonic_us() > began_us + budget_us {
                break;
            }
        }
        self.queue_ms = clock::coarse_ms() + if sent > 0 { PAUSE_MS } else { FULL_MS };
        self.stuck = if sent > 0 || self.queue.is_empty() { 0 } else { self.stuck + 1 };
        if self.stuck >= MOST_STUCK {
            let routers: BTreeSet<String> = self.queue.drain(..).map(|(.., item)| shown(&item.name.server)).collect();
            for to in routers {
                self.complain(format!("subscribe-to: {to} can't be told: it reads nothing"));
            }
            self.stuck = 0;
        }
    }

    /// `false`: there is no room for it now.
    fn send(&mut self, command: Command, targets: &Targets, item: &Item, load: u64) -> bool {
        let unix = if targets.is_signed(item) { self.stamp(command, &item.name) } else { 0 };
        let Name { server, key, .. } = &item.name;
        let to = shown(server);
        let sent = match targets.datagram(item, command, load, unix) {
            Ok(bytes) => self.doors.send(server, &bytes, targets.credentials).map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => None,
                _ => Some(format!("subscribe-to: {to} can't be told: {}", why(&error))),
            }),
            Err(reason) => Err(Some(format!("subscribe-to: {key} can't be announced to {to}: {reason}"))),
        };
        match sent {
            Ok(()) => {
                let about = format!("subscribe-to: {to} can't be told");
                if self.troubles.iter().any(|trouble| trouble.starts_with(&about)) {
                    self.troubles.retain(|trouble| !trouble.starts_with(&about));
                    tracing::info!("subscribe-to: {to} can be told again");
                }
            }
            Err(None) => return false,
            Err(Some(trouble)) => self.complain(trouble),
        }
        true
    }

    /// Newer than the last one: the router takes each once. As in uWSGI, who leaves is a second ahead.
    fn stamp(&mut self, command: Command, name: &Name) -> u64 {
        let now = clock::unix_seconds().unsigned_abs() + u64::from(command == Command::Unsubscribe);
        let stamp = self.stamps.get(name).map_or(now, |last| now.max(last + 1));
        self.stamps.insert(name.clone(), stamp);
        stamp
    }

    fn complain(&mut self, trouble: String) {
        if !self.troubles.contains(&trouble) {
            tracing::warn!("{trouble}");
            self.troubles.insert(trouble);
        }
    }
}

impl Master {
    /// Tells routers what they must know now. To be called before what the plan orders is done: who leaves says so before
    /// its sockets close.
    pub(super) fn keep_announced(&mut self) {
        if self.subscriptions.is_idle() {
            return;
        }
        let presence = match self.plan.health() {
            _ if self.subscriptions.blocked => Presence::Off,
            _ if self.subscriptions.off_at_reload && self.plan.is_reloading() => Presence::Off,
            Health::Ready => Presence::Here,
            Health::Starting => Presence::Absent,
            Health::Stopping | Health::Paused => Presence::Off,
        };
        let now_ms = clock::coarse_ms();
        // A round that is not over goes on: the last keys would never have their turn otherwise.
        let busy = presence == Presence::Here && !self.subscriptions.queue.is_empty();
        let step = if busy { None } else { self.subscriptions.rhythm.decide(presence, now_ms) };
        if step.is_none() && self.subscriptions.queue.is_empty() {
            return;
        }
        let load = self.backlog().into();
        match step {
            Some(step) => self.subscriptions.take(step, load),
            None if now_ms >= self.subscriptions.queue_ms => self.subscriptions.drain(AT_ONCE, BUDGET_US, load),
            None => {}
        }
    }
}

/// What a configuration says, and what it may not mean.
fn targets(config: &Config, listeners: &[Rc<Bound>]) -> Result<Targets, String> {
    let sockets: Vec<Socket> = listeners.iter().map(|bound| bound.announced()).collect();
    let shared = |(number, said): (usize, &String)| {
        let name = format!("={number}");
        let used = config.listeners().iter().position(|listener| listener.address == name);
        used.and_then(|index| sockets.get(index)).map_or_else(|| said.clone(), |socket| socket.address.clone())
    };
    let shared: Vec<String> = config.sockets.shared_socket.iter().enumerate().map(shared).collect();
    let targets = Targets::of(config, &sockets, &shared)?;
    targets.doubts(config).iter().for_each(|doubt| tracing::warn!("{doubt}"));
    Ok(targets)
}

fn shown(server: &Server) -> String {
    match server {
        Server::Udp(address) => address.to_string(),
        Server::Unix(path) => path.clone(),
    }
}

/// The sockets through which announcements go out, made when the first one does.
#[derive(Default)]
struct Doors {
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    unix: Option<UnixDatagram>,
}

impl Doors {
    fn send(&mut self, server: &Server, bytes: &[u8], identified: bool) -> io::Result<()> {
        match server {
            Server::Udp(to @ SocketAddr::V4(_)) => udp(&mut self.v4, (Ipv4Addr::UNSPECIFIED, 0).into(), *to, bytes),
            Server::Udp(to @ SocketAddr::V6(_)) => udp(&mut self.v6, (Ipv6Addr::UNSPECIFIED, 0).into(), *to, bytes),
            Server::Unix(path) => {
                let address = match path.strip_prefix('@') {
                    Some(name) => UnixAddr::from_abstract_name(name)?,
                    None => UnixAddr::from_pathname(path)?,
                };
                if self.unix.is_none() {
                    let socket = UnixDatagram::unbound()?;
                    socket.set_nonblocking(true)?;
                    self.unix = Some(socket);
                }
                let Some(socket) = &self.unix else { return Ok(()) };
                if identified {
                    datagram::identify(socket.as_fd())?;
                }
                socket.send_to_addr(bytes, &address).map(drop)
            }
        }
    }
}

fn udp(socket: &mut Option<UdpSocket>, from: SocketAddr, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
    if socket.is_none() {
        let new = UdpSocket::bind(from)?;
        new.set_nonblocking(true)?;
        *socket = Some(new);
    }
    socket.as_ref().map_or(Ok(()), |socket| socket.send_to(bytes, to).map(drop))
}
