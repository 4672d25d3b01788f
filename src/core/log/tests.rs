//! Who gets which line in which shape, without a pipe.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use ruwsgi_log::Log;
use ruwsgi_options::{Config, Directive, Origin, Source};

use super::{Loggers, Place, Sort};

/// A folder with a log, and loggers in it.
struct Room {
    source: Source,
    raw: Log,
    output: OwnedFd,
}

impl Room {
    fn new(test: &str) -> Self {
        let cwd = std::env::temp_dir().join(format!("ruwsgi-loggers-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&cwd);
        std::fs::create_dir(&cwd).unwrap();
        let raw = Log::to(File::create(cwd.join("raw")).unwrap().as_fd()).unwrap();
        let output = File::create(cwd.join("output")).unwrap().into();
        Self { source: Source { cwd, ..Source::default() }, raw, output }
    }

    fn open(&self, config: &Config) -> Result<Loggers, String> {
        Loggers::open(Place { config, source: &self.source, raw: &self.raw, output: &self.output })
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.source.cwd.join(name)
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.source.cwd);
    }
}

fn config(lines: &[(&str, &str)]) -> Config {
    let directive = |(line, (name, value)): (usize, &(&str, &str))| {
        Directive::new(*name, Some(value), Origin::File { path: "app.ini".into(), line: line as u32 + 1 })
    };
    Config::interpret(lines.iter().enumerate().map(directive).collect()).unwrap().0
}

#[test]
fn lines_go_where_a_route_says_and_else_to_all_without_an_id() {
    let room = Room::new("routes");
    let loggers = room
        .open(&config(&[
            ("logger", "file:all"),
            ("logger", "json file:objects"),
            ("logger", "bad file:errors"),
            ("logger", "more stdio"),
            ("log-route", "json ^\\{"),
            ("log-route", "bad error"),
            ("log-route", "more ^((?!nothing).)*error"),
            ("log-drain", "secret"),
        ]))
        .unwrap();
    for line in ["plain", "{\"a\": 1}", "an error", "a secret error", "{\"error\": 1}"] {
        loggers.take(Sort::Other, line.as_bytes());
    }
    loggers.flush();
    assert_eq!(room.read("all"), "plain\n");
    assert_eq!(room.read("objects"), "{\"a\": 1}\n{\"error\": 1}\n");
    assert_eq!(room.read("errors"), "an error\n{\"error\": 1}\n");
    assert_eq!(room.read("output"), "an error\n{\"error\": 1}\n");
    assert_eq!(room.read("raw"), "");
}

#[test]
fn lines_of_requests_have_loggers_of_their_own() {
    let room = Room::new("requests");
    let loggers = room
        .open(&config(&[
            ("req-logger", "file:requests"),
            ("log-req-encoder", "format [${msg}]"),
            ("log-req-encoder", "nl"),
            ("log-filter", "^keep"),
        ]))
        .unwrap();
    loggers.take(Sort::Request, b"GET /");
    loggers.take(Sort::Other, b"keep this");
    loggers.take(Sort::Other, b"not this");
    loggers.flush();
    assert_eq!((room.read("requests").as_str(), room.read("raw").as_str()), ("[GET /]\n", "keep this\n"));
}

#[test]
fn encoders_come_one_after_another_and_some_are_for_one() {
    let room = Room::new("encoders");
    let loggers = room
        .open(&config(&[
            ("logger", "file:all"),
            ("logger", "one file:one"),
            ("log-route", "one ^1"),
            ("log-encoder", "prefix > "),
            (
                "log-encoder",
                "json:one {\"m\": \"${msg}\", \"t\": ${unix}, \"y\": \"${strftime:%Y}\", \"x\": \"${what}\"}",
            ),
            ("log-encoder", "nl:one"),
        ]))
        .unwrap();
    loggers.take(Sort::Other, b"plain");
    loggers.take(Sort::Other, b"1 \"quoted\" \\ \x1b[2J \xff");
    loggers.flush();
    assert_eq!(room.read("all"), "> plain\n");
    let object: serde_json::Value = serde_json::from_str(&room.read("one")).unwrap();
    assert_eq!(object["m"], "> 1 \"quoted\" \\ \u{1b}[2J \u{fffd}");
    assert!(object["t"].as_u64().unwrap() > 1_700_000_000 && object["y"].as_str().unwrap().len() == 4);
    assert_eq!(object["x"], "");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let room = Room::new("wrong");
    for (lines, why) in [
        (&[("log-route", "nobody x")][..], "log-route: there is no logger with the id \"nobody\" (app.ini:1)"),
        (&[("logger", "a stdio"), ("log-route", "a (")], "log-route: \"(\" is no pattern: "),
        (&[("logger", "file:no/such/folder")], "logger: file: cannot open no/such/folder: No such file or directory"),
        (&[("logger", "fd:987")], "logger: fd: descriptor 987: Bad file descriptor (app.ini:1)"),
        (&[("logger", "syslog:a,b")], "logger: syslog: there is no facility \"b\""),
        (&[("logger", "rsyslog:nowhere.invalid:1")], "logger: rsyslog: nowhere.invalid:1: "),
        (&[("logger", "file:maxsize=1")], "logger: file: logfile= is missing (app.ini:1)"),
    ] {
        let error = room.open(&config(lines)).err().unwrap();
        assert!(error.starts_with(why), "{error}");
    }
}

#[test]
fn a_file_is_put_aside_when_it_is_large_and_opened_anew_when_it_was_moved() {
    let room = Room::new("large");
    let said = "file:logfile=log,maxsize=100,backupname=log.old";
    let loggers = room.open(&config(&[("logger", said)])).unwrap();
    let line = [b'x'; 60];
    (0..3).for_each(|_| {
        loggers.take(Sort::Other, &line);
        assert_eq!(loggers.flush(), [""; 0]);
    });
    assert_eq!((room.read("log.old").len(), room.read("log").len()), (122, 61));
    std::fs::rename(room.path("log"), room.path("moved")).unwrap();
    loggers.take(Sort::Other, b"to the old one");
    assert_eq!(loggers.reopen(None), [""; 0]);
    loggers.take(Sort::Other, b"to the new one");
    loggers.flush();
    assert!(room.read("moved").ends_with("to the old one\n"));
    assert_eq!(room.read("log"), "to the new one\n");
}

#[test]
fn a_reload_keeps_what_waits_and_leaves_all_as_it_was_where_it_fails() {
    let room = Room::new("reload");
    let place = |config| Place { config, source: &room.source, raw: &room.raw, output: &room.output };
    let loggers = room.open(&config(&[("logger", "file:a")])).unwrap();
    loggers.take(Sort::Other, b"one");
    let wrong = config(&[("logger", "file:b"), ("logger", "file:no/such")]);
    assert!(loggers.renew(place(&wrong)).is_err());
    loggers.take(Sort::Other, b"two");
    let right = config(&[("logger", "file:a"), ("logger", "file:c")]);
    loggers.renew(place(&right)).unwrap();
    loggers.take(Sort::Other, b"three");
    loggers.flush();
    assert_eq!((room.read("a").as_str(), room.read("c").as_str()), ("one\ntwo\nthree\n", "three\n"));
}
