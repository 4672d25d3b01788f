//! How the values of options about processes are read. Rows of the `table` name these kinds; see `kind`.

use crate::kind::{Kind, OneOrMore, Reading, Said, some};

/// How many workers are replaced at a time: a number, or `all`.
pub struct Surge;
/// The name of an algorithm of `cheaper`.
pub struct Algorithm;
/// `FILE TEXT`, each time one more.
pub struct FileAndText;

/// The algorithms of `cheaper-algo`.
pub const ALGORITHMS: [&str; 5] = ["spare", "spare2", "backlog", "manual", "busyness"];

impl Kind for Surge {
    type Field = u32;
    const HINT: &'static str = "NUM";

    fn read(field: &mut u32, said: &Said<'_>) -> Reading {
        if said.value == Some("all") {
            *field = u32::MAX;
            return Ok(None);
        }
        OneOrMore::read(field, said)
    }
}

impl Kind for Algorithm {
    type Field = &'static str;
    const HINT: &'static str = "NAME";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let name = some(said.value)?;
        let known = ALGORITHMS.iter().find(|known| **known == name);
        *field = known.ok_or_else(|| format!("{name:?} is no algorithm: {} are", ALGORITHMS.join(", ")))?;
        Ok(None)
    }
}

impl Kind for FileAndText {
    type Field = Vec<(String, String)>;
    const HINT: &'static str = "FILE TEXT";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (file, rest) =
            text.split_once(' ').ok_or_else(|| format!("{text:?} is not FILE and, behind a blank, more"))?;
        field.push((file.to_owned(), rest.trim_start().to_owned()));
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn values_about_processes() {
        assert_eq!(read::<Surge>(Some("all")), (u32::MAX, Ok(None)));
        assert_eq!(read::<Surge>(Some("3")), (3, Ok(None)));
        assert_eq!(read::<Algorithm>(Some("backlog")), ("backlog", Ok(None)));
        assert!(read::<Algorithm>(Some("backlog2")).1.is_err_and(|why| why.contains("busyness")));
        let pair = ("/run/x".to_owned(), "kill -1 $$".to_owned());
        assert_eq!(read::<FileAndText>(Some("/run/x kill -1 $$")), (vec![pair], Ok(None)));
        assert!(read::<FileAndText>(Some("/run/x")).1.is_err());
    }
}
