//! How many of uWSGI's options work, are planned, or will never be built: what `--options-status` prints and the
//! README says. A test holds the README to it.

use crate::absent::Class;
use crate::known::ABSENT;
use crate::table::{OURS, ROWS};

/// Names of uWSGI's options, counted.
struct Totals {
    works: usize,
    refused: usize,
    warned: usize,
    never: usize,
    needless: usize,
}

impl Totals {
    fn count() -> Self {
        let of = |class| ABSENT.iter().filter(|absent| absent.topic.class == class).count();
        Self {
            works: ROWS.iter().flat_map(|row| row.names).filter(|name| !OURS.contains(name)).count(),
            refused: of(Class::Exposes),
            warned: of(Class::Degrades),
            never: of(Class::Never),
            needless: of(Class::Harmless),
        }
    }

    fn all(&self) -> usize {
        self.works + self.refused + self.warned + self.never + self.needless
    }
}

/// What `--options-status` prints.
pub fn status() -> String {
    let totals = Totals::count();
    let Totals { works, refused, warned, never, needless } = totals;
    format!(
        "\
{:5} names of uWSGI's options are known
{works:5} work
{:5} are not built yet
{refused:5}   of them end the start: leaving them out would open, expose or change something
{warned:5}   of them are a warning: the server does its work, but less well
{:5} will not be built
{never:5}   of them end the start, and say what to use instead
{needless:5}   of them are not needed: what they ask for is so anyway
{:5} options more are ruwsgi's own
",
        totals.all(),
        refused + warned,
        never + needless,
        OURS.len()
    )
}

/// The same in one sentence, for the README.
pub fn summary() -> String {
    let totals = Totals::count();
    let Totals { works, refused, warned, never, needless } = totals;
    format!(
        "Of the {} names that uWSGI's options have, {works} work, {needless} are not needed, {} are not built yet,\n\
         and {never} will not be: most of these are for other languages.",
        totals.all(),
        refused + warned
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_make_the_whole() {
        let numbers: Vec<usize> =
            status().lines().map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
        let [all, works, planned, refused, warned, never, elsewhere, needless, ours] = numbers[..] else {
            panic!("{numbers:?}")
        };
        assert_eq!(all, works + planned + never);
        assert_eq!((planned, never), (refused + warned, elsewhere + needless));
        assert!(works > 150 && ours > 3, "{numbers:?}");
        assert!(summary().contains(&format!("{works} work")));
    }
}
