//! The environ that applications see, the interpreter that they run in, and the judge of the standard library.

use serde_json::{Value, json};

use crate::harness::{Client, Server, Site, dedent, serve, serve_code};

/// What the inspecting application saw of a request.
fn seen(server: &Server, request: &str) -> Value {
    server.answer_to(request).json()
}

#[test]
fn the_environ_has_what_pep_3333_asks_for() {
    let server = serve("inspect.py");
    let mut client = server.connect();
    let request =
        "GET /some/p%C3%A4th%20x/?q=%C3%A4&r HTTP/1.1\r\nHost: example.org:81\r\nX-Some-Name: some value\r\n\r\n";
    let seen = client.send(request).answer().json();
    let env = &seen["env"];
    for (name, value) in [
        ("REQUEST_METHOD", "GET"),
        ("SCRIPT_NAME", ""),
        ("PATH_INFO", "/some/p\u{c3}\u{a4}th x/"),
        ("REQUEST_URI", "/some/p%C3%A4th%20x/?q=%C3%A4&r"),
        ("QUERY_STRING", "q=%C3%A4&r"),
        ("SERVER_PROTOCOL", "HTTP/1.1"),
        ("SERVER_PORT", &server.address().port().to_string()),
        ("REMOTE_ADDR", "127.0.0.1"),
        ("HTTP_HOST", "example.org:81"),
        ("HTTP_X_SOME_NAME", "some value"),
        ("wsgi.url_scheme", "http"),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert!(!env["SERVER_NAME"].as_str().unwrap().is_empty());
    if let Some(port) = env["REMOTE_PORT"].as_str() {
        assert_eq!(port, client.local().port().to_string());
    }
}

#[test]
fn the_values_of_wsgi_have_their_types() {
    let server = serve("inspect.py");
    let seen = seen(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(seen["version"], json!([1, 0]));
    assert_eq!(seen["types"]["wsgi.version"], "tuple");
    for name in ["wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once"] {
        assert_eq!(seen["types"][name], "bool", "{name}");
    }
    assert_eq!(
        (&seen["multithread"], &seen["multiprocess"], &seen["run_once"]),
        (&json!(false), &json!(false), &json!(false))
    );
    assert_eq!(seen["input_terminated"], true);
    assert_eq!((&seen["errors"], &seen["exact_dict"]), (&json!(true), &json!(true)));
    assert!(seen["env"].get("HTTP_CONTENT_LENGTH").is_none() && seen["env"].get("HTTP_CONTENT_TYPE").is_none());
}

#[test]
fn threads_and_processes_are_told() {
    let server = Site::app("inspect.py").ini("processes = 2\nthreads = 2").start();
    let seen = seen(&server, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!((&seen["multithread"], &seen["multiprocess"]), (&json!(true), &json!(true)));
}

#[test]
fn header_fields_become_variables() {
    let server = serve("inspect.py");
    let seen = seen(
        &server,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: text/x; a=\"b\"\r\nContent-Length: 2\r\nx-lower:  spaces \t\r\n\
         X-Twice: one\r\nX-Twice: two\r\nCookie: a=1\r\nCookie: b=2\r\nX-Latin: caf\u{e9}\r\nX-Empty:\r\n\r\nhi",
    );
    let env = &seen["env"];
    for (name, value) in [
        ("CONTENT_TYPE", "text/x; a=\"b\""),
        ("CONTENT_LENGTH", "2"),
        ("HTTP_X_LOWER", "spaces"),
        ("HTTP_COOKIE", "a=1; b=2"),
        ("HTTP_X_LATIN", "caf\u{c3}\u{a9}"),
        ("HTTP_X_EMPTY", ""),
    ] {
        assert_eq!(env[name], value, "{name}");
    }
    assert_eq!(env["HTTP_X_TWICE"].as_str().unwrap().replace(' ', ""), "one,two");
}

#[test]
fn fields_that_could_pass_for_others_are_dropped() {
    let server = serve("inspect.py");
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent_Length: 9\r\nX-Real: 1\r\nX_Real: 2\r\n\
        Proxy: evil\r\n\r\nhi";
    let env = &seen(&server, request)["env"];
    assert_eq!((&env["CONTENT_LENGTH"], &env["HTTP_X_REAL"]), (&json!("2"), &json!("1")));
    assert!(env.get("HTTP_PROXY").is_none());
    let line = server.wait_for("underscore-headers");
    assert!(line.contains("Content_Length") || line.contains("X_Real"), "{line}");

    let server = Site::app("inspect.py").ini("underscore-headers = true").start();
    let env = &seen(&server, "GET / HTTP/1.1\r\nHost: a\r\nX_Only: 2\r\n\r\n")["env"];
    assert_eq!(env["HTTP_X_ONLY"], "2");
}

#[test]
fn paths_are_decoded_and_cannot_climb() {
    let server = serve("inspect.py");
    for (target, path) in [
        ("/", "/"),
        ("/a//b", "/a//b"),
        ("/a/./b", "/a/b"),
        ("/a/../b", "/b"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/%2e%2e/x", "/x"),
        ("/a%2Fb", "/a/b"),
        ("/a+b", "/a+b"),
        ("http://other/abs?x", "/abs"),
    ] {
        let env = &seen(&server, &format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))["env"];
        assert_eq!(env["PATH_INFO"], path, "{target}");
    }
    let env = &seen(&server, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")["env"];
    assert_eq!(env["REQUEST_URI"], "*");
}

#[test]
fn the_scheme_comes_from_proxies_that_are_trusted() {
    let server = serve("inspect.py");
    let scheme = |fields: &str| {
        seen(&server, &format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))["env"]["wsgi.url_scheme"].clone()
    };
    assert_eq!(scheme(""), "http");
    assert_eq!(scheme("X-Forwarded-Proto: https\r\n"), "https");
    assert_eq!(scheme("X-Forwarded-Proto: http\r\n"), "http");
    assert_eq!(scheme("X-Forwarded-SSL: on\r\n"), "https");
    assert_ne!(scheme("X-Forwarded-Proto: javascript\r\n"), "javascript");
    // Only from proxies that are named: others let it pass from their clients.
    assert_eq!(scheme("Forwarded: for=192.0.2.1;proto=https\r\n"), "http");
    let server = Site::app("inspect.py").ini("trusted-proxies = 127.0.0.1").start();
    let raw = "GET / HTTP/1.1\r\nHost: a\r\nForwarded: for=192.0.2.1;proto=https\r\n\r\n";
    let env = &seen(&server, raw)["env"];
    assert_eq!(
        (&env["wsgi.url_scheme"], &env["HTTP_FORWARDED"]),
        (&"https".into(), &"for=192.0.2.1;proto=https".into())
    );
}

#[test]
fn a_unix_socket_has_an_environ_too() {
    let site = Site::empty().ini("http-socket = app.sock").ini("wsgi-file = app.py");
    site.write("app.py", include_str!("apps/inspect.py"));
    let server = site.start();
    let request = "GET / HTTP/1.1\r\nHost: example.org\r\nX-Forwarded-Proto: https\r\n\r\n";
    let seen = Client::unix(&server.path("app.sock")).send(request).answer().json();
    assert_eq!(seen["env"]["wsgi.url_scheme"], "https");
    assert!(seen["env"]["SERVER_NAME"].is_string() && seen["env"]["SERVER_PORT"].is_string());
}

#[test]
fn each_request_has_an_environ_of_its_own() {
    let server = serve_code(
        r#"
            kept = []
            def application(environ, start_response):
                kept.append(environ)
                environ['mine'] = environ['PATH_INFO']
                start_response('200 OK', [])
                return [' '.join(e['mine'] for e in kept).encode()]
        "#,
    );
    let mut client = server.connect();
    client.get("/a").ok();
    client.get("/b").ok();
    assert_eq!(client.get("/c").ok(), "/a /b /c");
}

#[test]
fn the_validator_of_the_standard_library_is_content() {
    let server = serve("validated.py");
    let mut client = server.connect();
    for path in ["/", "/none", "/generator", "/write", "/failed", "/file"] {
        for way in ["", "?lines", "?readlines", "?iterate", "?bytewise"] {
            for body in ["", "one line", "two\nlines\n"] {
                let target = format!("{path}{way}");
                let expected = if path == "/failed" {
                    500
                } else if path == "/none" {
                    204
                } else {
                    200
                };
                let answer = client.get(&target);
                assert_eq!(answer.status, expected, "GET {target}");
                let answer = client.post(&target, body);
                assert_eq!(answer.status, expected, "POST {target}");
                let chunked = format!("{:x}\r\n{body}\r\n", body.len());
                let chunks = if body.is_empty() { "" } else { &chunked };
                let head = format!("PUT {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
                let again = client.send(format!("{head}{chunks}0\r\n\r\n")).answer();
                assert_eq!((again.status, &again.body), (expected, &answer.body), "chunked PUT {target}");
            }
        }
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
        assert!(client.answer_head().status > 0);
    }
    assert_eq!(server.get("/").status, 200);
    let log = server.stop().log;
    for word in ["AssertionError", "WSGIWarning", "Traceback", "garbage collected"] {
        assert!(!log.contains(word), "{log}");
    }
}

#[test]
fn threads_of_the_application_run_all_the_time() {
    let server = serve_code(
        r#"
            import threading, time
            count = 0
            def tick():
                global count
                while True:
                    count += 1
                    time.sleep(0.001)
            started = False
            def application(environ, start_response):
                global started
                if not started:
                    started = True
                    threading.Thread(target=tick, daemon=True).start()
                start_response('200 OK', [])
                return [str(count).encode()]
        "#,
    );
    server.get("/").ok();
    // No request comes meanwhile: the worker waits without the interpreter's lock.
    let count = || server.get("/").ok().parse::<u64>().unwrap();
    let (before, mut idle) = (count(), server.connect());
    assert!(idle.read_within(std::time::Duration::from_millis(300)).is_none());
    let ticked = count() - before;
    assert!(ticked > 30, "{ticked} ticks in 0.3 s");
}

#[test]
fn cores_run_the_application_at_the_same_time() {
    let server = Site::app("control.py").ini("threads = 4").start();
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        client.send(format!("GET /gate/g{number} HTTP/1.1\r\nHost: a\r\n\r\n"));
        server.wait_for(&format!("waiting at g{number}"));
    }
    assert_eq!(server.get("/").ok(), "hello");
    for (number, mut client) in clients.into_iter().enumerate().rev() {
        server.open_gate(&format!("g{number}"));
        assert_eq!(client.answer().ok(), format!("behind g{number}"));
    }
}

#[test]
fn python_is_set_up_as_the_user_left_it() {
    let site = Site::empty()
        .ini("http-socket = 127.0.0.1:0\nmodule = pkg.site:app\npythonpath = lib\nenv = GREETING=hi there");
    std::fs::create_dir_all(site.path("lib/pkg")).unwrap();
    std::fs::write(site.path("lib/pkg/__init__.py"), "").unwrap();
    let code = r#"
        import os, signal, sys, threading
        def app(environ, start_response):
            main = threading.current_thread() is threading.main_thread()
            blocked = sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
            start_response('200 OK', [])
            seen = sys.executable, os.environ.get('GREETING'), __name__, main, blocked
            return [repr(seen).encode()]
    "#;
    std::fs::write(site.path("lib/pkg/site.py"), dedent(code)).unwrap();
    let server = site.start();
    let python = crate::harness::python::default().display().to_string();
    assert_eq!(server.get("/").ok(), format!("('{python}', 'hi there', 'pkg.site', True, [])"));
}

#[test]
fn workers_draw_different_random_numbers() {
    let site = Site::code(
        r#"
            import os, random, time
            random.random()
            drawn = None
            def application(environ, start_response):
                global drawn
                drawn = drawn or random.random()
                while environ['PATH_INFO'] == '/gate' and not os.path.exists('gate'):
                    time.sleep(0.002)
                start_response('200 OK', [])
                return [f'{os.getpid()} {drawn}'.encode()]
        "#,
    );
    let server = site.ini("processes = 2").start();
    // While one worker is busy, another one answers.
    let mut client = server.connect();
    client.send("GET /gate HTTP/1.1\r\nHost: a\r\n\r\n");
    let draw = |text: &str| text.split_once(' ').map(|(pid, number)| (pid.to_owned(), number.to_owned())).unwrap();
    let first = draw(server.get("/").ok());
    server.open_gate("gate");
    let second = draw(client.answer().ok());
    assert!(first.0 != second.0 && first.1 != second.1, "{first:?} {second:?}");
}
