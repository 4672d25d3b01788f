//! `notify-socket`: what is said there, in datagrams, comes into the log. Routers say there that they know this instance. The
//! master reads it beside everything else, a little at a time; nothing that is said there changes anything.

use std::os::fd::AsRawFd;
use std::path::PathBuf;

use mio::Poll;
use mio::unix::SourceFd;
use ruwsgi_options::Config;
use ruwsgi_sys::datagram::Batch;
use ruwsgi_sys::file;

use super::run::watch;
use crate::listeners::Address;
use crate::subscription::Ear;
use crate::{Place, why};

/// So many datagrams of so many bytes (uWSGI's) at a time.
const TOGETHER: usize = 8;
const MOST_BYTES: usize = 8_192;

/// The socket, where there is one.
#[derive(Default)]
pub(super) struct NotifySocket {
    open: Option<Open>,
    /// What a reload says, for when it is known to be good: the address and `vacuum`, and what was bound for it.
    next: Option<(Option<String>, bool, Option<Open>)>,
}

struct Open {
    said: String,
    ear: Ear,
    vacuum: bool,
    batch: Batch,
}

impl NotifySocket {
    /// Binds the one that this configuration names, or goes on with the one that is there.
    pub(super) fn renew(&mut self, poll: &Poll, config: &Config) -> Result<(), String> {
        self.prepare(config)?;
        self.adopt(poll);
        Ok(())
    }

    /// Binds it, if it is not there.
    pub(super) fn prepare(&mut self, config: &Config) -> Result<(), String> {
        let (said, vacuum) = (config.subscriptions.notices.as_ref(), config.sockets.vacuum);
        let wanted = said.filter(|said| self.open.as_ref().is_none_or(|open| open.said != **said));
        let bound = wanted.map(|said| {
            let wrong = |why: String| wrong(said, &why, config);
            path(said).map_err(wrong)?;
            let ear = Ear::bind(said, false, config.sockets.chmod_socket).map_err(wrong)?;
            tracing::info!("notify-socket at {ear}");
            Ok::<_, String>(Open { said: said.clone(), ear, vacuum, batch: Batch::new(TOGETHER, MOST_BYTES) })
        });
        self.next = Some((said.cloned(), vacuum, bound.transpose()?));
        Ok(())
    }

    /// What was prepared is heard from here on.
    pub(super) fn adopt(&mut self, poll: &Poll) {
        let Some((said, vacuum, fresh)) = self.next.take() else { return };
        if let Some(open) = self.open.as_mut().filter(|open| Some(&open.said) == said.as_ref()) {
            open.vacuum = vacuum;
            return;
        }
        if let Some(error) = fresh.as_ref().and_then(|fresh| watch(poll, &fresh.ear).err()) {
            tracing::error!("epoll: {error}");
        }
        if let Some(former) = std::mem::replace(&mut self.open, fresh) {
            let _ = poll.registry().deregister(&mut SourceFd(&former.ear.as_raw_fd()));
        }
    }

    /// What was prepared is closed again.
    pub(super) fn give_up(&mut self) {
        self.next = None;
    }

    /// Whether a master that begins here could bind it, once the one that runs has let go of it.
    pub(super) fn could_open(config: &Config) -> Result<(), String> {
        let Some(said) = &config.subscriptions.notices else { return Ok(()) };
        let may = path(said).and_then(|path| {
            let path = std::path::absolute(&path).unwrap_or(path);
            file::may_replace(&path).map_err(|error| format!("can't be bound: {}", why(&error)))
        });
        may.map_err(|why| wrong(said, &why, config))
    }

    /// Tells what was said there; `true`: there may be more.
    pub(super) fn tell(&mut self) -> bool {
        let Some(Open { ear, batch, .. }) = &mut self.open else { return false };
        // Lines are ended by nobody but the log.
        let said =
            ear.receive(batch, |bytes, _| tracing::info!("[notify-socket] {}", bytes.trim_ascii_end().escape_ascii()));
        match said {
            Ok(count) => count == TOGETHER,
            Err(error) => {
                tracing::error!("notify-socket: {error}");
                false
            }
        }
    }
}

fn path(said: &str) -> Result<PathBuf, String> {
    match Address::parse(said) {
        Ok(Address::Unix(path)) => Ok(path),
        _ => Err("is no path".to_owned()),
    }
}

fn wrong(said: &str, why: &str, config: &Config) -> String {
    format!("notify-socket: {said:?} {why}{}", Place(config, "notify-socket"))
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.vacuum {
            self.ear.vacuum();
        }
    }
}
