//! Patterns of `log-route` and its kin: regular expressions as people know them from PCRE, look-around included.

use fancy_regex::Regex;
use ruwsgi_options::RouteSaid;

pub(super) struct Pattern(Regex);

impl Pattern {
    pub(super) fn of(said: &RouteSaid) -> Result<Self, String> {
        let RouteSaid { pattern, option, origin, .. } = said;
        Regex::new(pattern)
            .map(Self)
            .map_err(|error| format!("{option}: {pattern:?} is no pattern: {error} ({origin})"))
    }

    /// Somewhere in the line. One that takes too long does not match.
    pub(super) fn matches(&self, line: &[u8]) -> bool {
        self.0.is_match(&String::from_utf8_lossy(line)).unwrap_or(false)
    }
}
