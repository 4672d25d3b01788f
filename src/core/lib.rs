//! The life of processes: the master, its children, and what must be there before they can be.
//!
//! The binary calls [`run`]. Nothing here knows a request of an application, and nothing here runs Python.

#![forbid(unsafe_code)]

mod audience;
mod cron;
mod daemons;
mod emperor;
pub mod gateway;
pub mod inspect;
mod listeners;
mod log;
mod logfile;
mod master;
mod module;
mod pidfile;
mod python;
mod start;
pub mod subscription;
mod unknown;
mod upgrade;
mod vassal;

pub use emperor::ask as ask_emperor;
pub use pidfile::{pause, reload, stop};
use ruwsgi_stage::{Place, why};
pub use start::{resume, run};
pub use upgrade::{Inheritance, try_out};

/// The exit codes of the binary.
pub mod exit {
    /// Stopped as asked.
    pub const DONE: u8 = 0;
    /// A bad option, a bad file, a port in use: what uWSGI exits with too.
    pub const FAILED: u8 = 1;
}
