//! Files that have no end, or would have a very large one: each is told, and the reading ends.

use super::tests::Room;
use super::*;

fn lines(number: usize, line: impl Fn(usize) -> String) -> String {
    (0..number).map(line).collect()
}

/// The errors of a file with these lines.
fn errors(text: &str) -> Vec<String> {
    errors_of("app.ini", &format!("[uwsgi]\n{text}"))
}

fn errors_of(name: &str, text: &str) -> Vec<String> {
    let room = Room::new(&[(name, text), ("one.ini", "[uwsgi]\na = 1\n")]);
    let extension = name.rsplit('.').next().unwrap_or_default();
    let survey = survey(&room.source(&format!("--{extension} {name}"), &[]), true);
    survey.problems.iter().filter(|problem| problem.is_error()).map(ToString::to_string).collect()
}

fn ends_with(text: &str, reason: &str) {
    let errors = errors(text);
    assert!(errors.iter().any(|error| error.contains(reason)), "{reason}: {:?}", &errors[..errors.len().min(3)]);
    assert!(errors.len() < 1010, "{}", errors.len());
}

#[test]
fn large_files_are_read() {
    assert_eq!(errors(&lines(100_000, |number| format!("key{number} = value\n"))), [""; 0]);
    assert_eq!(errors(&format!("a = {}\n", "x".repeat(10 << 20))), [""; 0]);
    assert_eq!(errors("for-times = 1000\ninclude = one.ini\nendfor\n"), [""; 0]);
    assert_eq!(
        errors(&lines(5000, |number| format!("b{number} = 1\ndeclare-option2 = b{number}=env=A=$1\n"))),
        [""; 0]
    );
    assert_eq!(errors(&lines(100_000, |number| format!("[s{number}]\n"))), [""; 0]);
    assert_eq!(errors(&format!("a = {}\n", "%(".repeat(500_000))), [""; 0]);
    assert_eq!(
        errors_of("a.yaml", &format!("uwsgi:\n{}", lines(20_000, |number| format!("  k{number}: v\n")))),
        [""; 0]
    );
}

#[test]
fn loops_end() {
    ends_with("for-times = 2000000000\nenv = A%(_)=1\nendfor\n", "lines: a loop?");
    ends_with("for-times = 100000\ninclude = one.ini\nendfor\n", "more than 4096 files");
    ends_with("include = app.ini\n", "it includes itself");
    ends_with("for-times = 100000\ninclude = app.ini\nendfor\n", "problems: the rest is not read");
    ends_with("inherit = app.ini\ninherit = app.ini\n", "more than 4096 files");
}

#[test]
fn placeholders_end() {
    let ten = |number: usize| format!(" %(a{number})").repeat(10);
    ends_with(&lines(30, |number| format!("a{number} = {}\n", ten(number.saturating_sub(1)))), "leads back to itself");
    ends_with(&lines(3000, |number| format!("a{number} = {}\n", ten(number + 1))), "without end");
    ends_with(&lines(50_000, |number| format!("k{number} = /%(k{})/\n", number.wrapping_sub(1))), "without end");
    ends_with(&format!("a = {}{}\n", "%(a".repeat(100_000), ")".repeat(100_000)), "leads back to itself");
}

#[test]
fn templates_end() {
    ends_with("declare-option = a=a=$1;a=$1\na = 1\n", "it stands for itself");
    let double = |number: usize| format!("declare-option = a{number}=a{0}=$1;a{0}=$1\n", number + 1);
    ends_with(&format!("{}a0 = 1\n", lines(30, double)), "it stands for itself");
}

#[test]
fn magic_variables_end() {
    ends_with(&format!(";{}\n", "%p%p%p%p".repeat(1 << 20)), "larger than 64 MiB");
}

#[test]
fn other_formats_end() {
    for (name, text) in [
        ("a.json", format!("{{\"uwsgi\":{}", "[".repeat(1 << 20))),
        ("a.yaml", format!("uwsgi: {}", "[".repeat(10_000))),
        ("a.xml", format!("<uwsgi>{}", "<a>".repeat(100_000))),
    ] {
        assert!(!errors_of(name, &text).is_empty(), "{name}");
    }
}
