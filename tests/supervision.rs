//! Processes die: who replaces them, how fast, and who goes along.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, Process, Site, eventually, serve, under_load};

#[test]
fn the_tree_is_a_master_with_a_zygote_and_its_workers() {
    let server = Site::app("control.py").ini("processes = 3").start();
    let (master, workers, zygote) = (server.master(), server.workers(), server.zygote());
    assert_eq!((workers.len(), master.children().len()), (3, 4));
    assert!(workers.iter().chain([&zygote]).all(|process| process.children().is_empty()));
    assert_eq!(server.get("/parent").ok(), master.pid.to_string());
    assert_eq!(server.get("/loaded-by").ok(), zygote.pid.to_string());
    let names = master.maps();
    let names = names.lines().filter_map(|line| line.rsplit('/').next());
    assert!(!names.into_iter().any(|name| name.contains("python")), "the master holds no Python");
    assert_eq!(master.status("Threads").as_deref(), Some("1"));
    assert_eq!(zygote.status("Threads").as_deref(), Some("1"));
}

#[test]
fn with_lazy_apps_each_worker_loads_its_own() {
    let server = Site::app("control.py").ini("lazy-apps = true").start();
    assert_eq!(server.get("/loaded-by").ok(), server.workers()[0].pid.to_string());
}

#[test]
fn a_killed_worker_is_replaced_at_once() {
    let server = serve("control.py");
    let worker = server.workers()[0];
    let mut client = server.connect();
    client.send("GET /gate/never HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at never");
    let killed = Instant::now();
    worker.signal(Signal::SIGKILL);
    assert!(client.rest().is_empty(), "the request in flight is lost, and its client is told");
    assert_eq!(server.get("/").ok(), "hello");
    let took = killed.elapsed();
    assert!(took < Duration::from_secs(1), "{took:?} until the next answer");
    let line = server.wait_for("killed by signal 9");
    assert!(line.contains(&format!("(pid {})", worker.pid)), "{line}");
}

#[test]
fn a_worker_that_crashes_takes_only_its_request_along() {
    let server = Site::app("control.py").ini("processes = 2").start();
    assert!(server.connect().send("GET /kill/11 HTTP/1.1\r\nHost: a\r\n\r\n").rest().is_empty());
    server.wait_for("killed by signal 11");
    assert!(server.connect().send("GET /die/3 HTTP/1.1\r\nHost: a\r\n\r\n").rest().is_empty());
    server.wait_for_workers(4);
    assert_eq!(server.get("/").ok(), "hello");
    assert_eq!(server.workers().len(), 2);
}

#[test]
fn a_killed_zygote_costs_nobody_a_request() {
    let server = Site::app("control.py").ini("processes = 2").start();
    let zygote = server.zygote();
    let mut client = server.connect();
    client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    zygote.signal(Signal::SIGKILL);
    for _ in 0..20 {
        assert_eq!(server.get("/").ok(), "hello");
    }
    server.open_gate("gate");
    assert_eq!(client.answer().ok(), "behind gate");
    let fresh = eventually("a new zygote and two workers, the old ones are done", || {
        let all = server.master().children();
        let fresh = all.iter().find(|child| child.status("Name").as_deref() == Some("ruwsgi-zygote")).copied();
        fresh.filter(|_| server.workers().len() == 2 && all.len() == 3)
    });
    // What it forks works too.
    server.workers()[0].signal(Signal::SIGKILL);
    eventually("the replacement", || (server.get("/loaded-by").ok() == fresh.pid.to_string()).then_some(()));
}

#[test]
fn nothing_survives_a_killed_master() {
    let server = Site::app("control.py").ini("processes = 3\nthreads = 2").start();
    let address = server.address();
    let mut client = server.connect();
    client.send("GET /gate/never HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at never");
    let tree = server.master().tree();
    assert_eq!(tree.len(), 5);
    let killed = Instant::now();
    server.signal(Signal::SIGKILL);
    for process in tree {
        process.wait_for_end("what the master had started");
    }
    // The threads of a process may outlive its first one for a moment, and hold the socket.
    eventually("the port is free", || std::net::TcpStream::connect(address).is_err().then_some(()));
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
}

#[test]
fn nothing_survives_a_master_killed_while_it_loads() {
    let site =
        Site::code("import sys, time\nprint('loading', file=sys.stderr, flush=True)\nwhile True: time.sleep(0.01)\n");
    let server = site.launch();
    server.wait_for("loading");
    let tree = server.master().tree();
    assert_eq!(tree.len(), 2);
    server.signal(Signal::SIGKILL);
    for process in tree {
        process.wait_for_end("what the master had started");
    }
}

#[test]
fn a_crash_loop_backs_off_and_says_so() {
    let site = Site::code(
        r#"
            import os
            os.register_at_fork(after_in_child=lambda: os.path.exists('crash') and os._exit(9))
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'well']
        "#,
    );
    let server = site.start();
    server.site.write("crash", "");
    server.workers()[0].signal(Signal::SIGKILL);
    // The third early death in a row is followed by a wait that is told.
    server.wait_for("in 1 s");
    server.wait_for("in 2 s");
    let spent = server.master().ticks();
    assert!(spent < 50, "the deaths cost the master {spent} ticks:\n{}", server.log.text());
    std::fs::remove_file(server.path("crash")).unwrap();
    server.wait_for_workers(2);
    assert_eq!(server.get("/").ok(), "well");
}

#[test]
fn a_replacement_that_hangs_while_it_loads_is_killed_at_its_deadline() {
    let site = Site::code(
        r#"
            import os, time
            while os.path.exists('hang'):
                time.sleep(0.01)
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'well']
        "#,
    );
    let server = site.ini("lazy-apps = true\nload-timeout = 4").start();
    server.site.write("hang", "");
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for("is not ready after 4 s: killed (load-timeout)");
    std::fs::remove_file(server.path("hang")).unwrap();
    server.wait_for_workers(2);
    assert_eq!(server.get("/").ok(), "well");
}

#[test]
fn max_requests_replaces_a_worker_without_losing_one() {
    let server = Site::app("control.py").ini("max-requests = 5\nmin-worker-lifetime = 0").start();
    let mut pids = std::collections::BTreeSet::new();
    let mut kept = server.connect();
    // A busy machine may answer many requests before a successor is up.
    let mut rounds = 0..4000;
    while rounds.next().is_some_and(|round| round < 40 || pids.len() < 3) {
        pids.insert(server.get("/pid").ok().to_owned());
        kept.send("GET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
        if kept.has_ended_cleanly() {
            // It was idle when its worker ended.
            kept = server.connect();
            kept.send("GET /pid HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let answer = kept.answer();
        assert_eq!(answer.status, 200);
        if answer.field("connection") == Some("close") {
            kept = server.connect();
        }
    }
    assert!(pids.len() >= 3, "{pids:?}");
}

#[test]
fn max_requests_waits_for_the_least_lifetime() {
    let server = Site::app("control.py").ini("max-requests = 2").start();
    let first = server.get("/pid").ok().to_owned();
    assert!((0..20).all(|_| server.get("/pid").ok() == first));
}

#[test]
fn harakiri_names_the_request_shows_its_stack_and_answers_504() {
    let server = Site::app("control.py").ini("harakiri = 1").start();
    let worker = server.workers()[0];
    let mut client = server.connect();
    client.send("GET /gate/never?why HTTP/1.1\r\nHost: a\r\n\r\n");
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (504, Some("close")));
    assert!(client.rest().is_empty());
    let line = server.wait_for("HARAKIRI");
    for word in [&format!("(pid {})", worker.pid), "[core 0]", "127.0.0.1 - GET /gate/never?why"] {
        assert!(line.contains(word), "{word:?} is not in {line:?}");
    }
    let stack = server.wait_for("app.py\", line");
    assert!(stack.contains("in wait_for"), "{stack}");
    assert_eq!(server.get("/").ok(), "hello");
    worker.wait_for_end("the worker whose request was past its deadline");
}

#[test]
fn harakiri_cuts_a_response_that_was_begun() {
    let server = Site::app("control.py").ini("harakiri = 1").start();
    let rest = server.connect().send("GET /parts/never HTTP/1.1\r\nHost: a\r\n\r\n").rest();
    assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\n") && rest.ends_with(b"\r\n\r\nfirst"), "{rest:?}");
}

#[test]
fn harakiri_costs_the_other_requests_of_the_worker_nothing() {
    let code = r#"
        import os, sys, time, uwsgi
        def application(environ, start_response):
            name = environ['PATH_INFO'][1:]
            if name:
                if name == 'slow':
                    uwsgi.set_user_harakiri(1)
                print('at', name, file=sys.stderr, flush=True)
                while not os.path.exists(name):
                    time.sleep(0.002)
            start_response('200 OK', [('Content-Length', '4')])
            return [b'well']
    "#;
    let server = Site::code(code).ini("threads = 2").start();
    let old = server.workers()[0];
    let (mut other, mut slow) = (server.connect(), server.connect());
    other.send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("at other");
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(slow.answer().status, 504);
    server.wait_for_workers(2);
    assert_eq!(server.get("/").ok(), "well", "its replacement is there");
    assert!(old.alive(), "the other request is still in it");
    server.open_gate("other");
    assert_eq!(other.answer().ok(), "well");
    old.wait_for_end("the worker whose requests are done");
}

#[test]
fn harakiri_can_send_a_signal_first_and_say_what_the_kernel_knows() {
    let code = r#"
        import os, signal, time
        signal.signal(signal.SIGUSR2, lambda *_: os.write(2, b'told to end\n'))
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/slow':
                time.sleep(100)
            start_response('200 OK', [])
            return [b'well']
    "#;
    let ini = "harakiri = 1\nharakiri-graceful-timeout = 2\nharakiri-graceful-signal = 12\nharakiri-verbose = true";
    let server = Site::code(code).ini(ini).start();
    let worker = server.workers()[0];
    assert_eq!(server.answer_to("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").status, 504);
    server.wait_for("told to end");
    let line = server.wait_for("HARAKIRI [core 0] thread");
    assert!(line.contains("system call"), "{line}");
    assert_eq!(server.get("/").ok(), "well");
    worker.wait_for_end("the worker after its grace");
}

#[test]
fn what_a_doomed_worker_has_accepted_is_answered_by_its_successor() {
    let code = r#"
        import time
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/slow':
                time.sleep(100)
            body = environ['wsgi.input'].read() or b'well'
            start_response('200 OK', [('Content-Length', str(len(body)))])
            return [body]
    "#;
    let server = Site::code(code).ini("harakiri = 2\nprocesses = 1").start();
    let worker = server.workers()[0];
    let mut kept: Vec<Client> = (0..5).map(|_| server.connect()).collect();
    for client in &mut kept {
        assert_eq!(client.get("/").ok(), "well");
    }
    let mut slow = server.connect();
    slow.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
    // More than travel between workers at other times, and some whose bodies are not whole.
    let mut waiting: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for (number, client) in waiting.iter_mut().enumerate() {
        let body = if number % 2 == 0 { "" } else { "Content-Length: 5\r\n" };
        client.send(format!(
            "GET /{number} HTTP/1.1\r\nHost: a\r\n{body}\r\n{}",
            if number % 2 == 0 { "" } else { "he" }
        ));
    }
    for client in &mut kept[..3] {
        client.send("GET /kept HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert_eq!(slow.answer().status, 504);
    for client in waiting.iter_mut().skip(1).step_by(2) {
        client.send("llo");
    }
    for (number, client) in waiting.iter_mut().enumerate() {
        assert_eq!(client.answer().ok(), if number % 2 == 0 { "well" } else { "hello" }, "{number}");
    }
    for client in &mut kept[..3] {
        assert_eq!(client.answer().ok(), "well");
    }
    // Their connections go on.
    for client in kept.iter_mut().chain(&mut waiting) {
        assert_eq!(client.get("/").ok(), "well");
    }
    worker.wait_for_end("the doomed worker");
    assert_eq!(server.workers().len(), 1);
}

#[test]
fn harakiri_loses_none_but_the_guilty_request() {
    let server = Site::app("control.py").ini("harakiri = 1\nprocesses = 2\ndisable-logging = true").start();
    under_load(&server, || {
        for number in 0..3 {
            let mut client = server.connect();
            client.send(format!("GET /gate/never{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
            let born = server.births();
            assert_eq!(client.answer().status, 504);
            server.wait_for_workers(born + 1);
        }
    });
}

#[test]
fn harakiri_waits_while_nobody_else_does() {
    let server = Site::app("control.py").ini("harakiri = 1\nharakiri-queue-threshold = 5").start();
    let mut client = server.connect();
    client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("left alone (harakiri-queue-threshold)");
    server.open_gate("gate");
    assert_eq!(client.answer().ok(), "behind gate");
}

#[test]
fn harakiri_leaves_idle_and_quick_workers_alone() {
    let server = Site::app("control.py").ini("harakiri = 1").start();
    let (worker, mut client) = (server.workers(), server.connect());
    client.get("/").ok();
    assert!(client.read_within(Duration::from_millis(1500)).is_none(), "an idle connection is no request");
    assert_eq!(client.get("/").ok(), "hello");
    assert_eq!(server.workers(), worker);
}

#[test]
fn a_worker_that_is_sent_a_term_is_replaced_without_losing_a_request() {
    let server = Site::app("hello.py").ini("processes = 2").start();
    let old = server.workers();
    under_load(&server, || {
        for worker in &old {
            worker.signal(Signal::SIGTERM);
            worker.wait_for_end("a worker that was sent a TERM");
        }
        server.wait_for_workers(4);
    });
    assert_eq!(server.workers().len(), 2);
}

#[test]
fn max_requests_and_a_killed_zygote_lose_nothing_under_load() {
    let server = Site::app("hello.py").ini("processes = 2\nmax-requests = 50\nmin-worker-lifetime = 0").start();
    under_load(&server, || {
        server.wait_for_workers(6);
        server.zygote().signal(Signal::SIGKILL);
        server.wait_for("killed by signal 9");
        let born = server.births();
        server.wait_for_workers(born + 4);
    });
}

#[test]
fn orphans_of_the_application_are_reaped() {
    let server = serve_orphans();
    let orphan: i32 = server.get("/").ok().parse().unwrap();
    let orphan = Process::of(orphan).expect("the orphan waits");
    eventually("the master adopts it", || {
        (orphan.status("PPid") == Some(server.master().pid.to_string())).then_some(())
    });
    server.open_gate("go");
    eventually("it is reaped, no zombie stays", || {
        Process::of(orphan.pid).is_none_or(|now| now != orphan).then_some(())
    });
    assert_eq!(server.workers().len(), 1);
}

/// An application whose grandchild waits for the file `go`.
fn serve_orphans() -> crate::harness::Server {
    crate::harness::serve_code(
        r#"
            import os, subprocess
            def application(environ, start_response):
                script = '(while [ ! -e go ]; do sleep 0.01; done) >/dev/null 2>&1 & echo $!'
                pid = subprocess.run(['/bin/sh', '-c', script], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout
                start_response('200 OK', [])
                return [pid.strip()]
        "#,
    )
}

#[test]
fn the_application_can_start_processes() {
    let server = crate::harness::serve_code(
        r#"
            import multiprocessing, os, subprocess, sys
            def application(environ, start_response):
                if os.fork() == 0:
                    os._exit(0)
                os.wait()
                out = subprocess.run([sys.executable, '-c', 'print(6 * 7)'], stdout=subprocess.PIPE).stdout
                start_response('200 OK', [])
                return [out.strip()]
        "#,
    );
    assert_eq!(server.get("/").ok(), "42");
    assert_eq!(server.get("/").ok(), "42");
}

#[test]
fn a_worker_holds_only_what_it_needs() {
    let server = Site::app("control.py").ini("processes = 2\nhttp-socket = app.sock").start();
    server.get("/").ok();
    for worker in server.workers() {
        let open = worker.descriptors();
        assert!(open.len() <= 24, "{open:?}");
        assert!(!open.iter().any(|file| file.contains("uwsgi.ini") || file.contains("app.py")), "{open:?}");
    }
}

#[test]
fn load_goes_on_while_workers_are_killed() {
    let server = Site::app("hello.py").ini("processes = 2").start();
    let address = server.address();
    let (mut answered, mut failed) = (0, 0);
    for round in 0..6 {
        for _ in 0..50 {
            let mut client = Client::tcp(address);
            let rest = client.send("GET / HTTP/1.0\r\n\r\n").rest();
            if rest.ends_with(b"Hello, world!") { answered += 1 } else { failed += 1 }
        }
        if let Some(worker) = server.workers().get(round % 2) {
            worker.signal(Signal::SIGKILL);
        }
    }
    assert!(failed <= 6, "{failed} of {} requests failed for 6 killed workers", answered + failed);
}
