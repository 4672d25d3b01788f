//! Reading the configuration again: what may change at a reload, and what asks for a restart.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use ruwsgi_options::{Config, Request, Source, load};
use ruwsgi_stage::limits;
use ruwsgi_sys::process;

use super::run::Master;
use crate::listeners::{Bound, Listeners, Opened, with_given};
use crate::start::{change_folder, show_name};
use crate::unknown::Unknown;
use crate::vassal::Allegiance;
use crate::{Place, why};

/// What a reload has read.
struct Read {
    config: Config,
    listeners: Opened,
    unknown: Unknown,
}

/// An option's value.
type Value = fn(&Config) -> Option<String>;

/// What a reload can't change: the privileges are gone, the pidfile was written with them, and the workers of both
/// generations share the locks.
const FIXED: [(&str, Value); 13] = [
    ("uid", |config| config.process.uid.clone()),
    ("gid", |config| config.process.gid.clone()),
    ("add-gid", |config| Some(config.process.add_gid.join(" "))),
    ("no-initgroups", |config| Some(config.process.no_initgroups.to_string())),
    ("cap", |config| config.process.cap.map(|_| said(config, "cap"))),
    ("chroot", |config| config.process.chroot.as_ref().map(|path| path.display().to_string())),
    ("no-new-privs", |config| Some(config.process.no_new_privs.to_string())),
    ("master-as-root", |config| Some(config.process.master_as_root.to_string())),
    ("drop-after-apps", |config| Some(config.process.drop_after_apps.to_string())),
    ("pidfile", |config| config.process.pidfile.as_ref().map(|path| path.display().to_string())),
    ("daemonize", |config| config.daemon().map(|_| "on".to_owned())),
    ("locks", |config| Some(config.workers.locks.to_string())),
    ("chown-socket", |config| config.sockets.chown_socket.clone()),
];

impl Master {
    /// What a reload begins with: all that it needs is made, and nothing of it counts before it serves.
    pub(super) fn ground_for_reload(&mut self) -> Result<(Rc<Config>, Opened), String> {
        let mut bound: Vec<Rc<Bound>> = self.first.1.all().cloned().collect();
        let hosted = self.generations.values();
        bound.extend(hosted.flat_map(|hosted| hosted.listeners.iter().chain(&hosted.doors).cloned()));
        self.tell_emperor(Allegiance::wants_config);
        let now = self.generations.values().next_back().map_or(&self.first.0, |hosted| &hosted.config);
        let Read { config, listeners, unknown } = reload(&self.source, now, &bound)?;
        self.gateways.prepare(&config, &listeners.workers)?;
        self.unknown = unknown;
        self.desk.prepare(&config, &bound)?;
        self.fifos.prepare(&config.process.master_fifo)?;
        self.subscriptions.prepare(&config, &listeners.workers)?;
        self.bells.prepare(&self.poll, &config)?;
        self.notify_socket.prepare(&config)?;
        self.touches.prepare(&config);
        // Its zygote writes there: the only thing that changes before.
        self.outlet.renew(&config, &self.source)?;
        self.ground.log = self.outlet.descriptors()?;
        Ok((Rc::new(config), listeners))
    }

    /// Another generation serves: what was made for it counts, and the master is where it is.
    pub(super) fn adopt_reload(&mut self, config: &Config, folder: Option<OwnedFd>) {
        if let Some(error) = folder.and_then(|folder| process::enter_folder(&folder).err()) {
            tracing::error!("the folder of the application can't be entered: {}", why(&error));
        }
        self.subscriptions.adopt(config);
        if let Err(reason) = self.desk.adopt(&self.poll) {
            tracing::error!("{reason}");
        }
        self.fifos.adopt(&self.poll);
        self.bells.adopt(&self.poll);
        self.notify_socket.adopt(&self.poll);
        self.touches.adopt();
        show_name(config);
    }

    /// The reload has failed: everything is as the generation says that goes on.
    pub(super) fn give_up_reload(&mut self) {
        self.subscriptions.give_up();
        self.desk.give_up();
        self.fifos.give_up();
        self.bells.give_up(&self.poll);
        self.notify_socket.give_up();
        self.touches.give_up();
        let config = self.config();
        let log = self.outlet.renew(&config, &self.source).and_then(|()| self.outlet.descriptors());
        match log {
            Ok(log) => self.ground.log = log,
            Err(reason) => tracing::error!("{reason}"),
        }
    }
}

/// Reads the configuration again, enters its folder, and binds what is new in it.
fn reload(source: &Source, now: &Config, bound: &[Rc<Bound>]) -> Result<Read, String> {
    let loaded = match load(&Source { reloading: true, ..source.clone() }) {
        Ok(Request::Run(loaded)) => loaded,
        // The command line is the same as at the start: it still asks to run.
        Ok(_) => return Err("there is nothing to run any more".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let unknown = Unknown::among(loaded.warnings);
    loaded.printed.iter().for_each(|line| tracing::info!("{line}"));
    let config = with_given(loaded.config, &source.env)?;
    if let Some(refusal) = needs_restart(&fixed(now), &config) {
        return Err(refusal);
    }
    limits::permit(&config)?;
    let listeners = renew(source, now, &config, bound)?;
    Ok(Read { config, listeners, unknown })
}

fn renew(source: &Source, now: &Config, new: &Config, bound: &[Rc<Bound>]) -> Result<Opened, String> {
    if now.process.chdir.is_some() && new.process.chdir.is_none() {
        let failed = |error| format!("{} can't be entered: {}", source.cwd.display(), why(&error));
        std::env::set_current_dir(&source.cwd).map_err(failed)?;
    }
    change_folder(new, source)?;
    let mut listeners = Listeners::of(new, bound)?;
    listeners.bind_inet()?;
    listeners.bind_unix()?;
    Ok(listeners.open())
}

/// All that was said about an option.
fn said(config: &Config, option: &str) -> String {
    let lines = config.directives.iter().filter(|directive| directive.name == option);
    let values = lines.filter_map(|directive| directive.value.as_ref());
    values.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The values of what a reload can't change, as far as they are set.
pub(super) fn fixed(config: &Config) -> BTreeMap<String, String> {
    FIXED.iter().filter_map(|(option, value)| Some(((*option).to_owned(), value(config)?))).collect()
}

/// Whether a configuration changes one of these.
pub(crate) fn needs_restart(now: &BTreeMap<String, String>, new: &Config) -> Option<String> {
    let then = fixed(new);
    let (option, _) = FIXED.iter().find(|(option, _)| now.get(*option) != then.get(*option))?;
    let shown = |values: &BTreeMap<String, String>| values.get(*option).map_or("(not set)".to_owned(), Clone::clone);
    let (now, then) = (shown(now), shown(&then));
    Some(format!("{option}: from {now} to {then}: restart needed{}", Place(new, option)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::{Directive, Origin};

    fn config(name: &str, value: &str) -> Config {
        let origin = Origin::File { path: "app.ini".into(), line: 7 };
        Config::interpret(vec![Directive { name: name.into(), value: Some(value.into()), origin }]).unwrap().0
    }

    #[test]
    fn what_can_t_change_is_refused_with_its_place() {
        let (www, app) = (config("uid", "www"), config("uid", "app"));
        assert_eq!(needs_restart(&fixed(&www), &www), None);
        let refusal = needs_restart(&fixed(&www), &app).unwrap();
        assert_eq!(refusal, "uid: from www to app: restart needed (app.ini:7)");
        assert_eq!(
            needs_restart(&fixed(&www), &config("gid", "x")).unwrap(),
            "uid: from www to (not set): restart needed"
        );
        assert_eq!(needs_restart(&fixed(&config("processes", "2")), &config("processes", "3")), None);
        let refusal = needs_restart(&fixed(&config("locks", "2")), &config("locks", "3")).unwrap();
        assert_eq!(refusal, "locks: from 2 to 3: restart needed (app.ini:7)");
    }
}
