//! The loop of a router process: waits for events, and has the sessions that they are about go on. It knows who is
//! there, the sessions know what is to be done.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use ruwsgi_log::Log;
use ruwsgi_sys::channel::{Channel, Received};
use ruwsgi_sys::listen::{self, At};
use ruwsgi_sys::signal::Signals;
use ruwsgi_sys::stream::{self, Peer};
use ruwsgi_sys::{epoll, memory};
use slab::Slab;

use super::ears::Heard;
use super::end::End;
use super::front::Visitor;
use super::hearing::Hearing;
use super::known::{self, Word};
use super::link::Owner;
use super::mapper::Subscribed;
use super::message::{FromRouter, ToRouter};
use super::session::{Session, Stage};
use super::stats::Teller;
use super::world::World;
use crate::listeners::Bound;
use crate::subscription::Ack;

const MASTER: Token = Token(0);
const SIGNALS: Token = Token(1);
const STATS: Token = Token(2);
const DOORS: usize = 16;
/// Where announcements are heard, behind the doors.
const EARS: usize = 3_000;
/// Sessions and links from here on, in turns.
const FIRST: usize = 4096;

/// How often deadlines are looked at, in milliseconds.
const ROUND_MS: u64 = 1_000;
/// How soon a backend whose queue was full is asked again.
const AGAIN_MS: u64 = 10;
/// How long nobody is let in when there is no descriptor for them.
const SHUT_MS: u64 = 100;
/// How long a process that begins waits at most until it is told what others know.
const TOLD_MS: u64 = 1_000;
/// So many are let in before others are heard.
const LET_IN: usize = 64;
/// So many are let in by one that leaves: others go on with those who come after them.
const LAST_IN: usize = 1024;
/// So many are let in by one process until it is the turn of another one.
const TURN: u64 = 16;
/// How long clients that wait may take for another request when others go on, in milliseconds: a close could meet it.
const PARTING_MS: u64 = 5_000;

/// A listener.
pub(super) struct Door {
    pub(super) bound: Rc<Bound>,
    pub(super) at: Rc<At>,
    address: Rc<str>,
    /// There may be more who wait.
    more: bool,
    /// So many were let in.
    let_in: u64,
}

impl Door {
    pub(super) fn new(bound: Rc<Bound>, at: At) -> Self {
        let address = bound.name().1.into();
        Self { bound, at: Rc::new(at), address, more: true, let_in: 0 }
    }

    /// The kernel wakes the first of those that wait: whoever has been it for a while goes to the end of their line, so that
    /// connections, which stay, are shared out among all.
    fn stand_behind(&mut self, poll: &Poll, token: usize, processes: u32) {
        self.let_in += 1;
        if processes > 1 && self.let_in.is_multiple_of(TURN) {
            let fd = self.bound.as_fd();
            let _ = poll.registry().deregister(&mut SourceFd(&fd.as_raw_fd()));
            if let Err(error) = epoll::share(poll.as_raw_fd(), fd, token) {
                tracing::error!("epoll: {error}");
            }
        }
    }
}

/// The loop and who takes part in it.
pub(super) struct Gate {
    poll: Poll,
    world: World,
    /// Those that are over stay until the events of a round are through, so that no number means two.
    sessions: Slab<Option<Box<Session>>>,
    over: Vec<usize>,
    doors: Vec<Door>,
    channel: Channel,
    signals: Signals,
    teller: Option<Teller>,
    hearing: Hearing,
    /// The doors are shut until somebody announces itself.
    cheap: bool,
    log: Log,
    /// How often the master is told what is known, and when it was.
    entrusts_ms: Option<u64>,
    entrusted_ms: u64,
    round_ms: u64,
    again_ms: u64,
    /// Until then nobody is let in.
    shut_until_ms: u64,
    /// By then everything is over.
    end_ms: Option<u64>,
}

pub(super) fn link_token(key: usize) -> usize {
    FIRST + 2 * key + 1
}

impl Gate {
    pub(super) fn new(
        poll: Poll,
        world: World,
        doors: Vec<Door>,
        (channel, signals): (Channel, Signals),
        (stats, ears, log): (Option<Rc<Bound>>, Vec<Rc<Heard>>, Log),
    ) -> io::Result<Self> {
        let registry = poll.registry();
        registry.register(&mut SourceFd(&channel.as_raw_fd()), MASTER, Interest::READABLE)?;
        registry.register(&mut SourceFd(&signals.as_raw_fd()), SIGNALS, Interest::READABLE)?;
        for (number, door) in doors.iter().enumerate() {
            epoll::share(poll.as_raw_fd(), door.bound.as_fd(), DOORS + number)?;
        }
        let hearing = Hearing::new(ears, poll.as_raw_fd(), EARS)?;
        let teller = stats.map(|door| Teller::new(door, registry, STATS)).transpose()?;
        Ok(Self {
            poll,
            world,
            sessions: Slab::new(),
            over: Vec::new(),
            doors,
            channel,
            signals,
            teller,
            hearing,
            cheap: false,
            log,
            entrusts_ms: None,
            entrusted_ms: 0,
            round_ms: 0,
            again_ms: 0,
            shut_until_ms: 0,
            end_ms: None,
        })
    }

    /// Lets nobody in until others have told what they know.
    pub(super) fn wait_for_others(&mut self) {
        self.shut_until_ms = self.world.now.ms + TOLD_MS;
    }

    /// Has the master know what is known here, so often at least.
    pub(super) fn entrust_every(&mut self, ms: u64) {
        self.entrusts_ms = Some(ms);
    }

    /// Lives until it is told to end, or the master is gone.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(self.world.settings.events.clamp(1, 4096) as usize);
        // A master that is gone does not need to know.
        let _ = self.channel.send(&FromRouter::Up.encode(), &[]);
        loop {
            let wait = self.wait();
            if let Err(error) = self.poll.poll(&mut events, wait)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!("{}: epoll: {error}", self.world.name);
            }
            self.world.now.look();
            for event in &events {
                if !self.heed(event) {
                    return;
                }
            }
            for key in std::mem::take(&mut self.world.soon) {
                self.advance(key);
            }
            self.listen();
            self.rest_if_cheap();
            self.let_in(LET_IN);
            self.try_again();
            self.make_round();
            for key in std::mem::take(&mut self.over) {
                self.sessions.try_remove(key);
            }
            if self.end_ms.is_some_and(|end_ms| self.sessions.is_empty() || self.world.now.ms >= end_ms) {
                return;
            }
        }
    }

    fn wait(&self) -> Option<Duration> {
        let now = self.world.now.ms;
        let shut = self.shut_until_ms > now;
        let hear = self.hearing.wake_ms();
        if hear.is_some_and(|hear_ms| hear_ms <= now)
            || !self.world.soon.is_empty()
            || self.doors.iter().any(|door| door.more) && !shut && !self.cheap
        {
            return Some(Duration::ZERO);
        }
        let busy = !self.sessions.is_empty() || !self.world.owners.is_empty() || self.end_ms.is_some();
        let known = self.world.news || !self.knows_nobody();
        let told = self.teller.as_ref().is_some_and(Teller::is_busy);
        let round = (busy || told || known).then_some(self.round_ms);
        let again = (!self.world.again.is_empty()).then_some(self.again_ms);
        let open = shut.then_some(self.shut_until_ms);
        let wake = [round, again, open, hear].into_iter().flatten().min()?;
        // The coarse clock stands still for up to 4 ms: without the 1, this would spin until it moves.
        Some(Duration::from_millis(wake.saturating_sub(now).max(1)))
    }

    /// What an event is about; `false`: this was the last one.
    fn heed(&mut self, event: &Event) -> bool {
        match event.token() {
            MASTER => return self.hear_master(),
            SIGNALS => return self.hear_signals(),
            STATS => self.tell_stats(),
            Token(number) if (EARS..FIRST).contains(&number) => self.hearing.note(),
            Token(number) if number < FIRST => {
                if let Some(door) = self.doors.get_mut(number - DOORS) {
                    door.more = true;
                }
            }
            Token(number) if (number - FIRST).is_multiple_of(2) => {
                let key = (number - FIRST) / 2;
                if let Some(Some(session)) = self.sessions.get_mut(key) {
                    session.client.note(event);
                    self.advance(key);
                }
            }
            Token(number) => self.heed_link((number - FIRST) / 2, event),
        }
        true
    }

    fn heed_link(&mut self, key: usize, event: &Event) {
        match self.world.owners.get(key).cloned() {
            Some(Owner::Idle) => self.world.drop_idle(key),
            Some(Owner::Session(session)) => {
                if let Some(Some(its)) = self.sessions.get_mut(session)
                    && let Some(link) = its.link.as_mut().filter(|link| link.key == key)
                {
                    link.end.note(event);
                    self.advance(session);
                }
            }
            None => {}
        }
    }

    fn advance(&mut self, key: usize) {
        let Some(slot) = self.sessions.get_mut(key) else { return };
        if slot.as_mut().is_some_and(|session| !session.advance(&mut self.world)) {
            *slot = None;
            self.over.push(key);
        }
    }

    /// Takes those who wait at the doors, so many of each at most.
    fn let_in(&mut self, most: usize) {
        if self.shut_until_ms > self.world.now.ms || self.cheap {
            return;
        }
        for number in 0..self.doors.len() {
            for _ in 0..most {
                if !self.doors[number].more || !self.let_one_in(number) {
                    break;
                }
            }
        }
    }

    /// Takes one connection; `false`: nobody waits, or there is no room.
    fn let_one_in(&mut self, number: usize) -> bool {
        let door = &mut self.doors[number];
        match stream::accept(door.bound.as_fd()) {
            Ok(Some((fd, peer))) => {
                if let Peer::Inet(_) = peer {
                    stream::no_delay(fd.as_fd());
                }
                let local = self.world.front.wants_address().then(|| listen::local_address(fd.as_fd()));
                let at = local.and_then(Result::ok).map_or_else(|| door.at.clone(), |at| Rc::new(At::Inet(at)));
                let visitor = Visitor { peer, at, address: door.address.clone() };
                let entry = self.sessions.vacant_entry();
                let key = entry.key();
                if !self.world.draining {
                    door.stand_behind(&self.poll, DOORS + number, self.world.settings.processes);
                }
                match End::new(fd, Token(FIRST + 2 * key), &self.world.registry, false) {
                    Ok(end) => {
                        entry.insert(Some(Box::new(Session::new(key, end, visitor, &self.world))));
                        self.advance(key);
                    }
                    Err(error) => tracing::error!("{}: epoll: {error}", self.world.name),
                }
                true
            }
            Ok(None) => {
                door.more = false;
                false
            }
            Err(error) => {
                self.world.warn(format_args!("accept: {error}: new connections wait in the listen queue"));
                self.shut_until_ms = self.world.now.ms + SHUT_MS;
                false
            }
        }
    }

    /// Takes announcements, if there are any.
    fn listen(&mut self) {
        let Self { hearing, world, channel, poll, .. } = self;
        let shared = world.settings.processes > 1;
        let heard = hearing.listen((poll.registry(), poll.as_raw_fd()), world.now.ms, |datagram, sender| {
            let Some(believed) = world.take_announcement(datagram, sender) else { return };
            believed.ack.iter().for_each(Ack::send);
            if shared {
                // Who misses this one hears the next.
                let _ = channel.send(&FromRouter::Heard(sender, datagram.to_vec()).encode(), &[]);
            }
        });
        if let Err(why) = heard {
            self.world.warn(format_args!("{why}"));
        }
    }

    /// `-cheap`: the doors are shut while nobody is there to be asked.
    fn rest_if_cheap(&mut self) {
        let cheap = self.world.settings.cheap && self.world.route.subscribed.is_some() && self.knows_nobody();
        if cheap == std::mem::replace(&mut self.cheap, cheap) {
            return;
        }
        let name = self.world.name;
        if cheap {
            tracing::info!("{name}: nobody is let in until somebody announces itself (cheap)");
        } else {
            tracing::info!("{name}: leaving cheap mode");
        }
        self.doors.iter_mut().for_each(|door| door.more = true);
    }

    /// Sessions whose backend had no room.
    fn try_again(&mut self) {
        if self.world.again.is_empty() || self.world.now.ms < self.again_ms {
            return;
        }
        self.again_ms = self.world.now.ms + AGAIN_MS;
        for key in std::mem::take(&mut self.world.again) {
            if self.sessions.get(key).is_some_and(|slot| slot.as_ref().is_some_and(|its| its.stage == Stage::Connect)) {
                self.advance(key);
            }
        }
    }

    /// Deadlines, once a second.
    fn make_round(&mut self) {
        let now = self.world.now.ms;
        if now < self.round_ms {
            return;
        }
        self.round_ms = now + ROUND_MS;
        self.world.expire_idle(false);
        self.world.forget_silent();
        self.entrust();
        self.tell_stats();
        let late = |(key, slot): (usize, &Option<Box<Session>>)| {
            slot.as_ref().is_some_and(|session| session.deadline_ms <= now).then_some(key)
        };
        for key in self.sessions.iter().filter_map(late).collect::<Vec<_>>() {
            let Some(slot) = self.sessions.get_mut(key) else { continue };
            if slot.as_mut().is_some_and(|session| !session.expire(&mut self.world)) {
                *slot = None;
                self.over.push(key);
            }
        }
    }

    fn hear_master(&mut self) -> bool {
        loop {
            match self.channel.receive(false) {
                Ok(Received::Message(mut message)) => match ToRouter::decode(&message.bytes) {
                    Some(ToRouter::Drain { mercy_ms, last }) => self.drain(u64::from(mercy_ms), last),
                    Some(ToRouter::Log) => {
                        message.fds.pop().into_iter().for_each(|log| self.log.go_on_in(log.as_fd()));
                    }
                    Some(ToRouter::Heard(sender, datagram)) => {
                        self.world.take_announcement(&datagram, sender);
                    }
                    Some(ToRouter::Tell) => self.tell_what_is_known(),
                    Some(ToRouter::Known) => self.learn(message.fds.pop()),
                    None => tracing::error!("{}: the master sent what is no message: ignored", self.world.name),
                },
                Ok(Received::Nothing) => return true,
                Ok(Received::Closed) | Err(_) => return false,
            }
        }
    }

    /// For a process that begins: now, or after the death of this one.
    fn tell_what_is_known(&mut self) {
        let Some(nodes) = &self.world.route.subscribed else { return };
        let told = memory::sealed_file(&known::encode(nodes.words()))
            .and_then(|file| self.channel.send(&FromRouter::Known.encode(), &[file.as_fd()]));
        if let Err(error) = told {
            self.world.warn(format_args!("what is known can't be told: {error}"));
        }
    }

    /// The master keeps it, in case that all processes of the router die.
    fn entrust(&mut self) {
        let (news, now) = (std::mem::take(&mut self.world.news), self.world.now.ms);
        // Who leaves hears nothing any more.
        let Some(every_ms) = self.entrusts_ms.filter(|_| self.end_ms.is_none()) else { return };
        if news || now >= self.entrusted_ms + every_ms && !self.knows_nobody() {
            self.entrusted_ms = now;
            self.tell_what_is_known();
        }
    }

    fn knows_nobody(&self) -> bool {
        self.world.route.subscribed.as_ref().is_none_or(Subscribed::is_empty)
    }

    fn learn(&mut self, file: Option<OwnedFd>) {
        let read = file.map(memory::read_sealed_file);
        for Word { heard_ms, sender, datagram } in
            read.and_then(Result::ok).map(|bytes| known::decode(&bytes)).unwrap_or_default()
        {
            self.world.take_word(&datagram, sender, heard_ms);
        }
        self.shut_until_ms = 0;
    }

    /// Operators signal the master; who signals a router means this process alone.
    fn hear_signals(&mut self) -> bool {
        while let Ok(Some(number)) = self.signals.next() {
            match number {
                // The master forks another one.
                15 => self.drain(self.world.settings.patience.silence_ms, false),
                3 => return false,
                _ => {}
            }
        }
        true
    }

    /// Lets nobody in any more, and ends with the last session. `last`: nobody goes on with these listeners.
    fn drain(&mut self, mercy_ms: u64, last: bool) {
        let now = self.world.now.ms;
        self.hearing.end(self.poll.registry());
        self.world.draining = true;
        self.shut_doors();
        self.world.expire_idle(true);
        self.end_ms = Some(self.end_ms.map_or(now + mercy_ms, |end_ms| end_ms.min(now + mercy_ms)));
        let parting_ms = if last { 0 } else { PARTING_MS };
        for slot in self.sessions.iter_mut().map(|(_, slot)| slot) {
            if let Some(session) = slot.as_mut().filter(|session| session.is_idle()) {
                session.deadline_ms = session.deadline_ms.min(now + parting_ms);
            }
        }
        self.round_ms = now;
    }

    /// Watches the doors no more. Those who wait there by now are let in: for them this process may have been woken, alone of
    /// all.
    fn shut_doors(&mut self) {
        for door in &mut self.doors {
            let _ = self.poll.registry().deregister(&mut SourceFd(&door.bound.as_fd().as_raw_fd()));
            door.more = true;
        }
        self.let_in(LAST_IN);
        self.doors.clear();
    }

    fn tell_stats(&mut self) {
        let Some(teller) = &mut self.teller else { return };
        let (world, sessions, cheap) = (&self.world, self.sessions.len(), self.cheap);
        let names: Vec<String> = self.doors.iter().map(|door| door.bound.name().1.to_owned()).collect();
        teller.look(self.poll.registry(), STATS, world.now.ms, || world.statistics(sessions, cheap, &names));
    }
}
