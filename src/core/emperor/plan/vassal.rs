//! One vassal: what its file says, what runs, and the next step from the one to the other.

use ruwsgi_sys::reap::End;

use super::throttle::Throttle;
use super::words::{Cause, Event, Order, Terms, Verdict, Who, Why};
use super::{AT_ONCE_MS, KILL_AGAIN_MS, LAST_BREATH_MS, ON_ITS_WAY_MS, Plan};
use crate::emperor::name::Name;
use crate::emperor::pipe;

/// A vassal.
#[derive(Debug)]
pub(crate) struct Vassal {
    /// What the monitor saw last.
    pub version: u64,
    pub verdict: Verdict,
    /// No monitor sees it.
    pub gone: bool,
    /// Somebody has stopped it.
    pub by_hand: bool,
    /// It wants no other start.
    pub exiled: bool,
    pub(super) state: State,
    pub(super) socket: Socket,
    /// Somebody has connected there.
    pub(super) knocked: bool,
    pub throttle: Throttle,
    /// How often it was started.
    pub starts: u64,
    /// When it was started first.
    pub first_ms: Option<u64>,
    pub last_end: Option<End>,
    /// Why it does not run, or why it died last.
    pub reason: Option<String>,
}

/// The process of a vassal.
#[derive(Debug)]
pub(crate) enum State {
    /// None.
    Down,
    /// It is being started.
    Asked,
    Up(Up),
}

/// A process.
#[derive(Debug)]
pub(crate) struct Up {
    pub pid: i32,
    pub since_ms: u64,
    /// When it was started, or told to reload.
    pub ordered_ms: u64,
    /// What it has read.
    version: u64,
    terms: Terms,
    /// Somebody wants it to reload.
    pub asked: bool,
    /// Until then it counts as on its way up.
    pub busy_until: u64,
    pub ready_ms: Option<u64>,
    pub accepting_ms: Option<u64>,
    pub loyal_ms: Option<u64>,
    pub heartbeat_ms: Option<u64>,
    /// When it closed its end of the pipe.
    pub hung_ms: Option<u64>,
    pub leaving: Option<Leaving>,
}

/// A stop that is under way.
#[derive(Debug)]
pub(crate) struct Leaving {
    pub why: Why,
    pub since_ms: u64,
    pub kill_at: u64,
}

/// A socket that the emperor holds for a vassal.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Socket {
    Closed,
    /// It is being opened.
    Asked {
        address: String,
    },
    Open {
        address: String,
    },
}

impl Up {
    pub(super) fn new(pid: i32, now: u64, version: u64, terms: Terms) -> Self {
        Self {
            pid,
            since_ms: now,
            ordered_ms: now,
            version,
            terms,
            asked: false,
            busy_until: now + ON_ITS_WAY_MS,
            ready_ms: None,
            accepting_ms: None,
            loyal_ms: None,
            heartbeat_ms: None,
            hung_ms: None,
            leaving: None,
        }
    }
}

impl Vassal {
    pub(super) fn new(version: u64, verdict: Verdict) -> Self {
        Self {
            version,
            verdict,
            gone: false,
            by_hand: false,
            exiled: false,
            state: State::Down,
            socket: Socket::Closed,
            knocked: false,
            throttle: Throttle::default(),
            starts: 0,
            first_ms: None,
            last_end: None,
            reason: None,
        }
    }

    pub(crate) fn terms(&self) -> Option<&Terms> {
        match &self.verdict {
            Verdict::Fine(terms) => Some(terms),
            _ => None,
        }
    }

    /// The process, if there is one.
    pub(crate) fn process(&self) -> Option<&Up> {
        match &self.state {
            State::Up(up) => Some(up),
            _ => None,
        }
    }

    /// The emperor holds a socket for it.
    pub(crate) fn has_socket(&self) -> bool {
        matches!(self.socket, Socket::Open { .. })
    }

    /// In a word, for people.
    pub(crate) fn state(&self) -> &'static str {
        match &self.state {
            State::Up(up) if up.leaving.is_some() => "stopping",
            State::Up(up) if up.loyal_ms.is_some() => "loyal",
            State::Up(up) if up.accepting_ms.is_some() => "ready",
            State::Up(_) | State::Asked => "starting",
            State::Down if self.by_hand => "stopped",
            State::Down if self.exiled => "exiled",
            State::Down => match &self.verdict {
                Verdict::Broken(_) => "broken",
                Verdict::Forbidden(_) => "forbidden",
                Verdict::Fine(_) if self.throttle.failures > 0 => "waiting",
                Verdict::Fine(_) if self.has_socket() => "asleep",
                Verdict::Fine(_) => "waiting",
            },
        }
    }
}

impl Plan {
    /// Compares, vassal by vassal, and orders the next step.
    pub(super) fn settle(&mut self) {
        self.wake = None;
        let mut vassals = std::mem::take(&mut self.vassals);
        let on_their_way =
            |vassal: &Vassal| vassal.process().is_some_and(|up| up.leaving.is_none() && up.busy_until > self.now);
        let mut busy = vassals.values().filter(|vassal| on_their_way(vassal)).count();
        vassals.retain(|name, vassal| {
            if !self.over {
                self.stop_or_reload(name, vassal, &mut busy);
            }
            if let State::Up(up) = &mut vassal.state {
                self.watch_over(name, up);
            }
            if self.over {
                return true;
            }
            self.fit_socket(name, vassal);
            let stays = !vassal.gone || !matches!(vassal.state, State::Down);
            if stays {
                self.start(name, vassal, &mut busy);
            } else {
                self.former.insert(name.clone(), vassal.throttle);
                self.orders.push(Order::Forget { name: name.clone() });
                self.tell(Event::Removed { name: name.clone() });
            }
            stays
        });
        self.vassals = vassals;
        self.former.retain(|_, throttle| throttle.not_before > self.now);
        let runs = self.vassals.values().any(|vassal| !matches!(vassal.state, State::Down));
        if self.over && !runs && !std::mem::replace(&mut self.ended, true) {
            self.orders.push(Order::Exit);
        }
    }

    /// `at_ms` has come; otherwise it is remembered as a time to wake at.
    fn due(&mut self, at_ms: u64) -> bool {
        let due = at_ms <= self.now;
        if !due {
            self.wake = Some(self.wake.map_or(at_ms, |wake| wake.min(at_ms)));
        }
        due
    }

    /// Deadlines of a process: of its stop, its heartbeat, its last breath.
    fn watch_over(&mut self, name: &Name, up: &mut Up) {
        let who = || Who { name: name.clone(), pid: up.pid };
        let (now, pid) = (self.now, up.pid);
        if up.leaving.is_none()
            && let Some(hung) = up.hung_ms
            && self.due(hung + LAST_BREATH_MS)
        {
            let mercy_ms = self.rules.tolerance_ms;
            self.tell(Event::Cursed { who: who(), mercy_ms });
            self.orders.push(Order::Terminate { name: name.clone(), pid });
            up.leaving = Some(Leaving { why: Why::Cursed, since_ms: now, kill_at: now + mercy_ms });
        }
        let silence_ms = self.rules.heartbeat_ms;
        if up.leaving.is_none()
            && let Some(beat) = up.heartbeat_ms.filter(|_| silence_ms > 0)
            && self.due(beat + silence_ms)
        {
            self.tell(Event::Silent { who: who(), for_ms: now - beat });
            self.orders.push(Order::Kill { name: name.clone(), pid });
            up.leaving = Some(Leaving { why: Why::Cursed, since_ms: now, kill_at: now + KILL_AGAIN_MS });
        }
        if let Some(Leaving { since_ms, kill_at, .. }) = &up.leaving
            && self.due(*kill_at)
        {
            let after_ms = now - since_ms;
            self.tell(Event::NoMercy { who: who(), after_ms });
            self.orders.push(Order::Kill { name: name.clone(), pid });
            up.leaving.iter_mut().for_each(|leaving| leaving.kill_at = now + KILL_AGAIN_MS);
        }
    }

    /// A process that should not be, or that should be another one.
    fn stop_or_reload(&mut self, name: &Name, vassal: &mut Vassal, busy: &mut usize) {
        let State::Up(up) = &mut vassal.state else { return };
        if up.leaving.is_some() {
            return;
        }
        let why = match &vassal.verdict {
            _ if vassal.gone => Some(Why::Gone),
            _ if vassal.by_hand => Some(Why::ByHand),
            Verdict::Forbidden(_) => Some(Why::Forbidden),
            Verdict::Fine(terms) if *terms != up.terms => Some(Why::OtherTerms),
            _ => None,
        };
        let who = Who { name: name.clone(), pid: up.pid };
        if let Some(why) = why {
            let mercy_ms = self.rules.tolerance_ms;
            up.leaving = Some(Leaving { why, since_ms: self.now, kill_at: self.now + mercy_ms });
            self.orders.push(match (up.hung_ms, self.rules.graceful) {
                (Some(_), _) => Order::Terminate { name: name.clone(), pid: up.pid },
                (None, true) => Order::Send { name: name.clone(), bytes: &[pipe::STOP_GRACEFULLY] },
                (None, false) => {
                    up.leaving.iter_mut().for_each(|it| it.kill_at = it.kill_at.max(self.now + AT_ONCE_MS));
                    Order::Send { name: name.clone(), bytes: super::STOP_NOW }
                }
            });
            return self.tell(Event::Stop { who, why, mercy_ms });
        }
        let changed = up.version != vassal.version && matches!(vassal.verdict, Verdict::Fine(_));
        if !(changed || up.asked) || !self.due(vassal.throttle.not_before) {
            return;
        }
        if *busy >= self.rules.at_once && up.busy_until <= self.now {
            return self.wait_for_room();
        }
        *busy += usize::from(up.busy_until <= self.now);
        let cause = if changed { Cause::Changed } else { Cause::Asked };
        up.version = vassal.version;
        up.asked = false;
        up.ordered_ms = self.now;
        up.busy_until = self.now + ON_ITS_WAY_MS;
        vassal.throttle.started(&self.rules, self.now);
        self.orders.push(Order::Send { name: name.clone(), bytes: &[pipe::RELOAD] });
        self.tell(Event::Reload { who, cause });
    }

    /// Others are on their way up: at the latest when they have had their time, the next ones may.
    fn wait_for_room(&mut self) {
        let at = self.now + ON_ITS_WAY_MS / 10;
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    /// The socket that its terms want, or none.
    fn fit_socket(&mut self, name: &Name, vassal: &mut Vassal) {
        let out = vassal.gone || vassal.by_hand || vassal.exiled;
        let wanted = match &vassal.verdict {
            _ if out => None,
            Verdict::Fine(terms) => terms.address.clone().map(|address| (address, terms.clone())),
            Verdict::Broken(_) => return,
            Verdict::Forbidden(_) => None,
        };
        let down = matches!(vassal.state, State::Down);
        if let Socket::Open { address } = &vassal.socket
            && wanted.as_ref().is_none_or(|(wanted, _)| wanted != address)
            && down
        {
            vassal.socket = Socket::Closed;
            vassal.knocked = false;
            self.orders.push(Order::Unlisten { name: name.clone() });
        }
        if let (Socket::Closed, Some((address, terms)), true) = (&vassal.socket, wanted, down)
            && self.due(vassal.throttle.not_before)
        {
            vassal.socket = Socket::Asked { address };
            self.orders.push(Order::Listen { name: name.clone(), terms });
        }
    }

    /// A process that should be.
    fn start(&mut self, name: &Name, vassal: &mut Vassal, busy: &mut usize) {
        let Verdict::Fine(terms) = &vassal.verdict else { return };
        let awake = terms.address.is_none() || (vassal.knocked && vassal.has_socket());
        let wanted = matches!(vassal.state, State::Down) && awake && !vassal.by_hand && !vassal.exiled && !vassal.gone;
        if !wanted || !self.due(vassal.throttle.not_before) {
            return;
        }
        if *busy >= self.rules.at_once {
            return self.wait_for_room();
        }
        *busy += 1;
        let owner = terms.owner;
        vassal.state = State::Asked;
        vassal.throttle.started(&self.rules, self.now);
        self.orders.push(Order::Start { name: name.clone(), owner });
    }
}
