//! What becomes of daemons: a pure function from what happened to orders. [`run`](super) does them.
//!
//! * An *attached* daemon is a child of the master: it is started again when it ends, with growing pauses if that is at
//!   once, and it is stopped with the instance.
//! * A *smart* one has a pidfile: it is started if nobody is there whom the file names, looked after from time to time,
//!   and left alone when the instance ends.

mod legacy;

use std::fmt;

use ruwsgi_options::DaemonSaid;
use ruwsgi_sys::reap::End;

/// A life shorter than this, in milliseconds, is an early death: uWSGI's.
pub(super) const EARLY_MS: u64 = 3_000;
/// How long somebody may take to end who was killed, in milliseconds, before that is tried again.
const KILL_AGAIN_MS: u64 = 1_000;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// These are wanted from here on: at the start, or after a reload.
    Want(Vec<DaemonSaid>),
    /// Only time has passed.
    Tick,
    /// It was started.
    Spawned { daemon: u64, pid: i32 },
    /// It could not be.
    NotSpawned { daemon: u64, reason: String },
    /// Whom its pidfile names, if that one lives.
    Seen { daemon: u64, pid: Option<i32> },
    /// A child is dead.
    Exited { pid: i32, end: End },
    /// One of its files has changed.
    Touched { daemon: u64 },
    /// The instance ends.
    Stop,
    /// At once.
    StopNow,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Start it. Answered with [`Input::Spawned`] or [`Input::NotSpawned`].
    Spawn { daemon: u64, said: Box<DaemonSaid> },
    /// Look into its pidfile. Answered with [`Input::Seen`].
    Look { daemon: u64, said: Box<DaemonSaid> },
    /// A signal to its group.
    Signal { pid: i32, signal: i32 },
    /// SIGKILL to its group.
    Kill { pid: i32 },
    /// Tell people.
    Tell(Told),
    /// The instance is to end.
    StopInstance,
}

/// What people are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub name: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Started { pid: i32, again: u32 },
    NotStarted { reason: String, wait_ms: u64 },
    Ended { pid: i32, end: End, lived_ms: u64, wait_ms: u64 },
    Found { pid: i32 },
    Gone { wait_ms: u64 },
    NotDaemonized { pid: i32, after_ms: u64 },
    Stopping { pid: i32, signal: i32 },
    Stopped { pid: i32, end: End },
    Killed { pid: i32, after_ms: u64 },
    Control,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "daemon \"{}\"", self.name)?;
        let pause =
            |wait_ms: u64| if wait_ms == 0 { String::new() } else { format!(" in {} s", wait_ms.div_ceil(1000)) };
        match &self.what {
            What::Started { pid, again: 0 } => write!(f, " (pid {pid}) started"),
            What::Started { pid, again } => write!(f, " (pid {pid}) started again, {again} times by now"),
            What::NotStarted { reason, wait_ms } => {
                write!(f, " can't be started: {reason}: tried again{}", pause(*wait_ms))
            }
            What::Ended { pid, end, lived_ms, wait_ms } => {
                write!(f, " (pid {pid}) {end} after {} ms: started again{}", lived_ms, pause(*wait_ms))
            }
            What::Found { pid } => write!(f, " (pid {pid}) runs already"),
            What::Gone { wait_ms } => write!(f, " is gone: started again{}", pause(*wait_ms)),
            What::NotDaemonized { pid, after_ms } => {
                write!(
                    f,
                    " (pid {pid}) has not gone into the background for {} s: see smart-attach-daemon2",
                    after_ms / 1000
                )
            }
            What::Stopping { pid, signal } => write!(f, " (pid {pid}) is stopped with signal {signal}"),
            What::Stopped { pid, end } => write!(f, " (pid {pid}) {end}"),
            What::Killed { pid, after_ms } => {
                write!(f, " (pid {pid}) has not ended for {} s: killed (reload-mercy)", after_ms / 1000)
            }
            What::Control => f.write_str(" controls this instance and has ended: the instance stops"),
        }
    }
}

impl Told {
    /// Somebody should look.
    pub(crate) fn is_warning(&self) -> bool {
        use What::{Control, Ended, Gone, Killed, NotDaemonized, NotStarted};
        matches!(
            self.what,
            NotStarted { .. } | Ended { .. } | Gone { .. } | NotDaemonized { .. } | Killed { .. } | Control
        )
    }
}

/// Where a daemon is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// To be started, or looked for, at this time.
    Due { at_ms: u64 },
    /// Somebody was asked to start it, or to look.
    Asked,
    /// The child that was started.
    Runs { pid: i32, since_ms: u64 },
    /// The one that its pidfile names.
    Loose { pid: i32, look_ms: u64, since_ms: u64 },
    /// It is ending; then there is another one, or none.
    Ends { pid: i32, since_ms: u64, kill_ms: u64, killed: bool },
}

#[derive(Clone, Debug)]
struct Daemon {
    said: DaemonSaid,
    state: State,
    /// Early deaths in a row.
    early: u32,
    spawned: u32,
    /// Nobody wants it any more when it has ended.
    leaving: bool,
    warned: bool,
}

/// The plan.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    daemons: Vec<(u64, Daemon)>,
    next: u64,
    mercy_ms: u64,
    stopping: bool,
    orders: Vec<Order>,
    now: u64,
}

impl Plan {
    /// So long a daemon may take to end.
    pub(crate) fn set_mercy(&mut self, mercy_ms: u64) {
        self.mercy_ms = mercy_ms;
    }

    /// What is to be done after this, in this order.
    pub(crate) fn decide(&mut self, input: Input, now_ms: u64) -> Vec<Order> {
        self.now = now_ms;
        match input {
            Input::Want(said) => self.want(said),
            Input::Tick => {}
            Input::Spawned { daemon, pid } => self.spawned(daemon, pid),
            Input::NotSpawned { daemon, reason } => self.not_spawned(daemon, reason),
            Input::Seen { daemon, pid } => self.seen(daemon, pid),
            Input::Exited { pid, end } => self.exited(pid, end),
            Input::Touched { daemon } => self.renew(daemon),
            Input::Stop => self.stop(),
            Input::StopNow => self.stop_now(),
        }
        self.deadlines();
        std::mem::take(&mut self.orders)
    }

    /// When [`Input::Tick`] is wanted at the latest.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        let due =
            |daemon: &Daemon| daemon.due_ms().filter(|_| !matches!(daemon.state, State::Due { .. }) || !self.is_held());
        self.daemons.iter().filter_map(|(_, daemon)| due(daemon)).min()
    }

    /// Nobody is started while one ends that is not wanted any more: it may hold what its successor needs.
    fn is_held(&self) -> bool {
        self.daemons.iter().any(|(_, daemon)| daemon.leaving && matches!(daemon.state, State::Ends { .. }))
    }

    /// A child of this pid is, or was, a daemon.
    pub(crate) fn has(&self, pid: i32) -> bool {
        self.daemons.iter().any(|(_, daemon)| daemon.pid() == Some(pid))
    }

    /// All that are there: command, pid, how often they were started again.
    pub(crate) fn list(&self) -> Vec<(&str, i32, u32)> {
        let shown = |(_, it): &'_ (u64, Daemon)| (it.pid().unwrap_or(0), it.spawned.saturating_sub(1));
        self.daemons.iter().map(|one| (one.1.said.command.as_str(), shown(one).0, shown(one).1)).collect()
    }

    /// Nobody is left whose end is awaited.
    pub(crate) fn is_over(&self) -> bool {
        self.daemons.is_empty()
    }

    fn tell(&mut self, said: &DaemonSaid, what: What) {
        self.orders.push(Order::Tell(Told { name: said.command.clone(), what }));
    }

    fn daemon(&mut self, number: u64) -> Option<&mut Daemon> {
        self.daemons.iter_mut().find(|(known, _)| *known == number).map(|(_, daemon)| daemon)
    }

    /// What was attached before ends first: its successor begins when it is gone. Smart ones go on where they are wanted.
    fn want(&mut self, said: Vec<DaemonSaid>) {
        if self.stopping {
            return;
        }
        let mut wanted = said;
        for (_, daemon) in &mut self.daemons {
            daemon.leaving = true;
            if daemon.said.pidfile.is_some()
                && let Some(at) = wanted.iter().position(|one| one.pidfile == daemon.said.pidfile)
            {
                daemon.said = wanted.remove(at);
                daemon.leaving = false;
            }
        }
        for number in self.numbers() {
            let Some(daemon) = self.daemon(number).map(|daemon| daemon.clone()) else { continue };
            if !daemon.leaving {
                self.notify(&daemon, true);
            } else if daemon.said.pidfile.is_some() {
                self.remove(number);
            } else {
                self.end(number, true);
            }
        }
        for said in wanted {
            self.next += 1;
            let state = State::Due { at_ms: self.now };
            let daemon = Daemon { said, state, early: 0, spawned: 0, leaving: false, warned: false };
            self.daemons.push((self.next, daemon));
        }
    }

    fn numbers(&self) -> Vec<u64> {
        self.daemons.iter().map(|(number, _)| *number).collect()
    }

    fn remove(&mut self, number: u64) {
        self.daemons.retain(|(known, _)| *known != number);
    }

    /// Those that outlive the instance hear of its reloads and its end, if they want to.
    fn notify(&mut self, daemon: &Daemon, reload: bool) {
        let Some(pid) = daemon.pid().filter(|_| daemon.said.notified && daemon.said.pidfile.is_some()) else { return };
        // SIGHUP, as in uWSGI.
        let signal = if reload { daemon.said.reload_signal.unwrap_or(1) } else { daemon.said.stop_signal };
        self.orders.push(Order::Signal { pid, signal });
    }

    /// Has it end; one that is not there is forgotten.
    fn end(&mut self, number: u64, reload: bool) {
        let (now, mercy_ms) = (self.now, self.mercy_ms);
        let Some(daemon) = self.daemon(number) else { return };
        let signal = daemon.said.reload_signal.filter(|_| reload).unwrap_or(daemon.said.stop_signal);
        let (pid, said) = match daemon.state {
            State::Ends { .. } => return,
            State::Runs { pid, .. } | State::Loose { pid, .. } => (pid, daemon.said.clone()),
            // Whoever was asked to start it still answers.
            State::Asked => return daemon.leaving = true,
            State::Due { .. } => {
                return if daemon.leaving {
                    self.remove(number);
                };
            }
        };
        daemon.state = State::Ends { pid, since_ms: now, kill_ms: now + mercy_ms, killed: false };
        self.tell(&said, What::Stopping { pid, signal });
        self.orders.push(Order::Signal { pid, signal });
    }

    fn spawned(&mut self, number: u64, pid: i32) {
        let now = self.now;
        let Some(daemon) = self.daemon(number) else {
            return self.orders.push(Order::Kill { pid });
        };
        daemon.state = State::Runs { pid, since_ms: now };
        daemon.warned = false;
        let again = daemon.spawned;
        daemon.spawned += 1;
        let (said, leaving) = (daemon.said.clone(), daemon.leaving);
        self.tell(&said, What::Started { pid, again });
        if leaving {
            self.end(number, false);
        }
    }

    fn not_spawned(&mut self, number: u64, reason: String) {
        let wait_ms = self.pause(number, true);
        let Some(daemon) = self.daemon(number) else { return };
        let (said, leaving) = (daemon.said.clone(), daemon.leaving);
        if leaving {
            return self.remove(number);
        }
        self.tell(&said, What::NotStarted { reason, wait_ms });
    }

    /// It has ended: how long its successor waits.
    fn pause(&mut self, number: u64, early: bool) -> u64 {
        let now = self.now;
        let Some(daemon) = self.daemon(number) else { return 0 };
        daemon.early = if early { daemon.early + 1 } else { 0 };
        let seconds = match daemon.early {
            0 => 0,
            deaths => (1_u64 << (deaths - 1).min(16)).min(daemon.said.most_pause_s.into()),
        };
        daemon.state = State::Due { at_ms: now + seconds * 1_000 };
        seconds * 1_000
    }

    fn seen(&mut self, number: u64, found: Option<i32>) {
        let now = self.now;
        let Some(daemon) = self.daemon(number) else { return };
        let look_ms = now + u64::from(daemon.said.frequency_s) * 1_000;
        let (said, state) = (daemon.said.clone(), daemon.state.clone());
        match (state, found) {
            (State::Asked, Some(pid)) => {
                daemon.state = State::Loose { pid, look_ms, since_ms: now };
                self.tell(&said, What::Found { pid });
            }
            (State::Asked, None) => self.orders.push(Order::Spawn { daemon: number, said: Box::new(said) }),
            (State::Loose { since_ms, .. }, Some(pid)) => daemon.state = State::Loose { pid, look_ms, since_ms },
            (State::Loose { since_ms, .. }, None) => {
                let wait_ms = self.pause(number, now - since_ms < EARLY_MS);
                self.tell(&said, What::Gone { wait_ms });
            }
            _ => {}
        }
    }

    fn exited(&mut self, pid: i32, end: End) {
        let now = self.now;
        let Some(number) = self.daemons.iter().find(|(_, daemon)| daemon.pid() == Some(pid)).map(|(number, _)| *number)
        else {
            return;
        };
        let Some(daemon) = self.daemon(number) else { return };
        let (said, leaving, state) = (daemon.said.clone(), daemon.leaving, daemon.state.clone());
        match state {
            State::Ends { .. } => {
                self.tell(&said, What::Stopped { pid, end });
                if leaving || self.stopping {
                    self.remove(number);
                } else {
                    self.pause(number, false);
                }
            }
            // The parent of a daemon that has gone into the background: its pidfile says who it is, after a moment.
            State::Runs { since_ms, .. } if said.pidfile.is_some() && !said.keeps && end == End::Exited(0) => {
                let look_ms = now + 1_000;
                if let Some(daemon) = self.daemon(number) {
                    daemon.state = State::Loose { pid: 0, look_ms, since_ms };
                }
            }
            State::Runs { since_ms, .. } | State::Loose { since_ms, .. } => {
                self.died((number, &said), (pid, end), since_ms);
            }
            State::Due { .. } | State::Asked => {}
        }
    }

    fn died(&mut self, (number, said): (u64, &DaemonSaid), (pid, end): (i32, End), since_ms: u64) {
        if self.stopping {
            return self.remove(number);
        }
        if said.control {
            self.tell(said, What::Control);
            self.remove(number);
            return self.orders.push(Order::StopInstance);
        }
        let lived_ms = self.now - since_ms;
        let wait_ms = self.pause(number, lived_ms < EARLY_MS);
        self.tell(said, What::Ended { pid, end, lived_ms, wait_ms });
    }

    /// One of its files was touched.
    fn renew(&mut self, number: u64) {
        self.end(number, true);
    }

    fn stop(&mut self) {
        self.stopping = true;
        for number in self.numbers() {
            let Some(daemon) = self.daemon(number) else { continue };
            daemon.leaving = true;
            let daemon = daemon.clone();
            if daemon.said.pidfile.is_some() {
                self.notify(&daemon, false);
                self.remove(number);
            } else {
                self.end(number, false);
            }
        }
    }

    fn stop_now(&mut self) {
        self.stop();
        let pids: Vec<i32> = self.daemons.iter().filter_map(|(_, daemon)| daemon.pid()).collect();
        self.orders.extend(pids.into_iter().map(|pid| Order::Kill { pid }));
    }

    /// What is due by the clock.
    fn deadlines(&mut self) {
        let held = self.is_held();
        for number in self.numbers() {
            let now = self.now;
            let Some(daemon) = self.daemon(number).filter(|daemon| daemon.due_ms().is_some_and(|due| due <= now))
            else {
                continue;
            };
            if held && matches!(daemon.state, State::Due { .. }) {
                continue;
            }
            let said = daemon.said.clone();
            match daemon.state.clone() {
                State::Due { .. } => {
                    daemon.state = State::Asked;
                    let said = Box::new(said);
                    let has_pidfile = said.pidfile.is_some();
                    self.orders.push(match has_pidfile {
                        true => Order::Look { daemon: number, said },
                        false => Order::Spawn { daemon: number, said },
                    });
                }
                State::Loose { pid, since_ms, .. } => {
                    let look_ms = now + u64::from(said.frequency_s) * 1_000;
                    daemon.state = State::Loose { pid, look_ms, since_ms };
                    self.orders.push(Order::Look { daemon: number, said: Box::new(said) });
                }
                State::Runs { pid, since_ms } => {
                    daemon.warned = true;
                    self.tell(&said, What::NotDaemonized { pid, after_ms: now - since_ms });
                }
                State::Ends { pid, since_ms, killed, .. } => {
                    daemon.state = State::Ends { pid, since_ms, kill_ms: now + KILL_AGAIN_MS, killed: true };
                    self.orders.push(Order::Kill { pid });
                    if !killed {
                        self.tell(&said, What::Killed { pid, after_ms: now - since_ms });
                    }
                }
                State::Asked => {}
            }
        }
    }
}

impl Daemon {
    fn pid(&self) -> Option<i32> {
        match self.state {
            State::Runs { pid, .. } | State::Loose { pid, .. } | State::Ends { pid, .. } => {
                Some(pid).filter(|pid| *pid > 0)
            }
            State::Due { .. } | State::Asked => None,
        }
    }

    /// When somebody has to look after it.
    fn due_ms(&self) -> Option<u64> {
        match self.state {
            State::Due { at_ms } => Some(at_ms),
            State::Loose { look_ms, .. } => Some(look_ms),
            State::Ends { kill_ms, .. } => Some(kill_ms),
            State::Runs { since_ms, .. } if self.said.pidfile.is_some() && !self.said.keeps && !self.warned => {
                Some(since_ms + u64::from(self.said.frequency_s) * 1_000)
            }
            State::Runs { .. } | State::Asked => None,
        }
    }
}
