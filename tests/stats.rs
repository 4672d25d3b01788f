//! What the master says of the instance: statistics in uWSGI's JSON, health checks, pidfiles.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixStream};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::harness::{Server, Site, eventually, serve};

/// The addresses behind `stats at ...` and `admin at ...`.
fn at(server: &Server, option: &str) -> std::net::SocketAddr {
    let line = server.wait_for(&format!("{option} at 127"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn whole(mut stream: impl Read) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

fn stats(server: &Server) -> Value {
    let text = whole(TcpStream::connect(at(server, "stats")).unwrap());
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn ask(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    whole(stream)
}

#[test]
fn a_core_counts_a_request_once_whether_a_file_answers_it_or_not() {
    let server = Site::app("control.py").ini("stats = 127.0.0.1:0\nstatic-map = /s=.\ncheck-static = .").start();
    server.site.write("a.txt", "file");
    let mut client = server.connect();
    for (path, says) in [("/s/a.txt", "file"), ("/", "hello"), ("/a.txt", "file")] {
        assert_eq!(client.get(path).ok(), says);
    }
    let core = eventually("all are counted", || {
        let core = stats(&server)["workers"][0]["cores"][0].clone();
        (core["requests"].as_u64() >= Some(3)).then_some(core)
    });
    assert_eq!((&core["requests"], &core["static_requests"]), (&3.into(), &2.into()));
}

#[test]
fn statistics_say_what_the_workers_do() {
    let site = Site::app("control.py").ini("stats = 127.0.0.1:0\nprocesses = 2\nthreads = 2\nlocks = 1");
    let server = site.start();
    let first = stats(&server);
    assert_eq!(first["pid"], server.master().pid);
    assert_eq!(first["cwd"], server.site.dir().canonicalize().unwrap().to_str().unwrap());
    assert_eq!(first["locks"][1]["user 1"], 0);
    assert_eq!(first["sockets"][0]["name"], server.address().to_string());
    assert_eq!(first["sockets"][0]["proto"], "http");
    assert_eq!(first["workers"].as_array().unwrap().len(), 2);
    for worker in first["workers"].as_array().unwrap() {
        assert_eq!(
            (&worker["status"], &worker["accepting"], &worker["respawn_count"]),
            (&"idle".into(), &1.into(), &1.into())
        );
        assert!(worker["rss"].as_u64() > Some(1 << 20), "{worker}");
        assert_eq!(worker["apps"][0]["mountpoint"], "");
    }
    let mut client = server.connect();
    client.send("GET /gate/gate?a=b HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n");
    server.wait_for("waiting at gate");
    let now = stats(&server);
    let busy =
        now["workers"].as_array().unwrap().iter().find(|worker| worker["status"] == "busy").expect("one is busy");
    let core = busy["cores"].as_array().unwrap().iter().find(|core| core["in_request"] == 1).expect("a core is");
    let vars = ["REQUEST_METHOD=GET", "REQUEST_URI=/gate/gate?a=b", "REMOTE_ADDR=127.0.0.1", ""];
    assert_eq!(core["vars"], serde_json::json!(vars));
    assert!(core["req_info"]["request_start"].as_u64() >= busy["last_spawn"].as_u64());
    assert!(!now.to_string().contains("secret"));
    server.open_gate("gate");
    client.answer().ok();
    let sum_of = |now: &Value, key: &str| -> u64 {
        now["workers"].as_array().unwrap().iter().map(|worker| worker[key].as_u64().unwrap()).sum()
    };
    // A request is counted when its answer is out.
    let then = eventually("it is counted", || Some(stats(&server)).filter(|now| sum_of(now, "requests") == 1));
    let sum = |key: &str| sum_of(&then, key);
    assert_eq!(sum("delta_requests"), 1);
    assert!(sum("tx") > 0 && sum("running_time") > 0 && sum("avg_rt") > 0, "{then}");
    let counted = |worker: &Value| worker["apps"][0]["requests"].as_u64().unwrap();
    assert_eq!(then["workers"].as_array().unwrap().iter().map(counted).sum::<u64>(), 1);
}

#[test]
fn statistics_stand_at_files_and_names_too_and_over_http() {
    let server = Site::app("hello.py").ini("stats = stats.sock\nstats-min = true\nstats-no-cores = true").start();
    let text = whole(UnixStream::connect(server.path("stats.sock")).unwrap());
    assert!(!text.contains('\n') && !text.contains("cores"), "{text}");
    let mode = std::fs::metadata(server.path("stats.sock")).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "what is told is the operator's");
    let path = server.path("stats.sock");
    server.site.write_ini();
    server.signal(Signal::SIGTERM);
    eventually("the socket goes with its server", || (!path.exists()).then_some(()));

    let name = format!("@ruwsgi-stats-{}", std::process::id());
    let server = Site::app("hello.py").ini(&format!("stats = {name}\nstats-http = true")).start();
    server.wait_for("stats at @");
    let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
    let mut stream = UnixStream::connect_addr(&address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let answer = whole(stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"), "{head}");
    assert!(serde_json::from_str::<Value>(body).unwrap()["workers"].is_array());
}

#[test]
fn a_visitor_who_takes_nothing_holds_nobody_up() {
    let server = Site::app("hello.py").ini("stats = 127.0.0.1:0\nadmin = 127.0.0.1:0").start();
    let (stats_at, admin) = (at(&server, "stats"), at(&server, "admin"));
    let silent: Vec<TcpStream> =
        (0..200).map(|round| TcpStream::connect([stats_at, admin][round % 2]).unwrap()).collect();
    assert!(stats(&server)["workers"].is_array());
    server.get("/").ok();
    drop(silent);
    assert!(ask(admin, "/livez").starts_with("HTTP/1.1 200"));
}

#[test]
fn statistics_come_and_go_with_the_configuration() {
    let server = Site::app("hello.py").ini("stats = one.sock").start();
    let ini = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &ini.replace("one.sock", "two.sock"));
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 is complete");
    assert!(whole(UnixStream::connect(server.path("two.sock")).unwrap()).contains("\"workers\""));
    assert!(!server.path("one.sock").exists());
}

#[test]
fn an_address_that_is_taken_is_told() {
    let one = Site::app("hello.py").ini("stats = 127.0.0.1:0").start();
    let taken = at(&one, "stats");
    let ended = Site::app("hello.py").ini(&format!("stats = {taken}")).run();
    ended.failed(1, &["stats: ", "is in use", "uwsgi.ini:"]);
}

#[test]
fn health_says_whether_requests_are_answered() {
    let server = Site::app("control.py").ini("admin = 127.0.0.1:0").start();
    let admin = at(&server, "admin");
    assert!(ask(admin, "/livez").ends_with("\r\n\r\nalive\n"));
    assert!(ask(admin, "/readyz?verbose").starts_with("HTTP/1.1 200"));
    assert!(ask(admin, "/").starts_with("HTTP/1.1 404"));
    // All workers are stuck: the master answers all the same.
    let mut client = server.connect();
    client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    assert!(ask(admin, "/readyz").starts_with("HTTP/1.1 200"));
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping:");
    assert!(ask(admin, "/readyz").contains("\r\n\r\nstopping\n"));
    assert!(ask(admin, "/livez").starts_with("HTTP/1.1 200"));
    server.open_gate("gate");
    client.answer().ok();
    assert_eq!(server.wait().code, 0);
}

#[test]
fn drain_delay_serves_on_while_front_ends_find_out() {
    let server = Site::app("hello.py").ini("admin = 127.0.0.1:0\ndrain-delay = 2").start();
    let admin = at(&server, "admin");
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping in 2 s (drain-delay)");
    assert!(ask(admin, "/readyz").starts_with("HTTP/1.1 503"));
    server.get("/").ok();
    let ended = server.wait();
    assert_eq!(ended.code, 0);
    assert!(ended.log.contains("stopping: 0 requests"), "{}", ended.log);
}

#[test]
fn a_signal_writes_statistics_into_the_log() {
    let server = serve("hello.py");
    server.get("/").ok();
    // The worker may still be about to count the request.
    let line = eventually("the request is counted", || {
        server.signal(Signal::SIGUSR1);
        let text = server.log.text();
        text.lines().find(|line| line.contains("idle: 1 requests, 0 exceptions")).map(str::to_owned)
    });
    assert!(line.contains("MiB resident, 1 times born"), "{line}");
}

#[test]
fn pidfiles_of_all_kinds_hold_the_master() {
    let ini = "pidfile = one\npidfile2 = two\nsafe-pidfile = three\nsafe-pidfile2 = four";
    let server = Site::app("hello.py").ini(ini).start();
    let pid = format!("{}\n", server.master().pid);
    for name in ["one", "two", "three", "four"] {
        eventually(name, || (std::fs::read_to_string(server.path(name)).ok()? == pid).then_some(()));
    }
    let dir = server.site.dir().to_owned();
    server.signal(Signal::SIGTERM);
    for name in ["one", "two", "three", "four"] {
        eventually("the pidfile goes", || (!dir.join(name).exists()).then_some(()));
    }
}

#[test]
fn memory_report_tells_of_memory_in_each_line() {
    let server = Site::app("hello.py").ini("memory-report = true").start();
    server.get("/").ok();
    let line = server.wait_for("GET / => ");
    let told = |word: &str| {
        let number = line.split(word).nth(1).and_then(|rest| rest.split(' ').next());
        number.and_then(|number| number.parse::<u64>().ok()).unwrap_or_else(|| panic!("{word}N in {line}"))
    };
    // As in uWSGI: {address space usage: 20127744 bytes/19MB} {rss usage: 9617408 bytes/9MB}
    assert!(told("{address space usage: ") > told("{rss usage: ") && told("{rss usage: ") > 1 << 20, "{line}");
}
