//! A worker, from its birth to its end: the engine serves, this is what comes before and after.

use std::os::fd::AsFd;
use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi_contract::message::{FromWorker, Message};
use ruwsgi_log::Log;
use ruwsgi_options::{Config, Listener as Said, Sockets};
use ruwsgi_stage::hooks::Phase;
use ruwsgi_stage::limits;
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::{exec, listen, process, signal, title};
use ruwsgi_wire::PROTOCOLS;
use ruwsgi_wire::proxy::Proxied;
use ruwsgi_worker::{Listener, Setup};

use crate::api;
use crate::apps::Apps;
use crate::autoreload;
use crate::mount;
use crate::stage;
use crate::wsgi::Wsgi;
use crate::zygote::{Failure, Zygote};

/// Which worker this is.
#[derive(Clone, Copy, Debug)]
pub struct Seat {
    /// Its number as people see it, from 1.
    pub slot: u32,
    /// Its seat on the scoreboard.
    pub seat: usize,
}

/// Serves until the master has enough of it; the exit code.
pub fn live(py: Python<'_>, zygote: Zygote, channel: Channel, seat: Seat) -> u8 {
    let role = format!("worker {}", seat.slot);
    let name = zygote.config.process_name(&role);
    process::set_name(&name.clone().unwrap_or_else(|| format!("ruwsgi-worker{}", seat.slot)));
    let _ = title::set_command_line(&name.unwrap_or_else(|| format!("ruwsgi: {role}")));
    // After the adoption, of which this worker is sure: until then the parent was the process between.
    if process::die_with_parent().is_err() || process::parent_id() != zygote.master {
        return 0;
    }
    process::go_before_parent();
    limits::pin(&zygote.config, seat.slot);
    let log = zygote.log.clone();
    if let Err(error) = api::become_worker(seat.slot, seat.seat, &channel) {
        tracing::error!("worker {} can't be told of the master: {error}", seat.slot);
        return 1;
    }
    if let Err(error) = show_stacks(py) {
        tracing::warn!("stacks of requests past their deadline will not be shown: {error}");
    }
    api::post_fork(py, &log);
    if let Err(Failure { code, reason }) = stage::enter(py, Phase::PostFork, &zygote.config) {
        let _ = channel.send(&FromWorker::Failed { code, reason }.encode(), &[]);
        return code;
    }
    let code = serve(py, zygote, channel, seat);
    api::end_worker();
    api::at_exit(py, &log);
    end_python(py);
    code
}

/// A thread that is sent this signal writes its stack to standard error, whatever it is doing.
fn show_stacks(py: Python<'_>) -> PyResult<()> {
    let keywords = PyDict::new(py);
    keywords.set_item("file", 2)?;
    keywords.set_item("all_threads", false)?;
    py.import("faulthandler")?.call_method("register", (signal::STACK,), Some(&keywords)).map(drop)
}

/// What `python` does at its end (`Py_FinalizeEx`): waits for threads that are no daemons and for the work of executors,
/// then runs what `atexit` knows. The interpreter is not taken apart: daemon threads still run in it. A thread that never
/// ends is ended by the master's mercy.
fn end_python(py: Python<'_>) {
    for (module, function) in [("threading", "_shutdown"), ("atexit", "_run_exitfuncs")] {
        if let Err(error) = py.import(module).and_then(|module| module.call_method0(function)) {
            tracing::error!("{module}: {error}");
        }
    }
}

/// The workers that serve a socket, where `map-socket` leaves it to some.
fn mapped(sockets: &Sockets, number: usize) -> Option<Vec<u32>> {
    let of = sockets.map_socket.iter().filter(|mapped| mapped.socket == number);
    let workers: Vec<u32> = of.flat_map(|mapped| mapped.workers.iter().copied()).collect();
    (!workers.is_empty()).then_some(workers)
}

/// Whether a load balancer says who the clients are. As in uWSGI, `http` has an option of its own, and only HTTP relies
/// on a header; other protocols take one that is there.
fn proxied(sockets: &Sockets, said: &Said) -> Proxied {
    match (said.option, said.protocol) {
        ("http", _) if sockets.http_enable_proxy_protocol == Some(true) => Proxied::Always,
        ("http", _) => Proxied::Never,
        (_, "http") if sockets.enable_proxy_protocol => Proxied::Always,
        _ if sockets.enable_proxy_protocol => Proxied::Maybe,
        _ => Proxied::Never,
    }
}

/// Loads the applications, with the hooks before and behind.
fn load_here(py: Python<'_>, config: &Config, log: &Log) -> Result<Apps, Failure> {
    stage::enter(py, Phase::PreApp, config)?;
    let apps = mount::everything(py, config, log)?;
    stage::enter(py, Phase::PostApp, config)?;
    Ok(apps)
}

fn serve(py: Python<'_>, zygote: Zygote, channel: Channel, Seat { slot, seat }: Seat) -> u8 {
    let lazy = zygote.loads_lazily();
    let Zygote { log, requests, config, scoreboard, handover, listeners, mut apps, mut files, .. } = zygote;
    if lazy {
        match load_here(py, &config, &log) {
            Ok(loaded) => {
                apps = Arc::new(loaded);
                api::set_apps(&apps);
                for app in apps.infos() {
                    // Without a master the engine ends by itself.
                    let _ = channel.send(&FromWorker::App(app).encode(), &[]);
                }
                files = autoreload::loaded(py, &config);
            }
            Err(Failure { code, reason }) => {
                let _ = channel.send(&FromWorker::Failed { code, reason }.encode(), &[]);
                return code;
            }
        }
    }
    let once = scoreboard.seat(seat).occupant().respawns == 0;
    if let Err(Failure { code, reason }) = stage::enter(py, Phase::Accepting { first: slot == 1, once }, &config) {
        let _ = channel.send(&FromWorker::Failed { code, reason }.encode(), &[]);
        return code;
    }
    autoreload::watch(&config, slot, &channel, files);
    let listeners = config.listeners().iter().zip(listeners).enumerate().filter_map(|(number, (said, fd))| {
        let mapped = mapped(&config.sockets, number);
        if mapped.as_ref().is_some_and(|workers| !workers.contains(&slot)) {
            return None;
        }
        let protocol = PROTOCOLS.iter().find(|protocol| protocol.name == said.protocol)?;
        // PEP 3333 wants a port; a unix socket has none, and uWSGI says 80.
        let port = listen::local_address(fd.as_fd()).map_or_else(|_| "80".to_owned(), |at| at.port().to_string());
        if !config.process.close_on_exec2 {
            // What the application starts may accept there, or not: nothing else depends on it.
            let _ = exec::keep_at_exec(fd.as_fd());
        }
        let identity = listen::identity(fd.as_fd()).ok()?;
        Some(Listener {
            fd,
            exchange: protocol.exchange,
            proxied: proxied(&config.sockets, said),
            is_mapped: mapped.is_some(),
            port,
            identity,
        })
    });
    let setup = Setup {
        config: &config,
        listeners: listeners.collect(),
        channel,
        handover: &handover,
        scoreboard: &scoreboard,
        seat,
        slot,
        log: log.clone(),
        requests,
    };
    let language = Wsgi {
        apps,
        after: api::after_request(py),
        config: config.clone(),
        scoreboard: scoreboard.clone(),
        place: Seat { slot, seat },
        log,
    };
    match ruwsgi_worker::run(setup, &language) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("worker {slot} can't serve: {error}");
            1
        }
    }
}
