//! The interpreters of this machine, and environments made from them (once a run, kept in the build folder).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// An interpreter that was found.
#[derive(Clone, Debug)]
pub struct Python {
    /// Where it is, no shim.
    pub path: PathBuf,
    /// (3, 11)
    pub version: (u32, u32),
}

/// What `python3` means here.
pub fn default() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| ask(Path::new("python3")).expect("python3 is on the PATH").path)
}

/// One interpreter of each place and minor version that could run the server, or is too old for it.
pub fn all() -> &'static [Python] {
    static FOUND: OnceLock<Vec<Python>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let home = std::env::var("HOME").unwrap_or_default();
        let pyenv = std::fs::read_dir(Path::new(&home).join(".pyenv/versions")).into_iter().flatten().flatten();
        let mut candidates: Vec<PathBuf> = pyenv.map(|entry| entry.path().join("bin/python3")).collect();
        candidates.sort();
        candidates.extend(["/usr/bin/python3", "/usr/local/bin/python3"].map(PathBuf::from));
        candidates.extend((7..=16).map(|minor| PathBuf::from(format!("python3.{minor}"))));
        let found = candidates.iter().filter_map(|candidate| ask(candidate));
        // A name on the PATH is often one of the others again.
        let mut unique: BTreeMap<PathBuf, Python> = BTreeMap::new();
        for python in found {
            unique.entry(python.path.canonicalize().unwrap_or(python.path.clone())).or_insert(python);
        }
        unique.into_values().collect()
    })
}

/// The interpreters that the server supports: CPython 3.9 and later, with the global lock.
pub fn usable() -> impl Iterator<Item = &'static Python> {
    all().iter().filter(|python| python.version >= (3, 9))
}

fn ask(python: &Path) -> Option<Python> {
    const QUESTION: &str = "import sys, sysconfig; assert sys.implementation.name == 'cpython'; \
        assert not sysconfig.get_config_var('Py_GIL_DISABLED'); \
        print(sys.executable, sys.version_info[0], sys.version_info[1])";
    let answer = Command::new(python).args(["-c", QUESTION]).output().ok().filter(|answer| answer.status.success())?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let mut words = text.trim().rsplitn(3, ' ');
    let (minor, major) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Python { path: words.next()?.into(), version: (major, minor) })
}

impl Python {
    /// A virtual environment of it without pip, made at the first call. `None`, with a word on stderr, where its
    /// Python has no `venv` (Debian splits that off).
    pub fn venv(&self) -> Option<PathBuf> {
        static MAKING: Mutex<()> = Mutex::new(());
        let _one = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let name = self.path.display().to_string().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venvs").join(name);
        if ask(&folder.join("bin/python")).is_some() {
            return Some(folder);
        }
        let made = Command::new(&self.path).args(["-m", "venv", "--without-pip", "--clear"]).arg(&folder).output();
        let made = made.is_ok_and(|made| made.status.success());
        if !made {
            eprintln!("{} can't make virtual environments: not tested with one", self.path.display());
        }
        made.then_some(folder)
    }
}
