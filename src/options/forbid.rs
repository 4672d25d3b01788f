//! `blacklist` and `whitelist`: options that may not be said until the list ends. `gather` asks for each directive.

use bstr::{BStr, ByteSlice};

use crate::words::{Act, act};

/// The lists that hold now.
#[derive(Default)]
pub struct Forbidden {
    black: Option<Vec<String>>,
    white: Option<Vec<String>>,
}

impl Forbidden {
    /// From here on these names are forbidden; `None` ends it.
    pub fn blacklist(&mut self, names: Option<&BStr>) {
        self.black = names.map(words);
    }

    /// From here on only these names are allowed; `None` ends it.
    pub fn whitelist(&mut self, names: Option<&BStr>) {
        self.white = names.map(words);
    }

    /// The list that forbids this name. uWSGI wants the end of a whitelist to be on it; here it always is allowed.
    pub fn forbids(&self, name: &str) -> Option<&'static str> {
        let on = |list: &[String]| list.iter().any(|known| known.eq_ignore_ascii_case(name));
        let ends = matches!(act(name), Some(Act::Whitelist(false) | Act::Blacklist(false)));
        if self.black.as_deref().is_some_and(on) {
            Some("blacklist")
        } else if !ends && self.white.as_deref().is_some_and(|list| !on(list)) {
            Some("whitelist")
        } else {
            None
        }
    }
}

fn words(names: &BStr) -> Vec<String> {
    names.split_str(" ").filter(|word| !word.is_empty()).map(|word| word.to_str_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_until_they_end() {
        let mut lists = Forbidden::default();
        assert_eq!(lists.forbids("uid"), None);
        lists.blacklist(Some("uid  GID".into()));
        assert_eq!(lists.forbids("uid"), Some("blacklist"));
        assert_eq!(lists.forbids("gid"), Some("blacklist"), "case does not matter");
        assert_eq!(lists.forbids("processes"), None);
        lists.blacklist(None);
        assert_eq!(lists.forbids("uid"), None);
        lists.whitelist(Some("processes".into()));
        assert_eq!(lists.forbids("uid"), Some("whitelist"));
        assert_eq!(lists.forbids("processes"), None);
        assert_eq!(lists.forbids("end-whitelist"), None);
        lists.whitelist(None);
        assert_eq!(lists.forbids("uid"), None);
    }
}
