//! `emperor = /etc/vassals`, `dir:///etc/vassals`: the files of a directory. A vassal is called by the bare name of its
//! file, and starts in the directory.

use std::path::PathBuf;

use super::{Monitor, Place, option_for};
use crate::emperor::name::Name;
use crate::why;

/// A directory.
pub(super) struct Directory {
    pub folder: PathBuf,
    pub extra: Vec<String>,
}

impl Monitor for Directory {
    fn look(&self) -> Result<Vec<Place>, String> {
        let failed = |error| format!("{} can't be read: {}", self.folder.display(), why(&error));
        let entries = match std::fs::read_dir(&self.folder) {
            // Who removes the directory has removed its files.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(failed)?,
        };
        let mut places = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            if option_for(name.as_ref(), &self.extra).is_some() {
                let path = self.folder.join(&name);
                let folder = self.folder.clone();
                places.push(Place { name: Name::from(name.clone()), path, argument: name, folder });
            }
        }
        Ok(places)
    }

    fn folders(&self) -> Vec<PathBuf> {
        // A link may be turned to another directory.
        let above = self.folder.parent().filter(|_| self.folder.is_symlink()).map(std::path::Path::to_owned);
        above.into_iter().chain([self.folder.clone()]).collect()
    }

    fn is_complete(&self) -> bool {
        true
    }
}
