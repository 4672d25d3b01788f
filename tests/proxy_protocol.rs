//! The PROXY protocol from outside: who the client is, and what becomes of connections that say it wrong.

use crate::gateways::site;
use crate::harness::packet::{fastcgi, fastcgi_answer, request, vars};
use crate::harness::{Client, Server};

const LINE: &str = "PROXY TCP4 192.0.2.7 198.51.100.1 54321 443\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Version 2 of the same.
fn block() -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0xd4, 0x31, 1, 0xbb];
    [&b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..], &addresses].concat()
}

fn serve() -> Server {
    site("conformance.py").ini("http-socket = 127.0.0.1:0\nenable-proxy-protocol = true").start()
}

#[test]
fn the_client_is_whom_the_header_names() {
    let server = serve();
    for header in [LINE.as_bytes(), &block()] {
        let mut client = server.connect();
        client.send(header);
        for _ in 0..2 {
            let env = client.send(GET).answer().json()["env"].clone();
            assert_eq!((env["REMOTE_ADDR"].as_str(), env["REMOTE_PORT"].as_str()), (Some("192.0.2.7"), Some("54321")));
            assert_eq!((env["SERVER_ADDR"].as_str(), env["SERVER_PORT"].as_str()), (Some("198.51.100.1"), Some("443")));
        }
    }
    server.wait_for("] 192.0.2.7 (");
    // The load balancer speaks for itself.
    for header in ["PROXY UNKNOWN\r\n", "\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let env = server.answer_to(format!("{header}{GET}")).json()["env"].clone();
        assert_eq!((env["REMOTE_ADDR"].as_str(), &env["SERVER_ADDR"]), (Some("127.0.0.1"), &serde_json::Value::Null));
    }
}

#[test]
fn what_the_client_says_about_proxies_is_not_believed() {
    let server = serve();
    let raw = format!("{LINE}GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n");
    assert_eq!(server.answer_to(raw).json()["env"]["wsgi.url_scheme"], "http");
    server.wait_for("X-Forwarded-Proto from 192.0.2.7 is ignored");
}

#[test]
fn a_connection_without_a_right_header_is_closed() {
    let server = serve();
    for raw in [GET, "PROXY TCP4 192.0.2.7\r\n", "PROXY TCP4 a b 1 2\r\n", "\r\n\r\n\0\r\nQUIT\n\x31\x11\0\0"] {
        server.connect().send(raw).closed();
    }
    server.wait_for("closed without an answer: no PROXY header where one must be");
}

#[test]
fn others_take_a_header_that_is_there() {
    let ini =
        "socket = a.sock\nfastcgi-socket = b.sock\nhttp = c.sock\nhttp-socket = d.sock\nenable-proxy-protocol = true";
    let server = site("hello.py").ini(ini).start();
    let at = |name: &str| Client::unix(&server.path(name));
    for header in ["", LINE] {
        let mut client = at("a.sock");
        assert_eq!(client.send(header).send(request("GET", "/", &[])).answer().ok(), "Hello, world!");
        let mut client = at("b.sock");
        client.send(header).send(fastcgi(1, true, &vars("GET", "/", &[]), b""));
        assert!(fastcgi_answer(&mut client, 1).0.ends_with(b"Hello, world!"));
    }
    // It has an option of its own.
    assert_eq!(at("c.sock").get("/").ok(), "Hello, world!");
    assert_eq!(at("d.sock").send(LINE).get("/").ok(), "Hello, world!");
    let ini = "http = c.sock\nhttp-socket = d.sock\nhttp-enable-proxy-protocol = true";
    let server = site("hello.py").ini(ini).start();
    let at = |name: &str| Client::unix(&server.path(name));
    assert_eq!(at("c.sock").send(LINE).get("/").ok(), "Hello, world!");
    assert_eq!(at("d.sock").get("/").ok(), "Hello, world!");
}
