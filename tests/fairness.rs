//! No request waits while a core is idle; what happens when none is; connections that go from worker to worker.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, Ends, Process, Server, Site, eventually};

/// An application under control, with these options.
fn control(ini: &str) -> Server {
    Site::app("control.py").ini(ini).start()
}

/// Keeps a core of a worker busy until the gate is opened; which worker that is.
fn occupy(server: &Server, name: &str) -> (Client, Process) {
    let mut client = server.connect();
    let pid = client.get("/pid").ok().parse().unwrap();
    client.send(format!("GET /gate/{name} HTTP/1.1\r\nHost: a\r\n\r\n"));
    server.wait_for(&format!("waiting at {name}"));
    (client, Process::of(pid).unwrap())
}

/// Connections that are kept, each of which has served a request; the one of a worker can be any.
fn kept(server: &Server, count: usize) -> Vec<Client> {
    let mut clients: Vec<_> = (0..count).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.get("/").ok();
    }
    clients
}

/// Connections that are kept by this worker, the only one that accepted when they were made.
fn kept_by(server: &Server, worker: Process, count: usize) -> Vec<Client> {
    let pid = worker.pid.to_string();
    let mut found = Vec::new();
    eventually("enough connections of one worker", || {
        let mut client = server.connect();
        if client.get("/pid").ok() == pid {
            found.push(client);
        }
        (found.len() == count).then_some(())
    });
    found
}

#[test]
fn a_request_does_not_wait_for_a_busy_worker_while_another_is_idle() {
    let server = control("processes = 2");
    let busy = server.workers()[0];
    let mut clients = kept_by(&server, busy, 8);
    let mut occupier = clients.pop().unwrap();
    occupier.send("GET /gate/open HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at open");
    let other = server.workers()[1].pid.to_string();
    for _ in 0..3 {
        for client in &mut clients {
            assert_eq!(client.get("/pid").ok(), other);
        }
    }
    for client in &mut clients {
        // With bodies of all kinds: whole, in chunks, too long for one message, and with something behind them.
        let chunked =
            "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n3\r\nefg\r\n0\r\n\r\n";
        assert_eq!(client.send(chunked).answer().ok(), "7");
        assert_eq!(client.post("/read", "x".repeat(300_000)).ok(), "300000");
        let two = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcGET /pid HTTP/1.1\r\nHost: a\r\n\r\n";
        assert_eq!(client.send(two).answer().ok(), "3");
        assert_eq!(client.answer().ok(), other);
    }
    server.open_gate("open");
    assert_eq!(occupier.answer().ok(), "behind open");
}

#[test]
fn what_the_application_knows_of_a_client_travels_with_its_connection() {
    let code = r"
        import os, time
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/gate':
                print('waiting', file=environ['wsgi.errors'], flush=True)
                while not os.path.exists('open'):
                    time.sleep(0.002)
            names = ['REMOTE_ADDR', 'REMOTE_PORT', 'SERVER_PORT', 'SERVER_PROTOCOL', 'HTTP_X_A']
            body = ' '.join([str(os.getpid())] + [environ[name] for name in names]).encode()
            start_response('200 OK', [('Content-Length', str(len(body)))])
            return [body]
    ";
    let server = Site::code(code).ini("processes = 2").start();
    let ask = "GET / HTTP/1.1\r\nHost: a\r\nX-A: one\r\n\r\n";
    let mut clients: Vec<_> = (0..12).map(|_| server.connect()).collect();
    let before: Vec<_> = clients.iter_mut().map(|client| client.send(ask).answer().ok().to_owned()).collect();
    // One of those that are with the worker that has more of them keeps it busy.
    let worker = |seen: &String| seen.split_once(' ').unwrap().0.to_owned();
    let crowded = |pid: &String| before.iter().filter(|seen| worker(seen) == *pid).count();
    let number = (0..clients.len()).max_by_key(|number| crowded(&worker(&before[*number]))).unwrap();
    let mut occupier = clients.remove(number);
    let before: Vec<_> = before.iter().enumerate().filter(|(at, _)| *at != number).map(|(_, seen)| seen).collect();
    occupier.send("GET /gate HTTP/1.1\r\nHost: a\r\nX-A: two\r\n\r\n");
    server.wait_for("waiting");
    let after: Vec<_> = clients.iter_mut().map(|client| client.send(ask).answer().ok().to_owned()).collect();
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.split_once(' ').unwrap().1, after.split_once(' ').unwrap().1);
    }
    assert!(before.iter().zip(&after).any(|(before, after)| *before != after), "none has changed its worker");
    server.open_gate("open");
    occupier.answer().ok();
}

#[test]
fn a_worker_whose_only_core_is_busy_reads_on_and_tells_who_is_too_slow() {
    let server = control("socket-timeout = 1");
    let (mut busy, _) = occupy(&server, "open");
    let mut slow = server.connect();
    assert_eq!(slow.send("GET / HTTP/1.1\r\nHo").answer().status, 408);
    let mut malformed = server.connect();
    assert_eq!(malformed.send("GET / HTTP/1.1\r\nno colon\r\n\r\n").answer().status, 400);
    server.open_gate("open");
    assert_eq!(busy.answer().ok(), "behind open");
}

#[test]
fn a_slow_reader_gets_its_response_while_the_only_core_is_busy() {
    let server = control("response-buffer = 20000000");
    let mut reader = server.connect();
    reader.send("GET /size/15000000 HTTP/1.1\r\nHost: a\r\n\r\n");
    let (mut busy, _) = occupy(&server, "open");
    assert_eq!(reader.answer().ok().len(), 15_000_000);
    server.open_gate("open");
    assert_eq!(busy.answer().ok(), "behind open");
}

#[test]
fn a_busy_worker_costs_next_to_nothing() {
    let server = control("");
    let (mut busy, worker) = occupy(&server, "open");
    let mut others = kept_open(&server, 20);
    let before = worker.wakes("standby");
    assert!(others[0].read_within(Duration::from_millis(500)).is_none());
    let wakes = worker.wakes("standby") - before;
    assert!(wakes < 20, "the standby woke {wakes} times in half a second");
    server.open_gate("open");
    busy.answer().ok();
}

/// Connections that have said nothing yet.
fn kept_open(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| server.connect()).collect()
}

#[test]
fn too_many_waiting_requests_are_told_to_come_again() {
    for processes in [1, 2] {
        let server = control(&format!("processes = {processes}\nrequest-queue = 3"));
        let mut busy: Vec<_> = (0..processes).map(|number| occupy(&server, &format!("gate{number}")).0).collect();
        let mut waiting: Vec<_> = (0..3).map(|_| server.connect()).collect();
        for client in &mut waiting {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let mut others = Vec::new();
        let answer = eventually("one request too many", || {
            let mut client = server.connect();
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
            let told = client.read_within(Duration::from_secs(3));
            // It came before one of the three.
            others.extend(told.is_none().then_some(client));
            told.map(|bytes| String::from_utf8(bytes).unwrap())
        });
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("\r\nRetry-After: 1\r\n") && answer.contains("\r\nConnection: close\r\n"), "{answer}");
        server.wait_for("request-queue = 3");
        for number in 0..processes {
            server.open_gate(&format!("gate{number}"));
        }
        let all = waiting.iter_mut().chain(&mut others);
        let answered = all.map(|client| client.answer().status).filter(|status| *status == 200).count();
        assert_eq!(answered, 3);
        busy.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
        assert_eq!(server.get("/").ok(), "hello");
    }
}

#[test]
fn who_asks_again_waits_behind_the_others() {
    let server = control("request-queue = 2");
    let mut clients = kept(&server, 3);
    let (mut busy, _) = occupy(&server, "open");
    // What comes behind its first request may be read with it, or later.
    clients[0].send("GET /first HTTP/1.1\r\nHost: a\r\n\r\n").send("GET /again HTTP/1.1\r\nHost: a\r\n\r\n");
    clients[1].send("GET /other HTTP/1.1\r\nHost: a\r\n\r\n");
    // Connections are read in the order in which they have said something: once this one is refused, two wait.
    assert_eq!(clients[2].send("GET /one-too-many HTTP/1.1\r\nHost: a\r\n\r\n").answer().status, 503);
    server.open_gate("open");
    busy.answer().ok();
    clients[0].answer().ok();
    clients[0].answer().ok();
    clients[1].answer().ok();
    let log = server.stop().log;
    let at = |path: &str| log.find(&format!("GET {path} ")).unwrap_or_else(|| panic!("{path} was not served:\n{log}"));
    assert!(at("/first") < at("/again") && at("/other") < at("/again"), "{log}");
}

#[test]
fn a_request_that_waits_for_too_long_is_told_so() {
    for processes in [1, 2] {
        let server = control(&format!("processes = {processes}\nrequest-queue-timeout = 1"));
        let mut busy: Vec<_> = (0..processes).map(|number| occupy(&server, &format!("gate{number}")).0).collect();
        let mut waiting: Vec<_> = (0..3).map(|_| server.connect()).collect();
        let began = Instant::now();
        for client in &mut waiting {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for client in &mut waiting {
            let answer = client.answer();
            assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
        }
        let took = began.elapsed();
        assert!(took > Duration::from_millis(950) && took < Duration::from_secs(6), "{took:?}");
        for number in 0..processes {
            server.open_gate(&format!("gate{number}"));
        }
        busy.iter_mut().for_each(|client| assert_eq!(client.answer().status, 200));
        assert_eq!(server.get("/").ok(), "hello");
    }
}

#[test]
fn requests_that_wait_are_served_in_their_order() {
    let code = r"
        import os, time
        def application(environ, start_response):
            path = environ['PATH_INFO']
            if path == '/gate':
                print('waiting', file=environ['wsgi.errors'], flush=True)
                while not os.path.exists('open'):
                    time.sleep(0.002)
            else:
                print('served', path, file=environ['wsgi.errors'], flush=True)
            start_response('200 OK', [('Content-Length', '0')])
            return []
    ";
    let server = Site::code(code).start();
    let mut busy = server.connect();
    busy.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting");
    let mut clients = Vec::new();
    for number in 0..20 {
        let mut client = server.connect();
        client.send(format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        clients.push(client);
    }
    server.open_gate("open");
    for client in &mut clients {
        assert_eq!(client.answer().status, 200);
    }
    server.log.wait_for_nth("served /", 20);
    let log = server.log.text();
    let order: Vec<i32> = log.lines().filter_map(|line| line.strip_prefix("served /")?.parse().ok()).collect();
    // One that comes with its connection may be read before one that comes a moment earlier on an accepted one.
    assert!(order.len() == 20 && (0..20).zip(&order).all(|(place, number)| (place - number).abs() < 4), "{order:?}");
    busy.answer();
}

#[test]
fn a_reload_cuts_no_connection() {
    for options in ["processes = 2", "processes = 1", "processes = 2\nthreads = 2"] {
        let server = control(options);
        let mut clients = kept(&server, 40);
        // One is in the middle of a head.
        clients[0].send("GET /pid HTTP/1.1\r\nHo");
        for _ in 0..2 {
            let old = server.workers();
            server.signal(Signal::SIGHUP);
            for worker in old {
                worker.wait_for_end("a worker of the old generation");
            }
            let new: Vec<_> = server.workers().iter().map(|worker| worker.pid.to_string()).collect();
            clients[0].send("st: a\r\n\r\n");
            let answer = clients[0].answer();
            assert!(new.iter().any(|pid| pid == answer.ok()));
            for client in &mut clients {
                let pid = client.get("/pid");
                assert!(new.iter().any(|new| new == pid.ok()), "{pid:?} is none of {new:?}");
                assert_eq!(pid.field("connection"), None);
            }
            clients[0].send("GET /pid HTTP/1.1\r\nHo");
        }
    }
}

#[test]
fn a_reload_under_load_cuts_no_connection() {
    let server = control("processes = 2");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut client = server.connect();
                while !over.load(Ordering::Relaxed) {
                    let answer = client.get("/");
                    assert_eq!((answer.ok(), answer.field("connection")), ("hello", None));
                }
            });
        }
        let _ends = Ends(&over);
        for _ in 0..4 {
            let old = server.workers();
            server.signal(Signal::SIGHUP);
            for worker in old {
                worker.wait_for_end("a worker of the old generation");
            }
        }
    });
}

#[test]
fn a_reload_that_listens_elsewhere_closes_what_it_does_not_know() {
    let server = Site::app("control.py").ini("http-socket = app.sock").start();
    let (mut inet, mut unix) = (server.connect(), Client::unix(&server.path("app.sock")));
    inet.get("/").ok();
    unix.get("/").ok();
    let old = server.workers()[0];
    server.site.write("uwsgi.ini", "[uwsgi]\nhttp-socket = app.sock\nwsgi-file = app.py\n");
    server.signal(Signal::SIGHUP);
    inet.closed();
    unix.closed();
    old.wait_for_end("the old worker");
    assert_eq!(Client::unix(&server.path("app.sock")).get("/").ok(), "hello");
}

#[test]
fn a_worker_that_is_replaced_leaves_its_connections_to_others() {
    let server = control("processes = 2\nmax-requests = 30\nmin-worker-lifetime = 0");
    let mut clients = kept(&server, 10);
    for _ in 0..20 {
        for client in &mut clients {
            let answer = client.get("/");
            assert_eq!((answer.ok(), answer.field("connection")), ("hello", None));
        }
    }
    assert!(server.births() > 2, "{} workers in all", server.births());
}

#[test]
fn a_client_that_never_stops_asking_holds_up_neither_others_nor_a_reload() {
    let server = control("disable-logging = true");
    let mut writer = std::net::TcpStream::connect(server.address()).unwrap();
    let (mut reader, over) = (writer.try_clone().unwrap(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        let requests = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000);
        scope.spawn(move || while writer.write_all(&requests).is_ok() {});
        let (over, old) = (&over, server.workers()[0]);
        scope.spawn(move || {
            let mut part = vec![0; 1 << 20];
            while !over.load(Ordering::Relaxed) && reader.read(&mut part).unwrap_or(0) > 0 {}
            let _ = reader.shutdown(Shutdown::Both);
        });
        for _ in 0..20 {
            assert_eq!(server.get("/").ok(), "hello");
        }
        server.signal(Signal::SIGHUP);
        old.wait_for_end("the worker that the flood came to");
        assert_eq!(server.get("/").ok(), "hello");
    });
}

#[test]
fn a_stop_is_heard_while_every_core_is_busy() {
    let mut server = control("processes = 2");
    let mut idle = kept(&server, 10);
    let mut busy: Vec<_> = (0..2).map(|number| occupy(&server, &format!("gate{number}")).0).collect();
    let mut waiting = server.connect();
    waiting.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    server.signal(Signal::SIGTERM);
    for client in &mut idle {
        client.closed();
    }
    for (number, client) in busy.iter_mut().enumerate() {
        server.open_gate(&format!("gate{number}"));
        assert_eq!(client.answer().ok(), format!("behind gate{number}"));
    }
    assert_eq!(waiting.answer().ok(), "hello");
    let ended = server.wait_here();
    assert_eq!(ended.code, 0, "{}", ended.log);
}

#[test]
fn a_worker_that_is_killed_between_takes_a_request_with_it_and_none_is_served_twice() {
    let code = r"
        import os, time
        def application(environ, start_response):
            path = environ['PATH_INFO']
            with open('served', 'a') as file:
                file.write(path + '\n')
            time.sleep(0.003)
            start_response('200 OK', [('Content-Length', '0')])
            return []
    ";
    let server = Site::code(code).ini("processes = 3").start();
    let (address, over) = (server.address(), AtomicBool::new(false));
    let (answered, cut) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..12)
            .map(|client| {
                let over = &over;
                scope.spawn(move || {
                    let (mut answered, mut cut) = (Vec::new(), 0);
                    let mut connection = Client::tcp(address);
                    for number in 0.. {
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                        let path = format!("/{client}-{number}");
                        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
                        let sent = connection.try_send(request.as_bytes());
                        let answer = match sent {
                            Ok(()) => connection.read_within(Duration::from_secs(10)),
                            Err(_) => Some(Vec::new()),
                        };
                        if answer.expect("an answer or the end").starts_with(b"HTTP/1.1 200 ") {
                            answered.push(path);
                        } else {
                            cut += 1;
                            connection = Client::tcp(address);
                        }
                    }
                    (answered, cut)
                })
            })
            .collect();
        let ends = Ends(&over);
        for round in 0..6 {
            let births = server.births();
            server.workers()[round % 3].signal(Signal::SIGKILL);
            server.wait_for_workers(births + 1);
        }
        drop(ends);
        clients.into_iter().map(|client| client.join().unwrap()).fold((Vec::new(), 0), |(mut all, cuts), (own, cut)| {
            all.extend(own);
            (all, cuts + cut)
        })
    });
    let mut served = HashMap::new();
    for line in std::fs::read_to_string(server.path("served")).unwrap().lines() {
        *served.entry(line.to_owned()).or_insert(0) += 1;
    }
    assert!(served.values().all(|times| *times == 1), "a request was served twice");
    assert!(answered.iter().all(|path| served.contains_key(path)));
    assert!(answered.len() > 100 && cut <= 6 * 12, "{} answered, {cut} cut", answered.len());
}

#[test]
fn threads_that_wait_run_beside_each_other() {
    let code = r"
        import time
        def application(environ, start_response):
            time.sleep(0.1)
            start_response('200 OK', [('Content-Length', '0')])
            return []
    ";
    let server = Site::code(code).ini("threads = 16").start();
    let mut clients: Vec<_> = (0..16).map(|_| server.connect()).collect();
    let began = Instant::now();
    for _ in 0..3 {
        for client in &mut clients {
            client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        for client in &mut clients {
            assert_eq!(client.answer().status, 200);
        }
    }
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2400), "3 rounds of 16 requests of 0.1 s took {took:?} with 16 threads");
}
