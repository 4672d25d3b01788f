//! What the master does for a worker whose requests are past their deadline, besides what the plan decides: counts it, has
//! it say where it is, and says what the kernel knows.

use ruwsgi_contract::message::ToWorker;
use ruwsgi_sys::{clock, reap, signal};

use super::run::Master;

impl Master {
    /// A worker has requests past their deadline.
    pub(super) fn expire(&mut self, worker: u64) {
        self.tell_worker(worker, ToWorker::Expire);
        let Some(line) = self.workers.get_mut(&worker) else { return };
        line.is_doomed = true;
        let Some(hosted) = self.generations.get_mut(&line.generation) else { return };
        hosted.note_harakiri(line.slot);
        let rules = &hosted.config.workers;
        let Some(pid) = self.plan.process_of(worker).filter(|pid| reap::is_child(*pid)) else { return };
        if rules.harakiri_verbose {
            let seat = hosted.scoreboard.seat(line.seat as usize);
            for (core, _) in seat.overdue(clock::coarse_ms()) {
                if let Some(thread) = seat.core(core).thread() {
                    tracing::warn!("HARAKIRI [core {core}] {}", of_kernel(pid, thread));
                }
            }
        }
        if rules.harakiri_graceful_timeout > 0 {
            let number = rules.harakiri_graceful_signal;
            if let Err(error) = i32::try_from(number).map_or(Ok(()), |number| signal::send_number(pid, number)) {
                tracing::error!("harakiri-graceful-signal: {number}: {}", crate::why(&error));
            }
        }
    }
}

/// What the kernel says of a thread, on one line. The thread is what the worker says: it is one of its own, or nothing is
/// found.
fn of_kernel(pid: i32, thread: i32) -> String {
    let read = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/{name}")).unwrap_or_default();
        text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
    };
    let state = read("stat").rsplit(')').next().and_then(|rest| rest.trim().chars().next()).unwrap_or('?');
    format!("thread {thread}: state {state}, waits in {}, system call {}", read("wchan"), read("syscall"))
}
