//! `ruwsgi app:application`, as other servers take it: a word that names an application instead of a file, and the
//! address where it is served unless somebody says where. `load` asks for each word without an option.

use crate::directive::{Directive, Origin};
use crate::table::ROWS;

/// Nobody but this machine, as other servers have it.
const ADDRESS: &str = "127.0.0.1:8000";

/// What a word says that names an application: `shop.wsgi:application`, `shop.wsgi:make()`, `app.py`, `app.py:site`.
/// `None`: it names a file of the configuration.
pub fn application(word: &str) -> Option<Vec<Directive>> {
    let say = |name: &str, value: &str| Directive::new(name, Some(value), Origin::Argv);
    let (place, callable) = match word.split_once(':') {
        Some((place, callable)) => (place, Some(callable)),
        None => (word, None),
    };
    let is_callable = |text: &str| is_dotted(text.strip_suffix("()").unwrap_or(text));
    if !callable.is_none_or(is_callable) {
        return None;
    }
    if place.ends_with(".py") {
        let file = say("wsgi-file", place);
        return Some([Some(file), callable.map(|callable| say("callable", callable))].into_iter().flatten().collect());
    }
    // `app.ini:section` is for --ini.
    let is_config = [".ini", ".xml", ".yaml", ".yml", ".json", ".js", ".conf"].iter().any(|end| place.ends_with(end));
    (callable.is_some() && is_dotted(place) && !is_config).then(|| vec![say("module", word)])
}

/// `shop.wsgi`
fn is_dotted(text: &str) -> bool {
    let is_name = |name: &str| {
        let mut letters = name.chars();
        letters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
            && letters.all(|letter| letter == '_' || letter.is_alphanumeric())
    };
    text.split('.').all(is_name)
}

/// Where an application is served for which nothing was said that listens.
pub fn address<'d>(mut said: impl Iterator<Item = &'d Directive>) -> Option<Directive> {
    let listens = |directive: &Directive| {
        ROWS.iter().any(|row| row.hint == "ADDRESS" && row.names.contains(&directive.name.as_str()))
    };
    (!said.any(listens)).then(|| Directive::new("http-socket", Some(ADDRESS), Origin::Default))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(word: &str) -> String {
        let told = application(word).unwrap_or_default();
        told.iter().map(|said| said.line().to_string()).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_word_may_name_an_application() {
        assert_eq!(told("app:application"), "module = app:application");
        assert_eq!(told("shop.wsgi:make()"), "module = shop.wsgi:make()");
        assert_eq!(told("app:site.wsgi"), "module = app:site.wsgi");
        assert_eq!(told("srv/app.py"), "wsgi-file = srv/app.py");
        assert_eq!(told("app.py:site"), "wsgi-file = app.py; callable = site");
    }

    #[test]
    fn files_and_addresses_are_none() {
        for word in ["app.ini", "app.ini:section", "app", ":8000", "localhost:80", "a/b:c", "a:", "http://a", "-", ""] {
            assert_eq!(application(word), None, "{word}");
        }
    }

    #[test]
    fn an_application_is_served_where_somebody_says_or_here() {
        let said = |name: &str| vec![Directive::new(name, Some(":1"), Origin::Argv)];
        assert!(address(said("module").iter()).is_some_and(|here| here.line().to_string().ends_with("127.0.0.1:8000")));
        for name in ["http", "socket", "http-socket", "uwsgi-socket"] {
            assert!(address(said(name).iter()).is_none(), "{name}");
        }
    }
}
