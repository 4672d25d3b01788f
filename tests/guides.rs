//! The guides in `docs`: what they tell to type is typed, what they quote is said.
//!
//! A page is played in a folder of its own that stands for the root of the machine. Its first block of INI is the
//! configuration of a server that runs meanwhile; each block marked `sh` is run by the shell. `ruwsgi`, `nginx`,
//! `systemd-analyze` and everything of coreutils are the real ones. What needs a service manager, a container engine or a
//! cluster is played by a script that knows the files and the words it may be given.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use crate::conf::install;
use crate::harness::apps::{read, skip};
use crate::harness::{Server, Site, eventually, project};

/// Folders of the machine that a page speaks of.
const FOLDERS: [&str; 9] = [
    "/etc/ruwsgi",
    "/etc/uwsgi",
    "/etc/systemd/system",
    "/etc/nginx/conf.d",
    "/run/ruwsgi",
    "/run/uwsgi",
    "/var/log/ruwsgi",
    "/srv/shop",
    "/usr/bin",
];

/// What can't be had here: `systemctl` must be given verbs that it has and units that are there, and so on.
const PLAYED: &str = r#"#!/bin/sh
set -e
tool=$(basename "$0"); echo "$tool $*" >> "$ROOT/played"
fail() { echo "$tool: $*" >&2; exit 1; }
is_there() { [ -e "$ROOT$1" ] || [ -e "$1" ] || fail "there is no $1"; }
case "$tool $1" in
    "systemctl daemon-reload") ;;
    "systemctl enable"|"systemctl status"|"systemctl reload"|"systemctl stop")
        for last; do :; done
        case "$last" in ruwsgi@*) is_there /etc/systemd/system/ruwsgi@.service ;; *) fail "$last" ;; esac ;;
    "journalctl -u") [ "$2" = ruwsgi@shop ] ;;
    "docker build") [ "$4" = -f ] && is_there "$5" && is_there "$6" ;;
    "docker run") for last; do :; done; [ "$last" = shop ] ;;
    "docker exec") shift 2; exec "$@" ;;
    "docker logs"|"docker stop") [ "$2" = shop ] ;;
    "kubectl apply") [ "$2" = -f ] && is_there "$3" ;;
    "kubectl rollout") [ "$2 $3" = "status deployment/shop" ] ;;
    "kubectl exec") [ "$2 $3" = "deploy/shop --" ]; shift 3; exec "$@" ;;
    "kubectl logs") [ "$2" = deploy/shop ] ;;
    *) fail "nobody knows: $*" ;;
esac
"#;

/// The blocks of a page with their languages.
fn blocks(page: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut parts = page.split("\n```");
    parts.next();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (language, text) = block.split_once('\n').unwrap_or((block, ""));
        blocks.push((language.to_owned(), format!("{text}\n")));
    }
    blocks
}

/// A page with its folder.
struct Play {
    site: Site,
    page: String,
}

impl Play {
    fn of(name: &str) -> Self {
        let site = Site::empty();
        for folder in FOLDERS.iter().chain(&["/run/ruwsgi/shop", "/bin", "/tmp"]) {
            std::fs::create_dir_all(site.path(&folder[1..])).unwrap();
        }
        install(&site.path("usr"));
        std::fs::copy(project().join("examples/hello/app.py"), site.path("srv/shop/wsgi.py")).unwrap();
        for tool in ["systemctl", "journalctl", "docker", "kubectl"] {
            let path = site.write(tool, PLAYED);
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            std::fs::rename(&path, site.path(&format!("bin/{tool}"))).unwrap();
        }
        Self { page: read(&project().join(name)), site }
    }

    /// A text of the page, with this folder in the place of the machine.
    fn here(&self, text: &str) -> String {
        let root = self.site.dir().display().to_string();
        FOLDERS.iter().fold(text.to_owned(), |text, folder| text.replace(folder, &format!("{root}{folder}")))
    }

    /// Starts the server of the page; the page then speaks of the ports that it got.
    fn serve(&mut self, master: bool) -> Server {
        let (_, ini) = blocks(&self.page).into_iter().find(|(language, _)| language == "ini").expect("a configuration");
        let mut ini = self.here(&ini);
        for port in ["8080", "9191", "1717"] {
            ini = ini.replace(&format!("= :{port}"), &format!("= 127.0.0.1:{port}"));
            ini = ini.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
        }
        if !ini.contains("chdir") {
            ini.push_str(&format!("chdir = {}\n", self.site.path("srv/shop").display()));
        }
        let file = self.site.write("shop.ini", &ini);
        std::fs::rename(file, self.site.path("etc/ruwsgi/shop.ini")).unwrap();
        let mut command = Command::new(self.site.path("usr/bin/ruwsgi"));
        command.arg("--ini").arg(self.site.path("etc/ruwsgi/shop.ini"));
        self.site.dress(&mut command);
        let server = Server::of(command, Site::empty());
        let log = self.site.path("var/log/ruwsgi/shop.log");
        let text = || {
            if ini.contains("logto") { std::fs::read_to_string(&log).unwrap_or_default() } else { server.log.text() }
        };
        eventually("the server of the page", || text().contains("workers serving").then_some(()));
        let after = |mark: &str| -> Option<String> {
            let text = text();
            let line = text.lines().find(|line| line.contains(mark))?;
            Some(line.split(mark).nth(1)?.split(' ').next()?.to_owned())
        };
        for (said, mark) in
            [("127.0.0.1:8080", "http-socket on "), ("127.0.0.1:9191", "admin at "), ("127.0.0.1:1717", "stats at ")]
        {
            if let Some(at) = after(mark) {
                self.page = self.page.replace(said, &at);
            }
        }
        if master {
            // In a container, the master is process 1.
            self.page = self.page.replace("stacks 1\n", &format!("stacks {}\n", server.master().pid));
        }
        server
    }

    /// Runs all that is to be typed; what each block has said.
    fn run(&self) -> String {
        let mut said = String::new();
        let path = format!("{0}/bin:{0}/usr/bin:/usr/sbin:/usr/bin:/bin", self.site.dir().display());
        for (number, (_, block)) in blocks(&self.page).iter().filter(|(language, _)| language == "sh").enumerate() {
            let mut command = Command::new("timeout");
            command.args(["60", "sh", "-e", "-c", &self.here(block)]);
            command.current_dir(self.site.dir()).env_clear().env("PATH", &path).env("ROOT", self.site.dir());
            let output = command.output().unwrap();
            let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
            assert!(output.status.success(), "block {number} ({}):\n{block}\n{text}", output.status);
            said.push_str(&text);
        }
        said
    }
}

#[test]
fn operations() {
    let mut play = Play::of("docs/OPERATIONS.md");
    let server = play.serve(false);
    let said = play.run();
    for part in ["ready", "Hello", "requests ", "\"form\": 1", "worker 1 (pid ", "Private_Dirty"] {
        assert!(said.contains(part), "no {part:?}:\n{said}");
    }
    // Two reloads were asked for, two pauses and a new log.
    let whole = || {
        let logs = ["shop.log.1", "shop.log"].map(|name| play.site.path("var/log/ruwsgi").join(name));
        logs.map(|path| std::fs::read_to_string(path).unwrap_or_default()).concat()
    };
    for line in ["generation 3 is complete", "resumed", "the log was opened anew"] {
        eventually(line, || whole().contains(line).then_some(()));
    }
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code, 0);
}

#[test]
fn behind_nginx() {
    let Some(nginx) = crate::harness::apps::nginx() else { return };
    let mut play = Play::of("docs/deploy/nginx.md");
    let _server = play.serve(false);
    // A port that nobody has: that of a listener which goes at once.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    play.page = play.page.replace("127.0.0.1:8080", &free.to_string());
    let (_, conf) = blocks(&play.page).into_iter().find(|(language, _)| language == "nginx").unwrap();
    let site = Site::empty();
    let user = if nix::unistd::getuid().is_root() { "user root;" } else { "" };
    let http = format!(
        "include /etc/nginx/uwsgi_params;\n{}",
        play.here(&conf).replace("include uwsgi_params;", "include /etc/nginx/uwsgi_params;")
    );
    let http = http.split_once('\n').unwrap().1.to_owned();
    let root = play.site.dir().display();
    let main = format!(
        "{user}\ndaemon off;\npid {root}/nginx.pid;\nerror_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n\
         client_body_temp_path {root}/tmp;\nproxy_temp_path {root}/tmp/p;\nfastcgi_temp_path {root}/tmp/f;\n\
         uwsgi_temp_path {root}/tmp/u;\nscgi_temp_path {root}/tmp/s;\n{http}}}\n"
    );
    let conf = play.site.write("nginx.conf", &main);
    play.page = play.page.replace("nginx -t\n", &format!("{} -t -c {}\n", nginx.display(), conf.display()));
    let mut command = Command::new(nginx);
    command.arg("-c").arg(&conf);
    site.dress(&mut command);
    let front = Server::of(command, site);
    eventually("nginx listens", || std::net::TcpStream::connect(free).ok());
    let said = play.run();
    assert_eq!(said.matches("Hello").count(), 2, "{said}");
    front.signal(Signal::SIGTERM);
}

#[test]
fn under_systemd() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return skip("systemd: systemd-analyze is not installed");
    }
    let mut play = Play::of("docs/deploy/systemd.md");
    std::os::unix::fs::symlink(project().join("conf"), play.site.path("conf")).unwrap();
    // Whether the program is there is asked of the root of the machine.
    let here = "sed -i 's|^ExecStart=.* --ini|ExecStart=/usr/bin/ruwsgi --ini|' /etc/systemd/system/ruwsgi@.service";
    play.page = play.page.replace("systemd-analyze verify", &format!("{here}\nsystemd-analyze verify --man=no"));
    let _server = play.serve(false);
    play.run();
    let played = read(&play.site.path("played"));
    assert!(played.contains("systemctl enable --now ruwsgi@shop"), "{played}");
    // What the page says of Debian's layout can be read.
    for (_, block) in blocks(&play.page).iter().filter(|(_, block)| block.starts_with("# /etc/ruwsgi/")) {
        let name = block.lines().next().unwrap().trim_start_matches("# /").to_owned();
        std::fs::write(play.site.path(&name), play.here(block)).unwrap();
    }
    std::fs::create_dir_all(play.site.path("etc/uwsgi/apps-enabled")).unwrap();
    play.site.write("etc.ini", "[uwsgi]\nplugins = python3\nmodule = wsgi:application\n");
    std::fs::rename(play.site.path("etc.ini"), play.site.path("etc/uwsgi/apps-enabled/blog.ini")).unwrap();
    let file = play.site.path("etc/ruwsgi/blog.ini");
    let checked = play.site.run_with(["check", file.to_str().unwrap()]);
    assert_eq!(checked.code, 0, "{}{}", checked.out, checked.log);
}

#[test]
fn in_a_container() {
    let mut play = Play::of("docs/deploy/docker.md");
    std::os::unix::fs::symlink(project().join("conf"), play.site.path("conf")).unwrap();
    let _server = play.serve(true);
    let said = play.run();
    assert!(said.contains("ready") && said.contains("worker 1 (pid "), "{said}");
    // The page and the file that it speaks of say the same.
    let (_, ini) =
        blocks(&read(&project().join("docs/deploy/docker.md"))).into_iter().find(|(it, _)| it == "ini").unwrap();
    same_options(&ini, &read(&project().join("conf/docker/uwsgi.ini")));
}

#[test]
fn on_kubernetes() {
    let mut play = Play::of("docs/deploy/kubernetes.md");
    std::os::unix::fs::symlink(project().join("conf"), play.site.path("conf")).unwrap();
    let _server = play.serve(true);
    let said = play.run();
    assert!(said.contains("alive") && said.contains("worker 1 (pid "), "{said}");
    let (_, ini) =
        blocks(&read(&project().join("docs/deploy/kubernetes.md"))).into_iter().find(|(it, _)| it == "ini").unwrap();
    let manifest = read(&project().join("conf/kubernetes/app.yaml"));
    let (_, there) = manifest.split_once("uwsgi.ini: |\n").unwrap();
    let there: String =
        there.lines().take_while(|line| line.starts_with("    ")).map(|line| format!("{}\n", line.trim())).collect();
    same_options(&ini, &there);
}

fn same_options(page: &str, file: &str) {
    let options = |text: &str| -> Vec<String> {
        let lines = text
            .lines()
            .filter(|line| line.contains(" = ") && !line.starts_with("virtualenv") && !line.starts_with('#'));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(options(page), options(file));
}

/// All sources of the product as one text, without line ends that a long string has.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "py") {
            let source = read(&path).replace("\\\"", "\"");
            text.push_str(&source.split("\\\n").map(str::trim_start).collect::<Vec<_>>().concat());
        }
    }
}

#[test]
fn the_faq_quotes_what_is_said() {
    let page = read(&project().join("docs/FAQ.md"));
    let (uwsgi, ours) = page.split_once("## What ruwsgi says").unwrap();
    let mut said = String::new();
    sources(&project().join("src"), &mut said);
    sources(&project().join("plugins"), &mut said);
    let headings =
        |text: &str| text.lines().filter_map(|line| line.strip_prefix("### ").map(str::to_owned)).collect::<Vec<_>>();
    assert!(headings(uwsgi).len() >= 20 && headings(ours).len() >= 25);
    for heading in headings(ours) {
        // What stands between what differs.
        let literal = heading.trim_matches('`');
        for piece in
            literal.split('…').flat_map(|piece| piece.split(" 431")).map(|piece| piece.trim_matches(['`', ' ']))
        {
            let piece = piece.trim_matches([':', '(', ')', '[', ']', '"', ' ']);
            assert!(piece.len() < 6 || said.contains(piece), "nothing says {piece:?} of {heading:?}");
        }
    }
}
