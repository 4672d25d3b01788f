//! What the traps look at: the lines of a configuration, with the names that mean the same made one.

use std::borrow::Cow;

use bstr::ByteSlice;

use crate::directive::Origin;
use crate::record::Record;
use crate::report::Problem;
use crate::table::row;

/// A line of a configuration.
pub struct Line<'a> {
    /// The name, as it was written.
    pub name: &'a str,
    /// The first of the names that mean the same; the name itself where the option is not built.
    pub option: &'a str,
    /// The value with placeholders filled in; empty for a bare name.
    pub value: Cow<'a, str>,
    /// Where it stands.
    pub origin: &'a Origin,
    /// Under a condition: it may count or not.
    pub conditional: bool,
    record: &'a Record,
}

/// The lines of a configuration, in order.
pub struct Seen<'a> {
    /// All of them, those that later ones override too.
    pub lines: Vec<Line<'a>>,
}

impl<'a> Seen<'a> {
    /// What these records say, as far as it is known.
    pub fn of(records: &'a [Record]) -> Self {
        Self { lines: records.iter().filter(|record| !record.unsure).map(Line::of).collect() }
    }

    /// The lines of an option, by the first of its names.
    pub fn all(&self, option: &str) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter().filter(move |line| line.option == option)
    }

    /// The line that counts where there can be one only.
    pub fn last(&self, option: &str) -> Option<&Line<'a>> {
        self.lines.iter().rfind(|line| line.option == option)
    }

    /// Whether a flag is on.
    pub fn is_on(&self, option: &str) -> bool {
        let off = |value: &str| ["false", "off", "no", "0"].iter().any(|word| value.eq_ignore_ascii_case(word));
        self.last(option).is_some_and(|line| !off(&line.value))
    }

    /// The lines that open sockets.
    pub fn listeners(&self) -> impl Iterator<Item = &Line<'a>> {
        self.lines.iter().filter(|line| matches!(line.option, "socket" | "http-socket"))
    }

    /// Whether a line of [`listeners`](Self::listeners) speaks HTTP.
    pub fn is_http(&self, line: &Line<'_>) -> bool {
        let named = || self.last("protocol").is_some_and(|protocol| protocol.value.starts_with("http"));
        line.option == "http-socket" || line.name == "socket" && named()
    }
}

impl<'a> Line<'a> {
    fn of(record: &'a Record) -> Self {
        let directive = &record.directive;
        Self {
            name: &directive.name,
            option: row(&directive.name).map_or(directive.name.as_str(), |(row, _)| row.names[0]),
            value: directive.value.as_ref().map_or(Cow::Borrowed(""), |value| value.to_str_lossy()),
            origin: &directive.origin,
            conditional: record.conditional,
            record,
        }
    }

    /// The number at the beginning of the value, as `atoi` reads it.
    pub fn number(&self) -> Option<u64> {
        let digits = self.value.len() - self.value.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
        self.value[..digits].parse().ok()
    }

    /// This line, and what is wrong with it.
    pub fn is(&self, text: impl Into<String>) -> Problem {
        Problem::warning(text).about(&self.record.directive)
    }
}
