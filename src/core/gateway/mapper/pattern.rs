//! Backends whose address is made of the key: `-use-pattern`, `-use-base`.

use std::collections::HashMap;
use std::rc::Rc;

use ruwsgi_wire::client::Dialect;

use super::{Id, Mapper, Node, Wanted};
use crate::gateway::target::Target;

/// So many addresses are remembered.
const REMEMBERED: usize = 1024;
/// The longest key, as in uWSGI.
const MOST_KEY: usize = 255;

/// Addresses with a place for the key.
pub(super) struct Pattern {
    /// The texts around the keys.
    parts: Vec<String>,
    dialect: Dialect,
    known: HashMap<Vec<u8>, Option<Rc<Target>>>,
}

impl Pattern {
    /// Reads the pattern: `%s` is the key, `%%` a percent sign.
    pub(super) fn new(text: &str, dialect: Dialect) -> Result<Self, String> {
        let mut parts = vec![String::new()];
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            match (letter, parts.last_mut()) {
                ('%', Some(last)) => match letters.next() {
                    Some('s') => parts.push(String::new()),
                    Some('%') => last.push('%'),
                    _ => return Err(format!("{text:?} has a % that is neither %s, the key, nor %%")),
                },
                (other, Some(last)) => last.push(other),
                (_, None) => {}
            }
        }
        if parts.len() < 2 {
            return Err(format!("{text:?} has no %s for the key"));
        }
        Ok(Self { parts, dialect, known: HashMap::new() })
    }

    fn make(&self, key: &[u8]) -> Option<Rc<Target>> {
        let key = std::str::from_utf8(key).ok().filter(|key| is_harmless(key))?;
        Target::numeric(&self.parts.join(key), self.dialect).ok().map(Rc::new)
    }
}

/// A client writes the key: it must not lead out of the place that the pattern gives it.
fn is_harmless(key: &str) -> bool {
    let strange = |letter: char| letter.is_control() || letter == '/';
    !key.is_empty() && key.len() <= MOST_KEY && !key.starts_with('.') && !key.contains(strange)
}

impl Mapper for Pattern {
    fn choose(&mut self, wanted: &Wanted<'_>) -> Option<Node> {
        if self.known.len() >= REMEMBERED && !self.known.contains_key(wanted.key) {
            self.known.clear();
        }
        let target = match self.known.get(wanted.key) {
            Some(known) => known.clone(),
            None => {
                let made = self.make(wanted.key);
                if wanted.key.len() <= MOST_KEY {
                    self.known.insert(wanted.key.to_vec(), made.clone());
                }
                made
            }
        }?;
        let id = Id::Made(target.shown.clone());
        if wanted.tried.contains(&id) {
            return None;
        }
        Some(Node { id, target, modifiers: None })
    }

    /// It is nobody's but this request's.
    fn failed(&mut self, _: &Id, _: u64) -> bool {
        true
    }

    fn reached(&mut self, _: &Id) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_in_their_place() {
        let mut pattern = Pattern::new("/run/%s/app.sock", Dialect::Uwsgi).unwrap();
        let mut choose = |key: &str| {
            let wanted = Wanted { key: key.as_bytes(), client: None, tried: &[], now_ms: 0 };
            pattern.choose(&wanted).map(|node| node.target.shown.clone())
        };
        assert_eq!(choose("a.example").as_deref(), Some("/run/a.example/app.sock"));
        assert_eq!(choose("a.example:80").as_deref(), None, "a colon makes it an address");
        for bad in ["", "..", ".", "../etc", "a/b", "a\0b", &"x".repeat(256)] {
            assert_eq!(choose(bad), None, "{bad:?}");
        }
        for _ in 0..3 * REMEMBERED {
            choose("other");
        }
        assert!(pattern.known.len() <= REMEMBERED);
        assert!(Pattern::new("/run/app", Dialect::Uwsgi).is_err() && Pattern::new("/%d/%s", Dialect::Uwsgi).is_err());
    }
}
