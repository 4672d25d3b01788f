//! `ruwsgi top`: what it shows of this server and of real uWSGI, in a terminal and without one.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use crate::harness::apps::{self, skip};
use crate::harness::log::Log;
use crate::harness::{Client, Process, Server, Site, dedent, eventually};

/// Answers each visitor with the next of these, and with the last one from then on.
fn tells(documents: Vec<String>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let _ = stream.unwrap().write_all(documents[number.min(documents.len() - 1)].as_bytes());
        }
    });
    address
}

fn once(address: &str, more: &[&str]) -> Value {
    let arguments = [&["top", "--once", "--json", address], more].concat();
    let ended = Site::empty().run_with(arguments);
    assert_eq!(ended.code, 0, "{}", ended.log);
    serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.out))
}

fn at(server: &Server) -> String {
    server.wait_for("stats at ").rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn scripts_read_what_the_workers_do() {
    let server = Site::app("control.py").ini("stats = 127.0.0.1:0\nprocesses = 2\nthreads = 2").start();
    let mut client = server.connect();
    client.send("GET /gate/gate?a=b HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("waiting at gate");
    let now = once(&at(&server), &["--sort", "load", "-i", "0.2"]);
    assert_eq!((&now["form"], &now["cores"], &now["busy_cores"]), (&1.into(), &4.into(), &1.into()));
    assert_eq!(now["pid"], server.master().pid);
    let first = &now["workers"][0];
    assert_eq!((&first["status"], &first["busy_cores"]), (&"busy".into(), &1.into()));
    let request = &first["current"][0];
    assert_eq!((&request["method"], &request["uri"]), (&"GET".into(), &"/gate/gate?a=b".into()));
    assert_eq!((&request["client"], request["age_s"].is_u64()), (&"127.0.0.1".into(), true));
    let text = server.site.run_with(["top", "--once", "-i", "0.2", &at(&server)]).out;
    assert!(text.contains("workers 2 (1 idle, 1 busy)  cores 1/4 busy"), "{text}");
    assert!(text.contains(": GET /gate/gate?a=b from 127.0.0.1 since "), "{text}");
    server.open_gate("gate");
    client.answer().ok();
}

#[test]
fn rates_are_told_over_the_interval() {
    let document = |requests: u32, running: u32| {
        let worker = json!({ "id": 1, "pid": 7, "requests": requests, "running_time": running, "status": "idle",
            "cores": [{ "id": 0 }] });
        json!({ "workers": [worker] }).to_string()
    };
    let address = tells(vec![document(100, 0), document(1_100, 100_000)]);
    let now = once(&address.to_string(), &[]);
    let rate = now["requests_per_second"].as_f64().unwrap();
    assert!((50.0..=1_000.0).contains(&rate), "{now}");
    let load = now["workers"][0]["load"].as_f64().unwrap();
    assert!((0.005..=0.1).contains(&load), "{now}");
}

#[test]
fn it_reads_every_kind_of_address() {
    let server = Site::app("hello.py").ini("stats = stats.sock").start();
    let one =
        |address: &str| assert_eq!(once(address, &["-i", "0.1"])["workers"].as_array().unwrap().len(), 1, "{address}");
    one(&server.path("stats.sock").display().to_string());
    let server = Site::app("hello.py").ini("stats = 127.0.0.1:0\nstats-http = true").start();
    one(&format!("http://{}", at(&server)));
    let name = format!("@ruwsgi-top-{}", std::process::id());
    let server = Site::app("hello.py").ini(&format!("stats = {name}")).start();
    server.wait_for("stats at @");
    one(&name);
}

#[test]
fn it_reads_real_uwsgi() {
    let Some(uwsgi) = apps::uwsgi() else { return };
    let app = r"
        import os, sys, time
        def application(environ, start_response):
            if environ['PATH_INFO'] == '/slow':
                print('in slow', file=sys.stderr, flush=True)
                while not os.path.exists('gate'):
                    time.sleep(0.01)
            start_response('200 OK', [])
            return [b'x']
    ";
    let site = Site::empty().ini("http-socket = 127.0.0.1:0\nwsgi-file = app.py\nmaster = true");
    let site = site.ini("processes = 2\nthreads = 2\nstats = stats.sock");
    site.write("app.py", &dedent(app));
    site.write_ini();
    let mut command = Command::new(uwsgi);
    command.args(["--ini", "uwsgi.ini"]);
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for("spawned uWSGI worker 2");
    server.wait_for("Stats server enabled");
    let line = server.wait_for("uwsgi socket 0 bound to TCP address");
    let http: SocketAddr = line.split("address ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    let mut client = Client::tcp(http);
    client.send("GET /slow?secret HTTP/1.1\r\nHost: a\r\n\r\n");
    server.wait_for("in slow");
    let now = once(&server.path("stats.sock").display().to_string(), &["--sort", "load", "-i", "0.2"]);
    assert_eq!((&now["version"], &now["cores"], &now["busy_cores"]), (&"2.0.31".into(), &4.into(), &1.into()));
    assert_eq!(now["sockets"][0]["protocol"], "http");
    let busy = now["workers"].as_array().unwrap().iter().find(|worker| worker["busy_cores"] == 1).unwrap();
    assert_eq!((&busy["status"], &busy["current"][0]["uri"]), (&"busy".into(), &"/slow?secret".into()));
    assert!(busy["rss_bytes"].is_u64() && busy["age_s"].is_u64());
    server.site.write("gate", "");
}

#[test]
fn what_tells_nothing_is_told() {
    let fails = |address: &str, words: &[&str]| Site::empty().run_with(["top", "--once", address]).failed(1, words);
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    fails(&closed, &[&closed, "refused"]);
    fails("/nowhere/stats", &["/nowhere/stats", "No such file"]);
    fails("here", &["\"here\" is no address"]);
    fails(&tells(vec![String::new()]).to_string(), &["nothing is told there"]);
    fails(&tells(vec!["hello".into()]).to_string(), &["no statistics"]);
    fails(&tells(vec!["{\"workers\": [{".into()]).to_string(), &["no statistics", "EOF"]);
    fails(&tells(vec!["HTTP/1.1 503 No\r\n\r\nwait".into()]).to_string(), &["status 503: wait"]);
    Site::empty().run_with(["top", &closed]).failed(1, &["this is none: --once writes it"]);
    for wrong in
        [["top", "--json", &closed].as_slice(), &["top", "--once", "-i", "0", &closed], &["top", "-s", "x", &closed]]
    {
        let ended = Site::empty().run_with(wrong);
        assert!(ended.code == 1 && ended.log.contains("error: "), "{wrong:?}: {}", ended.log);
    }
}

/// `ruwsgi top` in a terminal, which script(1) makes.
struct Terminal {
    child: Child,
    keys: Option<ChildStdin>,
    out: Log,
}

impl Terminal {
    fn open(site: &Site, address: &str) -> Option<Self> {
        let program =
            format!("stty rows 24 cols 120; {} top -i 0.2 {address}; echo code $?", env!("CARGO_BIN_EXE_ruwsgi"));
        let mut command = Command::new("script");
        command.args(["-qec", &program, "/dev/null"]);
        site.dress(&mut command);
        command.env("TERM", "xterm").stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|_| skip("top in a terminal: there is no script(1)")).ok()?;
        let (keys, out) = (child.stdin.take(), Log::of(child.stdout.take().unwrap()));
        Some(Self { child, keys, out })
    }

    /// Waits until this was written. Cells that stay as they were are not written again.
    fn shows(&self, what: &str) {
        self.out.wait(what, |text, _| plain(text).contains(what).then_some(()));
    }

    fn press(&mut self, key: &str) {
        let keys = self.keys.as_mut().unwrap();
        keys.write_all(key.as_bytes()).unwrap();
        keys.flush().unwrap();
    }

    fn ends(mut self) -> String {
        self.shows("code ");
        self.keys.take();
        eventually("it ends", || self.child.try_wait().unwrap());
        self.out.text()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let tree = Process::of(self.child.id() as i32).map(Process::tree).unwrap_or_default();
        tree.iter().for_each(|process| process.signal(nix::sys::signal::Signal::SIGKILL));
        let _ = self.child.wait();
    }
}

/// What was written, with a blank for each order to the terminal.
fn plain(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default().to_owned();
    let behind =
        |part: &str| part.split_once(|c: char| c.is_ascii_alphabetic()).map_or("", |(_, rest)| rest).to_owned();
    let all: Vec<String> = std::iter::once(first).chain(parts.map(behind)).collect();
    all.join(" ").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_terminal_is_left_as_it_was() {
    let vars = ["REQUEST_METHOD=GET", "REQUEST_URI=/\u{1b}[2Jx", "REMOTE_ADDR=::1"];
    let core = json!({ "id": 0, "in_request": 1, "vars": vars, "req_info": { "request_start": 5 } });
    let worker = json!({ "id": 1, "pid": 7, "requests": 3, "status": "busy", "cores": [core] });
    let address = tells(vec![json!({ "version": "9", "pid": 6, "workers": [worker] }).to_string()]);
    let site = Site::empty();
    let Some(mut terminal) = Terminal::open(&site, &address.to_string()) else { return };
    terminal.shows("sorted by id h help");
    terminal.press("p");
    terminal.shows("(p goes on)");
    terminal.press("h");
    terminal.shows("this help");
    terminal.press("q");
    let text = terminal.ends();
    assert!(text.contains("code 0"), "{text:?}");
    assert!(text.contains("\u{1b}[?1049h") && text.contains("\u{1b}[?1049l"), "the screen of before comes back");
    assert!(text.contains("\u{1b}[?25h"), "and the cursor");
    assert!(text.contains("/?[2Jx"), "what a client sends moves no terminal: {text:?}");
}

#[test]
fn one_that_goes_away_is_told_and_waited_for() {
    let server = Site::app("hello.py").ini("stats = stats.sock").start();
    let path = server.path("stats.sock").display().to_string();
    let Some(mut terminal) = Terminal::open(&server.site, &path) else { return };
    terminal.shows("sorted by");
    server.signal(nix::sys::signal::Signal::SIGTERM);
    terminal.shows("not reachable");
    // Ctrl-C is a key there.
    terminal.press("\u{3}");
    assert!(terminal.ends().contains("code 0"));
}
