//! Which file runs, and which one is on the disk. Only looks.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ruwsgi_options::Source;

/// By what a file is known to be the same one, unchanged: device, number, size, time of change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    /// Of the file at a path; `None`: there is none.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        std::fs::metadata(path).ok().filter(Metadata::is_file).map(|it| Self::of(&it))
    }

    pub(crate) fn of(it: &Metadata) -> Self {
        Self(it.dev(), it.ino(), it.size(), it.mtime(), it.mtime_nsec())
    }
}

/// The executable that runs.
#[derive(Debug)]
pub(crate) struct Executable {
    /// Where it was found, links and all: what stands there is what a start would run.
    pub path: PathBuf,
    stamp: Stamp,
}

impl Executable {
    /// This process's own. `said`: where the one for upgrades is looked for, if somebody says so.
    pub(crate) fn current(source: &Source, said: Option<&str>) -> io::Result<Self> {
        let stamp = Stamp::of(&std::fs::metadata("/proc/self/exe")?);
        let path = match said {
            Some(said) => source.cwd.join(said),
            None => {
                invoked(source).filter(|path| Stamp::at(path) == Some(stamp)).map_or_else(std::env::current_exe, Ok)?
            }
        };
        Ok(Self { path, stamp })
    }

    /// What stands there now, if it is another file. Nothing there is nothing to become.
    pub(crate) fn successor(&self) -> Option<Stamp> {
        Stamp::at(&self.path).filter(|stamp| *stamp != self.stamp)
    }
}

/// As what the shell has found it: a link to the newest release stays one.
fn invoked(source: &Source) -> Option<PathBuf> {
    let name = Path::new(source.argv.first()?);
    if name.parent().is_some_and(|folder| folder != Path::new("")) {
        return Some(source.cwd.join(name));
    }
    let paths = source.env.iter().rfind(|(known, _)| known == "PATH").map_or(OsStr::new(""), |(_, paths)| paths);
    std::env::split_paths(paths).map(|folder| source.cwd.join(folder).join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn source(name: impl Into<OsString>, path: &str, cwd: &Path) -> Source {
        Source {
            argv: vec![name.into()],
            env: vec![("PATH".into(), path.into())],
            cwd: cwd.to_owned(),
            ..Source::default()
        }
    }

    #[test]
    fn the_executable_is_known_by_the_name_that_was_called() {
        let own = std::env::current_exe().unwrap();
        let folder = std::env::temp_dir().join(format!("ruwsgi-disk-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let link = folder.join("server");
        let _ = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(&own, &link).unwrap();
        let current = |source: &Source| Executable::current(source, None).unwrap();
        assert_eq!(current(&source("./server", "", &folder)).path, folder.join("./server"));
        assert_eq!(current(&source("server", folder.to_str().unwrap(), Path::new("/"))).path, link);
        // A name that says something else is none.
        assert_eq!(current(&source("/bin/sh", "", &folder)).path, own);
        let running = current(&source(&link, "", &folder));
        assert_eq!(running.successor(), None);
        std::fs::remove_file(&link).unwrap();
        assert_eq!(running.successor(), None, "nothing there is no successor");
        std::fs::write(&link, "other").unwrap();
        assert_eq!(running.successor(), Stamp::at(&link));
        assert!(running.successor().is_some());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
