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
//! Names are resolved by the kernel beneath the root (openat2), each time anew; where no link is on the way, in one step. A link that leads out or is absolute is
//! resolved once more, compared with the root and with each `static-safe`, at a `/` boundary, and what it leads to is
//! then opened without following any link: who changes links meanwhile gets an error, never a file.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ruwsgi_options::{StaticFiles as Options, StaticMap};
use ruwsgi_sys::file::{self, Facts, Found, Links};
use ruwsgi_sys::nix::errno::Errno;
use ruwsgi_wire::{Key, Name, Vars, http};

/// Which names are looked for where.
pub(super) struct Place {
    rules: Vec<Rule>,
    /// What the front end calls `DOCUMENT_ROOT` is looked into, too.
    docroot: bool,
    index: Vec<String>,
    skip: Vec<String>,
    safe: Vec<PathBuf>,
}

/// A file that is to be sent.
pub(super) struct Hit<'p> {
    pub file: OwnedFd,
    pub facts: Facts,
    /// Its path, as the rule and the request make it.
    pub path: PathBuf,
    /// What it was found beneath, or the file itself.
    root: Cow<'p, Path>,
}

impl Hit<'_> {
    /// A file that an option names.
    pub(super) fn named(path: &Path) -> io::Result<Option<Hit<'_>>> {
        Ok(match file::find_at(path)? {
            Found::File(file, facts) => Some(Hit { file, facts, path: path.to_owned(), root: path.into() }),
            Found::Directory | Found::Special => None,
        })
    }

    /// The path that all links lead to.
    pub(super) fn target(&self) -> Option<PathBuf> {
        target(&self.file)
    }
}

/// What a look brought.
pub(super) enum Lookup<'p> {
    /// This file.
    File(Hit<'p>),
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
    pub(super) fn new(options: &Options) -> Self {
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
        Self {
            rules,
            docroot: options.check_static_docroot,
            index: options.static_index.clone(),
            skip: options.static_skip_ext.clone(),
            safe: options.static_safe.iter().map(|path| absolute(path)).collect(),
        }
    }

    /// There are no rules.
    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty() && !self.docroot
    }

    /// Whether a rule is about this path, as it was sent or as it was understood.
    pub(super) fn covers(&self, vars: &Vars) -> bool {
        let path = vars.key(Key::PathInfo).unwrap_or_default();
        let ruled = || self.docroot || self.rules.iter().any(|rule| path.starts_with(&rule.prefix));
        !self.skips(path) && (ruled() || self.strays(vars))
    }

    /// Looks for the file of a request that is covered.
    pub(super) fn look(&self, vars: &Vars) -> Lookup<'_> {
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
            match self.find(rule.root.as_path().into(), name, !rule.keeps_prefix) {
                Lookup::Nothing => {}
                found => return found,
            }
        }
        match document_root(vars).filter(|_| self.docroot) {
            Some(root) => self.find(root.to_owned().into(), path, false),
            None => Lookup::Nothing,
        }
    }

    /// The file beside another one whose name is longer by this. What is no file, or may not be served, is not there.
    pub(super) fn beside(&self, hit: &Hit<'_>, suffix: &str) -> Option<(OwnedFd, Facts)> {
        let mut path = hit.path.clone().into_os_string();
        path.push(suffix);
        let found = match Path::new(&path).strip_prefix(&hit.root) {
            Ok(name) => file::root(&hit.root)
                .and_then(|directory| self.resolve(&directory, &hit.root, name.as_os_str().as_bytes())),
            // A single file: it was its own root.
            Err(_) => file::find_at(Path::new(&path)),
        };
        match found {
            Ok(Found::File(file, facts)) if !self.skips_target(&file) => Some((file, facts)),
            _ => None,
        }
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

    /// One rule, with the indexes of a directory. `single`: the root may be a file, which then, as in uWSGI, is what stands
    /// behind its prefix, whatever that is.
    fn find<'p>(&self, root: Cow<'p, Path>, name: &[u8], single: bool) -> Lookup<'p> {
        let name = &name[name.iter().take_while(|byte| **byte == b'/').count()..];
        let plain = beneath(&root, name);
        // Mostly there are no links, and the name goes nowhere but down. Behind the prefix `/s`, `/s../x` does not.
        if !climbs(name)
            && let Some((file, facts)) = file::find_plain(&plain)
        {
            return self.judge(Ok(Found::File(file, facts)), plain, root);
        }
        let directory = match file::root(&root) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory && single => {
                return self.judge(file::find_at(&root), root.to_path_buf(), root);
            }
            Err(error) => return self.judge(Err(error), plain, root),
        };
        let mut found = self.resolve(&directory, &root, name);
        let mut path = plain;
        if let Ok(Found::Directory) = found {
            let inside = |index: &String| [name.strip_suffix(b"/").unwrap_or(name), index.as_bytes()].join(&b'/');
            for index in &self.index {
                let name = inside(index);
                let name = name.strip_prefix(b"/").unwrap_or(&name);
                found = self.resolve(&directory, &root, name);
                if !matches!(&found, Err(error) if is_nothing(error)) && !self.skips(name) {
                    path = beneath(&root, name);
                    break;
                }
                found = Ok(Found::Directory);
            }
        }
        self.judge(found, path, root)
    }

    fn judge<'p>(&self, found: io::Result<Found>, path: PathBuf, root: Cow<'p, Path>) -> Lookup<'p> {
        match found {
            Ok(Found::File(file, _)) if self.skips_target(&file) => Lookup::Nothing,
            Ok(Found::File(file, facts)) => Lookup::File(Hit { file, facts, path, root }),
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

    fn resolve(&self, directory: &OwnedFd, root: &Path, name: &[u8]) -> io::Result<Found> {
        match file::find_beneath(directory.as_fd(), name, Links::Beneath) {
            Err(error) if is_outside(&error) => self.resolve_link(root, name, error),
            found => found,
        }
    }

    /// A path with a link that is absolute or leads out: it may lead back, or to a place that is safe.
    fn resolve_link(&self, root: &Path, name: &[u8], error: io::Error) -> io::Result<Found> {
        let target = beneath(root, name).canonicalize()?;
        for allowed in std::iter::once(root).chain(self.safe.iter().map(PathBuf::as_path)) {
            let Ok(allowed) = allowed.canonicalize() else { continue };
            let Ok(rest) = target.strip_prefix(&allowed) else { continue };
            return file::find_beneath(file::root(&allowed)?.as_fd(), rest.as_os_str().as_bytes(), Links::None);
        }
        Err(error)
    }

    /// Whether a file that was reached by another name has one that is skipped: its source is not to be shown.
    fn skips_target(&self, file: &OwnedFd) -> bool {
        !self.skip.is_empty() && target(file).is_some_and(|target| self.skips(target.as_os_str().as_bytes()))
    }
}

fn target(file: &OwnedFd) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).ok()
}

fn beneath(root: &Path, name: &[u8]) -> PathBuf {
    if name.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(name)) }
}

/// What a front end says of where its files are. No client can: a field of HTTP has another name.
fn document_root(vars: &Vars) -> Option<&Path> {
    let said = vars.others().find(|(name, _)| *name == Name::Cgi(b"DOCUMENT_ROOT"))?.1;
    Some(Path::new(OsStr::from_bytes(said))).filter(|root| root.is_absolute())
}

/// The current directory may be another one when a file is asked for.
pub(super) fn absolute(path: &str) -> PathBuf {
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
        Place::new(options)
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
        assert!(Place::new(&Options::default()).is_empty());
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
    fn only_a_front_end_says_where_its_files_are() {
        let place = place(&Options { check_static_docroot: true, ..Options::default() });
        assert!(!place.is_empty() && place.covers(&vars("/a", "/a")));
        let mut vars = vars("/a", "/a");
        let (name, value) = (vars.add(b"Document-Root"), vars.add(b"/etc"));
        vars.push_field(name, value);
        assert_eq!(document_root(&vars), None);
        let (name, value) = (vars.add(b"DOCUMENT_ROOT"), vars.add(b"/srv/www"));
        vars.push_cgi(name, value);
        assert_eq!(document_root(&vars), Some(Path::new("/srv/www")));
    }

    #[test]
    fn application_paths_with_encoded_slashes_stay_the_applications() {
        let place = place(&Options { check_static: vec!["/nowhere".into()], ..Options::default() });
        assert!(matches!(place.look(&vars("/items/a%2fb", "/items/a/b")), Lookup::Nothing));
        assert!(matches!(place.look(&vars("/a%00", "/a\0")), Lookup::Refused(_)));
    }
}
