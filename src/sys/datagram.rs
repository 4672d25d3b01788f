//! Datagrams that say who sends them.

use std::io;
use std::os::fd::BorrowedFd;

use nix::sys::socket::{setsockopt, sockopt};

/// Each datagram over this unix socket carries the pid, user and group of its sender, in both directions.
pub fn identify(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setsockopt(&socket, sockopt::PassCred, &true)?)
}
