//! Several applications in one process: mounts, `applications`, and who answers what; what is imported before them.

use crate::harness::{Server, Site};

/// Answers with its name, SCRIPT_NAME and PATH_INFO.
fn app(name: &str) -> String {
    format!(
        "NAME = '{name}'\ndef application(environ, start_response):\n    \
         text = f\"{{NAME}}|{{environ['SCRIPT_NAME']}}|{{environ['PATH_INFO']}}\".encode()\n    \
         start_response('200 OK', [('Content-Type', 'text/plain')])\n    return [text]\n"
    )
}

/// A folder with the applications `main.py`, `one.py` and `two.py`.
fn site() -> Site {
    let site = Site::empty().ini("http-socket = 127.0.0.1:0");
    for name in ["main", "one", "two"] {
        site.write(&format!("{name}.py"), &app(name));
    }
    site
}

fn answers(server: &Server, rows: &[(&str, &str)]) {
    for (path, answer) in rows {
        assert_eq!(server.get(path).ok(), *answer, "{path}");
    }
}

#[test]
fn the_longest_mount_on_a_boundary_answers() {
    let server = site()
        .ini("wsgi-file = main.py\nmount = /foo=one.py\nmount = /foo/bar=two:application\nmanage-script-name = true")
        .start();
    answers(
        &server,
        &[
            ("/", "main||/"),
            ("/x", "main||/x"),
            ("/foo", "one|/foo|"),
            ("/foo/", "one|/foo|/"),
            ("/foo/x?y=z", "one|/foo|/x"),
            ("/foox", "main||/foox"),
            ("/foo/bar", "two|/foo/bar|"),
            ("/foo/bar/baz", "two|/foo/bar|/baz"),
            ("/foo/barn", "one|/foo|/barn"),
            ("/f%6fo/x", "one|/foo|/x"),
        ],
    );
    server.wait_for("WSGI app 0 (mountpoint='') ready in 0 seconds (default app)");
    server.wait_for("WSGI app 2 (mountpoint='/foo/bar') ready in 0 seconds");
    server.wait_for("|app: 2|");
}

#[test]
fn a_slash_at_the_end_of_a_mountpoint_stays() {
    let server = site().ini("wsgi-file = main.py\nmount = /foobis/=one.py\nmanage-script-name = true").start();
    answers(
        &server,
        &[
            ("/foobis", "one|/foobis/|"),
            ("/foobis/", "one|/foobis/|"),
            ("/foobis/resource", "one|/foobis/|resource"),
            ("/foobisis/", "main||/foobisis/"),
        ],
    );
}

#[test]
fn without_manage_script_name_the_front_end_decides() {
    let server = site().ini("wsgi-file = main.py\nmount = /foo=one.py").start();
    answers(&server, &[("/foo", "main||/foo"), ("/foo/x", "main||/foo/x")]);
}

#[test]
fn who_answers_what_no_mount_matches() {
    let first = site().ini("mount = /foo=one.py\nmount = /bar=two.py\nmanage-script-name = true").start();
    answers(&first, &[("/", "one||/"), ("/x", "one||/x"), ("/bar/x", "two|/bar|/x")]);
    let root = site().ini("mount = /foo=one.py\nmount = /=two.py\nmanage-script-name = true").start();
    answers(&root, &[("/", "two||/"), ("/x", "two||/x"), ("/foo/x", "one|/foo|/x")]);
    let nobody = site().ini("mount = /foo=one.py\nmanage-script-name = true\nno-default-app = true").start();
    answers(&nobody, &[("/foo/x", "one|/foo|/x")]);
    assert_eq!(nobody.get("/x").status, 500);
    nobody.wait_for("--- no python application found, check your startup logs for errors ---");
    let main = site()
        .ini("wsgi-file = main.py\nmount = /foo=one.py\nmanage-script-name = true\nno-default-app = true")
        .start();
    answers(&main, &[("/foo/x", "one|/foo|/x"), ("/x", "main||/x")]);
}

#[test]
fn a_mountpoint_is_used_once() {
    let server = site().ini("mount = /foo=one.py\nmount = /foo=two.py\nmanage-script-name = true").start();
    server.wait_for("mountpoint /foo already configured: skipped (uwsgi.ini:4)");
    answers(&server, &[("/foo", "one|/foo|")]);
}

#[test]
fn mounts_work_with_lazy_apps_and_threads() {
    let server = site()
        .ini("wsgi-file = main.py\nmount = /foo=one.py\nmanage-script-name = true\nlazy-apps = true\nthreads = 2")
        .start();
    answers(&server, &[("/foo/x", "one|/foo|/x"), ("/x", "main||/x")]);
}

#[test]
fn all_share_one_interpreter_and_a_file_is_loaded_once() {
    let site = Site::empty()
        .ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py\nmount = /again=app.py\nmanage-script-name = true");
    site.write(
        "app.py",
        "import sys\ncount = getattr(sys, 'loads', 0) + 1\nsys.loads = count\n\
         def application(environ, start_response):\n    start_response('200 OK', [])\n    return [str(sys.loads).encode()]\n",
    );
    assert_eq!(site.start().get("/again").ok(), "1");
}

#[test]
fn a_mount_that_can_t_be_is_refused() {
    let refused = |line: &str, words: &[&str]| site().ini(line).run().failed(1, words);
    refused("mount = one.py", &["mount: ", "MOUNTPOINT=APPLICATION", "uwsgi.ini:3"]);
    refused("mount = /foo=one", &["neither a file (.py, .wsgi) nor module:callable", "uwsgi.ini:3"]);
    refused("mount = foo=one.py", &["no path that begins with /", "uwsgi.ini:3"]);
    refused("mount = a.example|/=one.py", &["mounts of a host are not built yet"]);
    let broken = |line: &str, words: &[&str]| site().ini(line).run().failed(22, words);
    broken("mount = /foo=gone.py", &["mount: gone.py can't be read", "(uwsgi.ini:3)"]);
    broken("mount = /foo=gone:application", &["mount: there is no module \"gone\" (uwsgi.ini:3)"]);
    broken("mount = /foo=one:app", &["one has no callable \"app\"", "application", "(uwsgi.ini:3)"]);
    let tolerant =
        site().ini("wsgi-file = main.py\nmount = /foo=gone.py\nneed-app = false\nmanage-script-name = true").start();
    answers(&tolerant, &[("/foo/x", "main||/foo/x")]);
}

#[test]
fn a_module_may_hold_several_applications() {
    const CODE: &str = "def make(name):\n    def app(environ, start_response):\n        start_response('200 OK', [])\n        \
        return [f\"{name}|{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}\".encode()]\n    return app\n\
        first, second = make('first'), make('second')\n";
    for (option, dict) in [
        ("wsgi-file = several.py", "applications = {'': first, '/b': second}"),
        ("module = several", "applications = {b'': first, b'/b': 'second'}"),
        ("module = several", "import uwsgi\nuwsgi.applications = {'/': 'first', '/b': second}"),
        ("module = several", "applications = {'/b': second, '': first}\napplication = make('not this one')"),
    ] {
        let site = Site::empty().ini("http-socket = 127.0.0.1:0\nmanage-script-name = true").ini(option);
        site.write("several.py", &format!("{CODE}{dict}\n"));
        answers(&site.start(), &[("/x", "first||/x"), ("/b/x", "second|/b|/x")]);
    }
    // A dict of something else is none of the server's business.
    let site = Site::empty().ini("http-socket = 127.0.0.1:0\nwsgi-file = several.py");
    site.write("several.py", &format!("{CODE}applications = {{'jobs': 3}}\napplication = first\n"));
    answers(&site.start(), &[("/b/x", "first||/b/x")]);
    let broken = Site::empty().ini("http-socket = 127.0.0.1:0\nmodule = several");
    broken.write("several.py", "applications = {'/a': 3}\n");
    broken.run().failed(22, &["several: applications holds what is not callable: it is of type int (uwsgi.ini:3)"]);
}

/// Behaves as a Django project's `wsgi.py` does.
fn django(settings: &str) -> String {
    format!("import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', '{settings}')\n{}", app(settings))
}

#[test]
fn two_django_projects_do_not_fit_into_one_process() {
    let site = |second: &str| {
        let site = site().ini("wsgi-file = first.py\nmount = /foo=second.py\nmanage-script-name = true");
        site.write("first.py", &django("shop.settings"));
        site.write("second.py", &django(second));
        site
    };
    let words = [
        "mount: /foo is a Django project (blog.settings), and so is first.py (shop.settings)",
        "one vassal each",
        "(uwsgi.ini:4)",
    ];
    site("blog.settings").run().failed(22, &words);
    let same = site("shop.settings").start();
    answers(&same, &[("/foo/x", "shop.settings|/foo|/x")]);
    // Whoever names the settings from outside has decided.
    let said = site("blog.settings").env("DJANGO_SETTINGS_MODULE", "shop.settings").start();
    answers(&said, &[("/foo/x", "blog.settings|/foo|/x")]);
}

#[test]
fn imports_and_arguments_come_before_the_application() {
    let site = Site::code(
        "import early, sys\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    \
         return [repr((sys.argv, early.ARGV, sys.modules['uwsgi_file___more_py'.replace('_py', '')].LOADED)).encode()]\n",
    )
    .ini("import = early\npyimport = ./more.py\npyargv = --settings \"a b\"  last");
    site.write("early.py", "import sys\nARGV = len(sys.argv)\n");
    site.write("more.py", "import early\nLOADED = True\n");
    assert_eq!(site.start().get("/").ok(), "(['uwsgi', '--settings', '\"a', 'b\"', 'last'], 5, True)");
    let missing = Site::app("hello.py").ini("py-import = gone");
    missing.run().failed(22, &["import: there is no module \"gone\" (uwsgi.ini:4)"]);
    let broken = Site::app("hello.py").ini("import = broken");
    broken.write("broken.py", "1 / 0\n");
    broken.run().failed(22, &["import: \"broken\" can't be imported: ZeroDivisionError"]);
}

#[test]
fn an_exception_can_be_shown() {
    let site = || {
        Site::code(
            "def application(environ, start_response):\n    start_response('200 OK', [])\n    raise ValueError('so <there>')\n",
        )
    };
    let shown = site().ini("catch-exceptions = true").start();
    let answer = shown.get("/path?query");
    assert_eq!((answer.status, answer.field("content-type")), (500, Some("text/plain; charset=utf-8")));
    let text = answer.text();
    assert!(text.starts_with("an exception of the application for GET /path?query (catch-exceptions)\n"), "{text}");
    assert!(
        text.contains("app.py\", line 3, in application\n") && text.ends_with("ValueError: so <there>\n"),
        "{text}"
    );
    shown.wait_for("ValueError: so <there>");
    assert!(!site().start().get("/").text().contains("ValueError"));
}
