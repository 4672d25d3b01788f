//! The page for those who come from uWSGI, made of the `differences`. A test compares `docs/migrating.md` with it;
//! `tools/docs` writes that file anew. Nothing is decided here.

use std::fmt::Write;

use crate::differences::DIFFERENCES;

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

[options.md](options.md) has all options of uWSGI with what becomes of them, `ruwsgi --help OPTION` a single one.

## What differs on purpose

";

/// `docs/migrating.md`.
pub fn migrating() -> String {
    let mut page = String::from(BEGIN);
    for (heading, differences) in DIFFERENCES {
        writeln!(page, "### {heading}\n\n| subject | uWSGI | ruwsgi | the old way |\n|---|---|---|---|")
            .expect("a text takes everything");
        for row in *differences {
            let back = if row.back.is_empty() { "-".to_owned() } else { format!("`{}`", row.back) };
            writeln!(page, "| {} | {} | {} | {back} |", row.subject, row.uwsgi, row.here)
                .expect("a text takes everything");
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}
