//! What an instance says to which routers: made of the configuration and the sockets that are bound. The master reads it
//! anew at each round, because keys may stand in files, and switches may be files.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::rc::Rc;

use ruwsgi_options::{Announced, Config, Pool, Server, Subscription};
use ruwsgi_wire::subscription::{Command, MOST_NAME_BYTES, MOST_NOTIFY_BYTES, Malformed, Packet, sign};

use super::sign::{Digest, PrivateKey};
use crate::{Place, why};

/// The largest file of keys, in bytes.
const MOST_FILE_BYTES: u64 = 4 << 20;

/// A socket of the instance, as it can be announced.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    /// Its protocol.
    pub protocol: &'static str,
    /// The address as it was written, or the one that was bound where the kernel has chosen.
    pub address: String,
}

/// Everything that is announced.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    targets: Vec<Target>,
    cores: u64,
    weight: u64,
    notify: Option<String>,
    /// Packets say who sends them, over unix sockets.
    pub(crate) credentials: bool,
    /// How often, in milliseconds.
    pub(crate) period_ms: u64,
}

#[derive(Debug)]
struct Target {
    said: Subscription,
    address: String,
    proto: Option<char>,
    modifier1: u8,
    key: Option<Rc<PrivateKey>>,
}

/// One thing that is said to one router.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// To whom, for which requests, where: by these it is known again.
    pub name: Name,
    modifiers: (u8, u8),
    /// Which target it is of.
    target: usize,
}

/// To whom, for which requests, where.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    /// The router.
    pub server: Server,
    /// The key.
    pub key: Rc<str>,
    /// The address that is announced.
    pub address: Rc<str>,
}

impl Targets {
    /// Those of a configuration. An error says what and where it was said.
    pub(crate) fn of(config: &Config, sockets: &[Socket], shared: &[String]) -> Result<Self, String> {
        let said = &config.subscriptions;
        let cores = u64::from(config.workers.processes.max(1)) * u64::from(config.workers.threads.max(1));
        let mut keys: HashMap<(String, &'static str), Rc<PrivateKey>> = HashMap::new();
        let mut targets = Vec::new();
        for one in said.to.iter().chain(&said.to_by_keys) {
            let wrong = |why: String| format!("{}: {why} ({})", option(config, one), one.origin);
            let (address, proto) = address(one, sockets, shared).map_err(wrong)?;
            let key = one.sign.as_ref().map(|sign| {
                let name = (sign.path.clone(), sign.digest);
                if let Some(key) = keys.get(&name) {
                    return Ok(key.clone());
                }
                let key = Rc::new(private_key(&sign.path, sign.digest)?);
                keys.insert(name, key.clone());
                Ok(key)
            });
            let key = key.transpose().map_err(wrong)?;
            let modifier1 = said.with_modifier1.unwrap_or(one.modifier1);
            let address = towards(&one.server, address);
            targets.push(Target { said: one.clone(), address, proto: one.proto.or(proto), modifier1, key });
        }
        Ok(Self {
            targets,
            cores,
            weight: if said.auto_weight { cores } else { said.weight },
            notify: notify(config)?,
            credentials: said.use_credentials,
            period_ms: u64::from(said.freq.max(1)) * 1_000,
        })
    }

    /// Nothing is announced.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// As they were written.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().map(|target| target.said.text.as_str())
    }

    /// The things that are not as their author may think.
    pub(crate) fn doubts(&self, config: &Config) -> Vec<String> {
        let doubt = |target: &Target| {
            let Target { said, address, .. } = target;
            let what = match (&said.server, target.proto, is_local(address)) {
                (Server::Udp(router), ..) if !router.ip().is_loopback() && is_local(address) => {
                    format!("{router} is told {address}, which only this machine can reach")
                }
                (_, Some(letter), _) if said.proto.is_none() => format!(
                    "no socket speaks uwsgi: {address} is announced with proto = {letter}, which routers of uWSGI 2.0 \
                     do not know (socket = 127.0.0.1:0 adds one)"
                ),
                _ => return None,
            };
            Some(format!("{}: {what} ({})", option(config, said), said.origin))
        };
        self.targets.iter().filter_map(doubt).collect()
    }

    /// What is to be said now, and what could not be read.
    pub(crate) fn items(&self) -> (Vec<Item>, Vec<String>) {
        let (mut items, mut problems) = (Vec::new(), Vec::new());
        for (number, target) in self.targets.iter().enumerate() {
            let said = &target.said;
            if said.check.as_ref().is_some_and(|path| Path::new(path).exists()) {
                continue;
            }
            let address: Rc<str> = target.address.as_str().into();
            let mut push = |key: &str, modifier1| {
                let name = Name { server: said.server.clone(), key: key.into(), address: address.clone() };
                items.push(Item { name, modifiers: (modifier1, said.modifier2), target: number });
            };
            match &said.key {
                Pool::Key(key) => push(key, target.modifier1),
                Pool::File(path) => match read_keys(path) {
                    Err(why) => problems.push(format!("{path}: {why}")),
                    Ok(text) => {
                        for (line, number) in text.lines().zip(1..) {
                            match key_in(line, target.modifier1) {
                                Ok(Some((key, modifier1))) => push(key, modifier1),
                                Ok(None) => {}
                                Err(why) => problems.push(format!("{path}:{number}: {why}")),
                            }
                        }
                    }
                },
            }
        }
        (items, problems)
    }

    /// The datagram of an item, at this time and with so many connections waiting.
    pub(crate) fn datagram(&self, item: &Item, command: Command, load: u64, unix: u64) -> Result<Vec<u8>, String> {
        let Some(Target { said, proto, key, .. }) = self.targets.get(item.target) else {
            return Err("its subscription is gone".to_owned());
        };
        let [sni_key, sni_crt, sni_ca] = said.sni.each_ref().map(|path| path.as_deref().map(str::as_bytes));
        let packet = Packet {
            command,
            key: item.name.key.as_bytes(),
            address: item.name.address.as_bytes(),
            modifier1: item.modifiers.0,
            modifier2: item.modifiers.1,
            cores: self.cores,
            load,
            weight: said.weight.map_or(self.weight, u64::from),
            backup: said.backup.into(),
            proto: proto.and_then(|letter| u8::try_from(letter).ok()),
            algo: said.algo.map(str::as_bytes),
            sni_key,
            sni_crt,
            sni_ca,
            notify: self.notify.as_deref().map(str::as_bytes),
            unix: key.as_ref().map(|_| unix),
            signed: None,
        };
        let mut bytes = packet.write().map_err(|why| why.to_string())?;
        if let Some(key) = key {
            sign(&mut bytes, |base| key.sign(base).map_err(Unsigned::Key)).map_err(|why| match why {
                Unsigned::Key(why) => why.to_owned(),
                Unsigned::Packet(why) => why.to_string(),
            })?;
        }
        Ok(bytes)
    }

    /// Whether its packets are signed.
    pub(crate) fn is_signed(&self, item: &Item) -> bool {
        self.targets.get(item.target).is_some_and(|target| target.key.is_some())
    }
}

/// Why a packet has no signature.
enum Unsigned {
    Key(&'static str),
    Packet(Malformed),
}

impl From<Malformed> for Unsigned {
    fn from(why: Malformed) -> Self {
        Self::Packet(why)
    }
}

fn option(config: &Config, said: &Subscription) -> &'static str {
    if config.subscriptions.to_by_keys.contains(said) { "subscribe2" } else { "subscribe-to" }
}

/// What is announced, and the protocol if it is not that of uwsgi packets.
fn address(said: &Subscription, sockets: &[Socket], shared: &[String]) -> Result<(String, Option<char>), String> {
    let of = |socket: &Socket| (socket.address.clone(), letter(socket.protocol));
    let found = match &said.address {
        Announced::Address(address) => return Ok((address.clone(), None)),
        Announced::Shared(number) => {
            let there = format!("there is no shared-socket {number}: there are {}", shared.len());
            return shared.get(*number).map(|address| (address.clone(), None)).ok_or(there);
        }
        Announced::Socket(number) => sockets.get(*number).map(of),
        // The first one that every router can ask; as uWSGI, the first one otherwise.
        Announced::Default => {
            sockets.iter().find(|socket| letter(socket.protocol).is_none()).or(sockets.first()).map(of)
        }
    };
    let (address, proto) = found.ok_or_else(|| match &said.address {
        Announced::Socket(number) => format!("there is no socket {number}: there are {}", sockets.len()),
        _ => "there is no socket to announce".to_owned(),
    })?;
    if address.len() > MOST_NAME_BYTES {
        return Err(format!("{address} can't be announced: {} bytes, 255 at most", address.len()));
    }
    Ok((address, proto))
}

/// `None` for the protocol that all routers speak.
fn letter(protocol: &str) -> Option<char> {
    match protocol {
        "uwsgi" | "puwsgi" => None,
        other => other.chars().next(),
    }
}

/// A router on another machine can't do anything with `:3031`: it is told the address that this machine has towards it.
/// Nothing is sent to find out which that is.
fn towards(server: &Server, address: String) -> String {
    let Server::Udp(router) = server else { return address };
    let any = ["", "*", "0.0.0.0", "[::]"];
    let Some((host, port)) = address.rsplit_once(':').filter(|(host, _)| any.contains(host)) else { return address };
    if router.ip().is_loopback() {
        return if host == "*" { format!(":{port}") } else { address };
    }
    let here = || {
        let any: SocketAddr = match router.ip() {
            IpAddr::V4(_) => ([0; 4], 0).into(),
            IpAddr::V6(_) => ([0_u16; 8], 0).into(),
        };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(router).ok()?;
        socket.local_addr().ok().map(|here| here.ip())
    };
    match (here(), port.parse::<u16>()) {
        (Some(ip), Ok(port)) if !ip.is_unspecified() => SocketAddr::new(ip, port).to_string(),
        _ => address,
    }
}

fn is_local(address: &str) -> bool {
    let ip = address.parse::<SocketAddr>().map(|address| address.ip().to_canonical().is_loopback());
    ip.unwrap_or(!address.contains(':') || address.starts_with('/'))
}

fn private_key(path: &str, digest: &str) -> Result<PrivateKey, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {}", why(&error)))?;
    let digest = Digest::named(digest).ok_or_else(|| format!("{digest} is no digest"))?;
    let key = PrivateKey::parse(digest, &text).map_err(|why| format!("{path} {why}"))?;
    // A key that is too short is told now and not with each announcement.
    key.sign(b"").map_err(|why| format!("{path}: {why}"))?;
    Ok(key)
}

fn read_keys(path: &str) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| why(&error))?.len();
    if length > MOST_FILE_BYTES {
        return Err(format!("{length} bytes: {MOST_FILE_BYTES} at most"));
    }
    std::fs::read_to_string(path).map_err(|error| why(&error))
}

/// A line of a file of keys: `KEY` or `KEY,MODIFIER1`; `#` begins a comment.
fn key_in(line: &str, modifier1: u8) -> Result<Option<(&str, u8)>, String> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (key, modifier1) = match line.split_once(',') {
        None => (line, modifier1),
        Some((key, number)) => (key, number.trim().parse().map_err(|_| format!("{number:?} is no number up to 255"))?),
    };
    match key.len() {
        1..=MOST_NAME_BYTES => Ok(Some((key, modifier1))),
        length => Err(format!("a key of {length} bytes: 1 to 255")),
    }
}

/// Where routers may say that they know this instance.
fn notify(config: &Config) -> Result<Option<String>, String> {
    let said = &config.subscriptions;
    let (option, path) = match (&said.notify_socket, &said.notices) {
        (Some(path), _) => ("subscription-notify-socket", path.clone()),
        // It is made here, wherever that is.
        (None, Some(path)) => {
            let path = std::path::absolute(path).map_err(|error| format!("notify-socket: {}", why(&error)))?;
            ("notify-socket", path.display().to_string())
        }
        (None, None) => return Ok(None),
    };
    if path.len() > MOST_NOTIFY_BYTES {
        let place = Place(config, option);
        return Err(format!(
            "{option}: {path:?} is longer than {MOST_NOTIFY_BYTES} bytes, which no router takes{place}"
        ));
    }
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::{Directive, Origin};

    fn config(lines: &[(&str, &str)]) -> Config {
        let directive = |(line, (name, value)): (usize, &(&str, &str))| Directive {
            name: (*name).to_owned(),
            value: Some((*value).into()),
            origin: Origin::File { path: "app.ini".into(), line: line as u32 + 1 },
        };
        Config::interpret(lines.iter().enumerate().map(directive).collect()).unwrap().0
    }

    fn socket(protocol: &'static str, address: &str) -> Socket {
        Socket { protocol, address: address.to_owned() }
    }

    fn targets(lines: &[(&str, &str)]) -> Result<Targets, String> {
        let sockets = [socket("http", ":8080"), socket("uwsgi", ":3031"), socket("fastcgi", "/run/f.sock")];
        Targets::of(&config(lines), &sockets, &[":4040".to_owned()])
    }

    fn announced(line: (&str, &str)) -> String {
        targets(&[line]).unwrap().items().0[0].name.address.to_string()
    }

    #[test]
    fn the_socket_that_every_router_can_ask_is_announced() {
        assert_eq!(announced(("subscribe-to", "127.0.0.1:1:k")), ":3031");
        assert_eq!(announced(("subscribe-to", "=0=127.0.0.1:1:k")), ":4040");
        assert_eq!(announced(("subscribe-to", "10.0.0.1:5=127.0.0.1:1:k")), "10.0.0.1:5");
        assert_eq!(announced(("subscribe2", "server=127.0.0.1:1,key=k,socket=2")), "/run/f.sock");
        assert_eq!(announced(("subscribe2", "server=127.0.0.1:1,key=k,addr=[::1]:5")), "[::1]:5");
        let only = [socket("http", ":8080")];
        let config = config(&[("subscribe-to", "127.0.0.1:1:k")]);
        let targets = Targets::of(&config, &only, &[]).unwrap();
        assert!(targets.doubts(&config)[0].contains("no socket speaks uwsgi: :8080"), "{:?}", targets.doubts(&config));
        let bytes = targets.datagram(&targets.items().0[0], Command::Subscribe, 0, 0).unwrap();
        assert_eq!(Packet::parse(&bytes).unwrap().proto, Some(b'h'));
    }

    #[test]
    fn what_can_not_be_announced_is_told_with_its_place() {
        let why = |line| targets(&[("threads", "2"), line]).unwrap_err();
        assert_eq!(
            why(("subscribe2", "server=:1,key=k,socket=3")),
            "subscribe2: there is no socket 3: there are 3 (app.ini:2)"
        );
        assert_eq!(why(("st", "=1=:1:k")), "subscribe-to: there is no shared-socket 1: there are 1 (app.ini:2)");
        assert!(why(("st", ":1:k,0,SHA1:/nowhere.pem")).starts_with("subscribe-to: /nowhere.pem: No such file"));
        let config = config(&[("st", ":1:k")]);
        assert!(Targets::of(&config, &[], &[]).unwrap_err().contains("no socket to announce"));
    }

    #[test]
    fn what_is_said_is_what_uwsgi_says() {
        let lines = [("st", "127.0.0.1:4000:a.com"), ("processes", "2"), ("threads", "3")];
        let targets = targets(&lines).unwrap();
        let bytes = targets.datagram(&targets.items().0[0], Command::Subscribe, 0, 0).unwrap();
        let packet = Packet::parse(&bytes).unwrap();
        let expected = Packet { key: b"a.com", address: b":3031", cores: 6, ..Packet::default() };
        assert_eq!(packet, expected);
    }

    #[test]
    fn weights_and_modifiers_may_be_forced() {
        let of = |lines: &[(&str, &str)]| {
            let targets = targets(lines).unwrap();
            let bytes = targets.datagram(&targets.items().0[0], Command::Unsubscribe, 9, 0).unwrap();
            let packet = Packet::parse(&bytes).unwrap();
            (packet.weight, packet.modifier1, packet.load)
        };
        assert_eq!(of(&[("st", ":1:k,5"), ("weight", "7")]), (7, 5, 9));
        assert_eq!(of(&[("st", ":1:k,5"), ("subscribe-with-modifier1", "0")]), (0, 0, 9));
        let auto = [("auto-weight", "true"), ("weight", "7"), ("processes", "4")];
        assert_eq!(of(&[&auto[..], &[("st", ":1:k")]].concat()), (4, 0, 9));
        assert_eq!(of(&[&auto[..], &[("subscribe2", "server=:1,key=k,weight=2")]].concat()), (2, 0, 9));
    }

    #[test]
    fn keys_stand_in_files_and_files_switch_off() {
        let path = std::env::temp_dir().join(format!("ruwsgi-keys-{}", std::process::id()));
        let text = format!(":1:@{}", path.display());
        let listed = targets(&[("st", &text)]).unwrap();
        let seen = || {
            let (items, problems) = listed.items();
            let keys: Vec<(String, u8)> = items.iter().map(|it| (it.name.key.to_string(), it.modifiers.0)).collect();
            (keys, problems)
        };
        assert!(seen().1[0].contains("No such file"));
        std::fs::write(&path, "one\n# two\n\nthree,5\r\nfour,x\n five ").unwrap();
        let (keys, problems) = seen();
        assert_eq!(keys, [("one".to_owned(), 0), ("three".to_owned(), 5), ("five".to_owned(), 0)]);
        assert_eq!(problems, [format!("{}:5: \"x\" is no number up to 255", path.display())]);
        let off = targets(&[("subscribe2", &format!("server=:1,key=k,check={}", path.display()))]).unwrap();
        assert!(off.items().0.is_empty());
        std::fs::remove_file(&path).unwrap();
        assert_eq!(off.items().0.len(), 1);
    }

    #[test]
    fn routers_of_other_machines_are_told_where_this_one_is() {
        let router = Server::Udp("127.0.0.1:4000".parse().unwrap());
        assert_eq!(towards(&router, ":3031".into()), ":3031");
        assert_eq!(towards(&router, "*:3031".into()), ":3031");
        assert_eq!(towards(&Server::Unix("/run/r".into()), ":3031".into()), ":3031");
        let other = Server::Udp("192.0.2.1:4000".parse().unwrap());
        assert_eq!(towards(&other, "/run/app.sock".into()), "/run/app.sock");
        assert_eq!(towards(&other, "10.0.0.1:3031".into()), "10.0.0.1:3031");
        assert!(is_local("/run/a:b") && is_local("@x") && is_local("127.0.0.1:1") && is_local("[::1]:1"));
        assert!(!is_local("10.0.0.1:1") && !is_local(":3031"));
    }
}
