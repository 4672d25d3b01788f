//! This process as somebody's vassal: its end of the pipe of an emperor, ours or uWSGI's. A master has one, and so has an
//! emperor that is itself a vassal. What an order means is theirs to decide.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use ruwsgi_options::{Config, Hook};
use ruwsgi_stage::hooks::{self, Scene};
use ruwsgi_sys::{birth, clock, process, stream};

use crate::emperor::pipe;

/// What an emperor wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Will {
    /// Stop: uWSGI's vassals do it at once; here requests in flight are finished, until it is said again.
    Stop,
    /// Reload.
    Reload,
    /// Stop when the requests in flight are done.
    StopGracefully,
    /// There is no emperor any more: stop, too.
    Lost,
}

/// The tie to an emperor.
pub(crate) struct Allegiance {
    fd: OwnedFd,
    env: Vec<(OsString, OsString)>,
    heartbeat_ms: u64,
    next_ms: u64,
    loyal: bool,
    lost: bool,
}

/// An emperor has started this process.
pub(crate) fn is_vassal(env: &[(OsString, OsString)]) -> bool {
    number(env).is_some_and(|number| birth::inherited_stream(number).is_ok())
}

fn number(env: &[(OsString, OsString)]) -> Option<RawFd> {
    let (_, value) = env.iter().rfind(|(name, _)| name == pipe::VARIABLE)?;
    value.to_str()?.parse().ok()
}

impl Allegiance {
    /// The one that the environment tells of. A number that is no pipe of an emperor is told, and passed over: a program
    /// that a vassal has started has the variable and not the pipe.
    pub(crate) fn sworn(env: &[(OsString, OsString)], config: &Config) -> Option<Self> {
        let allegiance = Self::kept(env, config)?;
        tracing::info!("this is a vassal (its emperor's pid is {})", process::parent_id());
        allegiance.hook(&config.emperor.hook_start, config);
        Some(allegiance)
    }

    /// The same, after another executable of this process has sworn it.
    pub(crate) fn kept(env: &[(OsString, OsString)], config: &Config) -> Option<Self> {
        let number = number(env)?;
        let fd = match birth::inherited_stream(number) {
            Ok(fd) => fd,
            Err(error) => {
                tracing::warn!("{}: descriptor {number} is no pipe of an emperor: {error}", pipe::VARIABLE);
                return None;
            }
        };
        // The pipe tells of the emperor's death, and lets requests in flight be finished; the signal that the emperor has
        // asked the kernel for would lose them.
        if let Err(error) = process::outlive_parent() {
            tracing::warn!("the death of the emperor: {error}");
        }
        let env = env.to_vec();
        let mut allegiance = Self { fd, env, heartbeat_ms: 0, next_ms: 0, loyal: false, lost: false };
        allegiance.renew(config);
        Some(allegiance)
    }

    /// The environment in which another executable of this process finds the pipe, if that stays open.
    pub(crate) fn leave(&self, env: &mut Vec<(OsString, OsString)>) {
        env.retain(|(name, _)| name != pipe::VARIABLE);
        env.push((pipe::VARIABLE.into(), self.fd.as_raw_fd().to_string().into()));
    }

    /// The configuration comes through a pipe, which only the one who was started with it can read.
    pub(crate) fn pushes_config(&self) -> bool {
        self.env.iter().any(|(name, _)| name == pipe::CONFIG_VARIABLE)
    }

    /// A configuration was read.
    pub(crate) fn renew(&mut self, config: &Config) {
        self.heartbeat_ms = u64::from(config.emperor.heartbeat) * 1_000;
        self.next_ms = 0;
    }

    /// What the emperor wants, in the order in which it was said.
    pub(crate) fn hear(&mut self) -> Vec<Will> {
        let mut room = [0; 64];
        let mut wills = Vec::new();
        while !self.lost {
            match birth::read(&self.fd, &mut room) {
                Ok(0) => self.lost = true,
                Ok(count) => wills.extend(room[..count].iter().filter_map(|byte| match *byte {
                    pipe::STOP => Some(Will::Stop),
                    pipe::RELOAD => Some(Will::Reload),
                    pipe::STOP_GRACEFULLY => Some(Will::StopGracefully),
                    _ => None,
                })),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return wills,
                Err(_) => self.lost = true,
            }
            if self.lost {
                wills.push(Will::Lost);
            }
        }
        wills
    }

    /// Does what a hook of the configuration says before a will is done.
    pub(crate) fn obey(&self, will: Will, config: &Config) {
        let options = &config.emperor;
        match will {
            Will::Stop | Will::StopGracefully => self.hook(&options.hook_stop, config),
            Will::Reload => self.hook(&options.hook_reload, config),
            Will::Lost => {
                tracing::error!("the emperor is gone: stopping");
                self.hook(&options.hook_lost, config);
            }
        }
    }

    /// Its commands are waited for: one that belongs to the end would be ended with it. Workers serve meanwhile.
    fn hook(&self, all: &[Hook], config: &Config) {
        hooks::run_anyway(&all.iter().collect::<Vec<_>>(), &mut Scene::new(config, self.env.clone()));
    }

    /// This process is there.
    pub(crate) fn is_ready(&self) {
        self.say(pipe::READY);
    }

    /// This process accepts.
    pub(crate) fn accepts(&self) {
        self.say(pipe::ACCEPTING);
    }

    /// A request was answered; said once.
    pub(crate) fn is_loyal(&mut self) {
        if !std::mem::replace(&mut self.loyal, true) {
            self.say(pipe::LOYAL);
        }
    }

    /// It was said.
    pub(crate) fn has_said_loyal(&self) -> bool {
        self.loyal
    }

    /// Nobody asks for anything.
    pub(crate) fn is_idle(&self) {
        self.say(pipe::IDLE);
    }

    /// The configuration is wanted again, where it came over a pipe.
    pub(crate) fn wants_config(&self) {
        if self.pushes_config() {
            self.say(pipe::CONFIG);
        }
    }

    /// When the heart beats next.
    pub(crate) fn wake_ms(&self) -> Option<u64> {
        (self.heartbeat_ms > 0 && !self.lost).then_some(self.next_ms)
    }

    /// The heart beats, if it is time.
    pub(crate) fn beat(&mut self) {
        let now = clock::coarse_ms();
        if self.wake_ms().is_some_and(|wake| wake <= now) {
            self.next_ms = now + self.heartbeat_ms;
            self.say(pipe::HEARTBEAT);
        }
    }

    fn say(&self, byte: u8) {
        // An emperor that is gone is told by the end of the pipe, and one that does not read needs no second byte.
        let _ = stream::write(self.fd.as_fd(), &[byte]);
    }
}

impl AsFd for Allegiance {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Allegiance {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
