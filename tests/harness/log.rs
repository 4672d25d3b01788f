//! What a server says: collected by a thread, waited for by tests.

use std::io::Read;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::PATIENCE;

/// The text that has come out of a pipe so far.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    ended: bool,
}

impl Log {
    /// Of a server that writes elsewhere.
    pub fn none() -> Self {
        let log = Self::default();
        log.lock().ended = true;
        log
    }

    /// Collects what comes out of `pipe` until nobody holds its other end.
    pub fn of(mut pipe: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let writer = log.clone();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let got = pipe.read(&mut buffer).unwrap_or(0);
                let mut state = writer.lock();
                state.bytes.extend(&buffer[..got]);
                state.ended = got == 0;
                writer.0.1.notify_all();
                if state.ended {
                    return;
                }
            }
        });
        log
    }

    /// A test that failed while it looked at the log has not spoilt it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock().bytes).into_owned()
    }

    /// Everything so far, as it came.
    pub fn bytes(&self) -> Vec<u8> {
        self.lock().bytes.clone()
    }

    /// Everything, once the pipe is at its end.
    pub fn whole(&self) -> String {
        self.wait("the end of the log", |text, ended| ended.then(|| text.to_owned()))
    }

    /// Waits for a line that holds `text`; gives that line.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Waits for the `n`th line that holds `text`.
    pub fn wait_for_nth(&self, text: &str, n: usize) -> String {
        let what = format!("line {n} in the log with {text:?}");
        self.wait(&what, |log, _| whole_lines(log).filter(|line| line.contains(text)).nth(n - 1).map(str::to_owned))
    }

    /// Waits until `check`, which sees everything so far and whether that is all, has something.
    pub fn wait<T>(&self, what: &str, check: impl Fn(&str, bool) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut state = self.lock();
        loop {
            let text = String::from_utf8_lossy(&state.bytes);
            if let Some(found) = check(&text, state.ended) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let why = if state.ended { "the log ended" } else { "too long" };
            assert!(!left.is_zero() && !state.ended, "waited for {what}: {why}\n{text}");
            state = self.0.1.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Lines that have come whole.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'))
}
