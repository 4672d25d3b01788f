//! The HTTP router: what reaches a backend, what reaches the client, and what happens when something of it fails.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::backend::{Backend, nobody, read_head};
use crate::harness::packet::{program, real_uwsgi};
use crate::harness::{Client, Process, Server, Site, app, eventually, under_load};

/// With `tests/apps/NAME` behind a unix socket, and a router before it.
fn site(name: &str) -> Site {
    let site = Site::empty().ini("wsgi-file = app.py\nuwsgi-socket = app.sock\nhttp = 127.0.0.1:0\nhttp-router = true");
    std::fs::copy(app(name), site.path("app.py")).unwrap();
    site
}

fn start(site: Site) -> Server {
    let server = site.start();
    server.wait_for("http 1 (pid ");
    server
}

/// A router alone.
fn router(ini: &str) -> Server {
    let server = Site::empty().ini("http = 127.0.0.1:0").ini(ini).launch();
    server.wait_for("http 1 (pid ");
    server
}

fn to(backends: &[&Backend]) -> String {
    backends.iter().map(|backend| format!("http-to = http://{}\n", backend.address)).collect()
}

/// The router processes, oldest first.
fn routers(server: &Server) -> Vec<Process> {
    let mut children = server.master().children();
    children.retain(|child| child.status("Name").is_some_and(|name| name.trim() == "ruwsgi-http"));
    children
}

#[test]
fn requests_and_answers_pass_through() {
    let server = start(site("control.py"));
    let mut client = server.connect();
    assert_eq!(client.get("/").ok(), "hello");
    assert_eq!(client.post("/read", "x".repeat(300_000)).ok(), "300000");
    client.send("POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(client.answer().ok(), "5", "a backend that wants to know the length is told it");
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /size/3 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((client.answer().ok(), client.answer().ok()), ("hello", "xxx"));
    let streamed = client.get("/source/30");
    assert_eq!((streamed.body.len(), streamed.field("transfer-encoding")), (3_000_000, Some("chunked")));
    client.send("HEAD /size/7 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("content-length"), Some("7"));
    assert_eq!(client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").answer().ok(), "hello");
    client.closed();
    let old = server.answer_to("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((old.version.as_str(), old.text()), ("HTTP/1.0", "hello"));
    assert!(!routers(&server)[0].maps().contains("libpython"), "a router has no Python");
    server.stop();
}

#[test]
fn a_client_that_waits_is_told_to_go_on() {
    let server = start(site("control.py").ini("http-manage-expect = 1000"));
    let mut client = server.connect();
    client.send("POST /read HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send("hello").answer().ok(), "5");
    client.send("POST /read HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n");
    assert_eq!(client.answer().status, 413);
}

#[test]
fn backends_are_told_who_asks() {
    let backend = Backend::new(|_, stream| {
        let head = read_head(stream);
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", head.len());
        let _ = stream.write_all(&[answer.as_bytes(), &head].concat());
    });
    let server = router(&to(&[&backend]));
    let asked = "GET http://a.example/x?y HTTP/1.1\r\nHost: b\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close, X-Hop\r\n\
                 X-Hop: 1\r\nTE: trailers\r\nX-Kept: 2\r\nProxy: evil\r\nX_Under: score\r\n\r\n";
    let answer = server.answer_to(asked);
    assert_eq!(
        answer.text(),
        "GET /x?y HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-Proto: http\r\nX-Kept: 2\r\n\
         X-Forwarded-For: 192.0.2.7, 127.0.0.1\r\n\r\n"
    );
    let server = start(site("inspect.py").ini("http-var = COLOUR=blue\nhttp-modifier1 = 30"));
    let seen = server.get("/dir/page?q").json();
    let value = |name: &str| seen["env"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!((value("REMOTE_ADDR"), value("UWSGI_ROUTER")), ("127.0.0.1".into(), "http".into()), "{seen}");
    assert_eq!((value("PATH_INFO"), value("QUERY_STRING")), ("/dir/page".into(), "q".into()));
    assert_eq!((value("COLOUR"), value("SERVER_PORT")), ("blue".into(), server.address().port().to_string()));
}

#[test]
fn a_load_balancer_says_who_asks() {
    let server = start(site("inspect.py").ini("http-enable-proxy-protocol = true"));
    let line = "PROXY TCP4 192.0.2.7 192.0.2.8 5555 443\r\n";
    let mut client = server.connect();
    client.send(line);
    for _ in 0..2 {
        let seen = client.get("/").json();
        let value = |name: &str| seen["env"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!((value("REMOTE_ADDR"), value("REMOTE_PORT")), ("192.0.2.7".into(), "5555".into()));
        assert_eq!((value("SERVER_ADDR"), value("SERVER_PORT")), ("192.0.2.8".into(), "443".into()));
    }
    server.connect().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").closed();
}

#[test]
fn a_websocket_passes_through() {
    let backend = Backend::new(|_, stream| {
        let head = String::from_utf8(read_head(stream)).unwrap();
        assert!(head.contains("Upgrade: websocket\r\nConnection: Upgrade\r\n"), "{head}");
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x02hi",
            )
            .unwrap();
        let mut some = [0; 100];
        while let Ok(got @ 1..) = stream.read(&mut some) {
            stream.write_all(&some[..got]).unwrap();
        }
        let _ = stream.write_all(b"bye");
    });
    let server = router(&to(&[&backend]));
    let mut client = server.connect();
    client
        .send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x01early");
    let answer = client.answer_head();
    assert_eq!((answer.status, answer.field("upgrade")), (101, Some("websocket")));
    assert_eq!(client.exactly(4), b"\x81\x02hi");
    assert_eq!(client.exactly(6), b"\x01early");
    assert_eq!(client.send("\x02frame").exactly(6), b"\x02frame");
    assert_eq!(client.finish_sending().rest(), b"bye");
}

#[test]
fn a_backend_that_is_not_there_is_passed_over() {
    let (good, gone) = (Backend::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), nobody());
    let server = router(&format!("http-to = http://{gone}\n{}", to(&[&good])));
    for _ in 0..5 {
        assert_eq!(server.post("/", "body").ok(), "ok");
    }
    assert_eq!(good.connections(), 5);
    let log = server.stop().log;
    let told = log.matches(&format!("marking http://{gone} as failed")).count();
    assert_eq!(told, 1, "it is left alone from then on:\n{log}");
    let alone = router(&format!("http-to = http://{gone}"));
    let answer = alone.get("/");
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("1")));
    let with_fallback = router(&format!("http-to = http://{gone}\nhttp-fallback = http://{}", good.address));
    assert_eq!(with_fallback.get("/").ok(), "ok");
}

#[test]
fn backends_that_answer_nothing_or_nonsense_are_told_so() {
    for (answer, status) in [
        (&b""[..], 502),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", 502),
        (b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n", 502),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", 502),
    ] {
        let backend = Backend::saying(answer);
        let server = router(&to(&[&backend]));
        let got = server.post("/", "once");
        assert_eq!(got.status, status, "{:?}", String::from_utf8_lossy(answer));
        assert_eq!(backend.connections(), 1, "nobody knows what it has done: it is not asked again");
    }
    let silent = Backend::new(|_, stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let server = router(&format!("http-timeout = 1\n{}", to(&[&silent])));
    assert_eq!(server.get("/").status, 504);
    let half = Backend::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf");
    let server = router(&to(&[&half]));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().status, 200);
    assert!(client.rest().len() <= 4, "no more than came");
    let chunks = Backend::saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    let server = router(&to(&[&chunks]));
    let answer = server.connect().send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").rest();
    assert!(!answer.ends_with(b"0\r\n\r\n"), "a half answer has no end");
}

#[test]
fn a_kept_connection_that_the_backend_closes_loses_nothing() {
    // Answers the first request of each connection, and closes at the second.
    let backend = Backend::new(|_, stream| {
        read_head(stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        read_head(stream);
    });
    let server = router(&to(&[&backend]));
    let mut client = server.connect();
    assert_eq!(client.get("/").ok(), "ok");
    assert_eq!(client.get("/").ok(), "ok", "asked again on a connection of its own");
    assert_eq!(client.post("/", "never twice").ok(), "ok", "never on one that may be closed");
    assert_eq!(backend.connections(), 3);
}

#[test]
fn connections_to_http_backends_are_kept() {
    let backend = Backend::new(|_, stream| {
        while read_head(stream).ends_with(b"\r\n\r\n") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    let server = router(&to(&[&backend]));
    for _ in 0..10 {
        assert_eq!(server.get("/").ok(), "ok");
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn connections_to_persistent_uwsgi_backends_are_kept() {
    // Answers packet after packet, and closes behind what has no length.
    let backend = Backend::new(|_, stream| {
        let mut header = [0; 4];
        while stream.read_exact(&mut header).is_ok() {
            let mut block = vec![0; usize::from(u16::from_le_bytes([header[1], header[2]]))];
            stream.read_exact(&mut block).unwrap();
            let block = String::from_utf8_lossy(&block).into_owned();
            if block.contains("/open") {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nopen").unwrap();
                return;
            }
            if block.contains("POST") {
                stream.read_exact(&mut [0; 4]).unwrap();
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        }
    });
    let server = router(&format!("http-to = puwsgi://{}", backend.address));
    for _ in 0..5 {
        assert_eq!(server.get("/").ok(), "ok");
    }
    assert_eq!(backend.connections(), 1);
    assert_eq!(server.post("/", "body").ok(), "ok", "never on one that may be closed");
    assert_eq!(backend.connections(), 2);
    assert_eq!(server.get("/open").ok(), "open");
    assert_eq!(server.get("/").ok(), "ok");
    assert_eq!(backend.connections(), 2, "that of the body was kept");
}

#[test]
fn workers_behind_kept_connections_come_and_go() {
    let site =
        Site::empty().ini("wsgi-file = app.py\npuwsgi-socket = app.sock\nhttp = 127.0.0.1:0\nhttp-router = true");
    std::fs::copy(app("control.py"), site.path("app.py")).unwrap();
    let server = start(site.ini("processes = 2"));
    let mut client = server.connect();
    client.send("HEAD /size/7 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("content-length"), Some("7"));
    assert_eq!(client.get("/size/3").ok(), "xxx");
    assert_eq!(client.post("/read", "x".repeat(100_000)).ok(), "100000");
    assert_eq!(client.get("/source/5").body.len(), 500_000);
    let answered = under_load(&server, || {
        for generation in 2..=3 {
            server.signal(Signal::SIGHUP);
            server.wait_for(&format!("generation {generation} is complete"));
        }
    });
    assert!(answered > 50, "{answered} requests");
    server.stop();
}

#[test]
fn slow_clients_and_backends_cost_little_memory() {
    let backend = Backend::new(|_, stream| {
        read_head(stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n");
        let _ = (0..500).try_for_each(|_| stream.write_all(&[b'x'; 100_000]));
    });
    let server = router(&to(&[&backend]));
    let router = routers(&server)[0];
    let resident = || -> usize {
        let told = router.status("VmRSS").unwrap();
        told.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    };
    let before = resident();
    let mut slow: Vec<Client> = (0..8).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        client.answer_head();
    }
    // Each has some of its answer under way, and nobody all of it.
    assert!(resident() < before + 8 * 300, "{} KiB more", resident() - before);
    assert_eq!(slow[7].exactly(50_000_000).len(), 50_000_000);
    drop(slow);
    assert_eq!(server.get("/").body.len(), 50_000_000);
    assert!(resident() < before + 8 * 300, "{} KiB more", resident() - before);
}

#[test]
fn a_backend_that_reads_slowly_costs_little_memory() {
    const BYTES: usize = 50_000_000;
    // Reads nothing of the body until it is told to.
    let gate = std::sync::Arc::new(AtomicBool::new(false));
    let open = gate.clone();
    let backend = Backend::new(move |_, stream| {
        let mut got = read_head(stream).len();
        eventually("the gate is open", || open.load(Ordering::Relaxed).then_some(()));
        let mut some = vec![0; 1 << 20];
        while got < BYTES {
            got += stream.read(&mut some).unwrap();
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    });
    let server = router(&to(&[&backend]));
    let router = routers(&server)[0];
    let resident = || -> usize {
        // Not what code takes: this is its first request.
        let told = router.status("RssAnon").unwrap();
        told.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    };
    let before = resident();
    let mut sender = std::net::TcpStream::connect(server.address()).unwrap();
    sender.write_all(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {BYTES}\r\n\r\n").as_bytes()).unwrap();
    sender.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let body = vec![b'x'; BYTES];
    let mut sent = 0;
    while let Ok(more @ 1..) = sender.write(&body[sent..]) {
        sent += more;
    }
    assert!(sent < BYTES, "somebody has taken all of it");
    assert!(resident() < before + 600, "{} KiB more", resident() - before);
    gate.store(true, Ordering::Relaxed);
    sender.set_write_timeout(None).unwrap();
    sender.write_all(&body[sent..]).unwrap();
    let mut answer = [0; 12];
    sender.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[test]
fn nobody_waits_for_the_end_of_a_large_transfer() {
    // Sends for as long as somebody reads.
    let backend = Backend::new(|_, stream| {
        if read_head(stream).starts_with(b"GET /small") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            return;
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1 << 20]).is_ok() {}
    });
    let raw = format!("rawrouter = 127.0.0.1:0\nrawrouter-to = {}", backend.address);
    let server = router(&format!("{}{raw}", to(&[&backend])));
    let address = server.log.wait_for("rawrouter on ");
    let raw = address.split_whitespace().nth(2).unwrap().parse().unwrap();
    for address in [server.address(), raw] {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut stream = std::net::TcpStream::connect(address).unwrap();
                    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
                    let mut some = vec![0; 1 << 20];
                    let mut got = 1;
                    while got > 0 && !over.load(Ordering::Relaxed) {
                        got = stream.read(&mut some).unwrap_or(0);
                    }
                });
            }
            for _ in 0..10 {
                let mut client = Client::tcp(address);
                client.send("GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
                assert_eq!(client.answer().ok(), "ok");
            }
            over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn a_slow_head_is_given_up() {
    let server = router(&format!("http-headers-timeout = 1\nhttp-to = {}", nobody()));
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost:");
    assert_eq!(client.answer().status, 408);
    let mut bomb = server.connect();
    let _ = bomb.try_send(format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000)).as_bytes());
    assert_eq!(bomb.answer().status, 431);
}

#[test]
fn a_router_that_dies_comes_back() {
    let server = start(site("control.py").ini("http-processes = 2"));
    server.wait_for("http 2 (pid ");
    let first = routers(&server)[0];
    first.signal(Signal::SIGKILL);
    eventually("another router", || (routers(&server).len() == 2 && !first.alive()).then_some(()));
    assert_eq!(server.get("/").ok(), "hello");
    server.wait_for("killed by signal 9: the next one comes now");
    server.stop();
}

#[test]
fn a_stop_waits_for_what_goes_through_the_router() {
    let server = start(site("control.py"));
    let mut client = server.connect();
    client.send("GET /gate/open HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at open");
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping");
    server.open_gate("open");
    let answer = client.answer();
    assert_eq!((answer.ok(), answer.field("connection")), ("behind open", Some("close")));
    assert_eq!(server.wait().code, 0);
}

#[test]
fn reloads_lose_no_request() {
    let server = start(site("control.py").ini("processes = 2"));
    let before = routers(&server);
    let answered = under_load(&server, || {
        server.signal(Signal::SIGHUP);
        server.wait_for("generation 2 is complete");
        assert_eq!(routers(&server), before, "nothing about it has changed");
        let ini = server.site.write_ini();
        let text = std::fs::read_to_string(&ini).unwrap();
        server.site.write("uwsgi.ini", &format!("{text}http-var = NEW=1\n"));
        server.signal(Signal::SIGHUP);
        server.wait_for("generation 3 is complete");
        eventually("the former router ends", || (!before[0].alive()).then_some(()));
    });
    assert!(answered > 50, "{answered} requests");
    assert_ne!(routers(&server), before);
    server.stop();
}

#[test]
fn what_can_t_be_routed_does_not_start() {
    let run = |ini: &str| Site::empty().ini("http = 127.0.0.1:0").ini(ini).run();
    run("http-to = nowhere:99999").failed(1, &["http-to", "nowhere:99999", "uwsgi.ini:3"]);
    run("http-use-pattern = /run/app.sock").failed(1, &["http-use-pattern", "%s", "uwsgi.ini:3"]);
    run("http-use-socket = 4\nuwsgi-socket = a.sock").failed(1, &["http-use-socket", "no socket 4", "uwsgi.ini:3"]);
    run("http-to = 127.0.0.1:1\nhttp-uid = nobody-like-that").failed(1, &["http-uid", "nobody-like-that"]);
    let reload = router("http-to = 127.0.0.1:1");
    reload.site.write("uwsgi.ini", "[uwsgi]\nhttp = 127.0.0.1:0\nhttp-to = a:b\n");
    reload.signal(Signal::SIGHUP);
    let told = reload.wait_for("reload: generation 2 failed");
    assert!(told.contains("http-to: \"a:b\""), "{told}");
    assert_eq!(reload.get("/").status, 503, "the former one goes on");
}

#[test]
fn backends_are_found_by_the_host() {
    let site = Site::empty().ini("wsgi-file = app.py\nuwsgi-socket = one.example.sock");
    std::fs::copy(app("control.py"), site.path("app.py")).unwrap();
    let backend = site.start();
    let folder = backend.path("");
    // In a file, %s has a meaning of its own.
    let pattern = format!("--http-use-pattern={}%s.sock", folder.display());
    let server = Site::empty().launch_with(["--http", "127.0.0.1:0", &pattern]);
    server.wait_for("http 1 (pid ");
    let ask = |host: &str| server.answer_to(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status;
    assert_eq!([ask("one.example"), ask("two.example"), ask("..%2f..")], [200, 503, 400]);
    let server = router(&format!("http-use-base = {}", folder.display()));
    let ask = |host: &str| server.answer_to(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status;
    assert_eq!([ask("one.example.sock"), ask("one.example")], [200, 503]);
}

#[test]
fn statistics_are_told() {
    let server = start(site("control.py").ini("http-stats = stats.sock"));
    server.get("/");
    let _kept = server.connect().get("/");
    let told: serde_json::Value = serde_json::from_slice(&Client::unix(&server.path("stats.sock")).rest()).unwrap();
    assert_eq!(told["pid"], routers(&server)[0].pid);
    assert_eq!(told["http"][0], server.address().to_string());
    assert_eq!((&told["static_nodes"][0]["hits"], &told["requests"]), (&2.into(), &2.into()), "{told}");
}

#[test]
fn real_uwsgi_serves_behind_the_router() {
    let Some(theirs) = real_uwsgi("control.py") else { return };
    let server = router(&format!("http-to = {}", theirs.path("app.sock").display()));
    let mut client = server.connect();
    assert_eq!(client.get("/").ok(), "hello");
    assert_eq!(client.post("/read", "abc").ok(), "3");
    client.send("POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    assert_eq!(client.answer().ok(), "3");
    assert_eq!(client.get("/source/5").body.len(), 500_000);
}

#[test]
fn the_router_of_real_uwsgi_reaches_our_workers() {
    let Some(uwsgi) = program("uwsgi") else { return };
    let site = Site::empty().ini("wsgi-file = app.py\nuwsgi-socket = app.sock");
    std::fs::copy(app("control.py"), site.path("app.py")).unwrap();
    let ours = site.start();
    let address = crate::harness::apps::loopback(8000);
    let theirs = Site::empty();
    let mut command = Command::new(uwsgi);
    command.args(["--http", &address.to_string(), "--http-to", ours.path("app.sock").to_str().unwrap()]);
    command.args(["--http-keepalive", "--http-auto-chunked", "--master"]);
    theirs.dress(&mut command);
    let _front = Server::of(command, theirs);
    eventually("the router listens", || std::net::TcpStream::connect(address).ok());
    let mut client = Client::tcp(address);
    assert_eq!(client.get("/").ok(), "hello");
    assert_eq!(client.post("/read", "abc").ok(), "3");
}

#[test]
fn a_full_queue_is_no_failure() {
    let site = Site::empty().ini("wsgi-file = app.py\nuwsgi-socket = app.sock\nlisten = 1");
    std::fs::copy(app("control.py"), site.path("app.py")).unwrap();
    let backend = site.start();
    let server = router(&format!("http-to = {}", backend.path("app.sock").display()));
    let worker = backend.workers()[0];
    worker.signal(Signal::SIGSTOP);
    let mut clients: Vec<Client> = (0..12).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    }
    assert!(clients[11].read_within(Duration::from_millis(300)).is_none(), "it waits for room");
    worker.signal(Signal::SIGCONT);
    for client in &mut clients {
        assert_eq!(client.answer().ok(), "hello");
    }
}
