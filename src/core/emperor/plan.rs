//! The mind of the emperor: what happened goes in, what is to be done comes out. Nothing here touches the kernel, the
//! clock or a file, so that a hundred thousand histories can be played through in a test.
//!
//! What the monitors see is the truth. [`Plan::settle`] compares it, vassal by vassal, with what runs, and orders the
//! next step: a vassal has one process, or none; it starts and reloads no faster than its [`throttle`]; what stops has a
//! deadline. A vassal with a socket that the emperor holds sleeps until somebody connects.

mod throttle;
mod vassal;
mod words;

#[cfg(test)]
mod simulation;

use std::collections::BTreeMap;

use ruwsgi_sys::reap::End;

use self::throttle::Throttle;
use self::vassal::{Leaving, Socket, State};
pub(crate) use self::vassal::{Up, Vassal};
pub(crate) use self::words::{Command, Event, Input, Level, Order, Rules, Sighting, Terms, Verdict, Wish};
use self::words::{Who, Why};
use super::name::Name;
use super::pipe;

/// A vassal that has not said that it accepts is no longer counted as on its way up after so long.
const ON_ITS_WAY_MS: u64 = 3_000;
/// What is dead says so within this time after its pipe is closed.
const LAST_BREATH_MS: u64 = 1_000;
/// How long a vassal may take that has to stop at once.
const AT_ONCE_MS: u64 = 3_000;
/// A kill that had no effect is repeated.
const KILL_AGAIN_MS: u64 = 5_000;
/// Stop at once, also for those that take the first one for a graceful stop.
const STOP_NOW: &[u8] = &[pipe::STOP, pipe::STOP];

/// The plan.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    rules: Rules,
    now: u64,
    wake: Option<u64>,
    orders: Vec<Order>,
    vassals: BTreeMap<Name, Vassal>,
    /// Those whose file is gone, while they would have to wait if it came back.
    former: BTreeMap<Name, Throttle>,
    /// The emperor stops.
    over: bool,
    ended: bool,
}

impl Plan {
    /// With these rules, and no vassal.
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, ..Self::default() }
    }

    /// What is to be done after this, in this order.
    pub(crate) fn decide(&mut self, input: Input, now_ms: u64) -> Vec<Order> {
        self.now = now_ms;
        match input {
            Input::Tick => {}
            Input::Rules(rules) => self.rules = rules,
            Input::Seen(all) => self.seen(all),
            Input::Started { name, pid } => self.started(&name, pid),
            Input::NotStarted { name, reason } => self.not_started(name, reason),
            Input::Listening { name } => self.listening(name),
            Input::NotListening { name, reason } => self.not_listening(name, reason),
            Input::Knock { name } => self.knocked(name),
            Input::Said { name, byte } => self.said(&name, byte),
            Input::Hung { name } => {
                if let Some(up) = self.up(&name) {
                    up.hung_ms.get_or_insert(now_ms);
                }
            }
            Input::Exited { name, end, words } => self.exited(name, end, words),
            Input::Wish(wish) => self.wish(wish),
            Input::Command { name, command } => self.command(&name, command),
        }
        self.settle();
        std::mem::take(&mut self.orders)
    }

    /// When [`Input::Tick`] is wanted at the latest.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        self.wake
    }

    /// All vassals, for those who show them.
    pub(crate) fn vassals(&self) -> impl Iterator<Item = (&Name, &Vassal)> {
        self.vassals.iter()
    }

    /// There is a vassal of this name.
    pub(crate) fn vassal(&self, name: &Name) -> Option<&Vassal> {
        self.vassals.get(name)
    }

    fn tell(&mut self, event: Event) {
        self.orders.push(Order::Tell(event));
    }

    fn up(&mut self, name: &Name) -> Option<&mut Up> {
        match &mut self.vassals.get_mut(name)?.state {
            State::Up(up) => Some(up),
            _ => None,
        }
    }

    // What the monitors see.

    fn seen(&mut self, all: Vec<Sighting>) {
        self.vassals.values_mut().for_each(|vassal| vassal.gone = true);
        for Sighting { name, version, verdict } in all {
            let known = self.vassals.contains_key(&name);
            let (former, rules) = (&mut self.former, self.rules);
            let vassal = self.vassals.entry(name.clone()).or_insert_with(|| {
                let mut throttle = former.remove(&name).unwrap_or_default();
                throttle.forgive(&rules);
                Vassal { throttle, ..Vassal::new(version, verdict.clone()) }
            });
            vassal.gone = false;
            if vassal.version != version {
                vassal.version = version;
                vassal.exiled = false;
                vassal.throttle.forgive(&self.rules);
            }
            if (known && vassal.verdict == verdict) || self.over {
                continue;
            }
            vassal.verdict = verdict;
            let (runs, name) = (matches!(vassal.state, State::Up(_)), name.clone());
            match vassal.verdict.clone() {
                Verdict::Fine(_) => {}
                Verdict::Broken(reason) => {
                    vassal.reason = Some(reason.clone());
                    self.tell(Event::Broken { name, reason, runs });
                }
                Verdict::Forbidden(reason) => {
                    vassal.reason = Some(reason.clone());
                    self.tell(Event::Forbidden { name, reason });
                }
            }
        }
    }

    // What became of orders.

    fn started(&mut self, name: &Name, pid: i32) {
        let now = self.now;
        let Some(vassal) = self.vassals.get_mut(name) else { return };
        let (version, terms) = (vassal.version, vassal.terms().cloned().unwrap_or_default());
        vassal.state = State::Up(Up::new(pid, now, version, terms));
        vassal.starts += 1;
        vassal.first_ms.get_or_insert(now);
        vassal.knocked = false;
        self.tell(Event::Started { who: Who { name: name.clone(), pid } });
    }

    fn not_started(&mut self, name: Name, reason: String) {
        let Some(vassal) = self.vassals.get_mut(&name) else { return };
        vassal.state = State::Down;
        vassal.reason = Some(reason.clone());
        let wait_ms = vassal.throttle.failed(&self.rules, self.now);
        self.tell(Event::NotStarted { name, reason, wait_ms });
    }

    fn listening(&mut self, name: Name) {
        let Some(vassal) = self.vassals.get_mut(&name) else { return };
        let Socket::Asked { address } = &vassal.socket else { return };
        let address = address.clone();
        vassal.socket = Socket::Open { address: address.clone() };
        vassal.throttle.forgive(&self.rules);
        self.orders.push(Order::Watch { name: name.clone() });
        self.tell(Event::Asleep { name, address });
    }

    fn not_listening(&mut self, name: Name, reason: String) {
        let Some(vassal) = self.vassals.get_mut(&name) else { return };
        let Socket::Asked { address } = std::mem::replace(&mut vassal.socket, Socket::Closed) else { return };
        let wait_ms = vassal.throttle.failed(&self.rules, self.now);
        vassal.reason = Some(format!("{address} {reason}"));
        self.tell(Event::NotListening { name, address, reason, wait_ms });
    }

    fn knocked(&mut self, name: Name) {
        let Some(vassal) = self.vassals.get_mut(&name).filter(|vassal| matches!(vassal.state, State::Down)) else {
            return;
        };
        if !std::mem::replace(&mut vassal.knocked, true) {
            self.tell(Event::Woken { name });
        }
    }

    // What a vassal says and does.

    fn said(&mut self, name: &Name, byte: u8) {
        let now = self.now;
        let rules = self.rules;
        let Some(vassal) = self.vassals.get_mut(name) else { return };
        let State::Up(up) = &mut vassal.state else { return };
        let who = Who { name: name.clone(), pid: up.pid };
        match byte {
            pipe::READY => {
                up.ready_ms = Some(now);
                up.hung_ms = None;
            }
            pipe::ACCEPTING => {
                let after_ms = now.saturating_sub(up.ordered_ms);
                up.accepting_ms = Some(now);
                up.busy_until = now;
                vassal.reason = None;
                self.tell(Event::Ready { who, after_ms });
            }
            pipe::LOYAL => {
                vassal.throttle.forgive(&rules);
                if up.loyal_ms.replace(now).is_none() {
                    self.tell(Event::Loyal { who });
                }
            }
            pipe::HEARTBEAT => up.heartbeat_ms = Some(now),
            pipe::IDLE => self.leave(name, Why::Idle),
            // A push of its configuration, and help by others of its kind: nobody here has either.
            _ => {}
        }
    }

    fn exited(&mut self, name: Name, end: End, words: Option<String>) {
        let (now, rules) = (self.now, self.rules);
        let Some(vassal) = self.vassals.get_mut(&name) else { return };
        let State::Up(up) = std::mem::replace(&mut vassal.state, State::Down) else { return };
        vassal.knocked = false;
        vassal.last_end = Some(end);
        if vassal.has_socket() {
            self.orders.push(Order::Watch { name: name.clone() });
        }
        let who = Who { name, pid: up.pid };
        if let Some(leaving) = up.leaving.as_ref().filter(|leaving| leaving.why != Why::Cursed) {
            return self.tell(Event::Ended { who, end, why: leaving.why });
        }
        if end == End::Exited(pipe::EXILE) {
            vassal.exiled = true;
            vassal.reason = words;
            return self.tell(Event::Exiled { who });
        }
        let lived_ms = now.saturating_sub(up.since_ms);
        let clean = end == End::Exited(0) && up.accepting_ms.is_some();
        let good = up.loyal_ms.is_some() || clean || Throttle::is_long(up.since_ms, now);
        if good {
            vassal.throttle.forgive(&rules);
        }
        let wait_ms =
            if good { vassal.throttle.not_before.saturating_sub(now) } else { vassal.throttle.failed(&rules, now) };
        vassal.reason = Some(words.clone().map_or_else(|| end.to_string(), |words| format!("{end}; {words}")));
        let failures = vassal.throttle.failures;
        self.tell(Event::Died { who, end, lived_ms, wait_ms, failures, reason: words });
    }

    // What people ask for.

    fn wish(&mut self, wish: Wish) {
        let names: Vec<Name> = self.vassals.keys().cloned().collect();
        let count = self.vassals.values().filter(|vassal| matches!(vassal.state, State::Up(_))).count();
        match wish {
            Wish::Forgive => {
                self.vassals.values_mut().for_each(|vassal| vassal.throttle.forgive(&self.rules));
                self.tell(Event::Forgiven);
            }
            _ if self.over && wish != Wish::StopNow => {
                if wish == Wish::Stop {
                    self.wish(Wish::StopNow);
                }
            }
            Wish::Reload => {
                self.tell(Event::Reloading { count });
                names.iter().for_each(|name| self.command(name, Command::Reload));
            }
            Wish::Stop => {
                self.over = true;
                let mercy_ms = self.rules.mercy_ms;
                self.tell(Event::Stopping { count, mercy_ms });
                names.iter().for_each(|name| self.leave(name, Why::Over));
            }
            Wish::StopNow => {
                self.over = true;
                self.tell(Event::StoppingNow { count });
                for name in names {
                    let (kill_at, now) = (self.now + AT_ONCE_MS, self.now);
                    let Some(up) = self.up(&name) else { continue };
                    up.leaving = Some(Leaving { why: Why::Over, since_ms: now, kill_at });
                    self.orders.push(Order::Send { name, bytes: STOP_NOW });
                }
            }
        }
    }

    fn command(&mut self, name: &Name, command: Command) {
        let rules = self.rules;
        let Some(vassal) = self.vassals.get_mut(name).filter(|_| !self.over) else { return };
        match command {
            Command::Stop => vassal.by_hand = true,
            Command::Start => {
                vassal.by_hand = false;
                vassal.exiled = false;
                vassal.knocked = true;
                vassal.throttle.forgive(&rules);
            }
            Command::Reload => match &mut vassal.state {
                State::Up(up) => up.asked = true,
                _ => vassal.throttle.forgive(&rules),
            },
        }
    }

    /// Tells a vassal to stop; one that is told already has its deadline.
    fn leave(&mut self, name: &Name, why: Why) {
        let rules = self.rules;
        let now = self.now;
        let mercy_ms = if why == Why::Over { rules.mercy_ms } else { rules.tolerance_ms };
        let Some(up) = self.up(name) else { return };
        if let Some(leaving) = &mut up.leaving {
            leaving.kill_at = leaving.kill_at.min(now + mercy_ms);
            if why == Why::Over {
                leaving.why = why;
            }
            return;
        }
        up.leaving = Some(Leaving { why, since_ms: now, kill_at: now + mercy_ms });
        let (pid, hung) = (up.pid, up.hung_ms.is_some());
        let name = name.clone();
        self.orders.push(match (hung, rules.graceful) {
            (true, _) => Order::Terminate { name: name.clone(), pid },
            (false, true) => Order::Send { name: name.clone(), bytes: &[pipe::STOP_GRACEFULLY] },
            (false, false) => Order::Send { name: name.clone(), bytes: STOP_NOW },
        });
        self.tell(Event::Stop { who: Who { name, pid }, why, mercy_ms });
    }
}
