//! The stacks as each thread writes them itself at a signal: Python's faulthandler, into a file in memory. It needs no GIL;
//! a thread that blocks signals, or hangs in the kernel, says nothing.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi_sys::memory;
use ruwsgi_sys::probe::{self, Probe};

use super::{Frame, Stack};

/// How long one thread may take to write where it is, and all of them.
const ONE: Duration = Duration::from_millis(100);
const ALL: Duration = Duration::from_millis(1_000);

/// What is needed for it, made while the GIL can be had.
pub(super) struct Signalled {
    file: File,
    probe: &'static Probe,
}

impl Signalled {
    pub(super) fn install(py: Python<'_>) -> PyResult<Self> {
        let file = File::from(memory::scratch_file()?);
        let probe = Probe::install()?;
        let keywords = PyDict::new(py);
        keywords.set_item("file", file.as_raw_fd())?;
        keywords.set_item("all_threads", false)?;
        // The probe's own handler comes after it, and tells that the stack is whole.
        keywords.set_item("chain", true)?;
        py.import("faulthandler")?.call_method("register", (probe::SIGNAL,), Some(&keywords))?;
        Ok(Self { file, probe })
    }

    /// Asks one thread after the other. Those without a Python stack are left out, unless they do not answer.
    pub(super) fn find(&mut self) -> Vec<Stack> {
        let deadline = Instant::now() + ALL;
        let mut stacks = Vec::new();
        for thread in probe::threads() {
            let name = probe::name(thread);
            // Ours, which block signals and run no Python.
            if ["standby", "stacks", "tracebacker"].contains(&name.as_str()) {
                continue;
            }
            let left = deadline.saturating_duration_since(Instant::now()).min(ONE);
            let stack = Stack { name, thread, ..Stack::default() };
            match self.ask(thread, left) {
                Ok(Some(text)) if text.is_empty() => {}
                Ok(Some(text)) => stacks.push(Stack { frames: frames(&text), ..stack }),
                Ok(None) => stacks.push(Stack { name: format!("{} (does not answer)", stack.name), ..stack }),
                // It has ended meanwhile.
                Err(_) => {}
            }
        }
        stacks
    }

    fn ask(&mut self, thread: i32, patience: Duration) -> io::Result<Option<String>> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        if !self.probe.ask(thread, patience)? {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        self.file.rewind()?;
        self.file.read_to_end(&mut bytes)?;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// What faulthandler writes, newest frame first: `  File "app.py", line 7 in slow`.
fn frames(text: &str) -> Vec<Frame> {
    let frame = |line: &str| {
        let rest = line.trim_start().strip_prefix("File \"")?;
        let (file, rest) = rest.rsplit_once("\", line ")?;
        let (number, function) = rest.split_once(" in ")?;
        Some(Frame { file: file.to_owned(), line: number.parse().unwrap_or(0), function: function.to_owned() })
    };
    let mut frames: Vec<Frame> = text.lines().filter_map(frame).collect();
    frames.reverse();
    frames
}
