//! `notify-socket`: what is said there, in datagrams, comes into the log. Routers say there that they know this instance. The
//! master reads it beside everything else, a little at a time; nothing that is said there changes anything.

use std::os::fd::AsRawFd;

use mio::Poll;
use mio::unix::SourceFd;
use ruwsgi_options::Config;
use ruwsgi_sys::datagram::Batch;

use super::run::watch;
use crate::Place;
use crate::listeners::Address;
use crate::subscription::Ear;

/// So many datagrams of so many bytes (uWSGI's) at a time.
const TOGETHER: usize = 8;
const MOST_BYTES: usize = 8_192;

/// The socket, where there is one.
#[derive(Default)]
pub(super) struct NotifySocket {
    open: Option<Open>,
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
        let (said, vacuum) = (config.subscriptions.notices.as_ref(), config.sockets.vacuum);
        if let Some(open) = self.open.as_mut().filter(|open| Some(&open.said) == said) {
            open.vacuum = vacuum;
            return Ok(());
        }
        let bound = said.map(|said| {
            let wrong = |why: String| format!("notify-socket: {said:?} {why}{}", Place(config, "notify-socket"));
            if !matches!(Address::parse(said), Ok(Address::Unix(_))) {
                return Err(wrong("is no path".to_owned()));
            }
            let ear = Ear::bind(said, false, config.sockets.chmod_socket).map_err(wrong)?;
            watch(poll, &ear).map_err(|error| wrong(format!("can't be watched: {error}")))?;
            tracing::info!("notify-socket at {ear}");
            Ok(Open { said: said.clone(), ear, vacuum, batch: Batch::new(TOGETHER, MOST_BYTES) })
        });
        let former = std::mem::replace(&mut self.open, bound.transpose()?);
        if let Some(former) = former {
            let _ = poll.registry().deregister(&mut SourceFd(&former.ear.as_raw_fd()));
        }
        Ok(())
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

impl Drop for Open {
    fn drop(&mut self) {
        if self.vacuum {
            self.ear.vacuum();
        }
    }
}
