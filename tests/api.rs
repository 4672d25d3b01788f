//! The `uwsgi` module and `uwsgidecorators`: what an application finds there, and what the calls do.

use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Client, Server, Site, eventually};

fn site() -> Site {
    Site::app("api.py")
}

/// Asks for an expression whose answer takes a while, or does not come.
fn begin(server: &Server, path: &str, code: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{code}", code.len()));
    client
}

/// The repr of an expression, in a worker.
fn eval(server: &Server, code: &str) -> String {
    server.post("/", code).ok().to_owned()
}

#[test]
fn an_application_learns_where_it_runs() {
    let server = site().ini("processes = 2\nmode = test\npidfile = master.pid").start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    let master = server.master().pid.to_string();
    is("uwsgi.masterpid()", &master);
    is("uwsgi.worker_id() in (1, 2)", "True");
    is("(uwsgi.numproc, uwsgi.cores, uwsgi.has_threads, uwsgi.mule_id())", "(2, 1, 1, 0)");
    is("(uwsgi.version_info[:4], uwsgi.version[:7])", "((2, 0, 31, 0), b'2.0.31-')");
    is("(uwsgi.mode, uwsgi.pidfile)", "(b'test', b'master.pid')");
    is("(uwsgi.is_a_reload, uwsgi.ready(), uwsgi.applications)", "(False, True, None)");
    is("abs(uwsgi.started_on - time.time()) < 60 and abs(uwsgi.micros() / 1e6 - time.time()) < 5", "True");
    is("uwsgi.hostname == os.uname().nodename.encode() == environ['uwsgi.node']", "True");
    is("uwsgi.version == environ['uwsgi.version'], 'uwsgi.core' in environ", "(True, False)");
    is(
        "[type(uwsgi.mem()[0]), uwsgi.mem()[0] > 10**6, uwsgi.mem()[1] > uwsgi.mem()[0]]",
        "[<class 'int'>, True, True]",
    );
    is("[os.path.exists(f'/proc/self/fd/{fd}') for fd in uwsgi.sockets]", "[True]");
    is("(uwsgi.listen_queue(), raised(uwsgi.listen_queue, 7))", "(0, 'ValueError: there is no socket 7')");
    is("(uwsgi.i_am_the_spooler(), uwsgi.in_farm(), uwsgi.in_farm('x'), uwsgi.logsize())", "(None, None, None, 0)");
    is("(uwsgi.SPOOL_OK, uwsgi.SPOOL_RETRY, uwsgi.SPOOL_IGNORE)", "(-2, -1, 0)");
}

#[test]
fn a_core_knows_its_number_where_there_are_several() {
    let server = site().ini("threads = 3").start();
    assert_eq!(eval(&server, "uwsgi.cores, environ['uwsgi.core'] in (0, 1, 2)"), "(3, True)");
}

#[test]
fn what_was_said_is_in_opt() {
    let server =
        site().ini("my-own-key = café\nrepeated = 1\nrepeated = 2\nbare\nenable-threads = false\nset = a=b").start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is("uwsgi.opt['my-own-key'].decode()", "'café'");
    is("(uwsgi.opt['repeated'], uwsgi.opt['bare'], uwsgi.opt['a'])", "(b'2', b'', b'b')");
    is("uwsgi.opt['wsgi-file']", "b'app.py'");
    is("set(map(type, uwsgi.opt))", "{<class 'str'>}");
    // What SDKs look for before they start their threads is always so.
    is("[uwsgi.opt[name] for name in ('enable-threads', 'master', 'py-call-uwsgi-fork-hooks')]", "[True, True, True]");
    is("'lazy-apps' in uwsgi.opt", "False");
    let said = site().ini("enable-threads = true\nlazy-apps = true").start();
    assert_eq!(eval(&said, "uwsgi.opt['enable-threads'], uwsgi.opt['lazy-apps']"), "(b'true', b'true')");
}

#[test]
fn workers_tells_of_each_worker() {
    let server = site().ini("processes = 2").start();
    for _ in 0..10 {
        eval(&server, "1");
    }
    server.post("/", "1 / 0");
    let pids: Vec<String> = server.workers().iter().map(|worker| worker.pid.to_string()).collect();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is("[worker['id'] for worker in uwsgi.workers()]", "[1, 2]");
    let told = eval(&server, "' '.join(str(worker['pid']) for worker in uwsgi.workers())");
    assert!(pids.iter().all(|pid| told.contains(pid.as_str())), "{told} are not {pids:?}");
    // The other worker may not have counted its last request yet.
    is("11 <= sum(worker['requests'] for worker in uwsgi.workers()) <= uwsgi.total_requests() <= 14", "True");
    is("sum(worker['exceptions'] for worker in uwsgi.workers())", "1");
    // The other one is done with its last request in a moment.
    let busy = "sum(worker['status'] == b'busy' for worker in uwsgi.workers())";
    eventually("one is busy", || (eval(&server, busy) == "1").then_some(()));
    is("all(worker['rss'] > 10**6 and worker['vsz'] > worker['rss'] for worker in uwsgi.workers())", "True");
    is("[worker['respawn_count'] for worker in uwsgi.workers()]", "[0, 0]");
    is("all(time.time() - worker['last_spawn'] < 60 for worker in uwsgi.workers())", "True");
    is("sum(worker['tx'] for worker in uwsgi.workers()) > 1000", "True");
    is("sum(worker['running_time'] for worker in uwsgi.workers()) > 0", "True");
    is(
        "[list(app)[:4] + [app['mountpoint']] for worker in uwsgi.workers() for app in worker['apps']]",
        "[['id', 'modifier1', 'mountpoint', 'startup_time', b''], ['id', 'modifier1', 'mountpoint', 'startup_time', b'']]",
    );
    is("type(uwsgi.workers()), type(uwsgi.workers()[0]['apps'])", "(<class 'tuple'>, <class 'tuple'>)");
}

#[test]
fn times_are_measured_without_a_log_from_the_first_question_on() {
    let server = site().ini("disable-logging = true").start();
    eval(&server, "1");
    assert_eq!(eval(&server, "uwsgi.workers()[0]['running_time'], uwsgi.workers()[0]['tx']"), "(0, 0)");
    eval(&server, "time.sleep(0.02)");
    assert_eq!(
        eval(&server, "uwsgi.workers()[0]['running_time'] > 20000, uwsgi.workers()[0]['tx'] > 50"),
        "(True, True)"
    );
    assert_eq!(eval(&server, "uwsgi.total_requests(), uwsgi.request_id()"), "(4, 4)");
}

#[test]
fn workers_leaks_nothing() {
    let server = site().start();
    let code = "[uwsgi.workers() and None for _ in range(200)] and gc.collect() * 0 + len(gc.get_objects())";
    let count = |server: &Server| eval(server, code).parse::<i64>().unwrap();
    count(&server);
    let first = count(&server);
    let later = count(&server);
    assert!(later - first <= 10, "{first} objects became {later}");
}

#[test]
fn a_slot_remembers_its_former_workers() {
    let server = site().start();
    eval(&server, "1");
    // A request is counted behind its answer, and before its line.
    server.wait_for("[pid: ");
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for_workers(2);
    let told = "[(w['requests'], w['delta_requests'], w['respawn_count'], w['status']) for w in uwsgi.workers()]";
    assert_eq!(eval(&server, told), "[(1, 0, 1, b'busy')]");
    assert_eq!(eval(&server, "uwsgi.total_requests()"), "2");
}

#[test]
fn an_application_can_ask_for_a_reload() {
    let server = site().start();
    assert_eq!(eval(&server, "uwsgi.reload()"), "True");
    server.wait_for("the application asks for a reload");
    server.wait_for("generation 2 is complete");
    assert_eq!(eval(&server, "uwsgi.is_a_reload, uwsgi.worker_id()"), "(True, 1)");
    let stops = site().start();
    // At once: the answer may not come any more.
    let _asker = begin(&stops, "/", "uwsgi.stop()");
    let ended = stops.wait();
    assert!(ended.code == 0 && ended.log.contains("the application asks for a stop"), "{ended:?}");
}

#[test]
fn a_new_zygote_is_no_reload() {
    let server = site().start();
    server.zygote().signal(Signal::SIGKILL);
    server.wait_for("generation 2 is complete");
    assert_eq!(eval(&server, "uwsgi.is_a_reload"), "False");
}

#[test]
fn while_the_application_is_loaded_there_is_no_worker() {
    let server = Site::code(
        r#"
        import uwsgi
        def tried(call):
            try:
                return call()
            except Exception as error:
                return f"{type(error).__name__}: {error}"
        told = [uwsgi.worker_id(), uwsgi.ready(), uwsgi.workers()[0]["status"], uwsgi.workers()[0]["apps"],
                tried(uwsgi.reload), tried(uwsgi.connection_fd), uwsgi.lock(), uwsgi.is_locked(), uwsgi.unlock()]
        def application(environ, start_response):
            start_response("200 OK", [])
            return [repr(told).encode()]
        "#,
    )
    .start();
    let told = server.get("/").ok().to_owned();
    assert!(told.starts_with("[0, None, b'cheap', (), 'RuntimeError: this works in a worker only"), "{told}");
    assert!(told.contains("SystemError: you can call uwsgi api function only from the main callable"), "{told}");
    assert!(told.ends_with("None, True, None]"), "{told}");
}

#[test]
fn the_log_and_its_variables() {
    let server = site().start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is("uwsgi.log('a line from the application')", "True");
    server.wait_for("a line from the application");
    is(
        "[uwsgi.get_logvar('a'), uwsgi.set_logvar('a', 'x'), uwsgi.set_logvar(b'a', b'b'), uwsgi.get_logvar('a')]",
        "[None, None, None, b'b']",
    );
    // The next request has none of them.
    is("uwsgi.get_logvar('a')", "None");
    is("raised(uwsgi.set_logvar, 'a', 1)", "'TypeError: a str or bytes is needed, not int'");
    is("raised(uwsgi.set_logvar, 'a')[:9]", "'TypeError'");
}

#[test]
fn the_request_of_a_thread() {
    let server = site().start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is("uwsgi.env is environ", "True");
    is("[uwsgi.request_id(), uwsgi.cl()]", "[1, 32]");
    is(
        "uwsgi.is_connected(uwsgi.connection_fd()), uwsgi.is_connected(99), uwsgi.is_connected(-1)",
        "(True, False, False)",
    );
    is("in_thread(lambda: (raised(uwsgi.connection_fd)[:11], hasattr(uwsgi, 'env')))", "[('SystemError', False)]");
    is("SEEN.count('after') > 0", "True");
}

#[test]
fn a_client_that_left_is_not_connected() {
    let server = site().start();
    let client = begin(
        &server,
        "/",
        "[say('waiting'), wait_for('gone'), say(f'connected: {uwsgi.is_connected(uwsgi.connection_fd())}')]",
    );
    server.wait_for("waiting");
    drop(client);
    eventually("the connection is gone", || {
        let open = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
        let port = format!(":{:04X}", server.address().port());
        // 01 is ESTABLISHED.
        (!open.lines().any(|line| line.contains(&port) && line.contains(" 01 "))).then_some(())
    });
    server.open_gate("gone");
    // A close alone (FIN) is no end: the client may still read.
    server.wait_for("connected: True");
}

#[test]
fn locks_exclude_workers_from_each_other() {
    let server = site().ini("processes = 2\nlocks = 2").start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is(
        "[uwsgi.is_locked(), uwsgi.lock(), uwsgi.is_locked(), uwsgi.is_locked(1), uwsgi.unlock(), uwsgi.is_locked()]",
        "[False, None, True, False, None, False]",
    );
    is(
        "[raised(uwsgi.lock, number) for number in (3, -1)]",
        "['ValueError: Invalid lock number', 'ValueError: Invalid lock number']",
    );
    is(
        "[uwsgi.lock(2), raised(uwsgi.lock, 2)[:44], uwsgi.unlock(2)]",
        "[None, 'RuntimeError: lock(2): this thread has it al', None]",
    );
    is("locked(), uwsgi.is_locked()", "(True, False)");

    let mut holder = begin(
        &server,
        "/",
        "[uwsgi.lock(1), say(f'worker {uwsgi.worker_id()} holds it'), wait_for('free'), uwsgi.unlock(1)]",
    );
    server.wait_for("holds it");
    is("uwsgi.is_locked(1), uwsgi.unlock(1), uwsgi.is_locked(1)", "(True, None, True)");
    let mut waiter = begin(&server, "/", "[say('waits'), uwsgi.lock(1), os.path.exists('free'), uwsgi.unlock(1)]");
    server.wait_for("waits");
    server.open_gate("free");
    assert_eq!(waiter.answer().ok(), "['waits', None, True, None]");
    assert_eq!(holder.answer().status, 200);
}

#[test]
fn a_lock_outlives_its_holder_and_a_reload() {
    let server = site().start();
    let old = server.workers()[0];
    let _holder = begin(&server, "/", "[uwsgi.lock(), say('locked'), time.sleep(60)]");
    server.wait_for("locked");
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 serves");
    assert_eq!(eval(&server, "uwsgi.is_locked()"), "True", "old and new workers share their locks");
    old.signal(Signal::SIGKILL);
    eventually("the lock of the dead one is free", || (eval(&server, "uwsgi.is_locked()") == "False").then_some(()));
    assert_eq!(eval(&server, "[uwsgi.lock(), uwsgi.unlock()]"), "[None, None]");
}

#[test]
fn a_deadline_of_the_applications_own() {
    let server = site().ini("processes = 2").start();
    assert_eq!(
        eval(&server, "limited(0), uwsgi.set_user_harakiri(1), uwsgi.set_user_harakiri(0), time.sleep(2.2)"),
        "('in time', None, None, None)"
    );
    let _client = begin(&server, "/late", "limited(60)");
    let line = server.wait_for("HARAKIRI ON WORKER");
    assert!(line.contains("POST /late"), "{line}");
    server.wait_for_workers(3);
    assert_eq!(eval(&server, "1"), "1");
}

#[test]
fn hooks_run_at_their_times() {
    let server = site().ini("processes = 2").start();
    let seen = eval(&server, "uwsgi.worker_id(), SEEN[:2]");
    let expected = ["(1, ['fork 1', 'after'])", "(2, ['fork 2', 'second'])", "(1, ['fork 1'])"];
    assert!(expected.contains(&seen.as_str()), "{seen}");
    let ended = server.stop();
    assert!(ended.log.contains("atexit in worker 1") && ended.log.contains("atexit in worker 2"), "{}", ended.log);
}

#[test]
fn decorators_need_nothing_installed() {
    let server = site().start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is("[seen := [], elsewhere(seen).join(), seen][2]", "[True]");
    is("elsewhere([]).daemon", "True");
    is(
        "raised(uwsgidecorators.timer, 3)",
        "'NotImplementedError: uwsgidecorators.timer comes with a later release of ruwsgi'",
    );
    is("raised(uwsgidecorators.spool, print)[:20]", "'NotImplementedError:'");
    let own = site();
    own.write("uwsgidecorators.py", "postfork = harakiri = lambda f: (lambda g: g) if isinstance(f, int) else f\nlock = thread = postfork\nmine = 1\n");
    // An installed one comes first, as with uWSGI.
    assert_eq!(eval(&own.start(), "uwsgidecorators.mine"), "1");
}

#[test]
fn functions_are_called_by_their_names() {
    let server = site().start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is("uwsgi.register_rpc('up', bytes.upper), uwsgi.rpc_list()", "(True, (b'up',))");
    is("uwsgi.rpc(None, b'up', b'a'), uwsgi.rpc('', 'up', 'b'), uwsgi.call('up', b'c')", "(b'A', b'B', b'C')");
    // An empty result, no bytes, an exception, an unknown name: None, as in uWSGI.
    is("uwsgi.call('up', b''), uwsgi.call('up'), uwsgi.call('nope')", "(None, None, None)");
    server.wait_for("TypeError: unbound method bytes.upper() needs an argument");
    is("uwsgidecorators.rpc('low')(bytes.lower) == bytes.lower, uwsgi.rpc_list()", "(True, (b'up', b'low'))");
    is("uwsgi.register_rpc('up', bytes.title), uwsgi.call('up', b'xy'), len(uwsgi.rpc_list())", "(True, b'Xy', 2)");
    is("uwsgi.register_rpc('a' * 254, print)", "True");
    is(
        "raised(uwsgi.register_rpc, 'a' * 255, print)",
        "'ValueError: unable to register rpc function: its name has 255 bytes, at most 254'",
    );
    is("raised(uwsgi.rpc, 'node:3031', 'up')[:46]", "'NotImplementedError: uwsgi.rpc(\"node:3031\"): o'");
}

#[test]
fn what_is_not_built_yet_says_so() {
    let server = site().start();
    let is = |code: &str, value: &str| assert_eq!(eval(&server, code), value, "{code}");
    is("raised(uwsgi.cache_get, 'a')", "'NotImplementedError: uwsgi.cache_get() comes with a later release of ruwsgi'");
    is("raised(uwsgi.mule_get_msg)[:20], uwsgi.cache_set.__name__", "('NotImplementedError:', 'cache_set')");
    // uWSGI has these with their option only: applications look whether they are there.
    is("hasattr(uwsgi, 'spool'), hasattr(uwsgi, 'queue_push')", "(False, False)");
    is("raised(getattr, uwsgi, 'spool')", "'AttributeError: uwsgi.spool comes with a later release of ruwsgi'");
    is("raised(getattr, uwsgi, 'nonsense')", "\"AttributeError: module 'uwsgi' has no attribute 'nonsense'\"");
}

/// The real one, where it is installed.
fn real() -> Option<PathBuf> {
    let home = std::env::var("HOME").unwrap_or_default();
    let found =
        std::env::var("UWSGI").map_or_else(|_| Path::new(&home).join(".cache/ruwsgi-peers/bin/uwsgi"), PathBuf::from);
    if !found.is_file() {
        eprintln!("no uWSGI at {} (UWSGI names another place): not compared", found.display());
        return None;
    }
    Some(found)
}

#[test]
fn the_module_has_the_names_and_types_of_uwsgi() {
    const CODE: &str = r#"
        import json, uwsgi
        def kinds(value):
            if isinstance(value, dict):
                return {str(key): kinds(item) for key, item in value.items()}
            if isinstance(value, (tuple, list)):
                return [type(value).__name__, *(kinds(item) for item in value)]
            return "function" if callable(value) else type(value).__name__
        def application(environ, start_response):
            start_response("200 OK", [("Content-Type", "application/json")])
            names = {name: kinds(getattr(uwsgi, name)) for name in dir(uwsgi) if not name.startswith("__")}
            calls = "worker_id masterpid total_requests request_id mule_id ready mem listen_queue i_am_the_spooler " \
                    "in_farm logsize connection_fd cl micros is_locked workers lock unlock"
            names.update({f"{name}()": kinds(getattr(uwsgi, name)()) for name in calls.split()})
            names["log()"] = kinds(uwsgi.log("x"))
            names["set_logvar()"] = kinds([uwsgi.set_logvar("a", "b"), uwsgi.get_logvar("a"), uwsgi.get_logvar("c")])
            names["is_connected()"] = kinds(uwsgi.is_connected(99))
            names["environ"] = {key: kinds(value) for key, value in environ.items() if key.startswith("uwsgi.")}
            return [json.dumps(names).encode()]
    "#;
    let Some(real) = real() else { return };
    let ours = Site::code(CODE).ini("master = true\nprocesses = 2\nthreads = 2\nmine = 1").start();
    let ours: serde_json::Value = ours.get("/").json();
    let site = Site::code(CODE);
    let socket = site.path("real.sock");
    let mut command = Command::new(real);
    site.dress(&mut command);
    let arguments =
        ["--http-socket", "real.sock", "--wsgi-file", "app.py", "-M", "-p2", "--threads", "2", "--set", "mine=1"];
    command.args(arguments).arg("--die-on-term");
    let server = Server::of(command, site);
    server.wait_for("spawned uWSGI worker 2");
    let mut client =
        eventually("uWSGI listens", || std::os::unix::net::UnixStream::connect(&socket).ok().map(Client::from));
    client.send("GET / HTTP/1.0\r\nHost: a\r\n\r\n");
    let theirs: serde_json::Value = client.answer().json();
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    // Not built yet, and details of its importer.
    let missing = ["magic_table", "SymbolsImporter", "SymbolsZipImporter", "ZipImporter"];
    for (name, kind) in theirs {
        match ours.get(name) {
            None => assert!(missing.contains(&name.as_str()), "there is no {name}"),
            Some(_) if name == "opt" => assert_eq!(ours["opt"]["mine"], kind["mine"]),
            Some(mine) => assert_eq!(mine, kind, "{name}"),
        }
    }
    let own = ["env", "route"];
    for name in ours.keys().filter(|name| !theirs.contains_key(*name)) {
        assert!(own.contains(&name.as_str()), "uWSGI has no {name}");
    }
}
