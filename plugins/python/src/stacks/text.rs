//! Stacks as text: a report for people, and uWSGI's lines for those who have always read them.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;

use ruwsgi_contract::scoreboard::Seat;
use ruwsgi_sys::clock;

use super::{Found, Stack};

/// A source above this size is not read.
const SOURCE_BYTES: u64 = 4 * 1024 * 1024;

/// What each core has to do, and where each thread is. The line above it, which says who this is, is the master's.
pub(super) fn report(found: &Found, seat: &Seat<'_>) -> String {
    let mut text = String::new();
    let mut sources = Sources::default();
    if let Some(why) = found.silent {
        let _ = writeln!(text, "  ({why}; what follows is what each thread says at a signal)");
    }
    let cores = seat.cores();
    let core_of =
        |stack: &Stack| (0..cores).find(|core| stack.thread > 0 && seat.core(*core).thread() == Some(stack.thread));
    for core in (0..cores).filter(|core| !found.stacks.iter().any(|stack| core_of(stack) == Some(*core))) {
        let _ = writeln!(text, "  core {core}: {}", doing(seat, core));
    }
    for stack in &found.stacks {
        let _ = match core_of(stack) {
            Some(core) => {
                writeln!(text, "  core {core} ({}, thread {}): {}", stack.name, stack.thread, doing(seat, core))
            }
            None => writeln!(text, "  {} (thread {})", stack.name, stack.thread),
        };
        if stack.left_out > 0 {
            let _ = writeln!(text, "    ({} older frames are left out)", stack.left_out);
        }
        for frame in &stack.frames {
            let _ = writeln!(text, "    File \"{}\", line {}, in {}", frame.file, frame.line, frame.function);
            if let Some(source) = sources.line(&frame.file, frame.line) {
                let _ = writeln!(text, "      {source}");
            }
        }
    }
    text
}

/// The request of a core and for how long it has had it.
fn doing(seat: &Seat<'_>, core: usize) -> String {
    match seat.core(core).activity() {
        Some(activity) => {
            let took_ms = clock::coarse_ms().saturating_sub(activity.since_ms);
            format!("{} since {}.{} s", activity.request, took_ms / 1000, took_ms % 1000 / 100)
        }
        None => "idle".to_owned(),
    }
}

/// The lines of uWSGI's `py-tracebacker`.
pub(super) fn of_uwsgi(found: &Found) -> String {
    let mut text = "*** uWSGI Python tracebacker output ***\n\n".to_owned();
    if let Some(why) = found.silent {
        let _ = writeln!(text, "*** {why} ***\n");
    }
    let mut sources = Sources::default();
    for stack in &found.stacks {
        for frame in &stack.frames {
            let _ = write!(text, "thread_id = {} filename = {} lineno = {}", stack.name, frame.file, frame.line);
            let source = sources.line(&frame.file, frame.line);
            let _ = writeln!(text, " function = {} line = {}", frame.function, source.unwrap_or_default());
        }
        text.push('\n');
    }
    text.push('\n');
    text
}

/// Source files, each read once a report.
#[derive(Default)]
struct Sources(HashMap<String, Vec<String>>);

impl Sources {
    /// A line without its indentation, where there is a file that has it.
    fn line(&mut self, file: &str, line: u32) -> Option<&str> {
        let lines = self.0.entry(file.to_owned()).or_insert_with(|| {
            // What code calls its file may be anything: a device would never end.
            let readable = fs::metadata(file).is_ok_and(|found| found.is_file() && found.len() <= SOURCE_BYTES);
            let bytes = if readable { fs::read(file).unwrap_or_default() } else { Vec::new() };
            String::from_utf8_lossy(&bytes).lines().map(|line| line.trim().to_owned()).collect()
        });
        let line = lines.get((line as usize).checked_sub(1)?)?;
        Some(line.as_str()).filter(|line| !line.is_empty())
    }
}
