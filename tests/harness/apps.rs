//! The examples as a user runs them: a virtual environment with their requirements, a copy of their folder, their
//! `uwsgi.ini` under this server or under real uWSGI, nginx in front.
//!
//! What is made once is kept in the build folder. What a machine can't have (packages, nginx, uWSGI) is told on stderr,
//! past the capture of the test runner, and the tests that need it end there.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Client, Server, Site, eventually, project, python};

/// The release of uWSGI that answers are compared with.
const UWSGI: &str = "2.0.31";

/// Says that something is not tested.
pub fn skip(why: &str) {
    let _ = writeln!(std::io::stderr(), "not tested: {why}");
}

/// Something that is looked for once and may be missing, which is told once for each test that asks.
fn found(
    cell: &'static OnceLock<Result<PathBuf, String>>,
    look: fn() -> Result<PathBuf, String>,
) -> Option<&'static Path> {
    match cell.get_or_init(look) {
        Ok(path) => Some(path),
        Err(why) => {
            skip(why);
            None
        }
    }
}

/// A virtual environment with the requirements of all examples.
pub fn venv() -> Option<&'static Path> {
    static VENV: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    found(&VENV, make_venv)
}

/// Real uWSGI, of the same interpreter.
pub fn uwsgi() -> Option<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    venv()?;
    found(&BINARY, install_uwsgi)
}

/// nginx.
pub fn nginx() -> Option<&'static Path> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    found(&BINARY, || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
        let mut binaries = folders.map(|folder| folder.join("nginx"));
        binaries.find(|binary| binary.is_file()).ok_or_else(|| "nginx is not installed".to_owned())
    })
}

fn make_venv() -> Result<PathBuf, String> {
    let wanted: String = ["django", "flask"].iter().map(|name| read(&example(name).join("requirements.txt"))).collect();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("venvs").join("examples");
    // Written last: a folder that has it is whole.
    let note = folder.join("has.txt");
    let has = format!("{}\n{wanted}", python::default().display());
    if std::fs::read_to_string(&note).is_ok_and(|text| text == has) {
        return Ok(folder);
    }
    let failed = |what: &str| format!("the examples: {what}");
    run(Command::new(python::default()).args(["-m", "venv", "--clear"]).arg(&folder)).map_err(|why| failed(&why))?;
    pip(&folder, wanted.split_whitespace()).map_err(|why| failed(&why))?;
    std::fs::write(note, has).map_err(|error| failed(&error.to_string()))?;
    Ok(folder)
}

fn install_uwsgi() -> Result<PathBuf, String> {
    let folder = venv().ok_or("uWSGI: no virtual environment")?;
    let binary = folder.join("bin/uwsgi");
    let works = || {
        let version = Command::new(&binary).arg("--version").output();
        version.is_ok_and(|version| version.stdout.trim_ascii() == UWSGI.as_bytes())
    };
    // It comes as source only.
    if !works() {
        run(Command::new("cc").arg("--version")).map_err(|_| "uWSGI: there is no compiler to build it".to_owned())?;
        pip(folder, std::iter::once(format!("uwsgi=={UWSGI}").as_str())).map_err(|why| format!("uWSGI: {why}"))?;
    }
    if works() { Ok(binary) } else { Err(format!("uWSGI: {} does not run", binary.display())) }
}

fn pip<'a>(venv: &Path, wanted: impl Iterator<Item = &'a str>) -> Result<Output, String> {
    run(Command::new(venv.join("bin/python")).args(["-m", "pip", "install", "--quiet"]).args(wanted))
}

/// Runs a command to its end; its last words are the error.
fn run(command: &mut Command) -> Result<Output, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    let last = String::from_utf8_lossy(&output.stderr).trim().lines().last().unwrap_or_default().to_owned();
    if output.status.success() { Ok(output) } else { Err(format!("{command:?}: {last}")) }
}

/// The folder of an example.
pub fn example(name: &str) -> PathBuf {
    project().join("examples").join(name)
}

/// A file as text.
pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An address that nobody else on this machine has: one of the loopback network for each call, one part of it for each
/// test process. So programs that can't tell which port the kernel has chosen get fixed ports.
pub fn loopback(port: u16) -> SocketAddr {
    static CALLS: AtomicU32 = AtomicU32::new(1);
    let (process, call) = (std::process::id(), CALLS.fetch_add(1, Ordering::Relaxed));
    assert!(call < 255, "the addresses of this process are used up");
    let [third, second] = [process % 256, 64 + process / 256 % 128].map(|part| part as u8);
    (Ipv4Addr::new(127, second, third, call as u8), port).into()
}

/// Copies a folder, but not what somebody who tried an example has left in it.
pub fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.unwrap();
        if [".venv", "__pycache__", "data", "public"].iter().any(|left| entry.file_name() == *left) {
            continue;
        }
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// A server program that runs an example.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Program {
    /// The binary of this project.
    Ruwsgi,
    /// Real uWSGI.
    Uwsgi,
}

/// A way into an application.
#[derive(Clone, Debug)]
pub enum Door {
    /// HTTP over TCP.
    Http(SocketAddr),
    /// The uwsgi protocol over TCP.
    Tcp(SocketAddr),
    /// The uwsgi protocol over a unix socket.
    Unix(PathBuf),
}

/// An example that runs, with all its doors open.
pub struct Running {
    /// The server.
    pub server: Server,
    /// HTTP, uwsgi over TCP, uwsgi over a unix socket.
    pub doors: [Door; 3],
}

/// Starts the `uwsgi.ini` in `folder` under a server program, with addresses of its own from the command line.
pub fn start(program: Program, folder: &Path, site: Site) -> Running {
    let (http, tcp, unix) = (loopback(8080), loopback(3031), site.path("app.sock"));
    let venv = venv().expect("there is a virtual environment");
    let mut command = match program {
        Program::Ruwsgi => Command::new(env!("CARGO_BIN_EXE_ruwsgi")),
        Program::Uwsgi => Command::new(uwsgi().expect("uWSGI is installed")),
    };
    command.arg("--set").arg(format!("address={http}")).arg("--virtualenv").arg(venv);
    command.arg("--socket").arg(tcp.to_string()).arg("--socket").arg(&unix);
    command.arg("--ini").arg(folder.join("uwsgi.ini"));
    site.dress(&mut command);
    let server = Server::of(command, site);
    match program {
        Program::Ruwsgi => server.wait_for_workers(2),
        Program::Uwsgi => drop(server.wait_for("spawned uWSGI worker 2")),
    }
    Running { server, doors: [Door::Http(http), Door::Tcp(tcp), Door::Unix(unix)] }
}

/// nginx in front of a door, as the snippet in `conf/nginx` for it says; its own address.
pub fn front(door: &Door) -> (Server, SocketAddr) {
    let site = Site::empty();
    let address = loopback(8000);
    let (snippet, sample, real) = match door {
        Door::Http(address) => ("http.conf", "127.0.0.1:8080", address.to_string()),
        Door::Tcp(address) => ("uwsgi-tcp.conf", "127.0.0.1:3031", address.to_string()),
        Door::Unix(path) => ("uwsgi-unix.conf", "/run/app/app.sock", path.display().to_string()),
    };
    let text = read(&project().join("conf/nginx").join(snippet));
    assert!(text.contains("listen 80;") && text.contains(&format!("{sample};")), "{snippet} has its sample addresses");
    site.write("site.conf", &text.replace("listen 80;", &format!("listen {address};")).replace(sample, &real));
    let command = nginx_command(&site, "include site.conf;", &[]);
    let server = Server::of(command, site);
    let reachable = || std::net::TcpStream::connect(address).ok();
    eventually("nginx listens", || {
        assert!(!server.log.text().contains("[emerg]"), "{}", server.log.text());
        reachable()
    });
    (server, address)
}

/// nginx with these lines in its `http` block.
pub fn nginx_command(site: &Site, http: &str, arguments: &[&str]) -> Command {
    // As root it would serve as a user who must not connect to the unix sockets of root.
    let user = if nix::unistd::geteuid().is_root() { "user root;\n" } else { "" };
    let folders = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let folders: String = folders.iter().map(|name| format!("{name}_temp_path {name}_temp;\n")).collect();
    let main =
        format!("{user}daemon off;\npid nginx.pid;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}{http}\n}}\n");
    site.write("nginx.conf", &main);
    for name in ["uwsgi_params", "fastcgi_params", "scgi_params"] {
        std::fs::copy(format!("/etc/nginx/{name}"), site.path(name)).expect("nginx comes with its variables");
    }
    let mut command = Command::new(nginx().expect("nginx is installed"));
    command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(site.dir()).args(arguments);
    site.dress(&mut command);
    command
}

/// A browser's part: keeps cookies and, where the server does, the connection. Writes down what it is answered.
pub struct Visitor {
    address: SocketAddr,
    keeps: bool,
    client: Option<Client>,
    cookies: Vec<(String, String)>,
    /// How often it has connected.
    pub connections: usize,
    /// Every answer so far.
    pub seen: Vec<Seen>,
}

/// An answer that came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET /path`
    pub request: String,
    /// 200
    pub status: u16,
    /// As they came.
    pub fields: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
}

impl Seen {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("{} is no text", self.request))
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// It must be one of these; gives it.
    pub fn is(&self, status: u16) -> &Self {
        let start = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        assert_eq!(self.status, status, "{}: {:?}\n{start}", self.request, self.fields);
        self
    }

    /// It must be text that holds this; gives it.
    pub fn holds(&self, text: &str) -> &Self {
        assert!(self.text().contains(text), "{} has no {text:?}:\n{}", self.request, self.text());
        self
    }

    /// The value of the hidden input `name`.
    pub fn hidden(&self, name: &str) -> String {
        let mark = format!("name=\"{name}\" value=\"");
        let rest = self.text().split_once(&mark).unwrap_or_else(|| panic!("{} has no {mark}", self.request)).1;
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

impl Visitor {
    /// Of a server that keeps connections, or of one that closes after each answer.
    pub fn new(address: SocketAddr, keeps: bool) -> Self {
        Self { address, keeps, client: None, cookies: Vec::new(), connections: 0, seen: Vec::new() }
    }

    /// `GET path`
    pub fn get(&mut self, path: &str) -> &Seen {
        self.ask("GET", path, "", b"")
    }

    /// `HEAD path`
    pub fn head(&mut self, path: &str) -> &Seen {
        self.ask("HEAD", path, "", b"")
    }

    /// Sends a form, as browsers encode it. The values are plain words.
    pub fn form(&mut self, path: &str, inputs: &[(&str, &str)]) -> &Seen {
        let pairs: Vec<_> = inputs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        self.ask("POST", path, "Content-Type: application/x-www-form-urlencoded\r\n", pairs.join("&").as_bytes())
    }

    /// Sends a form with a file, as browsers encode it.
    pub fn upload(&mut self, path: &str, inputs: &[(&str, &str)], file: &[u8]) -> &Seen {
        const MARK: &str = "----ruwsgi7d3b9a0c5e";
        let mut body = Vec::with_capacity(file.len() + 1024);
        for (name, value) in inputs {
            let part = format!("--{MARK}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
            body.extend(part.as_bytes());
        }
        let head = "Content-Disposition: form-data; name=\"file\"; filename=\"sample.bin\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n";
        body.extend(format!("--{MARK}\r\n{head}").as_bytes());
        body.extend(file);
        body.extend(format!("\r\n--{MARK}--\r\n").as_bytes());
        self.ask("POST", path, &format!("Content-Type: multipart/form-data; boundary={MARK}\r\n"), &body)
    }

    fn ask(&mut self, method: &str, path: &str, fields: &str, body: &[u8]) -> &Seen {
        let mut client = self.client.take().unwrap_or_else(|| {
            self.connections += 1;
            Client::tcp(self.address)
        });
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = if cookies.is_empty() { String::new() } else { format!("Cookie: {}\r\n", cookies.join("; ")) };
        let length = if method == "POST" { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{cookie}{fields}{length}\r\n");
        client.send([head.as_bytes(), body].concat());
        let answer = if method == "HEAD" { client.answer_head() } else { client.answer() };
        for cookie in answer.all("Set-Cookie") {
            let pair = cookie.split(';').next().and_then(|pair| pair.split_once('=')).expect("a cookie");
            self.cookies.retain(|(name, _)| name != pair.0);
            self.cookies.push((pair.0.to_owned(), pair.1.to_owned()));
        }
        let closes = answer.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        self.client = (self.keeps && !closes).then_some(client);
        let request = format!("{method} {path}");
        self.seen.push(Seen { request, status: answer.status, fields: answer.fields, body: answer.body });
        self.seen.last().expect("just pushed")
    }
}
