//! Where a router hears announcements: a datagram socket, bound by the master before privileges drop, read by router
//! processes.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use ruwsgi_sys::datagram::Batch;
use ruwsgi_sys::listen::Place as Seen;
use ruwsgi_sys::{datagram, listen};

use super::hear::{Ack, Sender};
use super::trust::Credentials;
use crate::listeners::Address;
use crate::why;

/// The room for announcements that wait: those of some thousand nodes.
const ROOM_BYTES: usize = 4 << 20;
/// The mode of a unix socket: who may announce is in its group, unless `chmod-socket` says otherwise.
const MODE: u32 = 0o660;

/// The socket.
#[derive(Debug)]
pub struct Ear {
    fd: OwnedFd,
    /// As it was written, or where the kernel has put it.
    shown: String,
    file: Option<(PathBuf, (u64, u64))>,
}

impl Ear {
    /// Binds it. An error goes on where the text ended: `"x" ERROR`. `identified`: the kernel says who sends
    /// (`subscriptions-use-credentials`). `mode`: of a file.
    pub fn bind(said: &str, identified: bool, mode: Option<u32>) -> Result<Self, String> {
        let failed = |error: io::Error| format!("can't be bound: {}", why(&error));
        let (fd, shown, file) = match Address::parse(said)? {
            Address::Inet { host, port } => {
                let fd = datagram::udp(Address::Inet { host, port }.resolve()?).map_err(failed)?;
                let at = listen::local_address(fd.as_fd()).map_err(failed)?;
                (fd, at.to_string(), None)
            }
            Address::Abstract(name) => (datagram::abstract_unix(&name).map_err(failed)?, said.to_owned(), None),
            Address::Unix(path) => {
                let path = std::path::absolute(path).map_err(failed)?;
                match datagram::look(&path).map_err(failed)? {
                    Seen::Free => {}
                    Seen::Stale => std::fs::remove_file(&path).map_err(failed)?,
                    Seen::Live => return Err("is in use: somebody hears there".to_owned()),
                    Seen::Taken => return Err("is there already, and is no socket".to_owned()),
                }
                let fd = datagram::unix(&path, mode.unwrap_or(MODE)).map_err(failed)?;
                let identity = listen::file_identity(&path).ok_or("was removed while it was bound")?;
                (fd, said.to_owned(), Some((path, identity)))
            }
            Address::Given(_) => return Err("is a descriptor, which can't be taken over here".to_owned()),
        };
        if identified {
            // UDP has nobody to tell of.
            let _ = datagram::identify(fd.as_fd());
        }
        datagram::enlarge(fd.as_fd(), ROOM_BYTES);
        Ok(Self { fd, shown, file })
    }

    /// One that is bound already.
    pub(crate) fn of(fd: OwnedFd, shown: String, file: Option<(PathBuf, (u64, u64))>) -> Self {
        Self { fd, shown, file }
    }

    /// The file that it made.
    pub(crate) fn file(&self) -> Option<&(PathBuf, (u64, u64))> {
        self.file.as_ref()
    }

    /// Takes the announcements that are there, as many as `batch` has room for; how many there were.
    pub fn receive(&self, batch: &mut Batch, mut take: impl FnMut(&[u8], Sender)) -> io::Result<usize> {
        batch.receive(self.fd.as_fd(), |bytes, came| {
            let credentials = came.credentials.map(|(pid, uid, gid)| Credentials { pid, uid, gid });
            take(bytes, Sender { ip: came.ip, credentials });
        })
    }

    /// Removes the file that it made, if it is still its own.
    pub fn vacuum(&mut self) {
        if let Some((path, identity)) = self.file.take()
            && listen::file_identity(&path) == Some(identity)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl fmt::Display for Ear {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.shown)
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Ear {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Ack {
    /// Sends it, and does not wait for anybody to read it. Who is not there is not told.
    pub fn send(&self) {
        let path = std::path::Path::new(std::ffi::OsStr::from_bytes(&self.path));
        let sent = UnixDatagram::unbound().and_then(|socket| {
            socket.set_nonblocking(true)?;
            socket.send_to(&self.text, path)
        });
        if let Err(error) = sent {
            tracing::debug!("{}: {}", path.display(), why(&error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ear_hears_and_leaves_nothing_behind() {
        let path = std::env::temp_dir().join(format!("ruwsgi-ear-{}", std::process::id()));
        let text = path.to_str().unwrap();
        let ear = Ear::bind(text, true, None).unwrap();
        assert!(Ear::bind(text, true, None).unwrap_err().contains("is in use"));
        Ack { path: text.into(), text: b"hello".to_vec() }.send();
        let (mut batch, mut heard) = (Batch::new(4, 100), Vec::new());
        let mut hear = || ear.receive(&mut batch, |bytes, sender| heard.push((bytes.to_vec(), sender))).unwrap();
        assert_eq!((hear(), hear()), (1, 0));
        assert_eq!((&heard[0].0[..], heard[0].1.credentials.is_some()), (&b"hello"[..], true));
        drop(ear);
        let mut ear = Ear::bind(text, true, None).unwrap();
        ear.vacuum();
        assert!(!path.exists());
        std::fs::write(&path, "a file").unwrap();
        assert!(Ear::bind(text, true, None).is_err());
        assert!(path.exists());
        std::fs::remove_file(&path).unwrap();
        assert!(Ear::bind("127.0.0.1:0", false, None).unwrap().to_string().starts_with("127.0.0.1:"));
        assert!(Ear::bind("fd://3", false, None).is_err());
    }
}
