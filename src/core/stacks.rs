//! `ruwsgi stacks`: asks the master of a running instance where the threads of its workers are.
//!
//! No instance listens for this: who asks opens a socket under a name that nobody can guess, and sends the name along
//! with a signal. So whoever may signal the master may ask, and the kernel says to each side who the other one is.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ruwsgi_sys::stream::{self, Until};
use ruwsgi_sys::{listen, signal};

use crate::why;

/// How long the master may take; it gives its workers less.
const PATIENCE: Duration = Duration::from_secs(8);

/// The name of the socket of whoever asks with this word.
pub(crate) fn name(word: u32) -> Vec<u8> {
    format!("ruwsgi-stacks-{word:08x}").into_bytes()
}

/// The stacks of all workers of the instance with this master, as text.
pub fn stacks(pid: i32) -> Result<String, String> {
    // The signal would end a process that does not know it.
    if !signal::is_waited_for(pid, signal::ASK_STACKS) {
        return Err(format!("process {pid} is no master of ruwsgi, or there is none"));
    }
    let failed = |error: &io::Error| format!("process {pid}: {}", why(error));
    let word = word().map_err(|error| failed(&error))?;
    let listener = listen::abstract_unix(&name(word)).map_err(|error| failed(&error))?;
    listen::listen(listener.as_fd(), 4).map_err(|error| failed(&error))?;
    signal::ask(pid, signal::ASK_STACKS, word).map_err(|error| failed(&error))?;
    let deadline = Instant::now() + PATIENCE;
    let left = || deadline.saturating_duration_since(Instant::now());
    let silent = || {
        format!(
            "process {pid} does not answer: it is stopped, it has another user, or it sees another network (ask inside of \
             its container)"
        )
    };
    let answer = loop {
        if !stream::wait(listener.as_fd(), Until::Readable, left()).map_err(|error| failed(&error))? {
            return Err(silent());
        }
        match stream::accept(listener.as_fd()) {
            // Somebody else may have seen the name: the kernel knows who it is.
            Ok(Some((answer, _))) if stream::credentials(answer.as_fd()).is_ok_and(|(peer, _)| peer == pid) => {
                break answer;
            }
            Ok(_) => {}
            Err(error) => return Err(failed(&error)),
        }
    };
    let mut bytes = Vec::new();
    loop {
        if !stream::wait(answer.as_fd(), Until::Readable, left()).map_err(|error| failed(&error))? {
            return Err(silent());
        }
        match stream::read(answer.as_fd(), &mut bytes, 64 * 1024) {
            Ok(0) => return Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(&error)),
        }
    }
}

fn word() -> io::Result<u32> {
    let mut bytes = [0; 4];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u32::from_ne_bytes(bytes))
}
