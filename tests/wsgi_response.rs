//! What applications return and raise: iterables and their `close()`, `write()`, `exc_info`, broken responses.

use std::time::Duration;

use crate::harness::{Server, Site, serve, serve_code};

#[test]
fn every_kind_of_iterable_is_sent() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    for (path, text) in [
        ("/one-piece", "piece"),
        ("/pieces", "one two three"),
        ("/generator", "generated in parts"),
        ("/late-start", "generated in parts"),
        ("/tuple-of-pieces", "a tuple"),
        ("/getitem", "old school"),
        ("/empty-list", ""),
        ("/empty-pieces", ""),
        ("/write", "written, then returned"),
        ("/write-only", "written"),
    ] {
        assert_eq!(client.get(path).ok(), text, "{path}");
    }
}

#[test]
fn what_shows_its_memory_is_a_piece_where_that_is_asked_for() {
    const APP: &str = r#"
        import array

        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "text/plain")])
            pieces = [array.array("b", b"6789"), bytearray(b"abc"), memoryview(b"def"), b"ciao", None]
            kind = environ["PATH_INFO"]
            if kind == "/number":
                return [b"one", 2]
            return {"/list": pieces, "/generator": iter(pieces), "/whole": bytearray(b"whole"), "/bytes": b"bytes"}[kind]
    "#;
    let server = Site::code(APP).ini("wsgi-accept-buffer = true").start();
    for (path, text) in
        [("/list", "6789abcdefciao"), ("/generator", "6789abcdefciao"), ("/whole", "whole"), ("/bytes", "bytes")]
    {
        assert_eq!(server.get(path).ok(), text, "{path}");
    }
    // The head and a piece are out already.
    server.connect().send("GET /number HTTP/1.1\r\nHost: x\r\n\r\n").until(b"one");
    server.wait_for("TypeError: memoryview: a bytes-like object is required, not 'int'");
    let server = serve_code(APP);
    assert_eq!(server.get("/list").status, 500);
    assert_eq!(server.get("/bytes").ok(), "bytes");
}

#[test]
fn fields_go_out_as_they_are() {
    let server = serve("shapes.py");
    let answer = server.get("/many-fields");
    assert_eq!(answer.all("Set-Cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.field("X-Empty"), Some(""));
    assert!(answer.head.windows(6).any(|window| window == b": caf\xe9"), "{answer:?}");
}

#[test]
fn the_date_of_the_application_stays_alone() {
    let server = serve("shapes.py");
    let answer = server.get("/own-date");
    assert_eq!(answer.field("Date"), Some("Thu, 01 Jan 1970 00:00:00 GMT"));
    assert_eq!(answer.field("Server"), Some("mine"));
}

#[test]
fn close_is_called_once_whatever_happens() {
    let server = serve("shapes.py");
    assert_eq!(server.get("/closing").ok(), "ab");
    server.wait_for("closed closing");
    server.connect().send("HEAD /closing HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    server.log.wait_for_nth("closed closing", 2);

    assert_eq!(server.get("/closing-early-failure").status, 500);
    server.wait_for("closed early");
    server.connect().send("GET /closing-late-failure HTTP/1.1\r\nHost: a\r\n\r\n").rest();
    server.wait_for("closed late");

    let log = server.stop().log;
    for (name, times) in [("closed closing", 2), ("closed early", 1), ("closed late", 1)] {
        assert_eq!(log.matches(name).count(), times, "{name} in\n{log}");
    }
}

#[test]
fn close_is_called_when_the_client_goes_away() {
    let server = serve_code(
        r#"
            import sys
            class Endless:
                def __iter__(self):
                    while True:
                        yield b'x' * 100000
                def close(self):
                    print('closed endless', file=sys.stderr, flush=True)
            def application(environ, start_response):
                start_response('200 OK', [('Content-Type', 'text/plain')])
                return Endless() if environ['PATH_INFO'] == '/endless' else [b'here']
        "#,
    );
    let mut client = server.connect();
    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    drop(client);
    server.wait_for("closed endless");
    assert_eq!(server.get("/").ok(), "here");
    let log = server.log.text();
    assert!(!log.contains("Traceback"), "a client that goes away is no exception:\n{log}");
}

/// The answer to a request that fails before any output, and its traceback.
fn fails(server: &Server, path: &str, words: &[&str]) {
    let mut client = server.connect();
    let answer = client.get(path);
    assert_eq!(answer.status, 500, "{path}: {answer:?}");
    assert_eq!(answer.field("Set-Cookie"), None, "{path}");
    assert!(!answer.text().contains("Traceback"), "{path} tells the client too much: {answer:?}");
    for word in words {
        server.wait_for(word);
    }
}

#[test]
fn an_exception_before_output_is_a_500_with_its_traceback_in_the_log() {
    let server = serve("shapes.py");
    fails(&server, "/fail", &["Traceback", "in fail", "RuntimeError: failed on purpose"]);
    fails(&server, "/fail-after-start", &["failed behind start_response"]);
    fails(&server, "/closing-early-failure", &["ValueError: early fails at piece 0"]);
    assert_eq!(server.get("/one-piece").ok(), "piece");
}

#[test]
fn a_500_does_not_end_the_worker() {
    let server = serve("shapes.py");
    let worker = server.workers();
    for _ in 0..5 {
        assert_eq!(server.get("/fail").status, 500);
    }
    assert_eq!(server.get("/one-piece").ok(), "piece");
    assert_eq!(server.workers(), worker);
}

#[test]
fn an_exception_after_output_cuts_the_connection() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    client.send("GET /closing-late-failure HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("Content-Length"), Some("100"));
    assert_eq!(client.rest(), b"some output");
    server.wait_for("ValueError: late fails at the end");

    let mut client = server.connect();
    client.send("GET /closing-late-chunked HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("Transfer-Encoding"), Some("chunked"));
    let rest = client.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a cut body looks whole: {:?}", String::from_utf8_lossy(&rest));
    server.wait_for("ValueError: chunked fails at the end");
}

#[test]
fn exc_info_replaces_a_head_that_is_not_out() {
    let server = serve("shapes.py");
    let answer = server.get("/exc-info-before");
    assert_eq!((answer.status, answer.reason.as_str(), answer.text()), (503, "Unavailable", "the second head"));
    assert_eq!(answer.field("X-Replaced"), Some("yes"));
    assert_eq!(answer.all("Content-Type").len(), 1);
}

#[test]
fn exc_info_raises_again_when_the_head_is_out() {
    let server = serve("shapes.py");
    let mut client = server.connect();
    client.send("GET /exc-info-after HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().status, 200);
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    assert!(rest.contains("output is out") && !rest.contains("never") && !rest.contains("500"), "{rest}");
    server.wait_for("ValueError: too late to replace");
}

#[test]
fn broken_responses_are_errors_of_the_application() {
    let server = serve("shapes.py");
    fails(&server, "/twice", &["Traceback"]);
    fails(&server, "/never-started", &["start_response"]);
    fails(&server, "/none-result", &["NoneType"]);
    fails(&server, "/text-piece", &["str"]);
    fails(&server, "/split-field", &["X-Evil"]);
    fails(&server, "/split-status", &["evil"]);
    fails(&server, "/bad-name", &["X Evil"]);
    fails(&server, "/bad-status", &["OK"]);
    assert_eq!(server.get("/one-piece").ok(), "piece");
}

#[test]
fn write_sends_at_once() {
    let server = serve_code(
        r#"
            import os, time
            def application(environ, start_response):
                put = start_response('200 OK', [('Content-Type', 'text/plain')])
                put(b'early')
                while not os.path.exists('gate'):
                    time.sleep(0.002)
                return [b'late']
        "#,
    );
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    assert_eq!(client.exactly(10), b"5\r\nearly\r\n");
    assert!(client.read_within(Duration::from_millis(50)).is_none());
    server.open_gate("gate");
    assert_eq!(client.exactly(14), b"4\r\nlate\r\n0\r\n\r\n");
}

#[test]
fn pieces_are_sent_when_they_are_yielded() {
    let server = serve("control.py");
    let mut client = server.connect();
    client.send("GET /parts/gate HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    assert_eq!(client.exactly(5), b"first");
    server.open_gate("gate");
    assert_eq!(client.exactly(5), b"later");
    assert!(client.is_quiet());
}

#[test]
fn what_the_application_prints_is_in_the_log() {
    let server = serve("shapes.py");
    assert_eq!(server.get("/complain").ok(), "complained");
    server.wait_for("a complaint");
    server.wait_for("two parts");
    server.out.wait_for("a print");
}

#[test]
fn unusual_status_lines_go_out() {
    let server = serve_code(
        r#"
            def application(environ, start_response):
                start_response(environ['QUERY_STRING'].replace('+', ' '), [])
                return []
        "#,
    );
    for (status, code, reason) in
        [("299+Quite+Fine", 299, "Quite Fine"), ("404+Not+Found", 404, "Not Found"), ("599+x", 599, "x")]
    {
        let answer = server.get(&format!("/?{status}"));
        assert_eq!((answer.status, answer.reason.as_str()), (code, reason));
    }
}
