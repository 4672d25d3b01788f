//! Where the threads of this worker are, on demand, without stopping them: for `ruwsgi stacks`, for `py-tracebacker`.
//!
//! The interpreter is asked first (`stacks/look.rs`): what it says is whole and has names. That needs the GIL, which an
//! extension may hold for ever: where it does not come in time, each thread is sent a signal at which it writes where it is
//! (`stacks/signalled.rs`), which needs nothing of anybody. A worker that is in no Python at all still says so.

mod look;
mod signalled;
mod text;
pub mod tracebacker;

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi_contract::scoreboard::Scoreboard;
use ruwsgi_sys::signal;

use self::signalled::Signalled;
use crate::worker::Seat;

/// How long the GIL may take to come.
const PATIENCE: Duration = Duration::from_millis(1_000);

/// A frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Frame {
    file: String,
    line: u32,
    function: String,
}

/// A thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stack {
    /// As Python calls it, or else the kernel.
    name: String,
    /// The kernel's number; 0: nobody knows it.
    thread: i32,
    /// Oldest first.
    frames: Vec<Frame>,
    /// So many older ones are left out.
    left_out: usize,
}

impl Stack {
    /// Leaves out what every main thread begins with (`boot.py`); `false`: nothing else was there.
    fn forget_boot(&mut self) -> bool {
        let is_boot =
            |frame: &Frame| frame.file == "<string>" && ["<module>", "boot"].contains(&frame.function.as_str());
        let boot = self.frames.iter().take(2).take_while(|frame| is_boot(frame)).count();
        self.frames.drain(..boot);
        boot == 0 || !self.frames.is_empty()
    }
}

/// What came of asking.
struct Found {
    stacks: Vec<Stack>,
    /// Why the interpreter did not say it itself.
    silent: Option<&'static str>,
}

/// From here on, also in processes that are forked, a crash in C leaves the stacks of all threads on standard error. An
/// application, or somebody by PYTHONFAULTHANDLER, may have said it already.
pub fn tell_crashes(py: Python<'_>) -> PyResult<()> {
    let faulthandler = py.import("faulthandler")?;
    if !faulthandler.call_method0("is_enabled")?.is_truthy()? {
        let keywords = PyDict::new(py);
        // By its number: sys.stderr may be the application's own, or nothing.
        keywords.set_item("file", 2)?;
        faulthandler.call_method("enable", (), Some(&keywords))?;
    }
    Ok(())
}

/// The one who asks, of a worker.
#[derive(Clone)]
pub struct Stacks(Arc<Inner>);

struct Inner {
    scoreboard: Arc<Scoreboard>,
    place: Seat,
    /// One asks at a time. `None`: signals can't be used.
    signalled: Mutex<Option<Signalled>>,
    /// Somebody still waits for the GIL.
    asking: Arc<AtomicBool>,
}

impl Stacks {
    /// Makes everything ready that can't be made any more when it is needed.
    pub fn new(py: Python<'_>, scoreboard: Arc<Scoreboard>, place: Seat) -> Self {
        let signalled = Signalled::install(py).inspect_err(|error| {
            tracing::warn!("stacks of an interpreter that does not answer will not be shown: {error}");
        });
        let (signalled, asking) = (Mutex::new(signalled.ok()), Arc::default());
        Self(Arc::new(Inner { scoreboard, place, signalled, asking }))
    }

    /// Writes a report into `pipe`, on a thread of its own.
    pub fn report(&self, pipe: OwnedFd) {
        let this = self.clone();
        let life = move || {
            // The threads of the application hear signals, not this one.
            let _ = signal::block_in_this_thread();
            let text = text::report(&this.find(), &this.0.scoreboard.seat(this.0.place.seat));
            // Whoever asked may be gone.
            let _ = File::from(pipe).write_all(text.as_bytes());
        };
        if let Err(error) = thread::Builder::new().name("stacks".to_owned()).spawn(life) {
            tracing::error!("stacks can't be told: {error}");
        }
    }

    fn find(&self) -> Found {
        let mut found = self.ask();
        // Of a thread that waits in the server itself there is nothing to tell.
        found.stacks.retain_mut(Stack::forget_boot);
        found
    }

    fn ask(&self) -> Found {
        let mut signalled = self.0.signalled.lock().unwrap_or_else(PoisonError::into_inner);
        match self.ask_python() {
            Ok(Ok(stacks)) => Found { stacks, silent: None },
            Ok(Err(error)) => {
                tracing::warn!("the interpreter can't say where its threads are: {error}");
                Self::by_signals(&mut signalled, "the interpreter can't say it")
            }
            Err(why) => Self::by_signals(&mut signalled, why),
        }
    }

    fn by_signals(signalled: &mut Option<Signalled>, why: &'static str) -> Found {
        let stacks = signalled.as_mut().map(Signalled::find).unwrap_or_default();
        Found { stacks, silent: Some(why) }
    }

    fn ask_python(&self) -> Result<PyResult<Vec<Stack>>, &'static str> {
        const HELD: &str = "the interpreter does not answer: something holds the GIL";
        if self.0.asking.swap(true, Ordering::SeqCst) {
            // The one who asked before has not got it yet.
            return Err(HELD);
        }
        let (sender, receiver) = mpsc::channel();
        let asking = self.0.asking.clone();
        let ask = move || {
            let _ = signal::block_in_this_thread();
            let found = Python::attach(look::stacks);
            asking.store(false, Ordering::SeqCst);
            let _ = sender.send(found);
        };
        if thread::Builder::new().name("stacks".to_owned()).spawn(ask).is_err() {
            self.0.asking.store(false, Ordering::SeqCst);
            return Err("no thread can be started to ask the interpreter");
        }
        receiver.recv_timeout(PATIENCE).map_err(|_| HELD)
    }
}
