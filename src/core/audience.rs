//! Who waits for the start of an instance whose log goes to a file: the terminal, or the process that was told to
//! daemonize. They hear how it went, then nothing more.
//!
//! uWSGI's `daemonize` leaves the terminal before anything is tried, and exits with 0 whatever comes. Here the process
//! that was started waits until the first worker is ready, and fails as the daemon does.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use ruwsgi_log::Log;
use ruwsgi_options::{Config, Source};
use ruwsgi_sys::process::{self, Side};
use ruwsgi_sys::stdio;

use crate::logfile::{Opened, Outlet};
use crate::start::Failure;
use crate::vassal::is_vassal;
use crate::{exit, why};

/// So much of the log of a start that failed is shown, in bytes: the traceback is in its last lines.
const SHOWN_BYTES: u64 = 16 * 1024;

/// Whoever waits.
#[derive(Clone, Default)]
pub(crate) struct Audience(Rc<RefCell<Option<Ear>>>);

enum Ear {
    /// The standard error of the start, while the log goes elsewhere.
    Terminal(File),
    /// The process that was told to daemonize.
    Parent(File),
}

impl Ear {
    fn terminal() -> Result<Self, String> {
        let terminal = stdio::error().try_clone_to_owned();
        Ok(Self::Terminal(terminal.map_err(|error| format!("standard error: {}", why(&error)))?.into()))
    }
}

/// Which process this is.
pub(crate) enum Standing {
    /// The one that is to become the master.
    Master(Audience, Box<Outlet>),
    /// The one that has waited for it; its exit code.
    Starter(u8),
}

impl Audience {
    /// Sends the log where the configuration wants it, and this process into the background.
    pub(crate) fn gather(config: &Config, source: &Source, log: &Log) -> Result<Standing, String> {
        let mut outlet = Outlet::of(log);
        let Some(said) = config.log_file() else {
            let ear = if config.routes_log() { Some(Ear::terminal()?) } else { None };
            return Ok(Standing::Master(Self(Rc::new(RefCell::new(ear))), Box::new(outlet)));
        };
        let opened = Opened::new(config, source, said)?;
        if config.logging.log_truncate {
            opened.empty()?;
        }
        // A vassal stays with its emperor, as uWSGI's does.
        let ear = if config.daemon().is_some() && !is_vassal(&source.env) {
            let starter = Starter { content: opened.content(), shows_log: said.0 == "daemonize2", file: said.1 };
            match starter.detach().map_err(|error| format!("{}: {}", said.0, why(&error)))? {
                Detached::Daemon(pipe) => Ear::Parent(pipe.into()),
                Detached::Starter(code) => return Ok(Standing::Starter(code)),
            }
        } else {
            Ear::terminal()?
        };
        outlet.turn_to(opened)?;
        Ok(Standing::Master(Self(Rc::new(RefCell::new(Some(ear)))), Box::new(outlet)))
    }

    /// The start went well.
    pub(crate) fn dismiss(&self) {
        if let Some(Ear::Parent(mut pipe)) = self.0.take() {
            // Nobody waits any more: the server runs all the same.
            let _ = pipe.write_all(&[exit::DONE]);
        }
    }

    /// The start came to nothing. The log says it too: it may be the terminal.
    pub(crate) fn tell(&self, failure: &Failure, log: &Log) {
        let reason = &failure.reason;
        // Nobody may be there any more.
        let _ = match self.0.take() {
            Some(Ear::Terminal(terminal)) if log.leads_to(terminal.as_fd()) => Ok(()),
            Some(Ear::Terminal(mut terminal)) => terminal.write_all(format!("error: {reason}\n").as_bytes()),
            Some(Ear::Parent(mut pipe)) => pipe.write_all(&[&[failure.code], reason.as_bytes()].concat()),
            None => Ok(()),
        };
    }
}

/// The process that goes on to wait for its daemon.
struct Starter<'c> {
    /// The log file as it can be read, and how long it was before.
    content: Option<(File, u64)>,
    shows_log: bool,
    file: &'c str,
}

enum Detached {
    Daemon(OwnedFd),
    Starter(u8),
}

impl Starter<'_> {
    /// Forks twice: the daemon leads no session, so that no terminal can become its own.
    fn detach(self) -> io::Result<Detached> {
        let (ear, mouth) = process::pipe()?;
        match process::fork()? {
            Side::Parent(between) => {
                drop(mouth);
                process::wait_for(between);
                Ok(Detached::Starter(self.wait(ear.into())))
            }
            Side::Child => {
                let daemon = process::new_session().and_then(|()| process::fork());
                if daemon? != Side::Child {
                    process::exit_now(exit::DONE);
                }
                stdio::close_input()?;
                Ok(Detached::Daemon(mouth))
            }
        }
    }

    /// Waits for the word of the daemon, shows what there is to see, and ends as it does.
    fn wait(self, mut ear: File) -> u8 {
        let mut word = Vec::new();
        // What can't be read was not said.
        let _ = ear.read_to_end(&mut word);
        let (code, reason) = match word.split_first() {
            Some((code, reason)) => (*code, String::from_utf8_lossy(reason).into_owned()),
            None => (exit::FAILED, format!("the daemon ended before it was ready, see {}", self.file)),
        };
        let mut out = io::stderr();
        let last = format!("error: {reason}\n");
        if code != exit::DONE || self.shows_log {
            let log = self.log();
            let log = log.strip_suffix(last.as_bytes()).unwrap_or(&log);
            let _ = out.write_all(log);
        }
        if code != exit::DONE {
            let _ = out.write_all(last.as_bytes());
        }
        code
    }

    /// What was logged since.
    fn log(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let Some((file, before)) = &self.content else { return text };
        let (mut file, whole) = (file, file.metadata().map_or(0, |metadata| metadata.len()));
        let limit = if self.shows_log { u64::MAX } else { SHOWN_BYTES };
        let from = whole.saturating_sub(limit).max(*before);
        let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.take(limit).read_to_end(&mut text));
        if read.is_err() {
            text.clear();
        }
        text
    }
}
