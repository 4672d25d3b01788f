//! `wsgi.file_wrapper`: what is sent of which file, from where, and that no core waits for a slow reader.

use std::io::Write;

use crate::harness::{Server, Site};

const CODE: &str = r#"
    import gzip, io, os, sys, tempfile, uwsgi
    SIZE = os.path.getsize("file")

    class Proxy:
        """As Django's File: not of io, and another file behind it."""
        def __init__(self, file):
            self.file = file
        def __getattr__(self, name):
            return getattr(self.file, name)

    class Counted(io.FileIO):
        reads = 0
        def read(self, size=-1):
            Counted.reads += 1
            return super().read(size)

    class Named:
        def __init__(self):
            self.left = [b"in ", b"blocks"]
        def read(self, size):
            return self.left.pop(0) if self.left else b""
        def close(self):
            print("closed the named one", file=sys.stderr, flush=True)

    def at(file, position):
        file.seek(position)
        return file

    def several(wrap):
        yield b"before "
        yield wrap(open("small"))
        yield wrap(io.BytesIO(b" bytes "))
        yield wrap(at(open("file", "rb"), SIZE - 70000))
        yield b" behind"

    def application(environ, start_response):
        what, wrap, headers = environ["PATH_INFO"][1:], environ["wsgi.file_wrapper"], []
        if what == "short":
            headers = [("Content-Length", "100000")]
        start_response("200 OK", headers + [("Content-Type", "text/plain")])
        if what == "several":
            return several(wrap)
        return wrap({
            "whole": lambda: open("file", "rb"),
            "raw": lambda: open("file", "rb", buffering=0),
            "text": lambda: open("small"),
            "behind": lambda: at(open("file", "rb"), 70001),
            "ahead": lambda: [file := open("file", "rb"), file.read(5)][0],
            "end": lambda: at(open("file", "rb"), SIZE + 5),
            "short": lambda: open("file", "rb"),
            "proxy": lambda: Proxy(at(open("file", "rb"), 3)),
            "temporary": lambda: at([file := tempfile.NamedTemporaryFile(), file.write(b"x" * 99999)][0], 99990),
            "gzip": lambda: gzip.open("file.gz"),
            "proxied-gzip": lambda: Proxy(gzip.open("file.gz")),
            "bytes": lambda: io.BytesIO(b"bytes"),
            "counted": lambda: at(Counted("small"), 6),
            "named": Named,
            "pipe": lambda: [pipe := os.pipe(), os.write(pipe[1], b"piped"), os.close(pipe[1]), os.fdopen(pipe[0], "rb")][3],
        }[what](), 4096)
"#;

/// What is in `file`.
fn content() -> Vec<u8> {
    (0..300_000_u32).flat_map(u32::to_le_bytes).collect()
}

fn serve(more: &str) -> Server {
    let site = Site::code(CODE).ini(more);
    std::fs::write(site.path("file"), content()).unwrap();
    std::fs::write(site.path("small"), "small text").unwrap();
    let zipped = std::fs::File::create(site.path("file.gz")).unwrap();
    let mut zipped = flate2::write::GzEncoder::new(zipped, flate2::Compression::fast());
    zipped.write_all(&content()).unwrap();
    zipped.finish().unwrap();
    site.start()
}

/// The body is this, and the length was said.
fn sends(server: &Server, path: &str, body: &[u8]) {
    let answer = server.get(path);
    assert_eq!(answer.status, 200, "{path}");
    assert!(answer.body == body, "{path}: {} bytes instead of {}", answer.body.len(), body.len());
    assert_eq!(answer.field("content-length"), Some(body.len().to_string().as_str()), "{path}");
}

#[test]
fn a_file_is_sent_from_where_it_stands() {
    let server = serve("");
    let content = content();
    for path in ["/whole", "/raw"] {
        sends(&server, path, &content);
    }
    sends(&server, "/behind", &content[70001..]);
    sends(&server, "/ahead", &content[5..]);
    sends(&server, "/end", b"");
    sends(&server, "/proxy", &content[3..]);
    sends(&server, "/temporary", b"xxxxxxxxx");
    sends(&server, "/text", b"small text");
    server.wait_for("via sendfile()");
}

#[test]
fn a_length_that_was_said_holds() {
    let server = serve("");
    sends(&server, "/short", &content()[..100_000]);
    let mut client = server.connect();
    client.send("HEAD /whole HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(client.answer_head().field("content-length"), Some("1200000"));
    assert_eq!(client.get("/text").ok(), "small text");
}

#[test]
fn what_is_no_plain_file_is_read() {
    let server = serve("");
    let body = |path: &str| server.get(path).body;
    let content = content();
    assert!(body("/gzip") == content, "the descriptor of a compressed file has other bytes");
    assert!(body("/proxied-gzip") == content, "so has that behind a wrapper");
    assert_eq!(body("/bytes"), b"bytes");
    assert_eq!(body("/named"), b"in blocks");
    server.wait_for("closed the named one");
    assert_eq!(body("/counted"), b"text");
    assert_eq!(body("/pipe"), b"piped");
}

#[test]
fn a_wrapper_may_be_one_item_of_many() {
    let server = serve("");
    let content = content();
    let expected = [b"before small text bytes ", &content[content.len() - 70_000..], b" behind"].concat();
    assert!(server.get("/several").body == expected);
}

#[test]
fn a_slow_reader_holds_no_core() {
    let server = serve("");
    let file = std::fs::File::create(server.path("file")).unwrap();
    file.set_len(100 << 20).unwrap();
    let mut slow = server.connect();
    slow.send("GET /whole HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = slow.answer_head();
    assert_eq!(head.field("content-length"), Some("104857600"));
    sends(&server, "/text", b"small text");
    assert!(slow.exactly(100 << 20).iter().all(|byte| *byte == 0));
    assert_eq!(slow.get("/text").ok(), "small text");
}

#[test]
fn there_is_none_where_nobody_wants_it() {
    let code = r#"
        def application(environ, start_response):
            start_response("200 OK", [])
            return [str("wsgi.file_wrapper" in environ).encode()]
    "#;
    for (lines, there) in [("", "True"), ("wsgi-disable-file-wrapper = true", "False")] {
        assert_eq!(Site::code(code).ini(lines).start().get("/").ok(), there);
    }
}
