//! The page for those who come from uWSGI, made of the `table`, the `absent` options and the `differences`. A test
//! compares `docs/migrating.md` with it; `tools/docs` writes that file anew. Nothing is decided here.

use std::fmt::Write;

use crate::absent::{Class, TOPICS};
use crate::differences::DIFFERENCES;
use crate::known::of_topic;
use crate::table::ROWS;

const BEGIN: &str = "\
<!-- Written by tools/docs from src/options: change it there. -->

# From uWSGI to ruwsgi

What changes when you type `ruwsgi` instead of `uwsgi`. The same file, the same command line:

```
ruwsgi --ini uwsgi.ini
```

Nothing is ignored silently. Each option that does nothing here is named at the start with what follows from that, and
the server does not start where leaving an option out would open, expose or change something. `--strict` makes errors of
the warnings: start with it once, and none is missed. `--show-config` says in the log what was read.

`ruwsgi check uwsgi.ini` says all of this without a start, and `ruwsgi migrate uwsgi.ini` writes a small file that means the
same: [check.md](check.md).

## What differs on purpose

";

const WORKING: &str = "
## Options that work

The names on one line mean the same.
";

const MISSING: &str = "
## Options that do nothing here

All other options of uWSGI 2.0. What the server says of them at the start stands before the names.
";

/// The classes of absent options, from bad to good.
const CLASSES: [(Class, &str, &str); 4] = [
    (
        Class::Exposes,
        "Not built yet: the server does not start",
        "`allow-missing = NAME` starts it without the option.",
    ),
    (Class::Degrades, "Not built yet: a warning", "The server does its work, but less well."),
    (
        Class::Never,
        "Will not be built",
        "The server does not start; `allow-missing = NAME` starts it without the option.",
    ),
    (Class::Harmless, "Not needed", "What they ask for is so anyway. A warning says so."),
];

/// `docs/migrating.md`.
pub fn migrating() -> String {
    let mut page = String::from(BEGIN);
    write(&mut page).expect("a text takes everything");
    page
}

fn write(page: &mut String) -> std::fmt::Result {
    for (heading, differences) in DIFFERENCES {
        writeln!(page, "### {heading}\n\n| subject | uWSGI | ruwsgi | the old way |\n|---|---|---|---|")?;
        for row in *differences {
            let back = if row.back.is_empty() { "-".to_owned() } else { format!("`{}`", row.back) };
            writeln!(page, "| {} | {} | {} | {back} |", row.subject, row.uwsgi, row.here)?;
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page.push_str(WORKING);
    let mut heading = "";
    for row in ROWS {
        if row.heading != heading {
            heading = row.heading;
            writeln!(page, "\n### {heading}\n\n| option | what it does |\n|---|---|")?;
        }
        writeln!(page, "| {} | {} |", names(row.names.iter().copied()), row.help.replace('|', "\\|"))?;
    }
    page.push_str(MISSING);
    for (class, heading, meaning) in CLASSES {
        writeln!(page, "\n### {heading}\n\n{meaning}\n")?;
        for topic in TOPICS.iter().flat_map(|file| file.iter()).filter(|topic| topic.class == class) {
            writeln!(page, "* {}: {}", topic.consequence, names(of_topic(topic).map(|absent| absent.name)))?;
        }
    }
    Ok(())
}

/// `` `a`, `b` ``
fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::known::ABSENT;

    #[test]
    fn every_option_is_on_the_page() {
        let page = migrating();
        let working = ROWS.iter().flat_map(|row| row.names.iter().copied());
        for name in working.chain(ABSENT.iter().map(|absent| absent.name)) {
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
        assert!(page.ends_with('\n') && !page.ends_with("\n\n"), "{:?}", &page[page.len() - 80..]);
    }
}
