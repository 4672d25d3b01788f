//! Programs beside the workers: daemons that are started, started again and stopped, and jobs at times.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::harness::{Process, Server, Site, eventually, within};

const APP: &str = "
    def application(environ, start_response):
        start_response('200 OK', [])
        return [b'hello']
";

fn site(lines: &str) -> Site {
    Site::code(APP).ini(lines)
}

/// The process whose pid a file holds, as soon as it runs.
fn named(server: &Server, file: &str) -> Process {
    eventually(&format!("the process of {file}"), || {
        Process::of(fs::read_to_string(server.path(file)).ok()?.trim().parse().ok()?).filter(|it| it.alive())
    })
}

/// Another process than this one.
fn other(server: &Server, file: &str, former: Process) -> Process {
    eventually(&format!("another process in {file}"), || {
        let now = Process::of(fs::read_to_string(server.path(file)).ok()?.trim().parse().ok()?)?;
        (now != former && now.alive()).then_some(now)
    })
}

#[test]
fn a_daemon_runs_beside_the_workers_and_ends_after_them() {
    let server =
        site("attach-daemon = echo $$ > pid; trap 'echo ended > end; exit 0' TERM; while :; do sleep 0.1; done")
            .start();
    let daemon = named(&server, "pid");
    assert_eq!(server.get("/").ok(), "hello");
    let end = server.path("end");
    let log = {
        let mut server = server;
        server.signal(Signal::SIGTERM);
        let ended = server.wait_here();
        assert_eq!(ended.code, 0);
        assert_eq!(fs::read_to_string(&end).unwrap(), "ended\n");
        ended.log
    };
    assert!(!daemon.alive());
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text} is missing in\n{log}"));
    assert!(at("zygote (pid") < at(") started\n") && at(") done after") < at("is stopped with signal 15"), "{log}");
}

#[test]
fn one_that_ends_is_started_again_and_later_if_it_ends_at_once() {
    let server = site("attach-daemon = echo x >> runs; exit 3").start();
    let line = server.log.wait_for("exited with code 3");
    assert!(line.contains("daemon \"echo x >> runs; exit 3\"") && line.ends_with("started again in 1 s"), "{line}");
    server.log.wait_for("started again in 2 s");
    server.log.wait_for("started again in 4 s");
    assert_eq!(server.get("/").ok(), "hello");
    let runs = fs::read_to_string(server.path("runs")).unwrap().lines().count();
    assert!(runs <= 4, "{runs} starts");
}

#[test]
fn a_daemon_that_is_killed_is_back_at_once() {
    let server = site("attach-daemon = echo $$ > pid; exec sleep 1000").start();
    let first = named(&server, "pid");
    // What has lived for a while was no early death.
    within(Duration::from_millis(3_200), || None::<()>);
    first.signal(Signal::SIGKILL);
    let line = server.log.wait_for("killed by signal 9");
    assert!(line.ends_with("started again"), "{line}");
    other(&server, "pid", first);
}

#[test]
fn nothing_survives_a_killed_master() {
    let server = site("attach-daemon = echo $$ > pid; exec sleep 1000").start();
    let daemon = named(&server, "pid");
    server.signal(Signal::SIGKILL);
    daemon.wait_for_end("the daemon");
}

#[test]
fn one_that_does_not_end_is_killed_with_all_its_kin() {
    let mut server = site("attach-daemon = trap '' TERM; (echo $BASHPID; exec sleep 1000) & echo $! > child; echo $$ > pid; while :; do sleep 0.1; done\nreload-mercy = 1").start();
    let (daemon, child) = (named(&server, "pid"), named(&server, "child"));
    server.signal(Signal::SIGTERM);
    let ended = server.wait_here();
    assert_eq!(ended.code, 0);
    assert!(ended.log.contains("has not ended for 1 s: killed (reload-mercy)"), "{}", ended.log);
    daemon.wait_for_end("the daemon");
    child.wait_for_end("its child");
}

#[test]
fn the_end_of_a_control_daemon_is_the_end_of_the_instance() {
    let mut server = site("attach-control-daemon = while test ! -e end; do sleep 0.05; done").start();
    assert_eq!(server.get("/").ok(), "hello");
    server.site.write("end", "");
    let ended = server.wait_here();
    assert_eq!(ended.code, 0);
    assert!(ended.log.contains("controls this instance and has ended: the instance stops"), "{}", ended.log);
}

#[test]
fn a_reload_that_works_renews_daemons_and_one_that_fails_does_not() {
    let server = site("attach-daemon2 = cmd=trap 'echo hup >> heard\\, too; exit 0' HUP; echo $$ > pid; while :; do sleep 0.05; done,reloadsignal=1").start();
    let first = named(&server, "pid");
    server.site.write("app.py", "broken (");
    server.signal(Signal::SIGHUP);
    server.wait_for("goes on: ");
    assert!(first.alive(), "a reload that fails touches nothing");
    server.site.write("app.py", &crate::harness::dedent(APP));
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 3 is complete");
    other(&server, "pid", first);
    assert_eq!(fs::read_to_string(server.path("heard,")).unwrap(), "hup too\n");
}

#[test]
fn a_smart_daemon_outlives_the_server_and_is_found_again() {
    let lines = "smart-attach-daemon2 = own.pid exec sleep 1000\nsmart-attach-daemon = its.pid sh -c 'setsid sleep 1000 & echo $! > its.pid'";
    let server = site(lines).start();
    let (own, its) = (named(&server, "own.pid"), named(&server, "its.pid"));
    server.signal(Signal::SIGTERM);
    // Those two are left: the harness would wait for them.
    let end = server.master();
    end.wait_for_end("the server");
    assert!(own.alive() && its.alive(), "they go on");
    let next = site(lines);
    for file in ["own.pid", "its.pid"] {
        fs::copy(server.path(file), next.path(file)).unwrap();
    }
    let second = next.start();
    for process in [own, its] {
        second.log.wait_for(&format!("(pid {}) runs already", process.pid));
    }
    own.signal(Signal::SIGKILL);
    its.signal(Signal::SIGKILL);
    drop(server);
    // They are nobody's children: their pidfiles tell, in their time.
    let renewed = [other_within(&second, "own.pid", own), other_within(&second, "its.pid", its)];
    renewed.into_iter().for_each(|process| process.signal(Signal::SIGKILL));
}

fn other_within(server: &Server, file: &str, former: Process) -> Process {
    let found = within(Duration::from_secs(40), || {
        let now = Process::of(fs::read_to_string(server.path(file)).ok()?.trim().parse().ok()?)?;
        (now != former && now.alive()).then_some(now)
    });
    found.unwrap_or_else(|| panic!("no other process in {file}"))
}

#[test]
fn one_that_forks_away_is_not_lost_and_one_that_does_not_is_told() {
    let lines = "smart-attach-daemon = away.pid,2 sh -c 'setsid sleep 1000 & echo $! > away.pid'\n\
                 smart-attach-daemon = stays.pid,2 exec sleep 1000";
    let server = site(lines).start();
    let away = named(&server, "away.pid");
    server.wait_for("has not gone into the background for 2 s");
    away.signal(Signal::SIGKILL);
    let again = other(&server, "away.pid", away);
    assert_eq!(server.get("/").ok(), "hello");
    again.signal(Signal::SIGKILL);
    for process in server.master().tree() {
        if process.status("Name").is_some_and(|name| name == "sleep") {
            process.signal(Signal::SIGKILL);
        }
    }
}

#[test]
fn a_touch_a_folder_and_a_user_belong_to_a_daemon() {
    let user = if nix::unistd::geteuid().is_root() { ",uid=65534,gid=65534" } else { "" };
    let site = site(
        "attach-daemon2 = cmd=pwd > ../where; echo $$ > ../pid; id -u > ../who; exec sleep 1000,chdir=sub,touch=again;more",
    );
    fs::create_dir(site.path("sub")).unwrap();
    let server = site.ini(&format!("attach-daemon2 = cmd=exec sleep 999{user}")).start();
    let first = named(&server, "pid");
    eventually("who it is", || fs::read_to_string(server.path("who")).ok().filter(|text| !text.is_empty()));
    assert!(fs::read_to_string(server.path("where")).unwrap().ends_with("/sub\n"));
    if !user.is_empty() {
        let other = eventually("the other daemon", || {
            server
                .master()
                .children()
                .into_iter()
                .find(|child| child.status("Uid").is_some_and(|uid| uid.starts_with("65534")))
        });
        assert!(other.alive());
    }
    server.site.write("again", "");
    other(&server, "pid", first);
}

#[test]
fn a_daemon_holds_nothing_of_the_server_and_has_the_environment() {
    let server =
        site("env = SHOP=open\nattach-daemon = ls -l /proc/self/fd > held; echo $SHOP > said; exec sleep 1000").start();
    let text =
        eventually("what it said", || fs::read_to_string(server.path("said")).ok().filter(|text| !text.is_empty()));
    assert_eq!(text, "open\n");
    let held = fs::read_to_string(server.path("held")).unwrap();
    assert!(!["socket:", "memfd:", "anon_inode:"].iter().any(|kind| held.contains(kind)), "{held}");
}

#[test]
fn a_job_runs_at_its_time_and_statistics_tell() {
    let server = site("stats = 127.0.0.1:0\nattach-daemon = exec sleep 1000\ncron = -1 -1 -1 -1 -1 echo ran >> ran; exit 7\ncron2 = minute=-1,hour=-1 echo too >> ran\ncron = 0 0 31 2 -1 echo never >> ran").start();
    let ran =
        eventually("the jobs", || fs::read_to_string(server.path("ran")).ok().filter(|text| text.lines().count() >= 2));
    assert!(ran.contains("ran\n") && ran.contains("too\n") && !ran.contains("never"), "{ran}");
    let line = server.log.wait_for("exited with code 7");
    assert!(line.starts_with("warning: cron (pid "), "{line}");
    server.log.wait_for("cron2 (pid ");
    let line = server.wait_for("stats at ");
    let address = line.split_once("stats at ").unwrap().1.parse().unwrap();
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut std::net::TcpStream::connect::<std::net::SocketAddr>(address).unwrap(), &mut text)
        .unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&shown["daemons"][0]["cmd"], &shown["daemons"][0]["respawns"]), (&"exec sleep 1000".into(), &0.into()));
    assert_eq!(
        (&shown["crons"][2]["command"], &shown["crons"][0]["minute"]),
        (&"echo too >> ran".into(), &(-1).into())
    );
    assert!(shown["crons"][0]["started_at"].as_u64().unwrap() > 1_700_000_000);
}

#[test]
fn a_job_that_takes_too_long_is_killed() {
    let server = site("cron = -1 -1 -1 -1 -1 echo $$ > pid; exec sleep 1000\ncron-harakiri = 1").start();
    let job = named(&server, "pid");
    server.log.wait_for("HARAKIRI ON CRON");
    job.wait_for_end("the job");
}

#[test]
fn a_job_that_still_runs_is_told_and_if_unique_not_started_twice() {
    let server = site("unique-cron = -1 -1 -1 -1 -1 echo $$ >> one; exec sleep 1000\ncron = -1 -1 -1 -1 -1 echo $$ >> two; exec sleep 1000").start();
    named(&server, "one");
    let told = within(Duration::from_secs(80), || {
        let log = server.log.text();
        (log.contains(": not started") && log.contains(": started beside it")).then_some(log)
    });
    assert!(told.is_some(), "{}", server.log.text());
    let count = |name: &str| fs::read_to_string(server.path(name)).unwrap().lines().count();
    eventually("the second one", || (count("two") == 2).then_some(()));
    assert_eq!(count("one"), 1);
    for name in ["one", "two"] {
        for pid in fs::read_to_string(server.path(name)).unwrap().lines() {
            Process::of(pid.parse().unwrap()).into_iter().for_each(|process| process.signal(Signal::SIGKILL));
        }
    }
}

#[test]
fn a_job_goes_on_when_the_instance_ends() {
    let mut server =
        site("cron = -1 -1 -1 -1 -1 echo $$ > pid; while test ! -e go; do sleep 0.05; done; echo done > result")
            .start();
    let job = named(&server, "pid");
    server.signal(Signal::SIGTERM);
    server.master().wait_for_end("the server");
    assert!(job.alive());
    server.site.write("go", "");
    eventually("the job is done", || fs::read_to_string(server.path("result")).ok().filter(|text| text == "done\n"));
    assert!(server.wait_here().log.contains(") goes on: echo $$"));
}

#[test]
fn what_is_no_daemon_and_no_job_is_told_with_its_place() {
    for (line, word) in [
        ("attach-daemon =", "no value"),
        ("smart-attach-daemon = /run/a.pid", "is not PIDFILE[,SECONDS] COMMAND"),
        ("attach-daemon2 = pidfile=/run/a.pid", "there is no command="),
        ("attach-daemon2 = cmd=a,colour=red", "there is no key \"colour\""),
        ("attach-daemon2 = cmd=a,stopsignal=99", "stopsignal: \"99\""),
        ("cron = 61 -1 -1 -1 -1 x", "minute: 61 never comes"),
        ("cron = * * * * * x", "minute: \"*\" is not a number"),
        ("unique-cron = 1 2 3", "is not MINUTE HOUR DAY MONTH WEEKDAY COMMAND"),
        ("cron2 = second=1 x", "there is no key \"second\""),
    ] {
        site(line).run().failed(1, &[line.split(' ').next().unwrap(), word, "uwsgi.ini:4"]);
    }
}

#[test]
fn a_daemon_that_can_t_be_started_is_tried_again() {
    let server = site("attach-daemon2 = cmd=true,chdir=/no/such/folder").start();
    let line = server.log.wait_for("can't be started");
    assert!(line.contains("No such file or directory (uwsgi.ini:4): tried again in 1 s"), "{line}");
    server.log.wait_for("tried again in 2 s");
    assert_eq!(server.stop().code, 0);
}
