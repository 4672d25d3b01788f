//! Which backend a request goes to: the first of the mappers that the configuration asks for, and the fallbacks behind
//! it. Called by sessions, with a key; keeps count of who failed.

mod pattern;
mod subscription;
mod to;

use std::net::IpAddr;
use std::rc::Rc;

use self::pattern::Pattern;
pub(super) use self::subscription::Subscribed;
use self::to::To;
use super::settings::Mapping;
use super::target::Target;
use crate::subscription::{NodeId, Rules};

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
    /// One that has announced itself.
    Announced(NodeId),
    /// One that was made of a key.
    Made(String),
    /// A fallback.
    Fallback(usize),
}

/// For what a backend is wanted.
pub struct Wanted<'w> {
    /// The key.
    pub key: &'w [u8],
    /// The client.
    pub client: Option<IpAddr>,
    /// Those that failed for this request.
    pub tried: &'w [Id],
    /// The time.
    pub now_ms: u64,
}

/// Finds backends.
pub(crate) trait Mapper {
    /// The next one.
    fn choose(&mut self, wanted: &Wanted<'_>) -> Option<Node>;

    /// A connection to it failed; whether that is worth a line.
    fn failed(&mut self, id: &Id, now_ms: u64) -> bool;

    /// A connection to it has served.
    fn reached(&mut self, id: &Id);

    /// It is asked.
    fn began(&mut self, _id: &Id) {}

    /// That is over, and so many bytes went there and came from there. Once for each [`began`](Self::began).
    fn ended(&mut self, _id: &Id, _moved: (u64, u64)) {}
}

/// All mappers of a router, in uWSGI's order: who has announced itself, what is made of the key, what was said; and the
/// fallbacks behind them. The first one that has somebody for a request counts.
pub(crate) struct Route {
    pattern: Option<Pattern>,
    pub(super) subscribed: Option<Subscribed>,
    base: Option<Pattern>,
    said: Option<To>,
    fallback: Option<To>,
    without_key: bool,
}

impl Route {
    /// From what the configuration says. `own`: where this instance listens for its workers, by number. An error names
    /// the option, without the router's name, and its value.
    pub(crate) fn new(mapping: &Mapping, own: &[Target], rules: Rules) -> Result<Self, (&'static str, String)> {
        let dialect = mapping.dialect;
        let list = |option, said: &[String]| {
            let read = |text: &String| match Target::parse(text, dialect) {
                Ok(target) => Ok(target),
                Err(why) => Err((option, format!("{text:?} {why}"))),
            };
            said.iter().map(read).collect::<Result<Vec<_>, _>>()
        };
        let pattern = |option, text: Option<String>| {
            text.map(|text| Pattern::new(&text, dialect).map_err(|why| (option, why))).transpose()
        };
        let base = mapping.base.as_ref().map(|base| format!("{}%s", escape(base)));
        let mut said = list("to", &mapping.to)?;
        if let Some(number) = mapping.socket {
            let missing = || ("use-socket", format!("there is no socket {number}: this instance has {}", own.len()));
            said.insert(0, own.get(number).cloned().ok_or_else(missing)?);
        }
        let fallback = list("fallback", &mapping.fallback)?;
        let to = |targets: Vec<Target>| (!targets.is_empty()).then(|| To::new(targets, mapping.grace_ms));
        let hears = !mapping.subscription.is_empty();
        Ok(Self {
            pattern: pattern("use-pattern", mapping.pattern.clone())?,
            subscribed: hears.then(|| Subscribed::new(rules, dialect, mapping.fallback_key.clone())),
            base: pattern("use-base", base)?,
            said: to(said),
            fallback: to(fallback),
            without_key: mapping.fallback_without_key,
        })
    }

    /// The backend to ask next.
    pub(crate) fn choose(&mut self, wanted: &Wanted<'_>) -> Option<Node> {
        let Self { pattern, subscribed, base, said, .. } = self;
        let found = pattern.as_mut().and_then(|mapper| mapper.choose(wanted));
        let found = found.or_else(|| subscribed.as_mut()?.choose(wanted));
        let found = found.or_else(|| base.as_mut()?.choose(wanted)).or_else(|| said.as_mut()?.choose(wanted));
        if found.is_some() || wanted.key.is_empty() && !self.without_key {
            return found;
        }
        let number = |id: &Id| if let Id::Fallback(number) = id { Some(Id::Said(*number)) } else { None };
        let tried: Vec<Id> = wanted.tried.iter().filter_map(number).collect();
        let node = self.fallback.as_mut()?.choose(&Wanted { tried: &tried, ..*wanted })?;
        let Id::Said(number) = node.id else { return None };
        Some(Node { id: Id::Fallback(number), ..node })
    }

    /// A connection to it failed; whether that is worth a line.
    pub(crate) fn failed(&mut self, id: &Id, now_ms: u64) -> bool {
        match (id, self.mapper(id)) {
            (Id::Fallback(number), Some(fallback)) => fallback.failed(&Id::Said(*number), now_ms),
            (_, Some(mapper)) => mapper.failed(id, now_ms),
            (_, None) => true,
        }
    }

    /// A connection to it has served.
    pub(crate) fn reached(&mut self, id: &Id) {
        match (id, self.mapper(id)) {
            (Id::Fallback(number), Some(fallback)) => fallback.reached(&Id::Said(*number)),
            (_, Some(mapper)) => mapper.reached(id),
            (_, None) => {}
        }
    }

    /// It is asked.
    pub(crate) fn began(&mut self, id: &Id) {
        if let Some(mapper) = self.mapper(id) {
            mapper.began(id);
        }
    }

    /// That is over, and so many bytes went there and came from there.
    pub(crate) fn ended(&mut self, id: &Id, moved: (u64, u64)) {
        if let Some(mapper) = self.mapper(id) {
            mapper.ended(id, moved);
        }
    }

    fn mapper(&mut self, id: &Id) -> Option<&mut dyn Mapper> {
        fn some<M: Mapper>(mapper: &mut Option<M>) -> Option<&mut dyn Mapper> {
            mapper.as_mut().map(|mapper| mapper as &mut dyn Mapper)
        }
        match id {
            Id::Said(_) => some(&mut self.said),
            Id::Fallback(_) => some(&mut self.fallback),
            Id::Announced(_) => some(&mut self.subscribed),
            // Each request makes its own.
            Id::Made(_) => None,
        }
    }

    /// Those that were said: address, requests, and when it failed.
    pub(crate) fn nodes(&self) -> Vec<(String, u64, Option<u64>)> {
        self.said.iter().chain(&self.fallback).flat_map(To::nodes).collect()
    }
}

/// The text stands for itself in a pattern.
fn escape(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping { fallback: vec!["/f".into()], ..Mapping::default() }
    }

    fn choose(route: &mut Route, key: &str, tried: &[Id]) -> Option<String> {
        let wanted = Wanted { key: key.as_bytes(), client: None, tried, now_ms: 5 };
        route.choose(&wanted).map(|node| node.target.shown.clone())
    }

    #[test]
    fn fallbacks_are_asked_when_nobody_else_is_left() {
        let mut route = Route::new(&Mapping { to: vec!["/a".into()], ..mapping() }, &[], Rules::default()).unwrap();
        assert_eq!(choose(&mut route, "k", &[]).as_deref(), Some("/a"));
        assert_eq!(choose(&mut route, "k", &[Id::Said(0)]).as_deref(), Some("/f"));
        assert_eq!(choose(&mut route, "k", &[Id::Said(0), Id::Fallback(0)]), None);
    }

    #[test]
    fn the_first_mapper_counts_and_wrong_values_are_named() {
        let base = Mapping { base: Some("/run/100%/".into()), ..mapping() };
        let mut route = Route::new(&base, &[], Rules::default()).unwrap();
        assert_eq!(choose(&mut route, "app", &[]).as_deref(), Some("/run/100%/app"));
        assert_eq!(choose(&mut route, "", &[]), None);
        let mut route = Route::new(&Mapping { fallback_without_key: true, ..base }, &[], Rules::default()).unwrap();
        assert_eq!(choose(&mut route, "", &[]).as_deref(), Some("/f"));
        let wrong = |mapping: &Mapping| Route::new(mapping, &[], Rules::default()).err().unwrap();
        assert_eq!(wrong(&Mapping { to: vec!["a:b".into()], ..mapping() }).0, "to");
        assert_eq!(wrong(&Mapping { socket: Some(1), ..mapping() }).0, "use-socket");
        assert_eq!(wrong(&Mapping { pattern: Some("/run/app".into()), ..mapping() }).0, "use-pattern");
    }
}
