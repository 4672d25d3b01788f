//! `ruwsgi curl`: what asks a server instead of being one. The first word of the command line decides; everything else
//! there is the server's.
//!
//! Each command reads its words and writes text. Nothing is started.

mod curl;

use std::io;

use clap::{ArgMatches, Command};
use ruwsgi_core::exit;
use ruwsgi_options::Source;

/// A command: its words, and what it does.
struct Verb {
    command: fn() -> Command,
    run: fn(&ArgMatches, &Source) -> io::Result<u8>,
}

const VERBS: &[Verb] = &[Verb { command: curl::command, run: curl::run }];

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
