//! From a configuration file of uWSGI to a small one that means the same: what changes nothing is left out, other names
//! of an option become its first one, and what is read as something else is written as that.
//!
//! `ruwsgi migrate` calls [`migrate`]. Nothing here knows options one by one: a line is not needed if the configuration
//! means the same without it. Lines under a condition or in a loop, and other sections, stay as they are.

mod lines;
mod notes;

use std::collections::HashSet;
use std::path::Path;

use bstr::{BString, ByteSlice};

use crate::absent::Class;
use crate::directive::Directive;
use crate::known::{Known, known};
use crate::meaning::{meaning, replaces};
use crate::record::Record;
use crate::report::Problem;
use crate::table::{Config, row};
use lines::Text;

/// More lines than this are not tried one by one.
const MOST_LINES: usize = 500;

/// What becomes of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// It stays as it is.
    Stays,
    /// It says the same in other words: `value` is `None` where the text of the value stays. What its author took for a
    /// comment becomes one.
    Becomes { name: &'static str, value: Option<BString>, comment: Option<BString> },
    /// It is left out, for this reason.
    Goes(String),
}

/// A file that was migrated.
#[derive(Debug)]
pub struct Migrated {
    /// The new file.
    pub text: BString,
    /// How many lines were left out and changed.
    pub changed: usize,
    /// What does not fit into an INI file, and is missing.
    pub lost: Vec<Problem>,
}

/// The new file for the text of `path`; `records` is what was read with it as the outermost file.
pub fn migrate(path: &Path, text: &[u8], records: &[Record]) -> Migrated {
    let text = Text::of(path, text, records);
    let fates = fates(records, &text);
    let changed = fates.iter().filter(|fate| **fate != Fate::Stays).count();
    let mut new = text.with(&fates);
    new.extend_from_slice(&notes::notes(path, records, &fates));
    let lost = records.iter().enumerate().filter(|(index, _)| text.is_lost(*index)).map(|(_, record)| {
        let told = "left out: line breaks in a value, conditions and loops are not made lines of an INI file";
        Problem::error(told).about(&record.directive)
    });
    Migrated { text: new.into(), changed, lost: lost.collect() }
}

/// What becomes of each record.
fn fates(records: &[Record], text: &Text<'_>) -> Vec<Fate> {
    let mut fates = vec![Fate::Stays; records.len()];
    if records.len() > MOST_LINES {
        return fates;
    }
    let used = used(records);
    let mut kept: Vec<Option<Directive>> = records.iter().map(|record| Some(record.directive.clone())).collect();
    let wanted = without_plugins(meaning(kept.iter().flatten()));
    let same = |kept: &[Option<Directive>]| without_plugins(meaning(kept.iter().flatten())) == wanted;
    for (index, record) in records.iter().enumerate() {
        let Directive { name, .. } = &record.directive;
        // A line that ends the start stays: its author wants something that is not there.
        if !text.may_change(index) || acts(record) || used.contains(name.as_bytes()) || is_wrong(&record.directive) {
            continue;
        }
        if let Some(reason) = reason(index, &kept).filter(|_| !record.unsure) {
            let before = kept[index].take();
            if same(&kept) {
                fates[index] = Fate::Goes(reason);
                continue;
            }
            kept[index] = before;
        }
        let before = kept[index].clone();
        for fate in rewritten(record, text.written(index)) {
            let Fate::Becomes { name, value, .. } = &fate else { continue };
            if used.contains(name.as_bytes()) {
                continue;
            }
            let is_new = value.is_some();
            let value = value.clone().or_else(|| record.directive.value.clone());
            let new = Directive { name: (*name).to_owned(), value, ..record.directive.clone() };
            // Of one odd text no other odd one is made.
            let is_clean = !is_new || Config::read(vec![new.clone()]).1.is_empty();
            kept[index] = Some(new);
            if is_clean && same(&kept) {
                fates[index] = fate;
                break;
            }
            kept[index].clone_from(&before);
        }
    }
    fates
}

/// Naming plugins that are built in loads nothing.
fn without_plugins(mut config: Config) -> Config {
    config.python.plugins.clear();
    config.python.need_plugins.clear();
    config
}

/// Whether a line has done something when it was read that its directive does not show: read a file, set another one.
fn acts(record: &Record) -> bool {
    record.done
        && row(&record.directive.name).is_none_or(|(row, _)| !matches!(row.names[0], "plugins" | "need-plugins"))
}

fn is_wrong(directive: &Directive) -> bool {
    Config::read(vec![directive.clone()]).1.iter().any(Problem::is_error)
}

/// The names that some `%(name)` asks for.
fn used(records: &[Record]) -> HashSet<&[u8]> {
    let texts = records.iter().filter_map(|record| record.raw.as_ref().or(record.directive.value.as_ref()));
    let keys = texts.flat_map(|raw| raw.split_str("%(").skip(1));
    keys.flat_map(|rest| rest.split(|byte| matches!(byte, b' ' | b')'))).collect()
}

/// Why a line might be left out; whether it can be is decided by what the rest means.
fn reason(index: usize, kept: &[Option<Directive>]) -> Option<String> {
    let this = kept[index].as_ref()?;
    let later = kept[index + 1..].iter().flatten().find(|later| replaces(this, later));
    if let Some(later) = later {
        return Some(format!("overridden by {} ({})", later.line().to_str_lossy(), later.origin));
    }
    match known(&this.name)? {
        Known::Absent(topic) => (topic.class == Class::Harmless).then(|| topic.consequence.to_owned()),
        Known::Works => {
            let (row, _) = row(&this.name)?;
            let always =
                ["always on: ", "not needed: ", "accepted: "].iter().find_map(|head| row.help.strip_prefix(head));
            Some(always.unwrap_or("this is the default").to_owned())
        }
    }
}

/// Other ways to say what a line says, the best one first; `written` is the text of its value.
fn rewritten(record: &Record, written: &[u8]) -> Vec<Fate> {
    let Some((row, name)) = row(&record.directive.name) else { return Vec::new() };
    let first = row.names[0];
    let mut ways = Vec::new();
    // What stands for something else stays.
    if !written.contains(&b'%') && record.raw.is_none() && !record.unsure {
        let (plain, comment) = split_comment(written);
        let digits = plain.iter().take_while(|byte| byte.is_ascii_digit()).count();
        for value in [&plain.to_ascii_lowercase()[..], &plain[..digits], b"true"] {
            if value != written && !value.is_empty() {
                let comment = comment.map(BString::from);
                ways.push(Fate::Becomes { name: first, value: Some(value.into()), comment });
            }
        }
    }
    if name != first {
        ways.push(Fate::Becomes { name: first, value: None, comment: None });
    }
    ways
}

/// A value and what its author took for a comment.
fn split_comment(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    match value.windows(2).position(|pair| matches!(pair, [b' ' | b'\t', b';' | b'#'])) {
        Some(at) => (value[..at].trim_ascii_end(), Some(value[at + 2..].trim_ascii())),
        None => (value, None),
    }
}

#[cfg(test)]
mod tests;
