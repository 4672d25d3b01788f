//! A client's connection to a router: one request after the other, each with its answer, or bytes as they come.
//!
//! `gate` calls [`Session::advance`] when something has happened on it or on its link, and [`Session::expire`] when it
//! has waited for too long. What is to be done next follows from the stage alone. Nothing is read from one side
//! while too much waits for the other.

use ruwsgi_wire::{Body, Decoder, Exchange, Head, Next, Refusal, Vars};

use super::end::{End, Filled};
use super::front::Visitor;
use super::link::Link;
use super::mapper::{Id, Node};
use super::relay::{Broken, Relay, Reply};
use super::spool::Spool;
use super::world::World;

/// So many steps at a time: then others have their turn.
const STEPS: u32 = 32;
/// How much one read takes of a client, and of a backend.
const CLIENT_BYTES: usize = 16 * 1024;
const BACKEND_BYTES: usize = 32 * 1024;
/// How long a client that was refused may go on talking, in milliseconds: a close at once would be a reset, which may
/// take the answer with it.
const LINGER_MS: u64 = 2_000;
/// A body that must be whole before a backend is asked is kept in memory up to this size.
const MEMORY_BYTES: usize = 64 * 1024;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// A request is to come.
    Head,
    /// Its body is received.
    Collect,
    /// A backend is connected to.
    Connect,
    /// Body and answer are passed on.
    Relay,
    /// Bytes are passed on.
    Tunnel,
    /// Nothing is left but that the client closes.
    Linger,
    /// It is over.
    Over,
}

/// What came of a look at a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something has changed: look again.
    On,
    /// Only an event, or time, leads on.
    Wait,
}

/// A client's connection.
pub(super) struct Session {
    pub(super) key: usize,
    pub(super) client: End,
    pub(super) visitor: Visitor,
    pub(super) exchange: Option<Box<dyn Exchange>>,
    pub(super) stage: Stage,
    /// When its patience is over.
    pub(super) deadline_ms: u64,
    pub(super) request: Option<Box<Request>>,
    pub(super) link: Option<Box<Link>>,
    /// Part of a request head is here.
    pub(super) begun: bool,
}

/// A request, from its head to the end of its answer.
pub(super) struct Request {
    pub(super) head: Vec<u8>,
    pub(super) key: Vec<u8>,
    pub(super) body: Coming,
    /// So much of it was passed on.
    pub(super) passed_bytes: u64,
    /// A body that was received before a backend was asked.
    pub(super) spool: Option<Spool>,
    pub(super) tried: Vec<Id>,
    pub(super) node: Option<Node>,
    /// It may be asked twice: it changes nothing, and all of it is here.
    pub(super) repeatable: bool,
    /// It was.
    pub(super) repeated: bool,
    /// A backend did not answer the door in time.
    pub(super) timed_out: bool,
    pub(super) upgrade: bool,
    expects: bool,
    pub(super) reply: Reply,
    /// What goes to a raw backend after its first line.
    pub(super) introduction: Option<Vec<u8>>,
}

/// What is still to come of a body.
#[derive(Debug)]
pub(super) enum Coming {
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Framed(Decoder),
    /// All of it is in the spool.
    Spooled,
    /// Nothing.
    Done,
}

impl Request {
    pub(super) fn new(head: Vec<u8>, key: Vec<u8>, body: Body) -> Self {
        let body = match body {
            Body::Empty => Coming::Done,
            Body::Length(length) => Coming::Length(length),
            Body::Framed(decoder) => Coming::Framed(decoder),
        };
        Self {
            head,
            key,
            body,
            passed_bytes: 0,
            spool: None,
            tried: Vec::new(),
            node: None,
            repeatable: false,
            repeated: false,
            timed_out: false,
            upgrade: false,
            expects: false,
            reply: Reply::Awaited,
            introduction: None,
        }
    }

    /// The length of the body; `None`: nobody knows yet.
    pub(super) fn length(&self) -> Option<u64> {
        match (&self.spool, &self.body) {
            (Some(spool), Coming::Spooled | Coming::Done) => Some(spool.bytes),
            (_, Coming::Length(length)) => Some(*length),
            (_, Coming::Framed(_)) => None,
            (_, Coming::Done | Coming::Spooled) => Some(0),
        }
    }
}

impl Session {
    pub(super) fn new(key: usize, mut client: End, visitor: Visitor, world: &World) -> Self {
        // Most clients have said something by the time that they are let in.
        client.look();
        let exchange = world.front.exchange(&visitor);
        let mut session = Self {
            key,
            client,
            visitor,
            exchange,
            stage: Stage::Head,
            deadline_ms: world.now.ms + world.settings.patience.head_ms,
            request: None,
            link: None,
            begun: false,
        };
        if session.exchange.is_none() {
            session.begin_raw(world);
        }
        session
    }

    /// It waits for a request, and nothing of one is here.
    pub(super) fn is_idle(&self) -> bool {
        self.stage == Stage::Head && !self.begun
    }

    /// Goes on as far as that is possible now; `false`: it is over.
    pub(super) fn advance(&mut self, world: &mut World) -> bool {
        self.client.rise(&mut world.spare);
        for turn in 1.. {
            self.flush(world);
            let step = match self.stage {
                Stage::Head => self.read_head(world),
                Stage::Collect => self.collect(world),
                Stage::Connect => self.connected(world),
                Stage::Relay => self.relay(world),
                Stage::Tunnel => self.tunnel(world),
                Stage::Linger => self.linger(),
                Stage::Over => break,
            };
            let empty = self.flush(world);
            if self.client.deaf || self.client.gone && self.stage != Stage::Head {
                self.stage = Stage::Over;
            } else if empty && self.stage == Stage::Linger && !self.client.is_finished() {
                self.client.finish();
                self.deadline_ms = world.now.ms + LINGER_MS;
            } else if step == Step::Wait {
                break;
            } else if turn >= STEPS && self.stage != Stage::Over {
                world.soon.push_back(self.key);
                break;
            }
        }
        if self.stage == Stage::Over {
            self.drop_link(world);
            return false;
        }
        self.client.rest(&mut world.spare);
        self.link.iter_mut().for_each(|link| link.end.rest(&mut world.spare));
        true
    }

    /// Sends what waits; `true`: nothing does any more. A client that takes something is there.
    fn flush(&mut self, world: &World) -> bool {
        let before = self.client.waiting();
        let empty = self.client.flush(&world.registry);
        if before > 0 && self.client.waiting() < before && self.stage != Stage::Head {
            self.deadline_ms = world.now.ms + world.settings.patience.silence_ms;
        }
        empty
    }

    fn read_head(&mut self, world: &mut World) -> Step {
        // Whoever does not take answers gets no more of them.
        if self.client.waiting() > 0 {
            return Step::Wait;
        }
        let Some(exchange) = &mut self.exchange else { return Step::Wait };
        world.vars_of = None;
        loop {
            let answered = match exchange.head(&self.client.input, &mut world.vars) {
                Head::Whole { bytes, body, expects_continue } => {
                    return self.begin(world, bytes, body, expects_continue);
                }
                Head::Refused(refusal) => return self.refuse(world, refusal),
                Head::Reply { bytes, answer, next } => {
                    self.client.input.drain(..bytes);
                    self.client.out.extend_from_slice(&answer);
                    if next == Next::Close {
                        return self.close(world);
                    }
                    true
                }
                Head::Partial { begun } => {
                    if begun && !self.begun {
                        self.begun = true;
                        self.deadline_ms = world.now.ms + world.settings.patience.head_ms;
                    }
                    false
                }
            };
            if answered {
                continue;
            }
            match self.client.fill(CLIENT_BYTES) {
                Filled::Some => {}
                Filled::Nothing => return Step::Wait,
                Filled::Ended => {
                    self.stage = Stage::Over;
                    return Step::On;
                }
            }
        }
    }

    fn begin(&mut self, world: &mut World, bytes: usize, body: Body, expects: bool) -> Step {
        let key = world.front.key(&world.vars, &self.visitor).to_vec();
        let head = self.client.input[..bytes].to_vec();
        self.client.input.drain(..bytes);
        let length = if let Body::Length(length) = body { length } else { 0 };
        let most = world.settings.most_body.into_iter().chain(world.front.most_expected().filter(|_| expects)).min();
        let mut request = Request::new(head, key, body);
        request.repeatable = matches!(request.body, Coming::Done) && is_repeatable(&world.vars);
        request.upgrade = matches!(request.body, Coming::Done) && world.front.upgrades(&world.vars);
        request.expects = expects;
        let modifiers = self.exchange.as_ref().map(|exchange| exchange.modifiers()).unwrap_or_default();
        let wanted = world.settings.post_buffering > 0 && world.front.may_collect(modifiers);
        let collects = wanted && !matches!(request.body, Coming::Done);
        self.request = Some(Box::new(request));
        world.vars_of = Some(self.key);
        world.requests += 1;
        if most.is_some_and(|most| length > most) {
            return self.refuse(world, Refusal::BodyTooLarge);
        }
        if collects { self.begin_collecting(world) } else { self.open(world) }
    }

    fn begin_raw(&mut self, world: &World) {
        let key = world.front.key(&Vars::default(), &self.visitor).to_vec();
        let mut request = Request::new(Vec::new(), key, Body::Empty);
        request.introduction = world.front.introduction(&self.visitor);
        self.request = Some(Box::new(request));
        self.stage = Stage::Connect;
    }

    /// The whole body comes first.
    pub(super) fn begin_collecting(&mut self, world: &World) -> Step {
        let Some(request) = &mut self.request else { return self.close(world) };
        let asked = usize::try_from(world.settings.post_buffering).unwrap_or(usize::MAX);
        request.spool = Some(Spool::new(if asked > 0 { asked } else { MEMORY_BYTES }));
        self.stage = Stage::Collect;
        self.proceed();
        Step::On
    }

    /// Tells a client that waits for it to send its body.
    fn proceed(&mut self) {
        let Some(request) = &mut self.request else { return };
        let begun = !self.client.input.is_empty();
        if std::mem::take(&mut request.expects)
            && !begun
            && let Some(exchange) = &mut self.exchange
        {
            exchange.proceed(&mut self.client.out);
        }
    }

    fn collect(&mut self, world: &mut World) -> Step {
        loop {
            let Some(request) = &mut self.request else { return self.close(world) };
            let mut piece = Vec::new();
            let took = take_body(&mut request.body, &mut self.client.input, usize::MAX, &mut piece);
            let Some(spool) = &mut request.spool else { return self.close(world) };
            let pushed = spool.push(&piece);
            let too_large = world.settings.most_body.is_some_and(|most| spool.bytes > most);
            match (took, pushed) {
                (Err(refusal), _) => return self.refuse(world, refusal),
                (_, Err(error)) => {
                    world.warn(format_args!("a request body can't be stored: {error}"));
                    return self.refuse(world, Refusal::Busy);
                }
                _ if too_large => return self.refuse(world, Refusal::BodyTooLarge),
                (Ok(()), Ok(())) => {}
            }
            if let Coming::Done = request.body {
                request.body = Coming::Spooled;
                return self.open(world);
            }
            self.deadline_ms = world.now.ms + world.settings.patience.silence_ms;
            match self.client.fill(BACKEND_BYTES) {
                Filled::Some => {}
                Filled::Nothing => return Step::Wait,
                Filled::Ended => {
                    self.stage = Stage::Over;
                    return Step::On;
                }
            }
        }
    }

    fn relay(&mut self, world: &mut World) -> Step {
        if self.push_body(world).is_err() {
            return Step::On;
        }
        let Some(mut link) = self.link.take() else { return self.close(world) };
        let told = self.pull_answer(world, &mut link);
        self.link = Some(link);
        let Some(request) = &mut self.request else { return self.close(world) };
        match (told, request.reply) {
            (Err(broken), _) => self.broken(world, broken),
            (Ok(_), Reply::Over { reusable, next }) => self.finish_answer(world, reusable, next),
            (Ok(_), Reply::Upgraded) => {
                self.stage = Stage::Tunnel;
                self.deadline_ms = world.now.ms + world.settings.patience.silence_ms;
                Step::On
            }
            (Ok(true), _) => {
                self.deadline_ms = world.now.ms + world.settings.patience.silence_ms;
                // What was read goes out before more is.
                if self.client.flush(&world.registry) { Step::On } else { Step::Wait }
            }
            (Ok(false), _) => Step::Wait,
        }
    }

    /// Passes the body on, as far as there is room. An error: the session goes on another way.
    fn push_body(&mut self, world: &mut World) -> Result<(), ()> {
        self.proceed();
        let room = world.settings.room;
        loop {
            let (Some(request), Some(link)) = (&mut self.request, &mut self.link) else { return Ok(()) };
            if !link.end.flush(&world.registry) || matches!(request.body, Coming::Done) {
                return Ok(());
            }
            let mut piece = Vec::new();
            if let (Coming::Spooled, Some(spool)) = (&request.body, &mut request.spool) {
                match spool.next(room, &mut piece) {
                    Ok(last) if last => request.body = Coming::Done,
                    Ok(_) => {}
                    Err(error) => {
                        world.warn(format_args!("a request body can't be read again: {error}"));
                        self.abandon(world);
                        return Err(());
                    }
                }
            } else {
                if self.client.input.is_empty() {
                    match self.client.fill(CLIENT_BYTES) {
                        Filled::Some => self.deadline_ms = world.now.ms + world.settings.patience.silence_ms,
                        Filled::Nothing => return Ok(()),
                        Filled::Ended => {
                            // A body that is cut must not look like a whole one.
                            self.abandon(world);
                            return Err(());
                        }
                    }
                }
                if let Err(refusal) = take_body(&mut request.body, &mut self.client.input, room, &mut piece) {
                    self.refuse_late(world, refusal);
                    return Err(());
                }
            }
            request.passed_bytes += piece.len() as u64;
            if world.settings.most_body.is_some_and(|most| request.passed_bytes > most) {
                // Of a body in chunks, nobody knows before.
                self.refuse_late(world, Refusal::BodyTooLarge);
                return Err(());
            }
            link.client.body(&piece, &mut link.end.out);
            if let Coming::Done = request.body {
                link.client.body_end(&mut link.end.out);
            }
        }
    }

    /// Passes the answer on, as far as there is room; `true`: there was something.
    fn pull_answer(&mut self, world: &mut World, link: &mut Link) -> Result<bool, Broken> {
        let (Some(exchange), Some(request)) = (&mut self.exchange, &mut self.request) else { return Ok(false) };
        if self.client.waiting() >= world.settings.room {
            return Ok(false);
        }
        let filled = link.end.fill(BACKEND_BYTES);
        let mut relay = Relay {
            exchange: &mut **exchange,
            out: &mut self.client.out,
            date: world.now.date(),
            close: world.draining
                || world.settings.patience.keepalive_ms.is_none()
                || !matches!(request.body, Coming::Done),
            upgrade: request.upgrade,
            reply: request.reply,
        };
        let heard = match filled {
            Filled::Nothing => return Ok(false),
            Filled::Some => {
                link.heard = true;
                let heard = relay.hear(&mut link.client, &link.end.input);
                link.end.input.clear();
                heard
            }
            Filled::Ended if relay.reply == Reply::Upgraded => Ok(()),
            Filled::Ended => relay.hear_end(&mut link.client),
        };
        request.reply = relay.reply;
        heard.map(|()| true)
    }

    /// The answer is out, or waits to go.
    fn finish_answer(&mut self, world: &mut World, reusable: bool, next: Next) -> Step {
        let whole = self.request.take().is_some_and(|request| matches!(request.body, Coming::Done));
        if let Some(link) = self.link.take() {
            world.route.reached(&link.node.id);
            if reusable && whole { world.keep_idle(link) } else { world.discard(link) }
        }
        if next == Next::Close || !whole {
            // What the client has not got rid of would make the close a reset.
            return if whole { self.close_when_out(world) } else { self.close(world) };
        }
        self.stage = Stage::Head;
        self.begun = false;
        let idle_ms = world.settings.patience.keepalive_ms.unwrap_or(0);
        self.deadline_ms = world.now.ms + idle_ms;
        Step::On
    }

    /// The answer is none, or breaks off.
    fn broken(&mut self, world: &mut World, broken: Broken) -> Step {
        let Some(link) = self.link.take() else { return self.close(world) };
        let Some(request) = &mut self.request else { return self.close(world) };
        let silent = link.used && !link.heard;
        // Nobody has read anything of the request.
        let again = request.passed_bytes == 0 || request.spool.is_some();
        let untouched = again && !link.used && !link.heard && link.end.sent_bytes == 0;
        let (shown, begun) = (link.node.target.shown.clone(), request.reply != Reply::Awaited);
        world.discard(link);
        if silent && request.repeatable && !request.repeated {
            // The backend had closed it: that is no failure of the backend, and it has not read the request.
            request.repeated = true;
            return self.open(world);
        }
        if untouched && let Some(node) = request.node.take() {
            request.tried.push(node.id);
            return self.open(world);
        }
        let key = request.key.escape_ascii().to_string();
        world.warn(format_args!("{key} => {shown}: {}", broken.reason()));
        if begun {
            self.abandon(world);
            return Step::On;
        }
        self.refuse(world, Refusal::BadGateway(broken.reason()))
    }

    /// Answers in place of a backend, and closes.
    pub(super) fn refuse(&mut self, world: &mut World, refusal: Refusal) -> Step {
        self.drop_link(world);
        self.request = None;
        if let Some(exchange) = &mut self.exchange {
            exchange.refuse(refusal, world.now.date(), &mut self.client.out);
        }
        self.close(world)
    }

    /// The same, where a backend may have been answering already.
    fn refuse_late(&mut self, world: &mut World, refusal: Refusal) {
        if self.request.as_ref().is_some_and(|request| request.reply != Reply::Awaited) {
            return self.abandon(world);
        }
        self.refuse(world, refusal);
    }

    /// Gives the session up in the middle of something: the client can tell.
    pub(super) fn abandon(&mut self, world: &mut World) {
        self.drop_link(world);
        self.client.flush(&world.registry);
        self.client.break_off();
        self.stage = Stage::Over;
    }

    pub(super) fn drop_link(&mut self, world: &mut World) {
        if let Some(link) = self.link.take() {
            world.discard(link);
        }
    }

    /// Everything goes out, then the client is told that nothing more comes, and may finish.
    pub(super) fn close(&mut self, world: &World) -> Step {
        if std::mem::replace(&mut self.stage, Stage::Linger) == Stage::Linger {
            return Step::Wait;
        }
        self.deadline_ms = world.now.ms + world.settings.patience.silence_ms;
        Step::On
    }

    /// The same, for a client of which nothing more is expected.
    pub(super) fn close_when_out(&mut self, world: &World) -> Step {
        if self.client.is_drained() && self.client.flush(&world.registry) {
            self.stage = Stage::Over;
            return Step::On;
        }
        self.close(world)
    }

    /// Passes over what the client still says.
    fn linger(&mut self) -> Step {
        loop {
            self.client.input.clear();
            match self.client.fill(CLIENT_BYTES) {
                Filled::Some => {}
                Filled::Nothing => return Step::Wait,
                Filled::Ended if self.client.waiting() == 0 => {
                    self.stage = Stage::Over;
                    return Step::On;
                }
                Filled::Ended => return Step::Wait,
            }
        }
    }

    /// Its patience is over; `false`: so is the session.
    pub(super) fn expire(&mut self, world: &mut World) -> bool {
        let body_comes = self.request.as_ref().is_some_and(|request| !matches!(request.body, Coming::Done));
        let begun = self.request.as_ref().is_some_and(|request| request.reply != Reply::Awaited);
        match self.stage {
            Stage::Head if self.begun => {
                self.refuse(world, Refusal::Timeout);
            }
            Stage::Collect => {
                self.refuse(world, Refusal::Timeout);
            }
            Stage::Connect => self.no_connection(world),
            Stage::Relay if !begun => {
                let link_waits = self.link.as_ref().is_some_and(|link| link.end.waiting() > 0);
                let refusal = if body_comes && !link_waits { Refusal::Timeout } else { Refusal::GatewayTimeout };
                if let (Some(link), Some(request)) = (&self.link, &self.request) {
                    let (key, shown) = (request.key.escape_ascii().to_string(), link.node.target.shown.clone());
                    world.warn(format_args!("{key} => {shown}: {}", refusal.reason()));
                }
                self.refuse(world, refusal);
            }
            Stage::Relay => self.abandon(world),
            Stage::Head | Stage::Tunnel | Stage::Linger | Stage::Over => self.stage = Stage::Over,
        }
        self.advance(world)
    }
}

/// Takes what is there of a body, at most `most` bytes where it has no framing.
fn take_body(body: &mut Coming, input: &mut Vec<u8>, most: usize, piece: &mut Vec<u8>) -> Result<(), Refusal> {
    match body {
        Coming::Length(left) => {
            let here = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len()).min(most);
            piece.extend(input.drain(..here));
            *left -= here as u64;
            if *left == 0 {
                *body = Coming::Done;
            }
        }
        Coming::Framed(decoder) => {
            let step = decoder.decode(input, piece)?;
            input.drain(..step.consumed);
            if step.done {
                *body = Coming::Done;
            }
        }
        Coming::Spooled | Coming::Done => {}
    }
    Ok(())
}

/// RFC 9110 9.2.2: asked twice, it does what it does once.
fn is_repeatable(vars: &Vars) -> bool {
    let method = vars.key(ruwsgi_wire::Key::RequestMethod).unwrap_or_default();
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}
