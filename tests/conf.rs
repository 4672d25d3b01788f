//! The files in `conf` that are for other programs: each is read by the program it is for, or by its rules, and what it
//! says about ruwsgi is tried. (Those for front ends are tried in `front_ends`.)

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use nix::sys::signal::Signal;

use crate::harness::apps::{copy, read, skip};
use crate::harness::{Site, eventually, project, python};

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(project().join("conf").join(folder)).unwrap().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// The output of a program, or `None` where it is not installed, which is told.
fn output(command: &mut Command) -> Option<Output> {
    match command.output() {
        Ok(output) => Some(output),
        Err(error) => {
            skip(&format!("{}: {error}", command.get_program().display()));
            None
        }
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// The binary and the module as a package has them.
pub fn install(root: &Path) {
    let built = Path::new(env!("CARGO_BIN_EXE_ruwsgi"));
    let module = ["deps/libruwsgi_python.so", "libruwsgi_python.so"].map(|name| built.parent().unwrap().join(name));
    // What a test refreshes is newer than what a build has left.
    let time = |path: &&PathBuf| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    let module = module.iter().filter(|path| path.exists()).max_by_key(time).unwrap();
    for (file, place) in [(built, "bin/ruwsgi"), (module, "lib/ruwsgi/libruwsgi_python.so")] {
        let place = root.join(place);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        // Much faster than a copy, where both are on one disk.
        if std::fs::hard_link(file, &place).is_err() {
            std::fs::copy(file, &place).unwrap();
        }
    }
}

#[test]
fn units_are_as_systemd_wants_them() {
    let site = Site::empty();
    install(&site.path("usr"));
    let program = site.path("usr/bin/ruwsgi").display().to_string();
    let mut units = Vec::new();
    for unit in files("systemd") {
        let text = read(&unit).replace("/usr/bin/ruwsgi", &program);
        let name = unit.file_name().unwrap().to_str().unwrap().to_owned();
        site.write(&name, &text);
        // An instance of a template is what can be looked at.
        if name.contains('@') {
            let (name, kind) = name.split_once('@').unwrap();
            std::os::unix::fs::symlink(site.path(&format!("{name}@{kind}")), site.path(&format!("{name}@shop{kind}")))
                .unwrap();
            units.push(site.path(&format!("{name}@shop{kind}")));
        } else {
            units.push(site.path(&name));
        }
    }
    assert!(units.len() >= 2, "{units:?}");
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).args(&units);
    let Some(output) = output(&mut command) else { return };
    assert!(output.status.success() && said(&output).trim().is_empty(), "{}", said(&output));
}

/// The value of the last line `NAME=value` of a unit.
fn line<'t>(unit: &'t str, name: &str) -> &'t str {
    let value = |line: &'t str| line.strip_prefix(name)?.strip_prefix('=');
    unit.lines().rev().find_map(value).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn the_commands_of_the_unit_start_reload_and_stop() {
    let unit = read(&project().join("conf/systemd/ruwsgi@.service"));
    assert_eq!((line(&unit, "Type"), line(&unit, "KillSignal")), ("notify", "SIGTERM"));
    let site = Site::app("hello.py");
    let ini = site.write_ini();
    let start = line(&unit, "ExecStart").replace("/etc/ruwsgi/%i.ini", ini.to_str().unwrap());
    let words: Vec<&str> = start.split_whitespace().collect();
    assert_eq!(words[0], "/usr/bin/ruwsgi");
    let server = site.launch_with(&words[1..]);
    server.wait_for_workers(1);
    let reload = line(&unit, "ExecReload").replace("$MAINPID", &server.master().pid.to_string());
    assert!(Command::new("sh").args(["-c", &reload]).status().unwrap().success());
    server.wait_for("generation 2 is complete");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn logs_are_rotated_and_no_line_is_lost() {
    let site = Site::code(
        "
        def application(environ, start_response):
            print('line', environ['QUERY_STRING'], flush=True)
            start_response('200 OK', [])
            return [b'']
        ",
    );
    let ini = "logto = log/shop.log\nmaster-fifo = run/shop/fifo\npidfile = pid\ndisable-logging = true";
    let site = site.ini(ini).env("TZ", "UTC");
    for folder in ["log", "run/shop", "run/gone"] {
        std::fs::create_dir_all(site.path(folder)).unwrap();
    }
    // One that nobody reads holds nobody up.
    nix::unistd::mkfifo(&site.path("run/gone/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let conf = read(&project().join("conf/logrotate/ruwsgi"));
    let conf = conf.replace("/var/log/ruwsgi", site.path("log").to_str().unwrap());
    let conf = conf.replace("/run/ruwsgi", site.path("run").to_str().unwrap()).replace("timeout 5", "timeout 1");
    let conf = conf.replace("su www-data www-data", "su root root");
    let conf = site.write("rotate", &conf);
    std::fs::set_permissions(&conf, std::fs::Permissions::from_mode(0o644)).unwrap();
    let rotate = |flag: &str| {
        let mut command = Command::new("/usr/sbin/logrotate");
        command.args([flag, "--state"]).arg(site.path("state")).arg(&conf);
        command
    };
    let Some(tried) = output(&mut rotate("-d")) else { return };
    // Of itself, in this mode.
    let text = said(&tried).replace("warning: logrotate in debug mode", "");
    assert!(tried.status.success() && !text.contains("error:") && !text.contains("warning:"), "{text}");
    if !nix::unistd::getuid().is_root() {
        return skip("logrotate: only root may change its user");
    }
    site.write_ini();
    let log = site.path("log/shop.log");
    let server = {
        let command = site.command(["--ini", "uwsgi.ini"]);
        crate::harness::Server::of(command, Site::empty())
    };
    let text = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("the server is ready", || text().contains("ready after").then_some(()));
    let at =
        text().lines().find_map(|line| line.split_once(" on ")?.1.split_once(" (backlog")?.0.parse().ok()).unwrap();
    let say = |number: u32| crate::harness::Client::tcp(at).get(&format!("/?{number}")).status;
    assert_eq!(say(1), 200);
    let rotated = rotate("-f").output().unwrap();
    assert!(rotated.status.success(), "{}", said(&rotated));
    eventually("the log is opened anew", || text().contains("the log was opened anew").then_some(()));
    assert_eq!(say(2), 200);
    eventually("the new log has the line", || text().contains("line 2").then_some(()));
    let former = std::fs::read_to_string(site.path("log/shop.log.1")).unwrap();
    assert!(former.contains("line 1") && !text().contains("line 1"));
    drop(server);
}

/// A virtual environment with what knows Kubernetes' schemas.
fn schemas() -> Option<&'static Path> {
    static MADE: OnceLock<Option<PathBuf>> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venvs/kubernetes");
        let tool = folder.join("bin/kubernetes-validate");
        let run = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        let whole = tool.exists()
            || run(Command::new(python::default()).args(["-m", "venv", "--clear"]).arg(&folder))
                && run(Command::new(folder.join("bin/pip")).args(["install", "--quiet", "kubernetes-validate"]));
        whole.then_some(tool)
    });
    if made.is_none() {
        skip("Kubernetes: its schemas can't be installed");
    }
    made.as_deref()
}

#[test]
fn manifests_are_as_kubernetes_wants_them() {
    let manifests = files("kubernetes");
    assert!(!manifests.is_empty());
    let Some(tool) = schemas() else { return };
    for manifest in &manifests {
        let checked = Command::new(tool).arg("--strict").arg(manifest).output().unwrap();
        assert!(checked.status.success(), "{}: {}", manifest.display(), said(&checked));
    }
    // And it does find something.
    let site = Site::empty();
    let wrong = site.write("wrong.yaml", &read(&manifests[0]).replace("replicas: 2", "replicas: two"));
    assert!(!Command::new(tool).arg("--strict").arg(wrong).status().unwrap().success());
}

#[test]
fn the_manifest_and_its_configuration_agree() {
    let manifest = read(&project().join("conf/kubernetes/app.yaml"));
    let (_, ini) = manifest.split_once("uwsgi.ini: |\n").unwrap();
    let ini: String =
        ini.lines().take_while(|line| line.starts_with("    ")).map(|line| format!("{}\n", &line[4..])).collect();
    let number = |text: &str, name: &str| -> u32 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
        line.trim_matches([' ', ':', '=']).parse().unwrap()
    };
    let grace = number(&manifest, "terminationGracePeriodSeconds");
    assert!(grace > number(&ini, "drain-delay") + number(&ini, "worker-reload-mercy"));
    for (option, port) in [("http-socket", "containerPort: 8080"), ("admin", "containerPort: 9191")] {
        let said = ini.lines().find_map(|line| line.strip_prefix(option)?.strip_prefix(" = :")).unwrap();
        assert!(port.ends_with(said) && manifest.contains(port));
    }
    probes_answer(&ini, &manifest);
}

/// Serves a configuration of a container as it is, but for ports and the virtual environment, and asks what probes ask.
fn probes_answer(ini: &str, asks: &str) {
    let site = Site::app("hello.py");
    std::fs::rename(site.path("app.py"), site.path("wsgi.py")).unwrap();
    let ini =
        ini.replace("http-socket = :8080", "http-socket = 127.0.0.1:0").replace("admin = :9191", "admin = 127.0.0.1:0");
    site.write("uwsgi.ini", &ini.replace("virtualenv = /venv\n", "").replace("drain-delay = ", "drain-delay = 1 ;"));
    let server = site.launch_with(["--ini", "uwsgi.ini"]);
    server.wait_for_workers(2);
    server.get("/").ok();
    let admin = server.wait_for("admin at ").rsplit(' ').next().unwrap().to_owned();
    for path in ["/livez", "/readyz", "/startupz"] {
        if asks.contains(path) {
            let url = format!("http://{admin}{path}");
            let asked = server.site.run_with(["curl", "--fail", "--max-time", "2", &url]);
            assert_eq!(asked.code, 0, "{path}: {}{}", asked.log, asked.out);
        }
    }
    server.stop();
}

/// The instructions of a Dockerfile: word and rest, lines joined, comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = lines.join("\n").replace("\\\n", " ");
    let split = |line: &str| line.trim().split_once(' ').map(|(word, rest)| (word.to_owned(), rest.trim().to_owned()));
    joined.lines().filter_map(split).collect()
}

#[test]
fn the_image_is_made_of_stages_that_are_there() {
    const KNOWN: [&str; 14] = [
        "FROM",
        "RUN",
        "CMD",
        "LABEL",
        "EXPOSE",
        "ENV",
        "ADD",
        "COPY",
        "ENTRYPOINT",
        "USER",
        "WORKDIR",
        "ARG",
        "STOPSIGNAL",
        "HEALTHCHECK",
    ];
    let text = read(&project().join("conf/docker/Dockerfile"));
    let all = instructions(&text);
    let mut stages = BTreeSet::new();
    for (word, rest) in &all {
        assert!(KNOWN.contains(&word.as_str()), "{word} {rest}");
        if word == "FROM" {
            let words: Vec<&str> = rest.split_whitespace().collect();
            assert!(words[0].split_once(':').is_some_and(|(_, tag)| tag != "latest"), "a version is named: {rest}");
            stages.extend(words.get(2).copied());
        }
        if let Some((from, _)) = rest.strip_prefix("--from=").and_then(|rest| rest.split_once(' ')) {
            assert!(stages.contains(from), "COPY {rest}");
        }
        if matches!(word.as_str(), "ENTRYPOINT" | "CMD") {
            serde_json::from_str::<Vec<String>>(rest).unwrap_or_else(|error| panic!("{word} {rest}: {error}"));
        }
        if word == "RUN" {
            // The shell parses it.
            let parsed = Command::new("sh").args(["-n", "-c", rest]).output().unwrap();
            assert!(parsed.status.success(), "{rest}: {}", said(&parsed));
        }
    }
    let last = |word: &str| all.iter().rfind(|(known, _)| known == word).map(|(_, rest)| rest.as_str()).unwrap();
    assert!(last("USER").parse::<u32>().unwrap() > 0, "not root, and by number");
    assert_eq!(last("STOPSIGNAL"), "SIGTERM");
    // The same C library in the stage that builds and in the one that runs.
    let bases: Vec<&str> = all.iter().filter(|(word, _)| word == "FROM").map(|(_, rest)| rest.as_str()).collect();
    assert!(bases.iter().all(|base| base.contains("bookworm")), "{bases:?}");
    let health = last("HEALTHCHECK");
    let (_, health) = health.split_once("CMD ").unwrap();
    let health: Vec<String> = serde_json::from_str(health).unwrap();
    assert_eq!(health[..3], ["ruwsgi", "curl", "--fail"]);
    probes_answer(&read(&project().join("conf/docker/uwsgi.ini")), health.last().unwrap());
}

#[test]
fn what_the_image_installs_runs_there() {
    // As the last stage has it: a prefix, an application that the user may only read, no home.
    let site = Site::empty();
    let text = read(&project().join("conf/docker/Dockerfile"));
    assert!(text.contains("/out/bin/ruwsgi") && text.contains("/out/lib/ruwsgi/libruwsgi_python.so"));
    install(&site.path("usr/local"));
    std::fs::create_dir(site.path("app")).unwrap();
    copy(&project().join("examples/hello"), &site.path("app"));
    let mut command = Command::new(site.path("usr/local/bin/ruwsgi"));
    command.args(["--http-socket", "127.0.0.1:0", "--wsgi-file", "app.py"]);
    site.dress(&mut command);
    command.current_dir(site.path("app")).env_remove("HOME");
    let server = crate::harness::Server::of(command, site);
    server.wait_for_workers(1);
    server.get("/").ok();
    server.stop();
}
