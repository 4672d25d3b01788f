//! The service manager that has started the process, where there is one: sd_notify(3) and its watchdog. What it is told is
//! decided elsewhere (`master/notice.rs`); this is the way there.
//!
//! Nothing here blocks: what the manager has no room for waits, and is sent again.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use ruwsgi_sys::{clock, process};

/// What the manager says is for this process alone: no child is to take it for its own.
pub(crate) const VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"];
/// So many messages wait at most; the oldest one is given up for a newer one.
const PENDING: usize = 32;
/// How soon a message that found no room is sent again, in milliseconds.
const AGAIN_MS: u64 = 100;

/// The way to the manager.
#[derive(Default)]
pub(crate) struct Service {
    way: Option<(UnixDatagram, SocketAddr)>,
    pending: VecDeque<String>,
    watchdog: Option<Watchdog>,
}

/// The manager wants to hear once in a while that the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Watchdog {
    period_ms: u64,
    next_ms: u64,
}

impl Service {
    /// The one that this environment names. One that can't be reached is told, and is no reason not to start.
    pub(crate) fn of(env: &[(OsString, OsString)]) -> Self {
        let value = |name: &str| env.iter().rfind(|(known, _)| known == name).map(|(_, value)| value.as_os_str());
        let Some(name) = value("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else { return Self::default() };
        let way = address(name).and_then(|address| {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            Ok((socket, address))
        });
        match way {
            Ok(way) => Self {
                way: Some(way),
                pending: VecDeque::new(),
                watchdog: watchdog(value("WATCHDOG_USEC"), value("WATCHDOG_PID"), process::id(), clock::coarse_ms()),
            },
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET: {} can't be reached: {}", name.display(), crate::why(&error));
                Self::default()
            }
        }
    }

    /// Somebody listens.
    pub(crate) fn is_there(&self) -> bool {
        self.way.is_some()
    }

    /// Tells it something: assignments, one a line.
    pub(crate) fn tell(&mut self, words: String) {
        if !self.is_there() {
            return;
        }
        if self.pending.len() == PENDING {
            self.pending.pop_front();
        }
        self.pending.push_back(words);
        self.flush();
    }

    /// When [`beat`](Self::beat) is wanted.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        let again = (!self.pending.is_empty()).then(|| clock::coarse_ms() + AGAIN_MS);
        self.watchdog.map(|watchdog| watchdog.next_ms).into_iter().chain(again).min()
    }

    /// Sends what waits, and a sign of life if it is time. Called by the loop that is to be watched, and by nobody else.
    pub(crate) fn beat(&mut self, now_ms: u64) {
        self.flush();
        let Some(watchdog) = &mut self.watchdog else { return };
        if now_ms >= watchdog.next_ms {
            watchdog.next_ms = now_ms + watchdog.period_ms;
            self.tell("WATCHDOG=1".to_owned());
        }
    }

    fn flush(&mut self) {
        let Some((socket, address)) = &self.way else { return };
        while let Some(words) = self.pending.front() {
            match socket.send_to_addr(words.as_bytes(), address) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!("NOTIFY_SOCKET: {}: the service manager hears nothing more", crate::why(&error));
                    *self = Self::default();
                    return;
                }
                Ok(_) => {
                    self.pending.pop_front();
                }
            }
        }
    }
}

/// `/path`, or `@name` in the abstract namespace.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        [b'/', ..] => SocketAddr::from_pathname(Path::new(name)),
        _ => Err(io::Error::other("it is neither a path nor a name behind @")),
    }
}

/// sd_watchdog_enabled(3): twice as often as is asked for.
fn watchdog(usec: Option<&OsStr>, pid: Option<&OsStr>, own: i32, now_ms: u64) -> Option<Watchdog> {
    let number = |text: Option<&OsStr>| text.and_then(OsStr::to_str).map(str::parse::<u64>);
    let usec = number(usec)?.ok().filter(|usec| *usec > 0)?;
    // For another process: the one that was told to daemonize is that no longer.
    if number(pid).is_some_and(|pid| pid != Ok(own as u64)) {
        return None;
    }
    Some(Watchdog { period_ms: (usec / 2_000).max(1), next_ms: now_ms })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_hears_twice_as_often_as_it_asks() {
        let asked = |usec: &str, pid: Option<&str>| {
            watchdog(Some(OsStr::new(usec)), pid.map(OsStr::new), 7, 5).map(|watchdog| watchdog.period_ms)
        };
        assert_eq!(asked("3000000", None), Some(1_500));
        assert_eq!(asked("3000000", Some("7")), Some(1_500));
        assert_eq!(asked("3000000", Some("8")), None);
        assert_eq!([asked("0", None), asked("x", None), asked("3000000", Some("x"))], [None; 3]);
        assert_eq!(asked("1", None), Some(1));
    }

    #[test]
    fn a_manager_that_is_gone_is_told_nothing_more() {
        let path = std::env::temp_dir().join(format!("ruwsgi-service-{}", std::process::id()));
        let heard = UnixDatagram::bind(&path).unwrap();
        let mut service = Service::of(&[("NOTIFY_SOCKET".into(), path.clone().into())]);
        service.tell("READY=1".to_owned());
        let mut room = [0; 64];
        let length = heard.recv(&mut room).unwrap();
        assert_eq!(&room[..length], b"READY=1");
        drop(heard);
        std::fs::remove_file(&path).unwrap();
        service.tell("STOPPING=1".to_owned());
        assert!(!service.is_there());
        assert!(!Service::of(&[("NOTIFY_SOCKET".into(), "relative".into())]).is_there());
    }

    #[test]
    fn what_finds_no_room_is_sent_later() {
        let name = format!("ruwsgi-service-{}", std::process::id());
        let heard = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let mut service = Service::of(&[("NOTIFY_SOCKET".into(), format!("@{name}").into())]);
        let mut told = 0;
        while service.pending.is_empty() {
            service.tell(format!("STATUS={told}"));
            told += 1;
        }
        assert!(service.wake_ms().is_some());
        let mut room = [0; 64];
        for number in 0..told {
            service.beat(0);
            let length = heard.recv(&mut room).unwrap();
            assert_eq!(room[..length], *format!("STATUS={number}").as_bytes());
        }
        assert!(service.pending.is_empty() && service.wake_ms().is_none());
    }
}
