//! Where the log goes: standard error, or the file that `logto` and its kin name. What the application prints goes there
//! too, since standard output and error of the master are what its children inherit.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use ruwsgi_log::Log;
use ruwsgi_options::{Config, Source};
use ruwsgi_stage::privileges;
use ruwsgi_sys::{exec, stdio};

use crate::upgrade::Kept;
use crate::{Place, why};

/// The permissions of a new log file, as uWSGI has them.
const MODE: u32 = 0o640;

/// The log of the instance, and the file that it goes to.
pub(crate) struct Outlet {
    log: Log,
    /// `None`: where standard error was at the start.
    file: Option<Opened>,
}

/// A log file.
pub(crate) struct Opened {
    path: PathBuf,
    file: File,
}

impl Opened {
    /// Opens what an option names; as root, gives it to whom the server becomes, if that is wanted.
    pub(crate) fn new(config: &Config, source: &Source, (option, said): (&str, &str)) -> Result<Self, String> {
        let place = Place(config, option);
        let path = source.cwd.join(said);
        let file = open(&path).map_err(|error| format!("{option}: cannot open {said}: {}{place}", why(&error)))?;
        dress(&file, config).map_err(|error| format!("{option}: {said}: {error}{place}"))?;
        Ok(Self { path, file })
    }

    /// Its content, if it is a file that has one: for whoever waits for a start.
    pub(crate) fn content(&self) -> Option<(File, u64)> {
        let told = self.file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        Some((File::open(&self.path).ok()?, told))
    }

    /// The path leads to another file now, or to none: somebody has moved this one away.
    fn was_moved(&self) -> bool {
        let identity = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let here = self.file.metadata().map(identity).ok();
        standard(&self.path).is_none() && std::fs::metadata(&self.path).map(identity).ok() != here
    }
}

impl Outlet {
    /// A log that goes to standard error.
    pub(crate) fn of(log: &Log) -> Self {
        Self { log: log.clone(), file: None }
    }

    /// The log of a process whose output goes to this file already.
    pub(crate) fn inherited(log: &Log, kept: Option<&Kept>) -> Result<Self, String> {
        let opened = |kept: &Kept| {
            let file = exec::inherited(kept.fd).map_err(|error| format!("the log: {}", why(&error)))?;
            Ok::<_, String>(Opened { path: kept.path.clone(), file: file.into() })
        };
        Ok(Self { log: log.clone(), file: kept.map(opened).transpose()? })
    }

    /// The file, for another executable.
    pub(crate) fn kept(&self) -> Option<Kept> {
        let opened = self.file.as_ref()?;
        Some(Kept { fd: opened.file.as_raw_fd(), path: opened.path.clone() })
    }

    /// The log, standard output and standard error go there from here on.
    pub(crate) fn turn_to(&mut self, opened: Opened) -> Result<(), String> {
        let turned = self.log.redirect(opened.file.as_fd()).and_then(|()| stdio::redirect_output(opened.file.as_fd()));
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

    /// At a reload: to another file, if the configuration names one, or to a new one of the same name, if the old one
    /// was moved away. An error leaves everything as it was.
    pub(crate) fn renew(&mut self, config: &Config, source: &Source) -> Result<(), String> {
        self.log.set_date(config.logging.log_date.as_deref());
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

    /// Gives the log file another name, with the time in it as uWSGI does; the next [`renew`](Self::renew) begins
    /// another one.
    pub(crate) fn put_aside(&self, now: i64) -> Result<(), String> {
        let path = match &self.file {
            Some(opened) if standard(&opened.path).is_none() => &opened.path,
            _ => return Err("the log is no file: it can't be put aside".to_owned()),
        };
        let mut aside = path.clone().into_os_string();
        aside.push(format!(".{now}"));
        std::fs::rename(path, &aside).map_err(|error| format!("{} can't be renamed: {}", path.display(), why(&error)))
    }

    /// The descriptor for the processes that log.
    pub(crate) fn descriptor(&self) -> Result<OwnedFd, String> {
        self.log.descriptor().map_err(|error| format!("the log has no descriptor: {error}"))
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
