//! How this crate speaks of what it found: a [`Notice`] lets the start go on, an [`Error`] ends it. Both name the
//! option, the value and the place. Whoever called decides where the lines go; nothing is written here.

use std::fmt;

/// Something worth one line in the log; the start goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice(String);

/// Why there is no configuration: one line for each reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(Vec<String>);

impl Notice {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self(line.into())
    }
}

impl Error {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Self(vec![line.into()])
    }

    /// `Ok` if there is nothing to say.
    pub(crate) fn unless_empty(lines: Vec<String>) -> Result<(), Self> {
        if lines.is_empty() { Ok(()) } else { Err(Self(lines)) }
    }

    /// The reasons of all of them.
    #[cfg(feature = "argv")]
    pub(crate) fn all(errors: impl IntoIterator<Item = Option<Self>>) -> Self {
        Self(errors.into_iter().flatten().flat_map(|error| error.0).collect())
    }

    /// One line for each reason.
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// What the process exits with: 1, as uWSGI does (`fallback-config` and people's scripts count on it).
    pub fn code(&self) -> u8 {
        1
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Error {}
