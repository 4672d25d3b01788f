//! Backends that announce themselves: `-subscription-server`. The registry knows them; here is how a router asks it.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use ruwsgi_sys::stream::Remote;
use ruwsgi_wire::client::Dialect;

use super::{Id, Mapper, Node, Wanted};
use crate::gateway::target::Target;
use crate::subscription::{Client, Heard, Moment, NodeId, Nodes, Place, PoolPicture, Refused, Rules, Sender};

/// So many addresses are remembered: those of as many nodes as there may be.
const REMEMBERED: usize = 65_536;

/// What a place is for the links.
type Known = HashMap<(Rc<Place>, Option<Dialect>), Rc<Target>>;

/// The nodes of a router process.
pub(in crate::gateway) struct Subscribed {
    nodes: Nodes,
    dialect: Dialect,
    fallback_key: Option<String>,
    known: Known,
}

impl Subscribed {
    pub(super) fn new(rules: Rules, dialect: Dialect, fallback_key: Option<String>) -> Self {
        Self { nodes: Nodes::new(rules), dialect, fallback_key, known: HashMap::new() }
    }

    /// Takes an announcement.
    pub(in crate::gateway) fn hear(&mut self, datagram: &[u8], sender: Sender, now: Moment) -> Result<Heard, Refused> {
        self.nodes.hear(datagram, sender, now)
    }

    /// The line to tell about one that was not believed; few of very many.
    pub(in crate::gateway) fn complaint(&mut self, refused: &Refused, now_ms: u64) -> Option<String> {
        self.nodes.complaint(refused, now_ms)
    }

    /// Forgets who was silent for too long; the lines to tell.
    pub(in crate::gateway) fn tick(&mut self, now_ms: u64) -> Vec<String> {
        self.nodes.tick(now_ms).iter().map(ToString::to_string).collect()
    }

    /// Their last words.
    pub(in crate::gateway) fn words(&self) -> impl Iterator<Item = (u64, Sender, &[u8])> {
        self.nodes.words()
    }

    /// Nobody has announced itself.
    pub(in crate::gateway) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All of them, for the statistics.
    pub(in crate::gateway) fn picture(&self) -> Vec<PoolPicture<'_>> {
        self.nodes.picture()
    }

    fn target(&mut self, place: &Rc<Place>, protocol: Option<Dialect>) -> Rc<Target> {
        if let Some(known) = self.known.get(&(place.clone(), protocol)) {
            return known.clone();
        }
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        let remote = match &**place {
            Place::Inet(address) => Remote::Inet(*address),
            Place::Unix(path) => Remote::Unix(path.as_os_str().as_bytes().to_vec()),
            Place::Abstract(name) => Remote::Unix([b"\0", &name[..]].concat()),
        };
        let dialect = protocol.unwrap_or(self.dialect);
        let target = Rc::new(Target { remote, dialect, shown: place.to_string() });
        self.known.insert((place.clone(), protocol), target.clone());
        target
    }
}

fn announced(id: &Id) -> Option<NodeId> {
    if let Id::Announced(id) = id { Some(*id) } else { None }
}

impl Mapper for Subscribed {
    fn choose(&mut self, wanted: &Wanted<'_>) -> Option<Node> {
        let tried: Vec<NodeId> = wanted.tried.iter().filter_map(announced).collect();
        let client = Client { ip: wanted.client, tried: &tried };
        let choice = self.nodes.choose(wanted.key, client, wanted.now_ms);
        let choice = choice.or_else(|| {
            let key = self.fallback_key.as_ref()?;
            self.nodes.choose(key.as_bytes(), client, wanted.now_ms)
        })?;
        let modifiers = (choice.modifier1, choice.modifier2);
        let target = self.target(&choice.address, choice.protocol);
        // A node that says none takes what comes.
        Some(Node { id: Id::Announced(choice.id), target, modifiers: (modifiers != (0, 0)).then_some(modifiers) })
    }

    fn failed(&mut self, id: &Id, now_ms: u64) -> bool {
        announced(id).is_some_and(|id| self.nodes.failed(id, now_ms))
    }

    /// It says so itself.
    fn reached(&mut self, _: &Id) {}

    fn began(&mut self, id: &Id) {
        if let Some(id) = announced(id) {
            self.nodes.began(id);
        }
    }

    fn ended(&mut self, id: &Id, (sent, received): (u64, u64)) {
        if let Some(id) = announced(id) {
            self.nodes.moved(id, sent, received);
            self.nodes.ended(id);
        }
    }
}
