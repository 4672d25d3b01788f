//! Clients that go away before their response is out: what the application learns of it, and what the log says.

use crate::harness::{Server, Site};

/// `/pieces` yields ten pieces once the client is gone, and `/write` writes them; both say how far they came.
const APP: &str = r#"
    import sys, time, uwsgi

    def say(*words):
        print(*words, file=sys.stderr, flush=True)

    def wait_for_the_end(environ):
        fd = uwsgi.connection_fd()
        while uwsgi.is_connected(fd):
            time.sleep(0.001)

    class Pieces:
        def __init__(self, environ):
            self.environ = environ
        def __iter__(self):
            yield b"x" * 100000
            wait_for_the_end(self.environ)
            for self.number in range(1, 11):
                yield b"x"
            self.number = "all"
        def close(self):
            say("pieces:", self.number)

    def written(environ, write):
        write(b"x" * 100000)
        wait_for_the_end(environ)
        for number in range(1, 11):
            try:
                write(b"x")
            except OSError as error:
                say("write:", type(error).__name__, "at", number)
                raise
        say("write: all")

    def application(environ, start_response):
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/pieces":
            return Pieces(environ)
        written(environ, write)
        return []
"#;

fn server(lines: &str) -> Server {
    Site::code(APP).ini(lines).start()
}

/// What the application says after the client of `path` has gone, with the start of its answer unread.
fn said(server: &Server, path: &str) -> String {
    let mut client = server.connect();
    client.send(format!("GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n")).answer_head();
    drop(client);
    server.wait_for(&format!("{path}: "))
}

#[test]
fn an_application_is_ended_at_the_first_piece_that_is_lost() {
    let server = server("");
    assert_eq!(said(&server, "pieces"), "pieces: 1");
    assert_eq!(said(&server, "write"), "write: BrokenPipeError at 1");
    let log = server.stop().log;
    assert!(!log.contains("Traceback") && !log.contains("write error"), "{log}");
}

#[test]
fn so_many_pieces_may_be_lost_as_are_tolerated() {
    let server = server("write-errors-tolerance = 3");
    assert_eq!(said(&server, "pieces"), "pieces: 4");
    assert_eq!(said(&server, "write"), "write: BrokenPipeError at 4");
}

#[test]
fn an_exception_only_ends_no_iteration() {
    let server = server("write-errors-exception-only = true");
    assert_eq!(said(&server, "pieces"), "pieces: all");
    assert_eq!(said(&server, "write"), "write: BrokenPipeError at 1");
}

#[test]
fn without_the_exception_an_application_writes_on() {
    let server = server("disable-write-exception = true");
    assert_eq!(said(&server, "write"), "write: all");
    assert_eq!(said(&server, "pieces"), "pieces: 1");
}

#[test]
fn errors_are_told_where_they_are_not_ignored() {
    let server = server("ignore-write-errors = false");
    said(&server, "pieces");
    let line = server.wait_for("write error: ");
    assert!(line.ends_with("during GET /pieces (127.0.0.1)"), "{line}");
}
