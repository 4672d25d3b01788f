//! The rawrouter: bytes both ways, and what backends are told about their clients.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::harness::backend::{Backend, nobody};
use crate::harness::{Server, Site};

fn router(ini: &str) -> Server {
    let server = Site::empty().ini("rawrouter = 127.0.0.1:0").ini(ini).launch();
    server.wait_for("rawrouter 1 (pid ");
    server
}

/// Sends back what comes, and a word at the end.
fn echo() -> Backend {
    Backend::new(|_, stream| {
        let mut some = [0; 65_536];
        while let Ok(got @ 1..) = stream.read(&mut some) {
            stream.write_all(&some[..got]).unwrap();
        }
        let _ = stream.write_all(b"bye");
    })
}

#[test]
fn bytes_pass_both_ways_and_ends_do() {
    let backend = echo();
    let server = router(&format!("rawrouter-to = {}\nrawrouter-to = {}", nobody(), backend.address));
    let mut client = server.connect();
    for word in ["one", "two", "\0\r\n\x7f"] {
        assert_eq!(client.send(word).exactly(word.len()), word.as_bytes());
    }
    assert_eq!(client.finish_sending().rest(), b"bye", "what comes behind the client's end comes through");
    let much = vec![b'x'; 3_000_000];
    let mut client = server.connect();
    let back = std::thread::scope(|scope| {
        let mut reader = std::net::TcpStream::connect(server.address()).unwrap();
        let mut writer = reader.try_clone().unwrap();
        scope.spawn(move || writer.write_all(&much).and_then(|()| writer.shutdown(Shutdown::Write)).unwrap());
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    assert_eq!(back.len(), 3_000_003);
    assert_eq!(client.send("still").exactly(5), b"still");
    drop(client);
    let lonely = router(&format!("rawrouter-to = {}", nobody()));
    lonely.connect().closed();
}

#[test]
fn backends_are_told_who_their_client_is() {
    let backend = Backend::new(|_, stream| {
        let mut some = [0; 200];
        let got = stream.read(&mut some).unwrap();
        stream.write_all(&some[..got]).unwrap();
    });
    let server = router(&format!("rawrouter-to = {}\nrawrouter-proxy-protocol = 1", backend.address));
    let mut client = server.connect();
    let (from, to) = (client.local(), server.address());
    let told = String::from_utf8(client.rest()).unwrap();
    assert_eq!(told, format!("PROXY TCP4 {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()));
    let server = router(&format!("rawrouter-to = {}\nrawrouter-proxy-protocol = 2", backend.address));
    let told = server.connect().rest();
    assert_eq!((&told[..12], told.len()), (&b"\r\n\r\n\0\r\nQUIT\n"[..], 28));
}

#[test]
fn our_own_sockets_understand_it() {
    let site = Site::app("inspect.py").ini("enable-proxy-protocol = true");
    let ours = site.start();
    let server = router(&format!("rawrouter-to = {}\nrawrouter-proxy-protocol = 2", ours.address()));
    let mut client = server.connect();
    let port = client.local().port().to_string();
    assert_eq!(client.get("/").json()["env"]["REMOTE_PORT"], port);
}

#[test]
fn an_smtp_server_is_told_after_its_greeting() {
    let backend = Backend::new(|_, stream| {
        stream.write_all(b"220 first\r\n").unwrap();
        let mut some = [0; 200];
        let got = stream.read(&mut some).unwrap();
        assert_eq!(&some[..got], b"XCLIENT ADDR=127.0.0.1\r\n");
        stream.write_all(b"220 second\r\n").unwrap();
        let got = stream.read(&mut some).unwrap();
        stream.write_all(&some[..got]).unwrap();
    });
    let server = router(&format!("rawrouter-to = {}\nrawrouter-xclient = true", backend.address));
    let mut client = server.connect();
    assert_eq!(client.exactly(12), b"220 second\r\n");
    assert_eq!(client.send("EHLO a\r\n").rest(), b"EHLO a\r\n");
}

#[test]
fn silence_ends_it() {
    let server = router(&format!("rawrouter-to = {}\nrawrouter-timeout = 1", echo().address));
    let mut client = server.connect();
    assert_eq!(client.send("one").exactly(3), b"one");
    client.closed();
}
