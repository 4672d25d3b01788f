//! What the protocols of front ends have in common: the rows of their corpora as raw bytes against a running server,
//! and environs next to real uWSGI.

use std::io::Read;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;

use crate::harness::packet::{fastcgi, nginx_params, nginx_with, packet, real_uwsgi_by, scgi, vars};
use crate::harness::{Client, Server, Site, app};

/// With `tests/apps/NAME`, and nothing to listen on yet.
pub fn site(name: &str) -> Site {
    let site = Site::empty().ini("wsgi-file = app.py");
    std::fs::copy(app(name), site.path("app.py")).unwrap();
    site
}

/// All that comes out of `STDOUT` of FastCGI, whatever the request; other answers as they are.
fn unframed(protocol: &str, mut answer: &[u8]) -> Vec<u8> {
    if protocol != "fastcgi" {
        return answer.to_vec();
    }
    let mut out = Vec::new();
    while let Some((&[1, kind, _, _, length1, length0, padding, _], rest)) = answer.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([length1, length0]));
        if kind == 6 {
            out.extend_from_slice(&rest[..length]);
        }
        answer = &rest[length + usize::from(padding)..];
    }
    out
}

/// What `tests/apps/conformance.py` saw, if it ran.
fn seen(protocol: &str, answer: &[u8]) -> Option<Value> {
    let answer = unframed(protocol, answer);
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    serde_json::from_slice(&answer[body..]).ok()
}

fn corpus(protocol: &str) {
    let ini = format!("{protocol}-socket = 127.0.0.1:0\nbuffer-size = 4096\nprocesses = 2");
    let server = site("conformance.py").ini(&ini).start();
    let workers = server.workers();
    let path = crate::harness::project().join(format!("tests/corpora/{protocol}/{protocol}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut wrong = Vec::new();
    for row in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let bytes = |key: &str| row[key].as_str().map(|text| BASE64_STANDARD.decode(text).unwrap());
        let raw = bytes("raw_b64").unwrap_or_else(|| {
            let (mut raw, packed) = (Vec::new(), bytes("raw_zb64").unwrap());
            flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut raw).unwrap();
            raw
        });
        let mut client = server.connect();
        // A server that has refused the start may have closed before the rest is sent.
        let _ = client.try_send(&raw).and_then(|()| client.try_finish_sending());
        let answer = client.rest();
        let seen = seen(protocol, &answer);
        // Answered by the server itself.
        let own = row["reply_type"].is_number() || row["app"] == false;
        let right = match (row["verdict"].as_str().unwrap(), row["prefer"].as_str()) {
            ("accept", _) if own => seen.is_none() && !answer.is_empty(),
            ("accept", _) | ("either", Some("accept")) => seen.is_some(),
            ("reject", _) | ("either", Some("reject")) => seen.is_none(),
            _ => true,
        };
        let length = row["body_len"].as_u64();
        if !right || seen.is_some_and(|seen| length.is_some_and(|length| seen["body"] != length)) {
            wrong.push(format!("{}: {:?}", row["id"], String::from_utf8_lossy(&answer)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(server.workers(), workers, "a worker died");
}

#[test]
fn the_corpus_of_uwsgi() {
    corpus("uwsgi");
}

#[test]
fn the_corpus_of_fastcgi() {
    corpus("fastcgi");
}

#[test]
fn the_corpus_of_scgi() {
    corpus("scgi");
}

/// The same requests to real uWSGI and to this server: heads and environs are the same.
fn same_as_uwsgi(option: &str, ask: impl Fn(&[(&str, &str)], &[u8]) -> Vec<u8>) {
    let ours = site("conformance.py").ini(&format!("{option} = app.sock")).start();
    let Some(theirs) = real_uwsgi_by(option, "conformance.py") else { return };
    let protocol = option.split('-').next().unwrap();
    let (long, length) = ("x".repeat(1000), "5");
    for (method, uri, more, body) in [
        ("GET", "/", &[][..], ""),
        ("GET", "/dir/page?a=b&c", &[("HTTP_X_EMPTY", ""), ("HTTPS", "on"), ("SERVER_PROTOCOL", "HTTP/1.0")], ""),
        ("GET", "/", &[("SCRIPT_NAME", "/app"), ("PATH_INFO", "/caf\u{e9}"), ("HTTP_LONG", &long)], ""),
        ("HEAD", "/", &[("REMOTE_USER", "me")], ""),
        ("POST", "/", &[("CONTENT_LENGTH", length), ("CONTENT_TYPE", "text/plain")], "hello"),
    ] {
        let mut said = vars(method, uri, more);
        if said.iter().all(|(name, _)| *name != "CONTENT_LENGTH" || body.is_empty()) {
            // uWSGI takes no empty one in SCGI.
            said.retain(|(name, _)| *name != "CONTENT_LENGTH");
        }
        let raw = ask(&said, body.as_bytes());
        let [mut ours, theirs] = [&ours, &theirs].map(|server: &Server| {
            let mut client = Client::unix(&server.path("app.sock"));
            client.send(&raw);
            let answer = unframed(protocol, &client.rest());
            let text = String::from_utf8(answer).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
            // The length of the body is that of an environ with our name in it.
            let head: Vec<String> =
                head.lines().filter(|line| !line.starts_with("Content-Length")).map(str::to_owned).collect();
            (head, serde_json::from_str::<Value>(body).unwrap_or_default())
        });
        if let Some(env) = ours.1.get_mut("env").and_then(Value::as_object_mut) {
            env.remove("SERVER_SOFTWARE").expect("our name");
        }
        assert_eq!(ours, theirs, "{option}: {method} {uri}");
    }
}

#[test]
fn environs_and_heads_are_those_of_uwsgi() {
    for option in ["fastcgi-socket", "fastcgi-nph-socket"] {
        same_as_uwsgi(option, |vars, body| fastcgi(1, false, vars, body));
    }
    for option in ["scgi-socket", "scgi-nph-socket"] {
        same_as_uwsgi(option, scgi);
    }
}

#[test]
fn persistent_uwsgi_serves_packet_after_packet() {
    let server = site("control.py").ini("puwsgi-socket = 127.0.0.1:0").start();
    let mut client = server.connect();
    let plain = [("REQUEST_METHOD", "GET"), ("PATH_INFO", "/size/10"), ("SERVER_PROTOCOL", "HTTP/1.1")];
    for _ in 0..3 {
        assert_eq!(client.send(packet(0, &plain)).answer().ok(), "x".repeat(10));
    }
    let post = [("REQUEST_METHOD", "POST"), ("PATH_INFO", "/read"), ("CONTENT_LENGTH", "5")];
    assert_eq!(client.send(packet(0, &post)).send("hello").answer().ok(), "5");
    // Two at once, and the second has no length: nobody could tell where a third one begins.
    let open = [("REQUEST_METHOD", "GET"), ("PATH_INFO", "/source/1")];
    client.send([packet(0, &plain), packet(0, &open)].concat());
    assert_eq!(client.answer().body.len(), 10);
    assert!(client.rest().ends_with(&[b'x'; 100_000]));
}

#[test]
fn behind_nginx() {
    let Some(fastcgi_params) = nginx_params("fastcgi") else { return };
    let Some(scgi_params) = nginx_params("scgi") else { return };
    let ini = "fastcgi-socket = fastcgi.sock\nscgi-socket = scgi.sock\nprocesses = 2";
    let server = site("control.py").ini(ini).start();
    let at = |name: &str| format!("unix:{}", server.path(name).display());
    // nginx knows no PATH_INFO by itself; of two with one name, the last one counts.
    let path = |name: &str| format!("{name}_param PATH_INFO $document_uri;");
    let own = "fastcgi_param SCRIPT_NAME ''; fastcgi_keep_conn on; fastcgi_buffer_size 64k; fastcgi_buffers 8 64k;";
    let outside = format!("upstream app {{ server {}; keepalive 4; }}", at("fastcgi.sock"));
    let inside = format!("{fastcgi_params}\n{} {own} location / {{ fastcgi_pass app; }}", path("fastcgi"));
    if let Some(nginx) = nginx_with(&outside, &inside) {
        crate::uwsgi::works_through(&nginx);
    }
    let own = "scgi_buffer_size 64k; scgi_buffers 8 64k;";
    let inside = format!("{scgi_params}\n{} {own} location / {{ scgi_pass {}; }}", path("scgi"), at("scgi.sock"));
    if let Some(nginx) = nginx_with("", &inside) {
        crate::uwsgi::works_through(&nginx);
    }
}
