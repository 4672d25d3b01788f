//! From the path of a request to a file, and to nothing outside of what the options name.
//!
//! A request that a rule covers has one of three ends:
//!
//! * a file is served;
//! * the application answers: there is nothing of the name, or a directory without an index, or something that may not
//!   be read (which is told);
//! * 404, because the path leads to something that must not be served: a name with NUL, or with `..` between slashes of
//!   either kind; an encoded slash, or a way out by `..`, behind the prefix of a `static-map`; a link out of the root
//!   that `static-safe` does not allow; a FIFO, a socket, a device.
//!
//! Names are resolved by the kernel beneath the root (openat2), each time anew. A link that leads out or is absolute is
//! resolved once more, compared with the root and with each `static-safe`, at a `/` boundary, and what it leads to is
//! then opened without following any link: who changes links meanwhile gets an error, never a file.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ruwsgi_options::{StaticFiles as Options, StaticMap};
use ruwsgi_sys::file::{self, Facts, Found, Links};
use ruwsgi_sys::nix::errno::Errno;
use ruwsgi_wire::{Key, Vars, http};

/// Which names are looked for where.
pub(super) struct Place {
    rules: Vec<Rule>,
    index: Vec<String>,
    skip: Vec<String>,
    safe: Vec<PathBuf>,
}

/// What a look brought.
pub(super) enum Lookup {
    /// This file, under this path.
    File(OwnedFd, Facts, PathBuf),
    /// Nothing: the application answers.
    Nothing,
    /// Something that this process may not read: the application answers, and somebody should know.
    Unreadable(PathBuf, io::Error),
    /// Something that must not be served.
    Refused(&'static str),
    /// Nobody knows: no descriptor is left, a disk fails.
    Failed(PathBuf, io::Error),
}

struct Rule {
    /// What `PATH_INFO` starts with; empty for `check-static`.
    prefix: Vec<u8>,
    /// A directory, or a single file.
    root: PathBuf,
    /// The prefix is part of the file's path, too (`static-map2`).
    keeps_prefix: bool,
}

impl Place {
    /// `None`: there are no rules.
    pub(super) fn new(options: &Options) -> Option<Self> {
        let rule = |map: &StaticMap, keeps_prefix| Rule {
            prefix: map.prefix.clone().into_bytes(),
            root: absolute(&map.path),
            keeps_prefix,
        };
        let everything = |root: &String| Rule { prefix: Vec::new(), root: absolute(root), keeps_prefix: true };
        let rules: Vec<Rule> = (options.check_static.iter().map(everything))
            .chain(options.static_map.iter().map(|map| rule(map, false)))
            .chain(options.static_map2.iter().map(|map| rule(map, true)))
            .collect();
        (!rules.is_empty()).then(|| Self {
            rules,
            index: options.static_index.clone(),
            skip: options.static_skip_ext.clone(),
            safe: options.static_safe.iter().map(|path| absolute(path)).collect(),
        })
    }

    /// Whether a rule is about this path, as it was sent or as it was understood.
    pub(super) fn covers(&self, vars: &Vars) -> bool {
        let path = vars.key(Key::PathInfo).unwrap_or_default();
        !self.skips(path) && (self.rules.iter().any(|rule| path.starts_with(&rule.prefix)) || self.strays(vars))
    }

    /// Looks for the file of a request that is covered.
    pub(super) fn look(&self, vars: &Vars) -> Lookup {
        let path = vars.key(Key::PathInfo).unwrap_or_default();
        if path.contains(&0) {
            return Lookup::Refused("a NUL in the path");
        }
        if climbs(path) {
            return Lookup::Refused("a .. in the path");
        }
        if self.strays(vars) {
            return Lookup::Refused("an encoded slash, or a way out of a static-map");
        }
        for rule in self.rules.iter().filter(|rule| path.starts_with(&rule.prefix)) {
            let name = if rule.keeps_prefix { path } else { &path[rule.prefix.len()..] };
            match self.find(rule, name) {
                Lookup::Nothing => {}
                found => return found,
            }
        }
        Lookup::Nothing
    }

    fn skips(&self, name: &[u8]) -> bool {
        self.skip.iter().any(|suffix| name.ends_with(suffix.as_bytes()))
    }

    /// Whether the target as it was sent goes into a mapped prefix and does something there that no link to a file
    /// does: `..`, which was resolved since, or an escaped slash, which was decoded.
    fn strays(&self, vars: &Vars) -> bool {
        let uri = path_of(vars.key(Key::RequestUri).unwrap_or_default());
        if Some(uri) == vars.key(Key::PathInfo) || !uri.iter().any(|byte| matches!(byte, b'%' | b'.' | b'\\')) {
            return false;
        }
        let mut sent = Vec::with_capacity(uri.len());
        http::decode(uri, &mut sent);
        let slash = |escape: &[u8]| [b"%2f", b"%5c"].iter().any(|slash| escape.eq_ignore_ascii_case(*slash));
        let mapped = |rule: &Rule| !rule.prefix.is_empty() && sent.starts_with(&rule.prefix);
        (climbs(&sent) || uri.windows(3).any(slash)) && self.rules.iter().any(mapped)
    }

    /// One rule, with the indexes of a directory.
    fn find(&self, rule: &Rule, name: &[u8]) -> Lookup {
        let name = &name[name.iter().take_while(|byte| **byte == b'/').count()..];
        let mut found = self.resolve(rule, name);
        let mut path = rule.path(name);
        if let Ok(Found::Directory) = found {
            let inside = |index: &String| [name.strip_suffix(b"/").unwrap_or(name), index.as_bytes()].join(&b'/');
            for index in &self.index {
                let name = inside(index);
                let name = name.strip_prefix(b"/").unwrap_or(&name);
                found = self.resolve(rule, name);
                if !matches!(&found, Err(error) if is_nothing(error)) && !self.skips(name) {
                    path = rule.path(name);
                    break;
                }
                found = Ok(Found::Directory);
            }
        }
        match found {
            Ok(Found::File(file, _)) if self.skips_target(&file) => Lookup::Nothing,
            Ok(Found::File(file, facts)) => Lookup::File(file, facts, path),
            Ok(Found::Directory) => Lookup::Nothing,
            Ok(Found::Special) => Lookup::Refused("a FIFO, a socket or a device"),
            Err(error) if is_nothing(&error) => Lookup::Nothing,
            Err(error) if is_outside(&error) => {
                Lookup::Refused("a link out of the root (static-safe = DIR allows one)")
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Lookup::Unreadable(path, error),
            Err(error) => Lookup::Failed(path, error),
        }
    }

    fn resolve(&self, rule: &Rule, name: &[u8]) -> io::Result<Found> {
        let root = match file::root(&rule.root) {
            Ok(root) => root,
            // As in uWSGI, a single file is whatever stands behind its prefix.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory && !rule.keeps_prefix => {
                return file::find_at(&rule.root);
            }
            Err(error) => return Err(error),
        };
        match file::find_beneath(root.as_fd(), name, Links::Beneath) {
            Err(error) if is_outside(&error) => self.resolve_link(rule, name, error),
            found => found,
        }
    }

    /// A path with a link that is absolute or leads out: it may lead back, or to a place that is safe.
    fn resolve_link(&self, rule: &Rule, name: &[u8], error: io::Error) -> io::Result<Found> {
        let target = rule.path(name).canonicalize()?;
        for allowed in std::iter::once(&rule.root).chain(&self.safe) {
            let Ok(allowed) = allowed.canonicalize() else { continue };
            let Ok(rest) = target.strip_prefix(&allowed) else { continue };
            return file::find_beneath(file::root(&allowed)?.as_fd(), rest.as_os_str().as_bytes(), Links::None);
        }
        Err(error)
    }

    /// Whether a file that was reached by another name has one that is skipped: its source is not to be shown.
    fn skips_target(&self, file: &OwnedFd) -> bool {
        let target = || std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
        !self.skip.is_empty() && target().is_ok_and(|target| self.skips(target.as_os_str().as_bytes()))
    }
}

impl Rule {
    fn path(&self, name: &[u8]) -> PathBuf {
        if name.is_empty() { self.root.clone() } else { self.root.join(OsStr::from_bytes(name)) }
    }
}

/// The current directory may be another one when a file is asked for.
fn absolute(path: &str) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| Path::new(path).to_owned())
}

/// `..` between slashes: nobody who means a file of ours writes that, with either slash.
fn climbs(path: &[u8]) -> bool {
    path.split(|byte| matches!(byte, b'/' | b'\\')).any(|name| name == b"..")
}

/// The path of a request target, which may have the form `http://host/path`.
fn path_of(uri: &[u8]) -> &[u8] {
    let uri = uri.split(|byte| matches!(byte, b'?' | b'#')).next().unwrap_or_default();
    let Some(scheme) = uri.windows(3).position(|three| three == b"://").filter(|_| !uri.starts_with(b"/")) else {
        return uri;
    };
    let host = &uri[scheme + 3..];
    &host[host.iter().position(|byte| *byte == b'/').unwrap_or(host.len())..]
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(errno(error), Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG)
}

fn is_outside(error: &io::Error) -> bool {
    matches!(errno(error), Errno::EXDEV | Errno::ELOOP)
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(options: &Options) -> Place {
        Place::new(options).unwrap()
    }

    fn mapped(prefix: &str) -> Place {
        place(&Options {
            static_map: vec![StaticMap { prefix: prefix.into(), path: "/nowhere".into() }],
            ..Options::default()
        })
    }

    fn vars(uri: &str, path: &str) -> Vars {
        let mut vars = Vars::default();
        vars.set(Key::RequestUri, uri.as_bytes());
        vars.set(Key::PathInfo, path.as_bytes());
        vars
    }

    #[test]
    fn a_prefix_is_a_plain_one() {
        let place = mapped("/s");
        for (path, covered) in [("/s", true), ("/s/a", true), ("/sa", true), ("/", false), ("/a/s", false)] {
            assert_eq!(place.covers(&vars(path, path)), covered, "{path}");
        }
        assert!(Place::new(&Options::default()).is_none());
    }

    #[test]
    fn skipped_names_are_not_covered() {
        let options =
            Options { check_static: vec!["/".into()], static_skip_ext: vec![".py".into()], ..Options::default() };
        let place = place(&options);
        assert!(place.covers(&vars("/a.css", "/a.css")));
        assert!(!place.covers(&vars("/a.py", "/a.py")));
    }

    #[test]
    fn what_no_link_to_a_file_does_is_refused() {
        let place = mapped("/s/");
        for (uri, path, refused) in [
            ("/s/a.css", "/s/a.css", false),
            ("/s/a%20b..c", "/s/a b..c", false),
            ("/s/%c3%a9?x=..%2f", "/s/é", false),
            ("http://h/s/a%20", "/s/a ", false),
            ("/other/..%2fx", "/x", false),
            ("/s/..%2f..%2fetc/passwd", "/etc/passwd", true),
            ("/s/%2e%2e/etc/passwd", "/etc/passwd", true),
            ("/s/../etc/passwd", "/etc/passwd", true),
            ("http://h/s/../etc/passwd", "/etc/passwd", true),
            ("/s/a%2fb", "/s/a/b", true),
            ("/s/a%2Fb", "/s/a/b", true),
            ("/s/..%5c..%5cetc", "/s/..\\..\\etc", true),
            ("/s/..\\..\\etc", "/s/..\\..\\etc", true),
            ("/s/a%00.css", "/s/a\0.css", true),
            // A front end that passes on what it got.
            ("/s/a/../b", "/s/a/../b", true),
        ] {
            let vars = vars(uri, path);
            let lookup = if place.covers(&vars) { place.look(&vars) } else { Lookup::Nothing };
            assert_eq!(matches!(lookup, Lookup::Refused(_)), refused, "{uri}");
        }
    }

    #[test]
    fn application_paths_with_encoded_slashes_stay_the_applications() {
        let place = place(&Options { check_static: vec!["/nowhere".into()], ..Options::default() });
        assert!(matches!(place.look(&vars("/items/a%2fb", "/items/a/b")), Lookup::Nothing));
        assert!(matches!(place.look(&vars("/a%00", "/a\0")), Lookup::Refused(_)));
    }
}
