//! The examples, as their READMEs start them: Django and Flask, directly and behind nginx over the uwsgi protocol, and
//! the same under real uWSGI, whose answers must be the same.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::harness::apps::{self, Door, Program, Running, Seen, Visitor};
use crate::harness::{Server, Site, project};

/// What is uploaded and comes back: 3 MB, with all bytes and all line ends in it.
fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| (0..3_000_000_u32).map(|i| (i * 31 + i / 251) as u8).collect())
}

/// The sha256 of [`file`].
const SHA256: &str = "17b6528e97da40e125bf99445ed2ca0d73c5db071b0eb056a1e93929c3eb0fc6";

/// [`file`] in hexadecimal digits, a line for each 32 KiB.
fn hexadecimal() -> &'static [u8] {
    static HEXADECIMAL: OnceLock<Vec<u8>> = OnceLock::new();
    HEXADECIMAL.get_or_init(|| {
        let line = |chunk: &[u8]| chunk.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
        file().chunks(32 * 1024).map(line).collect::<String>().into_bytes()
    })
}

/// An example that is prepared.
pub struct Example {
    /// The copy.
    pub folder: PathBuf,
    /// The variable that names the folder of its data.
    pub env: &'static str,
    /// Its scenario; gets the folder.
    pub visit: fn(&Path, &mut Visitor),
}

/// A copy of an example, prepared as its README says: once for all tests.
pub fn django() -> Option<Example> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let venv = apps::venv()?;
    let folder = FOLDER.get_or_init(|| {
        let folder = copied("django");
        for words in [
            "migrate",
            "collectstatic --no-input",
            "createsuperuser --no-input --username admin --email admin@example.org",
        ] {
            let mut command = Command::new(venv.join("bin/python"));
            command.arg("manage.py").args(words.split(' ')).current_dir(&folder).env("PYTHONDONTWRITEBYTECODE", "1");
            let output = command.env("DJANGO_SUPERUSER_PASSWORD", "example").output().unwrap();
            assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        }
        folder
    });
    Some(Example { folder: folder.clone(), env: "SHELF_DATA", visit: visit_django })
}

fn flask() -> Option<Example> {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    apps::venv()?;
    let folder = FOLDER.get_or_init(|| copied("flask"));
    Some(Example { folder: folder.clone(), env: "NOTES_DATA", visit: visit_flask })
}

/// A copy of an example in the build folder, for this run of the tests. Those of earlier runs go.
fn copied(name: &str) -> PathBuf {
    let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
    for old in std::fs::read_dir(&all).into_iter().flatten().flatten() {
        let dead = old.file_name().to_str().is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if dead {
            let _ = std::fs::remove_dir_all(old.path());
        }
    }
    let folder = all.join(std::process::id().to_string()).join(name);
    apps::copy(&apps::example(name), &folder);
    folder
}

impl Example {
    /// Starts it with data of its own.
    fn start(&self, program: Program) -> Running {
        let site = Site::empty();
        let data = site.path("data");
        if self.folder.join("data").exists() {
            apps::copy(&self.folder.join("data"), &data);
        }
        let site = site.env(self.env, &data);
        apps::start(program, &self.folder, site)
    }

    /// Plays the scenario against a server program; nginx stands before it where the door is not HTTP.
    fn play(&self, program: Program, pick: fn(&[Door; 3]) -> &Door) -> Vec<Seen> {
        let running = self.start(program);
        let door = pick(&running.doors);
        let (front, address) = match door {
            Door::Http(address) => (None, *address),
            _ => Some(apps::front(door)).map(|(server, address)| (Some(server), address)).unwrap(),
        };
        // uWSGI's http-socket closes after each answer; everybody else keeps the connection.
        let keeps = program == Program::Ruwsgi || front.is_some();
        let mut visitor = Visitor::new(address, keeps);
        (self.visit)(&self.folder, &mut visitor);
        if keeps {
            assert_eq!(visitor.connections, 1, "the connection is kept");
        }
        drop(front);
        if program == Program::Ruwsgi {
            calm(running.server);
        }
        visitor.seen
    }

    /// The scenario through one door, and the same answers from real uWSGI where it can be had.
    fn same_as_uwsgi(&self, pick: fn(&[Door; 3]) -> &Door) {
        let ours = self.play(Program::Ruwsgi, pick);
        if apps::uwsgi().is_some() {
            compare(&ours, &self.play(Program::Uwsgi, pick));
        }
    }
}

/// It ends cleanly, and its log tells of no trouble.
pub fn calm(server: Server) {
    let log = server.stop().log;
    let trouble = |line: &&str| {
        let told = line.starts_with("warning") || line.starts_with("error") || line.starts_with("Traceback");
        told && !line.contains("root")
    };
    assert_eq!(log.lines().find(trouble), None, "{log}");
}

fn http(doors: &[Door; 3]) -> &Door {
    &doors[0]
}

fn tcp(doors: &[Door; 3]) -> &Door {
    &doors[1]
}

fn unix(doors: &[Door; 3]) -> &Door {
    &doors[2]
}

#[test]
fn django_answers_over_http() {
    let Some(django) = django() else { return };
    django.same_as_uwsgi(http);
}

#[test]
fn django_answers_behind_nginx_over_tcp() {
    let (Some(django), Some(_)) = (django(), apps::nginx()) else { return };
    django.same_as_uwsgi(tcp);
}

#[test]
fn django_answers_behind_nginx_over_a_unix_socket() {
    let (Some(django), Some(_)) = (django(), apps::nginx()) else { return };
    django.same_as_uwsgi(unix);
}

#[test]
fn flask_answers_over_http() {
    let Some(flask) = flask() else { return };
    flask.same_as_uwsgi(http);
}

#[test]
fn flask_answers_behind_nginx_over_tcp() {
    let (Some(flask), Some(_)) = (flask(), apps::nginx()) else { return };
    flask.same_as_uwsgi(tcp);
}

#[test]
fn flask_answers_behind_nginx_over_a_unix_socket() {
    let (Some(flask), Some(_)) = (flask(), apps::nginx()) else { return };
    flask.same_as_uwsgi(unix);
}

/// nginx as a proxy that keeps its connections to the server: `conf/nginx/http.conf`.
#[test]
fn flask_answers_behind_nginx_over_http() {
    let (Some(flask), Some(_)) = (flask(), apps::nginx()) else { return };
    let running = flask.start(Program::Ruwsgi);
    let (front, address) = apps::front(&running.doors[0]);
    let mut visitor = Visitor::new(address, true);
    visit_flask(&flask.folder, &mut visitor);
    assert_eq!(visitor.connections, 1, "the connection is kept");
    drop(front);
    calm(running.server);
}

fn visit_django(folder: &Path, visitor: &mut Visitor) {
    visitor.get("/").is(200).holds("No shelf yet");
    visitor.get("/missing").is(404);
    let static_file = |name: &str| std::fs::read(folder.join("public/static").join(name)).unwrap();
    for name in ["documents/shelf.css", "admin/css/base.css"] {
        assert_eq!(visitor.get(&format!("/static/{name}")).is(200).body, static_file(name));
    }
    visitor.get("/static/missing.css").is(404);

    let login = visitor.get("/admin/").is(302).field("Location").unwrap().to_owned();
    assert_eq!(login, "/admin/login/?next=/admin/");
    let token = visitor.get(&login).is(200).hidden("csrfmiddlewaretoken");
    let mut inputs = vec![("username", "admin"), ("password", "example"), ("next", "/admin/")];
    visitor.form(&login, &inputs).is(403);
    inputs.push(("csrfmiddlewaretoken", &token));
    assert_eq!(visitor.form(&login, &inputs).is(302).field("Location"), Some("/admin/"));
    visitor.get("/admin/").is(200).holds("Site administration");

    let token = visitor.get("/admin/documents/shelf/add/").is(200).hidden("csrfmiddlewaretoken");
    let inputs = [("csrfmiddlewaretoken", token.as_str()), ("name", "Atlases"), ("_save", "Save")];
    visitor.form("/admin/documents/shelf/add/", &inputs).is(302);
    visitor.get("/").is(200).holds("<h2>Atlases</h2>");

    let token = visitor.get("/upload").is(200).hidden("csrfmiddlewaretoken");
    let inputs = [("csrfmiddlewaretoken", token.as_str()), ("shelf", "1"), ("title", "World")];
    assert_eq!(visitor.upload("/upload", &inputs, file()).is(302).field("Location"), Some("/documents/1"));
    let token = visitor.get("/upload").is(200).hidden("csrfmiddlewaretoken");
    what_was_uploaded_comes_back(visitor, "/documents/1", "/static/documents/shelf.css");

    visitor.form("/admin/logout/", &[("csrfmiddlewaretoken", &token)]).is(200);
    visitor.get("/upload").is(302);
}

fn visit_flask(folder: &Path, visitor: &mut Visitor) {
    visitor.get("/").is(200).holds("none yet");
    visitor.get("/missing").is(404);
    let css = std::fs::read(folder.join("static/notes.css")).unwrap();
    assert_eq!(visitor.get("/static/notes.css").is(200).body, css);
    visitor.get("/static/missing.css").is(404);

    let token = visitor.get("/login").is(200).hidden("token");
    visitor.form("/login", &[("password", "example")]).is(403).holds("no valid token");
    visitor.form("/login", &[("token", &token), ("password", "wrong")]).is(403).holds("not the password");
    visitor.form("/notes", &[("token", &token), ("text", "early")]).is(403).holds("log in first");
    let answer = visitor.form("/login", &[("token", &token), ("password", "example")]);
    assert_eq!(answer.is(302).field("Location"), Some("/"));

    let token = visitor.get("/").is(200).hidden("token");
    let answer = visitor.upload("/notes", &[("token", &token), ("text", "World")], file());
    assert_eq!(answer.is(302).field("Location"), Some("/notes/1"));
    visitor.get("/").is(200).holds(">World</a>");
    what_was_uploaded_comes_back(visitor, "/notes/1", "/static/notes.css");
}

fn what_was_uploaded_comes_back(visitor: &mut Visitor, page: &str, static_file: &str) {
    visitor.get(page).is(200).holds(SHA256).holds("3000000 bytes");
    // Not between two requests: a front end closes connections that say nothing for some seconds.
    let stream = hexadecimal();
    let answer = visitor.get(&format!("{page}/file")).is(200);
    assert!(answer.body == file(), "the file comes back as it was");
    assert_eq!(answer.field("Content-Length"), Some("3000000"));
    let answer = visitor.get(&format!("{page}/hex")).is(200);
    assert!(answer.body == stream, "the stream is whole");
    assert_eq!(answer.field("Content-Length"), None);
    // A body after one of these would be taken for the next answer.
    assert_eq!(visitor.head(&format!("{page}/file")).is(200).field("Content-Length"), Some("3000000"));
    for path in ["/", &format!("{page}/hex"), static_file, "/missing"] {
        let got = visitor.get(path).is(if path == "/missing" { 404 } else { 200 }).clone();
        let head = visitor.head(path).is(got.status);
        assert_eq!(head.field("Content-Type"), got.field("Content-Type"), "HEAD {path}");
        assert!(head.body.is_empty());
    }
}

/// The answers of both must be the same but for what [`differs`] lists.
fn compare(ours: &[Seen], theirs: &[Seen]) {
    assert_eq!(ours.len(), theirs.len());
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!((&ours.request, ours.status), (&theirs.request, theirs.status));
        let request = &ours.request;
        assert_eq!(fields(ours), fields(theirs), "the fields of {request}: ruwsgi's, uWSGI's");
        assert!(body(ours) == body(theirs), "the body of {request}:\n{:?}\nuWSGI:\n{:?}", body(ours), body(theirs));
    }
}

/// The fields in the order of their names, without those that may differ and the secrets in those that must.
fn fields(seen: &Seen) -> Vec<(String, String)> {
    let lower = seen.fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone()));
    let mut fields: Vec<_> = lower.filter(|(name, _)| !differs(seen, name)).collect();
    for (name, value) in &mut fields {
        match name.as_str() {
            "set-cookie" => *value = cookie_without_secrets(value),
            // Django's: now.
            "expires" => "*".clone_into(value),
            _ => {}
        }
    }
    fields.sort();
    fields
}

/// Where the fields of an answer may differ from uWSGI's, and why.
fn differs(seen: &Seen, name: &str) -> bool {
    let is_static = seen.request.contains(" /static/") && seen.status == 200;
    match name {
        // Added over HTTP: RFC 9110 6.6.1 and RFC 9112 6.1, 9.6 want them. nginx has its own.
        "date" | "connection" | "transfer-encoding" => true,
        // uWSGI has none for static files, and types only where there is an /etc/mime.types.
        "etag" | "accept-ranges" | "content-type" if is_static => true,
        // When the file was uploaded.
        "last-modified" => !is_static,
        _ => false,
    }
}

/// `sessionid=*; expires=*; Path=/`
fn cookie_without_secrets(cookie: &str) -> String {
    let parts = cookie.split("; ").enumerate().map(|(index, part)| match part.split_once('=') {
        Some((name, _)) if index == 0 || name.eq_ignore_ascii_case("expires") => format!("{name}=*"),
        _ => part.to_owned(),
    });
    parts.collect::<Vec<_>>().join("; ")
}

/// The body as text without its tokens; of what is no text, its bytes in lossy form.
fn body(seen: &Seen) -> String {
    let mut rest = String::from_utf8_lossy(&seen.body).into_owned();
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("oken\" value=\"") {
        text.push_str(before);
        rest = after.split_once('"').map_or(String::new(), |(_, after)| after.to_owned());
    }
    text + &rest
}

#[test]
fn nginx_loads_the_snippets() {
    if apps::nginx().is_none() {
        return;
    }
    let folder = project().join("conf/nginx");
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let snippets: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    assert!(snippets.len() >= 3, "{snippets:?}");
    for snippet in &snippets {
        let site = Site::empty();
        let http = format!("include {};", snippet.display());
        let output = apps::nginx_command(&site, &http, &["-t"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("[warn]"), "{}: {said}", snippet.display());
        let readme = apps::read(&folder.join("README.md"));
        let name = snippet.file_name().unwrap().to_str().unwrap();
        assert!(readme.contains(name), "README.md says what {name} is");
    }
}

/// `examples/nginx` as it stands, but for the addresses.
#[test]
fn the_nginx_example_runs() {
    let (Some(venv), Some(nginx)) = (apps::venv(), apps::nginx()) else { return };
    let site = Site::empty();
    for name in ["flask", "nginx"] {
        apps::copy(&apps::example(name), &site.path(name));
    }
    let (tcp, fronts) = (apps::loopback(3031), [apps::loopback(8000), apps::loopback(8001)]);
    let text = apps::read(&site.path("nginx/nginx.conf"));
    let text = text.replace("127.0.0.1:8000", &fronts[0].to_string()).replace("127.0.0.1:8001", &fronts[1].to_string());
    std::fs::write(site.path("nginx/nginx.conf"), text.replace("127.0.0.1:3031", &tcp.to_string())).unwrap();
    if nix::unistd::geteuid().is_root() {
        let text = apps::read(&site.path("nginx/nginx.conf"));
        std::fs::write(site.path("nginx/nginx.conf"), format!("user root;\n{text}")).unwrap();
    }
    let mut command = site.command(["--set", &format!("tcp={tcp}"), "--virtualenv", venv.to_str().unwrap()]);
    command.args(["--ini", "nginx/uwsgi.ini"]);
    let mut front = Command::new(nginx);
    site.dress(&mut front);
    front.args(["-e", "stderr", "-p", ".", "-c", "nginx.conf"]).current_dir(site.path("nginx"));
    let server = Server::of(command, site);
    server.wait_for_workers(2);
    let front = Server::of(front, Site::empty());
    for address in fronts {
        crate::harness::eventually("nginx listens", || std::net::TcpStream::connect(address).ok());
        let mut visitor = Visitor::new(address, true);
        visitor.get("/").is(200).holds("<h1>Notes</h1>");
        assert!(visitor.get("/static/notes.css").is(200).text().contains("font"));
        visitor.get("/missing").is(404);
        assert_eq!(visitor.connections, 1);
    }
    drop(front);
    calm(server);
}

#[test]
fn a_cluster_is_restarted_and_loses_nothing() {
    let folder = copied("cluster");
    let address = apps::loopback(8000).ip().to_string();
    let output = Command::new("python3")
        .arg("cluster.py")
        .args([env!("CARGO_BIN_EXE_ruwsgi"), &address])
        .current_dir(&folder)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let logs = ["router", "one", "two", "three"].map(|name| {
        let log = std::fs::read_to_string(folder.join(format!("{name}.log"))).unwrap_or_default();
        format!("--- {name} ---\n{log}")
    });
    assert!(output.status.success() && told.contains(" requests, 0 lost"), "{told}\n{}", logs.concat());
}
