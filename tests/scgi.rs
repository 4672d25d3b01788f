//! SCGI from outside: netstrings to the real server.

use crate::gateways::site;
use crate::harness::Server;
use crate::harness::packet::{scgi, vars};

fn serve() -> Server {
    site("control.py").ini("scgi-socket = 127.0.0.1:0\nstatic-map = /app.py=app.py").start()
}

/// One request, and what comes until the connection ends.
fn ask(server: &Server, method: &str, path: &str, body: &[u8]) -> String {
    let mut client = server.connect();
    client.send(scgi(&vars(method, path, &[]), body));
    String::from_utf8(client.rest()).unwrap()
}

#[test]
fn an_answer_is_one_of_cgi() {
    let server = serve();
    let plain =
        |length: &str| format!("Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(ask(&server, "GET", "/", b""), plain("5") + "hello");
    assert_eq!(ask(&server, "HEAD", "/", b""), plain("5"));
    for size in [0, 1, 3_000_000] {
        assert_eq!(ask(&server, "POST", "/read", &vec![b'x'; size]).lines().last(), Some(&*size.to_string()));
    }
    assert!(ask(&server, "GET", "/source/20", b"").ends_with(&"x".repeat(2_000_000)));
    let file = ask(&server, "GET", "/app.py", b"");
    assert!(file.starts_with("Status: 200 OK\r\n") && file.ends_with("\"hello\")\n"), "{file}");
}

#[test]
fn what_is_refused_is_told() {
    let server = serve();
    let mut client = server.connect();
    client.send(scgi(&vars("GET", "/", &[("HTTP_HOST", "a"), ("HTTP_HOST", "b")]), b""));
    assert!(client.rest().starts_with(b"Status: 400 Bad Request\r\n"));
    server.wait_for("two variables with one name");
    server.connect().send("GET / HTTP/1.1\r\n").closed();
}

#[test]
fn protocol_names_it_for_plain_sockets() {
    let server = site("hello.py").ini("socket = 127.0.0.1:0\nprotocol = scgi-nph").start();
    let answer = ask(&server, "GET", "/", b"");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("Hello, world!"), "{answer}");
}
