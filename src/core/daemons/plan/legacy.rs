//! What a plan leaves to that of another executable, which goes on with the same children.

use ruwsgi_options::{Config, DaemonSaid, Directive};

use super::{Daemon, Plan, State};
use crate::daemons::wanted;
use crate::upgrade::Daemon as Left;

impl Plan {
    /// All daemons, in their order.
    pub(crate) fn legacy(&self) -> Vec<Left> {
        self.daemons.iter().map(|(_, daemon)| left(daemon)).collect()
    }

    /// Goes on with those that another executable has left; what can't be read any more is nobody's.
    pub(crate) fn inherit(&mut self, left: &[Left]) {
        for one in left {
            if let (Some(said), Some(state)) = (said(&one.said), state(one)) {
                let Left { early, spawned, leaving, .. } = *one;
                self.next += 1;
                self.daemons.push((self.next, Daemon { said, state, early, spawned, leaving, warned: false }));
            }
        }
    }

    /// Each daemon, and what it was said to be.
    pub(crate) fn said(&self) -> impl Iterator<Item = (u64, &DaemonSaid)> {
        self.daemons.iter().map(|(number, daemon)| (*number, &daemon.said))
    }
}

fn left(daemon: &Daemon) -> Left {
    let (state, pid, since_ms, at_ms) = match daemon.state {
        State::Due { at_ms } => ("due", 0, 0, at_ms),
        // Nobody waits for an answer by now.
        State::Asked => ("due", 0, 0, 0),
        State::Runs { pid, since_ms } => ("runs", pid, since_ms, 0),
        State::Loose { pid, look_ms, since_ms } => ("loose", pid, since_ms, look_ms),
        State::Ends { pid, since_ms, kill_ms, killed: false } => ("ends", pid, since_ms, kill_ms),
        State::Ends { pid, since_ms, kill_ms, killed: true } => ("killed", pid, since_ms, kill_ms),
    };
    Left {
        said: daemon.said.directive(),
        state: state.to_owned(),
        pid,
        since_ms,
        at_ms,
        early: daemon.early,
        spawned: daemon.spawned,
        leaving: daemon.leaving,
    }
}

fn state(left: &Left) -> Option<State> {
    let Left { pid, since_ms, at_ms, .. } = *left;
    Some(match left.state.as_str() {
        "due" => State::Due { at_ms },
        "runs" => State::Runs { pid, since_ms },
        "loose" => State::Loose { pid, look_ms: at_ms, since_ms },
        "ends" => State::Ends { pid, since_ms, kill_ms: at_ms, killed: false },
        "killed" => State::Ends { pid, since_ms, kill_ms: at_ms, killed: true },
        _ => return None,
    })
}

fn said(directive: &Directive) -> Option<DaemonSaid> {
    let (config, _) = Config::interpret(vec![directive.clone()]).ok()?;
    wanted(&config).pop()
}
