//! Servers that leave the terminal, logs in files, and the names that `ps` shows.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{Client, Process, Site, eventually};

/// A daemon, found by its pidfile. Dropped, it takes everything it started along.
struct Daemon<'s> {
    site: &'s Site,
    master: Process,
}

impl<'s> Daemon<'s> {
    /// Starts the site, which must say `daemonize` and `pidfile = pid`; what the terminal saw.
    fn start(site: &'s Site) -> (Self, String) {
        let ended = site.run();
        assert_eq!(ended.code, 0, "{}", ended.log);
        // The start has waited: everything is there.
        let pid = fs::read_to_string(site.path("pid")).unwrap();
        let master = Process::of(pid.trim().parse().unwrap()).expect("the pidfile names the master");
        (Self { site, master }, ended.log)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.site.path("log")).unwrap()
    }

    fn get(&self, path: &str) -> String {
        Client::unix(&self.site.path("app.sock")).get(path).ok().to_owned()
    }

    fn wait_for(&self, text: &str) {
        eventually(&format!("{text:?} in the log"), || self.log().contains(text).then_some(()));
    }

    fn stop(self) -> String {
        self.master.signal(Signal::SIGTERM);
        self.master.wait_for_end("the daemon");
        self.log()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        for process in self.master.tree() {
            process.signal(Signal::SIGKILL);
        }
        if std::thread::panicking() {
            eprintln!("--- the log ---\n{}---", self.log());
        }
    }
}

/// `control.py` behind `app.sock`, with these lines.
fn site(lines: &str) -> Site {
    let site = Site::empty().ini("http-socket = app.sock\nwsgi-file = app.py\npidfile = pid").ini(lines);
    fs::copy(crate::harness::app("control.py"), site.path("app.py")).unwrap();
    site
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_daemon_serves_when_its_start_returns() {
    let site = site("daemonize = log\nprocesses = 2");
    let (daemon, terminal) = Daemon::start(&site);
    assert_eq!(terminal, "");
    assert_eq!(daemon.get("/parent"), daemon.master.pid.to_string());
    let log = daemon.log();
    assert!(log.contains("worker 1 (pid ") && log.contains(&format!("(pid {})", daemon.master.pid)), "{log}");
    // uWSGI's mode for new log files.
    assert_eq!(mode(&site.path("log")) & 0o137, 0);
    let log = daemon.stop();
    assert!(log.trim_end().ends_with("stopped"), "{log}");
    assert!(!site.path("pid").exists());
}

#[test]
fn a_daemon_has_nothing_of_the_terminal() {
    let site = site("daemonize = log");
    let (daemon, _) = Daemon::start(&site);
    let here = fs::canonicalize(site.path("log")).unwrap();
    for process in daemon.master.tree() {
        let open = |number: u32| fs::read_link(format!("/proc/{}/fd/{number}", process.pid)).unwrap();
        assert_eq!((open(0).as_path(), open(1), open(2)), (Path::new("/dev/null"), here.clone(), here.clone()));
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // proc_pid_stat(5): session and terminal. The session is that of the process between, which is gone.
        assert_ne!(fields[3], process.pid.to_string(), "leads a session, and could get a terminal");
        assert_eq!(fields[4], "0", "has a terminal");
    }
}

#[test]
fn what_the_application_prints_is_in_the_log() {
    let site = Site::empty().ini("http-socket = app.sock\nwsgi-file = app.py\npidfile = pid\ndaemonize = log");
    site.write("app.py", "import os, sys\nprint('loaded')\ndef application(e, s):\n    print('to stdout')\n    print('to stderr', file=sys.stderr)\n    os.system('echo from a child')\n    s('200 OK', [])\n    return [b'x']\n");
    let (daemon, _) = Daemon::start(&site);
    assert_eq!(daemon.get("/"), "x");
    for text in ["loaded\n", "to stdout\n", "to stderr\n", "from a child\n", "GET / => generated 1 bytes"] {
        daemon.wait_for(text);
    }
}

#[test]
fn a_start_that_fails_is_told_on_the_terminal() {
    let site = site("daemonize = log");
    site.write("app.py", "import no_such_module\n");
    let ended = site.run();
    ended.failed(22, &["error: wsgi-file: app.py can't be loaded", "no_such_module", "uwsgi.ini:3"]);
    assert!(ended.log.contains("Traceback"), "{}", ended.log);
    assert_eq!(ended.log.matches("error: wsgi-file").count(), 1, "{}", ended.log);
    let log = fs::read_to_string(site.path("log")).unwrap();
    assert!(log.contains("Traceback") && log.ends_with(ended.last_line().trim_end()) || log.ends_with('\n'), "{log}");
    assert!(!site.path("pid").exists() && !site.path("app.sock").exists());
}

#[test]
fn what_was_logged_before_is_not_shown_again() {
    let site = site("daemonize = log");
    site.write("app.py", "import no_such_module\n");
    site.write("log", "an old line\n");
    let ended = site.run();
    assert_eq!(ended.code, 22);
    assert!(!ended.log.contains("an old line"), "{}", ended.log);
    assert!(fs::read_to_string(site.path("log")).unwrap().starts_with("an old line\n"));
}

#[test]
fn a_log_that_is_no_file_is_no_reason_to_be_silent() {
    let site = site("daemonize = /dev/null\nlogfile-chmod = 600");
    site.write("app.py", "import no_such_module\n");
    let ended = site.run();
    ended.failed(22, &["error: wsgi-file: app.py can't be loaded", "no_such_module"]);
    assert_eq!(mode(Path::new("/dev/null")), 0o666);
}

#[test]
fn a_log_that_can_t_be_opened_ends_the_start() {
    for option in ["daemonize", "daemonize2", "logto", "logto2"] {
        let ended = site(&format!("{option} = no/such/folder/log")).run();
        ended.failed(1, &[option, "cannot open no/such/folder/log", "No such file or directory", "uwsgi.ini:5"]);
    }
    let ended = site("daemonize = 127.0.0.1:5000").run();
    ended.failed(1, &["daemonize", "log-socket = 127.0.0.1:5000", "uwsgi.ini:5"]);
}

#[test]
fn daemonize2_shows_the_log_of_the_start() {
    let site = site("daemonize2 = log");
    let (daemon, terminal) = Daemon::start(&site);
    assert!(terminal.contains("http-socket on app.sock") && terminal.contains("worker 1 (pid "), "{terminal}");
    assert!(daemon.log().starts_with(&terminal));
}

#[test]
fn a_daemon_reloads_and_keeps_its_log() {
    let site = site("daemonize = log");
    let (daemon, _) = Daemon::start(&site);
    daemon.master.signal(Signal::SIGHUP);
    daemon.wait_for("generation 2 is complete");
    // Moved away, as logrotate does: a reload begins a new one.
    fs::rename(site.path("log"), site.path("log.1")).unwrap();
    daemon.master.signal(Signal::SIGHUP);
    eventually("a new log", || site.path("log").exists().then_some(()));
    daemon.wait_for("generation 3 is complete");
    daemon.get("/pid");
    daemon.wait_for("GET /pid => ");
    assert!(!fs::read_to_string(site.path("log.1")).unwrap().contains("generation 3 is complete"));
    let log = fs::canonicalize(site.path("log")).unwrap();
    // A zygote of a former generation may take a moment to end.
    eventually("everybody writes there", || {
        let mut all = daemon.master.children().into_iter();
        all.all(|child| fs::read_link(format!("/proc/{}/fd/1", child.pid)).is_ok_and(|out| out == log)).then_some(())
    });
    let good = fs::read_to_string(site.path("uwsgi.ini")).unwrap();
    site.write("uwsgi.ini", &good.replace("daemonize = log", ""));
    daemon.master.signal(Signal::SIGHUP);
    daemon.wait_for("daemonize: from on to (not set): restart needed");
}

#[test]
fn the_umask_stays_and_closed_sockets_are_told() {
    let umask = |daemon: &Daemon<'_>| daemon.master.status("Umask").unwrap();
    let told = "chmod-socket = 666 lets everybody, as uWSGI does under daemonize (uwsgi.ini:2)";
    let ours = Process::of(std::process::id() as i32).unwrap().status("Umask").unwrap();
    let plain = site("daemonize = log");
    let (daemon, _) = Daemon::start(&plain);
    assert_eq!(umask(&daemon), ours);
    assert_eq!(mode(&plain.path("app.sock")), 0o660);
    assert_eq!(daemon.log().matches(told).count(), 1, "{}", daemon.log());
    drop(daemon);
    for (line, of_socket) in [("chmod-socket = 666", 0o666), ("umask = 000", 0o777)] {
        let site = site(&format!("daemonize = log\n{line}"));
        let (daemon, _) = Daemon::start(&site);
        assert_eq!(mode(&site.path("app.sock")), of_socket, "{line}");
        assert!(!daemon.log().contains(told), "{}", daemon.log());
    }
    let server = Site::app("hello.py").ini("http-socket = app.sock").start();
    assert!(!server.stop().log.contains("as uWSGI does under daemonize"));
}

#[test]
fn a_log_file_without_a_daemon() {
    let site = site("logto = log\nlogfile-chmod = 604");
    let mut server = site.launch();
    let (socket, log) = (server.path("app.sock"), server.path("log"));
    // A worker answers before the master knows that it is ready: a stop then would be one of a start.
    eventually("the start", || fs::read_to_string(&log).is_ok_and(|log| log.contains("started after")).then_some(()));
    let pid = Client::unix(&socket).get("/pid").ok().to_owned();
    server.signal(Signal::SIGTERM);
    let ended = server.wait_here();
    assert_eq!((ended.code, ended.log.as_str(), ended.out.as_str()), (0, "", ""));
    let log = fs::read_to_string(log).unwrap();
    assert!(log.contains(&format!("[pid: {pid}|app: 0|req: 1/1]")) && log.ends_with("stopped\n"), "{log}");
    assert_eq!(mode(&server.path("log")), 0o604);
}

#[test]
fn the_reason_of_a_failed_start_is_on_the_terminal_too() {
    let site = site("logto = log");
    site.write("app.py", "import no_such_module\n");
    let ended = site.run();
    ended.failed(22, &["error: wsgi-file: app.py can't be loaded"]);
    assert_eq!(ended.log.lines().count(), 1, "{}", ended.log);
    assert!(fs::read_to_string(site.path("log")).unwrap().ends_with(&ended.log));
}

#[test]
fn a_log_can_be_standard_output() {
    for name in ["/dev/stdout", "/proc/self/fd/1"] {
        let server = Site::app("hello.py").ini(&format!("logto = {name}")).launch();
        server.out.wait_for(") ready after ");
        server.signal(Signal::SIGHUP);
        server.out.wait_for("generation 2 is complete");
        server.signal(Signal::SIGTERM);
        let ended = server.wait();
        assert_eq!((ended.code, ended.log.as_str()), (0, ""));
        assert!(ended.out.ends_with("stopped\n"), "{}", ended.out);
    }
}

#[test]
fn the_log_can_be_another_one_after_a_reload() {
    let site = site("logto = log");
    let server = site.launch();
    let log = |name: &str| fs::read_to_string(server.path(name)).unwrap_or_default();
    eventually("a start", || log("log").contains("started after").then_some(()));
    let good = fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &good.replace("logto = log", "logto = no/such/log"));
    server.signal(Signal::SIGHUP);
    eventually("a refusal", || log("log").contains("cannot open no/such/log").then_some(()));
    server.site.write("uwsgi.ini", &good.replace("logto = log", ""));
    server.signal(Signal::SIGHUP);
    eventually("a refusal", || log("log").contains("restart needed").then_some(()));
    server.site.write("uwsgi.ini", &good.replace("logto = log", "logto = other\nlog-date = true"));
    server.signal(Signal::SIGHUP);
    eventually("the other log", || log("other").contains(" is complete after ").then_some(()));
    assert!(log("other").contains(" - worker 1 (pid "), "{}", log("other"));
    assert!(!log("log").contains(" is complete after "), "{}", log("log"));
}

#[test]
fn logto2_is_opened_by_whom_the_server_becomes() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("only root can become another user: not tested");
        return;
    }
    let site = site("logto = first\nlogto2 = second/log\nlogfile-chown = true\nuid = 65534\ngid = 65534");
    for name in ["", "second"] {
        fs::create_dir_all(site.path(name)).unwrap();
        std::os::unix::fs::chown(site.path(name), Some(65534), Some(65534)).unwrap();
    }
    let server = site.launch();
    let owner = |name: &str| fs::metadata(server.path(name)).map(|file| (file.uid(), file.gid())).ok();
    let log = || fs::read_to_string(server.path("second/log")).unwrap_or_default();
    eventually("a start", || log().contains("started after").then_some(()));
    assert_eq!((owner("first"), owner("second/log")), (Some((65534, 65534)), Some((65534, 65534))));
}

/// What `ps` shows for a process: its name and its command line.
fn shown(process: Process) -> (String, String) {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap();
    let end = line.iter().position(|byte| *byte == 0).unwrap_or(line.len());
    (process.status("Name").unwrap(), String::from_utf8_lossy(&line[..end]).into_owned())
}

/// What `ps` shows for the master, the zygote and worker 1.
fn names(lines: &str) -> [(String, String); 3] {
    let server = Site::app("hello.py").ini(lines).start();
    let children = server.master().children();
    assert_eq!(children.len(), 2, "a zygote and a worker");
    [shown(server.master()), shown(children[0]), shown(children[1])]
}

#[test]
fn processes_have_the_names_that_uwsgi_gives_them() {
    let pair = |name: &str| (name.chars().take(15).collect::<String>().trim_end().to_owned(), name.to_owned());
    let all = |names: [&str; 3]| names.map(pair);
    assert_eq!(names("auto-procname = true"), all(["uWSGI master", "uWSGI zygote", "uWSGI worker 1"]));
    assert_eq!(names("procname = shop\nprocname-master = boss"), all(["boss", "shop", "shop"]));
    // Longer than the arguments that the master was started with.
    let long =
        names("procname-prefix-spaced = a name that is longer than ruwsgi --ini uwsgi.ini:\nprocname-append = !");
    let expected = ["master", "zygote", "worker 1"]
        .map(|role| pair(&format!("a name that is longer than ruwsgi --ini uwsgi.ini: uWSGI {role}!")));
    assert_eq!(long, expected);
}

#[test]
fn a_name_that_the_application_gives_has_the_same_around_it() {
    const APP: &str = r#"
        import uwsgi
        def application(environ, start_response):
            uwsgi.setprocname("cart")
            start_response("200 OK", [])
            return [b"named"]
    "#;
    let server = Site::code(APP).ini("procname-prefix = shop-\nprocname-append = !").start();
    let worker = server.master().children()[1];
    server.get("/").ok();
    assert_eq!(shown(worker).1, "shop-cart!");
}
