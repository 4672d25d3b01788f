//! Bytes as they come, both ways: for routers that understand nothing of them, and for connections that have become
//! another protocol's. Each side is told when the other one has nothing more to say.

use super::end::{End, Filled};
use super::session::{Session, Stage, Step};
use super::world::World;

/// How much one read takes.
const READ_BYTES: usize = 64 * 1024;
/// So many reads at a time: then others have their turn.
const READS: usize = 8;

impl Session {
    /// Passes bytes on, as far as there is room.
    pub(super) fn tunnel(&mut self, world: &mut World) -> Step {
        let Some(mut link) = self.link.take() else { return self.close(world) };
        let room = world.settings.room;
        let (mut moved, mut busy) = (false, false);
        for _ in 0..READS {
            busy = false;
            if !self.is_introduced(&mut link.end) {
                break;
            }
            let up = pass(&mut self.client, &mut link.end, room, world);
            let down = pass(&mut link.end, &mut self.client, room, world);
            busy = up || down;
            moved |= busy;
            if !busy {
                break;
            }
        }
        if moved {
            self.deadline_ms = world.now.ms + world.settings.patience.silence_ms;
        }
        let over = |from: &End, to: &End| from.ended && to.waiting() == 0;
        let answered = over(&link.end, &self.client) && link.end.input.is_empty();
        let asked = over(&self.client, &link.end) && self.client.input.is_empty();
        let done = answered && (asked || world.front.ends_with_backend())
            || link.end.gone
            || link.end.deaf
            || self.client.gone;
        if !done {
            self.link = Some(link);
            return if busy { Step::On } else { Step::Wait };
        }
        if link.end.gone || self.client.waiting() > 0 {
            self.client.break_off();
        }
        world.route.reached(&link.node.id);
        world.discard(link);
        if answered && !self.client.gone {
            return self.close_when_out(world);
        }
        self.stage = Stage::Over;
        Step::On
    }

    /// A server that greets first is told who its client is; what it answers to that is for the client. `false`: it has
    /// not greeted yet.
    fn is_introduced(&mut self, link: &mut End) -> bool {
        let introduction = self.request.as_mut().and_then(|request| request.introduction.as_mut());
        let Some(introduction) = introduction else { return true };
        while !link.input.contains(&b'\n') && link.input.len() < READ_BYTES {
            if link.fill(READ_BYTES) != Filled::Some {
                return link.ended;
            }
        }
        let line = link.input.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        link.input.drain(..line);
        link.out.append(introduction);
        self.request = None;
        true
    }
}

/// Passes on what one side says to the other; whether there was something.
fn pass(from: &mut End, to: &mut End, room: usize, world: &World) -> bool {
    if to.waiting() >= room {
        to.flush(&world.registry);
    }
    if to.waiting() < room && from.input.is_empty() {
        from.fill(READ_BYTES.min(room));
    }
    let moved = !from.input.is_empty() && to.waiting() < room;
    if moved {
        if to.out.is_empty() {
            std::mem::swap(&mut to.out, &mut from.input);
        } else {
            to.out.append(&mut from.input);
        }
    }
    to.flush(&world.registry);
    if from.ended && from.input.is_empty() && to.waiting() == 0 && !to.deaf {
        to.finish();
    }
    moved
}
