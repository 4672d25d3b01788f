//! Requests go to our own server side, and answers come back, whole and in pieces.

use super::*;
use crate::{Body, Exchange, Key, Limits, PROTOCOLS, Vars};

const ALL: [(Dialect, &str); 4] =
    [(Dialect::Http, "http"), (Dialect::Uwsgi, "uwsgi"), (Dialect::FastCgi, "fastcgi"), (Dialect::Scgi, "scgi")];

fn server(name: &str) -> Box<dyn Exchange> {
    (PROTOCOLS.iter().find(|protocol| protocol.name == name).unwrap().exchange)(&Limits::default())
}

fn vars<'v>(method: &'v str, more: &[(&'v str, &'v str)]) -> Vec<Var<'v>> {
    let usual = [
        ("REQUEST_METHOD", method),
        ("REQUEST_URI", "/a?b=c"),
        ("PATH_INFO", "/a"),
        ("QUERY_STRING", "b=c"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("HTTP_HOST", "example.com"),
        ("CONTENT_LENGTH", "wrong"),
    ];
    usual.iter().chain(more).map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect()
}

/// What the server reads: its variables, and the body.
fn read(name: &str, raw: &[u8]) -> (Box<dyn Exchange>, Vars, Vec<u8>) {
    let (mut exchange, mut vars) = (server(name), Vars::default());
    let head = exchange.head(raw, &mut vars);
    let crate::Head::Whole { bytes, body, .. } = head else { panic!("{name}: {head:?}") };
    let body = match body {
        Body::Empty => Vec::new(),
        Body::Length(length) => raw[bytes..][..length as usize].to_vec(),
        Body::Framed(mut decoder) => {
            let mut out = Vec::new();
            assert!(decoder.decode(&raw[bytes..], &mut out).unwrap().done);
            out
        }
    };
    (exchange, vars, body)
}

fn answer(exchange: &mut dyn Exchange, status: &str, fields: &[(&str, &str)], body: &str) -> Vec<u8> {
    let mut out = Vec::new();
    exchange.status(status.as_bytes(), &mut out).unwrap();
    for (name, value) in fields {
        exchange.field(name.as_bytes(), value.as_bytes(), &mut out).unwrap();
    }
    exchange.end_head(None, b"today", false, &mut out);
    let take = exchange.data(body.len(), &mut out);
    out.extend_from_slice(&body.as_bytes()[..take]);
    exchange.data_end(&mut out);
    exchange.finish(&mut out);
    out
}

/// What a client hears that gets these bytes in pieces of a size, then the end of file.
fn hear(client: &mut Client, raw: &[u8], size: usize) -> Result<Vec<Heard>, BadAnswer> {
    let mut heard = Vec::new();
    for piece in raw.chunks(size) {
        client.hear(piece, &mut heard)?;
    }
    client.hear_end(&mut heard)?;
    Ok(heard)
}

/// Status, body, and whether the connection can be asked again.
fn told(heard: &[Heard]) -> (u16, String, bool) {
    let mut out = (0, String::new(), false);
    for one in heard {
        match one {
            Heard::Head { status, .. } => out.0 = *status,
            Heard::Data(data) => out.1.push_str(std::str::from_utf8(data).unwrap()),
            Heard::End { reusable } => out.2 = *reusable,
            Heard::Log(_) => {}
        }
    }
    assert!(matches!(heard.last(), Some(Heard::End { .. })), "{heard:?}");
    out
}

#[test]
fn every_protocol_carries_a_request_and_its_answer() {
    for (dialect, name) in ALL {
        for (method, length) in [("GET", 0), ("POST", 5), ("POST", 70_000)] {
            let mut client = Client::new(dialect);
            let (mut raw, sent) = (Vec::new(), "x".repeat(length));
            client.ask(&vars(method, &[("HTTP_X_FORWARDED_FOR", "::1")]), Some(length as u64), &mut raw).unwrap();
            client.body(sent.as_bytes(), &mut raw);
            client.body_end(&mut raw);
            let (mut exchange, vars, body) = read(name, &raw);
            assert_eq!((vars.key(Key::RequestMethod), body.len()), (Some(method.as_bytes()), length), "{name}");
            assert_eq!(vars.key(Key::RequestUri), Some(&b"/a?b=c"[..]), "{name}");
            assert_eq!(vars.key(Key::HttpHost), Some(&b"example.com"[..]), "{name}");
            let plain = answer(&mut *exchange, "404 Not Found", &[("Content-Length", "5"), ("X", "y")], "hello");
            let open = answer(&mut *server(name), "200 OK", &[], "open");
            for size in [1, 2, 7, usize::MAX] {
                let heard = hear(&mut client, &plain, size).unwrap();
                let (status, body, _) = told(&heard);
                assert_eq!((status, &*body), (404, "hello"), "{name} by {size}");
                let Heard::Head { raw, .. } = &heard[0] else { panic!("{heard:?}") };
                let raw = String::from_utf8_lossy(raw);
                assert!(raw.contains("404 Not Found\r\n") && raw.contains("X: y\r\n"), "{raw}");
                client.answer.begin(false);
                if name != "fastcgi" {
                    assert_eq!(told(&hear(&mut client, &open, size).unwrap()).1, "open", "{name} by {size}");
                    client.answer.begin(false);
                }
            }
        }
    }
}

#[test]
fn a_body_of_unknown_length_is_framed_or_refused() {
    for (dialect, name) in ALL {
        let (mut client, mut raw) = (Client::new(dialect), Vec::new());
        let asked = client.ask(&vars("POST", &[]), None, &mut raw);
        if matches!(dialect, Dialect::Uwsgi | Dialect::Scgi) {
            assert_eq!(asked, Err(Unaskable::NoLength));
            continue;
        }
        for piece in ["hel", "", "lo"] {
            client.body(piece.as_bytes(), &mut raw);
        }
        client.body_end(&mut raw);
        assert_eq!(read(name, &raw).2, b"hello", "{name}");
    }
}

#[test]
fn nothing_breaks_out_of_a_request() {
    for (name, value) in
        [("HTTP_X", "a\r\nY: z"), ("HTTP_A B", "x"), ("REQUEST_URI", "/ HTTP/1.1\r\n"), ("REQUEST_METHOD", "")]
    {
        let asked = Client::new(Dialect::Http).ask(&vars("GET", &[(name, value)]), Some(0), &mut Vec::new());
        assert_eq!(asked, Err(Unaskable::Byte), "{name}={value:?}");
    }
    let nul = vars("GET", &[("X", "a\0b")]);
    assert_eq!(Client::new(Dialect::Scgi).ask(&nul, Some(0), &mut Vec::new()), Err(Unaskable::Byte));
    let long = "x".repeat(70_000);
    let long = vars("GET", &[("X", &long)]);
    assert_eq!(Client::new(Dialect::Uwsgi).ask(&long, Some(0), &mut Vec::new()), Err(Unaskable::TooLarge));
    let mut raw = Vec::new();
    Client::new(Dialect::Http).ask(&vars("GET", &[("HTTP_TRANSFER_ENCODING", "chunked")]), Some(0), &mut raw).unwrap();
    assert!(!String::from_utf8(raw).unwrap().contains("chunked"));
}

#[test]
fn answers_end_where_they_say() {
    let hear_http = |raw: &str, to_head: bool| {
        let whole = {
            let mut client = Client::new(Dialect::Http);
            client.answer.begin(to_head);
            hear(&mut client, raw.as_bytes(), usize::MAX).map(|heard| told(&heard))
        };
        let mut client = Client::new(Dialect::Http);
        client.answer.begin(to_head);
        let pieces = hear(&mut client, raw.as_bytes(), 1).map(|heard| told(&heard));
        assert_eq!(whole, pieces, "{raw:?}");
        whole
    };
    let is = |status, body: &str, reusable| Ok((status, body.to_owned(), reusable));
    assert_eq!(hear_http("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false), is(200, "hi", true));
    assert_eq!(hear_http("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi", false), is(200, "hi", false));
    assert_eq!(hear_http("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true), is(200, "", true));
    assert_eq!(hear_http("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", false), is(204, "", false));
    assert_eq!(hear_http("HTTP/1.1 200 OK\r\n\r\nuntil the end", false), is(200, "until the end", false));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    assert_eq!(hear_http(chunked, false), is(200, "hi", true));
    let twice = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(hear_http(twice, false), is(200, "", true));
    for cut in ["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi", &chunked[..chunked.len() - 3], "HTTP/1.1 200"] {
        assert_eq!(hear_http(cut, false), Err(BadAnswer::Cut), "{cut}");
    }
    assert_eq!(hear_http("", false), Err(BadAnswer::Empty));
    for bad in [
        "hello\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nhi",
    ] {
        assert!(matches!(hear_http(bad, false), Err(BadAnswer::Malformed(_))), "{bad}");
    }
}

#[test]
fn answers_of_cgi_have_their_status_in_a_field() {
    let status = |raw: &str| {
        let mut client = Client::new(Dialect::Scgi);
        client.answer.begin(false);
        hear(&mut client, raw.as_bytes(), 3).map(|heard| told(&heard).0)
    };
    assert_eq!(status("Status: 404 Not Found\r\n\r\n"), Ok(404));
    assert_eq!(status("Status: 503\n\n"), Ok(503));
    assert_eq!(status("Content-Type: text/plain\r\n\r\nhello"), Ok(200));
    assert_eq!(status("Location: /x\r\n\r\n"), Ok(302));
    assert_eq!(status("HTTP/1.1 500 No\r\n\r\n"), Ok(500));
    assert!(status("Status: x\r\n\r\n").is_err());
}

#[test]
fn fastcgi_says_how_a_request_ended() {
    let record = |kind: u8, content: &[u8]| [&[1, kind, 0, 1, 0, content.len() as u8, 0, 0], content].concat();
    let end = |status| record(3, &[0, 0, 0, 0, status, 0, 0, 0]);
    let hear_records = |raw: &[u8]| {
        let mut client = Client::new(Dialect::FastCgi);
        client.answer.begin(false);
        hear(&mut client, raw, 5)
    };
    let out = [record(7, b"oops"), record(6, b"Status: 200 OK\r\n\r\nhi"), record(6, b"")].concat();
    let heard = hear_records(&[&out[..], &end(0)].concat()).unwrap();
    assert_eq!((&heard[0], told(&heard)), (&Heard::Log(b"oops".to_vec()), (200, "hi".into(), true)));
    assert_eq!(hear_records(&out), Err(BadAnswer::Cut));
    assert_eq!(hear_records(b""), Err(BadAnswer::Empty));
    assert!(hear_records(&end(1)).is_err() && hear_records(&end(3)).is_err() && hear_records(b"HTTP/1.1 400").is_err());
}
