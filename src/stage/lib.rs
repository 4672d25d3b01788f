//! What a process does on its way, besides its work: the hooks of its phases, the privileges that it gives up, the limits
//! that it gets.
//!
//! The master, the zygote, workers and emperors call this; nothing here knows which of them it is, or decides about
//! another process.

#![forbid(unsafe_code)]

mod act;
pub mod hooks;
pub mod limits;
pub mod privileges;

use std::{fmt, io};

use ruwsgi_options::Config;

/// Why a process can't go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The exit code that asks for; 0 where a hook wants the end.
    pub code: u8,
    /// One line.
    pub reason: String,
}

impl From<String> for Stopped {
    fn from(reason: String) -> Self {
        Self { code: 1, reason }
    }
}

/// What the kernel says, without its number: it is for people.
#[must_use]
pub fn why(error: &io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.clone(), |(text, _)| text.to_owned())
}

/// The place of an option, for the end of a line: ` (app.ini:12)`, or nothing where nobody said it.
pub struct Place<'c>(pub &'c Config, pub &'c str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.origin(self.1).map_or(Ok(()), |origin| write!(f, " ({origin})"))
    }
}
