//! Where sockets come from and what is set on them: from systemd, inetd and other starters, shared ones, mapped ones.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::gateways::site;
use crate::harness::packet::request;
use crate::harness::{Client, Server, Site, eventually};

/// Starts a site by a shell that has `socket` as its standard input, and does `before` first.
fn start_with(site: Site, socket: impl Into<OwnedFd>, before: &str) -> Server {
    site.write_ini();
    let mut command = std::process::Command::new("sh");
    let script = format!("{before} exec \"$@\"");
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_ruwsgi"), "--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    command.stdin(Stdio::from(socket.into()));
    let server = Server::of(command, site);
    server.wait_for_workers(1);
    server
}

/// What systemd does: the socket is descriptor 3, and the variables say so.
fn activation(name: &str) -> String {
    format!("exec 3<&0 0</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES={name};")
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[test]
fn systemd_passes_a_socket_that_nobody_names() {
    for (name, speaks_http) in [("http", true), ("app.socket", false)] {
        let (socket, address) = listener();
        let server = start_with(site("inspect.py"), socket, &activation(name));
        let mut client = Client::tcp(address);
        if speaks_http {
            assert_eq!(client.get("/").status, 200);
        } else {
            assert_eq!(client.send(request("GET", "/", &[])).answer().status, 200);
        }
        server.wait_for(&format!("on {address} (descriptor 3"));
        // A reload keeps it.
        server.signal(nix::sys::signal::Signal::SIGHUP);
        server.wait_for_workers(2);
        let mut client = Client::tcp(address);
        let raw = if speaks_http { b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec() } else { request("GET", "/", &[]) };
        assert_eq!(client.send(raw).answer().status, 200);
        // What is told to the server is not told to the application.
        let environment = std::fs::read(format!("/proc/{}/environ", server.zygote().pid)).unwrap();
        assert!(!String::from_utf8_lossy(&environment).contains("LISTEN_"));
    }
}

#[test]
fn a_socket_of_systemd_goes_to_the_option_that_names_it_or_its_address() {
    let (socket, address) = listener();
    let server = start_with(site("hello.py").ini("http-socket = fd://web"), socket, &activation("web"));
    assert_eq!(Client::tcp(address).get("/").ok(), "Hello, world!");
    server.stop();
    let site = site("hello.py").ini("http-socket = app.sock");
    let socket = UnixListener::bind(site.path("app.sock")).unwrap();
    let server = start_with(site, socket, &activation("whatever"));
    assert_eq!(Client::unix(&server.path("app.sock")).get("/").ok(), "Hello, world!");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    server.wait_for("stopped");
    assert!(server.path("app.sock").exists(), "it is systemd's");
}

#[test]
fn variables_for_another_process_mean_nothing() {
    let (socket, _) = listener();
    let before = "exec 3<&0 0</dev/null; export LISTEN_PID=1 LISTEN_FDS=1;";
    let server = start_with(site("hello.py").ini("http-socket = 127.0.0.1:0"), socket, before);
    assert_eq!(server.get("/").ok(), "Hello, world!");
    assert!(!server.log.text().contains("descriptor 3"));
}

#[test]
fn standard_input_can_be_a_socket() {
    let (socket, address) = listener();
    let server = start_with(site("hello.py").ini("protocol = http"), socket, "");
    assert_eq!(Client::tcp(address).get("/").ok(), "Hello, world!");
    server.stop();
    let (socket, address) = listener();
    let ini = "http-socket = 127.0.0.1:0\nskip-zero = true";
    let server = start_with(site("hello.py").ini(ini), socket.try_clone().unwrap(), "");
    assert_eq!(server.get("/").ok(), "Hello, world!");
    assert!(!server.log.text().contains(&address.to_string()));
}

#[test]
fn a_descriptor_can_be_named() {
    let (socket, address) = listener();
    let server = start_with(site("hello.py").ini("http-socket = fd://5"), socket, "exec 5<&0 0</dev/null;");
    assert_eq!(Client::tcp(address).get("/").ok(), "Hello, world!");
    server.stop();
    for (said, word) in [("fd://99", "no open descriptor"), ("fd://1", "no socket"), ("fd://x", "names no descriptor")]
    {
        let ended = site("hello.py").ini(&format!("http-socket = {said}")).run();
        ended.failed(1, &["http-socket", said, word, "uwsgi.ini:3"]);
    }
}

#[test]
fn a_shared_socket_is_named_by_its_number() {
    let ini = "shared-socket = 127.0.0.1:0\nshared-socket = app.sock\nhttp-socket = =0\nsocket = =1";
    let server = site("hello.py").ini(ini).start();
    assert_eq!(server.get("/").ok(), "Hello, world!");
    let mut client = Client::unix(&server.path("app.sock"));
    assert_eq!(client.send(request("GET", "/", &[])).answer().ok(), "Hello, world!");
    let ended = site("hello.py").ini("shared-socket = 127.0.0.1:0\nhttp-socket = =1").run();
    ended.failed(1, &["http-socket", "=1", "there are 1", "uwsgi.ini:4"]);
}

#[test]
fn a_mapped_socket_is_served_by_its_workers_alone() {
    let ini = "http-socket = one.sock\nhttp-socket = two.sock\nhttp-socket = all.sock\nprocesses = 2\n\
               map-socket = 0:1\nmap-socket = 1:2";
    let server = site("control.py").ini(ini).start();
    let pid = |name: &str| Client::unix(&server.path(name)).get("/pid").ok().to_owned();
    let (one, two) = (pid("one.sock"), pid("two.sock"));
    assert_ne!(one, two);
    for _ in 0..20 {
        assert_eq!((pid("one.sock"), pid("two.sock")), (one.clone(), two.clone()));
    }
    eventually("both workers serve the third one", || {
        let seen = [pid("all.sock"), pid("all.sock")];
        (seen[0] != seen[1] || [&one, &two].contains(&&seen[0])).then_some(())
    });
    for (said, word) in [("3:1", "no socket 3"), ("0:3", "no worker 3"), ("0", "0:1,2")] {
        let ended =
            site("control.py").ini(&format!("http-socket = a.sock\nhttp-socket = b.sock\nmap-socket = {said}")).run();
        ended.failed(1, &["map-socket", word, "uwsgi.ini:5"]);
    }
}

#[test]
fn sockets_are_tuned() {
    let (taken, address) = listener();
    drop(taken);
    let ini = format!(
        "http-socket = {address}\nhttp-socket = app.sock\nreuse-port = true\nso-keepalive = true\nsocket-sndbuf = 100000\n\
         socket-rcvbuf = 50000\ntcp-fast-open = 5\ntcp-nodelay = true"
    );
    let server = site("hello.py").ini(&ini).start();
    let other = site("hello.py").ini(&format!("http-socket = {address}\nreuse-port = true")).start();
    assert_eq!([server.get("/").ok(), other.get("/").ok()], ["Hello, world!"; 2]);
    // An address of nobody (RFC 5737).
    let ini = "http-socket = 192.0.2.1:0\nhttp-socket = 127.0.0.1:0";
    site("hello.py").ini(ini).run().failed(1, &["192.0.2.1", "no address of this machine"]);
    site("hello.py").ini(ini).ini("freebind = true").start();
}

/// How the kernel sees the server's end of a connection, as in `/proc/net/tcp`: 1 is established, 3 is one whose client has
/// said nothing yet.
fn state(server: SocketAddr, client: &Client) -> Option<u8> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ends = [server, client.local()].map(|end| format!(":{:04X}", end.port()));
    let mut rows = table.lines().map(|row| row.split_ascii_whitespace().collect::<Vec<_>>());
    let row = rows.find(|row| row[1].ends_with(&ends[0]) && row[2].ends_with(&ends[1]))?;
    u8::from_str_radix(row[3], 16).ok()
}

/// The state of one that has just connected. The kernel waits for a second: who was kept from looking looks again.
fn state_of_silence(server: SocketAddr) -> u8 {
    loop {
        let begun = Instant::now();
        let client = Client::tcp(server);
        let seen = state(server, &client);
        if begun.elapsed() < Duration::from_millis(900) {
            return seen.unwrap();
        }
    }
}

#[test]
fn who_says_nothing_is_accepted_a_second_later() {
    let server = site("hello.py").ini("http-socket = 127.0.0.1:0").start();
    let address = server.address();
    assert_eq!(state_of_silence(address), 3);
    let mut client = Client::tcp(address);
    eventually("its being accepted all the same", || (state(address, &client)? == 1).then_some(()));
    assert_eq!(client.get("/").ok(), "Hello, world!");
    // A socket that listens already is changed by a reload.
    let ini = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{ini}no-defer-accept = true\n"));
    server.signal(nix::sys::signal::Signal::SIGHUP);
    server.wait_for_workers(2);
    assert_eq!(state_of_silence(address), 1);
}

#[test]
fn who_may_have_to_be_spoken_to_first_is_accepted_at_once() {
    let (_silent, behind) = listener();
    let ini = "shared-socket = 127.0.0.1:0\nhttp-socket = =0\nrawrouter = 127.0.0.1:0\nrawrouter-to = ";
    let server = site("hello.py").ini(&format!("{ini}{behind}")).start();
    let addresses = server.addresses();
    assert_eq!(addresses.len(), 2);
    for address in addresses {
        assert_eq!(state_of_silence(address), 1, "{address}");
    }
}
