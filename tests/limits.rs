//! What a server must refuse, bound or outlast: oversized, malformed, slow requests and slow readers.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Ends, Process, Server, Site, eventually, serve};

/// Sends a request that must be refused, and checks that nothing behind it is served.
fn refused(server: &Server, request: impl AsRef<[u8]>, status: u16) {
    let request = request.as_ref();
    let mut client = server.connect();
    let behind = b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n";
    // The server may have closed before all is sent.
    let _ = client.try_send(&[request, behind].concat());
    let answer = client.answer();
    let shown = String::from_utf8_lossy(&request[..request.len().min(120)]).into_owned();
    assert_eq!(answer.status, status, "{shown:?}: {answer:?}");
    assert_eq!(answer.field("connection"), Some("close"), "{shown:?}");
    client.closed();
}

#[test]
fn malformed_requests_get_400() {
    let server = serve("hello.py");
    let requests = [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\n folded\r\n\r\n",
        "GET / HTTP/1.1\nHost: a\n\n",
        "G\x01T / HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ];
    for request in requests {
        refused(&server, request, 400);
    }
    assert_eq!(server.get("/").status, 200);
    assert!(!server.log.text().contains("/behind"));
}

#[test]
fn what_is_not_built_has_a_status_of_its_own() {
    let server = serve("hello.py");
    refused(&server, "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    refused(&server, "GET / HTTP/3.7\r\nHost: a\r\n\r\n", 505);
    refused(&server, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
    refused(&server, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", 413);
    refused(&server, "POST / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\nContent-Length: 1\r\n\r\n", 417);
}

#[test]
fn an_oversized_head_gets_431_and_names_the_option() {
    let server = Site::app("hello.py").ini("buffer-size = 2048").start();
    refused(&server, format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(4000)), 431);
    server.wait_for("buffer-size");
    refused(&server, format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(4000)), 414);
    let fits = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(1900));
    assert_eq!(server.answer_to(fits).status, 200);
}

#[test]
fn heads_grow_up_to_32_kib_by_default() {
    let server = serve("hello.py");
    let head = |size| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(size));
    assert_eq!(server.answer_to(head(30_000)).status, 200);
    refused(&server, head(40_000), 431);
    let fields: String = (0..20_000).map(|n| format!("X-{n}: 1\r\n")).collect();
    refused(&server, format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431);
}

#[test]
fn a_broken_chunk_ends_the_connection() {
    let server = serve("control.py");
    for chunk in ["5\r\nabcdeXX0\r\n\r\n", "z\r\n\r\n", "5\nabcde\r\n0\r\n\r\n", "ffffffffffffffff\r\n", "-1\r\n\r\n"] {
        let mut client = server.connect();
        client.send(format!("POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"));
        let _ = client.try_send(b"GET /behind HTTP/1.1\r\nHost: a\r\n\r\n");
        let rest = String::from_utf8_lossy(&client.rest()).into_owned();
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 4") || rest.starts_with("HTTP/1.1 5"),
            "{chunk:?}: {rest}"
        );
        assert_eq!(rest.matches("HTTP/1.1 ").count(), usize::from(!rest.is_empty()), "{chunk:?}: {rest}");
    }
    assert!(!server.log.text().contains("/behind"));
}

#[test]
fn a_slow_head_gets_408() {
    let server = Site::app("hello.py").ini("socket-timeout = 1").start();
    let mut client = server.connect();
    let answer = client.send("GET / HTTP/1.1\r\nHost:").answer();
    assert_eq!(answer.status, 408);
    client.closed();
}

#[test]
fn a_connection_that_says_nothing_ends_without_a_word() {
    let server = Site::app("hello.py").ini("http-timeout = 1").start();
    server.connect().closed();
}

#[test]
fn a_request_that_came_in_time_is_answered_where_the_worker_looks_late() {
    let server = Site::app("hello.py").ini("http-keepalive = 2").start();
    let (worker, mut client, mut silent) = (server.workers()[0], server.connect(), server.connect());
    client.get("/").ok();
    silent.get("/").ok();
    worker.signal(Signal::SIGSTOP);
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    // Whatever the worker looks at first, the time of both is over.
    assert!(client.read_within(Duration::from_millis(3500)).is_none());
    worker.signal(Signal::SIGCONT);
    assert_eq!(client.answer().ok(), "Hello, world!");
    silent.closed();
    client.closed();
}

#[test]
fn a_slow_body_is_given_up() {
    let server = Site::app("control.py").ini("socket-timeout = 1").start();
    let mut client = server.connect();
    client.send("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    let rest = client.rest();
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn slow_heads_take_no_core() {
    let server = serve("hello.py");
    let mut slow: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET / HTTP/1.1\r\nHo");
    }
    assert_eq!(server.get("/").ok(), "Hello, world!");
    for mut client in slow {
        assert_eq!(client.send("st: a\r\n\r\n").answer().ok(), "Hello, world!");
    }
}

#[test]
fn slow_bodies_take_no_core() {
    let server = serve("control.py");
    let mut slow: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for (number, client) in slow.iter_mut().enumerate() {
        let framing = if number % 2 == 0 { "Content-Length: 10" } else { "Transfer-Encoding: chunked" };
        let start = if number % 2 == 0 { "12345" } else { "a\r\n12345" };
        client.send(format!("POST /read HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n{start}"));
    }
    assert_eq!(server.get("/").ok(), "hello");
    for (number, mut client) in slow.into_iter().enumerate() {
        let end = if number % 2 == 0 { "67890" } else { "67890\r\n0\r\n\r\n" };
        assert_eq!(client.send(end).answer().ok(), "10");
    }
}

#[test]
fn fast_uploads_into_files_hold_up_nobody() {
    let server = Site::app("control.py").ini("post-buffering = 8192").start();
    let (mut others, over) = (server.connect(), AtomicBool::new(false));
    others.get("/").ok();
    std::thread::scope(|scope| {
        let ends = Ends(&over);
        let uploads = [(); 3].map(|()| {
            let (mut client, over) = (server.connect(), &over);
            scope.spawn(move || {
                let (piece, mut pieces) = (vec![b'x'; 1_000_000], 0);
                client.send("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
                while pieces < 100 && !over.load(Ordering::Relaxed) {
                    client.send(&piece);
                    pieces += 1;
                }
                pieces
            })
        });
        for _ in 0..20 {
            assert_eq!(others.get("/").ok(), "hello");
        }
        drop(ends);
        let pieces: Vec<_> = uploads.into_iter().map(|upload| upload.join().unwrap()).collect();
        assert!(pieces.iter().all(|pieces| *pieces < 100), "the others had to wait for whole uploads: {pieces:?}");
    });
}

#[test]
fn who_is_refused_and_goes_on_sending_holds_up_nobody() {
    let server = Site::app("control.py").ini("limit-post = 10").start();
    let (mut others, sent) = (server.connect(), AtomicUsize::new(0));
    others.get("/").ok();
    std::thread::scope(|scope| {
        let refused = [(); 3].map(|()| {
            let (mut client, sent) = (server.connect(), &sent);
            client.send("POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n");
            assert_eq!(client.answer().status, 413);
            scope.spawn(move || {
                let piece = vec![b'x'; 1_000_000];
                while client.try_send(&piece).is_ok() {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        for _ in 0..20 {
            others.get("/").ok();
        }
        let meanwhile = sent.load(Ordering::Relaxed);
        assert!(meanwhile < 20 * 20, "{meanwhile} MB were read while 20 requests were to be answered");
        // The server has enough of them in the end.
        for client in refused {
            client.join().unwrap();
        }
    });
}

#[test]
fn a_response_that_nobody_takes_is_cut_so_that_the_client_can_tell() {
    let code = r"
        def application(environ, start_response):
            start_response('200 OK', [])
            return (b'x' * 100_000 for _ in range(300))
    ";
    let server = Site::code(code).ini("socket-timeout = 1\nresponse-buffer = 100000000").start();
    let worker = server.workers()[0];
    let before = worker.descriptors().len();
    let mut client = server.connect();
    client.send("GET / HTTP/1.0\r\n\r\n");
    server.wait_for("GET /");
    eventually("the connection is closed", || (worker.descriptors().len() <= before).then_some(()));
    let mut part = vec![0; 1 << 20];
    let end = loop {
        match client.read(&mut part) {
            Ok(1..) => {}
            end => break end,
        }
    };
    assert_eq!(end.map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_failed_response_is_not_destroyed_by_what_the_client_says_next() {
    let server = Site::code("def application(environ, start_response):\n    raise RuntimeError\n").start();
    let mut client = server.connect();
    // One read takes this much, so what follows is not seen.
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(16 * 1024 - 32));
    assert_eq!(head.len(), 16 * 1024);
    client.send([head.as_bytes(), b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"].concat());
    assert_eq!(client.answer().status, 500);
    assert!(client.has_ended_cleanly());
}

#[test]
fn slow_readers_take_no_core() {
    let server = serve("control.py");
    let mut slow: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /size/400000 HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert_eq!(server.get("/").ok(), "hello");
    for mut client in slow {
        assert_eq!(client.answer().ok().len(), 400_000);
    }
}

#[test]
fn idle_connections_take_no_core_and_no_time() {
    let server = serve("hello.py");
    let mut idle: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for client in &mut idle {
        client.get("/").ok();
    }
    let before: u64 = server.master().tree().iter().map(|process| process.ticks()).sum();
    assert!(idle[0].read_within(Duration::from_millis(500)).is_none());
    let after: u64 = server.master().tree().iter().map(|process| process.ticks()).sum();
    assert!(after - before <= 3, "{} ticks of processor time for nothing in half a second", after - before);
    assert_eq!(server.get("/").ok(), "Hello, world!");
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let server = serve("control.py");
    server.get("/").ok();
    let worker = server.workers()[0];
    let before = worker.descriptors().len();
    for number in 0..60 {
        let mut client = server.connect();
        client.send(match number % 4 {
            0 => "",
            1 => "GET / HT",
            2 => "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nabc",
            _ => "GET /size/3000000 HTTP/1.1\r\nHost: a\r\n\r\n",
        });
    }
    assert_eq!(server.get("/").ok(), "hello");
    eventually("the connections are closed", || (worker.descriptors().len() <= before).then_some(()));
    assert_eq!(server.workers(), [worker], "the worker is still the same one");
}

/// The most memory that a process has used so far, in kB.
fn peak(process: Process) -> u64 {
    process.status("VmHWM").and_then(|text| text.strip_suffix("kB")?.trim().parse().ok()).unwrap()
}

#[test]
fn long_bodies_use_little_memory() {
    let server = serve("control.py");
    let (worker, mut client) = (server.workers()[0], server.connect());
    client.get("/").ok();
    let before = peak(worker);

    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nContent-Length: 60000000\r\n\r\n");
    for _ in 0..60 {
        client.send(vec![b'x'; 1_000_000]);
    }
    assert_eq!(client.answer().ok(), "60000000");
    let uploaded = peak(worker);
    assert!(uploaded - before < 10_000, "an upload of 60 MB took {} kB", uploaded - before);

    client.send("POST /sink HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    let chunk = [b"f4240\r\n".to_vec(), vec![b'x'; 1_000_000], b"\r\n".to_vec()].concat();
    for _ in 0..60 {
        client.send(&chunk);
    }
    assert_eq!(client.send("0\r\n\r\n").answer().ok(), "60000000");
    let chunked = peak(worker);
    assert!(chunked - before < 10_000, "a chunked upload of 60 MB took {} kB", chunked - before);

    assert_eq!(client.get("/source/600").body.len(), 60_000_000);
    let downloaded = peak(worker);
    assert!(downloaded - before < 10_000, "a download of 60 MB took {} kB", downloaded - before);
}

/// Starts the server with this limit on open files.
fn with_descriptors(site: Site, limit: &str) -> Server {
    site.write_ini();
    let mut command = std::process::Command::new("/bin/sh");
    let script = format!("ulimit -n {limit}; exec \"$0\" --ini uwsgi.ini");
    command.args(["-c", script.as_str(), env!("CARGO_BIN_EXE_ruwsgi")]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for_workers(1);
    server
}

#[test]
fn a_worker_out_of_descriptors_recovers() {
    let server = with_descriptors(Site::app("hello.py"), "40");
    let mut many: Vec<_> = (0..100).map(|_| server.connect()).collect();
    assert_eq!(many[0].get("/").ok(), "Hello, world!");
    let before = server.workers()[0].ticks();
    assert!(many[0].read_within(Duration::from_millis(300)).is_none());
    let spent = server.workers()[0].ticks() - before;
    assert!(spent <= 5, "{spent} ticks in 0.3 s: it spins");
    drop(many);
    assert_eq!(server.get("/").ok(), "Hello, world!");
}

#[test]
fn max_fd_limits_all_processes() {
    let server = Site::app("hello.py").ini("max-fd = 77").start();
    let limit = |process: Process| {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.pid)).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    for process in server.master().tree() {
        assert_eq!(limit(process), "77", "{process:?}");
    }
    assert_eq!(server.get("/").ok(), "Hello, world!");
}

#[test]
fn nothing_is_sized_by_the_descriptor_limit() {
    let server = with_descriptors(Site::app("hello.py"), "$(ulimit -Hn)");
    let kilobytes = |process: Process| -> u64 {
        let text = process.status("VmRSS").unwrap_or_default();
        text.trim_end_matches("kB").trim().parse().unwrap_or(0)
    };
    let (master, worker) = (kilobytes(server.master()), kilobytes(server.workers()[0]));
    assert!(master > 0 && master < 20_000, "the master uses {master} kB");
    assert!(worker > 0 && worker < 80_000, "a worker uses {worker} kB");
}
