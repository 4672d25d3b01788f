//! The file that holds the master's pid, from before the privileges are dropped until the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use ruwsgi_sys::{exec, signal};

use crate::upgrade::Kept;

/// A pidfile that holds our pid. Dropped, it is removed; before [`keep`](Self::keep), what it held before comes back,
/// so that a start that fails harms no instance that runs.
pub(crate) struct Pidfile {
    path: PathBuf,
    /// Kept open: after the privileges are gone, the file may be neither opened nor removed.
    file: File,
    text: String,
    former: Option<String>,
}

impl Pidfile {
    /// Writes our pid.
    pub(crate) fn write(path: &Path) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        let there = path.exists();
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        let mut former = String::new();
        // Whatever it is, it comes back or is replaced; what is no text was no pid.
        let former = file.read_to_string(&mut former).is_ok().then_some(former).filter(|_| there);
        let text = format!("{}\n", std::process::id());
        let mut pidfile = Self { path, file, text, former };
        pidfile.put(&pidfile.text.clone())?;
        Ok(pidfile)
    }

    /// One that the former executable of this process has written.
    pub(crate) fn inherited(kept: &Kept) -> io::Result<Self> {
        let file = exec::inherited(kept.fd)?.into();
        Ok(Self { path: kept.path.clone(), file, text: format!("{}\n", std::process::id()), former: None })
    }

    /// The file, for another executable.
    pub(crate) fn kept(&self) -> Kept {
        Kept { fd: self.file.as_raw_fd(), path: self.path.clone() }
    }

    /// It is the one that this path means.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        std::path::absolute(path).is_ok_and(|path| path == self.path)
    }

    /// Writes our pid once more: somebody may have removed the file, or written there.
    pub(crate) fn write_again(&mut self) -> io::Result<()> {
        if !self.is_ours() {
            self.file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&self.path)?;
            self.put(&self.text.clone())?;
        }
        Ok(())
    }

    /// The start went well: the former content is history.
    pub(crate) fn keep(&mut self) {
        self.former = None;
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(text.as_bytes())
    }

    fn is_ours(&self) -> bool {
        std::fs::read_to_string(&self.path).is_ok_and(|text| text == self.text)
    }
}

impl Drop for Pidfile {
    fn drop(&mut self) {
        if !self.is_ours() {
            return;
        }
        let cleared = match self.former.take() {
            Some(former) => self.put(&former),
            // Its folder may be root's, and we no longer: an empty file names nobody either.
            None => std::fs::remove_file(&self.path).or_else(|_| self.put("")),
        };
        if let Err(error) = cleared {
            tracing::warn!("pidfile: {} can't be removed: {}", self.path.display(), crate::why(&error));
        }
    }
}

/// Asks the instance that has this pidfile to stop.
pub fn stop(path: &Path) -> Result<(), String> {
    send(path, signal::interrupt)
}

/// Asks the instance that has this pidfile to reload.
pub fn reload(path: &Path) -> Result<(), String> {
    send(path, signal::hang_up)
}

/// Asks the instance that has this pidfile to pause, or to go on.
pub fn pause(path: &Path) -> Result<(), String> {
    send(path, signal::pause)
}

fn send(path: &Path, order: fn(i32) -> io::Result<()>) -> Result<(), String> {
    let shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| format!("{shown} can't be read: {}", crate::why(&error)))?;
    // 0 and below are groups of processes, 1 is the system's own.
    let pid = text.trim().parse().ok().filter(|pid| *pid > 1);
    let pid: i32 = pid.ok_or_else(|| format!("{shown} holds no pid: {:?}", text.lines().next().unwrap_or_default()))?;
    order(pid).map_err(|error| format!("process {pid} of {shown}: {}", crate::why(&error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_start_leaves_what_was_there() {
        let path = std::env::temp_dir().join(format!("ruwsgi-pidfile-{}", std::process::id()));
        let ours = format!("{}\n", std::process::id());
        drop(Pidfile::write(&path).unwrap());
        assert!(!path.exists());
        std::fs::write(&path, "12345678\n").unwrap();
        let pidfile = Pidfile::write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), ours);
        drop(pidfile);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "12345678\n");
        let mut pidfile = Pidfile::write(&path).unwrap();
        pidfile.keep();
        drop(pidfile);
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_another_instance_stays() {
        let path = std::env::temp_dir().join(format!("ruwsgi-pidfile-other-{}", std::process::id()));
        let mut pidfile = Pidfile::write(&path).unwrap();
        pidfile.keep();
        std::fs::write(&path, "1\n").unwrap();
        drop(pidfile);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n");
        std::fs::remove_file(&path).unwrap();
    }
}
