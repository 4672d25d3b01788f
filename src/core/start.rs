//! The start, step by step: what needs root first, then the privileges go, then the rest. A step that fails is told in
//! one line, and what the steps before it made is taken back by their own `Drop`.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use ruwsgi_contract::VERSION;
use ruwsgi_log::Log;
use ruwsgi_options::{Config, Loaded, Meaning, Source};
use ruwsgi_stage::hooks::{self, Phase, Scene};
use ruwsgi_stage::privileges::{self, Moment};
use ruwsgi_stage::{Stopped, limits};
use ruwsgi_sys::signal::Signals;
use ruwsgi_sys::{listen, process, reap, title};

use crate::audience::{Audience, Standing};
use crate::gateway::{Gateways, Router};
use crate::listeners::{Listeners, with_given};
use crate::logfile::Outlet;
use crate::master::{First, Left, Master, environment};
use crate::module::Module;
use crate::pidfile::Pidfile;
use crate::service::Service;
use crate::unknown::Unknown;
use crate::upgrade::{Executable, Inheritance, State};
use crate::vassal::Allegiance;
use crate::{Place, emperor, exit, python, why};

/// Runs an instance to its end; the exit code. `source` is what the configuration was loaded from, and is again at
/// each reload; `routers` are those that are built in.
#[must_use]
pub fn run(source: Source, loaded: Loaded, log: &Log, routers: &'static [Router]) -> u8 {
    log.set_date(loaded.config.logging.log_date.as_deref());
    if let Some(leash) = emperor::leash(&source.env) {
        return beside_a_master(source, loaded, log, leash);
    }
    let mut scene = Scene::new(&loaded.config, environment(&source.env, &loaded.config));
    // As yet, a signal ends this process, and the terminal sends it to all.
    scene.grouped = false;
    let begun = privileges::lower_at_once(&loaded.config).map_err(Stopped::from);
    if let Err(stopped) = begun.and_then(|()| hooks::run(Phase::Asap, &loaded.config, &mut scene)) {
        return Failure::from(stopped).end();
    }
    let (audience, outlet) = match Audience::gather(&loaded.config, &source, log) {
        Ok(Standing::Master(audience, outlet)) => (audience, *outlet),
        Ok(Standing::Starter(code)) => return code,
        Err(reason) => {
            tracing::error!("{reason}");
            return exit::FAILED;
        }
    };
    let mut service = Service::of(&source.env);
    let ended = if emperor::is_emperor(&loaded.config) {
        emperor::run((source, loaded), (log, outlet), &audience, scene, None)
    } else {
        let gateways = Gateways::new(routers, log.clone());
        start((source, loaded), (outlet, gateways), &audience, scene).and_then(Master::run)
    };
    // The last line that anybody reads is the reason.
    match ended {
        Ok(()) => {
            audience.dismiss();
            exit::DONE
        }
        Err(failure) => {
            audience.tell(&failure, log);
            service.tell(format!("STATUS={}", failure.reason.replace(char::is_control, " ")));
            failure.end()
        }
    }
}

/// The emperor of a master, which has sent the log where it goes.
fn beside_a_master(source: Source, loaded: Loaded, log: &Log, leash: OwnedFd) -> u8 {
    let scene = Scene::new(&loaded.config, environment(&source.env, &loaded.config));
    match emperor::run((source, loaded), (log, Outlet::of(log)), &Audience::default(), scene, Some(leash)) {
        Ok(()) => exit::DONE,
        Err(failure) => {
            tracing::error!("emperor: {}", failure.reason);
            failure.code
        }
    }
}

/// Goes on with what another executable of this process has left; the exit code.
#[must_use]
pub fn resume(
    Inheritance { state, .. }: Inheritance,
    (source, loaded): (Source, Loaded),
    log: &Log,
    routers: &'static [Router],
) -> u8 {
    log.set_date(loaded.config.logging.log_date.as_deref());
    match go_on(state, (source, loaded), log, routers).and_then(Master::run) {
        Ok(()) => exit::DONE,
        Err(failure) => {
            tracing::error!("{}", failure.reason);
            failure.code
        }
    }
}

fn go_on(
    state: State,
    (source, loaded): (Source, Loaded),
    log: &Log,
    routers: &'static [Router],
) -> Result<Master, Failure> {
    let config = with_given(loaded.config, &source.env)?;
    show_name(&config);
    tracing::info!(
        "ruwsgi {VERSION} (pid {}) goes on where {} was: {}",
        std::process::id(),
        state.version,
        state.told()
    );
    let unknown = Unknown::among(loaded.warnings);
    limits::permit(&config)?;
    let signals = Signals::take_over().map_err(|error| format!("signals: {error}"))?;
    reap::adopt_orphans().map_err(|error| format!("the kernel has no subreaper: {error}"))?;
    let outlet = Outlet::inherited(log, (&config, &source), &state)?;
    let module = Module::find(&config, &source)?;
    let executable = executable(&config, &source);
    let mut scene = Scene::new(&config, environment(&source.env, &config));
    let meaning = |(signal, function): &(i32, String)| Some((*signal, Meaning::named(function)?));
    scene.meanings = state.meanings.iter().filter_map(meaning).collect();
    let pidfiles: io::Result<Vec<Pidfile>> = state.pidfiles.iter().map(Pidfile::inherited).collect();
    let pidfiles = pidfiles.map_err(|error| format!("pidfile: {}", why(&error)))?;
    let court = state.court.as_ref().map(emperor::Child::inherited).transpose()?;
    let left = Left::take(state)?;
    let emperor = Allegiance::kept(&source.env, &config);
    // Listeners that are new are bound by the reload with which it begins.
    let listeners = Listeners::of(&config, &left.bound)?.open();
    let service = Service::of(&source.env);
    let (audience, gateways, left) = (Audience::default(), Gateways::new(routers, log.clone()), Some(left));
    Ok(Master::new(First {
        source,
        config,
        listeners,
        module,
        pidfiles,
        signals,
        outlet,
        audience,
        unknown,
        service,
        scene,
        emperor,
        court,
        gateways,
        executable,
        left,
    })?)
}

/// Without it, there is no upgrade: somebody should know, and nothing else is lost.
fn executable(config: &Config, source: &Source) -> Option<Executable> {
    match Executable::current(source, config.process.binary_path.as_deref()) {
        Ok(executable) => Some(executable),
        Err(error) => {
            tracing::warn!("the executable can't be looked at, so that no reload is an upgrade: {}", why(&error));
            None
        }
    }
}

/// Why an instance ended that should not have.
pub(crate) struct Failure {
    /// The exit code.
    pub code: u8,
    /// One line.
    pub reason: String,
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self { code: exit::FAILED, reason }
    }
}

impl From<Stopped> for Failure {
    fn from(Stopped { code, reason }: Stopped) -> Self {
        Self { code, reason }
    }
}

impl Failure {
    /// Says why; the exit code.
    fn end(&self) -> u8 {
        match self.code {
            exit::DONE => tracing::info!("{}", self.reason),
            _ => tracing::error!("{}", self.reason),
        }
        self.code
    }
}

fn start(
    (source, loaded): (Source, Loaded),
    (mut outlet, mut gateways): (Outlet, Gateways),
    audience: &Audience,
    mut scene: Scene,
) -> Result<Master, Failure> {
    let config = with_given(loaded.config, &source.env)?;
    outlet.route(&config, &source)?;
    scene.meanwhile = outlet.meanwhile();
    show_name(&config);
    let threads = config.workers.threads.max(1);
    let processes = config.workers.processes;
    let pid = std::process::id();
    if config.is_routers_only() {
        tracing::info!("ruwsgi {VERSION} (pid {pid}): routers, no workers");
    } else {
        tracing::info!("ruwsgi {VERSION} (pid {pid}): processes {processes}, threads {threads}");
    }
    let unknown = Unknown::among(loaded.warnings);
    loaded.printed.iter().for_each(|line| tracing::info!("{line}"));
    // Before anything is made: a stop that comes from here on waits until there is somebody to stop.
    let signals = Signals::take_over().map_err(|error| format!("signals: {error}"))?;
    scene.grouped = true;
    reap::adopt_orphans().map_err(|error| format!("the kernel has no subreaper: {error}"))?;
    let module = Module::find(&config, &source)?;
    let executable = executable(&config, &source);
    if let Some(mask) = config.process.umask {
        listen::set_umask(mask);
    }
    if let Some(count) = config.process.max_fd {
        limit_files(&config, count);
    }
    limits::permit(&config)?;
    let mut listeners = Listeners::of(&config, &[])?;
    listeners.bind_inet()?;
    let mut pidfiles: Vec<Pidfile> = Vec::new();
    pidfiles.extend(pidfile(&config, "pidfile", config.process.pidfile.as_deref())?);
    hooks::run(Phase::PreJail, &config, &mut scene)?;
    hooks::run(Phase::InJail, &config, &mut scene)?;
    let mut court = if config.emperor.early { emperor::Child::of(&config, &source)? } else { None };
    let lowers = privileges::moment(&config) == Moment::AtStart;
    if lowers && !listeners.need_owner() && !config.process.drop_after_init {
        privileges::lower(&config, &mut scene)?;
        change_folder(&config, &source)?;
        listeners.bind_unix()?;
    } else {
        change_folder(&config, &source)?;
        listeners.bind_unix()?;
        if lowers {
            privileges::lower(&config, &mut scene)?;
        }
    }
    let listeners = listeners.open();
    gateways.prepare(&config, &listeners.workers)?;
    pidfiles.extend(pidfile(&config, "pidfile2", config.process.pidfile2.as_deref())?);
    foretell_application(&config, &source)?;
    outlet.turn_to_second(&config, &source)?;
    let (audience, service) = (audience.clone(), Service::of(&source.env));
    let emperor = Allegiance::sworn(&source.env, &config);
    if court.is_none() {
        court = emperor::Child::of(&config, &source)?;
    }
    let first = First {
        source,
        config,
        listeners,
        module,
        pidfiles,
        signals,
        outlet,
        audience,
        unknown,
        service,
        scene,
        emperor,
        court,
        gateways,
        executable,
        left: None,
    };
    Ok(Master::new(first)?)
}

/// Looks for Python, so that a broken venv is told before anything is forked. An instance of routers only has no use for
/// it, and says so of an application that it is given.
fn foretell_application(config: &Config, source: &Source) -> Result<(), Failure> {
    if config.is_routers_only() {
        for option in ["module", "wsgi-file", "mount"].into_iter().filter(|option| config.origin(option).is_some()) {
            let place = Place(config, option);
            tracing::warn!(
                "{option}: nothing but routers listens, so no application is loaded: socket = ADDRESS{place}"
            );
        }
    } else {
        let interpreter = python::find(config, &source.env)?;
        tracing::info!("python: {} ({})", interpreter.program.to_string_lossy(), interpreter.from);
    }
    Ok(())
}

/// `max-fd`, for all processes of the instance. Where it can't be, as much as can.
pub(crate) fn limit_files(config: &Config, count: u32) {
    let place = Place(config, "max-fd");
    match process::limit_files(count.into()) {
        Ok(got) if got == u64::from(count) => {}
        Ok(got) => tracing::warn!("max-fd: {count} is more than the hard limit allows: {got} is used{place}"),
        Err(error) => tracing::warn!("max-fd: {count} can't be: {}{place}", why(&error)),
    }
}

/// Shows in `ps` what the configuration wants to be shown for the master.
pub(crate) fn show_name(config: &Config) {
    let Some(name) = config.process_name("master") else { return };
    title::take_room_of_environment();
    process::set_name(&name);
    // A name is all that is lost where it can't be written.
    let _ = title::set_command_line(&name);
}

/// Writes the pidfile that an option names, if it names one.
pub(crate) fn pidfile(config: &Config, option: &str, path: Option<&Path>) -> Result<Option<Pidfile>, String> {
    let Some(path) = path else { return Ok(None) };
    let place = Place(config, option);
    let written = Pidfile::write(path);
    written.map(Some).map_err(|error| format!("{option}: cannot write {}: {}{place}", path.display(), why(&error)))
}

/// Goes where `chdir` says, always from where the start was: a reload finds what a link leads to now.
pub(crate) fn change_folder(config: &Config, source: &Source) -> Result<(), String> {
    let Some(folder) = &config.process.chdir else { return Ok(()) };
    let place = Place(config, "chdir");
    let entered = std::env::set_current_dir(source.cwd.join(folder));
    entered.map_err(|error| format!("chdir: {} can't be entered: {}{place}", folder.display(), why(&error)))
}
