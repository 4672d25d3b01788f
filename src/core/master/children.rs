//! The master's talk with its children: what zygotes and workers say, and what workers are told. What it means is decided
//! in [`plan`](super::plan).

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

use mio::Poll;
use mio::unix::SourceFd;
use ruwsgi_contract::handover::Handover;
use ruwsgi_contract::message::{FromWorker, FromZygote, Message, ToWorker, ToZygote};
use ruwsgi_sys::channel::{self, Channel, Received};

use super::health::Health;
use super::order::Input;
use super::run::{Master, watch};
use crate::upgrade::Former;

/// What the master holds of a worker.
pub(super) struct Line {
    pub(super) generation: u32,
    pub(super) slot: u32,
    pub(super) seat: u32,
    /// It accepts connections.
    pub(super) up: bool,
    pub(super) draining: bool,
    /// It is of a build that this one does not understand: all that can be done is to close its channel, at which it
    /// finishes what it has.
    pub(super) is_foreign: bool,
    /// It has requests past their deadline: another one comes in its place at once.
    pub(super) is_doomed: bool,
    /// `None`: the worker holds its end no longer.
    pub(super) channel: Option<Channel>,
}

impl Line {
    /// Of a worker that another executable has left.
    pub(super) fn inherited(former: &Former, channel: Option<Channel>, is_foreign: bool) -> Self {
        let &Former { generation, slot, seat, kill_at, .. } = former;
        Self { generation, slot, seat, up: true, draining: kill_at.is_some(), is_foreign, is_doomed: false, channel }
    }
}

impl Master {
    /// Reads what zygotes and workers have said, and tells the plan.
    pub(super) fn take_messages(&mut self) {
        for generation in self.generations.keys().copied().collect::<Vec<_>>() {
            while let Some(input) = self.zygote_message(generation) {
                self.feed(input);
            }
        }
        for worker in self.workers.keys().copied().collect::<Vec<_>>() {
            while let Some(input) = self.worker_message(worker) {
                self.feed(input);
            }
        }
    }

    fn zygote_message(&mut self, generation: u32) -> Option<Input> {
        let hosted = self.generations.get_mut(&generation)?;
        loop {
            match receive(&self.poll, &mut hosted.zygote)? {
                None => {
                    hosted.unknown.tell("");
                    return Some(Input::ZygoteClosed { generation });
                }
                Some(message) => match FromZygote::decode(&message.bytes) {
                    Some(FromZygote::App(app)) => hosted.note_app(app),
                    Some(FromZygote::Asked(names)) => hosted.unknown.tell(&names),
                    Some(said) => {
                        hosted.unknown.tell("");
                        return Some(Input::Zygote { generation, said });
                    }
                    None => tracing::error!("a zygote sent what is no message: ignored"),
                },
            }
        }
    }

    fn worker_message(&mut self, worker: u64) -> Option<Input> {
        let line = self.workers.get_mut(&worker).filter(|line| !line.is_foreign)?;
        loop {
            match receive(&self.poll, &mut line.channel)? {
                None => return Some(Input::WorkerClosed { worker }),
                Some(message) => match (FromWorker::decode(&message.bytes), message.pid) {
                    (Some(FromWorker::App(app)), Some(_)) => {
                        let hosted = self.generations.get_mut(&line.generation);
                        hosted.into_iter().for_each(|hosted| hosted.note_app(app.clone()));
                    }
                    (Some(said), Some(sender)) => {
                        line.up |= said == FromWorker::Up;
                        return Some(Input::Worker { worker, sender, said });
                    }
                    _ => tracing::error!("a worker sent what is no message: ignored"),
                },
            }
        }
    }

    /// Orders a worker of a zygote. An input: it could not be ordered.
    pub(super) fn spawn(&mut self, generation: u32, worker: u64, slot: u32, seat: u32) -> Option<Input> {
        let sent = self.send_spawn(generation, worker, slot, seat);
        let channel = match sent {
            Ok(channel) => Some(channel),
            Err(error) => {
                tracing::error!("worker {slot} can't be ordered: {error}");
                None
            }
        };
        let lost = channel.is_none().then_some(Input::WorkerClosed { worker });
        let (up, draining, is_foreign, is_doomed) = (false, false, false, false);
        let line = Line { generation, slot, seat, up, draining, is_foreign, is_doomed, channel };
        self.workers.insert(worker, line);
        lost
    }

    fn send_spawn(&mut self, generation: u32, worker: u64, slot: u32, seat: u32) -> io::Result<Channel> {
        let gone = || io::Error::from(io::ErrorKind::NotConnected);
        let hosted = self.generations.get_mut(&generation).ok_or_else(gone)?;
        hosted.seat(slot, seat);
        let zygote = hosted.zygote.as_ref().ok_or_else(gone)?;
        let (ours, theirs) = Channel::pair()?;
        ours.identify()?;
        watch(&self.poll, &ours)?;
        zygote.send(&ToZygote::Spawn { worker, slot, seat }.encode(), &[theirs.as_fd()])?;
        Ok(ours)
    }

    /// Sends a worker a message, if it can still hear.
    pub(super) fn tell_worker(&mut self, worker: u64, message: ToWorker) {
        let Some(line) = self.workers.get_mut(&worker) else { return };
        if line.is_foreign {
            if let ToWorker::Drain { .. } = message {
                line.channel = None;
            }
        } else if let Some(channel) = &line.channel {
            // It may be dead already, which its closed channel tells.
            let _ = channel.send(&message.encode(), &[]);
        }
    }

    /// No generation that goes on has one of this worker's listeners, and no other worker of its own accepts: what
    /// waits there is its.
    pub(super) fn is_last_to_accept(&self, worker: u64) -> bool {
        let Some(generation) = self.workers.get(&worker).map(|line| line.generation) else { return false };
        let mut others = self.workers.iter().filter(|(other, line)| **other != worker && line.generation == generation);
        let Some(hosted) = self.generations.get(&generation) else { return false };
        let dropped = hosted.listeners.iter().any(|bound| Rc::strong_count(bound) == 1);
        dropped && others.all(|(_, line)| line.draining)
    }

    /// Another worker goes on with the same listeners: it can take over connections that are kept.
    pub(super) fn has_heirs(&self, worker: u64) -> bool {
        let handover = |line: &Line| Some(&self.generations.get(&line.generation)?.handover);
        let Some(own) = self.workers.get(&worker).and_then(handover) else { return false };
        let goes_on = |line: &Line| line.up && !line.draining && !line.is_foreign;
        let mut others = self.workers.iter().filter(|(other, line)| **other != worker && goes_on(line));
        let has_one = others.any(|(_, line)| handover(line).is_some_and(|its| Rc::ptr_eq(own, its)));
        has_one || (self.workers[&worker].is_doomed && self.will_have_heir(own))
    }

    /// The one that is to come has the same listeners: what is under way waits for it.
    fn will_have_heir(&self, own: &Rc<Handover>) -> bool {
        let current = self.plan.generation().and_then(|id| self.generations.get(&id));
        self.plan.health() != Health::Stopping && current.is_some_and(|hosted| Rc::ptr_eq(own, &hosted.handover))
    }
}

/// Reads one message. `None`: nothing there; `Some(None)`: closed just now, and forgotten.
fn receive(poll: &Poll, slot: &mut Option<Channel>) -> Option<Option<channel::Message>> {
    match slot.as_ref()?.receive(false) {
        Ok(Received::Message(message)) => Some(Some(message)),
        Ok(Received::Nothing) => None,
        Ok(Received::Closed) => {
            close(poll, slot.take());
            Some(None)
        }
        Err(error) => {
            tracing::error!("a channel failed: {error}");
            close(poll, slot.take());
            Some(None)
        }
    }
}

pub(super) fn close(poll: &Poll, channel: Option<Channel>) {
    if let Some(channel) = channel {
        // Before it is closed: a child that was just forked may still hold the description, which would go on to wake.
        let _ = poll.registry().deregister(&mut SourceFd(&channel.as_raw_fd()));
    }
}
