//! `wsgi.input`: every way to read it, over both framings of a body.

use serde_json::json;

use crate::harness::{Server, Site, serve, serve_code};

/// Sends `body` to the inspecting application in both framings; both must be read into the same pieces.
fn pieces(server: &Server, way: &str, body: &str) -> Vec<String> {
    let mut client = server.connect();
    let head = format!("POST /x?{way} HTTP/1.1\r\nHost: a\r\n");
    let plain = client.send(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).answer().json();
    // Chunks whose borders are nowhere near those of lines.
    let chunks: String =
        body.as_bytes().chunks(5).map(|part| format!("5\r\n{}\r\n", String::from_utf8_lossy(part))).collect();
    let chunks = match body.len() % 5 {
        0 => chunks,
        rest => {
            let at = chunks.rfind("5\r\n").unwrap();
            format!("{}{rest:x}{}", &chunks[..at], &chunks[at + 1..])
        }
    };
    let chunked = client.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")).answer().json();
    assert_eq!(plain["pieces"], chunked["pieces"], "{way}: Content-Length against chunked");
    assert_eq!((&plain["bytes"], &chunked["bytes"]), (&json!(true), &json!(true)), "{way}: all pieces are bytes");
    assert!(client.is_quiet());
    plain["pieces"].as_array().unwrap().iter().map(|piece| piece.as_str().unwrap().to_owned()).collect()
}

const LINES: &str = "first line\nsecond\n\nno end";

#[test]
fn read_gives_everything() {
    let server = serve("inspect.py");
    assert_eq!(pieces(&server, "whole", LINES), [LINES]);
    assert_eq!(pieces(&server, "read-none", LINES), [LINES]);
    assert_eq!(pieces(&server, "whole", ""), [""]);
}

#[test]
fn read_with_a_size_gives_pieces() {
    let server = serve("inspect.py");
    assert_eq!(pieces(&server, "sized", LINES).concat(), LINES);
    assert!(pieces(&server, "sized", LINES).iter().all(|piece| piece.len() <= 7));
    assert!(pieces(&server, "sized", "").is_empty());
}

#[test]
fn lines_are_lines() {
    let server = serve("inspect.py");
    let lines = ["first line\n", "second\n", "\n", "no end"];
    for way in ["lines", "readlines", "iterate"] {
        assert_eq!(pieces(&server, way, LINES), lines, "{way}");
        assert!(pieces(&server, way, "").is_empty(), "{way}");
        assert_eq!(pieces(&server, way, "\n"), ["\n"], "{way}");
    }
    assert_eq!(pieces(&server, "short-lines", LINES).concat(), LINES);
    assert_eq!(pieces(&server, "readlines-hint", LINES)[0], "first line\n");
}

#[test]
fn ways_can_be_mixed() {
    let server = serve("inspect.py");
    assert_eq!(pieces(&server, "mixed", LINES), ["fi", "rst line\n", "", "sec", "ond\n", "\nno end", ""]);
}

#[test]
fn the_end_stays_the_end() {
    let server = serve("inspect.py");
    assert_eq!(pieces(&server, "to-the-end", LINES), [LINES, "", "", ""]);
}

#[test]
fn a_request_without_a_body_has_an_empty_input() {
    let server = serve("inspect.py");
    for way in ["whole", "lines", "iterate", "sized", "readlines"] {
        let seen = server.get(&format!("/x?{way}")).json();
        let all = seen["pieces"].as_array().unwrap().iter().map(|piece| piece.as_str().unwrap()).collect::<String>();
        assert_eq!(all, "", "{way}");
    }
}

#[test]
fn a_body_can_be_read_while_it_arrives() {
    let server = serve_code(
        r#"
            import sys
            def application(environ, start_response):
                put = start_response('200 OK', [('Content-Type', 'text/plain')])
                for line in environ['wsgi.input']:
                    print('got', line.decode().strip(), file=sys.stderr, flush=True)
                    put(line)
                return []
        "#,
    );
    // Larger than anything that a server would keep before it runs the application.
    let line = format!("{}\n", "x".repeat(99_999));
    let mut client = server.connect();
    client.send(format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", 30 * line.len()));
    let expected = line.repeat(30);
    for _ in 0..30 {
        client.send(&line);
    }
    assert_eq!(client.answer().ok(), expected);
}

#[test]
fn large_bodies_arrive_whole() {
    let server = serve("control.py");
    let mut client = server.connect();
    let body = vec![b'b'; 3_000_000];
    assert_eq!(client.post("/read", &body).ok(), "3000000");
    let mut chunked = b"POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in body.chunks(70_000) {
        chunked.extend(format!("{:X}\r\n", part.len()).as_bytes());
        chunked.extend(part);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    assert_eq!(client.send(chunked).answer().ok(), "3000000");
    assert_eq!(client.get("/").ok(), "hello");
}

#[test]
fn a_body_that_ends_too_early_is_an_error_for_the_application() {
    let server = serve_code(
        r#"
            import sys
            def application(environ, start_response):
                try:
                    size = len(environ['wsgi.input'].read())
                    print('read', size, 'bytes', file=sys.stderr, flush=True)
                except OSError as error:
                    print('the body failed:', error, file=sys.stderr, flush=True)
                    raise
                start_response('200 OK', [])
                return [b'done']
        "#,
    );
    // More than is read before the application starts, so that it is inside when the client goes.
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n");
    client.send(vec![b'x'; 5_000_000]).finish_sending();
    let rest = client.rest();
    assert!(!rest.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&rest));
    assert_eq!(server.post("/", "abc").ok(), "done");
    let log = server.stop().log;
    assert!(!log.contains("read 5000000"), "a cut body passed for a whole one:\n{log}");
}

const SEEKS: &str = r"
    def application(environ, start_response):
        body = environ['wsgi.input']
        first = body.read(3)
        assert body.tell() == 3, body.tell()
        try:
            body.seek(0)
        except OSError as error:
            start_response('200 OK', [])
            return [str(error).encode()]
        size = len(body.read())
        assert body.seek(-2, 2) == size - 2
        last = body.read()
        body.seek(0)
        again = body.read(3)
        assert again == first
        start_response('200 OK', [])
        return [b'%d %s' % (size, last)]
";

#[test]
fn a_body_that_is_whole_can_be_read_again() {
    let server = serve_code(SEEKS);
    assert_eq!(server.post("/", "abcdef").ok(), "6 ef");
    assert_eq!(server.post("/", vec![b'x'; 3_000_000]).ok(), "seek() on wsgi.input: this body needs post-buffering");

    let server = Site::code(SEEKS).ini("post-buffering = 4096").start();
    let mut client = server.connect();
    assert_eq!(client.post("/", [&vec![b'x'; 3_000_000][..], b"yz"].concat()).ok(), "3000002 yz");
    assert_eq!(client.post("/", "abcdef").ok(), "6 ef");
}

#[test]
fn a_body_above_limit_post_never_reaches_the_application() {
    let server = Site::code(SEEKS).ini("limit-post = 100").start();
    assert_eq!(server.post("/", "x".repeat(100)).status, 200);
    assert_eq!(server.post("/", "x".repeat(101)).status, 413);
    let log = server.stop().log;
    assert!(log.contains("413 Content Too Large"), "{log}");
    assert_eq!(log.matches("POST /").count(), 1, "{log}");
}
