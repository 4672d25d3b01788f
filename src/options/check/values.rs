//! Traps in values of any option: what looks like a comment, a quote, a variable or a flag, and is text.

use super::seen::{Line, Seen};
use crate::report::Problem;

/// Options whose value is a command or a text of its own, where such marks mean something.
fn is_free_text(option: &str) -> bool {
    const BEGINNINGS: &[&str] =
        &["attach-", "smart-attach-", "hook-", "exec-", "cron", "unique-cron", "route", "alarm", "error-route"];
    const WHOLE: &[&str] =
        &["log-format", "add-header", "print", "vassal-set", "response-route", "final-route", "log-req-encoder"];
    BEGINNINGS.iter().any(|begin| option.starts_with(begin)) || WHOLE.contains(&option) || option.ends_with("encoder")
}

fn plain<'s, 'a>(seen: &'s Seen<'a>) -> impl Iterator<Item = &'s Line<'a>> {
    seen.lines.iter().filter(|line| !is_free_text(line.option))
}

/// `module = app:app ; the application`
pub fn comment(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let at = line.value.char_indices().find(|(at, mark)| {
            let before = line.value[..*at].chars().next_back();
            let after = line.value[at + 1..].chars().next();
            matches!(mark, ';' | '#')
                && before.is_some_and(char::is_whitespace)
                && (*mark == ';' || after.is_none_or(|after| after.is_whitespace() || after.is_alphabetic()))
        })?;
        let (value, comment) = (line.value[..at.0].trim_end(), &line.value[at.0..]);
        (!value.is_empty())
            .then(|| line.is(format!("{comment:?} is part of the value {value:?}: a comment has a line of its own")))
    };
    plain(seen).filter_map(told).collect()
}

/// `module = "app:app"`
pub fn quotes(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let value = match line.option {
            "env" | "set" => line.value.split_once('=').map(|(_, value)| value)?,
            _ => &line.value,
        };
        let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote))?;
        let plain = !inner.is_empty() && !inner.contains(['"', '\'']);
        plain.then(|| line.is(format!("the quotes in {value} are part of the value: write {inner}")))
    };
    plain(seen).filter_map(told).collect()
}

/// `uid = ${USER}`
pub fn shell_variable(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let name = braced(&line.value)?;
        Some(line.is(format!("${{{name}}} stays as it is: a variable of the environment is written $({name})")))
    };
    plain(seen).filter(|line| !is_template(&line.value)).filter_map(told).collect()
}

/// The name in the first `${NAME}`.
fn braced(value: &str) -> Option<&str> {
    let rest = &value[value.find("${")? + 2..];
    let name = &rest[..rest.find('}')?];
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_name.then_some(name)
}

/// A file that some program fills in before a server reads it: one word for all of its lines.
pub fn template(seen: &Seen<'_>) -> Vec<Problem> {
    let mut lines = seen.lines.iter().filter(|line| is_template(&line.value) || is_template(line.name));
    let first = lines.next().map(|line| {
        let others = match lines.count() {
            0 => String::new(),
            count => format!(", as do {count} more lines"),
        };
        let text = if is_template(&line.value) { &line.value } else { line.name };
        line.is(format!("{text:?} waits for a template engine to fill it in{others}: check what comes out of it"))
    });
    first.into_iter().collect()
}

fn is_template(text: &str) -> bool {
    let word = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    if word
        .is_some_and(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
    {
        return true;
    }
    [("{{", "}}"), ("{%", "%}"), ("<%", "%>")].iter().any(|(open, close)| {
        let inside = text.find(open).map(|at| &text[at + open.len()..]);
        inside.is_some_and(|inside| inside.contains(close))
    })
}

/// Options that take a path, a name or an address, and are not flags.
const TEXTS: &[&str] = &[
    "callable",
    "chdir",
    "chown-socket",
    "daemonize",
    "daemonize2",
    "gid",
    "http-socket",
    "logto",
    "logto2",
    "module",
    "pidfile",
    "pythonpath",
    "safe-pidfile",
    "socket",
    "touch-reload",
    "uid",
    "virtualenv",
    "wsgi-file",
];

/// `daemonize = true`
pub fn flag(seen: &Seen<'_>) -> Vec<Problem> {
    let words = ["true", "false", "yes", "no", "on", "off"];
    let told = |line: &Line<'_>| {
        let word = words.iter().find(|word| line.value.eq_ignore_ascii_case(word))?;
        let instead = if ["true", "yes", "on"].contains(word) { "name it" } else { "leave the line out" };
        Some(line.is(format!("{:?} is {}, not a switch: {instead}", line.value, meaning(line.option))))
    };
    seen.lines.iter().filter(|line| TEXTS.contains(&line.option)).filter_map(told).collect()
}

fn meaning(option: &str) -> &'static str {
    match option {
        "daemonize" | "daemonize2" | "logto" | "logto2" => "the name of the log file",
        "pidfile" | "safe-pidfile" | "touch-reload" | "wsgi-file" => "the name of a file",
        "chdir" | "pythonpath" | "virtualenv" => "the name of a directory",
        "uid" | "gid" | "chown-socket" => "the name of a user or a group",
        "http-socket" | "socket" => "the name of a unix socket",
        _ => "a name in Python",
    }
}

/// Options that count in plain numbers, by what they count.
const BYTES: &[&str] = &["buffer-size", "limit-post", "post-buffering", "log-maxsize", "log-big"];
const SECONDS: &[&str] =
    &["harakiri", "socket-timeout", "http-timeout", "worker-reload-mercy", "reload-mercy", "http-keepalive"];

const COUNTS: &[&str] = &["processes", "threads", "max-requests", "listen"];

/// `buffer-size = 64k`
pub fn unit(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let number = line.number()?;
        let unit = line.value.trim_start_matches(|letter: char| letter.is_ascii_digit()).trim();
        let unit = unit.to_ascii_lowercase();
        let factor: u64 = match (unit.trim_end_matches('b'), unit.as_str()) {
            ("k" | "ki", _) if BYTES.contains(&line.option) => 1 << 10,
            ("m" | "mi", _) if BYTES.contains(&line.option) => 1 << 20,
            ("g" | "gi", _) if BYTES.contains(&line.option) => 1 << 30,
            ("k", "k") if COUNTS.contains(&line.option) => 1000,
            (_, "s" | "sec") if SECONDS.contains(&line.option) => 1,
            (_, "m" | "min") if SECONDS.contains(&line.option) => 60,
            (_, "h") if SECONDS.contains(&line.option) => 3600,
            _ => return None,
        };
        let whole = number.checked_mul(factor)?;
        Some(line.is(format!("{:?} has a unit, and only the digits are read: write {whole}", line.value)))
    };
    plain(seen).filter_map(told).collect()
}

/// Options that count in MiB.
const MEGABYTES: &[&str] = &[
    "limit-as",
    "reload-on-as",
    "reload-on-rss",
    "evil-reload-on-as",
    "evil-reload-on-rss",
    "reload-on-pss",
    "reload-on-uss",
];

/// More than this, in MiB, is a number of bytes: 1 TiB.
const MOST_MEGABYTES: u64 = 1 << 20;

/// `reload-on-rss = 536870912`
pub fn megabytes(seen: &Seen<'_>) -> Vec<Problem> {
    let lines = seen.lines.iter().filter(|line| MEGABYTES.contains(&line.option));
    let large = lines.filter_map(|line| line.number().filter(|number| *number > MOST_MEGABYTES).map(|it| (line, it)));
    let told = |(line, number): (&Line<'_>, u64)| {
        line.is(format!("{number} MiB is never reached: it counts in MiB; {number} bytes are {}", number >> 20))
    };
    large.map(told).collect()
}

/// `pythonpath = /a:/b`
pub fn path_list(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let parts: Vec<&str> = line.value.split(':').filter(|part| !part.is_empty()).collect();
        (parts.len() > 1).then(|| {
            let lines: Vec<String> = parts.iter().map(|part| format!("{} = {part}", line.name)).collect();
            line.is(format!("{:?} is one directory: write a line for each, {}", line.value, lines.join(", ")))
        })
    };
    seen.all("pythonpath").filter_map(told).collect()
}

/// `env = LANG = C`
pub fn env(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let (name, value) = line.value.split_once('=')?;
        let blank = name.ends_with([' ', '\t']) || value.starts_with([' ', '\t']);
        blank.then(|| {
            let right = format!("{} = {}={}", line.name, name.trim(), value.trim());
            line.is(format!(
                "the blanks around the second = are part of the name {name:?} and its value: write {right}"
            ))
        })
    };
    seen.all("env").filter_map(told).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{found, silent};

    #[test]
    fn what_stands_behind_a_value_is_no_comment() {
        let told = found(comment, &[("module", "app:app ; the site")]);
        assert_eq!(
            told,
            ["module: \"; the site\" is part of the value \"app:app\": a comment has a line of its own (app.ini:1)"]
        );
        for (name, value) in [("max-requests", "5 # five"), ("base", "/srv ;x"), ("pp", "/a\t;"), ("uid", "www #me")] {
            assert_eq!(found(comment, &[(name, value)]).len(), 1, "{value}");
        }
        for (name, value) in [
            ("module", "app:app"),
            ("pythonpath", "/srv/c#/lib"),
            ("env", "A=b;c"),
            ("env", "COLOUR=x #123456"),
            ("attach-daemon", "a ; b # c"),
            ("log-format", "%(uri) ; %(method) # x"),
            ("route-if", "equal:${A};B http"),
            ("hook-post-app", "exec:x ; y"),
            ("chdir", "; nothing else"),
        ] {
            silent(comment, &[(name, value)]);
        }
    }

    #[test]
    fn quotes_are_text() {
        assert_eq!(
            found(quotes, &[("module", "\"app:app\"")]),
            ["module: the quotes in \"app:app\" are part of the value: write app:app (app.ini:1)"]
        );
        assert_eq!(found(quotes, &[("env", "A='b'"), ("set", "x=\"y\"")]).len(), 2);
        silent(quotes, &[("module", "app:app"), ("env", "A=b's"), ("log-format", "\"%(uri)\""), ("x", "\"")]);
        silent(quotes, &[("x", "\"a\" and \"b\""), ("attach-daemon", "\"a b\""), ("y", "''")]);
    }

    #[test]
    fn variables_of_shells_stay() {
        assert_eq!(
            found(shell_variable, &[("uid", "${APP_USER}")]),
            ["uid: ${APP_USER} stays as it is: a variable of the environment is written $(APP_USER) (app.ini:1)"]
        );
        silent(shell_variable, &[("uid", "$(USER)"), ("route-if", "equal:${HTTP_HOST};x"), ("x", "${}"), ("y", "$5")]);
        silent(shell_variable, &[("uid", "{{ a }}${b}"), ("cron", "1 ${X}"), ("z", "${a b}"), ("z", "${")]);
    }

    #[test]
    fn templates_are_told_once() {
        let told = found(template, &[("master", "1"), ("uid", "{{ user }}"), ("gid", "{{ group }}")]);
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("as do 1 more lines") && told[0].ends_with("(app.ini:2)"), "{told:?}");
        assert_eq!(found(template, &[("{% if x %}", "")]).len(), 1);
        assert_eq!(found(template, &[("uid", "<%= @user %>")]).len(), 1);
        assert_eq!(found(template, &[("uid", "{user}")]).len(), 1);
        silent(template, &[("log-format", "{%(vars) vars}"), ("x", "{ a }"), ("y", "}}{{"), ("z", "%(a)")]);
    }

    #[test]
    fn names_are_no_switches() {
        assert_eq!(
            found(flag, &[("daemonize", "true")]),
            ["daemonize: \"true\" is the name of the log file, not a switch: name it (app.ini:1)"]
        );
        assert_eq!(found(flag, &[("home", "False"), ("http", "on"), ("uid", "no")]).len(), 3);
        silent(flag, &[("daemonize", "/var/log/a.log"), ("master", "true"), ("uid", "nobody"), ("module", "trueish")]);
    }

    #[test]
    fn numbers_have_no_units() {
        assert_eq!(
            found(unit, &[("buffer-size", "64k")]),
            ["buffer-size: \"64k\" has a unit, and only the digits are read: write 65536 (app.ini:1)"]
        );
        let write = |name, value| found(unit, &[(name, value)]).pop().unwrap_or_default();
        for (name, value, whole) in [
            ("post-buffering", "1MB", "1048576"),
            ("harakiri", "5m", "300"),
            ("harakiri", "30s", "30"),
            ("processes", "1k", "1000"),
            ("max-requests", "10k", "10000"),
            ("log-maxsize", "1 GiB", "1073741824"),
        ] {
            assert!(write(name, value).contains(&format!("write {whole} ")), "{name} {value}");
        }
        silent(unit, &[("harakiri", "30"), ("module", "4k"), ("harakiri", "k"), ("max-requests", "1000 ; requests")]);
    }

    #[test]
    fn memory_counts_in_megabytes() {
        assert!(found(megabytes, &[("reload-on-rss", "536870912")])[0].contains("536870912 bytes are 512"));
        silent(megabytes, &[("reload-on-rss", "512"), ("limit-as", "4096"), ("buffer-size", "536870912")]);
    }

    #[test]
    fn a_path_is_one_directory() {
        let told = found(path_list, &[("pp", "/a:/b")]);
        assert_eq!(told, ["pp: \"/a:/b\" is one directory: write a line for each, pp = /a, pp = /b (app.ini:1)"]);
        silent(path_list, &[("pythonpath", "/a"), ("chdir", "/a:/b")]);
    }

    #[test]
    fn a_variable_has_no_blanks() {
        let told = found(env, &[("env", "LANG = C")]);
        assert!(told[0].contains("write env = LANG=C"), "{told:?}");
        silent(env, &[("env", "A=b c"), ("env", "A"), ("set", "a = b"), ("env", "A=b ")]);
    }
}
