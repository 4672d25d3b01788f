//! Which files get an `Expires`, and when that is.

use std::path::Path;

use regex_lite::Regex;
use ruwsgi_options::{Expiry, StaticFiles as Options};
use ruwsgi_wire::{Key, Vars};

/// All `static-expires` options, in the order in which they are tried: the first that matches counts.
pub(super) struct Expires(Vec<Rule>);

struct Rule {
    of: Of,
    seconds: i64,
    /// Counted from the change of the file, not from now.
    from_change: bool,
}

/// What is matched.
enum Of {
    Type(String),
    Path(Regex),
    Uri(Regex),
    PathInfo(Regex),
}

impl Expires {
    pub(super) fn new(options: &Options) -> Self {
        let regex = |text: &str, of: fn(Regex) -> Of| Some(of(Regex::new(text).ok()?));
        let of_type: fn(&str) -> Option<Of> = |text| Some(Of::Type(text.to_owned()));
        let path = |text: &str| regex(text, Of::Path);
        let uri = |text: &str| regex(text, Of::Uri);
        let path_info = |text: &str| regex(text, Of::PathInfo);
        let mut rules = Vec::new();
        let mut add = |said: &[Expiry], from_change, of: &dyn Fn(&str) -> Option<Of>| {
            // What is no regular expression was refused when the options were read.
            rules.extend(said.iter().filter_map(|expiry| {
                Some(Rule { of: of(&expiry.of)?, seconds: i64::from(expiry.seconds), from_change })
            }));
        };
        add(&options.static_expires_type, false, &of_type);
        add(&options.static_expires_type_mtime, true, &of_type);
        add(&options.static_expires, false, &path);
        add(&options.static_expires_mtime, true, &path);
        add(&options.static_expires_uri, false, &uri);
        add(&options.static_expires_uri_mtime, true, &uri);
        add(&options.static_expires_path_info, false, &path_info);
        add(&options.static_expires_path_info_mtime, true, &path_info);
        Self(rules)
    }

    /// When a file expires, in seconds since 1970; `now` and `changed` are such, too.
    pub(super) fn of(
        &self,
        path: &Path,
        media_type: Option<&str>,
        vars: &Vars,
        (now, changed): (i64, i64),
    ) -> Option<i64> {
        let key = |key| String::from_utf8_lossy(vars.key(key).unwrap_or_default());
        let rule = self.0.iter().find(|rule| match &rule.of {
            Of::Type(wanted) => media_type == Some(wanted),
            Of::Path(regex) => regex.is_match(&path.to_string_lossy()),
            Of::Uri(regex) => regex.is_match(&key(Key::RequestUri)),
            Of::PathInfo(regex) => regex.is_match(&key(Key::PathInfo)),
        })?;
        Some(if rule.from_change { changed } else { now }.saturating_add(rule.seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let said = |of: &str, seconds| vec![Expiry { of: of.into(), seconds }];
        let options = Options {
            static_expires_type: said("text/css", 1),
            static_expires_mtime: said(r"^/srv/.*\.js$", 2),
            static_expires_uri: said(r"\?v=", 3),
            static_expires_path_info_mtime: said("^/static/", 4),
            ..Options::default()
        };
        let expires = Expires::new(&options);
        let mut vars = Vars::default();
        vars.set(Key::RequestUri, b"/s/a?v=1");
        vars.set(Key::PathInfo, b"/static/a");
        let at = |path: &str, media_type: Option<&str>, vars: &Vars| {
            expires.of(Path::new(path), media_type, vars, (1000, 500))
        };
        assert_eq!(at("/srv/a.js", Some("text/css"), &vars), Some(1001));
        assert_eq!(at("/srv/a.js", None, &vars), Some(502));
        assert_eq!(at("/a.js", None, &vars), Some(1003));
        vars.set(Key::RequestUri, b"/s/a");
        assert_eq!(at("/a.js", Some("text/plain"), &vars), Some(504));
        vars.set(Key::PathInfo, b"/a");
        assert_eq!(at("/a.js", Some("text/plain"), &vars), None);
    }
}
