//! The command line, by clap from the table: every known name is an argument, so that prefixes and mistakes are judged
//! against all of them; what `--help` and its kin print is in `help`.
//!
//! `load` calls [`parse`] and takes the words in their order. Nothing is read or judged here.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use bstr::BString;
use clap::builder::{OsStr as Text, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Command};

use crate::directive::Origin;
use crate::kind::Arg;
use crate::known::{ABSENT, meant};
use crate::report::{Error, Problem};
use crate::table::ROWS;

/// A word of the command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Word {
    /// An option; a flag without `=` has no value.
    Option {
        /// The whole name.
        name: &'static str,
        /// The value.
        value: Option<BString>,
    },
    /// A word without an option.
    File(BString),
}

/// The id of the words without an option: no option can be called so.
const FILES: &str = "<files>";

/// What other servers call the address. On the command line only: in a file, a placeholder may have that name.
pub const BIND: &str = "bind";

/// What clap gives an option without a value: no argument of a process can hold it.
const BARE: &str = "\0";

/// The words of later commands, which are no files.
const COMMANDS: &[&str] = &[
    "serve", "dev", "config", "status", "top", "reload", "stop", "drain", "workers", "logs", "metrics", "version",
    "doctor", "gunicorn",
];

/// The words in their order, those without an option last; `arguments` is without the program's name.
pub fn parse(arguments: &[OsString]) -> Result<Vec<Word>, Error> {
    if let Some(first) = arguments.first().filter(|first| COMMANDS.iter().any(|command| first == command)) {
        return Err(Error::new(format!("the command {} is not built yet: see --help", first.display())));
    }
    let matches = command().try_get_matches_from(attach(arguments)).map_err(|error| refusal(&error))?;
    let (mut options, mut files) = (Vec::new(), Vec::new());
    for id in matches.ids() {
        let values = matches.get_many::<OsString>(id.as_str()).into_iter().flatten();
        let places = matches.indices_of(id.as_str()).into_iter().flatten();
        for (place, value) in places.zip(values) {
            let text = value.as_bytes();
            match name(id.as_str()) {
                None if id.as_str() == BIND => options.push((place, bound(text))),
                Some(name) => {
                    options.push((place, Word::Option { name, value: (text != BARE.as_bytes()).then(|| text.into()) }));
                }
                // uWSGI passes over these: they were marks of its own.
                None if text.starts_with(b"[") => {}
                None => files.push((place, Word::File(text.into()))),
            }
        }
    }
    options.sort_by_key(|(place, _)| *place);
    files.sort_by_key(|(place, _)| *place);
    Ok(options.into_iter().chain(files).map(|(_, word)| word).collect())
}

/// What others say for an address, in uWSGI's words.
fn bound(address: &[u8]) -> Word {
    let bare = [&b"unix:"[..], b"tcp://"].iter().find_map(|scheme| address.strip_prefix(*scheme));
    Word::Option { name: "http-socket", value: Some(bare.unwrap_or(address).into()) }
}

fn name(id: &str) -> Option<&'static str> {
    let working = ROWS.iter().flat_map(|row| row.names.iter().copied());
    working.chain(ABSENT.iter().map(|absent| absent.name)).find(|name| *name == id)
}

fn command() -> Command {
    let files = clap::Arg::new(FILES).num_args(0..).action(ArgAction::Append).value_parser(ValueParser::os_string());
    let working = ROWS.iter().flat_map(|row| {
        let first = row.names[0];
        row.names.iter().map(move |name| argument(name, row.arg).short(row.short.filter(|_| *name == first)))
    });
    let absent = ABSENT.iter().map(|absent| argument(absent.name, absent.arg).short(absent.short));
    Command::new("ruwsgi")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .infer_long_args(true)
        .arg(files)
        .arg(argument(BIND, Arg::Required))
        .args(working)
        .args(absent)
}

/// A flag may have `=false`, which uWSGI's command line can't say.
fn argument(name: &'static str, arg: Arg) -> clap::Arg {
    let argument = clap::Arg::new(name)
        .long(name)
        .action(ArgAction::Append)
        .value_parser(ValueParser::os_string())
        .allow_hyphen_values(true);
    match arg {
        Arg::Required => argument.num_args(1),
        Arg::Optional | Arg::None => {
            argument.num_args(0..=1).require_equals(true).default_missing_value(Text::from(BARE))
        }
    }
}

/// `-C666` as `-C=666`: the value of an option that may have one stands beside its letter, which clap wants marked.
/// What follows an option that takes a value is that value, whatever it looks like.
fn attach(arguments: &[OsString]) -> Vec<OsString> {
    let (mut out, mut value, mut over) = (Vec::with_capacity(arguments.len()), false, false);
    for argument in arguments {
        let bytes = argument.as_bytes();
        over |= bytes == b"--" && !value;
        let letters = bytes.strip_prefix(b"-").filter(|_| !value && !over && !bytes.starts_with(b"--"));
        let at = letters
            .map_or(0, |letters| 1 + letters.iter().take_while(|letter| short(**letter) == Some(Arg::None)).count());
        let kind = letters.and_then(|_| bytes.get(at)).and_then(|letter| short(*letter));
        let (head, tail) = bytes.split_at(bytes.len().min(at + 1));
        if kind == Some(Arg::Optional) && !tail.is_empty() && !tail.starts_with(b"=") {
            out.push(OsString::from_vec([head, b"=", tail].concat()));
        } else {
            out.push(argument.clone());
        }
        let long =
            bytes.strip_prefix(b"--").filter(|_| !value && !over).and_then(|name| std::str::from_utf8(name).ok());
        value = kind == Some(Arg::Required) && tail.is_empty() || long.is_some_and(takes_value);
    }
    out
}

fn short(letter: u8) -> Option<Arg> {
    let letter = char::from(letter);
    let working = ROWS.iter().find(|row| row.short == Some(letter)).map(|row| row.arg);
    working.or_else(|| ABSENT.iter().find(|absent| absent.short == Some(letter)).map(|absent| absent.arg))
}

/// Whether the whole name, or the beginning of one, takes the next word as its value.
fn takes_value(begin: &str) -> bool {
    let working = ROWS.iter().flat_map(|row| row.names.iter().map(|name| (*name, row.arg)));
    let absent = ABSENT.iter().map(|absent| (absent.name, absent.arg));
    let mut names = working.chain(absent).chain([(BIND, Arg::Required)]);
    let exact = names.clone().find(|(name, _)| *name == begin);
    let arg = exact.or_else(|| names.find(|(name, _)| name.starts_with(begin)));
    !begin.is_empty() && arg.is_some_and(|(_, arg)| arg == Arg::Required)
}

/// clap's error as one line.
fn refusal(error: &clap::Error) -> Error {
    let said = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(said)) => said.split([' ', '=', '[']).next().unwrap_or_default(),
        _ => return Error::new(error.to_string().lines().next().unwrap_or_default().trim_start_matches("error: ")),
    };
    let mut suggestion = None;
    let line = match error.kind() {
        ErrorKind::UnknownArgument => match candidates(said.trim_start_matches('-')).as_slice() {
            [] => {
                suggestion = meant(said.trim_start_matches('-'));
                "unknown option".to_owned()
            }
            some => format!("which one? --{}", some.join(", --")),
        },
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::NoEquals => "a value is missing".into(),
        kind => kind.to_string(),
    };
    Problem { name: said.into(), suggestion, ..Problem::error(line).at(&Origin::Argv) }.into()
}

/// What an ambiguous beginning may be, as far as one cares to read.
fn candidates(begin: &str) -> Vec<&'static str> {
    let working = ROWS.iter().flat_map(|row| row.names.iter().copied());
    let names = working.chain(ABSENT.iter().map(|absent| absent.name));
    if begin.len() < 2 { Vec::new() } else { names.filter(|name| name.starts_with(begin)).take(8).collect() }
}

/// Words as arguments.
#[cfg(test)]
fn arguments(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use std::ffi::OsStr;

    /// `name=value`, `name` for a flag without one, or the file.
    fn words(line: &str) -> Result<Vec<String>, String> {
        let words = parse(&arguments(&line.split(' ').collect::<Vec<_>>())).map_err(|error| error.to_string())?;
        Ok(words
            .into_iter()
            .map(|word| match word {
                Word::Option { name, value: Some(value) } => format!("{name}={value}"),
                Word::Option { name, value: None } => name.into(),
                Word::File(file) => file.to_string(),
            })
            .collect())
    }

    fn ok(line: &str) -> String {
        words(line).expect("words").join(" ")
    }

    #[test]
    fn a_value_stands_beside_or_behind_its_option() {
        assert_eq!(ok("--ini app.ini --processes=4 -p 2 -p3"), "ini=app.ini processes=4 processes=2 processes=3");
        assert_eq!(ok("--workers 4 --http :8080"), "workers=4 http=:8080");
        assert_eq!(ok("--env A=B=C"), "env=A=B=C");
        assert_eq!(ok("--set a=b -S c=d"), "set=a=b set=c=d");
    }

    #[test]
    fn the_order_is_kept_and_files_come_last() {
        assert_eq!(
            ok("a.ini -p 1 --http :1 b.ini -M --http-socket :2 -p 2"),
            "processes=1 http=:1 master http-socket=:2 processes=2 a.ini b.ini"
        );
    }

    #[test]
    fn flags_stand_alone_or_together() {
        assert_eq!(ok("-MTL"), "master enable-threads disable-logging");
        assert_eq!(ok("--master --lazy-apps"), "master lazy-apps");
        assert_eq!(ok("-Mp4"), "master processes=4");
        assert_eq!(ok("--vacuum=false --master="), "vacuum=false master=");
        assert_eq!(ok("--master true"), "master true", "a word of its own");
    }

    #[test]
    fn an_option_that_may_have_a_value_has_it_beside_it() {
        assert_eq!(ok("-C666"), "chmod-socket=666");
        assert_eq!(ok("-MC666"), "master chmod-socket=666");
        assert_eq!(ok("--chmod-socket=666 -C"), "chmod-socket=666 chmod-socket");
        assert_eq!(ok("--chmod-socket 666"), "chmod-socket 666");
        assert_eq!(ok("--need-app -C a.ini"), "need-app chmod-socket a.ini");
    }

    #[test]
    fn what_follows_an_option_that_takes_a_value_is_the_value() {
        assert_eq!(ok("--listen --master"), "listen=--master");
        assert_eq!(ok("-p -1"), "processes=-1");
        assert_eq!(ok("--chdir -C666 -C660"), "chdir=-C666 chmod-socket=660");
        assert_eq!(ok("-w -C666"), "module=-C666");
        assert_eq!(ok("-p 1 -- -C666"), "processes=1 -C666");
    }

    #[test]
    fn others_say_bind() {
        assert_eq!(ok("--bind :8000 -p 2"), "http-socket=:8000 processes=2");
        assert_eq!(ok("--bind=unix:/run/a.sock --bind tcp://[::1]:1"), "http-socket=/run/a.sock http-socket=[::1]:1");
        assert_eq!(ok("--bind -C666"), "http-socket=-C666");
        assert_eq!(ok("-b 4096 -w app:app"), "buffer-size=4096 module=app:app", "uWSGI's letters stay");
    }

    #[test]
    fn a_beginning_is_enough_where_it_is_clear() {
        assert_eq!(ok("--proces 4 --buffer-si=100"), "processes=4 buffer-size=100");
        let error = words("--http-sock :0").expect_err("ambiguous");
        assert_eq!(
            error,
            "--http-sock: which one? --http-socket, --http-socket-modifier1, --http-socket-modifier2 (command line)"
        );
    }

    #[test]
    fn what_is_not_built_is_known_too() {
        assert_eq!(ok("-s :3031 --emperor dir --mule -d log"), "socket=:3031 emperor=dir mule daemonize=log");
    }

    #[test]
    fn mistakes_are_one_line() {
        assert_eq!(
            words("--procesess 4"),
            Err("--procesess: unknown option; did you mean processes? (command line)".into())
        );
        assert_eq!(words("--nope=1"), Err("--nope: unknown option (command line)".into()));
        assert_eq!(words("-%"), Err("-%: unknown option (command line)".into()));
        assert_eq!(words("-p"), Err("--processes: a value is missing (command line)".into()));
        assert_eq!(words("--ini"), Err("--ini: a value is missing (command line)".into()));
        assert_eq!(words("top x"), Err("the command top is not built yet: see --help".into()));
    }

    #[test]
    fn marks_of_uwsgi_are_passed_over() {
        assert_eq!(ok("[uwsgi] a.ini"), "a.ini");
    }

    #[test]
    fn bytes_need_not_be_text() {
        let bad = OsStr::from_bytes(b"a\xff").to_owned();
        assert_eq!(parse(std::slice::from_ref(&bad)), Ok(vec![Word::File(b"a\xff".into())]));
        let chdir = Word::Option { name: "chdir", value: Some(b"a\xff".into()) };
        assert_eq!(parse(&["--chdir".into(), bad]), Ok(vec![chdir]));
    }

    #[test]
    fn clap_finds_the_command_sound() {
        command().debug_assert();
    }

    #[test]
    fn no_words_make_it_panic() {
        let mut random = Random::new(5);
        let parts = ["-", "--", "=", "C", "M", "p", "ini", "processes", "x", " ", "666", "\u{e9}", "", "-C", "--set"];
        for _ in 0..150 {
            let mut word = || (0..random.below(4)).map(|_| *random.pick(&parts)).collect::<String>();
            let _ = parse(&arguments(&[&word(), &word(), &word()]));
        }
    }
}
