//! `ruwsgi check`: everything that is wrong with configuration files, without a start.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ruwsgi_core::{exit, inspect};
use ruwsgi_options::{
    Config, Origin, Problem, Record, Remark, Severity, Source, Survey, TRAPS, remarks, survey, works,
};
use serde_json::{Value, json};

use super::{options, print, source_of};

/// The number of the form that `--json` writes: it grows when something that was there changes its meaning.
const FORM: u32 = 1;

pub fn command() -> Command {
    let flag = |name, help| Arg::new(name).long(name).action(ArgAction::SetTrue).help(help);
    let files = Arg::new("file").value_name("FILE").num_args(1..).required_unless_present("traps");
    let ignore = Arg::new("ignore").long("ignore").value_name("TRAP").action(ArgAction::Append).value_delimiter(',');
    Command::new("check")
        .about("Says what is wrong with configuration files, without starting anything")
        .after_help(
            "Each file is read on its own, with the environment as it is. Exit code 0: a server would start from every \
             file. 1: from one it would not.",
        )
        .arg(
            files
                .value_parser(clap::value_parser!(OsString))
                .help("app.ini, app.ini:section, app.yaml, app.json, app.xml"),
        )
        .arg(flag("here", "look at this machine, too: paths, users, ports, the interpreter"))
        .arg(flag("strict", "count warnings as errors"))
        .arg(flag("json", "write JSON (docs/check.md has its form)"))
        .arg(ignore.value_parser(names()).hide_possible_values(true).help("say nothing of this trap"))
        .arg(flag("traps", "list the traps that are looked for, and end"))
        .arg(options())
}

fn names() -> Vec<&'static str> {
    TRAPS.iter().map(|trap| trap.name).collect()
}

/// What was found in one file.
struct Report<'w> {
    file: &'w OsStr,
    remarks: Vec<Remark>,
    strict: bool,
}

pub fn run(words: &ArgMatches, source: &Source) -> io::Result<u8> {
    if words.get_flag("traps") {
        let lines = TRAPS.iter().map(|trap| format!("{:<20} {}\n", trap.name, trap.about));
        print(lines.collect::<String>().as_bytes())?;
        return Ok(exit::DONE);
    }
    let files = words.get_many::<OsString>("file").into_iter().flatten();
    let reports: Vec<Report<'_>> = files.map(|file| report(file, words, source)).collect();
    let text = if words.get_flag("json") {
        format!("{:#}\n", json!({ "form": FORM, "files": reports.iter().map(Report::json).collect::<Vec<_>>() }))
    } else {
        reports.iter().map(Report::text).collect()
    };
    print(text.as_bytes())?;
    Ok(if reports.iter().all(Report::would_start) { exit::DONE } else { exit::FAILED })
}

fn report<'w>(file: &'w OsStr, words: &ArgMatches, source: &Source) -> Report<'w> {
    let here = words.get_flag("here");
    let source = source_of(file, words, source);
    let Survey { mut problems, records, config, .. } = survey(&source, here);
    // What can't be read, and what is not built, might have opened a socket.
    let is_whole = problems.iter().all(|problem| !problem.is_error() || works(&problem.name));
    problems.extend(on_paper(&config, &records).into_iter().filter(|problem| is_whole || problem.origin.is_some()));
    if here {
        problems.extend(inspect::here(&config, &source));
    }
    let ignored: Vec<&str> = words.get_many::<&str>("ignore").into_iter().flatten().copied().collect();
    Report { file, remarks: remarks(problems, &records, &ignored), strict: words.get_flag("strict") }
}

/// What the sockets have against a start, without what depends on conditions that were not looked at.
fn on_paper(config: &Config, records: &[Record]) -> Vec<Problem> {
    let is_open = |record: &&Record| record.conditional || record.unsure;
    let open: Vec<&Record> = records.iter().filter(is_open).collect();
    let depends = |problem: &Problem| match &problem.origin {
        None => !open.is_empty(),
        Some(origin) => open.iter().any(|record| record.directive.origin == *origin),
    };
    let mut problems = inspect::on_paper(config);
    problems.retain(|problem| !depends(problem));
    problems
}

impl Report<'_> {
    fn count(&self, severity: Severity) -> usize {
        self.remarks.iter().filter(|remark| remark.problem.severity == severity).count()
    }

    fn would_start(&self) -> bool {
        self.count(Severity::Error) == 0 && (!self.strict || self.remarks.is_empty())
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for remark in &self.remarks {
            // A text takes everything.
            let _ = writeln!(text, "{}", line(self.file, remark));
        }
        let verdict = match (self.would_start(), self.count(Severity::Error)) {
            (true, _) => "would start",
            (false, 0) => "would start, but for the warnings",
            (false, _) => "would not start",
        };
        let count = |severity, one: &str| match self.count(severity) {
            0 => String::new(),
            1 => format!(", 1 {one}"),
            many => format!(", {many} {one}s"),
        };
        let (errors, warnings) = (count(Severity::Error, "error"), count(Severity::Warning, "warning"));
        let _ = writeln!(text, "{}: {verdict}{errors}{warnings}", self.file.display());
        text
    }

    fn json(&self) -> Value {
        json!({
            "file": self.file.to_string_lossy(),
            "would_start": self.would_start(),
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
            "problems": self.remarks.iter().map(problem).collect::<Vec<_>>(),
        })
    }
}

/// `app.ini:12: warning: max-requests: "1k" is not a number; read as 1`
fn line(file: &OsStr, Remark { problem, trap }: &Remark) -> String {
    let severity = name(problem.severity);
    let place = problem.origin.as_ref().map_or_else(|| file.display().to_string(), ToString::to_string);
    let option = if problem.name.is_empty() { String::new() } else { format!("{}: ", problem.name) };
    let mut line = format!("{place}: {severity}: {option}{}", problem.message);
    if let Some(advice) = &problem.advice {
        line.push_str(&format!("; {advice}"));
    }
    if let Some(meant) = problem.suggestion {
        line.push_str(&format!("; did you mean {meant}?"));
    }
    if let Some(allowed) = problem.allowed.filter(|allowed| !problem.message.contains(allowed)) {
        line.push_str(&format!("; it takes {allowed}"));
    }
    if let Some(trap) = trap {
        line.push_str(&format!(" [{trap}]"));
    }
    line
}

fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

fn problem(Remark { problem, trap }: &Remark) -> Value {
    json!({
        "severity": name(problem.severity),
        "option": problem.name,
        "value": problem.text.as_ref().map(ToString::to_string),
        "message": problem.message,
        "advice": problem.advice,
        "takes": problem.allowed,
        "meant": problem.suggestion,
        "trap": trap,
        "place": problem.origin.as_ref().map(place),
    })
}

/// Where something was said: a file and a line, or in words.
pub fn place(origin: &Origin) -> Value {
    match origin {
        Origin::File { path, line } => json!({ "file": path.to_string_lossy(), "line": line }),
        other => json!({ "source": other.to_string() }),
    }
}
