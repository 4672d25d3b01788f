//! The effective configuration: each option with the values that count, where they come from, and what they stand
//! instead of. `ruwsgi explain` shows it. Nothing is read or judged here.

use std::collections::HashMap;

use crate::known::{Known, known};
use crate::meaning::replaces;
use crate::record::Record;
use crate::table::{ROWS, Row, row};

/// What an option is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It works.
    Works,
    /// It does nothing here, with this consequence.
    Absent(&'static str),
    /// Nobody knows it: a placeholder, or a mistake.
    Unknown,
}

/// An option and what was said of it.
#[derive(Debug)]
pub struct Explained<'a> {
    /// The first of the names that mean the same.
    pub option: &'a str,
    /// What it is.
    pub standing: Standing,
    /// The part of the help that shows it; empty for what does not work.
    pub heading: &'static str,
    /// What counts, in order; nothing where nobody said anything.
    pub values: Vec<&'a Record>,
    /// What it stands instead of.
    pub overridden: Vec<&'a Record>,
    /// What counts where nobody says anything; `None`: nothing.
    pub default: Option<&'static str>,
}

/// All options: those that work in the order of the help, then what else was said in the order in which it was.
pub fn explain(records: &[Record]) -> Vec<Explained<'_>> {
    let mut said: HashMap<&str, Vec<&Record>> = HashMap::new();
    let mut others = Vec::new();
    for record in records {
        let name = record.directive.name.as_str();
        let option = row(name).map_or(name, |(row, _)| row.names[0]);
        let lines = said.entry(option).or_default();
        if lines.is_empty() && row(name).is_none() {
            others.push(option);
        }
        lines.push(record);
    }
    let working = ROWS.iter().map(|row| of_row(row, &said.remove(row.names[0]).unwrap_or_default()));
    let mut all: Vec<Explained<'_>> = working.collect();
    // A sort that keeps the order: what is known first.
    others.sort_by_key(|option| known(option).is_none());
    all.extend(others.into_iter().map(|option| Explained {
        option,
        standing: match known(option) {
            Some(Known::Absent(topic)) => Standing::Absent(topic.consequence),
            _ => Standing::Unknown,
        },
        heading: "",
        values: said.remove(option).unwrap_or_default(),
        overridden: Vec::new(),
        default: None,
    }));
    all
}

fn of_row<'a>(row: &'static Row, said: &[&'a Record]) -> Explained<'a> {
    // A condition that was not looked at: both may count.
    let one_counts = said.len() > 1
        && said.iter().all(|record| !record.conditional)
        && replaces(&said[0].directive, &said[said.len() - 1].directive);
    let (overridden, values) = said.split_at(if one_counts { said.len() - 1 } else { 0 });
    Explained {
        option: row.names[0],
        standing: Standing::Works,
        heading: row.heading,
        values: values.to_vec(),
        overridden: overridden.to_vec(),
        default: row.about().1,
    }
}
