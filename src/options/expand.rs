//! Placeholders in values: `$(VARIABLE)`, then `@(file)`, then `%(name)`, each over all directives, as uWSGI does.
//!
//! `load` calls [`expand`] once everything that options read at once (`ini`, `include`) is there. What can't be filled
//! in stays as it is written: a log format has placeholders of its own.

use std::collections::HashSet;

use crate::directive::Directive;
use crate::file;
use crate::gather::Entry;
use crate::report::{Error, Notice};
use crate::source::Source;
use crate::table;

/// How often one value may be filled in, and how long it may become, in bytes: beyond it, it refers to itself.
const MOST_ROUNDS: usize = 1000;
const MOST_BYTES: usize = 1 << 20;

/// What the placeholders told.
#[derive(Debug, Default)]
pub struct Expanded {
    /// The names that some `%(name)` asked for.
    pub used: HashSet<String>,
    /// What stayed unknown in the value of an option that works.
    pub notices: Vec<Notice>,
}

/// Fills in the values of all entries that are not done.
pub fn expand(entries: &mut [Entry], source: &Source) -> Result<Expanded, Error> {
    let mut used = HashSet::new();
    let mut unknown = Vec::new();
    sweep(entries, b'$', &mut unknown, |key, _| match source.variable(key).map(|value| value.to_str()) {
        Some(None) => Err(format!("the variable {key} is not UTF-8")),
        Some(Some(value)) => Ok(Some(value.to_owned())),
        None => Ok(None),
    })?;
    sweep(entries, b'@', &mut Vec::new(), |key, _| contents(source, key).map(Some))?;
    sweep(entries, b'%', &mut unknown, |key, entries| {
        used.extend(key.split(' ').map(str::to_owned));
        Ok(reference(key, entries))
    })?;
    Ok(Expanded { used, notices: notices(entries, &unknown) })
}

/// Only options that work are spoken of, and of a log format only what is no variable of its own.
fn notices(entries: &[Entry], unknown: &[(usize, String)]) -> Vec<Notice> {
    let mut told = HashSet::new();
    let mut notices = Vec::new();
    for (index, text) in unknown {
        let Directive { name, value, origin } = &entries[*index].directive;
        let stayed = value.as_ref().is_some_and(|value| value.contains(text));
        let works = table::row(name).is_some_and(|(row, _)| row.names[0] != "log-format" || !text.starts_with('%'));
        if stayed && works && told.insert((index, text)) {
            notices.push(Notice::new(format!("{name}: {text} is unknown and stays as it is ({origin})")));
        }
    }
    notices
}

/// One pass over all values; `hook` tells what a key stands for.
fn sweep(
    entries: &mut [Entry],
    symbol: u8,
    unknown: &mut Vec<(usize, String)>,
    mut hook: impl FnMut(&str, &[Entry]) -> Result<Option<String>, String>,
) -> Result<(), Error> {
    for index in 0..entries.len() {
        if entries[index].done {
            continue;
        }
        for round in 0.. {
            let Directive { name, value, origin } = &entries[index].directive;
            let Some(value) = value else { break };
            let fail = |problem: &str| Error::new(format!("{name}: {problem} ({origin})"));
            let mut ask = |key: &str, whole: &str| {
                let found = hook(key, entries)?;
                if found.is_none() {
                    unknown.push((index, whole.to_owned()));
                }
                // What stands for itself is as good as unknown.
                Ok(found.filter(|found| found != whole))
            };
            let Some(next) = replace_one(value, symbol, &mut ask).map_err(|problem: String| fail(&problem))? else {
                break;
            };
            if round >= MOST_ROUNDS || next.len() > MOST_BYTES {
                return Err(fail(&format!("a {}() in it leads back to itself", char::from(symbol))));
            }
            entries[index].directive.value = Some(next);
        }
    }
    Ok(())
}

/// The value with the first placeholder filled in that `ask` knows, or `None`. `ask` gets the key and the whole text.
///
/// A symbol inside a key begins a new one, so `%(a%(b))` asks for `b` first; parentheses inside a key have to match.
fn replace_one(
    value: &str,
    symbol: u8,
    ask: &mut impl FnMut(&str, &str) -> Result<Option<String>, String>,
) -> Result<Option<String>, String> {
    let bytes = value.as_bytes();
    // Where the last symbol stands, if nothing but an open key follows; where its key begins; the parentheses in it.
    let (mut start, mut key, mut depth) = (None, None, 0);
    for (at, byte) in bytes.iter().enumerate() {
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
                if let Some(found) = ask(&value[begin..at], &value[from..=at])? {
                    return Ok(Some([&value[..from], &found, &value[at + 1..]].concat()));
                }
            }
            _ => {}
        }
    }
    Ok(None)
}

/// The text of a file, without its last line break.
fn contents(source: &Source, name: &str) -> Result<String, String> {
    let bytes = file::read(&source.cwd, name).map_err(|reason| format!("cannot read {name}: {reason}"))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| format!("{name} is not UTF-8"))?;
    Ok(text.strip_suffix(['\n', '\r']).unwrap_or(text).to_owned())
}

/// What a name or a calculation stands for: the first value that a name has, not the last.
fn reference(key: &str, entries: &[Entry]) -> Option<String> {
    let first = |name: &str| {
        let found = entries.iter().find(|entry| entry.directive.name == name);
        found.and_then(|entry| entry.directive.value.clone())
    };
    if !key.contains(' ') {
        return first(key);
    }
    // From left to right, without precedence: numbers and names; what stands beside each other is joined.
    let (mut sum, mut operator): (Option<String>, Option<&str>) = (None, None);
    for token in key.split(' ').filter(|token| !token.is_empty()) {
        match token {
            "+" | "-" | "*" | "/" => operator = Some(token),
            "++" | "--" => {
                let step = if token == "++" { 1 } else { -1 };
                sum = sum.map(|text| number(&text).wrapping_add(step).to_string());
                operator = None;
            }
            _ => {
                let digits = token.strip_prefix('-').unwrap_or(token);
                let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                let value = if plain { token.to_owned() } else { first(token).unwrap_or_default() };
                let left = sum.unwrap_or_default();
                sum = Some(match operator.take() {
                    None => left + &value,
                    Some(operator) => calculate(number(&left), operator, number(&value)).to_string(),
                });
            }
        }
    }
    sum
}

fn calculate(left: i64, operator: &str, right: i64) -> i64 {
    match operator {
        "+" => left.wrapping_add(right),
        "-" => left.wrapping_sub(right),
        "*" => left.wrapping_mul(right),
        _ if right == 0 => 0,
        _ => left.wrapping_div(right),
    }
}

/// As `strtoll` reads it: what begins like a number, 0 otherwise, and the nearest one that fits.
fn number(text: &str) -> i64 {
    let text = text.trim_start();
    let (negative, digits) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let digits = digits.bytes().take_while(u8::is_ascii_digit).map(|digit| i64::from(digit - b'0'));
    digits.fold(0i64, |sum, digit| {
        let ten = sum.saturating_mul(10);
        if negative { ten.saturating_sub(digit) } else { ten.saturating_add(digit) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::Origin;
    use crate::random::Random;

    fn entries(lines: &[(&str, &str)]) -> Vec<Entry> {
        let entry = |(name, value): &(&str, &str)| Entry {
            directive: Directive::new(*name, Some(value), Origin::Argv),
            done: *name == "ini",
        };
        lines.iter().map(entry).collect()
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
        let mut entries = entries(lines);
        expand(&mut entries, &source()).expect("no error");
        entries[0].directive.value.clone().expect("a value")
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
        let mut some = entries(&[("a", "%(b)")]);
        some.push(Entry { directive: Directive::new("b", None, Origin::Argv), done: false });
        expand(&mut some, &source()).expect("no error");
        assert_eq!(some[0].directive.value.as_deref(), Some("%(b)"));
    }

    #[test]
    fn the_scan_begins_again_after_each_filling() {
        assert_eq!(first(&[("a", "x%(b)"), ("b", "%(c)"), ("c", "1")]), "x1");
        assert_eq!(first(&[("a", "%(b)c)"), ("b", "%("), ("c", "1")]), "1", "what comes out is read again");
    }

    #[test]
    fn the_inner_one_comes_first() {
        assert_eq!(first(&[("e", "%(a%(c))"), ("c", "1"), ("a1", "x")]), "x");
        assert_eq!(first(&[("e", "$($(NAME))")]), "/root");
        assert_eq!(first(&[("e", "%($(NAME))"), ("HOME", "home")]), "home", "variables are first");
    }

    #[test]
    fn parentheses_in_a_key_match() {
        assert_eq!(first(&[("q", "%(c ( 2 ))"), ("c", "1")]), "12");
        assert_eq!(first(&[("q", "%(a(b))"), ("a(b)", "1")]), "1");
    }

    #[test]
    fn names_and_numbers_are_calculated_from_left_to_right() {
        let told = [
            ("c + 2", "9"),
            ("c - 10", "-3"),
            ("c * c", "49"),
            ("c / 2", "3"),
            ("1 + 2 * 3", "9"),
            ("c / 0", "0"),
            ("c 2", "72"),
            ("c x", "7x1"),
            ("c ++", "8"),
            ("c --", "6"),
            ("c  +  1", "8"),
            ("nope + 1", "1"),
            ("nope x", "x1"),
            ("c + x", "7"),
            ("-3 + 5", "2"),
            ("+ 5", "5"),
            ("9223372036854775807 + 1", "-9223372036854775808"),
            ("99999999999999999999 + 0", "9223372036854775807"),
        ];
        for (key, result) in told {
            assert_eq!(first(&[("a", &format!("%({key})")), ("c", "7"), ("x", "x1")]), result, "{key}");
        }
    }

    #[test]
    fn a_file_stands_for_its_text_without_the_last_line_break() {
        let text = first(&[("a", "<@(Cargo.toml)>")]);
        assert!(text.starts_with("<[package]\n") && text.ends_with("workspace = true>"), "{text}");
        let error = expand(&mut entries(&[("a", "@(nope)")]), &source()).expect_err("no such file");
        assert_eq!(error.to_string(), "a: cannot read nope: no such file or directory (command line)");
        let error = expand(&mut entries(&[("a", "@(exec://id)")]), &source()).expect_err("no such scheme");
        assert!(error.to_string().contains("exec:// is not built yet"), "{error}");
    }

    #[test]
    fn what_is_done_stays() {
        assert_eq!(first(&[("ini", "%(b)$(HOME)"), ("b", "1")]), "%(b)$(HOME)");
    }

    #[test]
    fn what_leads_back_to_itself_ends() {
        assert_eq!(first(&[("a", "%(a)")]), "%(a)");
        assert_eq!(first(&[("a", "%(b)"), ("b", "%(a)")]), "%(a)");
        let error = expand(&mut entries(&[("a", "x%(a)")]), &source()).expect_err("no end");
        assert_eq!(error.to_string(), "a: a %() in it leads back to itself (command line)");
        assert!(expand(&mut entries(&[("a", "%(b)%(b)"), ("b", "%(a)%(a)")]), &source()).is_err());
    }

    #[test]
    fn used_names_are_told_and_unknown_ones_in_options_that_work() {
        let mut some = entries(&[("a", "%(b + c)"), ("http-socket", ":$(PORT)"), ("log-format", "%(uri)")]);
        let expanded = expand(&mut some, &source()).expect("no error");
        assert!(["b", "c", "uri"].iter().all(|name| expanded.used.contains(*name)));
        let told: Vec<String> = expanded.notices.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["http-socket: $(PORT) is unknown and stays as it is (command line)"]);
    }

    #[test]
    fn no_text_makes_it_panic() {
        let mut random = Random::new(3);
        let parts = ["%", "$", "@", "(", ")", "%(", "$(", "b", "c", "a", " ", "+", "++", "/", "é", "HOME", "-1"];
        for _ in 0..3_000 {
            let mut text = || (0..random.below(14)).map(|_| *random.pick(&parts)).collect::<String>();
            let (a, b, c) = (text(), text(), text());
            let _ = expand(&mut entries(&[("a", &a), ("b", &b), ("c", &c)]), &source());
        }
    }
}
