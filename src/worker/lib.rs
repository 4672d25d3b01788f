//! The life of a request: connections, the engine that pumps them, one turn from head to log line, and the seam to the
//! language that answers.
//!
//! A worker is a process. It has cores (threads that run the application), which share one epoll instance and one
//! table of connections, and a standby thread that sees to both while every core is busy. It never forks and never
//! supervises.

#![forbid(unsafe_code)]

pub mod app;
mod attend;
#[cfg(test)]
mod chance;
mod collect;
mod connection;
mod driver;
mod engine;
mod file_part;
mod handover;
mod harakiri;
mod headers;
pub mod input;
mod log;
mod now;
mod offload;
mod orders;
mod pace;
mod queue;
mod receive;
pub mod recent;
pub mod response;
mod ring;
mod spool;
mod standby;
mod static_files;
mod turn;
mod watch;
mod wheel;

pub use app::{App, Language, Request};
pub use engine::{Listener, Setup, run};
pub use input::Input;
pub use response::{Gone, Response};
