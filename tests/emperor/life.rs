//! The life of a vassal: it starts, reloads and stops with its file, fails, is waited for, and never outlives its emperor.

use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use super::*;
use crate::harness::under_load;

#[test]
fn a_file_that_comes_changes_and_goes_is_a_vassal_that_starts_reloads_and_stops() {
    let server = empire("").launch();
    server.wait_for("the emperor governs 0 vassals");
    put(&server.site, "a.ini", &vassal("a.sock"));
    wait_ready(&server, "a.ini", 1);
    let first = ask(&server, "a.sock", "/pid").ok().to_owned();
    server.wait_for("vassal a.ini");
    let masters = masters(&server);
    put(&server.site, "a.ini", &(vassal("a.sock") + "env = A=2\n"));
    wait_ready(&server, "a.ini", 2);
    eventually("the new worker answers", || (ask(&server, "a.sock", "/pid").ok() != first).then_some(()));
    assert_eq!(super::masters(&server), masters, "the same master");
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    server.wait_for("vassal a.ini is removed");
    wait_alone(&server);
    assert!(!server.path("a.sock").exists());
    assert_eq!(server.stop().last_line(), "stopped");
}

#[test]
fn a_touch_reloads_without_a_lost_request() {
    let site = empire("");
    put(
        &site,
        "a.ini",
        "[uwsgi]\nhttp-socket = 127.0.0.1:0\nwsgi-file = ../app.py\nprocesses = 2\ndisable-logging = true\n",
    );
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    let answered = under_load(&server, || {
        for round in 2..4 {
            std::fs::File::options()
                .write(true)
                .open(server.path("v/a.ini"))
                .unwrap()
                .set_modified(std::time::SystemTime::now())
                .unwrap();
            wait_ready(&server, "a.ini", round);
        }
    });
    assert!(answered > 0);
}

#[test]
fn a_broken_file_leaves_the_running_vassal_and_says_why() {
    let site = empire("");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    let worker = ask(&server, "a.sock", "/pid").ok().to_owned();
    put(&server.site, "a.ini", &(vassal("a.sock") + "processes = many\n"));
    let line = server.wait_for("failed, generation 1 goes on");
    assert!(line.starts_with("[a.ini] error: ") && line.contains("\"many\" is not a number (a.ini:4)"), "{line}");
    assert_eq!(ask(&server, "a.sock", "/pid").ok(), worker);
    put(&server.site, "a.ini", "");
    server.wait_for("vassal a.ini: it is empty; the one that runs goes on");
    put(&server.site, "a.ini", &(vassal("a.sock") + "processes = 2\n"));
    wait_ready(&server, "a.ini", 2);
}

#[test]
fn who_fails_waits_longer_each_time_and_harms_nobody() {
    let site = empire("emperor-throttle = 100\nemperor-max-throttle = 400");
    put(&site, "good.ini", &vassal("good.sock"));
    put(&site, "bad.ini", "[uwsgi]\nhttp-socket = ../bad.sock\nmodule = nothing_like_it\n");
    let server = site.launch();
    wait_ready(&server, "good.ini", 1);
    let waits: Vec<String> = eventually("four deaths", || {
        let log = server.log.text();
        let deaths = log.lines().filter(|line| line.contains("vassal bad.ini") && line.contains("exited with code 22"));
        let waits: Vec<String> = deaths
            .filter_map(|line| Some(line.split_once("next start in ")?.1.split([';', '(']).next()?.trim().to_owned()))
            .collect();
        (waits.len() >= 4).then_some(waits)
    });
    assert_eq!(waits[..4], ["100 ms", "200 ms", "400 ms", "400 ms"]);
    assert!(vassals(&server, ["list"]).contains("nothing_like_it"), "the reason is kept");
    assert_eq!(ask(&server, "good.sock", "/").ok(), "hello");
    // A mended file does not wait.
    put(&server.site, "bad.ini", &vassal("bad.sock"));
    wait_ready(&server, "bad.ini", 1);
}

#[test]
fn a_port_that_another_has_is_waited_for() {
    let site = empire("emperor-throttle = 100\nemperor-max-throttle = 100");
    put(&site, "a.ini", &vassal("one.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    put(&server.site, "b.ini", &vassal("one.sock"));
    let line = server.wait_for("vassal b.ini (pid ");
    assert!(line.contains("started"), "{line}");
    server.wait_for("one.sock is in use: another server listens on it (b.ini:2)");
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    wait_ready(&server, "b.ini", 1);
    assert_eq!(ask(&server, "one.sock", "/").ok(), "hello");
}

#[test]
fn requests_in_flight_are_finished_when_the_file_goes_and_when_the_emperor_stops() {
    let site = empire("");
    put(&site, "a.ini", &vassal("a.sock"));
    put(&site, "b.ini", &vassal("b.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    wait_ready(&server, "b.ini", 1);
    let get = |gate: &str| format!("GET /gate/{gate} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let (mut one, mut two) = (Client::unix(&server.path("a.sock")), Client::unix(&server.path("b.sock")));
    one.send(get("one"));
    two.send(get("two"));
    server.wait_for("[a.ini] waiting at one");
    server.wait_for("[b.ini] waiting at two");
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    server.wait_for("stops: its file is gone");
    std::fs::write(server.path("v/one"), "").unwrap();
    assert_eq!(one.answer().ok(), "behind one");
    server.signal(Signal::SIGTERM);
    server.wait_for("vassal b.ini (pid");
    server.log.wait("the emperor stops", |log, _| log.contains("stops: the emperor stops").then_some(()));
    std::fs::write(server.path("v/two"), "").unwrap();
    assert_eq!(two.answer().ok(), "behind two");
    assert_eq!(server.wait().code, 0);
}

#[test]
fn nobody_outlives_an_emperor_that_is_killed_and_requests_in_flight_are_finished() {
    let site = empire("");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    let tree: Vec<Process> = masters(&server).into_iter().flat_map(Process::tree).collect();
    assert!(tree.len() >= 3, "a master, a zygote and a worker");
    let mut client = Client::unix(&server.path("a.sock"));
    client.send("GET /gate/one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    server.wait_for("[a.ini] waiting at one");
    server.signal(Signal::SIGKILL);
    std::fs::write(server.path("v/one"), "").unwrap();
    assert_eq!(client.answer().ok(), "behind one");
    for process in tree {
        process.wait_for_end("a process of the vassal");
    }
    assert!(!server.path("a.sock").exists());
}

#[test]
fn who_does_not_stop_is_killed_with_all_that_is_his() {
    let script = "#!/bin/sh\ntrap '' TERM INT HUP\necho here\nsleep 1000 &\nwhile :; do wait; done\n";
    let site = empire("emperor-curse-tolerance = 1");
    let path = site.write("stubborn", script);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let site = site.ini(&format!("emperor-wrapper = {}", path.display()));
    put(&site, "a.ini", "[uwsgi]\n");
    let server = site.launch();
    server.wait_for("[a.ini] here");
    let tree: Vec<Process> = eventually("the wrapper and its child", || {
        let tree: Vec<Process> = masters(&server).into_iter().flat_map(Process::tree).collect();
        (tree.len() == 2).then_some(tree)
    });
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    let line = server.wait_for("has not stopped for 1 s: killed");
    assert!(line.contains("vassal a.ini (pid "), "{line}");
    server.wait_for("vassal a.ini is removed");
    for process in tree {
        process.wait_for_end("the wrapper or its child");
    }
}

#[test]
fn a_vassal_that_is_exiled_stays_away_until_its_file_changes() {
    let site = empire("emperor-throttle = 50");
    let path = site.write("leave", "#!/bin/sh\necho error: not today\nexit 26\n");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let site = site.ini(&format!("emperor-wrapper-override = {}", path.display()));
    put(&site, "a.ini", "[uwsgi]\n");
    let server = site.launch();
    server.wait_for("vassal a.ini (pid");
    server.wait_for("wants no other start (exit code 26)");
    assert_eq!(state(&server, "a.ini"), "exiled");
    put(&server.site, "a.ini", "[uwsgi]\n# again\n");
    server.log.wait_for_nth("wants no other start (exit code 26)", 2);
}

#[test]
fn a_heart_that_has_beaten_must_go_on_beating() {
    let site = empire("emperor-required-heartbeat = 1\nemperor-throttle = 100");
    put(&site, "a.ini", &(vassal("a.sock") + "heartbeat = 1\n"));
    put(&site, "b.ini", &(vassal("b.sock") + "heartbeat = 1\n"));
    let server = site.ini("emperor-required-heartbeat = 4").launch();
    wait_ready(&server, "a.ini", 1);
    wait_ready(&server, "b.ini", 1);
    let pid: i32 = server.log.wait("the pid of a.ini", |log, _| {
        log.lines().find_map(|line| line.strip_prefix("vassal a.ini (pid ")?.split_once(") ready")?.0.parse().ok())
    });
    Process::of(pid).unwrap().signal(Signal::SIGSTOP);
    let line = server.wait_for("has sent no heartbeat for");
    assert!(line.contains("vassal a.ini"), "{line}");
    wait_ready(&server, "a.ini", 2);
    assert!(!server.log.text().contains("b.ini (pid 1) has sent no"), "the other one goes on");
}

#[test]
fn what_a_vassal_is_told_at_its_start_is_what_uwsgi_tells() {
    let code = "import os\ndef application(e, start):\n    start('200 OK', [])\n    \
                return [';'.join([os.environ.get('WHO', '-'), os.environ.get('UWSGI_EMPEROR_FD', 'no pipe'), \
                os.environ.get('MORE', '-'), os.getcwd()]).encode()]\n";
    let site =
        empire("vassal-set = wsgi-file=../who.py\nvassals-include = ../more.ini\nemperor-extra-extension = .conf");
    let site = site.env("UWSGI_VASSAL_HTTP_SOCKET", "../env.sock").env("UWSGI_VASSAL_ENV", "WHO=vassal");
    site.write("who.py", code);
    site.write("more.ini", "[uwsgi]\nenv = MORE=included\n");
    put(&site, "a.conf", "[uwsgi]\nprocesses = 1\n");
    let server = site.launch();
    wait_ready(&server, "a.conf", 1);
    let folder = server.path("v").canonicalize().unwrap();
    assert_eq!(ask(&server, "env.sock", "/").ok(), format!("vassal;no pipe;included;{}", folder.display()));
}

#[test]
fn a_file_that_is_executable_says_the_configuration_where_that_is_wanted() {
    let site = empire("emperor-magic-exec = true");
    let path = put(
        &site,
        "it's a.ini",
        "#!/bin/sh\necho '[uwsgi]'\necho 'http-socket = ../a.sock'\necho 'wsgi-file = ../app.py'\n",
    );
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = site.launch();
    wait_ready(&server, "it's a.ini", 1);
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
}

#[test]
fn hooks_run_in_the_vassal_and_in_the_emperor() {
    let site = empire(
        "vassals-start-hook = echo start >> ../hooks; echo\nvassals-stop-hook = echo stop >> hooks; echo\n\
         hook-as-vassal = write:../hook vassal\nexec-as-vassal = echo exec-as-vassal $UWSGI_EMPEROR_FD >> ../hooks\n\
         hook-as-emperor = exec:echo emperor $UWSGI_VASSAL_CONFIG $UWSGI_VASSAL_PID >> as-emperor",
    );
    put(
        &site,
        "a.ini",
        &(vassal("a.sock")
            + "hook-emperor-start = exec:echo sworn >> ../sworn\nhook-emperor-stop = exec:echo end >> ../sworn\n"),
    );
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    let pid = masters(&server)[0].pid;
    let read = |name: &str| std::fs::read_to_string(server.path(name)).unwrap_or_default();
    eventually("the emperor's hook", || (read("as-emperor") == format!("emperor a.ini {pid}\n")).then_some(()));
    assert_eq!(read("hook"), "vassal");
    let hooks = read("hooks");
    assert!(
        hooks.starts_with("start\nexec-as-vassal ") && hooks.trim_end().chars().last().unwrap().is_ascii_digit(),
        "{hooks}"
    );
    std::fs::remove_file(server.path("v/a.ini")).unwrap();
    eventually("the stop hook", || read("hooks").ends_with("stop\n").then_some(()));
    eventually("the vassal's own hooks", || (read("sworn") == "sworn\nend\n").then_some(()));
}

#[test]
fn a_hook_that_fails_ends_the_start_and_is_told() {
    let site = empire("emperor-throttle = 100\nhook-as-vassal = write:/nonexistent/file x");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    let line = server.wait_for("[a.ini] error: hook-as-vassal");
    assert!(line.contains("No such file") && line.contains("uwsgi.ini:6"), "{line}");
    server.log.wait_for_nth("[a.ini] error: hook-as-vassal", 2);
    let failed = empire("hook-as-vassal = dance:x").run();
    failed.failed(1, &["hook-as-vassal", "no action \"dance\"", "uwsgi.ini:5"]);
}

#[test]
fn an_emperor_reloads_its_own_configuration_and_all_vassals() {
    let site = empire("");
    put(&site, "a.ini", &vassal("a.sock"));
    let mut server = site.launch();
    wait_ready(&server, "a.ini", 1);
    let master = masters(&server);
    std::fs::create_dir(server.path("w")).unwrap();
    std::fs::write(server.path("w/b.ini"), vassal("b.sock")).unwrap();
    let text = std::fs::read_to_string(server.path("uwsgi.ini")).unwrap();
    server.site.write("uwsgi.ini", &(text.clone() + "emperor = w\n"));
    server.signal(Signal::SIGHUP);
    wait_ready(&server, "b.ini", 1);
    wait_ready(&server, "a.ini", 2);
    assert!(masters(&server).contains(&master[0]), "no vassal was started anew");
    // A broken one changes nothing.
    server.site.write("uwsgi.ini", &(text + "emperor-throttle = soon\nstrict = true\n"));
    server.signal(Signal::SIGHUP);
    let line = server.wait_for("reload: the emperor goes on as it was");
    assert!(line.contains("emperor-throttle"), "{line}");
    assert_eq!(ask(&server, "b.sock", "/").ok(), "hello");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_here().code, 0);
}

#[test]
fn an_emperor_may_have_emperors() {
    let site = empire("");
    std::fs::create_dir(site.path("w")).unwrap();
    std::fs::write(site.path("w/leaf.ini"), vassal("leaf.sock")).unwrap();
    put(&site, "sub.ini", "[uwsgi]\nemperor = ../w\nemperor-freq = 3600\n");
    let server = site.launch();
    server.wait_for("[sub.ini] [leaf.ini] worker 1");
    server.wait_for("vassal sub.ini (pid");
    eventually("the leaf answers", || server.path("leaf.sock").exists().then_some(()));
    assert_eq!(ask(&server, "leaf.sock", "/").ok(), "hello");
    wait_state(&server, "sub.ini", "loyal");
    std::fs::remove_file(server.path("v/sub.ini")).unwrap();
    server.wait_for("vassal sub.ini is removed");
    wait_alone(&server);
    assert!(!server.path("leaf.sock").exists());
}

#[test]
fn a_server_may_have_an_emperor_beside_its_workers() {
    let site = empire("http-socket = main.sock\nwsgi-file = app.py");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    server.wait_for("worker 1 (pid");
    wait_ready(&server, "a.ini", 1);
    assert_eq!((ask(&server, "main.sock", "/").ok(), ask(&server, "a.sock", "/").ok()), ("hello", "hello"));
    let emperor = |server: &Server| {
        let children = server.master().children();
        children.into_iter().find(|child| {
            std::fs::read_to_string(format!("/proc/{}/cmdline", child.pid)).is_ok_and(|it| it.contains("--ini"))
        })
    };
    // It is replaced when it dies, and its vassals with it.
    emperor(&server).unwrap().signal(Signal::SIGKILL);
    server.wait_for("killed by signal 9: another one in 1 s");
    wait_ready(&server, "a.ini", 2);
    let tree = server.master().tree();
    // And nobody outlives the master.
    server.signal(Signal::SIGKILL);
    for process in tree {
        process.wait_for_end("a process of the emperor or of a vassal");
    }
}

#[test]
fn a_server_with_an_emperor_stops_both() {
    let site = empire("http-socket = main.sock\nwsgi-file = app.py");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    server.wait_for("worker 1 (pid");
    wait_ready(&server, "a.ini", 1);
    let ended = server.stop();
    assert!(ended.log.contains("vassal a.ini") && ended.log.contains("stops: the emperor stops"), "{}", ended.log);
}

#[test]
fn a_daemon_that_is_a_vassal_stays_with_its_emperor() {
    let site = empire("");
    put(&site, "a.ini", &(vassal("a.sock") + "daemonize = ../a.log\n"));
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    assert_eq!(masters(&server).len(), 1);
    assert_eq!(ask(&server, "a.sock", "/").ok(), "hello");
    let log = std::fs::read_to_string(server.path("a.log")).unwrap();
    assert!(log.contains("this is a vassal"), "{log}");
}

#[test]
fn an_emperor_may_be_killed_in_the_middle_of_anything() {
    let server = empire("emperor-throttle = 20\nemperor-on-demand-extension = .socket").launch();
    server.wait_for("the emperor governs");
    let text = |socket: &str, number: usize| vassal(socket) + &format!("env = N={number}\n");
    for number in 0..12 {
        let name = format!("{}.ini", number % 4);
        put(&server.site, &name, &text(&format!("{}.sock", number % 4), number));
        put(&server.site, "bad.ini", &format!("[uwsgi]\nmodule = none{number}\nhttp-socket = ../bad.sock\n"));
        if number % 3 == 0 {
            let _ = std::fs::remove_file(server.path("v").join(format!("{}.ini", (number + 2) % 4)));
        }
    }
    // Some start, some reload, some stop, one fails: whatever it is, it is not finished.
    server.wait_for("vassal bad.ini (pid");
    let tree = server.master().tree();
    server.signal(Signal::SIGKILL);
    for process in tree {
        process.wait_for_end("a process of a vassal");
    }
    // Another one finds nothing in its way.
    let again = server.site.command(["--ini", "uwsgi.ini"]);
    let again = Server::of(again, Site::empty());
    again.wait_for("vassal 3.ini (pid");
    eventually("a vassal answers", || {
        (server.path("3.sock").exists() && Client::unix(&server.path("3.sock")).get("/").status == 200).then_some(())
    });
}

#[test]
fn an_emperor_is_a_daemon_with_pidfiles_like_any_server() {
    let site = empire("daemonize = emperor.log\npidfile = one.pid\nsafe-pidfile = two.pid\nprocesses = 4");
    put(&site, "a.ini", &vassal("a.sock"));
    let started = site.run();
    assert_eq!(started.code, 0, "{}", started.log);
    let read = |name: &str| std::fs::read_to_string(site.path(name)).unwrap_or_default();
    let pid: i32 = eventually("both pidfiles", || {
        (read("one.pid") == read("two.pid")).then(|| read("one.pid").trim().parse().ok())?
    });
    let emperor = Process::of(pid).unwrap();
    eventually("the vassal answers", || {
        (site.path("a.sock").exists() && Client::unix(&site.path("a.sock")).get("/").status == 200).then_some(())
    });
    let log = read("emperor.log");
    assert!(
        log.contains("warning: processes: an emperor serves nothing itself") && log.contains("(uwsgi.ini:8)"),
        "{log}"
    );
    let tree = emperor.tree();
    let stopped = site.run_with(["--stop", "one.pid"]);
    assert_eq!(stopped.code, 0, "{}", stopped.log);
    for process in tree {
        process.wait_for_end("the emperor or its vassal");
    }
    assert!(!site.path("one.pid").exists() && !site.path("two.pid").exists() && !site.path("a.sock").exists());
}

#[test]
fn routers_and_an_emperor_go_together() {
    let site = empire("http = 127.0.0.1:0\nhttp-to = a.sock");
    put(&site, "a.ini", "[uwsgi]\nsocket = ../a.sock\nwsgi-file = ../app.py\n");
    let server = site.launch();
    wait_ready(&server, "a.ini", 1);
    let address = server.log.wait("the router's address", |log, _| {
        let line = log.lines().find(|line| line.starts_with("http on 127.0.0.1:"))?;
        line.split(' ').nth(2)?.parse().ok()
    });
    assert_eq!(Client::tcp(address).get("/").ok(), "hello");
    let ended = server.stop();
    assert!(ended.log.contains("vassal a.ini") && ended.log.contains("stops: the emperor stops"), "{}", ended.log);
}

#[test]
fn a_second_signal_hurries_the_emperor_beside_workers_too() {
    let site = empire("http-socket = main.sock\nwsgi-file = app.py");
    put(&site, "a.ini", &vassal("a.sock"));
    let server = site.launch();
    server.wait_for("worker 1 (pid");
    wait_ready(&server, "a.ini", 1);
    let mut client = Client::unix(&server.path("a.sock"));
    client.send("GET /gate/never HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at never");
    server.signal(Signal::SIGTERM);
    server.wait_for("stops: the emperor stops");
    // Its vassal would wait for the request.
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn privileges_that_can_t_go_end_the_server_and_its_emperor() {
    if !nix::unistd::geteuid().is_root() {
        return crate::harness::apps::skip("only root has privileges to give up");
    }
    let site = empire("http-socket = main.sock\nwsgi-file = app.py\nuid = nobody\ndrop-after-apps = true");
    put(&site, "a.ini", &vassal("a.sock"));
    let ended = site.ini("hook-as-user = exec:false").run();
    ended.failed(1, &["hook-as-user"]);
    assert!(!ended.log.contains("worker 1 (pid"), "{}", ended.log);
}

#[test]
fn an_emperor_that_is_wanted_again_comes_when_the_former_one_is_gone() {
    let site = empire("");
    put(&site, "a.ini", &vassal("a.sock"));
    let with = "[uwsgi]\nhttp-socket = main.sock\nwsgi-file = app.py\nemperor = v\nemperor-freq = 3600\n";
    let server = site.ini("http-socket = main.sock\nwsgi-file = app.py").launch();
    // Its own, and that of the vassal.
    server.log.wait_for_nth("started after", 2);
    wait_ready(&server, "a.ini", 1);
    let mut client = Client::unix(&server.path("a.sock"));
    client.send("GET /gate/gate HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    server.site.write("uwsgi.ini", "[uwsgi]\nhttp-socket = main.sock\nwsgi-file = app.py\n");
    server.signal(Signal::SIGHUP);
    server.wait_for("stops: the emperor stops");
    server.site.write("uwsgi.ini", with);
    server.signal(Signal::SIGHUP);
    server.log.wait_for_nth("is complete after", 2);
    std::fs::write(server.path("v/gate"), "").unwrap();
    assert_eq!(client.answer().ok(), "behind gate");
    wait_ready(&server, "a.ini", 2);
    server.stop();
}
