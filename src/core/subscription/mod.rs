//! Subscriptions: who serves which requests, and how that is told.
//!
//! [`Nodes`] is what one router process knows: keys, the nodes of each, and which of them gets the next request. It
//! touches neither sockets nor clocks; the gateway reads datagrams, tells what becomes of connections, and asks.
//! `announce` is the other side: what an instance tells its routers, and when.

mod announce;
mod ear;
mod hear;
mod node;
mod nodes;
mod note;
mod picture;
mod place;
mod rules;
mod sign;
#[cfg(test)]
mod simulation;
mod stamps;
mod targets;
mod trust;

pub(crate) use self::announce::{Presence, Rhythm, Step};
pub use self::ear::Ear;
pub use self::hear::{Ack, Heard, Refused, Sender, What, Why};
pub use self::node::NodeId;
pub use self::nodes::{Choice, Client, Nodes};
pub use self::note::Note;
pub use self::picture::{NodePicture, PoolPicture};
pub use self::place::Place;
pub use self::rules::Rules;
pub(crate) use self::targets::{Item, Name, Socket, Targets};
pub use self::trust::{Credentials, Files, Trust};

/// A moment, as both clocks of the machine have it: deadlines go by the one that nobody sets, signatures by the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Milliseconds of the monotonic clock.
    pub ms: u64,
    /// Seconds since 1970.
    pub unix: u64,
}
