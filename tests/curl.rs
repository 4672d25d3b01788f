//! `ruwsgi curl`: what it asks, and what it shows.

use crate::gateways::site;
use crate::harness::packet::real_uwsgi_by;
use crate::harness::{Ended, Server};

fn curl<const N: usize>(server: &Server, words: [&str; N]) -> Ended {
    let words: Vec<&str> = ["curl"].into_iter().chain(words).collect();
    server.site.run_with(words)
}

#[test]
fn every_protocol_is_spoken() {
    let sockets =
        "socket = uwsgi.sock\nfastcgi-socket = fastcgi.sock\nscgi-socket = scgi.sock\nhttp-socket = http.sock";
    let server = site("conformance.py").ini(sockets).start();
    for protocol in ["uwsgi", "fastcgi", "scgi", "http"] {
        let url = format!("{protocol}://unix:{protocol}.sock:/a%20b?c=d");
        let ended = curl(&server, ["-v", "-H", "X-Foo: bar", "-d", "hello", &url]);
        assert_eq!(ended.code, 0, "{ended:?}");
        let seen: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        let env = &seen["env"];
        assert_eq!((&seen["body"], env["REQUEST_METHOD"].as_str()), (&5.into(), Some("POST")), "{seen}");
        assert_eq!((env["PATH_INFO"].as_str(), env["QUERY_STRING"].as_str()), (Some("/a b"), Some("c=d")));
        assert_eq!((env["HTTP_X_FOO"].as_str(), env["REQUEST_URI"].as_str()), (Some("bar"), Some("/a%20b?c=d")));
        let told = if protocol == "http" { "> POST /a%20b?c=d HTTP/1.1" } else { "> HTTP_X_FOO = bar" };
        assert!(ended.log.contains(told) && ended.log.contains("< Content-Type: application/json"), "{}", ended.log);
        assert!(ended.log.contains("* connected after "), "{}", ended.log);
    }
    let head = curl(&server, ["-I", "--unix-socket", "http.sock", "example.com/x"]);
    assert!(head.out.starts_with("HTTP/1.1 200 OK\r\n") && head.out.ends_with("\r\n\r\n"), "{head:?}");
}

#[test]
fn what_goes_wrong_is_told_and_fails() {
    let server = site("control.py").ini("socket = app.sock").start();
    curl(&server, ["-f", "uwsgi://unix:app.sock:/gate"]).failed(1, &[]);
    assert_eq!(curl(&server, ["uwsgi://unix:app.sock:/gate"]).code, 0);
    curl(&server, ["scgi://unix:app.sock"]).failed(1, &["app.sock", "without an answer"]);
    curl(&server, ["scgi://unix:gone.sock"]).failed(1, &["gone.sock", "can't connect"]);
    curl(&server, ["gopher://a"]).failed(1, &["gopher://a", "protocol"]);
    curl(&server, ["-H", "nonsense", "uwsgi://unix:app.sock"]).failed(1, &["nonsense", "header field"]);
    curl(&server, ["--modifier1", "17", "uwsgi://unix:app.sock"]).failed(1, &["without an answer"]);
}

#[test]
fn real_uwsgi_answers_too() {
    for protocol in ["uwsgi", "fastcgi", "scgi", "http"] {
        let Some(server) = real_uwsgi_by(&format!("{protocol}-socket"), "control.py") else { return };
        let ended = curl(&server, ["-i", &format!("{protocol}://unix:app.sock:/size/200000")]);
        assert_eq!(ended.code, 0, "{protocol}: {ended:?}");
        assert!(ended.out.lines().next().unwrap().contains(" 200 OK") && ended.out.ends_with(&"x".repeat(200_000)));
    }
}
