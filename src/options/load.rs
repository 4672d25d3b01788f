//! From a [`Source`] to a [`Request`]: the steps in their order. The binary calls [`load`] at the start and at each
//! reload; it reads files and changes nothing.

use std::path::PathBuf;

use crate::argv::{self, Word};
use crate::directive::{Directive, Origin};
use crate::expand::expand;
use crate::gather::Gather;
use crate::help;
use crate::judge::{Circumstances, judge};
use crate::known::known;
use crate::report::{Error, Notice};
use crate::shell;
use crate::source::Source;
use crate::status::status;
use crate::table::{Config, row};

/// What the command line asks for. A text to print ends with a line break.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "one is made at each start or reload")]
pub enum Request {
    /// Print this and end with 0.
    Help(String),
    /// Print this and end with 0.
    Version(String),
    /// Nothing was said: print this and end with 1.
    Usage(String),
    /// Run.
    Run(Loaded),
}

/// A configuration and what there is to say about it.
#[derive(Debug)]
pub struct Loaded {
    /// What was said and what it means.
    pub config: Config,
    /// Warnings, one line each.
    pub warnings: Vec<Notice>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
}

const USAGE: &str = "\
nothing to run; for example:
  ruwsgi --ini uwsgi.ini
  ruwsgi --http :8080 --module app:application
  ruwsgi --help
";

/// Reads the environment, the command line and all files, and says what it all means.
pub fn load(source: &Source) -> Result<Request, Error> {
    let arguments = source.argv.get(1..).unwrap_or_default();
    if let Some(text) = shell::asked(arguments).or_else(|| help::topic(arguments)) {
        return text.map(Request::Help);
    }
    let words = argv::parse(arguments)?;
    let mut gather = Gather::new(source);
    gather.environment()?;
    for word in words {
        match word {
            Word::Option { name: "help" | "usage", .. } => return Ok(Request::Help(help::short())),
            Word::Option { name: "help-all", .. } => return Ok(Request::Help(help::all())),
            Word::Option { name: "options-status", .. } => return Ok(Request::Help(status())),
            Word::Option { name: "version", .. } => return Ok(version()),
            Word::Option { name, value } => gather.say(Directive { name: name.into(), value, origin: Origin::Argv })?,
            Word::File(name) => gather.positional(&name)?,
        }
    }
    if !gather.entries.iter().any(|entry| known(&entry.directive.name).is_some()) && gather.files.is_empty() {
        return Ok(Request::Usage(USAGE.into()));
    }
    let loaded = understand(gather, source)?;
    Ok(match &loaded.config.control {
        control if control.help => Request::Help(help::short()),
        control if control.help_all => Request::Help(help::all()),
        control if control.options_status => Request::Help(status()),
        control if control.version => version(),
        _ => Request::Run(loaded),
    })
}

/// What was gathered, with placeholders filled in, names judged and values read.
fn understand(mut gather: Gather<'_>, source: &Source) -> Result<Loaded, Error> {
    let mut expanded = expand(&mut gather.entries, source)?;
    gather.inherit()?;
    let directives: Vec<Directive> = gather.entries.into_iter().map(|entry| entry.directive).collect();
    expanded.used.extend(gather.placeholders);

    // Names first: a value that makes no sense is the smaller worry. Both are told, if both are wrong.
    let (strict, allowed) = strictness(&directives);
    let circumstances = Circumstances { used: &expanded.used, strict, allowed: &allowed };
    let names = judge(&directives, &circumstances);
    let values = Config::interpret(directives);
    let (names, (config, values)) = match (names, values) {
        (Ok(names), Ok(values)) => (names, values),
        (names, values) => return Err(Error::all([names.err(), values.err()])),
    };
    let warnings = [gather.notices, expanded.notices, names, values].concat();
    Ok(Loaded { config, warnings, files: gather.files })
}

fn version() -> Request {
    Request::Version(concat!("ruwsgi ", env!("CARGO_PKG_VERSION"), "\n").into())
}

/// `strict` and `allow-missing`, wherever they stand: they hold for what stands before them too.
fn strictness(directives: &[Directive]) -> (bool, Vec<String>) {
    let control = directives.iter().filter(|directive| {
        row(&directive.name).is_some_and(|(row, _)| matches!(row.names[0], "strict" | "allow-missing"))
    });
    // Neither of them has a value that can't be read.
    let read = Config::interpret(control.cloned().collect()).map(|(config, _)| config.control);
    read.map_or((true, Vec::new()), |control| (control.strict, control.allow_missing))
}

#[cfg(test)]
mod tests;
