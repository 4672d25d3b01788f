//! `spare2`: `cheaper-step` workers are to be idle, and so many come at once where fewer are. One goes after the load has
//! asked for fewer for `cheaper-idle` seconds.

use super::{Advice, Algorithm, Cheaper, busy, fewer, more};
use crate::master::order::Load;

/// How long fewer would have done.
#[derive(Debug, Default)]
pub(super) struct Spare2 {
    idle: u32,
}

impl Algorithm for Spare2 {
    fn advise(&mut self, load: &Load, rules: &Cheaper, most: u32) -> Advice {
        let (busy, all) = (busy(load) as u32, load.workers.len() as u32);
        let wanted = (busy + rules.step).clamp(rules.least, most);
        if wanted > all {
            self.idle = 0;
            return more((wanted - all).min(rules.step), "too few workers were idle");
        }
        if wanted == all {
            self.idle = 0;
            return None;
        }
        self.idle += 1;
        if self.idle >= rules.idle_s.max(1) {
            self.idle = 0;
            return fewer("too many workers were idle");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Trace, rules};
    use super::*;

    #[test]
    fn a_step_of_workers_is_kept_idle() {
        let mut trace = Trace::new(Box::<Spare2>::default(), Cheaper { step: 2, idle_s: 3, ..rules() }, 10);
        assert_eq!(trace.seconds(10, |_| 0), 2);
        assert_eq!(trace.seconds(3, |_| 4), 6, "at once");
        assert_eq!(trace.seconds(60, |_| 9), 10);
        assert_eq!(trace.seconds(6, |_| 0), 8, "one by one");
        assert_eq!(trace.seconds(60, |_| 0), 2);
    }
}
