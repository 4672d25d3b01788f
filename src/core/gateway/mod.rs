//! Router processes: children of the master, without Python, that pass on what comes at their listeners to backends.
//!
//! A router is a [`Router`]: how its part of the configuration is read, and a [`Front`], which knows what comes from
//! clients and how a backend is asked. The rest is the same for all. The plugins bring them; the list is the binary's.
//!
//! * `supervise` decides which processes there are, `host` starts and ends them: both run in the master.
//! * `child` begins the life of a process, `gate` is its loop. A `session` is a client's connection, a `link` one to a
//!   backend, a `mapper` says which backend.
//!
//! Nothing here waits: neither for a client, nor for a backend, nor for the log.

pub mod balance;
mod child;
mod date;
mod ears;
mod end;
mod front;
mod gate;
mod hearing;
mod host;
mod known;
mod legacy;
mod link;
mod mapper;
mod message;
mod open;
mod pool;
mod relay;
mod session;
mod settings;
mod spool;
mod stats;
mod supervise;
mod target;
mod tunnel;
mod world;

pub use self::front::{Asking, Front, Visitor};
pub(crate) use self::host::Gateways;
pub(crate) use self::legacy::Remains;
pub use self::mapper::{Id, Node};
pub use self::settings::{Mapping, Patience, Router, Settings};
pub use self::target::Target;
