//! How a master goes on with what another executable has left to this process: its sockets, its workers, its files. The
//! opposite of `upgrade`, which leaves them.

use std::io;
use std::rc::Rc;

use ruwsgi_contract::SHAPE;
use ruwsgi_contract::handover::Handover;
use ruwsgi_contract::scoreboard::Scoreboard;
use ruwsgi_options::Config;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::exec;
use ruwsgi_sys::lock::Locks;

use super::children::Line;
use super::host::Hosted;
use super::run::{Master, watch};
use crate::gateway::Remains;
use crate::listeners::Bound;
use crate::upgrade::State;
use crate::why;

/// What was left, as far as it has an owner by now.
pub(crate) struct Left {
    pub state: State,
    pub bound: Vec<Rc<Bound>>,
    /// Of an executable of the same shape.
    pub locks: Option<Locks>,
    boards: Option<(Scoreboard, Handover)>,
    /// The workers' channels, in their order.
    channels: Vec<Option<Channel>>,
    routers: Remains,
}

impl Left {
    /// Takes the descriptors that a state names: they are nobody else's.
    pub(crate) fn take(state: State) -> Result<Self, String> {
        let failed = |error: io::Error| format!("what the former executable has left can't be used: {}", why(&error));
        let bound: Result<Vec<_>, _> = state.sockets.iter().map(|one| Bound::inherited(one).map(Rc::new)).collect();
        let boards: Result<Vec<_>, _> = state.boards.iter().map(|number| exec::inherited(*number)).collect();
        let locks = state.locks.map(exec::inherited).transpose().map_err(failed)?;
        let channel = |former: &crate::upgrade::Former| former.channel.map(Channel::inherited).transpose();
        let channels: Result<Vec<_>, _> = state.workers.iter().map(channel).collect();
        let (routers, channels) = (Remains::take(&state)?, channels.map_err(failed)?);
        let mut left = Self { bound: bound?, locks: None, boards: None, channels, routers, state };
        if left.is_foreign() {
            return Ok(left);
        }
        left.locks = locks.map(Locks::open).transpose().map_err(failed)?;
        if let Ok([scoreboard, give, take, words]) = <[_; 4]>::try_from(boards.map_err(failed)?) {
            let scoreboard = Scoreboard::open(scoreboard).map_err(failed)?;
            let handover = Handover::open([give, take, words]).map_err(failed)?;
            left.boards = Some((scoreboard, handover));
        }
        Ok(left)
    }

    /// The workers are of a build that this one does not understand.
    fn is_foreign(&self) -> bool {
        self.state.shape != SHAPE
    }

    /// The files that the former executable had open for others are open here by now.
    fn let_go(&mut self) {
        // What can't be closed is not open.
        self.state.held.drain(..).for_each(|number| drop(exec::inherited(number)));
    }
}

impl Master {
    /// Goes on with the former workers.
    pub(super) fn inherit(&mut self, mut left: Left) -> Result<(), String> {
        let failed = |error: io::Error| format!("the former workers can't be kept: {}", why(&error));
        let is_foreign = left.is_foreign();
        self.lowered = left.state.lowered;
        for (former, channel) in left.state.workers.iter().zip(left.channels.drain(..)) {
            if let Some(channel) = channel.as_ref().filter(|_| !is_foreign) {
                watch(&self.poll, channel).map_err(failed)?;
            }
            self.workers.insert(former.worker, Line::inherited(former, channel, is_foreign));
        }
        let given: Vec<i32> = left.bound.iter().filter_map(|bound| bound.given()).collect();
        left.state.held.retain(|number| !given.contains(number));
        left.let_go();
        let (scoreboard, handover) = match left.boards.take() {
            Some(boards) => boards,
            None => {
                let seats = left.state.workers.iter().map(|former| former.seat as usize + 1).max().unwrap_or(1);
                (Scoreboard::create(seats, 1).map_err(failed)?, Handover::create().map_err(failed)?)
            }
        };
        let config: Rc<Config> = self.first.0.clone();
        let opened = self.first.1.clone();
        let own: Vec<Rc<Bound>> = self.desk.doors().into_iter().chain(opened.all().cloned()).collect();
        keep_others(&mut left.bound, &own);
        self.gateways.inherit(&self.poll, std::mem::take(&mut left.routers), (&config, &opened), &left.bound)?;
        keep_others(&mut left.bound, &self.gateways.doors());
        // The rest is of former workers, unless it was a router's that nobody wants any more.
        let listeners = opened.workers.into_iter().chain(left.bound).collect();
        let hosted = Hosted::former(config, (listeners, opened.routers), Rc::new(handover), scoreboard);
        self.generations.insert(left.state.generation, hosted);
        self.inherit_beside(&left.state);
        // Nobody waits for this start.
        self.welcome();
        Ok(())
    }
}

/// Without those that are somebody else's.
fn keep_others(all: &mut Vec<Rc<Bound>>, those: &[Rc<Bound>]) {
    all.retain(|bound| !those.iter().any(|one| Rc::ptr_eq(one, bound)));
}
