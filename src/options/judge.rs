//! Judges names: what is unknown, what is not built yet and what will never be. Values are `Config::interpret`'s.
//!
//! `load` calls it when all directives are there.

use std::collections::HashSet;

use bstr::BString;

use crate::absent::{Class, Topic};
use crate::directive::{Directive, Origin};
use crate::known::{Known, known, meant};
use crate::report::Problem;

/// What a judgement needs to know beside the directives.
pub struct Circumstances<'a> {
    /// The names that stand for something in a value: nobody has to know them.
    pub used: &'a HashSet<BString>,
    /// `strict`
    pub strict: bool,
    /// `allow-missing`
    pub allowed: &'a [String],
}

/// More suggestions than this are made for nobody: to look for one takes longer than to read a line.
const MOST_SUGGESTIONS: usize = 100;

/// What there is to say about names, once for each at the place where it first stands.
pub fn judge<'a>(
    directives: impl IntoIterator<Item = &'a Directive>,
    circumstances: &Circumstances<'_>,
) -> Vec<Problem> {
    let allowed: HashSet<&str> = names(circumstances.allowed).collect();
    let (mut problems, mut seen, mut suggestions) = (Vec::new(), HashSet::new(), 0);
    for directive in directives {
        let Some(mut problem) = verdict(directive, &allowed, circumstances) else { continue };
        if !seen.insert((directive.name.as_str(), problem.severity)) {
            continue;
        }
        if known(&directive.name).is_none() && suggestions < MOST_SUGGESTIONS {
            suggestions += 1;
            problem.suggestion = meant(&directive.name);
        }
        problems.push(problem);
    }
    for name in names(circumstances.allowed).filter(|name| known(name).is_none()) {
        let problem = Problem::warning(format!("there is no option {name}"));
        problems.push(Problem { name: "allow-missing".into(), suggestion: meant(name), ..problem });
    }
    problems
}

/// The names in the values of `allow-missing`, which may have commas and blanks between them.
fn names(values: &[String]) -> impl Iterator<Item = &str> {
    values.iter().flat_map(|value| value.split([',', ' ', '\t'])).filter(|name| !name.is_empty())
}

fn verdict(directive: &Directive, allowed: &HashSet<&str>, circumstances: &Circumstances<'_>) -> Option<Problem> {
    let Directive { name, origin, .. } = directive;
    let problem = match known(name) {
        Some(Known::Works) => return None,
        Some(Known::Absent(topic)) => {
            let refused = refuses(topic.class, circumstances.strict) && !allowed.contains(name.as_str());
            absent(name, topic, refused)
        }
        None if circumstances.used.contains(name.as_bytes()) => return None,
        None if name.is_empty() => severe(circumstances.strict, "a line has no name"),
        // A container's environment is full of names that merely look like options.
        None => severe(circumstances.strict && *origin != Origin::Env, "unknown option"),
    };
    Some(problem.about(directive))
}

fn severe(error: bool, message: &str) -> Problem {
    if error { Problem::error(message) } else { Problem::warning(message) }
}

fn refuses(class: Class, strict: bool) -> bool {
    match class {
        Class::Harmless => false,
        Class::Degrades => strict,
        Class::Exposes | Class::Never => true,
    }
}

fn absent(name: &str, topic: &Topic, refused: bool) -> Problem {
    let consequence = topic.consequence;
    let why = format!("{}: {consequence}", topic.class.verdict());
    let advice = refused.then(|| format!("allow-missing = {name} starts without it"));
    Problem { advice, ..severe(refused, &why) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Error;

    fn judged(lines: &[(&str, &str)], strict: bool, allowed: &str) -> Result<Vec<String>, Error> {
        let directive = |(line, (name, value)): (usize, &(&str, &str))| {
            Directive::new(*name, Some(value), Origin::File { path: "app.ini".into(), line: line as u32 + 1 })
        };
        let directives: Vec<Directive> = lines.iter().enumerate().map(directive).collect();
        let used = HashSet::from(["base".into()]);
        let allowed = [allowed.to_owned()];
        let problems = judge(&directives, &Circumstances { used: &used, strict, allowed: &allowed });
        Error::of(&problems)?;
        Ok(problems.iter().map(ToString::to_string).collect())
    }

    fn refused(lines: &[(&str, &str)], strict: bool) -> String {
        judged(lines, strict, "").expect_err("a refusal").to_string()
    }

    #[test]
    fn what_works_and_what_is_used_needs_no_word() {
        assert_eq!(judged(&[("processes", "4"), ("base", "/srv")], true, ""), Ok(vec![]));
    }

    #[test]
    fn an_unknown_name_is_a_warning_with_a_suggestion_and_an_error_under_strict() {
        let line = "procesess: unknown option; did you mean processes? (app.ini:1)";
        assert_eq!(judged(&[("procesess", "4")], false, ""), Ok(vec![line.into()]));
        assert_eq!(refused(&[("procesess", "4")], true), line);
        assert_eq!(judged(&[("", "4")], false, ""), Ok(vec!["a line has no name (app.ini:1)".into()]));
    }

    #[test]
    fn unknown_names_of_the_environment_never_end_the_start() {
        let image = [Directive::new("image-tag", Some("x"), Origin::Env)];
        let circumstances = Circumstances { used: &HashSet::new(), strict: true, allowed: &[] };
        let problems = judge(&image, &circumstances);
        assert!(problems.len() == 1 && !problems[0].is_error(), "{problems:?}");
    }

    #[test]
    fn each_class_has_its_way() {
        let harmless = "reaper: not needed: children of the application are always reaped (app.ini:1)";
        assert_eq!(judged(&[("reaper", "1")], true, ""), Ok(vec![harmless.into()]));
        let degrades = "never-swap: not built yet: the kernel decides by itself";
        assert_eq!(judged(&[("never-swap", "x")], false, ""), Ok(vec![format!("{degrades} (app.ini:1)")]));
        let refused = format!("{degrades}; allow-missing = never-swap starts without it (app.ini:1)");
        assert_eq!(self::refused(&[("never-swap", "x")], true), refused);
        assert_eq!(judged(&[("never-swap", "x")], true, "never-swap").map(|notices| notices.len()), Ok(1));
        let exposes = "https: not built yet: nothing listens at this address; allow-missing = https starts without it";
        assert_eq!(self::refused(&[("https", "x")], false), format!("{exposes} (app.ini:1)"));
        let told = "https: not built yet: nothing listens at this address (app.ini:1)";
        assert_eq!(judged(&[("https", "x")], false, "snmp, https"), Ok(vec![told.into()]));
        let never = "rack: no part of this server: it runs Python; for Ruby there is Puma; allow-missing = rack starts";
        assert!(judged(&[("rack", "x")], false, "").is_err_and(|error| error.to_string().starts_with(never)));
    }

    #[test]
    fn a_name_is_told_once_and_all_reasons_at_once() {
        let lines = [("route", "a"), ("never-swap", "x"), ("snmp", "b"), ("route", "c"), ("never-swap", "y")];
        let error = judged(&lines, false, "").expect_err("two reasons");
        assert_eq!(error.lines().len(), 2);
        assert!(error.lines()[0].ends_with("(app.ini:1)"), "{error}");
        assert_eq!(judged(&lines, false, "route snmp").map(|notices| notices.len()), Ok(3));
    }

    #[test]
    fn a_wrong_name_in_allow_missing_is_told() {
        let line = "allow-missing: there is no option httpsx; did you mean https?";
        assert_eq!(judged(&[], false, "httpsx"), Ok(vec![line.into()]));
    }
}
