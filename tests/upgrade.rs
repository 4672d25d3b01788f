//! The upgrade in place: a reload where another executable is on the disk becomes it, and no request is lost; one that
//! does not work leaves the one that runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;

use crate::harness::{Client, Server, Site, eventually, under_load};

const MODULE: &str = "libruwsgi_python.so";

/// The build's own files.
fn own() -> (PathBuf, PathBuf) {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ruwsgi"));
    let folder = program.parent().unwrap();
    // A build refreshes the one beside the executable, a test the other one.
    let modules = ["deps", ""].map(|part| folder.join(part).join(MODULE));
    let build = name_after(&fs::read(&program).unwrap(), "ruwsgi-module-build:");
    let fits = |path: &&PathBuf| fs::read(path).is_ok_and(|bytes| name_after(&bytes, "ruwsgi-module-build:") == build);
    let module = modules.iter().find(fits).expect("the module of this build").clone();
    (program, module)
}

/// The sixteen digits behind a mark.
fn name_after(bytes: &[u8], mark: &str) -> Option<Vec<u8>> {
    let found = bytes.windows(mark.len()).enumerate().filter(|(_, part)| *part == mark.as_bytes());
    let digits = found.map(|(at, _)| &bytes[at + mark.len()..at + mark.len() + 16]);
    digits.into_iter().find(|digits| digits.iter().all(u8::is_ascii_hexdigit)).map(<[u8]>::to_vec)
}

/// What a copy of the build is made into.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Made {
    /// The same.
    Same,
    /// Another build, which shares what the two sides say to each other.
    Other,
    /// Another build that shares nothing.
    Stranger,
}

fn make(made: Made, bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let mut rename = |mark: &str, name: &[u8; 16]| {
        let Some(digits) = name_after(&bytes, mark) else { return };
        let places: Vec<usize> =
            bytes.windows(16).enumerate().filter(|(_, part)| *part == digits).map(|(at, _)| at).collect();
        for at in places {
            bytes[at..at + 16].copy_from_slice(name);
        }
    };
    if made != Made::Same {
        rename("ruwsgi-module-build:", b"00000000deadbeef");
    }
    if made == Made::Stranger {
        rename("ruwsgi-shape:", b"00000000cafebabe");
    }
    bytes
}

/// Puts a file into place as a package manager does: whole, under its name at once.
fn install(path: &Path, bytes: &[u8]) {
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes).unwrap();
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&fresh, path).unwrap();
}

/// Installs executable and module into `bin/` of a site.
pub(crate) fn install_both(site: &Site, made: Made) {
    let (program, module) = own();
    let file = |path: &Path| make(made, &fs::read(path).unwrap());
    fs::create_dir_all(site.path("bin")).unwrap();
    install(&site.path(&format!("bin/{MODULE}")), &file(&module));
    install(&site.path("bin/ruwsgi"), &file(&program));
}

const APP: &str = r"
    import os, time
    def application(environ, start_response):
        path = environ['PATH_INFO']
        if path.startswith('/slow/'):
            open(path[6:] + '.begun', 'w').close()
            while not os.path.exists(path[6:]):
                time.sleep(0.01)
        body = ('version %s, build %s' % (open('version').read(), os.getppid())).encode()
        start_response('200 OK', [('Content-Type', 'text/plain'), ('Content-Length', str(len(body)))])
        return [body]
";

pub(crate) fn site() -> Site {
    site_at("http-socket = 127.0.0.1:0")
}

/// The same, elsewhere.
pub(crate) fn site_at(lines: &str) -> Site {
    let site = Site::empty().ini(lines).ini("wsgi-file = app.py\ndisable-logging = true");
    site.write("app.py", &crate::harness::dedent(APP));
    site.write("version", "1");
    install_both(&site, Made::Same);
    site
}

/// Starts the copy in the site's folder.
pub(crate) fn start(site: Site, workers: usize) -> Server {
    site.write_ini();
    let mut command = Command::new(site.path("bin/ruwsgi"));
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for_workers(workers);
    server.get("/").ok();
    server
}

/// What the master runs.
fn executable(server: &Server) -> String {
    fs::read_link(format!("/proc/{}/exe", server.master().pid)).unwrap().display().to_string()
}

/// A reload that must become an upgrade: waits until all workers are the new one's.
pub(crate) fn upgrade(server: &Server, workers: usize) {
    let (former, master) = (server.workers(), server.master());
    let (born, before) = (server.births(), server.log.text().len());
    server.signal(Signal::SIGHUP);
    server.log.wait("the new executable goes on", |log, _| {
        let fresh = &log[before..];
        assert!(!fresh.contains("error:"), "{fresh}");
        fresh.contains("goes on where").then_some(())
    });
    server.wait_for_workers(born + workers);
    for worker in former {
        worker.wait_for_end("a worker of the former executable");
    }
    assert_eq!(server.master(), master, "the master is the same process");
    assert!(!executable(server).ends_with("(deleted)"), "{}", executable(server));
}

#[test]
fn a_reload_becomes_the_executable_that_is_on_the_disk_and_loses_no_request() {
    for made in [Made::Same, Made::Other, Made::Stranger] {
        let server = start(site().ini("processes = 2\nthreads = 2\npidfile = master.pid\nlocks = 2"), 2);
        let pid = fs::read_to_string(server.path("master.pid")).unwrap();
        let address = server.address();
        let answered = under_load(&server, || {
            // Three in a row: what is inherited can be left again.
            for _ in 0..3 {
                install_both(&server.site, made);
                upgrade(&server, 2);
            }
        });
        assert!(answered > 100, "only {answered} requests were answered");
        assert_eq!(server.workers().len(), 2);
        assert_eq!(fs::read_to_string(server.path("master.pid")).unwrap(), pid);
        assert_eq!(server.address(), address);
        server.zygote();
        // From here on it is a server like any other: a plain reload, a worker that dies, a stop.
        let (born, former) = (server.births(), server.workers());
        server.signal(Signal::SIGHUP);
        server.wait_for_workers(born + 2);
        former.into_iter().for_each(|worker| worker.wait_for_end("a former worker"));
        server.workers()[0].signal(Signal::SIGKILL);
        server.wait_for_workers(born + 3);
        assert!(server.get("/").ok().starts_with("version 1"));
        let path = server.path("master.pid");
        let ended = server.stop();
        assert!(!ended.log.contains("orphans"), "{}", ended.log);
        assert!(!path.exists());
    }
}

#[test]
fn a_request_in_the_application_is_answered_by_the_former_worker() {
    for made in [Made::Other, Made::Stranger] {
        let server = start(site().ini("processes = 1\nthreads = 2"), 1);
        let mut kept = server.connect();
        kept.get("/").ok();
        let mut slow = server.connect();
        slow.send("GET /slow/gate HTTP/1.1\r\nHost: a\r\n\r\n");
        eventually("the request is inside", || server.path("gate.begun").exists().then_some(()));
        let former = server.workers()[0];
        install_both(&server.site, made);
        let born = server.births();
        server.signal(Signal::SIGHUP);
        server.wait_for_workers(born + 1);
        assert!(server.get("/").ok().starts_with("version 1"));
        assert!(former.alive(), "it has a request");
        server.site.write("gate", "");
        assert!(slow.answer().ok().starts_with("version 1"));
        former.wait_for_end("the former worker");
        if made == Made::Other {
            assert!(kept.get("/").ok().starts_with("version 1"), "another worker goes on with the connection");
        }
    }
}

/// A reload that must come to nothing. So many children are there beside the workers.
pub(crate) fn refused(server: &Server, why: &str, others: usize) {
    let (workers, program) =
        (server.workers(), fs::metadata(format!("/proc/{}/exe", server.master().pid)).unwrap().len());
    let before = server.log.text().len();
    under_load(server, || {
        server.signal(Signal::SIGHUP);
        server.log.wait(&format!("it is told why: {why}"), |log, _| {
            let fresh = &log[before..];
            let told = fresh.contains("goes on: upgrade to ");
            assert!(!told || fresh.contains(why), "{fresh}");
            told.then_some(())
        });
    });
    assert_eq!(server.workers(), workers, "the workers are untouched");
    let now = fs::metadata(format!("/proc/{}/exe", server.master().pid)).unwrap().len();
    assert_eq!(now, program, "it is the same executable");
    eventually("nobody is left who tried", || {
        (server.master().children().len() == workers.len() + others).then_some(())
    });
}

#[test]
fn an_executable_that_does_not_work_leaves_the_one_that_runs() {
    let server = start(site().ini("processes = 2"), 2);
    let path = server.path("bin/ruwsgi");
    install(&path, b"nothing that could be executed");
    // The C library gives it to the shell.
    refused(&server, "exited with code 127: it is no ruwsgi that can take over", 1);
    install(&path, b"#!/bin/sh\nexit 3\n");
    refused(&server, "exited with code 3: it is no ruwsgi that can take over", 1);
    install(&path, b"#!/bin/sh\nkill -11 $$\n");
    refused(&server, "killed by signal 11: it is no ruwsgi that can take over", 1);
    fs::copy("/bin/true", server.path("bin/true")).unwrap();
    fs::rename(server.path("bin/true"), &path).unwrap();
    refused(&server, "exited with code 0: it is no ruwsgi that can take over", 1);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    refused(&server, "Permission denied", 1);
    // The executable of another build, whose module is not there yet.
    let (program, module) = own();
    install(&path, &make(Made::Other, &fs::read(program).unwrap()));
    refused(&server, "of another build", 1);
    // And now it is.
    install(&server.path(&format!("bin/{MODULE}")), &make(Made::Other, &fs::read(module).unwrap()));
    upgrade(&server, 2);
    assert!(server.get("/").ok().starts_with("version 1"));
}

#[test]
fn a_module_that_does_not_fit_leaves_the_one_that_runs() {
    let server = start(site().ini("processes = 1"), 1);
    let (program, module) = own();
    let path = server.path(&format!("bin/{MODULE}"));
    install(&path, &make(Made::Other, &fs::read(module).unwrap()));
    refused(&server, "of another build", 1);
    install(&path, b"no module");
    refused(&server, "no module of ruwsgi", 1);
    // Where there is none, the one that runs is good for a plain reload, and so is an executable that was removed.
    fs::remove_file(&path).unwrap();
    fs::remove_file(server.path("bin/ruwsgi")).unwrap();
    let born = server.births();
    server.signal(Signal::SIGHUP);
    server.wait_for_workers(born + 1);
    install(&path, &fs::read(own().1).unwrap());
    install(&server.path("bin/ruwsgi"), &fs::read(program).unwrap());
    upgrade(&server, 1);
}

#[test]
fn what_a_reload_refuses_an_upgrade_refuses_too() {
    let server = start(site().ini("processes = 1\nload-timeout = 60"), 1);
    let good = fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    install_both(&server.site, Made::Other);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let admin = format!("admin = {}", taken.local_addr().unwrap());
    fs::write(server.path("plain"), "").unwrap();
    for (more, why) in [
        ("strict = true\nno-such-option = 1", "no-such-option"),
        ("locks = 7", "locks: from 0 to 7: restart needed"),
        ("http-socket = 192.0.2.1:1", "192.0.2.1:1"),
        ("stats = 192.0.2.1:1", "stats: 192.0.2.1:1 is no address of this machine"),
        (&admin, "is in use"),
        ("master-fifo = nowhere/orders", "master-fifo: "),
        ("master-fifo = plain", "is no FIFO"),
        ("notify-socket = nowhere/notices", "notify-socket: "),
        ("reload-on-fd = 77", "reload-on-fd: "),
        ("subscribe-to = 127.0.0.1:1:app,SHA1:nowhere.pem", "nowhere.pem"),
    ] {
        server.site.write("uwsgi.ini", &format!("{good}{more}\n"));
        refused(&server, why, 1);
    }
    server.site.write("uwsgi.ini", &good);
    server.site.write("app.py", "import no_such_module\n");
    refused(&server, "no_such_module", 1);
    server.site.write("app.py", "import sys; sys.exit(4)\n");
    refused(&server, "", 1);
    server.site.write("app.py", "import time; time.sleep(1000)\n");
    server.site.write("uwsgi.ini", &good.replace("load-timeout = 60", "load-timeout = 1"));
    refused(&server, "within 1 s (load-timeout)", 1);
    server.site.write("uwsgi.ini", &good);
    server.site.write("app.py", &crate::harness::dedent(APP));
    server.site.write("version", "2");
    upgrade(&server, 1);
    assert!(server.get("/").ok().starts_with("version 2"));
}

#[test]
fn all_that_is_open_goes_along() {
    let site = site()
        .ini("processes = 1\nhttp-socket = a.sock\nuwsgi-socket = @upgrade-%(hash)\nhash = x\nstats = stats.sock")
        .ini("admin = 127.0.0.1:0\nmaster-fifo = orders\nlogto = log\nchdir = down\nsafe-pidfile = safe.pid");
    fs::create_dir_all(site.path("down")).unwrap();
    let text = fs::read_to_string(site.path("app.py")).unwrap();
    fs::write(site.path("down/app.py"), text).unwrap();
    fs::write(site.path("down/version"), "1").unwrap();
    let site = site.ini("vacuum = true");
    let ini = site.write_ini();
    let said =
        fs::read_to_string(&ini).unwrap().replace("@upgrade-%(hash)", &format!("@upgrade-{}", std::process::id()));
    let mut command = Command::new(site.path("bin/ruwsgi"));
    fs::write(&ini, said).unwrap();
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    let log = || fs::read_to_string(server.path("log")).unwrap_or_default();
    eventually("it serves", || log().contains("worker 1 (pid ").then_some(()));
    eventually("it is complete", || log().contains("1 worker serving").then_some(()));
    let socket = server.path("down/a.sock");
    assert!(Client::unix(&socket).get("/").ok().starts_with("version 1"));
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    let (before, stats) = (inode(&socket), inode(&server.path("down/stats.sock")));
    install_both(&server.site, Made::Other);
    // Somebody who asks for statistics, and one who asks to be told whether it is ready, without a pause.
    fs::write(server.path("down/orders"), "r").unwrap();
    eventually("the new executable goes on", || {
        UnixStream::connect(server.path("down/stats.sock")).expect("the statistics can be asked for");
        log().contains("goes on where").then_some(())
    });
    eventually("it is complete again", || (log().matches("1 worker serving").count() == 2).then_some(()));
    assert!(Client::unix(&socket).get("/").ok().starts_with("version 1"));
    assert_eq!((inode(&socket), inode(&server.path("down/stats.sock"))), (before, stats), "the sockets are the same");
    let pid = server.master().pid.to_string();
    assert_eq!(fs::read_to_string(server.path("down/safe.pid")).unwrap().trim(), pid);
    let open = server.master().descriptors();
    assert_eq!(open.iter().filter(|path| path.ends_with("/safe.pid")).count(), 1, "{open:?}");
    fs::write(server.path("down/orders"), "l").unwrap();
    eventually("the FIFO is read", || log().contains("the log was opened anew").then_some(()));
    let (socket, orders) = (server.path("down/a.sock"), server.path("down/safe.pid"));
    let ended = server.stop();
    assert_eq!(ended.code, 0);
    assert!(!socket.exists() && !orders.exists(), "everything is removed at the end");
}

#[test]
fn upgrades_that_are_asked_for_in_a_storm_come_to_one_end() {
    let server = start(site().ini("processes = 2"), 2);
    under_load(&server, || {
        install_both(&server.site, Made::Other);
        for _ in 0..200 {
            server.signal(Signal::SIGHUP);
        }
        server.wait_for("goes on where");
        let quiet = || {
            let log = server.log.text();
            let begun = log.matches("begins").count();
            let served = log.rfind("generation").map(|at| log[at..].contains("serving"));
            (begun > 0 && server.workers().len() == 2 && served == Some(true)).then_some(())
        };
        eventually("it is over", quiet);
    });
    assert!(server.get("/").ok().starts_with("version 1"));
    server.stop();
}

#[test]
fn a_stop_during_the_trial_is_a_stop() {
    let server = start(site().ini("processes = 1"), 1);
    server.site.write("app.py", "open('loading', 'w').close()\nimport time; time.sleep(1000)\n");
    install_both(&server.site, Made::Other);
    server.signal(Signal::SIGHUP);
    eventually("it is tried", || server.path("loading").exists().then_some(()));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_stop_that_is_not_due_yet_is_not_forgotten_when_the_trial_ends() {
    let server = start(site().ini("processes = 1\ndrain-delay = 2"), 1);
    let loads = "import os, time\nopen('loading', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)\n";
    server.site.write("app.py", &format!("{loads}{}", crate::harness::dedent(APP)));
    install_both(&server.site, Made::Other);
    server.signal(Signal::SIGHUP);
    eventually("it is tried", || server.path("loading").exists().then_some(()));
    server.signal(Signal::SIGTERM);
    server.wait_for("(drain-delay)");
    server.site.write("go", "");
    let ended = server.wait();
    assert_eq!(ended.code, 0, "{}", ended.log);
    assert!(!ended.log.contains("takes over"), "{}", ended.log);
}

#[test]
fn a_reload_that_fails_in_the_new_executable_is_tried_again_and_each_socket_keeps_its_protocol() {
    let server = start(site().ini("processes = 1"), 1);
    let (ini, former) = (fs::read_to_string(server.path("uwsgi.ini")).unwrap(), server.workers()[0]);
    let first = "[uwsgi]\nuwsgi-socket = first.sock\nlogto = logs/log\n";
    server.site.write("uwsgi.ini", &ini.replace("[uwsgi]\n", first));
    install_both(&server.site, Made::Other);
    server.signal(Signal::SIGHUP);
    server.wait_for("goes on where");
    // A trial does not touch the log.
    server.log.wait_for_nth("generation 1 goes on: logto", 2);
    assert_eq!(server.workers(), [former]);
    assert!(server.get("/").ok().starts_with("version 1"));
    server.site.write("version", "2");
    fs::create_dir(server.path("logs")).unwrap();
    former.wait_for_end("the former worker");
    assert!(server.get("/").ok().starts_with("version 2"));
    assert!(UnixStream::connect(server.path("first.sock")).is_ok());
}

#[test]
fn what_a_trial_starts_gets_nothing_of_the_master() {
    let site = site().ini("processes = 2\nstats = stats.sock\nmaster-fifo = orders\npidfile = master.pid");
    let count = "import os\nprint(len(os.listdir('/proc/self/fd')), file=open('open', 'a'))\n";
    site.write("app.py", &format!("{count}{}", crate::harness::dedent(APP)));
    let server = start(site, 2);
    install_both(&server.site, Made::Other);
    upgrade(&server, 2);
    let open = fs::read_to_string(server.path("open")).unwrap();
    let counts: Vec<&str> = open.lines().collect();
    assert_eq!(counts.len(), 3, "at the start, in the trial, and in the new executable");
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[test]
fn what_the_new_executable_can_t_open_ends_nobody() {
    let server = start(site().ini("processes = 1\nstats = stats.sock\nmaster-fifo = orders"), 1);
    let (ini, former) = (fs::read_to_string(server.path("uwsgi.ini")).unwrap(), server.workers()[0]);
    // Somebody hears there, which a trial leaves alone: it may be the server that runs.
    let other = std::os::unix::net::UnixDatagram::bind(server.path("notices")).unwrap();
    server.site.write("uwsgi.ini", &format!("{ini}notify-socket = notices\n"));
    install_both(&server.site, Made::Other);
    server.signal(Signal::SIGHUP);
    server.wait_for("goes on where");
    server.wait_for("generation 1 goes on: notify-socket: \"notices\" is in use");
    assert_eq!(server.workers(), [former]);
    assert!(server.get("/").ok().starts_with("version 1"));
    UnixStream::connect(server.path("stats.sock")).expect("the statistics can be asked for");
    drop(other);
    fs::write(server.path("orders"), "r").unwrap();
    former.wait_for_end("the former worker");
    assert!(server.get("/").ok().starts_with("version 1"));
    server.wait_for("notify-socket at notices");
}

#[test]
fn a_vassal_keeps_its_emperor_and_a_master_its_own() {
    let site = Site::code(APP)
        .ini("http-socket = main.sock\nemperor = v\nemperor-freq = 3600\nemperor-control = control.sock");
    site.write("version", "1");
    install_both(&site, Made::Same);
    fs::create_dir(site.path("v")).unwrap();
    let text = "[uwsgi]\nchdir = ..\nhttp-socket = a.sock\nwsgi-file = app.py\nheartbeat = 1\n";
    fs::write(site.path("v/a.ini"), text).unwrap();
    site.write_ini();
    let mut command = Command::new(site.path("bin/ruwsgi"));
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for("vassal a.ini (pid");
    server.log.wait("the vassal", |log, _| log.contains("] started after").then_some(()));
    server.wait_for_workers(1);
    let answer = |server: &Server| Client::unix(&server.path("a.sock")).get("/").ok().to_owned();
    let before = answer(&server);
    server.wait_for("is now loyal");
    install_both(&server.site, Made::Other);
    for round in 1..3 {
        // A reload of the vassal is an upgrade; its emperor knows it by its pipe.
        fs::write(server.path("v/a.ini"), format!("{text}env = N={round}\n")).unwrap();
        server.log.wait_for_nth("goes on where", round);
        server.log.wait_for_nth("is complete after", round);
        install_both(&server.site, if round == 1 { Made::Same } else { Made::Other });
    }
    assert_eq!(before, answer(&server), "the master has the same pid");
    let log = server.log.text();
    assert!(!log.contains("closed its pipe") && !log.contains("next start in"), "{log}");
    // The master becomes another executable, too, and its emperor goes on with its vassals.
    let emperor = |server: &Server| {
        let children = server.master().children().into_iter();
        let mut emperors = children.filter(|child| !child.status("Name").unwrap_or_default().starts_with("ruwsgi-"));
        emperors.next().unwrap()
    };
    let former = emperor(&server);
    server.signal(Signal::SIGHUP);
    server.log.wait_for_nth("goes on where", 3);
    server.log.wait_for_nth("is complete after", 3);
    assert_eq!((former, &before), (emperor(&server), &answer(&server)));
    former.signal(Signal::SIGKILL);
    server.wait_for("killed by signal 9: another one in 1 s");
    server
        .log
        .wait("the vassal of another emperor", |log, _| (log.matches("] started after").count() > 1).then_some(()));
    fs::remove_file(server.path("v/a.ini")).unwrap();
    server.wait_for("vassal a.ini is removed");
    server.stop();
}
