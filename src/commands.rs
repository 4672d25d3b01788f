//! `ruwsgi check`, `explain` and `migrate`, which speak of a configuration instead of serving it, and `curl` and `vassals`,
//! which ask a server instead of being one. The first word of the command line decides; everything else there is the server's.
//!
//! Each command reads its words and writes text; the first three load a file as `--ini FILE` would. Nothing is started.

mod check;
mod curl;
mod explain;
mod migrate;
mod vassals;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command, ValueHint};
use ruwsgi_core::exit;
use ruwsgi_options::Source;

/// A command: its words, and what it does.
struct Verb {
    command: fn() -> Command,
    run: fn(&ArgMatches, &Source) -> io::Result<u8>,
}

const VERBS: &[Verb] = &[
    Verb { command: check::command, run: check::run },
    Verb { command: explain::command, run: explain::run },
    Verb { command: migrate::command, run: migrate::run },
    Verb { command: curl::command, run: curl::run },
    Verb { command: vassals::command, run: vassals::run },
];

/// The exit code of the command that the first word asks for, if it asks for one.
pub fn run(source: &Source) -> Option<u8> {
    let first = source.argv.get(1)?;
    let verb = VERBS.iter().find(|verb| (verb.command)().get_name() == first)?;
    let command = (verb.command)().bin_name(format!("ruwsgi {}", first.display())).disable_version_flag(true);
    let words = command.try_get_matches_from(&source.argv[1..]);
    Some(match words.map(|words| (verb.run)(&words, source)) {
        Ok(Ok(code)) => code,
        // Whoever reads only the first lines (`| head`) has what he wants.
        Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => exit::FAILED,
        Ok(Err(error)) => super::complain(&error.to_string()),
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() { exit::FAILED } else { exit::DONE }
        }
    })
}

/// `FILE`, and what may follow behind `--`.
fn file_and_options(command: Command) -> Command {
    let file = Arg::new("file").value_name("FILE").required(true).value_hint(ValueHint::FilePath);
    let file = file
        .value_parser(clap::value_parser!(OsString))
        .help("app.ini, app.ini:section, app.yaml, - for standard input");
    command.arg(file).arg(options())
}

/// What the server would be given beside the file.
fn options() -> Arg {
    let options = Arg::new("options").value_name("OPTION").last(true).num_args(0..).action(ArgAction::Append);
    options.value_parser(clap::value_parser!(OsString)).help("more of the command line, such as --http :8080")
}

/// What a server would be started from that is given this file, and the options behind `--`.
fn source_of(file: &OsStr, words: &ArgMatches, source: &Source) -> Source {
    let option = match format(file) {
        Some("yaml" | "yml") => "--yaml",
        Some("json" | "js") => "--json",
        Some("xml") => "--xml",
        _ => "--ini",
    };
    let given = words.get_many::<OsString>("options").into_iter().flatten().cloned();
    let argv = ["ruwsgi".into(), option.into(), file.to_owned()].into_iter().chain(given).collect();
    Source { argv, ..source.clone() }
}

/// How the name of a file ends, without a section behind it.
fn format(file: &OsStr) -> Option<&str> {
    let name = file.to_str()?;
    let name = name.rsplit_once(':').map_or(name, |(name, _)| name);
    Path::new(name).extension().and_then(OsStr::to_str)
}

/// Writes a whole text at once.
fn print(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}
