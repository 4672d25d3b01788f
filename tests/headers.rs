//! `add-header` and `rem-header`, and what a server that is not HTTP's makes of them.

use crate::gateways::site;
use crate::harness::packet::request;
use crate::harness::{Client, Site};

const INI: &str = "add-header = X-Frame-Options: DENY\nadd-header = X-A: 1\nadd-header = X-A: 2\nrem-header = x-secret\n\
                   del-header = Server\nhttp-auto-chunked = true\nhttp-chunked-input = true";

#[test]
fn fields_are_added_to_all_responses_and_removed_from_all() {
    let code = "
        def application(environ, start_response):
            start_response('200 OK', [('X-Secret', 'x'), ('Server', 'x'), ('X-A', '0'), ('X-B', 'y')])
            return [b'hello']
    ";
    let site = Site::code(code).ini(INI).ini("socket = app.sock\nstatic-map = /static=.");
    let server = site.start();
    let answer = server.get("/");
    assert_eq!(answer.all("x-a"), ["0", "1", "2"]);
    assert_eq!((answer.field("x-frame-options"), answer.field("x-b")), (Some("DENY"), Some("y")));
    assert_eq!((answer.field("x-secret"), answer.field("server")), (None, None));
    assert_eq!(server.get("/static/app.py").all("x-a"), ["1", "2"]);
    let mut client = Client::unix(&server.path("app.sock"));
    assert_eq!(client.send(request("GET", "/", &[])).answer().all("x-a"), ["0", "1", "2"]);
}

#[test]
fn a_connection_can_be_closed_by_it() {
    let server = site("hello.py").ini("http-socket = 127.0.0.1:0\nadd-header = Connection: close").start();
    let mut client = server.connect();
    assert_eq!(client.get("/").ok(), "Hello, world!");
    client.closed();
    let ended = site("hello.py").ini("http-socket = 127.0.0.1:0\nadd-header = nonsense").run();
    ended.failed(1, &["add-header", "nonsense", "uwsgi.ini:4"]);
}
