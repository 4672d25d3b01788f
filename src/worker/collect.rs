//! `collect-header` and `pull-header`: fields of a response that the log shows as variables of its request.
//!
//! `response.rs` asks for each field; `log/format.rs` reads what was kept.

use ruwsgi_options::{Collected, Config};

use crate::response::Logvars;

/// Which fields are kept, and which of them go no further.
pub(crate) struct Collect {
    /// They are sent, too.
    copied: Vec<Collected>,
    /// They are not sent.
    pulled: Vec<Collected>,
}

impl Collect {
    /// From the options; `None`: no field is kept.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let (copied, pulled) = (config.logging.collect_header.clone(), config.logging.pull_header.clone());
        (!copied.is_empty() || !pulled.is_empty()).then_some(Self { copied, pulled })
    }

    /// Keeps a field where that is wanted; `true`: it is not sent.
    pub(crate) fn keep(&self, name: &[u8], value: &[u8], kept: &mut Logvars) -> bool {
        let named = |rule: &&Collected| rule.header.as_bytes().eq_ignore_ascii_case(name);
        let mut keep = |rule: &Collected| kept.push((rule.variable.as_bytes().to_vec(), value.to_vec()));
        // uWSGI looks no further once a field is pulled.
        if let Some(rule) = self.pulled.iter().find(named) {
            keep(rule);
            return true;
        }
        self.copied.iter().filter(named).for_each(keep);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_kept_and_pulled_by_their_names() {
        let rule = |header: &str, variable: &str| Collected { header: header.into(), variable: variable.into() };
        let collect = Collect {
            copied: vec![rule("X-User", "USER"), rule("x-user", "AGAIN"), rule("X-Secret", "NEVER")],
            pulled: vec![rule("X-Secret", "SECRET")],
        };
        let mut kept = Vec::new();
        let gone = [("x-USER", "a"), ("X-Secret", "b"), ("X-Other", "c")]
            .map(|(name, value)| collect.keep(name.as_bytes(), value.as_bytes(), &mut kept));
        assert_eq!(gone, [false, true, false]);
        let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        assert_eq!(kept, [pair("USER", "a"), pair("AGAIN", "a"), pair("SECRET", "b")]);
    }
}
