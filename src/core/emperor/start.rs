//! The start of an emperor, step by step, and what a reload of its own configuration can change.

use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::path::Path;

use ruwsgi_contract::VERSION;
use ruwsgi_log::Log;
use ruwsgi_options::{Config, Loaded, Request, Source, load};
use ruwsgi_stage::hooks::{self, Phase, Scene};
use ruwsgi_stage::{limits, privileges};
use ruwsgi_sys::signal::Signals;
use ruwsgi_sys::{birth, listen, privilege, process, reap, title};

use super::launch::Ground;
use super::monitor::Monitors;
use super::notice::Notice;
use super::plan::Rules;
use super::run::{Emperor, First};
use crate::audience::Audience;
use crate::logfile::Outlet;
use crate::pidfile::Pidfile;
use crate::start::{Failure, change_folder, pidfile};
use crate::vassal::Allegiance;
use crate::{Place, why};

/// How long all vassals may take to stop where nobody says otherwise, in seconds.
const MERCY_S: u32 = 30;
/// So many vassals may be on their way up for each processor.
const AT_ONCE: usize = 4;

/// This process becomes an emperor, and no master: it has vassals, and serves nothing itself.
pub(crate) fn is_emperor(config: &Config) -> bool {
    let serves = !config.listeners().is_empty() || config.router_listeners().next().is_some();
    !config.emperor.provinces.is_empty() && !serves
}

/// What is wrong with the places of vassals on this machine.
pub(crate) fn places(config: &Config, folder: &Path) -> Vec<String> {
    super::monitor::refusals(config, folder)
}

/// Runs an emperor to its end.
pub(crate) fn run(
    (source, loaded): (Source, Loaded),
    (log, outlet): (&Log, Outlet),
    audience: &Audience,
    mut scene: Scene,
    leash: Option<OwnedFd>,
) -> Result<(), Failure> {
    let config = loaded.config;
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    loaded.printed.iter().for_each(|line| tracing::info!("{line}"));
    show_name(&config);
    tracing::info!("ruwsgi {VERSION} (pid {}): emperor", std::process::id());
    // Beside a master, they are the master's.
    for said in config.for_workers().filter(|_| leash.is_none()) {
        tracing::warn!(
            "{}: an emperor serves nothing itself: say it in the files of vassals ({})",
            said.name,
            said.origin
        );
    }
    let signals = Signals::take_over().map_err(|error| format!("signals: {error}"))?;
    scene.grouped = true;
    reap::adopt_orphans().map_err(|error| format!("the kernel has no subreaper: {error}"))?;
    if let Some(mask) = config.process.umask {
        listen::set_umask(mask);
    }
    let binary = std::env::current_exe().map_err(|error| format!("the executable has no path: {}", why(&error)))?;
    let files = more_files(&config);
    let mut pidfiles: Vec<Pidfile> = Vec::new();
    // One that a master has started has no pidfile of the instance to write.
    if leash.is_none() {
        pidfiles.extend(pidfile(&config, "pidfile", config.process.pidfile.as_deref())?);
    }
    pidfiles.extend(pidfile(&config, "emperor-pidfile", config.emperor.pidfile.as_deref())?);
    // The phases of an instance are the master's, where there is one.
    if leash.is_none() {
        limits::permit(&config)?;
        hooks::run(Phase::PreJail, &config, &mut scene)?;
        hooks::run(Phase::InJail, &config, &mut scene)?;
    }
    drop_privileges(&config, &mut scene, leash.is_some())?;
    change_folder(&config, &source)?;
    if leash.is_none() {
        pidfiles.extend(pidfile(&config, "pidfile2", config.process.pidfile2.as_deref())?);
    }
    let folder = std::env::current_dir().map_err(|error| format!("the current directory: {}", why(&error)))?;
    let monitors = Monitors::of(&config, &folder)?;
    let suzerain = Allegiance::sworn(&source.env, &config);
    let notice = Notice::of(&source, leash.is_some());
    let ground = Ground { binary, env: scene.env.clone(), log: log.clone(), files };
    let first = First {
        source,
        config,
        folder,
        log: log.clone(),
        outlet,
        audience: audience.clone(),
        signals,
        monitors,
        ground,
        pidfiles,
        suzerain,
        notice,
        leash,
    };
    Emperor::new(first)?.run();
    Ok(())
}

/// A vassal costs up to three descriptors. What the limit was before is what vassals get.
fn more_files(config: &Config) -> Option<(u64, u64)> {
    let before = birth::file_limits().ok();
    if let Some(count) = config.process.max_fd {
        crate::start::limit_files(config, count);
        return birth::file_limits().ok();
    }
    let (_, hard) = before?;
    if let Err(error) = birth::set_file_limits((hard, hard)) {
        tracing::warn!("the limit of open files stays as it is: {}", why(&error));
    }
    before
}

/// `emperor-tyrant` needs root for the whole life; otherwise `uid` and `gid` are whom vassals run as, too.
fn drop_privileges(config: &Config, scene: &mut Scene, beside: bool) -> Result<(), Failure> {
    let place = Place(config, "emperor-tyrant");
    if config.emperor.tyrant && !privilege::is_root() {
        return Err(format!("emperor-tyrant: only root can start vassals as the owners of their files{place}").into());
    }
    let said = config.process.uid.is_some() || config.process.gid.is_some();
    if config.emperor.early {
        return Ok(());
    }
    if config.emperor.tyrant && said {
        return Err(format!(
            "emperor-tyrant: after uid and gid only the vassals of one user could start: early-emperor = true starts the \
             emperor before{place}"
        )
        .into());
    }
    if config.emperor.tyrant {
        return Ok(());
    }
    if beside {
        return Ok(privileges::lower_quietly(config)?);
    }
    Ok(privileges::lower(config, scene)?)
}

fn show_name(config: &Config) {
    let own = config.emperor.procname.clone();
    let Some(name) = own.or_else(|| config.process_name("Emperor")) else { return };
    title::take_room_of_environment();
    process::set_name(&name);
    // A name is all that is lost where it can't be written.
    let _ = title::set_command_line(&name);
}

/// What the plan goes by.
pub(super) fn rules(config: &Config) -> Rules {
    let options = &config.emperor;
    let ms = |seconds: u32| u64::from(seconds) * 1_000;
    let processors = std::thread::available_parallelism().map_or(2, NonZero::get);
    Rules {
        throttle_ms: options.throttle,
        max_throttle_ms: options.max_throttle,
        blacklist: !options.no_blacklist,
        heartbeat_ms: ms(options.required_heartbeat),
        tolerance_ms: ms(options.curse_tolerance),
        mercy_ms: ms(config.workers.reload_mercy.unwrap_or(MERCY_S)),
        graceful: options.graceful,
        at_once: AT_ONCE * processors,
    }
}

/// An option's value.
type Value = fn(&Config) -> Option<String>;

/// What a reload can't change: the privileges are gone, or vassals were started by them.
const FIXED: [(&str, Value); 6] = [
    ("uid", |config| config.process.uid.clone()),
    ("gid", |config| config.process.gid.clone()),
    ("emperor-tyrant", |config| Some(config.emperor.tyrant.to_string())),
    ("early-emperor", |config| Some(config.emperor.early.to_string())),
    ("emperor-pidfile", |config| config.emperor.pidfile.as_ref().map(|path| path.display().to_string())),
    ("daemonize", |config| config.daemon().map(|_| "on".to_owned())),
];

/// Reads the configuration again.
pub(super) fn reread(source: &Source, now: &Config) -> Result<Config, String> {
    let loaded = match load(&Source { reloading: true, ..source.clone() }) {
        Ok(Request::Run(loaded)) => loaded,
        Ok(_) => return Err("there is nothing to run any more".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    let config = loaded.config;
    if config.emperor.provinces.is_empty() {
        return Err("there is no emperor in it any more: restart needed".to_owned());
    }
    let changed = FIXED.iter().find(|(_, value)| value(now) != value(&config));
    match changed {
        Some((option, _)) => Err(format!("{option} has changed: restart needed{}", Place(&config, option))),
        None => Ok(config),
    }
}
