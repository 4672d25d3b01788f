//! What routers know of instances that announce themselves, from process to process: several of them, the next one after
//! a reload, another one after a death.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use ruwsgi_wire::subscription::{Command, Packet};

use crate::harness::backend::Backend;
use crate::harness::{Client, Process, Server, Site, apps, eventually, under_load};

/// An HTTP router with these lines, and where it hears.
fn router(ini: &str) -> (Server, SocketAddr) {
    let ear = apps::loopback(7001);
    let site = Site::empty().ini(&format!("http = 127.0.0.1:0\nhttp-subscription-server = {ear}")).ini(ini);
    let server = site.launch();
    server.wait_for("http 1 (pid ");
    (server, ear)
}

fn backend(answer: &'static [u8]) -> Backend {
    Backend::saying(answer)
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";

fn say(ear: SocketAddr, command: Command, key: &str, address: SocketAddr) {
    let address = address.to_string();
    let (key, address) = (key.as_bytes(), address.as_bytes());
    let packet = Packet { command, key, address, proto: Some(b'h'), ..Packet::default() };
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&packet.write().unwrap(), ear).unwrap();
}

fn status(server: &Server, host: &str) -> u16 {
    server.answer_to(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).status
}

fn processes(server: &Server) -> Vec<Process> {
    let mut children = server.master().children();
    children.retain(|child| child.status("Name").is_some_and(|name| name.trim() == "ruwsgi-http"));
    children
}

#[test]
fn all_processes_know_what_one_has_heard() {
    let (server, ear) = router("http-processes = 3");
    server.wait_for("http 3 (pid ");
    let backend = backend(OK);
    say(ear, Command::Subscribe, "a", backend.address);
    server.log.wait_for_nth("new node", 3);
    for _ in 0..12 {
        assert_eq!(status(&server, "a"), 200);
    }
    // One that comes later is told by the others.
    processes(&server)[1].signal(Signal::SIGKILL);
    server.log.wait_for_nth("new node", 4);
    say(ear, Command::Unsubscribe, "a", backend.address);
    server.log.wait_for_nth("has left", 3);
    for _ in 0..12 {
        assert_eq!(status(&server, "a"), 503);
    }
    server.stop();
}

#[test]
fn the_only_process_dies_and_nobody_is_forgotten() {
    let (server, ear) = router("subscription-tolerance = 300");
    let born = Instant::now();
    let backend = backend(OK);
    let gone = crate::harness::backend::nobody();
    say(ear, Command::Subscribe, "a", backend.address);
    say(ear, Command::Subscribe, "b", gone);
    server.log.wait_for_nth("new node", 2);
    let keeps = |address: SocketAddr| {
        let files = std::fs::read_dir(format!("/proc/{}/fd", server.master().pid)).unwrap().flatten();
        let memory = files.filter(|file| {
            std::fs::read_link(file.path()).is_ok_and(|name| name.to_string_lossy().starts_with("/memfd:"))
        });
        let texts = memory.map(|file| String::from_utf8_lossy(&std::fs::read(file.path()).unwrap()).into_owned());
        texts.collect::<String>().contains(&address.to_string())
    };
    eventually("the master keeps what is known", || (keeps(backend.address) && keeps(gone)).then_some(()));
    say(ear, Command::Unsubscribe, "b", gone);
    server.wait_for("has left");
    eventually("and what has changed since", || (keeps(backend.address) && !keeps(gone)).then_some(()));
    // One that dies early may have died of what it was told.
    eventually("two seconds of life", || (born.elapsed() > Duration::from_millis(2_100)).then_some(()));
    let before = processes(&server)[0];
    before.signal(Signal::SIGKILL);
    server.wait_for("the next one comes now");
    assert_eq!([status(&server, "a"), status(&server, "b")], [200, 503]);
    server.log.wait_for_nth("new node", 3);
    assert!(!before.alive());
    server.stop();
}

#[test]
fn connections_are_shared_out_among_the_processes() {
    let backend = Backend::saying(OK);
    let lines = format!("http = 127.0.0.1:0\nhttp-to = http://{}\nhttp-processes = 3", backend.address);
    let server = Site::empty().ini(&lines).launch();
    (1..=3).for_each(|number| drop(server.wait_for(&format!("http {number} (pid "))));
    let clients: Vec<Client> = (0..240)
        .map(|_| {
            let mut client = server.connect();
            client.get("/");
            client
        })
        .collect();
    let sockets = |process: &Process| process.descriptors().iter().filter(|name| name.starts_with("socket:")).count();
    let shares: Vec<usize> = processes(&server).iter().map(sockets).collect();
    assert!(shares.iter().all(|share| *share > 40), "{shares:?} of {} connections", clients.len());
}

#[test]
fn a_reload_forgets_nobody() {
    let (server, ear) = router("subscription-tolerance = 300");
    let backend = backend(OK);
    say(ear, Command::Subscribe, "a", backend.address);
    server.wait_for("new node");
    let before = processes(&server);
    let answered = under_load(&server, || {
        for round in 0..3 {
            let text = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
            server.site.write("uwsgi.ini", &format!("{text}http-var = ROUND={round}\n"));
            server.signal(Signal::SIGHUP);
            server.log.wait_for_nth("http 1 (pid ", 2 * round + 2);
            eventually("the former router ends", || (processes(&server).len() == 1).then_some(()));
        }
    });
    assert!(answered > 20, "{answered}");
    assert!(!before[0].alive());
    server.stop();
}

#[test]
fn reload_mercy_is_for_routers_too() {
    // It listens, and nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let server = Site::empty().ini(&format!("http = 127.0.0.1:0\nhttp-to = {at}\nreload-mercy = 1")).launch();
    server.wait_for("http 1 (pid ");
    let former = processes(&server)[0];
    let mut client = Client::tcp(server.address());
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    let _asked = silent.accept().unwrap();
    let text = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{text}http-var = ROUND=1\n"));
    server.signal(Signal::SIGHUP);
    former.wait_for_end("the former router, within the mercy");
    server.stop();
}

#[test]
fn a_reload_that_is_complete_during_a_stop_brings_no_router_back() {
    let site = Site::app("control.py").ini("socket = app.sock\nhttp = 127.0.0.1:0\nhttp-to = app.sock");
    let server = site.start();
    server.wait_for("http 1 (pid ");
    let of = |mark: &str| -> SocketAddr {
        let line = server.wait_for(mark);
        line.split_once(mark).unwrap().1.split(' ').next().unwrap().parse().unwrap()
    };
    let mut former = Client::tcp(of("http-socket on "));
    former.send("GET /gate/former HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at former");
    let text = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{text}\nhttp-var = ROUND=1\n"));
    server.signal(Signal::SIGHUP);
    let born = |log: &str| log.lines().filter(|it| it.starts_with("http 1 (pid ") && it.contains(") ready ")).count();
    server.log.wait("the router of the new configuration", |log, _| (born(log) == 2).then_some(()));
    let mut latter = Client::tcp(of("http on "));
    latter.send("GET /gate/latter HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    server.wait_for("waiting at latter");
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping: ");
    server.open_gate("former");
    assert_eq!(former.answer().ok(), "behind former");
    server.wait_for("generation 2 is complete");
    server.open_gate("latter");
    assert_eq!(latter.answer().ok(), "behind latter");
    let ended = server.wait();
    assert_eq!((ended.code, born(&ended.log)), (0, 2), "{}", ended.log);
}

#[test]
fn cheap_routers_let_nobody_in_before_somebody_is_there() {
    let (server, ear) = router("http-cheap = true");
    server.wait_for("nobody is let in until somebody announces itself");
    let mut early = server.connect();
    early.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let backend = backend(OK);
    say(ear, Command::Subscribe, "a", backend.address);
    server.wait_for("leaving cheap mode");
    assert_eq!(early.answer().ok(), "ok", "it has waited in the queue");
    say(ear, Command::Unsubscribe, "a", backend.address);
    server.log.wait_for_nth("nobody is let in", 2);
    server.stop();
}

#[test]
fn the_statistics_are_those_of_uwsgi() {
    let (server, ear) = router("http-stats = stats.sock\nhttp-subscription-fallback-key = a");
    let backend = backend(OK);
    say(ear, Command::Subscribe, "a", backend.address);
    server.wait_for("new node");
    assert_eq!([status(&server, "a"), status(&server, "nobody")], [200, 200], "what nobody has announced has a key");
    let told: serde_json::Value = serde_json::from_slice(&Client::unix(&server.path("stats.sock")).rest()).unwrap();
    let pool = &told["subscriptions"][0];
    assert_eq!((&pool["key"], &pool["hits"], &pool["hash"]), (&"a".into(), &2.into(), &46_534.into()), "{told}");
    let node = &pool["nodes"][0];
    assert_eq!((&node["name"], &node["requests"]), (&backend.address.to_string().into(), &2.into()));
    assert!(node["tx"].as_u64() > Some(50) && node["rx"] == 2 * OK.len() && node["ref"] == 0, "{node}");
    server.stop();
}

#[test]
fn static_backends_stand_behind_those_that_announce_themselves() {
    let said = Backend::saying(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsaid");
    let (server, ear) = router(&format!("http-to = http://{}", said.address));
    let ask = |host: &str| {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        server.answer_to(request).ok().to_owned()
    };
    assert_eq!(ask("a"), "said");
    let backend = backend(OK);
    say(ear, Command::Subscribe, "a", backend.address);
    server.wait_for("new node");
    assert_eq!([ask("a"), ask("b")], ["ok", "said"]);
}

#[test]
fn a_router_without_descriptors_rests_and_recovers() {
    let backend = Backend::saying(OK);
    let lines = format!("http-to = http://{}\nmax-fd = 40\nwsgi-file = app.py", backend.address);
    let server = Site::empty().ini("http = 127.0.0.1:0\nno-defer-accept = true").ini(&lines).launch();
    server.wait_for("http 1 (pid ");
    server.wait_for("wsgi-file: nothing but routers listens");
    let clients: Vec<Client> = (0..80).map(|_| server.connect()).collect();
    server.wait_for("new connections wait in the listen queue");
    let router = processes(&server)[0];
    let (before, mut clients) = (router.ticks(), clients);
    assert!(clients[70].send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").read_within(Duration::from_millis(700)).is_none());
    assert!(router.ticks() - before < 20, "{} ticks", router.ticks() - before);
    let last = clients.split_off(70);
    drop(clients);
    drop(last);
    assert_eq!(status(&server, "a"), 200);
}

#[test]
fn bodies_have_a_limit_whatever_their_framing() {
    let backend = Backend::new(|_, stream| {
        let _ = std::io::Read::read_to_end(stream, &mut Vec::new());
    });
    let (server, _) = router(&format!("http-to = http://{}\nlimit-post = 1000", backend.address));
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    let head = "POST / HTTP/1.1\r\nHost: a\r\n";
    let chunked = format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n");
    for raw in [format!("{head}Content-Length: 1001\r\n\r\n"), chunked] {
        assert_eq!(server.answer_to(raw).status, 413);
    }
}

#[test]
fn many_idle_clients_cost_little() {
    let backend = Backend::saying(OK);
    let site = Site::empty().ini(&format!("http = 127.0.0.1:0\nhttp-to = http://{}", backend.address));
    let server = site.launch();
    server.wait_for("http 1 (pid ");
    let resident = || -> usize {
        let told = processes(&server)[0].status("VmRSS").unwrap();
        told.split_whitespace().find_map(|word| word.parse().ok()).unwrap()
    };
    let mut first = server.connect();
    first.get("/");
    let before = resident();
    let clients: Vec<Client> = (0..400)
        .map(|_| {
            let mut client = server.connect();
            client.get("/");
            client
        })
        .collect();
    let each = (resident().saturating_sub(before)) * 1024 / clients.len();
    assert!(each <= 4096, "{each} bytes for each");
}
