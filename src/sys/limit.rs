//! What a process may have at most: getrlimit(2).

use std::io;

pub use nix::sys::resource::Resource;
use nix::sys::resource::{getrlimit, setrlimit};

/// A limit to be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// What holds.
    pub soft: u64,
    /// How far the process may raise it.
    pub hard: u64,
}

impl Limit {
    /// Makes room for children to have this limit, where the hard one of this process is lower: only root can.
    pub fn permit(&self) -> io::Result<()> {
        let (soft, hard) = getrlimit(self.resource)?;
        if self.hard <= hard { Ok(()) } else { Ok(setrlimit(self.resource, soft, self.hard)?) }
    }

    /// This process has it from here on.
    pub fn set(&self) -> io::Result<()> {
        Ok(setrlimit(self.resource, self.soft, self.hard)?)
    }
}
