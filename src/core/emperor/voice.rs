//! What a vassal writes to its standard output and error: each line goes to the emperor's log behind the vassal's name, and
//! the last ones are remembered, for `ruwsgi vassals log` and for the reason of a death.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use ruwsgi_sys::birth;

use super::name::{Name, shown};

/// So much of what a vassal said is remembered, in bytes.
const REMEMBERED_BYTES: usize = 16 * 1024;
/// A longer line is cut into several.
const LONGEST_LINE: usize = 8 * 1024;
/// So much is read at a time, before others have their turn.
const TURN_BYTES: usize = 64 * 1024;
/// The longest reason of a death that is told.
const LONGEST_REASON: usize = 500;

/// A vassal's mouth.
#[derive(Default)]
pub(super) struct Voice {
    pipe: Option<OwnedFd>,
    /// A line that has not ended.
    partial: Vec<u8>,
    remembered: VecDeque<Vec<u8>>,
    bytes: usize,
    /// What its process gave as a reason.
    error: Option<Vec<u8>>,
    last: Option<Vec<u8>>,
}

/// How far a reading has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// There is no more for now.
    All,
    /// There is more.
    Part,
    /// Nobody can say anything more.
    End,
}

impl Voice {
    /// Another process of the vassal speaks there.
    pub(super) fn listen_to(&mut self, pipe: OwnedFd) {
        self.pipe = Some(pipe);
        self.error = None;
        self.last = None;
    }

    /// What it speaks through.
    pub(super) fn pipe(&self) -> Option<&OwnedFd> {
        self.pipe.as_ref()
    }

    /// It has ended: what it left behind may go on to speak, but nobody listens.
    pub(super) fn close(&mut self) -> Option<OwnedFd> {
        self.pipe.take()
    }

    /// Reads what is there, for a while, and gives each line to `say`.
    pub(super) fn hear(&mut self, name: &Name, mut say: impl FnMut(&[u8])) -> Heard {
        let Some(pipe) = &self.pipe else { return Heard::End };
        let mut room = vec![0; TURN_BYTES];
        let mut total = 0;
        let heard = loop {
            match birth::read(pipe, &mut room) {
                Ok(0) => break Heard::End,
                Ok(count) => {
                    self.partial.extend_from_slice(&room[..count]);
                    total += count;
                    if total >= TURN_BYTES {
                        break Heard::Part;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Heard::All,
                Err(_) => break Heard::End,
            }
        };
        let front = format!("[{name}] ").into_bytes();
        let mut text = std::mem::take(&mut self.partial);
        let mut rest = text.as_slice();
        while let Some(end) =
            rest.iter().position(|byte| *byte == b'\n').or((rest.len() > LONGEST_LINE).then_some(LONGEST_LINE))
        {
            let line = &rest[..end.min(LONGEST_LINE)];
            self.remember(line);
            say(&[front.as_slice(), line, b"\n"].concat());
            let skip = line.len() + usize::from(rest.get(line.len()) == Some(&b'\n'));
            rest = &rest[skip..];
        }
        let left = rest.len();
        if heard == Heard::End && left > 0 {
            self.remember(&text[text.len() - left..]);
            say(&[front.as_slice(), &text[text.len() - left..], b"\n"].concat());
            text.clear();
        } else {
            text.drain(..text.len() - left);
            text.shrink_to(0);
        }
        self.partial = text;
        heard
    }

    fn remember(&mut self, line: &[u8]) {
        if !line.trim_ascii().is_empty() {
            if line.starts_with(b"error: ") {
                self.error = Some(line.to_vec());
            }
            self.last = Some(line.to_vec());
        }
        self.bytes += line.len() + 1;
        self.remembered.push_back(line.to_vec());
        while self.bytes > REMEMBERED_BYTES
            && let Some(first) = self.remembered.pop_front()
        {
            self.bytes -= first.len() + 1;
        }
    }

    /// Its last words, where they are a reason: an error, or else the last line.
    pub(super) fn reason(&self) -> Option<String> {
        let line = self.error.as_ref().or(self.last.as_ref())?;
        let text = shown(line.strip_prefix(b"error: ").unwrap_or(line));
        Some(text.chars().take(LONGEST_REASON).collect())
    }

    /// What is remembered.
    pub(super) fn lines(&self) -> Vec<u8> {
        self.remembered.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_sys::process;
    use std::io::Write;
    use std::os::fd::AsFd;

    #[test]
    fn lines_carry_the_name_and_the_last_error_is_the_reason() {
        let (read, write) = process::pipe().unwrap();
        birth::set_nonblocking(read.as_fd()).unwrap();
        let mut write = std::fs::File::from(write);
        let mut voice = Voice::default();
        voice.listen_to(read);
        let name = Name::from("a\n.ini");
        let mut log = Vec::new();
        let mut hear = |voice: &mut Voice| voice.hear(&name, |line| log.extend_from_slice(line));
        write.write_all(b"one\nerror: no \x1b port\nhal").unwrap();
        assert_eq!(hear(&mut voice), Heard::All);
        write.write_all(b"f\n\nlast").unwrap();
        drop(write);
        assert_eq!(hear(&mut voice), Heard::End);
        let text = String::from_utf8(log).unwrap();
        assert_eq!(
            text,
            "[a\\n.ini] one\n[a\\n.ini] error: no \x1b port\n[a\\n.ini] half\n[a\\n.ini] \n[a\\n.ini] last\n"
        );
        assert_eq!(voice.reason().unwrap(), "no \\u{1b} port");
        assert_eq!(voice.lines(), b"one\nerror: no \x1b port\nhalf\n\nlast\n");
    }

    #[test]
    fn little_is_remembered_and_long_lines_are_cut() {
        let (read, write) = process::pipe().unwrap();
        birth::set_nonblocking(read.as_fd()).unwrap();
        let mut voice = Voice::default();
        voice.listen_to(read);
        let mut write = std::fs::File::from(write);
        let name = Name::from("a.ini");
        let mut lines = 0;
        for _ in 0..10 {
            write.write_all(&[b"x".repeat(20_000), b"\n".to_vec()].concat()).unwrap();
            voice.hear(&name, |_| lines += 1);
        }
        assert_eq!(lines, 30);
        assert!(voice.lines().len() <= REMEMBERED_BYTES);
    }
}
