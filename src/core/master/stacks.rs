//! Collects from the workers where their threads are, for whoever asked: a visitor of the desk, or the log. A worker
//! writes into a pipe of its own; one that says nothing in time is told to say nothing, with what the kernel knows of it.
//!
//! What a worker writes is text and nothing else: it is bounded, and nothing in it can move a terminal.

use std::fmt::Write;
use std::io::{self, Read};
use std::os::fd::AsFd;

use mio::unix::pipe::{self, Receiver};
use mio::{Interest, Poll, Token};
use ruwsgi_contract::message::{Message, ToWorker};
use ruwsgi_sys::{clock, process, stream};

use super::harakiri::of_kernel;
use super::run::Master;
use crate::stacks::name;

/// How long the workers have, in milliseconds: the GIL may take one second of it, and signals another one.
const PATIENCE_MS: u64 = 3_000;
/// So much of a worker is taken.
const MOST_BYTES: usize = 1 << 20;

/// A round of asking that is under way.
pub(super) struct Inquiry {
    parts: Vec<Part>,
    until_ms: u64,
    /// The log is to have it, too.
    logged: bool,
}

/// What comes of one worker.
struct Part {
    slot: u32,
    pid: i32,
    /// Requests that it has, as it says.
    in_flight: usize,
    /// `None`: it has said everything, or can't be asked.
    pipe: Option<Receiver>,
    text: Vec<u8>,
    answered: bool,
}

impl Part {
    /// Reads what is there; `true`: that is all.
    fn read(&mut self) -> bool {
        let Some(pipe) = &mut self.pipe else { return true };
        let mut room = [0; 16 * 1024];
        loop {
            match pipe.read(&mut room) {
                Ok(0) => {
                    self.answered = true;
                    break;
                }
                Ok(length) => {
                    let left = MOST_BYTES - self.text.len();
                    self.text.extend(&room[..length.min(left)]);
                    if length > left {
                        self.text.extend(b"\n  (more is left out)\n");
                        self.answered = true;
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // Closed, it leaves the poll by itself.
        self.pipe = None;
        true
    }

    fn tell(&self, text: &mut String) {
        let requests = if self.in_flight == 1 { "request" } else { "requests" };
        let _ = writeln!(text, "worker {} (pid {}): {} {requests}", self.slot, self.pid, self.in_flight);
        text.push_str(&plain(&self.text));
        if !self.answered {
            let _ = writeln!(text, "  it does not answer: {}", of_kernel(self.pid, self.pid));
        }
    }
}

/// Text without what a terminal would obey.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain: String = text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect();
    if !plain.is_empty() && !plain.ends_with('\n') {
        plain.push('\n');
    }
    plain
}

impl Master {
    /// Somebody has sent the signal: the one who waits under the name that came along is told, or the log.
    pub(super) fn asked_for_stacks(&mut self, word: Option<u32>) {
        let Some(word) = word else { return self.ask_for_stacks(true) };
        let asking = stream::connect_abstract(&name(word)).and_then(|stream| {
            let (_, user) = stream::credentials(stream.as_fd())?;
            Ok((stream, user))
        });
        match asking {
            // Whoever may signal us may ask; others may know how to open a socket.
            Ok((stream, user)) if user == 0 || user == process::owner().0 => {
                self.desk.admit(&self.poll, stream, clock::coarse_ms());
                self.ask_for_stacks(false);
            }
            Ok((_, user)) => tracing::warn!("user {user} has asked for stacks: refused"),
            Err(error) => tracing::warn!("whoever has asked for stacks can't be reached: {}", crate::why(&error)),
        }
    }

    /// Begins a round, or lets whoever asks wait for the one under way.
    pub(super) fn ask_for_stacks(&mut self, logged: bool) {
        if let Some(inquiry) = &mut self.inquiry {
            inquiry.logged |= logged;
            return;
        }
        let mut parts: Vec<Part> = self.workers.keys().copied().filter_map(|worker| self.ask_worker(worker)).collect();
        parts.sort_by_key(|part| (part.slot, part.pid));
        self.inquiry = Some(Inquiry { parts, until_ms: clock::coarse_ms() + PATIENCE_MS, logged });
    }

    fn ask_worker(&self, worker: u64) -> Option<Part> {
        let line = self.workers.get(&worker)?;
        let pid = self.plan.process_of(worker)?;
        let seat = self.generations.get(&line.generation)?.scoreboard.seat(line.seat as usize);
        let (slot, in_flight) = (line.slot, seat.in_flight());
        let ask = |poll: &Poll| -> io::Result<Receiver> {
            let (sender, mut receiver) = pipe::new()?;
            // The worker writes on a thread that has nothing else to do.
            sender.set_nonblocking(false)?;
            poll.registry().register(&mut receiver, Token(0), Interest::READABLE)?;
            let channel = line.channel.as_ref().ok_or(io::ErrorKind::NotConnected)?;
            channel.send(&ToWorker::Stacks.encode(), &[sender.as_fd()])?;
            Ok(receiver)
        };
        Some(Part { slot, pid, in_flight, pipe: ask(&self.poll).ok(), text: Vec::new(), answered: false })
    }

    /// When the round is over in any case.
    pub(super) fn inquiry_wake_ms(&self) -> Option<u64> {
        self.inquiry.as_ref().map(|inquiry| inquiry.until_ms)
    }

    /// Takes what has come, and tells it when it is all.
    pub(super) fn attend_inquiry(&mut self, now_ms: u64) {
        let Some(inquiry) = &mut self.inquiry else { return };
        let mut whole = true;
        inquiry.parts.iter_mut().for_each(|part| whole &= part.read());
        if !whole && now_ms < inquiry.until_ms {
            return;
        }
        let Some(inquiry) = self.inquiry.take() else { return };
        let mut text = String::new();
        inquiry.parts.iter().for_each(|part| part.tell(&mut text));
        if inquiry.parts.is_empty() {
            text.push_str("there is no worker\n");
        }
        if inquiry.logged {
            text.lines().for_each(|line| tracing::info!("{line}"));
        }
        self.desk.deliver(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_writes_moves_no_terminal() {
        assert_eq!(plain(b"a\x1b[2J\r\n\xff"), "a?[2J?\n\u{fffd}\n");
        assert_eq!(plain(b""), "");
    }

    #[test]
    fn a_worker_that_says_too_much_or_nothing_harms_nobody() {
        let (mut sender, receiver) = pipe::new().unwrap();
        let mut part = Part { slot: 1, pid: 1, in_flight: 0, pipe: Some(receiver), text: Vec::new(), answered: false };
        assert!(!part.read());
        while !part.read() {
            let _ = io::Write::write(&mut sender, &[b'x'; 64 * 1024]);
        }
        assert!(part.answered && part.text.len() < MOST_BYTES + 100);
        let mut text = String::new();
        Part { text: Vec::new(), answered: false, in_flight: 1, ..part }.tell(&mut text);
        assert!(text.starts_with("worker 1 (pid 1): 1 request\n  it does not answer: "), "{text}");
    }
}
