//! The newest signature of each node, so that nobody can play an old announcement again: also after the node was
//! forgotten, which uWSGI does not remember. It holds as much as there can be of signatures that are young enough.

use std::collections::HashMap;
use std::rc::Rc;

use super::place::Place;

/// How many stamps are kept of those that may be forgotten as soon as they are too old to be played again.
const MOST: usize = 131_072;

/// The stamps.
#[derive(Debug, Default)]
pub(super) struct Stamps {
    newest: HashMap<(Rc<[u8]>, Place), u64>,
}

impl Stamps {
    /// The newest signature of this node, in seconds since 1970.
    pub(super) fn newest(&self, key: &Rc<[u8]>, place: &Place) -> Option<u64> {
        self.newest.get(&(key.clone(), place.clone())).copied()
    }

    /// A signature was checked and is good. `false`: there is no room to remember it, so it must not be believed.
    pub(super) fn note(&mut self, key: &Rc<[u8]>, place: &Place, stamp: u64, oldest: u64) -> bool {
        let entry = (key.clone(), place.clone());
        if self.newest.len() >= MOST && !self.newest.contains_key(&entry) {
            self.newest.retain(|_, stamp| *stamp >= oldest);
            if self.newest.len() >= MOST {
                return false;
            }
        }
        self.newest.insert(entry, stamp);
        true
    }
}
