//! What the master's side (the binary) and the worker's side (the extension module) say to each other: messages,
//! the scoreboard, the way of a connection from one worker to another, and the name of the build that both must share.
//! Nothing else crosses.

#![forbid(unsafe_code)]

pub mod handover;
pub mod message;
pub mod scoreboard;

/// The version of the product.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Names this build; a module of another build is not loaded.
pub const BUILD: &str = env!("RUWSGI_BUILD");

/// Names the shape of what the two sides share. Two builds of one shape understand each other's messages, and each
/// other's workers can be watched.
pub const SHAPE: &str = concat!("ruwsgi-shape:", env!("RUWSGI_SHAPE"), ";");

/// What the module's file holds, so that the master can tell its build without loading it.
pub const MARK: &str = concat!("ruwsgi-module-build:", env!("RUWSGI_BUILD"), ";");

/// The start of [`MARK`], whatever the build.
pub const MARK_START: &str = "ruwsgi-module-build:";
