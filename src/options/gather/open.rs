//! Reading of files: which one a name means, what stands around its text, and what its lines say.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};

use super::{Gather, act};
use crate::directive::{Directive, Origin};
use crate::format::{self, Malformed, Section};
use crate::report::Problem;
use crate::resource;
use crate::words::Format;

/// Files inside files, files at all, and bytes in all of them: beyond it they include each other.
const MOST_DEEP: usize = 64;
const MOST_FILES: usize = 4096;
const MOST_BYTES: usize = 64 << 20;

/// The section that is read where none is named.
const SECTION: &str = "uwsgi";

/// What has been read.
#[derive(Default)]
pub(super) struct Opened {
    /// The files and sections being read, the outermost first.
    open: Vec<(PathBuf, BString)>,
    /// The last INI file: `ini = :section` reads it again.
    last: Option<Text>,
    before: Vec<Piece>,
    after: Vec<Piece>,
    bytes: usize,
}

/// A text and its name.
#[derive(Clone)]
struct Text {
    name: BString,
    piece: Piece,
}

/// Bytes and where they come from.
#[derive(Clone)]
struct Piece {
    path: PathBuf,
    bytes: Arc<[u8]>,
}

/// Where a line of a text that was put together stands.
struct Places {
    /// The number of the first line of each piece, and its file.
    starts: Vec<(u32, PathBuf)>,
}

impl Places {
    fn origin(&self, line: u32) -> Origin {
        let found = self.starts.iter().rev().find(|(start, _)| *start <= line);
        let (start, path) = found.cloned().unwrap_or_default();
        Origin::File { path, line: line - start + 1 }
    }
}

impl Gather<'_> {
    /// A file that stands on the command line without an option.
    pub fn positional(&mut self, name: &BStr) {
        // uWSGI leaves the capitals empty from then on.
        self.magic.keep_capitals_empty();
        let said = Directive { name: String::new(), value: Some(name.into()), origin: Origin::Argv };
        let result = act::by_suffix(name).and_then(|format| self.load(name, format, &said));
        if let Err(problem) = result {
            self.complain(Problem::error(problem).about(&said));
        }
    }

    /// A file whose format its name tells: it does not become the one that capital letters mean.
    pub(super) fn load_by_suffix(&mut self, given: &BStr, format: Format, by: &Directive) -> Result<(), String> {
        self.magic.keep_capitals_empty();
        self.load(given, format, by)
    }

    /// Reads a file: `app.ini`, `app.ini:section`, `:section` of the last file, or `-`.
    pub(super) fn load(&mut self, given: &BStr, format: Format, by: &Directive) -> Result<(), String> {
        let fail = |reason: &str| {
            let problem = Problem::error(format!("cannot read {given}: {reason}")).at(&by.origin);
            Problem { text: by.value.clone(), ..problem }
        };
        match self.open(given, format, by) {
            Ok(()) => Ok(()),
            Err(reason) => {
                self.complain(fail(&reason));
                Ok(())
            }
        }
    }

    fn open(&mut self, given: &BStr, format: Format, by: &Directive) -> Result<(), String> {
        let (name, section) = resource::split_section(given);
        let again = name.is_empty() && format == Format::Ini;
        let text = match &self.opened.last {
            _ if given.is_empty() => return Err("a file has a name".into()),
            Some(last) if again => last.clone(),
            None if again => return Err("no file was read before".into()),
            _ => Text { name: name.into(), piece: self.piece(name)? },
        };
        let place = (text.piece.path.clone(), BString::from(section));
        if self.opened.open.contains(&place) || self.through.len() >= MOST_DEEP {
            return Err("it includes itself".into());
        }
        if self.files.len() >= MOST_FILES {
            self.astray = true;
            return Err(format!("more than {MOST_FILES} files"));
        }
        let is_file = !again && resource::path(name).is_some();
        self.magic.file(name, is_file.then_some(text.piece.path.as_path()), section);
        self.files.push(text.piece.path.clone());
        if format == Format::Ini {
            self.opened.last = Some(text.clone());
        }
        self.opened.open.push(place);
        let through = self.through.clone();
        self.through = through.iter().cloned().chain([by.origin.clone()]).collect();
        self.lines(&text, format, section);
        self.through = through;
        self.opened.open.pop();
        Ok(())
    }

    fn piece(&mut self, name: &BStr) -> Result<Piece, String> {
        if !self.here && resource::is_of_the_machine(name) {
            return Ok(Piece { path: name.to_path_lossy().into_owned(), bytes: Arc::default() });
        }
        let bytes = resource::read(&self.source.cwd, name)?;
        self.opened.bytes += bytes.len();
        if self.opened.bytes > MOST_BYTES {
            self.astray = true;
            return Err(format!("more than {} MiB in all files together", MOST_BYTES >> 20));
        }
        let path = match resource::path(name) {
            Some(path) => self.source.cwd.join(path),
            None => name.to_path_lossy().into_owned(),
        };
        Ok(Piece { path, bytes })
    }

    /// Text that stands around every file from here on.
    pub(super) fn inject(&mut self, name: &BStr, directive: &Directive, before: bool) -> Result<(), String> {
        match self.piece(name) {
            Ok(piece) if before => self.opened.before.push(piece),
            Ok(piece) => self.opened.after.push(piece),
            Err(reason) => {
                let problem = Problem::error(format!("cannot read {name}: {reason}"));
                self.complain(problem.about(directive));
            }
        }
        Ok(())
    }

    /// The text with what is injected around it, and where its lines come from.
    fn join(&self, text: &Text) -> (Arc<[u8]>, Places) {
        let name = if text.name == resource::STDIN { "stdin".into() } else { text.name.to_path_lossy().into_owned() };
        let own = Piece { path: name, bytes: text.piece.bytes.clone() };
        let Opened { before, after, .. } = &self.opened;
        if before.is_empty() && after.is_empty() {
            return (own.bytes, Places { starts: vec![(1, own.path)] });
        }
        let (mut bytes, mut starts, mut line) = (Vec::new(), Vec::new(), 1);
        for piece in before.iter().chain([&own]).chain(after) {
            starts.push((line, piece.path.clone()));
            line += piece.bytes.iter().filter(|byte| **byte == b'\n').count() as u32;
            bytes.extend_from_slice(&piece.bytes);
        }
        (bytes.into(), Places { starts })
    }

    fn lines(&mut self, text: &Text, format: Format, asked: &BStr) {
        let (bytes, places) = self.join(text);
        if let Err((line, problem)) = format::is_text(&bytes) {
            return self.complain(Problem::error(problem).at(&places.origin(line)));
        }
        let Some((bytes, starts)) = self.magic.apply(&bytes) else {
            return self.complain(Problem::error("magic variables make it larger than 64 MiB").at(&places.origin(1)));
        };
        let place = |index: usize| places.origin(starts.get(index).copied().unwrap_or(1));
        let section = match format::section(format, &bytes, asked, SECTION) {
            Ok(section) => section,
            Err(Malformed { index, problem }) => return self.complain(Problem::error(problem).at(&place(index))),
        };
        if !section.found {
            let asked = if asked.is_empty() { SECTION.into() } else { asked };
            self.complain(missing(&section, asked).at(&places.origin(1)));
        }
        for (index, problem) in &section.notes {
            self.complain(Problem::warning(problem.clone()).at(&place(*index)));
        }
        for line in section.lines {
            let name = line.key.to_str_lossy().into_owned();
            self.say(Directive { name, value: Some(line.value.into_owned().into()), origin: place(line.index) });
        }
    }
}

fn missing(section: &Section<'_>, asked: &BStr) -> Problem {
    let others: Vec<String> = section.names.iter().take(20).map(|name| format!("[{}]", name.as_bstr())).collect();
    let others = if others.is_empty() { "none".into() } else { others.join(" ") };
    Problem::warning(format!("there is no section [{asked}], only {others}"))
}
