//! Every option is walked: from a file, from the command line, from the environment, and with a value that is none.

use super::tests::{Room, run, said};
use super::*;
use crate::absent::Class;
use crate::known::{ABSENT, Absent};
use crate::table::{ROWS, Row};

/// A value that a kind takes, other than what is so without it, and one that it does not take.
fn values(row: &Row) -> (&'static str, Wrong) {
    use Wrong::{Error, Nothing, Odd};
    match row.kind {
        // The other way than it is anyway.
        "Flag" | "MaybeFlag" | "OptionalFlag" | "FlagWithValue" => {
            (if row.about().1 == Some("on") { "false" } else { "true" }, Odd("maybe"))
        }
        "Count" => ("3", Error("many")),
        "MaybeCount" => ("3", Odd("many")),
        "OneOrMore" | "Surge" => ("7", Odd("7 ; a note")),
        "Requests" | "Seconds" | "MaybeSeconds" | "MaybeNumber" | "Few" => ("34", Odd("34 ; a note")),
        "Patience" => ("33", Odd("soon")),
        "Bytes" => ("4096", Error("many")),
        "Keepalive" => ("90", Error("soon")),
        "Mode" | "ThreeDigits" | "Umask" => ("640", Error("999")),
        "Address" | "Socket" | "Door" => ("127.0.0.1:1", Error("")),
        "Protocol" => ("http", Error("gopher")),
        "SocketNumber" => ("3", Odd("3 ; a note")),
        "Modifier" => ("9", Odd("9 ; a note")),
        "MostBytes" => ("5000", Odd("5000 ; a note")),
        "ProxyVersion" => ("2", Odd("2 ; a note")),
        "Pairs" => ("A=b", Error("A")),
        "Algorithm" => ("manual", Error("gopher")),
        "FileAndText" => ("/run/x true", Error("/run/x")),
        "Mounts" => ("/a=app.py", Error("app.py")),
        "Mapping" => ("/a=/srv/a", Error("/a")),
        "ExpiryOfType" => ("text/css=33", Error("text/css=soon")),
        "ExpiryOfPattern" => ("\\.css$ 33", Error("( 33")),
        "Patterns" => ("\\.css$", Error("(")),
        "Encodings" => ("zstd", Error("deflate")),
        "FileServing" => ("x-sendfile", Error("gopher")),
        "Mappings" => ("0:1,2", Error("0")),
        "Fields" => ("X-A: b", Error("X-A")),
        "Collects" => ("X-User USER", Error("X-User")),
        "Places" => ("/etc/vassals", Error("pg://host=db")),
        "Settings" => ("a=b", Error("a")),
        "Namespaces" => ("fs,net", Error("gopher")),
        "Plugins" => ("python3", Nothing),
        "NeedPlugins" => ("python3", Error("php")),
        "LogFile" => ("/var/log/app.log", Error("10.0.0.1:514")),
        "LogDate" | "Texts" | "MorePaths" => ("text", Nothing),
        "Daemons" => ("redis-server", Error("")),
        "SmartDaemons" => ("/run/a.pid a", Error("/run/a.pid")),
        "KeyedDaemons" => ("cmd=a", Error("a")),
        "Descriptors" => ("3:8 deployed", Error("x")),
        "Crons" => ("0 1 -1 -1 -1 a", Error("60 0 0 0 0 a")),
        "KeyedCrons" => ("minute=1 a", Error("minute=1")),
        "Loggers" => ("stdio", Error("redislog:x")),
        "Syslog" => ("app", Nothing),
        "LogSocket" => ("10.0.0.1:514", Error("")),
        "Routes" => ("a .*", Error("a")),
        "LinePatterns" => ("text", Error("")),
        "Encoders" => ("nl", Error("gzip")),
        "Actions" => ("exec:true", Error("true")),
        "TouchHooks" => ("/a exec:true", Error("/a")),
        "MountHooks" => ("proc none /proc", Error("proc")),
        "UmountHooks" => ("/proc detach", Error("/proc now")),
        "Commands" | "Awaits" => ("text", Error("")),
        "Capabilities" => ("chown", Error("flying")),
        "Limit" => ("1M:2M", Error("much")),
        "Environ" => ("A=b", Odd("=b")),
        "LogTarget" => ("10.0.0.1:514", Error("")),
        "Text" | "Paths" | "OnePath" | "LogFormat" | "Prefix" => ("text", Error("")),
        "Subscribe" => ("127.0.0.1:4000:example.com", Error("router:4000:example.com")),
        "SubscribeByKeys" => ("server=127.0.0.1:4000,key=example.com", Error("server=127.0.0.1:4000")),
        "Balancer" => ("p2c", Error("best")),
        "DigestAndFolder" => ("SHA256:/etc/keys", Error("MD4:/etc/keys")),
        "MaybeModifier" => ("5", Error("256")),
        "Uids" => ("33", Error("www-data")),
        other => panic!("{other}: say which values this kind takes"),
    }
}

/// A value that an option does not take.
enum Wrong {
    /// It is read all the same, with a warning; under `strict` it is an error.
    Odd(&'static str),
    /// Nothing sane is left.
    Error(&'static str),
    /// It takes everything.
    Nothing,
}

/// The options that act as soon as they are read are walked apart.
const ACT: &str = "Configuration";

/// The rows that are walked, once for each of their names.
fn walked() -> impl Iterator<Item = (&'static Row, &'static str)> {
    let rows = ROWS.iter().filter(|row| row.heading != ACT || row.names[0] == "strict");
    rows.flat_map(|row| row.names.iter().map(move |name| (row, *name)))
}

/// What an option made of the configuration, wherever it was said.
fn made(loaded: Loaded) -> String {
    let Loaded { config, warnings, .. } = loaded;
    assert!(warnings.is_empty(), "{warnings:?}");
    let text = format!("{:?}", Config { directives: Vec::new(), ..config });
    text.replace("Argv", "here").replace("Env", "here").replace("File { path: \"app.ini\", line: 2 }", "here")
}

#[test]
fn each_option_means_the_same_wherever_it_is_said() {
    let default = format!("{:?}", Config::default());
    for (row, name) in walked() {
        let (value, _) = values(row);
        let room = Room::new(&[("app.ini", &format!("[uwsgi]\n{name} = {value}\n"))]);
        let by_file = made(room.run("--ini app.ini"));
        assert_ne!(by_file, default, "{name} = {value} changes nothing");
        let argument = format!("--{name}={value}");
        let mut source = room.source("", &[]);
        source.argv.push(argument.clone().into());
        assert_eq!(made(run(load(&source))), by_file, "{argument}");
        let variable = format!("UWSGI_{}", name.to_ascii_uppercase().replace('-', "_"));
        assert_eq!(made(run(load(&room.source("", &[(&variable, value)])))), by_file, "{variable}={value}");
    }
}

#[test]
fn defaults_that_are_told_are_so() {
    // These are decided where they are used.
    const ELSEWHERE: [&str; 10] = [
        "listen",
        "socket-timeout",
        "http-keepalive",
        "callable",
        "http-buffer-size",
        "http-headers-timeout",
        "http-connect-timeout",
        "fastrouter-buffer-size",
        "fastrouter-timeout",
        "rawrouter-timeout",
    ];
    let mut count = 0;
    for row in ROWS.iter().filter(|row| row.heading != ACT && row.kind != "MaybeFlag") {
        let (name, Some(value)) = (row.names[0], row.about().1) else { continue };
        if ELSEWHERE.contains(&name) {
            continue;
        }
        let directive = Directive::new(name, Some(value), Origin::Argv);
        let (config, notices) = Config::interpret(vec![directive]).expect("a default can be said");
        assert_eq!(Config { directives: Vec::new(), ..config }, Config::default(), "{name} = {value}");
        assert!(notices.is_empty(), "{notices:?}");
        count += 1;
    }
    assert!(count > 40, "{count}");
}

#[test]
fn each_wrong_value_is_told_with_its_place() {
    for (row, name) in walked() {
        let (_, wrong) = values(row);
        let (value, is_odd) = match wrong {
            Wrong::Odd(value) => (value, true),
            Wrong::Error(value) => (value, false),
            Wrong::Nothing => continue,
        };
        let (head, place) = (format!("{name}: "), "(app.ini:2)");
        let is_told = |line: &str| line.starts_with(&head) && line.ends_with(place);
        let plain = Room::new(&[("app.ini", &format!("[uwsgi]\n{name} = {value}\n"))]);
        if is_odd && name != "strict" {
            let warnings: Vec<String> = plain.run("app.ini").warnings.iter().map(ToString::to_string).collect();
            assert!(warnings.len() == 1 && is_told(&warnings[0]), "{name} = {value}: {warnings:?}");
        } else {
            let error = plain.error("app.ini");
            assert!(is_told(&error), "{name} = {value}: {error}");
        }
        let strict = Room::new(&[("app.ini", &format!("[uwsgi]\n{name} = {value}\nstrict = true\n"))]);
        let error = strict.error("app.ini");
        assert!(is_told(&error), "{name} = {value} under strict: {error}");
    }
}

#[test]
fn each_option_that_does_nothing_here_says_so_with_its_place() {
    let lines: String = ABSENT.iter().map(|absent| format!("{} = 1\n", absent.name)).collect();
    let room = Room::new(&[("app.ini", &format!("[uwsgi]\n{lines}")), ("all.ini", "")]);
    let allowed: Vec<&str> = ABSENT.iter().map(|absent| absent.name).collect();
    room.write("all.ini", format!("[uwsgi]\n{lines}allow-missing = {}\n", allowed.join(" ")).as_bytes());
    let refused = room.load("app.ini").expect_err("most of them end the start");
    let strictly = room.load("app.ini --strict").expect_err("more of them end the start");
    let started = room.run("all.ini").warnings;
    let has = |lines: &[String], line: &str| lines.iter().any(|told| told.starts_with(line));
    let (refused, strictly) = (refused.lines(), strictly.lines());
    let started: Vec<String> = started.iter().map(ToString::to_string).collect();
    for (index, absent) in ABSENT.iter().enumerate() {
        let name = absent.name;
        let line = format!("{name}: {}: {}", absent.topic.class.verdict(), absent.topic.consequence);
        let place = |file: &str| format!("{line} ({file}:{})", index + 2);
        let refusal = |file: &str| format!("{line}; allow-missing = {name} starts without it ({file}:{})", index + 2);
        assert!(has(&started, &place("all.ini")), "{}", place("all.ini"));
        let (ends, ends_strictly) = match absent.topic.class {
            Class::Exposes | Class::Never => (true, true),
            Class::Degrades => (false, true),
            Class::Harmless => (false, false),
        };
        assert_eq!(has(&refused, &refusal("app.ini")), ends, "{line}");
        assert_eq!(has(&strictly, &refusal("app.ini")), ends_strictly, "{line}, under strict");
    }
}

#[test]
fn options_that_do_nothing_here_are_known_on_the_command_line_and_in_the_environment() {
    let room = Room::new(&[]);
    // A variable has no name with an underscore.
    let names = || ABSENT.iter().map(|absent| absent.name).filter(|name| !name.contains('_'));
    let allowed = format!("--allow-missing={}", names().collect::<Vec<_>>().join(","));
    let (mut by_word, mut by_variable) = (room.source("", &[]), room.source("", &[]));
    by_word.argv.extend(names().map(|name| format!("--{name}=1").into()));
    let variable = |name: &str| format!("UWSGI_{}", name.to_ascii_uppercase().replace('-', "_")).into();
    by_variable.env.extend(names().map(|name| (variable(name), "1".into())));
    for (mut source, place) in [(by_word, "command line"), (by_variable, "environment")] {
        let refused = load(&source).expect_err("most of them end the start").lines();
        source.argv.push(allowed.clone().into());
        let told: Vec<String> = run(load(&source)).warnings.iter().map(ToString::to_string).collect();
        for absent in ABSENT.iter().filter(|absent| !absent.name.contains('_')) {
            let Absent { name, topic, .. } = absent;
            let line = format!("{name}: {}: {} ({place})", topic.class.verdict(), topic.consequence);
            assert!(told.contains(&line), "{line}");
            let ends = matches!(topic.class, Class::Exposes | Class::Never);
            assert_eq!(refused.iter().any(|told| told.starts_with(&format!("{name}: "))), ends, "{line}");
        }
    }
}

/// What an option that acts is given, and whether a block begins with it. `None`: it ends the reading, so that nothing is
/// left to look at; the tests of those are in `tests`.
fn deeds(row: &Row) -> Option<(&'static str, bool)> {
    let name = row.names[0];
    Some(match name {
        _ if name.starts_with("for") || name.starts_with("if-") => {
            (if name == "for-times" { "2" } else { "text" }, true)
        }
        "ini" | "config" | "include" | "inherit" | "inject-before" | "inject-after" | "fallback-config" => {
            ("other.ini", false)
        }
        "yaml" => ("other.yaml", false),
        "json" => ("other.json", false),
        "xml" => ("other.xml", false),
        "set" | "set-placeholder" => ("mine=1", false),
        "resolve" => ("mine=127.0.0.1", false),
        "declare-option" | "declare-option2" => ("mine=env=A=$1", false),
        "endfor" | "end-blacklist" | "end-whitelist" | "show-config" => ("", false),
        "blacklist" => ("php-set", false),
        "whitelist" => ("end-whitelist http", false),
        "print" | "allow-missing" => ("https", false),
        "strict" => ("true", false),
        "exit"
        | "get"
        | "extract"
        | "dump-options"
        | "binary-append-data"
        | "stop"
        | "reload"
        | "pause"
        | "resume"
        | "help"
        | "help-all"
        | "imperial-monitor-list"
        | "options-status"
        | "version" => return None,
        other => panic!("{other}: say what it is to be walked with"),
    })
}

#[test]
fn each_option_that_acts_does_so_wherever_it_is_said() {
    let others = [
        ("other.ini", "[uwsgi]\n"),
        ("other.yaml", "uwsgi:\n  mode: a\n"),
        ("other.json", "{\"uwsgi\": {\"mode\": \"a\"}}"),
        ("other.xml", "<uwsgi><mode>a</mode></uwsgi>"),
        ("text", "a line\n"),
    ];
    for row in ROWS.iter().filter(|row| row.heading == ACT) {
        let Some((value, begins)) = deeds(row) else { continue };
        for name in row.names {
            let end = if begins { "endif\n" } else { "" };
            let room = Room::new(&others);
            room.write("app.ini", format!("[uwsgi]\n{name} = {value}\n{end}").as_bytes());
            let by_file = said(&room.run("--ini app.ini"));
            assert!(by_file.contains(&format!("{name}={value}")), "{by_file:?}");
            let mut source = room.source("", &[]);
            source.argv.extend([format!("--{name}={value}").into()]);
            source.argv.extend(begins.then(|| "--endif".into()));
            assert!(said(&run(load(&source))).contains(&format!("{name}={value}")), "--{name}={value}");
            let variable = format!("UWSGI_{}", name.to_ascii_uppercase().replace('-', "_"));
            let end = if begins { "--endif" } else { "" };
            let told = said(&run(load(&room.source(end, &[(&variable, value)]))));
            assert!(told.contains(&format!("{name}={value}")), "{variable}={value}: {told:?}");
        }
    }
}
