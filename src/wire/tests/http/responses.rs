//! Whole exchanges: what goes out for what came in, request after request.

use ruwsgi_wire::{BadResponse, Exchange, Head, Limits, Next, Refusal, Vars, http};

use crate::client::DATE;

const DATE_LINE: &str = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";

fn exchange(limits: &Limits, request: &str) -> Box<dyn Exchange> {
    let mut exchange = http::exchange(limits);
    let head = exchange.head(request.as_bytes(), &mut Vars::default());
    assert!(matches!(head, Head::Whole { .. }), "{head:?}");
    exchange
}

fn respond(exchange: &mut dyn Exchange, fields: &[(&str, &str)], length: Option<u64>, body: &str) -> (String, Next) {
    let mut out = Vec::new();
    exchange.status(b"200 OK", &mut out).unwrap();
    for (name, value) in fields {
        exchange.field(name.as_bytes(), value.as_bytes(), &mut out).unwrap();
    }
    exchange.end_head(length, DATE, false, &mut out);
    let take = exchange.data(body.len(), &mut out);
    out.extend_from_slice(&body.as_bytes()[..take]);
    exchange.data_end(&mut out);
    let next = exchange.finish(&mut out);
    (String::from_utf8(out).unwrap().replace(DATE_LINE, ""), next)
}

#[test]
fn who_keeps_the_connection() {
    let off = Limits { keep_alive: false, ..Limits::default() };
    let on = Limits::default();
    for (limits, request, option, next) in [
        (&on, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "", Next::KeepAlive),
        (&on, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "Connection: close\r\n", Next::Close),
        (
            &on,
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: a\r\nConnection: b,\tCLOSE ,\r\n\r\n",
            "Connection: close\r\n",
            Next::Close,
        ),
        (
            &on,
            "GET / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n",
            "Connection: close\r\n",
            Next::Close,
        ),
        (&on, "GET / HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n", "", Next::KeepAlive),
        (&on, "GET / HTTP/1.0\r\n\r\n", "", Next::Close),
        (&on, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "Connection: keep-alive\r\n", Next::KeepAlive),
        (&on, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\nGET", "", Next::Close),
        (&on, "GET / HTTP/1.0\r\nConnection: Keep-Alive, close\r\n\r\n", "", Next::Close),
        (&off, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "Connection: close\r\n", Next::Close),
        (&off, "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "", Next::Close),
    ] {
        let got = respond(&mut *exchange(limits, request), &[], Some(1), "x");
        let version = if request.contains("HTTP/1.0") { "HTTP/1.0" } else { "HTTP/1.1" };
        assert_eq!(got, (format!("{version} 200 OK\r\nContent-Length: 1\r\n{option}\r\nx"), next), "{request:?}");
    }
}

#[test]
fn responses_follow_each_other() {
    let (mut exchange, mut vars) = (http::exchange(&Limits::default()), Vars::default());
    let requests = b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    let Head::Whole { bytes, .. } = exchange.head(requests, &mut vars) else { panic!() };
    assert_eq!(respond(&mut *exchange, &[("Connection", "x")], None, "body").0, "HTTP/1.1 200 OK\r\n\r\n");
    let Head::Whole { .. } = exchange.head(&requests[bytes..], &mut vars) else { panic!() };
    let second = respond(&mut *exchange, &[], None, "body");
    assert_eq!(second.0, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n");
    assert_eq!(second.1, Next::KeepAlive);
}

#[test]
fn an_error_gives_way_to_another_response() {
    let mut exchange = exchange(&Limits::default(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut out = Vec::new();
    exchange.status(b"204 No Content", &mut out).unwrap();
    exchange.field(b"Connection", b"close", &mut out).unwrap();
    assert_eq!(exchange.field(b"A", b"b\r\nSet-Cookie: evil", &mut out), Err(BadResponse::FieldValue));
    let (text, next) = respond(&mut *exchange, &[], Some(4), "sorr");
    assert_eq!((text.as_str(), next), ("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsorr", Next::KeepAlive));
}

#[test]
fn nothing_comes_without_a_response() {
    let mut exchange = exchange(&Limits::default(), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    let mut out = Vec::new();
    assert_eq!(exchange.data(5, &mut out), 0);
    assert_eq!(exchange.finish(&mut out), Next::Close);
    assert!(out.is_empty());
}

#[test]
fn the_client_is_told_to_go_on() {
    let mut out = Vec::new();
    http::exchange(&Limits::default()).proceed(&mut out);
    assert_eq!(out, b"HTTP/1.1 100 Continue\r\n\r\n");
}

#[test]
fn refusals_are_small_and_say_little() {
    let refuse = |request: &str, refusal| {
        let (mut exchange, mut out) = (http::exchange(&Limits::default()), Vec::new());
        exchange.head(request.as_bytes(), &mut Vars::default());
        exchange.refuse(refusal, DATE, &mut out);
        String::from_utf8(out).unwrap()
    };
    let fields = format!("{DATE_LINE}Content-Type: text/plain\r\nContent-Length: 16\r\nConnection: close\r\n\r\n");
    let malformed = Refusal::Malformed("a secret reason");
    assert_eq!(refuse("", malformed), format!("HTTP/1.1 400 Bad Request\r\n{fields}400 Bad Request\n"));
    assert_eq!(refuse("\0", malformed), format!("HTTP/1.1 400 Bad Request\r\n{fields}400 Bad Request\n"));
    assert_eq!(refuse("HEAD / HTTP/1.1\r\n\r\n", malformed), format!("HTTP/1.1 400 Bad Request\r\n{fields}"));
    let old = refuse("GET / HTTP/1.0\r\n\r\n", Refusal::BodyTooLarge);
    assert!(old.starts_with("HTTP/1.0 413 Content Too Large\r\n"), "{old}");
}
