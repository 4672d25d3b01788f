//! What was said (a [`Directive`] with its origin: file and line, command line, environment) and what it means (a
//! [`Config`]).
//!
//! The binary calls [`load`] at the start and at each reload; the extension module gets the directives through
//! [`encode`] and [`decode`] and reads them again with [`Config::interpret`], so both sides agree. Nothing here acts on
//! what it read: no socket, no process, no change of the environment or the current directory.
//!
//! From what was said to what it means, one file per step:
//!
//! 1. `gather`: environment, command line (`argv`), files (`ini`, after `magic`) become one list of directives.
//! 2. `expand`: `$(ENV)`, `@(file)` and `%(name)` in values.
//! 3. `judge`: names that are unknown, not built yet or never will be (`absent`).
//! 4. [`Config::interpret`]: values, row by row of the `table`.

#![forbid(unsafe_code)]

#[cfg(feature = "argv")]
mod absent;
#[cfg(feature = "argv")]
mod argv;
#[cfg(feature = "argv")]
mod attached;
#[cfg(feature = "argv")]
mod calculate;
#[cfg(feature = "argv")]
mod check;
mod config;
#[cfg(feature = "argv")]
mod declare;
#[cfg(feature = "argv")]
mod differences;
mod directive;
#[cfg(feature = "argv")]
mod expand;
#[cfg(feature = "argv")]
mod explain;
#[cfg(feature = "argv")]
mod forbid;
#[cfg(feature = "argv")]
mod format;
#[cfg(feature = "argv")]
mod gather;
#[cfg(feature = "argv")]
mod guide;
#[cfg(feature = "argv")]
mod help;
#[cfg(feature = "argv")]
mod judge;
mod kind;
mod kind_daemon;
mod kind_emperor;
mod kind_hook;
mod kind_language;
mod kind_log;
mod kind_logger;
mod kind_path;
mod kind_privilege;
mod kind_process;
mod kind_router;
mod kind_socket;
mod kind_static;
mod kind_subscription;
mod kind_watch;
#[cfg(feature = "argv")]
mod known;
#[cfg(feature = "argv")]
mod load;
#[cfg(feature = "argv")]
mod logic;
#[cfg(feature = "argv")]
mod magic;
#[cfg(feature = "argv")]
mod meaning;
#[cfg(feature = "argv")]
mod migrate;
mod plugin;
#[cfg(feature = "argv")]
mod pushed;
#[cfg(test)]
mod random;
#[cfg(feature = "argv")]
mod record;
#[cfg(feature = "argv")]
mod reference;
mod report;
#[cfg(feature = "argv")]
mod resource;
mod routers;
#[cfg(feature = "argv")]
mod shell;
#[cfg(feature = "argv")]
mod source;
#[cfg(feature = "argv")]
mod spec;
#[cfg(feature = "argv")]
mod status;
mod table;
#[cfg(feature = "argv")]
mod words;

#[cfg(feature = "argv")]
pub use check::{Remark, TRAPS, Trap, remarks};
pub use directive::{Directive, Origin, decode, encode};
#[cfg(feature = "argv")]
pub use explain::{Explained, Standing, explain};
#[cfg(feature = "argv")]
pub use guide::migrating;
pub use kind_daemon::{CronSaid, DaemonSaid};
pub use kind_emperor::{Province, ProvinceKind};
pub use kind_hook::{Action, Awaited, Hook, Meaning};
pub use kind_log::is_address;
pub use kind_logger::{EncoderSaid, LOGGERS, LoggerSaid, RouteSaid};
pub use kind_privilege::{Bounds, CAPABILITIES};
pub use kind_static::{Encoding, ServedBy};
pub use kind_subscription::{Announced, BALANCERS, DigestAndFile, Pool, Server, Subscription};
pub use kind_watch::Watched;
#[cfg(feature = "argv")]
pub use known::works;
#[cfg(feature = "argv")]
pub use load::{Loaded, Request, Survey, load, survey};
#[cfg(feature = "argv")]
pub use migrate::{Migrated, migrate};
#[cfg(feature = "argv")]
pub use record::Record;
#[cfg(feature = "argv")]
pub use reference::options;
pub use report::{Error, Problem, Severity};
#[cfg(feature = "argv")]
pub use shell::manual;
#[cfg(feature = "argv")]
pub use source::Source;
#[cfg(feature = "argv")]
pub use status::summary;
pub use table::{
    Cheaper, Collected, Config, Control, Emperor, Expiry, FastRouter, Hooks, HttpRouter, Listener, Logging, Mapped,
    Mount, Process, Python, RawRouter, Sockets, StaticFiles, StaticMap, Stats, Subscriptions, Workers,
};
