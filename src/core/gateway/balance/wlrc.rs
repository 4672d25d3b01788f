//! `wlrc`: the one with the fewest requests in flight for its weight; among several, as `wrr` does.

use std::net::IpAddr;

use super::wrr::Wrr;
use super::{Balancer, Candidate};

pub(super) struct Wlrc;

impl Balancer for Wlrc {
    fn choose(&mut self, nodes: &mut [Candidate], client: Option<IpAddr>) -> usize {
        // Fractions are compared without dividing: a/b < c/d where ad < cb.
        let load = |node: &Candidate, other: &Candidate| u64::from(node.in_flight) * u64::from(other.weight);
        let mut best = 0;
        for index in 1..nodes.len() {
            if load(&nodes[index], &nodes[best]) < load(&nodes[best], &nodes[index]) {
                best = index;
            }
        }
        let best = nodes[best];
        let (mut equals, mut places): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
        for (place, node) in nodes.iter().enumerate().filter(|(_, node)| load(node, &best) == load(&best, node)) {
            equals.push(*node);
            places.push(place);
        }
        let chosen = Wrr.choose(&mut equals, client);
        for (place, node) in places.iter().zip(equals) {
            nodes[*place].credit = node.credit;
        }
        places[chosen]
    }
}
