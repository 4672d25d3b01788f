//! One connection: what it holds between two events.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use ruwsgi_sys::stream::{self, Peer};
use ruwsgi_wire::{Decoder, Exchange, Vars};

use crate::file_part::{FilePart, Turn};
use crate::input::Input;
use crate::spool::Spool;

/// A connection of a client.
pub(crate) struct Connection {
    pub fd: OwnedFd,
    pub peer: Peer,
    /// The address and the port of the peer in words, once a request has asked for them.
    pub remote: Option<Remote>,
    /// Which listener it came through.
    pub door: usize,
    pub exchange: Box<dyn Exchange>,
    /// Bytes that were read and belong to no request yet.
    pub input: Vec<u8>,
    /// Response bytes that a slow reader has not taken; the first `output_at` of them are sent.
    pub output: Vec<u8>,
    pub output_at: usize,
    /// The end of the response, if it lies in a file: it goes out behind the output.
    pub file: Option<Box<FilePart>>,
    pub state: State,
    /// The client has closed its side. Remembered, because the edge comes only once.
    pub eof: bool,
    /// Part of a request head is here.
    pub begun: bool,
    /// epoll knows it.
    pub watched: bool,
    /// When something must have happened, by `clock::coarse_ms`.
    pub deadline_ms: u64,
    /// When its deadline is looked at next: not before that, unless it is put into an earlier slot (`wheel.rs`).
    pub looked_at_ms: u64,
    /// Requests served on it.
    pub requests: u32,
}

/// An address and a port, as `REMOTE_ADDR` and `REMOTE_PORT` have them.
pub(crate) struct Remote {
    text: Box<[u8]>,
    /// So many bytes are the address; the rest is the port.
    split: usize,
}

impl Remote {
    pub(crate) fn new(address: SocketAddr) -> Self {
        let ip = address.ip().to_string();
        Self { split: ip.len(), text: (ip + itoa::Buffer::new().format(address.port())).into_bytes().into() }
    }

    pub(crate) fn address(&self) -> &[u8] {
        &self.text[..self.split]
    }

    pub(crate) fn port(&self) -> &[u8] {
        &self.text[self.split..]
    }
}

/// What a connection waits for.
pub(crate) enum State {
    /// A request head.
    Head,
    /// The body of the request whose head is here.
    Body(Box<Waiting>),
    /// A core: its request is whole.
    Ready(Box<Ready>),
    /// The client, to take the rest of a response.
    Flush(Then),
    /// The client, to close: everything was said, and what it still sends is read and dropped, since a close with
    /// unread bytes would be a reset that can destroy the last response on its way.
    Linger,
}

/// What comes after a response is flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// The next request.
    Next,
    /// A FIN, then reading on until the client closes.
    Linger,
    /// The end.
    Close,
}

/// A request whose body is still coming.
pub(crate) struct Waiting {
    pub vars: Box<Vars>,
    /// The bytes of the head, at the start of the input.
    pub head: usize,
    pub body: Coming,
}

/// A whole request that waits for a core.
pub(crate) struct Ready {
    pub vars: Box<Vars>,
    pub input: Input,
    /// Since when, by `clock::coarse_ms`; 0: since just now.
    pub since_ms: u64,
    /// It has its place in the queue.
    pub queued: bool,
}

/// A body on its way.
pub(crate) enum Coming {
    /// So many bytes in all, behind the head in the input.
    Length(usize),
    /// What was decoded so far, and the decoder for what comes behind the head in the input.
    Framed(Decoder, Vec<u8>),
    /// It is too large for the memory, and goes to a file.
    Spool(Spool),
}

/// How a flush went.
pub(crate) enum Flushed {
    All,
    /// The client takes no more now.
    Some,
    /// The client takes more, but others come first.
    More,
    Gone,
}

impl Connection {
    pub(crate) fn new(fd: OwnedFd, peer: Peer, door: usize, exchange: Box<dyn Exchange>) -> Self {
        Self {
            fd,
            peer,
            remote: None,
            door,
            exchange,
            input: Vec::new(),
            output: Vec::new(),
            output_at: 0,
            file: None,
            state: State::Head,
            eof: false,
            begun: false,
            watched: false,
            deadline_ms: 0,
            looked_at_ms: u64::MAX,
            requests: 0,
        }
    }

    /// It is between two requests, and nothing of the next one is here.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::Head) && !self.begun && self.input.is_empty()
    }

    /// Something has happened to it that nobody has seen to: a core may have found it in the queue, so it needs its place
    /// anew.
    pub(crate) fn lose_place(&mut self) {
        if let State::Ready(ready) = &mut self.state {
            ready.queued = false;
        }
    }

    /// How much of a response the client has not taken, in bytes.
    pub(crate) fn unsent(&self) -> u64 {
        (self.output.len() - self.output_at) as u64 + self.file.as_ref().map_or(0, |file| file.left)
    }

    /// Sends what waits, as far as the client takes it.
    pub(crate) fn flush(&mut self) -> Flushed {
        loop {
            while self.output_at < self.output.len() {
                match stream::write(self.fd.as_fd(), &self.output[self.output_at..]) {
                    Ok(sent) => self.output_at += sent,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Flushed::Some,
                    Err(_) => return Flushed::Gone,
                }
            }
            self.output.clear();
            self.output_at = 0;
            let Some(mut file) = self.file.take() else { return Flushed::All };
            match file.send(self.fd.as_fd()) {
                Turn::Done => self.output.append(&mut file.behind),
                Turn::Gone => return Flushed::Gone,
                Turn::Broken => {
                    stream::reset_on_close(self.fd.as_fd());
                    return Flushed::Gone;
                }
                turn @ (Turn::Full | Turn::More) => {
                    self.file = Some(file);
                    return if turn == Turn::Full { Flushed::Some } else { Flushed::More };
                }
            }
        }
    }
}
