//! Finding the extension module that belongs to this executable, and holding it open for as long as the master lives:
//! what is replaced on the disk meanwhile does not fit this executable.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use memchr::memmem;
use ruwsgi_contract::{MARK, MARK_START};
use ruwsgi_options::{Config, Source};

use crate::upgrade::Stamp;
use crate::why;

const NAME: &str = "libruwsgi_python.so";
const WINDOW_BYTES: usize = 64 * 1024;

/// The extension module.
pub(crate) struct Module {
    file: File,
    path: PathBuf,
    stamp: Option<Stamp>,
}

impl Module {
    /// Finds it: beside the executable (a build), in `deps/` (a test, which refreshes only that), in `../lib/ruwsgi`
    /// (a package), in the folders of `plugins-dir`. A file of another build is passed over.
    pub(crate) fn find(config: &Config, source: &Source) -> Result<Self, String> {
        let executable = std::env::current_exe().map_err(|error| format!("the executable has no path: {error}"))?;
        let folder = executable.parent().unwrap_or(Path::new("/"));
        let mut tried = Vec::new();
        let usual = ["", "deps", "../lib/ruwsgi"].map(|part| folder.join(part));
        let said = config.python.plugins_dir.iter().map(|said| source.cwd.join(said));
        for path in usual.into_iter().chain(said).map(|folder| folder.join(NAME)) {
            match check(&path) {
                Ok(file) => {
                    let stamp = file.metadata().ok().as_ref().map(Stamp::of);
                    return Ok(Self { file, path, stamp });
                }
                Err(why) => tried.push(format!("{} ({why})", path.display())),
            }
        }
        Err(format!("the extension module is missing: tried {}", tried.join(", ")))
    }

    /// Another file stands in its place by now. Where there is none, this one is still good.
    pub(crate) fn has_successor(&self) -> bool {
        Stamp::at(&self.path).is_some_and(|stamp| Some(stamp) != self.stamp)
    }
}

impl AsFd for Module {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn check(path: &Path) -> Result<File, String> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "not there".to_owned(),
        _ => why(&error),
    })?;
    match search(&file) {
        Err(error) => Err(why(&error)),
        Ok(Found::Ours) => Ok(file),
        Ok(Found::Others) => Err("of another build".to_owned()),
        Ok(Found::Nothing) => Err("no module of ruwsgi".to_owned()),
    }
}

#[derive(Debug, PartialEq)]
enum Found {
    Ours,
    Others,
    Nothing,
}

/// Looks for the mark of a build without taking the file into memory: windows that overlap by the mark's length.
fn search(mut file: impl Read) -> io::Result<Found> {
    let (ours, any) = (memmem::Finder::new(MARK), memmem::Finder::new(MARK_START));
    let mut found = Found::Nothing;
    let mut window = vec![0; WINDOW_BYTES];
    let mut kept = 0;
    loop {
        let got = file.read(&mut window[kept..])?;
        let seen = &window[..kept + got];
        if ours.find(seen).is_some() {
            return Ok(Found::Ours);
        }
        if any.find(seen).is_some() {
            found = Found::Others;
        }
        if got == 0 {
            return Ok(found);
        }
        let end = seen.len();
        let overlap = end.min(MARK.len() - 1);
        window.copy_within(end - overlap..end, 0);
        kept = overlap;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mark_is_found_wherever_it_lies() {
        for before in [0, 1, WINDOW_BYTES - 20, WINDOW_BYTES - 1, WINDOW_BYTES, 3 * WINDOW_BYTES + 7] {
            let file = [vec![b'x'; before], MARK.as_bytes().to_vec(), vec![b'y'; 100]].concat();
            assert_eq!(search(file.as_slice()).unwrap(), Found::Ours, "{before}");
            let other = [vec![b'x'; before], format!("{MARK_START}0000000000000000;").into_bytes()].concat();
            assert_eq!(search(other.as_slice()).unwrap(), Found::Others, "{before}");
        }
        assert_eq!(search(&b"nothing"[..]).unwrap(), Found::Nothing);
    }

    #[test]
    fn what_is_no_module_is_told() {
        assert_eq!(check(Path::new("/nonexistent/module.so")).unwrap_err(), "not there");
        assert_eq!(check(Path::new("/dev/null")).unwrap_err(), "no module of ruwsgi");
    }
}
