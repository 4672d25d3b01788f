//! Placeholders in values: `$(VARIABLE)`, then `@(file)`, then `%(name)`, each over all records, as uWSGI does.
//!
//! `load` calls [`expand`] once everything that options read at once (`ini`, `include`) is there. What can't be filled
//! in stays as it is written: a log format has placeholders of its own.

use std::collections::{HashMap, HashSet};

use bstr::{BStr, BString, ByteSlice};

use crate::calculate::calculate;
use crate::record::Record;
use crate::report::Problem;
use crate::resource;
use crate::source::Source;
use crate::table;

/// How often one value may be filled in, and how long it may become, in bytes: beyond it, it refers to itself.
const MOST_ROUNDS: usize = 1000;
const MOST_BYTES: usize = 1 << 20;

/// How many bytes may be looked at in all rounds together: beyond it, values refer to each other to no end.
const MOST_WORK: usize = 256 << 20;

/// What the placeholders told.
#[derive(Debug, Default)]
pub struct Expanded {
    /// The names that some `%(name)` asked for.
    pub used: HashSet<BString>,
    /// What went wrong, and what stayed unknown in the value of an option that works.
    pub problems: Vec<Problem>,
}

/// What stands for a key: text, nothing known, or something of the machine, which is not looked at.
enum Found {
    Text(BString),
    Nothing,
    Unsure,
}

/// Fills in the values of all records that are not done. Without `here`, what comes from the machine stays as it is, and
/// the record is marked.
pub fn expand(records: &mut [Record], source: &Source, here: bool) -> Expanded {
    let mut sweeps = Sweeps { work: 0, unknown: Vec::new(), problems: Vec::new() };
    let written: Vec<Option<BString>> = records.iter().map(|record| record.directive.value.clone()).collect();
    sweeps.sweep(records, b'$', |key, _| match source.variable(key) {
        Some(value) => Ok(Found::Text(value.into())),
        None if here => Ok(Found::Nothing),
        None => Ok(Found::Unsure),
    });
    let known = sweeps.unknown.len();
    sweeps.sweep(records, b'@', |key, _| {
        if !here && resource::is_of_the_machine(key) {
            return Ok(Found::Unsure);
        }
        contents(source, key).map(Found::Text)
    });
    sweeps.unknown.truncate(known);
    let mut used = HashSet::new();
    let first = first(records);
    sweeps.sweep(records, b'%', |key, records| {
        used.extend(key.split_str(" ").map(BString::from));
        let value = |name: &[u8]| first.get(name).and_then(|index| records[*index].directive.value.as_ref());
        Ok(calculate(key, value).map_or(Found::Nothing, Found::Text))
    });
    for (record, written) in records.iter_mut().zip(written) {
        if record.directive.value != written {
            record.raw = written;
        }
    }
    sweeps.tell_unknown(records);
    Expanded { used, problems: sweeps.problems }
}

/// Where each name was said first.
fn first(records: &[Record]) -> HashMap<Vec<u8>, usize> {
    let mut first = HashMap::with_capacity(records.len());
    for (index, record) in records.iter().enumerate() {
        first.entry(record.directive.name.clone().into_bytes()).or_insert(index);
    }
    first
}

struct Sweeps {
    work: usize,
    /// What could not be filled in, and the record that it stands in.
    unknown: Vec<(usize, BString)>,
    problems: Vec<Problem>,
}

impl Sweeps {
    /// One pass over all values; `hook` tells what a key stands for.
    fn sweep(
        &mut self,
        records: &mut [Record],
        symbol: u8,
        mut hook: impl FnMut(&BStr, &[Record]) -> Result<Found, String>,
    ) {
        for index in 0..records.len() {
            let has = |record: &Record| record.directive.value.as_ref().is_some_and(|value| value.contains(&symbol));
            if records[index].done || !has(&records[index]) {
                continue;
            }
            if let Err(problem) = self.fill(records, index, symbol, &mut hook) {
                self.problems.push(Problem::error(problem).about(&records[index].directive));
                // What has no end is no value.
                records[index].unsure = true;
            }
            if self.work > MOST_WORK {
                break;
            }
        }
    }

    /// Fills in one value.
    fn fill(
        &mut self,
        records: &mut [Record],
        index: usize,
        symbol: u8,
        hook: &mut impl FnMut(&BStr, &[Record]) -> Result<Found, String>,
    ) -> Result<(), String> {
        let begin = self.unknown.len();
        for round in 0.. {
            let Some(value) = &records[index].directive.value else { break };
            self.unknown.truncate(begin);
            self.work += value.len();
            if self.work > MOST_WORK {
                return Err("placeholders lead from one to the next without end".into());
            }
            let mut unsure = false;
            let mut ask = |key: &BStr, whole: &BStr| match hook(key, records)? {
                // What stands for itself is as good as unknown.
                Found::Text(text) if text != whole => Ok(Some(text)),
                Found::Unsure => {
                    unsure = true;
                    Ok(None)
                }
                Found::Text(_) => Ok(None),
                Found::Nothing => {
                    self.unknown.push((index, whole.into()));
                    Ok(None)
                }
            };
            // uWSGI looks again from the second byte on: a placeholder that comes to stand first stays.
            let next = replace_one(value.as_bstr(), symbol, usize::from(round > 0), &mut ask)?;
            records[index].unsure |= unsure;
            let Some(next) = next else { break };
            if round >= MOST_ROUNDS || next.len() > MOST_BYTES {
                return Err(format!("a {}() in it leads back to itself", char::from(symbol)));
            }
            records[index].directive.value = Some(next);
        }
        Ok(())
    }

    /// Only options that work are spoken of, and of a log format only what is no variable of its own.
    fn tell_unknown(&mut self, records: &[Record]) {
        let mut told = HashSet::new();
        for (index, text) in &self.unknown {
            let directive = &records[*index].directive;
            let stayed = directive.value.as_ref().is_some_and(|value| value.contains_str(text));
            let works = table::row(&directive.name)
                .is_some_and(|(row, _)| row.names[0] != "log-format" || !text.starts_with(b"%"));
            if stayed && works && told.insert((index, text)) {
                let problem = Problem::warning(format!("{text} is unknown and stays as it is"));
                self.problems.push(problem.about(directive));
            }
        }
    }
}

/// The value with the first placeholder filled in that `ask` knows and that stands at `from` or behind it, or `None`.
/// `ask` gets the key and the whole text.
///
/// A symbol inside a key begins a new one, so `%(a%(b))` asks for `b` first; parentheses inside a key have to match.
fn replace_one(
    value: &BStr,
    symbol: u8,
    from: usize,
    ask: &mut impl FnMut(&BStr, &BStr) -> Result<Option<BString>, String>,
) -> Result<Option<BString>, String> {
    // Where the last symbol stands, if nothing but an open key follows; where its key begins; the parentheses in it.
    let (mut start, mut key, mut depth) = (None, None, 0);
    for (at, byte) in value.iter().enumerate().skip(from) {
        match (byte, start, key) {
            (byte, ..) if *byte == symbol => (start, key) = (Some(at), None),
            (b'(', Some(_), None) => (key, depth) = (Some(at + 1), 0),
            (_, Some(_), None) => start = None,
            (b'(', Some(_), Some(_)) => depth += 1,
            (b')', Some(_), Some(_)) if depth > 0 => depth -= 1,
            (b')', Some(from), Some(begin)) => {
                (start, key) = (None, None);
                if begin == at {
                    continue;
                }
                if let Some(found) = ask(value[begin..at].as_bstr(), value[from..=at].as_bstr())? {
                    return Ok(Some([&value[..from], found.as_slice(), &value[at + 1..]].concat().into()));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The text of a file, without its last line break.
fn contents(source: &Source, name: &BStr) -> Result<BString, String> {
    let bytes = resource::read(&source.cwd, name).map_err(|reason| format!("cannot read {name}: {reason}"))?;
    let text = bytes.strip_suffix(b"\n").or_else(|| bytes.strip_suffix(b"\r")).unwrap_or(&bytes);
    match text.find_byte(0) {
        None => Ok(text.into()),
        Some(_) => Err(format!("{name} has a NUL byte: this is no text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::{Directive, Origin};
    use crate::random::Random;

    fn record(name: &str, value: Option<&str>) -> Record {
        Record {
            directive: Directive::new(name, value, Origin::Argv),
            raw: None,
            through: [].into(),
            done: name == "ini",
            conditional: false,
            unsure: false,
        }
    }

    fn records(lines: &[(&str, &str)]) -> Vec<Record> {
        lines.iter().map(|(name, value)| record(name, Some(value))).collect()
    }

    /// The first problem of these lines.
    fn problem(lines: &[(&str, &str)]) -> String {
        expand(&mut records(lines), &source(), true).problems.first().map(ToString::to_string).expect("a problem")
    }

    fn source() -> Source {
        let env = [("HOME", "/root"), ("NAME", "HOME"), ("EMPTY", "")];
        Source {
            env: env.map(|(name, value)| (name.into(), value.into())).to_vec(),
            cwd: env!("CARGO_MANIFEST_DIR").into(),
            ..Source::default()
        }
    }

    /// The value of the first directive, all of them expanded.
    fn first(lines: &[(&str, &str)]) -> String {
        let mut records = records(lines);
        let problems = expand(&mut records, &source(), true).problems;
        assert!(problems.iter().all(|problem| !problem.is_error()), "{problems:?}");
        records[0].directive.value.clone().expect("a value").to_string()
    }

    #[test]
    fn a_reference_is_the_first_value_of_a_name() {
        assert_eq!(first(&[("a", "<%(b)>"), ("b", "1"), ("b", "2")]), "<1>");
        assert_eq!(first(&[("a", "%(b)%(b)x%(b)"), ("b", "1")]), "11x1");
    }

    #[test]
    fn what_is_unknown_stays() {
        for text in ["%(uri)", "$(NOPE)", "%()", "%( )", "%(b", "%b)", "%", "$", "%%", "%(", "()"] {
            assert_eq!(first(&[("a", text)]), text);
        }
        assert_eq!(first(&[("a", "%(uri) %(b)"), ("b", "1")]), "%(uri) 1", "the rest is filled in");
    }

    #[test]
    fn a_flag_without_a_value_stands_for_nothing() {
        let mut some = records(&[("a", "%(b)")]);
        some.push(record("b", None));
        expand(&mut some, &source(), true);
        assert_eq!(some[0].directive.value, Some("%(b)".into()));
    }

    #[test]
    fn the_scan_begins_again_after_each_filling() {
        assert_eq!(first(&[("a", "x%(b)"), ("b", "%(c)"), ("c", "1")]), "x1");
        assert_eq!(first(&[("a", " %(b)c)"), ("b", "%("), ("c", "1")]), " 1", "what comes out is read again");
        assert_eq!(first(&[("a", "%(b)"), ("b", "%(c)"), ("c", "1")]), "%(c)", "uWSGI looks at the first byte once");
        assert_eq!(first(&[("a", "%(b)%(b)"), ("b", "%(c)"), ("c", "1")]), "%(c)1");
    }

    #[test]
    fn the_inner_one_comes_first() {
        assert_eq!(first(&[("e", "/%(a%(c))"), ("c", "1"), ("a1", "x")]), "/x");
        assert_eq!(first(&[("e", "/$($(NAME))")]), "//root");
        assert_eq!(first(&[("e", "%($(NAME))"), ("HOME", "home")]), "home", "variables are first");
    }

    #[test]
    fn parentheses_in_a_key_match() {
        assert_eq!(first(&[("q", "%(c ( 2 ))"), ("c", "1")]), "12");
        assert_eq!(first(&[("q", "%(a(b))"), ("a(b)", "1")]), "1");
    }

    #[test]
    fn a_file_stands_for_its_text_without_the_last_line_break() {
        let text = first(&[("a", "<@(Cargo.toml)>")]);
        assert!(text.starts_with("<[package]\n") && text.ends_with("workspace = true>"), "{text}");
        assert_eq!(problem(&[("a", "@(nope)")]), "a: cannot read nope: no such file or directory (command line)");
        assert_eq!(first(&[("a", "<@(exec://echo $((3 + 4)))>")]), "<7>");
        assert_eq!(
            first(&[("a", "/@(exec://echo '%'\\(b\\))"), ("b", "1")]),
            "/1",
            "what a command says is read again"
        );
        assert!(problem(&[("a", "@(http://localhost/)")]).contains("nothing is read over the network"));
    }

    #[test]
    fn the_machine_is_not_looked_at_where_that_is_not_wanted() {
        let mut some = records(&[("a", "$(NOPE)"), ("b", "@(exec://exit 1)"), ("c", "$(HOME)"), ("d", "%(nope)")]);
        let problems = expand(&mut some, &source(), false).problems;
        assert_eq!(problems, []);
        let unsure: Vec<bool> = some.iter().map(|record| record.unsure).collect();
        assert_eq!(unsure, [true, true, false, false]);
    }

    #[test]
    fn what_is_done_stays() {
        assert_eq!(first(&[("ini", "%(b)$(HOME)"), ("b", "1")]), "%(b)$(HOME)");
    }

    #[test]
    fn what_leads_back_to_itself_ends() {
        assert_eq!(first(&[("a", "%(a)")]), "%(a)");
        assert_eq!(first(&[("a", "%(b)"), ("b", "%(a)")]), "%(a)");
        assert_eq!(first(&[("a", "%(a)x")]), "%(a)xx");
        assert_eq!(problem(&[("a", "x%(a)")]), "a: a %() in it leads back to itself (command line)");
        assert!(problem(&[("a", "%(b)%(b)"), ("b", "%(a)%(a)")]).contains("leads back to itself"));
    }

    #[test]
    fn bombs_end_soon() {
        let lines: Vec<(String, String)> = (0..2000)
            .map(|number| (format!("a{number}"), format!("%(a{next})%(a{next})", next = number + 1)))
            .collect();
        let lines: Vec<(&str, &str)> = lines.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert!(problem(&lines).contains("without end") || problem(&lines).contains("leads back"));
    }

    #[test]
    fn what_was_written_is_kept() {
        let mut some = records(&[("a", "<%(b)>"), ("b", "1")]);
        expand(&mut some, &source(), true);
        assert_eq!((some[0].raw.clone(), some[1].raw.clone()), (Some("<%(b)>".into()), None));
    }

    #[test]
    fn used_names_are_told_and_unknown_ones_in_options_that_work() {
        let mut some = records(&[("a", "%(b + c)"), ("http-socket", ":$(PORT)"), ("log-format", "%(uri)")]);
        let expanded = expand(&mut some, &source(), true);
        assert!(["b", "c", "uri"].iter().all(|name| expanded.used.contains(name.as_bytes())));
        let told: Vec<String> = expanded.problems.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["http-socket: $(PORT) is unknown and stays as it is (command line)"]);
    }

    #[test]
    fn no_text_makes_it_panic() {
        let mut random = Random::new(3);
        let parts = ["%", "$", "@", "(", ")", "%(", "$(", "b", "c", "a", " ", "+", "++", "/", "é", "HOME", "-1"];
        for _ in 0..3_000 {
            let mut text = || (0..random.below(14)).map(|_| *random.pick(&parts)).collect::<String>();
            let (a, b, c) = (text(), text(), text());
            let _ = expand(&mut records(&[("a", &a), ("b", &b), ("c", &c)]), &source(), true);
        }
    }
}
