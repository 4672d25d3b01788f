//! An emperor beside a master, whose configuration has both: this program once more, with the same command line, as a
//! child that is an emperor only. It lives as long as the master holds the leash, and then stops its vassals gracefully,
//! however the master ended.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;

use ruwsgi_options::{Config, Emperor, Origin, Source};
use ruwsgi_sys::process::{self, Side};
use ruwsgi_sys::{birth, clock, exec, reap, signal, stdio, stream};

use super::pipe;
use crate::listeners::VARIABLES;
use crate::upgrade::Court;
use crate::{exit, service, why};

/// The variable with the number of the leash's end.
const VARIABLE: &str = "RUWSGI_EMPEROR_LEASH";
/// The first wait after a death, and the longest, in milliseconds.
const WAIT_MS: u64 = 1_000;
const LONGEST_WAIT_MS: u64 = 30_000;
/// Who lives longer than this is forgiven his deaths, in milliseconds.
const GOOD_LIFE_MS: u64 = 10_000;

/// The end of the leash on which this process was started, if it was.
pub(crate) fn leash(env: &[(OsString, OsString)]) -> Option<OwnedFd> {
    let (_, value) = env.iter().rfind(|(name, _)| name == VARIABLE)?;
    birth::inherited_stream(value.to_str()?.parse().ok()?).ok()
}

/// The emperor of a master.
pub(crate) struct Child {
    binary: PathBuf,
    /// What its configuration says.
    said: Emperor,
    pid: Option<i32>,
    leash: Option<OwnedFd>,
    started_ms: u64,
    next_ms: u64,
    wait_ms: u64,
    over: bool,
}

impl Child {
    /// Starts it, where the configuration wants one.
    pub(crate) fn of(config: &Config, source: &Source) -> Result<Option<Self>, String> {
        if config.emperor.provinces.is_empty() {
            return Ok(None);
        }
        let mut child = Self::nobody(essence(&config.emperor))?;
        child.start(source).map_err(|error| format!("emperor: no process can be made: {}", why(&error)))?;
        Ok(Some(child))
    }

    /// The one that another executable has left. It is of that one until it ends, and is told to read the configuration
    /// as soon as that serves.
    pub(crate) fn inherited(left: &Court) -> Result<Self, String> {
        let leash = exec::inherited(left.leash)
            .map_err(|error| format!("the leash of the emperor (pid {}) can't be used: {}", left.pid, why(&error)))?;
        let nobody = Self::nobody(Emperor::default())?;
        Ok(Self { pid: Some(left.pid), leash: Some(leash), started_ms: left.since_ms, ..nobody })
    }

    fn nobody(said: Emperor) -> Result<Self, String> {
        let binary = std::env::current_exe().map_err(|error| format!("the executable has no path: {}", why(&error)))?;
        let (pid, leash) = (None, None);
        Ok(Self { binary, said, pid, leash, started_ms: 0, next_ms: 0, wait_ms: WAIT_MS, over: false })
    }

    /// What another executable needs to have it go on.
    pub(crate) fn left(&self) -> Option<Court> {
        let leash = self.leash.as_ref()?.as_raw_fd();
        Some(Court { pid: self.pid?, leash, since_ms: self.started_ms })
    }

    fn start(&mut self, source: &Source) -> io::Result<()> {
        let (ours, theirs) = birth::pipe_pair()?;
        let parent = process::id();
        let own = [VARIABLE, pipe::VARIABLE, pipe::CONFIG_VARIABLE];
        let mut env = source.env.clone();
        env.retain(|(name, _)| !own.iter().chain(&VARIABLES).chain(&service::VARIABLES).any(|own| name == own));
        env.push((VARIABLE.into(), theirs.as_raw_fd().to_string().into()));
        match birth::fork_into(0)? {
            Side::Parent(pid) => {
                self.pid = Some(pid);
                self.leash = Some(ours);
                self.started_ms = clock::coarse_ms();
                Ok(())
            }
            Side::Child => {
                let ready = birth::settle(None, stdio::error(), theirs.as_fd())
                    .and_then(|()| std::env::set_current_dir(&source.cwd));
                let error = match ready {
                    // A master that is dead already has closed the leash.
                    Ok(()) if process::parent_id() == parent => birth::become_program(&self.binary, &source.argv, &env),
                    Ok(()) => io::ErrorKind::BrokenPipe.into(),
                    Err(error) => error,
                };
                let _ = io::stderr().write_all(format!("error: emperor: {}\n", why(&error)).as_bytes());
                process::exit_now(exit::FAILED)
            }
        }
    }

    /// Its pid is this one: it is dead. The master goes on, and another one is started after a while.
    pub(crate) fn died(&mut self, pid: i32, end: reap::End) -> bool {
        if self.pid != Some(pid) {
            return false;
        }
        self.pid = None;
        self.leash = None;
        if self.over {
            tracing::info!("the emperor (pid {pid}) {end}");
            return true;
        }
        let now = clock::coarse_ms();
        if now.saturating_sub(self.started_ms) > GOOD_LIFE_MS {
            self.wait_ms = WAIT_MS;
        }
        tracing::error!("the emperor (pid {pid}) {end}: another one in {} s", self.wait_ms / 1_000);
        self.next_ms = now + self.wait_ms;
        self.wait_ms = (self.wait_ms * 2).min(LONGEST_WAIT_MS);
        true
    }

    /// When another one is due.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        (self.pid.is_none() && !self.over).then_some(self.next_ms)
    }

    /// Starts another one, if it is time.
    pub(crate) fn look(&mut self, source: &Source) {
        if self.wake_ms().is_some_and(|wake| wake <= clock::coarse_ms())
            && let Err(error) = self.start(source)
        {
            self.next_ms = clock::coarse_ms() + self.wait_ms;
            tracing::error!("emperor: no process can be made: {}", why(&error));
        }
    }

    /// Another configuration: it reads its part of it, if that is another one. One that is leaving has a successor when it
    /// is gone.
    pub(crate) fn renew(&mut self, config: &Config) {
        let said = essence(&config.emperor);
        let is_known = std::mem::replace(&mut self.said, said.clone()) == said;
        if std::mem::take(&mut self.over) || is_known {
            return;
        }
        if let Some(pid) = self.pid
            && let Err(error) = signal::hang_up(pid)
        {
            tracing::warn!("the emperor (pid {pid}) can't be told to reload: {}", why(&error));
        }
    }

    /// It is to stop, with its vassals.
    pub(crate) fn let_go(&mut self) {
        self.over = true;
        if let Some(leash) = self.leash.take() {
            // Said, too: router processes are forks that may still hold this end.
            let _ = stream::write(leash.as_fd(), b"q");
        }
    }

    /// It is to stop at once.
    pub(crate) fn quit(&mut self) {
        self.let_go();
        if let Some(pid) = self.pid {
            // It may be another user's: then it stops in its own time.
            let _ = signal::send_number(pid, 3);
        }
    }

    /// It has ended, as it was told to.
    pub(crate) fn is_gone(&self) -> bool {
        self.over && self.pid.is_none()
    }
}

/// What is said about emperors, wherever it stands.
fn essence(said: &Emperor) -> Emperor {
    let mut said = said.clone();
    said.provinces.iter_mut().for_each(|one| one.origin = Origin::Default);
    let hooks = [
        &mut said.hook_as_vassal,
        &mut said.mount_as_vassal,
        &mut said.umount_as_vassal,
        &mut said.exec_as_vassal,
        &mut said.hook_as_emperor,
        &mut said.mount_as_emperor,
        &mut said.umount_as_emperor,
        &mut said.exec_as_emperor,
    ];
    hooks.into_iter().flatten().for_each(|one| one.origin = Origin::Default);
    said
}
