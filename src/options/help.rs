//! What `--help`, `--help-all` and `--help OPTION` print, made of the `table` and the `absent` options. `load` calls it.

use std::ffi::OsString;

use crate::absent::Class;
use crate::differences::DIFFERENCES;
use crate::kind::Arg;
use crate::known::{ABSENT, Absent, meant};
use crate::report::{Error, Problem};
use crate::table::{ROWS, Row, row};

const ABOUT: &str = "\
ruwsgi [OPTION]... FILE.ini           run a Python (WSGI) application like uWSGI
ruwsgi [OPTION]... MODULE:CALLABLE    the same without a file, on port 8000
ruwsgi check|explain|migrate FILE     speak of a configuration, start nothing

";

const MORE: &str = "
An option is the same here (--processes 4), in a file (processes = 4) and in the
environment (UWSGI_PROCESSES=4). More: --help-all, --help OPTION, check --help.
";

/// What most people need, with what `--help` says of it: the table says more.
const USUAL: &[(&str, &str)] = &[
    ("ini", "read this file; uWSGI's own run unchanged"),
    ("http-socket", "serve HTTP there, as --bind: :8080, /path"),
    ("socket", "the same in the uwsgi protocol, for nginx"),
    ("module", "load package.module:callable"),
    ("wsgi-file", "load this file"),
    ("virtualenv", "use this virtual environment"),
    ("chdir", "go to this directory first"),
    ("processes", "run so many workers [1]"),
    ("threads", "run so many requests at a time in each [1]"),
    ("harakiri", "kill a worker that needs longer for one"),
    ("static-map", "serve files without the application"),
    ("uid", "run as this user, who is not root"),
    ("py-auto-reload", "reload changed code, for development"),
    ("strict", "make errors of warnings"),
    ("show-config", "say what was read, then start"),
    ("version", "print the version"),
];

/// What `--help` prints: it fits a small terminal.
pub fn short() -> String {
    let mut out = String::from(ABOUT);
    for (name, text) in USUAL {
        let Some((row, _)) = row(name) else { continue };
        out.push_str(&format!("  {:<30} {text}\n", head(row)));
    }
    out + MORE
}

/// What `--help-all` prints: a line for each option that works.
pub fn all() -> String {
    let mut out = String::from(ABOUT);
    let mut heading = "";
    for row in ROWS {
        if row.heading != heading {
            heading = row.heading;
            out.extend(["\n", heading, ":\n"]);
        }
        let others: Vec<String> = row.names[1..].iter().map(|name| format!("--{name}")).collect();
        let others = if others.is_empty() { String::new() } else { format!(" (also {})", others.join(", ")) };
        out.push_str(&format!("  {:<32} {}{others}\n", head(row), row.help));
    }
    out
}

/// `-p, --processes NUM`
fn head(row: &Row) -> String {
    let letter = row.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    format!("{letter}--{}{}", row.names[0], value(row.arg, row.hint))
}

fn value(arg: Arg, hint: &str) -> String {
    match arg {
        Arg::None => String::new(),
        Arg::Optional => format!("[={hint}]"),
        Arg::Required => format!(" {hint}"),
    }
}

/// What is told of the option that stands behind `--help`; `None`: none does.
pub fn topic(arguments: &[OsString]) -> Option<Result<String, Error>> {
    let [flag, topic] = arguments else { return None };
    if !["-h", "--help", "--usage"].iter().any(|known| flag == known) {
        return None;
    }
    let said = topic.to_string_lossy();
    let name = said.trim_start_matches('-').split('=').next().unwrap_or_default();
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none());
    let by_letter = |short: Option<char>| letter.is_some() && short == letter;
    if let Some(row) = ROWS.iter().find(|row| row.names.contains(&name) || by_letter(row.short)) {
        return Some(Ok(working(row)));
    }
    let absent = ABSENT.iter().find(|absent| absent.name == name || by_letter(absent.short));
    let nothing = || Problem { suggestion: meant(name), ..Problem::error(format!("there is no option {name}")) };
    Some(absent.map(missing).ok_or_else(|| nothing().into()))
}

fn working(row: &Row) -> String {
    let value = value(row.arg, row.hint);
    let letter = row.short.map_or_else(String::new, |letter| format!("-{letter}, "));
    let names: Vec<String> = row.names.iter().map(|name| format!("--{name}{value}")).collect();
    let mut out = format!("{letter}{}\n\n  {}\n\n", names.join(", "), row.help);
    let (name, hint) = (row.names[0], if row.arg == Arg::None { "true" } else { row.hint });
    let variable = name.to_ascii_uppercase().replace('-', "_");
    out.push_str(&format!("  in a file: {name} = {hint}\n  in the environment: UWSGI_{variable}={hint}\n"));
    for differs in DIFFERENCES.iter().flat_map(|(_, differences)| differences.iter()) {
        if row.names.iter().any(|name| differs.speaks_of(name)) {
            out.push_str(&format!("  uWSGI differs ({}): {}\n", differs.subject.replace('`', ""), differs.uwsgi));
        }
    }
    out
}

fn missing(absent: &Absent) -> String {
    let Absent { name, short, arg, topic } = absent;
    let letter = short.map_or_else(String::new, |letter| format!("-{letter}, "));
    let fate = match topic.class {
        Class::Exposes | Class::Never => format!("the server does not start with it, unless allow-missing = {name}"),
        Class::Degrades => "the server starts with a warning, and not under strict".to_owned(),
        Class::Harmless => "the server starts with a warning".to_owned(),
    };
    let (value, meaning) = (value(*arg, "VALUE"), absent.meaning());
    format!("{letter}--{name}{value}\n\n  {meaning}\n\n  {}: {}\n  {fate}\n", topic.class.verdict(), topic.consequence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str) -> Result<String, String> {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        topic(&arguments).expect("a topic").map_err(|error| error.to_string())
    }

    #[test]
    fn the_short_help_fits_a_small_terminal() {
        let help = short();
        assert!(help.lines().count() <= 24, "{}\n{help}", help.lines().count());
        assert!(help.lines().all(|line| line.len() <= 80) && help.ends_with('\n'), "{help}");
        for (name, _) in USUAL {
            assert!(help.contains(&format!("--{name}")), "{name} is no option that works");
        }
    }

    #[test]
    fn the_long_help_has_all_that_works_in_groups() {
        let help = all();
        for part in ["Workers:", "Sockets:", "Process:", "Python:", "Logging:", "Configuration:", "-p, --processes"] {
            assert!(help.contains(part), "{part}\n{help}");
        }
        assert!(!help.contains("--legion"));
        assert!(help.ends_with('\n') && help.lines().all(|line| line.len() < 125), "{help}");
    }

    #[test]
    fn one_option_is_told_by_its_name_or_letter() {
        for line in ["--help processes", "-h --workers", "--usage -p", "--help p", "--help --processes=4"] {
            let help = told(line).expect("an option");
            assert!(help.starts_with("-p, --processes NUM, --workers NUM\n"), "{line}: {help}");
            assert!(help.contains("processes = NUM") && help.contains("UWSGI_PROCESSES=NUM"), "{help}");
        }
        assert!(told("--help listen").expect("an option").contains("uWSGI differs (listen): 100;"));
    }

    #[test]
    fn options_that_do_nothing_here_say_so() {
        for (name, parts) in [
            ("never-swap", ["not built yet: the kernel decides by itself", "not under strict"]),
            ("https", ["not built yet: nothing listens", "allow-missing = https"]),
            ("rack", ["no part of this server: it runs Python; for Ruby there is Puma", "does not start"]),
            ("reaper", ["not needed: children of the application are always reaped", "starts with a warning"]),
        ] {
            let help = told(&format!("--help {name}")).expect("an option");
            assert!(parts.iter().all(|part| help.contains(part)), "{help}");
        }
    }

    #[test]
    fn what_is_no_option_is_an_error_with_a_suggestion() {
        assert_eq!(told("--help procesess"), Err("there is no option procesess; did you mean processes?".into()));
        assert!(topic(&["--help".into()]).is_none() && topic(&["--ini".into(), "help".into()]).is_none());
    }
}
