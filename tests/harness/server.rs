//! A running server: its log, its addresses, its processes, its end. Dropped, it takes everything it started along.

use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};

use nix::sys::signal::Signal;

use super::log::Log;
use super::{Answer, Client, Process, Site, eventually};

/// A server that was started.
pub struct Server {
    /// Its folder.
    pub site: Site,
    /// What it writes to stderr.
    pub log: Log,
    /// What it writes to stdout.
    pub out: Log,
    child: Child,
}

/// A server that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; a signal is 128 and more.
    pub code: i32,
    /// All it wrote to stderr.
    pub log: String,
    /// All it wrote to stdout.
    pub out: String,
}

impl Ended {
    /// It failed with this code, and the last line says all of these words.
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "the exit code, with this log:\n{}", self.log);
        let last = self.last_line();
        for word in words {
            assert!(last.contains(word), "the last line does not say {word:?}:\n{}", self.log);
        }
    }

    /// The last line of the log.
    pub fn last_line(&self) -> &str {
        self.log.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default()
    }
}

impl Server {
    pub(super) fn spawn(mut command: Command, site: Site) -> Self {
        let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let log = child.stderr.take().map_or_else(Log::none, Log::of);
        let out = child.stdout.take().map_or_else(Log::none, Log::of);
        Self { site, log, out, child }
    }

    /// Starts any command as a server of this site (it was dressed by [`Site::dress`]).
    pub fn of(command: Command, site: Site) -> Self {
        Self::spawn(command, site)
    }

    /// Waits until so many workers have said that they are ready.
    pub fn wait_for_workers(&self, count: usize) {
        self.log
            .wait(&format!("{count} workers that are ready"), |log, _| (births(log).count() >= count).then_some(()));
    }

    /// How many workers have been ready so far.
    pub fn births(&self) -> usize {
        births(&self.log.text()).count()
    }

    /// The master.
    pub fn master(&self) -> Process {
        Process::of(self.child.id() as i32).expect("the master runs")
    }

    /// The workers, oldest first: those that drain are among them.
    pub fn workers(&self) -> Vec<Process> {
        self.children_named("ruwsgi-worker")
    }

    /// The zygote, as soon as there is just one: a reload has two for a while, and a failed one takes a moment to end.
    pub fn zygote(&self) -> Process {
        eventually("a single zygote", || match self.children_named("ruwsgi-zygote")[..] {
            [zygote] => Some(zygote),
            _ => None,
        })
    }

    fn children_named(&self, start: &str) -> Vec<Process> {
        let mut children = self.master().children();
        children.retain(|child| child.status("Name").is_some_and(|name| name.starts_with(start)));
        children
    }

    /// The TCP addresses that it listens on, in the order of the log.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        addresses_in(&self.log.text())
    }

    /// The first TCP address.
    pub fn address(&self) -> SocketAddr {
        self.log.wait("a listening address in the log", |log, _| addresses_in(log).first().copied())
    }

    /// Connects to the first TCP address.
    pub fn connect(&self) -> Client {
        Client::tcp(self.address())
    }

    /// `GET path` on a connection of its own.
    pub fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.connect().send(request).answer()
    }

    /// Sends raw bytes on a connection of its own, reads one answer.
    pub fn answer_to(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect().send(request).answer()
    }

    /// `POST path` on a connection of its own.
    pub fn post(&self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        self.connect().post(path, body)
    }

    /// Waits for a line of the log.
    pub fn wait_for(&self, text: &str) -> String {
        self.log.wait_for(text)
    }

    /// Sends a signal to the master.
    pub fn signal(&self, signal: Signal) {
        self.master().signal(signal);
    }

    /// Waits for its end, which must leave no process behind.
    pub fn wait(mut self) -> Ended {
        self.wait_here()
    }

    /// Waits for its end and keeps the folder to look at.
    pub fn wait_here(&mut self) -> Ended {
        let tree = Process::of(self.child.id() as i32).map(Process::tree).unwrap_or_default();
        let what = "the server ends";
        let status = eventually(what, || self.child.try_wait().unwrap());
        for process in tree {
            process.wait_for_end("what the server started");
        }
        ended(status, self.log.whole(), self.out.whole())
    }

    /// Sends SIGTERM and waits for the end, which must be a clean one.
    pub fn stop(self) -> Ended {
        self.signal(Signal::SIGTERM);
        let ended = self.wait();
        assert_eq!(ended.code, 0, "the exit code after SIGTERM, with this log:\n{}", ended.log);
        ended
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    /// Lets the requests that wait for this gate go on (see `/gate/NAME` in `tests/apps/control.py`).
    pub fn open_gate(&self, name: &str) {
        self.site.write(name, "open");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let tree = Process::of(self.child.id() as i32).map(Process::tree).unwrap_or_default();
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for process in &tree {
            process.signal(Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}--- its stdout ---\n{}---", self.log.text(), self.out.text());
        }
    }
}

/// `http-socket on 127.0.0.1:43121 (backlog 1024)` -> the address
fn addresses_in(log: &str) -> Vec<SocketAddr> {
    let address = |line: &str| line.split_once(" on ")?.1.split_once(" (backlog ")?.0.parse().ok();
    log.lines().filter_map(address).collect()
}

/// The lines that say `worker 2 (pid 412) ready after 180 ms`.
fn births(log: &str) -> impl Iterator<Item = &str> {
    log.lines().filter(|line| line.starts_with("worker ") && line.contains(") ready after "))
}

/// Runs a command that ends by itself.
pub(super) fn run(mut command: Command) -> Ended {
    let mut child = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
    let log = child.stderr.take().map_or_else(Log::none, Log::of);
    let out = child.stdout.take().map_or_else(Log::none, Log::of);
    let ended = super::within(super::PATIENCE, || child.try_wait().unwrap());
    if ended.is_none() {
        for process in Process::of(child.id() as i32).map(Process::tree).unwrap_or_default() {
            process.signal(Signal::SIGKILL);
        }
        let _ = child.wait();
    }
    let status = ended.unwrap_or_else(|| panic!("{command:?} did not end by itself:\n{}{}", log.text(), out.text()));
    self::ended(status, log.whole(), out.whole())
}

fn ended(status: ExitStatus, log: String, out: String) -> Ended {
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ended { code, log, out }
}

/// Reads a whole pipe (for tests that give a server a pipe of their own).
pub fn drain(mut pipe: impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    pipe.read_to_end(&mut all).unwrap();
    all
}
