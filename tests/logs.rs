//! What operators and their tools read: the request line, the life events, and a log that nobody reads.

use std::io::{PipeReader, Read};
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::harness::{Answer, Client, Server, Site, drain, eventually, serve};

/// The request lines so far.
fn request_lines(log: &str) -> Vec<String> {
    log.lines().filter(|line| line.starts_with("[pid: ")).map(str::to_owned).collect()
}

/// `Www Mmm dd hh:mm:ss yyyy`, as ctime(3) writes it.
fn is_ctime(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let known = |names: &[&str], range| text.get(range).is_some_and(|name| names.contains(&name));
    known(&days, 0..3) && known(&months, 4..7) && [" 99 99:99:99 9999", "  9 99:99:99 9999"].contains(&&shape[7..])
}

/// The text between two marks of a line.
fn between<'l>(line: &'l str, start: &str, end: &str) -> &'l str {
    let rest = line.split_once(start).unwrap_or_else(|| panic!("no {start:?} in {line:?}")).1;
    rest.split_once(end).unwrap_or_else(|| panic!("no {end:?} in {line:?}")).0
}

/// The line that uWSGI 2.0 writes for such a request, with the time and the duration of `line`. The headers it counts
/// are the application's, the bytes are those of the whole head.
fn expected(line: &str, pid: i32, number: usize, request: &str, answer: &Answer) -> String {
    let (vars, bytes) = variables(answer);
    let (time, took) = (between(line, "} [", "] "), between(line, " bytes in ", " msecs"));
    assert!(is_ctime(time), "{time:?} is no time as ctime writes it, in {line:?}");
    assert!(took.parse::<u64>().is_ok(), "{took:?} in {line:?}");
    format!(
        "[pid: {pid}|app: 0|req: {number}/{number}] 127.0.0.1 () {{{vars} vars in {bytes} bytes}} [{time}] {request} \
         => generated {} bytes in {took} msecs ({} {}) 2 headers in {} bytes (1 switches on core 0)",
        answer.body.len(),
        answer.version,
        answer.status,
        answer.head.len(),
    )
}

/// What uWSGI counts as variables: keys and values, and the size of them in its own protocol.
fn variables(answer: &Answer) -> (usize, usize) {
    let seen = answer.json();
    let env = seen["env"].as_object().unwrap();
    // The name of the server is part of every environ, and no variable of the request.
    let strings = env.iter().filter(|(name, _)| !name.contains('.') && *name != "SERVER_SOFTWARE");
    strings.fold((0, 0), |(count, bytes), (name, value)| {
        (count + 2, bytes + 4 + name.len() + value.as_str().unwrap().chars().count())
    })
}

#[test]
fn the_request_line_is_that_of_uwsgi() {
    let server = serve("inspect.py");
    let pid = server.workers()[0].pid;
    let mut client = server.connect();
    let requests = [
        ("GET /a%20b?c=d&e HTTP/1.1\r\nHost: example.org\r\nUser-Agent: x\r\n\r\n", "GET /a%20b?c=d&e"),
        (
            "POST /p?lines HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
            "POST /p?lines",
        ),
        ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /"),
    ];
    for (number, (request, shown)) in requests.iter().enumerate() {
        let answer = client.send(request).answer();
        let line = server.log.wait_for_nth("[pid: ", number + 1);
        assert_eq!(line, expected(&line, pid, number + 1, shown, &answer));
    }
}

#[test]
fn numbers_of_requests_are_the_workers_and_the_instances() {
    let server = Site::app("hello.py").ini("processes = 2").start();
    for number in 1..=10 {
        server.get("/").ok();
        server.log.wait_for_nth("[pid: ", number);
    }
    let mut own = std::collections::HashMap::new();
    for (total, line) in request_lines(&server.log.text()).iter().enumerate() {
        let count = own.entry(between(line, "[pid: ", "|").to_owned()).or_insert(0);
        *count += 1;
        assert_eq!(between(line, "|req: ", "]"), format!("{count}/{}", total + 1), "{line}");
    }
}

#[test]
fn failed_requests_have_a_line_too() {
    let server = serve("shapes.py");
    let answer = server.get("/fail");
    let line = server.wait_for("GET /fail => ");
    assert!(line.contains(&format!("(HTTP/1.1 {})", answer.status)), "{line}");
}

#[test]
fn what_a_client_sends_cannot_forge_a_line() {
    let server = serve("hello.py");
    let mut client = server.connect();
    client.send("GET /%0a[pid:%201|\x7f\u{1b}[2J HTTP/1.1\r\nHost: a\r\n\r\n");
    client.answer();
    server.get("/end").ok();
    server.wait_for("GET /end");
    let log = server.log.bytes();
    assert!(log.iter().all(|byte| matches!(byte, b'\n' | 0x20..=0x7e | 0x80..)), "{}", server.log.text());
}

#[test]
fn request_lines_can_be_switched_off() {
    let server = Site::app("hello.py").ini("disable-logging = true").start();
    server.get("/").ok();
    let log = server.stop().log;
    assert_eq!(request_lines(&log), [""; 0]);
}

#[test]
fn the_first_lines_say_what_runs() {
    let server = Site::app("hello.py").ini("processes = 2").start();
    let log = server.log.text();
    let python = crate::harness::python::default().display().to_string();
    for word in [env!("CARGO_PKG_VERSION"), &python, "http-socket on 127.0.0.1:", "(backlog 1024)"] {
        assert!(log.contains(word), "the log does not say {word:?}:\n{log}");
    }
    assert!(log.lines().next().unwrap().contains("ruwsgi"), "{log}");
    for worker in server.workers() {
        let line = server.wait_for(&format!("(pid {}) ready after ", worker.pid));
        assert!(line.starts_with("worker ") && line.ends_with(" ms"), "{line}");
    }
}

/// A server whose stderr is a pipe that nobody reads any more once it is ready.
fn unread(site: Site) -> (Server, PipeReader, Client) {
    site.write_ini();
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut command = site.command(["--ini", "uwsgi.ini"]);
    command.stderr(writer);
    let server = Server::of(command, site);
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.contains("\nworker 1 ") || !text.ends_with('\n') {
        assert_eq!(reader.read(&mut byte).unwrap(), 1, "the server ended: {text}");
        text.push(char::from(byte[0]));
    }
    let address = between(&text, "http-socket on ", " (backlog").parse().unwrap();
    (server, reader, Client::tcp(address))
}

#[test]
fn five_thousand_requests_are_served_while_nobody_reads_the_log() {
    let (server, reader, mut client) = unread(Site::app("hello.py"));
    for _ in 0..50 {
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100));
        for _ in 0..100 {
            assert_eq!(client.answer().ok(), "Hello, world!");
        }
    }
    // Somebody reads again: whole lines, and how many are missing.
    let rest = std::thread::spawn(move || drain(reader));
    client.get("/at-the-end").ok();
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
    let rest = String::from_utf8(rest.join().unwrap()).unwrap();
    let lines = request_lines(&rest);
    assert!(lines.len() > 100 && lines.len() < 5002, "{} lines", lines.len());
    let cut: Vec<_> = lines.iter().filter(|line| !line.ends_with("on core 0)")).collect();
    assert!(cut.is_empty(), "lines are cut: {cut:?}");
    assert!(
        rest.lines().any(|line| line.contains("dropped") || line.contains("lost")),
        "nobody says how many are missing"
    );
}

#[test]
fn lines_of_two_processes_are_not_mixed_in_a_full_pipe() {
    let (server, mut reader, mut client) = unread(Site::app("hello.py"));
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(1000));
    for _ in 0..1000 {
        client.answer().ok();
    }
    // There is room again, and the master is the first to use it.
    let mut text = vec![0; 16 * 1024];
    reader.read_exact(&mut text).unwrap();
    server.signal(Signal::SIGHUP);
    while !String::from_utf8_lossy(&text).contains(" begins\n") {
        let mut more = [0; 4096];
        let got = reader.read(&mut more).unwrap();
        text.extend(&more[..got]);
    }
    server.signal(Signal::SIGTERM);
    text.extend(drain(reader));
    assert_eq!(server.wait().code, 0);
    let text = String::from_utf8(text).unwrap();
    let mixed: Vec<_> = request_lines(&text).into_iter().filter(|line| !line.ends_with("on core 0)")).collect();
    assert!(mixed.is_empty(), "{mixed:?}");
}

#[test]
fn requests_are_served_when_the_reader_of_the_log_is_gone() {
    let (server, reader, mut client) = unread(Site::app("hello.py").ini("processes = 2"));
    drop(reader);
    for _ in 0..200 {
        assert_eq!(client.get("/").ok(), "Hello, world!");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn requests_are_served_when_the_disk_of_the_log_is_full() {
    let site = Site::app("hello.py").ini("http-socket = app.sock");
    site.write_ini();
    let mut command = site.command(["--ini", "uwsgi.ini"]);
    command.stderr(Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap()));
    let server = Server::of(command, site);
    let socket = server.path("app.sock");
    eventually("the socket", || std::os::unix::net::UnixStream::connect(&socket).ok());
    let mut client = Client::unix(&socket);
    for _ in 0..200 {
        assert_eq!(client.get("/").ok(), "Hello, world!");
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
}

/// A server with so many workers whose log is a file; its socket is `app.sock`, its log `log`.
fn into_a_file(workers: usize) -> Server {
    let site = Site::app("hello.py").ini(&format!("processes = {workers}\nhttp-socket = app.sock"));
    site.write_ini();
    let file = std::fs::OpenOptions::new().append(true).create(true).open(site.path("log")).unwrap();
    let mut command = site.command(["--ini", "uwsgi.ini"]);
    command.stderr(file);
    let server = Server::of(command, site);
    let path = server.path("log");
    let ready = || std::fs::read_to_string(&path).unwrap().matches("\nworker ").count() == workers;
    eventually("the workers", || ready().then_some(()));
    server
}

#[test]
fn no_line_is_lost_while_a_worker_has_no_pause() {
    let mut server = into_a_file(1);
    let (socket, path) = (server.path("app.sock"), server.path("log"));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut client = Client::unix(&socket);
                for _ in 0..10 {
                    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200));
                    for _ in 0..200 {
                        client.answer().ok();
                    }
                }
            });
        }
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_here().code, 0);
    assert_eq!(request_lines(&std::fs::read_to_string(path).unwrap()).len(), 4000);
}

#[test]
fn a_log_file_gets_whole_lines_from_all_workers() {
    let mut server = into_a_file(3);
    let (socket, path) = (server.path("app.sock"), server.path("log"));
    let log = || std::fs::read_to_string(&path).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..30 {
                    Client::unix(&socket).get("/").ok();
                }
            });
        }
    });
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_here().code, 0);
    let lines = request_lines(&log());
    assert_eq!(lines.len(), 180);
    assert!(lines.iter().all(|line| line.ends_with("(1 switches on core 0)")));
}

#[test]
fn a_worker_with_nothing_to_do_keeps_no_line_back() {
    let app = "
        import os
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/die':
                os.kill(os.getpid(), 9)
            start_response('200 OK', [])
            return [b'']
    ";
    let server = Site::code(app).start();
    let mut client = server.connect();
    for number in 0..4 {
        client.get(&format!("/before/{number}")).ok();
        // Nothing else happens that could push the line out. One that has the next request already writes within a tick.
        server.log.wait_for(&format!("GET /before/{number} "));
    }
    client.send("GET /die HTTP/1.1\r\nHost: a\r\n\r\n");
    server.log.wait_for("GET /die since");
    let lines = request_lines(&server.log.text());
    assert_eq!(lines.len(), 4, "{lines:#?}");
}
