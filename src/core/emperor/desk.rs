//! Where the emperor answers: its statistics, and the orders of `ruwsgi vassals`. Nothing here blocks: a visitor that
//! sends or takes nothing waits for a while and costs nobody anything.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Poll, Token};
use ruwsgi_options::Config;
use ruwsgi_sys::{listen, process, stream};

use super::control::{self, Errand};
use crate::listeners::{Address, Bound, bind_plain, door};
use crate::{Place as Said, why};

/// How long a visitor may take, in milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// So many at a time; others wait in the queue.
const VISITORS: usize = 64;
/// The longest order.
const ORDER_BYTES: usize = 8 * 1024;
/// Who may connect to the control socket: the kernel says who it is that does, and who is nobody there is sent away.
const OPEN_MODE: u32 = 0o666;
const CLOSED_MODE: u32 = 0o600;
const BACKLOG: u32 = 64;

/// What a visitor wants.
pub(super) enum Question {
    Stats,
    Errand {
        errand: Errand,
        /// Who asks.
        user: u32,
    },
}

/// The doors and who stands there.
#[derive(Default)]
pub(super) struct Desk {
    stats: Option<Rc<Bound>>,
    control: Option<Control>,
    visitors: Vec<Visitor>,
}

struct Control {
    fd: OwnedFd,
    said: PathBuf,
    open: bool,
    file: Option<(PathBuf, (u64, u64))>,
}

struct Visitor {
    stream: OwnedFd,
    /// Who gives orders; `None`: who wants statistics.
    user: Option<u32>,
    heard: Vec<u8>,
    answer: Option<(Vec<u8>, usize)>,
    until_ms: u64,
}

impl Drop for Control {
    fn drop(&mut self) {
        if let Some((path, identity)) = self.file.take()
            && listen::file_identity(&path) == Some(identity)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl Desk {
    /// Opens the doors that a configuration asks for.
    pub(super) fn renew(&mut self, poll: &Poll, token: Token, config: &Config) -> Result<(), String> {
        let options = &config.emperor;
        let former: Vec<Rc<Bound>> = self.stats.take().into_iter().collect();
        if let Some(said) = &options.stats {
            let bound = door("emperor-stats", said, config, &former)?;
            if !former.iter().any(|one| Rc::ptr_eq(one, &bound)) {
                watch(poll, token, &bound.as_fd()).map_err(|error| format!("epoll: {error}"))?;
            }
            self.stats = Some(bound);
        }
        let same =
            |control: &Control| options.control.as_ref() == Some(&control.said) && control.open == options.tyrant;
        if let Some(said) = options.control.as_ref().filter(|_| !self.control.as_ref().is_some_and(same)) {
            self.control = None;
            let control = open(said, options.tyrant).map_err(|reason| {
                format!("emperor-control: {} {reason}{}", said.display(), Said(config, "emperor-control"))
            })?;
            watch(poll, token, &control.fd).map_err(|error| format!("epoll: {error}"))?;
            self.control = Some(control);
        } else if options.control.is_none() {
            self.control = None;
        }
        Ok(())
    }

    /// When somebody's patience is over.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        self.visitors.iter().map(|visitor| visitor.until_ms).min()
    }

    /// Lets visitors in and hears them; those who have asked, with their questions.
    pub(super) fn look(&mut self, poll: &Poll, token: Token, now_ms: u64) -> Vec<(usize, Question)> {
        self.visitors.retain(|visitor| visitor.until_ms > now_ms);
        let doors = [(self.stats.as_ref().map(|bound| bound.as_fd()), false)];
        let control = (self.control.as_ref().map(|control| control.fd.as_fd()), true);
        for (door, orders) in doors.into_iter().chain([control]) {
            let Some(door) = door else { continue };
            while let Ok(Some((stream, _))) = stream::accept(door) {
                let user = orders.then(|| stream::peer_user(stream.as_fd())).transpose();
                let (Ok(user), true) = (user, self.visitors.len() < VISITORS) else { continue };
                if watch(poll, token, &stream).is_ok() {
                    let until_ms = now_ms + PATIENCE_MS;
                    self.visitors.push(Visitor { stream, user, heard: Vec::new(), answer: None, until_ms });
                }
            }
        }
        let asked = |(index, visitor): (usize, &mut Visitor)| Some((index, visitor.listen()?));
        self.visitors.iter_mut().enumerate().filter_map(asked).collect()
    }

    /// What a visitor gets.
    pub(super) fn answer(&mut self, index: usize, answer: Vec<u8>) {
        self.visitors[index].answer = Some((answer, 0));
    }

    /// Sends what was answered, as far as that goes without waiting.
    pub(super) fn send(&mut self) {
        self.visitors.retain_mut(Visitor::send);
    }
}

impl Visitor {
    /// What it wants, as soon as that is known.
    fn listen(&mut self) -> Option<Question> {
        if self.answer.is_some() {
            return None;
        }
        let Some(user) = self.user else { return Some(Question::Stats) };
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == 0) {
                match Errand::read(&self.heard[..end]) {
                    Ok(errand) => return Some(Question::Errand { errand, user }),
                    Err(reason) => self.answer = Some((control::refusal(&reason), 0)),
                }
                return None;
            }
            let room = ORDER_BYTES - self.heard.len();
            match stream::read(self.stream.as_fd(), &mut self.heard, room) {
                Ok(1..) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                // Gone, or too long.
                _ => {
                    self.until_ms = 0;
                    return None;
                }
            }
        }
    }

    /// `false`: this visit is over.
    fn send(&mut self) -> bool {
        let Some((bytes, sent)) = &mut self.answer else { return self.until_ms > 0 };
        while *sent < bytes.len() {
            match stream::write(self.stream.as_fd(), &bytes[*sent..]) {
                Ok(more) => *sent += more,
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        // Whoever sends something here is not heard, and would get a reset instead of the end.
        let _ = stream::read(self.stream.as_fd(), &mut Vec::new(), ORDER_BYTES);
        false
    }
}

/// The control socket.
fn open(said: &Path, tyrant: bool) -> Result<Control, String> {
    let mode = if tyrant { OPEN_MODE } else { CLOSED_MODE };
    let (fd, _, file) = bind_plain(&Address::Unix(said.to_owned()), "", mode)?;
    listen::listen(fd.as_fd(), BACKLOG).map_err(|error| why(&error))?;
    tracing::info!("emperor-control at {} (for user {})", said.display(), process::owner().0);
    Ok(Control { fd, said: said.to_owned(), open: tyrant, file })
}

fn watch(poll: &Poll, token: Token, source: &impl AsRawFd) -> io::Result<()> {
    let interest = Interest::READABLE | Interest::WRITABLE;
    poll.registry().register(&mut SourceFd(&source.as_raw_fd()), token, interest)
}
