//! The kinds of options that name files and folders: their values are bytes, as names of files are.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::kind::{Kind, Reading, Said};

/// A file or a folder. As with texts, an empty name is an error.
pub struct OnePath;
/// Files or folders, each time one more.
pub struct MorePaths;

impl Kind for OnePath {
    type Field = Option<PathBuf>;
    const HINT: &'static str = "PATH";
    const BYTES: bool = true;

    fn read(field: &mut Option<PathBuf>, said: &Said<'_>) -> Reading {
        let path = path(said);
        if path.as_os_str().is_empty() {
            return Err("no value".into());
        }
        *field = Some(path);
        Ok(None)
    }
}

impl Kind for MorePaths {
    type Field = Vec<PathBuf>;
    const HINT: &'static str = "PATH";
    const BYTES: bool = true;

    fn read(field: &mut Vec<PathBuf>, said: &Said<'_>) -> Reading {
        field.push(path(said));
        Ok(None)
    }
}

fn path(said: &Said<'_>) -> PathBuf {
    OsStr::from_bytes(said.bytes.unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::Origin;
    use crate::kind::tests::read;

    #[test]
    fn names_of_files_are_bytes() {
        assert_eq!(read::<OnePath>(Some("/srv")).0, Some("/srv".into()));
        assert_eq!(read::<OnePath>(Some("")).1, Err("no value".into()));
        assert_eq!(read::<MorePaths>(Some("a")).0, [PathBuf::from("a")]);
        let said = Said { name: "x", value: None, bytes: Some(b"caf\xe9".into()), origin: &Origin::Argv };
        let mut field = None;
        assert_eq!(OnePath::read(&mut field, &said).map(|remark| remark.is_none()), Ok(true));
        assert_eq!(field, Some(OsStr::from_bytes(b"caf\xe9").into()));
    }
}
