//! The upgrade in place of an instance that has more than workers: routers, daemons, jobs, loggers and capabilities go
//! along, and no request is lost.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use ruwsgi_wire::subscription::{Command as Word, Packet};

use crate::harness::backend::Backend;
use crate::harness::{Client, Process, Server, Site, apps, eventually, under_load};
use crate::upgrade::{Made, install_both, refused, site, site_at, start, upgrade};

/// Starts the copy in the site's folder, and waits for this line of its log.
fn begin(site: Site, line: &str) -> Server {
    site.write_ini();
    let mut command = Command::new(site.path("bin/ruwsgi"));
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for(line);
    server
}

fn behind_a_router() -> Site {
    site_at("uwsgi-socket = app.sock\nhttp = 127.0.0.1:0\nhttp-to = app.sock")
}

fn named(server: &Server, name: &str) -> Vec<Process> {
    let mut children = server.master().children();
    children.retain(|child| child.status("Name").is_some_and(|is| is.trim() == name));
    children
}

/// The process whose pid a file holds.
fn in_file(server: &Server, file: &str) -> Process {
    let pid = || fs::read_to_string(server.path(file)).ok()?.trim().parse().ok();
    eventually(&format!("the process of {file}"), || Process::of(pid()?).filter(|it| it.alive()))
}

/// With an application that waits as long as there is a file `hold`, when it is loaded for the `nth` time.
fn held(site: Site, nth: usize) -> Site {
    let app = fs::read_to_string(site.path("app.py")).unwrap();
    let wait = format!(
        "import os, time\nopen('loads', 'a').write('x')\n\
         while os.path.getsize('loads') == {nth} and os.path.exists('hold'):\n    time.sleep(0.01)\n"
    );
    site.write("app.py", &(wait + &app));
    site.write("hold", "");
    site
}

#[test]
fn routers_go_on_and_are_replaced_and_no_request_is_lost() {
    for made in [Made::Other, Made::Stranger] {
        let site = behind_a_router()
            .ini("processes = 2\nthreads = 2\nhttp-processes = 2\nhttp-keepalive = 90\nhttp-stats = routers.sock");
        let server = start(site, 2);
        server.log.wait_for_nth("http 2 (pid", 1);
        let before = named(&server, "ruwsgi-http");
        let mut slow = server.connect();
        slow.send("GET /slow/gate HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the request is inside", || server.path("gate.begun").exists().then_some(()));
        let mut former = before.clone();
        let answered = under_load(&server, || {
            for round in 1..=2 {
                install_both(&server.site, made);
                let (born, lines) = (server.births(), server.log.text().len());
                server.signal(Signal::SIGHUP);
                server.log.wait_for_nth("goes on where", round);
                if round == 1 {
                    // The one that has nothing to do may be gone already.
                    assert!(before.iter().any(|router| router.alive()));
                    server.site.write("gate", "");
                    assert!(slow.answer().ok().starts_with("version 1"));
                }
                server.wait_for_workers(born + 2);
                server.log.wait("routers of the new executable", |log, _| {
                    let fresh = &log[lines..];
                    assert!(!fresh.contains("error:"), "{fresh}");
                    (fresh.contains("http 1 (pid") && fresh.contains("http 2 (pid")).then_some(())
                });
                let now = named(&server, "ruwsgi-http");
                assert!(now.iter().any(|router| !former.contains(router)), "{now:?} {former:?}");
                former = now;
                assert!(std::os::unix::net::UnixStream::connect(server.path("routers.sock")).is_ok());
            }
        });
        assert!(answered > 100, "only {answered} requests were answered");
        before.into_iter().for_each(|router| router.wait_for_end("a former router"));
        // From here on they are routers like any others.
        eventually("two routers are left", || (named(&server, "ruwsgi-http").len() == 2).then_some(()));
        let died = named(&server, "ruwsgi-http")[0];
        died.signal(Signal::SIGKILL);
        eventually("another one", || {
            let now = named(&server, "ruwsgi-http");
            (now.len() == 2 && !now.contains(&died)).then_some(())
        });
        assert!(server.get("/").ok().starts_with("version 1"));
        let ended = server.stop();
        assert!(!ended.log.contains("orphans"), "{}", ended.log);
    }
}

#[test]
fn routers_of_another_release_tell_whom_they_have_heard() {
    let ear = apps::loopback(7003);
    let site = Site::empty()
        .ini(&format!("http = 127.0.0.1:0\nhttp-subscription-server = {ear}\nhttp-subscription-server = ear.sock"))
        .ini("subscription-tolerance = 300\nsubscriptions-use-credentials = true\nvacuum = true");
    install_both(&site, Made::Same);
    let server = begin(site, "http 1 (pid");
    let backend = Backend::saying(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
    say(ear, &backend);
    server.wait_for("new node");
    let answered = under_load(&server, || {
        for (round, made) in [Made::Stranger, Made::Same].into_iter().enumerate() {
            let former = named(&server, "ruwsgi-http");
            install_both(&server.site, made);
            server.signal(Signal::SIGHUP);
            server.log.wait_for_nth("goes on where", round + 1);
            former.into_iter().for_each(|router| router.wait_for_end("the former router"));
        }
    });
    assert!(answered > 20, "{answered}");
    assert_eq!(named(&server, "ruwsgi-http").len(), 1);
    let socket = server.path("ear.sock");
    assert!(UnixDatagram::unbound().unwrap().connect(&socket).is_ok(), "it hears where it has heard");
    server.stop();
    assert!(!socket.exists(), "its file goes with it");
}

fn say(ear: SocketAddr, backend: &Backend) {
    let address = backend.address.to_string();
    let packet = Packet {
        command: Word::Subscribe,
        key: b"a",
        address: address.as_bytes(),
        proto: Some(b'h'),
        ..Packet::default()
    };
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&packet.write().unwrap(), ear).unwrap();
}

#[test]
fn a_router_that_dies_before_the_new_workers_are_there_comes_again() {
    let server = start(held(behind_a_router().ini("processes = 1"), 3), 1);
    server.wait_for("http 1 (pid");
    install_both(&server.site, Made::Other);
    server.signal(Signal::SIGHUP);
    server.wait_for("goes on where");
    let former = named(&server, "ruwsgi-http")[0];
    former.signal(Signal::SIGKILL);
    server.wait_for("killed by signal 9: the next one comes now");
    server.log.wait_for_nth("http 1 (pid", 3);
    assert!(server.get("/").ok().starts_with("version 1"), "by a former worker");
    let between = named(&server, "ruwsgi-http")[0];
    fs::remove_file(server.path("hold")).unwrap();
    server.wait_for_workers(2);
    // It was none of the former executable, and is replaced all the same: nobody has compared the configurations.
    between.wait_for_end("the router in between");
    assert!(server.get("/").ok().starts_with("version 1"));
    server.stop();
}

#[test]
fn daemons_and_jobs_stay_children_and_are_renewed_as_at_a_reload() {
    let site = site()
        .ini("processes = 1\nattach-daemon = echo $$ > attached; exec sleep 1000")
        .ini("smart-attach-daemon2 = smart.pid exec sleep 1000")
        .ini("attach-daemon2 = cmd=echo x >> ends; exec sleep 0.3,max_throttle=3600")
        .ini("unique-cron = -1 -1 -1 -1 -1 echo $$ >> job; while test ! -e go; do sleep 0.05; done");
    let mut server = start(held(site, 3), 1);
    let (attached, smart, job) = (in_file(&server, "attached"), in_file(&server, "smart.pid"), in_file(&server, "job"));
    server.wait_for("started again in 4 s");
    install_both(&server.site, Made::Stranger);
    let answered = under_load(&server, || {
        server.signal(Signal::SIGHUP);
        server.wait_for("goes on where");
        assert!(attached.alive() && smart.alive() && job.alive());
        assert_eq!(attached.status("PPid").unwrap(), server.master().pid.to_string());
        // Its successor comes from a plan that has never started one.
        attached.signal(Signal::SIGKILL);
        server.wait_for("killed by signal 9");
        let next = eventually("another one", || {
            let pid = fs::read_to_string(server.path("attached")).ok()?.trim().parse().ok()?;
            Process::of(pid).filter(|it| *it != attached && it.alive())
        });
        assert_eq!(server.log.text().matches("is stopped with signal").count(), 0, "nobody was stopped so far");
        fs::remove_file(server.path("hold")).unwrap();
        next.wait_for_end("the daemon of the former configuration");
    });
    assert!(answered > 20, "{answered}");
    let now = in_file(&server, "attached");
    assert!(smart.alive() && job.alive() && now.alive());
    // The job was not started a second time, and its end is its own.
    assert_eq!(fs::read_to_string(server.path("job")).unwrap().lines().count(), 1);
    server.site.write("go", "");
    server.wait_for(&format!("unique-cron (pid {}) done after", job.pid));
    server.signal(Signal::SIGTERM);
    server.master().wait_for_end("the server");
    assert!(smart.alive() && !now.alive());
    smart.signal(Signal::SIGKILL);
    assert!(!server.wait_here().log.contains("orphans"), "{}", server.log.text());
}

#[test]
fn lines_on_their_way_to_loggers_arrive() {
    let site = Site::code(
        "
        def application(environ, start_response):
            print('printed', environ['PATH_INFO'], flush=True)
            start_response('200 OK', [('Content-Length', '2')])
            return [b'ok']
        ",
    )
    .ini("processes = 2\nreq-logger = file:requests.log\nlogger = file:all.log\nlogger = socket:slow.sock");
    install_both(&site, Made::Same);
    let slow = UnixDatagram::bind(site.path("slow.sock")).unwrap();
    site.write_ini();
    let mut command = Command::new(site.path("bin/ruwsgi"));
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    let mut server = Server::of(command, site);
    let read = |server: &Server, name: &str| fs::read_to_string(server.path(name)).unwrap_or_default();
    let complete = |server: &Server, count: usize| {
        eventually("it is complete", || {
            (read(server, "all.log").matches("2 workers serving").count() == count).then_some(())
        });
    };
    complete(&server, 1);
    let address = eventually("an address", || {
        let log = read(&server, "all.log");
        log.split("127.0.0.1:").nth(1)?.split([' ', '\n']).next()?.parse::<u16>().ok()
    });
    let mut sent = 0;
    let mut ask = |count: usize| {
        for _ in 0..count {
            let mut client = Client::tcp(([127, 0, 0, 1], address).into());
            client.send(format!("GET /n{sent} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
            assert_eq!(client.answer().ok(), "ok");
            sent += 1;
        }
    };
    // Nobody reads the socket: most of this waits in the master.
    ask(100);
    for round in 1..=2 {
        install_both(&server.site, if round == 1 { Made::Other } else { Made::Stranger });
        server.signal(Signal::SIGHUP);
        ask(60);
        eventually("the new executable", || {
            (read(&server, "all.log").matches("goes on where").count() == round).then_some(())
        });
        ask(60);
        complete(&server, round + 1);
    }
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let last = format!("printed /n{}", sent - 1);
    let (mut room, mut slowly) = ([0; 8192], Vec::new());
    while !slowly.contains(&last) {
        let size = slow.recv(&mut room).expect("a line that has waited");
        slowly.push(String::from_utf8_lossy(&room[..size]).trim().to_owned());
    }
    slow.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    server.signal(Signal::SIGTERM);
    let ended = server.wait_here();
    assert_eq!((ended.code, ended.log.as_str()), (0, ""));
    let (all, requests) = (read(&server, "all.log"), read(&server, "requests.log"));
    for number in 0..sent {
        let printed = format!("printed /n{number}");
        let count = |lines: &mut dyn Iterator<Item = &str>| lines.filter(|line| *line == printed).count();
        assert_eq!((count(&mut all.lines()), count(&mut slowly.iter().map(String::as_str))), (1, 1), "{printed}");
        assert_eq!(requests.matches(&format!("GET /n{number} ")).count(), 1, "{number}");
    }
}

#[test]
fn capabilities_are_those_that_were_kept() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: not tested");
        return;
    }
    let site = site().env("PATH", "/usr/local/bin:/usr/bin:/bin");
    let server = start(site.ini("processes = 1\nuid = nobody\ncap = net_bind_service\nno-new-privs = true"), 1);
    install_both(&server.site, Made::Other);
    // A port that only this capability may bind, which is new in the configuration that the new executable reads.
    let host = apps::loopback(88);
    let ini = fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{ini}http-socket = {host}\n"));
    let answered = under_load(&server, || upgrade(&server, 1));
    assert!(answered > 20, "{answered}");
    for process in server.master().tree() {
        assert_eq!(process.status("CapEff").unwrap(), "0000000000000400");
        assert_eq!(process.status("NoNewPrivs").unwrap(), "1");
    }
    assert!(Client::tcp(host).get("/").ok().starts_with("version 1"));
    server.stop();
}

#[test]
fn what_only_a_trial_can_find_is_found_by_it() {
    let server = start(behind_a_router().ini("processes = 1"), 1);
    server.wait_for("http 1 (pid");
    let routers = named(&server, "ruwsgi-http");
    install_both(&server.site, Made::Other);
    let ini = fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    for (from, to, why) in [
        ("http-to", "http-stats = nowhere/s.sock\nhttp-to", "http-stats: nowhere/s.sock"),
        ("http-to", "http-subscription-server = 192.0.2.1:7\nhttp-to", "http-subscription-server"),
        ("http-to", "logger = stdio\nhttp-to", "can't come or go all at once: restart needed"),
    ] {
        server.site.write("uwsgi.ini", &ini.replace(from, to));
        refused(&server, why, 2);
        assert_eq!(named(&server, "ruwsgi-http"), routers);
    }
    server.stop();
}
