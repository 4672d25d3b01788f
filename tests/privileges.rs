//! Who serves: users, groups, capabilities, the root folder, limits, processors; and what a worker holds.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::Signal;

use crate::harness::{Process, Server, Site, python};

const APP: &str = "
    import os, subprocess
    LOADED_BY = os.getuid()
    def application(environ, start_response):
        start_response('200 OK', [])
        if environ['PATH_INFO'] == '/fds':
            return [subprocess.check_output(['ls', '-l', '/proc/self/fd'], close_fds=False)]
        if environ['PATH_INFO'] == '/loaded-by':
            return [str(LOADED_BY).encode()]
        return [open('/proc/self/limits', 'rb').read()]
";

/// A site whose interpreter everybody may run; `None`: not root, or there is no such interpreter, and it was said.
fn site() -> Option<Site> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: not tested");
        return None;
    }
    let for_all = |dir: &&str| python::usable().any(|python| python.path == Path::new(dir).join("python3"));
    let Some(folder) = ["/usr/bin", "/usr/local/bin"].into_iter().find(for_all) else {
        eprintln!("no python3 in a folder that everybody may read: not tested");
        return None;
    };
    Some(Site::code(APP).env("PATH", format!("{folder}:/usr/bin:/bin")))
}

fn ids(process: Process, name: &str) -> Vec<u32> {
    process.status(name).unwrap().split_whitespace().map(|id| id.parse().unwrap()).collect()
}

/// User, group and the other groups are these, and all four of each.
fn is(process: Process, user: u32, group: u32, others: &[u32]) {
    assert_eq!(ids(process, "Uid"), [user; 4]);
    assert_eq!(ids(process, "Gid"), [group; 4]);
    assert_eq!(ids(process, "Groups"), others);
}

fn children(server: &Server) -> Vec<Process> {
    server.master().children()
}

#[test]
fn groups_are_those_that_were_said() {
    for (lines, group, others) in [
        ("uid = nobody", 65534, &[65534][..]),
        ("uid = nobody\ngid = tty", 5, &[5]),
        ("uid = nobody\nadd-gid = tty\nadd-gid = 1234", 65534, &[5, 1234]),
        ("uid = nobody\nno-initgroups = true", 65534, &[]),
        ("uid = 54321\ngid = 5", 5, &[5]),
    ] {
        let Some(site) = site() else { return };
        let server = site.ini(lines).start();
        for process in server.master().tree() {
            let user = if lines.contains("54321") { 54321 } else { 65534 };
            is(process, user, group, others);
            assert_eq!(process.status("CapEff").unwrap(), "0000000000000000");
            assert_eq!(process.status("CapPrm").unwrap(), "0000000000000000");
        }
    }
}

#[test]
fn a_worker_that_can_t_have_its_threads_is_never_up() {
    let Some(site) = site() else { return };
    let code = "
        import os, resource
        few = lambda: os.path.exists('few') and resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        os.register_at_fork(after_in_child=few)
        def application(environ, start_response):
            start_response('200 OK', [])
            return [b'well']
    ";
    site.write("app.py", &crate::harness::dedent(code));
    let server = site.ini("uid = nobody\nthreads = 4").start();
    let workers = server.workers();
    server.site.write("few", "");
    server.signal(Signal::SIGHUP);
    server.wait_for("worker 1 can't serve: the thread \"standby\" can't be started: Resource temporarily unavailable");
    server.wait_for("generation 1 goes on");
    assert_eq!((server.workers(), server.get("/").ok()), (workers, "well"), "what serves goes on");
}

#[test]
fn the_master_can_stay_root() {
    let Some(site) = site() else { return };
    let server = site
        .ini("uid = nobody\nmaster-as-root = true\nhook-as-root = exec:id -u >> ids")
        .ini("hook-as-user = exec:id -u >&2")
        .start();
    is(server.master(), 0, 0, &ids(Process::of(std::process::id() as i32).unwrap(), "Groups"));
    children(&server).into_iter().for_each(|child| is(child, 65534, 65534, &[65534]));
    assert_eq!(server.get("/loaded-by").ok(), "65534");
    assert_eq!(fs::read_to_string(server.path("ids")).unwrap(), "0\n");
    assert!(server.log.text().contains("\n65534\n"));
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 2 is complete");
    assert_eq!(server.get("/loaded-by").ok(), "65534");
    let workers = server.workers();
    server.signal(Signal::SIGKILL);
    workers.into_iter().for_each(|worker| worker.wait_for_end("a worker of another user"));
}

#[test]
fn privileges_can_go_after_the_application_was_loaded() {
    let Some(site) = site() else { return };
    let server = site.ini("uid = nobody\ndrop-after-apps = true\nhook-as-user = exec:id -u >&2").start();
    server.master().tree().into_iter().for_each(|process| is(process, 65534, 65534, &[65534]));
    assert_eq!(server.get("/loaded-by").ok(), "0");
    assert_eq!(server.log.text().matches("hook-as-user: exec").count(), 1);
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for_workers(2);
    let worker = server.workers()[0];
    is(worker, 65534, 65534, &[65534]);
    server.signal(Signal::SIGKILL);
    worker.wait_for_end("a worker of another user");
}

#[test]
fn sockets_can_be_bound_as_root() {
    for (line, owner) in [("", 65534), ("drop-after-init = true", 0)] {
        let Some(site) = site() else { return };
        fs::create_dir(site.path("run")).unwrap();
        nix::unistd::chown(&site.path("run"), Some(65534.into()), None).unwrap();
        let server = site.ini("uid = nobody\nhttp-socket = run/app.sock").ini(line).start();
        assert_eq!(fs::metadata(server.path("run/app.sock")).unwrap().uid(), owner, "{line}");
        is(server.master(), 65534, 65534, &[65534]);
    }
}

#[test]
fn a_user_can_be_taken_before_anything_else() {
    let Some(site) = site() else { return };
    let site = site.ini("immediate-uid = nobody\nimmediate-gid = tty\nexec-asap = id -u >&2");
    let server = site.start();
    assert!(server.log.text().contains("\n65534\n"), "before the first hook");
    server.master().tree().into_iter().for_each(|process| is(process, 65534, 5, &[5]));
}

#[test]
fn capabilities_are_kept_for_the_application_alone() {
    let Some(site) = site() else { return };
    let site = site.ini("uid = nobody\ncap = net_bind_service\ncap = CAP_SYS_NICE\nno-new-privs = true");
    let server = site.start();
    for process in server.master().tree() {
        for set in ["CapEff", "CapPrm", "CapInh", "CapBnd"] {
            assert_eq!(process.status(set).unwrap(), "0000000000800400", "{set}");
        }
        assert_eq!(process.status("NoNewPrivs").unwrap(), "1");
    }
    for child in children(&server) {
        assert_eq!(child.status("CapAmb").unwrap(), "0000000000000000", "programs of the application get none");
    }
    server.log.wait_for("capabilities: net_bind_service,sys_nice");
    assert_eq!(server.stop().code, 0);
}

#[test]
fn a_folder_can_be_all_that_there_is() {
    let Some(site) = site() else { return };
    let root = site.path("root");
    fs::create_dir(&root).unwrap();
    let folder = site.dir().canonicalize().unwrap();
    // Everything is there once more, and the server sees no more than that: mounts of its own, gone with it.
    let site = site
        .ini(&format!("hook-asap = mount:none / {} bind,rec\nchroot = {0}", root.display()))
        .ini(&format!("chdir = {}\nuid = nobody\nhttp-socket = app.sock", folder.display()));
    site.write_ini();
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "--propagation", "private", env!("CARGO_BIN_EXE_ruwsgi"), "--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    nix::unistd::chown(site.dir(), Some(65534.into()), None).unwrap();
    let server = Server::of(command, site);
    server.wait_for_workers(1);
    for process in server.master().tree() {
        let seen = fs::read_link(format!("/proc/{}/root", process.pid)).unwrap();
        assert_eq!(seen, root.canonicalize().unwrap(), "pid {}", process.pid);
        is(process, 65534, 65534, &[65534]);
    }
    assert_eq!(server.get("/loaded-by").ok(), "65534");
    assert_eq!(crate::harness::Client::unix(&server.path("app.sock")).get("/loaded-by").ok(), "65534");
}

#[test]
fn limits_hold_for_workers() {
    let Some(site) = site() else { return };
    let site = site
        .ini("limit-as = 4096\nlimit-nproc = 500\nrlimit-core = 0\nrlimit-stack = 4M:16M\nrlimit-fsize = unlimited")
        .ini("rlimit-memlock = 64K\nrlimit-cpu = 3600\nrlimit-data = 2G");
    let server = site.start();
    let limits = server.get("/").ok().to_owned();
    let of = |name: &str| -> Vec<String> {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).map(str::to_owned).collect()
    };
    assert_eq!(of("Max address space"), ["4294967296"; 2]);
    assert_eq!(of("Max processes"), ["500"; 2]);
    assert_eq!(of("Max core file size"), ["0"; 2]);
    assert_eq!(of("Max stack size"), ["4194304", "16777216"]);
    assert_eq!(of("Max locked memory"), ["65536"; 2]);
    assert_eq!(of("Max cpu time"), ["3600"; 2]);
    assert_eq!(of("Max data size"), ["2147483648"; 2]);
    let master = fs::read_to_string(format!("/proc/{}/limits", server.master().pid)).unwrap();
    assert!(!master.contains("4294967296"), "the master is not bound by them: {master}");
}

#[test]
fn workers_have_processors_of_their_own() {
    let all = Process::of(std::process::id() as i32).unwrap().status("Cpus_allowed_list").unwrap();
    let server = Site::code(APP).ini("processes = 2\ncpu-affinity = 1").start();
    assert_eq!(server.master().status("Cpus_allowed_list").unwrap(), all);
    for worker in server.workers() {
        let mine = worker.status("Cpus_allowed_list").unwrap();
        assert!(mine.parse::<u32>().is_ok(), "one processor: {mine}");
    }
    let shares: Vec<String> = server.workers().iter().map(|it| it.status("Cpus_allowed_list").unwrap()).collect();
    assert!(shares[0] != shares[1] || !all.contains(['-', ',']), "{shares:?} of {all}");
}

#[test]
fn what_can_t_be_is_told_with_its_place() {
    for (lines, words) in [
        ("uid = nobodyatall", &["uid: there is no user \"nobodyatall\"", "uwsgi.ini:4"][..]),
        ("gid = nogroupatall", &["gid: there is no group", "uwsgi.ini:4"]),
        ("add-gid = nogroupatall", &["add-gid: there is no group", "uwsgi.ini:4"]),
        ("immediate-uid = nobodyatall", &["immediate-uid: there is no user", "uwsgi.ini:4"]),
        ("cap = flying", &["cap: there is no capability \"flying\"", "uwsgi.ini:4"]),
        ("chroot = nowhere", &["chroot: nowhere", "No such file", "uwsgi.ini:4"]),
        ("rlimit-core = much", &["rlimit-core: \"much\"", "uwsgi.ini:4"]),
        ("rlimit-core = 2:1", &["more than the hard limit", "uwsgi.ini:4"]),
        ("immediate-uid = nobody\nuid = root", &["uid: only root can become \"root\"", "uwsgi.ini:5"]),
        ("immediate-uid = nobody\nchroot = /tmp", &["chroot: only root", "uwsgi.ini:5"]),
        ("immediate-uid = nobody\ncap = setuid", &["cap: only root", "uwsgi.ini:5"]),
    ] {
        let Some(site) = site() else { return };
        site.ini(lines).run().failed(1, words);
    }
}

#[test]
fn a_limit_that_is_not_permitted_ends_the_start() {
    let Some(site) = site() else { return };
    let site = site.ini("immediate-uid = nobody\nrlimit-core = 2M");
    site.write_ini();
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "ulimit -c 1024; exec \"$0\" --ini uwsgi.ini", env!("CARGO_BIN_EXE_ruwsgi")]);
    site.dress(&mut command);
    let words = ["rlimit-core: more than the hard limit allows", "uwsgi.ini:5"];
    Server::of(command, site).wait().failed(1, &words);
}

#[test]
fn root_without_a_user_is_told() {
    let Some(site) = site() else { return };
    let server = site.start();
    server.wait_for("running as root: uid names the user to run as");
}

#[test]
fn a_worker_holds_what_it_needs_and_its_programs_nothing_of_it() {
    let server = Site::code(APP).ini("processes = 2\nthreads = 2\nstats = 127.0.0.1:0\nmaster-fifo = fifo").start();
    let mine = Process::of(std::process::id() as i32).unwrap().descriptors();
    let worker = server.workers()[1];
    for held in worker.descriptors() {
        let known = ["socket:[", "pipe:[", "/memfd:ruwsgi-", "anon_inode:[event", "/dev/null"];
        let fits = known.iter().any(|kind| held.starts_with(kind)) || mine.contains(&held);
        assert!(fits, "a worker holds {held}: {:?}", worker.descriptors());
    }
    let count = |kind: &str| worker.descriptors().iter().filter(|held| held.starts_with(kind)).count();
    // The listener, its channel, two of the handover, and one that the other is a copy of.
    assert!(count("socket:[") <= 5, "{:?}", worker.descriptors());
    let programs = server.get("/fds");
    for kind in ["socket:", "memfd:", "anon_inode:"] {
        assert!(!programs.ok().contains(kind), "a program of the application holds a {kind}\n{}", programs.ok());
    }
}
