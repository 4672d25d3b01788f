//! What the sessions of a router process share: the route, the front, links, memory, the time.

use std::collections::VecDeque;

use mio::Registry;
use ruwsgi_wire::Vars;
use slab::Slab;

use super::date::Now;
use super::end::Spare;
use super::front::Front;
use super::link::Owner;
use super::mapper::{Node, Route};
use super::pool::Pool;
use super::settings::Settings;
use crate::subscription::{Heard, Moment, Sender};
use crate::why;

/// What sessions share.
pub(super) struct World {
    /// The name of the router.
    pub(super) name: &'static str,
    pub(super) settings: Settings,
    pub(super) front: Box<dyn Front>,
    pub(super) route: Route,
    pub(super) registry: Registry,
    pub(super) now: Now,
    /// The request that is looked at.
    pub(super) vars: Vars,
    /// The session whose request that is, if it is one's.
    pub(super) vars_of: Option<usize>,
    pub(super) spare: Spare,
    pub(super) pool: Pool,
    /// Whom the events of links are for.
    pub(super) owners: Slab<Owner>,
    /// Sessions whose backend had no room in its queue: they try again soon.
    pub(super) again: VecDeque<usize>,
    /// Something has changed about those that announce themselves since the master was told.
    pub(super) news: bool,
    /// Sessions that have more to do, once others have had their turn.
    pub(super) soon: VecDeque<usize>,
    /// Each answer is the last one of its connection.
    pub(super) draining: bool,
    /// So many requests were passed on.
    pub(super) requests: u64,
    /// Lines of this second, and those that were not written.
    pub(super) told: Moderation,
}

/// Lets only so many lines a second through: clients can cause them.
#[derive(Default)]
pub(super) struct Moderation {
    since_ms: u64,
    lines: u32,
    untold: u64,
}

const LINES: u32 = 10;

impl Moderation {
    /// Whether one more may be told.
    fn allows(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.since_ms + 1_000 {
            self.close();
            (self.since_ms, self.lines) = (now_ms, 0);
        }
        self.lines += 1;
        self.untold += u64::from(self.lines > LINES);
        self.lines <= LINES
    }

    /// Tells how many were not.
    fn close(&mut self) {
        if self.untold > 0 {
            tracing::warn!("{} more lines of this kind were not written", std::mem::take(&mut self.untold));
        }
    }
}

impl World {
    /// A line about what went wrong with a request, unless there are too many of them.
    pub(super) fn warn(&mut self, line: std::fmt::Arguments<'_>) {
        if self.told.allows(self.now.ms) {
            tracing::warn!("{}: {line}", self.name);
        }
    }

    /// Somebody says that it is there, or that it leaves; gives what is believed.
    pub(super) fn take_announcement(&mut self, datagram: &[u8], sender: Sender) -> Option<Heard> {
        self.take_word(datagram, sender, self.now.ms)
    }

    /// The same, of what was said at another moment.
    pub(super) fn take_word(&mut self, datagram: &[u8], sender: Sender, ms: u64) -> Option<Heard> {
        let nodes = self.route.subscribed.as_mut()?;
        match nodes.hear(datagram, sender, Moment { ms, unix: self.now.unix() }) {
            Ok(heard) => {
                if heard.is_news() {
                    tracing::info!("{}: {heard}", self.name);
                    self.news = true;
                }
                Some(heard)
            }
            Err(refused) => {
                if let Some(line) = nodes.complaint(&refused, self.now.ms) {
                    tracing::warn!("{}: {line}", self.name);
                }
                None
            }
        }
    }

    /// Forgets who has announced nothing for too long.
    pub(super) fn forget_silent(&mut self) {
        let Some(nodes) = &mut self.route.subscribed else { return };
        for line in nodes.tick(self.now.ms) {
            tracing::warn!("{}: {line}", self.name);
        }
    }

    /// A backend could not be reached.
    pub(super) fn failed(&mut self, node: &Node, key: &[u8], error: &std::io::Error) {
        if self.route.failed(&node.id, self.now.ms) && !self.settings.quiet {
            let shown = &node.target.shown;
            self.warn(format_args!("{} => marking {shown} as failed: {}", key.escape_ascii(), why(error)));
        }
    }
}
