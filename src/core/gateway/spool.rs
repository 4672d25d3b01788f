//! A body that is received as a whole before a backend is asked: in memory, and above a bound in a file without a name.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use ruwsgi_sys::file;

/// A whole body, or what is here of it.
pub(super) struct Spool {
    memory: Vec<u8>,
    most_memory: usize,
    file: Option<File>,
    /// How long it is.
    pub(super) bytes: u64,
    /// How much of it was read again.
    read: u64,
}

impl Spool {
    pub(super) fn new(most_memory: usize) -> Self {
        Self { memory: Vec::new(), most_memory, file: None, bytes: 0, read: 0 }
    }

    /// Puts more behind it.
    pub(super) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        if self.file.is_none() && self.memory.len() + bytes.len() > self.most_memory {
            let mut file = tempfile::tempfile()?;
            file.write_all(&std::mem::take(&mut self.memory))?;
            self.file = Some(file);
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes),
            None => {
                self.memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    /// From its start again.
    pub(super) fn rewind(&mut self) {
        self.read = 0;
    }

    /// Appends the next bytes of it to `out`; `true`: these were the last.
    pub(super) fn next(&mut self, most: usize, out: &mut Vec<u8>) -> io::Result<bool> {
        let left = self.bytes - self.read;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(most);
        match &self.file {
            Some(file) => file::read(file.as_fd(), self.read, length, out)?,
            None => {
                let start = self.read as usize;
                out.extend_from_slice(&self.memory[start..start + length]);
            }
        }
        self.read += length as u64;
        Ok(self.read == self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_goes_to_a_file() {
        let text: Vec<u8> = (0..100_000_u32).map(|number| number as u8).collect();
        for most in [0, 10, 1 << 20] {
            let mut spool = Spool::new(most);
            text.chunks(7_000).for_each(|piece| spool.push(piece).unwrap());
            assert_eq!((spool.bytes, spool.file.is_some()), (100_000, most < 100_000));
            for _ in 0..2 {
                spool.rewind();
                let mut out = Vec::new();
                while !spool.next(999, &mut out).unwrap() {}
                assert!(out == text, "{most}");
            }
        }
        assert!(Spool::new(5).next(10, &mut Vec::new()).unwrap());
    }
}
