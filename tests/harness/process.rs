//! Processes as /proc shows them. A [`Process`] is a pid and its start time, so that a pid used again is not mistaken.

use std::collections::HashMap;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::eventually;

/// A process that was there once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    started: u64,
}

impl Process {
    /// The process that has this pid now.
    pub fn of(pid: i32) -> Option<Self> {
        Some(Self { pid, started: stat(pid)?.started })
    }

    /// It still runs: not gone, not a zombie.
    pub fn alive(self) -> bool {
        stat(self.pid).is_some_and(|now| now.started == self.started && now.state != 'Z')
    }

    /// Sends a signal, if it is still there.
    #[expect(clippy::disallowed_methods, reason = "tests signal as an operator does")]
    pub fn signal(self, signal: Signal) {
        if self.alive() {
            let _ = kill(Pid::from_raw(self.pid), signal);
        }
    }

    /// Waits until it is gone.
    pub fn wait_for_end(self, what: &str) {
        eventually(&format!("{what} (pid {}) ends", self.pid), || (!self.alive()).then_some(()));
    }

    /// Its children, oldest first.
    pub fn children(self) -> Vec<Self> {
        let mut children: Vec<Self> = everybody()
            .into_iter()
            .filter(|(_, stat)| stat.parent == self.pid && stat.state != 'Z')
            .map(|(pid, stat)| Self { pid, started: stat.started })
            .collect();
        children.sort_by_key(|child| (child.started, child.pid));
        children
    }

    /// It and everything below it.
    pub fn tree(self) -> Vec<Self> {
        let all = everybody();
        let mut tree = vec![self];
        let mut next = 0;
        while next < tree.len() {
            let parent = tree[next].pid;
            let below = all.iter().filter(|(_, stat)| stat.parent == parent);
            tree.extend(below.map(|(pid, stat)| Self { pid: *pid, started: stat.started }));
            next += 1;
        }
        tree
    }

    /// One line of /proc/PID/status, without its name.
    pub fn status(self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.trim().to_owned())
    }

    /// The files it has open.
    pub fn descriptors(self) -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/fd", self.pid)).into_iter().flatten().flatten();
        entries.filter_map(|entry| Some(std::fs::read_link(entry.path()).ok()?.display().to_string())).collect()
    }

    /// The files mapped into it.
    pub fn maps(self) -> String {
        std::fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default()
    }

    /// The folders in /proc of its threads of this name, or of all of them if it is empty.
    pub fn tasks(self, thread: &str) -> Vec<PathBuf> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten().flatten();
        let name = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).ok();
        let named = |task: &PathBuf| thread.is_empty() || name(task).is_some_and(|name| name.trim() == thread);
        tasks.map(|task| task.path()).filter(named).collect()
    }

    /// How often a thread of it has gone to sleep so far.
    pub fn wakes(self, thread: &str) -> u64 {
        let tasks = self.tasks(thread).into_iter();
        let lines = tasks.filter_map(|task| std::fs::read_to_string(task.join("status")).ok());
        let count = |text: String| {
            text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse::<u64>().ok())
        };
        lines.filter_map(count).sum()
    }

    /// Processor time it has used, in clock ticks (hundredths of a second).
    pub fn ticks(self) -> u64 {
        stat(self.pid).map_or(0, |stat| stat.ticks)
    }
}

struct Stat {
    state: char,
    parent: i32,
    ticks: u64,
    started: u64,
}

/// proc_pid_stat(5): the name may hold anything, so fields are counted from the last `)`.
fn stat(pid: i32) -> Option<Stat> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |field: usize| fields.get(field)?.parse::<u64>().ok();
    Some(Stat {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        ticks: number(11)? + number(12)?,
        started: number(19)?,
    })
}

fn everybody() -> HashMap<i32, Stat> {
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}
