//! The life of processes: the master, its children, and what must be there before they can be.
//!
//! The binary calls [`run`]. Nothing here knows a request of an application, and nothing here runs Python.

#![forbid(unsafe_code)]

mod audience;
pub mod inspect;
mod listeners;
mod logfile;
mod master;
mod module;
mod pidfile;
mod privileges;
mod python;
mod service;
mod stacks;
mod start;
mod unknown;

use std::fmt;
use std::io;

pub use pidfile::{pause, reload, stop};
use ruwsgi_options::Config;
pub use stacks::stacks;
pub use start::run;

/// The exit codes of the binary.
pub mod exit {
    /// Stopped as asked.
    pub const DONE: u8 = 0;
    /// A bad option, a bad file, a port in use: what uWSGI exits with too.
    pub const FAILED: u8 = 1;
}

/// What the kernel says, without its number: it is for people.
fn why(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// The place of an option, for the end of a line: ` (app.ini:12)`, or nothing where nobody said it.
struct Place<'c>(&'c Config, &'c str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.origin(self.1).map_or(Ok(()), |origin| write!(f, " ({origin})"))
    }
}
