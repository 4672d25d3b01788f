//! Hooks: what is done when, with which environment, and what becomes of it when it fails or takes for ever.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use nix::sys::signal::Signal;

use crate::harness::{Process, Server, Site, eventually};

const APP: &str = "
    import os
    def application(environ, start_response):
        start_response('200 OK', [])
        return [os.environ.get('HOOKED', '-').encode()]
";

fn read(server: &Server, name: &str) -> String {
    fs::read_to_string(server.path(name)).unwrap_or_default()
}

/// Each phase as a line of `phases`.
fn phases(lazy: bool) -> Site {
    let note = |phase: &str| format!("echo {phase} >> phases");
    let hooks = ["master-start", "post-fork", "accepting", "accepting1", "accepting-once", "accepting1-once"];
    let commands = ["asap", "pre-jail", "in-jail", "as-root", "as-user", "pre-app", "post-app", "as-user-atexit"];
    let hooks = hooks.iter().map(|phase| format!("hook-{phase} = exec:{}", note(phase)));
    let commands = commands.iter().map(|phase| format!("exec-{phase} = {}", note(phase)));
    let lines: Vec<String> = hooks.chain(commands).collect();
    Site::code(APP).ini(&lines.join("\n")).ini("processes = 2").ini(&format!("lazy-apps = {lazy}"))
}

#[test]
fn phases_come_in_the_order_of_uwsgi() {
    let as_root = if nix::unistd::geteuid().is_root() { "as-root " } else { "" };
    let server = phases(false).start();
    let start = format!("asap pre-jail in-jail {as_root}as-user master-start pre-app post-app ");
    let text = || read(&server, "phases").replace('\n', " ");
    assert!(text().starts_with(&start), "{}", text());
    let of_workers = text()[start.len()..].to_owned();
    let count = |phase: &str| of_workers.split(' ').filter(|word| *word == phase).count();
    let each = ["post-fork", "accepting", "accepting-once", "accepting1", "accepting1-once"].map(count);
    assert_eq!(each, [2, 2, 2, 1, 1], "{of_workers}");
    server.workers()[0].signal(Signal::SIGKILL);
    server.wait_for_workers(3);
    let later = text()[start.len() + of_workers.len()..].to_owned();
    assert_eq!(later, "post-fork accepting accepting1 ", "a worker that replaces another one is not the first");
    let path = server.path("phases");
    let kept = server.site.path("kept");
    fs::hard_link(path, &kept).unwrap();
    let mut server = server;
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait_here().code, 0);
    assert!(fs::read_to_string(kept).unwrap().ends_with("as-user-atexit\n"));
}

#[test]
fn lazy_workers_load_between_their_own_hooks() {
    let server = phases(true).ini("processes = 1").start();
    let text = read(&server, "phases").replace('\n', " ");
    assert!(text.contains("master-start post-fork pre-app post-app accepting "), "{text}");
}

#[test]
fn an_action_does_what_it_says() {
    let site = Site::code(APP)
        .ini("hook-asap = mkdir:made\nhook-asap = create:made/empty\nhook-asap = write:made/a one")
        .ini("hook-asap = append:made/a  two\nhook-asap = writen:made/b one\nhook-asap = appendn:made/b two")
        .ini("hook-asap = appendn:made/b\nhook-asap = chmod:made/a 604\nhook-asap = sticky:made")
        .ini("hook-asap = create:made/gone\nhook-asap = unlink:made/gone\nhook-asap = putenv:HOOKED=yes")
        .ini("hook-asap = exec:echo $HOOKED $SAID > made/c\nenv = SAID=too\nhook-asap = safeexec:exit 3")
        .ini("hook-asap = writefifo:nobody hello\nhook-asap = print:a line of mine")
        .ini("hook-asap = wait_for_file:made/c\nhook-asap = wait_for_dir:made\nhook-asap = wait_for_fs:made")
        .ini("hook-asap = !exec:echo secret > made/d\nhook-pre-app = cd:made\nhook-pre-app = cd:..");
    nix::unistd::mkfifo(&site.path("nobody"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let server = site.start();
    assert_eq!(read(&server, "made/a"), "one two");
    assert_eq!(read(&server, "made/b"), "one\ntwo\n\n");
    assert_eq!(read(&server, "made/c"), "yes too\n");
    assert_eq!(read(&server, "made/d"), "secret\n");
    let mode = |name: &str| fs::metadata(server.path(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("made/a"), mode("made") & 0o1000), (0o604, 0o1000));
    assert!(server.path("made/empty").exists() && !server.path("made/gone").exists());
    assert_eq!(server.get("/").ok(), "yes", "the application sees what putenv has set");
    let log = server.log.text();
    assert!(
        log.contains("\na line of mine\n") && log.contains("hook-asap: exec:...") && !log.contains("secret"),
        "{log}"
    );
    assert!(log.contains("hook-asap: exit 3 exited with code 3"), "{log}");
}

#[test]
fn what_putenv_sets_in_a_worker_the_application_sees() {
    let server = Site::code(APP).ini("hook-post-fork = putenv:HOOKED=in the worker").start();
    assert_eq!(server.get("/").ok(), "in the worker");
}

#[test]
fn owners_are_set_by_name_and_number() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: not tested");
        return;
    }
    use std::os::unix::fs::MetadataExt;
    let site = Site::code(APP).ini("hook-asap = create:a\nhook-asap = create:b");
    let server = site.ini("hook-asap = chown:a nobody tty\nhook-asap = chown2:b 123 456").start();
    let owner = |name: &str| fs::metadata(server.path(name)).map(|it| (it.uid(), it.gid())).unwrap();
    assert_eq!((owner("a"), owner("b")), ((65534, 5), (123, 456)));
}

#[test]
fn a_fifo_and_a_socket_are_awaited() {
    let site = Site::code(APP)
        .ini("hook-pre-jail = spinningfifo:fifo go\nhook-pre-jail = wait_for_socket:there.sock\nwait-for-socket = there.sock");
    let (fifo, socket) = (site.path("fifo"), site.path("there.sock"));
    let server = site.launch();
    server.wait_for("hook-pre-jail: spinningfifo:");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(fs::read_to_string(&fifo).unwrap(), "go");
    server.wait_for("hook-pre-jail: wait_for_socket:");
    let _listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    server.wait_for_workers(1);
}

#[test]
fn what_never_comes_ends_the_start() {
    let site = Site::code(APP).ini("hook-asap = wait_for_file:nothing\nwait-for-fs-timeout = 1");
    site.run().failed(1, &["hook-asap", "wait_for_file:nothing", "not there after 1 s", "uwsgi.ini:4"]);
}

#[test]
fn a_hook_that_fails_ends_the_start() {
    for (line, words) in [
        ("hook-asap = exec:exit 7", ["hook-asap", "exited with code 7", "uwsgi.ini:4"]),
        ("exec-pre-jail = nosuchcommand", ["exec-pre-jail", "exited with code 127", "uwsgi.ini:4"]),
        ("hook-in-jail = chmod:nothing 644", ["hook-in-jail", "No such file", "uwsgi.ini:4"]),
        ("hook-as-user = exec:kill -9 $$", ["hook-as-user", "killed by signal 9", "uwsgi.ini:4"]),
        ("hook-master-start = mkdir:/proc/x", ["hook-master-start", "/proc/x", "uwsgi.ini:4"]),
        ("exec-pre-app = false", ["exec-pre-app", "exited with code 1", "uwsgi.ini:4"]),
        ("hook-post-app = exec:false", ["hook-post-app", "exited with code 1", "uwsgi.ini:4"]),
        ("hook-post-fork = exec:false", ["hook-post-fork", "exited with code 1", "uwsgi.ini:4"]),
        ("hook-accepting = exec:false", ["hook-accepting", "exited with code 1", "uwsgi.ini:4"]),
        ("hook-asap = chown:app.py nobodyatall 0", ["hook-asap", "no user \"nobodyatall\"", "uwsgi.ini:4"]),
    ] {
        Site::code(APP).ini(line).run().failed(1, &words);
    }
    Site::code(APP).ini("hook-asap = exit:5").run().failed(5, &["hook-asap: exit:5"]);
    let ended = Site::code(APP).ini("hook-pre-jail = exit:0").run();
    assert_eq!((ended.code, ended.log.contains("error")), (0, false), "{}", ended.log);
}

#[test]
fn an_action_that_nobody_knows_is_told_with_its_place() {
    for (line, word) in [
        ("hook-asap = exce:true", "there is no action \"exce\""),
        ("hook-asap = true", "ACTION:ARGUMENTS"),
        ("hook-as-root = call:something", "there are no C functions to call"),
        ("hook-touch = file", "FILE ACTION:ARGUMENTS"),
        ("mount-asap = proc none", "TYPE SOURCE FOLDER"),
        ("umount-asap = /x wrong", "there is no flag \"wrong\""),
        ("hook-master-start = unix_signal:15 nothing", "there is no function \"nothing\""),
    ] {
        Site::code(APP).ini(line).run().failed(1, &[line.split(' ').next().unwrap(), word, "uwsgi.ini:4"]);
    }
}

#[test]
fn a_hook_that_hangs_is_told_and_a_stop_ends_it() {
    let site = Site::code(APP).ini("hook-pre-jail = exec:echo $$ > pid; exec sleep 1000");
    let mut server = site.launch();
    let sleeper = eventually("the command runs", || {
        Process::of(fs::read_to_string(server.path("pid")).ok()?.trim().parse().ok()?)
    });
    server.wait_for("has not ended for 10 s");
    server.signal(Signal::SIGTERM);
    server.wait_here().failed(1, &["hook-pre-jail", "the server is to stop", "uwsgi.ini:4"]);
    sleeper.wait_for_end("the command");
}

#[test]
fn a_hook_that_fails_at_a_reload_leaves_the_old_one_serving() {
    let server = Site::code(APP).ini("exec-pre-app = test ! -e fail\nhook-post-fork = exec:test ! -e fork").start();
    for name in ["fail", "fork"] {
        server.site.write(name, "");
        server.signal(Signal::SIGHUP);
        let line = server.log.wait_for_nth("failed, generation 1 goes on", if name == "fail" { 1 } else { 2 });
        assert!(line.contains("exited with code 1") && line.contains("uwsgi.ini:"), "{line}");
        assert_eq!(server.get("/").ok(), "-");
        fs::remove_file(server.path(name)).unwrap();
    }
    server.signal(Signal::SIGHUP);
    server.wait_for("generation 4 is complete");
}

#[test]
fn a_touched_file_runs_its_action_and_the_master_waits_for_nothing() {
    let server = Site::code(APP)
        .ini("hook-touch = here write:answer yes\nhook-touch = slow exec:sleep 1000")
        .ini("hook-touch = wrong exec:exit 4\nhook-touch = never wait_for_file:nothing")
        .start();
    for name in ["slow", "wrong", "never", "here"] {
        server.site.write(name, "");
    }
    eventually("the action was done", || (read(&server, "answer") == "yes").then_some(()));
    server.wait_for("hook-touch: exit 4 (pid ");
    server.wait_for("hook-touch: wait_for_file:nothing: not there");
    assert_eq!(server.get("/").ok(), "-");
    assert_eq!(server.stop().code, 0);
}

#[test]
fn a_signal_can_mean_something_else() {
    let server = Site::code(APP)
        .ini("die-on-term = false\nhook-master-start = unix_signal:15 gracefully_kill_them_all")
        .ini("hook-asap = unix_signal:12 grace_them_all\nhook-as-user = unix_signal:28 suspend_resume_them_all")
        .start();
    server.signal(Signal::SIGUSR2);
    server.wait_for("generation 2 is complete");
    server.signal(Signal::SIGWINCH);
    server.wait_for("paused");
    server.signal(Signal::SIGWINCH);
    server.wait_for("resumed");
    server.stop();
}

#[test]
fn commands_of_hooks_hold_nothing_of_the_server() {
    let look = "ls -l /proc/self/fd | sed -n 's/.* -> //p' >";
    let server = Site::code(APP)
        .ini(&format!("exec-asap = {look} at-asap\nexec-as-user = {look} at-start\nexec-post-app = {look} in-zygote"))
        .ini(&format!("hook-accepting = exec:{look} in-worker\nhook-touch = now exec:{look} in-master"))
        .start();
    server.site.write("now", "");
    eventually("the touched one", || (read(&server, "in-master").lines().count() > 2).then_some(()));
    for name in ["at-asap", "at-start", "in-zygote", "in-worker", "in-master"] {
        let text = read(&server, name);
        let ours = ["socket:", "memfd:", "anon_inode:", "uwsgi.ini", "libruwsgi"];
        assert!(!ours.iter().any(|kind| text.contains(kind)), "{name}: {text}");
    }
}
