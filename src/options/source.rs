//! Everything that the configuration is read from, held fast at the start: a reload reads the same files again, from
//! the same directory and with the same environment, whatever the process has become in between.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::PathBuf;

/// The command line, the environment and the directory in which the server was started.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The command line, the program's name first.
    pub argv: Vec<OsString>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// What relative names of files start from.
    pub cwd: PathBuf,
}

impl Source {
    /// What surrounds this process now.
    pub fn capture() -> io::Result<Self> {
        Ok(Self {
            argv: std::env::args_os().collect(),
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir()?,
        })
    }

    /// A variable of the environment.
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_os_str())
    }
}
