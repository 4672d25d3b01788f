//! The master's FIFO: each byte that somebody writes into it is an order. `run` reads it at each wake.
//!
//! `master-fifo` may name several: one is open, and a digit changes to another.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mio::Poll;
use mio::unix::SourceFd;

use ruwsgi_sys::file;

use super::order::Command;
use super::run::watch;
use crate::why;

/// Who may write into a FIFO.
const MODE: u32 = 0o600;
const NO_FIFO: &str = "is there already, and is no FIFO";

/// What a letter asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Letter {
    /// Something that the plan decides on.
    Command(Command),
    /// Another FIFO.
    Turn(usize),
    /// Open the log anew.
    LogReopen,
    /// Put the log aside and begin another one.
    LogRotate,
    /// Say in the log what the workers do.
    Stats,
    /// Write the pidfiles again.
    Pidfiles,
    /// Announce nothing to routers, or go on.
    Subscriptions,
    /// It asks for something that is not here: an emperor, another fork of the master.
    Nothing,
}

/// What a byte of a FIFO means; `None`: nothing to anybody.
pub(super) fn letter(byte: u8) -> Option<Letter> {
    Some(match byte {
        b'0'..=b'9' => Letter::Turn((byte - b'0').into()),
        b'+' => Letter::Command(Command::More),
        b'-' => Letter::Command(Command::Fewer),
        b'C' => Letter::Command(Command::Cheap),
        b'l' => Letter::LogReopen,
        b'L' => Letter::LogRotate,
        b'p' => Letter::Command(Command::Pause),
        b'P' => Letter::Pidfiles,
        b'q' => Letter::Command(Command::Stop),
        b'Q' => Letter::Command(Command::StopNow),
        // Workers are replaced one by one in any case.
        b'r' | b'c' => Letter::Command(Command::Reload),
        b'R' => Letter::Command(Command::ReloadBrutally),
        b's' => Letter::Stats,
        b'w' => Letter::Command(Command::RenewWorkers),
        b'W' => Letter::Command(Command::RenewWorkersBrutally),
        b'S' => Letter::Subscriptions,
        b'B' | b'E' | b'f' => Letter::Nothing,
        _ => return None,
    })
}

/// The FIFOs, one of them open.
#[derive(Default)]
pub(super) struct Fifos {
    paths: Vec<PathBuf>,
    open: Option<Open>,
    /// What a reload has read, for when it is known to be good, and the FIFO that was made for it.
    next: Option<(Vec<PathBuf>, Option<Open>)>,
    /// Why it could not be made again; told once.
    trouble: Option<String>,
}

/// One that is there; its file goes with it.
struct Open {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
}

impl Fifos {
    /// Opens the first of these, or goes on with the one that is open if it is still among them. An error leaves
    /// everything as it was.
    pub(super) fn renew(&mut self, poll: &Poll, paths: &[String]) -> Result<(), String> {
        self.prepare(paths)?;
        self.adopt(poll);
        Ok(())
    }

    /// Makes what these need. Nothing has changed where this fails.
    pub(super) fn prepare(&mut self, paths: &[String]) -> Result<(), String> {
        let paths: Vec<PathBuf> = paths.iter().map(absolute).collect();
        let goes_on = paths == self.paths || self.open.as_ref().is_some_and(|open| paths.contains(&open.path));
        let fresh = if goes_on { None } else { paths.first().map(|path| Open::make(path)).transpose()? };
        self.next = Some((paths, fresh));
        Ok(())
    }

    /// What was prepared counts from here on.
    pub(super) fn adopt(&mut self, poll: &Poll) {
        let Some((paths, fresh)) = self.next.take() else { return };
        self.paths = paths;
        let stays = self.open.as_ref().is_some_and(|open| self.paths.contains(&open.path));
        if fresh.is_some() || !stays {
            self.turn_to(poll, fresh);
        }
        self.look(poll);
    }

    /// What was prepared goes again.
    pub(super) fn give_up(&mut self) {
        self.next = None;
    }

    /// Whether a master that begins here could open the first of these, once the one that runs has let go of it.
    pub(super) fn could_open(paths: &[String]) -> Result<(), String> {
        let Some(path) = paths.first().map(absolute) else { return Ok(()) };
        let may = match std::fs::symlink_metadata(&path) {
            Ok(found) if !found.file_type().is_fifo() => Err(io::Error::other(NO_FIFO)),
            _ => file::may_replace(&path),
        };
        may.map_err(|error| failed(&path, &error))
    }

    /// The one that is open: as long as somebody holds it, what is written there waits.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.open.as_ref().map(|open| open.file.as_raw_fd())
    }

    /// The letters that were written since the last time.
    pub(super) fn read(&mut self) -> Vec<Letter> {
        let mut bytes = Vec::new();
        let Some(open) = &mut self.open else { return Vec::new() };
        let mut room = [0; 256];
        while let Ok(count @ 1..) = open.file.read(&mut room) {
            bytes.extend_from_slice(&room[..count]);
        }
        bytes.into_iter().filter_map(letter).collect()
    }

    /// Makes one that was removed, or that could not be made, again: whoever writes there next means us.
    pub(super) fn look(&mut self, poll: &Poll) {
        let path = match &self.open {
            Some(open) if open.is_there() => return,
            Some(open) => Some(&open.path),
            None => self.paths.first(),
        };
        let Some(path) = path else { return };
        match Open::make(path) {
            Ok(fresh) => self.turn_to(poll, Some(fresh)),
            Err(why) if self.trouble.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!("{why}");
                self.trouble = Some(why);
            }
        }
    }

    /// Opens the one of this number, and closes the other.
    pub(super) fn turn(&mut self, poll: &Poll, number: usize) -> Result<(), String> {
        let Some(path) = self.paths.get(number) else { return Ok(()) };
        let fresh = Open::make(path)?;
        self.turn_to(poll, Some(fresh));
        Ok(())
    }

    fn turn_to(&mut self, poll: &Poll, fresh: Option<Open>) {
        if let Some(open) = &fresh {
            tracing::info!("master-fifo: {}", open.path.display());
            if let Err(error) = watch(poll, &open.file) {
                tracing::error!("epoll: {error}");
            }
        }
        self.trouble = None;
        if let Some(former) = std::mem::replace(&mut self.open, fresh) {
            let _ = poll.registry().deregister(&mut SourceFd(&former.file.as_raw_fd()));
        }
    }
}

impl Open {
    fn make(path: &Path) -> Result<Self, String> {
        let failed = |error: io::Error| failed(path, &error);
        let file = make(path).map_err(failed)?;
        let identity = identity(path).ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        Ok(Self { path: path.to_owned(), file, identity })
    }

    fn is_there(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }
}

impl Drop for Open {
    /// Our own only: somebody else may have taken the place.
    fn drop(&mut self) {
        if self.is_there() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("master-fifo: {}: {}", path.display(), why(error))
}

fn absolute(path: &String) -> PathBuf {
    std::path::absolute(path).unwrap_or(path.into())
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// A new FIFO in the place of an old one; anything else that is there stays.
fn make(path: &Path) -> io::Result<File> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_fifo() => std::fs::remove_file(path)?,
        Ok(_) => return Err(io::Error::other(NO_FIFO)),
        Err(_) => {}
    }
    file::make_fifo(path, MODE)?;
    // Open for writing too: otherwise it would be at its end as soon as the first writer is gone.
    OpenOptions::new().read(true).write(true).custom_flags(file::NONBLOCK).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_letter_of_uwsgi_means_something_and_no_other_does() {
        let known: Vec<u8> = (0..=255).filter(|byte| letter(*byte).is_some()).collect();
        assert_eq!(String::from_utf8(known).unwrap(), "+-0123456789BCELPQRSWcflpqrsw");
        assert_eq!(letter(b'7'), Some(Letter::Turn(7)));
    }
}
