//! The kernel, wrapped: one mechanism a file, no policy.
//!
//! Everything above asks the kernel through this crate, so that `libc`, `nix` and `unsafe` have one home.
//! A call returns `io::Result` and owns what it opens; EINTR is retried where nothing is lost by it.

#![allow(unsafe_code, reason = "this crate is the fence: each block says why it is sound")]

pub mod birth;
pub mod channel;
pub mod clock;
pub mod confine;
pub mod datagram;
pub mod epoll;
pub mod exec;
pub mod file;
pub mod limit;
pub mod listen;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod notify;
pub mod privilege;
pub mod process;
pub mod reap;
pub mod signal;
pub mod sink;
pub mod stdio;
pub mod stream;
pub mod table;
pub mod title;
pub mod watch;

pub use nix;
