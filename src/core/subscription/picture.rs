//! What the nodes look like now, for the statistics of routers: the names are those of uWSGI's.

use super::node::Node;
use super::nodes::Nodes;

/// The nodes of a key.
#[derive(Clone, Debug)]
pub struct PoolPicture<'n> {
    /// The key.
    pub key: &'n [u8],
    /// How often a node was chosen.
    pub hits: u64,
    /// The name of its algorithm.
    pub algorithm: &'static str,
    /// Its nodes, the oldest first.
    pub nodes: Vec<NodePicture<'n>>,
}

/// A node.
#[derive(Clone, Copy, Debug)]
pub struct NodePicture<'n> {
    pub(super) node: &'n Node,
}

impl Nodes {
    /// All keys, sorted.
    #[must_use]
    pub fn picture(&self) -> Vec<PoolPicture<'_>> {
        let mut pools: Vec<PoolPicture<'_>> = Vec::with_capacity(self.pools.len());
        for (key, pool) in &self.pools {
            let nodes = pool.nodes.iter().filter_map(|slot| self.at(*slot)).map(|node| NodePicture { node }).collect();
            let algorithm = crate::gateway::balance::ALGORITHMS[pool.algorithm].0;
            pools.push(PoolPicture { key, hits: pool.hits, algorithm, nodes });
        }
        pools.sort_by_key(|pool| pool.key);
        pools
    }
}

impl NodePicture<'_> {
    /// `name`: the address.
    #[must_use]
    pub fn name(&self) -> String {
        self.node.place.to_string()
    }

    /// Numbers by the names that uWSGI gives them.
    #[must_use]
    pub fn numbers(&self) -> [(&'static str, i64); 18] {
        let node = self.node;
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let (pid, uid, gid) = node.who.map_or((0, 0, 0), |who| (who.pid, who.uid, who.gid));
        [
            ("modifier1", node.modifiers.0.into()),
            ("modifier2", node.modifiers.1.into()),
            ("last_check", number(node.heard_unix)),
            ("pid", pid.into()),
            ("uid", uid.into()),
            ("gid", gid.into()),
            ("requests", number(node.requests)),
            ("last_requests", number(node.last_requests)),
            ("tx", number(node.sent_bytes)),
            ("rx", number(node.received_bytes)),
            ("cores", number(node.cores)),
            ("load", number(node.load)),
            ("weight", node.weight.into()),
            ("wrr", node.balance.credit),
            ("backup", node.backup.into()),
            ("ref", node.balance.in_flight.into()),
            ("failcnt", number(node.failures)),
            ("death_mark", node.failed_ms.is_some().into()),
        ]
    }
}
