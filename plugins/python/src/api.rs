//! The `uwsgi` module that applications import, and `uwsgidecorators`: what the server tells them and does for them.
//!
//! The zygote calls [`install`] before anything of the application is loaded, a worker [`become_worker`]. A topic is a
//! file, a call is a function in it; what a later release brings is a name in `later.rs`. Functions take what uWSGI's
//! take: positional arguments only, `str` or `bytes` for a text, and they give `None` where uWSGI does.

mod facts;
mod hooks;
mod later;
mod lock;
mod log;
mod process;
mod request;
mod rpc;
mod text;
mod workers;

use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use ruwsgi_contract::message::{FromWorker, Message};
use ruwsgi_contract::scoreboard::{Scoreboard, Seat};
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::lock::Locks;
use ruwsgi_sys::{clock, process as kernel};

use crate::apps::SharedApps;

pub use facts::{VERSION, asked_for, node};
pub use hooks::{after_request, at_exit, post_fork};
pub use request::{Here, leave, set_here};

/// What the module speaks of. A process has one; a worker inherits the zygote's.
struct Instance {
    log: Log,
    config: Arc<Config>,
    scoreboard: Arc<Scoreboard>,
    locks: Locks,
    /// The master's pid.
    master: i32,
    /// Somebody asked for a reload since the instance was started.
    reloaded: bool,
    /// Seconds since 1970.
    started: i64,
    listeners: Vec<RawFd>,
    apps: OnceLock<SharedApps>,
    worker: OnceLock<Worker>,
}

/// What only a worker has.
struct Worker {
    slot: u32,
    seat: usize,
    /// To the master, until the worker's end begins.
    channel: Mutex<Option<Channel>>,
    /// The master knows that there are deadlines to watch.
    has_deadlines: AtomicBool,
}

static INSTANCE: OnceLock<Instance> = OnceLock::new();

/// What a zygote was given for the module.
pub struct Given<'z> {
    pub log: &'z Log,
    pub config: &'z Arc<Config>,
    pub scoreboard: &'z Arc<Scoreboard>,
    pub locks: Locks,
    pub master: i32,
    pub reloaded: bool,
    pub listeners: &'z [OwnedFd],
}

/// Puts both modules where `import` finds them.
pub fn install(py: Python<'_>, given: Given<'_>) -> PyResult<()> {
    let Given { log, config, scoreboard, locks, master, reloaded, listeners } = given;
    let instance = Instance {
        log: log.clone(),
        config: config.clone(),
        scoreboard: scoreboard.clone(),
        locks,
        master,
        reloaded,
        started: clock::unix_seconds(),
        listeners: listeners.iter().map(AsRawFd::as_raw_fd).collect(),
        apps: OnceLock::new(),
        worker: OnceLock::new(),
    };
    let instance = INSTANCE.get_or_init(|| instance);
    let module = PyModule::new(py, "uwsgi")?;
    facts::add(&module, instance)?;
    lock::add(&module)?;
    log::add(&module)?;
    process::add(&module)?;
    request::add(&module)?;
    rpc::add(&module)?;
    workers::add(&module)?;
    later::add(&module)?;
    // PyO3 fills it, and uWSGI's module has none.
    module.dict().del_item("__all__")?;
    let sys = py.import("sys")?;
    sys.getattr("modules")?.set_item("uwsgi", module)?;
    later::add_decorators(&sys)
}

/// Says which applications there are.
pub fn set_apps(apps: &SharedApps) {
    if let Some(instance) = INSTANCE.get() {
        // They are loaded once in the life of a process.
        let _ = instance.apps.set(apps.clone());
    }
}

/// This process is a worker from here on.
pub fn become_worker(slot: u32, seat: usize, channel: &Channel) -> std::io::Result<()> {
    let Some(instance) = INSTANCE.get() else { return Ok(()) };
    let channel = Channel::from_fd(channel.as_fd().try_clone_to_owned()?);
    instance.scoreboard.seat(seat).set_pid(kernel::id());
    let channel = Mutex::new(Some(channel));
    let _ = instance.worker.set(Worker { slot, seat, channel, has_deadlines: AtomicBool::new(false) });
    Ok(())
}

/// The worker serves no more: the master is to see its channel closed, however long the end takes.
pub fn end_worker() {
    if let Some(worker) = INSTANCE.get().and_then(|instance| instance.worker.get()) {
        worker.channel.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

fn instance() -> PyResult<&'static Instance> {
    INSTANCE.get().ok_or_else(|| PyRuntimeError::new_err("this process is no server"))
}

impl Instance {
    fn worker(&self) -> PyResult<&Worker> {
        self.worker.get().ok_or_else(|| {
            PyRuntimeError::new_err("this works in a worker only, not while the application is loaded for all of them")
        })
    }

    /// Tells the master something.
    fn say(&self, message: &FromWorker) -> PyResult<()> {
        let channel = self.worker()?.channel.lock().unwrap_or_else(PoisonError::into_inner);
        let channel = channel.as_ref().ok_or_else(|| PyRuntimeError::new_err("this worker is at its end"))?;
        Ok(channel.send(&message.encode(), &[])?)
    }

    fn seat(&self) -> Option<Seat<'_>> {
        self.worker.get().map(|worker| self.scoreboard.seat(worker.seat))
    }
}
