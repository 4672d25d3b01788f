//! One binary and one module serve every CPython from 3.9 on, from virtual environments and without a libpython.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Server, Site, python};

const WHO: &str = r#"
    import json, sys
    def application(environ, start_response):
        answer = json.dumps([sys.version, sys.executable, sys.prefix]).encode()
        start_response('200 OK', [('Content-Type', 'application/json')])
        return [answer]
"#;

/// (version, executable, prefix) as the application sees them.
fn who(server: &Server) -> (String, PathBuf, PathBuf) {
    let seen = server.get("/").json();
    let text = |index: usize| seen[index].as_str().unwrap().to_owned();
    (text(0), text(1).into(), text(2).into())
}

fn version_of(python: &Path) -> String {
    let out = Command::new(python).args(["-c", "import sys; print(sys.version)"]).output().unwrap();
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
fn every_interpreter_serves_from_its_venv() {
    let mut tested = Vec::new();
    for python in python::usable() {
        let Some(venv) = python.venv() else { continue };
        let server = Site::code(WHO).ini(&format!("virtualenv = {}", venv.display())).start();
        let (version, executable, prefix) = who(&server);
        assert_eq!(version, version_of(&python.path));
        assert_eq!(executable.parent().unwrap(), venv.join("bin"), "sys.executable");
        assert_eq!(prefix, venv, "sys.prefix");
        tested.push(python.version);
    }
    eprintln!("served by the venvs of {tested:?}");
    assert!(!tested.is_empty(), "no interpreter here can make a venv");
}

#[test]
fn every_interpreter_serves_without_a_venv() {
    for python in python::usable() {
        let server = Site::code(WHO).env("PATH", python.path.parent().unwrap()).start();
        assert_eq!(who(&server).0, version_of(&python.path));
    }
}

#[test]
fn the_environment_names_a_venv() {
    let python = python::usable().find(|python| python.path == python::default()).expect("the default is usable");
    let Some(venv) = python.venv() else { return };
    let server = Site::code(WHO).env("VIRTUAL_ENV", &venv).start();
    assert_eq!(who(&server).2, venv);
}

/// Interpreters that hold Python themselves: no libpython is mapped where they run (Debian's, for one).
fn is_static(python: &Path) -> bool {
    let script = "print('libpython' in open('/proc/self/maps').read())";
    Command::new(python).args(["-c", script]).output().is_ok_and(|out| out.stdout == b"False\n")
}

#[test]
fn a_static_python_needs_no_libpython() {
    let Some(python) = python::usable().find(|python| is_static(&python.path)) else {
        eprintln!("no static Python here: not tested");
        return;
    };
    let site = Site::code(WHO).ini(&format!("home = {}", python.path.ancestors().nth(2).unwrap().display()));
    site.write_ini();
    let hidden = hide_libpython(&site);
    let server = match hidden {
        Some(command) => Server::of(command, site),
        None => site.launch_with(["--ini", "uwsgi.ini"]),
    };
    server.wait_for_workers(1);
    assert_eq!(who(&server).0, version_of(&python.path));
    for process in server.master().tree() {
        assert!(!process.maps().contains("libpython"), "pid {} has a libpython mapped", process.pid);
    }
}

/// The server in a mount namespace where every libpython*.so is an empty file; `None` where that is not allowed.
fn hide_libpython(site: &Site) -> Option<Command> {
    let allowed = Command::new("unshare").args(["-m", "true"]).output().is_ok_and(|out| out.status.success());
    if !allowed {
        eprintln!("no mount namespaces here: libpython is not hidden, only looked for in the processes");
        return None;
    }
    let script = "for lib in $(find -L /usr/lib /usr/local/lib /lib -name 'libpython*.so*' -type f 2>/dev/null); do \
        mount --bind /dev/null \"$lib\" || exit 9; done; exec \"$0\" --ini uwsgi.ini";
    let mut command = Command::new("unshare");
    command.args(["-m", "/bin/sh", "-c", script, env!("CARGO_BIN_EXE_ruwsgi")]);
    site.dress(&mut command);
    let path = format!("{}:/usr/sbin:/sbin:/usr/bin:/bin", python::default().parent().unwrap().display());
    command.env("PATH", path);
    Some(command)
}

#[test]
fn the_collector_is_as_the_application_wants_it() {
    let app = |early: &str| {
        format!(
            "import gc, json\n{early}\nSEEN = [gc.isenabled(), gc.get_threshold()[1:]]\n\
             def application(environ, start_response):\n\
             \x20   start_response('200 OK', [('Content-Type', 'application/json')])\n\
             \x20   return [json.dumps([SEEN, [gc.isenabled(), gc.get_threshold()[1:]], gc.get_threshold()[0]]).encode()]\n"
        )
    };
    let own: serde_json::Value = {
        let code = "import gc, json; print(json.dumps(gc.get_threshold()))";
        let out = Command::new(python::default()).args(["-c", code]).output().unwrap();
        serde_json::from_slice(&out.stdout).unwrap()
    };
    for (early, enabled, first) in [
        ("", true, own[0].clone()),
        ("gc.disable()", false, own[0].clone()),
        ("gc.set_threshold(1234, *gc.get_threshold()[1:])", true, 1234.into()),
        ("gc.set_threshold(0)", true, 0.into()),
    ] {
        let seen = Site::code(&app(early)).start().get("/").json();
        assert_eq!(seen[0], seen[1], "{early}: nothing has changed since it was loaded");
        assert_eq!((&seen[0][0], &seen[2]), (&enabled.into(), &first), "{early}");
    }
}
