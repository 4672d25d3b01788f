//! What a shell and `man` know of the command line: completions and the manual page, made of the `table` by clap's own
//! generators. `load` answers `ruwsgi completions SHELL`; a test compares `docs/ruwsgi.1` with the manual.

use std::ffi::OsString;
use std::io::Write;

use clap::{ArgAction, Command, ValueHint};
use clap_complete::Shell;

use crate::argv::BIND;
use crate::kind::Arg;
use crate::report::Error;
use crate::table::ROWS;

const ABOUT: &str = "run Python (WSGI) applications from uWSGI's configuration";

const LONG: &str = "\
Runs the Python applications that uWSGI runs, from the same files. An option is the same on the command line \
(--processes 4), in a file (processes = 4) and in the environment (UWSGI_PROCESSES=4). Files without an option are read \
last; MODULE:CALLABLE loads an application. ruwsgi check, explain and migrate speak of a file instead of serving it; each \
has its own --help. ruwsgi completions SHELL prints a script for bash, zsh, fish or elvish.";

/// The words that come first, and stand for something else than a server.
const COMMANDS: [(&str, &str); 4] = [
    ("check", "say what is wrong with a configuration"),
    ("explain", "show each value and where it comes from"),
    ("migrate", "write a smaller file that means the same"),
    ("completions", "print a script for a shell"),
];

const SYNOPSIS: &str = "\
.SH SYNOPSIS
\\fBruwsgi\\fR [\\fIOPTION\\fR]... [\\fIFILE.ini\\fR | \\fIMODULE:CALLABLE\\fR]...
";

/// What `completions SHELL` asks for; `None`: something else is asked for.
pub fn asked(arguments: &[OsString]) -> Option<Result<String, Error>> {
    let (first, rest) = arguments.split_first()?;
    if first != "completions" {
        return None;
    }
    let shell = match rest {
        [name] => name.to_str().and_then(|name| name.parse().ok()),
        _ => None,
    };
    Some(shell.map(completions).ok_or_else(|| Error::new("completions: name a shell: bash, zsh, fish or elvish")))
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "ruwsgi", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// `docs/ruwsgi.1`.
pub fn manual() -> String {
    let mut page = Vec::new();
    let manual = clap_mangen::Man::new(command()).source(concat!("ruwsgi ", env!("CARGO_PKG_VERSION")));
    // clap's synopsis would name every option.
    let rendered = [
        manual.render_title(&mut page),
        manual.render_name_section(&mut page),
        page.write_all(SYNOPSIS.as_bytes()),
        manual.render_description_section(&mut page),
        manual.render_options_section(&mut page),
    ];
    debug_assert!(rendered.iter().all(Result::is_ok), "a Vec takes everything");
    String::from_utf8_lossy(&page).into_owned()
}

/// The options that work, as people see them: the parser's command knows all names and says nothing of them.
fn command() -> Command {
    let options = ROWS.iter().map(|row| {
        let option = clap::Arg::new(row.names[0])
            .long(row.names[0])
            .short(row.short)
            .visible_aliases(&row.names[1..])
            .help(row.help)
            .help_heading(row.heading)
            .value_name(row.hint);
        let option = if row.names[0] == "http-socket" { option.visible_alias(BIND) } else { option };
        let option = match row.hint {
            "FILE" | "PATH" => option.value_hint(ValueHint::AnyPath),
            "DIR" => option.value_hint(ValueHint::DirPath),
            "USER" => option.value_hint(ValueHint::Username),
            _ => option.value_hint(ValueHint::Other),
        };
        match row.arg {
            Arg::Required => option.num_args(1),
            Arg::Optional => option.num_args(0..=1).require_equals(true),
            Arg::None => option.action(ArgAction::SetTrue),
        }
    });
    let files = clap::Arg::new("FILE").num_args(0..).value_hint(ValueHint::FilePath).help("files of the configuration");
    Command::new("ruwsgi")
        .about(ABOUT)
        .long_about(LONG)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(options)
        .arg(files)
        .subcommands(COMMANDS.map(|(name, about)| {
            Command::new(name).about(about).arg(clap::Arg::new("FILE").value_hint(ValueHint::FilePath))
        }))
        .disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn shells_complete_what_works() {
        for shell in ["bash", "zsh", "fish"] {
            let script = asked(&words(&format!("completions {shell}"))).expect("asked").expect("a shell");
            assert!(script.contains("processes") && script.contains("http-socket"), "{shell}");
            assert!(script.contains("migrate") && !script.contains("never-swap"), "{shell}");
        }
        assert!(asked(&words("completions csh")).expect("asked").is_err());
        assert!(asked(&words("completions")).expect("asked").is_err());
        assert!(asked(&words("app.ini")).is_none() && asked(&[]).is_none());
    }

    #[test]
    fn the_manual_has_what_works() {
        let page = manual();
        assert!(page.contains(".TH ruwsgi 1") && page.contains("run NUM worker processes"), "{page}");
    }
}
