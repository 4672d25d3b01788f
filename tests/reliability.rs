//! The fault matrix of docs/reliability.md, as far as other files do not hold a fault already: processes that are killed,
//! stopped and starved, and an operator's day at its worst.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Process, Server, Site, eventually, serve, within};

#[test]
fn a_stopped_worker_with_a_request_is_replaced_at_its_deadline() {
    let server = Site::app("control.py").ini("harakiri = 1").start();
    let worker = server.workers()[0];
    let mut client = server.connect();
    client.send("GET /gate/never HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at never");
    worker.signal(Signal::SIGSTOP);
    server.wait_for("HARAKIRI");
    assert_eq!(server.get("/").ok(), "hello");
    worker.wait_for_end("the stopped worker");
    assert!(client.rest().is_empty());
}

#[test]
fn a_stopped_worker_is_killed_at_a_stop() {
    let server = Site::app("control.py").ini("worker-reload-mercy = 1").start();
    server.workers()[0].signal(Signal::SIGSTOP);
    server.signal(Signal::SIGTERM);
    let ended = server.wait();
    assert_eq!(ended.code, 0);
    assert!(ended.log.contains("is not done after 1 s: killed"), "{}", ended.log);
}

#[test]
fn a_stopped_zygote_is_replaced_by_a_reload() {
    let server = Site::app("control.py").ini("processes = 2").start();
    let zygote = server.zygote();
    zygote.signal(Signal::SIGSTOP);
    assert_eq!(server.get("/").ok(), "hello");
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 is complete");
    zygote.wait_for_end("the stopped zygote");
    assert_eq!(server.get("/").ok(), "hello");
}

/// Workers behind a router with two processes, which are told, too.
fn behind_routers() -> (Server, Vec<Process>) {
    let site = Site::empty().ini("wsgi-file = app.py\nuwsgi-socket = app.sock\nhttp = 127.0.0.1:0\nhttp-to = app.sock");
    std::fs::copy(crate::harness::app("control.py"), site.path("app.py")).unwrap();
    let server = site.ini("http-processes = 2\nworker-reload-mercy = 1").start();
    server.wait_for("http 1 (pid");
    server.wait_for("http 2 (pid");
    let mut routers = server.master().children();
    routers.retain(|child| child.status("Name").is_some_and(|name| name.trim() == "ruwsgi-http"));
    (server, routers)
}

#[test]
fn a_stopped_router_is_replaced_by_a_reload_and_killed_at_a_stop() {
    let (server, routers) = behind_routers();
    routers[0].signal(Signal::SIGSTOP);
    let ini = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{ini}http-keepalive = 70\n"));
    server.signal(Signal::SIGHUP);
    server.log.wait_for_nth("http 2 (pid", 2);
    for _ in 0..10 {
        assert_eq!(server.get("/").ok(), "hello");
    }
    server.wait_for("does not end: killed");
    routers[0].wait_for_end("the stopped router");
    let now = server.master().children();
    let router = now.iter().find(|child| child.status("Name").is_some_and(|name| name.trim() == "ruwsgi-http"));
    router.expect("a router").signal(Signal::SIGSTOP);
    server.signal(Signal::SIGTERM);
    let ended = server.wait();
    assert_eq!((ended.code, ended.log.matches("does not end: killed").count()), (0, 2), "{}", ended.log);
}

#[test]
fn a_router_that_crashes_comes_back() {
    let (server, routers) = behind_routers();
    routers[0].signal(Signal::SIGABRT);
    server.wait_for("killed by signal 6: the next one comes now");
    server.log.wait_for_nth("http 1 (pid", 3);
    for _ in 0..10 {
        assert_eq!(server.get("/").ok(), "hello");
    }
}

#[test]
fn nothing_survives_a_master_that_crashes() {
    let (server, _) = behind_routers();
    let (address, tree) = (server.address(), server.master().tree());
    assert!(tree.len() > 4, "{tree:?}");
    server.signal(Signal::SIGABRT);
    tree.into_iter().for_each(|process| process.wait_for_end("a child of a master that has crashed"));
    eventually("the port is free", || std::net::TcpListener::bind(address).ok());
}

#[test]
fn workers_serve_while_the_master_is_stopped() {
    let server = Site::app("control.py").ini("processes = 2\nharakiri = 1").start();
    server.signal(Signal::SIGSTOP);
    for _ in 0..20 {
        assert_eq!(server.get("/").ok(), "hello");
    }
    let worker = server.workers()[0];
    worker.signal(Signal::SIGKILL);
    // What wakes one that is about to die is lost until the next connection comes, or the master has replaced it.
    eventually("it is dead", || worker.status("State").filter(|state| state.starts_with('Z')));
    assert_eq!(server.get("/").ok(), "hello");
    server.signal(Signal::SIGCONT);
    server.wait_for_workers(3);
    server.stop();
}

#[test]
fn a_zygote_that_crashes_is_replaced_while_the_workers_go_on() {
    let server = serve("control.py");
    let worker = server.workers()[0];
    server.zygote().signal(Signal::SIGSEGV);
    server.wait_for("killed by signal 11: a new one is loaded");
    assert_eq!(server.get("/").ok(), "hello");
    eventually("it is replaced, and then the worker", || (!worker.alive()).then_some(()));
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn a_short_memory_takes_workers_before_the_master() {
    let server = serve("hello.py");
    let badness = |process: Process| -> i32 {
        let text = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid)).unwrap();
        text.trim().parse().unwrap()
    };
    assert!(badness(server.workers()[0]) > badness(server.master()), "the master goes last");
}

#[test]
fn a_fork_that_fails_is_tried_again() {
    if !nix::unistd::geteuid().is_root() || Command::new("prlimit").arg("--version").output().is_err() {
        return eprintln!("not root, or no prlimit: not tested");
    }
    // A user whose processes nobody else counts.
    let server = Site::app("hello.py").ini("uid = 54321\ngid = 54321").start();
    let limit = |pid: i32, most: &str| {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &pid.to_string(), &format!("--nproc={most}:")]).uid(54321).gid(54321);
        assert!(command.status().unwrap().success());
    };
    let zygote = server.zygote();
    limit(zygote.pid, "1");
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for("can't be forked");
    limit(zygote.pid, "1000");
    server.wait_for_workers(2);
    server.get("/").ok();
}

#[test]
fn an_application_that_exits_at_import_leaves_the_old_one_serving() {
    let site = Site::code("def application(e, s):\n    s('200 OK', [])\n    return [b'old']\n");
    let server = site.start();
    for (generation, code) in [(2, "import os\nos._exit(0)\n"), (3, "import sys\nsys.exit(3)\n")] {
        server.site.write("app.py", code);
        server.signal(Signal::SIGHUP);
        server.wait_for(&format!("generation {generation} failed, generation 1 goes on"));
        assert_eq!(server.get("/").ok(), "old");
    }
}

#[test]
fn a_storm_of_signals_ends_nobody() {
    let server = Site::app("hello.py").ini("processes = 2").start();
    let signals = [
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGTSTP,
        Signal::SIGWINCH,
        Signal::SIGPIPE,
        Signal::SIGALRM,
        Signal::SIGURG,
        Signal::SIGCHLD,
        Signal::SIGCONT,
        Signal::SIGIO,
        Signal::SIGVTALRM,
        Signal::SIGPROF,
    ];
    let mut state = 7_u32;
    for _ in 0..3_000 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        server.signal(signals[(state >> 16) as usize % signals.len()]);
    }
    // Whether it is paused now is a matter of chance: signals of one kind that wait are one.
    eventually("requests are served", || {
        let mut client = server.connect();
        client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        if client.read_within(Duration::from_millis(800)).is_some() {
            return Some(());
        }
        server.signal(Signal::SIGTSTP);
        None
    });
    server.signal(Signal::SIGQUIT);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_folder_that_goes_takes_nobody_along() {
    let site = Site::app("hello.py").ini("pidfile = run/pid\nmaster-fifo = run/fifo\nstats = run/stats");
    std::fs::create_dir(site.path("run")).unwrap();
    let server = site.start();
    std::fs::remove_dir_all(server.path("run")).unwrap();
    server.wait_for("warning: master-fifo:");
    server.get("/").ok();
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 is complete");
    assert_eq!(server.stop().code, 0);
}

#[test]
fn descriptors_0_to_2_may_be_closed() {
    let site = Site::app("hello.py").ini("logto = log");
    site.write_ini();
    let mut command = Command::new("/bin/sh");
    let script = format!("exec {} --ini uwsgi.ini <&- >&- 2>&-", env!("CARGO_BIN_EXE_ruwsgi"));
    site.dress(&mut command);
    command.args(["-c", &script]).stdin(Stdio::null());
    let server = Server::of(command, site);
    let log = || std::fs::read_to_string(server.path("log")).unwrap_or_default();
    let address = eventually("it listens and is started", || {
        let text = log();
        let line = text.lines().find(|line| line.starts_with("http-socket on "))?;
        text.contains("started after").then(|| line.split(' ').nth(2).unwrap().parse().unwrap())
    });
    assert_eq!(crate::harness::Client::tcp(address).get("/").ok(), "Hello, world!");
    for process in server.master().tree() {
        for number in 0..3 {
            let file = std::fs::read_link(format!("/proc/{}/fd/{number}", process.pid)).unwrap_or_default();
            assert!(!file.to_string_lossy().contains("socket"), "{number} of {} is {file:?}", process.pid);
        }
    }
}

#[test]
fn as_process_1_it_reaps_and_stops() {
    let can = Command::new("unshare").args(["-pf", "--mount-proc", "true"]).output();
    if !can.is_ok_and(|done| done.status.success()) {
        return eprintln!("no namespaces of processes here: not tested");
    }
    let code = r#"
        import os, subprocess
        def application(environ, start_response):
            # Its child outlives it, and ends by itself.
            subprocess.run(['/bin/sh', '-c', '(exec sleep 0.05) & exit 0'])
            zombies = sum(' Z ' in open(f'/proc/{pid}/stat').read() for pid in os.listdir('/proc') if pid.isdigit())
            start_response('200 OK', [])
            return [f'{os.getppid()} {zombies}'.encode()]
    "#;
    let site = Site::code(code);
    site.write_ini();
    let mut command = Command::new("unshare");
    site.dress(&mut command);
    command.args(["-pf", "--kill-child", "--mount-proc", env!("CARGO_BIN_EXE_ruwsgi"), "--ini", "uwsgi.ini"]);
    let server = Server::of(command, site);
    server.wait_for_workers(1);
    for _ in 0..20 {
        assert!(server.get("/").ok().starts_with("1 "), "the master is process 1");
    }
    eventually("no zombie is left", || (server.get("/").ok() == "1 0").then_some(()));
    let master = server.master().children()[0];
    master.signal(Signal::SIGTERM);
    master.wait_for_end("process 1");
}

#[test]
fn a_scoreboard_full_of_garbage_harms_its_generation_at_most() {
    let code = r#"
        import os
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/spoil':
                for fd in os.listdir('/proc/self/fd'):
                    try:
                        if 'ruwsgi-shared' in os.readlink(f'/proc/self/fd/{fd}'):
                            os.pwrite(int(fd), os.urandom(os.fstat(int(fd)).st_size), 0)
                    except OSError:
                        pass
            start_response('200 OK', [('Content-Length', '4')])
            return [b'well']
    "#;
    let ini = "processes = 2\nstats = stats\nadmin = admin\ncheaper = 1\nharakiri = 60\nmax-worker-lifetime = 2";
    let server = Site::code(code).ini(ini).launch();
    server.wait_for("started after");
    for _ in 0..5 {
        let mut client = server.connect();
        client.send("GET /spoil HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        client.read_within(Duration::from_millis(500));
        let mut stream = std::os::unix::net::UnixStream::connect(server.path("stats")).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(&mut stream, &mut text).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).expect("what is told can be read");
        assert_eq!(read["workers"].as_array().map(Vec::len), Some(2));
    }
    // The load is looked at, ages and deadlines are, too.
    within(Duration::from_secs(2), || None::<()>);
    assert!(server.master().alive(), "the master believes nothing of it");
    server.signal(Signal::SIGQUIT);
    assert_eq!(server.wait().code, 0);
}

/// A library that moves the time of day by as many seconds as `offset` in the current directory says.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long offset(void) {
    FILE *file = fopen(getenv("CLOCK_OFFSET"), "re");
    long seconds = 0;
    if (file && fscanf(file, "%ld", &seconds) != 1) seconds = 0;
    if (file) fclose(file);
    return seconds;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += offset();
    return result;
}
"#;

#[test]
fn a_clock_that_jumps_changes_nothing() {
    let site = Site::app("control.py")
        .ini("processes = 2\nharakiri = 30\nmax-worker-lifetime = 600\nmin-worker-lifetime = 5\nidle = 300")
        .ini("cheaper = 1\nrequest-queue-timeout = 30\nworker-reload-mercy = 30\nreload-on-rss = 4000");
    let (source, library) = (site.write("clock.c", CLOCK), site.path("clock.so"));
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    if !built.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no compiler");
        return;
    }
    site.write("offset", "0");
    let offset = site.path("offset");
    let server = site.env("LD_PRELOAD", &library).env("CLOCK_OFFSET", &offset).launch();
    server.wait_for_workers(1);
    let day = |answer: &str| answer.split(' ').nth(1).map(ToOwned::to_owned);
    let today = day(server.get("/").field("Date").unwrap());
    let mut kept = server.connect();
    kept.get("/").ok();
    let (mut inside, workers) = (server.connect(), server.workers());
    inside.send("GET /gate/jump HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at jump");
    for seconds in ["864000", "-864000", "4000000000", "0"] {
        server.site.write("offset", seconds);
        // The library is at work: the clients are told another day.
        let moved = |answer: &str| (day(answer) != today) == (seconds != "0");
        eventually("the clock has jumped", || moved(server.get("/").field("Date").unwrap()).then_some(()));
        assert_eq!(kept.get("/").ok(), "hello", "a kept connection goes on");
        // A tick of everything that looks at a clock.
        let ticked = std::time::Instant::now();
        eventually("a moment has passed", || {
            server.get("/").ok();
            (ticked.elapsed().as_millis() > 1500).then_some(())
        });
        assert!(workers.iter().all(|worker| worker.alive()), "{seconds}: {}", server.log.text());
    }
    server.open_gate("jump");
    assert_eq!(inside.answer().ok(), "behind jump");
    server.site.write("offset", "864000");
    let born = server.births();
    server.signal(Signal::SIGHUP);
    server.wait_for_workers(born + 1);
    assert_eq!(server.get("/").ok(), "hello");
    server.stop();
}
