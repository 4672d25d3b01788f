//! Lines that are dealt out: to files, sockets and syslog, by patterns, in other shapes; and what becomes of them when
//! nobody can take them.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::harness::{Client, Server, Site, eventually};

const APP: &str = "
    import sys, uwsgi
    print('loading', flush=True)
    def application(environ, start_response):
        path = environ['PATH_INFO']
        if path.startswith('/say/'):
            print(path[5:], flush=True)
        if path.startswith('/var/'):
            uwsgi.set_logvar('shop', path[5:])
        start_response('200 OK', [])
        return [b'hello']
";

fn read(server: &Server, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(server.path(name)).unwrap_or_default()).into_owned()
}

fn has(server: &Server, name: &str, text: &str) {
    eventually(&format!("{text:?} in {name}"), || read(server, name).contains(text).then_some(()));
}

/// Starts it and waits until it answers: its log is not what the harness reads.
fn start(site: Site) -> (Server, Client) {
    let site = site.ini("http-socket = app.sock");
    let server = site.launch();
    let socket = server.path("app.sock");
    // A start binds before it serves: an answer is what counts.
    let client = eventually("the socket", || {
        std::os::unix::net::UnixStream::connect(&socket).is_ok().then(|| Client::unix(&socket))
    });
    let mut client = client;
    client.get("/first").ok();
    (server, client)
}

#[test]
fn lines_of_requests_and_all_others_go_to_their_loggers() {
    let (mut server, mut client) =
        start(Site::code(APP).ini("logger = file:all.log\nreq-logger = file:requests.log\nprocesses = 2"));
    client.get("/say/printed").ok();
    has(&server, "all.log", "printed\n");
    has(&server, "requests.log", "GET /say/printed => ");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_here().code, 0);
    let (all, requests) = (read(&server, "all.log"), read(&server, "requests.log"));
    for word in ["ruwsgi ", "loading\n", "worker 1 ", "ready after", "\nstopped\n"] {
        assert!(all.contains(word), "{word:?} is missing in\n{all}");
    }
    assert!(!all.contains("GET /") && requests.lines().all(|line| line.starts_with("[pid: ")), "{requests}");
    assert_eq!((server.log.text(), server.out.text()), (String::new(), String::new()));
}

#[test]
fn routes_and_encoders_shape_lines() {
    let (server, mut client) = start(
        Site::code(APP)
            .ini("logger = stdio\nlogger = stash file:stash.log\nlog-route = stash ^say:")
            .ini("log-encoder = json:stash {\"at\":\"${strftime:%%Y}\",\"m\":\"${msg}\"}\nlog-encoder = nl:stash")
            .ini("log-drain = unwanted"),
    );
    client.get("/say/say:%20%22a%22").ok();
    client.get("/say/unwanted").ok();
    client.get("/say/plain").ok();
    // What the application says comes before the line of its request.
    server.out.wait_for("GET /say/plain");
    has(&server, "stash.log", "\n");
    let stash: serde_json::Value = serde_json::from_str(&read(&server, "stash.log")).unwrap();
    assert_eq!((&stash["m"], stash["at"].as_str().unwrap().len()), (&"say: \"a\"".into(), 4));
    let out = server.out.text();
    assert!(out.contains("GET /say/plain") && !out.contains("unwanted") && !out.contains("say: "), "{out}");
}

#[test]
fn lines_go_to_sockets() {
    let site = Site::code(APP);
    let reader = UnixDatagram::bind(site.path("log.sock")).unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    for (timeout, _) in [
        (reader.set_read_timeout(Some(Duration::from_secs(20))), ()),
        (udp.set_read_timeout(Some(Duration::from_secs(20))), ()),
    ] {
        timeout.unwrap();
    }
    let port = udp.local_addr().unwrap().port();
    let site = site.ini(&format!("log-socket = log.sock,app: \nlogger = socket:127.0.0.1:{port}"));
    let (_server, mut client) = start(site);
    client.get("/say/over%20there").ok();
    let until = |receive: &dyn Fn(&mut [u8]) -> std::io::Result<usize>, wanted: &str| {
        let mut room = [0; 4096];
        loop {
            let size = receive(&mut room).expect("a datagram with what is looked for");
            if String::from_utf8_lossy(&room[..size]) == wanted {
                return;
            }
        }
    };
    until(&|room| reader.recv(room), "app:over there\n");
    until(&|room| udp.recv(room), "over there\n");
}

#[test]
fn a_log_over_udp_is_what_uwsgi_makes_of_an_address() {
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (_server, mut client) = start(Site::code(APP).ini(&format!("logto = {}", udp.local_addr().unwrap())));
    client.get("/say/far%20away").ok();
    let mut room = [0; 4096];
    while udp.recv(&mut room).map(|size| &room[..size] != b"far away\n").expect("the line") {}
}

#[test]
fn a_descriptor_that_was_passed_on_is_a_logger() {
    let site = Site::code(APP).ini("logger = fd:7\nhttp-socket = app.sock");
    site.write_ini();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "exec 7>seven; exec \"$0\" --ini uwsgi.ini", env!("CARGO_BIN_EXE_ruwsgi")]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    has(&server, "seven", "ready after");
}

/// rsyslogd with this configuration, in the foreground, until it is dropped.
struct Rsyslog(std::process::Child);

impl Rsyslog {
    fn start(site: &Site, input: &str) -> Option<Self> {
        let program = ["/usr/sbin/rsyslogd", "/sbin/rsyslogd"].into_iter().find(|path| Path::new(path).exists());
        let Some(program) = program else {
            eprintln!("no rsyslogd: not tested with it");
            return None;
        };
        let out = site.path("syslog").display().to_string();
        let template = "template(name=\"t\" type=\"string\" string=\"%pri%|%syslogtag%|%msg%\\n\")";
        site.write(
            "rsyslog.conf",
            &format!("{input}\n{template}\n*.* action(type=\"omfile\" file=\"{out}\" template=\"t\")\n"),
        );
        let pid = site.path("rsyslog.pid");
        let child = Command::new(program)
            .args(["-n", "-f"])
            .arg(site.path("rsyslog.conf"))
            .arg("-i")
            .arg(pid)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self(child))
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_rsyslog_reads_what_the_rsyslog_logger_sends() {
    let site = Site::code(APP);
    let path = site.path("in.sock").display().to_string();
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let input = format!(
        "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"{path}\" CreatePath=\"on\")\n\
         module(load=\"imudp\")\ninput(type=\"imudp\" address=\"127.0.0.1\" port=\"{port}\")"
    );
    let Some(_daemon) = Rsyslog::start(&site, &input) else { return };
    eventually("rsyslogd listens", || Path::new(&path).exists().then_some(()));
    let (server, mut client) =
        start(site.ini(&format!("logger = rsyslog:{path},shop,14\nreq-logger = rsyslog:127.0.0.1:{port},requests")));
    client.get("/say/to%20syslog").ok();
    has(&server, "syslog", "14|shop:| to syslog\n");
    // UDP may be lost while the daemon begins.
    eventually("a request in syslog", || {
        client.get("/again").ok();
        read(&server, "syslog").contains("29|requests:| [pid: ").then_some(())
    });
}

#[test]
fn syslog_takes_lines_and_is_missed_only_in_the_log() {
    if Path::new("/dev/log").exists() || !nix::unistd::geteuid().is_root() {
        eprintln!("there is a /dev/log, or none can be made: not tested");
        return;
    }
    let (server, mut client) = start(Site::code(APP).ini("log-syslog = shop,local3\nlogger = file:all.log"));
    server.log.wait_for("warning: /dev/log takes no log lines: No such file or directory");
    client.get("/say/early").ok();
    let reader = UnixDatagram::bind("/dev/log").unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut room = [0; 4096];
    let found = (0..200).any(|_| {
        let size = reader.recv(&mut room).unwrap_or(0);
        let text = String::from_utf8_lossy(&room[..size]).into_owned();
        text.starts_with("<158>") && text.ends_with(" shop: early")
    });
    fs::remove_file("/dev/log").unwrap();
    assert!(found, "the line that waited has come");
}

#[test]
fn an_access_log_in_json_is_json_whatever_comes() {
    let (server, mut client) =
        start(Site::code(APP).ini("req-logger = file:requests.log\nlog-format = json\nenable-threads = true"));
    for path in ["/a?b=c", "/%22quote%5C", "/%0a%1b%5b2J", "/%ff%fe", "/var/%22%0a%00", "/e%C3%A9"] {
        let agent = "a\"b\\c\u{9b}31m\u{e9}";
        client.send(format!("GET {path} HTTP/1.1\r\nHost: h\r\nUser-Agent: {agent}\r\nX-Request-Id: r\"1\r\n\r\n"));
        client.answer();
    }
    has(&server, "requests.log", "%C3%A9");
    let text = fs::read(server.path("requests.log")).unwrap();
    assert!(text.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()));
    let lines: Vec<serde_json::Value> = String::from_utf8(text)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    assert_eq!(lines.len(), 7);
    assert_eq!((&lines[1]["url.path"], &lines[1]["url.query"]), (&"/a".into(), &"b=c".into()));
    assert_eq!(lines[1]["http.response.status_code"], 200);
    assert_eq!(lines[5]["labels"]["shop"], "\"\n\0");
    assert_eq!(lines[1]["request_id"], "r\"1");
}

#[test]
fn a_log_is_put_aside_when_it_is_large() {
    for (line, name) in [("", "log."), ("log-backupname = old.log", "old.log")] {
        let (server, mut client) = start(Site::code(APP).ini("logto = log\nlog-maxsize = 20000").ini(line));
        let mut sent = 1;
        let aside = eventually("the log is put aside", || {
            client.get("/fill").ok();
            sent += 1;
            let names = fs::read_dir(server.site.dir()).unwrap().flatten();
            names.filter_map(|entry| entry.file_name().into_string().ok()).find(|it| it.starts_with(name))
        });
        eventually("the worker goes on in the new one", || {
            client.get("/end").ok();
            sent += 1;
            read(&server, "log").contains("GET /end").then_some(())
        });
        eventually("no line is lost", || {
            let whole = read(&server, &aside) + &read(&server, "log");
            (whole.matches("[pid: ").count() == sent).then_some(())
        });
    }
}

#[test]
fn a_log_can_begin_empty() {
    let site = Site::code(APP).ini("logto = log\nlog-truncate = true");
    site.write("log", "from before\n");
    let (server, _) = start(site);
    assert!(!read(&server, "log").contains("from before"));
}

/// Runs logrotate with this configuration, now.
fn rotate(server: &Server, lines: &str) -> bool {
    let program = ["/usr/sbin/logrotate", "/sbin/logrotate"].into_iter().find(|path| Path::new(path).exists());
    let Some(program) = program else {
        eprintln!("no logrotate: not tested with it");
        return false;
    };
    let dir = server.site.dir().display().to_string();
    let user = if nix::unistd::geteuid().is_root() { "su root root\n" } else { "" };
    server.site.write("rotate.conf", &format!("{user}{dir}/*.log {{\n{lines}\n}}\n").replace("HERE", &dir));
    let mut command = Command::new(program);
    command.args(["-f", "-s"]).arg(server.path("state")).arg(server.path("rotate.conf"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[test]
fn a_real_logrotate_loses_no_line() {
    for (options, lines) in [
        ("logto = all.log\ntouch-logreopen = again", "rotate 3\nnocreate\npostrotate\ntouch HERE/again\nendscript"),
        ("logto = all.log", "rotate 3\ncopytruncate"),
        (
            "logger = file:all.log\ntouch-logreopen = again",
            "rotate 3\nnocreate\npostrotate\ntouch HERE/again\nendscript",
        ),
    ] {
        let (server, mut client) = start(Site::code(APP).ini(options));
        client.get("/before").ok();
        has(&server, "all.log", "GET /before");
        if !rotate(&server, lines) {
            return;
        }
        client.get("/between").ok();
        if options.contains("again") {
            eventually("the log is opened anew", || server.path("all.log").exists().then_some(()));
        }
        // Workers go on in the new file a moment after the master has opened it.
        let mut asked = 0;
        eventually("a line in the new file", || {
            client.get("/after").ok();
            asked += 1;
            read(&server, "all.log").contains("GET /after ").then_some(())
        });
        eventually("all lines", || {
            let whole = read(&server, "all.log.1") + &read(&server, "all.log");
            (whole.matches("GET /after ").count() == asked).then_some(())
        });
        let whole = read(&server, "all.log.1") + &read(&server, "all.log");
        for path in ["/first", "/before", "/between"] {
            assert_eq!(whole.matches(&format!("GET {path} ")).count(), 1, "{path} with {options}\n{whole}");
        }
        assert!(!read(&server, "all.log").contains("GET /before"), "{options}");
    }
}

#[test]
fn a_disk_that_is_full_stops_nobody_and_the_loss_is_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: no small disk: not tested");
        return;
    }
    for option in ["logto = small/log", "logger = file:small/log"] {
        let site = Site::code(APP).ini(option).ini("http-socket = app.sock");
        fs::create_dir(site.path("small")).unwrap();
        site.write_ini();
        // A disk of its own, gone with it.
        let script = "mount -t tmpfs -o size=1m none small && head -c 900000 /dev/zero > small/ballast && \
                      exec \"$0\" --ini uwsgi.ini";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "/bin/sh", "-c", script, env!("CARGO_BIN_EXE_ruwsgi")]);
        site.dress(&mut command);
        let server = Server::of(command, site);
        let socket = server.path("app.sock");
        eventually("the socket", || std::os::unix::net::UnixStream::connect(&socket).ok());
        let mut client = Client::unix(&socket);
        for _ in 0..60 {
            client.send("GET /a/path/that/is/not/so/short HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
            for _ in 0..100 {
                assert_eq!(client.answer().ok(), "hello");
            }
        }
        let inside = format!("/proc/{}/root{}", server.master().pid, server.path("small").display());
        fs::remove_file(format!("{inside}/ballast")).unwrap();
        client.get("/at-the-end").ok();
        let log = || String::from_utf8_lossy(&fs::read(format!("{inside}/log")).unwrap()).into_owned();
        eventually("the loss is told", || {
            client.get("/again").ok();
            log().contains("log lines were lost while the log could not be written").then_some(())
        });
    }
}

#[test]
fn a_stuck_reader_costs_lines_and_no_time() {
    let site = Site::code(APP);
    let reader = UnixDatagram::bind(site.path("log.sock")).unwrap();
    let (server, mut client) = start(site.ini("req-logger = socket:log.sock\nlogger = file:all.log"));
    let mut longest = Duration::ZERO;
    for _ in 0..3000 {
        let began = Instant::now();
        client.get("/").ok();
        longest = longest.max(began.elapsed());
    }
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    has(&server, "all.log", "log.sock takes no log lines: ");
    reader.set_nonblocking(true).unwrap();
    let mut room = [0; 4096];
    eventually("the loss is told", || {
        let size = reader.recv(&mut room).unwrap_or(0);
        String::from_utf8_lossy(&room[..size]).contains("log lines were lost").then_some(())
    });
}

#[test]
fn what_replaces_a_log_does_no_harm() {
    let site = Site::code(APP).ini("logger = file:logs/all.log\nlogger = stdio\nmaster-fifo = fifo");
    fs::create_dir(site.path("logs")).unwrap();
    let (server, mut client) = start(site);
    let logs = server.path("logs");
    let mut reopen = |told: &str, count: usize| {
        fs::write(server.path("fifo"), "l").unwrap();
        server.out.wait_for_nth(told, count);
        client.get("/").ok();
    };
    fs::remove_dir_all(&logs).unwrap();
    reopen("cannot open logs/all.log: No such file or directory", 1);
    fs::create_dir_all(logs.join("all.log")).unwrap();
    reopen("cannot open logs/all.log: Is a directory", 1);
    fs::remove_dir_all(logs.join("all.log")).unwrap();
    nix::unistd::mkfifo(&logs.join("all.log"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    reopen("the log was opened anew", 1);
    fs::remove_file(logs.join("all.log")).unwrap();
    reopen("the log was opened anew", 2);
    has(&server, "logs/all.log", "GET / => ");
}

#[test]
fn no_line_is_lost_on_the_way_through_the_master() {
    let (mut server, _) =
        start(Site::code(APP).ini("processes = 3\nreq-logger = file:requests.log\nlogger = file:all.log"));
    let socket = server.path("app.sock");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::unix(&socket);
                for _ in 0..10 {
                    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
                    (0..100).for_each(|_| assert_eq!(client.answer().ok(), "hello"));
                }
            });
        }
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_here().code, 0);
    let lines = read(&server, "requests.log");
    assert_eq!(lines.lines().count(), 4001);
    assert!(lines.lines().all(|line| line.starts_with("[pid: ") && line.ends_with("on core 0)")));
}

#[test]
fn a_reload_may_change_loggers_but_not_bring_the_first_one() {
    let (server, mut client) = start(Site::code(APP).ini("logger = file:one.log\nmaster-fifo = fifo"));
    let ini = fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &ini.replace("one.log", "two.log"));
    server.signal(Signal::SIGHUP);
    has(&server, "two.log", "generation 2 is complete");
    client.get("/new").ok();
    has(&server, "two.log", "GET /new");
    server.site.write("uwsgi.ini", &ini.replace("logger = file:one.log", ""));
    server.signal(Signal::SIGHUP);
    has(&server, "two.log", "restart needed");
    server.site.write("uwsgi.ini", &ini.replace("one.log", "no/such/one.log"));
    server.signal(Signal::SIGHUP);
    has(&server, "two.log", "cannot open no/such/one.log");
    client.get("/still").ok();
}

#[test]
fn a_command_that_says_more_than_a_pipe_holds_is_waited_for() {
    let says = "head -c 3000000 /dev/zero | tr '\\0' x | fold -w 99";
    let site =
        Site::code(APP).ini("logger = file:all.log").ini(&format!("exec-as-user = {says}\nexec-pre-app = {says}"));
    let (server, _) = start(site);
    let count = || read(&server, "all.log").lines().filter(|line| line.len() == 99).count();
    eventually("every line of both", || (count() > 60_000).then_some(()));
}

#[test]
fn a_start_that_fails_is_told_on_the_terminal_and_in_the_log() {
    let site = Site::code("raise RuntimeError('broken')").ini("logger = file:all.log");
    let ended = site.run();
    ended.failed(22, &["error: "]);
    let log = fs::read_to_string(site.path("all.log")).unwrap();
    assert!(log.contains("RuntimeError: broken") && log.lines().last().unwrap().starts_with("error: "), "{log}");
}

#[test]
fn what_is_no_logger_is_told_with_its_place() {
    for (line, word) in [
        ("logger = redislog:x", "there is no logger \"redislog\""),
        ("logger = file", "file wants an argument"),
        ("logger = file:no/such/log", "cannot open no/such/log"),
        ("logger = fd:99", "descriptor 99: Bad file descriptor"),
        ("req-logger = syslog:a,nothing", "there is no facility \"nothing\""),
        ("log-route = nobody x", "there is no logger with the id \"nobody\""),
        ("log-drain = (", "is no pattern"),
        ("log-encoder = xml x", "there is no encoder \"xml\""),
        ("log-maxsize = much", "\"much\" is not a number"),
    ] {
        let option = line.split(' ').next().unwrap();
        let ended = Site::code(APP).ini(line).ini("strict = true").run();
        ended.failed(1, &[option, word, "uwsgi.ini:4"]);
        assert_eq!(ended.log.matches(word).count(), 1, "{}", ended.log);
    }
}
