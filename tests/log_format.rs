//! `log-format`, `log-date` and the filters of request lines: what they write, next to real uWSGI where it is installed.

use std::process::Command;

use crate::harness::packet::program;
use crate::harness::{Client, Server, Site, eventually};

/// Sets variables of the log, and answers with the status of the path: `/404`.
const APP: &str = r#"
    import time, uwsgi

    def application(environ, start_response):
        what = environ["PATH_INFO"].strip("/")
        if what == "variables":
            uwsgi.set_logvar("shop", "toys")
            uwsgi.set_logvar("method", "not this")
            uwsgi.log("said by the application")
        if what == "bad":
            uwsgi.set_logvar("shop", "two\nlines \x1b[2J")
        if what == "slow":
            time.sleep(0.25)
        if what == "endless":
            start_response("200 OK", [("Content-Type", "text/plain")])
            return (b"x" * 65536 for _ in iter(int, 1))
        if what == "fail":
            raise ValueError("on purpose")
        status = f"{what} Status" if what.isdigit() else "200 OK"
        body = b"" if what == "empty" else b"x" * (5000 if what == "big" else 5)
        environ["wsgi.input"].read()
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
        return [body]
"#;

/// Variables whose value is the same wherever and whenever the same request is answered. (Not `addr`, `vars` and
/// `pktsize`: on a unix socket uWSGI says 0.0.0.0; and it counts fields of one name once, where here each counts.)
const STEADY: &str = "uri=%(uri) method=%(method) user=%(user) host=%(host) proto=%(proto) uagent=%(uagent) \
    referer=%(referer) status=%(status) rsize=%(rsize) cl=%(cl) wid=%(wid) core=%(core) \
    modifiers=%(modifier1)/%(modifier2) headers=%(headers) errors=%(werr)/%(rerr)/%(ioerr) \
    metric=%(metric.worker.1.requests) var=%(var.HTTP_X_Y)/%(var.PATH_INFO)/%(var.) shop=%(shop) none=%(nothing) \
    100% {%(status)}";

/// Lines of the log that begin so.
fn lines(server: &Server, start: &str) -> Vec<String> {
    server.log.text().lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

fn formatted(format: &str) -> Server {
    Site::code(APP).ini(&format!("log-format = {}", format.replace("% ", "%% "))).start()
}

#[test]
fn fields_of_the_response_become_variables() {
    let site = Site::code(
        r#"
            def application(environ, start_response):
                fields = [("X-User", "ann"), ("x-cost", "5"), ("X-Other", "o")]
                if environ["PATH_INFO"] == "/again":
                    start_response("200 OK", [("X-User", "forgotten")])
                    fields = [("X-Cost", "6")]
                    try:
                        raise ValueError
                    except ValueError:
                        import sys
                        start_response("200 OK", fields, sys.exc_info())
                else:
                    start_response("200 OK", fields)
                return [b"x"]
        "#,
    );
    let server = site
        .ini("log-format = LINE %(var.USER) %(var.COST) %(var.PATH_INFO)")
        .ini("collect-header = x-user USER\nresponse-header-collect = X-User PATH_INFO\npull-header = X-Cost COST")
        .start();
    let answer = server.get("/path");
    assert_eq!([answer.field("X-User"), answer.field("X-Cost")], [Some("ann"), None]);
    assert_eq!(server.wait_for("LINE"), "LINE ann 5 /path", "what the request says comes first");
    assert_eq!(server.get("/again").field("X-Cost"), None);
    assert_eq!(server.log.wait_for_nth("LINE", 2), "LINE - 6 /again");
}

#[test]
fn a_line_has_the_values_of_its_request() {
    let server = formatted(
        "LINE %(method) %(uri) %(status) %(addr) %(host) %(uagent) %(size)=%(hsize)+%(rsize) %(shop) %(pid) %(wid) \
         [%(ltime)] %(msecs)",
    );
    let answer = server.answer_to("GET /variables?a=b HTTP/1.1\r\nHost: example.org\r\nUser-Agent: a \"b\"\r\n\r\n");
    let line = server.wait_for("LINE ");
    let (head, body) = (answer.head.len(), answer.body.len());
    let size = head + body;
    let pid = server.workers()[0].pid;
    let expected =
        format!("LINE GET /variables?a=b 200 127.0.0.1 example.org a \"b\" {size}={head}+{body} toys {pid} 1 [");
    assert!(line.starts_with(&expected), "{line:?} does not begin with {expected:?}");
    let (time, took) = line[expected.len()..].split_once("] ").unwrap();
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert!(shape.starts_with("99/") && shape[6..].starts_with("/9999:99:99:99 "), "{time}");
    assert!(took.parse::<u32>().is_ok(), "{took}");
}

#[test]
fn the_memory_is_that_of_the_worker() {
    let server = formatted("LINE %(rss) %(vsz) %(rssM) %(vszM)");
    server.get("/").ok();
    let line = server.wait_for("LINE ");
    let numbers: Vec<u64> = line[5..].split(' ').map(|number| number.parse().unwrap()).collect();
    let [rss, vsz, rss_mb, vsz_mb] = numbers[..] else { panic!("{line}") };
    assert!(rss > 1_000_000 && vsz >= rss, "{line}");
    assert_eq!((rss >> 20, vsz >> 20), (rss_mb, vsz_mb));
}

#[test]
fn nothing_that_is_logged_begins_another_line() {
    let server = formatted("LINE %(uri) %(shop) %(uagent)");
    server.get("/bad").ok();
    server.connect().send(b"GET /x HTTP/1.1\r\nHost: a\r\nUser-Agent: caf\xe9 \x9b2J\r\n\r\n").answer();
    server.wait_for("LINE /x");
    assert_eq!(lines(&server, "LINE "), ["LINE /bad two\\x0alines \\x1b[2J -", "LINE /x - caf\\xe9 \\x9b2J"]);
}

#[test]
fn clients_that_leave_are_errors_of_reading_and_writing() {
    let server = formatted("LINE %(uri) werr=%(werr) rerr=%(rerr) ioerr=%(ioerr)");
    let mut client = server.connect();
    client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n").answer_head();
    drop(client);
    assert_eq!(server.wait_for("LINE /endless "), "LINE /endless werr=1 rerr=0 ioerr=1");
    let mut client = server.connect();
    client.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n").send(vec![b'x'; 2_000_000]);
    client.finish_sending();
    assert!(server.wait_for("LINE /body ").contains(" rerr=1 "));
}

#[test]
fn lines_are_those_of_uwsgi() {
    let Some(program) = program("uwsgi") else { return };
    let ini = format!("log-format = LINE {}\n", STEADY.replace("% ", "%% "));
    let site = Site::code(APP).ini(&ini);
    site.write("real.ini", &format!("[uwsgi]\nhttp-socket = real.sock\nwsgi-file = app.py\nmaster = true\n{ini}"));
    let mut command = Command::new(program);
    command.args(["--ini", "real.ini"]);
    site.dress(&mut command);
    let theirs = Server::of(command, site);
    theirs.wait_for("spawned uWSGI worker 1");
    let ours = Site::code(APP).ini(&ini).ini("http-socket = ours.sock").start();
    for request in [
        "GET /a?b=c HTTP/1.1\r\nHost: example.org\r\nUser-Agent: one\r\nReferer: http://ref/\r\nX-Y: 1\r\nX-Y: 2\r\n\r\n",
        "POST /p HTTP/1.1\r\nHost: example.org\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n\r\nabc",
        "GET /404 HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET /variables HTTP/1.1\r\nHost: example.org\r\n\r\n",
        "GET /big HTTP/1.1\r\nHost: example.org\r\nX-Y: \r\n\r\n",
        "GET /%7e\"q HTTP/1.0\r\n\r\n",
    ] {
        let count = lines(&ours, "LINE ").len() + 1;
        Client::unix(&theirs.path("real.sock")).send(request).finish_sending().answer_head();
        Client::unix(&ours.path("ours.sock")).send(request).answer_head();
        let line = |server: &Server| server.log.wait_for_nth("LINE ", count);
        let (theirs, ours) = (line(&theirs), line(&ours));
        assert_eq!(ours, theirs, "{request:?}");
    }
}

#[test]
fn the_time_of_a_line_can_have_the_format_of_the_log() {
    let options = "log-date = %%Y|%%m\nlog-format-strftime = true\nlog-format = LINE %(ftime)";
    let server = Site::code(APP).ini(options).launch();
    server.wait_for(") ready after ");
    server.get("/variables").ok();
    let line = server.wait_for("LINE ");
    let shape: String = line.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "LINE 9999|99");
    assert!(server.wait_for("said by the application").ends_with(" - said by the application"));
    // The server's own lines begin with it, whichever process writes them.
    let log = server.log.text();
    let own: Vec<&str> = log.lines().filter(|line| !line.starts_with("LINE")).collect();
    assert!(
        !own.is_empty() && own.iter().all(|line| line.get(4..10).is_some_and(|text| text.starts_with('|'))),
        "{log}"
    );
    assert!(own.iter().all(|line| line.get(7..10) == Some(" - ")), "{log}");
}

#[test]
fn a_plain_log_date_is_that_of_ctime() {
    let ended = Site::code("import nothing").ini("log-date = true").run();
    assert!(ended.last_line().contains(" - error: "), "{}", ended.log);
    let first = ended.log.lines().next().unwrap();
    let shape: String = first[..27].chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert!(shape.ends_with("99:99:99 9999 - "), "{first}");
}

/// The requests that have a line.
fn logged(options: &str) -> Vec<String> {
    let server = Site::code(APP).ini(options).ini("log-format = LINE %(uri)").start();
    for path in ["/", "/204", "/404", "/499", "/500", "/503", "/slow", "/big", "/empty", "/fail"] {
        server.get(path);
    }
    let log = server.stop().log;
    log.lines().filter_map(|line| line.strip_prefix("LINE ")).map(str::to_owned).collect()
}

#[test]
fn with_disable_logging_only_what_is_named_has_a_line() {
    assert_eq!(logged("disable-logging = true"), [""; 0]);
    assert_eq!(logged("disable-logging = true\nlog-4xx = true"), ["/404", "/499"]);
    assert_eq!(logged("disable-logging = true\nlog-5xx = true"), ["/500", "/503", "/fail"]);
    assert_eq!(logged("disable-logging = true\nlog-slow = 200\nlog-4xx = true"), ["/404", "/499", "/slow"]);
    assert_eq!(logged("disable-logging = true\nlog-big = 5000"), ["/big"]);
    assert_eq!(logged("disable-logging = true\nlog-zero = true"), ["/204", "/empty", "/fail"]);
    assert_eq!(logged("log-4xx = true").len(), 10);
}

#[test]
fn the_usual_line_can_be_in_microseconds() {
    let server = Site::app("hello.py").ini("log-micros = true").start();
    server.get("/").ok();
    let line = server.wait_for("[pid: ");
    let took = line.split_once(" bytes in ").unwrap().1.split_once(" micros (").unwrap().0;
    assert!(took.parse::<u64>().is_ok_and(|micros| micros > 0), "{line}");
}

#[test]
fn the_address_behind_a_trusted_proxy_is_shown() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.7, 198.51.100.1\r\nConnection: close\r\n\r\n";
    let server = Site::app("hello.py").ini("log-x-forwarded-for = true").start();
    server.answer_to(request).ok();
    server.get("/").ok();
    server.log.wait_for_nth("[pid: ", 2);
    let shown = lines(&server, "[pid: ");
    assert!(shown[0].contains("] 192.0.2.7, 198.51.100.1 () {"), "{shown:?}");
    assert!(shown[1].contains("] 127.0.0.1 () {"), "{shown:?}");
    let plain = Site::app("hello.py").start();
    plain.answer_to(request).ok();
    let line = plain.wait_for("[pid: ");
    assert!(line.contains("] 127.0.0.1 () {"), "{line}");
}

#[test]
fn a_format_that_shows_metrics_is_told_so_once() {
    let server = Site::app("hello.py").ini("processes = 2\nlog-format = LINE %(metric.core.busy_workers)").start();
    server.get("/").ok();
    assert_eq!(server.wait_for("LINE "), "LINE 0");
    let log = eventually("the log", || Some(server.log.text()));
    assert_eq!(log.matches("there are no metrics yet: %(metric.core.busy_workers) is 0").count(), 1, "{log}");
}
