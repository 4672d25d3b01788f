//! Collects what was said into one list, in uWSGI's order: the environment, the command line from left to right, the
//! files that stand there without an option. Files that `ini` and `include` name are read at their place.
//!
//! `load` drives it. Nothing is overwritten and nothing is judged here.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::directive::{Directive, Origin};
use crate::file::{self, STDIN};
use crate::ini;
use crate::known::known;
use crate::magic::Magic;
use crate::report::{Error, Notice};
use crate::source::Source;

/// Files inside files, and files at all: beyond it they include each other.
const MOST_DEEP: usize = 64;
const MOST_FILES: usize = 4096;

/// The section that is read where none is named.
const SECTION: &str = "uwsgi";

/// Prefixes of variables that are options; of two that say the same, the second wins.
const PREFIXES: [&str; 2] = ["UWSGI_", "RUWSGI_"];

/// Variables by which instances talk to each other; they set no option.
const NO_OPTIONS: &[&str] = &[
    "UWSGI_RELOADS",
    "UWSGI_VASSALS_DIR",
    "UWSGI_EMPEROR_FD",
    "UWSGI_BROODLORD_NUM",
    "UWSGI_EMPEROR_FD_CONFIG",
    "UWSGI_EMPEROR_PROXY",
    "UWSGI_JAIL_PID",
    "UWSGI_ORIGINAL_PROC_NAME",
];

/// Other formats that uWSGI reads.
const OTHER_FORMATS: &[&str] = &[".xml", ".yaml", ".yml", ".json", ".js"];

/// A directive, and whether it has already done all that it can do: then no placeholder in it is filled in.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What was said.
    pub directive: Directive,
    /// It acted when it was read: `ini`, `include`, `set`.
    pub done: bool,
}

/// The collection.
pub struct Gather<'a> {
    source: &'a Source,
    magic: Magic,
    /// All that was said so far.
    pub entries: Vec<Entry>,
    /// What is worth a line.
    pub notices: Vec<Notice>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// The names that `set-placeholder` made.
    pub placeholders: Vec<String>,
    /// The files and sections being read, the outermost first.
    open: Vec<(PathBuf, String)>,
    last: Option<Opened>,
}

/// A file that was read: `ini = :section` reads it again.
#[derive(Clone)]
struct Opened {
    name: String,
    path: PathBuf,
    bytes: Arc<[u8]>,
}

impl<'a> Gather<'a> {
    /// Nothing yet.
    pub fn new(source: &'a Source) -> Self {
        Self {
            source,
            magic: Magic::new(&source.cwd),
            entries: Vec::new(),
            notices: Vec::new(),
            files: Vec::new(),
            placeholders: Vec::new(),
            open: Vec::new(),
            last: None,
        }
    }

    /// What the environment says.
    pub fn environment(&mut self) -> Result<(), Error> {
        let source = self.source;
        for prefix in PREFIXES {
            for (name, value) in &source.env {
                let Some(option) = name.as_bytes().strip_prefix(prefix.as_bytes()) else { continue };
                if option.is_empty() || NO_OPTIONS.iter().any(|known| name == known) {
                    continue;
                }
                let Some(option) = std::str::from_utf8(option).ok().map(|name| name.to_lowercase().replace('_', "-"))
                else {
                    continue;
                };
                let Some(value) = value.to_str() else {
                    return Err(Error::new(format!("{option}: the value is not UTF-8 (environment)")));
                };
                self.say(Directive::new(option, Some(value), Origin::Env))?;
            }
        }
        Ok(())
    }

    /// A file that stands on the command line without an option.
    pub fn positional(&mut self, name: &str) -> Result<(), Error> {
        self.magic.keep_capitals_empty();
        self.by_suffix(name).map_err(Error::new)?;
        self.read(name, &Origin::Argv)
    }

    /// One more directive; some act at once.
    pub fn say(&mut self, directive: Directive) -> Result<(), Error> {
        let Directive { name, value, origin } = directive.clone();
        let done = matches!(name.as_str(), "ini" | "include" | "set" | "set-placeholder" | "set-ph");
        self.entries.push(Entry { directive, done });
        if !done {
            return Ok(());
        }
        let value = value.unwrap_or_default();
        let fail = |problem: String| Error::new(format!("{name}: {problem} ({origin})"));
        match name.as_str() {
            "ini" => self.read(&value, &origin),
            "include" => {
                self.by_suffix(&value).map_err(fail)?;
                self.read(&value, &origin)
            }
            _ => {
                let Some((key, value)) = value.split_once('=') else {
                    return Err(fail(format!("{value:?} is not of the form name=value")));
                };
                if name != "set" {
                    if known(key).is_some() {
                        return Err(fail(format!("{key} is an option and can be no placeholder")));
                    }
                    self.placeholders.push(key.to_owned());
                }
                self.say(Directive::new(key, Some(value), origin))
            }
        }
    }

    /// Reads the files that `inherit` names, after everything else; placeholders in them are not filled in.
    pub fn inherit(&mut self) -> Result<(), Error> {
        let waiting = |entry: &Entry| !entry.done && entry.directive.name == "inherit";
        while let Some(index) = self.entries.iter().position(waiting) {
            self.entries[index].done = true;
            let Directive { name, value, origin } = self.entries[index].directive.clone();
            let value = value.unwrap_or_default();
            self.by_suffix(&value).map_err(|problem| Error::new(format!("{name}: {problem} ({origin})")))?;
            self.read(&value, &origin)?;
        }
        Ok(())
    }

    /// uWSGI goes by the end of a name, so `app.ini:section` and `app.conf` are nothing that it knows.
    fn by_suffix(&self, name: &str) -> Result<(), String> {
        if name.ends_with(".ini") {
            return Ok(());
        }
        if let Some(format) = OTHER_FORMATS.iter().find(|format| name.ends_with(*format)) {
            return Err(format!("cannot read {name}: files of the format {format} are not built yet"));
        }
        let hint = match name.rsplit_once(':') {
            Some((file, _)) if file.ends_with(".ini") => format!(": say --ini {name}"),
            Some(_) => format!(": for an application say --http :8080 --module {name}"),
            None if name.ends_with(".py") => format!(": for an application say --http :8080 --wsgi-file {name}"),
            None => format!(": say --ini {name} if it is an INI file"),
        };
        Err(format!("unable to load configuration from {name}{hint}"))
    }

    /// Reads a file: `app.ini`, `app.ini:section`, `:section` of the last file, or `-`.
    fn read(&mut self, given: &str, origin: &Origin) -> Result<(), Error> {
        let fail = |name: &str, reason: &str| Error::new(format!("cannot read {name}: {reason} ({origin})"));
        let (name, section) = match given.rsplit_once(':') {
            Some((name, section)) if !section.starts_with("//") => (name, section),
            _ => (given, ""),
        };
        let asked = if section.is_empty() { SECTION } else { section };
        let again = name.is_empty();
        let opened = match &self.last {
            _ if given.is_empty() => return Err(fail("\"\"", "a file has a name")),
            Some(last) if again => last.clone(),
            None if again => return Err(fail(given, "no file was read before")),
            _ => {
                let bytes = file::read(&self.source.cwd, name).map_err(|reason| fail(name, &reason))?;
                Opened { name: name.to_owned(), path: self.source.cwd.join(name), bytes }
            }
        };
        let place = (opened.path.clone(), asked.to_owned());
        if self.open.contains(&place) || self.open.len() >= MOST_DEEP || self.files.len() >= MOST_FILES {
            return Err(fail(given, "it includes itself"));
        }
        let is_file = !again && opened.name != STDIN;
        self.magic.file(name, is_file.then_some(opened.path.as_path()), section);
        self.files.push(opened.path.clone());
        self.last = Some(opened.clone());
        self.open.push(place);
        let told = self.text(&opened, asked);
        self.open.pop();
        told
    }

    fn text(&mut self, opened: &Opened, asked: &str) -> Result<(), Error> {
        let (text, starts) = self.magic.apply(&opened.bytes);
        let path = Path::new(if opened.name == STDIN { "stdin" } else { &opened.name });
        let section = ini::section(&text, asked.as_bytes());
        if !section.found {
            let others: Vec<String> =
                section.names.iter().map(|name| format!("[{}]", String::from_utf8_lossy(name))).collect();
            let others = if others.is_empty() { "none".into() } else { others.join(" ") };
            self.notices.push(Notice::new(format!("{}: there is no section [{asked}], only {others}", path.display())));
        }
        for line in section.lines {
            let origin = Origin::File { path: path.to_owned(), line: starts.get(line.index).copied().unwrap_or(0) };
            let key = String::from_utf8_lossy(line.key).into_owned();
            let value = String::from_utf8(line.value.to_vec()).ok().filter(|value| !value.contains('\0'));
            let Some(value) = value else {
                return Err(Error::new(format!("{key}: the value is not UTF-8 text ({origin})")));
            };
            self.say(Directive { name: key, value: Some(value), origin })?;
        }
        Ok(())
    }
}
