//! From a [`Source`] to a [`Request`]: the steps in their order. The binary calls [`load`] at the start and at each
//! reload, `ruwsgi check` and `ruwsgi explain` call [`survey`]; they read files and change nothing.

use std::collections::HashSet;
use std::path::PathBuf;

use bstr::{BString, ByteSlice};

use crate::argv::{self, Word};
use crate::directive::{Directive, Origin};
use crate::expand::expand;
use crate::gather::{Ending, Gather};
use crate::help;
use crate::judge::{Circumstances, judge};
use crate::kind_emperor::monitors;
use crate::known::{all_names, known};
use crate::record::Record;
use crate::report::{Error, Problem};
use crate::shell;
use crate::source::Source;
use crate::spec;
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
    /// Print this, as it is, and end with 0.
    Print(Vec<u8>),
    /// End with this code, after these lines.
    Exit(u8, Vec<BString>),
    /// Ask the instance that has this pidfile to stop.
    Stop(PathBuf),
    /// Ask the instance that has this pidfile to reload.
    Reload(PathBuf),
    /// Ask the instance that has this pidfile to pause, or to go on.
    Pause(PathBuf),
    /// Run.
    Run(Loaded),
}

/// A configuration and what there is to say about it.
#[derive(Debug)]
pub struct Loaded {
    /// What was said and what it means.
    pub config: Config,
    /// Warnings, one line each.
    pub warnings: Vec<Problem>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// Lines that `print` asks for.
    pub printed: Vec<BString>,
    /// The file to start with where this start fails.
    pub fallback: Option<BString>,
}

/// Everything that a reading found, whatever is wrong with it.
#[derive(Debug, Default)]
pub struct Survey {
    /// What was said, in order, with its places.
    pub records: Vec<Record>,
    /// What it means, as far as it means anything.
    pub config: Config,
    /// All that is worth a line: errors end the start. They stand in the order in which they were found.
    pub problems: Vec<Problem>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// Lines that `print` asks for.
    pub printed: Vec<BString>,
    /// The file to start with where this start fails.
    pub fallback: Option<BString>,
    /// Something was asked for that ends the reading: what, if it is more than a refusal.
    instead: Option<Request>,
}

const USAGE: &str = "\
nothing to run; for example:
  ruwsgi --ini uwsgi.ini
  ruwsgi app:application
  ruwsgi --help
";

/// Reads the environment, the command line and all files, and says what it all means.
pub fn load(source: &Source) -> Result<Request, Error> {
    survey(source, true).request()
}

impl Survey {
    /// What is to be done, or all reasons why not.
    pub fn request(self) -> Result<Request, Error> {
        let Self { config, problems, files, printed, fallback, instead, .. } = self;
        match Error::of(&problems) {
            Err(error) => Err(error.with_fallback(fallback)),
            Ok(()) => {
                Ok(instead.unwrap_or(Request::Run(Loaded { config, warnings: problems, files, printed, fallback })))
            }
        }
    }
}

/// The same, with everything that was found on the way. Without `here`, nothing of the machine is looked at but the files
/// that are named: no command runs, no name is resolved, conditions about files, variables and the host are taken as
/// perhaps ([`Record::conditional`]), and values that need them stay as they are written ([`Record::unsure`]).
pub fn survey(source: &Source, here: bool) -> Survey {
    let arguments = source.argv.get(1..).unwrap_or_default();
    if let Some(asked) = shell::asked(arguments).or_else(|| help::topic(arguments)) {
        return match asked {
            Ok(text) => Survey { instead: Some(Request::Help(text)), ..Survey::default() },
            Err(error) => Survey { problems: error.problems().to_vec(), ..Survey::default() },
        };
    }
    let mut gather = Gather::new(source, here);
    let words = match argv::parse(arguments) {
        Ok(words) => words,
        Err(error) => return Survey { problems: error.problems().to_vec(), ..Survey::default() },
    };
    gather.environment();
    let mut is_named = false;
    for word in words {
        match word {
            Word::Option { name: "version", .. } => return Survey { instead: Some(version()), ..Survey::default() },
            Word::Option { name, value } => gather.say(Directive { name: name.into(), value, origin: Origin::Argv }),
            Word::File(name) => match name.to_str().ok().and_then(spec::application) {
                Some(application) => {
                    is_named = true;
                    application.into_iter().for_each(|directive| gather.say(directive));
                }
                None => gather.positional(name.as_bstr()),
            },
        }
    }
    if is_named && let Some(address) = spec::address(gather.records.iter().map(|record| &record.directive)) {
        gather.say(address);
    }
    understand(gather, source, here)
}

/// What was gathered, with placeholders filled in, names judged and values read.
fn understand(mut gather: Gather<'_>, source: &Source, here: bool) -> Survey {
    gather.finish();
    let expanded = expand(&mut gather.records, source, here);
    gather.problems.extend(expanded.problems);
    gather.later();
    gather.finish();

    let sure = directives(&gather);
    let (strict, allowed) = strictness(&sure);
    let used: HashSet<BString> = expanded.used.into_iter().chain(gather.placeholders.drain()).collect();
    let circumstances = Circumstances { used: &used, strict, allowed: &allowed };
    // Names first: a value that makes no sense is the smaller worry. Both are told, if both are wrong.
    let names = judge(gather.records.iter().map(|record| &record.directive).chain(&gather.derived), &circumstances);
    let (config, values) = Config::read(sure);
    let mut problems = std::mem::take(&mut gather.problems);
    problems.extend(names);
    problems.extend(values);
    let instead = instead(&gather, &config);
    let Gather { records, files, printed, fallback, .. } = gather;
    Survey { records, config, problems, files, printed, fallback, instead }
}

/// What counts, in the order in which uWSGI acts on it: what was derived at once is the first.
fn directives(gather: &Gather<'_>) -> Vec<Directive> {
    let mut late = gather.derived_late.iter().peekable();
    let mut all = gather.derived.clone();
    for (index, record) in gather.records.iter().enumerate() {
        if !record.unsure {
            all.push(record.directive.clone());
        }
        while let Some((_, directive)) = late.next_if(|(at, _)| *at <= index) {
            all.push(directive.clone());
        }
    }
    all
}

/// What is to be done instead of running.
fn instead(gather: &Gather<'_>, config: &Config) -> Option<Request> {
    match &gather.ending {
        Some(Ending::Help) => return Some(Request::Help(help::short())),
        Some(Ending::Exit(code)) => return Some(Request::Exit(*code, gather.printed.clone())),
        Some(Ending::Print(text)) => return Some(Request::Print(text.clone())),
        Some(Ending::Stop(pidfile)) => return Some(Request::Stop(pidfile.clone())),
        Some(Ending::Reload(pidfile)) => return Some(Request::Reload(pidfile.clone())),
        Some(Ending::Pause(pidfile)) => return Some(Request::Pause(pidfile.clone())),
        None => {}
    }
    let control = &config.control;
    if !gather.records.iter().any(|record| known(&record.directive.name).is_some()) && gather.files.is_empty() {
        return Some(Request::Usage(USAGE.into()));
    }
    if control.version {
        return Some(version());
    }
    if control.help_all {
        return Some(Request::Help(help::all()));
    }
    if control.monitor_list {
        return Some(Request::Help(monitors().flat_map(|name| [name, "://\n"]).collect()));
    }
    if control.options_status {
        return Some(Request::Help(status()));
    }
    if control.dump_options {
        return Some(Request::Print(all_names().flat_map(|name| [name, "\n"]).collect::<String>().into_bytes()));
    }
    if !control.get.is_empty() {
        let values = control.get.iter().filter_map(|name| gather.value(name.as_bytes()));
        return Some(Request::Print(values.flat_map(|value| [value.as_slice(), b"\n"].concat()).collect()));
    }
    None
}

fn version() -> Request {
    Request::Version(concat!("ruwsgi ", env!("CARGO_PKG_VERSION"), "\n").into())
}

/// `strict` and `allow-missing`, wherever they stand: they hold for what stands before them too.
fn strictness(directives: &[Directive]) -> (bool, Vec<String>) {
    let control = directives.iter().filter(|directive| {
        row(&directive.name).is_some_and(|(row, _)| matches!(row.names[0], "strict" | "allow-missing"))
    });
    let control = Config::read(control.cloned().collect()).0.control;
    (control.strict, control.allow_missing)
}

#[cfg(test)]
mod limits;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod walk;
