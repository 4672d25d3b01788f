//! `examples/hello`, as the README starts it.

use crate::harness::{Server, Site, project};

#[test]
fn the_first_example_runs() {
    let site = Site::empty();
    let example = project().join("examples/hello/uwsgi.ini");
    let text = std::fs::read_to_string(&example).unwrap();
    assert!(text.contains("127.0.0.1:8080"), "its README names this address");
    // As it stands, but for the port, which may be taken here.
    for file in ["app.py", "README.md"] {
        std::fs::copy(project().join("examples/hello").join(file), site.path(file)).unwrap();
    }
    site.write("uwsgi.ini", &text.replace("127.0.0.1:8080", "127.0.0.1:0"));
    let server: Server = site.launch_with(["--ini", "uwsgi.ini"]);
    server.wait_for_workers(2);
    let answer = server.get("/");
    assert!(answer.ok().contains("Hello"), "{answer:?}");
    assert!(
        server.log.text().lines().all(|line| !line.starts_with("warning") || line.contains("root")),
        "{}",
        server.log.text()
    );
    server.stop();
}
