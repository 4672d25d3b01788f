//! `py-tracebacker = /path`: a unix socket for each worker, the path with its number behind it. Whoever connects gets the
//! stacks of all threads, in uWSGI's lines, and the end. A thread of its own answers, also while the GIL is held.

use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use ruwsgi_options::Config;
use ruwsgi_sys::stream::{self, Until};
use ruwsgi_sys::{listen, process, signal};

use super::{Stacks, text};

/// What is told there is the operator's, unless `chmod-socket` says whose else.
const MODE: u32 = 0o600;
const BACKLOG: u32 = 16;
/// How long a visitor may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The socket; dropped, its file goes, if it is still this one.
pub struct Tracebacker {
    file: Option<(PathBuf, (u64, u64))>,
}

impl Tracebacker {
    /// Listens, where the configuration wants it. What does not work is told: the worker serves all the same.
    pub fn start(config: &Config, slot: u32, stacks: Stacks) -> Option<Self> {
        let address = format!("{}{slot}", config.python.tracebacker.as_deref()?);
        let bound = bind(&address, config.sockets.chmod_socket.unwrap_or(MODE)).and_then(|(listener, file)| {
            listen::listen(listener.as_fd(), BACKLOG)?;
            let life = move || serve(&listener, &stacks);
            thread::Builder::new().name("tracebacker".to_owned()).spawn(life)?;
            Ok(file)
        });
        match bound {
            Ok(file) => {
                tracing::info!("py-tracebacker of worker {slot} at {address}");
                Some(Self { file })
            }
            Err(error) => {
                let place = config.origin("py-tracebacker").map(|origin| format!(" ({origin})")).unwrap_or_default();
                tracing::error!("py-tracebacker: {address} can't be bound: {error}{place}");
                None
            }
        }
    }
}

impl Drop for Tracebacker {
    fn drop(&mut self) {
        if let Some((path, identity)) = self.file.take()
            && listen::file_identity(&path) == Some(identity)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

type Bound = (OwnedFd, Option<(PathBuf, (u64, u64))>);

/// A worker that is replaced still answers when its successor comes: the new socket takes the place of the old one.
fn bind(address: &str, mode: u32) -> io::Result<Bound> {
    if let Some(name) = address.strip_prefix('@') {
        return Ok((listen::abstract_unix(name.as_bytes())?, None));
    }
    let path = std::path::absolute(Path::new(address))?;
    if !matches!(listen::look(&path)?, listen::Place::Free | listen::Place::Stale | listen::Place::Live) {
        return Err(io::Error::other("it is there already, and is no socket"));
    }
    let mut fresh = path.clone().into_os_string();
    fresh.push(format!(".{}", process::id()));
    let fresh = PathBuf::from(fresh);
    let listener = listen::unix(&fresh, mode)?;
    if let Err(error) = std::fs::rename(&fresh, &path) {
        let _ = std::fs::remove_file(&fresh);
        return Err(error);
    }
    let file = listen::file_identity(&path).map(|identity| (path, identity));
    Ok((listener, file))
}

fn serve(listener: &OwnedFd, stacks: &Stacks) {
    let _ = signal::block_in_this_thread();
    loop {
        let waited = stream::wait(listener.as_fd(), Until::Readable, Duration::from_secs(3600));
        match waited.and_then(|_| stream::accept(listener.as_fd())) {
            Ok(Some((visitor, _))) => answer(visitor.into(), stacks),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("py-tracebacker: {error}");
                thread::park_timeout(Duration::from_secs(1));
            }
        }
    }
}

fn answer(mut visitor: UnixStream, stacks: &Stacks) {
    let told = visitor
        .set_nonblocking(false)
        .and_then(|()| visitor.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| visitor.write_all(text::of_uwsgi(&stacks.find()).as_bytes()));
    if let Err(error) = told {
        tracing::debug!("py-tracebacker: {error}");
    }
}
