//! SIGHUP: the new code comes, no request is lost, a broken file leaves the old one serving.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::signal::Signal;

use crate::harness::{Client, Ends, Server, Site, dedent, eventually, under_load};

/// An application that says which one it is.
fn version(number: u32) -> String {
    let code = r#"
        def application(environ, start_response):
            body = b'version NUMBER'
            start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
            return [body]
    "#;
    dedent(code).replace("NUMBER", &number.to_string())
}

fn versioned(workers: usize) -> Server {
    Site::code(&version(1)).ini(&format!("processes = {workers}")).start()
}

/// Waits until ten answers in a row say this.
fn serves(server: &Server, text: &str) {
    eventually(&format!("everybody answers {text:?}"), || (0..10).all(|_| server.get("/").ok() == text).then_some(()));
}

/// Looks at the number of workers while it lives; the most that was seen.
fn most_workers_during(server: &Server, during: impl FnOnce()) -> usize {
    let (master, over) = (server.master(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let counting = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(server.workers().len());
                std::thread::yield_now();
            }
            most
        });
        let ends = Ends(&over);
        during();
        drop(ends);
        assert!(master.alive());
        counting.join().unwrap()
    })
}

#[test]
fn a_reload_brings_the_new_code_in_new_workers() {
    let server = versioned(2);
    serves(&server, "version 1");
    let (zygote, workers) = (server.zygote(), server.workers());
    server.site.write("app.py", &version(2));
    server.signal(Signal::SIGHUP);
    serves(&server, "version 2");
    for old in workers.into_iter().chain([zygote]) {
        old.wait_for_end("a process of the old generation");
    }
    assert_eq!(server.workers().len(), 2);
    server.zygote();
}

#[test]
fn reloads_lose_no_request() {
    let server = versioned(2);
    let answered = under_load(&server, || {
        for number in 2..6 {
            server.site.write("app.py", &version(number));
            server.signal(Signal::SIGHUP);
            serves(&server, &format!("version {number}"));
        }
    });
    assert!(answered > 100, "only {answered} requests were answered");
}

#[test]
fn reloads_lose_no_request_of_a_slow_application() {
    let code = version(1).replace("    body =", "    import time; time.sleep(0.004)\n    body =");
    let server = Site::code(&code).ini("processes = 2\nthreads = 2").start();
    under_load(&server, || {
        for _ in 0..3 {
            let born = server.births();
            server.signal(Signal::SIGHUP);
            server.wait_for_workers(born + 2);
        }
    });
}

#[test]
fn a_reload_never_runs_more_than_one_worker_above() {
    let server = versioned(3);
    let most = most_workers_during(&server, || {
        server.site.write("app.py", &version(2));
        server.signal(Signal::SIGHUP);
        serves(&server, "version 2");
    });
    assert!(most <= 4, "{most} workers at once, where 3 are asked for");
}

#[test]
fn a_syntax_error_leaves_the_old_code_serving() {
    let server = versioned(1);
    let worker = server.workers();
    server.site.write("app.py", "def application(:\n");
    let lost_none = under_load(&server, || {
        server.signal(Signal::SIGHUP);
        server.wait_for("SyntaxError");
        server.wait_for("goes on");
    });
    assert!(lost_none > 0);
    serves(&server, "version 1");
    assert_eq!(server.workers(), worker, "the old worker is untouched");

    server.site.write("app.py", &version(3));
    server.signal(Signal::SIGHUP);
    serves(&server, "version 3");
}

#[test]
fn a_reload_that_fails_leaves_the_folder_of_the_code_that_serves() {
    let site = Site::code(&version(0)).ini("chdir = releases/1\ntouch-reload = again");
    let release = |number: u32, code: &str| {
        let folder = site.path(&format!("releases/{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("app.py"), code).unwrap();
    };
    release(1, &version(1));
    release(2, "import no_such_module\n");
    let server = site.start();
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &good.replace("releases/1", "releases/2"));
    server.signal(Signal::SIGHUP);
    server.wait_for("No module named 'no_such_module'");
    server.wait_for("goes on");
    server.zygote().signal(Signal::SIGKILL);
    server.wait_for_workers(2);
    serves(&server, "version 1");

    std::fs::write(server.path("releases/2/app.py"), version(2)).unwrap();
    server.signal(Signal::SIGHUP);
    serves(&server, "version 2");
    // What is looked at is there, too.
    std::fs::write(server.path("releases/2/app.py"), version(3)).unwrap();
    std::fs::write(server.path("releases/2/again"), "").unwrap();
    serves(&server, "version 3");
    server.zygote().signal(Signal::SIGKILL);
    server.wait_for_workers(5);
    serves(&server, "version 3");
}

#[test]
fn a_reload_that_fails_leaves_the_doors_of_the_one_that_serves() {
    let ini = "admin = admin.1\nstats = stats.1\nmaster-fifo = orders.1\nnotify-socket = notify.1\nlogto2 = log.1";
    let server = Site::code(&version(1)).ini(ini).launch();
    let log = |name: &str| std::fs::read_to_string(server.path(name)).unwrap_or_default();
    eventually("it is complete", || log("log.1").contains("started after").then_some(()));
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    let next = ["admin", "stats", "orders", "notify"]
        .iter()
        .fold(good.clone(), |text, name| text.replace(&format!("{name}.1"), &format!("{name}.2")));
    let has = |number: u32| {
        let there = |name: &str| server.path(&format!("{name}.{number}")).exists();
        ["admin", "stats", "orders", "notify"].into_iter().filter(|name| there(name)).collect::<Vec<_>>()
    };
    let all = ["admin", "stats", "orders", "notify"];
    let order = |number: u32| std::fs::write(server.path(&format!("orders.{number}")), "r").unwrap();
    let fails = |times: usize| {
        order(1);
        eventually("it has failed", || (log("log.1").matches("goes on").count() == times).then_some(()));
        assert_eq!((has(1), has(2)), (all.to_vec(), Vec::new()));
        assert_eq!(Client::unix(&server.path("admin.1")).get("/readyz").ok(), "ready\n");
    };
    // The last thing that is made can't be.
    server.site.write("uwsgi.ini", &format!("{next}reload-on-fd = 99\n"));
    fails(1);
    server.site.write("uwsgi.ini", &next.replace("log.1", "log.2"));
    server.site.write("app.py", "import no_such_module\n");
    fails(2);
    server.site.write("app.py", &version(2));
    order(1);
    eventually("it is complete", || log("log.2").contains("generation 4 is complete").then_some(()));
    assert_eq!((has(1), has(2)), (Vec::new(), all.to_vec()));
    assert_eq!(Client::unix(&server.path("admin.2")).get("/readyz").ok(), "ready\n");
    order(2);
    eventually("the FIFO is heard", || log("log.2").contains("generation 5 is complete").then_some(()));
}

#[test]
fn an_import_error_leaves_the_old_code_serving() {
    let server = versioned(1);
    server.site.write("app.py", "import no_such_module\n");
    server.signal(Signal::SIGHUP);
    server.wait_for("No module named 'no_such_module'");
    server.wait_for("goes on");
    serves(&server, "version 1");
    server.zygote();
}

#[test]
fn a_broken_configuration_leaves_the_old_one_serving() {
    let server = versioned(1);
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{good}strict = true\nno-such-option = 1\n"));
    server.signal(Signal::SIGHUP);
    server.wait_for("no-such-option");
    serves(&server, "version 1");

    std::fs::remove_file(server.path("uwsgi.ini")).unwrap();
    server.signal(Signal::SIGHUP);
    server.wait_for("uwsgi.ini");
    serves(&server, "version 1");
}

#[test]
fn the_configuration_is_read_again() {
    let server = versioned(1);
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{good}processes = 3\nwsgi-file = other.py\n"));
    server.site.write("other.py", &version(7));
    server.signal(Signal::SIGHUP);
    serves(&server, "version 7");
    eventually("three workers", || (server.workers().len() == 3).then_some(()));

    server.site.write("uwsgi.ini", &good);
    server.signal(Signal::SIGHUP);
    serves(&server, "version 1");
    eventually("one worker", || (server.workers().len() == 1).then_some(()));
}

#[test]
fn listeners_come_and_go_with_a_reload() {
    let server = versioned(1);
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{good}http-socket = extra.sock\n"));
    let extra = server.path("extra.sock");
    server.signal(Signal::SIGHUP);
    let client = eventually("the new socket", || UnixStream::connect(&extra).ok());
    assert_eq!(Client::from(client).get("/").ok(), "version 1");

    server.site.write("uwsgi.ini", &good);
    server.signal(Signal::SIGHUP);
    eventually("the socket is gone", || (!extra.exists()).then_some(()));
    serves(&server, "version 1");
}

#[test]
fn what_needs_a_restart_is_refused() {
    let server = versioned(1);
    let good = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{good}pidfile = other.pid\n"));
    server.signal(Signal::SIGHUP);
    let line = server.wait_for("restart");
    assert!(line.contains("pidfile"), "{line}");
    serves(&server, "version 1");
}

#[test]
fn a_storm_of_hups_is_two_reloads_at_most() {
    let server = versioned(1);
    for _ in 0..200 {
        server.signal(Signal::SIGHUP);
    }
    server.site.write("app.py", &version(2));
    server.signal(Signal::SIGHUP);
    serves(&server, "version 2");
    let log = server.log.text();
    assert!(log.matches(" begins\n").count() <= 2, "{log}");
    assert!(server.births() <= 3, "{log}");
    assert_eq!(server.workers().len(), 1);
}

#[test]
fn a_request_in_flight_ends_where_it_began() {
    let server = Site::app("control.py").start();
    let worker = server.workers()[0];
    let mut client = server.connect();
    client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    server.signal(Signal::SIGHUP);
    server.wait_for_workers(2);
    eventually("the new worker answers", || (server.get("/pid").ok() != worker.pid.to_string()).then_some(()));
    assert!(worker.alive());
    server.open_gate("gate");
    assert_eq!(client.answer().ok(), "behind gate");
    drop(client);
    worker.wait_for_end("the old worker");
}

#[test]
fn a_worker_that_does_not_drain_is_killed_after_its_mercy() {
    let server = Site::app("control.py").ini("worker-reload-mercy = 1").start();
    let worker = server.workers()[0];
    let mut client = server.connect();
    client.send("GET /gate/never HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at never");
    server.signal(Signal::SIGHUP);
    worker.wait_for_end("the worker that is stuck");
    assert!(client.rest().is_empty());
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn lazy_applications_reload_too() {
    let server = Site::code(&version(1)).ini("lazy-apps = true\nprocesses = 2").start();
    serves(&server, "version 1");
    server.site.write("app.py", "broken(\n");
    server.signal(Signal::SIGHUP);
    server.wait_for("SyntaxError");
    serves(&server, "version 1");
    server.site.write("app.py", &version(2));
    server.signal(Signal::SIGHUP);
    serves(&server, "version 2");
}

#[test]
fn exit_on_reload_stops() {
    let server = Site::code(&version(1)).ini("exit-on-reload = true").start();
    server.signal(Signal::SIGHUP);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn warm_up_answers_a_request_before_the_workers_are_forked() {
    let code = r#"
        import os
        answered = []
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/broken':
                raise ValueError('not yet')
            answered.append(f"{os.getpid()} {environ['PATH_INFO']} {environ['QUERY_STRING']}")
            start_response('200 OK', [])
            return [answered[0].encode()]
    "#;
    let server = Site::code(code).ini("warm-up = /first?a=b\nwarm-up = /broken").start();
    server.wait_for("warm-up: /first?a=b answered 200 OK");
    server.wait_for("warm-up: /broken failed");
    server.wait_for("ValueError: not yet");
    assert_eq!(server.get("/").ok(), format!("{} /first a=b", server.zygote().pid));
}

#[test]
fn a_reload_can_replace_several_workers_at_a_time() {
    let code = "import time\ntime.sleep(0.5)\ndef application(e, s):\n    s('200 OK', [])\n    return [b'well']\n";
    let server = Site::code(code).ini("processes = 3\nlazy-apps = true\nreload-surge = all").start();
    let old = server.workers();
    server.signal(Signal::SIGHUP);
    eventually("all others start while the old ones serve", || (server.workers().len() >= 5).then_some(()));
    assert_eq!(server.get("/").ok(), "well");
    server.wait_for("generation 2 is complete");
    assert!(old.iter().all(|worker| !worker.alive()));
    assert_eq!(server.workers().len(), 3);
}

#[test]
fn a_reload_in_place_ends_a_worker_before_another_begins() {
    let server = Site::app("hello.py").ini("processes = 2\nreload-in-place = true").start();
    under_load(&server, || {
        server.signal(Signal::SIGHUP);
        let mut most = 0;
        eventually("the reload is complete", || {
            most = most.max(server.workers().len());
            server.log.text().contains("generation 2 is complete").then_some(())
        });
        assert!(most <= 2, "{most} workers at a time");
    });
}

#[test]
fn an_application_that_never_loads_leaves_the_old_one_serving() {
    let server = Site::code("def application(e, s):\n    s('200 OK', [])\n    return [b'old']\n").start();
    let ini = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &format!("{ini}load-timeout = 1\n"));
    server.site.write("app.py", "import time\nwhile True: time.sleep(1)\n");
    server.signal(Signal::SIGHUP);
    server.wait_for("was not loaded within 1 s (load-timeout)");
    assert_eq!(server.get("/").ok(), "old");
    server.zygote();
    let ended = Site::code("import time\nwhile True: time.sleep(1)\n").ini("load-timeout = 1").run();
    ended.failed(1, &["was not loaded within 1 s", "load-timeout"]);
}
