//! What a service manager hears (sd_notify), on a socket of its own that a test listens at.

use std::cell::RefCell;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{PATIENCE, Server, Site, eventually};

/// A service manager that only listens.
struct Manager {
    socket: UnixDatagram,
    heard: RefCell<Vec<String>>,
}

impl Manager {
    /// Listens at `notify` in the folder of the site.
    fn at_path(site: Site) -> (Self, Site) {
        let path = site.path("notify");
        (Self::of(UnixDatagram::bind(&path).unwrap()), site.env("NOTIFY_SOCKET", path))
    }

    fn of(socket: UnixDatagram) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        Self { socket, heard: RefCell::default() }
    }

    /// The next message that holds `text`.
    fn wait_for(&self, text: &str) -> String {
        self.within(PATIENCE, text).unwrap_or_else(|| panic!("nobody said {text:?}: {:#?}", self.heard.borrow()))
    }

    fn within(&self, time: Duration, text: &str) -> Option<String> {
        let deadline = Instant::now() + time;
        let mut room = [0; 4096];
        while Instant::now() < deadline {
            let Ok(length) = self.socket.recv(&mut room) else { continue };
            let said = String::from_utf8(room[..length].to_vec()).unwrap();
            self.heard.borrow_mut().push(said.clone());
            if said.contains(text) {
                return Some(said);
            }
        }
        None
    }

    /// Everything so far.
    fn all(&self) -> String {
        self.heard.borrow().join("\n")
    }
}

fn value<'t>(words: &'t str, name: &str) -> Option<&'t str> {
    words.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

fn monotonic_us() -> i64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap();
    now.tv_sec() * 1_000_000 + now.tv_nsec() / 1_000
}

#[test]
fn it_hears_of_the_start_of_reloads_and_of_the_stop() {
    let (manager, site) = Manager::at_path(Site::app("hello.py"));
    let server = site.launch();
    let loading = manager.wait_for("STATUS=loading");
    assert!(value(&loading, "EXTEND_TIMEOUT_USEC").is_some(), "load-timeout is what limits loading: {loading}");
    let ready = manager.wait_for("READY=1");
    assert_eq!(value(&ready, "MAINPID").unwrap(), server.master().pid.to_string());
    assert_eq!(server.workers().len(), 1, "not before a worker accepts");
    assert!(!manager.all().contains("RELOADING"));

    let asked_us = monotonic_us();
    server.signal(Signal::SIGHUP);
    let reloading = manager.wait_for("RELOADING=1");
    let said_us: i64 = value(&reloading, "MONOTONIC_USEC").unwrap().parse().unwrap();
    assert!((asked_us..=monotonic_us()).contains(&said_us), "{asked_us} {reloading}");
    let ready = manager.wait_for("READY=1");
    assert!(ready.contains("generation 2 is complete"), "{ready}");

    server.site.write("app.py", "def application(");
    server.signal(Signal::SIGHUP);
    manager.wait_for("RELOADING=1");
    let failed = manager.wait_for("READY=1");
    assert!(failed.contains("STATUS=reload: generation 3 failed, generation 2 goes on"), "{failed}");
    assert_eq!(failed.lines().count(), 3, "a traceback is no assignment");

    server.signal(Signal::SIGTERM);
    let stopping = manager.wait_for("STOPPING=1");
    let more_us: u64 = value(&stopping, "EXTEND_TIMEOUT_USEC").unwrap().parse().unwrap();
    assert!(more_us > 60_000_000, "worker-reload-mercy fits in: {stopping}");
    assert_eq!(server.wait().code, 0);
}

#[test]
fn it_may_have_a_name_without_a_file() {
    let name = format!("ruwsgi-notify-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let manager = Manager::of(UnixDatagram::bind_addr(&address).unwrap());
    let server = Site::app("hello.py").env("NOTIFY_SOCKET", format!("@{name}")).ini("drain-delay = 1").launch();
    manager.wait_for("READY=1");
    server.signal(Signal::SIGINT);
    assert!(manager.wait_for("STOPPING=1").contains("drain-delay"));
    assert_eq!(server.wait().code, 0);
}

#[test]
fn it_is_told_how_the_instance_is_and_why_it_ended() {
    let (manager, site) = Manager::at_path(Site::app("hello.py").ini("processes = 2"));
    let server = site.launch();
    let status = manager.wait_for("workers busy");
    assert_eq!(status, "STATUS=0/2 workers busy, 0 requests/s");
    drop(server);
    let (manager, site) = Manager::at_path(Site::code("raise RuntimeError('no database')"));
    let ended = site.run();
    assert_eq!(ended.code, 22);
    let last = manager.wait_for("STATUS=wsgi-file: app.py can't be loaded: RuntimeError: no database");
    assert!(!manager.all().contains("READY=1") && last.lines().count() == 1, "{}", manager.all());
}

#[test]
fn the_watchdog_is_fed_while_the_master_lives_and_not_longer() {
    let (manager, site) = Manager::at_path(Site::app("control.py"));
    let server = site.env("WATCHDOG_USEC", "400000").launch();
    manager.wait_for("READY=1");
    for _ in 0..3 {
        manager.wait_for("WATCHDOG=1");
    }
    // A worker that is busy is none of its business.
    let mut client = server.connect();
    client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    manager.wait_for("WATCHDOG=1");
    server.signal(Signal::SIGSTOP);
    eventually("the master is stopped", || (server.master().status("State")?.starts_with('T')).then_some(()));
    while manager.within(Duration::from_millis(300), "WATCHDOG=1").is_some() {}
    assert_eq!(manager.within(Duration::from_secs(2), "WATCHDOG=1"), None, "nobody else feeds it");
    server.signal(Signal::SIGCONT);
    manager.wait_for("WATCHDOG=1");
}

#[test]
fn a_watchdog_of_another_process_is_not_fed() {
    let (manager, site) = Manager::at_path(Site::app("hello.py"));
    let _server = site.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1").launch();
    manager.wait_for("READY=1");
    assert_eq!(manager.within(Duration::from_secs(1), "WATCHDOG=1"), None);
}

#[test]
fn the_application_does_not_speak_for_the_server() {
    let code = "
        import os
        seen = [name for name in os.environ if name.startswith(('NOTIFY_', 'WATCHDOG_'))]
        def application(environ, start_response):
            start_response('200 OK', [])
            return [repr(seen).encode()]
    ";
    let (manager, site) = Manager::at_path(Site::code(code));
    let server = site.env("WATCHDOG_USEC", "100000000").launch();
    manager.wait_for("READY=1");
    assert_eq!(server.get("/").ok(), "[]");
}

#[test]
fn one_that_is_not_there_is_told_and_missed_by_nobody() {
    for (name, word) in [("/nowhere/notify", "No such file"), ("vsock:2:1", "neither a path nor a name")] {
        let server: Server = Site::app("hello.py").env("NOTIFY_SOCKET", name).start();
        let told = server.wait_for("NOTIFY_SOCKET");
        assert!(told.contains(word), "{told}");
        server.get("/").ok();
        server.stop();
    }
}

#[test]
fn a_daemon_tells_its_own_pid() {
    let (manager, site) = Manager::at_path(Site::app("hello.py").ini("daemonize = daemon.log\npidfile = pid"));
    assert_eq!(site.run().code, 0);
    let ready = manager.wait_for("READY=1");
    let pid = std::fs::read_to_string(site.path("pid")).unwrap();
    assert_eq!(value(&ready, "MAINPID").unwrap(), pid.trim());
    let daemon = crate::harness::Process::of(pid.trim().parse().unwrap()).unwrap();
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_end("the daemon");
}

#[test]
fn it_hears_of_an_emperor_what_it_hears_of_an_instance() {
    let site = Site::empty().ini("emperor = v\nreload-mercy = 7").env("WATCHDOG_USEC", "100000");
    std::fs::create_dir(site.path("v")).unwrap();
    site.write(
        "app.py",
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return []\n",
    );
    std::fs::write(site.path("v/a.ini"), "[uwsgi]\nhttp-socket = ../a.sock\nwsgi-file = ../app.py\n").unwrap();
    let (manager, site) = Manager::at_path(site);
    let server = site.launch();
    let ready = manager.wait_for("READY=1");
    assert_eq!(value(&ready, "MAINPID").unwrap(), server.master().pid.to_string(), "no vassal speaks for it");
    assert!(ready.contains("STATUS=1 vassal: 1 starting"), "{ready}");
    manager.wait_for("WATCHDOG=1");
    eventually("the vassal", || server.log.text().contains("vassal a.ini (pid ").then_some(()));

    let asked_us = monotonic_us();
    server.signal(Signal::SIGHUP);
    let reloading = manager.wait_for("RELOADING=1");
    let said_us: i64 = value(&reloading, "MONOTONIC_USEC").unwrap().parse().unwrap();
    assert!((asked_us..=monotonic_us()).contains(&said_us), "{asked_us} {reloading}");
    assert!(manager.wait_for("READY=1").ends_with("STATUS=all vassals reload"));
    server.site.write("uwsgi.ini", "[uwsgi]\nemperor = v\nuid = nobody\n");
    server.signal(Signal::SIGHUP);
    manager.wait_for("RELOADING=1");
    assert!(manager.wait_for("READY=1").contains("STATUS=the last reload failed: uid has changed: restart needed"));

    server.signal(Signal::SIGTERM);
    let stopping = manager.wait_for("STOPPING=1");
    assert_eq!(value(&stopping, "EXTEND_TIMEOUT_USEC"), Some("17000000"), "reload-mercy fits in");
    assert_eq!(server.wait().code, 0);
    let pid = value(&ready, "MAINPID").unwrap();
    assert!(manager.all().lines().filter_map(|line| line.strip_prefix("MAINPID=")).all(|said| said == pid));
}
