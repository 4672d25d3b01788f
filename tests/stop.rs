//! How a server ends: TERM, INT, QUIT, and what is left behind (nothing).

use std::sync::atomic::{AtomicUsize, Ordering};

use nix::sys::signal::Signal;

use crate::harness::{Client, Server, Site, eventually, serve};

/// A server with one request inside the application, and the client that waits for it.
fn busy(site: Site) -> (Server, Client) {
    let server = site.start();
    let mut client = server.connect();
    client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    (server, client)
}

#[test]
fn answers_during_a_stop_say_that_they_are_the_last() {
    let server = Site::app("control.py").ini("drain-delay = 3\nthreads = 2").start();
    let (mut kept, mut other, mut slow) = (server.connect(), server.connect(), server.connect());
    assert_eq!(kept.get("/").field("Connection"), None);
    assert_eq!(other.get("/").field("Connection"), None);
    slow.send("GET /gate/last HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at last");
    server.signal(Signal::SIGTERM);
    server.wait_for("(drain-delay)");
    // Front ends may not know it yet: whoever asks is answered.
    for client in [&mut kept, &mut server.connect()] {
        let answer = client.get("/");
        assert_eq!((answer.ok(), answer.field("Connection")), ("hello", Some("close")));
        client.closed();
    }
    server.wait_for("stopping:");
    // Its head was not out when the stop began.
    server.open_gate("last");
    let answer = slow.answer();
    assert_eq!((answer.ok(), answer.field("Connection")), ("behind last", Some("close")));
    slow.closed();
    assert_eq!(server.wait().code, 0);
    drop(other);
}

#[test]
fn term_lets_requests_finish() {
    let (mut server, mut client) = busy(Site::app("control.py"));
    server.signal(Signal::SIGTERM);
    let line = server.wait_for("stopping");
    assert!(line.contains("1 request") && line.contains("60 s"), "{line}");
    server.open_gate("gate");
    assert_eq!(client.answer().ok(), "behind gate");
    client.closed();
    drop(client);
    assert_eq!(server.wait_here().code, 0);
}

#[test]
fn term_says_that_it_means_stop() {
    let server = serve("hello.py");
    let log = server.stop().log;
    assert!(log.contains("TERM stops (uWSGI reloads); HUP reloads"), "{log}");
}

#[test]
fn connections_that_wait_in_the_queue_are_served_before_the_end() {
    let (mut server, mut client) = busy(Site::app("control.py"));
    // The only core is busy: these stay with the kernel or with the engine.
    let mut waiting: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for other in &mut waiting {
        other.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping");
    server.open_gate("gate");
    assert_eq!(client.answer().ok(), "behind gate");
    drop(client);
    for mut other in waiting {
        assert_eq!(other.answer().ok(), "hello");
    }
    assert_eq!(server.wait_here().code, 0);
}

#[test]
fn idle_connections_do_not_hold_up_the_end() {
    let mut server = serve("hello.py");
    let mut idle: Vec<_> = (0..5).map(|_| server.connect()).collect();
    for client in &mut idle {
        client.get("/").ok();
    }
    server.signal(Signal::SIGTERM);
    for mut client in idle {
        client.closed();
    }
    assert_eq!(server.wait_here().code, 0);
}

#[test]
fn clients_that_ask_without_a_pause_are_told_to_go() {
    let mut server = Site::app("hello.py").ini("processes = 2").start();
    let (address, asked) = (server.address(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::tcp(address);
                loop {
                    // A reset would fail this: only a clean end tells a client that its request was not served.
                    let sent = client.try_send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
                    if sent.is_err() || client.has_ended_cleanly() {
                        return;
                    }
                    let answer = client.answer();
                    assert_eq!(answer.ok(), "Hello, world!");
                    asked.fetch_add(1, Ordering::Relaxed);
                    if answer.field("connection") == Some("close") {
                        return;
                    }
                }
            });
        }
        eventually("a hundred answers", || (asked.load(Ordering::Relaxed) > 100).then_some(()));
        server.signal(Signal::SIGTERM);
    });
    assert_eq!(server.wait_here().code, 0);
}

#[test]
fn the_deadline_of_a_stop_is_kept() {
    let (mut server, mut client) = busy(Site::app("control.py").ini("worker-reload-mercy = 1"));
    server.signal(Signal::SIGTERM);
    server.wait_for("deadline 1 s");
    assert_eq!(server.wait_here().code, 0);
    assert!(client.rest().is_empty());
}

#[test]
fn a_second_term_does_not_wait() {
    for (first, second) in
        [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGINT, Signal::SIGINT), (Signal::SIGTERM, Signal::SIGINT)]
    {
        let (mut server, mut client) = busy(Site::app("control.py"));
        server.signal(first);
        server.wait_for("stopping");
        server.signal(second);
        assert_eq!(server.wait_here().code, 0, "{first} {second}");
        assert!(client.rest().is_empty());
    }
}

#[test]
fn int_is_graceful_first() {
    let (mut server, mut client) = busy(Site::app("control.py"));
    server.signal(Signal::SIGINT);
    server.wait_for("stopping");
    server.open_gate("gate");
    assert_eq!(client.answer().ok(), "behind gate");
    drop(client);
    assert_eq!(server.wait_here().code, 0);
}

#[test]
fn quit_does_not_wait() {
    let (mut server, mut client) = busy(Site::app("control.py"));
    server.signal(Signal::SIGQUIT);
    assert_eq!(server.wait_here().code, 0);
    assert!(client.rest().is_empty());
}

#[test]
fn term_reloads_when_it_is_asked_to() {
    let server = Site::app("control.py").ini("die-on-term = false").start();
    let worker = server.workers()[0];
    server.signal(Signal::SIGTERM);
    worker.wait_for_end("the old worker");
    server.wait_for_workers(2);
    assert_eq!(server.get("/").ok(), "hello");
    server.signal(Signal::SIGINT);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_stop_while_the_application_loads_ends_at_once() {
    let site =
        Site::code("import sys, time\nprint('loading', file=sys.stderr, flush=True)\nwhile True: time.sleep(0.01)\n");
    let server = site.launch();
    server.wait_for("loading");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_stop_during_a_reload_ends() {
    let server = serve("control.py");
    server.site.write(
        "app.py",
        "import sys, time\nprint('loading', file=sys.stderr, flush=True)\nwhile True: time.sleep(0.01)\n",
    );
    server.signal(Signal::SIGHUP);
    server.wait_for("loading");
    server.stop();
}

#[test]
fn signals_that_mean_nothing_do_no_harm() {
    let server = serve("control.py");
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGWINCH, Signal::SIGPIPE, Signal::SIGALRM, Signal::SIGURG]
    {
        server.signal(signal);
    }
    for worker in server.workers() {
        for signal in [Signal::SIGINT, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGPIPE, Signal::SIGWINCH] {
            worker.signal(signal);
        }
    }
    assert_eq!(server.get("/").ok(), "hello");
    server.stop();
}

/// A terminal and some supervisors tell all processes at once.
#[test]
fn an_end_that_everybody_is_told_of_is_graceful() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let (mut server, mut client) = busy(Site::app("control.py").ini("processes = 2"));
        for process in server.master().tree() {
            process.signal(signal);
        }
        server.wait_for("stopping");
        server.open_gate("gate");
        assert_eq!(client.answer().ok(), "behind gate", "{signal}");
        drop(client);
        assert_eq!(server.wait_here().code, 0, "{signal}");
    }
}

#[test]
fn nothing_is_left_behind() {
    let mut server = Site::app("hello.py").ini("http-socket = app.sock\npidfile = app.pid").start();
    let (socket, pidfile) = (server.path("app.sock"), server.path("app.pid"));
    assert!(socket.exists());
    assert_eq!(std::fs::read_to_string(&pidfile).unwrap().trim(), server.master().pid.to_string());
    let address = server.address();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_here().code, 0);
    assert!(!socket.exists() && !pidfile.exists());
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn only_our_own_socket_is_removed() {
    let site = Site::empty().ini("http-socket = app.sock\nwsgi-file = app.py");
    site.write("app.py", include_str!("apps/hello.py"));
    let mut server = site.start();
    let socket = server.path("app.sock");
    std::fs::remove_file(&socket).unwrap();
    let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    server.signal(Signal::SIGTERM);
    server.wait_here();
    assert!(socket.exists(), "the socket of somebody else was removed");
}

#[test]
fn vacuum_can_be_switched_off() {
    let site = Site::empty().ini("http-socket = app.sock\nwsgi-file = app.py\nvacuum = false");
    site.write("app.py", include_str!("apps/hello.py"));
    let mut server = site.start();
    let socket = server.path("app.sock");
    server.signal(Signal::SIGTERM);
    server.wait_here();
    assert!(socket.exists());
}

#[test]
fn exit_handlers_of_the_application_run() {
    let site = Site::code(
        r#"
            import atexit, sys
            atexit.register(lambda: print('goodbye', file=sys.stderr, flush=True))
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'']
        "#,
    );
    let server = site.start();
    server.get("/").ok();
    let log = server.stop().log;
    eventually("the exit handler", || log.contains("goodbye").then_some(()));
}
