//! What a router process has heard and believes, as it was said: so that one that comes later can be told, and need not
//! wait until everybody has announced itself again. It begins with the doors shut until then.

use std::collections::HashMap;
use std::rc::Rc;

use super::message::{heard, read_heard};
use crate::subscription::{Heard, Place, Sender, What};

/// The last word of each node.
pub(super) struct Known {
    words: HashMap<(Rc<[u8]>, Rc<Place>), Word>,
    /// Older words say nothing any more.
    tolerance_ms: u64,
}

struct Word {
    sender: Sender,
    datagram: Vec<u8>,
    heard_ms: u64,
}

impl Known {
    pub(super) fn new(tolerance_ms: u64) -> Self {
        Self { words: HashMap::new(), tolerance_ms }
    }

    /// Notes what was believed.
    pub(super) fn note(&mut self, heard: &Heard, sender: Sender, datagram: &[u8], now_ms: u64) {
        let name = (heard.key.clone(), heard.place.clone());
        if matches!(heard.what, What::Left | What::Unknown) {
            self.words.remove(&name);
            return;
        }
        // Usually it says the same again.
        match self.words.get_mut(&name) {
            Some(word) => {
                word.datagram.clear();
                word.datagram.extend_from_slice(datagram);
                (word.sender, word.heard_ms) = (sender, now_ms);
            }
            None => {
                self.words.insert(name, Word { sender, datagram: datagram.to_vec(), heard_ms: now_ms });
            }
        }
    }

    /// Forgets what was said too long ago.
    pub(super) fn forget(&mut self, now_ms: u64) {
        let tolerance_ms = self.tolerance_ms;
        self.words.retain(|_, word| now_ms <= word.heard_ms + tolerance_ms);
    }

    /// All of it as bytes, for another process.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in self.words.values() {
            let said = heard(word.sender, &word.datagram);
            bytes.extend_from_slice(&(said.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&said);
        }
        bytes
    }
}

/// What such bytes say.
pub(super) fn decode(mut bytes: &[u8]) -> Vec<(Sender, Vec<u8>)> {
    let mut words = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let Some((said, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        words.extend(said.split_first().and_then(|(_, said)| read_heard(said)));
        bytes = rest;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_of_each_counts_for_a_while() {
        let mut known = Known::new(1_000);
        let word = |what, place: &[u8]| {
            let place = Rc::new(Place::parse(place, None).unwrap());
            Heard { what, key: b"a".as_slice().into(), place, ack: None }
        };
        let sender = Sender { ip: Some("192.0.2.1".parse().unwrap()), credentials: None };
        known.note(&word(What::New, b"/one"), sender, b"first", 0);
        known.note(&word(What::Again, b"/one"), sender, b"second", 500);
        known.note(&word(What::New, b"/two"), sender, b"two", 0);
        known.note(&word(What::New, b"/three"), sender, b"three", 600);
        known.note(&word(What::Left, b"/three"), sender, b"bye", 700);
        known.forget(1_200);
        assert_eq!(decode(&known.encode()), [(sender, b"second".to_vec())]);
        assert_eq!(decode(&known.encode()[..9]), []);
    }
}
