//! The upgrade in place: another executable, or another extension module, stands on the disk than the ones that run, and
//! a reload is asked for. See `docs/adr/0009-an-upgrade-is-tried-then-executed.md`.
//!
//! The running master has the new executable try itself first ([`try_out`], in a child): read the configuration, find its
//! module, bind what is new, load the application. Only then does the master become the new executable, by exec(2): the
//! pid stays, and so do its children, the old workers, which serve on. What it holds goes over as a [`State`], and the
//! new one goes on from there (`start`).

mod disk;
mod state;
mod trial;
mod words;

use std::ffi::OsString;
use std::os::fd::RawFd;

use ruwsgi_options::Source;
use ruwsgi_sys::exec;

pub(crate) use self::disk::{Executable, Stamp};
pub(crate) use self::state::{Court, Daemon, Dealt, Ear, Former, Kept, Pipe, Router, Running, Socket, State, Waiting};
pub use self::trial::try_out;
pub(crate) use self::trial::{REPLY_BYTES, WORKS};

/// Names the descriptor of a [`State`] for the executable that goes on with it, or tries to.
const VARIABLE: &str = "RUWSGI_UPGRADE";
/// The first argument of a trial. Whatever has no such word ends, and serves nobody.
pub(crate) const TRIAL: &str = "upgrade-trial";

/// What another executable has left to this one.
pub struct Inheritance {
    pub(crate) state: State,
    /// Nothing is to be done with it but to try.
    pub is_trial: bool,
}

impl Inheritance {
    /// Takes over what is left to this process, if anything is. `source` becomes that of the former executable.
    pub fn take(source: &mut Source) -> Result<Option<Self>, String> {
        let Some(at) = source.env.iter().position(|(name, _)| name == VARIABLE) else { return Ok(None) };
        let (_, said) = source.env.remove(at);
        let number = said.to_str().and_then(|text| text.parse::<RawFd>().ok());
        let number = number.ok_or_else(|| format!("{VARIABLE}: {} is no descriptor", said.to_string_lossy()))?;
        let bytes = exec::inherited(number).and_then(ruwsgi_sys::memory::read_sealed_file);
        let bytes = bytes.map_err(|error| format!("{VARIABLE}: {}", crate::why(&error)))?;
        let state = State::decode(&bytes)?;
        let is_trial = source.argv.get(1).is_some_and(|word| word == TRIAL);
        source.argv.clone_from(&state.argv);
        source.cwd.clone_from(&state.cwd);
        source.reloading = true;
        Ok(Some(Self { state, is_trial }))
    }
}

/// The environment in which an executable finds what is left to it.
pub(crate) fn environment(env: &[(OsString, OsString)], number: RawFd) -> Vec<(OsString, OsString)> {
    let mut env = env.to_vec();
    env.push((VARIABLE.into(), number.to_string().into()));
    env
}
