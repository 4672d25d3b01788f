//! How options reach the server: files, the command line in all its forms, the environment, placeholders.

use crate::harness::{Client, Server, Site, serve_code};

/// A folder with an application, and nothing said yet.
fn site() -> Site {
    let site = Site::empty();
    site.write("app.py", include_str!("apps/control.py"));
    site
}

fn has_workers(server: &Server, count: usize) {
    server.wait_for_workers(count);
    assert_eq!(server.get("/").ok(), "hello");
    assert_eq!(server.workers().len(), count);
}

#[test]
fn a_file_can_be_named_in_several_ways() {
    for arguments in [&["--ini", "uwsgi.ini"][..], &["--ini=uwsgi.ini"], &["uwsgi.ini"]] {
        let site = site().ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py");
        site.write_ini();
        has_workers(&site.launch_with(arguments), 1);
    }
}

#[test]
fn options_are_read_from_the_command_line() {
    for arguments in [
        &["--http-socket", "127.0.0.1:0", "--wsgi-file", "app.py", "--processes", "2", "--master"][..],
        &["--http-socket=127.0.0.1:0", "--wsgi-file=app.py", "--workers=2"],
        &["--http-socket", "127.0.0.1:0", "--wsgi-file", "app.py", "-p", "2", "-M"],
        &["-p2", "--http-socket", "127.0.0.1:0", "-w", "app", "--pythonpath", "."],
        &["--http", "127.0.0.1:0", "--module", "app:application", "--pythonpath=.", "-p", "2"],
        &["--set", "http-socket=127.0.0.1:0", "--set", "processes=2", "--wsgi-file", "app.py"],
        &["--http-socket", "127.0.0.1:0", "--file", "app.py", "--process", "2"],
    ] {
        has_workers(&site().launch_with(arguments), 2);
    }
}

#[test]
fn an_application_can_be_named_alone() {
    for arguments in [
        &["app:application", "--bind", "127.0.0.1:0"][..],
        &["--bind=127.0.0.1:0", "app.py"],
        &["--http-socket", "127.0.0.1:0", "app.py:application", "-p", "1"],
        &["app:make()", "--bind", "127.0.0.1:0"],
    ] {
        let site = site();
        site.write("app.py", concat!(include_str!("apps/control.py"), "\ndef make():\n    return application\n"));
        has_workers(&site.launch_with(arguments), 1);
    }
    let server = site().launch_with(["app:application", "--bind", "unix:app.sock"]);
    server.wait_for_workers(1);
    assert_eq!(Client::unix(&server.path("app.sock")).get("/").ok(), "hello");
    site().run_with(["nothing:application", "--bind", "127.0.0.1:0"]).failed(22, &["no module", "nothing"]);
}

#[test]
fn the_command_line_and_a_file_go_together() {
    let site = site().ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py\nprocesses = 1");
    site.write_ini();
    has_workers(&site.launch_with(["--ini", "uwsgi.ini", "-p", "3"]), 3);
}

#[test]
fn the_environment_comes_first() {
    let site =
        site().env("UWSGI_HTTP_SOCKET", "127.0.0.1:0").env("UWSGI_WSGI_FILE", "app.py").env("RUWSGI_PROCESSES", "2");
    has_workers(&site.launch_with([""; 0]), 2);

    let other =
        self::site().env("UWSGI_PROCESSES", "2").ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py\nprocesses = 1");
    has_workers(&other.launch(), 1);
}

#[test]
fn placeholders_and_magic_variables_are_filled_in() {
    let site = site()
        .env("HOW_MANY", "2")
        .ini("base = %d\nname = app\ncount = $(HOW_MANY)")
        .ini("http-socket = 127.0.0.1:0\nwsgi-file = %(base)%(name).py\nworkers = %(count)\nenv = CONFIG=%n of %p");
    site.write(
        "app.py",
        "import os\ndef application(e, start):\n    start('200 OK', [])\n    return [os.environ['CONFIG'].encode()]\n",
    );
    let config = format!("uwsgi of {}", site.path("uwsgi.ini").display());
    let server = site.launch();
    server.wait_for_workers(2);
    assert_eq!(server.get("/").ok(), config);
}

#[test]
fn a_section_can_be_chosen() {
    let site = site();
    site.write("two.ini", "[one]\nwsgi-file = nothing.py\n[two]\nhttp-socket = 127.0.0.1:0\nwsgi-file = app.py\n");
    has_workers(&site.launch_with(["--ini", "two.ini:two"]), 1);
}

#[test]
fn a_file_of_the_old_days_runs_unchanged() {
    let site = site().ini(
        "; how many a uwsgi.ini in the field looks\n\
         # with both kinds of comments\n\
         http-socket = 127.0.0.1:0\n\
         plugins = python3,http\n\
         chdir = %d\n\
         module = app:application\n\
         master = true\nprocesses = 2\nthreads = 2\nenable-threads = true\nsingle-interpreter = true\n\
         thunder-lock = true\nneed-app = true\nvacuum = true\ndie-on-term = true\nbuffer-size = 8192\n\
         harakiri = 30\nmax-requests = 5000\nlazy-apps = false\nno-orphans\nlisten = 128\nstrict = true",
    );
    let server = site.launch();
    server.wait_for_workers(2);
    assert_eq!(server.get("/").ok(), "hello");
    let log = server.log.text();
    assert!(log.contains("(backlog 128)"), "{log}");
    let told = |line: &&str| line.starts_with("warning") && !line.contains("root");
    assert_eq!(log.lines().filter(told).collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn the_module_of_the_server_may_lie_in_a_folder_for_plugins() {
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_ruwsgi"));
    let site =
        site().ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py\nplugins-dir = nothing\nplugins-dir = plugins");
    site.write_ini();
    let copy = site.path("ruwsgi");
    std::fs::copy(binary, &copy).unwrap();
    let start = |site: &Site| {
        let mut command = std::process::Command::new(&copy);
        command.args(["--ini", "uwsgi.ini"]);
        site.dress(&mut command);
        command
    };
    let output = start(&site).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains("the extension module is missing") && log.contains("plugins/libruwsgi_python.so"), "{log}");
    std::fs::create_dir(site.path("plugins")).unwrap();
    // In a test's build, the fresh one is the one in `deps`.
    let module = binary.parent().unwrap().join("deps/libruwsgi_python.so");
    std::os::unix::fs::symlink(module, site.path("plugins/libruwsgi_python.so")).unwrap();
    let command = start(&site);
    has_workers(&Server::of(command, site), 1);
}

#[test]
fn a_plugin_that_is_not_there_is_told_or_ends_the_start() {
    let site = || site().ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py\nneed-plugin = 0:python39,http");
    let server = site().ini("plugin = php").start();
    let line = server.wait_for("there is no plugin");
    assert!(line.contains("plugin: there is no plugin \"php\"; going on without it (uwsgi.ini:5)"), "{line}");
    assert_eq!(server.get("/").ok(), "hello");
    site().ini("need-plugin = php").run().failed(1, &["need-plugin", "\"php\"", "uwsgi.ini:5"]);
}

#[test]
fn names_that_nobody_knows_are_told_unless_the_application_asks_for_them() {
    let site = |code: &str| Site::code(code).ini("my-key = 1\nyour-key = 2\nproceses = 3");
    let told = |log: &str| -> Vec<String> {
        let lines = log.lines().filter_map(|line| line.split_once(": unknown option"));
        lines.map(|(name, _)| name.trim_start_matches("warning: ").to_owned()).collect()
    };
    const ANSWER: &str = "def application(e, start):\n    start('200 OK', [])\n    return [b'']\n";
    let asks =
        format!("import uwsgi\nuwsgi.opt['my-key'], uwsgi.opt.get('your-key'), 'nothing' in uwsgi.opt\n{ANSWER}");
    let takes_all = format!("import uwsgi\nall = dict(uwsgi.opt)\n{ANSWER}");
    assert_eq!(told(&site(&asks).start().stop().log), ["proceses"]);
    assert_eq!(told(&site(&takes_all).start().stop().log), [""; 0]);
    let all = ["my-key", "your-key", "proceses"];
    assert_eq!(told(&site(ANSWER).start().stop().log), all);
    assert_eq!(told(&site(&asks).ini("lazy-apps = true").start().stop().log), all, "it may ask later");
    assert_eq!(told(&site("import uwsgi\nuwsgi.opt['my-key']\nbroken").run().log), all[1..]);
    assert_eq!(told(&site(ANSWER).ini("chdir = nowhere").run().log), all, "nothing was loaded");
    assert_eq!(told(&site(ANSWER).ini("home = nowhere").run().log), all, "nothing was loaded");
}

#[test]
fn callables_can_have_any_name() {
    let site = Site::code(
        r#"
            class Site:
                def __call__(self, environ, start_response):
                    start_response('200 OK', [])
                    return [b'an instance']
            site = Site()
        "#,
    );
    let server = site.ini("callable = site").start();
    assert_eq!(server.get("/").ok(), "an instance");
}

#[test]
fn a_folder_can_be_changed_to() {
    let site = Site::empty().ini("http-socket = 127.0.0.1:0\nchdir = sub\nwsgi-file = where.py");
    std::fs::create_dir(site.path("sub")).unwrap();
    let code = "import os\ndef application(e, start):\n    start('200 OK', [])\n    return [os.getcwd().encode()]\n";
    std::fs::write(site.path("sub/where.py"), code).unwrap();
    let folder = site.path("sub").canonicalize().unwrap();
    assert_eq!(site.start().get("/").ok(), folder.display().to_string());
}

#[test]
fn privileges_are_dropped() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("not root: not tested");
        return;
    }
    let site = Site::empty().ini("http-socket = 127.0.0.1:0\nhttp-socket = run/app.sock\nwsgi-file = app.py");
    site.write("app.py", include_str!("apps/control.py"));
    let run = site.path("run");
    std::fs::create_dir(&run).unwrap();
    nix::unistd::chown(&run, Some(65534.into()), Some(65534.into())).unwrap();
    // An interpreter that everybody may run: the one of the superuser may sit in a closed folder.
    let Some(python) = python_for_everybody() else { return };
    let server = site.env("PATH", python).ini("uid = 65534\ngid = 65534").start();
    for process in server.master().tree() {
        for id in ["Uid", "Gid"] {
            assert_eq!(process.status(id).unwrap().split_whitespace().collect::<Vec<_>>(), ["65534"; 4], "{id}");
        }
        assert!(process.status("Groups").unwrap().split_whitespace().all(|group| group == "65534"));
    }
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(run.join("app.sock")).unwrap());
    assert_eq!((server.get("/").ok(), owner), ("hello", 65534));
    let worker = server.workers()[0];
    assert!(!server.log.text().contains("running as root"));
    server.signal(nix::sys::signal::Signal::SIGKILL);
    worker.wait_for_end("the worker of another user");
}

fn python_for_everybody() -> Option<&'static str> {
    let found = ["/usr/bin", "/usr/local/bin"].into_iter().find(|dir| {
        let path = std::path::Path::new(dir).join("python3");
        crate::harness::python::usable().any(|python| python.path == path)
    });
    if found.is_none() {
        eprintln!("no python3 in a folder that everybody may read: not tested");
    }
    found
}

#[test]
fn help_and_version_are_answers() {
    let site = Site::empty();
    for (arguments, words) in [
        (&["--help"][..], ["--ini FILE", "--processes NUM", "--help-all"]),
        (&["-h"], ["--ini FILE", "--processes NUM", "--help-all"]),
        (&["--help-all"], ["Workers", "--processes", "--log-format"]),
        (&["--help", "processes"], ["-p, --processes NUM, --workers NUM", "UWSGI_PROCESSES", "in a file"]),
        (&["--help", "never-swap"], ["mlockall", "not built yet", "a warning"]),
        (&["--options-status"], ["names of uWSGI's options", " work\n", "not needed"]),
        (&["completions", "bash"], ["_ruwsgi()", "--processes", "complete"]),
    ] {
        let help = site.run_with(arguments);
        assert_eq!((help.code, help.log.as_str()), (0, ""), "{arguments:?}");
        for word in words {
            assert!(help.out.contains(word), "{word} is not in\n{}", help.out);
        }
    }
    site.run_with(["--help", "procesess"]).failed(1, &["procesess", "did you mean processes?"]);
    site.run_with(["completions", "csh"]).failed(1, &["bash, zsh, fish"]);
    let version = site.run_with(["--version"]);
    assert_eq!((version.code, version.out.as_str()), (0, concat!("ruwsgi ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn an_asked_for_backlog_above_the_limit_is_told() {
    let limit: u64 = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    let server = Site::app("hello.py").ini(&format!("listen = {}", limit + 1)).start();
    let line = server.wait_for("somaxconn");
    assert!(line.contains("listen") && line.contains("uwsgi.ini:4"), "{line}");
    assert!(server.log.text().contains(&format!("(backlog {limit})")));
}

#[test]
fn nobody_loads_an_application_that_was_not_asked_for() {
    let site = Site::empty().ini("http-socket = 127.0.0.1:0");
    let server = site.start();
    assert_eq!(server.get("/").status, 500);
}

#[test]
fn an_application_that_may_be_missing_answers_500() {
    let server = Site::code("raise RuntimeError('no application today')").ini("need-app = false").start();
    server.wait_for("no application today");
    assert_eq!(server.get("/").status, 500);
}

#[test]
fn the_umask_is_that_of_the_configuration() {
    let site = Site::code(
        r#"
            import os
            def application(environ, start_response):
                mask = os.umask(0)
                os.umask(mask)
                start_response('200 OK', [])
                return [oct(mask).encode()]
        "#,
    );
    assert_eq!(site.ini("umask = 027").start().get("/").ok(), "0o27");
}

#[test]
fn an_application_is_loaded_once() {
    let server = serve_code(
        r#"
            import sys
            print('loading', file=sys.stderr, flush=True)
            def application(environ, start_response):
                start_response('200 OK', [])
                return [b'']
        "#,
    );
    server.get("/").ok();
    assert_eq!(server.log.text().matches("loading\n").count(), 1);
}

#[test]
fn the_configuration_can_be_shown() {
    let site = site().ini("greeting = hello\nhttp-socket = 127.0.0.1:0\nwsgi-file = %d/app.py\nenv = G=%(greeting)");
    site.write_ini();
    let file = format!("{}//app.py", site.dir().display());
    let server = site.launch_with(["--show-config", "--ini", "uwsgi.ini"]);
    server.wait_for_workers(1);
    let log = server.stop().log;
    let shown: Vec<_> = log.lines().skip_while(|line| !line.starts_with(";ruwsgi instance")).collect();
    let wanted = ["show-config = true", "ini = uwsgi.ini", "greeting = hello", "env = G=hello"];
    assert_eq!(shown[1], "[uwsgi]");
    assert!(wanted.iter().all(|line| shown.contains(line)), "{log}");
    assert!(
        shown.contains(&format!("wsgi-file = {file}").as_str()) && shown.contains(&";end of configuration"),
        "{log}"
    );
}
