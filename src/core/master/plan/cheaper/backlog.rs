//! `backlog`: more workers where more connections wait than `cheaper-overload` says, one fewer where fewer do.

use super::{Advice, Algorithm, Cheaper, fewer, more};
use crate::master::order::Load;

/// Without memory.
#[derive(Debug, Default)]
pub(super) struct Backlog;

impl Algorithm for Backlog {
    fn advise(&mut self, load: &Load, rules: &Cheaper, _: u32) -> Advice {
        match load.backlog {
            waiting if waiting > rules.overload => more(rules.step, format!("{waiting} connections wait")),
            waiting if waiting < rules.overload && load.workers.len() as u32 > rules.least => {
                fewer(format!("{waiting} connections wait"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Trace, rules};
    use super::*;

    #[test]
    fn the_queue_decides() {
        let mut trace = Trace::new(Box::<Backlog>::default(), rules(), 8);
        assert_eq!(trace.seconds(5, |_| 1), 2);
        assert_eq!(trace.seconds(5, |_| 20), 7, "somebody waits each second");
        assert_eq!(trace.seconds(20, |_| 0), 2);
    }
}
