//! Everything that the configuration is read from, held fast at the start: a reload reads the same files again, from
//! the same directory and with the same environment, whatever the process has become in between.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use bstr::{BStr, ByteSlice};

/// The command line, the environment and the directory in which the server was started.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The command line, the program's name first.
    pub argv: Vec<OsString>,
    /// The environment.
    pub env: Vec<(OsString, OsString)>,
    /// What relative names of files start from.
    pub cwd: PathBuf,
    /// This is a reload, for `if-reload`.
    pub reloading: bool,
}

impl Source {
    /// What surrounds this process now.
    pub fn capture() -> io::Result<Self> {
        Ok(Self {
            argv: std::env::args_os().collect(),
            env: std::env::vars_os().collect(),
            cwd: std::env::current_dir()?,
            reloading: false,
        })
    }

    /// A variable of the environment.
    pub(crate) fn variable(&self, name: &[u8]) -> Option<&BStr> {
        let known = self.env.iter().find(|(known, _)| known.as_bytes() == name);
        known.map(|(_, value)| value.as_bytes().as_bstr())
    }
}
