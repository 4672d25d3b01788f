//! Reads configuration files whole, as bytes. `gather` and `expand` call it.
//!
//! A pipe or the standard input gives its text once only, and a reload has to find it again: what is no regular file is
//! read once in the life of the process and remembered.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// The largest file, in bytes: beyond it something is read that is no configuration.
const MOST: u64 = 16 << 20;

/// The name of the standard input.
pub const STDIN: &str = "-";

static REMEMBERED: LazyLock<Mutex<HashMap<PathBuf, Arc<[u8]>>>> = LazyLock::new(Mutex::default);

/// The bytes of a file, by its name and the directory where relative names start; an error is the reason, in words.
pub fn read(cwd: &Path, name: &str) -> Result<Arc<[u8]>, String> {
    if name.contains('\0') {
        return Err("a name of a file has no NUL byte".into());
    }
    if name == STDIN {
        return once(Path::new(STDIN), || bytes(io::stdin().lock()));
    }
    if let Some((scheme, _)) = name.split_once("://") {
        return Err(format!("reading from {scheme}:// is not built yet: only files and - can be read"));
    }
    let path = cwd.join(name);
    match path.metadata() {
        Ok(known) if known.is_file() => open(&path),
        Ok(known) if known.is_dir() => Err("is a directory".into()),
        Ok(_) => once(&path, || open(&path)),
        Err(error) => Err(reason(&error)),
    }
}

fn once(path: &Path, read: impl FnOnce() -> Result<Arc<[u8]>, String>) -> Result<Arc<[u8]>, String> {
    let mut remembered = REMEMBERED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(bytes) = remembered.get(path) {
        return Ok(bytes.clone());
    }
    let bytes = read()?;
    remembered.insert(path.to_owned(), bytes.clone());
    Ok(bytes)
}

fn open(path: &Path) -> Result<Arc<[u8]>, String> {
    bytes(File::open(path).map_err(|error| reason(&error))?)
}

fn bytes(from: impl Read) -> Result<Arc<[u8]>, String> {
    let mut bytes = Vec::new();
    from.take(MOST + 1).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    if bytes.len() as u64 > MOST {
        return Err("larger than 16 MiB: is this a configuration?".into());
    }
    Ok(bytes.into())
}

/// `no such file or directory`, as people know it from their shell.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_and_reasons_are_told() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        assert!(read(here, "file.rs").is_ok_and(|bytes| bytes.starts_with(b"//! Reads")));
        assert_eq!(read(here, "nope.ini"), Err("no such file or directory".into()));
        assert_eq!(read(here, "absent"), Err("is a directory".into()));
        assert_eq!(read(here, "a\0b"), Err("a name of a file has no NUL byte".into()));
        assert!(read(here, "http://localhost/x").is_err_and(|reason| reason.contains("not built yet")));
        assert!(read(here, "/dev/zero").is_err_and(|reason| reason.contains("16 MiB")));
    }
}
