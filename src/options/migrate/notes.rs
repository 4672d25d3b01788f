//! What a migrated file says of itself, in comments at its end: what was left out and why, what stays though it does
//! nothing, and what differs from uWSGI for its options.

use std::collections::BTreeSet;
use std::path::Path;

use bstr::ByteSlice;

use super::Fate;
use crate::absent::Class;
use crate::differences::DIFFERENCES;
use crate::directive::{Directive, Origin};
use crate::known::{Known, known};
use crate::record::Record;

/// The line that the comments begin with: when a file is migrated again, they are made anew.
pub const BEGIN: &str = "; Notes of ruwsgi migrate";

/// The comments; empty where there is nothing to say.
pub fn notes(path: &Path, records: &[Record], fates: &[Fate]) -> Vec<u8> {
    let own = |record: &Record| matches!(&record.directive.origin, Origin::File { path: file, .. } if file == path);
    let lines = || records.iter().zip(fates).filter(|(record, _)| own(record));
    let mut out = String::new();
    section(&mut out, "Left out, because nothing changes without it", lines().filter_map(gone));
    section(&mut out, "Changed, and means the same", lines().filter_map(renamed));
    let mut seen = BTreeSet::new();
    let kept =
        lines().filter(|(record, fate)| !matches!(fate, Fate::Goes(_)) && seen.insert(record.directive.name.as_str()));
    section(&mut out, "Does nothing here", kept.filter_map(|(record, _)| absent(&record.directive)));
    let names: BTreeSet<&str> = lines().map(|(record, _)| record.directive.name.as_str()).collect();
    section(&mut out, "Differs from uWSGI (docs/migrating.md has the whole list)", differences(&names));
    if out.is_empty() {
        return Vec::new();
    }
    // A % in a comment would take what follows it.
    format!("\n{BEGIN}\n{}", out.replace('%', "%%")).into_bytes()
}

fn section(out: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        out.push_str(&format!(";\n; {title}:\n"));
    }
    for line in lines {
        out.push_str(&format!(";   {}\n", line.replace(['\n', '\r'], " ")));
    }
}

fn gone((record, fate): (&Record, &Fate)) -> Option<String> {
    let Fate::Goes(reason) = fate else { return None };
    Some(format!("{}: {reason}", said(record)))
}

fn renamed((record, fate): (&Record, &Fate)) -> Option<String> {
    let Fate::Becomes { name, value, .. } = fate else { return None };
    Some(match value {
        None => format!("{} is called {name} everywhere", record.directive.name),
        Some(value) => format!("{} was read as {name} = {}", said(record), value.to_str_lossy()),
    })
}

fn absent(directive: &Directive) -> Option<String> {
    let Known::Absent(topic) = known(&directive.name)? else { return None };
    let (state, way) = match topic.class {
        Class::Harmless => return None,
        Class::Degrades => ("not built yet", String::new()),
        Class::Exposes => ("not built yet", format!("; allow-missing = {} starts without it", directive.name)),
        Class::Never => ("will not be built", format!("; allow-missing = {} starts without it", directive.name)),
    };
    Some(format!("{}: {state}: {}{way}", directive.name, topic.consequence))
}

/// The differences that name one of these options.
fn differences(names: &BTreeSet<&str>) -> impl Iterator<Item = String> {
    let all = DIFFERENCES.iter().flat_map(|(_, differences)| differences.iter());
    let about = |subject: &str| {
        let quoted = subject.split('`').skip(1).step_by(2);
        quoted.filter_map(|text| text.split(" = ").next()).any(|option| names.contains(option))
    };
    all.filter(move |difference| about(difference.subject)).map(|difference| {
        let back = if difference.back.is_empty() {
            String::new()
        } else {
            format!("; {} brings the old way back", difference.back)
        };
        let plain = |text: &str| text.replace('`', "");
        let (subject, old, new) = (plain(difference.subject), plain(difference.uwsgi), plain(difference.here));
        format!("{subject}: uWSGI: {old}; here: {new}{back}")
    })
}

/// The line as it was meant to be read.
fn said(record: &Record) -> String {
    let value = record.raw.as_ref().or(record.directive.value.as_ref());
    match value.filter(|value| !value.is_empty()) {
        Some(value) => format!("{} = {}", record.directive.name, value.to_str_lossy()),
        None => record.directive.name.clone(),
    }
}
