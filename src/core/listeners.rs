//! The listening sockets: from what was said to what is bound. They belong to the master and outlive generations: each
//! is closed, and its file removed, when the last generation that listens on it is gone.

mod address;
mod given;

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ruwsgi_options::{Config, Listener, Mapped};
use ruwsgi_sys::listen::{self, At, Owner, Place as Seen, Tuning};
use ruwsgi_sys::{exec, privilege};

pub(crate) use self::address::Address;
pub(crate) use self::given::{VARIABLES, with_given};
use crate::subscription::Socket;
use crate::upgrade::Socket as Left;
use crate::{Place, why};

/// The queue of a listening socket where nobody says how long.
const BACKLOG: u32 = 1024;
/// The mode of a unix socket where nobody says another: who is allowed in is in its group.
const MODE: u32 = 0o660;

/// The mode of a unix socket of the master itself: what is told there is the operator's.
const DOOR_MODE: u32 = 0o600;
/// The queue of those.
const DOOR_BACKLOG: u32 = 64;

/// A listening socket.
pub(crate) struct Bound {
    fd: OwnedFd,
    key: Key,
    /// `http-socket on 127.0.0.1:8080`
    shown: String,
    backlog: Cell<u32>,
    file: Option<(PathBuf, (u64, u64))>,
    /// Its file goes with it. Until the instance has started, it does in any case.
    vacuum: Cell<bool>,
}

/// The listening sockets of a configuration, by who serves them.
#[derive(Clone, Default)]
pub(crate) struct Opened {
    /// In the order of `Config::listeners`.
    pub workers: Vec<Rc<Bound>>,
    /// In the order of `Config::router_listeners`.
    pub routers: Vec<Rc<Bound>>,
}

impl Opened {
    /// All of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Rc<Bound>> {
        self.workers.iter().chain(&self.routers)
    }
}

/// By what a reload knows it again.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Key {
    protocol: &'static str,
    address: Address,
}

/// The sockets of a configuration, on the way to be bound.
pub(crate) struct Listeners<'c> {
    config: &'c Config,
    backlog: u32,
    owner: Option<Owner>,
    wanted: Vec<(&'c Listener, Address, Option<Rc<Bound>>)>,
}

impl<'c> Listeners<'c> {
    /// Reads the addresses, and takes over those of `former` that are still wanted.
    pub(crate) fn of(config: &'c Config, former: &[Rc<Bound>]) -> Result<Self, String> {
        let mut wanted = Vec::new();
        for listener in config.listeners().iter().chain(config.router_listeners()) {
            let mut address = address_of(config, listener)
                .map_err(|why| format!("{}: {:?} {why} ({})", listener.option, listener.address, listener.origin))?;
            if config.sockets.abstract_socket {
                address = address.without_file();
            }
            wanted.push((listener, address, None));
        }
        if wanted.is_empty() {
            return Err("nothing to listen on: say socket = ADDRESS, or http-socket = ADDRESS".to_owned());
        }
        check_map(config)?;
        let mut this = Self { config, backlog: backlog(config), owner: owner(config)?, wanted };
        // Two may say the same, with a port of the kernel's choice: each has its own.
        let mut former = former.to_vec();
        for (listener, address, bound) in &mut this.wanted {
            let key = Key::of(listener.protocol, address);
            *bound = former.iter().position(|one| one.key == key).map(|at| former.remove(at));
        }
        Ok(this)
    }

    /// Binds those that may need root, and those that are shared: they are there before anything is given up.
    pub(crate) fn bind_inet(&mut self) -> Result<(), String> {
        self.bind_where(is_early)
    }

    /// Whether unix sockets are given to somebody, for which their maker may have to be root.
    pub(crate) fn need_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// Binds those that belong to whom we have become, or to whom `chown-socket` says.
    pub(crate) fn bind_unix(&mut self) -> Result<(), String> {
        self.bind_where(|listener, address| !is_early(listener, address))
    }

    /// All of them, in the order in which they were said.
    pub(crate) fn open(self) -> Opened {
        let (workers, routers) = self.wanted.split_at(self.config.listeners().len());
        let bound = |some: &[(_, _, Option<Rc<Bound>>)]| some.iter().filter_map(|(.., bound)| bound.clone()).collect();
        Opened { workers: bound(workers), routers: bound(routers) }
    }

    fn bind_where(&mut self, which: impl Fn(&Listener, &Address) -> bool) -> Result<(), String> {
        for index in 0..self.wanted.len() {
            let (listener, address, bound) = &self.wanted[index];
            if !which(listener, address) {
                continue;
            }
            let done = match bound {
                Some(bound) => bound.lengthen(self.backlog),
                None => self.bind(listener, address).map(|new| self.wanted[index].2 = Some(Rc::new(new))),
            };
            self.defer(&self.wanted[index]);
            if let Err(why) = done {
                let (listener, ..) = &self.wanted[index];
                return Err(format!("{}: {} {why} ({})", listener.option, listener.address, listener.origin));
            }
        }
        Ok(())
    }

    /// Nearly all clients speak first, and cost less once they have. Of a socket that others have opened or share, nobody
    /// knows; behind a TCP router, servers may speak first.
    fn defer(&self, (listener, address, bound): &(&Listener, Address, Option<Rc<Bound>>)) {
        let is_ours = matches!(address, Address::Inet { .. }) && !listener.address.starts_with('=');
        if let Some(bound) = bound.as_ref().filter(|_| is_ours && listener.protocol != "rawrouter") {
            // A kernel that can't (a sandbox's) accepts them at once.
            let _ = listen::defer(bound.fd.as_fd(), !self.config.sockets.no_defer_accept);
        }
    }

    fn bind(&self, listener: &Listener, address: &Address) -> Result<Bound, String> {
        let tuning = tuning(self.config);
        let (fd, place, file) = match address {
            Address::Given(number) => return self.take_over(listener, *number),
            Address::Inet { .. } => {
                let wanted = address.resolve()?;
                let fd =
                    listen::tcp_tuned(wanted, self.leaves_v4(wanted), &tuning).map_err(|error| in_words(&error))?;
                let place = listen::local_address(fd.as_fd()).map_err(|error| in_words(&error))?;
                (fd, place.to_string(), None)
            }
            Address::Abstract(name) => {
                let fd = listen::abstract_unix(name).map_err(|error| in_words(&error))?;
                (fd, listener.address.clone(), None)
            }
            Address::Unix(path) => {
                let path = std::path::absolute(path).map_err(|error| in_words(&error))?;
                let fd = self.bind_file(&path)?;
                self.warn_of_closed_door(listener);
                let identity = listen::file_identity(&path).ok_or("was removed while it was bound")?;
                (fd, listener.address.clone(), Some((path, identity)))
            }
        };
        let bound = Bound {
            fd,
            key: Key::of(listener.protocol, address),
            shown: format!("{} on {place}", listener.option),
            backlog: Cell::new(self.backlog),
            file,
            vacuum: Cell::new(true),
        };
        if file_or_name(address) {
            tuning.set_buffers(&bound.fd).map_err(|error| in_words(&error))?;
        }
        listen::listen(bound.fd.as_fd(), self.backlog).map_err(|error| in_words(&error))?;
        tracing::info!("{} (backlog {})", bound.shown, self.backlog);
        Ok(bound)
    }

    /// A socket that listens already: how long its queue is, and whose file it has, is not ours to say.
    fn take_over(&self, listener: &Listener, number: i32) -> Result<Bound, String> {
        let (fd, at) = listen::inherited(number).map_err(|error| match error.raw_os_error() {
            Some(_) => "is no open descriptor: nobody has passed it on".to_owned(),
            None => error.to_string(),
        })?;
        let shown = format!("{} on {}", listener.option, shown(&at));
        tracing::info!("{shown} (descriptor {number}, opened by who started the server)");
        let (backlog, vacuum) = (Cell::new(self.backlog), Cell::new(false));
        Ok(Bound { fd, key: Key::of(listener.protocol, &Address::Given(number)), shown, backlog, file: None, vacuum })
    }

    fn bind_file(&self, path: &Path) -> Result<OwnedFd, String> {
        free_place(path)?;
        let mode = match (self.config.sockets.chmod_socket, self.config.process.umask) {
            (Some(mode), _) => mode,
            // Somebody has thought about modes: what uWSGI makes of it.
            (None, Some(umask)) => 0o777 & !umask,
            (None, None) => MODE,
        };
        let fd = listen::unix(path, mode).map_err(|error| in_words(&error))?;
        if let Some(owner) = self.owner
            && let Err(error) = listen::give(path, owner)
        {
            // Nobody was let in yet.
            let _ = std::fs::remove_file(path);
            let wanted = self.config.sockets.chown_socket.as_deref().unwrap_or_default();
            return Err(format!("can't be given to {wanted:?} (chown-socket): {}", why(&error)));
        }
        Ok(fd)
    }

    /// Under `daemonize`, uWSGI's sockets are open to everybody, and front ends of other users count on it.
    fn warn_of_closed_door(&self, listener: &Listener) {
        let modes = (self.config.sockets.chmod_socket, self.config.process.umask);
        if self.config.daemon().is_some() && modes == (None, None) {
            let Listener { option, address, origin, .. } = listener;
            tracing::warn!(
                "{option}: only the user and the group of the server can connect to {address} (mode {MODE:o}): \
                 chmod-socket = 666 lets everybody, as uWSGI does under daemonize ({origin})"
            );
        }
    }

    /// An IPv6 socket takes IPv4 too (as uWSGI's does), unless another one here wants that port for IPv4.
    fn leaves_v4(&self, v6: SocketAddr) -> bool {
        let others = self.wanted.iter().filter_map(|(_, address, _)| address.resolve().ok());
        v6.port() != 0 && others.into_iter().any(|other| other.is_ipv4() && other.port() == v6.port())
    }
}

/// Binds what the master itself answers at, or takes it over from `former`: an address of an option that says one.
/// Only the user of the server may connect to a file, unless `chmod-socket` says who else.
pub(crate) fn door(
    option: &'static str,
    said: &str,
    config: &Config,
    former: &[Rc<Bound>],
) -> Result<Rc<Bound>, String> {
    let place = Place(config, option);
    let mut address = Address::parse(said).map_err(|why| format!("{option}: {said:?} {why}{place}"))?;
    if config.sockets.abstract_socket {
        address = address.without_file();
    }
    let key = Key::of(option, &address);
    if let Some(bound) = former.iter().find(|bound| bound.key == key) {
        return Ok(bound.clone());
    }
    let mode = config.sockets.chmod_socket.unwrap_or(DOOR_MODE);
    let bind = || {
        let plain = bind_plain(&address, said, mode)?;
        listen::listen(plain.0.as_fd(), DOOR_BACKLOG).map_err(|error| in_words(&error))?;
        Ok(plain)
    };
    let (fd, shown, file) = bind().map_err(|why: String| format!("{option}: {said} {why}{place}"))?;
    tracing::info!("{option} at {shown}");
    let (backlog, vacuum) = (Cell::new(DOOR_BACKLOG), Cell::new(true));
    Ok(Rc::new(Bound { fd, key, shown: format!("{option} at {shown}"), backlog, file, vacuum }))
}

/// A socket, where it is, and the file that it has made.
pub(crate) type Plain = (OwnedFd, String, Option<(PathBuf, (u64, u64))>);

/// Binds an address as it is; a file has this mode. It does not listen yet.
pub(crate) fn bind_plain(address: &Address, said: &str, mode: u32) -> Result<Plain, String> {
    match address {
        Address::Inet { .. } => {
            let fd = listen::tcp(address.resolve()?, false).map_err(|error| in_words(&error))?;
            let at = listen::local_address(fd.as_fd()).map_err(|error| in_words(&error))?;
            Ok((fd, at.to_string(), None))
        }
        Address::Abstract(name) => {
            Ok((listen::abstract_unix(name).map_err(|error| in_words(&error))?, said.to_owned(), None))
        }
        Address::Given(number) => {
            let (fd, at) = listen::inherited(*number).map_err(|error| in_words(&error))?;
            Ok((fd, shown(&at), None))
        }
        Address::Unix(path) => {
            let path = std::path::absolute(path).map_err(|error| in_words(&error))?;
            free_place(&path)?;
            let fd = listen::unix(&path, mode).map_err(|error| in_words(&error))?;
            let identity = listen::file_identity(&path).ok_or("was removed while it was bound")?;
            Ok((fd, said.to_owned(), Some((path, identity))))
        }
    }
}

/// A file that is in the way of a socket: a socket that nobody listens on goes.
fn free_place(path: &Path) -> Result<(), String> {
    match listen::look(path) {
        Ok(Seen::Free) => Ok(()),
        Ok(Seen::Stale) => std::fs::remove_file(path).map_err(|error| format!("is stale and stays: {}", why(&error))),
        Ok(Seen::Live) => Err("is in use: another server listens on it".to_owned()),
        Ok(Seen::Taken) => Err("is there already, and is no socket".to_owned()),
        Err(error) => Err(format!("can't be looked at: {}", why(&error))),
    }
}

impl Bound {
    /// What it is called where the queues are told: the protocol and the address.
    pub(crate) fn name(&self) -> (&'static str, &str) {
        (self.key.protocol, self.shown.split_once(" on ").map_or(self.shown.as_str(), |(_, at)| at))
    }

    /// Where it is bound.
    pub(crate) fn at(&self) -> io::Result<At> {
        listen::place(self.fd.as_fd())
    }

    /// As it is announced to routers: as it was written, if that says where it is.
    pub(crate) fn announced(&self) -> Socket {
        let (protocol, at) = self.name();
        let port = at.rsplit_once(':').map_or("", |(_, port)| port);
        let address = match &self.key.address {
            Address::Inet { host, .. } if host.is_empty() || host == "*" => format!(":{port}"),
            Address::Unix(path) => path.display().to_string(),
            Address::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
            Address::Inet { .. } | Address::Given(_) => at.to_owned(),
        };
        Socket { protocol, address }
    }

    /// How many connections wait, and how many may.
    pub(crate) fn queue(&self) -> (u32, u32) {
        listen::queue(&self.fd)
    }

    /// One that the former executable has left.
    pub(crate) fn inherited(left: &Left) -> Result<Self, String> {
        let failed = |why: String| format!("{} was left to this executable, and {why}", left.shown);
        let address = Address::parse(&left.address).map_err(failed)?;
        Ok(Self {
            fd: exec::inherited(left.fd).map_err(|error| failed(format!("can't be used: {}", why(&error))))?,
            // A handful, and all of them are there to the end.
            key: Key::of(Box::leak(left.protocol.clone().into_boxed_str()), &address),
            shown: left.shown.clone(),
            backlog: Cell::new(left.backlog),
            file: left.file.clone(),
            vacuum: Cell::new(left.vacuum),
        })
    }

    /// What there is to know of it for another executable.
    pub(crate) fn left(&self) -> Left {
        Left {
            fd: self.fd.as_raw_fd(),
            protocol: self.key.protocol.to_owned(),
            address: self.key.address.text(),
            shown: self.shown.clone(),
            backlog: self.backlog.get(),
            file: self.file.clone(),
            vacuum: self.vacuum.get(),
        }
    }

    /// The number under which it was given to the server: another executable looks for it there, too.
    pub(crate) fn given(&self) -> Option<RawFd> {
        match self.key.address {
            Address::Given(number) => Some(number),
            _ => None,
        }
    }

    /// From now on its file goes with it only if the configuration says so.
    pub(crate) fn set_vacuum(&self, vacuum: bool) {
        self.vacuum.set(vacuum);
    }

    fn lengthen(&self, backlog: u32) -> Result<(), String> {
        if self.backlog.replace(backlog) == backlog || matches!(self.key.address, Address::Given(_)) {
            return Ok(());
        }
        tracing::info!("{} (backlog {backlog})", self.shown);
        listen::listen(self.fd.as_fd(), backlog).map_err(|error| in_words(&error))
    }
}

impl AsFd for Bound {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let Some((path, identity)) = self.file.take() else { return };
        // Only our own file: another instance may have taken the place meanwhile.
        if self.vacuum.get() && listen::file_identity(&path) == Some(identity) {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Key {
    fn of(protocol: &'static str, address: &Address) -> Self {
        let address = match address {
            Address::Unix(path) => Address::Unix(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
            other => other.clone(),
        };
        Self { protocol, address }
    }
}

/// The address of a listener; `=N` is that of the Nth `shared-socket`.
pub(crate) fn address_of(config: &Config, listener: &Listener) -> Result<Address, String> {
    let Some(number) = listener.address.strip_prefix('=') else { return Address::parse(&listener.address) };
    let number: usize = number.parse().map_err(|_| "names no shared-socket: =0 is the first".to_owned())?;
    let shared = config.sockets.shared_socket.get(number);
    let shared =
        shared.ok_or_else(|| format!("names no shared-socket: there are {}", config.sockets.shared_socket.len()))?;
    Address::parse(shared).map_err(|why| format!("is {shared:?}, which {why}"))
}

fn is_early(listener: &Listener, address: &Address) -> bool {
    matches!(address, Address::Inet { .. } | Address::Given(_)) || listener.address.starts_with('=')
}

fn file_or_name(address: &Address) -> bool {
    matches!(address, Address::Unix(_) | Address::Abstract(_))
}

fn shown(at: &At) -> String {
    match at {
        At::Inet(address) => address.to_string(),
        At::Unix(path) => path.display().to_string(),
        At::Abstract(name) => format!("@{}", name.escape_ascii()),
    }
}

fn tuning(config: &Config) -> Tuning {
    let sockets = &config.sockets;
    let number = |asked: u64| u32::try_from(asked).unwrap_or(u32::MAX);
    Tuning {
        reuse_port: sockets.reuse_port,
        free_bind: sockets.freebind,
        keep_alive: sockets.so_keepalive,
        fast_open: number(sockets.tcp_fast_open),
        send_bytes: number(sockets.socket_sndbuf),
        receive_bytes: number(sockets.socket_rcvbuf),
    }
}

/// `map-socket` names sockets and workers that there are.
fn check_map(config: &Config) -> Result<(), String> {
    let (sockets, workers) = (config.listeners().len(), config.workers.processes.max(1));
    for Mapped { socket, workers: named } in &config.sockets.map_socket {
        let wrong = |what: String| Err(format!("map-socket: {what}{}", Place(config, "map-socket")));
        if *socket >= sockets {
            return wrong(format!("there is no socket {socket}: the last one is {}", sockets.saturating_sub(1)));
        }
        if let Some(worker) = named.iter().find(|worker| **worker > workers) {
            return wrong(format!("there is no worker {worker}: the last one is {workers}"));
        }
    }
    Ok(())
}

/// `chown-socket`: `user`, `user:group` or `:group`, by names or numbers.
pub(crate) fn owner(config: &Config) -> Result<Option<Owner>, String> {
    let Some(text) = &config.sockets.chown_socket else { return Ok(None) };
    let place = Place(config, "chown-socket");
    let wrong = |why: String| format!("chown-socket: {why}{place}");
    let found = |kind, name: &str, found: io::Result<Option<u32>>| match found {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(wrong(format!("there is no {kind} {name:?}"))),
        Err(error) => Err(wrong(format!("the {kind} {name:?} can't be looked up: {}", why(&error)))),
    };
    let (user, group) = text.split_once(':').map_or((text.as_str(), None), |(user, group)| (user, Some(group)));
    let by_user = || found("user", user, privilege::user(user).map(|user| user.map(|user| user.uid)));
    let by_group = |group| found("group", group, privilege::group(group));
    let user = if user.is_empty() && group.is_some() { None } else { Some(by_user()?) };
    Ok(Some(Owner { user, group: group.map(by_group).transpose()? }))
}

pub(crate) fn backlog(config: &Config) -> u32 {
    let most = listen::somaxconn();
    match config.sockets.listen {
        Some(asked) if asked > most => {
            let place = Place(config, "listen");
            tracing::warn!("listen: {asked} is more than net.core.somaxconn allows: {most} is used{place}");
            most
        }
        Some(asked) => asked,
        None => BACKLOG.min(most),
    }
}

pub(crate) fn in_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "is in use: another server listens on it".to_owned(),
        io::ErrorKind::AddrNotAvailable => "is no address of this machine".to_owned(),
        io::ErrorKind::PermissionDenied => "can't be bound: permission denied".to_owned(),
        _ => format!("can't be bound: {}", why(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::{Directive, Origin};

    fn config(lines: &[(&str, &str)]) -> Config {
        let directive = |(index, (name, value)): (usize, &(&str, &str))| Directive {
            name: (*name).to_owned(),
            value: Some((*value).into()),
            origin: Origin::File { path: "app.ini".into(), line: index as u32 + 1 },
        };
        Config::interpret(lines.iter().enumerate().map(directive).collect()).unwrap().0
    }

    fn open(config: &Config, former: &[Rc<Bound>]) -> Result<Vec<Rc<Bound>>, String> {
        let mut listeners = Listeners::of(config, former)?;
        listeners.bind_inet()?;
        listeners.bind_unix()?;
        Ok(listeners.open().workers)
    }

    #[test]
    fn a_reload_keeps_what_is_still_wanted_and_lets_the_rest_go() {
        let path = std::env::temp_dir().join(format!("ruwsgi-keep-{}.sock", std::process::id()));
        let text = path.to_str().unwrap();
        let first = open(&config(&[("http-socket", "127.0.0.1:0"), ("http-socket", text)]), &[]).unwrap();
        let second = open(&config(&[("http-socket", text), ("http-socket", "127.0.0.1:00")]), &first).unwrap();
        assert!(Rc::ptr_eq(&first[1], &second[0]));
        assert!(Rc::ptr_eq(&first[0], &second[1]));
        drop(first);
        assert!(path.exists());
        let third = open(&config(&[("http-socket", "127.0.0.1:0")]), &second).unwrap();
        drop(second);
        assert!(!path.exists());
        assert_eq!(third.len(), 1);
    }

    #[test]
    fn a_live_socket_is_never_taken_and_a_stale_one_is() {
        let path = std::env::temp_dir().join(format!("ruwsgi-live-{}.sock", std::process::id()));
        let config = config(&[("http-socket", path.to_str().unwrap())]);
        let live = open(&config, &[]).unwrap();
        let expected = format!("http-socket: {} is in use: another server listens on it (app.ini:1)", path.display());
        assert_eq!(open(&config, &[]).err().unwrap(), expected);
        assert!(path.exists());
        live[0].set_vacuum(false);
        drop(live);
        assert!(path.exists());
        drop(open(&config, &[]).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_another_instance_is_left_alone() {
        let path = std::env::temp_dir().join(format!("ruwsgi-other-{}.sock", std::process::id()));
        let ours = open(&config(&[("http-socket", path.to_str().unwrap())]), &[]).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        drop(ours);
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn both_families_can_have_one_port() {
        let free = listen::tcp("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let port = listen::local_address(free.as_fd()).unwrap().port();
        drop(free);
        let (v6, v4) = (format!("[::]:{port}"), format!(":{port}"));
        assert_eq!(open(&config(&[("http-socket", &v6), ("http-socket", &v4)]), &[]).unwrap().len(), 2);
        let error = open(&config(&[("http-socket", &v4), ("http", &v4)]), &[]).err().unwrap();
        assert_eq!(error, format!("http: {v4} is in use: another server listens on it (app.ini:2)"));
    }
}
