//! `emperor = list:///etc/vassals.list`: the files that a file names, one a line. An empty line and one that begins with
//! `#` say nothing; a name is relative to the folder of the list. A vassal is called as the list calls it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{Monitor, Place, option_for};
use crate::emperor::name::Name;
use crate::why;

/// A list.
pub(super) struct List {
    pub file: PathBuf,
    pub extra: Vec<String>,
}

impl List {
    fn folder(&self) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("/")).to_owned()
    }
}

impl Monitor for List {
    fn look(&self) -> Result<Vec<Place>, String> {
        let text = std::fs::read(&self.file);
        // An empty list is said by an empty file: one that is away may be about to come back.
        let text = text.map_err(|error| format!("{} can't be read: {}", self.file.display(), why(&error)))?;
        let lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        let folder = self.folder();
        let place = |line: &[u8]| {
            let name = OsStr::from_bytes(line).to_owned();
            let path = folder.join(&name);
            let argument = path.clone().into_os_string();
            Place { name: Name::from(name), path, argument, folder: folder.clone() }
        };
        let said = lines.filter(|line| !line.is_empty() && !line.starts_with(b"#")).map(place);
        Ok(said.filter(|place| option_for(&place.path, &self.extra).is_some()).collect())
    }

    fn folders(&self) -> Vec<PathBuf> {
        let found = self.look().unwrap_or_default();
        let parents = found.iter().filter_map(|place| place.path.parent().map(Path::to_owned));
        parents.chain([self.folder()]).collect()
    }

    fn is_complete(&self) -> bool {
        true
    }
}
