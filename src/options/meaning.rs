//! What directives mean, apart from where and how it was said: two configurations are the same when these are.
//!
//! `explain`, `migrate` and the traps ask what would change if a line were another one.

use crate::directive::{Directive, Origin};
use crate::table::{Config, row};

/// What these directives mean, without the places; a value that makes no sense means nothing.
pub fn meaning<'a>(directives: impl IntoIterator<Item = &'a Directive>) -> Config {
    let nowhere = |said: &Directive| Directive { origin: Origin::Default, ..said.clone() };
    let (mut config, _) = Config::read(directives.into_iter().map(nowhere).collect());
    config.directives.clear();
    config
}

/// Whether of two lines of the same option the second one alone counts.
pub fn replaces(first: &Directive, second: &Directive) -> bool {
    let same = row(&first.name).zip(row(&second.name)).is_some_and(|((a, _), (b, _))| a.names == b.names);
    same && meaning([first, second]) == meaning([second])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(name: &str, value: &str) -> Directive {
        Directive::new(name, Some(value), Origin::File { path: "app.ini".into(), line: 7 })
    }

    #[test]
    fn places_mean_nothing() {
        let there = Directive::new("http", Some(":80"), Origin::Argv);
        assert_eq!(meaning([&said("http", ":80")]), meaning([&there]));
        assert_ne!(meaning([&said("http", ":80")]), meaning([]));
        assert_eq!(meaning([&said("processes", "none")]), meaning([]));
    }

    #[test]
    fn scalars_are_replaced_and_lists_grow() {
        assert!(replaces(&said("processes", "2"), &said("workers", "4")));
        assert!(replaces(&said("master", "true"), &said("master", "true")));
        assert!(!replaces(&said("pythonpath", "/a"), &said("pp", "/b")));
        assert!(!replaces(&said("pythonpath", "/a"), &said("pythonpath", "/a")));
        assert!(!replaces(&said("http", ":1"), &said("http-socket", ":2")));
        assert!(!replaces(&said("processes", "2"), &said("threads", "4")));
        assert!(!replaces(&said("nope", "2"), &said("nope", "4")));
    }
}
