//! What a router tells people of its nodes: one line for each event, and few lines for very many.

use std::fmt;
use std::rc::Rc;

use super::hear::Refused;
use super::place::Place;

/// So many nodes that are forgotten at once are told one by one.
pub(super) const MOST_AT_ONCE: usize = 20;

/// An event in the life of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// It has not announced itself for too long, and is forgotten.
    Silent {
        /// For which requests.
        key: Rc<[u8]>,
        /// Where.
        place: Rc<Place>,
        /// How long that is.
        seconds: u64,
    },
    /// So many others, too.
    Others(usize),
}

impl fmt::Display for Note {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent { key, place, seconds } => {
                write!(to, "{} => {place} has announced nothing for {seconds} s: forgotten", key.escape_ascii())
            }
            Self::Others(count) => write!(to, "{count} other nodes have announced nothing, either: forgotten"),
        }
    }
}

/// Lines about announcements that are not believed: anybody may send them, so there are so many in a second at most.
const MOST_IN_A_SECOND: u64 = 5;

/// What was said about announcements that are not believed.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    second: u64,
    said: u64,
    unsaid: u64,
}

impl Complaints {
    /// The line to tell, if there is still room for it.
    pub(super) fn line(&mut self, refused: &Refused, now_ms: u64) -> Option<String> {
        if now_ms / 1_000 != self.second {
            (self.second, self.said) = (now_ms / 1_000, 0);
        }
        if self.said >= MOST_IN_A_SECOND {
            self.unsaid += 1;
            return None;
        }
        self.said += 1;
        match std::mem::take(&mut self.unsaid) {
            0 => Some(refused.to_string()),
            unsaid => Some(format!("{refused} ({unsaid} more since the last line)")),
        }
    }
}
