//! Which backend a request goes to: the first of the mappers that the configuration asks for, and the fallbacks behind
//! it. Called by sessions, with a key; keeps count of who failed.

mod pattern;
mod to;

use std::rc::Rc;

use self::pattern::Pattern;
use self::to::To;
use super::settings::Mapping;
use super::target::Target;

/// A backend that was chosen.
#[derive(Clone, Debug)]
pub struct Node {
    /// By what its mapper knows it again.
    pub id: Id,
    /// Where it is.
    pub target: Rc<Target>,
    /// The kind of packet that it wants.
    pub modifiers: Option<(u8, u8)>,
}

/// What names a backend among all of a router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// One of a list that was said, by its number.
    Said(usize),
    /// One that was made of a key.
    Made(String),
    /// A fallback.
    Fallback(usize),
}

/// For what a backend is wanted.
pub struct Wanted<'w> {
    /// The key.
    pub key: &'w [u8],
    /// Those that failed for this request.
    pub tried: &'w [Id],
    /// The time.
    pub now_ms: u64,
}

/// Finds backends.
pub(crate) trait Mapper {
    /// The next one.
    fn choose(&mut self, wanted: &Wanted<'_>) -> Option<Node>;

    /// A connection to it failed.
    fn failed(&mut self, id: &Id, now_ms: u64);

    /// A connection to it was made.
    fn reached(&mut self, id: &Id);

    /// Those that are known, for the statistics: address, requests, and when it failed.
    fn nodes(&self) -> Vec<(String, u64, Option<u64>)> {
        Vec::new()
    }
}

/// All mappers of a router.
pub(crate) struct Route {
    mapper: Option<Box<dyn Mapper>>,
    fallback: Option<To>,
    without_key: bool,
}

impl Route {
    /// From what the configuration says. `own`: where this instance listens for its workers, by number. An error names
    /// the option, without the router's name, and its value.
    pub(crate) fn new(mapping: &Mapping, own: &[Target]) -> Result<Self, (&'static str, String)> {
        let dialect = mapping.dialect;
        let list = |option, said: &[String]| {
            let read = |text: &String| match Target::parse(text, dialect) {
                Ok(target) => Ok(target),
                Err(why) => Err((option, format!("{text:?} {why}"))),
            };
            said.iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        let named = mapping.pattern.as_ref().map(|pattern| ("use-pattern", pattern.clone()));
        let named = named.or_else(|| mapping.base.as_ref().map(|base| ("use-base", format!("{}%s", escape(base)))));
        let mapper: Option<Box<dyn Mapper>> = if let Some((option, pattern)) = named {
            let pattern = Pattern::new(&pattern, dialect).map_err(|why| (option, why))?;
            Some(Box::new(pattern))
        } else if let Some(number) = mapping.socket {
            let target = own.get(number).ok_or_else(|| {
                ("use-socket", format!("there is no socket {number}: this instance has {}", own.len()))
            })?;
            Some(Box::new(To::new(vec![target.clone()], mapping.grace_ms)))
        } else if mapping.to.is_empty() {
            None
        } else {
            Some(Box::new(To::new(list("to", &mapping.to)?, mapping.grace_ms)))
        };
        let fallback = list("fallback", &mapping.fallback)?;
        let fallback = (!fallback.is_empty()).then(|| To::new(fallback, mapping.grace_ms));
        Ok(Self { mapper, fallback, without_key: mapping.fallback_without_key })
    }

    /// The backend to ask next.
    pub(crate) fn choose(&mut self, wanted: &Wanted<'_>) -> Option<Node> {
        let found = self.mapper.as_mut().and_then(|mapper| mapper.choose(wanted));
        if found.is_some() || wanted.key.is_empty() && !self.without_key && self.mapper.is_some() {
            return found;
        }
        let number = |id: &Id| if let Id::Fallback(number) = id { Some(Id::Said(*number)) } else { None };
        let tried: Vec<Id> = wanted.tried.iter().filter_map(number).collect();
        let node = self.fallback.as_mut()?.choose(&Wanted { tried: &tried, ..*wanted })?;
        let Id::Said(number) = node.id else { return None };
        Some(Node { id: Id::Fallback(number), ..node })
    }

    /// A connection to it failed.
    pub(crate) fn failed(&mut self, id: &Id, now_ms: u64) {
        self.told(id, |mapper, id| mapper.failed(id, now_ms));
    }

    /// A connection to it was made.
    pub(crate) fn reached(&mut self, id: &Id) {
        self.told(id, |mapper, id| mapper.reached(id));
    }

    fn told(&mut self, id: &Id, tell: impl FnOnce(&mut dyn Mapper, &Id)) {
        match (id, &mut self.mapper, &mut self.fallback) {
            (Id::Fallback(number), _, Some(fallback)) => tell(fallback, &Id::Said(*number)),
            (Id::Fallback(_), _, None) | (_, None, _) => {}
            (_, Some(mapper), _) => tell(&mut **mapper, id),
        }
    }

    /// Those that were said.
    pub(crate) fn nodes(&self) -> Vec<(String, u64, Option<u64>)> {
        let mut all = self.mapper.as_ref().map(|mapper| mapper.nodes()).unwrap_or_default();
        all.extend(self.fallback.iter().flat_map(Mapper::nodes));
        all
    }
}

/// The text stands for itself in a pattern.
fn escape(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_wire::client::Dialect;

    fn mapping() -> Mapping {
        Mapping {
            pattern: None,
            base: None,
            socket: None,
            to: Vec::new(),
            fallback: vec!["/f".into()],
            fallback_without_key: false,
            dialect: Dialect::Uwsgi,
            retries: 3,
            grace_ms: 30_000,
        }
    }

    fn choose(route: &mut Route, key: &str, tried: &[Id]) -> Option<String> {
        let wanted = Wanted { key: key.as_bytes(), tried, now_ms: 5 };
        route.choose(&wanted).map(|node| node.target.shown.clone())
    }

    #[test]
    fn fallbacks_are_asked_when_nobody_else_is_left() {
        let mut route = Route::new(&Mapping { to: vec!["/a".into()], ..mapping() }, &[]).unwrap();
        assert_eq!(choose(&mut route, "k", &[]).as_deref(), Some("/a"));
        assert_eq!(choose(&mut route, "k", &[Id::Said(0)]).as_deref(), Some("/f"));
        assert_eq!(choose(&mut route, "k", &[Id::Said(0), Id::Fallback(0)]), None);
    }

    #[test]
    fn the_first_mapper_counts_and_wrong_values_are_named() {
        let base = Mapping { base: Some("/run/100%/".into()), to: vec!["/a".into()], ..mapping() };
        let mut route = Route::new(&base, &[]).unwrap();
        assert_eq!(choose(&mut route, "app", &[]).as_deref(), Some("/run/100%/app"));
        assert_eq!(choose(&mut route, "", &[]), None);
        let mut route = Route::new(&Mapping { fallback_without_key: true, ..base }, &[]).unwrap();
        assert_eq!(choose(&mut route, "", &[]).as_deref(), Some("/f"));
        let wrong = |mapping: &Mapping| Route::new(mapping, &[]).err().unwrap();
        assert_eq!(wrong(&Mapping { to: vec!["a:b".into()], ..mapping() }).0, "to");
        assert_eq!(wrong(&Mapping { socket: Some(1), ..mapping() }).0, "use-socket");
        assert_eq!(wrong(&Mapping { pattern: Some("/run/app".into()), ..mapping() }).0, "use-pattern");
    }
}
