//! Reloads that nobody asks for by a signal: files that change.

use std::fs::File;
use std::time::{Duration, SystemTime};

use crate::harness::{Server, Site, dedent, eventually, within};

fn version(number: u32) -> String {
    let code = r#"
        import part
        def application(environ, start_response):
            start_response('200 OK', [('Content-Type', 'text/plain')])
            return [b'version NUMBER, ' + part.NAME]
    "#;
    dedent(code).replace("NUMBER", &number.to_string())
}

fn site() -> Site {
    let site = Site::code(&version(1)).ini("pythonpath = .");
    site.write("part.py", "NAME = b'one'\n");
    site
}

fn serves(server: &Server, text: &str) {
    eventually(&format!("everybody answers {text:?}"), || (0..5).all(|_| server.get("/").ok() == text).then_some(()));
}

/// How many reloads have begun.
fn reloads(server: &Server) -> usize {
    server.log.text().lines().filter(|line| line.starts_with("reload: ") && line.ends_with(" begins")).count()
}

#[test]
fn a_touched_file_reloads() {
    let site = site().ini("touch-reload = first\ntouch-reload = second");
    site.write("first", "");
    let server = site.start();
    server.wait_for("touch-reload: second is not there: its creation counts");
    serves(&server, "version 1, one");
    server.site.write("app.py", &version(2));
    assert_eq!(reloads(&server), 0, "nobody looks at what is not named");
    server.site.write("second", "");
    serves(&server, "version 2, one");
    server.wait_for("touch-reload: second is there now");
    server.site.write("app.py", &version(3));
    File::options().write(true).open(server.path("first")).unwrap().set_modified(SystemTime::now()).unwrap();
    serves(&server, "version 3, one");
    server.site.write("app.py", &version(4));
    std::fs::remove_file(server.path("first")).unwrap();
    serves(&server, "version 4, one");
    server.wait_for("touch-reload: first is gone");
}

#[test]
fn a_file_that_stays_as_it_is_reloads_nothing() {
    let site = site().ini("touch-reload = uwsgi.ini");
    let server = site.start();
    let log = within(Duration::from_millis(2500), || (reloads(&server) > 0).then(|| server.log.text()));
    assert_eq!(log, None);
}

#[test]
fn the_configuration_itself_can_be_touched_and_mended() {
    let server = site().ini("touch-reload = %p").start();
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{good}processes = many\n"));
    server.wait_for("goes on");
    serves(&server, "version 1, one");
    server.site.write("app.py", &version(2));
    server.site.write("uwsgi.ini", &good);
    serves(&server, "version 2, one");
}

#[test]
fn files_come_and_go_with_the_configuration() {
    let server = site().ini("touch-reload = uwsgi.ini").start();
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{good}touch-reload = later\n"));
    server.wait_for("generation 2 is complete");
    server.site.write("app.py", &version(2));
    server.site.write("later", "");
    serves(&server, "version 2, one");
}

#[test]
fn exit_on_reload_holds_for_touched_files() {
    let site = site().ini("touch-reload = stop\nexit-on-reload = true");
    let server = site.start();
    server.site.write("stop", "");
    assert_eq!(server.wait().code, 0);
}

#[test]
fn changed_code_reloads() {
    let server = site().ini("py-auto-reload = 1\nprocesses = 2").start();
    serves(&server, "version 1, one");
    server.site.write("part.py", "NAME = b'another'\n");
    serves(&server, "version 1, another");
    let line = server.wait_for("py-auto-reload: ");
    assert!(line.contains("part.py has changed"), "{line}");
    // One that does not load leaves the old code, whose worker goes on to look.
    server.site.write("part.py", "NAME = (\n");
    server.wait_for("goes on");
    serves(&server, "version 1, another");
    server.site.write("part.py", "NAME = b'mended'\n");
    serves(&server, "version 1, mended");
}

#[test]
fn a_module_that_is_ignored_reloads_nothing() {
    let server = site().ini("py-autoreload = 1\npy-auto-reload-ignore = part").start();
    serves(&server, "version 1, one");
    server.site.write("part.py", "NAME = b'ignored'\n");
    server.site.write("app.py", &version(2));
    serves(&server, "version 2, ignored");
    let log = server.log.text();
    assert!(log.contains("app.py has changed") && !log.contains("part.py has changed"), "{log}");
}
