//! Compressed files beside the others: which of `a.css.br`, `a.css.zst` and `a.css.gz` a client gets for `a.css`. Only
//! decides; `lookup` looks for them.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use regex_lite::Regex;
use ruwsgi_options::{Encoding, StaticFiles as Options};
use ruwsgi_wire::Vars;

use super::fields::weighted;

/// What the `static-gzip` family and `static-encodings` say.
pub(super) struct Compressed {
    all: bool,
    prefixes: Vec<String>,
    suffixes: Vec<String>,
    patterns: Vec<Regex>,
    /// The first is preferred among those that a client likes as much.
    order: Vec<Encoding>,
}

impl Compressed {
    /// `None`: no file has compressed ones.
    pub(super) fn new(options: &Options) -> Option<Self> {
        let these = Self {
            all: options.static_gzip_all,
            prefixes: options.static_gzip_dir.clone(),
            suffixes: options.static_gzip_ext.clone(),
            // What is no regular expression was refused when the options were read.
            patterns: options.static_gzip.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect(),
            order: options.static_encodings.clone(),
        };
        let some = these.all || !(these.prefixes.is_empty() && these.suffixes.is_empty() && these.patterns.is_empty());
        some.then_some(these)
    }

    /// Whether there may be compressed files beside this one. Rules are about its path, and about the one that links
    /// lead to, which is what uWSGI looks at.
    pub(super) fn covers(&self, path: &Path, target: impl FnOnce() -> Option<PathBuf>) -> bool {
        self.all || self.matches(path) || target().is_some_and(|target| self.matches(&target))
    }

    fn matches(&self, path: &Path) -> bool {
        let bytes = path.as_os_str().as_bytes();
        let text = || path.to_string_lossy();
        self.prefixes.iter().any(|prefix| bytes.starts_with(prefix.as_bytes()))
            || self.suffixes.iter().any(|suffix| bytes.ends_with(suffix.as_bytes()))
            || (!self.patterns.is_empty() && self.patterns.iter().any(|pattern| pattern.is_match(&text())))
    }

    /// What the client takes, best first (RFC 9110 12.5.3). Nothing that it likes less than the file as it is.
    pub(super) fn accepted(&self, vars: &Vars) -> Vec<Encoding> {
        let (mut star, mut plain, mut said) = (None, None, [None; Encoding::ALL.len()]);
        for (named, weight) in weighted(vars, "Accept-Encoding") {
            if let Some(encoding) = Encoding::ALL.iter().find(|encoding| encoding.is_named(named)) {
                said[*encoding as usize] = Some(weight);
            } else if named == b"*" {
                star = Some(weight);
            } else if named.eq_ignore_ascii_case(b"identity") {
                plain = Some(weight);
            }
        }
        let least = plain.unwrap_or(0).max(1);
        let weight = |encoding: &Encoding| said[*encoding as usize].or(star).unwrap_or(0);
        let mut accepted: Vec<_> = self.order.iter().copied().filter(|encoding| weight(encoding) >= least).collect();
        accepted.sort_by_key(|encoding| std::cmp::Reverse(weight(encoding)));
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compressed(options: &Options) -> Compressed {
        Compressed::new(options).unwrap()
    }

    #[test]
    fn a_client_gets_what_it_likes_best() {
        use Encoding::{Br, Gzip, Zstd};
        let all = compressed(&Options { static_gzip_all: true, ..Options::default() });
        for (said, expected) in [
            (&[][..], &[][..]),
            (&["gzip, deflate, br, zstd"], &[Br, Zstd, Gzip]),
            (&["gzip", "br"], &[Br, Gzip]),
            (&["GZIP"], &[Gzip]),
            (&["x-gzip"], &[Gzip]),
            (&["br;q=0.5, gzip;q=0.9"], &[Gzip, Br]),
            (&["br;q=0, gzip"], &[Gzip]),
            (&["*"], &[Br, Zstd, Gzip]),
            (&["*;q=0, gzip"], &[Gzip]),
            (&["*;q=0.5, gzip"], &[Gzip, Br, Zstd]),
            (&["identity, gzip;q=0.5"], &[]),
            (&["identity;q=0.5, gzip;q=0.5"], &[Gzip]),
            (&["identity;q=0, gzip;q=0.001"], &[Gzip]),
            (&["gzip;q=x, brotli, , ;"], &[]),
        ] {
            let mut vars = Vars::default();
            for line in said {
                let (name, value) = (vars.add(b"Accept-Encoding"), vars.add(line.as_bytes()));
                vars.push_field(name, value);
            }
            assert_eq!(all.accepted(&vars), expected, "{said:?}");
        }
        let mut vars = Vars::default();
        let (name, value) = (vars.add(b"HTTP_ACCEPT_ENCODING"), vars.add(b"gzip, br, zstd"));
        vars.push_cgi(name, value);
        let some =
            compressed(&Options { static_gzip_all: true, static_encodings: vec![Zstd, Gzip], ..Options::default() });
        assert_eq!(some.accepted(&vars), [Zstd, Gzip]);
    }

    #[test]
    fn rules_are_about_paths() {
        let none = || None;
        let prefix = compressed(&Options { static_gzip_dir: vec!["/srv/a".into()], ..Options::default() });
        assert!(prefix.covers(Path::new("/srv/a/x.css"), none) && prefix.covers(Path::new("/srv/abc"), none));
        assert!(!prefix.covers(Path::new("/x/srv/a"), none));
        assert!(prefix.covers(Path::new("/x"), || Some("/srv/a/x".into())), "the target of a link counts, too");
        let suffix = compressed(&Options { static_gzip_ext: vec![".css".into()], ..Options::default() });
        assert!(suffix.covers(Path::new("/x.css"), none) && !suffix.covers(Path::new("/x.css.map"), none));
        let pattern = compressed(&Options { static_gzip: vec![r"\.(css|js)$".into()], ..Options::default() });
        assert!(pattern.covers(Path::new("/x.js"), none) && !pattern.covers(Path::new("/x.json"), none));
        assert!(Compressed::new(&Options::default()).is_none());
    }
}
