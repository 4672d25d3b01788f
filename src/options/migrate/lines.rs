//! The text of a file, line by line: which record comes from which line, and the new text when it is decided what
//! becomes of each.

use std::collections::HashMap;
use std::path::Path;

use bstr::ByteSlice;

use super::Fate;
use super::notes::BEGIN;
use crate::directive::{Directive, Origin};
use crate::record::Record;
use crate::words::{Act, act};

/// Formats whose values are made new lines of an INI file.
const OTHER_FORMATS: &[&str] = &["yaml", "yml", "json", "js", "xml"];

/// A file and the records that come from it.
pub struct Text<'a> {
    records: &'a [Record],
    /// The lines, where the file is an INI file already.
    lines: Option<Vec<&'a [u8]>>,
    /// For each record its line, from 0, where it comes from this file.
    at: Vec<Option<usize>>,
    /// For each record, whether it is the only one of its line, under no condition and in no loop.
    alone: Vec<bool>,
    /// For each record, whether it stands in a condition or a loop, as far as the records show it.
    in_block: Vec<bool>,
}

impl<'a> Text<'a> {
    /// The text of `path`, and what was read of it.
    pub fn of(path: &Path, text: &'a [u8], records: &'a [Record]) -> Self {
        let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
        let text = text.split_once_str(BEGIN).map_or(text, |(text, _)| text);
        let is_ini = !path.extension().is_some_and(|end| OTHER_FORMATS.iter().any(|other| end == *other));
        let lines = is_ini.then(|| text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).collect::<Vec<_>>());
        let line_of = |record: &Record| match &record.directive.origin {
            Origin::File { path: file, line } if file == path => Some((*line as usize).saturating_sub(1)),
            _ => None,
        };
        let at: Vec<Option<usize>> = records.iter().map(line_of).collect();
        let mut count: HashMap<usize, usize> = HashMap::new();
        at.iter().flatten().for_each(|line| *count.entry(*line).or_default() += 1);
        let in_file = blocks(lines.iter().flatten().map(|line| key(line)));
        let in_block = blocks(records.iter().map(|record| record.directive.name.as_bytes()));
        let alone = |index: usize| {
            let (Some(line), Record { directive, conditional, .. }) = (at[index], &records[index]) else {
                return false;
            };
            let own = |lines: &Vec<&[u8]>| lines.get(line).is_some_and(|text| key(text) == directive.name.as_bytes());
            let alone = match &lines {
                Some(lines) => count[&line] == 1 && !in_file[line] && own(lines),
                None => !in_block[index] && !is_made(records, index),
            };
            alone && !conditional
        };
        let alone = (0..records.len()).map(alone).collect();
        Self { records, lines, at, alone, in_block }
    }

    /// Whether this record may be written anew.
    pub fn may_change(&self, record: usize) -> bool {
        self.alone[record]
    }

    /// The text of a value as it stands in the file, before anything is filled in.
    pub fn written(&self, record: usize) -> &[u8] {
        match (&self.lines, self.at[record]) {
            (Some(lines), Some(line)) => value(lines[line]),
            _ => {
                let record = &self.records[record];
                record.raw.as_ref().or(record.directive.value.as_ref()).map_or(b"", |value| value.as_bytes())
            }
        }
    }

    /// The new text.
    pub fn with(&self, fates: &[Fate]) -> Vec<u8> {
        if let Some(lines) = &self.lines {
            return self.ini(lines, fates);
        }
        let mut out = b"[uwsgi]\n".to_vec();
        let own = |index: &usize| self.at[*index].is_some() && !self.is_lost(*index) && !is_made(self.records, *index);
        for index in (0..self.records.len()).filter(own) {
            let name = self.records[index].directive.name.as_bytes();
            out.extend(self.record(index, name, &doubled(self.written(index)), &fates[index]));
        }
        out
    }

    /// Whether a record of another format fits on no line of an INI file: its value has line breaks, or it stands in a
    /// condition or a loop, of which the records show only what came out.
    pub fn is_lost(&self, index: usize) -> bool {
        let own = self.lines.is_none() && self.at[index].is_some();
        own && (self.written(index).contains(&b'\n') || self.in_block[index])
    }

    fn ini(&self, lines: &[&[u8]], fates: &[Fate]) -> Vec<u8> {
        let mut out = Vec::new();
        let of_line: HashMap<usize, usize> = self
            .at
            .iter()
            .enumerate()
            .filter(|(record, _)| self.alone[*record])
            .filter_map(|(record, line)| Some(((*line)?, record)))
            .collect();
        // A blank line that is owed: several become one, and none comes at the beginning or the end.
        let mut blank = false;
        for (number, line) in lines.iter().enumerate() {
            if line.is_empty() {
                blank = !out.is_empty();
                continue;
            }
            let new = match of_line.get(&number) {
                Some(record) => self.record(*record, key(line), value(line), &fates[*record]),
                None => [line, &b"\n"[..]].concat(),
            };
            if !new.is_empty() && std::mem::take(&mut blank) {
                out.push(b'\n');
            }
            out.extend(new);
        }
        out
    }

    fn record(&self, index: usize, name: &[u8], written: &[u8], fate: &Fate) -> Vec<u8> {
        let (name, value, comment) = match fate {
            Fate::Goes(_) => return Vec::new(),
            Fate::Stays => (name, written, None),
            Fate::Becomes { name, value, comment } => {
                (name.as_bytes(), value.as_ref().map_or(written, |value| value.as_bytes()), comment.as_ref())
            }
        };
        let comment = comment.map_or(Vec::new(), |comment| [b"; ", comment.as_bytes(), b"\n"].concat());
        // A bare name stays one: its value is not the empty text everywhere.
        let bare = self.lines.as_ref().zip(self.at[index]).is_some_and(|(lines, at)| !lines[at].contains(&b'='));
        match (fate, bare) {
            (Fate::Stays | Fate::Becomes { value: None, .. }, true) => [name, b"\n"].concat(),
            _ => [&comment[..], name, b" = ", value, b"\n"].concat(),
        }
    }
}

/// `%` as it is written in a file where it stands for itself; a `%(` stays.
fn doubled(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (at, byte) in value.iter().enumerate() {
        out.push(*byte);
        if *byte == b'%' && value.get(at + 1) != Some(&b'(') {
            out.push(b'%');
        }
    }
    out
}

/// Whether a record was made by the one before it: by `set`.
fn is_made(records: &[Record], index: usize) -> bool {
    let Some(Record { directive: maker, .. }) = index.checked_sub(1).map(|before| &records[before]) else {
        return false;
    };
    let Directive { name, origin, .. } = &records[index].directive;
    let value = maker.value.as_ref().map_or(b"".as_bstr(), |value| value.as_bstr());
    let sets = matches!(act(&maker.name), Some(Act::Set | Act::SetPlaceholder | Act::Resolve));
    sets && maker.origin == *origin && value.split_once_str("=").is_some_and(|(made, _)| made == name.as_bytes())
}

/// For each name whether it begins, ends or stands between `if-...` or `for...` and their end.
fn blocks<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<bool> {
    let mut inside = false;
    let state = |name: &[u8]| match name.to_str().ok().and_then(act) {
        Some(Act::End) => std::mem::take(&mut inside),
        Some(Act::Begin(_)) => {
            inside = true;
            true
        }
        _ => inside,
    };
    names.map(state).collect()
}

fn key(line: &[u8]) -> &[u8] {
    line.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii()
}

fn value(line: &[u8]) -> &[u8] {
    line.split_once_str("=").map_or(b"", |(_, value)| value.trim_ascii())
}
