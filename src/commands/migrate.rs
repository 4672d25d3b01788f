//! `ruwsgi migrate`: a small file that means the same, with comments on what became unnecessary.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use clap::{Arg, ArgAction, ArgMatches, Command};
use ruwsgi_core::exit;
use ruwsgi_options::{Source, Survey, migrate, survey};

use super::{file_and_options, print, source_of};

pub fn command() -> Command {
    let out = Arg::new("out").short('o').long("out").value_name("FILE").value_parser(clap::value_parser!(OsString));
    let force = Arg::new("force").long("force").action(ArgAction::SetTrue);
    let command = Command::new("migrate")
        .about("Writes a small INI file that means the same as a file of uWSGI")
        .after_help(
            "What changes nothing is left out, and comments at the end say what and why. What the file includes stays \
             included. The new file belongs beside the old one: names in it are looked for from there.",
        )
        .arg(out.help("write there, not to standard output"))
        .arg(force.help("replace a file that is there"));
    file_and_options(command)
}

pub fn run(words: &ArgMatches, source: &Source) -> io::Result<u8> {
    let Some(file) = words.get_one::<OsString>("file") else { return Ok(exit::FAILED) };
    let source = source_of(file, words, source);
    let Survey { problems, records, .. } = survey(&source, false);
    let named = file.to_string_lossy();
    let path = named.rsplit_once(':').map_or(&*named, |(path, _)| path);
    if path == "-" {
        return Ok(crate::complain("migrate reads its file twice: name one"));
    }
    let mut text = Vec::new();
    let read = std::fs::File::open(source.cwd.join(path)).and_then(|mut opened| opened.read_to_end(&mut text));
    if let Err(error) = read {
        return Ok(crate::complain(&format!("cannot read {path}: {error}")));
    }
    let new = migrate(Path::new(path), &text, &records);
    match words.get_one::<OsString>("out") {
        Some(out) => {
            let mut how = OpenOptions::new();
            how.write(true).truncate(true).create(true).create_new(!words.get_flag("force"));
            let written = how.open(out).and_then(|mut opened| opened.write_all(&new.text));
            if let Err(error) = written {
                return Ok(crate::complain(&format!("cannot write {}: {error}", out.display())));
            }
            let lines = if new.changed == 1 { "line" } else { "lines" };
            writeln!(io::stderr(), "{}: {} {lines} left out or changed", out.display(), new.changed)?;
        }
        None => print(&new.text)?,
    }
    // A file that does not load is written anew line by line, and does not load either.
    let errors = problems.iter().chain(&new.lost).filter(|problem| problem.is_error());
    for error in errors.clone() {
        writeln!(io::stderr(), "error: {error}")?;
    }
    Ok(if errors.count() == 0 { exit::DONE } else { exit::FAILED })
}
