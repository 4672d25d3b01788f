//! HTTP/1.0 and 1.1 as clients see it: framing, keep-alive, pipelining, several sockets.

use std::os::unix::fs::PermissionsExt;

use crate::harness::{Client, Site, serve};

#[test]
fn a_get_is_answered() {
    let server = serve("hello.py");
    let answer = server.connect().get("/");
    assert_eq!((answer.status, answer.reason.as_str(), answer.version.as_str()), (200, "OK", "HTTP/1.1"));
    assert_eq!(answer.text(), "Hello, world!");
    assert_eq!(answer.field("content-length"), Some("13"));
    assert_eq!(answer.field("content-type"), Some("text/plain"));
    assert!(answer.field("date").unwrap().ends_with(" GMT"));
    assert_eq!(answer.field("server"), None);
    assert_eq!(answer.field("connection"), None);
    assert_eq!(answer.field("transfer-encoding"), None);
}

#[test]
fn one_connection_carries_many_requests() {
    let server = serve("hello.py");
    let mut client = server.connect();
    for _ in 0..50 {
        assert_eq!(client.get("/").ok(), "Hello, world!");
    }
    assert!(client.is_quiet());
}

#[test]
fn a_client_that_asks_for_the_end_gets_it() {
    let server = serve("hello.py");
    let mut client = server.connect();
    let answer = client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\n\r\n").answer();
    assert_eq!(answer.ok(), "Hello, world!");
    assert_eq!(answer.field("connection"), Some("close"));
    client.closed();
}

#[test]
fn http_1_0_ends_unless_it_asks_to_go_on() {
    let server = serve("hello.py");
    let mut client = server.connect();
    let answer = client.send("GET / HTTP/1.0\r\n\r\n").answer();
    assert_eq!((answer.version.as_str(), answer.ok()), ("HTTP/1.0", "Hello, world!"));
    client.closed();

    let mut client = server.connect();
    for _ in 0..2 {
        let answer = client.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
        assert_eq!(answer.ok(), "Hello, world!");
        assert_eq!(answer.field("connection").map(str::to_lowercase).as_deref(), Some("keep-alive"));
    }
}

#[test]
fn http_1_0_never_gets_chunks() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    let answer = client.send("GET /pieces HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").answer();
    assert_eq!(answer.ok(), "one two three");
    assert_eq!(answer.field("transfer-encoding"), None);
    if answer.field("content-length").is_none() {
        client.closed();
    }
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let server = serve("inspect.py");
    let mut client = server.connect();
    let requests: String = (0..20).map(|number| format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    client.send(requests);
    for number in 0..20 {
        assert_eq!(client.answer().json()["env"]["PATH_INFO"], format!("/{number}"));
    }
}

#[test]
fn a_pipelined_request_waits_behind_a_body() {
    let server = serve("inspect.py");
    let mut client = server.connect();
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyPOST /b?nothing HTTP/1.1\r\nHost: a\r\n");
    assert_eq!(client.answer().json()["pieces"][0], "body");
    client.send("Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET /c HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer().json()["env"]["PATH_INFO"], "/b");
    assert_eq!(client.answer().json()["env"]["PATH_INFO"], "/c");
}

#[test]
fn a_request_in_single_bytes_is_one_request() {
    let server = serve("inspect.py");
    let mut client = server.connect();
    let request =
        b"POST /x?whole HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n";
    for byte in request {
        client.send([*byte]);
    }
    assert_eq!(client.answer().json()["pieces"][0], "abc");
}

#[test]
fn a_response_of_unknown_length_comes_in_chunks() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    let answer = client.get("/generator");
    assert_eq!((answer.ok(), answer.field("transfer-encoding")), ("generated in parts", Some("chunked")));
    // What is there at once may be sent as one.
    assert_eq!(client.get("/pieces").ok(), "one two three");
    assert!(client.is_quiet());
}

#[test]
fn a_response_of_one_piece_gets_its_length() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    let answer = client.get("/no-length");
    assert_eq!(answer.ok(), "one piece needs no chunks");
    assert_eq!(answer.field("content-length"), Some("25"));
    let answer = client.get("/empty-list");
    assert_eq!((answer.ok(), answer.field("content-length")), ("", Some("0")));
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    for path in ["/one-piece", "/pieces", "/generator", "/write-only", "/no-content"] {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        let answer = client.answer_head();
        assert!(matches!(answer.status, 200 | 204), "{path}: {answer:?}");
        assert!(client.is_quiet(), "{path}: something followed the head");
    }
    client.send("HEAD /one-piece HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("content-length"), Some("5"));
}

#[test]
fn a_204_and_a_304_have_no_body_whatever_the_application_returns() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    for path in ["/no-content", "/body-on-204", "/not-modified"] {
        let answer = client.get(path);
        assert!(matches!(answer.status, 204 | 304), "{answer:?}");
        assert_eq!(answer.field("transfer-encoding"), None);
        assert!(answer.status != 204 || answer.field("content-length").is_none());
        assert!(client.is_quiet(), "{path}: something followed the head");
    }
    assert_eq!(client.get("/one-piece").ok(), "piece");
}

#[test]
fn a_body_longer_than_its_content_length_is_cut() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    let answer = client.get("/too-long");
    assert_eq!((answer.ok(), answer.field("content-length")), ("four", Some("4")));
    assert!(client.is_quiet());
    assert_eq!(client.get("/one-piece").ok(), "piece");
}

#[test]
fn a_body_shorter_than_its_content_length_ends_the_connection() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    client.send("GET /too-short HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("content-length"), Some("10"));
    assert_eq!(client.rest(), b"short");
}

#[test]
fn an_application_can_end_the_connection() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    let answer = client.get("/says-close");
    assert_eq!((answer.ok(), answer.field("connection")), ("last", Some("close")));
    client.closed();
}

#[test]
fn a_large_response_arrives_whole() {
    let server = serve("shapes.py");
    let answer = server.connect().get("/big");
    assert_eq!(answer.body.len(), 64 * 65536);
    assert!(
        answer.body.chunks(65536).enumerate().all(|(n, part)| part.iter().all(|byte| *byte == b'a' + n as u8 % 26))
    );
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let server = serve("hello.py");
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").finish_sending();
    assert_eq!(client.answer().ok(), "Hello, world!");
    assert_eq!(client.answer().ok(), "Hello, world!");
    client.closed();
}

#[test]
fn a_client_that_half_closes_in_a_request_is_not_served() {
    let server = serve("inspect.py");
    let halves = [
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    ];
    for half in halves {
        let rest = server.connect().send(half).finish_sending().rest();
        assert!(!rest.starts_with(b"HTTP/1.1 2"), "{half:?}: {:?}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_client_that_waits_for_continue_is_told_to() {
    let server = serve("inspect.py");
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.answer().status, 100);
    assert_eq!(client.send("body").answer().json()["pieces"][0], "body");
    assert!(client.is_quiet());
}

#[test]
fn a_body_that_nobody_reads_does_not_become_a_request() {
    let server = serve("inspect.py");
    let mut client = server.connect();
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = format!("POST /first?nothing HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", smuggled.len());
    client.send(format!("{head}{smuggled}GET /second HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert_eq!(client.answer().json()["env"]["PATH_INFO"], "/first");
    assert_eq!(client.answer().json()["env"]["PATH_INFO"], "/second");
}

#[test]
fn keep_alive_can_be_switched_off() {
    let server = Site::app("hello.py").ini("http-keepalive = 0").start();
    let mut client = server.connect();
    let answer = client.get("/");
    assert_eq!((answer.ok(), answer.field("connection")), ("Hello, world!", Some("close")));
    client.closed();
}

#[test]
fn an_idle_connection_ends_when_its_time_is_over() {
    let server = Site::app("hello.py").ini("http-keepalive = 2").start();
    let mut client = server.connect();
    client.get("/").ok();
    client.closed();
}

#[test]
fn a_unix_socket_serves() {
    let site = Site::empty().ini("http-socket = app.sock").ini("wsgi-file = app.py");
    site.write("app.py", include_str!("apps/inspect.py"));
    let server = site.start();
    let path = server.path("app.sock");
    let answer = Client::unix(&path).get("/over/unix");
    assert_eq!(answer.json()["env"]["PATH_INFO"], "/over/unix");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    server.stop();
    assert!(!path.exists());
}

#[test]
fn several_sockets_serve_the_same_application() {
    let site = Site::app("hello.py").ini("http = 127.0.0.1:0\nhttp11-socket = 127.0.0.1:0\nhttp-socket = app.sock");
    let server = site.ini("chmod-socket = 666").start();
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 3, "{}", server.log.text());
    for address in addresses {
        assert_eq!(Client::tcp(address).get("/").ok(), "Hello, world!");
    }
    let path = server.path("app.sock");
    assert_eq!(Client::unix(&path).get("/").ok(), "Hello, world!");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o666);
}

#[test]
fn an_ipv6_socket_serves() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("no IPv6 here: not tested");
        return;
    }
    let site = Site::empty().ini("http-socket = [::1]:0").ini("wsgi-file = app.py");
    site.write("app.py", include_str!("apps/inspect.py"));
    let server = site.start();
    let answer = server.get("/").json();
    assert_eq!(answer["env"]["REMOTE_ADDR"], "::1");
    assert_eq!(answer["env"]["SERVER_PORT"], server.address().port().to_string());
}

#[test]
fn an_abstract_socket_serves() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("ruwsgi-test-{}", std::process::id());
    let site = Site::empty().ini(&format!("http-socket = @{name}")).ini("wsgi-file = app.py");
    site.write("app.py", include_str!("apps/hello.py"));
    let _server = site.start();
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let stream = std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
    assert_eq!(Client::from(stream).get("/").ok(), "Hello, world!");
}

#[test]
fn clients_at_once_are_all_answered() {
    let server = Site::app("hello.py").ini("processes = 2\nthreads = 2").start();
    let address = server.address();
    std::thread::scope(|scope| {
        for number in 0..16 {
            scope.spawn(move || {
                let mut client = Client::tcp(address);
                for _ in 0..40 {
                    assert_eq!(client.get("/").ok(), "Hello, world!");
                    if number % 2 == 1 {
                        client = Client::tcp(address);
                    }
                }
            });
        }
    });
}
