//! Descriptors that ask for a reload: what whoever started the server writes there.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Server, Site, eventually};

const APP: &str = "
    import os, time
    def application(environ, start_response):
        if environ['PATH_INFO'] == '/slow':
            open('begun', 'w').close()
            while not os.path.exists('go'):
                time.sleep(0.01)
        start_response('200 OK', [('Content-Length', '5')])
        return [b'hello']
";

/// A server that has pipes as descriptors 7 and 8, and the ends of those that are written to.
fn start(lines: &str) -> (Server, File, File) {
    let site = Site::code(APP).ini("processes = 1").ini(lines);
    site.write_ini();
    for name in ["seven", "eight"] {
        nix::unistd::mkfifo(&site.path(name), nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let mut command = Command::new("/bin/sh");
    let ruwsgi = env!("CARGO_BIN_EXE_ruwsgi");
    command.args(["-c", &format!("exec {ruwsgi} --ini uwsgi.ini 7<seven 8<eight")]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    // Each waits until the shell has opened the other end.
    let open = |name| OpenOptions::new().write(true).open(server.path(name)).unwrap();
    let (seven, eight) = (open("seven"), open("eight"));
    server.wait_for_workers(1);
    (server, seven, eight)
}

#[test]
fn what_can_be_read_is_a_reload_and_the_end_of_all_writers_is_none() {
    let (server, mut seven, eight) = start("reload-on-fd = 7:4 deployed\nbrutal-reload-on-fd = 8");
    let mut slow = server.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is inside", || server.path("begun").exists().then_some(()));
    // More words than one are one reload, and what is left of the last is no other.
    seven.write_all(b"1234567890").unwrap();
    server.wait_for("reload-on-fd: descriptor 7 is ready: deployed");
    server.wait_for_workers(2);
    server.site.write("go", "");
    assert_eq!(slow.answer().ok(), "hello", "a request in flight is finished");
    server.wait_for("generation 2 is complete");
    seven.write_all(b"again").unwrap();
    server.wait_for("generation 3 is complete");
    // One that is watched stays so over reloads, and one that nobody can write to asks for nothing, over and over.
    drop(eight);
    server
        .wait_for("brutal-reload-on-fd: descriptor 8 is watched no more: nobody can write to it any more (uwsgi.ini:");
    assert_eq!(server.get("/").ok(), "hello");
    let before = server.master().ticks();
    seven.write_all(b"last").unwrap();
    server.wait_for("generation 4 is complete");
    assert!(server.master().ticks() < before + 50, "the master does not spin");
    let log = server.stop().log;
    assert!(!log.contains("generation 5") && log.matches("is ready").count() >= 3, "{log}");
}

#[test]
fn a_brutal_one_waits_for_no_request() {
    let (server, _seven, mut eight) = start("brutal-reload-on-fd = 8");
    let mut slow = server.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    eventually("the request is inside", || server.path("begun").exists().then_some(()));
    let former = server.workers()[0];
    eight.write_all(b"x").unwrap();
    server.wait_for_workers(2);
    former.wait_for_end("the worker with a request");
    slow.closed();
    server.site.write("go", "");
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn options_that_come_and_go_at_a_reload_are_heeded() {
    let (server, mut seven, mut eight) = start("reload-on-fd = 7");
    let ini = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &ini.replace("reload-on-fd = 7", "reload-on-fd = 8"));
    eight.write_all(b"early").unwrap();
    seven.write_all(b"x").unwrap();
    server.wait_for("generation 2 begins");
    // What was written there before is a word, too.
    server.wait_for("generation 3 is complete");
    seven.write_all(b"nobody reads this").unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 4 is complete");
    assert_eq!(server.log.text().matches("descriptor 7 is ready").count(), 1);
    // One that can't be watched is refused, and nothing has changed.
    server.site.write("uwsgi.ini", &ini.replace("reload-on-fd = 7", "reload-on-fd = 8\nreload-on-fd = 99"));
    eight.write_all(b"x").unwrap();
    let line = server.wait_for("generation 5 failed");
    assert!(line.contains("reload-on-fd: descriptor 99 can't be watched: Bad file descriptor (uwsgi.ini:"), "{line}");
    server.site.write("uwsgi.ini", &ini.replace("reload-on-fd = 7", "reload-on-fd = 8"));
    eight.write_all(b"x").unwrap();
    server.wait_for("generation 6 is complete");
    server.stop();
}

#[test]
fn a_descriptor_that_is_not_there_is_no_start() {
    Site::code(APP)
        .ini("reload-on-fd = 42")
        .run()
        .failed(1, &["reload-on-fd: descriptor 42 can't be watched: Bad file descriptor (uwsgi.ini:"]);
    Site::code(APP).ini("reload-on-fd = here").run().failed(1, &["reload-on-fd", "number of a descriptor"]);
    // A file has always something to read.
    let site = Site::code(APP).ini("reload-on-fd = 3");
    site.write_ini();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &format!("exec {} --ini uwsgi.ini 3<app.py", env!("CARGO_BIN_EXE_ruwsgi"))]);
    site.dress(&mut command);
    let mut server = Server::of(command, site);
    server.wait_here().failed(1, &["reload-on-fd: descriptor 3 can't be watched: Operation not permitted"]);
}
