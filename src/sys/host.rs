//! This machine, or what a process in a namespace takes for it.

use std::io;

/// Gives it another name.
pub fn set_name(name: &str) -> io::Result<()> {
    Ok(nix::unistd::sethostname(name)?)
}
