//! `wrr`: each in turn, as often as its weight says. uWSGI gives a node all its turns in a row; here they are spread
//! out (the smooth round robin of nginx): of 5, 1 and 1, the first never gets five at once.

use std::net::IpAddr;

use super::{Balancer, Candidate};

pub(super) struct Wrr;

impl Balancer for Wrr {
    fn choose(&mut self, nodes: &mut [Candidate], _: Option<IpAddr>) -> usize {
        let total: i64 = nodes.iter().map(|node| i64::from(node.weight)).sum();
        let mut best = 0;
        for index in 0..nodes.len() {
            nodes[index].credit = nodes[index].credit.saturating_add(nodes[index].weight.into());
            if nodes[index].credit > nodes[best].credit {
                best = index;
            }
        }
        nodes[best].credit = nodes[best].credit.saturating_sub(total);
        best
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{node, play};
    use super::*;

    #[test]
    fn turns_are_spread_out() {
        assert_eq!(play(&mut Wrr, &mut [node(5), node(1), node(1)], 7, 0), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(play(&mut Wrr, &mut [node(1), node(1), node(1)], 6, 0), [0, 1, 2, 0, 1, 2]);
    }
}
