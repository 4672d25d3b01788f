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
    /// One of which nothing but its place is known.
    pub(super) fn new(key: Rc<[u8]>, place: Place) -> Self {
        let hash = hash(place.to_string().as_bytes());
        Self {
            key,
            place: Rc::new(place),
            modifiers: (0, 0),
            protocol: None,
            weight: 1,
            backup: 0,
            cores: 0,
            load: 0,
            who: None,
            said: Vec::new(),
            sender: Sender::default(),
            heard_ms: 0,
            heard_unix: 0,
            failed_ms: None,
            failures: 0,
            gone: false,
            requests: 0,
            last_requests: 0,
            received_bytes: 0,
            sent_bytes: 0,
            balance: Candidate { weight: 1, in_flight: 0, turn: 0, credit: 0, hash },
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
        !self.gone && now_ms <= self.heard_ms.saturating_add(tolerance_ms)
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
