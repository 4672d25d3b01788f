//! The fastrouter: packets of front ends to backends of all protocols.

use std::process::Command;

use crate::harness::backend::{Backend, nobody};
use crate::harness::packet::{nginx, packet, program, real_uwsgi, request};
use crate::harness::{Client, Server, Site, app, eventually};

/// A backend with `tests/apps/control.py`, listening by this option at `app.sock`.
fn backend(option: &str) -> Server {
    let site = Site::empty().ini(&format!("wsgi-file = app.py\n{option} = app.sock"));
    std::fs::copy(app("control.py"), site.path("app.py")).unwrap();
    site.start()
}

fn router(ini: &str) -> Server {
    let server = Site::empty().ini("fastrouter = 127.0.0.1:0").ini(ini).launch();
    server.wait_for("fastrouter 1 (pid ");
    server
}

fn ask(server: &Server, packet: &[u8]) -> String {
    String::from_utf8(server.connect().send(packet).rest()).unwrap()
}

#[test]
fn packets_reach_backends_of_each_protocol() {
    for (option, scheme) in
        [("uwsgi-socket", ""), ("http-socket", "http://"), ("fastcgi-socket", "fastcgi://"), ("scgi-socket", "scgi://")]
    {
        let backend = backend(option);
        let server = router(&format!("fastrouter-to = {scheme}{}", backend.path("app.sock").display()));
        let answer = ask(&server, &request("GET", "/size/5", &[]));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nxxxxx"), "{option}: {answer}");
        let body = "b".repeat(100_000);
        let post = [&request("POST", "/sink", &[("CONTENT_LENGTH", "100000")])[..], body.as_bytes()].concat();
        assert!(ask(&server, &post).ends_with("\r\n\r\n100000"), "{option}");
        let streamed = ask(&server, &request("GET", "/source/20", &[]));
        assert!(streamed.len() > 2_000_000 && streamed.ends_with("xxx"), "{option}: {} bytes", streamed.len());
    }
}

#[test]
fn packets_of_any_kind_pass_as_they_are() {
    let backend = Backend::new(|_, stream| {
        use std::io::{Read, Write};
        let mut head = [0; 4];
        stream.read_exact(&mut head).unwrap();
        let mut block = vec![0; usize::from(u16::from_le_bytes([head[1], head[2]]))];
        stream.read_exact(&mut block).unwrap();
        let mut body = [0; 3];
        stream.read_exact(&mut body).unwrap();
        let told = format!("no HTTP: {head:?} {} {}", block.len(), String::from_utf8_lossy(&body));
        stream.write_all(told.as_bytes()).unwrap();
    });
    let server = router(&format!("fastrouter-to = {}", backend.address));
    let packet = packet(173, &[("HTTP_HOST", "a"), ("CONTENT_LENGTH", "3")]);
    let told = ask(&server, &[&packet[..], b"abc"].concat());
    assert_eq!(told, format!("no HTTP: [173, {}, 0, 0] {} abc", packet.len() - 4, packet.len() - 4));
}

#[test]
fn the_key_is_what_uwsgi_takes_for_it() {
    let backend = backend("uwsgi-socket");
    let folder = backend.path("").display().to_string();
    let server = router(&format!("fastrouter-use-base = {folder}"));
    let status = |vars: &[(&str, &str)]| ask(&server, &request("GET", "/", vars)).get(9..12).map(str::to_owned);
    assert_eq!(status(&[("UWSGI_FASTROUTER_KEY", "app.sock"), ("HTTP_HOST", "b")]).as_deref(), Some("200"));
    assert_eq!(status(&[("HTTP_HOST", "app.sock")]).as_deref(), Some("200"));
    assert_eq!(status(&[("HTTP_HOST", "nothing")]).as_deref(), Some("503"));
    assert_eq!(status(&[("HTTP_HOST", "../app.sock")]).as_deref(), Some("503"));
    let forced = router(&format!("fastrouter-use-base = {folder}\nfastrouter-force-key = app.sock"));
    assert!(ask(&forced, &request("GET", "/", &[("HTTP_HOST", "b")])).ends_with("hello"));
}

#[test]
fn what_is_no_packet_is_not_passed_on() {
    let server = router(&format!("fastrouter-to = {}", nobody()));
    for bytes in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], b"\x16\x03\x01\x02\x00\x01", &[5, 3, 0, 0, 9, 9, 9]] {
        let mut client = server.connect();
        let _ = client.try_send(bytes);
        assert_eq!(client.rest(), b"", "{bytes:?}");
    }
    let answer = ask(&server, &request("GET", "/", &[]));
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("Retry-After: 1\r\n"), "{answer}");
    assert_eq!(ask(&server, &[100, 0, 0, 0]).as_bytes(), [100, 0, 0, 1], "it is there");
}

#[test]
fn bodies_can_be_received_first() {
    let backend = backend("uwsgi-socket");
    let to = backend.path("app.sock").display().to_string();
    let server = router(&format!("fastrouter-to = {to}\nfastrouter-post-buffering = 1000"));
    let post = [&request("POST", "/sink", &[("CONTENT_LENGTH", "50000")])[..], &[b'x'; 50_000]].concat();
    assert!(ask(&server, &post).ends_with("\r\n\r\n50000"));
}

#[test]
fn nginx_stands_before_it_and_real_uwsgi_behind() {
    let Some(theirs) = real_uwsgi("control.py") else { return };
    let server = router(&format!("fastrouter-to = {}", theirs.path("app.sock").display()));
    let Some(nginx) = nginx(&server.address().to_string()) else { return };
    let mut client = Client::unix(&nginx.path("nginx.sock"));
    assert_eq!(client.get("/").ok(), "hello");
    assert_eq!(client.post("/read", "abc").ok(), "3");
    assert_eq!(client.get("/source/5").body.len(), 500_000);
}

#[test]
fn our_workers_serve_behind_the_fastrouter_of_real_uwsgi() {
    let Some(uwsgi) = program("uwsgi") else { return };
    let ours = backend("uwsgi-socket");
    let (site, address) = (Site::empty(), crate::harness::apps::loopback(8000));
    let mut command = Command::new(uwsgi);
    let to = ours.path("app.sock").display().to_string();
    command.args(["--fastrouter", &address.to_string(), "--fastrouter-to", &to, "--master"]);
    site.dress(&mut command);
    let _front = Server::of(command, site);
    eventually("the fastrouter listens", || std::net::TcpStream::connect(address).ok());
    let answer = Client::tcp(address).send(request("GET", "/", &[])).rest();
    assert!(answer.ends_with(b"\r\n\r\nhello"), "{}", String::from_utf8_lossy(&answer));
}
