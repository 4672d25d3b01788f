//! How this crate speaks of what it found: a [`Problem`] is one thing worth a line, with its parts apart for those who
//! show them their own way; an [`Error`] is all that ends the start. Whoever called decides where the lines go.

use std::fmt;

use bstr::{BStr, BString, ByteSlice};

use crate::directive::{Directive, Origin};
#[cfg(feature = "argv")]
use crate::known::known;

/// What a problem does to the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// It goes on.
    Warning,
    /// It ends there.
    Error,
}

/// One thing that is worth a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether the start goes on.
    pub severity: Severity,
    /// The option that it is about; empty where it is about a file or the command line as a whole.
    pub name: String,
    /// What is wrong or worth knowing, as a clause: `"4k" is not a number`.
    pub message: String,
    /// What is done with it all the same: `read as 4`, or how to go on: `allow-missing = https starts without it`.
    pub advice: Option<String>,
    /// What the option takes, where it is told: `a number from 1`.
    pub allowed: Option<&'static str>,
    /// The name that was probably meant.
    pub suggestion: Option<&'static str>,
    /// The value that was said.
    pub text: Option<BString>,
    /// Where.
    pub origin: Option<Origin>,
}

/// Why there is no configuration: all the reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    problems: Vec<Problem>,
    fallback: Option<BString>,
}

impl Problem {
    /// A warning about no option.
    pub fn warning(message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            name: String::new(),
            message: message.into(),
            advice: None,
            allowed: None,
            suggestion: None,
            text: None,
            origin: None,
        }
    }

    /// An error about no option.
    pub fn error(message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, ..Self::warning(message) }
    }

    /// The same, about this directive: its name, its value and its place.
    pub(crate) fn about(self, directive: &Directive) -> Self {
        let Directive { name, value, origin } = directive;
        Self { name: name.clone(), text: value.clone(), origin: Some(origin.clone()), ..self }
    }

    /// The same, about this option and value.
    #[cfg(feature = "argv")]
    pub fn of(self, name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: Some(text.into()), ..self }
    }

    /// The same, at this place.
    pub fn at(self, origin: &Origin) -> Self {
        Self { origin: Some(origin.clone()), ..self }
    }

    /// Whether it is about a name that nobody knows: the application may.
    #[cfg(feature = "argv")]
    pub fn is_of_unknown_name(&self) -> bool {
        !self.name.is_empty() && known(&self.name).is_none()
    }

    /// Whether it ends the start.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl Error {
    pub(crate) fn new(line: impl Into<String>) -> Self {
        Problem::error(line).into()
    }

    /// The errors among the problems, if there are any.
    pub(crate) fn of(problems: &[Problem]) -> Result<(), Self> {
        let errors: Vec<Problem> = problems.iter().filter(|problem| problem.is_error()).cloned().collect();
        if errors.is_empty() { Ok(()) } else { Err(Self { problems: errors, fallback: None }) }
    }

    /// All reasons.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The file to start with instead, where one was named.
    pub fn fallback(&self) -> Option<&BStr> {
        self.fallback.as_ref().map(|name| name.as_bstr())
    }

    #[cfg(feature = "argv")]
    pub(crate) fn with_fallback(self, fallback: Option<BString>) -> Self {
        Self { fallback, ..self }
    }

    /// One line for each reason.
    pub fn lines(&self) -> Vec<String> {
        self.problems.iter().map(ToString::to_string).collect()
    }

    /// What the process exits with: 1, as uWSGI does (`fallback-config` and people's scripts count on it).
    pub fn code(&self) -> u8 {
        1
    }
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Self {
        Self { problems: vec![problem], fallback: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.name.is_empty() {
            write!(out, "{}: ", self.name)?;
        }
        out.write_str(&self.message)?;
        if let Some(advice) = &self.advice {
            write!(out, "; {advice}")?;
        }
        if let Some(meant) = self.suggestion {
            write!(out, "; did you mean {meant}?")?;
        }
        match &self.origin {
            Some(origin) => write!(out, " ({origin})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.lines().join("\n"))
    }
}

impl std::error::Error for Error {}
