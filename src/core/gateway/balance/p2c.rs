//! `p2c`: of two that chance picks, the one with fewer requests in flight for its weight (Mitzenmacher, "The power of
//! two choices"). Nearly as good as looking at all, and several routers that do not know of each other do not all run to
//! the same node.

use std::net::IpAddr;

use super::{Balancer, Candidate, mix};

pub(super) struct TwoChoices {
    state: u64,
}

impl TwoChoices {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A number below `bound`, which is not 0 (splitmix64; the bias of the multiplication is below 2^-32).
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((u128::from(mix(self.state)) * u128::from(bound)) >> 64) as u64
    }

    /// One of them, each as often as its weight says; not the one at `except`.
    fn pick(&mut self, nodes: &[Candidate], except: Option<usize>) -> usize {
        let others = || nodes.iter().enumerate().filter(|(index, _)| Some(*index) != except);
        let mut left = self.below(others().map(|(_, node)| u64::from(node.weight)).sum::<u64>().max(1));
        for (index, node) in others() {
            match left.checked_sub(node.weight.into()) {
                Some(rest) => left = rest,
                None => return index,
            }
        }
        except.unwrap_or(0)
    }
}

impl Balancer for TwoChoices {
    fn choose(&mut self, nodes: &mut [Candidate], _: Option<IpAddr>) -> usize {
        let first = self.pick(nodes, None);
        let second = self.pick(nodes, Some(first));
        // What it would have with this one, so that weights count among idle nodes, too.
        let load = |one: usize, other: usize| (u64::from(nodes[one].in_flight) + 1) * u64::from(nodes[other].weight);
        if load(second, first) < load(first, second) { second } else { first }
    }
}
