//! How a vassal is started: its command line and environment are uWSGI's, and so is the order of what the child does until
//! it is another program. What goes wrong there is told in the vassal's own log; a child that finds no program ends with
//! the code of exile.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ruwsgi_log::Log;
use ruwsgi_options::{Action, Config, Emperor, Hook, Origin};
use ruwsgi_stage::hooks::{self, Scene};
use ruwsgi_sys::privilege::{self, Others, Target};
use ruwsgi_sys::process::{self, Side};
use ruwsgi_sys::{birth, stdio};

use super::monitor::{Place, option_for};
use super::pipe;
use crate::listeners::VARIABLES;
use crate::{exit, service, why};

/// Variables of vassals begin with this in the environment of the emperor.
const PREFIX: &[u8] = b"UWSGI_VASSAL_";
/// What is for the emperor alone. An emperor that is told by its environment to be one has vassals that are none.
const OWN: [&str; 6] = [
    "UWSGI_RELOADS",
    pipe::VARIABLE,
    pipe::CONFIG_VARIABLE,
    "RUWSGI_FALLBACKS",
    "RUWSGI_EMPEROR_LEASH",
    "RUWSGI_VASSALS_CONTROL",
];
/// Options of an emperor in the environment.
const OWN_OPTIONS: [&str; 4] = ["UWSGI_EMPEROR", "RUWSGI_EMPEROR", "UWSGI_EARLY_EMPEROR", "RUWSGI_EARLY_EMPEROR"];

/// Everything that vassals are started with.
pub(super) struct Ground {
    /// This program, where it was when the emperor began.
    pub binary: PathBuf,
    pub env: Vec<(OsString, OsString)>,
    /// Where the emperor writes, and no child of it.
    pub log: Log,
    /// How many files the emperor might open when it was started: vassals get the same.
    pub files: Option<(u64, u64)>,
}

/// A vassal that was started.
pub(super) struct Born {
    pub pid: i32,
    pub pipe: OwnedFd,
    pub log: OwnedFd,
}

/// What the child needs.
struct Child<'a> {
    config: &'a Config,
    options: &'a Emperor,
    log: &'a Log,
    place: &'a Place,
    owner: Option<(u32, u32)>,
    programs: Vec<PathBuf>,
    argv: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    files: Option<(u64, u64)>,
    parent: i32,
}

impl Ground {
    /// Starts a vassal; `socket` becomes its standard input.
    pub(super) fn start(
        &self,
        config: &Config,
        place: &Place,
        owner: Option<(u32, u32)>,
        socket: Option<BorrowedFd<'_>>,
    ) -> Result<Born, String> {
        let failed = |error: io::Error| why(&error);
        let (ours, theirs) = birth::pipe_pair().map_err(failed)?;
        let (log, mouth) = process::pipe().map_err(failed)?;
        birth::set_nonblocking(log.as_fd()).map_err(failed)?;
        let options = &config.emperor;
        let program = options.wrapper.clone().unwrap_or_else(|| self.binary.clone());
        let lists = [options.wrapper_override.clone(), vec![program], options.wrapper_fallback.clone()];
        let mut env = environment(&self.env);
        env.push((pipe::VARIABLE.into(), theirs.as_raw_fd().to_string().into()));
        let child = Child {
            config,
            options,
            log: &self.log,
            place,
            owner,
            programs: lists.concat(),
            argv: arguments(options, place),
            env,
            files: self.files,
            parent: process::id(),
        };
        match birth::fork_into(birth::namespaces(&options.namespaces)).map_err(failed)? {
            Side::Parent(pid) => Ok(Born { pid, pipe: ours, log }),
            Side::Child => {
                let prepared = match birth::settle(socket, mouth.as_fd(), theirs.as_fd()) {
                    Ok(()) => child.prepare(),
                    Err(error) => Err(why(&error)),
                };
                let (code, reason) = match prepared {
                    Err(reason) => (exit::FAILED, reason),
                    Ok(()) => (pipe::EXILE as u8, child.run()),
                };
                let _ = io::stderr().write_all(format!("error: {reason}\n").as_bytes());
                process::exit_now(code)
            }
        }
    }
}

impl Child<'_> {
    /// Returns only with the reason why it is no other program.
    fn run(&self) -> String {
        let mut tried = Vec::new();
        for program in &self.programs {
            let mut argv = self.argv.clone();
            argv.insert(0, program.clone().into_os_string());
            let error = birth::become_program(&self.find(program), &argv, &self.env);
            tried.push(format!("{}: {}", program.display(), why(&error)));
        }
        format!("no program can be started: {}", tried.join("; "))
    }

    /// A program without a slash is looked for on the `PATH`.
    fn find(&self, program: &Path) -> PathBuf {
        if program.as_os_str().as_bytes().contains(&b'/') {
            return program.to_owned();
        }
        let path = self.env.iter().rfind(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
        let folders = path.unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let found = std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file());
        found.unwrap_or_else(|| program.to_owned())
    }

    fn prepare(&self) -> Result<(), String> {
        let failed = |what: &'static str| move |error: io::Error| format!("{what}: {}", why(&error));
        // As long as it holds what is the emperor's; a change of the user would undo it.
        birth::die_with(self.parent).map_err(|_| "the emperor is gone".to_owned())?;
        let folder = &self.place.folder;
        std::env::set_current_dir(folder).map_err(|error| format!("{}: {}", folder.display(), why(&error)))?;
        if let Some(limits) = self.files {
            // What can't be as before is more than before.
            let _ = birth::set_file_limits(limits);
        }
        self.lower().map_err(failed("emperor-tyrant, emperor-cap"))?;
        self.hooks()?;
        birth::die_with(self.parent).map_err(|_| "the emperor is gone".to_owned())
    }

    /// Becomes the owner of the file, with no more than what vassals may do.
    fn lower(&self) -> io::Result<()> {
        let mut target = Target { capabilities: self.options.capabilities, ..Target::default() };
        if let Some((user, group)) = self.owner {
            let known = privilege::user(&user.to_string())?.filter(|_| self.options.tyrant_initgroups);
            target.user = Some(known.unwrap_or(privilege::Account { uid: user, known: None }));
            target.group = Some(group);
            target.others = if self.options.tyrant_initgroups { Others::OfUser } else { Others::These(Vec::new()) };
        }
        if target == Target::default() { Ok(()) } else { target.take() }
    }

    fn hooks(&self) -> Result<(), String> {
        // What hooks say is the vassal's.
        self.log.forget();
        self.log.redirect(stdio::error()).map_err(|error| why(&error))?;
        let options = self.options;
        let first = options.start_hook.iter().map(|command| hook("vassals-start-hook", command, &self.place.argument));
        let first: Vec<Hook> = first.collect();
        let lists = [
            &first,
            &options.hook_as_vassal,
            &options.mount_as_vassal,
            &options.umount_as_vassal,
            &options.exec_as_vassal,
        ];
        let all: Vec<&Hook> = lists.into_iter().flatten().collect();
        let mut scene = Scene { grouped: false, ..Scene::new(self.config, self.env.clone()) };
        hooks::run_all(&all, &mut scene).map_err(|stopped| stopped.reason)
    }
}

/// The command of an option that gets the name of a vassal behind it. As in uWSGI, it may fail.
pub(super) fn hook(option: &'static str, command: &str, name: &OsStr) -> Hook {
    let command = with_name(command, name);
    let action = Action::Run { command: command.clone(), may_fail: true };
    Hook { option, shown: command, action, origin: Origin::Default }
}

/// A command with a name behind it, whatever stands in the name.
fn with_name(command: &str, name: &OsStr) -> String {
    format!("{command} {}", quoted(name).to_string_lossy())
}

/// A name as one word of the shell.
fn quoted(name: &OsStr) -> OsString {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-/".contains(byte);
    if name.as_bytes().iter().all(plain) {
        return name.to_owned();
    }
    let inner = name.as_bytes().split(|byte| *byte == b'\'').collect::<Vec<_>>().join(&b"'\\''"[..]);
    OsStr::from_bytes(&[b"'", inner.as_slice(), b"'"].concat()).to_owned()
}

/// The command line of a vassal, without the program.
fn arguments(options: &Emperor, place: &Place) -> Vec<OsString> {
    let mut argv = Vec::new();
    let mut say = |option: &str, value: &OsStr| argv.extend([OsString::from(option), value.to_owned()]);
    options.inherit_before.iter().for_each(|file| say("--inherit", file.as_os_str()));
    options.include_before.iter().for_each(|file| say("--include", file.as_os_str()));
    options.set.iter().for_each(|text| say("--set", text.as_ref()));
    let option = option_for(&place.path, &options.extra_extensions).unwrap_or("--config");
    let executable = || place.path.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    if options.magic_exec && executable() {
        let mut name = OsString::from("exec://");
        // A name without a slash is looked for on the PATH, where it is not.
        if !place.argument.as_bytes().contains(&b'/') {
            name.push("./");
        }
        name.push(quoted(&place.argument));
        say(option, &name);
    } else {
        say(option, &place.argument);
    }
    options.inherit.iter().for_each(|file| say("--inherit", file.as_os_str()));
    options.include.iter().for_each(|file| say("--include", file.as_os_str()));
    argv
}

/// The environment of a vassal.
fn environment(ours: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let is_own = |name: &OsString| {
        let mut all = OWN.iter().chain(&VARIABLES).chain(&service::VARIABLES).chain(&OWN_OPTIONS);
        all.any(|own| name == own) || name.as_bytes().starts_with(PREFIX)
    };
    env.extend(ours.iter().filter(|(name, _)| !is_own(name)).cloned());
    for (name, value) in ours {
        if let Some(rest) = name.as_bytes().strip_prefix(PREFIX).filter(|rest| !rest.is_empty()) {
            let name = OsStr::from_bytes(&[b"UWSGI_", rest].concat()).to_owned();
            env.retain(|(known, _)| *known != name);
            env.push((name, value.clone()));
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emperor::name::Name;
    use ruwsgi_options::{Directive, Origin};

    fn config(lines: &[(&str, &str)]) -> Config {
        let directive = |(name, value): &(&str, &str)| Directive::new(*name, Some(value), Origin::Argv);
        Config::interpret(lines.iter().map(directive).collect()).unwrap().0
    }

    fn place(name: &str) -> Place {
        let path = Path::new("/etc/vassals").join(name);
        Place { name: Name::from(name), path, argument: name.into(), folder: "/etc/vassals".into() }
    }

    #[test]
    fn the_command_line_is_uwsgis() {
        let config = config(&[
            ("vassals-include", "z.ini"),
            ("vassals-include-before", "a.ini"),
            ("vassals-inherit", "y.ini"),
            ("vassals-inherit-before", "b.ini"),
            ("vassal-set", "processes=2"),
            ("emperor-extra-extension", ".conf"),
        ]);
        let argv = |name: &str| arguments(&config.emperor, &place(name)).join(OsStr::new(" "));
        let wanted = "--inherit b.ini --include a.ini --set processes=2 --ini shop.ini --inherit y.ini --include z.ini";
        assert_eq!(argv("shop.ini"), wanted);
        assert!(argv("-a b.yml").to_str().unwrap().contains("--yaml -a b.yml"));
        assert!(argv("x.conf").to_str().unwrap().contains("--config x.conf"));
        assert_eq!(with_name("run it", OsStr::new("it's.ini")), "run it 'it'\\''s.ini'");
    }

    #[test]
    fn variables_of_vassals_are_theirs_and_the_emperors_are_not() {
        let pair = |(name, value): (&str, &str)| (OsString::from(name), OsString::from(value));
        let ours = [("A", "1"), ("UWSGI_VASSAL_PROCESSES", "4"), ("UWSGI_PROCESSES", "2"), ("UWSGI_EMPEROR", "/v")];
        let more = [
            ("NOTIFY_SOCKET", "/n"),
            ("WATCHDOG_USEC", "9"),
            ("UWSGI_EMPEROR_FD", "7"),
            ("LISTEN_FDS", "1"),
            ("UWSGI_HTTP", ":1"),
        ];
        let env = environment(&ours.into_iter().chain(more).map(pair).collect::<Vec<_>>());
        assert_eq!(env, [("A", "1"), ("UWSGI_HTTP", ":1"), ("UWSGI_PROCESSES", "4")].map(pair));
    }
}
