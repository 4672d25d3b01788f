//! What operators get wrong: one clear last line that names the thing, the value and the place, the right exit code,
//! nothing left behind.

use crate::harness::{Ended, Server, Site, python};

/// Runs a site that must fail with this code; its last line says these words, and no socket stays.
fn fails(site: &Site, code: i32, words: &[&str]) -> Ended {
    let ended = site.run();
    ended.failed(code, words);
    let left: Vec<_> = std::fs::read_dir(site.dir()).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".sock")), "left behind: {left:?}");
    ended
}

/// Starts a site that must warn with these words in one line and serve all the same.
fn warns(site: Site, words: &[&str]) -> Server {
    let server = site.start();
    let log = server.log.text();
    let told = log.lines().any(|line| line.starts_with("warning") && words.iter().all(|word| line.contains(word)));
    assert!(told, "no warning says {words:?}:\n{log}");
    assert!(server.get("/").status > 0);
    server
}

#[test]
fn a_port_in_use() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site =
        Site::empty().ini("http-socket = app.sock").ini(&format!("http-socket = {address}")).ini("wsgi-file = app.py");
    site.write("app.py", include_str!("apps/hello.py"));
    fails(&site, 1, &[&address, "in use", "http-socket", "uwsgi.ini:3"]);

    let ended = site.run_with(["--http-socket", &address, "--wsgi-file", "app.py"]);
    ended.failed(1, &[&address, "in use", "command line"]);
}

#[test]
fn an_address_that_is_none() {
    fails(&Site::empty().ini("http-socket = 127.0.0.1:99999"), 1, &["127.0.0.1:99999", "uwsgi.ini:2"]);
    fails(&Site::empty().ini("http-socket = no.such.host.invalid:80"), 1, &["no.such.host.invalid", "uwsgi.ini:2"]);
    fails(
        &Site::empty().ini("http-socket = no/such/folder/app.socket"),
        1,
        &["no/such/folder/app.socket", "uwsgi.ini:2"],
    );
}

#[test]
fn a_live_unix_socket_is_not_taken_over() {
    let first = Site::empty().ini("http-socket = app.sock\nwsgi-file = app.py");
    first.write("app.py", include_str!("apps/hello.py"));
    let first = first.start();
    let second = first.site.run_with(["--ini", "uwsgi.ini"]);
    second.failed(1, &["app.sock", "uwsgi.ini:2"]);
    let mut client = crate::harness::Client::unix(&first.path("app.sock"));
    assert_eq!(client.get("/").ok(), "Hello, world!");
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let site = Site::empty().ini("http-socket = app.sock\nwsgi-file = app.py");
    site.write("app.py", include_str!("apps/hello.py"));
    drop(std::os::unix::net::UnixListener::bind(site.path("app.sock")).unwrap());
    let server = site.start();
    assert_eq!(crate::harness::Client::unix(&server.path("app.sock")).get("/").ok(), "Hello, world!");
}

#[test]
fn a_file_in_the_place_of_a_socket_stays() {
    let site = Site::empty().ini("http-socket = precious\nwsgi-file = app.py");
    site.write("app.py", include_str!("apps/hello.py"));
    site.write("precious", "data");
    site.run().failed(1, &["precious", "uwsgi.ini:2"]);
    assert_eq!(std::fs::read_to_string(site.path("precious")).unwrap(), "data");
}

#[test]
fn a_configuration_that_cannot_be_read() {
    let site = Site::empty();
    site.run_with(["--ini", "missing.ini"]).failed(1, &["missing.ini", "no such file"]);
    site.run_with(["missing.ini"]).failed(1, &["missing.ini", "no such file"]);
    std::fs::create_dir(site.path("folder.ini")).unwrap();
    site.run_with(["--ini", "folder.ini"]).failed(1, &["folder.ini"]);
}

#[test]
fn a_missing_section() {
    let site = Site::empty();
    site.write("other.ini", "[other]\nhttp-socket = 127.0.0.1:0\n");
    let ended = site.run_with(["--ini", "other.ini"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(
        ended.log.lines().any(|line| line.contains("section") && line.contains("uwsgi") && line.contains("other.ini"))
    );
}

#[test]
fn no_socket_at_all() {
    let ended = fails(&Site::empty().ini("processes = 1"), 1, &["socket"]);
    assert!(ended.log.lines().count() < 10, "{}", ended.log);
}

#[test]
fn an_unknown_option_has_a_suggestion() {
    warns(Site::app("hello.py").ini("proceses = 2"), &["proceses", "processes", "uwsgi.ini:4"]);
    let site = Site::app("hello.py").ini("proceses = 2\nstrict = true");
    fails(&site, 1, &["proceses", "processes", "uwsgi.ini:4"]);
    let ended = site.run_with(["--http-sokcet", "127.0.0.1:0"]);
    ended.failed(1, &[]);
    assert!(ended.log.contains("--http-sokcet") && ended.log.contains("http-socket"), "{}", ended.log);
}

#[test]
fn a_value_that_is_no_number() {
    warns(Site::app("hello.py").ini("max-requests = 1000 ; a note"), &["max-requests", "1000 ; a note", "uwsgi.ini:4"]);
    let site = Site::app("hello.py").ini("max-requests = 1000 ; a note\nstrict = true");
    fails(&site, 1, &["max-requests", "1000 ; a note", "uwsgi.ini:4"]);
    fails(&Site::app("hello.py").ini("chmod-socket = true"), 1, &["chmod-socket", "true", "uwsgi.ini:4"]);
}

#[test]
fn an_option_whose_absence_would_expose_something() {
    let site = Site::app("hello.py").ini("https = :8443,cert.pem,key.pem");
    fails(&site, 1, &["https", "uwsgi.ini:4"]);
    let server = Site::app("hello.py").ini("https = :8443,cert.pem,key.pem\nallow-missing = https").start();
    assert_eq!(server.get("/").ok(), "Hello, world!");
}

#[test]
fn an_option_that_is_not_built_yet_is_told() {
    warns(Site::app("hello.py").ini("harakiri-verbose = true"), &["harakiri-verbose", "uwsgi.ini:4"]);
}

#[test]
fn a_missing_module() {
    let site = Site::empty().ini("http-socket = app.sock\nmodule = no_such_app");
    fails(&site, 22, &["no_such_app", "uwsgi.ini:3"]);
    let site = Site::empty().ini("http-socket = app.sock\nwsgi-file = nowhere.py");
    fails(&site, 22, &["nowhere.py", "uwsgi.ini:3"]);
}

#[test]
fn a_module_whose_own_import_fails() {
    let ended = fails(&Site::code("import no_such_library"), 22, &["no_such_library"]);
    assert!(ended.log.contains("app.py\", line 1"), "{}", ended.log);
}

#[test]
fn a_syntax_error_shows_its_traceback() {
    let ended = fails(&Site::code("def application(environ start_response):\n    pass"), 22, &["SyntaxError"]);
    assert!(ended.log.contains("app.py\", line 1"), "{}", ended.log);
}

#[test]
fn an_application_that_exits_while_it_loads() {
    fails(&Site::code("import sys\nsys.exit(3)"), 22, &["SystemExit"]);
    let ended = Site::code("import os\nos._exit(3)").run();
    assert!(ended.code != 0, "{ended:?}");
}

#[test]
fn a_missing_callable_names_what_there_is() {
    let site = Site::code("def app(environ, start_response): pass\nother = 5");
    let ended = fails(&site, 22, &["application", "app.py"]);
    assert!(ended.last_line().contains("app"), "{}", ended.log);
    fails(&Site::app("hello.py").ini("callable = wsgi"), 22, &["wsgi", "application"]);
    fails(&Site::code("application = 5"), 22, &["application", "int"]);
}

#[test]
fn lazy_applications_fail_the_same_way() {
    fails(&Site::code("import no_such_library").ini("lazy-apps = true"), 22, &["no_such_library"]);
}

#[test]
fn a_venv_that_is_not_there() {
    fails(&Site::app("hello.py").ini("virtualenv = nowhere"), 1, &["nowhere", "uwsgi.ini:4"]);
    let site = Site::app("hello.py").ini("home = empty");
    std::fs::create_dir(site.path("empty")).unwrap();
    fails(&site, 1, &["empty", "python"]);
}

#[test]
fn a_venv_whose_python_is_gone() {
    let site = Site::app("hello.py").ini("home = venv");
    std::fs::create_dir_all(site.path("venv/bin")).unwrap();
    std::os::unix::fs::symlink("/opt/gone/bin/python3.9", site.path("venv/bin/python3")).unwrap();
    std::os::unix::fs::symlink("python3", site.path("venv/bin/python")).unwrap();
    std::fs::write(site.path("venv/pyvenv.cfg"), "home = /opt/gone/bin\nversion = 3.9.1\n").unwrap();
    fails(&site, 1, &["venv", "/opt/gone/bin"]);
}

#[test]
fn no_python_at_all() {
    let site = Site::app("hello.py").env("PATH", "/nowhere");
    fails(&site, 1, &["python3", "PATH"]);
}

#[test]
fn a_python_that_is_too_old() {
    let Some(old) = python::all().iter().find(|python| python.version.0 == 3 && python.version < (3, 9)) else {
        eprintln!("no Python older than 3.9 here: not tested");
        return;
    };
    let version = format!("{}.{}", old.version.0, old.version.1);
    let home = old.path.parent().and_then(std::path::Path::parent).unwrap();
    let site = Site::app("hello.py").ini(&format!("home = {}", home.display()));
    // What it says is its last word: it must not be lost because its death is noticed at the same time.
    for _ in 0..8 {
        fails(&site, 1, &[&version, "3.9", &home.display().to_string()]);
    }
}

#[test]
fn a_python_that_is_none() {
    let site = Site::app("hello.py").ini("home = fake");
    std::fs::create_dir_all(site.path("fake/bin")).unwrap();
    std::fs::write(site.path("fake/bin/python3"), "#!/bin/sh\necho I am no python >&2\nexit 7\n").unwrap();
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(site.path("fake/bin/python3"), executable).unwrap();
    fails(&site, 1, &["fake/bin/python3"]);
}

#[test]
fn a_pidfile_that_cannot_be_written() {
    fails(&Site::app("hello.py").ini("pidfile = /proc/nope/app.pid"), 1, &["pidfile", "/proc/nope/app.pid"]);
}

#[test]
fn a_user_that_is_not_there() {
    if nix::unistd::geteuid().is_root() {
        fails(&Site::app("hello.py").ini("uid = no-such-user"), 1, &["uid", "no-such-user", "uwsgi.ini:4"]);
        fails(&Site::app("hello.py").ini("gid = no-such-group"), 1, &["gid", "no-such-group", "uwsgi.ini:4"]);
    } else {
        fails(&Site::app("hello.py").ini("uid = 1"), 1, &["uid", "uwsgi.ini:4"]);
    }
}

#[test]
fn a_folder_that_is_not_there() {
    fails(&Site::app("hello.py").ini("chdir = nowhere"), 1, &["chdir", "nowhere", "uwsgi.ini:4"]);
}

#[test]
fn no_arguments_show_three_examples() {
    let ended = Site::empty().run_with([""; 0]);
    assert_eq!(ended.code, 1);
    let examples = format!("{}{}", ended.out, ended.log);
    let lines: Vec<_> = examples.lines().filter(|line| line.contains("ruwsgi ") && line.starts_with(' ')).collect();
    assert_eq!(lines.len(), 3, "{examples}");
}

#[test]
fn an_empty_file_starts_nothing() {
    for name in ["app.ini", "app.yaml", "app.xml", "app.json"] {
        let site = Site::empty();
        site.write(name, "");
        let ended = site.run_with([name]);
        assert!(ended.code == 1 && ended.log.contains(name), "{}", ended.log);
    }
}

#[test]
fn logic_without_its_end() {
    fails(&Site::app("hello.py").ini("if-env = HOME"), 1, &["if-env", "uwsgi.ini:4"]);
}

#[test]
fn bytes_that_are_no_text() {
    let site = Site::empty();
    std::fs::write(site.path("bytes.ini"), b"[uwsgi]\nhttp-socket = \xff\xfe\x00\nprocesses = \xe9\n").unwrap();
    let ended = site.run_with(["--ini", "bytes.ini"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
}
