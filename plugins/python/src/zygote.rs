//! The zygote: the application is loaded once, then it only forks.
//!
//! Its life: the master's first message, the application, "ready", and a fork for each order until the master closes
//! the channel. It has no threads of ours and never serves.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use pyo3::prelude::*;
use ruwsgi_contract::handover::Handover;
use ruwsgi_contract::message::{FromZygote, Message, ToZygote};
use ruwsgi_contract::scoreboard::Scoreboard;
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_stage::hooks::Phase;
use ruwsgi_sys::channel::{Channel, Received};
use ruwsgi_sys::lock::Locks;
use ruwsgi_sys::nix::sys::signal::Signal;
use ruwsgi_sys::{clock, memory, notify, process, title};

use crate::api::{self, Given};
use crate::apps::SharedApps;
use crate::autoreload::{self, Files};
use crate::birth::{self, Born};
use crate::collector;
use crate::load;
use crate::mount;
use crate::stacks;
use crate::stage;
use crate::stdio;
use crate::trouble;
use crate::warm_up;
use crate::worker::{self, Seat};

/// What a zygote is, and what its workers inherit.
pub struct Zygote {
    pub master: i32,
    pub log: Log,
    /// For the lines of requests; most often the same.
    pub requests: Log,
    pub config: Arc<Config>,
    pub scoreboard: Arc<Scoreboard>,
    pub handover: Handover,
    pub listeners: Vec<OwnedFd>,
    /// The applications; none when each worker loads its own.
    pub apps: SharedApps,
    /// Those of the code that was loaded, for `py-auto-reload`.
    pub files: Files,
    /// For the `uwsgi` module, which takes them.
    module: Option<(Locks, bool)>,
}

/// The application can't be loaded: what to tell, and the exit code that asks for.
pub struct Failure {
    pub code: u8,
    pub reason: String,
}

/// Lives the life of the zygote, then that of each worker; the exit code.
pub fn live(py: Python<'_>, fd: i32) -> u8 {
    let channel = match Channel::inherited(fd) {
        Ok(channel) => channel,
        Err(_) => return 1,
    };
    let began_us = clock::monotonic_us();
    let begun = Zygote::greet(&channel).and_then(|zygote| zygote.map(|zygote| zygote.load(py)).transpose());
    // A master that is gone is noticed below.
    let _ = channel.send(&FromZygote::Asked(api::asked_for(py)).encode(), &[]);
    let zygote = match begun {
        Ok(Some(zygote)) => zygote,
        Ok(None) => return 0,
        Err(Failure { code, reason }) => {
            let _ = channel.send(&FromZygote::Failed { code, reason }.encode(), &[]);
            return code;
        }
    };
    if zygote.tell_apps(&channel).is_err() {
        return 0;
    }
    let load_ms = ((clock::monotonic_us() - began_us) / 1000) as u32;
    let python = interpreter(py).unwrap_or_default();
    if channel.send(&FromZygote::Ready { load_ms, python }.encode(), &[]).is_err() {
        return 0;
    }
    zygote.fork_on_demand(py, channel)
}

impl Zygote {
    /// Receives what the master sends first. `None`: there is no master any more.
    fn greet(channel: &Channel) -> Result<Option<Self>, Failure> {
        let broken = |why: &str| Failure { code: 1, reason: format!("the zygote can't start: {why}") };
        let message = match channel.receive(true) {
            Ok(Received::Message(message)) => message,
            Ok(Received::Closed | Received::Nothing) => return Ok(None),
            Err(error) => return Err(broken(&error.to_string())),
        };
        let Some(ToZygote::Hello { master, reloaded, .. }) = ToZygote::decode(&message.bytes) else {
            return Err(broken("the master did not greet"));
        };
        let mut fds = message.fds.into_iter();
        let mut five = || Some([fds.next()?, fds.next()?, fds.next()?, fds.next()?, fds.next()?]);
        let Some([log, requests, config, scoreboard, locks]) = five() else {
            return Err(broken("descriptors are missing"));
        };
        let mut three = || Some([fds.next()?, fds.next()?, fds.next()?]);
        let Some(handover) = three() else {
            return Err(broken("descriptors are missing"));
        };
        let io = |error: std::io::Error| broken(&error.to_string());
        let (log, requests) = Log::received_both(log, requests).map_err(io)?;
        log.subscribe();
        // The default hook writes to standard error, which may block.
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
        process::set_name("ruwsgi-zygote");
        // A name is all that is lost where it can't be written.
        let _ = title::set_command_line("ruwsgi: zygote");
        // Signals go to whole groups (a service manager, a terminal); what they mean is the master's affair. A handler,
        // because what is ignored stays ignored in the programs that an application starts.
        let heard: &'static notify::Event = Box::leak(Box::new(notify::Event::new().map_err(io)?));
        heard.raise_on(&[Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT]).map_err(io)?;
        process::die_with_parent().map_err(io)?;
        if process::parent_id() != master {
            return Ok(None);
        }
        let directives = memory::read_sealed_file(config).map_err(io)?;
        let directives = ruwsgi_options::decode(&directives).map_err(|error| broken(&error.to_string()))?;
        // The master has told the notices.
        let (config, _) = Config::interpret(directives).map_err(|error| broken(&error.to_string()))?;
        log.set_date(config.logging.log_date.as_deref());
        if let Some(name) = config.process_name("zygote") {
            process::set_name(&name);
            let _ = title::set_command_line(&name);
        }
        let (config, scoreboard) = (Arc::new(config), Arc::new(Scoreboard::open(scoreboard).map_err(io)?));
        let module = Some((Locks::open(locks).map_err(io)?, reloaded));
        let handover = Handover::open(handover).map_err(io)?;
        let listeners: Vec<OwnedFd> = fds.collect();
        let (said, came) = (config.listeners().len(), listeners.len());
        if said != came {
            // Each is served by the protocol of its place.
            return Err(broken(&format!("the configuration has {said} listeners, and the master sent {came}")));
        }
        let (apps, files) = (SharedApps::default(), Files::default());
        Ok(Some(Self { master, log, requests, config, scoreboard, handover, listeners, apps, files, module }))
    }

    /// Loads the application, unless the workers do, and makes the heap ready to be shared.
    fn load(mut self, py: Python<'_>) -> Result<Self, Failure> {
        stage::lower_before(py, &self.config, self.master)?;
        stdio::buffer_lines(py);
        if let Err(error) = stacks::tell_crashes(py) {
            tracing::warn!("a crash will leave no stack: {error}");
        }
        load::add_paths(py, &self.config, &self.log);
        load::set_arguments(py, &self.config, &self.log);
        self.install_module(py)?;
        let log = self.log.clone();
        collector::resting(py, &log, || self.load_application(py))?;
        if let Err(error) = collector::freeze(py) {
            trouble::tell(py, &self.log, &error);
        }
        memory::let_go_of_free();
        Ok(self)
    }

    fn load_application(&mut self, py: Python<'_>) -> Result<(), Failure> {
        if !self.loads_lazily() {
            stage::enter(py, Phase::PreApp, &self.config)?;
            self.apps = Arc::new(mount::everything(py, &self.config, &self.log)?);
            api::set_apps(&self.apps);
            stage::enter(py, Phase::PostApp, &self.config)?;
            self.files = autoreload::loaded(py, &self.config);
        }
        stage::lower_after(py, &self.config, self.master)?;
        warm_up::answer(py, &self.config, &self.apps, &self.log);
        Ok(())
    }

    fn tell_apps(&self, channel: &Channel) -> std::io::Result<()> {
        self.apps.infos().try_for_each(|app| channel.send(&FromZygote::App(app).encode(), &[]))
    }

    fn install_module(&mut self, py: Python<'_>) -> Result<(), Failure> {
        let Some((locks, reloaded)) = self.module.take() else { return Ok(()) };
        let Self { master, log, config, scoreboard, listeners, .. } = self;
        let given = Given { log, config, scoreboard, locks, master: *master, reloaded, listeners };
        api::install(py, given).map_err(|error| {
            trouble::tell(py, &self.log, &error);
            Failure { code: 1, reason: format!("the uwsgi module can't be made: {error}") }
        })
    }

    /// Each worker loads the application.
    pub fn loads_lazily(&self) -> bool {
        self.config.workers.lazy_apps || self.config.workers.lazy
    }

    /// Forks a worker whenever the master says so. The worker comes back from here too, with its exit code.
    fn fork_on_demand(self, py: Python<'_>, channel: Channel) -> u8 {
        let mut first = true;
        loop {
            let mut message = match py.detach(|| channel.receive(true)) {
                Ok(Received::Message(message)) => message,
                Ok(Received::Nothing) => continue,
                // The master has no use for this zygote any more, or is gone.
                Ok(Received::Closed) | Err(_) => return 0,
            };
            let order = ToZygote::decode(&message.bytes);
            if let (Some(ToZygote::Log), Some(sink)) = (&order, message.fds.first()) {
                stdio::flush(py);
                self.log.go_on_in(sink.as_fd());
                continue;
            }
            let (Some(ToZygote::Spawn { slot, seat, .. }), Some(worker)) = (order, message.fds.pop()) else {
                tracing::warn!("the master sent a message that this zygote does not know");
                continue;
            };
            let worker = Channel::from_fd(worker);
            match birth::fork(py, &worker) {
                Ok(Born::Zygote { threads }) => {
                    if !std::mem::take(&mut first) {
                        continue;
                    }
                    if threads > 1
                        && let Err(error) = warn_of_threads(py)
                    {
                        trouble::tell(py, &self.log, &error);
                    }
                    // It only forks from now on. What can't be let go of is kept.
                    let _ = memory::let_go_of_code();
                }
                Ok(Born::Worker) => {
                    drop(channel);
                    self.log.forget();
                    self.requests.forget();
                    return worker::live(py, self, worker, Seat { slot, seat: seat as usize });
                }
                Err(error) => tracing::error!("worker {slot} can't be forked: {error}"),
            }
        }
    }
}

/// `CPython 3.11.7, /srv/venv/bin/python`
fn interpreter(py: Python<'_>) -> PyResult<String> {
    let sys = py.import("sys")?;
    let version = sys.getattr("version")?.to_string();
    let number = version.split_whitespace().next().unwrap_or("?").to_owned();
    Ok(format!("CPython {number}, {}", sys.getattr("executable")?))
}

/// Threads that the application started while it was loaded stay behind in the zygote.
fn warn_of_threads(py: Python<'_>) -> PyResult<()> {
    let mut names = Vec::new();
    for thread in py.import("threading")?.call_method0("enumerate")?.try_iter()? {
        let name = thread?.getattr("name")?.to_string();
        if name != "MainThread" {
            names.push(name);
        }
    }
    if names.is_empty() {
        // Libraries that have threads of their own mostly know of forks (ddtrace, OpenBLAS).
        tracing::info!("a library has threads in the zygote: workers have them if it starts them again after a fork");
        return Ok(());
    }
    let names = names.join(", ");
    tracing::warn!(
        "threads that were started while the application was loaded ({names}) do not exist in the workers: \
         start them after the fork (os.register_at_fork) or set lazy-apps"
    );
    Ok(())
}
