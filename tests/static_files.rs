//! Files that are served without the application: which, how, how much of them, and never any other.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;

use crate::harness::packet::program;
use crate::harness::{Answer, Client, Ends, Server, Site, eventually};

const APP: &str = "
    def application(environ, start_response):
        start_response('200 OK', [('Content-Type', 'text/plain'), ('X-App', '1')])
        return [('app %s' % environ['PATH_INFO']).encode('latin-1')]
";

/// 2001-09-09 01:46:40 UTC
pub const CHANGED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
const BEFORE: &str = "Sun, 09 Sep 2001 01:46:39 GMT";

/// `root/` has files and links, `out/` is what must not be reached; all files are of [`CHANGED`].
fn tree(site: &Site) {
    for folder in ["root/sub", "root/index", "out", "safe"] {
        fs::create_dir_all(site.path(folder)).unwrap();
    }
    for (name, text) in [
        ("root/a.txt", "hello"),
        ("root/style.css", "b{}"),
        ("root/x.js", "x"),
        ("root/noext", "noext"),
        ("root/empty.txt", ""),
        ("root/sub/b.html", "<b>"),
        ("root/index/index.html", "index"),
        ("root/code.php", "source"),
        ("root/ä b.txt", "umlaut"),
        ("out/secret.txt", "secret"),
        ("safe/shared.txt", "shared"),
    ] {
        file(site, name, text.as_bytes());
    }
    let link = |target: PathBuf, name: &str| symlink(target, site.path(name)).unwrap();
    link("a.txt".into(), "root/near.txt");
    link(site.path("root/a.txt"), "root/absolute.txt");
    link("../out/secret.txt".into(), "root/far.txt");
    link(site.path("out"), "root/door");
    link("/proc/self".into(), "root/proc");
    link("/etc/passwd".into(), "root/passwd");
    link("/dev/zero".into(), "root/zero");
    link("loop".into(), "root/loop");
    link(site.path("safe/shared.txt"), "root/shared.txt");
    link("code.php".into(), "root/code.txt");
    link("../out/none".into(), "root/dangling");
    nix::unistd::mkfifo(&site.path("root/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    drop(UnixListener::bind(site.path("root/socket")).unwrap());
}

pub fn file(site: &Site, name: &str, bytes: &[u8]) {
    fs::write(site.path(name), bytes).unwrap();
    File::options().write(true).open(site.path(name)).unwrap().set_modified(changed()).unwrap();
}

fn changed() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

pub fn site() -> Site {
    let site = Site::code(APP);
    tree(&site);
    site
}

fn serve() -> Server {
    site().ini("static-map = /s=root\nstatic-index = index.html").start()
}

pub fn get(server: &Server, path: &str, fields: &str) -> Answer {
    server.answer_to(format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n"))
}

#[test]
fn a_file_is_served_with_its_facts() {
    let server = serve();
    let mut client = server.connect();
    for _ in 0..2 {
        let answer = client.get("/s/a.txt");
        assert_eq!(answer.ok(), "hello");
        let names: Vec<_> = answer.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["Content-Type", "Content-Length", "Last-Modified", "ETag", "Accept-Ranges", "Date"]);
        assert_eq!(answer.field("Content-Type"), Some("text/plain"));
        assert_eq!(answer.field("Last-Modified"), Some(CHANGED));
        assert_eq!(answer.field("Accept-Ranges"), Some("bytes"));
        assert!(answer.field("ETag").is_some_and(|tag| tag.starts_with('"') && tag.ends_with('"')));
    }
    let whole = client.get("/s/a.txt");
    let head = client.send("HEAD /s/a.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    let but_date =
        |answer: &Answer| answer.fields.iter().filter(|(name, _)| name != "Date").cloned().collect::<Vec<_>>();
    assert_eq!((head.status, but_date(&head)), (200, but_date(&whole)));
    assert_eq!(client.get("/s/style.css").field("Content-Type"), Some("text/css"));
    assert_eq!(client.get("/s/noext").field("Content-Type"), None);
    assert_eq!(client.get("/s/empty.txt").ok(), "");
    let head = client.send("HEAD /s/empty.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    assert_eq!(head.field("Content-Length"), Some("0"));
    assert_eq!(client.get("/s/%c3%a4%20b.txt?query=..%2f").ok(), "umlaut");
    assert_eq!(client.get("/s//a.txt").ok(), "hello");
    assert_eq!(client.get("/s/near.txt").ok(), "hello");
    assert_eq!(client.get("/s/absolute.txt").ok(), "hello");
}

#[test]
fn what_is_no_file_is_the_applications() {
    let server = serve();
    for path in ["/", "/s", "/s/", "/s/sub", "/s/sub/", "/s/none", "/s/a.txt/", "/s/a.txt/x", "/t/a.txt", "/s/dangling"]
    {
        assert_eq!(server.get(path).ok(), format!("app {path}"), "{path}");
    }
    let long = format!("/s/{}", "x".repeat(20_000));
    assert_eq!(server.get(&long).ok(), format!("app {long}"));
    assert_eq!(server.post("/s/a.txt", "x=1").ok(), "app /s/a.txt");
    assert_eq!(server.get("/s/index").ok(), "index");
    assert_eq!(server.get("/s/index/").ok(), "index");
}

#[test]
fn rules_are_tried_in_the_order_of_uwsgi() {
    let site = site();
    for (name, text) in [("one/root/a.txt", "check"), ("two/a.txt", "map"), ("two/m.txt", "map")] {
        fs::create_dir_all(site.path(name).parent().unwrap()).unwrap();
        file(&site, name, text.as_bytes());
    }
    let server = site
        .ini("static-map2 = /root=.\nstatic-map = /root=two\nstatic-map = /root=root")
        .ini("static-map = /one-file=root/a.txt\ncheck-static = one")
        .start();
    assert_eq!(server.get("/root/a.txt").ok(), "check");
    assert_eq!(server.get("/root/m.txt").ok(), "map");
    assert_eq!(server.get("/root/x.js").ok(), "x");
    // A prefix is a plain one, and what stands behind that of a single file is that file, as in uWSGI.
    assert_eq!(server.get("/rootx.js").ok(), "x");
    assert_eq!(server.get("/root/root/x.js").ok(), "app /root/root/x.js");
    for path in ["/one-file", "/one-file/", "/one-fileX", "/one-file/a"] {
        assert_eq!(server.get(path).ok(), "hello", "{path}");
    }
    let server = self::site().ini("static-map2 = /root=.").start();
    assert_eq!(server.get("/root/a.txt").ok(), "hello");
    assert_eq!(server.get("/a.txt").ok(), "app /a.txt");
}

#[test]
fn skipped_names_are_the_applications() {
    let site = site();
    file(&site, "root/index/index.php", b"source");
    let server = site
        .ini("check-static = root\nstatic-skip-ext = .php\nstatic-index = index.php\nstatic-index = index.html")
        .start();
    assert_eq!(server.get("/code.php").ok(), "app /code.php");
    assert_eq!(server.get("/code.txt").ok(), "app /code.txt");
    assert_eq!(server.get("/index").ok(), "index");
    assert_eq!(server.get("/a.txt").ok(), "hello");
}

#[test]
fn what_must_not_be_served_is_not_found() {
    let server = serve();
    for path in [
        "/s/far.txt",
        "/s/door/secret.txt",
        "/s/proc/environ",
        "/s/passwd",
        "/s/zero",
        "/s/loop",
        "/s/shared.txt",
        "/s/fifo",
        "/s/socket",
        "/s/../out/secret.txt",
        "/s/..%2fout/secret.txt",
        "/s/..%2Fout%2Fsecret.txt",
        "/s/%2e%2e/out/secret.txt",
        "/s/%2e%2e%2fout/secret.txt",
        "/s/sub/../../out/secret.txt",
        "/s/sub%2fb.html",
        "/s/..%5cout%5csecret.txt",
        "/s/..\\out\\secret.txt",
        "/s/a.txt%00",
        "/s/a%00.txt",
        "/s/../../../../../../etc/passwd",
        "/s/..%2f..%2f..%2f..%2f..%2f..%2fetc/passwd",
        "/s../out/secret.txt",
        "/s..%2fout/secret.txt",
    ] {
        let mut client = server.connect();
        let answer = client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).answer();
        assert_eq!((answer.status, answer.text()), (404, "Not Found"), "{path}");
        assert_eq!(client.get("/s/a.txt").ok(), "hello", "behind {path}");
    }
    server.wait_for("static files: /s/far.txt: a link out of the root (static-safe = DIR allows one): answered 404");
    // Other encodings of the same are names like any other.
    for path in ["/s/%252e%252e/out/secret.txt", "/s/..;/out/secret.txt", "/s/%c0%ae%c0%ae/out/secret.txt"] {
        assert!(server.get(path).body.starts_with(b"app /s/"), "{path}");
    }
}

#[test]
fn links_may_lead_into_what_is_safe_and_no_further() {
    let site = site();
    fs::create_dir_all(site.path("safer")).unwrap();
    file(&site, "safer/not.txt", b"not safe");
    symlink("../safer/not.txt", site.path("root/not.txt")).unwrap();
    symlink("../out/secret.txt", site.path("safe/secret.txt")).unwrap();
    symlink("../safe/secret.txt", site.path("root/twice.txt")).unwrap();
    let server = site.ini("static-map = /s=root\nstatic-safe = safe").start();
    assert_eq!(server.get("/s/shared.txt").ok(), "shared");
    // uWSGI compares texts, and would serve the first of these.
    for path in ["/s/not.txt", "/s/twice.txt", "/s/far.txt"] {
        assert_eq!(server.get(path).status, 404, "{path}");
    }
}

#[test]
fn a_link_that_is_moved_about_never_leads_out() {
    let server = serve();
    let (over, link) = (AtomicBool::new(false), server.path("root/moving"));
    let fresh = server.path("root/moving.new");
    let seen = std::thread::scope(|scope| {
        scope.spawn(|| {
            for target in ["../out", "sub", "/proc/self/cwd/out", "../root/sub"].into_iter().cycle() {
                symlink(target, &fresh).unwrap();
                fs::rename(&fresh, &link).unwrap();
                if over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let _ends = Ends(&over);
        let mut client = server.connect();
        (0..4000)
            .map(|number| client.get(if number % 2 == 0 { "/s/moving/secret.txt" } else { "/s/moving/b.html" }))
            .collect::<Vec<_>>()
    });
    let count = |text: &str| seen.iter().filter(|answer| answer.text() == text).count();
    assert_eq!(count("secret"), 0);
    assert!(count("<b>") > 0 && count("Not Found") > 0, "{} {}", count("<b>"), count("Not Found"));
}

#[test]
fn a_client_that_has_the_file_gets_no_second() {
    let server = serve();
    let tag = server.get("/s/a.txt").field("ETag").unwrap().to_owned();
    let got = |fields: &str| get(&server, "/s/a.txt", fields).status;
    for fields in [
        format!("If-None-Match: {tag}\r\n"),
        format!("If-None-Match: \"x\", W/{tag}\r\n"),
        format!("If-None-Match: *\r\nIf-Modified-Since: {BEFORE}\r\n"),
        format!("If-Modified-Since: {CHANGED}\r\n"),
        "If-Modified-Since: Sunday, 09-Sep-01 01:46:41 GMT\r\n".to_owned(),
    ] {
        let mut client = server.connect();
        let answer = client.send(format!("GET /s/a.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).answer();
        assert_eq!(answer.status, 304, "{fields}");
        assert_eq!((answer.field("ETag"), answer.field("Last-Modified")), (Some(&*tag), Some(CHANGED)));
        assert_eq!((answer.field("Content-Length"), answer.field("Content-Type")), (None, None));
        assert_eq!(client.get("/s/x.js").ok(), "x", "nothing of a body came after {fields}");
    }
    assert_eq!(got(&format!("If-Modified-Since: {BEFORE}\r\n")), 200);
    assert_eq!(got("If-Modified-Since: yesterday\r\n"), 200);
    assert_eq!(got(&format!("If-None-Match: \"x\"\r\nIf-Modified-Since: {CHANGED}\r\n")), 200);
    assert_eq!(got(&format!("If-Match: {tag}\r\nIf-Unmodified-Since: {BEFORE}\r\n")), 200);
    assert_eq!(got("If-Match: \"x\"\r\n"), 412);
    assert_eq!(got(&format!("If-Unmodified-Since: {BEFORE}\r\n")), 412);
    file(&server.site, "root/a.txt", b"other");
    File::options().write(true).open(server.path("root/a.txt")).unwrap().set_modified(SystemTime::now()).unwrap();
    assert_eq!(get(&server, "/s/a.txt", &format!("If-None-Match: {tag}\r\n")).ok(), "other");
}

#[test]
fn a_part_of_a_file() {
    let server = serve();
    let tag = server.get("/s/a.txt").field("ETag").unwrap().to_owned();
    for (range, status, body, of) in [
        ("bytes=0-1", 206, "he", Some("bytes 0-1/5")),
        ("bytes=1-1", 206, "e", Some("bytes 1-1/5")),
        ("bytes=2-", 206, "llo", Some("bytes 2-4/5")),
        ("bytes=-2", 206, "lo", Some("bytes 3-4/5")),
        ("bytes=0-99", 206, "hello", Some("bytes 0-4/5")),
        ("bytes=5-", 416, "", Some("bytes */5")),
        ("bytes=9-10", 416, "", Some("bytes */5")),
        ("bytes=3-1", 416, "", Some("bytes */5")),
        ("bytes=abc", 416, "", Some("bytes */5")),
        ("bytes=-0", 416, "", Some("bytes */5")),
        ("bytes=99999999999999999999999-", 416, "", Some("bytes */5")),
        ("lines=0-1", 200, "hello", None),
    ] {
        let answer = get(&server, "/s/a.txt", &format!("Range: {range}\r\n"));
        assert_eq!((answer.status, answer.text()), (status, body), "{range}");
        assert_eq!(answer.field("Content-Range"), of, "{range}");
        assert_eq!(answer.field("Content-Length"), Some(&*body.len().to_string()), "{range}");
    }
    let many: String = (0..1000).map(|at| format!("{at}-{at},")).collect();
    assert_eq!(get(&server, "/s/a.txt", &format!("Range: bytes={many}0-\r\n")).ok(), "hello");
    let got = |fields: &str| get(&server, "/s/a.txt", &format!("Range: bytes=0-1\r\n{fields}\r\n")).status;
    assert_eq!(got(&format!("If-Range: {tag}")), 206);
    assert_eq!(got(&format!("If-Range: {CHANGED}")), 206);
    assert_eq!(got("If-Range: \"x\""), 200);
    assert_eq!(got(&format!("If-Range: {BEFORE}")), 200);
    let mut client = server.connect();
    let head = client.send("HEAD /s/a.txt HTTP/1.1\r\nHost: a\r\nRange: bytes=0-1\r\n\r\n").answer_head();
    assert_eq!((head.status, head.field("Content-Length")), (200, Some("5")));

    let server = site().ini("static-map = /s=root\nhonour-range = false").start();
    let answer = get(&server, "/s/a.txt", "Range: bytes=0-1\r\n");
    assert_eq!((answer.ok(), answer.field("Accept-Ranges")), ("hello", None));
}

#[test]
fn a_part_of_a_large_file_comes_from_its_place() {
    let server = serve();
    let content: Vec<u8> = (0..3_000_000_u32).map(|at| (at / 11 % 251) as u8).collect();
    file(&server.site, "root/large", &content);
    let answer = get(&server, "/s/large", "Range: bytes=1000001-2500000\r\n");
    assert_eq!(answer.field("Content-Range"), Some("bytes 1000001-2500000/3000000"));
    assert!(answer.body == content[1_000_001..=2_500_000]);
    assert!(get(&server, "/s/large", "").body == content);
}

#[test]
fn expires_and_types_are_as_said() {
    let site = site();
    site.write("types", "# mine\ntext/x-style css\napplication/x-none noext\n");
    let server = site
        .ini("static-map = /s=root\nmimefile = types")
        .ini("static-expires-type-mtime = text/x-style=60\nstatic-expires = /root/a\\.[a-z]+$ 3600")
        .ini("static-expires-uri-mtime = \\?v= 1\nstatic-expires-path-info-mtime = ^/s/sub/ 2")
        .start();
    let style = server.get("/s/style.css");
    assert_eq!(style.field("Content-Type"), Some("text/x-style"));
    assert_eq!(style.field("Expires"), Some("Sun, 09 Sep 2001 01:47:40 GMT"));
    let unchanged = get(&server, "/s/style.css", &format!("If-Modified-Since: {CHANGED}\r\n"));
    assert_eq!((unchanged.status, unchanged.field("Expires")), (304, Some("Sun, 09 Sep 2001 01:47:40 GMT")));
    assert_eq!(server.get("/s/x.js").field("Expires"), None);
    assert_eq!(server.get("/s/x.js?v=1").field("Expires"), Some("Sun, 09 Sep 2001 01:46:41 GMT"));
    assert_eq!(server.get("/s/sub/b.html").field("Expires"), Some("Sun, 09 Sep 2001 01:46:42 GMT"));
    let text = server.get("/s/a.txt");
    let minutes = |field: &str| -> u32 {
        let time: Vec<u32> =
            text.field(field).unwrap()[17..25].split(':').map(|part| part.parse::<u32>().unwrap()).collect();
        time[0] * 60 + time[1]
    };
    assert!((59..=61).contains(&((minutes("Expires") + 24 * 60 - minutes("Date")) % (24 * 60))), "{text:?}");
}

#[test]
fn what_is_made_or_replaced_later_is_served() {
    let site = site().ini("static-map = /late=late/current\nlazy-apps = true");
    let server = site.start();
    assert_eq!(server.get("/late/a.txt").ok(), "app /late/a.txt");
    for version in ["1", "2"] {
        fs::create_dir_all(server.path("late").join(version)).unwrap();
        fs::write(server.path("late").join(version).join("a.txt"), version).unwrap();
        let fresh = server.path("late/current.new");
        symlink(version, &fresh).unwrap();
        fs::rename(&fresh, server.path("late/current")).unwrap();
        assert_eq!(server.get("/late/a.txt").ok(), version);
    }
}

/// A file of 100 MB with its offset at each megabyte, the rest zeroes.
fn hundred_megabytes(site: &Site, name: &str) -> PathBuf {
    let path = site.path(name);
    let file = File::create(&path).unwrap();
    file.set_len(100_000_000).unwrap();
    for at in (0..100_000_000_u64).step_by(1_000_000) {
        file.write_all_at(&at.to_be_bytes(), at).unwrap();
    }
    path
}

fn is_hundred_megabytes(body: &[u8]) -> bool {
    let mark = |at: usize| body[at..at + 8] == (at as u64).to_be_bytes();
    body.len() == 100_000_000 && (0..body.len()).step_by(1_000_000).all(mark)
}

#[test]
fn slow_readers_of_a_large_file_take_no_core() {
    let site = site();
    hundred_megabytes(&site, "root/large");
    let server = site.ini("static-map = /s=root\nprocesses = 1").start();
    let worker = server.workers()[0];
    let before = worker.descriptors().len();
    let mut slow: Vec<_> = (0..10).map(|_| server.connect()).collect();
    for client in &mut slow {
        client.send("GET /s/large HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(client.answer_head().field("Content-Length"), Some("100000000"));
    }
    for _ in 0..20 {
        assert_eq!(server.get("/").ok(), "app /");
        assert_eq!(server.get("/s/a.txt").ok(), "hello");
    }
    // Nobody burns time while nobody reads.
    let ticks = worker.ticks();
    assert!(slow[9].is_quiet() || server.get("/").status == 200);
    assert!(worker.ticks() - ticks <= 3);
    let kilobytes: u64 = worker.status("VmRSS").unwrap().trim_end_matches("kB").trim().parse().unwrap();
    assert!(kilobytes < 80_000, "the worker uses {kilobytes} kB");
    // One of them reads on, and its connection has the next answer; the others leave.
    let mut client = slow.pop().unwrap();
    drop(slow);
    assert!(is_hundred_megabytes(&client.exactly(100_000_000)));
    assert_eq!(client.get("/s/a.txt").ok(), "hello");
    drop(client);
    eventually("connections and files are closed", || (worker.descriptors().len() <= before).then_some(()));
    assert_eq!(server.workers(), [worker]);
}

#[test]
fn a_reader_that_takes_nothing_is_given_up() {
    let site = site();
    hundred_megabytes(&site, "root/large");
    let server = site.ini("static-map = /s=root\nsocket-timeout = 1").start();
    let mut client = server.connect();
    client.send("GET /s/large HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    let worker = server.workers()[0];
    let holds = |worker: crate::harness::Process| worker.descriptors().iter().any(|name| name.ends_with("/large"));
    assert!(holds(worker));
    eventually("the file is closed", || (!holds(worker)).then_some(()));
    assert!(client.rest().len() < 100_000_000);
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_cuts_the_response() {
    let site = site();
    let path = hundred_megabytes(&site, "root/large");
    let server = site.ini("static-map = /s=root").start();
    let mut client = server.connect();
    client.send("GET /s/large HTTP/1.1\r\nHost: a\r\n\r\nGET /behind HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    File::options().write(true).open(path).unwrap().set_len(1000).unwrap();
    let rest = client.rest();
    assert!(rest.len() < 100_000_000);
    assert!(!rest.windows(11).any(|part| part == b"app /behind"));
    assert_eq!(server.get("/").ok(), "app /");
}

#[test]
fn a_stop_lets_a_file_be_read_to_its_end() {
    let site = site();
    hundred_megabytes(&site, "root/large");
    let server = site.ini("static-map = /s=root").start();
    let mut client = server.connect();
    client.send("GET /s/large HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    server.signal(Signal::SIGTERM);
    server.wait_for("stopping");
    assert!(is_hundred_megabytes(&client.exactly(100_000_000)));
    assert_eq!(server.wait().code, 0);
}

#[test]
fn a_request_line_says_that_a_file_was_sent() {
    let server = serve();
    server.get("/");
    server.get("/s/a.txt");
    server.get("/s/empty.txt");
    get(&server, "/s/a.txt", "Range: bytes=0-0\r\n");
    server.get("/s/fifo");
    server.get("/");
    let line = |n: usize| server.log.wait_for_nth(" => generated ", n);
    assert!(line(1).contains("|app: 0|req: 1/1] ") && line(1).contains(" GET / => generated 5 bytes in "));
    let file = line(2);
    assert!(file.contains("|app: -1|req: -1/2] "), "{file}");
    assert!(
        file.contains(" GET /s/a.txt => generated 5 bytes in ")
            && file.contains(" msecs via sendfile() (HTTP/1.1 200) ")
    );
    assert!(file.ends_with(" (0 switches on core 0)"), "{file}");
    assert!(line(3).contains(" => generated 0 bytes in ") && !line(3).contains("via sendfile()"), "{}", line(3));
    assert!(line(4).contains(" via sendfile() (HTTP/1.1 206) "), "{}", line(4));
    assert!(line(5).contains(" (HTTP/1.1 404) "), "{}", line(5));
    assert!(line(6).contains("|app: 0|req: 2/6] "), "{}", line(6));
}

#[test]
fn files_need_no_application_and_count_for_max_requests() {
    let site = Site::empty().ini("http-socket = 127.0.0.1:0\nstatic-map = /s=root");
    tree(&site);
    let server = site.ini("max-requests = 3\nmin-worker-lifetime = 0").start();
    for _ in 0..3 {
        assert_eq!(server.get("/s/a.txt").ok(), "hello");
    }
    server.wait_for_workers(2);
    assert_eq!(server.get("/s/a.txt").ok(), "hello");
}

#[test]
fn an_application_that_made_sigpipe_deadly_survives_a_client_that_leaves() {
    let site = Site::code(&format!("import signal\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)\n{}", dedented()));
    tree(&site);
    hundred_megabytes(&site, "root/large");
    let server = site.ini("static-map = /s=root").start();
    let worker = server.workers()[0];
    for _ in 0..5 {
        let mut client = server.connect();
        client.send("GET /s/large HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    }
    eventually("the files are closed", || {
        (!worker.descriptors().iter().any(|name| name.ends_with("/large"))).then_some(())
    });
    assert_eq!(server.get("/").ok(), "app /");
    assert_eq!(server.workers(), [worker], "the worker is still the same one");
}

fn dedented() -> String {
    crate::harness::dedent(APP)
}

#[test]
fn a_file_that_may_not_be_read_is_told() {
    // For root there is no such file.
    if nix::unistd::geteuid().is_root() {
        eprintln!("skipped: root may read everything");
        return;
    }
    let server = serve();
    fs::set_permissions(server.path("root/a.txt"), fs::Permissions::from_mode(0o000)).unwrap();
    assert_eq!(server.get("/s/a.txt").ok(), "app /s/a.txt");
    server.wait_for("a.txt: Permission denied");
}

#[test]
fn values_that_mean_nothing_end_the_start() {
    for (line, words) in [
        ("static-map = /s", ["static-map", "PREFIX=PATH"]),
        ("static-map = /s=", ["static-map", "PREFIX=PATH"]),
        ("check-static =", ["check-static", "no value"]),
        ("static-expires = ( 60", ["static-expires", "regular expression"]),
        ("static-expires-type = text/css", ["static-expires-type", "TYPE=SECONDS"]),
    ] {
        let ended = Site::app("hello.py").ini(line).run();
        assert_eq!(ended.code, 1, "{line}: {}", ended.log);
        assert!(words.iter().all(|word| ended.log.contains(word)), "{line}: {}", ended.log);
        assert!(ended.log.contains("uwsgi.ini:4"), "{line}: {}", ended.log);
    }
}

/// A real uWSGI in a folder, at `u.sock` and `w.sock`.
pub fn start_uwsgi(program: &Path, site: Site, options: &[&str]) -> Server {
    let mut command = Command::new(program);
    let home = program.parent().and_then(Path::parent).filter(|home| home.join("pyvenv.cfg").exists());
    command.args(["--http-socket", "u.sock", "--uwsgi-socket", "w.sock", "--wsgi-file", "app.py"]).args(options);
    if let Some(home) = home {
        command.arg("--home").arg(home);
    }
    site.dress(&mut command);
    let server = Server::of(command, site);
    server.wait_for("spawned uWSGI worker 1");
    server
}

#[test]
fn answers_are_those_of_uwsgi() {
    let Some(program) = program("uwsgi") else { return };
    let options = ["--static-map", "/s=root", "--static-index", "index.html", "--honour-range"];
    let more = ["--static-expires-type-mtime", "text/css=50"];
    let theirs = start_uwsgi(&program, site(), &[&options[..], &more].concat());
    let options = "static-map = /s=root\nstatic-index = index.html\nstatic-expires-type-mtime = text/css=50";
    let ours = site().ini(options).start();
    let ask = |request: &str| {
        let mut client = Client::unix(&theirs.path("u.sock"));
        let (mut theirs, mut ours) = (client.send(request).answer_head(), ours.connect().send(request).answer_head());
        // Ours, and named in the changelog.
        for name in ["Date", "Connection", "ETag", "Accept-Ranges"] {
            ours.fields.retain(|(have, _)| have != name);
        }
        // The order of these two depends on the option that asked for Expires.
        for answer in [&mut theirs, &mut ours] {
            answer.fields.sort();
        }
        (theirs, ours)
    };
    for (path, fields) in [
        ("/s/a.txt", ""),
        ("/s/style.css", ""),
        ("/s/x.js", ""),
        ("/s/noext", ""),
        ("/s/empty.txt", ""),
        ("/s/index", ""),
        ("/s/index/", ""),
        ("/sa.txt", ""),
        ("/s/near.txt", ""),
        ("/s/absolute.txt", ""),
        ("/s/a.txt", "Range: bytes=1-2\r\n"),
        ("/s/a.txt", "Range: bytes=1-\r\n"),
        ("/s/a.txt", "Range: bytes=-2\r\n"),
        ("/s/a.txt", "If-Modified-Since: Sun, 09 Sep 2001 01:46:39 GMT\r\n"),
        ("/s/none", ""),
        ("/s/sub", ""),
        ("/s/a.txt/", ""),
        ("/", ""),
    ] {
        for method in ["GET", "HEAD"] {
            // uWSGI answers HEAD with a part: RFC 9110 14.2 has ranges for GET only.
            if method == "HEAD" && fields.starts_with("Range") {
                continue;
            }
            let request = format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n");
            let (theirs, mut ours) = ask(&request);
            ours.fields.retain(|(name, _)| name != "Transfer-Encoding");
            // The application of this test says no length, which we add where it is known.
            if theirs.fields.iter().any(|(name, _)| name == "X-App") {
                ours.fields.retain(|(name, _)| name != "Content-Length");
            }
            assert_eq!((theirs.status, &theirs.reason), (ours.status, &ours.reason), "{request}");
            assert_eq!(theirs.fields, ours.fields, "{request}");
        }
    }
    // Where we differ on purpose: uWSGI's status and ours.
    for (request, status, differs) in [
        ("GET /s/far.txt", 200, 404),
        ("GET /s/fifo", 200, 404),
        ("GET /s/..%2fout/secret.txt", 200, 404),
        ("GET /s/a%00.txt", 200, 404),
    ] {
        let (theirs, ours) = ask(&format!("{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        assert_eq!((theirs.status, ours.status), (status, differs), "{request}");
    }
    let with =
        |fields: &str| ask(&format!("GET /s/a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{fields}\r\n\r\n"));
    let (theirs, ours) = with(&format!("If-Modified-Since: {CHANGED}"));
    assert_eq!((theirs.status, ours.status), (304, 304));
    assert_eq!((theirs.fields.len(), ours.field("Last-Modified")), (0, Some(CHANGED)));
    assert_eq!(with("Range: bytes=0-1,3-4").0.status, 206);
    assert_eq!(with("Range: bytes=9-").1.status, 416);
    assert_eq!(with("Range: bytes=9-").0.field("Content-Range"), with("Range: bytes=9-").1.field("Content-Range"));
}
