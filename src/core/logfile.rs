//! Where the log goes: standard error, or the file that `logto` and its kin name. What the application prints goes there
//! too, since standard output and error of the master are what its children inherit.

mod legacy;

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruwsgi_log::Log;
use ruwsgi_options::{Config, Source};
use ruwsgi_stage::privileges;
use ruwsgi_sys::stdio;

use crate::log::{Loggers, Pipes, Place};
use crate::{Place as Said, why};

/// How often loggers are looked after that have something left, in milliseconds.
const LOOK_MS: u64 = 1_000;
/// The same while somebody reads slowly.
const SOON_MS: u64 = 5;
const ALL_AT_ONCE: &str = "logger, log-route and their kin can't come or go all at once: restart needed";
/// The permissions of a new log file, as uWSGI has them.
const MODE: u32 = 0o640;

/// The log of the instance, and the file that it goes to.
pub(crate) struct Outlet {
    /// What the master says.
    log: Log,
    /// What is written to the file, or to standard error: the same log, unless lines are dealt out.
    raw: Log,
    /// `None`: where standard error was at the start.
    file: Option<Opened>,
    routed: Option<Routed>,
    next_ms: u64,
    pause_ms: u64,
    /// So many bytes waited at the last look.
    waiting: usize,
    /// When lines without an end are looked for.
    lines_ms: u64,
    /// A file that could not be put aside is left alone until then.
    not_before_ms: u64,
}

/// Lines are dealt out to loggers.
struct Routed {
    loggers: Loggers,
    pipes: Arc<Mutex<Pipes>>,
    /// Standard output, as it was at the start.
    output: OwnedFd,
}

/// A log file.
pub(crate) struct Opened {
    path: PathBuf,
    file: File,
}

impl Opened {
    /// Opens what an option names; as root, gives it to whom the server becomes, if that is wanted.
    pub(crate) fn new(config: &Config, source: &Source, (option, said): (&str, &str)) -> Result<Self, String> {
        let place = Said(config, option);
        let path = source.cwd.join(said);
        let file = open(&path).map_err(|error| format!("{option}: cannot open {said}: {}{place}", why(&error)))?;
        dress(&file, config).map_err(|error| format!("{option}: {said}: {error}{place}"))?;
        Ok(Self { path, file })
    }

    /// The file of a logger, whose place others tell.
    pub(crate) fn of_logger(config: &Config, source: &Source, said: &str) -> Result<Self, String> {
        let path = source.cwd.join(said);
        let file = open(&path).map_err(|error| format!("cannot open {said}: {}", why(&error)))?;
        dress(&file, config).map_err(|error| format!("{said}: {error}"))?;
        Ok(Self { path, file })
    }

    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// In bytes; 0 for what is no file.
    pub(crate) fn size(&self) -> u64 {
        self.file.metadata().ok().filter(std::fs::Metadata::is_file).map_or(0, |metadata| metadata.len())
    }

    /// Its content goes, if it is a file.
    pub(crate) fn empty(&self) -> Result<(), String> {
        if self.size() == 0 {
            return Ok(());
        }
        self.file.set_len(0).map_err(|error| format!("log-truncate: {}: {}", self.path.display(), why(&error)))
    }

    /// Gives it another name: `backup`, or its own with the time behind, as uWSGI does.
    pub(crate) fn put_aside(&self, backup: Option<&str>, now: i64) -> Result<(), String> {
        if standard(&self.path).is_some() || !self.file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(format!("{} is no file: it can't be put aside", self.path.display()));
        }
        let aside = match backup {
            Some(name) => self.path.parent().unwrap_or(Path::new("/")).join(name),
            None => {
                let mut aside = self.path.clone().into_os_string();
                aside.push(format!(".{now}"));
                aside.into()
            }
        };
        let refused = |error| format!("{} can't become {}: {}", self.path.display(), aside.display(), why(&error));
        std::fs::rename(&self.path, &aside).map_err(refused)
    }

    /// Its content, if it is a file that has one: for whoever waits for a start.
    pub(crate) fn content(&self) -> Option<(File, u64)> {
        let told = self.file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        Some((File::open(&self.path).ok()?, told))
    }

    /// The path leads to another file now, or to none: somebody has moved this one away.
    pub(crate) fn was_moved(&self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let here = self.file.metadata().map(identity).ok();
        standard(&self.path).is_none() && std::fs::metadata(&self.path).map(identity).ok() != here
    }
}

impl Outlet {
    /// A log that goes to standard error.
    pub(crate) fn of(log: &Log) -> Self {
        Self {
            log: log.clone(),
            raw: log.clone(),
            file: None,
            routed: None,
            next_ms: 0,
            pause_ms: LOOK_MS,
            waiting: 0,
            lines_ms: 0,
            not_before_ms: 0,
        }
    }

    /// The log, standard output and standard error go there from here on.
    pub(crate) fn turn_to(&mut self, opened: Opened) -> Result<(), String> {
        let mut turned = self.raw.redirect(opened.file.as_fd());
        if self.routed.is_none() {
            turned = turned.and_then(|()| stdio::redirect_output(opened.file.as_fd()));
        }
        turned.map_err(|error| format!("the log can't go to {}: {}", opened.path.display(), why(&error)))?;
        self.file = Some(opened);
        Ok(())
    }

    /// What `logto2` asks for.
    pub(crate) fn turn_to_second(&mut self, config: &Config, source: &Source) -> Result<(), String> {
        match second(config) {
            Some(said) => self.turn_to(Opened::new(config, source, said)?),
            None => Ok(()),
        }
    }

    /// Lines are dealt out from here on, where the options ask for that.
    pub(crate) fn route(&mut self, config: &Config, source: &Source) -> Result<(), String> {
        if !config.routes_log() {
            return Ok(());
        }
        let failed = |error: io::Error| format!("the log: {}", why(&error));
        let output = stdio::output().try_clone_to_owned().map_err(failed)?;
        // Of its own: what the master says goes elsewhere.
        let raw = self.log.descriptor().and_then(|fd| Log::to(fd.as_fd())).map_err(failed)?;
        let loggers = Loggers::open(Place { config, source, raw: &raw, output: &output })?;
        let pipes = Pipes::new(config.routes_requests()).map_err(failed)?;
        loggers.flush().iter().for_each(|trouble| tracing::warn!("{trouble}"));
        stdio::redirect_output(pipes.write_end()).map_err(failed)?;
        self.log.hand_to(loggers.taker());
        // For children that this process forks: they have no loggers.
        self.log.redirect(pipes.write_end()).map_err(failed)?;
        self.raw = raw;
        self.routed = Some(Routed { loggers, pipes: Arc::new(Mutex::new(pipes)), output });
        Ok(())
    }

    /// At a reload: to another file, if the configuration names one, or to a new one of the same name, if the old one
    /// was moved away. An error leaves everything as it was.
    pub(crate) fn renew(&mut self, config: &Config, source: &Source) -> Result<(), String> {
        let requests = self.routed.as_ref().is_some_and(|routed| routed.pipes().has_requests());
        if config.routes_log() != self.routed.is_some() || config.routes_requests() != requests {
            return Err(ALL_AT_ONCE.to_owned());
        }
        self.log.set_date(config.logging.log_date.as_deref());
        self.renew_file(config, source)?;
        match &self.routed {
            Some(it) => it.loggers.renew(Place { config, source, raw: &self.raw, output: &it.output }),
            None => Ok(()),
        }
    }

    fn renew_file(&mut self, config: &Config, source: &Source) -> Result<(), String> {
        let said = second(config).or(config.log_file());
        let (option, path) = match (said, &self.file) {
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                return Err("logto: the log can't go back to where the server was started: restart needed".to_owned());
            }
            (Some(said), _) => said,
        };
        let same = self.file.as_ref().filter(|opened| opened.path == source.cwd.join(path));
        if same.is_some_and(|opened| !opened.was_moved()) {
            return Ok(());
        }
        match Opened::new(config, source, (option, path)) {
            Ok(opened) => self.turn_to(opened),
            // The privileges to open it may be gone.
            Err(reason) if same.is_some() => {
                tracing::warn!("{reason}: the log goes on in the file that was moved");
                Ok(())
            }
            Err(reason) => Err(reason),
        }
    }

    /// Gives the files of the log other names; the next [`renew`](Self::renew) begins other ones.
    pub(crate) fn put_aside(&self, config: &Config, now: i64) -> Result<(), String> {
        let of_loggers = self.routed.as_ref().map(|routed| routed.loggers.reopen(Some(now)));
        match (&self.file, of_loggers) {
            (Some(opened), _) => opened.put_aside(config.logging.log_backupname.as_deref(), now),
            (None, None) => Err("the log is no file: it can't be put aside".to_owned()),
            (None, Some(failed)) => failed.into_iter().next().map_or(Ok(()), Err),
        }
    }

    /// The file is larger than `log-maxsize` wants it.
    pub(crate) fn is_too_large(&self, config: &Config, now_ms: u64) -> bool {
        let most = config.logging.log_maxsize;
        let file = self.file.as_ref().filter(|opened| most > 0 && standard(&opened.path).is_none());
        now_ms >= self.not_before_ms && file.is_some_and(|opened| opened.size() > most)
    }

    /// It could not be put aside: nobody tries for a while.
    pub(crate) fn leave_alone(&mut self, until_ms: u64) {
        self.not_before_ms = until_ms;
    }

    /// The descriptors for our processes that log: for the lines of requests, and for all others.
    pub(crate) fn descriptors(&self) -> Result<[OwnedFd; 2], String> {
        let both = || match &self.routed {
            None => Ok([self.log.descriptor()?, self.log.descriptor()?]),
            Some(routed) => routed.pipes().sinks(),
        };
        both().map_err(|error: io::Error| format!("the log has no descriptor: {error}"))
    }

    /// What the master watches; nothing where nobody deals out lines.
    pub(crate) fn pipes(&self) -> Vec<RawFd> {
        self.routed.as_ref().map_or_else(Vec::new, |routed| routed.pipes().numbers())
    }

    /// What is to be done while somebody waits for a command: what it says would fill the pipe otherwise.
    pub(crate) fn meanwhile(&self) -> Option<Box<dyn FnMut() + Send>> {
        let Routed { loggers, pipes, .. } = self.routed.as_ref()?;
        let (loggers, pipes) = (loggers.clone(), pipes.clone());
        Some(Box::new(move || {
            pipes.lock().unwrap_or_else(PoisonError::into_inner).read(&loggers);
            loggers.hurry();
        }))
    }

    /// Deals out what has come, and writes what can be written. `true`: there is more.
    pub(crate) fn deal(&self) -> bool {
        let Some(routed) = &self.routed else { return false };
        let more = routed.pipes().read(&routed.loggers);
        routed.loggers.flush().iter().for_each(|trouble| tracing::warn!("{trouble}"));
        more
    }

    /// When somebody has to look again.
    pub(crate) fn wake_ms(&self, config: &Config) -> Option<u64> {
        (self.routed.is_some() || config.logging.log_maxsize > 0).then_some(self.next_ms)
    }

    /// From time to time: lines without an end, and loggers that could not write.
    pub(crate) fn look(&mut self, now_ms: u64) {
        if now_ms < self.next_ms {
            return;
        }
        if let Some(routed) = &self.routed {
            let loggers = &routed.loggers;
            if now_ms >= self.lines_ms {
                self.lines_ms = now_ms + LOOK_MS;
                routed.pipes().look(loggers, false);
            }
            loggers.flush().iter().for_each(|trouble| tracing::warn!("{trouble}"));
            // Somebody reads, though slowly: there will soon be room again. Nobody does: later and later.
            self.pause_ms = match loggers.waiting() {
                0 => LOOK_MS,
                left if left < self.waiting => SOON_MS,
                _ => (self.pause_ms * 2).min(LOOK_MS),
            };
            self.waiting = loggers.waiting();
        }
        self.next_ms = now_ms + self.pause_ms;
    }

    /// Everybody else is gone: what they have said last.
    pub(crate) fn finish(&self) {
        while self.deal() {}
        if let Some(routed) = &self.routed {
            routed.pipes().look(&routed.loggers, true);
        }
        self.deal();
    }
}

impl Routed {
    fn pipes(&self) -> MutexGuard<'_, Pipes> {
        self.pipes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn second(config: &Config) -> Option<(&'static str, &str)> {
    config.logging.logto2.as_deref().map(|path| ("logto2", path))
}

/// Standard output and error can't always be opened by their names: a socket never can.
fn standard(path: &Path) -> Option<BorrowedFd<'static>> {
    const STDOUT: [&str; 3] = ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    const STDERR: [&str; 3] = ["/dev/stderr", "/dev/fd/2", "/proc/self/fd/2"];
    let is = |names: [&str; 3]| names.iter().any(|name| path == Path::new(name));
    if is(STDOUT) {
        Some(stdio::output())
    } else if is(STDERR) {
        Some(stdio::error())
    } else {
        None
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(fd) = standard(path) {
        return Ok(fd.try_clone_to_owned()?.into());
    }
    // A pipe whose reader comes later: opened for both, it neither waits nor fails.
    let is_pipe = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    OpenOptions::new().read(is_pipe).append(true).create(true).mode(MODE).open(path)
}

fn dress(file: &File, config: &Config) -> Result<(), String> {
    let logging = &config.logging;
    // What is no file (/dev/null) belongs to others.
    if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(());
    }
    if let Some(mode) = logging.logfile_chmod {
        let done = file.set_permissions(Permissions::from_mode(mode));
        done.map_err(|error| format!("its mode can't be {mode:03o} (logfile-chmod): {}", why(&error)))?;
    }
    if logging.logfile_chown {
        let target = privileges::target(config)?;
        let (user, group) = (target.user.as_ref().map(|user| user.uid), target.group_of_files());
        fchown(file, user, group)
            .map_err(|error| format!("it can't be given away (logfile-chown): {}", why(&error)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::{Directive, Origin};

    fn config(lines: &[(&str, &str)]) -> Config {
        let directive = |(name, value): &(&str, &str)| {
            Directive::new(*name, Some(value), Origin::File { path: "app.ini".into(), line: 3 })
        };
        Config::interpret(lines.iter().map(directive).collect()).unwrap().0
    }

    fn source(test: &str) -> Source {
        let cwd = std::env::temp_dir().join(format!("ruwsgi-logfile-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&cwd);
        std::fs::create_dir(&cwd).unwrap();
        Source { cwd, ..Source::default() }
    }

    #[test]
    fn a_new_file_has_the_mode_that_was_said() {
        let source = source("mode");
        let mode = |lines: &[(&str, &str)], name| {
            let opened = Opened::new(&config(lines), &source, ("logto", name)).unwrap();
            opened.file.metadata().unwrap().permissions().mode() & 0o777
        };
        assert_eq!(mode(&[], "plain") & !0o640, 0);
        assert_eq!(mode(&[("logfile-chmod", "606")], "other"), 0o606);
        std::fs::remove_dir_all(&source.cwd).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_is_known_by_what_it_is() {
        let source = source("moved");
        let opened = Opened::new(&config(&[]), &source, ("logto", "log")).unwrap();
        assert!(!opened.was_moved());
        std::fs::rename(source.cwd.join("log"), source.cwd.join("log.1")).unwrap();
        assert!(opened.was_moved());
        std::fs::write(source.cwd.join("log"), "").unwrap();
        assert!(opened.was_moved());
        std::fs::remove_dir_all(&source.cwd).unwrap();
    }

    #[test]
    fn what_can_t_be_opened_is_told_with_its_place() {
        let source = source("refused");
        let error = Opened::new(&config(&[("logto", "no/log")]), &source, ("logto", "no/log")).err().unwrap();
        assert_eq!(error, "logto: cannot open no/log: No such file or directory (app.ini:3)");
        std::fs::remove_dir_all(&source.cwd).unwrap();
    }
}
