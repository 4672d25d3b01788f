//! The page with all options, made of the `table`, the `absent` ones and the `differences`. A test compares
//! `docs/options.md` with it; `tools/docs` writes that file anew. Nothing is decided here.

use std::fmt::{self, Write};

use crate::absent::{Class, GROUPS, Topic};
use crate::differences::DIFFERENCES;
use crate::kind::Arg;
use crate::known::{Absent, of_topic};
use crate::status::summary;
use crate::table::{OURS, ROWS, Row};

const BEGIN: &str = "\
<!-- Written by tools/docs from src/options: change it there. -->

# Options

An option is the same on the command line (`--processes 4`), in a file (`processes = 4`) and in the environment
(`UWSGI_PROCESSES=4`). The names on one line mean the same. `ruwsgi --help OPTION` shows one, `ruwsgi --help-all` those
that work.

";

const STATES: &str = "
What the tables of options that do nothing here say of each:

* **planned, refused**: not built yet. Leaving it out would open, expose or change something, so the server does not
  start with it. `allow-missing = NAME` starts it without the option.
* **planned, warned**: not built yet. The server does its work, but less well; a warning says so, `strict` makes it an
  error.
* **never**: will not be built; the reason says what to use. The server does not start, unless `allow-missing` names it.
* **not needed**: what it asks for is so anyway. A warning says so.
";

/// `docs/options.md`.
pub fn options() -> String {
    let mut page = String::from(BEGIN);
    write(&mut page).expect("a text takes everything");
    page
}

fn write(page: &mut String) -> fmt::Result {
    writeln!(page, "{}", summary())?;
    page.push_str(STATES);
    for heading in headings() {
        writeln!(page, "\n## {heading}")?;
        working(page, heading)?;
        for (_, topics) in GROUPS.iter().filter(|(name, _)| *name == heading) {
            absent(page, topics)?;
        }
    }
    Ok(())
}

/// Each once, those of options that work first.
fn headings() -> Vec<&'static str> {
    let mut headings = Vec::new();
    for heading in ROWS.iter().map(|row| row.heading).chain(GROUPS.iter().map(|(heading, _)| *heading)) {
        if !headings.contains(&heading) {
            headings.push(heading);
        }
    }
    headings
}

fn working(page: &mut String, heading: &str) -> fmt::Result {
    let mut rows = ROWS.iter().filter(|row| row.heading == heading).peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    writeln!(page, "\n| option | value | default | what it does | in uWSGI |\n|---|---|---|---|---|")?;
    for row in rows {
        let names: Vec<String> = row.names.iter().map(|name| format!("`{name}`")).collect();
        let (text, default) = row.about();
        let (names, value) = (names.join(", ") + &letter(row.short), value(row.arg, row.takes.unwrap_or(row.hint)));
        let cells =
            [&names, &value, default.unwrap_or_default(), &text, &in_uwsgi(row)].map(|cell| cell.replace('|', "\\|"));
        writeln!(page, "| {} |", cells.join(" | "))?;
    }
    Ok(())
}

/// What uWSGI does otherwise, as far as a difference speaks of the option.
fn in_uwsgi(row: &Row) -> String {
    if OURS.contains(&row.names[0]) {
        return "not there".into();
    }
    let differences = DIFFERENCES.iter().flat_map(|(_, differences)| differences.iter());
    let differs = differences.filter(|differs| row.names.iter().any(|name| differs.speaks_of(name)));
    differs.map(|differs| differs.uwsgi).collect::<Vec<_>>().join("; ")
}

fn absent(page: &mut String, topics: &'static [Topic]) -> fmt::Result {
    writeln!(page, "\n| option | value | what it is for | here |\n|---|---|---|---|")?;
    for topic in topics {
        let state = match topic.class {
            Class::Exposes => "planned, refused",
            Class::Degrades => "planned, warned",
            Class::Never => "never",
            Class::Harmless => "not needed",
        };
        for option in of_topic(topic) {
            let Absent { name, short, arg, .. } = option;
            let cells = [&letter(short), &value(arg, "VALUE"), option.meaning()].map(|cell| cell.replace('|', "\\|"));
            let [letter, value, meaning] = cells;
            writeln!(page, "| `{name}`{letter} | {value} | {meaning} | {state}: {} |", topic.consequence)?;
        }
    }
    Ok(())
}

fn letter(short: Option<char>) -> String {
    short.map_or_else(String::new, |short| format!(", `-{short}`"))
}

fn value(arg: Arg, hint: &str) -> String {
    match arg {
        Arg::None => "flag".into(),
        Arg::Optional => format!("{hint} or none"),
        Arg::Required => hint.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::ABSENT;

    #[test]
    fn every_option_is_on_the_page() {
        let page = options();
        let working = ROWS.iter().flat_map(|row| row.names.iter().copied());
        for name in working.chain(ABSENT.iter().map(|absent| absent.name)) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        assert!(page.ends_with('\n') && !page.ends_with("\n\n"), "{:?}", &page[page.len() - 80..]);
    }

    #[test]
    fn a_row_of_the_page_has_all_its_cells() {
        let page = options();
        let line = |begin: &str| page.lines().find(|line| line.starts_with(begin)).expect("a row").to_owned();
        assert_eq!(
            line("| `processes`"),
            "| `processes`, `workers`, `-p` | a number from 1 | 1 | run NUM worker processes |  |"
        );
        let listen = "| `listen`, `-l` | a number from 1 | 1024 | how many connections may wait to be accepted | 100; more than the";
        assert!(line("| `listen`").starts_with(listen), "{}", line("| `listen`"));
        let cheap = "| `cheap` | flag | spawn workers on first request | planned, warned: all workers";
        assert!(line("| `cheap`").starts_with(cheap), "{}", line("| `cheap`"));
    }
}
