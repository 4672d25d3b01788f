//! What stands in front of an application server: uwsgi packets, nginx, and real uWSGI to compare with.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Client, Server, Site, eventually};

/// A uwsgi packet.
pub fn packet<N: AsRef<[u8]>, V: AsRef<[u8]>>(modifier1: u8, vars: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for text in vars.iter().flat_map(|(name, value)| [name.as_ref(), value.as_ref()]) {
        block.extend(u16::try_from(text.len()).unwrap().to_le_bytes());
        block.extend(text);
    }
    let [low, high] = u16::try_from(block.len()).unwrap().to_le_bytes();
    [vec![modifier1, low, high, 0], block].concat()
}

/// What nginx sends for `METHOD URI` with its `uwsgi_params`, and these variables.
pub fn request(method: &str, uri: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let usual = [
        ("QUERY_STRING", query),
        ("REQUEST_METHOD", method),
        ("CONTENT_TYPE", ""),
        ("CONTENT_LENGTH", ""),
        ("REQUEST_URI", uri),
        ("PATH_INFO", path),
        ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("REQUEST_SCHEME", "http"),
        ("REMOTE_ADDR", "192.0.2.1"),
        ("REMOTE_PORT", "54321"),
        ("SERVER_PORT", "80"),
        ("SERVER_NAME", "example.com"),
        ("HTTP_HOST", "example.com"),
        ("HTTP_USER_AGENT", "curl/8"),
    ];
    let said = |name| more.iter().any(|(known, _)| *known == name);
    let usual = usual.into_iter().filter(|(name, _)| !said(*name));
    packet(0, &usual.chain(more.iter().copied()).collect::<Vec<_>>())
}

/// A program that is on the `PATH`, where administrators have theirs, or in the folder of the peers that `tools/bench`
/// compares with.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var("HOME").unwrap_or_default();
    let peers = std::env::var("RUWSGI_PEERS").unwrap_or(format!("{home}/.cache/ruwsgi-peers"));
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), Path::new(&peers).join("bin")]);
    let found = folders.map(|folder| folder.join(name)).find(|program| program.is_file());
    if found.is_none() {
        eprintln!("there is no {name} here: not tested with it");
    }
    found
}

/// Real uWSGI with `tests/apps/NAME` behind `app.sock`.
pub fn real_uwsgi(name: &str) -> Option<Server> {
    let program = program("uwsgi")?;
    let site = Site::empty();
    std::fs::copy(super::app(name), site.path("app.py")).unwrap();
    let mut command = Command::new(program);
    command.args(["--socket", "app.sock", "--wsgi-file", "app.py", "--master", "--die-on-term"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for("spawned uWSGI worker 1");
    Some(server)
}

/// nginx that passes everything to `upstream` by the uwsgi protocol, and serves at `nginx.sock`.
pub fn nginx(upstream: &str) -> Option<Server> {
    let program = program("nginx")?;
    let params = std::fs::read_to_string("/etc/nginx/uwsgi_params").ok()?;
    let site = Site::empty();
    // As root, its workers would be somebody who may not connect to the sockets of root.
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: String = folders.iter().map(|name| format!("{name}_temp_path {name}_temp;\n")).collect();
    let listen = site.path("nginx.sock").display().to_string();
    let text = format!(
        "daemon off; {user} pid nginx.pid; error_log stderr; events {{}}\nhttp {{\naccess_log off;\n{folders}\
         client_max_body_size 0; large_client_header_buffers 8 64k; uwsgi_buffer_size 64k; uwsgi_buffers 8 64k;\n\
         server {{ listen unix:{listen}; location / {{\n{params}\nuwsgi_pass {upstream};\n}} }} }}\n"
    );
    site.write("nginx.conf", &text);
    let mut command = Command::new(program);
    command.args(["-p", "."]).arg("-c").arg(site.path("nginx.conf")).args(["-e", "stderr"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    eventually("nginx listens", || std::os::unix::net::UnixStream::connect(server.path("nginx.sock")).ok());
    Some(server)
}

/// Sends bytes to a unix socket and reads all that comes.
pub fn ask_unix(path: &Path, raw: &[u8]) -> Vec<u8> {
    let mut client = Client::unix(path);
    client.send(raw);
    client.rest()
}
