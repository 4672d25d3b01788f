//! `ruwsgi explain`: the effective configuration, and where each value comes from.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use clap::{Arg, ArgAction, ArgMatches, Command};
use ruwsgi_core::exit;
use ruwsgi_options::{Explained, Record, Source, Standing, Survey, explain, survey};
use serde_json::{Value, json};

use super::check::place;
use super::{file_and_options, print, source_of};

/// The number of the form that `--json` writes.
const FORM: u32 = 1;

pub fn command() -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let command = Command::new("explain")
        .about("Shows the effective configuration: each value, where it was said, and what it overrides")
        .after_help("The file is read with the environment as it is, as ruwsgi --ini FILE would read it.")
        .arg(flag("said", "leave out what nobody said: the defaults"))
        .arg(flag("json", "write JSON (docs/check.md has its form)"));
    file_and_options(command)
}

pub fn run(words: &ArgMatches, source: &Source) -> io::Result<u8> {
    let Some(file) = words.get_one::<OsString>("file") else { return Ok(exit::FAILED) };
    let Survey { problems, records, .. } = survey(&source_of(file, words, source), true);
    let errors: Vec<String> = problems.iter().filter(|it| it.is_error()).map(ToString::to_string).collect();
    let mut explained = explain(&records);
    if words.get_flag("said") {
        explained.retain(|option| !option.values.is_empty());
    }
    let text = if words.get_flag("json") {
        let options: Vec<Value> = explained.iter().map(in_json).collect();
        format!("{:#}\n", json!({ "form": FORM, "file": file.to_string_lossy(), "errors": errors, "options": options }))
    } else {
        in_text(&explained)
    };
    print(text.as_bytes())?;
    // What was read is shown all the same.
    for error in &errors {
        writeln!(io::stderr(), "error: {error}")?;
    }
    Ok(if errors.is_empty() { exit::DONE } else { exit::FAILED })
}

fn in_text(options: &[Explained<'_>]) -> String {
    let mut text = String::new();
    let mut heading = "";
    for option in options {
        let title = match option.standing {
            Standing::Works => option.heading,
            Standing::Absent(_) => "Options that do nothing here",
            Standing::Unknown => "Placeholders and unknown names",
        };
        if title != heading {
            let gap = if heading.is_empty() { "" } else { "\n" };
            let _ = writeln!(text, "{gap}{title}:");
            heading = title;
        }
        for line in lines(option) {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

/// A line for each value, with what is to be known of it.
fn lines(option: &Explained<'_>) -> Vec<String> {
    let row = |name: &str, value: &str, place: &str| format!("{:<44} {place}", format!("{name} = {value}"));
    if option.values.is_empty() {
        return option.default.iter().map(|value| row(option.option, value, "default")).collect();
    }
    let last = option.values.len() - 1;
    let line = |(index, record): (usize, &&Record)| {
        let mut place = record.directive.origin.to_string();
        // What acts at its place (a condition, its end) is shown as it was written.
        let name = if record.done { record.directive.name.as_str() } else { option.option };
        if record.directive.name != name {
            place.push_str(&format!(", as {}", record.directive.name));
        }
        if let Some(raw) = &record.raw {
            place.push_str(&format!(", from {raw}"));
        }
        if record.conditional {
            place.push_str(", under a condition");
        }
        if let Standing::Absent(consequence) = option.standing {
            place.push_str(&format!(", not built: {consequence}"));
        }
        let instead = option.overridden.iter().rev().filter(|_| index == last);
        let instead = instead.map(|other| format!("; overrides {} ({})", value(other), other.directive.origin));
        place.extend(instead);
        row(name, &value(record), &place)
    };
    option.values.iter().enumerate().map(line).collect()
}

fn value(record: &Record) -> String {
    record.directive.value.as_ref().map_or("true".to_owned(), |value| value.to_string().replace('\n', "\\n"))
}

fn in_json(option: &Explained<'_>) -> Value {
    let said = |record: &&Record| {
        json!({
            "name": record.directive.name,
            "value": value(record),
            "raw": record.raw.as_ref().map(ToString::to_string),
            "place": place(&record.directive.origin),
            "through": record.through.iter().map(place).collect::<Vec<_>>(),
        })
    };
    json!({
        "option": option.option,
        "works": option.standing == Standing::Works,
        "values": option.values.iter().map(said).collect::<Vec<_>>(),
        "overridden": option.overridden.iter().map(said).collect::<Vec<_>>(),
        "default": option.default,
    })
}
