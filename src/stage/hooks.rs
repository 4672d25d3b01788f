//! Hooks: which actions belong to a phase, in which order, and what becomes of one that fails. `act.rs` does them.

use std::ffi::OsString;

use ruwsgi_options::{Config, Hook, Hooks, Meaning};

use crate::act::{Done, act};
use crate::{Stopped, why};

/// A phase of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The configuration was read.
    Asap,
    /// The privileges are still there.
    PreJail,
    /// After that.
    InJail,
    /// Right before the privileges are dropped.
    AsRoot,
    /// Right after that.
    AsUser,
    /// The instance ends.
    AsUserAtexit,
    /// The application is about to be loaded.
    PreApp,
    /// It was loaded.
    PostApp,
    /// A worker is there.
    PostFork,
    /// It is about to accept.
    Accepting {
        /// It is the first one.
        first: bool,
        /// Its slot had no other worker in this generation.
        once: bool,
    },
    /// The master begins its work.
    MasterStart,
}

impl Phase {
    /// Its actions, in their order: hooks, mounts, unmounts, commands, as uWSGI has it.
    #[must_use]
    pub fn hooks(self, said: &Hooks) -> Vec<&Hook> {
        let lists: Vec<&Vec<Hook>> = match self {
            Self::Asap => vec![&said.hook_asap, &said.mount_asap, &said.umount_asap, &said.exec_asap],
            Self::PreJail => {
                vec![&said.hook_pre_jail, &said.mount_pre_jail, &said.umount_pre_jail, &said.exec_pre_jail]
            }
            Self::InJail => vec![&said.hook_in_jail, &said.mount_in_jail, &said.umount_in_jail, &said.exec_in_jail],
            Self::AsRoot => vec![
                &said.wait_for_fs,
                &said.hook_as_root,
                &said.mount_as_root,
                &said.umount_as_root,
                &said.exec_as_root,
            ],
            Self::AsUser => vec![&said.hook_as_user, &said.exec_as_user, &said.wait_for_socket],
            Self::AsUserAtexit => vec![&said.hook_as_user_atexit, &said.exec_as_user_atexit],
            Self::PreApp => vec![&said.hook_pre_app, &said.exec_pre_app],
            Self::PostApp => vec![&said.hook_post_app, &said.exec_post_app],
            Self::PostFork => vec![&said.hook_post_fork],
            Self::Accepting { first, once } => {
                let mut lists = vec![&said.hook_accepting];
                lists.extend(once.then_some(&said.hook_accepting_once));
                lists.extend(first.then_some(&said.hook_accepting1));
                lists.extend((first && once).then_some(&said.hook_accepting1_once));
                lists
            }
            Self::MasterStart => vec![&said.hook_master_start],
        };
        lists.into_iter().flatten().collect()
    }
}

/// Where hooks run, and what they leave for their caller to do.
pub struct Scene {
    /// The environment of what they start.
    pub env: Vec<(OsString, OsString)>,
    /// How long they may wait for something: a path, a socket, in seconds.
    pub patience_s: (u32, u32),
    /// They may not wait at all: their commands go on by themselves.
    pub hurried: bool,
    /// Their commands have groups of their own, since a signal of the terminal does not end this process.
    pub grouped: bool,
    /// What they have added to the environment.
    pub variables: Vec<(String, String)>,
    /// What signals are to mean from here on.
    pub meanings: Vec<(i32, Meaning)>,
    /// Commands that go on by themselves.
    pub started: Vec<(i32, String)>,
    /// What is to be done while a command runs that is waited for.
    pub meanwhile: Option<Box<dyn FnMut() + Send>>,
}

impl Scene {
    /// With the patience that the options have.
    #[must_use]
    pub fn new(config: &Config, env: Vec<(OsString, OsString)>) -> Self {
        let patience_s = (config.hooks.wait_for_fs_timeout, config.hooks.wait_for_socket_timeout);
        let (variables, meanings, started) = (Vec::new(), Vec::new(), Vec::new());
        Self { env, patience_s, hurried: false, grouped: true, variables, meanings, started, meanwhile: None }
    }
}

/// Does the actions of a phase, one after another. The first one that fails is the end.
pub fn run(phase: Phase, config: &Config, scene: &mut Scene) -> Result<(), Stopped> {
    run_all(&phase.hooks(&config.hooks), scene)
}

/// The same for actions that belong to no phase of an instance: an emperor's.
pub fn run_all(hooks: &[&Hook], scene: &mut Scene) -> Result<(), Stopped> {
    hooks.iter().try_for_each(|hook| run_one(hook, scene))
}

/// Does all of them, whatever fails; failures are told.
pub fn run_anyway(hooks: &[&Hook], scene: &mut Scene) {
    for hook in hooks {
        if let Err(Stopped { reason, .. }) = run_one(hook, scene) {
            tracing::error!("{reason}");
        }
    }
}

/// One action.
pub fn run_one(hook: &Hook, scene: &mut Scene) -> Result<(), Stopped> {
    let Hook { option, shown, action, origin } = hook;
    tracing::info!("{option}: {shown}");
    match act(option, action, scene) {
        Ok(Done::Yes) => Ok(()),
        Ok(Done::Exit(code)) => Err(Stopped { code, reason: format!("{option}: {shown} ({origin})") }),
        Ok(Done::No(what)) => Err(format!("{option}: {shown}: {what} ({origin})").into()),
        Err(error) => Err(format!("{option}: {shown}: {} ({origin})", why(&error)).into()),
    }
}
