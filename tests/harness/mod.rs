//! What every test uses: a [`Site`] (a folder with an application and a configuration), the [`Server`] that it starts,
//! [`client::Client`] to talk to it, [`process::Process`] to look at what runs. It never waits without a deadline.

pub mod apps;
pub mod backend;
pub mod client;
pub mod ear;
mod load;
pub mod log;
pub mod network;
pub mod packet;
pub mod process;
pub mod python;
mod server;
mod site;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use client::{Answer, Client};
pub use load::{Ends, under_load};
pub use process::Process;
pub use server::{Ended, Server, drain};
pub use site::Site;

/// How long a test waits for anything before it fails. Far longer than anything takes, even where two cores build and
/// test at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Looks again and again until `check` has something; fails with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, check: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, check).unwrap_or_else(|| panic!("waited {} s for this: {what}", PATIENCE.as_secs()))
}

/// Looks again and again until `check` has something or the time is over.
#[expect(clippy::disallowed_methods, reason = "what happens in /proc and in other processes sends us no event")]
pub fn within<T>(time: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(found) = check() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// The root of the project.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One of the applications in `tests/apps`.
pub fn app(name: &str) -> PathBuf {
    project().join("tests/apps").join(name)
}

/// Starts `tests/apps/NAME` with one worker.
pub fn serve(name: &str) -> Server {
    Site::app(name).start()
}

/// Starts an application given as its text.
pub fn serve_code(code: &str) -> Server {
    Site::code(code).start()
}

/// A text written in a test, without the indentation that all its lines share.
pub fn dedent(text: &str) -> String {
    let full = || text.lines().filter(|line| !line.trim().is_empty());
    let indent = full().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let lines = text.trim_start_matches('\n').trim_end_matches(' ').lines();
    lines.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect()
}
