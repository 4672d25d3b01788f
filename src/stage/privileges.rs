//! Giving up root: from what was said to whom to become, and the way there. Whoever is to serve calls [`lower`] once, the
//! master or, where that stays root, the zygote.

use ruwsgi_options::{CAPABILITIES, Config};
use ruwsgi_sys::confine;
use ruwsgi_sys::privilege::{self, Account, Others, Target};

use crate::hooks::{self, Phase, Scene};
use crate::{Place, Stopped, why};

/// Who gives up root, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// The master, before it starts anything.
    AtStart,
    /// The zygote, before it loads the application; the master stays root.
    InZygote,
    /// The zygote as soon as it has loaded the application, then the master.
    AfterApps,
    /// The zygote as soon as it has loaded the application; the master stays root.
    AfterAppsInZygote,
}

/// When the options want it.
#[must_use]
pub fn moment(config: &Config) -> Moment {
    match (config.process.master_as_root, config.process.drop_after_apps) {
        (false, false) => Moment::AtStart,
        (true, false) => Moment::InZygote,
        (false, true) => Moment::AfterApps,
        (true, true) => Moment::AfterAppsInZygote,
    }
}

/// Where the options want it: another root folder, other groups, another group, another user, fewer capabilities, in
/// this order and with the hooks between; then it is verified. Nothing is said twice: who is no root is somebody already.
pub fn lower(config: &Config, scene: &mut Scene) -> Result<(), Stopped> {
    let target = target(config)?;
    if privilege::is_root() {
        change_root(config)?;
        hooks::run(Phase::AsRoot, config, scene)?;
        become_target(config, &target)?;
    } else {
        stay(config, &target)?;
    }
    refuse_more(config)?;
    hooks::run(Phase::AsUser, config, scene)
}

/// The same without the hooks, which are another process's.
pub fn lower_quietly(config: &Config) -> Result<(), String> {
    let target = target(config)?;
    // A generation that comes after the master has lowered itself has nothing to give up.
    if privilege::is_root() {
        change_root(config)?;
        become_target(config, &target)?;
    }
    refuse_more(config)
}

fn refuse_more(config: &Config) -> Result<(), String> {
    if !config.process.no_new_privs {
        return Ok(());
    }
    let place = Place(config, "no-new-privs");
    confine::refuse_new_privileges().map_err(|error| format!("no-new-privs: {}{place}", why(&error)))
}

/// `immediate-uid` and `immediate-gid`: before anything else is done.
pub fn lower_at_once(config: &Config) -> Result<(), String> {
    let said = &config.process;
    let target = Target {
        user: account(config, "immediate-uid", said.immediate_uid.as_deref())?,
        group: group(config, "immediate-gid", said.immediate_gid.as_deref())?,
        ..Target::default()
    };
    let option = if target.user.is_some() { "immediate-uid" } else { "immediate-gid" };
    if target.is_me() {
        return Ok(());
    }
    target.take().map_err(|error| format!("{option}: {}{}", why(&error), Place(config, option)))
}

fn change_root(config: &Config) -> Result<(), String> {
    let Some(folder) = &config.process.chroot else { return Ok(()) };
    let place = Place(config, "chroot");
    confine::enter_root(folder).map_err(|error| format!("chroot: {}: {}{place}", folder.display(), why(&error)))?;
    tracing::info!("chroot: {} is all that there is", folder.display());
    Ok(())
}

fn become_target(config: &Config, target: &Target) -> Result<(), String> {
    if target.user.is_none() && target.capabilities.is_none() {
        tracing::warn!("running as root: uid names the user to run as");
    }
    if *target == Target::default() {
        return Ok(());
    }
    let what = ["cap", "add-gid", "gid", "uid"].into_iter().rfind(|option| config.origin(option).is_some());
    let (option, place) = (what.unwrap_or("uid"), Place(config, what.unwrap_or("uid")));
    target.take().map_err(|error| format!("{option}: the privileges can't be dropped: {}{place}", why(&error)))?;
    if let Some(set) = target.capabilities {
        let kept: Vec<&str> =
            CAPABILITIES.iter().enumerate().filter(|(at, _)| set & (1 << at) != 0).map(|(_, name)| *name).collect();
        tracing::info!("capabilities: {}", kept.join(","));
    }
    Ok(())
}

/// Who is no root can only be who was meant.
fn stay(config: &Config, target: &Target) -> Result<(), String> {
    let refused = |option, what: &str| Err(format!("{option}: only root can {what}{}", Place(config, option)));
    if let Some(folder) = &config.process.chroot {
        return refused("chroot", &format!("enter {}", folder.display()));
    }
    if !Phase::AsRoot.hooks(&config.hooks).is_empty() {
        let first = Phase::AsRoot.hooks(&config.hooks)[0];
        tracing::warn!("{}: not root: not done ({})", first.option, first.origin);
    }
    let process = &config.process;
    match (target.is_me(), &process.uid, &process.gid) {
        (true, ..) | (false, None, None) => {}
        (false, Some(uid), _) => return refused("uid", &format!("become {uid:?}")),
        (false, None, Some(gid)) => return refused("gid", &format!("become {gid:?}")),
    }
    if let Some(set) = target.capabilities {
        let only = Target { capabilities: Some(set), ..Target::default() };
        let place = Place(config, "cap");
        return only.take().map_err(|error| format!("cap: only root can have these: {}{place}", why(&error)));
    }
    Ok(())
}

/// Whom `uid`, `gid` and their kin mean.
pub fn target(config: &Config) -> Result<Target, String> {
    let said = &config.process;
    let more = said.add_gid.iter().map(|name| one_group(config, "add-gid", name));
    let mut more: Vec<u32> = more.collect::<Result<_, _>>()?;
    let group = group(config, "gid", said.gid.as_deref())?;
    let others = match (more.is_empty(), said.no_initgroups) {
        (true, false) => Others::OfUser,
        (true, true) => Others::These(Vec::new()),
        (false, _) => {
            more.dedup();
            Others::These(more)
        }
    };
    Ok(Target { user: account(config, "uid", said.uid.as_deref())?, group, others, capabilities: said.cap })
}

fn unknown(config: &Config, option: &str, what: &str, why: &str) -> String {
    format!("{option}: there is no {what}{why}{}", Place(config, option))
}

fn account(config: &Config, option: &str, name: Option<&str>) -> Result<Option<Account>, String> {
    let Some(name) = name else { return Ok(None) };
    match privilege::user(name) {
        Ok(Some(user)) => Ok(Some(user)),
        Ok(None) => Err(unknown(config, option, &format!("user {name:?}"), "")),
        Err(error) => Err(unknown(config, option, &format!("user {name:?}"), &format!(" ({})", why(&error)))),
    }
}

fn group(config: &Config, option: &str, name: Option<&str>) -> Result<Option<u32>, String> {
    name.map(|name| one_group(config, option, name)).transpose()
}

fn one_group(config: &Config, option: &str, name: &str) -> Result<u32, String> {
    match privilege::group(name) {
        Ok(Some(group)) => Ok(group),
        Ok(None) => Err(unknown(config, option, &format!("group {name:?}"), "")),
        Err(error) => Err(unknown(config, option, &format!("group {name:?}"), &format!(" ({})", why(&error)))),
    }
}
