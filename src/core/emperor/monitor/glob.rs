//! `emperor = /home/*/vassal.ini`, `glob://PATTERN`: the files that match. A vassal is called by its path, as the pattern
//! finds it, and starts where the emperor was started.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ::glob::{MatchOptions, glob_with};

use super::{Monitor, Place, option_for};
use crate::emperor::name::Name;

/// A star stands for no hidden file, and for no slash.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A pattern.
pub(super) struct Glob {
    /// As it was written.
    pattern: PathBuf,
    /// What it is relative to.
    folder: PathBuf,
    extra: Vec<String>,
}

impl Glob {
    pub(super) fn new(pattern: &[u8], folder: &Path, extra: Vec<String>) -> Self {
        Self { pattern: OsStr::from_bytes(pattern).into(), folder: folder.to_owned(), extra }
    }

    /// The folder above the first part that is no plain name.
    fn fixed(&self) -> PathBuf {
        let whole = self.folder.join(&self.pattern);
        let plain = |part: &std::path::Component<'_>| !part.as_os_str().as_bytes().iter().any(|it| b"*?[".contains(it));
        let fixed: PathBuf = whole.components().take_while(plain).collect();
        if fixed == whole { fixed.parent().map(Path::to_owned).unwrap_or(fixed) } else { fixed }
    }
}

impl Monitor for Glob {
    fn look(&self) -> Result<Vec<Place>, String> {
        let whole = self.folder.join(&self.pattern);
        let Some(pattern) = whole.to_str() else {
            return Err(format!("{}: a pattern is UTF-8 text", whole.display()));
        };
        let found = glob_with(pattern, OPTIONS).map_err(|error| format!("{pattern}: {error}"))?;
        // What can't be looked into has no files for us.
        let paths = found.filter_map(Result::ok).filter(|path| option_for(path, &self.extra).is_some());
        let place = |path: PathBuf| {
            let name = match path.strip_prefix(&self.folder) {
                Ok(relative) if self.pattern.is_relative() => relative.as_os_str().to_owned(),
                _ => path.clone().into_os_string(),
            };
            Place { name: Name::from(name.clone()), path, argument: name, folder: self.folder.clone() }
        };
        Ok(paths.map(place).collect())
    }

    fn folders(&self) -> Vec<PathBuf> {
        let found = self.look().unwrap_or_default();
        let parents = found.iter().filter_map(|place| place.path.parent().map(Path::to_owned));
        parents.chain([self.fixed()]).collect()
    }

    /// Only where no folder but the last can be another one.
    fn is_complete(&self) -> bool {
        self.folder.join(&self.pattern).parent() == Some(&self.fixed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_the_first_star_is_watched() {
        let glob = |pattern: &str| Glob::new(pattern.as_bytes(), Path::new("/srv"), Vec::new());
        assert_eq!((glob("/v/*.ini").fixed(), glob("/v/*.ini").is_complete()), ("/v".into(), true));
        assert_eq!((glob("v/*.ini").fixed(), glob("v/*.ini").is_complete()), ("/srv/v".into(), true));
        assert_eq!((glob("/v/*/a.ini").fixed(), glob("/v/*/a.ini").is_complete()), ("/v".into(), false));
        assert_eq!((glob("/v/a.ini").fixed(), glob("/v/a.ini").is_complete()), ("/v".into(), true));
    }
}
