//! inotify(7): which files of a folder have changed, told by the kernel instead of looked for.
//!
//! The emperor asks. What a change means is its affair; here a folder is watched, and names come out.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use nix::sys::statfs::{self, FsType};

/// File systems that others change without a word to this kernel.
const REMOTE: [FsType; 3] = [statfs::NFS_SUPER_MAGIC, statfs::SMB_SUPER_MAGIC, statfs::FUSE_SUPER_MAGIC];
/// CIFS and SMB2, statfs(2).
const REMOTE_TOO: [i64; 2] = [0xff53_4d42, 0xfe53_4d42];

/// Folders that are watched.
pub struct Watcher {
    inotify: Inotify,
    folders: HashMap<PathBuf, WatchDescriptor>,
}

/// What has happened since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The names that came, went or were written.
    pub names: Vec<OsString>,
    /// More happened than the kernel could note: anything may have changed.
    pub lost: bool,
}

impl Watcher {
    /// Watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        Ok(Self { inotify, folders: HashMap::new() })
    }

    /// Watches these folders from here on, and no other; those that can't be, with the reason.
    pub fn watch(&mut self, folders: &[PathBuf]) -> Vec<(PathBuf, io::Error)> {
        let gone = self.folders.extract_if(|path, _| !folders.contains(path));
        for (_, descriptor) in gone {
            // It may be gone with its folder.
            let _ = self.inotify.rm_watch(descriptor);
        }
        let mut failed = Vec::new();
        for path in folders {
            // Asked again for a folder that it knows, the kernel answers with what it has, or with that of another folder
            // that has taken the place.
            match self.add(path) {
                Ok(descriptor) => drop(self.folders.insert(path.clone(), descriptor)),
                Err(error) => {
                    self.folders.remove(path);
                    failed.push((path.clone(), error));
                }
            }
        }
        failed
    }

    fn add(&self, path: &Path) -> io::Result<WatchDescriptor> {
        if let Ok(found) = statfs::statfs(path) {
            let kind = found.filesystem_type();
            if REMOTE.contains(&kind) || REMOTE_TOO.contains(&kind.0) {
                return Err(io::Error::other("its file system is on another machine"));
            }
        }
        // Not each write: a file that is written is looked at when whoever writes closes it.
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        Ok(self.inotify.add_watch(path, flags)?)
    }

    /// What was just made is all that it will be: a link is never written. Of a file, the end of writing is told, too.
    fn is_whole(&self, folder: WatchDescriptor, name: &OsString) -> bool {
        let folder = self.folders.iter().find(|(_, known)| **known == folder);
        let found = folder.and_then(|(path, _)| path.join(name).symlink_metadata().ok());
        found.is_some_and(|found| !found.is_file() || found.nlink() > 1)
    }

    /// What has happened since; nothing: an empty answer.
    pub fn changes(&mut self) -> Changes {
        let mut changes = Changes::default();
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    for event in events {
                        changes.lost |= event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW);
                        let name = event.name.unwrap_or_default();
                        if !event.mask.contains(AddWatchFlags::IN_CREATE) || self.is_whole(event.wd, &name) {
                            changes.names.push(name);
                        }
                    }
                }
                Err(Errno::EINTR) => {}
                Err(_) => return changes,
            }
        }
    }
}

impl AsFd for Watcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.inotify.as_fd().as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_tells_what_came_and_went() {
        let folder = std::env::temp_dir().join(format!("ruwsgi-watch-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut watcher = Watcher::new().unwrap();
        let absent = folder.join("absent");
        let failed = watcher.watch(&[folder.clone(), absent.clone()]);
        assert_eq!(failed.len(), 1);
        assert_eq!((&failed[0].0, failed[0].1.kind()), (&absent, io::ErrorKind::NotFound));
        assert_eq!(watcher.changes(), Changes::default());
        std::fs::write(folder.join("a.ini"), "x").unwrap();
        std::fs::rename(folder.join("a.ini"), folder.join("b.ini")).unwrap();
        let names = watcher.changes().names;
        assert!(names.contains(&"a.ini".into()) && names.contains(&"b.ini".into()), "{names:?}");
        watcher.watch(&[]);
        watcher.changes();
        std::fs::remove_file(folder.join("b.ini")).unwrap();
        assert_eq!(watcher.changes(), Changes::default());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
