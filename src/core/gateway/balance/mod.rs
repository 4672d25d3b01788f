//! How requests are shared out among the nodes that could take them: an algorithm is a file and a row in [`ALGORITHMS`].
//!
//! The registry of nodes (`subscription`) asks, with those that may be asked at all: alive, of the right level, not
//! tried yet. An algorithm knows no addresses and no time; what it remembers of a node is in its [`Candidate`].

mod iphash;
mod lrc;
mod p2c;
#[cfg(test)]
mod simulation;
mod wlrc;
mod wrr;

use std::net::IpAddr;

/// A node, as an algorithm sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its share, at least 1.
    pub weight: u32,
    /// Requests that it has and has not answered.
    pub in_flight: u32,
    /// When it was last chosen: a counter, larger is later.
    pub turn: u64,
    /// What the algorithm itself remembers; 0 for a node that is new.
    pub credit: i64,
    /// Its address, as a number that stays the same.
    pub hash: u64,
}

/// An algorithm.
pub trait Balancer {
    /// The index of the one that gets the request. `nodes` is never empty; only `credit` may be changed. `client`: who
    /// asks, where that is known.
    fn choose(&mut self, nodes: &mut [Candidate], client: Option<IpAddr>) -> usize;
}

/// Makes an algorithm; the number makes one process choose differently from the next where there is chance in it.
type New = fn(seed: u64) -> Box<dyn Balancer>;

/// All algorithms, by the names that `subscription-algo` knows. The first is the default.
pub const ALGORITHMS: [(&str, New); 5] = [
    ("wrr", |_| Box::new(wrr::Wrr)),
    ("lrc", |_| Box::new(lrc::Lrc)),
    ("wlrc", |_| Box::new(wlrc::Wlrc)),
    ("iphash", |_| Box::new(iphash::IpHash)),
    ("p2c", |seed| Box::new(p2c::TwoChoices::new(seed))),
];

/// A number that bytes always have (FNV-1a), well mixed.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    mix(bytes.iter().fold(0xcbf2_9ce4_8422_2325, step))
}

/// Each bit of what comes out depends on each bit of what goes in (the finalizer of splitmix64).
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The index of the smallest; of several, that of the first. 0 where there is none.
fn least<K: Ord>(nodes: &[Candidate], key: impl Fn(&Candidate) -> K) -> usize {
    nodes.iter().enumerate().min_by_key(|(_, node)| key(node)).map_or(0, |(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn node(weight: u32) -> Candidate {
        Candidate { weight, in_flight: 0, turn: 0, credit: 0, hash: u64::from(weight) }
    }

    /// Chooses so many times; nobody answers before `hold` more were chosen.
    pub fn play(balancer: &mut dyn Balancer, nodes: &mut [Candidate], times: usize, hold: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = Vec::new();
        for turn in 0..times {
            let client = IpAddr::from([10, 0, (turn >> 8) as u8, turn as u8]);
            let index = balancer.choose(nodes, Some(client));
            nodes[index].turn = turn as u64 + 1;
            nodes[index].in_flight += 1;
            chosen.push(index);
            if let Some(done) = turn.checked_sub(hold) {
                nodes[chosen[done]].in_flight -= 1;
            }
        }
        chosen
    }

    fn counts(chosen: &[usize], nodes: usize) -> Vec<usize> {
        (0..nodes).map(|node| chosen.iter().filter(|index| **index == node).count()).collect()
    }

    fn each(check: impl Fn(&'static str, &mut dyn Balancer)) {
        for (name, new) in ALGORITHMS {
            check(name, &mut *new(7));
        }
    }

    #[test]
    fn the_names_are_those_that_the_option_knows() {
        assert_eq!(ALGORITHMS.map(|(name, _)| name), ruwsgi_options::BALANCERS);
    }

    #[test]
    fn the_only_one_is_chosen() {
        each(|name, balancer| {
            for client in [None, Some(IpAddr::from([127, 0, 0, 1])), Some(IpAddr::from([0; 16]))] {
                assert_eq!(balancer.choose(&mut [node(1)], client), 0, "{name}");
                let busy = Candidate { in_flight: u32::MAX, turn: u64::MAX, credit: i64::MAX / 4, ..node(u32::MAX) };
                assert_eq!(balancer.choose(&mut [busy], client), 0, "{name}");
            }
        });
    }

    #[test]
    fn equal_nodes_get_equal_shares() {
        each(|name, balancer| {
            let mut nodes = [1, 2, 3, 4, 5, 6, 7, 8].map(|hash| Candidate { hash: mix(hash), ..node(1) });
            let chosen = counts(&play(balancer, &mut nodes, 8_000, 16), 8);
            assert!(chosen.iter().all(|count| (750..=1_250).contains(count)), "{name}: {chosen:?}");
        });
    }

    #[test]
    fn weights_are_shares_where_they_count() {
        for name in ["wrr", "wlrc", "iphash", "p2c"] {
            let mut balancer = ALGORITHMS.iter().find(|(known, _)| *known == name).unwrap().1(7);
            let mut nodes = [1, 2, 5].map(|weight| Candidate { hash: mix(weight.into()), ..node(weight) });
            let chosen = counts(&play(&mut *balancer, &mut nodes, 8_000, 24), 3);
            for (count, wanted) in chosen.iter().zip([1_000, 2_000, 5_000]) {
                assert!((wanted * 3 / 4..=wanted * 5 / 4).contains(count), "{name}: {chosen:?}");
            }
        }
    }

    #[test]
    fn whoever_comes_or_goes_is_no_trouble() {
        each(|name, balancer| {
            let mut nodes: Vec<Candidate> = Vec::new();
            for turn in 0..2_000_u64 {
                match turn % 7 {
                    0 | 3 => nodes.push(Candidate { hash: mix(turn), ..node(1 + turn as u32 % 3) }),
                    5 if nodes.len() > 1 => drop(nodes.remove(turn as usize % nodes.len())),
                    _ => {}
                }
                let before = nodes.clone();
                let index = balancer.choose(&mut nodes, Some(IpAddr::from([turn as u8; 4])));
                assert!(index < nodes.len(), "{name}");
                let same = |(was, is): (&Candidate, &Candidate)| Candidate { credit: was.credit, ..*is } == *was;
                assert!(before.iter().zip(&nodes).all(same), "{name} changes only what is its own");
            }
        });
    }

    #[test]
    fn whoever_answers_is_preferred_to_who_does_not() {
        for name in ["lrc", "wlrc", "p2c"] {
            let mut balancer = ALGORITHMS.iter().find(|(known, _)| *known == name).unwrap().1(7);
            let mut nodes = [node(1); 4];
            nodes[2].in_flight = 1_000;
            let chosen = counts(&play(&mut *balancer, &mut nodes, 1_000, 8), 4);
            assert_eq!(chosen[2], 0, "{name}: {chosen:?}");
        }
    }
}
