//! FastCGI from outside: records to the real server.

use crate::gateways::site;
use crate::harness::packet::{fastcgi, fastcgi_answer, fastcgi_record, record, vars};
use crate::harness::{Client, Server};

fn serve(name: &str) -> Server {
    site(name).ini("fastcgi-socket = 127.0.0.1:0").start()
}

fn get(id: u16, path: &str) -> Vec<u8> {
    fastcgi(id, true, &vars("GET", path, &[]), b"")
}

/// What an answer says after its head, which must be a 200.
#[track_caller]
fn ok(answer: &(Vec<u8>, u8)) -> String {
    let text = String::from_utf8_lossy(&answer.0).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    assert!(head.starts_with("Status: 200 OK\r\n") && answer.1 == 0, "{head}");
    body.to_owned()
}

/// One request that keeps the connection, and its answer.
fn ask(client: &mut Client, id: u16, path: &str) -> String {
    client.send(get(id, path));
    ok(&fastcgi_answer(client, id))
}

#[test]
fn a_connection_is_kept_where_that_is_asked_for() {
    let server = site("control.py").ini("fastcgi-socket = 127.0.0.1:0\nhttp-keepalive = 0").start();
    let mut client = server.connect();
    for id in [1, 1, 256, 65_535] {
        assert_eq!(ask(&mut client, id, "/size/5"), "xxxxx");
    }
    client.send([get(2, "/size/1"), get(3, "/size/2")].concat());
    assert_eq!([ok(&fastcgi_answer(&mut client, 2)), ok(&fastcgi_answer(&mut client, 3))], ["x", "xx"]);
    // A response without a length has an end all the same.
    assert_eq!(ask(&mut client, 4, "/source/3").len(), 300_000);
    assert_eq!(ask(&mut client, 5, "/"), "hello");
    client.send(fastcgi(6, false, &vars("GET", "/", &[]), b""));
    assert_eq!(ok(&fastcgi_answer(&mut client, 6)), "hello");
    client.closed();
}

#[test]
fn bodies_of_all_sizes_come_and_go() {
    let server = serve("control.py");
    let mut client = server.connect();
    for size in [0, 1, 65_535, 65_536, 3_000_000] {
        let length = size.to_string();
        let vars = vars("POST", "/read", &[("CONTENT_LENGTH", &length)]);
        client.send(fastcgi(1, true, &vars, &vec![b'x'; size]));
        assert_eq!(ok(&fastcgi_answer(&mut client, 1)), length);
        assert_eq!(ask(&mut client, 2, &format!("/size/{size}")).len(), size);
    }
    // Nobody has said how long it is: the stream has an end.
    client.send(fastcgi(3, true, &vars("POST", "/read", &[]), b"hello"));
    assert_eq!(ok(&fastcgi_answer(&mut client, 3)), "5");
    // More than was said is not the application's.
    client.send(fastcgi(4, true, &vars("POST", "/read", &[("CONTENT_LENGTH", "3")]), b"hello"));
    assert_eq!(ok(&fastcgi_answer(&mut client, 4)), "3");
}

#[test]
fn a_body_that_nobody_reads_ends_the_connection_and_not_the_answer() {
    let server = serve("control.py");
    let mut client = server.connect();
    let vars = vars("POST", "/", &[("CONTENT_LENGTH", "3000000")]);
    let raw = fastcgi(1, true, &vars, &[b'x'; 3_000_000]);
    client.send(&raw[..2_000_000]);
    assert_eq!(ok(&fastcgi_answer(&mut client, 1)), "hello");
    client.closed();
}

#[test]
fn files_are_cut_into_records() {
    let server = site("control.py").ini("fastcgi-socket = 127.0.0.1:0\nstatic-map = /files=files").launch_with_files();
    let mut client = server.connect();
    for (name, size) in SIZES {
        let body = ask(&mut client, 1, &format!("/files/{name}"));
        assert!(body == content(size), "{name}: {} bytes", body.len());
    }
    // Slowly: the rest waits in the file, and the worker serves others meanwhile.
    let mut slow = server.connect();
    slow.send(get(7, "/files/large"));
    let first = fastcgi_record(&mut slow);
    assert_eq!((first.0, first.1), (6, 7));
    assert_eq!(ask(&mut client, 1, "/"), "hello");
    let (rest, ended) = fastcgi_answer(&mut slow, 7);
    let text = String::from_utf8([first.2, rest].concat()).unwrap();
    assert!(text.ends_with(&content(SIZES[3].1)) && ended == 0);
    assert_eq!(ask(&mut slow, 8, "/"), "hello");
}

const SIZES: [(&str, usize); 4] = [("empty", 0), ("small", 10_000), ("record", 65_536), ("large", 20_000_003)];

fn content(size: usize) -> String {
    (0..size).map(|number| char::from(b'a' + (number % 23) as u8)).collect()
}

trait WithFiles {
    fn launch_with_files(self) -> Server;
}

impl WithFiles for crate::harness::Site {
    fn launch_with_files(self) -> Server {
        std::fs::create_dir(self.path("files")).unwrap();
        for (name, size) in SIZES {
            std::fs::write(self.path("files").join(name), content(size)).unwrap();
        }
        self.start()
    }
}

#[test]
fn one_request_at_a_time() {
    let server = serve("control.py");
    let mut client = server.connect();
    let first = get(1, "/size/3");
    // Between the beginning of a request and the rest of it.
    client.send(&first[..16]).send(get(2, "/"));
    assert_eq!(fastcgi_record(&mut client), (3, 2, vec![0, 0, 0, 0, 1, 0, 0, 0]), "CANT_MPX_CONN");
    client.send(&first[16..]);
    assert_eq!(ok(&fastcgi_answer(&mut client, 1)), "xxx");
}

#[test]
fn a_request_can_be_given_up() {
    let server = serve("control.py");
    let mut client = server.connect();
    let whole = get(1, "/");
    client.send(&whole[..16]).send(record(2, 1, b""));
    assert_eq!(fastcgi_answer(&mut client, 1), (Vec::new(), 0));
    assert_eq!(ask(&mut client, 1, "/"), "hello");
    let post = fastcgi(1, true, &vars("POST", "/read", &[("CONTENT_LENGTH", "9")]), b"hello");
    client.send(&post[..post.len() - 8]).send(record(2, 1, b""));
    assert_eq!(fastcgi_answer(&mut client, 1), (Vec::new(), 0));
    client.closed();
}

#[test]
fn the_connection_itself_can_be_asked() {
    let server = serve("hello.py");
    let mut client = server.connect();
    client.send(record(9, 0, b"\x0f\0FCGI_MPXS_CONNS\x03\0FOO"));
    assert_eq!(fastcgi_record(&mut client), (10, 0, b"\x0f\x01FCGI_MPXS_CONNS0".to_vec()));
    client.send(record(77, 0, b"?"));
    assert_eq!(fastcgi_record(&mut client), (11, 0, vec![77, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(ask(&mut client, 1, "/"), "Hello, world!");
}

#[test]
fn what_is_refused_is_told_in_its_words() {
    let server = serve("hello.py");
    let mut client = server.connect();
    client.send(record(1, 1, &[0, 2, 1, 0, 0, 0, 0, 0]));
    assert_eq!(fastcgi_record(&mut client), (3, 1, vec![0, 0, 0, 0, 3, 0, 0, 0]), "UNKNOWN_ROLE");
    client.closed();
    let line = server.wait_for("FastCGI role");
    assert!(line.contains("(role 2)"), "{line}");
    let mut client = server.connect();
    client.send(fastcgi(1, true, &vars("GET", "/", &[("UWSGI_FILE", "/x")]), b""));
    let (out, ended) = fastcgi_answer(&mut client, 1);
    assert!(out.starts_with(b"Status: 400 Bad Request\r\n") && ended == 0);
    client.closed();
    let mut client = server.connect();
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").closed();
}

#[test]
fn a_response_that_misses_a_part_has_no_end() {
    let code = "
        def application(environ, start_response):
            start_response('200 OK', [('Content-Length', '9')])
            return [b'short']
    ";
    let site = crate::harness::Site::empty().ini("wsgi-file = app.py\nfastcgi-socket = 127.0.0.1:0");
    site.write("app.py", &crate::harness::dedent(code));
    let server = site.start();
    let mut client = server.connect();
    let answer = client.send(get(1, "/")).rest();
    assert!(answer.ends_with(b"short"), "{answer:?}");
}

#[test]
fn a_connection_outlives_its_worker() {
    let server = serve("control.py");
    let mut client = server.connect();
    let before = ask(&mut client, 1, "/pid");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for("done after");
    assert_ne!(ask(&mut client, 2, "/pid"), before);
}
