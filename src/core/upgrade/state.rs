//! What a master leaves to its successor, as lines of words: any release of this server can read what any other has
//! written. A line that it does not know is skipped, a word that is missing is an error.
//!
//! Only values; the descriptors are numbers, which are valid in the process that is executed next.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What a master leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The former executable, for people.
    pub version: String,
    /// The shape of what the two sides share: workers of another one are left alone until they end.
    pub shape: String,
    pub argv: Vec<OsString>,
    pub cwd: PathBuf,
    /// What a reload can't change, by option.
    pub fixed: BTreeMap<String, String>,
    pub sockets: Vec<Socket>,
    /// With what is at hand of them: a file that was opened before the privileges went.
    pub pidfiles: Vec<Kept>,
    /// The log, if it is a file.
    pub log: Option<Kept>,
    /// Kept open until the successor has its own: what is written there meanwhile waits.
    pub held: Vec<RawFd>,
    /// Where a trial says what came of it.
    pub reply: Option<RawFd>,
    pub locks: Option<RawFd>,
    /// Of the generation that serves: its scoreboard, and the three of its handover.
    pub boards: Vec<RawFd>,
    /// The generation that serves.
    pub generation: u32,
    /// So many generations were begun, and so many workers ordered.
    pub begun: u32,
    pub ordered: u64,
    pub paused: bool,
    /// The privileges that go last are gone.
    pub lowered: bool,
    /// What hooks have made of signals: uWSGI's name of it.
    pub meanings: Vec<(i32, String)>,
    /// The former workers are to be killed, not drained.
    pub brutal: bool,
    pub workers: Vec<Former>,
    /// Processes that end by themselves: zygotes.
    pub ending: Vec<i32>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Socket {
    pub fd: RawFd,
    pub protocol: String,
    pub address: String,
    pub shown: String,
    pub backlog: u32,
    pub file: Option<(PathBuf, (u64, u64))>,
    pub vacuum: bool,
}

/// A file that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub fd: RawFd,
    pub path: PathBuf,
}

/// A worker that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Former {
    pub worker: u64,
    pub generation: u32,
    pub slot: u32,
    pub seat: u32,
    pub pid: i32,
    /// When it was ordered and when it was up, by `clock::coarse_ms`.
    pub asked_ms: u64,
    pub up_ms: u64,
    /// It was told to end, and is killed then.
    pub kill_at: Option<u64>,
    pub channel: Option<RawFd>,
}

/// The first line: what is no such text was written by nobody who means this.
const FIRST: &str = "ruwsgi-upgrade";

impl State {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut text = Text(Vec::new());
        text.line(FIRST, &[Word::text(&self.version), Word::text(&self.shape)]);
        text.line("cwd", &[self.cwd.as_os_str().into()]);
        for word in &self.argv {
            text.line("argv", &[word.as_os_str().into()]);
        }
        for (option, value) in &self.fixed {
            text.line("fixed", &[Word::text(option), Word::text(value)]);
        }
        for it in &self.sockets {
            let mut words =
                vec![it.fd.into(), Word::text(&it.protocol), Word::text(&it.address), Word::text(&it.shown)];
            words.extend([it.backlog.into(), u32::from(it.vacuum).into()]);
            if let Some((path, (device, number))) = &it.file {
                words.extend([path.as_os_str().into(), (*device).into(), (*number).into()]);
            }
            text.line("socket", &words);
        }
        for (kind, files) in [("pidfile", self.pidfiles.as_slice()), ("log", self.log.as_slice())] {
            for Kept { fd, path } in files {
                text.line(kind, &[(*fd).into(), path.as_os_str().into()]);
            }
        }
        let lists = [("held", &self.held[..]), ("reply", self.reply.as_slice()), ("locks", self.locks.as_slice())];
        for (kind, numbers) in lists.into_iter().chain([("board", &self.boards[..]), ("ending", &self.ending[..])]) {
            numbers.iter().for_each(|number| text.line(kind, &[(*number).into()]));
        }
        let flags = [self.paused, self.brutal].map(|flag| u32::from(flag).into());
        text.line("plan", &[&[self.generation.into(), self.begun.into(), self.ordered.into()][..], &flags].concat());
        if self.lowered {
            text.line("lowered", &[]);
        }
        for (signal, function) in &self.meanings {
            text.line("meaning", &[(*signal).into(), Word::text(function)]);
        }
        for it in &self.workers {
            let mut words = vec![it.worker.into(), it.generation.into(), it.slot.into(), it.seat.into(), it.pid.into()];
            words.extend([it.asked_ms.into(), it.up_ms.into()]);
            let maybe = |number: Option<u64>| number.map_or(Word::text("-"), Word::from);
            words.extend([maybe(it.kill_at), maybe(it.channel.map(|fd| fd.unsigned_abs().into()))]);
            text.line("worker", &words);
        }
        text.0
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let mut state = Self::default();
        let mut known = false;
        for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            let mut words = Words(line.split(|byte| *byte == b' '));
            let kind = words.next().unwrap_or_default();
            if number == 0 && kind == OsStr::new(FIRST) {
                known = true;
                state.version = words.text().unwrap_or_default();
                state.shape = words.text().unwrap_or_default();
            } else if state.take(kind.to_str().unwrap_or_default(), &mut words).is_none() {
                return Err(format!("what the former executable has left is broken in line {}", number + 1));
            }
        }
        if known { Ok(state) } else { Err("what the former executable has left is nothing of ours".to_owned()) }
    }

    /// One line; `None`: it is broken.
    fn take(&mut self, kind: &str, words: &mut Words<'_>) -> Option<()> {
        match kind {
            "cwd" => self.cwd = words.next()?.into(),
            "argv" => self.argv.push(words.next()?),
            "fixed" => drop(self.fixed.insert(words.text()?, words.text()?)),
            "socket" => self.sockets.push(words.socket()?),
            "pidfile" => self.pidfiles.push(words.kept()?),
            "log" => self.log = Some(words.kept()?),
            "held" => self.held.push(words.number()?),
            "reply" => self.reply = Some(words.number()?),
            "locks" => self.locks = Some(words.number()?),
            "board" => self.boards.push(words.number()?),
            "ending" => self.ending.push(words.number()?),
            "plan" => {
                (self.generation, self.begun, self.ordered) = (words.number()?, words.number()?, words.number()?);
                (self.paused, self.brutal) = (words.flag()?, words.flag()?);
            }
            "lowered" => self.lowered = true,
            "meaning" => self.meanings.push((words.number()?, words.text()?)),
            "worker" => self.workers.push(words.worker()?),
            // Of a later release.
            _ => {}
        }
        Some(())
    }
}

struct Text(Vec<u8>);

impl Text {
    fn line(&mut self, kind: &str, words: &[Word]) {
        self.0.extend_from_slice(kind.as_bytes());
        for word in words {
            self.0.push(b' ');
            self.0.extend_from_slice(&word.0);
        }
        self.0.push(b'\n');
    }
}

/// A word as it is written: what could be taken for the end of one is escaped, and so is nothing at all.
#[derive(Clone)]
struct Word(Vec<u8>);

impl Word {
    fn text(text: &str) -> Self {
        OsStr::new(text).into()
    }
}

impl From<&OsStr> for Word {
    fn from(word: &OsStr) -> Self {
        let mut bytes = Vec::new();
        for byte in word.as_bytes() {
            match byte {
                b'%' | 0..=b' ' | 127.. => bytes.extend_from_slice(format!("%{byte:02x}").as_bytes()),
                _ => bytes.push(*byte),
            }
        }
        Self(if bytes.is_empty() { b"%".to_vec() } else { bytes })
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for Word {
            fn from(number: $number) -> Self {
                Self(number.to_string().into_bytes())
            }
        }
    )*};
}

numbers!(i32 u32 u64);

struct Words<'l>(std::slice::Split<'l, u8, fn(&u8) -> bool>);

impl<'l> Words<'l> {
    fn next(&mut self) -> Option<OsString> {
        let word: &'l [u8] = self.0.next()?;
        let mut bytes = Vec::with_capacity(word.len());
        let mut rest = word;
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            match (first, behind) {
                (b'%', [high, low, left @ ..]) => {
                    let digits = [*high, *low];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                    rest = left;
                }
                (b'%', []) => {}
                _ => bytes.push(*first),
            }
        }
        Some(OsString::from_vec(bytes))
    }

    fn text(&mut self) -> Option<String> {
        self.next()?.into_string().ok()
    }

    fn number<N: std::str::FromStr>(&mut self) -> Option<N> {
        self.text()?.parse().ok()
    }

    /// `-` is none.
    fn maybe<N: std::str::FromStr>(&mut self) -> Option<Option<N>> {
        let text = self.text()?;
        if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
    }

    fn flag(&mut self) -> Option<bool> {
        Some(self.number::<u32>()? != 0)
    }

    fn kept(&mut self) -> Option<Kept> {
        Some(Kept { fd: self.number()?, path: self.next()?.into() })
    }

    fn socket(&mut self) -> Option<Socket> {
        let (fd, protocol, address, shown) = (self.number()?, self.text()?, self.text()?, self.text()?);
        let (backlog, vacuum) = (self.number()?, self.flag()?);
        let file = match self.next() {
            Some(path) => Some((path.into(), (self.number()?, self.number()?))),
            None => None,
        };
        Some(Socket { fd, protocol, address, shown, backlog, file, vacuum })
    }

    fn worker(&mut self) -> Option<Former> {
        Some(Former {
            worker: self.number()?,
            generation: self.number()?,
            slot: self.number()?,
            seat: self.number()?,
            pid: self.number()?,
            asked_ms: self.number()?,
            up_ms: self.number()?,
            kill_at: self.maybe()?,
            channel: self.maybe()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let kept = |fd, path: &str| Kept { fd, path: path.into() };
        let socket = |fd, file| Socket {
            fd,
            protocol: "http".into(),
            address: "/run/a b%.sock".into(),
            shown: "http-socket on /run/a b%.sock\n".into(),
            backlog: 1024,
            file,
            vacuum: true,
        };
        let worker = |worker, kill_at, channel| Former {
            worker,
            generation: 3,
            slot: 2,
            seat: 1,
            pid: 77,
            asked_ms: 1 << 40,
            up_ms: 5,
            kill_at,
            channel,
        };
        State {
            version: "0.1.0".into(),
            shape: "abc".into(),
            argv: vec!["ruwsgi".into(), OsString::from_vec(b"\xff\n".to_vec()), "".into()],
            cwd: "/srv/\u{e4} pp".into(),
            fixed: [("uid".to_owned(), "www data".to_owned()), ("locks".to_owned(), String::new())].into(),
            sockets: vec![socket(5, None), socket(6, Some(("/run/x".into(), (1, u64::MAX))))],
            pidfiles: vec![kept(7, "/run/p"), kept(8, "/run/q")],
            log: Some(kept(9, "/var/log/a")),
            held: vec![10],
            reply: Some(11),
            locks: Some(12),
            boards: vec![13, 14, 15, 16],
            generation: 3,
            begun: 4,
            ordered: 9,
            paused: true,
            lowered: true,
            meanings: vec![(17, "reap_them_all".into())],
            brutal: false,
            workers: vec![worker(8, None, Some(17)), worker(9, Some(6), None)],
            ending: vec![78],
        }
    }

    #[test]
    fn what_is_left_arrives() {
        assert_eq!(State::decode(&state().encode()), Ok(state()));
        assert_eq!(State::decode(&State::default().encode()), Ok(State::default()));
    }

    #[test]
    fn lines_of_a_later_release_are_skipped_and_broken_ones_are_told() {
        let with = |line: &str| [&state().encode()[..], line.as_bytes()].concat();
        assert_eq!(State::decode(&with("moon 1 2 3\n")), Ok(state()));
        let lines = state().encode().iter().filter(|byte| **byte == b'\n').count();
        for broken in ["worker 1 2\n", "held x\n", "socket\n", "plan 1 2 3 4\n", "cwd\n"] {
            let error = State::decode(&with(broken)).unwrap_err();
            assert!(error.ends_with(&format!("line {}", lines + 1)), "{broken} {error}");
        }
        for nothing in [&b""[..], b"\n", b"socket 1", b"GET / HTTP/1.1\r\n"] {
            assert!(State::decode(nothing).is_err());
        }
        // Whatever comes, it is an answer.
        let bytes = state().encode();
        for end in 0..bytes.len() {
            let _ = State::decode(&bytes[..end]);
        }
    }
}
