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
        assert!(read::<Settings>(Some("a")).1.is_err() && read::<Settings>(Some("a=")).1.is_ok());
    }
}
