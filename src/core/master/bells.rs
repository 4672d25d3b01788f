//! Descriptors that whoever started the server has left open: as soon as something can be read there, it asks for a
//! reload (`reload-on-fd`, `brutal-reload-on-fd`).
//!
//! The flags of such a descriptor are not ours to change, and others may read from it: nothing here waits for a byte.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use mio::Poll;
use mio::unix::SourceFd;
use ruwsgi_options::{Config, Watched};
use ruwsgi_sys::stdio;
use ruwsgi_sys::stream;

use super::order::Command;
use super::run::watch;
use crate::why;

/// So many words are taken before somebody else has his turn.
const TURN: usize = 64;

/// The descriptors that are watched.
#[derive(Default)]
pub(super) struct Bells {
    bells: Vec<Bell>,
    /// Those of a reload, for when it is known to be good; without a descriptor, where it is open already.
    next: Option<Vec<Bell>>,
    /// There may be more to read.
    more: bool,
}

struct Bell {
    said: Watched,
    command: Command,
    /// A duplicate of our own; `None`: nobody can ring any more.
    fd: Option<OwnedFd>,
}

fn wanted(config: &Config) -> Vec<(Watched, Command)> {
    let workers = &config.workers;
    let graceful = workers.reload_on_fd.iter().map(|said| (said.clone(), Command::Reload));
    graceful.chain(workers.brutal_reload_on_fd.iter().map(|said| (said.clone(), Command::ReloadBrutally))).collect()
}

impl Bells {
    /// Watches those that these options name from here on. An error leaves everything as it was.
    pub(super) fn renew(&mut self, poll: &Poll, config: &Config) -> Result<(), String> {
        self.prepare(poll, config)?;
        self.adopt(poll);
        Ok(())
    }

    /// Opens those that these options name.
    pub(super) fn prepare(&mut self, poll: &Poll, config: &Config) -> Result<(), String> {
        let mut fresh = Vec::new();
        for (said, command) in wanted(config) {
            let known = |bell: &Bell| bell.said.number == said.number;
            let fd = match self.bells.iter().find(|bell| known(bell)) {
                Some(_) => None,
                None => Some(open(poll, &said)?),
            };
            fresh.push(Bell { said, command, fd });
        }
        self.next = Some(fresh);
        Ok(())
    }

    /// What was prepared counts: those are heard, and no others.
    pub(super) fn adopt(&mut self, poll: &Poll) {
        let Some(mut fresh) = self.next.take() else { return };
        let mut former = std::mem::take(&mut self.bells);
        for bell in fresh.iter_mut().filter(|bell| bell.fd.is_none()) {
            let same = former.iter_mut().find(|other| other.said.number == bell.said.number);
            bell.fd = same.and_then(|other| other.fd.take());
        }
        former.into_iter().filter_map(|bell| bell.fd).for_each(|fd| forget(poll, &fd));
        (self.bells, self.more) = (fresh, true);
    }

    /// What was prepared is not heard.
    pub(super) fn give_up(&mut self, poll: &Poll) {
        let next = self.next.take().into_iter().flatten();
        next.filter_map(|bell| bell.fd).for_each(|fd| forget(poll, &fd));
    }

    /// There may be more to read: nobody wakes for it.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        (self.more && !self.bells.is_empty()).then_some(0)
    }

    /// What is asked for, each thing once.
    pub(super) fn look(&mut self, poll: &Poll) -> Vec<Command> {
        self.more = false;
        let mut commands = Vec::new();
        for Bell { said, command, fd } in &mut self.bells {
            let Some(open) = fd.as_ref() else { continue };
            let mut room = vec![0; said.bytes];
            let mut rung = 0;
            let end = loop {
                match stream::read_waiting(open.as_fd(), &mut room) {
                    Ok(Some(0)) => break Some("nobody can write to it any more".to_owned()),
                    Ok(Some(_)) if rung < TURN => rung += 1,
                    Ok(None) => break None,
                    Err(error) => break Some(why(&error)),
                    Ok(Some(_)) => {
                        self.more = true;
                        break None;
                    }
                }
            };
            if rung > 0 {
                let message = said.message.as_ref().map_or_else(String::new, |message| format!(": {message}"));
                tracing::info!("{}: descriptor {} is ready{message}", said.option, said.number);
                if !commands.contains(command) {
                    commands.push(*command);
                }
            }
            if let Some(end) = end {
                tracing::warn!(
                    "{}: descriptor {} is watched no more: {end} ({})",
                    said.option,
                    said.number,
                    said.origin
                );
                fd.take().iter().for_each(|fd| forget(poll, fd));
            }
        }
        commands
    }
}

fn open(poll: &Poll, said: &Watched) -> Result<OwnedFd, String> {
    let failed = |error: io::Error| {
        format!("{}: descriptor {} can't be watched: {} ({})", said.option, said.number, why(&error), said.origin)
    };
    let fd = stdio::inherited(said.number).map_err(failed)?;
    watch(poll, &fd).map_err(failed)?;
    Ok(fd)
}

/// Others hold the same description, which would go on to wake.
fn forget(poll: &Poll, fd: &OwnedFd) {
    let _ = poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
}
