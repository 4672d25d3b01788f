//! What the emperor holds of one vassal: its pipe, its voice, its socket, and by which tokens they wake.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use ruwsgi_sys::{birth, stream};

use super::launch::Born;
use super::name::Name;
use super::on_demand::Held;
use super::voice::{Heard, Voice};

/// The first token of vassals; those before are the emperor's own.
const FIRST: usize = 16;

/// A vassal, as the runner holds it.
#[derive(Default)]
pub(super) struct Host {
    pid: Option<i32>,
    pipe: Option<OwnedFd>,
    pub voice: Voice,
    pub socket: Option<Held>,
}

/// What wakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Pipe,
    Voice,
    Socket,
}

/// All of them.
#[derive(Default)]
pub(super) struct Hosts {
    all: BTreeMap<Name, Host>,
    tokens: HashMap<usize, (Name, Part)>,
    pids: HashMap<i32, Name>,
    next: usize,
}

impl Hosts {
    /// The vassal of this name.
    pub(super) fn host(&mut self, name: &Name) -> &mut Host {
        self.all.entry(name.clone()).or_default()
    }

    /// The same, if it is known.
    pub(super) fn known(&self, name: &Name) -> Option<&Host> {
        self.all.get(name)
    }

    /// Whose token it is.
    pub(super) fn whose(&self, token: Token) -> Option<(Name, Part)> {
        self.tokens.get(&token.0).cloned()
    }

    /// Whose process it is.
    pub(super) fn of_pid(&self, pid: i32) -> Option<Name> {
        self.pids.get(&pid).cloned()
    }

    fn token(&mut self, name: &Name, part: Part) -> Token {
        self.tokens.retain(|_, (known, other)| (&*known, *other) != (name, part));
        self.next += 1;
        let token = FIRST + self.next;
        self.tokens.insert(token, (name.clone(), part));
        Token(token)
    }

    /// It was started.
    pub(super) fn born(&mut self, poll: &Poll, name: &Name, born: Born) -> io::Result<()> {
        let (pipe, voice) = (self.token(name, Part::Pipe), self.token(name, Part::Voice));
        watch(poll, pipe, &born.pipe)?;
        watch(poll, voice, &born.log)?;
        self.pids.insert(born.pid, name.clone());
        let host = self.host(name);
        host.pid = Some(born.pid);
        host.pipe = Some(born.pipe);
        host.voice.listen_to(born.log);
        Ok(())
    }

    /// It is dead: what it said was heard.
    pub(super) fn died(&mut self, poll: &Poll, name: &Name, pid: i32) {
        self.pids.remove(&pid);
        self.forget_tokens(name, &[Part::Pipe, Part::Voice]);
        let host = self.host(name);
        host.pid = None;
        let ends = [host.pipe.take(), host.voice.close()];
        ends.into_iter().flatten().for_each(|end| unwatch(poll, &end));
    }

    /// Its socket is open.
    pub(super) fn hold(&mut self, name: &Name, held: Held) {
        self.host(name).socket = Some(held);
    }

    /// Says when somebody connects to its socket.
    pub(super) fn watch_socket(&mut self, poll: &Poll, name: &Name) -> io::Result<()> {
        let token = self.token(name, Part::Socket);
        match self.all.get(name).and_then(|host| host.socket.as_ref()) {
            Some(held) => {
                unwatch(poll, &held.as_fd());
                watch(poll, token, &held.as_fd())
            }
            None => Ok(()),
        }
    }

    /// The vassal accepts by itself, or nobody does.
    pub(super) fn ignore_socket(&mut self, poll: &Poll, name: &Name) {
        self.forget_tokens(name, &[Part::Socket]);
        if let Some(held) = self.all.get(name).and_then(|host| host.socket.as_ref()) {
            unwatch(poll, &held.as_fd());
        }
    }

    /// Nothing of it is left.
    pub(super) fn forget(&mut self, poll: &Poll, name: &Name) {
        self.ignore_socket(poll, name);
        self.forget_tokens(name, &[Part::Pipe, Part::Voice]);
        self.all.remove(name);
    }

    fn forget_tokens(&mut self, name: &Name, parts: &[Part]) {
        self.tokens.retain(|_, (known, part)| known != name || !parts.contains(part));
    }

    /// The bytes that it has sent, and whether it holds its end no longer.
    pub(super) fn bytes(&mut self, name: &Name) -> (Vec<u8>, bool) {
        let Some(pipe) = self.all.get(name).and_then(|host| host.pipe.as_ref()) else { return (Vec::new(), false) };
        let (mut all, mut room) = (Vec::new(), [0; 256]);
        loop {
            match birth::read(pipe, &mut room) {
                Ok(0) => return (all, true),
                Ok(count) => all.extend_from_slice(&room[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (all, false),
                Err(_) => return (all, true),
            }
        }
    }

    /// Sends it bytes.
    pub(super) fn send(&self, name: &Name, bytes: &[u8]) {
        if let Some(pipe) = self.all.get(name).and_then(|host| host.pipe.as_ref()) {
            // Who is dead is told by the end of the pipe; who does not read has a deadline.
            let _ = stream::write(pipe.as_fd(), bytes);
        }
    }

    /// What it says becomes lines.
    pub(super) fn hear(&mut self, name: &Name, say: impl FnMut(&[u8])) -> Heard {
        match self.all.get_mut(name) {
            Some(host) => host.voice.hear(name, say),
            None => Heard::End,
        }
    }

    /// Who has a voice.
    pub(super) fn voices(&self) -> Vec<Name> {
        self.all.iter().filter(|(_, host)| host.voice.pipe().is_some()).map(|(name, _)| name.clone()).collect()
    }
}

fn watch(poll: &Poll, token: Token, source: &impl AsRawFd) -> io::Result<()> {
    poll.registry().register(&mut SourceFd(&source.as_raw_fd()), token, Interest::READABLE)
}

fn unwatch(poll: &Poll, source: &impl AsRawFd) {
    // It may never have been watched.
    let _ = poll.registry().deregister(&mut SourceFd(&source.as_raw_fd()));
}
