//! A simulation: requests come by chance to nodes that are not equal, and each algorithm is asked where to. It prints the
//! tail latency of each: `cargo test -p ruwsgi-core balance::simulation -- --nocapture`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;

use super::{ALGORITHMS, Balancer, Candidate, mix};

/// How many requests a node runs at a time, and how long it takes for one, in microseconds.
struct Node {
    cores: usize,
    mean_us: f64,
    /// A garbage collection, a neighbour, a disk: it stands still for so long once in a second.
    pause_us: u64,
}

/// Two of the usual kind, a large one, a slow one, and one that stands still now and then.
const NODES: [Node; 5] = [
    Node { cores: 4, mean_us: 10_000.0, pause_us: 0 },
    Node { cores: 4, mean_us: 10_000.0, pause_us: 0 },
    Node { cores: 8, mean_us: 10_000.0, pause_us: 0 },
    Node { cores: 4, mean_us: 25_000.0, pause_us: 0 },
    Node { cores: 4, mean_us: 10_000.0, pause_us: 200_000 },
];
/// Requests, and how many of them a second. What the nodes can do is about 2,100 a second.
const REQUESTS: usize = 60_000;
const RATE: f64 = 1_000.0;

struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        ((mix(self.0) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// With this mean; long ones are rare (exponential).
    fn time(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }
}

/// The latencies of all requests in microseconds, smallest first.
fn run(balancer: &mut dyn Balancer, seed: u64) -> Vec<u64> {
    let mut chance = Chance(seed);
    // When each core of each node is free again.
    let mut free: Vec<BinaryHeap<Reverse<u64>>> =
        NODES.iter().map(|node| (0..node.cores).map(|_| Reverse(0)).collect()).collect();
    let mut ends: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    // As `auto-weight` has it: the number of cores.
    let candidate = |(index, node): (usize, &Node)| Candidate {
        weight: node.cores as u32,
        in_flight: 0,
        turn: 0,
        credit: 0,
        hash: mix(index as u64),
    };
    let mut nodes: Vec<Candidate> = NODES.iter().enumerate().map(candidate).collect();
    let (mut now, mut latencies) = (0.0, Vec::with_capacity(REQUESTS));
    for turn in 0..REQUESTS {
        now += chance.time(1e6 / RATE);
        let began = now as u64;
        while let Some(Reverse((_, node))) = ends.peek().copied().filter(|Reverse((end, _))| *end <= began) {
            ends.pop();
            nodes[node].in_flight -= 1;
        }
        let client = IpAddr::from(((chance.unit() * 5_000.0) as u32).to_be_bytes());
        let index = balancer.choose(&mut nodes, Some(client));
        nodes[index].turn = turn as u64 + 1;
        nodes[index].in_flight += 1;
        let node = &NODES[index];
        let Reverse(core) = free[index].pop().unwrap();
        let mut begin = core.max(began);
        if begin % 1_000_000 < node.pause_us {
            begin += node.pause_us - begin % 1_000_000;
        }
        let end = begin + chance.time(node.mean_us) as u64 + 1;
        free[index].push(Reverse(end));
        ends.push(Reverse((end, index)));
        latencies.push(end - began);
    }
    latencies.sort_unstable();
    latencies
}

fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    sorted[(sorted.len() * per_mille / 1_000).min(sorted.len() - 1)]
}

#[test]
fn whoever_looks_at_the_load_has_the_shorter_tail() {
    let mut tails = Vec::new();
    println!("{:<8} {:>9} {:>9} {:>9} {:>9}", "ms", "p50", "p90", "p99", "p99.9");
    for (name, new) in ALGORITHMS {
        let latencies = run(&mut *new(7), 42);
        let shown = [500, 900, 990, 999].map(|it| percentile(&latencies, it) as f64 / 1e3);
        println!("{name:<8} {:>9.1} {:>9.1} {:>9.1} {:>9.1}", shown[0], shown[1], shown[2], shown[3]);
        tails.push((name, percentile(&latencies, 990)));
    }
    let tail = |name| tails.iter().find(|(known, _)| *known == name).unwrap().1;
    for name in ["lrc", "wlrc", "p2c"] {
        assert!(tail(name) < tail("wrr"), "{name} against wrr: {tails:?}");
        assert!(tail(name) < tail("iphash"), "{name} against iphash: {tails:?}");
    }
}
