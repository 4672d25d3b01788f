//! The life of a router process, from the fork on: what it keeps of its parent, who it becomes, and then the loop.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::rc::Rc;

use mio::Poll;
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::privilege::Target as Person;
use ruwsgi_sys::signal::Signals;
use ruwsgi_sys::{privilege, process, title};
use ruwsgi_wire::Vars;
use slab::Slab;

use super::date::Now;
use super::ears::Heard;
use super::gate::{Door, Gate};
use super::mapper::Route;
use super::message::FromRouter;
use super::settings::{Router, Settings};
use super::target::Target;
use super::world::{Moderation, World};
use crate::listeners::Bound;
use crate::subscription::Rules;
use crate::why;

/// The master is told what a router knows so many times before that is too old to be believed.
const ENTRUSTS: u64 = 3;

/// What a process is to be.
pub(super) struct Birth {
    pub(super) router: &'static Router,
    pub(super) settings: Settings,
    pub(super) config: Rc<Config>,
    /// Its number among the processes of the router, from 1.
    pub(super) number: u32,
    pub(super) doors: Vec<Rc<Bound>>,
    /// Where this instance listens for its workers.
    pub(super) own: Vec<Target>,
    pub(super) stats: Option<Rc<Bound>>,
    pub(super) ears: Vec<Rc<Heard>>,
    /// It is told what others know, and lets nobody in before that.
    pub(super) awaits: bool,
    pub(super) log: Log,
    pub(super) master: i32,
}

/// Lives and ends; the exit code.
pub(super) fn live(birth: Birth, channel: Channel) -> u8 {
    let name = birth.router.name;
    process::set_name(&format!("ruwsgi-{name}"));
    if let Some(shown) = birth.config.process_name(&format!("{name} {}", birth.number)) {
        // A name is all that is lost where it can't be written.
        let _ = title::set_command_line(&shown);
    }
    // The parent still has those lines.
    birth.log.forget();
    // Its own, beside the one that the loop reads: what fails there is told, too.
    let Ok(words) = channel.try_clone() else { return 1 };
    match begin(birth, channel, words.as_raw_fd()) {
        Ok(gate) => {
            gate.run();
            0
        }
        Err(reason) => {
            let _ = words.send(&FromRouter::Failed(reason).encode(), &[]);
            1
        }
    }
}

fn begin(birth: Birth, channel: Channel, words: RawFd) -> Result<Gate, String> {
    let mut keep: Vec<RawFd> = vec![birth.log.number(), channel.as_raw_fd(), words];
    keep.extend(birth.doors.iter().chain(&birth.stats).map(|bound| bound.as_fd().as_raw_fd()));
    keep.extend(birth.ears.iter().map(AsRawFd::as_raw_fd));
    process::close_all_but(&keep).map_err(|error| format!("descriptors: {}", why(&error)))?;
    let signals = Signals::take_over().map_err(|error| format!("signals: {}", why(&error)))?;
    process::go_before_parent();
    become_somebody(&birth.settings, &birth.config)?;
    let bound = process::die_with_parent().map_err(|error| why(&error));
    if process::parent_id() != birth.master {
        return Err("the master is gone".to_owned());
    }
    bound?;
    let failed = |error: std::io::Error| format!("epoll: {}", why(&error));
    let poll = Poll::new().map_err(failed)?;
    // Each process shares out its requests in an order of its own.
    let rules = Rules::of(&birth.config, u64::from(process::id().unsigned_abs()));
    let route = Route::new(&birth.settings.mapping, &birth.own, rules)
        .map_err(|(option, why)| format!("{}-{option}: {why}", birth.router.name))?;
    let world = World {
        name: birth.router.name,
        front: (birth.router.front)(&birth.config),
        settings: birth.settings,
        route,
        registry: poll.registry().try_clone().map_err(failed)?,
        now: Now::new(),
        vars: Vars::default(),
        vars_of: None,
        spare: Default::default(),
        pool: Default::default(),
        owners: Slab::new(),
        again: Default::default(),
        soon: Default::default(),
        news: false,
        draining: false,
        requests: 0,
        told: Moderation::default(),
    };
    let doors = birth.doors.into_iter().map(|bound| {
        let at = bound.at().map_err(|error| format!("a listener has no address: {}", why(&error)))?;
        Ok(Door::new(bound, at))
    });
    let doors = doors.collect::<Result<Vec<_>, String>>()?;
    let mut gate =
        Gate::new(poll, world, doors, (channel, signals), (birth.stats, birth.ears, birth.log)).map_err(failed)?;
    if birth.awaits {
        gate.wait_for_others();
    }
    if birth.number == 1 {
        gate.entrust_every(u64::from(birth.config.subscriptions.tolerance) * 1_000 / ENTRUSTS);
    }
    Ok(gate)
}

/// `-uid`, `-gid`: another user than that of the instance, which only root can become. Under a master that stays root, a
/// router does not: without these it is whom the instance is to be.
fn become_somebody(settings: &Settings, config: &Config) -> Result<(), String> {
    let mut settings = settings.clone();
    if privilege::is_root() && settings.user.is_none() && settings.group.is_none() {
        (settings.user, settings.group) = (config.process.uid.clone(), config.process.gid.clone());
    }
    let target = person(&settings)?;
    if target.is_me() {
        return Ok(());
    }
    if !privilege::is_root() {
        return Err("uid, gid: only root can become somebody else, and the instance is not root".to_owned());
    }
    target.take().map_err(|error| format!("uid, gid: the privileges can't be dropped: {}", why(&error)))
}

/// Whom `-uid` and `-gid` mean.
pub(super) fn person(settings: &Settings) -> Result<Person, String> {
    let unknown = |kind, name: &str| format!("there is no {kind} {name:?}");
    let user = settings.user.as_ref().map(|name| match privilege::user(name) {
        Ok(Some(user)) => Ok(user),
        _ => Err(unknown("user", name)),
    });
    let group = settings.group.as_ref().map(|name| match privilege::group(name) {
        Ok(Some(group)) => Ok(group),
        _ => Err(unknown("group", name)),
    });
    Ok(Person { user: user.transpose()?, group: group.transpose()?, ..Person::default() })
}
