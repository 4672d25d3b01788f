//! The uwsgi protocol from outside: packets to the real server, next to real uWSGI and behind nginx where they are
//! installed.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use serde_json::Value;

use crate::harness::packet::{ask_unix, nginx, packet, real_uwsgi, request};
use crate::harness::{Answer, Client, Server, Site, app};

/// With `tests/apps/NAME`, and nothing to listen on yet.
fn site(name: &str) -> Site {
    let site = Site::empty().ini("wsgi-file = app.py");
    std::fs::copy(app(name), site.path("app.py")).unwrap();
    site
}

fn serve(name: &str) -> Server {
    site(name).ini("socket = 127.0.0.1:0").start()
}

/// One request, its answer, and the end of the connection.
fn ask(server: &Server, raw: impl AsRef<[u8]>) -> Answer {
    let mut client = server.connect();
    let answer = client.send(raw).answer();
    client.closed();
    answer
}

fn seen(answer: &Answer) -> Value {
    answer.json()["env"].clone()
}

/// Sends what must get no answer at all; the line of the log that says why.
fn ignored(server: &Server, raw: &[u8], why: &str) {
    let mut client = server.connect();
    client.send(raw).closed();
    let line = server.wait_for(why);
    assert!(line.contains("closed without an answer"), "{line}");
}

#[test]
fn the_environ_is_the_one_of_uwsgi() {
    let ours = site("conformance.py").ini("socket = app.sock").start();
    let Some(theirs) = real_uwsgi("conformance.py") else { return };
    let hello = b"hello, world";
    let bare = [("REQUEST_METHOD", "GET"), ("SERVER_NAME", "a"), ("SERVER_PORT", "1"), ("SERVER_PROTOCOL", "HTTP/1.1")];
    let twice = [("HTTP_X", "1"), ("HTTP_X", "2"), ("PATH_INFO", "/first"), ("PATH_INFO", "/last")];
    let packets = [
        request("GET", "/", &[]),
        request("GET", "/dir/page?a=b&c", &[("HTTP_X_EMPTY", ""), ("HTTPS", "on"), ("SERVER_PROTOCOL", "HTTP/1.0")]),
        request(
            "GET",
            "/",
            &[("HTTPS", "off"), ("SCRIPT_NAME", ""), ("REMOTE_USER", "me"), ("PATH_INFO", "/caf\u{e9}")],
        ),
        request("GET", "/", &[("UWSGI_SCHEME", "https"), ("http_x", "lower"), ("BIN", "\0\u{1}\r\n\u{ff}")]),
        [&request("POST", "/", &[("CONTENT_LENGTH", "5"), ("CONTENT_TYPE", "text/plain")])[..], hello].concat(),
        packet(0, &bare),
        request("GET", "/a%20b?c=d", &[("HTTP_X_FORWARDED_PROTO", "https"), ("HTTP_COOKIE", "a=b")]),
        request("GET", "/", &twice),
    ];
    for raw in packets {
        let [mut ours, theirs] = [&ours, &theirs].map(|server| {
            let answer = String::from_utf8(ask_unix(&server.path("app.sock"), &raw)).unwrap();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
            let fields: Vec<String> = head.lines().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
            (fields, serde_json::from_str::<Value>(body).unwrap())
        });
        ours.1["env"].as_object_mut().unwrap().remove("SERVER_SOFTWARE").expect("our name");
        assert_eq!(ours, theirs, "{:?}", String::from_utf8_lossy(&raw));
    }
    let sizes = |server: &Server| -> Vec<String> {
        let text = server.log.text();
        let line = |line: &str| Some(line.split_once("] ")?.1.split_once("} [")?.0.to_owned());
        text.lines().filter(|line| line.starts_with("[pid: ")).filter_map(line).collect()
    };
    theirs.log.wait_for_nth("[pid: ", 8);
    ours.log.wait_for_nth("[pid: ", 8);
    // Of two variables with one name, only uWSGI counts both.
    assert_eq!(sizes(&ours)[..7], sizes(&theirs)[..7], "the request lines");
}

#[test]
fn what_the_packet_does_not_say() {
    let server = serve("conformance.py");
    let env = seen(&ask(&server, packet(0, &[("REQUEST_METHOD", "GET"), ("SERVER_PROTOCOL", "HTTP/1.1")])));
    // PEP 3333 wants these two; who the client is nobody knows.
    assert_eq!(env["SERVER_PORT"], server.address().port().to_string());
    assert!(!env["SERVER_NAME"].as_str().unwrap().is_empty());
    for name in ["REMOTE_ADDR", "REMOTE_PORT", "PATH_INFO", "SCRIPT_NAME"] {
        assert_eq!(env[name], Value::Null, "{name}");
    }
    let env = seen(&ask(&server, request("GET", "/", &[])));
    assert_eq!((&env["SERVER_NAME"], &env["SERVER_PORT"]), (&"example.com".into(), &"80".into()));
    assert_eq!((&env["REMOTE_ADDR"], &env["REMOTE_PORT"]), (&"192.0.2.1".into(), &"54321".into()));
    assert_eq!(seen(&ask(&server, request("GET", "/", &[("HTTP_PROXY", "evil")])))["HTTP_PROXY"], Value::Null);
}

#[test]
fn the_scheme_is_that_of_the_front_end() {
    let server = serve("conformance.py");
    for (said, scheme) in [
        (&[][..], "http"),
        (&[("HTTPS", "on")], "https"),
        (&[("HTTPS", "1")], "https"),
        (&[("HTTPS", "off")], "http"),
        (&[("REQUEST_SCHEME", "https")], "https"),
        (&[("UWSGI_SCHEME", "https")], "https"),
        (&[("UWSGI_SCHEME", "http"), ("HTTPS", "on")], "http"),
        // This client is on the loopback.
        (&[("HTTP_X_FORWARDED_PROTO", "https")], "https"),
        (&[("HTTP_X_FORWARDED_SSL", "on")], "https"),
        (&[("HTTP_X_FORWARDED_PROTO", "http"), ("HTTPS", "on")], "http"),
        // A client can send one, and the front end knows better.
        (&[("HTTP_X_FORWARDED_PROTO", "http"), ("UWSGI_SCHEME", "https")], "https"),
    ] {
        assert_eq!(seen(&ask(&server, request("GET", "/", said)))["wsgi.url_scheme"], scheme, "{said:?}");
    }
}

#[test]
fn modifier_30_takes_the_script_name_from_the_path() {
    let server = serve("conformance.py");
    let said =
        [("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", "/app"), ("PATH_INFO", "/app/x"), ("SERVER_PROTOCOL", "HTTP/1.1")];
    assert_eq!(seen(&ask(&server, packet(30, &said)))["PATH_INFO"], "/x");
    assert_eq!(seen(&ask(&server, packet(0, &said)))["PATH_INFO"], "/app/x");
}

#[test]
fn a_response_is_the_applications_and_the_connection_ends() {
    let server = serve("shapes.py");
    let answer = ask(&server, request("GET", "/one-piece", &[]));
    assert_eq!(answer.head, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
    assert_eq!(answer.text(), "piece");
    let old = ask(&server, request("GET", "/pieces", &[("SERVER_PROTOCOL", "HTTP/1.0")]));
    assert_eq!((&*old.version, old.text()), ("HTTP/1.0", "one two three"));
    assert_eq!(old.head, b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n");
    let mut client = server.connect();
    let newer = client.send(request("GET", "/generator", &[("SERVER_PROTOCOL", "HTTP/2.0")])).rest();
    assert_eq!(newer, b"HTTP/2.0 200 OK\r\nContent-Type: text/plain\r\n\r\ngenerated in parts");

    let cut = ask(&server, request("GET", "/too-long", &[]));
    assert_eq!(cut.text(), "four");
    let head = server.connect().send(request("HEAD", "/one-piece", &[])).rest();
    assert_eq!(head, b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\n");
    let none = server.connect().send(request("GET", "/body-on-204", &[])).rest();
    assert_eq!(none, b"HTTP/1.1 204 No Content\r\n\r\n");

    let failed = ask(&server, request("GET", "/fail", &[]));
    assert_eq!((failed.status, failed.field("date")), (500, None));
    server.wait_for("failed on purpose");
    assert_eq!(ask(&server, request("GET", "/split-field", &[])).status, 500);
}

#[test]
fn one_request_is_all_that_a_connection_has() {
    let server = serve("hello.py");
    let two = [request("GET", "/one", &[]), request("GET", "/two", &[])].concat();
    let rest = server.connect().send(two).rest();
    assert_eq!(String::from_utf8_lossy(&rest).matches("HTTP/1.1").count(), 1);
    server.wait_for("GET /one");
    ask(&server, request("GET", "/three", &[]));
    server.wait_for("GET /three");
    assert!(!server.log.text().contains("/two"));
}

#[test]
fn a_ping_is_answered() {
    let server = site("hello.py").ini("socket = 127.0.0.1:0\nsocket = app.sock").start();
    let mut client = server.connect();
    assert_eq!(client.send(packet::<&str, &str>(100, &[])).rest(), [100, 0, 0, 1]);
    assert_eq!(ask_unix(&server.path("app.sock"), &packet(100, &[("A", "b")])), [100, 0, 0, 1]);
    assert!(!server.log.text().contains("[pid: "), "it is no request");
}

#[test]
fn what_is_no_request_gets_nothing() {
    let server = serve("hello.py");
    ignored(&server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP on a socket that speaks uwsgi");
    for raw in [&b"\x16\x08\0\0print(1)"[..], b"\x16\x03\x01\x02\0\x01", b"\0\x09\0\0\x0e\0REQUEST"] {
        server.connect().send(raw).closed();
    }
    assert_eq!(ask(&server, request("GET", "/", &[])).ok(), "Hello, world!");
}

#[test]
fn other_kinds_of_packets_are_told() {
    ignored(&serve("hello.py"), &packet(9, &[("REQUEST_METHOD", "GET")]), "modifier1 9");
}

#[test]
fn what_is_wrong_with_a_request_is_said_in_http() {
    let server = site("hello.py").ini("socket = 127.0.0.1:0\nbuffer-size = 4096\nsocket-timeout = 1").start();
    for (said, status) in [
        // The first one of a second is told.
        (("HTTP_X", &*"x".repeat(4096)), 431),
        (("wsgi.input", "x"), 400),
        (("UWSGI_FILE", "exec://id"), 400),
        (("CONTENT_LENGTH", "5x"), 400),
        (("CONTENT_LENGTH", "18446744073709551621"), 413),
        (("HTTP_X", "a\r\nb"), 400),
        (("REQUEST_METHOD", ""), 400),
    ] {
        let answer = ask(&server, request("GET", "/behind", &[said]));
        assert_eq!((answer.status, answer.field("date")), (status, None), "{said:?}");
    }
    let begun = &request("GET", "/behind", &[])[..40];
    assert_eq!(ask(&server, begun).status, 408);
    let waiting = [&request("POST", "/behind", &[("CONTENT_LENGTH", "10")])[..], b"12345"].concat();
    assert_eq!(ask(&server, waiting).status, 408);
    server.wait_for("buffer-size = 4096");
    assert_eq!(ask(&server, request("GET", "/", &[])).ok(), "Hello, world!");
    assert!(!server.log.text().contains("/behind"), "no application ran");
}

#[test]
fn an_instruction_is_named_in_the_log() {
    let server = serve("hello.py");
    assert_eq!(ask(&server, request("GET", "/", &[("UWSGI_SCRIPT", "evil")])).status, 400);
    assert!(server.wait_for("UWSGI_SCRIPT").contains("instruction"));
}

#[test]
fn large_bodies_in_both_directions() {
    let server = serve("control.py");
    for length in [60_000, 1024 * 1024, 5_000_000] {
        let head = request("POST", "/read", &[("CONTENT_LENGTH", &length.to_string())]);
        let mut client = server.connect();
        client.send(head);
        for piece in vec![b'x'; length].chunks(100_000) {
            client.send(piece);
        }
        assert_eq!(client.answer().ok(), length.to_string());
        client.closed();
    }
    let answer = ask(&server, request("GET", "/size/3000000", &[]));
    assert_eq!(answer.body.len(), 3_000_000);
    let unread = [request("POST", "/", &[("CONTENT_LENGTH", "500000")]), vec![b'x'; 500_000]].concat();
    assert_eq!(ask(&server, unread).ok(), "hello");
}

#[test]
fn a_client_that_leaves_in_its_body_costs_nothing() {
    let server = serve("control.py");
    let raw = [&request("POST", "/read", &[("CONTENT_LENGTH", "10")])[..], b"12345"].concat();
    server.connect().send(raw).finish_sending().closed();
    assert_eq!(ask(&server, request("GET", "/", &[])).ok(), "hello");
    assert!(!server.log.text().contains("/read"));
}

#[test]
fn every_kind_of_address() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("ruwsgi-uwsgi-{}", std::process::id());
    let has_v6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let v6 = if has_v6 { "\nsocket = [::1]:0" } else { "" };
    let site = site("hello.py").ini(&format!("uwsgi-socket = 127.0.0.1:0{v6}\nsocket = @{name}\nsocket = app.sock"));
    let server = site.start();
    for address in server.addresses() {
        assert_eq!(Client::tcp(address).send(request("GET", "/", &[])).answer().ok(), "Hello, world!", "{address}");
    }
    assert_eq!(server.addresses().len(), 1 + usize::from(has_v6));
    let abstract_name = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let stream = std::os::unix::net::UnixStream::connect_addr(&abstract_name).unwrap();
    assert_eq!(Client::from(stream).send(request("GET", "/", &[])).answer().ok(), "Hello, world!");
    let path = server.path("app.sock");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    assert!(ask_unix(&path, &request("GET", "/", &[])).ends_with(b"Hello, world!"));
    assert!(server.log.text().contains("uwsgi-socket on 127.0.0.1:"));
    server.stop();
    assert!(!path.exists());
}

#[test]
fn unix_sockets_can_be_names_without_files() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("ruwsgi-plain-{}", std::process::id());
    let server = site("hello.py").ini(&format!("abstract-socket = true\nsocket = {name}")).start();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
    assert_eq!(Client::from(stream).send(request("GET", "/", &[])).answer().ok(), "Hello, world!");
    assert!(!server.path(&name).exists());
}

#[test]
fn plain_sockets_speak_the_protocol_that_is_named() {
    let server = site("hello.py").ini("socket = 127.0.0.1:0\nprotocol = http\nuwsgi-socket = app.sock").start();
    assert_eq!(server.get("/").ok(), "Hello, world!");
    assert!(ask_unix(&server.path("app.sock"), &request("GET", "/", &[])).ends_with(b"Hello, world!"));
    for (name, words) in [("raw", "not built yet"), ("gopher", "no protocol")] {
        let ended = site("hello.py").ini(&format!("socket = 127.0.0.1:0\nprotocol = {name}")).run();
        assert_eq!(ended.code, 1);
        assert!(ended.log.contains("protocol: ") && ended.log.contains(words) && ended.log.contains("uwsgi.ini:4"));
    }
}

#[test]
fn unix_sockets_are_given_away_before_the_privileges_are() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: not tested");
        return;
    }
    // The folder is root's: who serves could make nothing in it.
    let python = ["/usr/bin", "/usr/local/bin"].into_iter().find(|dir| Path::new(dir).join("python3").exists());
    let Some(python) = python else { return };
    let site = site("hello.py").env("PATH", python).ini("socket = app.sock\nchown-socket = 65533:65532\nuid = 65534");
    let server = site.start();
    let path = server.path("app.sock");
    let file = std::fs::metadata(&path).unwrap();
    assert_eq!((file.uid(), file.gid(), file.permissions().mode() & 0o777), (65533, 65532, 0o660));
    assert_eq!(server.workers()[0].status("Uid").unwrap().split_whitespace().next(), Some("65534"));
    assert!(ask_unix(&path, &request("GET", "/", &[])).ends_with(b"Hello, world!"));
}

#[test]
fn an_owner_that_is_not_there_is_told_with_its_place() {
    for (said, word) in [("no-such-user", "user \"no-such-user\""), ("0:no-such-group", "group \"no-such-group\"")] {
        let ended = site("hello.py").ini(&format!("socket = app.sock\nchown-socket = {said}")).run();
        ended.failed(1, &["chown-socket", word, "uwsgi.ini:4"]);
    }
    if !nix::unistd::geteuid().is_root() {
        let mut gone = site("hello.py").ini("socket = app.sock\nchown-socket = 0:0").launch();
        gone.wait_here().failed(1, &["chown-socket", "0:0"]);
        assert!(!gone.path("app.sock").exists());
    }
}

/// Connects to nginx.
fn through(nginx: &Server) -> Client {
    Client::unix(&nginx.path("nginx.sock"))
}

fn nginx_in_front(upstream: &str) {
    if let Some(nginx) = nginx(upstream) {
        works_through(&nginx);
    }
}

/// Whatever nginx speaks to the server behind it, which has `tests/apps/control.py`, its clients see the same.
pub fn works_through(nginx: &Server) {
    let mut client = through(nginx);
    for path in ["/pid", "/size/0", "/size/100000", "/size/2000000"] {
        let answer = client.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.field("connection"), Some("keep-alive"), "{path}");
    }
    assert_eq!(client.get("/size/2000000").body.len(), 2_000_000);
    for length in [0, 5, 100_000, 3_000_000] {
        assert_eq!(client.post("/read", vec![b'x'; length]).ok(), length.to_string());
    }
    client.send("POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    assert_eq!(client.answer().ok(), "5");
    client.send("HEAD /size/10 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("content-length"), Some("10"));
    let old = through(nginx).send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!(old.ok(), "hello");
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(through(nginx).send(large).answer().status, 431, "our word, not a 502");
    assert_eq!(client.get("/gate").status, 500);
    assert_eq!(client.get("/").ok(), "hello");
}

#[test]
fn behind_nginx_over_tcp() {
    let server = site("control.py").ini("socket = 127.0.0.1:0\nprocesses = 2").start();
    nginx_in_front(&server.address().to_string());
}

#[test]
fn behind_nginx_over_a_unix_socket() {
    let server = site("control.py").ini("socket = app.sock\nprocesses = 2").start();
    nginx_in_front(&format!("unix:{}", server.path("app.sock").display()));
}

#[test]
fn a_reload_behind_nginx_loses_no_request() {
    let server = site("control.py").ini("socket = app.sock\nprocesses = 2").start();
    let Some(nginx) = nginx(&format!("unix:{}", server.path("app.sock").display())) else { return };
    let mut client = through(&nginx);
    assert_eq!(client.get("/").ok(), "hello");
    let before = server.births();
    server.signal(nix::sys::signal::Signal::SIGHUP);
    while server.births() < before + 2 {
        // nginx closes a connection after its thousandth request.
        client = through(&nginx);
        assert_eq!(client.get("/").ok(), "hello");
    }
    assert_eq!(client.get("/").ok(), "hello");
}
