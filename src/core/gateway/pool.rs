//! Links that wait for another request: those of backends that keep connections (HTTP, FastCGI, persistent uwsgi).
//!
//! A backend may close one at any time, and a request that is on its way then is lost for those who can't repeat it. So
//! only requests that may be repeated are asked over such a link; the others get one of their own.

use std::collections::HashMap;
use std::rc::Rc;

use super::link::{Link, Owner};
use super::mapper::Node;
use super::target::Target;
use super::world::World;

/// So many wait for each backend, and for so long, in milliseconds.
const MOST: usize = 64;
const IDLE_MS: u64 = 30_000;

/// The links that wait. They are in boxes already, as sessions have them.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a link moves between sessions and the pool without being copied")]
pub(super) struct Pool(HashMap<Rc<Target>, Vec<Box<Link>>>);

impl Pool {
    /// Keeps one, unless there are as many as there may be.
    fn put(&mut self, link: Box<Link>) -> Option<Box<Link>> {
        let links = self.0.entry(link.node.target.clone()).or_default();
        if links.len() >= MOST {
            return Some(link);
        }
        links.push(link);
        None
    }

    /// Takes the one that was used last: it is the most likely to be open.
    fn take(&mut self, target: &Rc<Target>) -> Option<Box<Link>> {
        self.0.get_mut(target)?.pop()
    }

    #[expect(clippy::vec_box, reason = "a link moves between sessions and the pool without being copied")]
    fn remove(&mut self, which: impl Fn(&Link) -> bool) -> Vec<Box<Link>> {
        let mut found = Vec::new();
        self.0.retain(|_, links| {
            found.extend(links.extract_if(.., |link| which(link)));
            !links.is_empty()
        });
        found
    }
}

impl World {
    /// A link to this backend that waits, for a session.
    pub(super) fn take_idle(&mut self, node: &Node, session: usize) -> Option<Box<Link>> {
        let mut link = self.pool.take(&node.target)?;
        self.owners[link.key] = Owner::Session(session);
        (link.used, link.heard, link.node) = (true, false, node.clone());
        link.end.rise(&mut self.spare);
        Some(link)
    }

    /// Keeps a link whose answer is over for another request.
    pub(super) fn keep_idle(&mut self, mut link: Box<Link>) {
        self.finish(&mut link);
        let clean = link.end.input.is_empty() && link.end.waiting() == 0 && !link.end.ended && !link.end.gone;
        if !clean || self.draining {
            return self.discard(link);
        }
        link.idle_ms = self.now.ms;
        link.end.rest(&mut self.spare);
        self.owners[link.key] = Owner::Idle;
        if let Some(link) = self.pool.put(link) {
            self.discard(link);
        }
    }

    /// Whatever a backend says on a link that waits, it is not an answer.
    pub(super) fn drop_idle(&mut self, key: usize) {
        for link in self.pool.remove(|link| link.key == key) {
            self.discard(link);
        }
    }

    /// Closes those that have waited for too long, or all of them.
    pub(super) fn expire_idle(&mut self, all: bool) {
        let before = self.now.ms.saturating_sub(IDLE_MS);
        for link in self.pool.remove(|link| all || link.idle_ms < before) {
            self.discard(link);
        }
    }
}
