//! The birth of a worker: two forks, so that the master adopts it and the zygote stays the parent of nobody.
//!
//! The process between the two tells the master who comes, then ends; so the master knows the pid before it can meet
//! it as an orphan. The worker goes on when it certainly was adopted: when the process between has been waited for.

use std::io;

use pyo3::prelude::*;
use ruwsgi_contract::message::{FromWorker, Message};
use ruwsgi_sys::channel::Channel;
use ruwsgi_sys::process::{self, Side};

use crate::{ffi, stdio};

/// Which process this is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Born {
    /// Still the zygote, which had so many threads at the fork.
    Zygote {
        /// The one that forks among them.
        threads: usize,
    },
    /// The worker, adopted.
    Worker,
}

/// Forks a worker that belongs to `channel`.
pub fn fork(py: Python<'_>, channel: &Channel) -> io::Result<Born> {
    let (adopted, adopting) = process::pipe()?;
    // What is buffered would be written by both.
    stdio::flush(py);
    ffi::before_fork(py);
    // After the hooks: a library that knows of forks has stopped its threads, to start them again in both.
    let threads = process::thread_count();
    let between = match process::fork() {
        Ok(Side::Child) => {
            let side = process::fork();
            if let Ok(Side::Child) = side {
                drop(adopting);
                // An error here is one of the descriptor, which is ours: the check of the parent's pid is to come.
                let _ = process::wait_for_eof(&adopted);
                ffi::after_fork_in_child(py);
                return Ok(Born::Worker);
            }
            // No Python in this process: it has run no hook of a child.
            if let Ok(Side::Parent(pid)) = side {
                // If it can't be told, the master sees the channel close, and the worker sees it closed.
                let _ = channel.send(&FromWorker::Born { pid }.encode(), &[]);
            }
            process::exit_now(0);
        }
        Ok(Side::Parent(between)) => Ok(between),
        Err(error) => Err(error),
    };
    ffi::after_fork_in_parent(py);
    process::wait_for(between?);
    // From here on the worker sees the end of the pipe: `adopting` is closed in every process.
    Ok(Born::Zygote { threads })
}
