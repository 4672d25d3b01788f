//! `ruwsgi check`: what is wrong with a file is told with its line, all of it at once, and nothing is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::harness::{Ended, Site, apps};

/// What `ruwsgi check` says of a file with these lines below `[uwsgi]`, which is line 1.
fn check(lines: &str, arguments: &[&str]) -> Ended {
    let site = Site::empty();
    site.write("app.ini", &format!("[uwsgi]\n{lines}\n"));
    site.run_with(["check"].iter().chain(arguments).chain(&["app.ini"]))
}

/// The lines of a file that would start, and one of them replaced.
const SOUND: &str = "http-socket = 127.0.0.1:8080\nmodule = app:application";

#[test]
fn a_sound_file_would_start() {
    let checked = check(SOUND, &[]);
    assert_eq!((checked.code, checked.out.as_str()), (0, "app.ini: would start\n"), "{}", checked.log);
}

#[test]
fn the_examples_would_start() {
    let examples = fs::read_dir(crate::harness::project().join("examples")).unwrap().flatten();
    let files: Vec<PathBuf> = examples.map(|one| one.path().join("uwsgi.ini")).filter(|file| file.is_file()).collect();
    assert!(files.len() > 3);
    let checked = Site::empty().run_with([PathBuf::from("check")].iter().chain(&files));
    assert_eq!(checked.code, 0, "{}", checked.out);
}

/// Broken lines, added to a sound file (as lines 4 and on), and what is said of them.
const BROKEN: &[(&str, &str)] = &[
    ("strict = true\nprocesess = 4", "app.ini:5: error: procesess: unknown option; did you mean processes?"),
    ("include = nowhere.ini", "app.ini:4: error: cannot read nowhere.ini: no such file"),
    ("ini = nowhere.ini", "app.ini:4: error: cannot read nowhere.ini: no such file"),
    ("include = .", "app.ini:4: error: include: "),
    ("ini = /tmp", "app.ini:4: error: cannot read /tmp: is a directory"),
    ("include = app.ini", "app.ini:4: error: cannot read app.ini: it includes itself"),
    ("chmod-socket = true", "app.ini:4: error: chmod-socket: \"true\" is not a mode of three octal digits"),
    ("chmod-socket = 0660", "app.ini:4: error: chmod-socket: \"0660\""),
    ("chmod-socket = 999", "app.ini:4: error: chmod-socket: \"999\""),
    ("umask = 22", "app.ini:4: error: umask: \"22\""),
    ("for = a b\nenv = X=%(_)", "app.ini:4: error: for"),
    ("if-env = HOME\nprocesses = 2", "app.ini:4: error: if-env"),
    ("for = a\nfor = b\nendfor =\nendfor =", "app.ini:5: error: for"),
    ("processes = true", "app.ini:4: error: processes: \"true\" is not a number"),
    ("processes = 0", "app.ini:4: error: processes: 0 is too small"),
    ("processes = -1", "app.ini:4: error: processes: -1 is negative"),
    ("harakiri = -5", "app.ini:4: error: harakiri: -5 is negative"),
    ("buffer-size = 99999999999", "app.ini:4: error: buffer-size: 99999999999 is too large"),
    ("http-keepalive = soon", "app.ini:4: error: http-keepalive: \"soon\" is not a number"),
    ("uid =", "app.ini:4: error: uid: no value"),
    ("https = :8443,a.crt,a.key", "app.ini:4: error: https: not built yet: nothing listens at this address"),
    ("unshare = pid", "app.ini:4: error: unshare: not built yet"),
    ("route = ^/admin deny:", "app.ini:4: error: route: not built yet"),
    ("rack = config.ru", "app.ini:4: error: rack: "),
    ("need-plugin = php", "app.ini:4: error: need-plugin: there is no plugin \"php\""),
    ("mount = app.py", "app.ini:4: error: mount: \"app.py\" is not MOUNTPOINT=APPLICATION"),
    ("static-map = /static", "app.ini:4: error: static-map: \"/static\" is not PREFIX=PATH"),
    ("static-expires = *.css 3600", "app.ini:4: error: static-expires: "),
    ("protocol = raw", "app.ini:4: error: protocol: raw is not built yet"),
    ("protocol = htpp", "app.ini:4: error: protocol: \"htpp\" is no protocol"),
    ("socket = 127.0.0.1:web", "app.ini:4: error: socket: \"127.0.0.1:web\" is no address"),
    ("socket = ::1:8080", "app.ini:4: error: socket: \"::1:8080\" is no address: IPv6 goes in brackets"),
    ("http = 127.0.0.1:8080", "app.ini:4: error: http: \"127.0.0.1:8080\" is said twice"),
    ("socket = unix:/run/a.sock", "app.ini:4: error: socket: \"unix:/run/a.sock\" is no address"),
    ("strict = true\nmax-requests = 10 ; ten", "app.ini:5: error: max-requests: \"10 ; ten\" is not a number"),
    ("set-placeholder = processes=4", "app.ini:4: error: set-placeholder: "),
    ("set = processes", "app.ini:4: error: set: "),
    ("env = A=@(nowhere.txt)", "app.ini:4: error: env: cannot read nowhere.txt"),
];

#[test]
fn every_broken_line_is_refused_with_its_place() {
    let mut wrong = String::new();
    for (lines, told) in BROKEN {
        let checked = check(&format!("{SOUND}\n{lines}"), &[]);
        let found = checked.out.lines().any(|line| line.starts_with(told));
        if !found || checked.code != 1 || !checked.out.contains("app.ini: would not start, 1 error") {
            wrong.push_str(&format!("{lines}\n{}{}\n", checked.out, checked.log));
        }
    }
    assert_eq!(wrong, "");
}

#[test]
fn all_of_it_is_told_at_once() {
    let checked = check("processes = true\nhttps = :443,a,b\nchmod-socket = x\nthreadz = 4\nhttp = x:y", &[]);
    let places: Vec<&str> = checked.out.lines().filter_map(|line| line.split(": ").next()).collect();
    assert_eq!(places, ["app.ini:2", "app.ini:3", "app.ini:4", "app.ini:5", "app.ini:6", "app.ini"], "{}", checked.out);
    assert!(checked.out.ends_with("app.ini: would not start, 4 errors, 1 warning\n"), "{}", checked.out);
}

#[test]
fn a_server_without_a_socket_would_not_start() {
    let checked = check("module = app", &[]);
    assert_eq!(checked.code, 1);
    assert!(checked.out.starts_with("app.ini: error: nothing to listen on"), "{}", checked.out);
    let site = Site::empty();
    site.write("app.ini", "[uwsgi]\nmodule = app\n");
    let told = site.run_with(["check", "app.ini", "--", "--http", "127.0.0.1:8080"]);
    assert_eq!((told.code, told.out.as_str()), (0, "app.ini: would start\n"));
}

#[test]
fn traps_are_warnings() {
    let lines = format!("{SOUND}\nmax-requests = 1000 ; a thousand\ncatch-exceptions = true");
    let told = "app.ini:4: warning: max-requests: \"1000 ; a thousand\" is not a number; read as 1000; \"; a thousand\" is \
                part of the value \"1000\": a comment has a line of its own; it takes a number from 0 [comment]\n\
                app.ini:5: warning: catch-exceptions: for tests only: clients get the traceback, with paths and pieces of \
                the code [tracebacks]\n";
    let checked = check(&lines, &[]);
    assert_eq!(checked.out, format!("{told}app.ini: would start, 2 warnings\n"));
    assert_eq!(checked.code, 0);
    let strict = check(&lines, &["--strict"]);
    assert_eq!(strict.code, 1);
    assert!(strict.out.ends_with("app.ini: would start, but for the warnings, 2 warnings\n"), "{}", strict.out);
    let ignored = check(&lines, &["--strict", "--ignore", "tracebacks,comment"]);
    assert!(!ignored.out.contains('['), "{}", ignored.out);
    assert!(check(&lines, &["--ignore", "nothing"]).code == 1);
}

#[test]
fn programs_read_json() {
    let checked = check(&format!("{SOUND}\nprocesses = 4k\nchmod-socket = x"), &["--json"]);
    assert_eq!(checked.code, 1);
    let told: Value = serde_json::from_str(&checked.out).unwrap();
    let file = &told["files"][0];
    assert_eq!((&told["form"], &file["file"], &file["would_start"]), (&1.into(), &"app.ini".into(), &false.into()));
    assert_eq!((&file["errors"], &file["warnings"]), (&1.into(), &1.into()));
    let first = &file["problems"][0];
    for (key, value) in [
        ("severity", "warning"),
        ("option", "processes"),
        ("value", "4k"),
        ("message", "\"4k\" is not a number"),
        ("takes", "a number from 1"),
        ("trap", "unit"),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert_eq!((&first["place"]["file"], &first["place"]["line"]), (&"app.ini".into(), &4.into()));
    assert_eq!(file["problems"][1]["severity"], "error");
}

#[test]
fn several_files_are_checked_one_by_one() {
    let site = Site::empty();
    site.write("good.ini", &format!("[uwsgi]\n{SOUND}\n"));
    site.write("bad.ini", "[uwsgi]\nprocesses = x\nhttp = :0\n");
    site.write("good.yaml", "uwsgi:\n  http-socket: 127.0.0.1:8080\n  module: app\n");
    site.write("good.json", "{\"uwsgi\": {\"http-socket\": \"127.0.0.1:8080\", \"module\": \"app\"}}\n");
    site.write("good.xml", "<uwsgi>\n<http-socket>127.0.0.1:8080</http-socket>\n<module>app</module>\n</uwsgi>\n");
    site.write("bad.yaml", "uwsgi:\n  http-socket: 127.0.0.1:8080\n  processes: none\n");
    let good = site.run_with(["check", "good.ini", "good.yaml", "good.json", "good.xml"]);
    let verdicts: String = ["ini", "yaml", "json", "xml"].map(|end| format!("good.{end}: would start\n")).concat();
    assert_eq!((good.code, good.out), (0, verdicts));
    let mixed = site.run_with(["check", "good.ini", "bad.ini", "bad.yaml"]);
    assert_eq!(mixed.code, 1);
    for line in ["good.ini: would start\n", "bad.ini:2: error: processes", "bad.yaml:3: error: processes"] {
        assert!(mixed.out.contains(line), "{}", mixed.out);
    }
}

#[test]
fn the_machine_is_looked_at_when_that_is_asked_for() {
    let site = Site::empty();
    site.write("app.ini", "[uwsgi]\nhttp-socket = no/such.sock\nwsgi-file = gone.py\nuid = nobody-of-that-name\n");
    let text = site.run_with(["check", "app.ini"]);
    assert_eq!((text.code, text.out.as_str()), (0, "app.ini: would start\n"));
    let here = site.run_with(["check", "--here", "app.ini"]);
    assert_eq!(here.code, 1);
    for told in ["app.ini:2: error: http-socket: ", "app.ini:3: error: wsgi-file: ", "app.ini:4: error: uid: "] {
        assert!(here.out.contains(told), "{}", here.out);
    }
}

#[test]
fn nothing_is_made_or_run() {
    let site = Site::empty();
    let lines = "exec-pre-app = touch made\nenv = A=@(exec://touch made)\npidfile = made\nlogto = made";
    site.write("app.ini", &format!("[uwsgi]\n{SOUND}\n{lines}\n"));
    site.run_with(["check", "app.ini"]);
    assert!(!site.path("made").exists());
}

#[test]
fn commands_explain_themselves() {
    let site = Site::empty();
    for command in ["check", "explain", "migrate"] {
        let help = site.run_with([command, "--help"]);
        assert_eq!(help.code, 0, "{}", help.log);
        assert!(help.out.contains(&format!("Usage: ruwsgi {command}")), "{}", help.out);
        let mistake = site.run_with([command, "--nonsense", "app.ini"]);
        assert_eq!(mistake.code, 1);
    }
    let traps = site.run_with(["check", "--traps"]);
    let page = fs::read_to_string(crate::harness::project().join("docs/check.md")).unwrap();
    for name in traps.out.lines().filter_map(|line| line.split(' ').next()) {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/check.md");
    }
    assert!(traps.out.lines().count() > 30);
}

/// The configurations of other people, where they are: read there, copied nowhere.
fn corpus() -> Option<Vec<PathBuf>> {
    let folder = crate::harness::project().parent()?.join("shared/corpus");
    let mut files: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| option_of(file).is_some());
    files.sort();
    (!files.is_empty()).then_some(files)
}

/// The option by which uWSGI reads a file.
fn option_of(file: &Path) -> Option<&'static str> {
    match file.extension()?.to_str()? {
        "ini" => Some("--ini"),
        "yaml" | "yml" => Some("--yaml"),
        "json" => Some("--json"),
        "xml" => Some("--xml"),
        _ => None,
    }
}

/// Whether uWSGI reads a file to its end without a word against it: `exit` comes after the last line, before a socket.
fn uwsgi_accepts(uwsgi: &Path, file: &Path, folder: &Path) -> bool {
    let option = option_of(file).unwrap();
    let ended = Command::new(uwsgi).arg(option).arg(file).arg("--exit=0").current_dir(folder).output();
    ended.is_ok_and(|ended| ended.status.success())
}

#[test]
fn no_file_is_refused_that_uwsgi_accepts() {
    let (Some(files), Some(uwsgi)) = (corpus(), apps::uwsgi()) else { return apps::skip("no corpus or no uWSGI") };
    let site = Site::empty();
    let accepted: Vec<&PathBuf> = files.iter().filter(|file| uwsgi_accepts(uwsgi, file, site.dir())).collect();
    assert!(accepted.len() * 10 > files.len() * 9, "uWSGI accepts {} of {}", accepted.len(), files.len());
    let mut wrong = Vec::new();
    for file in accepted {
        let checked = site.run_with(["check", "--json", &file.display().to_string()]);
        let told: Value = serde_json::from_str(&checked.out).unwrap();
        let errors = told["files"][0]["problems"].as_array().unwrap().iter().filter(|it| it["severity"] == "error");
        // Refused on purpose: what is not built yet, a part of a configuration that has no socket, what is left to a shell
        // to fill in, and under `strict` values that are not what they seem.
        let expected =
            ["not built yet", "no part of this server", "nothing to listen on", "names a socket that somebody"];
        let text = fs::read_to_string(file).unwrap_or_default();
        let strict = text.lines().any(|line| line.split('=').map(str::trim).eq(["strict", "true"]));
        let other = errors.filter(|it| {
            let message = it["message"].as_str().unwrap();
            let odd = message.ends_with("is not a number") || message.ends_with("neither true nor false");
            !(expected.iter().any(|text| message.contains(text)) || it["trap"] == "shell-variable" || strict && odd)
        });
        wrong.extend(other.map(|it| format!("{}: {it}", file.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
