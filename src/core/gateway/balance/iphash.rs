//! `iphash`: a client always comes to the same node, as long as it is there; the others keep theirs when one comes or
//! goes (rendezvous hashing, where uWSGI divides by the number of nodes and moves nearly all). Who has no address is
//! treated as `lrc` does.

use std::net::IpAddr;

use super::lrc::Lrc;
use super::{Balancer, Candidate, hash, mix};

pub(super) struct IpHash;

impl Balancer for IpHash {
    fn choose(&mut self, nodes: &mut [Candidate], client: Option<IpAddr>) -> usize {
        let client = match client.map(|ip| ip.to_canonical()) {
            None => return Lrc.choose(nodes, None),
            Some(IpAddr::V4(ip)) => hash(&ip.octets()),
            Some(IpAddr::V6(ip)) => hash(&ip.octets()),
        };
        // The weighted form: -weight / ln(h), with h in (0, 1), is the largest at a node as often as its weight says.
        let score = |node: &Candidate| {
            let unit = ((mix(node.hash ^ client) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
            -f64::from(node.weight) / unit.ln()
        };
        let scores = nodes.iter().map(score).enumerate();
        scores.max_by(|(_, one), (_, other)| one.total_cmp(other)).map_or(0, |(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::node;
    use super::*;

    #[test]
    fn a_client_stays_where_it_is_when_others_come_and_go() {
        let mut nodes: Vec<Candidate> = (0..8).map(|number| Candidate { hash: mix(number), ..node(1) }).collect();
        let clients = || (0..4_000_u32).map(|number| Some(IpAddr::from(number.to_be_bytes())));
        let home = |nodes: &mut Vec<Candidate>, client| {
            let index = IpHash.choose(nodes, client);
            nodes[index].hash
        };
        let before: Vec<u64> = clients().map(|client| home(&mut nodes, client)).collect();
        let gone = nodes.remove(3);
        let after: Vec<u64> = clients().map(|client| home(&mut nodes, client)).collect();
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after);
        assert!(moved.clone().count() > 300 && moved.into_iter().all(|(before, _)| *before == gone.hash));
    }
}
