//! What a master leaves to its successor, as lines of words: any release of this server can read what any other has
//! written. A line that it does not know is skipped, a word that is missing is an error.
//!
//! Only values; the descriptors are numbers, which are valid in the process that is executed next.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::RawFd;
use std::path::PathBuf;

use ruwsgi_options::{Directive, decode, encode};

use super::words::{Text, Word, Words};

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
    pub routers: Vec<Router>,
    pub ears: Vec<Ear>,
    pub daemons: Vec<Daemon>,
    /// The minute, since 1970, whose jobs were started.
    pub minute: i64,
    /// When jobs were started last, in seconds since 1970.
    pub jobs: Vec<(Directive, i64)>,
    pub running: Vec<Running>,
    /// Commands that somebody has asked for.
    pub commands: Vec<(i32, String)>,
    /// Lines are dealt out to loggers.
    pub dealt: Option<Dealt>,
    /// What could not be written yet.
    pub waiting: Vec<Waiting>,
    /// The capabilities that go along, as a set of bits.
    pub capabilities: Option<u64>,
    pub court: Option<Court>,
}

/// The emperor beside a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Court {
    pub pid: i32,
    /// The master's end of its leash.
    pub leash: RawFd,
    pub since_ms: u64,
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

/// A router process that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Router {
    /// Its router.
    pub name: String,
    /// Its number among the processes of that, from 1.
    pub number: u32,
    pub pid: i32,
    /// It lets clients in.
    pub up: bool,
    /// It was told to end, and is killed then.
    pub kill_at: Option<u64>,
    pub channel: Option<RawFd>,
}

/// A socket where routers hear announcements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ear {
    pub fd: RawFd,
    pub option: String,
    pub said: String,
    pub identified: bool,
    pub shown: String,
    pub file: Option<(PathBuf, (u64, u64))>,
    pub vacuum: bool,
}

/// A daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Daemon {
    pub said: Directive,
    /// What it does: a word of its plan.
    pub state: String,
    /// 0: nobody is there.
    pub pid: i32,
    pub since_ms: u64,
    /// When it is due.
    pub at_ms: u64,
    pub early: u32,
    pub spawned: u32,
    pub leaving: bool,
}

/// A job that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Running {
    pub said: Directive,
    pub pid: i32,
    pub since_ms: u64,
    pub kill_ms: Option<u64>,
}

/// What deals out lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dealt {
    /// Where the log goes without loggers.
    pub raw: RawFd,
    /// Standard output, as it was at the start.
    pub output: RawFd,
    /// For all lines; for those of requests, if they come apart.
    pub pipes: Vec<Pipe>,
}

/// A pipe that lines come through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pipe {
    pub read: RawFd,
    pub write: RawFd,
    /// What was read of a line that has not ended.
    pub begun: Vec<u8>,
}

/// What waits for a logger, in one piece; no logger: for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub option: String,
    pub name: String,
    pub argument: String,
    pub bytes: Vec<u8>,
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
            words.extend(file(it.file.as_ref()));
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
            words.extend([Word::maybe(it.kill_at), Word::maybe(it.channel)]);
            text.line("worker", &words);
        }
        self.encode_routers(&mut text);
        self.encode_beside(&mut text);
        self.encode_log(&mut text);
        if let Some(set) = self.capabilities {
            text.line("capabilities", &[set.into()]);
        }
        if let Some(Court { pid, leash, since_ms }) = self.court {
            text.line("court", &[pid.into(), leash.into(), since_ms.into()]);
        }
        text.0
    }

    fn encode_routers(&self, text: &mut Text) {
        for it in &self.routers {
            let who = [Word::text(&it.name), it.number.into(), it.pid.into(), Word::flag(it.up)];
            text.line("router", &[&who[..], &[Word::maybe(it.kill_at), Word::maybe(it.channel)]].concat());
        }
        for it in &self.ears {
            let mut words = vec![it.fd.into(), Word::text(&it.option), Word::text(&it.said)];
            words.extend([Word::flag(it.identified), Word::text(&it.shown), Word::flag(it.vacuum)]);
            words.extend(file(it.file.as_ref()));
            text.line("ear", &words);
        }
    }

    fn encode_beside(&self, text: &mut Text) {
        for it in &self.daemons {
            let mut words = vec![said(&it.said), Word::text(&it.state), it.pid.into(), it.since_ms.into()];
            words.extend([it.at_ms.into(), it.early.into(), it.spawned.into(), Word::flag(it.leaving)]);
            text.line("daemon", &words);
        }
        if self.minute != 0 {
            text.line("minute", &[self.minute.into()]);
        }
        for (job, started) in &self.jobs {
            text.line("job", &[said(job), (*started).into()]);
        }
        for it in &self.running {
            text.line("running", &[said(&it.said), it.pid.into(), it.since_ms.into(), Word::maybe(it.kill_ms)]);
        }
        for (pid, command) in &self.commands {
            text.line("command", &[(*pid).into(), Word::text(command)]);
        }
    }

    fn encode_log(&self, text: &mut Text) {
        if let Some(it) = &self.dealt {
            let mut words: Vec<Word> = vec![it.raw.into(), it.output.into()];
            for Pipe { read, write, begun } in &it.pipes {
                words.extend([(*read).into(), (*write).into(), Word::bytes(begun)]);
            }
            text.line("dealt", &words);
        }
        for it in &self.waiting {
            let whose = [&it.option, &it.name, &it.argument].map(|word| Word::text(word));
            text.line("waiting", &[&whose[..], &[Word::bytes(&it.bytes)]].concat());
        }
    }

    /// What goes on, for people.
    pub(crate) fn told(&self) -> String {
        let beside = self.daemons.iter().filter(|daemon| daemon.pid > 0).count() + self.running.len();
        let some = [
            (self.workers.len(), "worker", "workers"),
            (self.routers.len(), "router process", "router processes"),
            (beside, "daemon or job", "daemons and jobs"),
            (usize::from(self.court.is_some()), "emperor", "emperors"),
            (self.sockets.len() + self.ears.len(), "socket", "sockets"),
        ];
        let shown = |(count, one, many)| format!("{count} {}", if count == 1 { one } else { many });
        let some: Vec<String> = some.into_iter().filter(|(count, ..)| *count > 0).map(shown).collect();
        format!("{} go on", some.join(", "))
    }

    /// All descriptors that are named.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        let mut all: Vec<RawFd> = self.sockets.iter().map(|socket| socket.fd).collect();
        all.extend(self.pidfiles.iter().chain(&self.log).map(|file| file.fd));
        all.extend(self.held.iter().chain(&self.locks).chain(&self.boards).chain(&self.reply));
        all.extend(self.workers.iter().filter_map(|former| former.channel));
        all.extend(self.routers.iter().filter_map(|router| router.channel));
        all.extend(self.ears.iter().map(|ear| ear.fd));
        all.extend(self.court.iter().map(|court| court.leash));
        if let Some(dealt) = &self.dealt {
            all.extend([dealt.raw, dealt.output]);
            all.extend(dealt.pipes.iter().flat_map(|pipe| [pipe.read, pipe.write]));
        }
        all
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
            "router" => self.routers.push(words.router()?),
            "ear" => self.ears.push(words.ear()?),
            "daemon" => self.daemons.push(words.daemon()?),
            "minute" => self.minute = words.number()?,
            "job" => self.jobs.push((words.said()?, words.number()?)),
            "running" => self.running.push(words.running()?),
            "command" => self.commands.push((words.number()?, words.text()?)),
            "dealt" => self.dealt = Some(words.dealt()?),
            "waiting" => self.waiting.push(words.waiting()?),
            "capabilities" => self.capabilities = Some(words.number()?),
            "court" => {
                self.court = Some(Court { pid: words.number()?, leash: words.number()?, since_ms: words.number()? });
            }
            // Of a later release.
            _ => {}
        }
        Some(())
    }
}

/// A directive, in one word.
fn said(directive: &Directive) -> Word {
    Word::bytes(&encode(std::slice::from_ref(directive)))
}

/// The file of a socket, and what it is; no words for none.
fn file(file: Option<&(PathBuf, (u64, u64))>) -> Vec<Word> {
    let words = |(path, (device, number)): &(PathBuf, (u64, u64))| {
        vec![path.as_os_str().into(), (*device).into(), (*number).into()]
    };
    file.map(words).unwrap_or_default()
}

impl Words<'_> {
    fn kept(&mut self) -> Option<Kept> {
        Some(Kept { fd: self.number()?, path: self.next()?.into() })
    }

    fn socket(&mut self) -> Option<Socket> {
        let (fd, protocol, address, shown) = (self.number()?, self.text()?, self.text()?, self.text()?);
        let (backlog, vacuum) = (self.number()?, self.flag()?);
        Some(Socket { fd, protocol, address, shown, backlog, file: self.file()?, vacuum })
    }

    fn file(&mut self) -> Option<Option<(PathBuf, (u64, u64))>> {
        Some(match self.next() {
            Some(path) => Some((path.into(), (self.number()?, self.number()?))),
            None => None,
        })
    }

    fn said(&mut self) -> Option<Directive> {
        decode(&self.bytes()?).ok()?.pop()
    }

    fn router(&mut self) -> Option<Router> {
        Some(Router {
            name: self.text()?,
            number: self.number()?,
            pid: self.number()?,
            up: self.flag()?,
            kill_at: self.maybe()?,
            channel: self.maybe()?,
        })
    }

    fn ear(&mut self) -> Option<Ear> {
        Some(Ear {
            fd: self.number()?,
            option: self.text()?,
            said: self.text()?,
            identified: self.flag()?,
            shown: self.text()?,
            vacuum: self.flag()?,
            file: self.file()?,
        })
    }

    fn daemon(&mut self) -> Option<Daemon> {
        Some(Daemon {
            said: self.said()?,
            state: self.text()?,
            pid: self.number()?,
            since_ms: self.number()?,
            at_ms: self.number()?,
            early: self.number()?,
            spawned: self.number()?,
            leaving: self.flag()?,
        })
    }

    fn running(&mut self) -> Option<Running> {
        let (said, pid, since_ms) = (self.said()?, self.number()?, self.number()?);
        Some(Running { said, pid, since_ms, kill_ms: self.maybe()? })
    }

    fn dealt(&mut self) -> Option<Dealt> {
        let (raw, output, mut pipes) = (self.number()?, self.number()?, Vec::new());
        while let Some(read) = self.text() {
            pipes.push(Pipe { read: read.parse().ok()?, write: self.number()?, begun: self.bytes()? });
        }
        Some(Dealt { raw, output, pipes })
    }

    fn waiting(&mut self) -> Option<Waiting> {
        let (option, name, argument) = (self.text()?, self.text()?, self.text()?);
        Some(Waiting { option, name, argument, bytes: self.bytes()? })
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
    use ruwsgi_options::Origin;
    use std::os::unix::ffi::OsStringExt;

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
            capabilities: Some(1 << 40 | 3),
            court: Some(Court { pid: 85, leash: 28, since_ms: 1 << 41 }),
            ..beside()
        }
    }

    /// What runs beside workers.
    fn beside() -> State {
        let said = |name: &str, value: &str| {
            Directive::new(name, Some(value), Origin::File { path: "a b.ini".into(), line: 3 })
        };
        State {
            routers: vec![
                Router { name: "http".into(), number: 1, pid: 80, up: true, kill_at: None, channel: Some(20) },
                Router { name: "fastrouter".into(), number: 2, pid: 81, up: false, kill_at: Some(7), channel: None },
            ],
            ears: vec![Ear {
                fd: 21,
                option: "http-subscription-server".into(),
                said: "/run/e ar".into(),
                identified: true,
                shown: "/run/e ar".into(),
                file: Some(("/run/e ar".into(), (3, 4))),
                vacuum: false,
            }],
            daemons: vec![Daemon {
                said: said("attach-daemon", "sleep 1\n%"),
                state: "runs".into(),
                pid: 82,
                since_ms: 9,
                at_ms: 10,
                early: 1,
                spawned: 2,
                leaving: true,
            }],
            minute: -5,
            jobs: vec![(said("cron", "-1 -1 -1 -1 -1 x"), 7)],
            running: vec![Running { said: said("cron", ""), pid: 83, since_ms: 1, kill_ms: Some(2) }],
            commands: vec![(84, "touch-exec: ls -l".into())],
            dealt: Some(Dealt {
                raw: 22,
                output: 23,
                pipes: vec![
                    Pipe { read: 24, write: 25, begun: b"half a l\xff".to_vec() },
                    Pipe { read: 26, write: 27, begun: Vec::new() },
                ],
            }),
            waiting: vec![Waiting {
                option: "logger".into(),
                name: "file".into(),
                argument: "/var/log/b".into(),
                bytes: b"one\ntwo %\n".to_vec(),
            }],
            ..State::default()
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
        for broken in
            ["worker 1 2\n", "held x\n", "socket\n", "plan 1 2 3 4\n", "cwd\n", "router a 1 2 1 - x\n", "daemon %00\n"]
        {
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
