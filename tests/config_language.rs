//! The language of configurations from outside: conditions, loops, templates, other formats and sources, and what is said
//! about files that are wrong. Small things are tested in `src/options`.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use crate::harness::packet::program;
use crate::harness::{Server, Site, eventually};

/// What this configuration says, as `show-config` has it, without the command line.
fn shown(site: &Site, arguments: &[&str]) -> Vec<String> {
    let ended = site.run_with(["--show-config", "--get", "nothing"].iter().chain(arguments));
    let lines = ended.log.lines().skip_while(|line| *line != "get = nothing").skip(1);
    lines.take_while(|line| *line != ";end of configuration").map(str::to_owned).collect()
}

/// A folder with a file of these lines.
fn lines(text: &str) -> Site {
    let site = Site::empty();
    site.write("app.ini", &format!("[uwsgi]\n{text}"));
    site
}

fn said(text: &str) -> Vec<String> {
    shown(&lines(text), &["--ini", "app.ini"]).split_off(1)
}

/// A folder with an application, which serves as this file says.
fn serves(name: &str, text: &str) {
    let site = Site::empty();
    site.write("app.py", include_str!("apps/control.py"));
    site.write(name, text);
    hello(&site.launch_with([name]));
}

fn hello(server: &Server) {
    server.wait_for_workers(2);
    assert_eq!(server.get("/").ok(), "hello");
}

#[test]
fn loops_say_their_lines_again() {
    assert_eq!(said("for = a b\nx = <%(_)>\ny = 1\nendfor\n")[1..5], ["x = <a>", "x = <b>", "y = 1", "y = 1"]);
    assert_eq!(said("for-times = 2\nx = %(_)\nend-for\n")[1..3], ["x = 1", "x = 2"]);
    let site = lines("for-glob = *.txt\nx = %(_)\nendfor\nfor-readline = b.txt\ny = %(_)\nendfor\n");
    site.write("a.txt", "");
    site.write("b.txt", "one\ntwo\n");
    let shown = shown(&site, &["--ini", "app.ini"]);
    let wanted = ["x = a.txt", "x = b.txt", "endfor = ", "for-readline = b.txt", "y = one", "y = two", "endfor = "];
    assert_eq!(shown[2..], wanted);
}

#[test]
fn conditions_choose_lines() {
    let site = lines(
        "if-env = MODE=live\nx = live\nendif\nif-not-env = MODE\nx = no\nendif\nif-exists = app.ini\nx = %(_)\nend-if\n\
         if-dir = nope\nx = no\nendif\nif-opt = x=live\nx = again\nendif\nif-reload\nx = no\nendif\n\
         if-plugin = python3\nx = plugin\nendif\nif-not-hostname = nowhere.example\nx = host\nendif\n",
    )
    .env("MODE", "live");
    let shown = shown(&site, &["--ini", "app.ini"]);
    let chosen: Vec<&str> = shown.iter().filter(|line| line.starts_with("x = ")).map(String::as_str).collect();
    assert_eq!(chosen, ["x = live", "x = app.ini", "x = again", "x = plugin", "x = host"]);
}

#[test]
fn a_condition_may_depend_on_a_reload() {
    let site = Site::code(
        "import uwsgi\ndef application(e, start):\n    start('200 OK', [])\n    return [uwsgi.opt.get('when', b'start')]\n",
    );
    let server = site.ini("if-reload\nset = when=reload\nendif").start();
    assert_eq!(server.get("/").ok(), "start");
    server.signal(nix::sys::signal::Signal::SIGHUP);
    eventually("the reload", || (server.get("/").ok() == "reload").then_some(()));
}

#[test]
fn templates_make_options() {
    let site = Site::empty();
    site.write("app.py", include_str!("apps/control.py"));
    site.write(
        "app.ini",
        "[uwsgi]\ndeclare-option = web=http-socket=127.0.0.1:$1;processes=$2;wsgi-file=app.py\nweb = 0 2\n",
    );
    let log = site.run_with(["--show-config", "--get", "nothing", "app.ini"]).log;
    assert!(log.contains("\n; processes = 2 (by web, app.ini:3)\n"), "{log}");
    hello(&site.launch_with(["app.ini"]));
}

#[test]
fn other_formats_are_read() {
    let yaml = "# c\nuwsgi:\n  http-socket: '127.0.0.1:0'\n  wsgi-file: app.py\n  processes: 2\n  env:\n    - A=1\n    - B=2\n";
    serves("app.yaml", yaml);
    serves("app.yml", yaml);
    let json = r#"{"uwsgi": {"http-socket": "127.0.0.1:0", "wsgi-file": "app.py", "processes": 2, "master": true}}"#;
    serves("app.json", json);
    serves("app.js", json);
    let xml = "<uwsgi>\n<http-socket>127.0.0.1:0</http-socket><wsgi-file>app.py</wsgi-file>\n<processes>2</processes><master/></uwsgi>";
    serves("app.xml", xml);
}

#[test]
fn a_place_is_a_line_in_every_format() {
    for (name, text, place) in [
        ("app.ini", "[uwsgi]\n\nprocesses = many\n", "app.ini:3"),
        ("app.yaml", "uwsgi:\n\n  processes: many\n", "app.yaml:3"),
        ("app.json", "{\"uwsgi\": {\n\"master\": 1,\n\"processes\": \"many\"}}", "app.json:3"),
        ("app.xml", "<uwsgi>\n<master/>\n<processes>many</processes></uwsgi>", "app.xml:3"),
    ] {
        let site = Site::empty();
        site.write(name, text);
        site.run_with([name]).failed(1, &["processes: \"many\" is not a number", place]);
    }
}

#[test]
fn a_configuration_comes_from_a_command_a_descriptor_or_standard_input() {
    let text = "[uwsgi]\nx = %o\n";
    let site = Site::empty();
    site.write("a.txt", text);
    assert_eq!(shown(&site, &["--ini", "exec://cat a.txt"])[1..], ["x = exec://cat a.txt"]);
    let mut command = site.command(["--get", "x", "--ini", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"-\n");
    let binary = site.command([""; 0]).get_program().to_owned();
    let mut shell = Command::new("/bin/sh");
    site.dress(&mut shell);
    shell.arg("-c").arg("exec \"$0\" --get x --ini fd://7 7< a.txt").arg(binary);
    assert_eq!(shell.output().unwrap().stdout, b"fd://7\n");
}

#[test]
fn files_stand_in_values() {
    let site = lines("x = <@(key.txt)> <@(exec://echo 3 + 4)>\n");
    site.write("key.txt", "secret\n");
    assert_eq!(shown(&site, &["--ini", "app.ini"])[1..], ["x = <secret> <3 + 4>"]);
    lines("x = @(nope.txt)\n").run_with(["app.ini"]).failed(1, &["x: cannot read nope.txt", "app.ini:2"]);
}

#[test]
fn text_is_injected_around_files() {
    let site = lines("x = 2\n");
    site.write("before.txt", "[uwsgi]\nbase = 1\n");
    site.write("after.txt", "processes = many\n");
    let arguments = ["--inject-before", "before.txt", "--inject-after", "after.txt", "--ini", "app.ini"];
    assert_eq!(shown(&site, &arguments)[3..], ["base = 1", "x = 2", "processes = many"]);
    site.run_with(arguments).failed(1, &["processes: \"many\" is not a number", "after.txt:1"]);
}

#[test]
fn values_and_names_are_printed() {
    let site = lines("base = /srv\nx = %(base)/a\nprint = here is %(base)\nexit = 3\n");
    let ended = site.run_with(["--ini", "app.ini"]);
    assert_eq!((ended.code, ended.log.as_str()), (3, ""), "print waits for the end, exit does not");
    let site = lines("base = /srv\nx = %(base)/a\nx = 2\niprint = now\n");
    let ended = site.run_with(["--get", "x", "--get", "nope", "--ini", "app.ini"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "/srv/a\n"));
    let names = site.run_with(["--dump-options"]);
    assert!(names.out.lines().count() > 1300 && names.out.lines().any(|name| name == "processes"));
    assert_eq!(
        site.run_with(["--extract", "app.ini"]).out,
        "[uwsgi]\nbase = /srv\nx = %(base)/a\nx = 2\niprint = now\n"
    );
    let server = Site::app("hello.py").ini("print = here is %(wsgi-file)").start();
    assert!(server.log.text().contains("here is app.py"), "{}", server.log.text());
}

#[test]
fn lists_forbid_options() {
    lines("blacklist = uid gid\nuid = 1\n")
        .run_with(["app.ini"])
        .failed(1, &["uid: forbidden by a blacklist", "app.ini:3"]);
    lines("whitelist = x\nx = 1\nuid = 1\n")
        .run_with(["app.ini"])
        .failed(1, &["uid: forbidden by a whitelist", "app.ini:4"]);
    assert_eq!(said("blacklist = y\nx = 1\nend-blacklist\ny = 1\n").len(), 4);
}

#[test]
fn a_start_that_fails_is_tried_with_another_file() {
    let site = Site::empty();
    site.write("app.py", include_str!("apps/control.py"));
    site.write("app.ini", "[uwsgi]\nfallback-config = other.ini\nprocesses = many\n");
    site.write("other.ini", "[uwsgi]\nhttp-socket = 127.0.0.1:0\nwsgi-file = app.py\nprocesses = 2\n");
    let server = site.launch_with(["app.ini"]);
    hello(&server);
    assert!(server.log.text().contains("trying fallback-config other.ini"), "{}", server.log.text());

    let site = lines("fallback-config = app.ini\nprocesses = many\n");
    site.run_with(["app.ini"]).failed(1, &["fallback-config: 8 files failed"]);
}

#[test]
fn a_server_is_stopped_and_reloaded_by_its_pidfile() {
    let server = Site::app("hello.py").ini("pidfile = app.pid").start();
    let pidfile = server.site.path("app.pid").display().to_string();
    let site = Site::empty();
    let workers = server.workers();
    assert_eq!(site.run_with(["--reload", &pidfile]).code, 0);
    eventually("other workers", || (server.workers() != workers).then_some(()));
    assert_eq!(site.run_with(["--stop", &pidfile]).code, 0);
    assert_eq!(server.wait().code, 0);
    site.run_with(["--stop", &pidfile]).failed(1, &["app.pid can't be read"]);
    site.write("bad.pid", "none\n");
    site.run_with(["--reload", "bad.pid"]).failed(1, &["bad.pid holds no pid: \"none\""]);
    site.run_with(["--pause", "bad.pid"]).failed(1, &["bad.pid holds no pid"]);
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let site = lines("processes = many\nini = nope.ini\nfor = a b\nchmod-socket = yes\nset = x\nx = @(nope)\n");
    let ended = site.run_with(["app.ini"]);
    assert_eq!(ended.code, 1);
    for line in [
        "processes: \"many\" is not a number (app.ini:2)",
        "cannot read nope.ini: no such file or directory (app.ini:3)",
        "for: no endfor follows (app.ini:4)",
        "chmod-socket: \"yes\" is not a mode of three octal digits, such as 660 (app.ini:5)",
        "set: \"x\" is not of the form name=value (app.ini:6)",
        "x: cannot read nope: no such file or directory (app.ini:7)",
    ] {
        assert!(ended.log.contains(line), "{line}\n{}", ended.log);
    }
}

#[test]
fn files_that_are_none_are_told() {
    let site = Site::empty();
    for (bytes, reason) in [
        (&b"[uwsgi]\nx = a\0b\n"[..], "a NUL byte: this is no text (app.ini:2)"),
        (b"\xff\xfe[\0u\0", "this is UTF-16: save it as UTF-8 (app.ini:1)"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "a NUL byte: this is no text (app.ini:1)"),
        (b"[uwsgi]\nprocesses = \xff\n", "is not UTF-8 text (app.ini:2)"),
    ] {
        std::fs::write(site.path("app.ini"), bytes).unwrap();
        let ended = site.run_with(["app.ini"]);
        assert!(ended.code == 1 && ended.log.contains(reason), "{reason}\n{}", ended.log);
    }
    std::fs::create_dir(site.path("dir.ini")).unwrap();
    site.run_with(["dir.ini"]).failed(1, &["cannot read dir.ini: is a directory (command line)"]);
    std::fs::write(site.path("mark.ini"), b"\xef\xbb\xbf[uwsgi]\r\nx = 1\r\n").unwrap();
    assert_eq!(shown(&site, &["--ini", "mark.ini"])[1..], ["x = 1"]);
}

#[test]
fn values_are_bytes() {
    let site = Site::empty();
    let folder = site.path("").join(OsStr::from_bytes(b"caf\xe9"));
    std::fs::create_dir(&folder).unwrap();
    let code = "import os, uwsgi\ndef application(e, start):\n    start('200 OK', [])\n    \
                return [repr((uwsgi.opt['mine'], os.path.basename(os.getcwdb()), os.environb[b'HERE'])).encode()]\n";
    std::fs::write(folder.join("app.py"), code).unwrap();
    let text = b"[uwsgi]\nhttp-socket = 127.0.0.1:0\nmine = \xff\xe9\nchdir = caf\xe9\nwsgi-file = app.py\nenv = HERE=%(mine)\n";
    std::fs::write(site.path("bytes.ini"), text).unwrap();
    let server = site.launch_with(["bytes.ini"]);
    server.wait_for_workers(1);
    assert_eq!(server.get("/").ok(), r"(b'\xff\xe9', b'caf\xe9', b'\xff\xe9')");
}

/// Each line of what uWSGI shows, for files of our own; where it is installed.
#[test]
fn uwsgi_makes_the_same_of_it() {
    let Some(uwsgi) = program("uwsgi") else {
        eprintln!("there is no uWSGI to compare with: not tested");
        return;
    };
    for text in [
        "a = 1\nb = %(a)%(a + 1)\nc = x%(d)\nd = %(a)\ne = %(c)\nfor = p q\nf = %(_)%(a)\nendfor\n",
        "set = a=%d\nset-ph = b=%(a)\nc = %(b)$(HOME)\nini = :two\n[two]\nt = %x%n\n[uwsgi]\nz = %(t)\n",
        "if-opt = a\nb = 1\nendif\na = 2\nif-opt = a=2\nc = %(_)\nendif\nif-not-opt = a=3\nd = %(_)\nendif\n",
        "declare-option = o=set=x=$1-$2\no = 1 2\no = 3\ninject-after = app.ini\ny\n = z\n[uwsgi\nw = 1 ; 2\n",
        "%% = 1\n%(a) = 2\n[%n]\nno = 1\n[uwsgi]\nyes = %%(no)\nlog = %%(uri) $(nope) %(a %() @(exec://echo 5)\n",
    ] {
        let site = lines(text);
        let mut theirs = Command::new(&uwsgi);
        site.dress(&mut theirs);
        theirs.args(["--show-config", "--hook-pre-jail", "exit:0", "--ini", "app.ini"]);
        let output = theirs.output().unwrap();
        let log = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let theirs: Vec<_> = log
            .lines()
            .skip_while(|line| *line != "ini = app.ini")
            .take_while(|line| !line.starts_with(";end"))
            .collect();
        let mut ours = shown(&site, &["--ini", "app.ini"]);
        ours.retain(|line| !line.starts_with("; "));
        assert_eq!(ours, theirs, "{text}");
    }
}
