//! Lines to a log that never blocks: the life events of every process and the request lines of the workers.
//!
//! A line is put behind those that wait, and what waits is written when somebody flushes. A full pipe, a dead reader or
//! a full disk keeps lines waiting up to a bound; what comes after is dropped and counted, and the count is told as soon
//! as the log can be written again. Nobody ever waits here.

#![forbid(unsafe_code)]

mod subscriber;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ruwsgi_sys::clock;
use ruwsgi_sys::sink::SinkFd;

/// How many bytes may wait for a log that can't be written.
pub const WAITING_BYTES: usize = 256 * 1024;
/// So many bytes are written without waiting for a flush: a larger piece saves next to nothing.
const PIECE_BYTES: usize = 32 * 1024;

/// Who takes lines in this process instead of a descriptor. It must not log.
pub trait Taker: Send {
    /// Takes whole lines.
    fn take(&mut self, lines: &[u8]);
}

/// The log of this process; a clone is the same log.
#[derive(Clone)]
pub struct Log(Arc<Mutex<Sink>>);

struct Sink {
    fd: SinkFd,
    /// Lines go there, and not to the descriptor.
    taker: Option<Box<dyn Taker>>,
    waiting: Vec<u8>,
    dropped: u64,
    date: Option<Date>,
}

/// How the time stands before an event: `Sat Nov 21 01:08:22 2026 - started`.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Date {
    Ctime,
    Strftime(CString),
}

impl Log {
    /// To standard error, as it is now.
    pub fn stderr() -> io::Result<Self> {
        Ok(Self::new(SinkFd::open(io::stderr().as_fd())?))
    }

    /// To what a descriptor refers to.
    pub fn to(fd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self::new(SinkFd::open(fd)?))
    }

    /// To a descriptor that the master has opened and sent.
    pub fn received(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self::new(SinkFd::received(fd)?))
    }

    /// To two of them; if both lead to the same, it is one log.
    pub fn received_both(first: OwnedFd, second: OwnedFd) -> io::Result<(Self, Self)> {
        let same = ruwsgi_sys::sink::is_same(first.as_fd(), second.as_fd());
        let first = Self::received(first)?;
        let second = if same { first.clone() } else { Self::received(second)? };
        Ok((first, second))
    }

    fn new(fd: SinkFd) -> Self {
        Self(Arc::new(Mutex::new(Sink { fd, taker: None, waiting: Vec::new(), dropped: 0, date: None })))
    }

    /// The descriptor, to send to another process.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        self.lock().fd.as_fd().try_clone_to_owned()
    }

    /// The number of its descriptor in this process: for a child that closes all others.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.lock().fd.as_fd().as_raw_fd()
    }

    /// Lines go to somebody in this process from here on.
    pub fn hand_to(&self, taker: Box<dyn Taker>) {
        let mut sink = self.lock();
        sink.flush();
        sink.taker = Some(taker);
    }

    /// The other one is this one.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What is written goes where this descriptor leads.
    #[must_use]
    pub fn leads_to(&self, fd: BorrowedFd<'_>) -> bool {
        ruwsgi_sys::sink::is_same(self.lock().fd.as_fd(), fd)
    }

    /// So many bytes wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }

    /// What waits, for another executable of this process: how much was lost is its last line.
    #[must_use]
    pub fn left(&self) -> Vec<u8> {
        let sink = self.lock();
        let mut left = sink.waiting.clone();
        if sink.dropped > 0 {
            left.extend_from_slice(lost(sink.dropped).as_bytes());
        }
        left
    }

    /// Goes on elsewhere; what could not be written where it was waits for the new place.
    pub fn redirect(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        let fd = SinkFd::open(to)?;
        let mut sink = self.lock();
        sink.flush();
        sink.fd = fd;
        Ok(())
    }

    /// Goes on in a file that the master has opened, and so does what the process prints. Where that fails, everything
    /// goes on where it was: there is nobody to tell.
    pub fn go_on_in(&self, to: BorrowedFd<'_>) {
        let _ = self.redirect(to).and_then(|()| ruwsgi_sys::stdio::redirect_output(to));
    }

    /// Puts the time before each event from here on, in a format of strftime(3), as `log-date` has it: an empty one is
    /// ctime(3)'s way. `None`: no time.
    pub fn set_date(&self, format: Option<&str>) {
        let date = format.map(|format| match CString::new(format) {
            Ok(format) if !format.is_empty() => Date::Strftime(format),
            _ => Date::Ctime,
        });
        self.lock().date = date;
    }

    /// The time before an event, with what stands between; empty where nobody asked.
    fn date(&self) -> Vec<u8> {
        let date = self.lock().date.clone();
        let mut text = match date {
            None => return Vec::new(),
            Some(Date::Ctime) => clock::ctime(clock::unix_seconds()).into_bytes(),
            Some(Date::Strftime(format)) => clock::strftime(&format, clock::unix_seconds()),
        };
        text.extend_from_slice(b" - ");
        text
    }

    /// Makes `tracing`'s events of this process lines of this log: information as it is, others behind `warning: ` or
    /// `error: `. Each is flushed at once. Only the first call of a process counts.
    pub fn subscribe(&self) {
        let _ = tracing::subscriber::set_global_default(subscriber::Lines(self.clone()));
    }

    /// Puts a line behind those that wait; `line` ends with a newline. When many wait, they are written.
    pub fn push(&self, line: &[u8]) {
        self.lock().push(line);
    }

    /// Writes what waits, as far as it goes. `true`: nothing waits any more.
    pub fn flush(&self) -> bool {
        self.lock().flush()
    }

    /// Puts a line behind those that wait, and flushes.
    pub fn say(&self, line: &[u8]) {
        let mut sink = self.lock();
        sink.push(line);
        sink.flush();
    }

    /// The same, with the time before it, where somebody has asked for that: for the server's own words.
    pub fn tell(&self, line: &[u8]) {
        let mut dated = self.date();
        dated.extend_from_slice(line);
        self.say(&dated);
    }

    /// Forgets what waits, and who takes it: in a child after a fork, since the parent still has both.
    pub fn forget(&self) {
        let mut sink = self.lock();
        sink.taker = None;
        sink.waiting.clear();
        sink.dropped = 0;
    }

    fn lock(&self) -> MutexGuard<'_, Sink> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lost(lines: u64) -> String {
    format!("warning: {lines} log lines were lost while the log could not be written\n")
}

impl Sink {
    fn push(&mut self, line: &[u8]) {
        if self.dropped > 0 || self.waiting.len() + line.len() > WAITING_BYTES {
            self.dropped += 1;
            return;
        }
        let before = self.waiting.len();
        self.waiting.extend_from_slice(line);
        // Only on the way past it: a log that takes nothing is not tried again for each line.
        if before < PIECE_BYTES && self.waiting.len() >= PIECE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) -> bool {
        if let Some(taker) = &mut self.taker {
            taker.take(&std::mem::take(&mut self.waiting));
            return true;
        }
        while !self.waiting.is_empty() {
            match self.fd.write(&self.waiting[..self.piece()]) {
                Ok(written) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Full, or broken: the lines wait for a better time.
                Err(_) => return false,
            }
            if self.waiting.is_empty() && self.dropped > 0 {
                self.waiting.extend_from_slice(lost(self.dropped).as_bytes());
                self.dropped = 0;
            }
        }
        self.waiting.shrink_to(2 * PIECE_BYTES);
        true
    }

    /// How much to write at once: whole lines as far as they go in whole, so that others' lines come between ours and
    /// not into them. A line that is too long for that is written as it goes.
    fn piece(&self) -> usize {
        match self.fd.whole_bytes() {
            Some(limit) if self.waiting.len() > limit => {
                self.waiting[..limit].iter().rposition(|byte| *byte == b'\n').map_or(limit, |newline| newline + 1)
            }
            _ => self.waiting.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn a_full_pipe_never_blocks_and_the_loss_is_told() {
        let (read, write) = ruwsgi_sys::process::pipe().unwrap();
        let log = Log::new(SinkFd::open(write.as_fd()).unwrap());
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        for _ in 0..10_000 {
            log.push(&line);
            log.flush();
        }
        assert!(!log.flush());
        drop(write);
        let mut pipe = std::fs::File::from(read);
        let mut text = Vec::new();
        let mut part = vec![0; 1 << 20];
        while !log.flush() {
            let got = pipe.read(&mut part).unwrap();
            text.extend_from_slice(&part[..got]);
        }
        drop(log);
        pipe.read_to_end(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let whole = text.lines().filter(|line| line.len() == 99).count();
        let told = text.lines().last().unwrap();
        assert_eq!(told, format!("warning: {} log lines were lost while the log could not be written", 10_000 - whole));
        assert_eq!(text.lines().count(), whole + 1);
    }

    #[test]
    fn many_lines_are_written_before_they_are_too_many() {
        let path = std::env::temp_dir().join(format!("ruwsgi-log-{}", std::process::id()));
        let log = Log::to(std::fs::File::create(&path).unwrap().as_fd()).unwrap();
        let line = [b"x".repeat(99), b"\n".to_vec()].concat();
        log.push(&line);
        assert_eq!((log.waiting(), std::fs::metadata(&path).unwrap().len()), (100, 0), "a line waits for the flush");
        for _ in 1..10_000 {
            log.push(&line);
        }
        assert!(log.waiting() < PIECE_BYTES && log.flush());
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1_000_000, "no line was dropped");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_log_goes_on_elsewhere_with_what_could_not_be_written() {
        let (first, write) = ruwsgi_sys::process::pipe().unwrap();
        let log = Log::new(SinkFd::open(write.as_fd()).unwrap());
        drop((first, write));
        log.say(b"one\n");
        let (second, write) = ruwsgi_sys::process::pipe().unwrap();
        log.redirect(write.as_fd()).unwrap();
        log.say(b"two\n");
        drop((log, write));
        let mut text = String::new();
        std::fs::File::from(second).read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }

    #[test]
    fn the_time_stands_before_an_event_in_the_format_that_was_said() {
        let log = Log::stderr().unwrap();
        assert_eq!(log.date(), b"");
        log.set_date(Some("%%d"));
        assert_eq!(log.date(), b"%d - ");
        log.set_date(Some(""));
        assert_eq!(log.date().len(), "Sat Nov 21 01:08:22 2026 - ".len());
        log.set_date(None);
        assert_eq!(log.date(), b"");
    }

    #[test]
    fn a_reader_that_is_gone_is_no_panic() {
        let (read, write) = ruwsgi_sys::process::pipe().unwrap();
        let log = Log::new(SinkFd::open(write.as_fd()).unwrap());
        drop(read);
        log.say(b"nobody reads this\n");
        assert!(!log.flush());
    }
}
