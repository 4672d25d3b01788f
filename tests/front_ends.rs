//! The files of `conf/`, as they stand but for addresses: each front end that is installed stands before the Django
//! example and speaks each of its protocols.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use crate::examples::{calm, django};
use crate::harness::apps::{self, Visitor};
use crate::harness::packet::program;
use crate::harness::{Server, Site, eventually, project};

/// The addresses in the files, and the options for them.
const DOORS: [(&str, u16); 5] = [
    ("uwsgi-socket", 3031),
    ("uwsgi-socket", 3032),
    ("fastcgi-socket", 9000),
    ("scgi-socket", 4000),
    ("http-socket", 8080),
];

/// The modules of Apache that the files need, beside those that are part of it.
const MODULES: [&str; 9] = [
    "mpm_event",
    "authz_core",
    "headers",
    "setenvif",
    "proxy",
    "proxy_http",
    "proxy_uwsgi",
    "proxy_fcgi",
    "proxy_scgi",
];

/// Starts the Django example with a door of each protocol on a host of its own; the host, and what is said beside that.
fn behind(said: &[&str]) -> Option<(Server, String)> {
    let (example, venv) = (django()?, apps::venv()?);
    let site = Site::empty();
    let data = site.path("data");
    apps::copy(&example.folder.join("data"), &data);
    let site = site.env(example.env, &data);
    let host = apps::loopback(0).ip().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ruwsgi"));
    command.arg("--set").arg(format!("address={host}:8080")).arg("--virtualenv").arg(venv).args(said);
    for (option, port) in &DOORS[..4] {
        command.arg(format!("--{option}={host}:{port}"));
    }
    command.arg("--ini").arg(example.folder.join("uwsgi.ini"));
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for_workers(2);
    Some((server, host))
}

/// Plays the Django example through a front end, for each of these files in `conf/`.
fn play(files: &[&str], said: &[&str], front: impl Fn(&Site, &str, SocketAddr) -> Option<Command>) {
    for file in files {
        let text = apps::read(&project().join("conf").join(file));
        let folder = Path::new(file).parent().unwrap();
        let name = Path::new(file).file_name().unwrap().to_str().unwrap();
        let readme = apps::read(&project().join("conf").join(folder).join("README.md"));
        assert!(readme.contains(&format!("`{name}`")), "README.md says what {name} is");
        let (site, address) = (Site::empty(), apps::loopback(8000));
        let Some(example) = django() else { return };
        if front(&site, "", address).is_none() {
            return;
        }
        let Some((server, host)) = behind(said) else { return };
        assert!(text.contains("127.0.0.1"), "{file} has its sample address");
        let Some(mut command) = front(&site, &text.replace("127.0.0.1", &host), address) else { return };
        site.dress(&mut command);
        let front = Server::of(command, site);
        eventually("the front end listens", || std::net::TcpStream::connect(address).ok());
        let mut visitor = Visitor::new(address, true);
        (example.visit)(&example.folder, &mut visitor);
        assert_eq!(visitor.connections, 1, "{file}: the connection is kept");
        drop(front);
        calm(server);
    }
}

#[test]
fn nginx_speaks_fastcgi_and_scgi() {
    play(&["nginx/fastcgi.conf", "nginx/scgi.conf"], &[], |site, text, address| {
        apps::nginx()?;
        site.write("site.conf", &text.replace("listen 80;", &format!("listen {address};")));
        Some(apps::nginx_command(site, "include site.conf;", &[]))
    });
}

#[test]
fn apache_speaks_all_of_them() {
    let files = ["apache/uwsgi.conf", "apache/fastcgi.conf", "apache/scgi.conf", "apache/http.conf"];
    play(&files, &[], |site, text, address| {
        let program = program("apache2")?;
        let modules = Path::new("/usr/lib/apache2/modules");
        let load = |name: &&str| format!("LoadModule {name}_module {}/mod_{name}.so\n", modules.display());
        let modules: String = MODULES.iter().map(load).collect();
        // As root, it wants to become somebody.
        let user = if nix::unistd::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
        site.write("site.conf", &text.replace("<VirtualHost *:80>", "<VirtualHost *>"));
        site.write(
            "apache.conf",
            &format!(
                "ServerRoot {0}\nServerName localhost\nDefaultRuntimeDir {0}\nPidFile apache.pid\nListen {address}\n\
                 ErrorLog /dev/stderr\nStartServers 1\nThreadsPerChild 4\nMaxRequestWorkers 4\nMinSpareThreads 1\n\
                 MaxSpareThreads 8\n{modules}{user}Include site.conf\n",
                site.dir().display()
            ),
        );
        let mut command = Command::new(program);
        command.args(["-D", "FOREGROUND", "-f"]).arg(site.path("apache.conf"));
        Some(command)
    });
}

#[test]
fn lighttpd_speaks_all_of_them() {
    let files = ["lighttpd/uwsgi.conf", "lighttpd/fastcgi.conf", "lighttpd/scgi.conf", "lighttpd/http.conf"];
    play(&files, &[], |site, text, address| {
        let program = program("lighttpd")?;
        site.write("site.conf", text);
        let (host, port, folder) = (address.ip(), address.port(), site.dir().display());
        site.write(
            "lighttpd.conf",
            &format!(
                "server.document-root = \"{folder}\"\nserver.bind = \"{host}\"\nserver.port = {port}\n\
                 server.upload-dirs = ( \"{folder}\" )\nserver.max-keep-alive-requests = 1000\ninclude \"site.conf\"\n"
            ),
        );
        let mut command = Command::new(program);
        command.arg("-D").arg("-f").arg(site.path("lighttpd.conf"));
        Some(command)
    });
}

#[test]
fn haproxy_speaks_fastcgi_and_the_proxy_protocol() {
    for (file, said) in [("haproxy/fastcgi.cfg", &[][..]), ("haproxy/http.cfg", &["--enable-proxy-protocol"])] {
        play(&[file], said, |site, text, address| {
            let program = program("haproxy")?;
            site.write("haproxy.cfg", "global\n    log stderr format raw local0 warning\n");
            site.write("site.cfg", &text.replace("bind :80", &format!("bind {address}")));
            let mut command = Command::new(program);
            command.arg("-db").arg("-f").arg(site.path("haproxy.cfg")).arg("-f").arg(site.path("site.cfg"));
            Some(command)
        });
    }
}
