//! Instances tell routers where they serve: what they say, byte for byte beside real uWSGI, and when; and the routers of
//! real uWSGI find them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::rand_core::OsRng;
use ruwsgi_core::subscription::{Moment, Nodes, Rules, Sender, What};

use crate::harness::ear::{Ear, Said};
use crate::harness::packet::{program, request};
use crate::harness::{Client, Server, Site, apps, eventually};

/// An instance that announces itself, with `socket` at a port that the kernel chooses.
fn instance(subscribe: &str, more: &str) -> Site {
    Site::app("control.py").ini("socket = 127.0.0.1:0").ini(&format!("subscribe-to = {subscribe}")).ini(more)
}

/// Writes a pair of keys: `NAME.pem` is the private one, `keys/NAME.pem` the public one.
pub fn keys(site: &Site, name: &str) {
    let key = RsaPrivateKey::new(&mut OsRng, 1024).unwrap();
    site.write(&format!("{name}.pem"), &key.to_pkcs8_pem(LineEnding::LF).unwrap());
    let _ = std::fs::create_dir(site.path("keys"));
    let public = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
    std::fs::write(site.path(&format!("keys/{name}.pem")), public).unwrap();
}

/// Starts real uWSGI in a folder of its own.
fn real(site: Site, arguments: &[String], ready: &str) -> Option<Server> {
    let mut command = Command::new(program("uwsgi")?);
    command.args(["--master", "--die-on-term"]).args(arguments);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for(ready);
    Some(server)
}

/// A router of real uWSGI, where it serves and where it hears announcements.
fn router(kind: &str, site: Site, more: &[&str]) -> Option<(Server, SocketAddr, String)> {
    let (front, ear) = (apps::loopback(7000), apps::loopback(7001));
    let mut arguments = vec![format!("--{kind}={front}"), format!("--{kind}-subscription-server={ear}")];
    arguments.extend(more.iter().map(|&text| text.to_owned()));
    let server = real(site, &arguments, "subscription server bound on")?;
    Some((server, front, ear.to_string()))
}

fn order(server: &Server, letters: &str) {
    std::fs::write(server.path("orders"), letters).unwrap();
}

#[test]
fn what_is_said_is_what_uwsgi_says() {
    let ear = Ear::udp();
    let name = ear.name();
    for said in [
        &["--subscribe-to=ROUTER:example.com"][..],
        &["--subscribe-to=ROUTER:example.com:8080,5", "--processes=2", "--threads=3", "--weight=7"],
        &["--st=10.0.0.1:3031=ROUTER:a", "--subscribe-with-modifier1=9", "--subscription-notify-socket=/run/n"],
        &["--subscribe2=server=ROUTER,key=k,addr=10.1.2.3:4,modifier1=1,modifier2=2,sni_key=/k,sni_crt=/c,sni_ca=/a"],
        &["--subscribe2=server=ROUTER,key=k,socket=0", "--auto-weight=true", "--processes=2"],
        &["--subscribe=ROUTER:@list"],
    ] {
        let said: Vec<String> = said.iter().map(|text| text.replace("ROUTER", &name)).collect();
        let site = || {
            let site = Site::empty();
            site.write("app.py", include_str!("apps/hello.py"));
            site.write("list", "# keys\none.example.com\ntwo.example.com,5\n");
            site
        };
        // The kernel chooses the port: it is taken out of both.
        let heard = |server: Server| {
            let first = ear.next();
            let more: Vec<Said> = (1..if said[0].contains('@') { 2 } else { 1 }).map(|_| ear.next()).collect();
            settle(&server);
            server.signal(Signal::SIGTERM);
            let farewell = ear.wait("the farewell", |said| said.leaves);
            drop(server);
            let all = [vec![first], more, vec![farewell]].concat();
            ear.rest();
            all.iter().map(plain).collect::<Vec<_>>()
        };
        let app = ["--socket=127.0.0.1:0", "--wsgi-file=app.py"].map(str::to_owned);
        let Some(theirs) = real(site(), &[&app[..], &said].concat(), "subscribing to") else { return };
        let theirs = heard(theirs);
        let mut ours = heard(site().launch_with([&app[..], &said].concat()));
        // Which key leaves first is nobody's business.
        if said[0].contains('@') {
            ours.pop();
            assert_eq!(ours, theirs[..2], "{said:?}");
        } else {
            assert_eq!(ours, theirs, "{said:?}");
        }
    }
}

/// Waits until the master sleeps. uWSGI sends in the handler of the signal, too, with what the master has taken apart.
fn settle(server: &Server) {
    eventually("the master sleeps", || server.master().status("State")?.starts_with('S').then_some(()));
}

/// The bytes, with the port of an address left out where the kernel has chosen it.
fn plain(said: &Said) -> Vec<u8> {
    let mut packet = said.packet();
    if said.address.starts_with("127.0.0.1:") {
        packet.address = b"127.0.0.1:PORT";
    }
    packet.write().unwrap()
}

#[test]
fn what_uwsgi_says_is_believed() {
    let site = Site::empty();
    site.write("app.py", include_str!("apps/hello.py"));
    keys(&site, "example.com");
    let (ear, key) = (Ear::udp(), site.path("example.com.pem"));
    let folder = ruwsgi_options::DigestAndFile { digest: "SHA256", path: site.path("keys").display().to_string() };
    let trust = Box::new(ruwsgi_core::subscription::Files::of(Some(&folder), &[]));
    let mut nodes = Nodes::new(Rules { signed_within: Some(86_400), trust, ..Rules::default() });
    let subscribe = format!("--subscribe-to={}:example.com,0,SHA256:{}", ear.name(), key.display());
    let arguments = ["--socket=127.0.0.1:0", "--wsgi-file=app.py", &subscribe].map(str::to_owned);
    let Some(server) = real(site, &arguments, "subscribing to") else { return };
    let mut hear = |said: &Said| {
        let unix = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
        nodes.hear(&said.raw, Sender::default(), Moment { ms: 0, unix }).map(|heard| heard.what)
    };
    let first = ear.next();
    assert_eq!(hear(&first), Ok(What::New));
    assert_eq!(hear(&first).unwrap_err().why, ruwsgi_core::subscription::Why::Replayed);
    let mut forged = first.clone();
    let at = forged.raw.windows(5).position(|part| part == b"127.0").unwrap();
    forged.raw[at] = b'2';
    assert!(matches!(hear(&forged).unwrap_err().why, ruwsgi_core::subscription::Why::Signature(_)));
    assert_eq!(hear(&ear.next()), Ok(What::Again));
    settle(&server);
    server.signal(Signal::SIGTERM);
    assert_eq!(hear(&ear.wait("the farewell", |said| said.leaves)), Ok(What::Left));
}

#[test]
fn routers_of_uwsgi_find_the_instance() {
    let Some((fast, at, ear)) = router("fastrouter", Site::empty(), &[]) else { return };
    let server = instance(&format!("{ear}:example.com"), "").start();
    fast.wait_for("example.com => new node");
    let ask = |uri: &str| {
        let mut client = Client::tcp(at);
        client.send(request("GET", uri, &[("HTTP_HOST", "example.com")]));
        String::from_utf8(client.rest()).unwrap()
    };
    assert!(ask("/").ends_with("\r\n\r\nhello"), "{}", ask("/"));
    assert_eq!(server.stop().code, 0);
    assert_eq!(ask("/"), "", "nobody is there");

    let Some((http, at, ear)) = router("http", Site::empty(), &[]) else { return };
    let _server = instance(&format!("{ear}:example.com"), "").start();
    http.wait_for("example.com => new node");
    let mut client = Client::tcp(at);
    client.send("GET /size/3 HTTP/1.1\r\nHost: example.com\r\n\r\n");
    assert_eq!(client.answer().ok(), "xxx");
}

#[test]
fn routers_of_uwsgi_believe_the_signature_and_nothing_else() {
    for digest in ["SHA1", "SHA256", "SHA512"] {
        let site = Site::empty();
        keys(&site, "example.com");
        let private = site.path("example.com.pem");
        let check = format!("--subscriptions-sign-check={digest}:{}", site.path("keys").display());
        let Some((fast, _, ear)) = router("fastrouter", site, &[&check]) else { return };
        let unsigned = instance(&format!("{ear}:example.com"), "subscribe-freq = 1").start();
        let signed = instance(&format!("{ear}:example.com,0,{digest}:{}", private.display()), "").start();
        let line = fast.wait_for("example.com => new node");
        let address = signed.addresses()[1];
        assert!(line.ends_with(&address.to_string()), "{line}\n{}", signed.log.text());
        unsigned.stop();
        signed.stop();
        assert_eq!(fast.log.text().matches("new node").count(), 1, "{}", fast.log.text());
    }
}

#[test]
fn nothing_is_announced_before_a_worker_is_ready_and_who_stops_leaves_first() {
    let ear = Ear::udp();
    let site = Site::code(
        "
        import os, time
        while not os.path.exists('go'):
            time.sleep(0.01)
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'hello']
        ",
    );
    let site = site.ini("socket = 127.0.0.1:0").ini(&format!("subscribe-to = {}:k", ear.name()));
    let server = site.launch();
    server.wait_for("http-socket on");
    assert_eq!(ear.bytes_within(Duration::from_millis(1_500)), None, "the application is not loaded yet");
    server.site.write("go", "");
    let said = ear.next();
    assert!(!said.leaves);
    server.wait_for("subscribing to");
    let address: SocketAddr = said.address.parse().unwrap();
    assert!(std::net::TcpStream::connect(address).is_ok());
    server.signal(Signal::SIGTERM);
    ear.wait("the farewell", |said| said.leaves);
    let ended = server.wait();
    // Who leaves still takes what is on its way.
    let order = ["unsubscribing from", "stopping in 200 ms", "stopping: "].map(|text| ended.log.find(text));
    assert!(order.is_sorted() && order[0].is_some(), "{}", ended.log);
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(ear.rest(), []);
}

#[test]
fn a_reload_is_no_farewell_unless_that_is_asked_for() {
    let ear = Ear::udp();
    let to = format!("{}:k", ear.name());
    let server = instance(&to, "").start();
    ear.next();
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 is complete");
    assert!(ear.wait("one after the reload", |_| true).key == "k");
    assert!(ear.rest().iter().all(|said| !said.leaves));
    server.stop();
    ear.wait("the farewell", |said| said.leaves);

    let server = instance(&to, "unsubscribe-on-graceful-reload = true").start();
    ear.next();
    server.signal(Signal::SIGHUP);
    ear.wait("the farewell of the reload", |said| said.leaves);
    ear.wait("one after the reload", |said| !said.leaves);
    server.wait_for("generation 2 is complete");
}

#[test]
fn a_reload_announces_what_the_file_says_now() {
    let (ear, other) = (Ear::udp(), Ear::udp());
    let server = instance(&format!("{}:old", ear.name()), "").start();
    assert_eq!(ear.next().key, "old");
    let read = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{read}broken = %(\nsubscribe2 = key=k\n"));
    server.signal(Signal::SIGHUP);
    server.wait_for("no server: where to announce");
    let line = format!("subscribe-to = {}:old", ear.name());
    server.site.write("uwsgi.ini", &read.replace(&line, &format!("subscribe-to = {}:new", other.name())));
    server.signal(Signal::SIGHUP);
    assert_eq!(other.next().key, "new");
    let farewell = ear.wait("the farewell of what is announced no longer", |said| said.leaves);
    assert_eq!(farewell.key, "old");
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn who_pauses_or_is_blocked_leaves_and_comes_back() {
    let ear = Ear::udp();
    let server = instance(&format!("{}:k", ear.name()), "master-fifo = orders\nstart-unsubscribed = true").start();
    assert_eq!(ear.bytes_within(Duration::from_millis(500)), None, "start-unsubscribed");
    order(&server, "S");
    server.wait_for("subscriptions re-enabled");
    assert!(!ear.next().leaves);
    order(&server, "S");
    server.wait_for("subscriptions blocked");
    ear.wait("the farewell", |said| said.leaves);
    order(&server, "S");
    ear.wait("an announcement", |said| !said.leaves);
    server.signal(Signal::SIGTSTP);
    ear.wait("the farewell of the pause", |said| said.leaves);
    server.signal(Signal::SIGTSTP);
    ear.wait("an announcement after it", |said| !said.leaves);
}

#[test]
fn an_instance_whose_workers_are_gone_leaves_after_a_moment() {
    let ear = Ear::udp();
    let code = "
        import os, time
        if os.path.exists('broken'):
            time.sleep(60)
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'hello']
    ";
    let site = Site::code(code).ini("socket = 127.0.0.1:0\nlazy-apps = true");
    let server = site.ini(&format!("subscribe-to = {}:k", ear.name())).start();
    ear.next();
    server.site.write("broken", "");
    server.workers()[0].signal(Signal::SIGKILL);
    ear.wait("the farewell", |said| said.leaves);
    std::fs::remove_file(server.path("broken")).unwrap();
    let sleeping = server.log.wait_for("killed by");
    assert!(!sleeping.is_empty());
    server.workers().iter().for_each(|worker| worker.signal(Signal::SIGKILL));
    ear.wait("an announcement of the next worker", |said| !said.leaves);
}

#[test]
fn keys_come_and_go_with_their_file_and_a_file_switches_off() {
    let ear = Ear::udp();
    let two = format!("subscribe2 = server={},key=three,check=off", ear.name());
    let server = {
        let site = instance(&format!("{}:@list", ear.name()), "subscribe-freq = 1").ini(&two);
        site.write("list", "one\ntwo\n");
        site.start()
    };
    for key in ["one", "two", "three"] {
        ear.wait(key, |said| said.key == key && !said.leaves);
    }
    server.site.write("list", "# nobody\ntwo\nfour\n");
    ear.wait("the new key", |said| said.key == "four");
    ear.wait("the farewell of the old one", |said| said.key == "one" && said.leaves);
    server.site.write("off", "");
    ear.wait("the farewell", |said| said.key == "three" && said.leaves);
    std::fs::remove_file(server.path("off")).unwrap();
    ear.wait("its return", |said| said.key == "three" && !said.leaves);
    std::fs::remove_file(server.path("list")).unwrap();
    let line = server.wait_for("list: ");
    assert!(line.contains("subscribe-to: list: No such file"), "{line}");
}

#[test]
fn a_router_that_is_not_there_yet_is_told_when_it_comes() {
    let site = Site::empty();
    let path = site.path("router.sock");
    let server = instance(&format!("{}:k", path.display()), "subscribe-freq = 1").start();
    server.wait_for("can't be told: No such file");
    let ear = Ear::unix(&path);
    assert_eq!(ear.next().key, "k");
    server.wait_for("can be told again");
    assert_eq!(server.log.text().matches("can't be told").count(), 1, "{}", server.log.text());
}

#[test]
fn over_unix_sockets_the_kernel_says_who_announces() {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixCredentials, recvmsg, setsockopt, sockopt};
    use std::os::fd::AsRawFd;
    let site = Site::empty();
    let path = site.path("router.sock");
    let ear = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    setsockopt(&ear, sockopt::PassCred, &true).unwrap();
    ear.set_read_timeout(Some(crate::harness::PATIENCE)).unwrap();
    let server = instance(&format!("{}:k", path.display()), "subscriptions-use-credentials = true").start();
    let (mut bytes, mut control) = ([0; 4096], nix::cmsg_space!(UnixCredentials));
    let mut parts = [std::io::IoSliceMut::new(&mut bytes)];
    let message = recvmsg::<()>(ear.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()).unwrap();
    let who = message.cmsgs().unwrap().find_map(|one| match one {
        ControlMessageOwned::ScmCredentials(who) => Some(who.pid()),
        _ => None,
    });
    assert_eq!(who, Some(server.master().pid));
}

#[test]
fn thousands_of_keys_do_not_overrun_the_router() {
    let ear = Ear::udp();
    let site = instance(&format!("{}:@list", ear.name()), "");
    let keys: String = (0..2_000).map(|number| format!("host{number}.example.com\n")).collect();
    site.write("list", &keys);
    let began = Instant::now();
    let server = site.start();
    let mut heard = std::collections::HashSet::new();
    while heard.len() < 2_000 {
        heard.insert(ear.next().key);
        assert!(began.elapsed() < Duration::from_secs(60), "{} of 2000 keys came", heard.len());
    }
    server.stop();
}

#[test]
fn what_can_not_be_subscribed_to_ends_the_start() {
    for (line, words) in [
        ("subscribe-to = router:4000:k", &["\"router:4000\" is no address of a router", "uwsgi.ini:5"][..]),
        ("subscribe-to = 127.0.0.1:4000:k,0,SHA1:none.pem", &["none.pem: No such file", "uwsgi.ini:5"]),
        ("subscribe-to = 127.0.0.1:4000:k,0,SHA1:app.py", &["app.py is no private RSA key", "uwsgi.ini:5"]),
        ("subscribe2 = server=127.0.0.1:4000,key=k,socket=9", &["there is no socket 9", "uwsgi.ini:5"]),
        ("subscribe2 = server=127.0.0.1:4000,key=k,wait=1", &["\"wait\" is none of server, key", "uwsgi.ini:5"]),
    ] {
        let site = Site::app("hello.py").ini("socket = 127.0.0.1:0").ini(line);
        site.run().failed(1, words);
    }
    let site = instance("192.0.2.1:4000:k", "").ini("subscribe-to = 127.0.0.1=/run/none:k");
    let log = site.start().stop().log;
    assert!(log.contains("192.0.2.1:4000 is told 127.0.0.1:"), "{log}");
}

#[test]
fn both_kinds_of_key_files_sign() {
    let site = Site::empty();
    let key = RsaPrivateKey::new(&mut OsRng, 1024).unwrap();
    site.write("one.pem", &key.to_pkcs1_pem(LineEnding::LF).unwrap());
    let ear = Ear::udp();
    let _server = instance(&format!("{}:k,0,SHA1:{}", ear.name(), site.path("one.pem").display()), "").start();
    let (first, second) = (ear.next(), ear.next());
    let stamps = [&first, &second].map(|said| said.packet().unix.unwrap());
    assert!(stamps[0] < stamps[1] && first.packet().signed.is_some_and(|signed| signed.signature.len() == 128));
    assert!(Path::new(&site.path("one.pem")).exists());
}

#[test]
fn routers_are_told_over_ipv6_and_abstract_names_too() {
    let (v6, named) = (Ear::udp_at("[::1]:0"), Ear::without_file(&format!("ruwsgi-ear-{}", std::process::id())));
    let more = format!("subscribe-to = 10.0.0.1:3031={}:k,5", named.name());
    let server = instance(&format!("{}:k", v6.name()), &more).start();
    assert_eq!(v6.next().key, "k");
    let said = named.next();
    assert_eq!((said.address.as_str(), said.packet().modifier1), ("10.0.0.1:3031", 5));
    server.stop();
    v6.wait("the farewell", |said| said.leaves);
    named.wait("the farewell", |said| said.leaves);
}

#[test]
fn a_router_announces_itself_to_another_one() {
    let (ear, front) = (Ear::udp(), apps::loopback(7000));
    let lines = format!("fastrouter = {front}\nfastrouter-to = 127.0.0.1:1\nsubscribe-to = {front}={}:k", ear.name());
    let server = Site::empty().ini(&lines).launch();
    assert_eq!(ear.next().address, front.to_string());
    server.signal(Signal::SIGTERM);
    ear.wait("the farewell", |said| said.leaves);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_router_that_reads_nothing_is_nobody_elses_trouble() {
    let site = Site::empty();
    let deaf = Ear::unix(&site.path("deaf.sock"));
    let ear = Ear::udp();
    let more = format!("subscribe-to = {}:@list\nsubscribe-freq = 1", ear.name());
    let node = instance(&format!("{}:@list", deaf.name()), &more);
    let keys: String = (0..1_000).map(|number| format!("host{number}.example.com\n")).collect();
    node.write("list", &keys);
    let server = node.start();
    let mut heard = std::collections::HashSet::new();
    while heard.len() < 1_000 {
        heard.insert(ear.next().key);
    }
    server.wait_for("can't be told: it reads nothing");
    assert_eq!(server.get("/").ok(), "hello");
    server.stop();
}
