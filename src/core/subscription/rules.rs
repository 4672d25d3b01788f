//! What a router goes by: the options of subscriptions, read from the configuration.

use ruwsgi_options::Config;

use super::trust::{Files, Trust};
use crate::gateway::balance::ALGORITHMS;

/// The most nodes of all keys together. A node has about 500 bytes; whoever sends more announcements than that is no
/// instance.
pub const MOST_NODES: usize = 65_536;
/// The most nodes of one key: each of them is looked at for each request.
pub const MOST_OF_A_KEY: usize = 1_024;

/// What a router goes by.
pub struct Rules {
    /// How requests are shared out: a row of [`ALGORITHMS`], for keys that ask for no other.
    pub algorithm: usize,
    /// How long a node may be silent until nothing goes there, in milliseconds.
    pub tolerance_ms: u64,
    /// Where there is nobody for `a.b.c`, `.b.c` and `.c` are asked, too.
    pub dotsplit: bool,
    /// Announcements must be signed, and a signature may be so old, in seconds.
    pub signed_within: Option<u64>,
    /// These users need no signature.
    pub unsigned_uids: Vec<u32>,
    /// Announcements must be from the owner of the key.
    pub owned: bool,
    /// The most nodes.
    pub most_nodes: usize,
    /// Makes one router process choose differently from the next.
    pub seed: u64,
    /// Who knows keys and owners.
    pub trust: Box<dyn Trust>,
}

impl Default for Rules {
    /// Everybody is believed.
    fn default() -> Self {
        Self {
            algorithm: 0,
            tolerance_ms: 17_000,
            dotsplit: false,
            signed_within: None,
            unsigned_uids: Vec::new(),
            owned: false,
            most_nodes: MOST_NODES,
            seed: 0,
            trust: Box::new(Files::default()),
        }
    }
}

impl Rules {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config, seed: u64) -> Self {
        let said = &config.subscriptions;
        Self {
            algorithm: algorithm(said.algorithm).unwrap_or(0),
            tolerance_ms: u64::from(said.tolerance) * 1_000,
            dotsplit: said.dotsplit,
            signed_within: said.sign_check.as_ref().map(|_| said.sign_tolerance.into()),
            unsigned_uids: said.sign_skip_uid.clone(),
            owned: !said.credentials_check.is_empty(),
            most_nodes: MOST_NODES,
            seed,
            trust: Box::new(Files::of(said.sign_check.as_ref(), &said.credentials_check)),
        }
    }
}

/// The row of [`ALGORITHMS`] with this name.
pub(super) fn algorithm(name: &str) -> Option<usize> {
    ALGORITHMS.iter().position(|(known, _)| *known == name)
}
