//! Hosts on a network of their own: network namespaces on a bridge. Needs root, `ip` and `nft`; where they are not there,
//! [`Network::of`] says so and gives none.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sched::{CloneFlags, setns};

use super::{Server, Site, python};

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The bridge and the hosts on it.
pub struct Network {
    bridge: String,
    hosts: Vec<Host>,
}

/// A host.
#[derive(Clone, Debug)]
pub struct Host {
    name: String,
    /// Its address.
    pub ip: Ipv4Addr,
}

/// Runs a command; what went wrong.
fn run(line: &str) -> Result<(), String> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap_or_default()).args(words).stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{line}: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("{line}: {error}")),
    }
}

impl Network {
    /// So many hosts that all reach each other.
    pub fn of(count: u8) -> Option<Self> {
        let made = Self::make(count);
        made.map_err(|why| eprintln!("no network of namespaces here: not tested ({why})")).ok()
    }

    fn make(count: u8) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("not root".to_owned());
        }
        let base = format!("ruwsgi-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        sweep();
        let bridge = format!("{base}-bridge");
        run(&format!("ip netns add {bridge}"))?;
        // Whatever fails from here on, what was made goes.
        let mut network = Self { bridge, hosts: Vec::new() };
        let bridge = &network.bridge;
        run(&format!("ip -n {bridge} link add br0 type bridge"))?;
        run(&format!("ip -n {bridge} link set br0 up"))?;
        for number in 1..=count {
            let (name, ip) = (format!("{base}-{number}"), Ipv4Addr::new(10, 77, 0, number));
            run(&format!("ip netns add {name}"))?;
            network.hosts.push(Host { name: name.clone(), ip });
            let bridge = &network.bridge;
            for line in [
                format!("ip -n {bridge} link add p{number} type veth peer name eth0 netns {name}"),
                format!("ip -n {bridge} link set p{number} master br0 up"),
                format!("ip -n {name} addr add {ip}/24 dev eth0"),
                format!("ip -n {name} link set eth0 up"),
                format!("ip -n {name} link set lo up"),
            ] {
                run(&line)?;
            }
            network.hosts[usize::from(number) - 1].nft("add table inet cut")?;
        }
        Ok(network)
    }

    /// The host of this number, from 0.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in self.hosts.iter().map(|host| &host.name).chain([&self.bridge]) {
            let _ = run(&format!("ip netns del {name}"));
        }
    }
}

/// Removes what test processes have left that were killed.
fn sweep() {
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("ruwsgi-").and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists()) {
            let _ = run(&format!("ip netns del {name}"));
        }
    }
}

impl Host {
    /// Its address with a port.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.ip), port)
    }

    /// Starts a program there.
    pub fn start(&self, program: &str, arguments: &[String], site: Site) -> Server {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg(program).args(arguments);
        site.dress(&mut command);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", python::default().parent().unwrap().display());
        command.env("PATH", path);
        Server::of(command, site)
    }

    /// Starts the server there, with the `uwsgi.ini` of the site.
    pub fn serve(&self, site: Site) -> Server {
        site.write_ini();
        self.start(env!("CARGO_BIN_EXE_ruwsgi"), &["--ini".to_owned(), "uwsgi.ini".to_owned()], site)
    }

    /// Does this there: sockets that it makes are sockets of this host.
    pub fn within<T: Send>(&self, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let there = scope.spawn(|| {
                let namespace = std::fs::File::open(format!("/run/netns/{}", self.name)).unwrap();
                setns(namespace, CloneFlags::CLONE_NEWNET).unwrap();
                what()
            });
            there.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Nothing that comes from there arrives, but for what is excepted: `udp`, `tcp` or nothing.
    pub fn is_deaf_to(&self, other: &Host, protocol: &str) {
        self.nft("add chain inet cut input { type filter hook input priority 0 ; }").unwrap();
        let only = if protocol.is_empty() { String::new() } else { format!("meta l4proto {protocol} ") };
        self.nft(&format!("add rule inet cut input {only}ip saddr {} drop", other.ip)).unwrap();
    }

    /// So many of a hundred datagrams that come are lost.
    pub fn loses(&self, percent: u32) {
        self.nft("add chain inet cut input { type filter hook input priority 0 ; }").unwrap();
        self.nft(&format!("add rule inet cut input meta l4proto udp numgen random mod 100 < {percent} drop")).unwrap();
    }

    /// Everything arrives again.
    pub fn hears_all(&self) {
        self.nft("delete table inet cut").unwrap();
        self.nft("add table inet cut").unwrap();
    }

    fn nft(&self, rule: &str) -> Result<(), String> {
        run(&format!("nsenter --net=/run/netns/{} nft {rule}", self.name))
    }
}
