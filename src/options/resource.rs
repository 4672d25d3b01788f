//! Reads what a name stands for, whole, as bytes: a file, `-` for the standard input, `exec://command`, `fd://3`,
//! `data://0`, `section://name`. `gather` and `expand` call it.
//!
//! A pipe or the standard input gives its text once only, and a reload has to find it again: what is no regular file is
//! read once in the life of the process and remembered. A command runs at each reading.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bstr::{BStr, ByteSlice};

use crate::attached;
use crate::pushed;

/// The largest text, in bytes: beyond it something is read that is no configuration.
const MOST: u64 = 16 << 20;

/// The name of the standard input.
pub const STDIN: &[u8] = b"-";

static REMEMBERED: LazyLock<Mutex<HashMap<PathBuf, Arc<[u8]>>>> = LazyLock::new(Mutex::default);

/// What a name is before `://`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    File,
    Exec,
    Descriptor,
    Data,
    Section,
    Emperor,
    Refused(&'static str),
}

const NO_SYMBOLS: &str = "no symbols of C are looked up; put the text into a file";

const SCHEMES: &[(&str, Scheme)] = &[
    ("file", Scheme::File),
    ("exec", Scheme::Exec),
    ("fd", Scheme::Descriptor),
    ("data", Scheme::Data),
    ("section", Scheme::Section),
    ("http", Scheme::Refused("nothing is read over the network; exec://curl -fsS URL does it")),
    ("sym", Scheme::Refused(NO_SYMBOLS)),
    ("call", Scheme::Refused(NO_SYMBOLS)),
    ("callint", Scheme::Refused(NO_SYMBOLS)),
    ("emperor", Scheme::Emperor),
];

/// The scheme of a name, if it has one, and what follows it. Other text before `://` is a part of a path.
fn scheme(name: &BStr) -> Option<(Scheme, &BStr)> {
    let (before, rest) = name.split_once_str("://")?;
    SCHEMES.iter().find(|(known, _)| known.as_bytes() == before).map(|(_, scheme)| (*scheme, rest.as_bstr()))
}

/// A file that has this name, if a file is what it names.
pub fn path(name: &BStr) -> Option<&Path> {
    let path = match scheme(name) {
        None if name == STDIN => return None,
        None => name,
        Some((Scheme::File, path)) => path,
        Some(_) => return None,
    };
    Some(Path::new(OsStr::from_bytes(path)))
}

/// Whether the text comes from the machine, not from a file that somebody named.
pub fn is_of_the_machine(name: &BStr) -> bool {
    matches!(
        scheme(name),
        Some((Scheme::Exec | Scheme::Descriptor | Scheme::Data | Scheme::Section | Scheme::Emperor, _))
    )
}

/// A name with a section behind it, as `app.ini:web`; the name is empty in `:web`.
pub fn split_section(given: &BStr) -> (&BStr, &BStr) {
    let from = if scheme(given).is_some() { given.rfind_byte(b'/').map_or(0, |slash| slash + 1) } else { 0 };
    match given[from..].rfind_byte(b':') {
        Some(colon) => (given[..from + colon].as_bstr(), given[from + colon + 1..].as_bstr()),
        None => (given, b"".as_bstr()),
    }
}

/// The bytes that a name stands for; relative names start from `cwd`. An error is the reason, in words.
pub fn read(cwd: &Path, name: &BStr) -> Result<Arc<[u8]>, String> {
    if name.contains(&0) {
        return Err("a name of a file has no NUL byte".into());
    }
    match scheme(name) {
        None if name == STDIN => once(Path::new("-"), || bytes(io::stdin().lock())),
        Some((Scheme::Exec, command)) => run(cwd, command),
        Some((Scheme::Descriptor, number)) => descriptor(number),
        Some((Scheme::Data, slot)) => {
            let slot = slot.to_str().ok().and_then(|slot| slot.parse().ok());
            attached::data(&own_binary()?, slot.ok_or("the number of a slot is missing")?).map(Arc::from)
        }
        Some((Scheme::Section, section)) => attached::section(&own_binary()?, section).map(Arc::from),
        Some((Scheme::Emperor, _)) => pushed::read(),
        Some((Scheme::Refused(reason), _)) => Err(reason.into()),
        Some((Scheme::File, _)) | None => file(&cwd.join(path(name).unwrap_or(Path::new("")))),
    }
}

fn file(path: &Path) -> Result<Arc<[u8]>, String> {
    match path.metadata() {
        Ok(known) if known.is_file() => open(path),
        Ok(known) if known.is_dir() => Err("is a directory".into()),
        Ok(_) => once(path, || open(path)),
        Err(error) => Err(reason(&error)),
    }
}

/// A descriptor may be closed when it is asked for again.
fn descriptor(number: &BStr) -> Result<Arc<[u8]>, String> {
    let number: u32 = number.to_str().ok().and_then(|text| text.parse().ok()).ok_or("no number of a descriptor")?;
    let path = PathBuf::from(format!("/proc/self/fd/{number}"));
    if !path.exists() && path.symlink_metadata().is_err() {
        return Err("this descriptor is not open".into());
    }
    once(&path, || open(&path))
}

fn run(cwd: &Path, command: &BStr) -> Result<Arc<[u8]>, String> {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(OsStr::from_bytes(command)).current_dir(cwd).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = shell.spawn().map_err(|error| reason(&error))?;
    let text = child.stdout.take().map_or_else(|| Ok(Arc::default()), bytes);
    if text.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(|error| reason(&error))?;
    match text {
        Ok(_) if !status.success() => Err(format!("the command failed ({status})")),
        text => text,
    }
}

fn own_binary() -> Result<Vec<u8>, String> {
    std::fs::read("/proc/self/exe").map_err(|error| reason(&error))
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

    fn read(name: &str) -> Result<String, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        super::read(here, name.into()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    #[test]
    fn files_are_read_and_reasons_are_told() {
        assert!(read("resource.rs").is_ok_and(|text| text.starts_with("//! Reads")));
        assert!(read("file://resource.rs").is_ok_and(|text| text.starts_with("//! Reads")));
        assert_eq!(read("nope.ini"), Err("no such file or directory".into()));
        assert_eq!(read("nope://x"), Err("no such file or directory".into()));
        assert_eq!(read("absent"), Err("is a directory".into()));
        assert_eq!(read("a\0b"), Err("a name of a file has no NUL byte".into()));
        assert!(read("/dev/zero").is_err_and(|reason| reason.contains("16 MiB")));
    }

    #[test]
    fn commands_are_run_in_the_folder_of_the_server() {
        assert_eq!(read("exec://echo a; ls Cargo.toml"), Ok("a\nCargo.toml\n".into()));
        assert_eq!(read("exec://exit 3"), Err("the command failed (exit status: 3)".into()));
        assert!(read("exec://cat /dev/zero").is_err_and(|reason| reason.contains("16 MiB")));
    }

    #[test]
    fn schemes_that_are_refused_say_what_to_do() {
        assert!(read("http://localhost/x").is_err_and(|reason| reason.contains("exec://curl")));
        for name in ["sym://x", "call://x", "callint://x"] {
            assert!(read(name).is_err_and(|reason| reason.contains("symbols")), "{name}");
        }
        assert!(read("emperor://x").is_err_and(|reason| reason.contains("no emperor")));
        assert_eq!(read("fd://9999"), Err("this descriptor is not open".into()));
        assert_eq!(read("fd://x"), Err("no number of a descriptor".into()));
        assert_eq!(read("data://0"), Err("nothing is appended to the executable in slot 0".into()));
        assert_eq!(read("section://nope"), Err("the executable has no section nope".into()));
    }

    #[test]
    fn a_section_stands_behind_the_last_colon() {
        let split = |text: &'static str| {
            let (name, section) = split_section(text.into());
            (name.to_string(), section.to_string())
        };
        let pair = |name: &str, section: &str| (name.to_owned(), section.to_owned());
        assert_eq!(split("app.ini:web"), pair("app.ini", "web"));
        assert_eq!(split("a:b/c.ini"), pair("a", "b/c.ini"));
        assert_eq!(split(":web"), pair("", "web"));
        assert_eq!(split("exec://cat x.ini"), pair("exec://cat x.ini", ""));
        assert_eq!(split("exec://cat /x.ini:web"), pair("exec://cat /x.ini", "web"));
        assert_eq!(split("fd://3:web"), pair("fd://3", "web"));
    }
}
