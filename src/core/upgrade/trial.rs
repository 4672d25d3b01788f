//! The trial of an executable, in a child of the master that would become it: all that can go wrong at a reload is done
//! once, for nothing but to see whether it works. It serves nobody, and says nothing but what came of it.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ruwsgi_contract::VERSION;
use ruwsgi_contract::message::{FromZygote, Message};
use ruwsgi_log::Log;
use ruwsgi_options::{Request, Source, load};
use ruwsgi_stage::limits;
use ruwsgi_sys::channel::{Channel, Received};
use ruwsgi_sys::lock::Locks;
use ruwsgi_sys::stream::{self, Until};
use ruwsgi_sys::{confine, exec, listen, process, signal};

use super::Inheritance;
use crate::gateway::{Gateways, Router};
use crate::listeners::{Bound, Listeners, with_given};
use crate::logfile::Outlet;
use crate::master::{Ground, could_have, locks, needs_restart};
use crate::module::Module;
use crate::start::change_folder;
use crate::{exit, why};

/// What a reply begins with.
pub(crate) const WORKS: &str = "works ";
/// So much of a reply is read, in bytes.
pub(crate) const REPLY_BYTES: usize = 4096;

/// Tries what a master would do with this executable, and tells the one that runs; the exit code.
#[must_use]
pub fn try_out(inheritance: Inheritance, source: Source, log: &Log, routers: &'static [Router]) -> u8 {
    // A worker's channel that somebody else holds would never close, and closing is the order to drain.
    exec::close_at_exec(&inheritance.state.descriptors());
    let reply = inheritance.state.reply.map(exec::inherited);
    let Some(Ok(reply)) = reply else { return exit::FAILED };
    let gateways = Gateways::new(routers, log.clone());
    let (code, said) = match run(inheritance, source, log, gateways) {
        Ok(()) => (exit::DONE, format!("{WORKS}{VERSION}")),
        Err(reason) => (exit::FAILED, reason),
    };
    tell(reply, &said);
    code
}

/// Whoever waits for it may be gone: then nobody wants to know.
fn tell(reply: OwnedFd, said: &str) {
    let bytes = said.as_bytes();
    let _ = std::fs::File::from(reply).write_all(&bytes[..bytes.len().min(REPLY_BYTES)]);
}

fn run(inheritance: Inheritance, mut source: Source, log: &Log, mut gateways: Gateways) -> Result<(), String> {
    let state = inheritance.state;
    if state.capabilities.is_some_and(|held| held & !confine::held() != 0) {
        return Err("its file has capabilities of its own, so that those of cap would be lost".to_owned());
    }
    as_the_master(&mut source);
    let loaded = match load(&source).map_err(|error| error.to_string())? {
        Request::Run(loaded) => loaded,
        _ => return Err("there is nothing to run any more".to_owned()),
    };
    let config = with_given(loaded.config, &source.env)?;
    if let Some(refusal) = needs_restart(&state.fixed, &config) {
        return Err(refusal);
    }
    limits::permit(&config)?;
    Outlet::could_go_on(&config, &source, &state)?;
    let module = Module::find(&config, &source)?;
    if let Some(mask) = config.process.umask {
        listen::set_umask(mask);
    }
    let mut bound = Vec::new();
    for socket in &state.sockets {
        let one = Bound::inherited(socket)?;
        // It is the master's, and so is its file.
        one.set_vacuum(false);
        bound.push(Rc::new(one));
    }
    change_folder(&config, &source)?;
    let mut listeners = Listeners::of(&config, &bound)?;
    listeners.bind_inet()?;
    listeners.bind_unix()?;
    let listeners = listeners.open();
    could_have(&config, &listeners.workers, &bound)?;
    gateways.try_out((&config, &listeners.workers), &bound, &state.ears)?;
    if config.is_routers_only() {
        return Ok(());
    }
    let failed = |error: std::io::Error| why(&error);
    let locks = Locks::create(locks(&config)).map_err(failed)?;
    let log = [log.descriptor().map_err(failed)?, log.descriptor().map_err(failed)?];
    let limit_s = config.workers.load_timeout;
    let ground = Ground { env: source.env.clone(), module, log, locks };
    let (pid, mut hosted) = ground.start((state.begun + 1, true), Rc::new(config), (listeners, None))?;
    let loaded = hosted.zygote.as_ref().map_or(Ok(()), |channel| watch(channel, limit_s, &hosted.python));
    // Its channel closed, it ends, unless it is lost in the application. Nobody is to find a stranger behind this process.
    hosted.zygote = None;
    if loaded.is_err() {
        let _ = signal::kill(pid);
    }
    process::wait_for(pid);
    loaded
}

/// Waits until a zygote has loaded its application, or has failed to.
fn watch(channel: &Channel, limit_s: u32, python: &str) -> Result<(), String> {
    let limit = Duration::from_secs(if limit_s > 0 { limit_s.into() } else { u32::MAX.into() });
    let until = Instant::now() + limit;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if !stream::wait(channel.as_fd(), Until::Readable, left).map_err(|error| why(&error))? {
            return Err(format!("the application was not loaded within {limit_s} s (load-timeout)"));
        }
        match channel.receive(false) {
            Ok(Received::Message(message)) => match FromZygote::decode(&message.bytes) {
                Some(FromZygote::Ready { .. }) => return Ok(()),
                Some(FromZygote::Refused(reason) | FromZygote::Failed { reason, .. }) => return Err(reason),
                _ => {}
            },
            Ok(Received::Nothing) => {}
            _ => return Err(format!("the zygote ended before the application was loaded ({python})")),
        }
    }
}

/// What systemd has given is for the master, which this process stands for.
fn as_the_master(source: &mut Source) {
    let parent = process::parent_id().to_string();
    for (name, value) in &mut source.env {
        if name == "LISTEN_PID" && *value == *parent {
            *value = process::id().to_string().into();
        }
    }
}
