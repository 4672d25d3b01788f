//! What makes one router another: what comes from its clients, and how its backends are asked. The plugins implement it.

use std::rc::Rc;

use ruwsgi_sys::listen::At;
use ruwsgi_sys::stream::Peer;
use ruwsgi_wire::client::{Client, Unaskable};
use ruwsgi_wire::proxy::Origin;
use ruwsgi_wire::{Exchange, Vars};

use super::Node;

/// Who is connected, and where.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The client, or a proxy before it.
    pub peer: Peer,
    /// The listener.
    pub at: Rc<At>,
    /// The listener, as it was written.
    pub address: Rc<str>,
}

/// A request that a backend is asked.
pub struct Asking<'a> {
    /// What it says.
    pub vars: &'a mut Vars,
    /// Who says it.
    pub visitor: &'a Visitor,
    /// What a proxy says about who says it.
    pub origin: Option<Origin>,
    /// The length of the body; `None`: it comes in chunks.
    pub length: Option<u64>,
    /// The connection is to become another protocol's.
    pub upgrade: bool,
    /// The kind of packet that it came in.
    pub modifiers: (u8, u8),
    /// Whom it is asked.
    pub node: &'a Node,
}

/// The front of a router.
pub trait Front {
    /// Starts the conversation with a client. `None`: there is nothing to understand, bytes are passed on as they come.
    fn exchange(&self, visitor: &Visitor) -> Option<Box<dyn Exchange>>;

    /// By what the backend of a request is chosen; empty: it does not say. Without a conversation, `vars` is empty.
    fn key<'v>(&'v self, vars: &'v Vars, visitor: &'v Visitor) -> &'v [u8];

    /// Appends what begins a request in the protocol of a backend.
    fn ask(&self, asking: Asking<'_>, client: &mut Client, out: &mut Vec<u8>) -> Result<(), Unaskable>;

    /// What goes to this backend before everything else, where all that follows is passed on as it comes, both ways:
    /// the head of the request, or what introduces the client. `None`: request and answer are understood.
    fn verbatim(&self, _head: &[u8], _visitor: &Visitor, _node: &Node) -> Option<Vec<u8>> {
        None
    }

    /// The client says nothing before the server has spoken: this goes to a server after its first line.
    fn introduction(&self, _visitor: &Visitor) -> Option<Vec<u8>> {
        None
    }

    /// The request asks to make another protocol's connection of this one.
    fn upgrades(&self, _vars: &Vars) -> bool {
        false
    }

    /// A client that has the whole answer of a connection passed on as it is needs it no longer.
    fn ends_with_backend(&self) -> bool {
        false
    }

    /// Where exactly a client has connected to is of interest, also where the listener is for all addresses.
    fn wants_address(&self) -> bool {
        false
    }

    /// The body of a request that came in such a packet may be received before a backend is asked.
    fn may_collect(&self, _modifiers: (u8, u8)) -> bool {
        true
    }

    /// The largest body that may come for a client that waits for `100 Continue`.
    fn most_expected(&self) -> Option<u64> {
        None
    }
}
