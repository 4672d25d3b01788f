//! A connection to a backend: made for a session, which has it while it asks, and kept for another one where the
//! protocol allows that (`pool`).

use std::io;

use mio::Token;
use ruwsgi_sys::stream;
use ruwsgi_wire::client::Client;

use super::end::End;
use super::mapper::Node;
use super::world::World;

/// A connection to a backend.
pub(super) struct Link {
    /// Its number among all of the process.
    pub(super) key: usize,
    pub(super) end: End,
    pub(super) client: Client,
    pub(super) node: Node,
    /// Its backend is asked at this moment; what had gone there and come from there when that began.
    asked: Option<(u64, u64)>,
    /// It is being made.
    pub(super) connecting: bool,
    /// It has carried a request before.
    pub(super) used: bool,
    /// The backend has said something since it was asked.
    pub(super) heard: bool,
    /// Since when it waits for another request.
    pub(super) idle_ms: u64,
}

/// Whom the events of a link are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// A session.
    Session(usize),
    /// Nobody: it waits.
    Idle,
}

impl World {
    /// Begins to connect to a backend for a session. `WouldBlock`: it has too many connections that it has not accepted.
    pub(super) fn connect(&mut self, node: &Node, session: usize) -> io::Result<Box<Link>> {
        let (fd, there) = stream::connect(&node.target.remote)?;
        if let stream::Remote::Inet(_) = node.target.remote {
            use std::os::fd::AsFd;
            stream::no_delay(fd.as_fd());
        }
        let entry = self.owners.vacant_entry();
        let key = entry.key();
        let end = End::new(fd, Token(super::gate::link_token(key)), &self.registry, !there)?;
        entry.insert(Owner::Session(session));
        let client = Client::new(node.target.dialect);
        Ok(Box::new(Link {
            key,
            end,
            client,
            node: node.clone(),
            asked: None,
            connecting: !there,
            used: false,
            heard: false,
            idle_ms: 0,
        }))
    }

    /// The backend is asked.
    pub(super) fn begin(&mut self, link: &mut Link) {
        if link.asked.is_none() {
            self.route.began(&link.node.id);
            link.asked = Some((link.end.sent_bytes, link.end.received_bytes));
        }
    }

    /// That is over.
    pub(super) fn finish(&mut self, link: &mut Link) {
        if let Some((sent, received)) = link.asked.take() {
            let moved = (link.end.sent_bytes - sent, link.end.received_bytes - received);
            self.route.ended(&link.node.id, moved);
        }
    }

    /// Closes a link.
    pub(super) fn discard(&mut self, mut link: Box<Link>) {
        self.finish(&mut link);
        self.owners.try_remove(link.key);
        drop(link);
    }
}
