//! `ruwsgi explain` and `ruwsgi migrate`: what a file means, and a smaller one that means the same.

use serde_json::Value;

use crate::harness::Site;

const OLD: &str = "\
# the shop
[uwsgi]
base = /srv/shop
plugins = python3,http
chdir = %(base)
module = shop:app ; the shop
master = True
workers = 2
processes = 4
threads = 2   ; two of them
enable-threads = 1
lazy-apps = True
venv = $(VENV)
http-socket = :8080

reaper = true
if-env = DEBUG
catch-exceptions = true
endif =
sslrouter = 127.0.0.1:1717
colour = %d
";

#[test]
fn each_value_has_its_origin() {
    let site = Site::empty().env("VENV", "/srv/venv").env("UWSGI_HARAKIRI", "30");
    site.write("uwsgi.ini", OLD);
    let told = site.run_with(["explain", "uwsgi.ini", "--", "--listen", "128"]);
    // The router is not built.
    assert_eq!(told.code, 1);
    assert!(told.log.contains("error: sslrouter: not built yet"), "{}", told.log);
    let lines: Vec<&str> = told.out.lines().map(str::trim).collect();
    for (begin, end) in [
        ("processes = 4", "uwsgi.ini:9; overrides 2 (uwsgi.ini:8)"),
        ("chdir = /srv/shop", "uwsgi.ini:5, from %(base)"),
        ("virtualenv = /srv/venv", "uwsgi.ini:13, as venv, from $(VENV)"),
        ("harakiri = 30", "environment"),
        ("listen = 128", "command line"),
        ("worker-reload-mercy = 60", "default"),
        ("base = /srv/shop", "uwsgi.ini:3"),
        ("reaper = true", "uwsgi.ini:16, not built: children of the application are always reaped"),
    ] {
        let line = lines.iter().find(|line| line.starts_with(begin));
        assert!(line.is_some_and(|line| line.ends_with(end)), "{begin}: {line:?}\n{}", told.out);
    }
    let said = site.run_with(["explain", "--said", "uwsgi.ini"]);
    assert!(!said.out.contains("default") && said.out.contains("threads = "), "{}", said.out);
}

#[test]
fn programs_read_what_is_explained() {
    let site = Site::empty();
    site.write("uwsgi.ini", "[uwsgi]\nhttp-socket = :8080\nworkers = 2\nprocesses = 4\n");
    let told = site.run_with(["explain", "--json", "uwsgi.ini"]);
    assert_eq!(told.code, 0, "{}", told.log);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let options = told["options"].as_array().unwrap();
    let processes = options.iter().find(|option| option["option"] == "processes").unwrap();
    assert_eq!((&processes["values"][0]["value"], &processes["values"][0]["place"]["line"]), (&"4".into(), &4.into()));
    assert_eq!((&processes["overridden"][0]["name"], &processes["default"]), (&"workers".into(), &"1".into()));
}

#[test]
fn what_is_not_needed_is_left_out_and_told() {
    let site = Site::empty();
    site.write("uwsgi.ini", OLD);
    let told = site.run_with(["migrate", "uwsgi.ini"]);
    let (file, notes) = told.out.split_once("\n; Notes of ruwsgi migrate\n").unwrap();
    assert_eq!(
        file,
        "\
# the shop
[uwsgi]
base = /srv/shop
chdir = %(base)
module = shop:app ; the shop
processes = 4
; two of them
threads = 2
lazy-apps = true
virtualenv = $(VENV)
http-socket = :8080

if-env = DEBUG
catch-exceptions = true
endif =
sslrouter = 127.0.0.1:1717
colour = %d
"
    );
    for told in [
        ";   master = True: there is always a master",
        ";   workers = 2: overridden by processes = 4 (uwsgi.ini:9)",
        ";   threads = 2   ; two of them was read as threads = 2",
        ";   venv is called virtualenv everywhere",
        ";   sslrouter: not built yet: ",
        ";   http-socket: uWSGI: ",
    ] {
        assert!(notes.contains(told), "{told}\n{notes}");
    }
}

#[test]
fn a_new_file_is_not_written_over_another() {
    let site = Site::empty();
    site.write("uwsgi.ini", "[uwsgi]\nmaster = true\nhttp-socket = :8080\n");
    let written = site.run_with(["migrate", "-o", "new.ini", "uwsgi.ini"]);
    assert_eq!((written.code, written.log.as_str()), (0, "new.ini: 1 line left out or changed\n"));
    let text = std::fs::read_to_string(site.path("new.ini")).unwrap();
    assert!(text.starts_with("[uwsgi]\nhttp-socket = :8080\n"), "{text}");
    let again = site.run_with(["migrate", "-o", "new.ini", "uwsgi.ini"]);
    assert!(again.code == 1 && again.log.contains("cannot write new.ini: "), "{}", again.log);
    assert_eq!(site.run_with(["migrate", "--force", "-o", "new.ini", "uwsgi.ini"]).code, 0);
    let itself = site.run_with(["migrate", "new.ini"]);
    assert!(itself.out.starts_with("[uwsgi]\nhttp-socket = :8080\n"), "{}", itself.out);
}

#[test]
fn other_formats_become_ini_files() {
    let site = Site::empty();
    site.write("app.yaml", "uwsgi:\n  master: true\n  http-socket: :8080\n  pp: [a, b]\n  log-date: '%%d.%%m.'\n");
    let told = site.run_with(["migrate", "app.yaml"]);
    assert!(
        told.out.starts_with("[uwsgi]\nhttp-socket = :8080\npythonpath = a\npythonpath = b\nlog-date = %%d.%%m.\n"),
        "{}{}",
        told.out,
        told.log
    );
}

#[test]
fn what_fits_into_no_ini_file_is_told() {
    let site = Site::empty();
    site.write("app.json", "{\"uwsgi\": {\"http\": \":80\", \"set\": \"pp=a\", \"env\": [\"A=b\", \"C=d\\ne\"]}}\n");
    let told = site.run_with(["migrate", "app.json"]);
    assert_eq!(told.code, 1);
    assert!(told.log.contains("error: env: left out: line breaks in a value"), "{}", told.log);
    assert!(told.out.starts_with("[uwsgi]\nhttp = :80\nset = pp=a\nenv = A=b\n\n;"), "{}", told.out);

    site.write("app.yaml", "uwsgi:\n  http: :80\n  for: a b\n  pp: '%(_)'\n  endfor: ''\n  threads: 2\n");
    let told = site.run_with(["migrate", "app.yaml"]);
    assert!(told.code == 1 && told.out.starts_with("[uwsgi]\nhttp = :80\nthreads = 2\n\n;"), "{}", told.out);
}
