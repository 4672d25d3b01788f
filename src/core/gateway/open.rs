//! The way of a request to a backend: choose one, connect, and go on to the next one where that fails. Until a backend
//! is connected to, nobody has read anything of the request, so that it can go anywhere.

use std::io;

use ruwsgi_wire::client::{Dialect, Unaskable};
use ruwsgi_wire::{Head, Refusal};

use super::front::Asking;
use super::mapper::Wanted;
use super::session::{Coming, Session, Stage, Step};
use super::world::World;

impl Session {
    /// Looks for a backend and asks it.
    pub(super) fn open(&mut self, world: &mut World) -> Step {
        loop {
            let Some(request) = &mut self.request else { return self.close(world) };
            let client = self.visitor.peer.ip();
            let wanted = Wanted { key: &request.key, client, tried: &request.tried, now_ms: world.now.ms };
            let room = request.tried.len() <= world.settings.mapping.retries as usize;
            let Some(node) = world.route.choose(&wanted).filter(|_| room) else { return self.nobody(world) };
            let chunks = matches!(request.body, Coming::Framed(_));
            if chunks && node.target.dialect != Dialect::Http {
                // The others want to know the length first.
                return self.begin_collecting(world);
            }
            request.node = Some(node.clone());
            if request.repeatable
                && !request.repeated
                && node.target.dialect.keeps()
                && let Some(link) = world.take_idle(&node, self.key)
            {
                self.link = Some(link);
                return self.ask(world);
            }
            match world.connect(&node, self.key) {
                Ok(link) => {
                    let connecting = link.connecting;
                    self.link = Some(link);
                    if !connecting {
                        return self.ask(world);
                    }
                    self.wait_for_backend(world);
                    return Step::Wait;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait_for_backend(world);
                    world.again.push_back(self.key);
                    return Step::Wait;
                }
                Err(error) => {
                    let key = request.key.clone();
                    request.tried.push(node.id.clone());
                    world.failed(&node, &key, &error);
                }
            }
        }
    }

    /// From the first try on: a queue that stays full is no reason to wait for ever.
    fn wait_for_backend(&mut self, world: &World) {
        if self.stage != Stage::Connect {
            self.stage = Stage::Connect;
            self.deadline_ms = world.now.ms + world.settings.patience.connect_ms;
        }
    }

    /// Whether the connection that is being made has been.
    pub(super) fn connected(&mut self, world: &mut World) -> Step {
        let Some(link) = &mut self.link else { return self.open(world) };
        if !link.end.has_news() {
            return Step::Wait;
        }
        match link.end.failure() {
            Ok(()) => {
                link.connecting = false;
                self.ask(world)
            }
            Err(error) => {
                self.unreached(world, &error);
                Step::On
            }
        }
    }

    /// The connection to a backend came to nothing: the next one.
    fn unreached(&mut self, world: &mut World, error: &io::Error) {
        let Some(link) = self.link.take() else { return };
        if let Some(request) = &mut self.request {
            request.tried.push(link.node.id.clone());
            let key = request.key.clone();
            world.failed(&link.node, &key, error);
        }
        world.discard(link);
        self.stage = Stage::Head;
        self.open(world);
    }

    /// A backend did not take the connection in time.
    pub(super) fn no_connection(&mut self, world: &mut World) {
        if self.link.is_none() {
            self.refuse(world, Refusal::Busy);
            return;
        }
        self.request.iter_mut().for_each(|request| request.timed_out = true);
        self.unreached(world, &io::ErrorKind::TimedOut.into());
    }

    fn nobody(&mut self, world: &mut World) -> Step {
        let Some(request) = &self.request else { return self.close(world) };
        let refusal = if request.timed_out { Refusal::GatewayTimeout } else { Refusal::NoBackend };
        if request.tried.is_empty() && !world.settings.quiet {
            let key = request.key.escape_ascii().to_string();
            world.warn(format_args!("{key:?}: there is no backend for it"));
        }
        self.refuse(world, refusal)
    }

    /// Asks the backend that is connected.
    fn ask(&mut self, world: &mut World) -> Step {
        let Some(asked) = self.put_request(world) else { return self.close(world) };
        match asked {
            Ok(stage) => {
                self.stage = stage;
                self.deadline_ms = world.now.ms + world.settings.patience.silence_ms;
                Step::On
            }
            Err(why) => {
                world.warn(format_args!("a request can't be passed on: {why}"));
                self.refuse(
                    world,
                    if why == Unaskable::TooLarge { Refusal::HeadTooLarge } else { Refusal::BadGateway("") },
                )
            }
        }
    }

    fn put_request(&mut self, world: &mut World) -> Option<Result<Stage, Unaskable>> {
        let (request, link) = (self.request.as_mut()?, self.link.as_mut()?);
        link.end.rise(&mut world.spare);
        world.begin(link);
        if let Some(bytes) = world.front.verbatim(&request.head, &self.visitor, &link.node) {
            link.end.out.extend_from_slice(&bytes);
            return Some(Ok(Stage::Tunnel));
        }
        let exchange = self.exchange.as_mut()?;
        // Other requests may have been looked at since; and a front adds to what it is given.
        if world.vars_of.take() != Some(self.key) {
            let again = exchange.head(&request.head, &mut world.vars);
            debug_assert!(matches!(again, Head::Whole { .. }), "a head that was whole is whole");
        }
        if let Some(spool) = &mut request.spool {
            spool.rewind();
            (request.body, request.passed_bytes) = (Coming::Spooled, 0);
        }
        let asking = Asking {
            vars: &mut world.vars,
            visitor: &self.visitor,
            origin: exchange.origin(),
            length: request.length(),
            upgrade: request.upgrade,
            modifiers: exchange.modifiers(),
            node: &link.node,
        };
        let asked = world.front.ask(asking, &mut link.client, &mut link.end.out);
        if asked.is_ok() && matches!(request.body, Coming::Done) {
            link.client.body_end(&mut link.end.out);
        }
        Some(asked.map(|()| Stage::Relay))
    }
}
