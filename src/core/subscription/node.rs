//! A node: one address that serves the requests of a key.

use std::rc::Rc;

use ruwsgi_wire::client::Dialect;
use ruwsgi_wire::subscription::Packet;

use super::hear::Sender;
use super::place::Place;
use super::trust::Credentials;
use crate::gateway::balance::{Candidate, hash};

/// A node, as long as its router lives: no other one ever has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId {
    pub(super) slot: u32,
    pub(super) serial: u32,
}

/// A node that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    /// Where it is.
    pub place: Place,
    /// Its share, at least 1.
    pub weight: u32,
    /// The numbers of packets that go there.
    pub modifiers: (u8, u8),
    /// What it speaks, where that is not what the router speaks.
    pub protocol: Option<Dialect>,
    /// Only for when all of a lower number are gone.
    pub backup: u32,
}

impl Fixed {
    /// With nothing said but where it is.
    #[must_use]
    pub fn at(place: Place) -> Self {
        Self { place, weight: 1, modifiers: (0, 0), protocol: None, backup: 0 }
    }
}

/// What is known of a node.
#[derive(Debug)]
pub(super) struct Node {
    pub key: Rc<[u8]>,
    pub place: Rc<Place>,
    pub modifiers: (u8, u8),
    pub protocol: Option<Dialect>,
    pub weight: u32,
    pub backup: u32,
    pub cores: u64,
    pub load: u64,
    pub who: Option<Credentials>,
    /// Its last announcement, as it was said, and by whom.
    pub said: Vec<u8>,
    pub sender: Sender,
    /// It is there without being announced.
    pub fixed: bool,
    /// When it was last announced.
    pub heard_ms: u64,
    pub heard_unix: u64,
    /// Since when it can't be reached.
    pub failed_ms: Option<u64>,
    pub failures: u64,
    /// It has left; it is forgotten when its last request is over.
    pub gone: bool,
    pub requests: u64,
    /// Those since it was last announced.
    pub last_requests: u64,
    pub received_bytes: u64,
    pub sent_bytes: u64,
    pub balance: Candidate,
}

impl Node {
    pub(super) fn new(key: Rc<[u8]>, fixed: &Fixed) -> Self {
        let hash = hash(fixed.place.to_string().as_bytes());
        Self {
            key,
            place: Rc::new(fixed.place.clone()),
            modifiers: fixed.modifiers,
            protocol: fixed.protocol,
            weight: fixed.weight.max(1),
            backup: fixed.backup,
            cores: 0,
            load: 0,
            who: None,
            said: Vec::new(),
            sender: Sender::default(),
            fixed: true,
            heard_ms: 0,
            heard_unix: 0,
            failed_ms: None,
            failures: 0,
            gone: false,
            requests: 0,
            last_requests: 0,
            received_bytes: 0,
            sent_bytes: 0,
            balance: Candidate { weight: fixed.weight.max(1), in_flight: 0, turn: 0, credit: 0, hash },
        }
    }

    /// Takes what an announcement says.
    pub(super) fn learn(&mut self, packet: &Packet<'_>, datagram: &[u8], sender: Sender) {
        // Weights are shares: what does not fit is the largest one.
        self.weight = u32::try_from(packet.weight).unwrap_or(u32::MAX).clamp(1, MOST_WEIGHT);
        self.balance.weight = self.weight;
        self.modifiers = (packet.modifier1, packet.modifier2);
        self.protocol = packet.proto.and_then(dialect);
        self.backup = u32::try_from(packet.backup).unwrap_or(u32::MAX);
        (self.cores, self.load) = (packet.cores, packet.load);
        self.last_requests = 0;
        self.failed_ms = None;
        (self.who, self.sender) = (sender.credentials.or(self.who), sender);
        // Usually it says the same again.
        self.said.clear();
        self.said.extend_from_slice(if datagram.len() <= MOST_SAID_BYTES { datagram } else { b"" });
    }

    /// Nobody has said that it is gone, and it was not silent for too long.
    pub(super) fn is_known(&self, tolerance_ms: u64, now_ms: u64) -> bool {
        !self.gone && (self.fixed || now_ms <= self.heard_ms.saturating_add(tolerance_ms))
    }
}

/// What is longer is not kept: honest announcements are a tenth of that, and signed ones the half.
const MOST_SAID_BYTES: usize = 1024;

/// So large that sums of all weights stay far from overflowing.
const MOST_WEIGHT: u32 = 1 << 24;

/// The protocol with this first letter.
pub(super) fn dialect(letter: u8) -> Option<Dialect> {
    match letter {
        b'u' => Some(Dialect::Uwsgi),
        b'h' => Some(Dialect::Http),
        b'f' => Some(Dialect::FastCgi),
        b's' => Some(Dialect::Scgi),
        _ => None,
    }
}
