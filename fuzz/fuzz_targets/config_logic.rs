//! Conditions, loops, templates and placeholders, made of parts so that they are met often: nothing panics and all of it
//! ends.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ruwsgi_options::{Source, survey};

const NAMES: [&str; 24] = [
    "a", "b", "set", "set-ph", "for", "for-times", "endfor", "if-opt", "if-not-opt", "endif", "if-env", "declare-option",
    "declare-option2", "o", "blacklist", "end-blacklist", "whitelist", "end-whitelist", "if-plugin", "env", "strict",
    "processes", "http-socket", "if-reload",
];
const PARTS: [&str; 32] = [
    "a", "b", "=", " ", "%(a)", "%(b)", "%(", ")", "$(HOME)", "$(", "%(_)", "o=a=$1", ";b=$2", "x y", "1", "3", "+", "%(a + 1)",
    "%(a ++)", "-", "*", "/", "o=o=$1;a=$1", "python", "99999999999", "(", "\u{e9}", "@(", "a=", "if-opt=a", "%", "$1",
];

fuzz_target!(|data: &[u8]| {
    let mut env = vec![("HOME".into(), "/root".into())];
    for line in data.split(|byte| *byte == 0xff).take(40) {
        let Some((name, value)) = line.split_first() else { continue };
        let value: String = value.iter().take(40).map(|byte| PARTS[usize::from(byte % 32)]).collect();
        env.push(("UWSGI_SET".into(), format!("{}={value}", NAMES[usize::from(name % 24)]).into()));
    }
    let found = survey(&Source { env, cwd: "/".into(), ..Source::default() }, false);
    assert!(found.problems.iter().all(|problem| !problem.to_string().is_empty()));
    let _ = found.request();
});
