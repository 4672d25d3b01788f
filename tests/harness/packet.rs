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
    packet(0, &vars(method, uri, more))
}

/// The variables of such a request.
pub fn vars<'v>(method: &'v str, uri: &'v str, more: &[(&'v str, &'v str)]) -> Vec<(&'v str, &'v str)> {
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
    usual.chain(more.iter().copied()).collect()
}

/// A request of SCGI: the length of the body first, as the specification wants it.
pub fn scgi(vars: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let others = vars.iter().filter(|(name, _)| *name != "CONTENT_LENGTH");
    let others: String = others.map(|(name, value)| format!("{name}\0{value}\0")).collect();
    let block = format!("CONTENT_LENGTH\0{}\0SCGI\01\0{others}", body.len());
    [format!("{}:{block},", block.len()).as_bytes(), body].concat()
}

/// One record of FastCGI.
pub fn record(kind: u8, id: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[1, kind][..], &id.to_be_bytes(), &length, &[0, 0], content].concat()
}

/// A request of FastCGI. `keep`: the connection is to go on.
pub fn fastcgi(id: u16, keep: bool, vars: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in vars {
        for text in [name, value] {
            match text.len() {
                short @ ..0x80 => block.push(short as u8),
                long => block.extend((long as u32 | 0x8000_0000).to_be_bytes()),
            }
        }
        block.extend(name.bytes().chain(value.bytes()));
    }
    let params = block.chunks(60_000).map(|part| record(4, id, part));
    let stdin = body.chunks(65_535).map(|part| record(5, id, part));
    let begin = record(1, id, &[0, 1, keep.into(), 0, 0, 0, 0, 0]);
    let parts = [begin].into_iter().chain(params).chain([record(4, id, b"")]).chain(stdin).chain([record(5, id, b"")]);
    parts.flatten().collect()
}

/// What comes for one request of FastCGI: all of `STDOUT`, and what `END_REQUEST` says. The records are read one by
/// one, so that the connection can go on.
pub fn fastcgi_answer(client: &mut Client, id: u16) -> (Vec<u8>, u8) {
    let mut out = Vec::new();
    loop {
        let (kind, of, content) = fastcgi_record(client);
        assert_eq!(of, id, "a record of another request");
        match kind {
            6 => out.extend(content),
            3 => return (out, content[4]),
            _ => panic!("a record of the type {kind}"),
        }
    }
}

/// The next record: its type, id and content.
pub fn fastcgi_record(client: &mut Client) -> (u8, u16, Vec<u8>) {
    let header = client.exactly(8);
    let [1, kind, id1, id0, length1, length0, padding, _] = header[..] else { panic!("no record: {header:?}") };
    let content = client.exactly(u16::from_be_bytes([length1, length0]).into());
    client.exactly(padding.into());
    (kind, u16::from_be_bytes([id1, id0]), content)
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
    real_uwsgi_by("socket", name)
}

/// The same, where this option says what it speaks.
pub fn real_uwsgi_by(option: &str, name: &str) -> Option<Server> {
    let program = program("uwsgi")?;
    let site = Site::empty();
    std::fs::copy(super::app(name), site.path("app.py")).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--{option}")).args(["app.sock", "--wsgi-file", "app.py", "--master", "--die-on-term"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for("spawned uWSGI worker 1");
    Some(server)
}

/// nginx that passes everything to `upstream` by the uwsgi protocol, and serves at `nginx.sock`.
pub fn nginx(upstream: &str) -> Option<Server> {
    let params = nginx_params("uwsgi")?;
    let server =
        format!("uwsgi_buffer_size 64k; uwsgi_buffers 8 64k;\n{params}\nlocation / {{ uwsgi_pass {upstream}; }}");
    nginx_with("", &server)
}

/// The variables that nginx sends by one of its protocols, as it is installed.
pub fn nginx_params(protocol: &str) -> Option<String> {
    std::fs::read_to_string(format!("/etc/nginx/{protocol}_params")).ok()
}

/// nginx with this in its server, which is at `nginx.sock`, and this beside it.
pub fn nginx_with(outside: &str, server: &str) -> Option<Server> {
    let program = program("nginx")?;
    let site = Site::empty();
    // As root, its workers would be somebody who may not connect to the sockets of root.
    let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: String = folders.iter().map(|name| format!("{name}_temp_path {name}_temp;\n")).collect();
    let listen = site.path("nginx.sock").display().to_string();
    let text = format!(
        "daemon off; {user} pid nginx.pid; error_log stderr; events {{}}\nhttp {{\naccess_log off;\n{folders}\
         client_max_body_size 0; keepalive_requests 1000000; large_client_header_buffers 8 64k; {outside}\n\
         server {{ listen unix:{listen}; {server} }} }}\n"
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
