//! Loggers that send datagrams: a socket of somebody, syslog, rsyslog, the journal of systemd. One line is one datagram.
//!
//! What can't be sent waits up to a bound, then lines are dropped and counted, and the count is sent as soon as it can be.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use ruwsgi_log::WAITING_BYTES;
use ruwsgi_options::Config;
use ruwsgi_sys::clock;
use ruwsgi_sys::nix::unistd::gethostname;

use super::list::Logger;
use crate::why;

/// LOG_INFO, syslog(3).
const INFO: u32 = 6;
/// LOG_DAEMON, as uWSGI has it.
const DAEMON: u32 = 3;
/// LOG_DAEMON and LOG_NOTICE, what uWSGI sends to an rsyslog unless somebody says otherwise.
const REMOTE: u32 = 29;
/// The facilities by their numbers, syslog(3).
const FACILITIES: [&str; 24] = [
    "kern",
    "user",
    "mail",
    "daemon",
    "auth",
    "syslog",
    "lpr",
    "news",
    "uucp",
    "cron",
    "authpriv",
    "ftp",
    "ntp",
    "security",
    "console",
    "solaris-cron",
    "local0",
    "local1",
    "local2",
    "local3",
    "local4",
    "local5",
    "local6",
    "local7",
];

/// Where datagrams go.
enum To {
    Path(PathBuf),
    Abstract(String),
    Inet(String),
}

enum Socket {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

/// Makes the datagrams of a line, without its newline or with it.
type Frame = Box<dyn Fn(&[u8]) -> Vec<Vec<u8>> + Send>;

/// A logger that is to be opened.
pub(super) struct Plan {
    to: To,
    frame: Frame,
}

/// The logger.
pub(super) struct Datagrams {
    to: To,
    /// Where a name of the Internet has led at the start.
    address: Option<SocketAddr>,
    frame: Frame,
    socket: Option<Socket>,
    waiting: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// Nothing can be sent.
    down: bool,
    /// What nobody was told yet.
    trouble: Option<String>,
}

impl Datagrams {
    pub(super) fn open(plan: Plan) -> Result<Self, String> {
        let Plan { to, frame } = plan;
        let address = match &to {
            To::Inet(text) => Some(resolve(text)?),
            _ => None,
        };
        let (waiting, socket) = (VecDeque::new(), None);
        let mut this = Self { to, address, frame, socket, waiting, bytes: 0, dropped: 0, down: false, trouble: None };
        // Nobody there yet is no reason not to start: lines wait.
        if let Err(error) = this.connect() {
            this.note(&error);
        }
        Ok(this)
    }

    /// Somebody is to be told, once.
    fn note(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.down, true) {
            self.trouble = Some(self.told(error));
        }
    }

    fn told(&self, error: &io::Error) -> String {
        let to = match &self.to {
            To::Path(path) => path.display().to_string(),
            To::Abstract(name) => format!("@{name}"),
            To::Inet(text) => text.clone(),
        };
        format!("{to} takes no log lines: {}: they wait, then they are dropped and counted", why(error))
    }

    fn connect(&mut self) -> io::Result<()> {
        let unix = || {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let socket = match (&self.to, self.address) {
            (To::Path(path), _) => {
                let socket = unix()?;
                socket.connect(path)?;
                Socket::Unix(socket)
            }
            (To::Abstract(name), _) => {
                let socket = unix()?;
                socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(name)?)?;
                Socket::Unix(socket)
            }
            (To::Inet(_), address) => {
                let address = address.ok_or(io::ErrorKind::AddrNotAvailable)?;
                let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
                let socket = UdpSocket::bind(any)?;
                socket.set_nonblocking(true)?;
                socket.connect(address)?;
                Socket::Udp(socket)
            }
        };
        self.socket = Some(socket);
        Ok(())
    }

    fn push(&mut self, datagram: Vec<u8>) {
        if self.dropped > 0 || self.bytes + datagram.len() > WAITING_BYTES {
            self.dropped += 1;
        } else {
            self.bytes += datagram.len();
            self.waiting.push_back(datagram);
        }
    }

    fn send_all(&mut self) -> io::Result<()> {
        while let Some(first) = self.waiting.front() {
            if self.socket.is_none() {
                self.connect()?;
                continue;
            }
            let sent = match &self.socket {
                Some(Socket::Unix(socket)) => socket.send(first),
                Some(Socket::Udp(socket)) => socket.send(first),
                None => continue,
            };
            match sent {
                Ok(_) => {}
                // EMSGSIZE: no patience helps.
                Err(error) if error.raw_os_error() == Some(90) => self.dropped += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    self.socket = None;
                    return Err(error);
                }
            }
            self.bytes -= self.waiting.pop_front().map_or(0, |sent| sent.len());
            if self.waiting.is_empty() && self.dropped > 0 {
                let told = lost(self.dropped);
                self.dropped = 0;
                for datagram in (self.frame)(told.as_bytes()) {
                    self.push(datagram);
                }
            }
        }
        Ok(())
    }

    fn try_to_send(&mut self) {
        let had = !self.waiting.is_empty();
        match self.send_all() {
            Ok(()) => self.down &= !had,
            // A reader that is slow for a moment is no trouble.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && self.dropped == 0 => {}
            Err(error) => self.note(&error),
        }
    }
}

impl Logger for Datagrams {
    fn take(&mut self, line: &[u8]) {
        for datagram in (self.frame)(line) {
            self.push(datagram);
        }
    }

    fn flush(&mut self) -> Option<String> {
        self.try_to_send();
        self.trouble.take()
    }

    fn waiting(&self) -> usize {
        self.bytes
    }

    fn hurry(&mut self) {
        self.try_to_send();
    }

    fn left(&self) -> Vec<Vec<u8>> {
        let mut left: Vec<Vec<u8>> = self.waiting.iter().cloned().collect();
        if self.dropped > 0 {
            left.extend((self.frame)(lost(self.dropped).as_bytes()));
        }
        left
    }

    fn restore(&mut self, piece: &[u8]) {
        self.push(piece.to_vec());
    }
}

fn lost(lines: u64) -> String {
    format!("warning: {lines} log lines were lost while the log could not be written")
}

fn resolve(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| format!("{text}: {}", why(&error)))?;
    found.next().ok_or_else(|| format!("{text}: there is no such address"))
}

/// `/path`, `@name`, or what has a colon.
fn place(text: &str, port: Option<u16>) -> To {
    match text.strip_prefix('@') {
        Some(name) => To::Abstract(name.to_owned()),
        None if text.contains('/') || !text.contains(':') && port.is_none() => To::Path(text.into()),
        None if text.starts_with(':') => To::Inet(format!("127.0.0.1{text}")),
        None if text.contains(':') => To::Inet(text.to_owned()),
        None => To::Inet(format!("{text}:{}", port.unwrap_or_default())),
    }
}

/// `ADDRESS[,PREFIX]`: lines as they are, newline included.
pub(super) fn socket(argument: &str) -> Plan {
    let (address, prefix) = argument.split_once(',').unwrap_or((argument, ""));
    let prefix = prefix.as_bytes().to_vec();
    Plan { to: place(address, None), frame: Box::new(move |line| vec![[&prefix, line].concat()]) }
}

/// `Nov  1 12:00:00`, RFC 3164.
fn stamp() -> String {
    let time = clock::ctime(clock::unix_seconds());
    time.get(4..19).unwrap_or_default().to_owned()
}

fn plain(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\n").unwrap_or(line)
}

/// `[NAME[,FACILITY]]`: the syslog of this machine.
pub(super) fn syslog(argument: &str) -> Result<Plan, String> {
    let (name, facility) = argument.split_once(',').unwrap_or((argument, "daemon"));
    let name = if name.is_empty() { "uwsgi" } else { name }.to_owned();
    let facility = if facility == "security" { "auth" } else { facility };
    let number = FACILITIES.iter().position(|known| *known == facility).map(|number| number as u32);
    let number = number.ok_or_else(|| format!("there is no facility {facility:?}: see syslog(3)"))?;
    let priority = if argument.contains(',') { number * 8 + INFO } else { DAEMON * 8 + INFO };
    let frame = move |line: &[u8]| vec![[format!("<{priority}>{} {name}: ", stamp()).as_bytes(), plain(line)].concat()];
    Ok(Plan { to: To::Path("/dev/log".into()), frame: Box::new(frame) })
}

/// `ADDRESS[,NAME[,PRIORITY]]`: a syslog elsewhere.
pub(super) fn rsyslog(argument: &str, config: &Config) -> Result<Plan, String> {
    let mut parts = argument.splitn(3, ',');
    let address = parts.next().unwrap_or_default();
    let host = || gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let name = parts.next().filter(|name| !name.is_empty()).map_or_else(|| format!("{} uwsgi", host()), str::to_owned);
    let priority = match parts.next() {
        None => REMOTE,
        Some(text) => text.parse().map_err(|_| format!("{text:?} is no priority"))?,
    };
    let (most, split) = (config.logging.rsyslog_packet_size as usize, config.logging.rsyslog_split_messages);
    let frame = move |line: &[u8]| {
        let head = format!("<{priority}>{} {name}: ", stamp());
        let room = most.saturating_sub(head.len()).max(1);
        let pieces = plain(line).chunks(room).take(if split { usize::MAX } else { 1 });
        pieces.map(|piece| [head.as_bytes(), piece].concat()).collect()
    };
    Ok(Plan { to: place(address, Some(514)), frame: Box::new(frame) })
}

/// The journal, in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL).
pub(super) fn systemd() -> Plan {
    let frame = |line: &[u8]| {
        let text = plain(line);
        let mut out = b"PRIORITY=6\nSYSLOG_IDENTIFIER=uwsgi\nMESSAGE\n".to_vec();
        out.extend_from_slice(&(text.len() as u64).to_le_bytes());
        out.extend_from_slice(text);
        out.push(b'\n');
        vec![out]
    };
    Plan { to: To::Path("/run/systemd/journal/socket".into()), frame: Box::new(frame) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(plan: &Plan, line: &str) -> Vec<String> {
        (plan.frame)(line.as_bytes()).into_iter().map(|it| String::from_utf8_lossy(&it).into_owned()).collect()
    }

    #[test]
    fn frames_are_those_of_uwsgi() {
        let config = Config::default();
        assert_eq!(framed(&socket("10.0.0.1:1,app: "), "a\n"), ["app: a\n"]);
        let time = "Nov 21 06:00:00".len();
        let cut = |text: &str, head: &str| text[head.len() + time..].to_owned();
        assert_eq!(cut(&framed(&syslog("").unwrap(), "a\n")[0], "<30>"), " uwsgi: a");
        assert_eq!(cut(&framed(&syslog("shop,local3").unwrap(), "a\n")[0], "<158>"), " shop: a");
        assert!(framed(&syslog("shop,local3").unwrap(), "a").concat().starts_with("<158>"));
        assert_eq!(cut(&framed(&rsyslog("h:1,shop,14", &config).unwrap(), "a\n")[0], "<14>"), " shop: a");
        assert!(syslog("a,nowhere").is_err() && rsyslog("h,a,x", &config).is_err());
    }

    #[test]
    fn a_long_line_is_cut_or_split() {
        let mut config = Config::default();
        config.logging.rsyslog_packet_size = 40;
        let long = "x".repeat(100);
        let one = framed(&rsyslog("h:1,s", &config).unwrap(), &long);
        assert_eq!((one.len(), one[0].len()), (1, 40));
        config.logging.rsyslog_split_messages = true;
        let all = framed(&rsyslog("h:1,s", &config).unwrap(), &long);
        assert_eq!(all.iter().map(|it| it.matches('x').count()).sum::<usize>(), 100);
        assert!(all.iter().all(|it| it.len() <= 40));
    }

    #[test]
    fn what_nobody_takes_waits_and_is_told_then() {
        let path = std::env::temp_dir().join(format!("ruwsgi-datagram-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut logger = Datagrams::open(socket(path.to_str().unwrap())).unwrap();
        assert!(logger.flush().unwrap().contains("takes no log lines: No such file"));
        assert_eq!(logger.flush(), None, "told once");
        let line = "x".repeat(1023) + "\n";
        (0..300).for_each(|_| logger.take(line.as_bytes()));
        assert_eq!(logger.flush(), None);
        let reader = UnixDatagram::bind(&path).unwrap();
        reader.set_nonblocking(true).unwrap();
        let (mut room, mut got) = ([0; 2048], Vec::new());
        for _ in 0..1000 {
            logger.flush();
            while let Ok(size) = reader.recv(&mut room) {
                got.push(String::from_utf8_lossy(&room[..size]).into_owned());
            }
        }
        assert_eq!(got.len(), 257);
        assert_eq!(got[256], "warning: 44 log lines were lost while the log could not be written");
        std::fs::remove_file(path).unwrap();
    }
}
