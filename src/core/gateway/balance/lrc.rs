//! `lrc`: the one with the fewest requests in flight; of several, the one whose last turn is the longest ago.

use std::net::IpAddr;

use super::{Balancer, Candidate, least};

pub(super) struct Lrc;

impl Balancer for Lrc {
    fn choose(&mut self, nodes: &mut [Candidate], _: Option<IpAddr>) -> usize {
        least(nodes, |node| (node.in_flight, node.turn))
    }
}
