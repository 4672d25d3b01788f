//! A request body on its way into a temporary file (`post-buffering`): it has no name, and is gone with its request.

use std::fs::File;
use std::io::{self, Write};

use ruwsgi_wire::{Refusal, Step};

use crate::input::{Framing, Input};

/// A body that is being written to a file in `TMPDIR`.
pub(crate) struct Spool {
    file: File,
    framing: Framing,
    bytes: u64,
}

impl Spool {
    /// Begins with what is here of the body.
    pub(crate) fn new(framing: Framing, here: &[u8]) -> io::Result<Self> {
        let mut file = tempfile::tempfile()?;
        file.write_all(here)?;
        Ok(Self { file, framing, bytes: here.len() as u64 })
    }

    /// How much of the body is here.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes what has come. The outer error is the disk's.
    pub(crate) fn take(&mut self, raw: &[u8]) -> io::Result<Result<Step, Refusal>> {
        match &mut self.framing {
            Framing::Length(left) => {
                let consumed = usize::try_from(*left).unwrap_or(usize::MAX).min(raw.len());
                self.file.write_all(&raw[..consumed])?;
                self.bytes += consumed as u64;
                *left -= consumed as u64;
                Ok(Ok(Step { consumed, done: *left == 0 }))
            }
            Framing::Framed(decoder) => {
                let mut body = Vec::new();
                let step = decoder.decode(raw, &mut body);
                self.file.write_all(&body)?;
                self.bytes += body.len() as u64;
                Ok(step)
            }
        }
    }

    /// The body is whole; `behind` came behind it.
    pub(crate) fn into_input(self, behind: Vec<u8>) -> Input {
        Input::spooled(self.file, self.bytes, behind)
    }
}
