//! The registry of a router process: which nodes there are for which requests, and which of them is next.
//!
//! * A *node* is known from its first announcement until it leaves or is silent for longer than is tolerated.
//! * A node that can't be reached is *dead*: nothing goes there until it announces itself again.
//! * [`Nodes::choose`] leaves out the dead and those that were tried, takes those of the lowest backup level that is
//!   left, and asks the balancer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;

use ruwsgi_wire::client::Dialect;

use super::hear::Sender;
use super::node::{Node, NodeId};
use super::note::{Complaints, MOST_AT_ONCE, Note};
use super::place::Place;
use super::rules::Rules;
use super::stamps::Stamps;
use crate::gateway::balance::{ALGORITHMS, Balancer, Candidate};

/// How many labels `subscription-dotsplit` takes off at most, as in uWSGI.
const MOST_LABELS: usize = 5;

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Client<'t> {
    /// Its address.
    pub ip: Option<IpAddr>,
    /// The nodes that could not be reached for this request.
    pub tried: &'t [NodeId],
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The node, for what there is to tell of it.
    pub id: NodeId,
    /// Where to connect.
    pub address: Rc<Place>,
    /// The first number of packets that go there.
    pub modifier1: u8,
    /// The second one.
    pub modifier2: u8,
    /// What it speaks, where it has said so.
    pub protocol: Option<Dialect>,
}

/// The nodes of a key.
#[derive(Debug, Default)]
pub(super) struct Pool {
    pub nodes: Vec<u32>,
    pub algorithm: usize,
    pub hits: u64,
}

/// A place for a node.
#[derive(Debug, Default)]
struct Slot {
    serial: u32,
    node: Option<Node>,
}

/// The registry.
pub struct Nodes {
    pub(super) rules: Rules,
    pub(super) pools: HashMap<Rc<[u8]>, Pool>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    balancers: Vec<Box<dyn Balancer>>,
    pub(super) stamps: Stamps,
    pub(super) complaints: Complaints,
    turn: u64,
    /// Those that may be chosen now, and what the balancer sees of them: kept to be used again.
    eligible: Vec<u32>,
    candidates: Vec<Candidate>,
}

impl Nodes {
    /// With nobody in it.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        let balancers = ALGORITHMS.iter().map(|(_, new)| new(rules.seed)).collect();
        Self {
            rules,
            pools: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            balancers,
            stamps: Stamps::default(),
            complaints: Complaints::default(),
            turn: 0,
            eligible: Vec::new(),
            candidates: Vec::new(),
        }
    }

    /// The last word of each node that has announced itself: when it was heard, from whom, and the datagram.
    pub fn words(&self) -> impl Iterator<Item = (u64, Sender, &[u8])> {
        let nodes =
            self.slots.iter().filter_map(|slot| slot.node.as_ref()).filter(|node| !node.gone && !node.said.is_empty());
        nodes.map(|node| (node.heard_ms, node.sender, &node.said[..]))
    }

    /// Nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pools.is_empty()
    }

    /// The node that gets a request for this key. `None`: nobody is there.
    pub fn choose(&mut self, key: &[u8], client: Client<'_>, now_ms: u64) -> Option<Choice> {
        let mut key = key;
        for _ in 0..=MOST_LABELS {
            if let Some(choice) = self.choose_of(key, client, now_ms) {
                return Some(choice);
            }
            if !self.rules.dotsplit {
                return None;
            }
            // `a.b` becomes `.b`, and `.b` nothing.
            let label = key.iter().skip(1).position(|byte| *byte == b'.')? + 1;
            key = &key[label..];
        }
        None
    }

    fn choose_of(&mut self, key: &[u8], client: Client<'_>, now_ms: u64) -> Option<Choice> {
        let algorithm = self.pools.get(key)?.algorithm;
        self.look_for_eligible(key, client.tried, now_ms);
        if self.eligible.is_empty() {
            return None;
        }
        self.candidates.clear();
        for slot in &self.eligible {
            self.candidates.extend(self.slots[*slot as usize].node.as_ref().map(|node| node.balance));
        }
        let chosen = self.balancers[algorithm].choose(&mut self.candidates, client.ip);
        self.turn += 1;
        for (slot, candidate) in self.eligible.iter().zip(&self.candidates) {
            if let Some(node) = &mut self.slots[*slot as usize].node {
                node.balance.credit = candidate.credit;
            }
        }
        let slot = *self.eligible.get(chosen)?;
        if let Some(pool) = self.pools.get_mut(key) {
            pool.hits += 1;
        }
        let Slot { serial, node } = &mut self.slots[slot as usize];
        let node = node.as_mut()?;
        node.balance.turn = self.turn;
        let (id, (modifier1, modifier2)) = (NodeId { slot, serial: *serial }, node.modifiers);
        Some(Choice { id, address: node.place.clone(), modifier1, modifier2, protocol: node.protocol })
    }

    /// Collects those that may be asked.
    fn look_for_eligible(&mut self, key: &[u8], tried: &[NodeId], now_ms: u64) {
        let Self { rules, pools, slots, eligible, .. } = self;
        eligible.clear();
        let Some(pool) = pools.get(key) else { return };
        let mut level = u32::MAX;
        for slot in &pool.nodes {
            let Slot { serial, node: Some(node) } = &slots[*slot as usize] else { continue };
            let id = NodeId { slot: *slot, serial: *serial };
            if !node.is_known(rules.tolerance_ms, now_ms) || node.failed_ms.is_some() || tried.contains(&id) {
                continue;
            }
            if node.backup < level {
                level = node.backup;
                eligible.clear();
            }
            if node.backup == level {
                eligible.push(*slot);
            }
        }
    }

    /// A connection to this node was made for a request.
    pub fn began(&mut self, id: NodeId) {
        if let Some(node) = self.node_mut(id) {
            node.balance.in_flight = node.balance.in_flight.saturating_add(1);
            node.requests += 1;
            node.last_requests += 1;
        }
    }

    /// The request is over, well or not. Once for each [`Nodes::began`].
    pub fn ended(&mut self, id: NodeId) {
        if let Some(node) = self.node_mut(id) {
            node.balance.in_flight = node.balance.in_flight.saturating_sub(1);
            if node.gone && node.balance.in_flight == 0 {
                self.vacate(id.slot);
            }
        }
    }

    /// So many bytes went to the node and came from it.
    pub fn moved(&mut self, id: NodeId, sent: u64, received: u64) {
        if let Some(node) = self.node_mut(id) {
            node.sent_bytes += sent;
            node.received_bytes += received;
        }
    }

    /// The node can't be reached: nothing goes there until it announces itself again. Whether that is new.
    pub fn failed(&mut self, id: NodeId, now_ms: u64) -> bool {
        let Some(node) = self.node_mut(id).filter(|node| !node.gone) else { return false };
        node.failures += 1;
        node.failed_ms.replace(now_ms).is_none()
    }

    /// Forgets those that were silent for too long; what there is to tell. To be called about once a second.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Note> {
        let tolerance_ms = self.rules.tolerance_ms;
        let silent = |(number, slot): (usize, &Slot)| {
            let node = slot.node.as_ref()?;
            (!node.gone && !node.is_known(tolerance_ms, now_ms)).then_some(number as u32)
        };
        let silent: Vec<u32> = self.slots.iter().enumerate().filter_map(silent).collect();
        let (mut notes, count) = (Vec::new(), silent.len());
        for slot in silent {
            if let Some(node) = self.at(slot).filter(|_| notes.len() < MOST_AT_ONCE) {
                let (key, place) = (node.key.clone(), node.place.clone());
                notes.push(Note::Silent { key, place, seconds: tolerance_ms / 1_000 });
            }
            self.remove(slot);
        }
        notes.extend(count.checked_sub(MOST_AT_ONCE).filter(|more| *more > 0).map(Note::Others));
        notes
    }

    // For those who hear announcements.

    pub(super) fn find(&self, key: &[u8], place: &Place) -> Option<u32> {
        let pool = self.pools.get(key)?;
        pool.nodes.iter().copied().find(|slot| self.at(*slot).is_some_and(|node| *node.place == *place))
    }

    pub(super) fn at(&self, slot: u32) -> Option<&Node> {
        self.slots.get(slot as usize)?.node.as_ref()
    }

    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut Node> {
        self.slots.get_mut(slot as usize)?.node.as_mut()
    }

    /// How many there are, with those that have left and still have requests.
    pub(super) fn count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn add(&mut self, node: Node) -> u32 {
        let key = node.key.clone();
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        self.slots[slot as usize].node = Some(node);
        let algorithm = self.rules.algorithm;
        let pool = self.pools.entry(key).or_insert_with(|| Pool { algorithm, ..Pool::default() });
        pool.nodes.push(slot);
        slot
    }

    /// Nothing goes there any more; it is forgotten when its last request is over.
    pub(super) fn remove(&mut self, slot: u32) {
        let Some(node) = self.at_mut(slot) else { return };
        node.gone = true;
        let (key, idle) = (node.key.clone(), node.balance.in_flight == 0);
        if let Some(pool) = self.pools.get_mut(&key) {
            pool.nodes.retain(|other| *other != slot);
            if pool.nodes.is_empty() {
                self.pools.remove(&key);
            }
        }
        if idle {
            self.vacate(slot);
        }
    }

    fn vacate(&mut self, slot: u32) {
        let place = &mut self.slots[slot as usize];
        place.node = None;
        place.serial = place.serial.wrapping_add(1);
        self.free.push(slot);
    }

    fn node_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        let slot = self.slots.get_mut(id.slot as usize).filter(|slot| slot.serial == id.serial)?;
        slot.node.as_mut()
    }
}
