//! The options that people may write but that do nothing here: not yet, or never. Each says what its absence does.
//!
//! `known` reads the rows, `judge` speaks. What an option would do stands in `absent/meanings.tsv`. A row is a class, a consequence and the names that share it. The consequence
//! is a clause in the present tense: "nothing listens at this address". A name is written as getopt would have it:
//! `name` takes no value, `name=` takes one, `name?` may take one; `,x` is its letter.

mod control;
mod elsewhere;
mod emperor;
mod logging;
mod process;
mod python;
mod requests;
mod routers;
mod sockets;
mod workers;

/// What the absence of an option does to those who count on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing: what it asks for is so anyway, or there is nothing that it could change. A warning says so.
    Harmless,
    /// The server does its work, but less well. A warning says what is lost; an error under `strict`.
    Degrades,
    /// It opens a listener, serves something, authenticates, restricts, isolates or limits, or makes the server another
    /// one than was asked for: the server does not start, unless `allow-missing` names the option.
    Exposes,
    /// The same, and it will not be built: the consequence says what to use.
    Never,
}

impl Class {
    /// What is said before the consequence.
    pub fn verdict(self) -> &'static str {
        match self {
            Self::Harmless => "not needed",
            Self::Degrades | Self::Exposes => "not built yet",
            Self::Never => "no part of this server",
        }
    }
}

/// Names that share a class and a consequence.
pub struct Topic {
    /// What their absence does, in short.
    pub class: Class,
    /// What it does, in words.
    pub consequence: &'static str,
    /// The names, with blanks between them.
    pub names: &'static str,
}

/// All topics, file by file, under the headings of the manual.
pub const GROUPS: &[(&str, &[Topic])] = &[
    ("Configuration", control::TOPICS),
    ("Sockets", sockets::TOPICS),
    ("Process", process::TOPICS),
    ("Workers", workers::TOPICS),
    ("Emperor, legions, subscriptions", emperor::TOPICS),
    ("Routers and TLS", routers::TOPICS),
    ("Requests", requests::TOPICS),
    ("Logging", logging::TOPICS),
    ("Python", python::TOPICS),
    ("Other languages and services", elsewhere::TOPICS),
];

/// All topics.
pub fn topics() -> impl Iterator<Item = &'static Topic> {
    GROUPS.iter().flat_map(|(_, topics)| topics.iter())
}

const fn harmless(consequence: &'static str, names: &'static str) -> Topic {
    Topic { class: Class::Harmless, consequence, names }
}

const fn degrades(consequence: &'static str, names: &'static str) -> Topic {
    Topic { class: Class::Degrades, consequence, names }
}

const fn exposes(consequence: &'static str, names: &'static str) -> Topic {
    Topic { class: Class::Exposes, consequence, names }
}

const fn never(consequence: &'static str, names: &'static str) -> Topic {
    Topic { class: Class::Never, consequence, names }
}
