//! The datagram socket of a router, and what instances say there.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ruwsgi_wire::subscription::{Command, Packet};

use super::PATIENCE;

/// A socket that hears announcements.
pub struct Ear {
    socket: Socket,
}

enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram, PathBuf),
}

/// An announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// As it came.
    pub raw: Vec<u8>,
    /// It is a farewell.
    pub leaves: bool,
    /// For which requests.
    pub key: String,
    /// Where.
    pub address: String,
}

impl Said {
    /// What it says.
    pub fn packet(&self) -> Packet<'_> {
        Packet::parse(&self.raw).unwrap()
    }
}

impl Ear {
    /// On a port that the kernel chooses.
    pub fn udp() -> Self {
        Self::udp_at("127.0.0.1:0")
    }

    /// At this address.
    pub fn udp_at(address: &str) -> Self {
        Self { socket: Socket::Udp(UdpSocket::bind(address).unwrap()) }
    }

    /// Without a file.
    pub fn without_file(name: &str) -> Self {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
        Self { socket: Socket::Unix(UnixDatagram::bind_addr(&address).unwrap(), format!("@{name}").into()) }
    }

    /// On a file.
    pub fn unix(path: &Path) -> Self {
        Self { socket: Socket::Unix(UnixDatagram::bind(path).unwrap(), path.to_owned()) }
    }

    /// What `subscribe-to` calls it.
    pub fn name(&self) -> String {
        match &self.socket {
            Socket::Udp(socket) => socket.local_addr().map(|at: SocketAddr| at.to_string()).unwrap(),
            Socket::Unix(_, path) => path.display().to_string(),
        }
    }

    /// The next datagram, within this time.
    pub fn bytes_within(&self, time: Duration) -> Option<Vec<u8>> {
        let mut bytes = vec![0; 65_536];
        let length = match &self.socket {
            Socket::Udp(socket) => {
                socket.set_read_timeout(Some(time)).unwrap();
                socket.recv(&mut bytes)
            }
            Socket::Unix(socket, _) => {
                socket.set_read_timeout(Some(time)).unwrap();
                socket.recv(&mut bytes)
            }
        };
        bytes.truncate(length.ok()?);
        Some(bytes)
    }

    /// The next announcement.
    pub fn next(&self) -> Said {
        let raw = self.bytes_within(PATIENCE).unwrap_or_else(|| panic!("no announcement in {} s", PATIENCE.as_secs()));
        let packet = Packet::parse(&raw).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (key, address) = (text(packet.key), text(packet.address));
        Said { leaves: packet.command == Command::Unsubscribe, key, address, raw }
    }

    /// The next one that is like this.
    pub fn wait(&self, what: &str, like: impl Fn(&Said) -> bool) -> Said {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let said = self.next();
            if like(&said) {
                return said;
            }
        }
        panic!("waited {} s for an announcement: {what}", PATIENCE.as_secs());
    }

    /// Everything that has come so far.
    pub fn rest(&self) -> Vec<Said> {
        let mut all = Vec::new();
        while self.has_more() {
            all.push(self.next());
        }
        all
    }

    fn has_more(&self) -> bool {
        let mut byte = [0];
        match &self.socket {
            Socket::Udp(socket) => {
                socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                socket.peek(&mut byte).is_ok()
            }
            Socket::Unix(socket, _) => {
                use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
                use std::os::fd::AsFd;
                poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO)
                    .is_ok_and(|ready| ready > 0)
            }
        }
    }
}
