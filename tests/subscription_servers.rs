//! Routers hear announcements: those of real uWSGI, those that are signed and those that pretend to be, and whatever else
//! somebody may send them.

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::signal::Signal;
use ruwsgi_wire::subscription::Packet;

use crate::harness::ear::Ear;
use crate::harness::packet::{program, request};
use crate::harness::{Client, PATIENCE, Server, Site, apps, eventually, project};
use crate::subscriptions::keys;

/// A router for the uwsgi protocol, and where it serves and hears.
struct Router {
    server: Server,
    front: SocketAddr,
    ear: SocketAddr,
    mouth: UdpSocket,
}

impl Router {
    fn start(site: Site, more: &str) -> Self {
        let (front, ear) = (apps::loopback(7000), apps::loopback(7001));
        let lines = format!("fastrouter = {front}\nfastrouter-subscription-server = {ear}\n{more}");
        let site = site.ini(&lines);
        let server = site.launch();
        eventually("the router listens", || std::net::TcpStream::connect(front).ok());
        Self { server, front, ear, mouth: UdpSocket::bind("127.0.0.1:0").unwrap() }
    }

    fn say(&self, bytes: &[u8]) {
        self.mouth.send_to(bytes, self.ear).unwrap();
    }

    /// The body of the answer to a request for this host; empty where nobody answers.
    fn ask(&self, host: &str) -> String {
        let mut client = Client::tcp(self.front);
        client.send(request("GET", "/", &[("HTTP_HOST", host)]));
        let answer = String::from_utf8(client.rest()).unwrap();
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.contains(" 200 ") => body.to_owned(),
            _ => String::new(),
        }
    }

    fn wait_for_answer(&self, host: &str, body: &str) {
        eventually(&format!("{host} answers {body:?}"), || (self.ask(host) == body).then_some(()));
    }
}

/// An instance of ours that answers with a text, and announces itself with these lines.
fn instance(text: &str, lines: &str) -> Server {
    let code = format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
    );
    let site = Site::empty().ini(&format!("socket = 127.0.0.1:0\nwsgi-file = app.py\n{lines}"));
    site.write("app.py", &code);
    let server = site.start();
    server.wait_for("subscribing to");
    server
}

/// The same of real uWSGI.
fn real(text: &str, subscribe: &str) -> Option<Server> {
    let site = Site::empty();
    let code = format!(
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'{text}']\n"
    );
    site.write("app.py", &code);
    let mut command = Command::new(program("uwsgi")?);
    command.args(["--master", "--die-on-term", "--wsgi-file=app.py", "--socket=127.0.0.1:0", subscribe]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for("spawned uWSGI worker 1");
    Some(server)
}

fn packet<'p>(key: &'p str, address: &'p str) -> Packet<'p> {
    Packet { key: key.as_bytes(), address: address.as_bytes(), ..Packet::default() }
}

#[test]
fn instances_of_uwsgi_are_found() {
    let router = Router::start(Site::empty(), "");
    let Some(theirs) = real("theirs", &format!("--subscribe-to={}:example.com", router.ear)) else { return };
    router.wait_for_answer("example.com", "theirs");
    let ours = instance("ours", &format!("subscribe-to = {}:example.com", router.ear));
    router.wait_for_answer("example.com", "ours");
    router.wait_for_answer("example.com", "theirs");
    theirs.signal(Signal::SIGTERM);
    router.server.wait_for("has left");
    for _ in 0..10 {
        assert_eq!(router.ask("example.com"), "ours");
    }
    assert_eq!(router.ask("example.org"), "");
    assert_eq!(ours.stop().code, 0);
    assert_eq!(router.ask("example.com"), "");
}

#[test]
fn the_http_router_hears_them_too() {
    let (front, ear) = (apps::loopback(7000), apps::loopback(7001));
    let server = Site::empty().ini(&format!("http = {front}\nhttp-subscription-server = {ear}")).launch();
    eventually("the router listens", || std::net::TcpStream::connect(front).ok());
    let Some(_theirs) = real("theirs", &format!("--subscribe-to={ear}:example.com")) else { return };
    server.wait_for("new node");
    let mut client = Client::tcp(front);
    client.send("GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n");
    assert_eq!(client.answer().ok(), "theirs");
    let mut client = Client::tcp(front);
    client.send("GET / HTTP/1.1\r\nHost: example.org\r\nConnection: close\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.field("retry-after").is_some());
}

#[test]
fn signatures_of_uwsgi_and_of_ours_are_believed_and_others_are_not() {
    let site = Site::empty();
    keys(&site, "example.com");
    keys(&site, "other");
    let (key, wrong) = (site.path("example.com.pem"), site.path("other.pem"));
    let check = format!("subscriptions-sign-check = SHA256:{}", site.path("keys").display());
    let router = Router::start(site, &check);
    let to = format!("{}:example.com", router.ear);
    let _unsigned = instance("unsigned", &format!("subscribe-to = {to}"));
    router.server.wait_for("it is not signed");
    let _forged = instance("forged", &format!("subscribe-to = {to},0,SHA256:{}", wrong.display()));
    router.server.wait_for("the signature is wrong");
    let _strange = instance("strange", &format!("subscribe-to = {}:nobody,0,SHA256:{}", router.ear, key.display()));
    router.server.wait_for("there is no public key for it");
    assert_eq!(router.ask("example.com"), "");
    let signed = format!("{to},0,SHA256:{}", key.display());
    let ours = instance("ours", &format!("subscribe-to = {signed}"));
    router.wait_for_answer("example.com", "ours");
    ours.stop();
    let Some(_theirs) = real("theirs", &format!("--subscribe-to={signed}")) else { return };
    router.wait_for_answer("example.com", "theirs");
}

#[test]
fn what_was_heard_is_not_believed_again() {
    let site = Site::empty();
    keys(&site, "example.com");
    let key = site.path("example.com.pem");
    let check = format!("subscriptions-sign-check = SHA1:{}", site.path("keys").display());
    let router = Router::start(site, &check);
    // Somebody listens on the way, and plays on later.
    let ear = Ear::udp();
    let node = instance("ours", &format!("subscribe-to = {}:example.com,0,SHA1:{}", ear.name(), key.display()));
    let first = ear.next();
    router.say(&first.raw);
    router.wait_for_answer("example.com", "ours");
    router.say(&first.raw);
    router.server.wait_for("it was heard before");
    node.signal(Signal::SIGTERM);
    let farewell = ear.wait("the farewell", |said| said.leaves);
    router.say(&farewell.raw);
    router.server.wait_for("has left");
    router.say(&first.raw);
    router.server.log.wait_for_nth("it was heard before", 2);
    assert_eq!(router.ask("example.com"), "");
}

#[test]
fn whatever_else_is_sent_does_no_harm() {
    let router = Router::start(Site::empty(), "");
    let _node = instance("ours", &format!("subscribe-to = {}:example.com", router.ear));
    router.wait_for_answer("example.com", "ours");
    let corpus = std::fs::read_to_string(project().join("tests/corpora/subscription/subscription.jsonl")).unwrap();
    for line in corpus.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        if row["verdict"] == "reject" {
            router.say(&STANDARD.decode(row["raw_b64"].as_str().unwrap()).unwrap());
        }
    }
    router.say(&vec![224; 60_000]);
    let valid = packet("example.com", "127.0.0.1:1").write().unwrap();
    for end in 0..valid.len() {
        router.say(&valid[..end]);
    }
    for address in ["name:3031", "127.0.0.1:0", "a\0b"] {
        router.say(&packet("example.com", address).write().unwrap());
    }
    router.server.wait_for("an announcement is not believed");
    for _ in 0..10 {
        assert_eq!(router.ask("example.com"), "ours");
    }
    let told = router.server.log.text().matches("is not believed").count();
    assert!((1..60).contains(&told), "{told} lines");
}

#[test]
fn a_flood_of_announcements_stops_nobody() {
    let router = Router::start(Site::empty(), "");
    let _node = instance("ours", &format!("subscribe-to = {}:example.com\nsubscribe-freq = 1", router.ear));
    router.wait_for_answer("example.com", "ours");
    let mut slowest = Duration::ZERO;
    for number in 0..100_000_u32 {
        // One that is none now and then.
        let key = format!("flood{number}.example.com");
        let bytes = packet(&key, "192.0.2.1:1").write().unwrap();
        let _ = router.mouth.send_to(if number % 3 == 0 { &bytes[..20] } else { &bytes }, router.ear);
        if number % 1_000 == 0 {
            let began = Instant::now();
            assert_eq!(router.ask("example.com"), "ours");
            slowest = slowest.max(began.elapsed());
        }
    }
    let resident: u64 = router.server.master().tree().iter().filter_map(|it| resident_kib(it.pid)).max().unwrap();
    println!("the slowest of 100 requests took {slowest:?}; the largest process has {} MiB", resident >> 10);
    assert!(slowest < PATIENCE && resident < 200 * 1024, "{slowest:?}, {resident} KiB");
    assert!(router.server.log.text().len() < 20_000_000);
}

fn resident_kib(pid: i32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[test]
fn on_one_machine_the_owner_of_a_key_is_believed() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: not tested");
        return;
    }
    let site = Site::empty();
    let ear = site.path("ear.sock");
    std::fs::create_dir(site.path("owners")).unwrap();
    for (key, owner) in [("mine", 0), ("others", 33)] {
        std::fs::write(site.path("owners").join(key), "").unwrap();
        nix::unistd::chown(&site.path("owners").join(key), Some(owner.into()), Some(owner.into())).unwrap();
    }
    let front = apps::loopback(7000);
    let lines = format!(
        "fastrouter = {front}\nfastrouter-subscription-server = {}\nsubscriptions-use-credentials = true\n\
         subscriptions-credentials-check = {}",
        ear.display(),
        site.path("owners").display()
    );
    let server = site.ini(&lines).launch();
    eventually("the router hears", || UnixDatagram::unbound().unwrap().connect(&ear).ok());
    let to = |key: &str| format!("subscribe-to = {}:{key}\nsubscriptions-use-credentials = true", ear.display());
    let _mine = instance("mine", &to("mine"));
    server.wait_for("mine => ");
    let _others = instance("others", &to("others"));
    let line = server.wait_for("the key is not the sender's");
    assert!(line.contains("others => ") && line.contains("of user 0"), "{line}");
    let ask = |host: &str| {
        let mut client = Client::tcp(front);
        client.send(request("GET", "/", &[("HTTP_HOST", host)]));
        client.rest().ends_with(host.as_bytes())
    };
    assert!(ask("mine") && !ask("others"));
}

#[test]
fn shares_levels_and_labels_are_those_that_were_announced() {
    let router = Router::start(Site::empty(), "subscription-dotsplit = true");
    let to = |key: &str, more: &str| format!("subscribe2 = server={},key={key}{more}", router.ear);
    let _one = instance("one", &to("k", ",weight=1"));
    let _three = instance("three", &to("k", ",weight=3"));
    let _spare = instance("spare", &to("k", ",backup=1"));
    let _wide = instance("wide", &to(".example.com", ""));
    router.wait_for_answer("k", "one");
    router.wait_for_answer("k", "three");
    router.wait_for_answer("www.example.com", "wide");
    let answers: Vec<String> = (0..40).map(|_| router.ask("k")).collect();
    let of = |name: &str| answers.iter().filter(|text| *text == name).count();
    assert_eq!((of("one"), of("three"), of("spare")), (10, 30, 0), "{answers:?}");
    drop((_one, _three));
    router.wait_for_answer("k", "spare");
}

#[test]
fn the_instance_hears_that_it_is_known() {
    let site = Site::empty();
    let path = site.path("notify.sock");
    let notify = UnixDatagram::bind(&path).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let router = Router::start(site, "");
    let to = format!("subscribe-to = {}:k\nsubscription-notify-socket = {}", router.ear, path.display());
    let _node = instance("ours", &to);
    let mut bytes = [0; 4096];
    let length = notify.recv(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes[..length]);
    assert!(text.starts_with("[subscription ack] k => new node: 127.0.0.1:"), "{text}");
}

#[test]
fn what_is_said_at_the_notify_socket_is_in_the_log() {
    let router = Router::start(Site::empty(), "");
    let to = format!("subscribe-to = {}:k\nnotify-socket = notify.sock\nvacuum = true", router.ear);
    let node = instance("ours", &to);
    node.wait_for("[notify-socket] [subscription ack] k => new node: 127.0.0.1:");
    let path = node.path("notify.sock");
    let mouth = UnixDatagram::unbound().unwrap();
    for number in 0..40 {
        mouth.send_to(format!("line {number}\nworker 9 (pid 1) ready\n").as_bytes(), &path).unwrap();
    }
    node.wait_for("[notify-socket] line 39\\nworker 9");
    assert!(!node.log.text().contains("\nworker 9"), "nobody begins a line of the log");
    node.stop();
    assert!(!path.exists());
    let run = |lines: &str| Site::empty().ini(&format!("socket = :0\nwsgi-file = app.py\n{lines}")).run();
    run("notify-socket = 127.0.0.1:1").failed(1, &["notify-socket", "is no path", "uwsgi.ini:4"]);
    let long = format!("subscription-notify-socket = /{}", "x".repeat(101));
    run(&long).failed(1, &["subscription-notify-socket", "longer than 101 bytes", "uwsgi.ini:4"]);
}

#[test]
fn each_process_of_a_router_knows_each_node() {
    let router = Router::start(Site::empty(), "fastrouter-processes = 3");
    for number in 1..=3 {
        router.server.wait_for(&format!("fastrouter {number} (pid"));
    }
    let node = instance("ours", &format!("subscribe-to = {}:example.com", router.ear));
    router.wait_for_answer("example.com", "ours");
    // All of them, whichever accepts.
    eventually("thirty answers in a row", || (0..30).all(|_| router.ask("example.com") == "ours").then_some(()));
    node.stop();
    eventually("none in a row", || (0..30).all(|_| router.ask("example.com").is_empty()).then_some(()));
}
