//! The kinds of hooks: what a process does on its way from its start to its end, besides its work. An action is read
//! where it is said, so that a wrong one has its place. Rows of the `table` name these kinds; see `kind`.

use std::path::PathBuf;

use crate::directive::Origin;
use crate::kind::{Kind, Number, Reading, Said, octal, some};

/// `ACTION:ARGUMENTS`, each time one more.
pub struct Hooks;
/// A command of the shell, each time one more.
pub struct Commands;
/// `TYPE SOURCE FOLDER [FLAGS [DATA]]`, each time one more.
pub struct MountHooks;
/// `FOLDER [FLAGS]`, each time one more.
pub struct UmountHooks;
/// `FILE ACTION:ARGUMENTS`, each time one more.
pub struct TouchHooks;
/// What a `wait-for-` option waits for, each time one more.
pub struct Awaits;

/// An action of a phase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The option that said it.
    pub option: &'static str,
    /// As it is shown; `!` before it keeps its arguments out of the log.
    pub shown: String,
    /// What is done.
    pub action: Action,
    /// Where it was said.
    pub origin: Origin,
}

/// What a hook can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Enters a folder.
    Enter(PathBuf),
    /// Makes a folder.
    MakeFolder(PathBuf),
    /// Sets a variable of the environment.
    Variable(String, String),
    /// Sets the permissions of a file.
    Mode(PathBuf, u32),
    /// Sets the owner and the group of a file; names or numbers.
    Owner(PathBuf, String, String),
    /// Lets only owners remove files from a folder.
    Sticky(PathBuf),
    /// Runs a command of the shell and waits for its end.
    Run {
        /// The command.
        command: String,
        /// It may fail.
        may_fail: bool,
    },
    /// Makes an empty file.
    Create(PathBuf),
    /// Writes into a file.
    Write {
        /// The file.
        path: PathBuf,
        /// What, with its newline if one is wanted.
        text: String,
        /// Behind what is there.
        append: bool,
    },
    /// Writes into a FIFO.
    Fifo {
        /// The FIFO.
        path: PathBuf,
        /// What.
        text: String,
        /// Waits for a reader; otherwise nobody may be there.
        patient: bool,
    },
    /// Removes a file.
    Remove(PathBuf),
    /// Mounts a file system.
    Mount {
        /// Its type; empty for what has none.
        kind: String,
        /// What.
        source: String,
        /// Where.
        target: PathBuf,
        /// Names of [`MOUNT_FLAGS`].
        flags: Vec<&'static str>,
        /// For the file system.
        data: Option<String>,
    },
    /// Unmounts a file system.
    Umount {
        /// Where.
        target: PathBuf,
        /// Names of [`UMOUNT_FLAGS`].
        flags: Vec<&'static str>,
    },
    /// Names the machine.
    Hostname(String),
    /// Waits until something is there.
    Await(Awaited, String),
    /// Has a signal mean something else for the master.
    Signal(i32, Meaning),
    /// Ends the process.
    Exit(u8),
    /// Writes a line to the log.
    Print(String),
}

/// What may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// Anything at this path.
    Path,
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Somebody who accepts connections at this address.
    Socket,
}

/// What uWSGI's functions for signals do to a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Stops with mercy.
    Stop,
    /// Stops now.
    StopNow,
    /// Reloads.
    Reload,
    /// Reloads, and kills the former workers.
    ReloadNow,
    /// Pauses, or resumes.
    Pause,
    /// Writes statistics to the log.
    Stats,
}

impl Meaning {
    /// uWSGI's function for it.
    #[must_use]
    pub fn function(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, meaning)| *meaning == self).map_or("", |(name, _)| name)
    }

    /// What a function of uWSGI's does.
    #[must_use]
    pub fn named(function: &str) -> Option<Self> {
        FUNCTIONS.iter().find(|(name, _)| *name == function).map(|(_, meaning)| *meaning)
    }
}

/// uWSGI's functions that `unix_signal` can name.
const FUNCTIONS: [(&str, Meaning); 6] = [
    ("gracefully_kill_them_all", Meaning::Stop),
    ("kill_them_all", Meaning::StopNow),
    ("grace_them_all", Meaning::Reload),
    ("reap_them_all", Meaning::ReloadNow),
    ("suspend_resume_them_all", Meaning::Pause),
    ("stats", Meaning::Stats),
];

/// The flags of `mount`, as uWSGI and mount(8) have them.
pub const MOUNT_FLAGS: [&str; 19] = [
    "bind",
    "dirsync",
    "mandlock",
    "move",
    "noatime",
    "nodev",
    "noexec",
    "nosuid",
    "private",
    "rdonly",
    "readonly",
    "rec",
    "recursive",
    "remount",
    "ro",
    "shared",
    "slave",
    "sync",
    "unbindable",
];
/// The flags of `umount`.
pub const UMOUNT_FLAGS: [&str; 5] = ["detach", "expire", "force", "rec", "recursive"];

/// Makes an action of its arguments; the error is what they should be.
type Make = fn(&str) -> Result<Action, String>;

/// All actions.
const ACTIONS: &[(&str, Make)] = &[
    ("cd", |text| Ok(Action::Enter(path(text)?))),
    ("chdir", |text| Ok(Action::Enter(path(text)?))),
    ("mkdir", |text| Ok(Action::MakeFolder(path(text)?))),
    ("putenv", variable),
    ("chmod", mode),
    ("chown", owner),
    ("chown2", owner),
    ("sticky", |text| Ok(Action::Sticky(path(text)?))),
    ("exec", |text| Ok(Action::Run { command: word(text, "a command")?, may_fail: false })),
    ("safeexec", |text| Ok(Action::Run { command: word(text, "a command")?, may_fail: true })),
    ("create", |text| Ok(Action::Create(path(text)?))),
    ("creat", |text| Ok(Action::Create(path(text)?))),
    ("write", |text| write(text, "", false)),
    ("writen", |text| write(text, "\n", false)),
    ("append", |text| write(text, "", true)),
    // Without a text, an empty line.
    ("appendn", |text| write(&if text.contains(' ') { text.into() } else { format!("{text} ") }, "\n", true)),
    ("writefifo", |text| fifo(text, false)),
    ("spinningfifo", |text| fifo(text, true)),
    ("unlink", |text| Ok(Action::Remove(path(text)?))),
    ("mount", mount),
    ("umount", umount),
    ("hostname", |text| Ok(Action::Hostname(word(text, "a name")?))),
    ("wait_for_fs", |text| Ok(Action::Await(Awaited::Path, word(text, "a path")?))),
    ("wait_for_file", |text| Ok(Action::Await(Awaited::File, word(text, "a file")?))),
    ("wait_for_dir", |text| Ok(Action::Await(Awaited::Folder, word(text, "a folder")?))),
    ("wait_for_socket", |text| Ok(Action::Await(Awaited::Socket, word(text, "an address")?))),
    ("unix_signal", signal),
    // uWSGI reads a single letter as none.
    ("exit", |text| {
        Number::read(Some(text)).within(0, 255).map(|(code, _)| Action::Exit(code)).or(Ok(Action::Exit(0)))
    }),
    ("print", |text| Ok(Action::Print(text.into()))),
    ("log", |text| Ok(Action::Print(text.into()))),
];

/// uWSGI's actions that this server does not have, and why.
const OTHERS: [(&str, &str); 7] = [
    ("call", "there are no C functions to call"),
    ("callret", "there are no C functions to call"),
    ("callint", "there are no C functions to call"),
    ("callintret", "there are no C functions to call"),
    ("alarm", "there are no alarms yet: use exec"),
    ("rpc", "there is no RPC between servers yet: use exec"),
    ("retryrpc", "there is no RPC between servers yet: use exec"),
];

impl Hook {
    fn read(said: &Said<'_>, text: &str) -> Result<Self, String> {
        let (quiet, rest) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
        let (name, arguments) = rest.split_once(':').ok_or_else(|| format!("{text:?} is not ACTION:ARGUMENTS"))?;
        let action = match ACTIONS.iter().find(|(known, _)| *known == name) {
            Some((_, make)) => make(arguments).map_err(|wanted| format!("{name}: {wanted}"))?,
            None => return Err(no_action(name)),
        };
        let shown = if quiet { format!("{name}:...") } else { text.to_owned() };
        Ok(Self { option: said.name, shown, action, origin: said.origin.clone() })
    }

    fn plain(said: &Said<'_>, action: Action, text: String) -> Self {
        Self { option: said.name, shown: text, action, origin: said.origin.clone() }
    }
}

fn no_action(name: &str) -> String {
    match OTHERS.iter().find(|(other, _)| *other == name) {
        Some((_, why)) => format!("{name}: {why}"),
        None => {
            let names: Vec<&str> = ACTIONS.iter().map(|(name, _)| *name).collect();
            format!("there is no action {name:?}: {} are", names.join(", "))
        }
    }
}

impl Kind for Hooks {
    type Field = Vec<Hook>;
    const HINT: &'static str = "ACTION:ARGUMENTS";

    fn read(field: &mut Vec<Hook>, said: &Said<'_>) -> Reading {
        field.push(Hook::read(said, &some(said.value)?)?);
        Ok(None)
    }
}

impl Kind for Commands {
    type Field = Vec<Hook>;
    const HINT: &'static str = "COMMAND";

    fn read(field: &mut Vec<Hook>, said: &Said<'_>) -> Reading {
        let command = some(said.value)?;
        field.push(Hook::plain(said, Action::Run { command: command.clone(), may_fail: false }, command));
        Ok(None)
    }
}

impl Kind for MountHooks {
    type Field = Vec<Hook>;
    const HINT: &'static str = "TYPE SOURCE FOLDER [FLAGS]";

    fn read(field: &mut Vec<Hook>, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        field.push(Hook::plain(said, mount(&text)?, text));
        Ok(None)
    }
}

impl Kind for UmountHooks {
    type Field = Vec<Hook>;
    const HINT: &'static str = "FOLDER [FLAGS]";

    fn read(field: &mut Vec<Hook>, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        field.push(Hook::plain(said, umount(&text)?, text));
        Ok(None)
    }
}

impl Kind for TouchHooks {
    type Field = Vec<(PathBuf, Hook)>;
    const HINT: &'static str = "FILE ACTION:ARGUMENTS";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (file, action) = text.split_once(' ').ok_or_else(|| format!("{text:?} is not FILE ACTION:ARGUMENTS"))?;
        field.push((file.into(), Hook::read(said, action.trim_start())?));
        Ok(None)
    }
}

impl Kind for Awaits {
    type Field = Vec<Hook>;
    const HINT: &'static str = "PATH";

    fn read(field: &mut Vec<Hook>, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let what = match said.name {
            "wait-for-file" => Awaited::File,
            "wait-for-dir" => Awaited::Folder,
            "wait-for-socket" => Awaited::Socket,
            _ => Awaited::Path,
        };
        field.push(Hook::plain(said, Action::Await(what, text.clone()), text));
        Ok(None)
    }
}

fn word(text: &str, wanted: &str) -> Result<String, String> {
    if text.is_empty() { Err(format!("{wanted} is missing")) } else { Ok(text.to_owned()) }
}

fn path(text: &str) -> Result<PathBuf, String> {
    word(text, "a path").map(PathBuf::from)
}

/// The first word, and what is behind the blank.
fn pair<'t>(text: &'t str, wanted: &str) -> Result<(&'t str, &'t str), String> {
    text.split_once(' ').filter(|(first, _)| !first.is_empty()).ok_or_else(|| format!("{text:?} is not {wanted}"))
}

fn variable(text: &str) -> Result<Action, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not NAME=VALUE"))?;
    if name.is_empty() || text.contains('\0') {
        return Err(format!("{text:?} is not NAME=VALUE"));
    }
    Ok(Action::Variable(name.into(), value.into()))
}

fn mode(text: &str) -> Result<Action, String> {
    let (file, mode) = pair(text, "FILE MODE")?;
    // With the bits for setuid and the like before, or without.
    let bits = octal(mode, 3).or_else(|| octal(mode, 4));
    let bits = bits.ok_or_else(|| format!("{mode:?} is not a mode of three octal digits, such as 640"))?;
    Ok(Action::Mode(file.into(), bits))
}

fn owner(text: &str) -> Result<Action, String> {
    let wanted = || format!("{text:?} is not FILE USER GROUP");
    match text.split(' ').collect::<Vec<_>>()[..] {
        [file, user, group] if ![file, user, group].contains(&"") => {
            Ok(Action::Owner(file.into(), user.into(), group.into()))
        }
        _ => Err(wanted()),
    }
}

fn write(text: &str, end: &str, append: bool) -> Result<Action, String> {
    let (path, text) = pair(text, "FILE TEXT")?;
    Ok(Action::Write { path: path.into(), text: format!("{text}{end}"), append })
}

fn fifo(text: &str, patient: bool) -> Result<Action, String> {
    let (path, text) = pair(text, "FILE TEXT")?;
    Ok(Action::Fifo { path: path.into(), text: text.into(), patient })
}

fn flags(text: &str, known: &[&'static str]) -> Result<Vec<&'static str>, String> {
    let named = text.split(',').filter(|flag| !flag.is_empty() && *flag != "defaults");
    let found = |flag: &str| {
        let unknown = || format!("there is no flag {flag:?}: {} are", known.join(", "));
        known.iter().copied().find(|known| *known == flag).ok_or_else(unknown)
    };
    named.map(found).collect()
}

fn mount(text: &str) -> Result<Action, String> {
    let mut words = text.splitn(5, ' ');
    let mut next = || words.next().filter(|word| !word.is_empty());
    let (Some(kind), Some(source), Some(target)) = (next(), next(), next()) else {
        return Err(format!("{text:?} is not TYPE SOURCE FOLDER [FLAGS]"));
    };
    let flags = flags(next().unwrap_or_default(), &MOUNT_FLAGS)?;
    let data = next().map(str::to_owned);
    Ok(Action::Mount { kind: kind.into(), source: source.into(), target: target.into(), flags, data })
}

fn umount(text: &str) -> Result<Action, String> {
    let (target, named) = text.split_once(' ').unwrap_or((text, ""));
    Ok(Action::Umount { target: path(target)?, flags: flags(named, &UMOUNT_FLAGS)? })
}

fn signal(text: &str) -> Result<Action, String> {
    let (number, function) = pair(text, "SIGNAL FUNCTION")?;
    // 9 and 19 can't mean anything else, and 17 is how the master hears of its children.
    let number: i32 = number
        .parse()
        .ok()
        .filter(|number| (1..=31).contains(number) && ![9, 17, 19].contains(number))
        .ok_or_else(|| format!("{number:?} is no signal that can mean something"))?;
    let meaning = FUNCTIONS.iter().find(|(known, _)| *known == function).map(|(_, meaning)| *meaning);
    let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
    let meaning = meaning.ok_or_else(|| format!("there is no function {function:?}: {} are", names.join(", ")))?;
    Ok(Action::Signal(number, meaning))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    fn action(text: &str) -> Result<Action, String> {
        let (mut hooks, reading) = read::<Hooks>(Some(text));
        reading.map(|_| hooks.remove(0).action)
    }

    #[test]
    fn each_action_is_read_with_its_arguments() {
        for (text, expected) in [
            ("cd:/srv", Action::Enter("/srv".into())),
            ("putenv:A=b=c", Action::Variable("A".into(), "b=c".into())),
            ("chmod:/run/x 666", Action::Mode("/run/x".into(), 0o666)),
            ("chmod:/run/x 2775", Action::Mode("/run/x".into(), 0o2775)),
            ("chown:/a www-data 33", Action::Owner("/a".into(), "www-data".into(), "33".into())),
            ("exec:a b | c", Action::Run { command: "a b | c".into(), may_fail: false }),
            ("writen:/a b c", Action::Write { path: "/a".into(), text: "b c\n".into(), append: false }),
            ("appendn:/a", Action::Write { path: "/a".into(), text: "\n".into(), append: true }),
            ("spinningfifo:/a go", Action::Fifo { path: "/a".into(), text: "go".into(), patient: true }),
            ("wait_for_socket::80", Action::Await(Awaited::Socket, ":80".into())),
            ("unix_signal:15 gracefully_kill_them_all", Action::Signal(15, Meaning::Stop)),
            ("exit:5", Action::Exit(5)),
            ("exit:", Action::Exit(0)),
            ("print:", Action::Print(String::new())),
        ] {
            assert_eq!(action(text), Ok(expected), "{text}");
        }
        let mount = action("mount:proc none /proc nosuid,ro hidepid=2").unwrap();
        let Action::Mount { kind, source, target, flags, data } = mount else { panic!("{mount:?}") };
        assert_eq!((kind.as_str(), source.as_str(), target.to_str().unwrap()), ("proc", "none", "/proc"));
        assert_eq!((flags, data.as_deref()), (vec!["nosuid", "ro"], Some("hidepid=2")));
    }

    #[test]
    fn what_is_no_action_is_told() {
        for (text, why) in [
            ("exec", "ACTION:ARGUMENTS"),
            ("exce:x", "there is no action \"exce\""),
            ("call:f", "call: there are no C functions to call"),
            ("chmod:/a 999", "\"999\" is not a mode"),
            ("chown:/a b", "FILE USER GROUP"),
            ("mount:proc none", "TYPE SOURCE FOLDER"),
            ("mount:none a b bnd", "there is no flag \"bnd\""),
            ("unix_signal:9 kill_them_all", "\"9\" is no signal"),
            ("unix_signal:15 f", "there is no function \"f\""),
            ("mkdir:", "a path is missing"),
            ("putenv:A", "NAME=VALUE"),
        ] {
            let error = action(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_private_hook_shows_no_arguments() {
        assert_eq!(read::<Hooks>(Some("!exec:pw secret")).0[0].shown, "exec:...");
        assert_eq!(read::<Commands>(Some("true")).0[0].shown, "true");
        assert_eq!(read::<TouchHooks>(Some("/a exec:b")).0[0].0, PathBuf::from("/a"));
        assert!(read::<TouchHooks>(Some("/a")).1.is_err());
    }
}
