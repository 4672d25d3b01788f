//! `spare`, the usual algorithm: one worker is to be idle. When none is for a while, there are more; when several are,
//! there is one fewer after a while.

use super::{Advice, Algorithm, Cheaper, busy, fewer, more};
use crate::master::order::Load;

/// How long it has been so.
#[derive(Debug, Default)]
pub(super) struct Spare {
    overloaded: u32,
    idle: u32,
}

impl Algorithm for Spare {
    fn advise(&mut self, load: &Load, rules: &Cheaper, _: u32) -> Advice {
        let (busy, all) = (busy(load), load.workers.len());
        if busy == all {
            self.idle = 0;
            self.overloaded += 1;
            if self.overloaded > rules.overload {
                self.overloaded = 0;
                return more(rules.step, "no worker was idle");
            }
            return None;
        }
        self.overloaded = 0;
        if all - busy == 1 {
            self.idle = 0;
            return None;
        }
        self.idle += 1;
        if self.idle.is_multiple_of(rules.overload.max(1)) && all as u32 > rules.least {
            return fewer("more than one worker was idle");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::trace::{Trace, rules};
    use super::*;

    #[test]
    fn one_worker_is_kept_idle() {
        let mut trace = Trace::new(Box::<Spare>::default(), rules(), 8);
        assert_eq!(trace.seconds(10, |_| 0), 2, "no load: the least");
        assert_eq!(trace.seconds(60, |_| 4), 5, "four are busy, one is idle");
        assert_eq!(trace.seconds(60, |_| 20), 8, "never more than there may be");
        assert_eq!(trace.seconds(60, |_| 1), 2, "one is busy, one is idle");
    }

    #[test]
    fn a_moment_of_load_changes_nothing() {
        let mut trace = Trace::new(Box::<Spare>::default(), rules(), 8);
        assert_eq!(trace.seconds(60, |second| if second % 3 == 0 { 2 } else { 1 }), 2);
    }

    #[test]
    fn a_step_is_several_at_once() {
        let mut trace = Trace::new(Box::<Spare>::default(), Cheaper { step: 3, ..rules() }, 8);
        assert_eq!(trace.seconds(4, |_| 2), 5);
    }
}
