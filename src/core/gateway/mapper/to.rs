//! Backends that the configuration names, one after the other: `-to`, `-fallback`.

use std::rc::Rc;

use super::{Id, Mapper, Node, Wanted};
use crate::gateway::target::Target;

/// A list of backends.
pub(super) struct To {
    nodes: Vec<Listed>,
    next: usize,
    grace_ms: u64,
}

struct Listed {
    target: Rc<Target>,
    requests: u64,
    /// When it failed, as long as nobody has reached it since.
    failed_ms: Option<u64>,
}

impl To {
    pub(super) fn new(targets: Vec<Target>, grace_ms: u64) -> Self {
        let listed = |target| Listed { target: Rc::new(target), requests: 0, failed_ms: None };
        Self { nodes: targets.into_iter().map(listed).collect(), next: 0, grace_ms }
    }

    /// For the statistics: address, requests, and when it failed.
    pub(super) fn nodes(&self) -> Vec<(String, u64, Option<u64>)> {
        let told = |node: &Listed| (node.target.shown.clone(), node.requests, node.failed_ms);
        self.nodes.iter().map(told).collect()
    }

    /// Round and round among those that work; where none does, the one that failed longest ago: it may work again.
    fn pick(&self, wanted: &Wanted<'_>) -> Option<usize> {
        let order = (0..self.nodes.len()).map(|step| (self.next + step) % self.nodes.len());
        let mut untried = order.filter(|number| !wanted.tried.contains(&Id::Said(*number)));
        let rests = |number: &usize| {
            let failed = self.nodes[*number].failed_ms;
            failed.is_some_and(|failed_ms| wanted.now_ms < failed_ms + self.grace_ms)
        };
        untried
            .clone()
            .find(|number| !rests(number))
            .or_else(|| untried.by_ref().min_by_key(|number| self.nodes[*number].failed_ms))
    }
}

impl Mapper for To {
    fn choose(&mut self, wanted: &Wanted<'_>) -> Option<Node> {
        let number = self.pick(wanted)?;
        self.next = (number + 1) % self.nodes.len();
        let node = &mut self.nodes[number];
        node.requests += 1;
        Some(Node { id: Id::Said(number), target: node.target.clone(), modifiers: None })
    }

    fn failed(&mut self, id: &Id, now_ms: u64) -> bool {
        let Id::Said(number) = id else { return false };
        self.nodes[*number].failed_ms.replace(now_ms).is_none_or(|before| now_ms >= before + self.grace_ms)
    }

    fn reached(&mut self, id: &Id) {
        if let Id::Said(number) = id {
            self.nodes[*number].failed_ms = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_wire::client::Dialect;

    #[test]
    fn who_failed_is_left_alone_for_a_while() {
        let target = |text: &&str| Target::numeric(text, Dialect::Uwsgi).unwrap();
        let mut to = To::new(["/a", "/b", "/c"].iter().map(target).collect(), 1_000);
        let choose = |to: &mut To, tried: &[Id], now_ms| {
            to.choose(&Wanted { key: b"", client: None, tried, now_ms }).map(|node| node.target.shown.clone())
        };
        let four: Vec<_> = (0..4).filter_map(|_| choose(&mut to, &[], 0)).collect();
        assert_eq!(four, ["/a", "/b", "/c", "/a"]);
        to.failed(&Id::Said(1), 10);
        assert_eq!(choose(&mut to, &[], 10).as_deref(), Some("/c"));
        assert_eq!(choose(&mut to, &[Id::Said(0), Id::Said(2)], 10).as_deref(), Some("/b"), "nobody else is left");
        assert_eq!(choose(&mut to, &[Id::Said(0), Id::Said(1), Id::Said(2)], 10), None);
        to.failed(&Id::Said(0), 20);
        to.failed(&Id::Said(2), 30);
        assert_eq!(choose(&mut to, &[], 40).as_deref(), Some("/b"), "it failed first");
        to.reached(&Id::Said(2));
        assert_eq!(choose(&mut to, &[], 50).as_deref(), Some("/c"));
        assert_eq!(choose(&mut to, &[Id::Said(2)], 1_015).as_deref(), Some("/b"), "its time is over");
    }
}
