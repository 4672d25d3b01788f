//! The list of the loggers. A new one is a row here, a name in the options, and a file if it is more than a few lines.

use std::os::fd::{AsFd, OwnedFd};

use ruwsgi_log::Log;
use ruwsgi_options::{Config, LoggerSaid, Origin, Source};
use ruwsgi_sys::stdio;

use super::datagram::{self, Datagrams};
use super::file::FileLogger;
use crate::why;

/// Takes lines, and never waits.
pub(super) trait Logger: Send {
    /// A line, as encoders have left it.
    fn take(&mut self, line: &[u8]);

    /// Writes what waits; what has gone wrong since, once.
    fn flush(&mut self) -> Option<String>;

    /// The same, and nobody asks how it went.
    fn hurry(&mut self);

    /// So many bytes wait.
    fn waiting(&self) -> usize;

    /// What waits, in pieces that are written as they are.
    fn left(&self) -> Vec<Vec<u8>>;

    /// Puts such a piece behind those that wait.
    fn restore(&mut self, piece: &[u8]);

    /// Opens its file anew, if it has one; `aside`: it goes to another name, with this time, before that.
    fn reopen(&mut self, _aside: Option<i64>) -> Result<(), String> {
        Ok(())
    }
}

/// From what a logger is made.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    pub config: &'p Config,
    /// Where relative names begin.
    pub source: &'p Source,
    /// Where the log goes.
    pub raw: &'p Log,
    /// Standard output, as it was at the start.
    pub output: &'p OwnedFd,
}

type Open = fn(&LoggerSaid, Place<'_>) -> Result<Box<dyn Logger>, String>;

/// All loggers.
const LOGGERS: &[(&str, Open)] = &[
    ("file", |said, place| Ok(Box::new(FileLogger::open(said, place.config, place.source)?))),
    ("fd", descriptor),
    ("stdio", standard),
    ("socket", |said, _| Datagrams::open(datagram::socket(&said.argument)).map(boxed)),
    ("syslog", |said, _| Datagrams::open(datagram::syslog(&said.argument)?).map(boxed)),
    ("rsyslog", |said, place| Datagrams::open(datagram::rsyslog(&said.argument, place.config)?).map(boxed)),
    ("systemd", |_, _| Datagrams::open(datagram::systemd()).map(boxed)),
];

fn boxed(logger: Datagrams) -> Box<dyn Logger> {
    Box::new(logger)
}

pub(super) fn open(said: &LoggerSaid, place: Place<'_>) -> Result<Box<dyn Logger>, String> {
    let LoggerSaid { name, option, origin, .. } = said;
    match LOGGERS.iter().find(|(known, _)| known == name) {
        Some((_, open)) => open(said, place).map_err(|error| format!("{option}: {name}: {error} ({origin})")),
        None => Err(format!("{option}: there is no logger {name:?} ({origin})")),
    }
}

/// What is written to a descriptor waits in a log of its own.
struct Plain(Log);

impl Logger for Plain {
    fn take(&mut self, line: &[u8]) {
        self.0.push(line);
    }

    fn flush(&mut self) -> Option<String> {
        self.0.flush();
        None
    }

    fn waiting(&self) -> usize {
        self.0.waiting()
    }

    fn hurry(&mut self) {
        self.0.flush();
    }

    fn left(&self) -> Vec<Vec<u8>> {
        Some(self.0.left()).into_iter().filter(|left| !left.is_empty()).collect()
    }

    fn restore(&mut self, piece: &[u8]) {
        self.0.push(piece);
    }
}

fn descriptor(said: &LoggerSaid, _: Place<'_>) -> Result<Box<dyn Logger>, String> {
    let number: i32 = said.argument.parse().map_err(|_| format!("{:?} is no number", said.argument))?;
    let fd = stdio::inherited(number).map_err(|error| format!("descriptor {number}: {}", why(&error)))?;
    let log = Log::to(fd.as_fd()).map_err(|error| format!("descriptor {number}: {}", why(&error)))?;
    Ok(Box::new(Plain(log)))
}

/// Standard output, or the log file, which is that of an instance that has one: as in uWSGI.
fn standard(_: &LoggerSaid, place: Place<'_>) -> Result<Box<dyn Logger>, String> {
    if place.config.log_file().is_some() {
        return Ok(raw(place.raw));
    }
    let log = Log::to(place.output.as_fd()).map_err(|error| format!("standard output: {}", why(&error)))?;
    Ok(Box::new(Plain(log)))
}

/// Where the log goes.
pub(super) fn raw(log: &Log) -> Box<dyn Logger> {
    Box::new(Plain(log.clone()))
}

pub(super) fn raw_said() -> LoggerSaid {
    LoggerSaid { id: None, name: "stdio", argument: String::new(), option: "", origin: Origin::Default }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_the_options_name_is_there() {
        let names: Vec<&str> = super::LOGGERS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ruwsgi_options::LOGGERS);
    }
}
