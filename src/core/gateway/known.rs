//! What a router process knows of those that announce themselves, as bytes for one that comes later: their last words, as
//! they were said, and when. So it need not wait until everybody has announced itself again.

use super::message::{heard, read_heard};
use crate::subscription::Sender;

/// The last word of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// When it was said, by the clock that all processes share.
    pub(super) heard_ms: u64,
    pub(super) sender: Sender,
    pub(super) datagram: Vec<u8>,
}

/// Makes bytes of them.
pub(super) fn encode<'w>(words: impl Iterator<Item = (u64, Sender, &'w [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (heard_ms, sender, datagram) in words {
        let said = heard(sender, datagram);
        bytes.extend_from_slice(&heard_ms.to_le_bytes());
        bytes.extend_from_slice(&(said.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&said);
    }
    bytes
}

/// What such bytes say.
pub(super) fn decode(mut bytes: &[u8]) -> Vec<Word> {
    let mut words = Vec::new();
    while let Some((heard_ms, rest)) = bytes.split_first_chunk()
        && let Some((length, rest)) = rest.split_first_chunk()
        && let Some((said, rest)) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)
    {
        let heard_ms = u64::from_le_bytes(*heard_ms);
        let said = said.split_first().and_then(|(_, said)| read_heard(said));
        words.extend(said.map(|(sender, datagram)| Word { heard_ms, sender, datagram }));
        bytes = rest;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_passed_on() {
        let sender = Sender { ip: Some("192.0.2.1".parse().unwrap()), credentials: None };
        let bytes = encode([(7, sender, &b"first"[..]), (8, Sender::default(), b"second")].into_iter());
        let word = |heard_ms, sender, datagram: &[u8]| Word { heard_ms, sender, datagram: datagram.to_vec() };
        assert_eq!(decode(&bytes), [word(7, sender, b"first"), word(8, Sender::default(), b"second")]);
        assert_eq!(decode(&bytes[..bytes.len() - 1]), [word(7, sender, b"first")], "one that is cut is none");
    }
}
