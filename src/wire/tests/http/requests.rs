//! What the application gets to see of a request, and what is refused with which status.

use ruwsgi_wire::{Body, Head, Key, Limits, Refusal, Vars, http};

use crate::client::latin1;

fn head(limits: &Limits, input: &str) -> (Head, Vars) {
    let mut vars = Vars::default();
    let head = http::exchange(limits).head(input.as_bytes(), &mut vars);
    (head, vars)
}

/// The variables of a head that must be whole.
fn vars(input: &str) -> Vars {
    match head(&Limits::default(), input) {
        (Head::Whole { bytes, .. }, vars) if bytes == input.len() => vars,
        (head, _) => panic!("{head:?}"),
    }
}

fn refusal(limits: &Limits, input: &str) -> Refusal {
    match head(limits, input) {
        (Head::Refused(refusal), vars) => {
            assert_eq!(vars.count(), 0, "variables of a refused request");
            refusal
        }
        (head, _) => panic!("{input:?}: {head:?}"),
    }
}

fn key(vars: &Vars, key: Key) -> Option<String> {
    vars.key(key).map(latin1)
}

fn others(vars: &Vars) -> String {
    vars.others().map(|(name, value)| format!("{} {};", latin1(name_of(name)), latin1(value))).collect()
}

fn name_of(name: ruwsgi_wire::Name<'_>) -> &[u8] {
    match name {
        ruwsgi_wire::Name::Field(name) => name,
        ruwsgi_wire::Name::Cgi(_) => panic!("HTTP has no CGI variables"),
    }
}

#[test]
fn a_request_becomes_variables() {
    let vars = vars(concat!(
        "\r\nPOST /a%20b/../c//?q=%20 HTTP/1.1\r\nHost: example.org:80\r\nUser-Agent:  curl/8 \t\r\nCookie: a=1\r\n",
        "cookie: b=2\r\nCONTENT-TYPE: text/plain\r\nContent-Length: 007\r\nX-Forwarded-Proto: https\r\n",
        "X-Forwarded-Ssl: on\r\nConnection: keep-alive\r\nEmpty:\r\n\r\n"
    ));
    let keyed: String = vars.keyed().map(|(key, value)| format!("{} {};", key.name(), latin1(value))).collect();
    assert_eq!(
        keyed,
        concat!(
            "REQUEST_METHOD POST;REQUEST_URI /a%20b/../c//?q=%20;PATH_INFO /c//;QUERY_STRING q=%20;",
            "SERVER_PROTOCOL HTTP/1.1;SCRIPT_NAME ;CONTENT_TYPE text/plain;CONTENT_LENGTH 7;HTTP_HOST example.org:80;",
            "HTTP_X_FORWARDED_PROTO https;HTTP_X_FORWARDED_SSL on;"
        )
    );
    assert_eq!(others(&vars), "User-Agent curl/8;Cookie a=1;cookie b=2;Connection keep-alive;Empty ;");
}

#[test]
fn targets() {
    let parts = |line: &str| {
        let vars = vars(&format!("{line} HTTP/1.1\r\nHost: h\r\n\r\n"));
        [Key::RequestUri, Key::PathInfo, Key::QueryString, Key::HttpHost].map(|name| key(&vars, name).unwrap())
    };
    assert_eq!(parts("GET /a"), ["/a", "/a", "", "h"]);
    assert_eq!(parts("GET /?"), ["/?", "/", "", "h"]);
    assert_eq!(parts("GET /a?b?c/../d"), ["/a?b?c/../d", "/a", "b?c/../d", "h"]);
    assert_eq!(parts("GET //a//b.c"), ["//a//b.c", "//a//b.c", "", "h"]);
    assert_eq!(parts("GET /%2e%2e/x"), ["/%2e%2e/x", "/x", "", "h"]);
    assert_eq!(parts("GET /%c3%a9"), ["/%c3%a9", "/\u{c3}\u{a9}", "", "h"]);
    // The host of an absolute target counts, not that of the field (RFC 9112 3.2.2).
    assert_eq!(parts("GET http://a:1/p?q"), ["http://a:1/p?q", "/p", "q", "a:1"]);
    assert_eq!(parts("GET HTTPS://a"), ["HTTPS://a", "/", "", "a"]);
    assert_eq!(parts("OPTIONS *"), ["*", "", "", "h"]);
    let old = vars("GET / HTTP/1.0\r\n\r\n");
    assert_eq!((key(&old, Key::HttpHost), key(&old, Key::ContentLength)), (None, None));
}

#[test]
fn later_minor_versions_are_read_as_known_ones() {
    let vars = vars("GET /x HTTP/1.9\r\nHost: h\r\n\r\n");
    assert_eq!(key(&vars, Key::ServerProtocol).unwrap(), "HTTP/1.1");
    assert_eq!(key(&vars, Key::PathInfo).unwrap(), "/x");
}

#[test]
fn names_that_deceive_are_left_out() {
    let input =
        "GET / HTTP/1.1\r\nHost: h\r\nX_Real_IP: 1\r\nContent_Length: 5\r\nProxy: p\r\nA-B: c\r\nX_Real_IP: 2\r\n\r\n";
    let safe = vars(input);
    assert_eq!(others(&safe), "A-B c;");
    assert_eq!(safe.dropped().map(latin1).collect::<Vec<_>>(), ["X_Real_IP", "Content_Length", "X_Real_IP"]);
    let (head, all) = head(&Limits { underscore_fields: true, ..Limits::default() }, input);
    assert!(matches!(head, Head::Whole { body: Body::Empty, .. }));
    assert_eq!(others(&all), "X_Real_IP 1;Content_Length 5;A-B c;X_Real_IP 2;");
    assert_eq!((all.dropped().count(), key(&all, Key::ContentLength)), (0, None));
}

#[test]
fn keyed_fields_that_come_twice_are_joined() {
    let vars = vars(concat!(
        "GET / HTTP/1.1\r\nHost: h\r\nContent-Type: a\r\ncontent-type: b\r\nX-Forwarded-Proto: https\r\n",
        "Content-Type: a\r\nX-Forwarded-Proto: http\r\n\r\n"
    ));
    assert_eq!(key(&vars, Key::ContentType).unwrap(), "a, b, a");
    assert_eq!(key(&vars, Key::ForwardedProto).unwrap(), "https, http");
    assert_eq!((key(&vars, Key::ForwardedSsl), others(&vars)), (None, String::new()));
}

#[test]
fn vars_are_reused() {
    let (mut exchange, mut vars) = (http::exchange(&Limits::default()), Vars::default());
    exchange.head(b"POST /a%20 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nA_B: c\r\nD: e\r\n\r\n", &mut vars);
    let first = (vars.count(), vars.dropped().count());
    exchange.head(b"GET /b HTTP/1.0\r\n\r\n", &mut vars);
    assert_eq!((first, vars.count(), vars.dropped().count()), ((9, 1), 6, 0));
    assert!(matches!(exchange.head(b"GET /b HT", &mut vars), Head::Partial { begun: true }));
    assert_eq!((vars.count(), vars.size()), (0, 0));
}

#[test]
fn bodies_and_expectations() {
    let body = |fields: &str| match head(&Limits::default(), &format!("PUT / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")) {
        (Head::Whole { body, expects_continue, .. }, vars) => (
            format!("{body:?}").split(['{', ' ']).next().unwrap().to_owned(),
            expects_continue,
            key(&vars, Key::ContentLength),
        ),
        (head, _) => panic!("{head:?}"),
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(body(""), ("Empty".into(), false, None));
    assert_eq!(body("Content-Length: 0\r\nExpect: 100-continue\r\n"), ("Empty".into(), false, some("0")));
    assert_eq!(body("Content-Length: 5\r\nExpect: 100-Continue\r\n"), ("Length(5)".into(), true, some("5")));
    assert_eq!(body("Transfer-Encoding: chunked\r\n"), ("Framed(Chunked(Chunked".into(), false, None));
    assert_eq!(
        body("transfer-encoding: CHUNKED\r\nexpect: 100-continue\r\n"),
        ("Framed(Chunked(Chunked".into(), true, None)
    );
    let old = head(&Limits::default(), "PUT / HTTP/1.0\r\nExpect: x\r\nContent-Length: 1\r\n\r\n").0;
    assert!(matches!(old, Head::Whole { expects_continue: false, body: Body::Length(1), .. }));
}

#[test]
fn refusals_have_their_status() {
    for (input, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        ("\n", 400),
        ("\rX", 400),
        ("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", 413),
        ("GET / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n", 417),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 501),
        ("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
        ("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        ("PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400),
        ("PUT / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("GET /\r\n", 400),
    ] {
        let refused = refusal(&Limits::default(), input);
        assert!(refused.status().starts_with(&status.to_string()), "{input:?}: {refused:?}");
    }
}

#[test]
fn a_client_that_speaks_no_http_is_refused_at_once() {
    for input in ["\u{16}\u{3}\u{1}", "GET  ", "GET / HTTP/2", "GET / HTTP/1.1\n", "GET / HTTP/1.1\r\nA\r"] {
        assert!(matches!(head(&Limits::default(), input).0, Head::Refused(_)), "{input:?}");
    }
    for input in ["", "\r", "\r\n", "\r\n\r"] {
        assert!(matches!(head(&Limits::default(), input).0, Head::Partial { begun: false }), "{input:?}");
    }
    assert!(matches!(head(&Limits::default(), "\r\nG").0, Head::Partial { begun: true }));
}

#[test]
fn heads_have_limits() {
    let limits = Limits { head_bytes: 100, fields: 3, ..Limits::default() };
    let filled = |length: usize| {
        let start = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
        format!("{start}{}\r\n\r\n", "x".repeat(length - start.len() - 4))
    };
    assert!(matches!(head(&limits, &filled(100)).0, Head::Whole { bytes: 100, .. }));
    // Blank lines don't count, nor does what follows.
    assert!(matches!(head(&limits, &format!("\r\n{}more", filled(100))).0, Head::Whole { bytes: 102, .. }));
    assert_eq!(refusal(&limits, &filled(101)), Refusal::HeadTooLarge);
    assert_eq!(refusal(&limits, &filled(101)[..100]), Refusal::HeadTooLarge);
    assert!(matches!(head(&limits, &filled(101)[..99]).0, Head::Partial { begun: true }));
    assert_eq!(refusal(&limits, &format!("GET /{} HTTP/1.1\r\n", "x".repeat(100))), Refusal::TargetTooLong);
    assert_eq!(refusal(&limits, &"X".repeat(200)), Refusal::HeadTooLarge);
    assert_eq!(refusal(&limits, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"), Refusal::TooManyFields);
    assert!(matches!(head(&limits, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n").0, Head::Whole { .. }));
}

#[test]
fn many_fields() {
    let input = |count: usize| {
        let fields: String = (1..count).map(|number| format!("X-{number}: {number}\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    };
    for count in [63, 64, 65, 255, 256] {
        assert_eq!(vars(&input(count)).others().count(), count - 1);
    }
    assert_eq!(refusal(&Limits::default(), &input(257)), Refusal::TooManyFields);
    let limits = Limits { fields: 1000, ..Limits::default() };
    assert!(matches!(head(&limits, &input(1000)).0, Head::Whole { .. }));
    assert_eq!(refusal(&limits, &input(1001)), Refusal::TooManyFields);
}

/// Controls are refused wherever they stand: the parser looks at 16 or 32 bytes at a time.
#[test]
fn controls_are_seen_at_every_place() {
    for byte in (0..32_u8).chain([127]).filter(|byte| !b"\t\r\n".contains(byte)) {
        for place in 0..70 {
            let mut value = vec![b'v'; 70];
            value[place] = byte;
            let value = latin1(&value);
            let input = format!("GET / HTTP/1.1\r\nHost: h\r\nA: {value}\r\n\r\n");
            assert!(matches!(refusal(&Limits::default(), &input), Refusal::Malformed(_)));
            let input = format!("GET /{value} HTTP/1.1\r\nHost: h\r\n\r\n");
            assert!(matches!(refusal(&Limits::default(), &input), Refusal::Malformed(_)));
        }
    }
}
