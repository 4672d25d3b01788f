//! Collects what was said into one list, in uWSGI's order: the environment, the command line from left to right, the
//! files that stand there without an option. Files that `ini` and `include` name are read at their place.
//!
//! `load` drives it. Nothing is overwritten and no value is judged here. What is wrong is remembered, and the reading
//! goes on: whoever mends a file wants to know all of it.

mod act;
mod open;

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice};

use crate::declare::Declared;
use crate::directive::{Directive, Origin};
use crate::forbid::Forbidden;
use crate::logic::{Logic, Scene, Times};
use crate::magic::Magic;
use crate::plugin;
use crate::record::Record;
use crate::report::Problem;
use crate::source::Source;
use crate::words::{Act, act};

/// Prefixes of variables that are options; of two that say the same, the second wins.
const PREFIXES: [&str; 2] = ["UWSGI_", "RUWSGI_"];

/// Variables by which instances talk to each other; they set no option.
const NO_OPTIONS: &[&str] = &[
    "UWSGI_RELOADS",
    "UWSGI_VASSALS_DIR",
    "UWSGI_EMPEROR_FD",
    "UWSGI_BROODLORD_NUM",
    "UWSGI_EMPEROR_FD_CONFIG",
    "UWSGI_EMPEROR_PROXY",
    "UWSGI_JAIL_PID",
    "UWSGI_ORIGINAL_PROC_NAME",
    "RUWSGI_FALLBACKS",
    "RUWSGI_EMPEROR_LEASH",
    "RUWSGI_VASSALS_CONTROL",
];

/// Loops and files that say more than this have gone astray; nobody writes that much.
const MOST_RECORDS: usize = 1 << 18;

/// More is wrong than anybody reads.
const MOST_PROBLEMS: usize = 1000;

/// An order on the command line or in a file that ends the reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// `help`
    Help,
    /// `exit`, with this code.
    Exit(u8),
    /// `extract` and `binary-append-data`: print this.
    Print(Vec<u8>),
    /// `stop`: the pidfile.
    Stop(PathBuf),
    /// `reload`: the pidfile.
    Reload(PathBuf),
    /// `pause` and its kin: the pidfile.
    Pause(PathBuf),
}

/// The collection.
pub struct Gather<'a> {
    source: &'a Source,
    /// Whether the machine may be looked at; otherwise only files that are named are read.
    here: bool,
    magic: Magic,
    /// All that was said so far.
    pub records: Vec<Record>,
    /// What options of `declare-option` stand for, said at once.
    pub derived: Vec<Directive>,
    /// The same, said by a record at this place after placeholders were filled in.
    pub derived_late: Vec<(usize, Directive)>,
    /// What is worth a line.
    pub problems: Vec<Problem>,
    /// The files that were read, in order.
    pub files: Vec<PathBuf>,
    /// The names that `set-placeholder` made, and those that a condition asked for.
    pub placeholders: HashSet<BString>,
    /// What ends the reading.
    pub ending: Option<Ending>,
    /// `fallback-config`
    pub fallback: Option<BString>,
    /// Lines to print.
    pub printed: Vec<BString>,
    first: HashMap<String, usize>,
    declared: Declared,
    forbidden: Forbidden,
    plugins: Vec<String>,
    /// The open block, and where it began.
    logic: Option<(Logic, Directive)>,
    /// A line of the block is being said: what it says is not asked again.
    inside: bool,
    conditional: bool,
    /// How deep options of `declare-option` stand for others, and how often they did.
    depth: usize,
    stood: usize,
    through: Arc<[Origin]>,
    opened: open::Opened,
    /// Something has no end: nothing more is read.
    astray: bool,
}

impl<'a> Gather<'a> {
    /// Nothing yet.
    pub fn new(source: &'a Source, here: bool) -> Self {
        Self {
            source,
            here,
            magic: Magic::new(&source.cwd),
            records: Vec::new(),
            derived: Vec::new(),
            derived_late: Vec::new(),
            problems: Vec::new(),
            files: Vec::new(),
            placeholders: HashSet::new(),
            ending: None,
            fallback: None,
            printed: Vec::new(),
            first: HashMap::new(),
            declared: Declared::default(),
            forbidden: Forbidden::default(),
            plugins: Vec::new(),
            logic: None,
            inside: false,
            conditional: false,
            depth: 0,
            stood: 0,
            through: Arc::new([]),
            opened: open::Opened::default(),
            astray: false,
        }
    }

    /// What the environment says.
    pub fn environment(&mut self) {
        let source = self.source;
        for prefix in PREFIXES {
            for (name, value) in &source.env {
                let Some(option) = name.as_bytes().strip_prefix(prefix.as_bytes()) else { continue };
                if option.is_empty() || NO_OPTIONS.iter().any(|known| name == known) {
                    continue;
                }
                let Ok(option) = std::str::from_utf8(option) else { continue };
                let name = option.to_lowercase().replace('_', "-");
                self.say(Directive { name, value: Some(value.as_bytes().into()), origin: Origin::Env });
            }
        }
    }

    /// One more directive; some act at once. Inside a block it is said as often as the block wants.
    pub fn say(&mut self, directive: Directive) {
        if self.is_over() {
            return;
        }
        if self.is_forbidden(&directive) {
            return;
        }
        if self.inside {
            return self.record(&directive);
        }
        if act(&directive.name) == Some(Act::End) && self.logic.take().is_none() {
            self.complain(Problem::warning("there is nothing to end").about(&directive));
        }
        let Some((logic, _)) = self.logic.clone() else { return self.record(&directive) };
        let find = |name: &BStr| self.value(name).map(ToOwned::to_owned);
        let scene = Scene { source: self.source, here: self.here, first: &find, plugins: &self.plugins };
        match logic.times(&scene) {
            Ok(times) => self.repeat(times, &directive),
            Err(reason) => {
                // Once: the other lines of the block have the same reason.
                let (_, begin) = self.logic.take().unwrap_or((logic, directive));
                self.complain(Problem::error(reason).about(&begin));
                self.logic = Some((Logic::nothing(), begin));
            }
        }
    }

    fn is_forbidden(&mut self, directive: &Directive) -> bool {
        let list = self.forbidden.forbids(&directive.name);
        if let Some(list) = list {
            self.complain(Problem::error(format!("forbidden by a {list}")).about(directive));
        }
        list.is_some()
    }

    fn repeat(&mut self, times: Times, directive: &Directive) {
        self.inside = true;
        match times {
            Times::Plain(false) => {}
            Times::Plain(true) => self.record(directive),
            Times::Each(items) => items.iter().for_each(|item| self.record_with(directive, item)),
            Times::Count(most) => {
                for number in 1..=most {
                    if self.is_over() {
                        break;
                    }
                    self.record_with(directive, number.to_string().as_bytes());
                }
            }
            Times::Perhaps(item) => {
                self.conditional = true;
                let index = self.records.len();
                match item {
                    Some(item) => self.record_with(directive, &item),
                    None => self.record(directive),
                }
                // What an unknown item stands in is unknown, too.
                if let Some(record) = self.records.get_mut(index) {
                    record.unsure = record.directive.value.as_ref().is_some_and(|value| value.contains_str("%(_)"));
                }
                self.conditional = false;
            }
        }
        self.inside = false;
    }

    fn record_with(&mut self, directive: &Directive, item: &[u8]) {
        let value = directive.value.as_ref().map(|value| value.replace(b"%(_)", item).into());
        self.record(&Directive { value, ..directive.clone() });
    }

    fn record(&mut self, directive: &Directive) {
        if self.is_over() {
            return;
        }
        if self.records.len() >= MOST_RECORDS {
            self.astray = true;
            return self.complain(Problem::error(format!("more than {MOST_RECORDS} lines: a loop?")).about(directive));
        }
        let acts = act(&directive.name);
        let index = self.records.len();
        self.first.entry(directive.name.clone()).or_insert(index);
        let declared = self.declared.has(&directive.name);
        self.records.push(Record {
            directive: directive.clone(),
            raw: None,
            through: self.through.clone(),
            done: acts.is_some() || declared,
            conditional: self.conditional,
            unsure: false,
        });
        if declared {
            return self.stand_for(directive, None);
        }
        if directive.name.starts_with("plugin") || directive.name.starts_with("need-plugin") {
            let names = directive.value.as_ref().map(|value| value.to_str_lossy().into_owned()).unwrap_or_default();
            self.plugins
                .extend(plugin::plugin_names(&names).filter(|name| plugin::is_built_in(name)).map(str::to_owned));
        }
        if let Some(act) = acts {
            self.act(act, directive);
        }
    }

    /// Reads what waits until everything else is there: `inherit`, in which no placeholder is filled in, and options that
    /// were used before they were declared.
    pub fn later(&mut self) {
        let mut index = 0;
        while index < self.records.len() && !self.is_over() {
            let record = &mut self.records[index];
            let directive = record.directive.clone();
            let declared = self.declared.has(&directive.name);
            index += 1;
            if record.done || !(declared || matches!(&*directive.name, "inherit" | "declare-option2" | "print")) {
                continue;
            }
            record.done = true;
            match directive.name.as_str() {
                "inherit" => {
                    let through = std::mem::replace(&mut self.through, self.records[index - 1].through.clone());
                    self.include(&directive);
                    self.through = through;
                }
                "print" => self.printed.push(directive.value.clone().unwrap_or_default()),
                "declare-option2" => {
                    self.declare(&directive);
                    // What stands before it may use it.
                    let name = directive.value.as_ref().and_then(|value| value.split_once_str("="));
                    let used = name.and_then(|(name, _)| self.first.get(&*name.to_str_lossy()));
                    index = used.map_or(index, |used| index.min(*used));
                }
                _ if declared => self.stand_for(&directive, Some(index - 1)),
                _ => {}
            }
        }
    }

    /// The last words: a block that was never ended.
    pub fn finish(&mut self) {
        if let Some((_, begin)) = self.logic.take() {
            let end = if begin.name.starts_with("for") { "endfor" } else { "endif" };
            self.complain(Problem::error(format!("no {end} follows")).about(&begin));
        }
    }

    /// The first value of a name.
    pub fn value(&self, name: &[u8]) -> Option<&BString> {
        let index = std::str::from_utf8(name).ok().and_then(|name| self.first.get(name))?;
        self.records[*index].directive.value.as_ref()
    }

    fn is_over(&self) -> bool {
        self.astray || self.ending.is_some()
    }

    fn complain(&mut self, problem: Problem) {
        // In a part that may not count, nothing is sure to be wrong.
        if self.conditional {
            return;
        }
        self.problems.push(problem);
        if self.problems.len() == MOST_PROBLEMS {
            self.astray = true;
            self.problems.push(Problem::error(format!("{MOST_PROBLEMS} problems: the rest is not read")));
        }
    }
}
