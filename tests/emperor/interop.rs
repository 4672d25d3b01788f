//! Real uWSGI: as a vassal of this emperor, and as the emperor of instances of this server. The pipe, the environment and
//! the command line are the same.

use std::process::Command;

use nix::sys::signal::Signal;

use super::*;
use crate::harness::apps;

/// A vassal that both servers understand.
fn both(socket: &str) -> String {
    vassal(socket) + "master = true\nheartbeat = 1\nvacuum = true\n"
}

#[test]
fn a_uwsgi_is_a_vassal_of_this_emperor() {
    let Some(uwsgi) = apps::uwsgi() else { return };
    let site = empire("emperor-stats = stats.sock").ini(&format!("emperor-wrapper = {}", uwsgi.display()));
    put(&site, "a.ini", &both("a.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
    server.log.wait("loyalty", |log, _| {
        log.contains("vassal a.ini (pid").then(|| log.contains("is now loyal").then_some(()))?
    });
    let master = masters(&server);
    // A reload is a graceful one of the same process.
    put(&server.site, "a.ini", &(both("a.sock") + "env = A=1\n"));
    wait_ready(&server, "a.ini", 2);
    server.wait_for("gracefully (RE)spawned uWSGI master process");
    assert_eq!(masters(&server), master);
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    server.wait_for("graceful shutdown triggered");
    server.wait_for("vassal a.ini is removed");
    wait_alone(&server);
}

#[test]
fn a_uwsgi_sleeps_until_somebody_connects() {
    let Some(uwsgi) = apps::uwsgi() else { return };
    let site = empire("emperor-on-demand-extension = .socket").ini(&format!("emperor-wrapper = {}", uwsgi.display()));
    put(&site, "a.ini.socket", "../a.sock");
    put(
        &site,
        "a.ini",
        "[uwsgi]\nprotocol = http\nmaster = true\nwsgi-file = ../app.py\nidle = 1\ndie-on-idle = true\n",
    );
    let server = site.launch();
    for round in 1..3 {
        server.wait_for("vassal a.ini sleeps");
        assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
        wait_ready(&server, "a.ini", round);
        server.log.wait_for_nth("exited with code 0: it is idle", round);
    }
}

#[test]
fn a_uwsgi_that_is_killed_leaves_no_worker_behind() {
    let Some(uwsgi) = apps::uwsgi() else { return };
    let site = empire("").ini(&format!("emperor-wrapper = {}", uwsgi.display()));
    put(&site, "a.ini", &both("a.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    let tree: Vec<Process> = masters(&server).into_iter().flat_map(Process::tree).collect();
    assert_eq!(tree.len(), 2, "a master and a worker");
    tree[0].signal(Signal::SIGKILL);
    for process in tree {
        process.wait_for_end("a process of uWSGI");
    }
    wait_ready(&server, "a.ini", 2);
}

/// A real uWSGI as the emperor of this server's vassals.
fn under_uwsgi(site: Site, options: &[&str]) -> Option<Server> {
    let mut command = Command::new(apps::uwsgi()?);
    command.args(["--emperor", "v", "--emperor-freq", "1", "--emperor-wrapper", env!("CARGO_BIN_EXE_ruwsgi")]);
    command.args(options);
    site.dress(&mut command);
    Some(Server::of(command, site))
}

#[test]
fn an_instance_is_a_vassal_of_a_uwsgi() {
    let site = empire("");
    put(&site, "a.ini", &(vassal("a.sock") + "heartbeat = 1\nhook-emperor-stop = exec:echo end >> ../ends\n"));
    let Some(server) = under_uwsgi(site, &["--emperor-required-heartbeat", "5"]) else { return };
    server.wait_for("[emperor] vassal a.ini has been spawned");
    server.wait_for("[emperor] vassal a.ini is ready to accept requests");
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
    server.wait_for("[emperor] vassal a.ini is now loyal");
    let worker = ask(&server, "a.sock", "/pid").ok().to_owned();
    // uWSGI compares times in whole seconds.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(2);
    std::fs::File::options().write(true).open(server.path("v/a.ini")).unwrap().set_modified(later).unwrap();
    server.wait_for("[emperor] reload the uwsgi instance a.ini");
    server.wait_for("generation 2 is complete");
    assert_ne!(ask(&server, "a.sock", "/pid").ok(), worker);
    server.log.wait_for_nth("[emperor] vassal a.ini is ready to accept requests", 2);
    // A stop of uWSGI's is a graceful one here.
    let mut client = Client::unix(&server.path("a.sock"));
    client.send("GET /gate/one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    server.wait_for("waiting at one");
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    server.wait_for("stopping: 1 request in flight");
    std::fs::write(server.path("v/one"), "").unwrap();
    assert_eq!(client.answer().ok(), "behind one");
    server.wait_for("[emperor] removed uwsgi instance a.ini");
    assert_eq!(std::fs::read_to_string(server.path("ends")).unwrap(), "end\n");
    assert!(!server.log.text().contains("sent no heartbeat"));
}

#[test]
fn an_instance_under_a_uwsgi_sleeps_and_ends_with_it() {
    let site = empire("");
    put(&site, "a.ini.socket", &site.path("a.sock").display().to_string());
    put(&site, "a.ini", "[uwsgi]\nprotocol = http\nwsgi-file = ../app.py\nidle = 1\ndie-on-idle = true\n");
    put(&site, "b.ini", &(vassal("b.sock") + "hook-emperor-lost = exec:echo lost >> ../ends\n"));
    let Some(server) = under_uwsgi(site, &["--emperor-on-demand-extension", ".socket"]) else { return };
    server.wait_for("a.ini -> \"on demand\" instance detected");
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
    server.wait_for("[emperor] bringing back instance a.ini to on-demand mode");
    server.wait_for("a.ini -> back to \"on demand\" mode");
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
    server.wait_for("[emperor] vassal b.ini is ready to accept requests");
    let tree = server.master().tree();
    // Nobody outlives an emperor that is killed, and the hook of its loss runs.
    server.signal(Signal::SIGKILL);
    for process in tree {
        process.wait_for_end("a process of a vassal");
    }
    assert_eq!(std::fs::read_to_string(server.path("ends")).unwrap(), "lost\n");
}

#[test]
fn a_configuration_comes_through_the_pipe_of_an_emperor() {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    let site = empire("");
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let text = "[uwsgi]\nhttp-socket = pushed.sock\nwsgi-file = app.py\n";
    let packet = [&[115_u8, text.len() as u8, 0, 0][..], text.as_bytes()].concat();
    ours.write_all(&packet).unwrap();
    nix::fcntl::fcntl(&theirs, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    let site = site.env("UWSGI_EMPEROR_FD_CONFIG", theirs.as_raw_fd().to_string());
    let server = site.launch_with(["--ini", "emperor://pushed"]);
    server.wait_for_workers(1);
    assert_eq!(ask(&server, "pushed.sock", "/").ok(), "hello");
    drop(theirs);
    let refused = Site::empty().run_with(["--ini", "emperor://nobody"]);
    assert!(refused.log.contains("no emperor has pushed it: UWSGI_EMPEROR_FD_CONFIG is not set"), "{}", refused.log);
}
