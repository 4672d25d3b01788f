//! Files in other forms: several parts of them, compressed ones, pages for paths without a file, files that the front end
//! sends, and files that are not in memory.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::Path;
use std::process::Command;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::harness::packet::{fastcgi, fastcgi_answer, nginx_with, program, request, vars};
use crate::harness::{Answer, Client, Process, Server, Site, apps, eventually};
use crate::static_files::{CHANGED, file, get, site, start_uwsgi};

/// A file of which every 16 bytes are others.
fn numbered(site: &Site, name: &str, lines: u32) -> Vec<u8> {
    let bytes: Vec<u8> = (0..lines).flat_map(|line| format!("{line:015}\n").into_bytes()).collect();
    file(site, name, &bytes);
    bytes
}

/// The parts of a `multipart/byteranges`: their fields and their bytes.
fn parts(media_type: &str, body: &[u8]) -> Vec<(String, Vec<u8>)> {
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap_or_else(|| panic!("{media_type}"));
    let find = |text: &[u8], mark: &str| {
        text.windows(mark.len()).position(|part| part == mark.as_bytes()).unwrap_or_else(|| panic!("no {mark:?}"))
    };
    let mut rest = body.strip_prefix(format!("--{boundary}\r\n").as_bytes()).expect("it begins with the boundary");
    let mut parts = Vec::new();
    loop {
        let head = find(rest, "\r\n\r\n");
        let end = find(rest, &format!("\r\n--{boundary}"));
        parts.push((String::from_utf8(rest[..head].to_vec()).unwrap(), rest[head + 4..end].to_vec()));
        rest = &rest[end + 4 + boundary.len()..];
        match rest {
            b"--\r\n" => return parts,
            _ => rest = rest.strip_prefix(b"\r\n").expect("a boundary ends with its line"),
        }
    }
}

#[test]
fn several_parts_come_in_one_answer() {
    let site = site();
    let large = numbered(&site, "root/large.txt", 500_000);
    let server = site.ini("static-map = /s=root\nfastcgi-socket = f.sock").start();
    let mut client = server.connect();
    let mut ask = |range: &str| -> Answer {
        client.send(format!("GET /s/large.txt HTTP/1.1\r\nHost: a\r\nRange: bytes={range}\r\n\r\n")).answer()
    };
    for ranges in [&[(0, 1), (8, 9)][..], &[(7_000_000, 7_999_999), (16, 31), (100_000, 3_000_000)], &[(0, 0); 32]] {
        let range: Vec<String> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
        let answer = ask(&range.join(", "));
        assert_eq!(answer.status, 206, "{range:?}");
        assert_eq!((answer.field("Content-Range"), answer.field("ETag").is_some()), (None, true));
        assert_eq!(answer.field("Content-Length"), Some(&*answer.body.len().to_string()));
        let got = parts(answer.field("Content-Type").unwrap(), &answer.body);
        assert_eq!(got.len(), ranges.len());
        for ((head, bytes), (first, last)) in got.iter().zip(ranges) {
            assert_eq!(head, &format!("Content-Type: text/plain\r\nContent-Range: bytes {first}-{last}/8000000"));
            assert!(*bytes == large[*first..=*last], "{first}-{last}");
        }
    }
    assert_eq!(ask("0-1,8000000-").field("Content-Range"), Some("bytes 0-1/8000000"));
    let none = ask("8000000-,9000000-9000001");
    assert_eq!((none.status, none.field("Content-Range")), (416, Some("bytes */8000000")));
    assert_eq!(ask("0-1,x").status, 416);
    // What would be more than the file, or too many answers: the whole, once.
    for range in ["0-,0-".to_owned(), "-8000000,0-0".to_owned(), vec!["0-0"; 33].join(","), vec!["0-"; 5000].join(",")]
    {
        let answer = ask(&range);
        assert!(answer.status == 200 && answer.body == large, "{:.20}", range);
    }
    assert_eq!(client.get("/s/a.txt").ok(), "hello", "the connection goes on");

    let mut client = Client::unix(&server.path("f.sock"));
    let more = [("HTTP_RANGE", "bytes=5-1000004,0-1")];
    for id in [1, 2] {
        client.send(fastcgi(id, true, &vars("GET", "/s/large.txt", &more), b""));
        let (answer, status) = fastcgi_answer(&mut client, id);
        let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let text = String::from_utf8(answer[..head].to_vec()).unwrap();
        let media_type = text.lines().find_map(|line| line.strip_prefix("Content-Type: ")).unwrap();
        let got = parts(media_type, &answer[head + 4..]);
        assert!(status == 0 && got[0].1 == large[5..=1_000_004] && got[1].1 == large[..2], "{text}");
    }
}

/// `a.txt` with all three beside it, `x.js` with one that leads out, `style.css` with none.
fn compressed_site() -> Site {
    let site = site();
    for (suffix, text) in [("br", "as brotli"), ("zst", "as zstandard"), ("gz", "as gzip")] {
        file(&site, &format!("root/a.txt.{suffix}"), text.as_bytes());
    }
    symlink("../out/secret.txt", site.path("root/x.js.gz")).unwrap();
    nix::unistd::mkfifo(&site.path("root/style.css.gz"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    site
}

fn compressed(options: &str) -> Server {
    compressed_site().ini("static-map = /s=root\nstatic-map = /one=root/a.txt").ini(options).start()
}

#[test]
fn a_client_gets_the_compressed_file_that_it_likes_best() {
    let server = compressed("static-gzip-all = true");
    for (accepted, encoding, body) in [
        ("gzip, deflate, br, zstd", Some("br"), "as brotli"),
        ("gzip, zstd", Some("zstd"), "as zstandard"),
        ("gzip", Some("gzip"), "as gzip"),
        ("gzip;q=0.9, br;q=0.1", Some("gzip"), "as gzip"),
        ("*;q=0.1", Some("br"), "as brotli"),
        ("br;q=0, zstd;q=0, *", Some("gzip"), "as gzip"),
        ("identity, gzip;q=0.5", None, "hello"),
        ("deflate", None, "hello"),
        ("gzip;q=0", None, "hello"),
        ("", None, "hello"),
    ] {
        let answer = get(&server, "/s/a.txt", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!((answer.ok(), answer.field("Content-Encoding")), (body, encoding), "{accepted}");
        assert_eq!(answer.field("Content-Type"), Some("text/plain"), "{accepted}");
        assert_eq!(answer.field("Vary"), Some("Accept-Encoding"), "{accepted}");
    }
    assert_eq!(get(&server, "/one/x", "Accept-Encoding: br\r\n").ok(), "as brotli");
    let plain = get(&server, "/s/a.txt", "");
    assert_eq!((plain.ok(), plain.field("Vary")), ("hello", Some("Accept-Encoding")));
    // They are files of their own, with versions and parts of their own.
    let tag = |fields: &str| get(&server, "/s/a.txt", fields).field("ETag").unwrap().to_owned();
    let (gzip, br) = (tag("Accept-Encoding: gzip\r\n"), tag("Accept-Encoding: br\r\n"));
    assert!(gzip != br && gzip.ends_with("-gzip\"") && br.ends_with("-br\""), "{gzip} {br}");
    let fresh = |tag: &str| get(&server, "/s/a.txt", &format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n"));
    assert_eq!((fresh(&gzip).status, fresh(&gzip).field("Vary")), (304, Some("Accept-Encoding")));
    assert_eq!(fresh(&br).status, 200);
    let part = get(&server, "/s/a.txt", "Accept-Encoding: gzip\r\nRange: bytes=3-4\r\n");
    assert_eq!((part.status, part.text(), part.field("Content-Range")), (206, "gz", Some("bytes 3-4/7")));
    // What may not be served is not served because of its name.
    for (path, body) in [("/s/x.js", "x"), ("/s/style.css", "b{}"), ("/s/empty.txt", "")] {
        let answer = get(&server, path, "Accept-Encoding: gzip, br\r\n");
        assert_eq!((answer.ok(), answer.field("Content-Encoding")), (body, None), "{path}");
    }
    assert_eq!(get(&server, "/s/a.txt.gz", "").ok(), "as gzip");
    let many = format!("Accept-Encoding: {}gzip\r\n", "x;q=0.1,".repeat(2000));
    assert_eq!(get(&server, "/s/a.txt", &many).ok(), "as gzip");
}

#[test]
fn which_files_have_compressed_ones_is_said_by_path() {
    for (options, covered) in [
        ("static-gzip = a\\.t[x]t$", true),
        ("static-gzip = \\.css$", false),
        ("static-gzip-ext = .txt", true),
        ("static-gzip-suffix = .css", false),
        ("static-gzip-dir = %d", true),
        ("static-gzip-prefix = /elsewhere", false),
        ("", false),
    ] {
        let server = compressed(options);
        let answer = get(&server, "/s/a.txt", "Accept-Encoding: gzip\r\n");
        assert_eq!(answer.ok(), if covered { "as gzip" } else { "hello" }, "{options}");
        assert_eq!(answer.field("Vary").is_some(), covered, "{options}");
    }
    let server = compressed("static-gzip-all = true\nstatic-encodings = gzip,br");
    let all = "Accept-Encoding: br, zstd, gzip\r\n";
    assert_eq!(get(&server, "/s/a.txt", all).ok(), "as gzip");
    for (line, words) in [
        ("static-encodings = gzip, lzma", ["static-encodings", "\"lzma\" is none of"]),
        ("static-gzip = (", ["static-gzip", "regular expression"]),
        ("file-serve-mode = apache", ["file-serve-mode", "\"apache\" is neither"]),
        ("static-fallback = /", ["static-fallback", "PREFIX=PATH"]),
    ] {
        Site::app("hello.py").ini(line).run().failed(1, &words);
    }
}

#[test]
fn compressed_files_are_those_of_uwsgi() {
    let Some(program) = program("uwsgi") else { return };
    let options = ["--static-map", "/s=root", "--static-gzip-all", "--static-expires-type", "text/plain=0"];
    let theirs = start_uwsgi(&program, compressed_site(), &options);
    let ours = compressed("static-gzip-all = true\nstatic-expires-type = text/plain=0");
    for accepted in ["gzip", "br", "gzip, br", "deflate", "zstd"] {
        let request =
            format!("GET /s/a.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAccept-Encoding: {accepted}\r\n\r\n");
        let theirs = Client::unix(&theirs.path("u.sock")).send(&request).answer();
        let ours = ours.connect().send(&request).answer();
        if accepted == "zstd" {
            // Which they do not know.
            assert_eq!((theirs.ok(), ours.ok()), ("hello", "as zstandard"));
            continue;
        }
        assert_eq!(theirs.ok(), ours.ok(), "{accepted}");
        for name in ["Content-Encoding", "Content-Type", "Content-Length", "Last-Modified"] {
            assert_eq!(theirs.field(name), ours.field(name), "{name} for {accepted}");
        }
    }
}

#[test]
fn pages_without_a_file_are_answered_with_one() {
    let site = site();
    file(&site, "root/app.html", b"the page");
    file(&site, "root/admin.html", b"the other page");
    let server = site
        .ini("static-map = /=root\nstatic-fallback = /=root/app.html\nstatic-fallback = /admin=root/admin.html")
        .ini("static-fallback-except = /api\nstatic-fallback = /gone=root/gone.html\nstatic-expires-uri = ^/deep 60")
        .start();
    let html = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    for (path, fields, body) in [
        ("/a.txt", html, "hello"),
        ("/", html, "the page"),
        ("/deep/er?x=1", html, "the page"),
        ("/sub", html, "the page"),
        ("/admin/users", html, "the other page"),
        ("/administration", html, "the page"),
        ("/api", html, "app /api"),
        ("/api/items", html, "app /api/items"),
        ("/deep/er", "Accept: application/json\r\n", "app /deep/er"),
        ("/missing.js", "Accept: */*\r\n", "app /missing.js"),
        ("/deep/er", "", "app /deep/er"),
        ("/gone/x", html, "app /gone/x"),
    ] {
        assert_eq!(get(&server, path, fields).ok(), body, "{path} {fields}");
    }
    server.wait_for("gone.html: No such file or directory");
    let page = get(&server, "/deep", html);
    assert_eq!((page.field("Content-Type"), page.field("Vary")), (Some("text/html"), Some("Accept")));
    assert!(page.field("Expires").is_some());
    let fields = format!("{html}If-None-Match: {}\r\n", page.field("ETag").unwrap());
    assert_eq!(get(&server, "/elsewhere", &fields).status, 304);
    let posted = server.answer_to(format!("POST /deep HTTP/1.1\r\nHost: a\r\n{html}Content-Length: 0\r\n\r\n"));
    assert_eq!(posted.ok(), "app /deep");
    // What must not be served is no page either.
    assert_eq!(get(&server, "/far.txt", html).status, 404);

    let site = Site::empty().ini("http-socket = 127.0.0.1:0\nstatic-fallback = /=page.html");
    site.write("page.html", "alone");
    assert_eq!(get(&site.start(), "/any/where", html).ok(), "alone");
}

#[test]
fn the_front_end_says_where_its_files_are() {
    let site = site().ini("uwsgi-socket = w.sock\ncheck-static-docroot = true");
    let server = site.start();
    let root = server.path("root").display().to_string();
    let ask = |server: &Server, path: &str, root: &str| {
        let mut client = Client::unix(&server.path("w.sock"));
        let client = client.send(request("GET", path, &[("DOCUMENT_ROOT", root)]));
        String::from_utf8(client.rest()).unwrap()
    };
    let theirs = program("uwsgi").map(|program| start_uwsgi(&program, self::site(), &["--check-static-docroot"]));
    for (path, root, status, body) in [
        ("/a.txt", &*root, "200 OK", "hello"),
        ("/sub/b.html", &root, "200 OK", "<b>"),
        ("/none", &root, "200 OK", "app /none"),
        ("/a.txt", "/nowhere", "200 OK", "app /a.txt"),
        ("/a.txt", "", "200 OK", "app /a.txt"),
    ] {
        let answer = ask(&server, path, root);
        assert!(answer.contains(status) && answer.ends_with(&format!("\r\n\r\n{body}")), "{path} {root}: {answer}");
        // They close the connection where there is no such folder.
        if let Some(theirs) = theirs.as_ref().filter(|_| root != "/nowhere") {
            let answer = ask(theirs, path, root);
            assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "uWSGI: {path} {root}: {answer}");
        }
    }
    let answer = ask(&server, "/far.txt", &root);
    assert!(answer.contains("404 Not Found"), "{answer}");
    // No client can say it, and a path that depends on where the server runs is none.
    let field = format!("Document-Root: {root}\r\nX-Document-Root: {root}\r\n");
    assert_eq!(get(&server, "/a.txt", &field).ok(), "app /a.txt");
    assert!(ask(&server, "/a.txt", "root").ends_with("app /a.txt"));
}

#[test]
fn the_front_end_sends_the_files() {
    for (mode, name) in [("x-sendfile", "X-Sendfile"), ("nginx", "X-Accel-Redirect")] {
        let options =
            format!("static-map = /s=root\nfile-serve-mode = {mode}\nstatic-expires-type-mtime = text/css=50");
        let server = site().ini(&options).start();
        let root = server.path("root").canonicalize().unwrap();
        let theirs = program("uwsgi").map(|program| {
            let mode = ["--static-map", "/s=root", "--file-serve-mode", mode];
            start_uwsgi(&program, site(), &[&mode[..], &["--static-expires-type-mtime", "text/css=50"]].concat())
        });
        for path in ["a.txt", "style.css", "near.txt", "noext"] {
            let request = format!("GET /s/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = server.answer_to(&request);
            assert_eq!((answer.ok(), answer.field("Last-Modified")), ("", Some(CHANGED)), "{path}");
            let real = root.join(path).canonicalize().unwrap().display().to_string();
            assert_eq!(answer.field(name), Some(&*real), "{path}");
            if let Some(theirs) = &theirs {
                let theirs = Client::unix(&theirs.path("u.sock")).send(&request).answer();
                for field in ["Content-Type", "Last-Modified", "Expires"] {
                    assert_eq!(theirs.field(field), answer.field(field), "{field} of {path}");
                }
                assert!(theirs.field(name).unwrap().ends_with(real.rsplit('/').next().unwrap()), "{theirs:?}");
            }
        }
        let answer = server.get("/s/%c3%a4%20b.txt");
        assert_eq!(answer.field(name), Some(&*format!("{}/%C3%A4%20b.txt", root.display())));
        assert_eq!(server.get("/s/far.txt").status, 404);
        assert_eq!(server.get("/none").ok(), "app /none");
    }
}

#[test]
fn nginx_sends_what_it_is_told() {
    let site = site().ini("uwsgi-socket = w.sock\nstatic-map = /s=root\nfile-serve-mode = x-accel-redirect");
    let large = numbered(&site, "root/large.txt", 100_000);
    file(&site, "root/100% #?.txt", b"odd");
    let server = site.ini("static-gzip-all = true").start();
    let root = server.path("root").canonicalize().unwrap().display().to_string();
    let pass = format!(
        "include /etc/nginx/uwsgi_params;\nlocation / {{ uwsgi_pass unix:{}; }}\n\
         location {root}/ {{ internal; root /; }}",
        server.path("w.sock").display()
    );
    let Some(front) = nginx_with("", &pass) else { return };
    let mut client = Client::unix(&front.path("nginx.sock"));
    assert_eq!(client.get("/s/a.txt").ok(), "hello");
    let answer = client.get("/s/large.txt");
    assert!(answer.status == 200 && answer.body == large);
    assert_eq!(answer.field("X-Accel-Redirect"), None);
    assert_eq!(client.get("/s/%c3%a4%20b.txt").ok(), "umlaut");
    assert_eq!(client.get("/s/100%25%20%23%3F.txt").ok(), "odd");
    assert_eq!(client.get("/none").ok(), "app /none");
    assert_eq!(client.get(&format!("{root}/a.txt")).status, 404, "nobody asks for it directly");
    let mut ask = |method: &str, fields: &str| {
        let request = format!("{method} /s/large.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let client = client.send(request);
        if method == "HEAD" { client.answer_head() } else { client.answer() }
    };
    let part = ask("GET", "Range: bytes=16-31\r\nAccept-Encoding: gzip\r\n");
    assert_eq!((part.status, &part.body[..]), (206, &large[16..=31]));
    let tag = answer.field("ETag").unwrap();
    assert_eq!(ask("GET", &format!("If-None-Match: {tag}\r\n")).status, 304);
    assert_eq!(ask("GET", &format!("If-Match: {tag}\r\nRange: bytes=0-0\r\n")).status, 206);
    assert_eq!(ask("GET", &format!("If-Modified-Since: {CHANGED}\r\n")).status, 304);
    assert_eq!(ask("HEAD", "").field("Content-Length"), Some("1600000"));
}

#[test]
fn lighttpd_sends_what_it_is_told() {
    let Some(program) = program("lighttpd") else { return };
    let site = site().ini("fastcgi-socket = f.sock\nstatic-map = /s=root\nfile-serve-mode = x-sendfile");
    let large = numbered(&site, "root/large.txt", 100_000);
    let server = site.start();
    let (front, address) = (Site::empty(), apps::loopback(8000));
    front.write(
        "lighttpd.conf",
        &format!(
            "server.modules = ( \"mod_fastcgi\" )\nserver.document-root = \"{}\"\nserver.bind = \"{}\"\n\
             server.port = {}\nfastcgi.server = ( \"/\" => (( \"socket\" => \"{}\", \"check-local\" => \"disable\",\n\
             \"fix-root-scriptname\" => \"enable\",\n\
             \"x-sendfile\" => \"enable\", \"x-sendfile-docroot\" => ( \"{}\" ) )) )\n",
            front.dir().display(),
            address.ip(),
            address.port(),
            server.path("f.sock").display(),
            server.path("root").canonicalize().unwrap().display()
        ),
    );
    let mut command = Command::new(program);
    command.arg("-D").arg("-f").arg(front.path("lighttpd.conf"));
    front.dress(&mut command);
    let front = Server::of(command, front);
    eventually("lighttpd listens", || std::net::TcpStream::connect(address).ok());
    let mut client = Client::tcp(address);
    assert_eq!(client.get("/s/a.txt").ok(), "hello");
    assert_eq!(client.get("/s/%c3%a4%20b.txt").ok(), "umlaut");
    assert!(client.get("/s/large.txt").body == large);
    assert_eq!(client.get("/none").ok(), "app /none");
    drop(front);
}

/// What the threads of this name, or all of them, have read so far, in bytes and in calls.
fn read_by(process: Process, thread: &str) -> (u64, u64) {
    let number = |text: &str, name: &str| -> u64 {
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
    };
    let counts = process.tasks(thread).into_iter().map(|task| {
        let text = fs::read_to_string(task.join("io")).unwrap();
        (number(&text, "rchar:"), number(&text, "syscr:"))
    });
    counts.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
}

/// Takes a file out of memory, if its file system lets it.
fn forget(path: &Path) {
    let file = File::open(path).unwrap();
    file.sync_all().unwrap();
    posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
}

#[test]
fn who_waits_for_disks_is_no_core() {
    let site = site();
    let (large, small) = (numbered(&site, "root/large.txt", 500_000), numbered(&site, "root/small.txt", 1000));
    let server = site.ini("static-map = /s=root\noffload-threads = 2\nthreads = 1").start();
    let worker = server.workers()[0];
    eventually("the threads are there", || {
        (worker.tasks("offload 1").len() + worker.tasks("offload 2").len() == 2).then_some(())
    });
    let read = || read_by(worker, "offload 1").0 + read_by(worker, "offload 2").0;
    let mut client = server.connect();
    let mut ask = |name: &str, content: &[u8]| {
        let before = read();
        let answer = client.get(&format!("/s/{name}"));
        assert!(answer.status == 200 && answer.body == content, "{name}");
        read() - before
    };
    eventually("a thread reads what is not in memory", || {
        forget(&server.path("root/large.txt"));
        (ask("large.txt", &large) >= 100_000).then_some(())
    });
    eventually("what is in memory needs none of them", || (ask("large.txt", &large) == 0).then_some(()));
    // The kernel may be faster than the thread.
    forget(&server.path("root/small.txt"));
    ask("small.txt", &small);
    assert_eq!(client.get("/").ok(), "app /");
    // The connection of a slow reader comes and goes between them, and ends with the server.
    forget(&server.path("root/large.txt"));
    let mut slow = server.connect();
    slow.send("GET /s/large.txt HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    assert_eq!(client.get("/").ok(), "app /");
    assert!(slow.exactly(8_000_000) == large);
    assert_eq!(slow.get("/s/a.txt").ok(), "hello");
    server.stop();
}

#[test]
fn files_can_be_copied_where_they_would_be_sent() {
    for (option, calls) in [("true", 100..2000), ("false", 0..100)] {
        let site = site();
        let large = numbered(&site, "root/large.txt", 500_000);
        let server = site.ini(&format!("static-map = /s=root\ndisable-sendfile = {option}")).start();
        let worker = server.workers()[0];
        let mut client = server.connect();
        client.get("/");
        let before = read_by(worker, "").1;
        assert!(client.get("/s/large.txt").body == large);
        let made = read_by(worker, "").1 - before;
        assert!(calls.contains(&made), "disable-sendfile = {option}: {made} calls");
    }
}

#[test]
fn a_file_with_a_hole_is_sent_whole() {
    let site = site();
    let path = site.path("root/sparse");
    File::create(&path).unwrap().set_len(3_000_000).unwrap();
    File::options().write(true).open(&path).unwrap().write_all_at(b"end", 2_999_997).unwrap();
    let server = site.ini("static-map = /s=root\noffload-threads = 1").start();
    forget(&path);
    let body = server.get("/s/sparse").body;
    assert!(body.len() == 3_000_000 && body.ends_with(b"end") && body[..2_999_997].iter().all(|byte| *byte == 0));
}
