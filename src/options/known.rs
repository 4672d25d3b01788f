//! Every name that an option may have: those that work (`table`) and those that do not (`absent`), in one index.
//!
//! The command line is made from it, `judge` looks names up in it, and it finds what somebody may have meant.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::absent::{self, Topic};
use crate::kind::Arg;
use crate::table;

/// What is known of a name.
#[derive(Clone, Copy)]
pub enum Known {
    /// It works.
    Works,
    /// It does nothing here.
    Absent(&'static Topic),
}

/// A name that does nothing here, as the command line takes it.
pub struct Absent {
    /// The name.
    pub name: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// Whether it takes a value.
    pub arg: Arg,
    /// What its absence does.
    pub topic: &'static Topic,
}

impl Absent {
    /// What it would do.
    pub fn meaning(&self) -> &'static str {
        MEANINGS.get(self.name).copied().unwrap_or_default()
    }
}

static MEANINGS: LazyLock<HashMap<&'static str, &'static str>> =
    LazyLock::new(|| include_str!("absent/meanings.tsv").lines().filter_map(|line| line.split_once('\t')).collect());

/// All names that do nothing here.
pub static ABSENT: LazyLock<Vec<Absent>> = LazyLock::new(|| absent::topics().flat_map(of_topic).collect());

static INDEX: LazyLock<HashMap<&'static str, Known>> = LazyLock::new(|| {
    let works = table::ROWS.iter().flat_map(|row| row.names.iter().map(|name| (*name, Known::Works)));
    let absent = ABSENT.iter().map(|absent| (absent.name, Known::Absent(absent.topic)));
    works.chain(absent).collect()
});

/// The names of a topic.
pub fn of_topic(topic: &'static Topic) -> impl Iterator<Item = Absent> {
    topic.names.split_ascii_whitespace().map(move |word| absent(topic, word))
}

fn absent(topic: &'static Topic, word: &'static str) -> Absent {
    let (name, short) = match word.split_once(',') {
        Some((name, letter)) => (name, letter.chars().next()),
        None => (word, None),
    };
    let (name, arg) = match name.as_bytes().last() {
        Some(b'=') => (&name[..name.len() - 1], Arg::Required),
        Some(b'?') => (&name[..name.len() - 1], Arg::Optional),
        _ => (name, Arg::None),
    };
    Absent { name, short, arg, topic }
}

/// All names: those that work first.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    let working = table::ROWS.iter().flat_map(|row| row.names.iter().copied());
    working.chain(ABSENT.iter().map(|absent| absent.name))
}

/// What is known of this name, if anything.
pub fn known(name: &str) -> Option<Known> {
    INDEX.get(name).copied()
}

/// Whether an option of this name works.
pub fn works(name: &str) -> bool {
    matches!(known(name), Some(Known::Works))
}

/// What somebody may have meant who wrote this unknown name.
pub fn meant(name: &str) -> Option<&'static str> {
    let plain = name.to_ascii_lowercase().replace('_', "-");
    // A quarter of the letters may be wrong, and three at most: more is another word.
    let far = (plain.len() / 4).min(3);
    let own = letters(&plain);
    let near = all_names()
        .filter(|known| known.len().abs_diff(plain.len()) <= far)
        // Each wrong letter makes two of these bits wrong at most; to count them costs next to nothing.
        .filter(|known| (letters(known) ^ own).count_ones() as usize <= 2 * far)
        .map(|known| (strsim::osa_distance(&plain, known), known));
    let nearest = near.filter(|(distance, _)| *distance <= far).min_by_key(|(distance, _)| *distance);
    nearest.map(|(_, known)| known)
}

/// Which letters a name has.
fn letters(name: &str) -> u32 {
    name.bytes().fold(0, |bits, byte| bits | 1 << (byte & 31))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::absent::Class;
    use std::collections::HashSet;

    #[test]
    fn a_name_stands_in_one_place_and_a_letter_too() {
        let mut names: HashSet<_> = table::ROWS.iter().flat_map(|row| row.names.iter().copied()).collect();
        let mut letters: HashSet<_> = table::ROWS.iter().filter_map(|row| row.short).collect();
        for absent in ABSENT.iter() {
            assert!(names.insert(absent.name), "{} twice", absent.name);
            assert!(absent.short.is_none_or(|letter| letters.insert(letter)), "{:?} twice", absent.short);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            assert!(!absent.name.is_empty() && absent.name.bytes().all(plain), "{:?}", absent.name);
        }
        assert!(names.len() > 1300, "{}", names.len());
    }

    #[test]
    fn a_consequence_is_a_clause() {
        for topic in absent::topics() {
            let text = topic.consequence;
            assert!(!text.is_empty() && !text.ends_with('.') && text.len() < 80, "{text}");
        }
    }

    #[test]
    fn every_absent_option_says_what_it_would_do() {
        for absent in ABSENT.iter() {
            assert!(!absent.meaning().is_empty(), "absent/meanings.tsv has no line for {}", absent.name);
        }
    }

    #[test]
    fn names_are_read_with_their_values_and_letters() {
        let find = |name| ABSENT.iter().find(|absent| absent.name == name).expect("a row");
        assert_eq!((find("spooler").arg, find("spooler").short), (Arg::Required, Some('Q')));
        assert_eq!((find("vhost").arg, find("vhost").short), (Arg::None, None));
        assert_eq!(find("mule").arg, Arg::Optional);
    }

    #[test]
    fn classes_of_some_that_matter() {
        let class = |name| match known(name) {
            Some(Known::Absent(topic)) => Some(topic.class),
            _ => None,
        };
        for name in [
            "raw-socket",
            "https",
            "snmp",
            "emperor-broodlord",
            "worker-mount",
            "route",
            "unshare",
            "chunked-input-limit",
            "ssl-option",
            "zeus",
            "sslrouter",
            "subscription-vassal-required",
            "http-zerg",
            "pam",
            "allowed-modifiers",
            "test",
        ] {
            assert_eq!(class(name), Some(Class::Exposes), "{name}");
        }
        for name in ["ksm", "forkbomb-delay", "touch-signal", "never-swap"] {
            assert_eq!(class(name), Some(Class::Degrades), "{name}");
        }
        for name in ["reaper", "wsgi-strict", "log-master"] {
            assert_eq!(class(name), Some(Class::Harmless), "{name}");
        }
        for name in ["php-set", "rack", "psgi", "lua", "jail", "pypy-wsgi", "cgi"] {
            assert_eq!(class(name), Some(Class::Never), "{name}");
        }
        assert!(matches!(known("processes"), Some(Known::Works)));
        assert!(known("proceses").is_none());
    }

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        assert_eq!(meant("proceses"), Some("processes"));
        assert_eq!(meant("chmod_socket"), Some("chmod-socket"));
        assert_eq!(meant("MASTER"), Some("master"));
        assert_eq!(meant("project_name_of_mine"), None);
        assert_eq!(meant(""), None);
    }

    /// `../shared/spec/options.tsv` lists what uWSGI knows: name, letter, argument.
    #[test]
    fn every_option_of_uwsgi_is_known() {
        let ours = |name: &&str| !table::OURS.contains(name);
        let names = || all_names().filter(ours);
        assert_eq!(names().count(), 1336, "names were lost, or are new");
        let Ok(list) = std::fs::read_to_string("../../../shared/spec/options.tsv") else { return };
        let listed: HashSet<&str> = list.lines().filter_map(|line| line.split('\t').next()).collect();
        let strange: Vec<&str> = names().filter(|name| !listed.contains(name)).collect();
        assert_eq!(strange, ["noop"], "uWSGI has no such options");
        let mut count = 0;
        for line in list.lines().skip(1) {
            let mut columns = line.split('\t');
            let (name, short, arg) = (columns.next(), columns.next(), columns.next());
            let name = name.expect("a name");
            let arg = match arg {
                Some("required") => Arg::Required,
                Some("optional") => Arg::Optional,
                _ => Arg::None,
            };
            let (said, letter) = match known(name) {
                Some(Known::Works) => table::row(name).map(|(row, _)| (row.arg, row.short)).expect("a row"),
                Some(Known::Absent(_)) => {
                    let row = ABSENT.iter().find(|absent| absent.name == name).expect("a row");
                    (row.arg, row.short.or(short.and_then(|short| short.chars().next())))
                }
                None => panic!("{name} is unknown"),
            };
            assert_eq!(said, arg, "{name}");
            assert_eq!(letter, short.and_then(|short| short.chars().next()), "{name}");
            count += 1;
        }
        assert!(count > 1300, "{count}");
    }
}
