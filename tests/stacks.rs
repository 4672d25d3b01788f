//! Where threads are, while they run: `ruwsgi stacks`, `py-tracebacker`, what a crash leaves behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::apps::{self, skip};
use crate::harness::{Client, Process, Server, Site, dedent, eventually, python};

/// Waits at a gate inside of two functions, holds the GIL for ever, or crashes.
const APP: &str = r#"
    import ctypes, os, sys, threading, time

    def wait_for(gate):
        print("waiting at", gate, file=sys.stderr, flush=True)
        while not os.path.exists(gate):
            time.sleep(0.01)

    def hold_the_gil():
        print("holding", file=sys.stderr, flush=True)
        # PyDLL keeps the GIL while the function runs, and nobody unlocks this.
        mutex, library = ctypes.create_string_buffer(128), ctypes.PyDLL(None)
        library.pthread_mutex_lock(mutex)
        library.pthread_mutex_lock(mutex)

    threading.Thread(target=wait_for, args=("beside",), name="be side", daemon=True).start()

    def application(environ, start_response):
        path = environ["PATH_INFO"]
        if path.startswith("/gate/"):
            wait_for(path[6:])
        elif path == "/hold":
            hold_the_gil()
        elif path == "/crash":
            ctypes.string_at(0)
        start_response("200 OK", [])
        return [b"x"]
"#;

fn start(ini: &str) -> Server {
    Site::code(APP).ini(&format!("pidfile = pid\nlazy-apps = true\n{ini}")).start()
}

fn stacks(server: &Server, target: &str) -> String {
    let ended = server.site.run_with(["stacks", target]);
    assert_eq!(ended.code, 0, "{}", ended.log);
    ended.out
}

fn busy(server: &Server, path: &str, mark: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    server.wait_for(mark);
    client
}

#[test]
fn every_thread_of_every_worker_is_shown_and_goes_on() {
    let server = start("processes = 2\nthreads = 2");
    let mut client = busy(&server, "/gate/gate?a=b", "waiting at gate");
    let text = stacks(&server, "pid");
    for (slot, worker) in server.workers().iter().enumerate() {
        assert!(text.contains(&format!("worker {} (pid {}): ", slot + 1, worker.pid)), "{text}");
    }
    assert!(text.contains(": 1 request\n") && text.contains(": 0 requests\n"), "{text}");
    assert!(text.contains("127.0.0.1 - GET /gate/gate?a=b since "), "{text}");
    assert!(text.contains("core 0: idle") || text.contains("core 1: idle"), "{text}");
    assert!(text.contains("  be side (thread "), "{text}");
    // Oldest first, with the line of the source.
    let (_, of_core) = text.split_once("GET /gate/gate").unwrap();
    let (before, after) = of_core.split_once("in application\n").unwrap();
    assert!(!before.contains("in wait_for"), "{text}");
    assert!(after.starts_with("      wait_for(path[6:])\n    File \""), "{text}");
    assert!(after.contains("in wait_for\n"), "{text}");
    assert!(!text.contains("at a signal"), "the interpreter has said it: {text}");
    // By its number, by the address of stats or admin: the same.
    assert!(stacks(&server, &server.master().pid.to_string()).contains("in wait_for"));
    server.open_gate("gate");
    assert_eq!(client.answer().status, 200);
    assert_eq!(server.births(), 2, "nobody was harmed");
    server.open_gate("beside");
    server.stop();
}

#[test]
fn addresses_of_stats_and_admin_will_do() {
    let server = start("stats = 127.0.0.1:0\nadmin = admin.sock");
    let _client = busy(&server, "/gate/gate", "waiting at gate");
    let at = server.wait_for("stats at ").rsplit(' ').next().unwrap().to_owned();
    for target in [at, server.path("admin.sock").display().to_string()] {
        assert!(stacks(&server, &target).contains("in wait_for"), "{target}");
    }
    // As any client of HTTP asks.
    let mut stream = UnixStream::connect(server.path("admin.sock")).unwrap();
    stream.write_all(b"GET /stacks HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain") && answer.contains("in wait_for"));
    // Many at once are one round.
    let ask = || {
        let mut stream = UnixStream::connect(server.path("admin.sock")).unwrap();
        stream.write_all(b"GET /stacks HTTP/1.0\r\n\r\n").unwrap();
        stream
    };
    let mut streams: Vec<UnixStream> = (0..10).map(|_| ask()).collect();
    for stream in &mut streams {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("in wait_for"));
    }
}

#[test]
fn other_machines_are_not_told_over_admin() {
    let server = start("admin = 0.0.0.0:0");
    let port = server.wait_for("admin at ").rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let own = nix::ifaddrs::getifaddrs().unwrap().filter_map(|one| Some(one.address?.as_sockaddr_in()?.ip()));
    let Some(ip) = own.into_iter().find(|ip| !ip.is_loopback()) else { return skip("admin: loopback is all there is") };
    let mut stream = TcpStream::connect((ip, port)).unwrap();
    stream.write_all(b"GET /stacks HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn a_worker_that_holds_the_gil_is_asked_by_signals() {
    let server = start("threads = 2\nprocesses = 2");
    let _held = busy(&server, "/hold", "holding");
    for _ in 0..2 {
        let text = stacks(&server, "pid");
        assert!(text.contains("something holds the GIL"), "{text}");
        assert!(text.contains("in hold_the_gil\n      library.pthread_mutex_lock(mutex)"), "{text}");
        assert!(text.contains("127.0.0.1 - GET /hold since "), "{text}");
        assert!(text.contains("in wait_for"), "the other threads, too: {text}");
    }
    assert_eq!(server.births(), 2);
}

#[test]
fn every_interpreter_tells_both_ways() {
    for python in python::usable() {
        let site = Site::code(APP).env("PATH", python.path.parent().unwrap());
        let server = site.ini("pidfile = pid\nlazy-apps = true\nthreads = 2").start();
        let mut client = busy(&server, "/gate/gate", "waiting at gate");
        let text = stacks(&server, "pid");
        assert!(text.contains(", in application\n      wait_for(path[6:])\n"), "{:?}: {text}", python.version);
        server.open_gate("gate");
        client.answer().ok();
        let _held = busy(&server, "/hold", "holding");
        let text = stacks(&server, "pid");
        assert!(text.contains("something holds the GIL"), "{:?}: {text}", python.version);
        assert!(text.contains(", in hold_the_gil\n"), "{:?}: {text}", python.version);
    }
}

#[test]
fn a_worker_that_is_stopped_is_told_by_the_kernel() {
    let server = start("processes = 2");
    server.workers()[0].signal(Signal::SIGSTOP);
    let text = stacks(&server, "pid");
    assert!(text.contains("it does not answer: thread") && text.contains("state T"), "{text}");
    assert!(text.contains("in wait_for"), "the other one answers: {text}");
    server.workers()[0].signal(Signal::SIGCONT);
}

#[test]
fn a_worker_that_drains_is_asked_too() {
    let server = start("");
    let mut client = busy(&server, "/gate/gate", "waiting at gate");
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping: 1 request");
    assert!(stacks(&server, "pid").contains("in wait_for\n"));
    server.open_gate("gate");
    assert_eq!(client.answer().status, 200);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_signal_without_a_word_has_it_in_the_log() {
    let server = start("");
    let _client = busy(&server, "/gate/gate", "waiting at gate");
    server.signal(Signal::SIGUSR2);
    server.wait_for("in application");
    server.wait_for("wait_for(path[6:])");
}

#[test]
fn who_is_no_master_is_left_alone() {
    let site = Site::empty();
    let mut sleeper = Command::new("sleep").arg("100").spawn().unwrap();
    site.write("pid", &format!("{}\n", sleeper.id()));
    site.run_with(["stacks", "pid"]).failed(1, &["is no master of ruwsgi"]);
    assert!(sleeper.try_wait().unwrap().is_none(), "it was not signalled");
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    site.run_with(["stacks", "pid"]).failed(1, &["is no master of ruwsgi, or there is none"]);
    site.write("pid", "x\n");
    site.run_with(["stacks", "pid"]).failed(1, &["pid holds no pid: \"x\""]);
    site.run_with(["stacks", "nowhere"]).failed(1, &["\"nowhere\" is no address", "no pidfile"]);
    site.run_with(["stacks", "127.0.0.1:1"]).failed(1, &["127.0.0.1:1: "]);
}

#[test]
fn workers_and_zygotes_are_no_masters() {
    let server = start("");
    let worker = server.workers()[0];
    for process in [worker, server.zygote()] {
        server.site.run_with(["stacks", &process.pid.to_string()]).failed(1, &["is no master of ruwsgi"]);
        assert!(process.alive());
    }
}

/// What `py-tracebacker` says, without what differs by machine.
fn traceback(socket: &Path) -> String {
    let mut text = String::new();
    UnixStream::connect(socket).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn py_tracebacker_tells_in_the_lines_of_uwsgi() {
    let server = start("processes = 2\npy-tracebacker = tb");
    server.wait_for("py-tracebacker of worker 2 at tb2");
    let mut client = busy(&server, "/gate/gate", "waiting at gate");
    let texts = ["tb1", "tb2"].map(|name| traceback(&server.path(name)));
    let text = texts.iter().find(|text| text.contains("function = application")).unwrap();
    assert!(text.starts_with("*** uWSGI Python tracebacker output ***\n\nthread_id = "), "{text}");
    let line = "app.py lineno = ";
    let application = text.lines().find(|line| line.contains("function = application")).unwrap();
    assert!(application.contains(line) && application.ends_with(" line = wait_for(path[6:])"), "{application}");
    assert!(text.contains("thread_id = be side filename = "), "{text}");
    assert_eq!(std::fs::metadata(server.path("tb1")).unwrap().permissions().mode() & 0o777, 0o600);
    // The successor of a worker takes its place.
    server.open_gate("gate");
    client.answer().ok();
    drop(client);
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 is complete");
    assert!(traceback(&server.path("tb1")).contains("thread_id = be side"));
    let path = server.path("tb1");
    server.signal(Signal::SIGTERM);
    eventually("the socket goes with the last worker", || (!path.exists()).then_some(()));
}

#[test]
fn py_tracebacker_says_the_frames_that_uwsgi_says() {
    let Some(uwsgi) = apps::uwsgi() else { return };
    let ini = "processes = 1\npy-tracebacker = tb\nenable-threads = true\nmaster = true";
    let ours = start(ini);
    let site = Site::empty().ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py\nlazy-apps = true").ini(ini);
    site.write("app.py", &dedent(APP));
    site.write_ini();
    let mut command = Command::new(uwsgi);
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    let theirs = Server::of(command, site);
    theirs.wait_for("python tracebacker for worker 1");
    theirs.wait_for("waiting at beside");
    let frames = |server: &Server| {
        let text = eventually("the thread is there", || {
            Some(traceback(&server.path("tb1"))).filter(|text| text.contains("function = wait_for"))
        });
        let lines = text.lines().filter(|line| line.starts_with("thread_id = be side"));
        // Where the loop of the application is just now is another matter.
        let site = format!("{}/", server.site.dir().display());
        lines.map(|line| line.split(" lineno = ").next().unwrap().replace(&site, "")).collect::<Vec<_>>()
    };
    assert_eq!(frames(&ours), frames(&theirs));
}

#[test]
fn py_tracebacker_that_can_not_be_bound_is_told() {
    let server = Site::app("hello.py").ini("py-tracebacker = /nowhere/tb").start();
    let told = server.wait_for("py-tracebacker: /nowhere/tb1 can't be bound");
    assert!(told.contains("uwsgi.ini:"), "{told}");
    server.get("/").ok();
}

#[test]
fn a_crash_leaves_its_stack_and_its_request() {
    let server = start("");
    let worker = server.workers()[0];
    let mut client = server.connect();
    client.send("GET /crash?%1b[2J HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("Fatal Python error: Segmentation fault");
    assert!(server.wait_for("in application").contains("app.py"));
    let told = server.wait_for("killed by signal 11");
    assert!(told.contains(&format!("worker 1 (pid {})", worker.pid)), "{told}");
    let lost = server.wait_for("had a request that is lost");
    assert!(lost.contains("[core 0] 127.0.0.1 - GET /crash?%1b[2J since "), "{lost}");
    client.closed();
    server.wait_for_workers(2);
    server.get("/").ok();
}

#[test]
fn whoever_is_killed_leaves_its_requests_too() {
    let server = start("threads = 2");
    let _one = busy(&server, "/gate/one", "waiting at one");
    let _two = busy(&server, "/gate/two", "waiting at two");
    server.workers()[0].signal(Signal::SIGKILL);
    for request in ["GET /gate/one", "GET /gate/two"] {
        let lost = server.log.wait_for(&format!("127.0.0.1 - {request} since"));
        assert!(lost.contains("had a request that is lost: [core "), "{lost}");
    }
    // One that has nothing loses nothing.
    server.wait_for_workers(2);
    let idle: Process = eventually("the successor", || server.workers().first().copied());
    idle.signal(Signal::SIGKILL);
    server.wait_for_workers(3);
    assert_eq!(server.log.text().matches("that is lost").count(), 2);
}

#[test]
fn a_crash_at_import_leaves_its_stack() {
    let site = Site::code("import ctypes\nctypes.string_at(0)\n");
    let ended = site.run();
    assert_eq!(ended.code, 1);
    assert!(ended.log.contains("Fatal Python error: Segmentation fault"), "{}", ended.log);
    assert!(ended.log.contains("app.py\", line 2 in <module>"), "{}", ended.log);
}

/// Connects, or says that the queue is full: a unix socket has clients wait otherwise.
fn connect_at_once(path: &Path) -> nix::Result<std::os::fd::OwnedFd> {
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
    let client = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_NONBLOCK, None)?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&client), &UnixAddr::new(path)?)?;
    Ok(client)
}

#[test]
fn a_listen_queue_of_a_file_is_told_too() {
    let server = Site::app("control.py").ini("socket = app.sock\nlisten = 2\nstats = stats.sock").start();
    server.signal(Signal::SIGTSTP);
    server.wait_for("paused");
    let path = server.path("app.sock");
    // Until nobody else may wait; the worker may still take some of them.
    let mut clients = Vec::new();
    eventually("the queue is full", || match connect_at_once(&path) {
        Ok(client) => {
            clients.push(client);
            None
        }
        Err(error) => (error == nix::errno::Errno::EAGAIN).then_some(()),
    });
    let told = server.wait_for("listen queue of socket \"app.sock\" full (3/2)");
    assert!(told.contains("see listen = 2 ("), "{told}");
    let mut stats = String::new();
    UnixStream::connect(server.path("stats.sock")).unwrap().read_to_string(&mut stats).unwrap();
    assert!(stats.contains("\"queue\": 3,") && stats.contains("\"max_queue\": 2,"), "{stats}");
    drop(clients);
}

#[test]
fn a_listen_queue_that_is_full_is_told_with_its_option() {
    let server = Site::app("control.py").ini("listen = 3\nrequest-queue = 1").start();
    let address = server.address();
    server.signal(Signal::SIGTSTP);
    server.wait_for("paused");
    // Until nobody else may wait; the worker may still take some of them.
    let mut clients = Vec::new();
    eventually("the queue is full", || {
        match TcpStream::connect_timeout(&address, std::time::Duration::from_millis(300)) {
            Ok(client) => {
                clients.push(client);
                None
            }
            Err(_) => Some(()),
        }
    });
    let told = server.wait_for("listen queue of socket");
    assert!(told.contains(&format!("\"{address}\" full (")), "{told}");
    assert!(told.contains("/3): clients are turned away; see listen = 3 (") && told.contains("somaxconn"), "{told}");
    server.signal(Signal::SIGTSTP);
    server.wait_for("has room again after");
    assert_eq!(server.log.text().matches("\" full (").count(), 1, "told once");
    drop(clients);
}
