//! Traps in lines as such: those that later ones override, and those that are no `name = value`.

use std::collections::HashMap;

use super::seen::{Line, Seen};
use crate::directive::Directive;
use crate::known::known;
use crate::meaning::{meaning, replaces};
use crate::report::Problem;

/// `processes = 2`, and further down `processes = 4`, in one file.
pub fn overridden(seen: &Seen<'_>) -> Vec<Problem> {
    let mut last: HashMap<&str, &Line<'_>> = HashMap::new();
    let mut told = Vec::new();
    // From the end: what is known already comes later in the file.
    for line in seen.lines.iter().rev().filter(|line| !line.conditional) {
        let Some(later) = last.get(line.option) else {
            last.insert(line.option, line);
            continue;
        };
        let same_file = line.origin.file().is_some() && line.origin.file() == later.origin.file();
        if same_file && replaces(&said(line), &said(later)) && meaning([&said(line)]) != meaning([&said(later)]) {
            told.push(line.is(format!("overridden by {} = {} ({})", later.name, later.value, later.origin)));
        }
    }
    told.reverse();
    told
}

fn said(line: &Line<'_>) -> Directive {
    Directive::new(line.name, Some(&line.value), line.origin.clone())
}

/// `processes: 4`, `processes 4`, `static-map /static=/srv/static`
pub fn no_equals_sign(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        if known(line.name).is_some() {
            return None;
        }
        let (name, value) = line.name.split_once([':', ' ', '\t'])?;
        known(name)?;
        let value = match (value.trim_start_matches([':', ' ', '\t']), &*line.value) {
            (value, "") => value.to_owned(),
            (value, rest) => format!("{value}={rest}"),
        };
        Some(line.is(format!("a line is name = value: write {name} = {value}")))
    };
    seen.lines.iter().filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{found, silent};

    #[test]
    fn a_value_that_does_not_count_is_told() {
        let told = found(overridden, &[("processes", "2"), ("master", "1"), ("workers", "4")]);
        assert_eq!(told, ["processes: overridden by workers = 4 (app.ini:3) (app.ini:1)"]);
        silent(overridden, &[("processes", "2"), ("processes", "2"), ("vacuum", "True"), ("vacuum", "1")]);
        silent(overridden, &[("if-env", "A"), ("endif", ""), ("if-env", "B"), ("endif", "")]);
        silent(overridden, &[("env", "A=1"), ("env", "B=2"), ("socket", ":1"), ("socket", ":2")]);
    }

    #[test]
    fn a_line_has_an_equals_sign() {
        let told = found(no_equals_sign, &[("processes: 4", "")]);
        assert_eq!(told, ["processes: 4: a line is name = value: write processes = 4 (app.ini:1)"]);
        assert_eq!(found(no_equals_sign, &[("http-socket :80", "")]).len(), 1);
        assert!(found(no_equals_sign, &[("static-map /s", "/srv")])[0].contains("write static-map = /s=/srv"));
        silent(no_equals_sign, &[("master", ""), ("what ever", ""), ("log-format", "a b")]);
    }
}
