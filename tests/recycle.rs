//! Workers that are replaced although they work, and workers that come and go with the load.

use std::net::TcpStream;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Client, Server, Site, eventually, under_load, within};

fn workers(server: &Server, count: usize) {
    eventually(&format!("there are {count} workers"), || (server.workers().len() == count).then_some(()));
}

#[test]
fn a_worker_that_is_old_enough_is_replaced_without_losing_a_request() {
    let ini = "processes = 2\nmax-worker-lifetime = 2\nmax-worker-lifetime-delta = 1\nmin-worker-lifetime = 0";
    let server = Site::app("hello.py").ini(ini).start();
    let old = server.workers();
    under_load(&server, || {
        for worker in &old {
            worker.wait_for_end("a worker that is old enough");
        }
        server.wait_for_workers(4);
    });
    server.wait_for("has lived max-worker-lifetime");
}

#[test]
fn a_worker_that_grows_is_replaced_when_another_is_ready() {
    let code = r#"
        import os
        kept = []
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/grow':
                kept.append(bytearray(os.urandom(1) * (64 << 20)))
            start_response('200 OK', [])
            return [str(os.getpid()).encode()]
    "#;
    for (option, words) in [("reload-on-rss", "(reload-on-rss): to be replaced"), ("reload-on-uss", "(reload-on-uss)")]
    {
        let ini = format!("{option} = 50\nmem-collector-freq = 1\nmin-worker-lifetime = 0");
        let server = Site::code(code).ini(&ini).start();
        let first = server.get("/").ok().to_owned();
        let stays = within(Duration::from_millis(1500), || (server.get("/").ok() != first).then_some(()));
        assert_eq!(stays, None, "it is small enough");
        assert_eq!(server.get("/grow").ok(), first);
        server.wait_for(words);
        eventually("another one answers", || (server.get("/").ok() != first).then_some(()));
    }
    let size = |name: &str| {
        let server = Site::code(code).start();
        server.get("/").ok();
        let told = server.workers()[0].status(name).unwrap();
        told.split_whitespace().next().unwrap().parse::<usize>().unwrap() >> 10
    };
    // The address space is that of the interpreter, mostly.
    let most = size("VmSize") + 32;
    for option in ["as", "rss", "uss", "pss"] {
        let most = if option == "as" { most } else { 50 };
        let ini = format!("evil-reload-on-{option} = {most}\nmem-collector-freq = 1");
        let server = Site::code(code).ini(&ini).start();
        // Whether the answer comes before the kill is not asked.
        let mut client = server.connect();
        client.send("GET /grow HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server.wait_for(&format!("killed (evil-reload-on-{option})"));
        server.wait_for_workers(2);
    }
    for (option, most) in [("as", most), ("pss", 50)] {
        let ini = format!("reload-on-{option} = {most}\nmem-collector-freq = 1\nmin-worker-lifetime = 0");
        let server = Site::code(code).ini(&ini).start();
        server.get("/grow").ok();
        server.wait_for(&format!("(reload-on-{option}): to be replaced"));
        server.wait_for_workers(2);
    }
}

#[test]
fn each_algorithm_of_cheaper_follows_the_load() {
    for (algorithm, more) in [
        ("spare2", "cheaper-idle = 1"),
        ("backlog", "cheaper-overload = 1"),
        ("busyness", "cheaper-overload = 1\ncheaper-busyness-multiplier = 1\ncheaper-busyness-backlog-alert = 1"),
    ] {
        let ini = format!("processes = 3\ncheaper = 1\ncheaper-algo = {algorithm}\n{more}");
        let server = Site::app("control.py").ini(&ini).launch();
        server.wait_for("started after");
        workers(&server, 1);
        let mut clients: Vec<_> = (0..4).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        workers(&server, 3);
        server.open_gate("gate");
        clients.iter_mut().for_each(|client| assert_eq!(client.answer().ok(), "behind gate", "{algorithm}"));
        workers(&server, 1);
        assert_eq!(server.get("/").ok(), "hello");
    }
    let server = Site::app("control.py").ini("processes = 3\ncheaper = 1\ncheaper-algo = manual").launch();
    server.wait_for("started after");
    let mut busy = server.connect();
    busy.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    let waits = within(Duration::from_secs(3), || (server.workers().len() > 1).then_some(()));
    assert_eq!(waits, None, "nobody has asked for another one");
    server.open_gate("gate");
    busy.answer().ok();
}

#[test]
fn cheaper_keeps_to_the_memory_that_it_may_have() {
    let ini = "processes = 3\ncheaper = 1\ncheaper-initial = 3\ncheaper-overload = 1";
    let server = Site::app("control.py")
        .ini(ini)
        .ini("cheaper-rss-limit-soft = 1000000\ncheaper-rss-limit-hard = 2000000")
        .launch();
    server.wait_for("started after");
    workers(&server, 1);
    // With more memory than it may have at the least, no other one comes, however busy it is.
    let mut busy = server.connect();
    busy.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    let comes = within(Duration::from_secs(3), || (server.workers().len() > 1).then_some(()));
    assert_eq!(comes, None);
    server.open_gate("gate");
    assert_eq!(busy.answer().ok(), "behind gate");
}

#[test]
fn max_requests_delta_spreads_the_replacements() {
    let ini = "processes = 2\nmax-requests = 5\nmax-requests-delta = 100000\nmin-worker-lifetime = 0";
    let server = Site::app("control.py").ini(ini).start();
    let second = server.workers()[1];
    for _ in 0..200 {
        server.get("/").ok();
    }
    assert!(second.alive(), "its turn comes 100,000 requests later");
}

#[test]
fn cheaper_follows_the_load() {
    let ini = "processes = 4\ncheaper = 1\ncheaper-initial = 2\ncheaper-overload = 1";
    let server = Site::app("control.py").ini(&format!("{ini}\nprocesses = 4")).launch();
    server.wait_for("started after");
    workers(&server, 1);
    let mut clients = Vec::new();
    for busy in 1..=2 {
        let mut client = server.connect();
        client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
        clients.push(client);
        server.log.wait_for_nth("waiting at gate", busy);
        workers(&server, busy + 1);
    }
    server.wait_for("no worker was idle");
    server.open_gate("gate");
    for client in &mut clients {
        assert_eq!(client.answer().ok(), "behind gate");
    }
    workers(&server, 1);
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn cheap_starts_nobody_before_somebody_connects_and_idle_ends_them() {
    let server = Site::app("control.py").ini("processes = 2\ncheap = true\nidle = 2").launch();
    server.wait_for("started after");
    assert_eq!(server.workers().len(), 0);
    assert_eq!(server.get("/").ok(), "hello");
    workers(&server, 2);
    server.wait_for("no workers until somebody connects");
    workers(&server, 0);
    assert_eq!(server.get("/").ok(), "hello");
    workers(&server, 2);
}

#[test]
fn a_socket_that_comes_with_a_reload_wakes_a_cheap_server() {
    let server = Site::app("control.py").ini("cheap = true").launch();
    server.wait_for("started after");
    let (former, new) = (server.address(), server.path("new.sock"));
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &good.replace("127.0.0.1:0", "new.sock"));
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 is complete");
    eventually("the former socket is closed", || TcpStream::connect(former).err());
    assert_eq!(server.workers().len(), 0);
    assert_eq!(Client::unix(&new).get("/").ok(), "hello");
}

#[test]
fn who_has_come_to_a_cheap_server_during_a_pause_is_answered_after_it() {
    let server = Site::app("control.py").ini("cheap = true\nadmin = admin.sock").launch();
    server.wait_for("started after");
    server.signal(Signal::SIGTSTP);
    server.wait_for("paused:");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // The master has seen by then what came before.
    assert_eq!(Client::unix(&server.path("admin.sock")).get("/readyz").status, 503);
    assert_eq!(server.workers().len(), 0);
    server.signal(Signal::SIGTSTP);
    server.wait_for("resumed");
    assert_eq!(client.answer().ok(), "hello");
}

#[test]
fn die_on_idle_stops_the_server() {
    let server = Site::app("hello.py").ini("idle = 2\ndie-on-idle = true").start();
    server.get("/").ok();
    assert_eq!(server.wait().code, 0);
}
