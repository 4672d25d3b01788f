//! What `hook-*`, `mount-*`, `umount-*` and `exec-*` of emperors and vassals do. The child that becomes a vassal waits for
//! its commands; the emperor and a master wait for none.

use std::ffi::{CString, OsString};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use ruwsgi_options::Action;
use ruwsgi_sys::exec::{self, Program};
use ruwsgi_sys::{bounds, host, privilege};

use crate::why;

/// Where a hook runs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage<'e> {
    /// In a child that waits for its commands, and then becomes another program.
    Child(&'e [(OsString, OsString)]),
    /// In a process that can't wait: commands are started, and end when they like.
    Loop(&'e [(OsString, OsString)]),
}

/// All actions, in order, until one fails: which, and why.
pub(crate) fn run(actions: &[Action], stage: Stage<'_>) -> Result<(), String> {
    actions.iter().try_for_each(|action| {
        let Action { verb, argument, origin } = action;
        act(verb, argument, stage).map_err(|reason| format!("{verb}:{argument}: {reason} ({origin})"))
    })
}

/// One action.
pub(crate) fn act(verb: &str, argument: &str, stage: Stage<'_>) -> Result<(), String> {
    let failed = |error: std::io::Error| why(&error);
    match verb {
        "exec" => command(argument, stage),
        "cd" | "chdir" => std::env::set_current_dir(argument).map_err(failed),
        "mkdir" => std::fs::create_dir(argument).map_err(failed),
        "print" => {
            tracing::info!("{argument}");
            Ok(())
        }
        "write" | "writen" | "append" | "appendn" => {
            let (file, text) = argument.split_once(' ').unwrap_or((argument, ""));
            let end = if verb.ends_with('n') { "\n" } else { "" };
            let adds = verb.starts_with("append");
            let opened = OpenOptions::new().write(true).create(true).append(adds).truncate(!adds).open(file);
            opened.and_then(|mut opened| opened.write_all(format!("{text}{end}").as_bytes())).map_err(failed)
        }
        "mount" => bounds::mount_as_said(argument),
        "umount" => bounds::unmount_as_said(argument),
        "chmod" => {
            let (file, mode) = argument.rsplit_once(' ').ok_or("FILE MODE is wanted")?;
            let mode = u32::from_str_radix(mode, 8).map_err(|_| format!("{mode:?} is no mode"))?;
            std::fs::set_permissions(file.trim(), PermissionsExt::from_mode(mode)).map_err(failed)
        }
        "chown" => give(argument),
        "unlink" => std::fs::remove_file(argument).map_err(failed),
        "hostname" => host::set_name(argument).map_err(failed),
        other => Err(format!("{other} is no action")),
    }
}

/// `FILE USER [GROUP]`, `FILE USER:GROUP`
fn give(argument: &str) -> Result<(), String> {
    let mut words = argument.split([' ', ':']).filter(|word| !word.is_empty());
    let (Some(file), Some(user)) = (words.next(), words.next()) else { return Err("FILE USER is wanted".to_owned()) };
    let account = privilege::user(user).map_err(|error| why(&error))?.ok_or_else(|| format!("no user {user:?}"))?;
    let group = match words.next() {
        Some(name) => {
            privilege::group(name).map_err(|error| why(&error))?.ok_or_else(|| format!("no group {name:?}"))?
        }
        None => account.known.as_ref().map_or(account.uid, |(_, primary)| *primary),
    };
    chown(Path::new(file), Some(account.uid), Some(group)).map_err(|error| why(&error))
}

/// A command of the shell.
fn command(text: &str, stage: Stage<'_>) -> Result<(), String> {
    if CString::new(text).is_err() {
        return Err("a command has no NUL byte".to_owned());
    }
    match stage {
        Stage::Child(env) => {
            let mut shell = Command::new("/bin/sh");
            shell.arg("-c").arg(text).env_clear().envs(env.iter().map(|(name, value)| (name, value)));
            let status = shell.status().map_err(|error| why(&error))?;
            if status.success() { Ok(()) } else { Err(status.to_string()) }
        }
        Stage::Loop(env) => {
            let args = ["-c".into(), text.into()];
            let program =
                Program { program: "/bin/sh".as_ref(), args: &args, env, umask: None, keep: &[], input: false };
            exec::start(&program).map(drop).map_err(|error| why(&error))
        }
    }
}
