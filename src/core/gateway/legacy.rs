//! What the master leaves of its router processes to another executable, and how that one goes on with them: they serve
//! until a generation of its own has replaced them. What the two sides say to each other is one for all releases.

use std::os::fd::AsRawFd;
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use ruwsgi_options::Config;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::clock;

use super::ears::Heard;
use super::host::{Gateways, Line, Made};
use super::supervise::Input;
use crate::listeners::{Bound, Opened};
use crate::master::mercy_ms;
use crate::upgrade::{Ear, Router as Left, State};
use crate::why;

/// What was left of routers, with its descriptors.
#[derive(Default)]
pub(crate) struct Remains {
    routers: Vec<(Left, Option<Channel>)>,
    ears: Vec<Rc<Heard>>,
}

impl Remains {
    /// Takes the descriptors that a state names.
    pub(crate) fn take(state: &State) -> Result<Self, String> {
        let failed = |error| format!("the former router processes can't be kept: {}", why(&error));
        let mut remains = Self::default();
        for router in &state.routers {
            let channel = router.channel.map(Channel::inherited).transpose().map_err(failed)?;
            remains.routers.push((router.clone(), channel));
        }
        remains.ears = Self::ears(&state.ears)?;
        Ok(remains)
    }

    fn ears(left: &[Ear]) -> Result<Vec<Rc<Heard>>, String> {
        left.iter().map(|ear| Heard::inherited(ear).map(Rc::new)).collect()
    }
}

impl Made {
    fn of(bound: &[Rc<Bound>], ears: Vec<Rc<Heard>>) -> Self {
        Self { stats: bound.iter().map(|bound| (0, bound.clone())).collect(), ears: vec![(0, ears)] }
    }
}

impl Gateways {
    /// Whether the routers of a configuration could begin where others are; nothing of theirs goes with this process.
    pub(crate) fn try_out(
        &mut self,
        (config, own): (&Config, &[Rc<Bound>]),
        bound: &[Rc<Bound>],
        left: &[Ear],
    ) -> Result<(), String> {
        let ears = Remains::ears(left)?;
        ears.iter().for_each(|ear| ear.set_vacuum(false));
        self.made = Made::of(bound, ears);
        self.prepare(config, own)
    }

    /// What is bound for them beside their listeners.
    pub(crate) fn doors(&self) -> Vec<Rc<Bound>> {
        self.made().stats.iter().map(|(_, bound)| bound.clone()).collect()
    }

    /// What there is to leave.
    pub(crate) fn legacy(&self, state: &mut State) {
        for (id, line) in &self.lines {
            let Some(((_, number), up, kill_at)) = self.plan.process(*id) else { continue };
            let channel = line.channel.as_ref().map(AsRawFd::as_raw_fd);
            let name = self.routers.get(line.router).map_or_else(String::new, |router| router.name.to_owned());
            state.routers.push(Left { name, number, pid: line.pid, up, kill_at, channel });
        }
        state.ears = self.made().ears.iter().flat_map(|(_, ears)| ears).map(|heard| heard.left()).collect();
    }

    /// Goes on with those of another executable. `opened`: the listeners of this configuration, as far as they are there;
    /// `bound`: whatever else was left.
    pub(crate) fn inherit(
        &mut self,
        poll: &Poll,
        Remains { routers, ears }: Remains,
        (config, opened): (&Rc<Config>, &Opened),
        bound: &[Rc<Bound>],
    ) -> Result<(), String> {
        let failed = |error| format!("the former router processes can't be kept: {}", why(&error));
        let mut places = Vec::new();
        for (left, channel) in routers {
            if let Some(channel) = &channel {
                let number = channel.as_raw_fd();
                poll.registry().register(&mut SourceFd(&number), Token(0), Interest::READABLE).map_err(failed)?;
            }
            let router = self.routers.iter().position(|router| router.name == left.name);
            // One that this release does not have is wanted by nobody.
            let place = (router.unwrap_or(usize::MAX), left.number);
            places.extend(router.map(|_| place));
            let id = self.plan.inherit(place, left.up, left.kill_at, clock::coarse_ms());
            let shown = format!("{} {}", left.name, left.number);
            self.lines.insert(id, Line::inherited((left.pid, place.0, shown), left.up, channel));
        }
        self.made = Made::of(bound, ears);
        self.is_former = !self.lines.is_empty();
        let whole = opened.workers.len() == config.listeners().len()
            && opened.routers.len() == config.router_listeners().count();
        // Otherwise nobody comes in place of one that dies before the listeners are bound.
        if whole && self.prepare(config, &opened.workers).is_ok() {
            places = self.arrange(config, (&opened.routers, &opened.workers));
        }
        self.feed(poll, Input::Wanted { places, renew: false, mercy_ms: u64::from(mercy_ms(config)) });
        Ok(())
    }
}
