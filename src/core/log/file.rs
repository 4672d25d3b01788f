//! The logger `file`: opened with the privileges of the start, opened anew when it was moved, put aside when it is large.

use ruwsgi_log::Log;
use ruwsgi_options::{Config, LoggerSaid, Source};
use ruwsgi_sys::clock;
use std::os::fd::AsFd;

use super::list::Logger;
use crate::logfile::Opened;
use crate::why;

/// How long to leave a file alone that could not be put aside, in milliseconds.
const PATIENCE_MS: u64 = 60_000;

pub(super) struct FileLogger {
    log: Log,
    opened: Opened,
    /// With which it is opened again.
    config: Config,
    source: Source,
    /// `maxsize` and `backupname`.
    most: u64,
    backup: Option<String>,
    not_before_ms: u64,
}

impl FileLogger {
    /// `PATH`, or `logfile=PATH,maxsize=BYTES,backupname=PATH`.
    pub(super) fn open(said: &LoggerSaid, config: &Config, source: &Source) -> Result<Self, String> {
        let (path, most, backup) = arguments(&said.argument)?;
        let opened = Opened::of_logger(config, source, path)?;
        let log = Log::to(opened.file().as_fd()).map_err(|error| format!("{path}: {}", why(&error)))?;
        let most = most.unwrap_or(config.logging.log_maxsize);
        let (config, source) = (config.clone(), source.clone());
        Ok(Self { log, opened, config, source, most, backup: backup.map(str::to_owned), not_before_ms: 0 })
    }

    fn turn_over(&mut self, aside: Option<i64>) -> Result<(), String> {
        if let Some(now) = aside {
            self.opened.put_aside(self.backup.as_deref(), now)?;
        }
        if !self.opened.was_moved() {
            return Ok(());
        }
        let path = self.opened.path().to_string_lossy().into_owned();
        let opened = Opened::of_logger(&self.config, &self.source, &path)?;
        self.log.redirect(opened.file().as_fd()).map_err(|error| format!("{path}: {}", why(&error)))?;
        self.opened = opened;
        Ok(())
    }
}

type Arguments<'a> = (&'a str, Option<u64>, Option<&'a str>);

fn arguments(text: &str) -> Result<Arguments<'_>, String> {
    if !text.contains('=') {
        return Ok((text, None, None));
    }
    let (mut path, mut most, mut backup) = (None, None, None);
    for pair in text.split(',') {
        match pair.split_once('=') {
            Some(("logfile", value)) => path = Some(value),
            Some(("maxsize", value)) => {
                most = Some(value.parse().map_err(|_| format!("maxsize: {value:?} is not a number"))?);
            }
            Some(("backupname", value)) => backup = Some(value),
            _ => return Err(format!("{pair:?} is none of logfile=, maxsize= and backupname=")),
        }
    }
    path.map(|path| (path, most, backup)).ok_or_else(|| "logfile= is missing".to_owned())
}

impl Logger for FileLogger {
    fn take(&mut self, line: &[u8]) {
        self.log.push(line);
    }

    fn flush(&mut self) -> Option<String> {
        self.log.flush();
        let now = clock::coarse_ms();
        if self.most == 0 || now < self.not_before_ms || self.opened.size() <= self.most {
            return None;
        }
        let failed = self.turn_over(Some(clock::unix_seconds())).err();
        if failed.is_some() {
            self.not_before_ms = now + PATIENCE_MS;
        }
        failed
    }

    fn waiting(&self) -> usize {
        self.log.waiting()
    }

    fn hurry(&mut self) {
        self.log.flush();
    }

    fn left(&self) -> Vec<Vec<u8>> {
        Some(self.log.left()).into_iter().filter(|left| !left.is_empty()).collect()
    }

    fn restore(&mut self, piece: &[u8]) {
        self.log.push(piece);
    }

    fn reopen(&mut self, aside: Option<i64>) -> Result<(), String> {
        self.log.flush();
        self.turn_over(aside)
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn a_file_is_a_path_or_has_keys() {
        assert_eq!(arguments("/var/log/a"), Ok(("/var/log/a", None, None)));
        let keys = "logfile=/a,maxsize=200,backupname=/b";
        assert_eq!(arguments(keys), Ok(("/a", Some(200), Some("/b"))));
        assert!(["maxsize=1", "logfile=/a,maxsize=x", "logfile=/a,colour=red"].iter().all(|it| arguments(it).is_err()));
    }
}
