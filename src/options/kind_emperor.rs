//! How the values of the emperor's options are read. Rows of the `table` name these kinds; see `kind`.

use bstr::{BString, ByteSlice};

use crate::directive::Origin;
use crate::kind::{Kind, Reading, Said, some};

/// Where vassals come from, each time one more.
pub struct Places;
/// `NAME=VALUE`, each time one more.
pub struct Settings;
/// Names of namespaces.
pub struct Namespaces;
/// Names of capabilities.
pub struct EmperorCaps;
/// `ACTION:ARGUMENT`, each time one more.
pub struct EmperorHooks;

/// A place that says which vassals there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Province {
    /// How the place is read.
    pub kind: ProvinceKind,
    /// The directory, the pattern or the file.
    pub path: BString,
    /// As it was written.
    pub said: BString,
    /// Where it was said.
    pub origin: Origin,
}

/// How a place of vassals is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvinceKind {
    /// A directory, or else a pattern: what it is on this machine.
    Either,
    /// The files of a directory.
    Directory,
    /// The files that match a pattern.
    Glob,
    /// The files that a file names, one a line.
    List,
}

/// What a hook does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// `exec`, `write` ...
    pub verb: &'static str,
    /// What stands behind the colon.
    pub argument: String,
    /// Where it was said.
    pub origin: Origin,
}

const SCHEMES: [(&str, ProvinceKind); 3] =
    [("dir", ProvinceKind::Directory), ("glob", ProvinceKind::Glob), ("list", ProvinceKind::List)];

/// The places that uWSGI knows and this server does not, and what to use.
const ELSEWHERE: [(&str, &str); 7] = [
    ("pg", "a job that writes each row of the query to a file of a directory"),
    ("mongodb", "a job that writes each document to a file of a directory"),
    ("ldap", "a job that writes each entry to a file of a directory"),
    ("amqp", "a consumer that writes each message to a file of a directory"),
    ("zmq", "ruwsgi vassals start, stop and reload, and a directory"),
    ("http", "a job that writes what it gets to a file of a directory"),
    ("https", "a job that writes what it gets to a file of a directory"),
];

/// All schemes that can be said, for `imperial-monitor-list`.
pub fn monitors() -> impl Iterator<Item = &'static str> {
    SCHEMES.iter().map(|(scheme, _)| *scheme)
}

impl Kind for Places {
    type Field = Vec<Province>;
    const HINT: &'static str = "PLACE";
    const TAKES: Option<&'static str> = Some("a directory, a pattern, dir://DIR, glob://PATTERN or list://FILE");
    const BYTES: bool = true;

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = said.bytes.unwrap_or_default();
        let (kind, path) = match text.split_once_str("://") {
            None => (ProvinceKind::Either, text.as_bytes()),
            Some((scheme, path)) => match SCHEMES.iter().find(|(known, _)| known.as_bytes() == scheme) {
                Some((_, kind)) => (*kind, path),
                None => return Err(not_here(&scheme.to_str_lossy())),
            },
        };
        if path.is_empty() {
            return Err("no value".into());
        }
        field.push(Province { kind, path: path.into(), said: text.into(), origin: said.origin.clone() });
        Ok(None)
    }
}

fn not_here(scheme: &str) -> String {
    match ELSEWHERE.iter().find(|(known, _)| *known == scheme) {
        Some((_, instead)) => format!("{scheme}:// is not built here: use {instead}"),
        None => format!("{scheme}:// is no place of vassals: dir://, glob:// and list:// are"),
    }
}

impl Kind for Settings {
    type Field = Vec<String>;
    const HINT: &'static str = "NAME=VALUE";
    const TAKES: Option<&'static str> = Some("NAME=VALUE");

    fn read(field: &mut Vec<String>, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        match text.split_once('=') {
            Some((name, _)) if !name.is_empty() => field.push(text),
            _ => return Err(format!("{text:?} is not NAME=VALUE")),
        }
        Ok(None)
    }
}

/// The namespaces of clone(2), as uWSGI names them.
const NAMESPACES: [&str; 7] = ["cgroup", "fs", "ipc", "net", "pid", "user", "uts"];

impl Kind for Namespaces {
    type Field = Vec<&'static str>;
    const HINT: &'static str = "NAMES";
    const TAKES: Option<&'static str> = Some("some of cgroup, fs, ipc, net, pid, user and uts, with commas between");

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        for name in text.split([',', ' ', '|']).map(str::trim).filter(|name| !name.is_empty()) {
            let name = if name == "mount" { "fs" } else { name };
            let known = NAMESPACES.iter().find(|known| **known == name);
            field.push(known.ok_or_else(|| format!("{name:?} is no namespace: {} are", NAMESPACES.join(", ")))?);
        }
        Ok(None)
    }
}

/// By their numbers, capabilities(7).
const CAPABILITIES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

impl Kind for EmperorCaps {
    type Field = Option<u64>;
    const HINT: &'static str = "NAMES";
    const TAKES: Option<&'static str> = Some("names of capabilities(7) with commas between, such as net_bind_service");

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let mut mask = field.unwrap_or(0);
        for said in text.split([',', ' ']).map(str::trim).filter(|name| !name.is_empty()) {
            let name = said.to_ascii_lowercase();
            let name = name.strip_prefix("cap_").unwrap_or(&name);
            let number = CAPABILITIES.iter().position(|known| *known == name);
            mask |= 1 << number.ok_or_else(|| format!("{said:?} is no capability of Linux"))?;
        }
        *field = Some(mask);
        Ok(None)
    }
}

/// What hooks of the emperor and its vassals can do.
const VERBS: [&str; 15] = [
    "exec", "cd", "chdir", "mkdir", "print", "write", "writen", "append", "appendn", "mount", "umount", "chmod",
    "chown", "unlink", "hostname",
];

impl Kind for EmperorHooks {
    type Field = Vec<Action>;
    const HINT: &'static str = "ACTION:ARGUMENT";
    const TAKES: Option<&'static str> = Some("an action, a colon and what it is about, such as exec:touch /run/up");

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (verb, argument) = text.split_once(':').unwrap_or((&text, ""));
        let known = VERBS.iter().find(|known| **known == verb.trim());
        let verb = known.ok_or_else(|| format!("{:?} is no action: {} are", verb.trim(), VERBS.join(", ")))?;
        if argument.trim().is_empty() {
            return Err(format!("{text:?} says nothing behind the colon"));
        }
        field.push(Action { verb, argument: argument.trim().to_owned(), origin: said.origin.clone() });
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn places_are_told_apart_by_their_scheme() {
        let place = |text| read::<Places>(Some(text)).0.pop().map(|one| (one.kind, one.path.to_string()));
        assert_eq!(place("/etc/vassals"), Some((ProvinceKind::Either, "/etc/vassals".into())));
        assert_eq!(place("dir://v"), Some((ProvinceKind::Directory, "v".into())));
        assert_eq!(place("glob:///v/*.ini"), Some((ProvinceKind::Glob, "/v/*.ini".into())));
        assert_eq!(place("list:///v.txt"), Some((ProvinceKind::List, "/v.txt".into())));
        let why = |text| read::<Places>(Some(text)).1.unwrap_err();
        assert_eq!(why("dir://"), "no value");
        assert!(why("pg://host=x").starts_with("pg:// is not built here: use a job that writes"));
        assert!(why("redis://x").starts_with("redis:// is no place of vassals: dir://"));
    }

    #[test]
    fn names_are_those_of_the_kernel() {
        assert_eq!(read::<Namespaces>(Some("fs, net|pid")).0, ["fs", "net", "pid"]);
        assert!(read::<Namespaces>(Some("time")).1.is_err());
        assert_eq!(read::<EmperorCaps>(Some("kill,CAP_NET_BIND_SERVICE")).0, Some(1 << 5 | 1 << 10));
        assert!(read::<EmperorCaps>(Some("fly")).1.is_err_and(|why| why.contains("\"fly\"")));
    }

    #[test]
    fn an_action_has_a_verb_and_an_argument() {
        let action = &read::<EmperorHooks>(Some("exec: touch a:b")).0[0];
        assert_eq!((action.verb, action.argument.as_str()), ("exec", "touch a:b"));
        for bad in ["", "exec", "exec:", "dance:x"] {
            assert!(read::<EmperorHooks>(Some(bad)).1.is_err(), "{bad:?}");
        }
        assert!(read::<Settings>(Some("a")).1.is_err() && read::<Settings>(Some("a=")).1.is_ok());
    }
}
