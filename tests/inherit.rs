//! What programs that an application starts get from the server: its descriptors, its standard input.

use std::fs::File;

use crate::harness::{Server, Site};

/// Answers with the number of sockets that a program gets that is to get everything, and with its standard input.
const APP: &str = r#"
    import subprocess

    def application(environ, start_response):
        found = subprocess.run(["ls", "-l", "/proc/self/fd"], close_fds=False, stdout=subprocess.PIPE, text=True)
        lines = found.stdout.splitlines()
        [stdin] = [line.split(" -> ")[1] for line in lines if " 0 -> " in line]
        start_response("200 OK", [])
        return [f"{sum('socket:' in line for line in lines)} {stdin}".encode()]
"#;

#[test]
fn no_socket_is_inherited_unless_somebody_wants_it() {
    for (lines, sockets) in [
        ("", 0),
        ("close-on-exec = true", 0),
        ("close-on-exec = false", 1),
        ("close-on-exec2 = false", 1),
        ("close-on-exec = false\nclose-on-exec2 = false", 2),
    ] {
        let server = Site::code(APP).ini(lines).start();
        assert_eq!(server.get("/").ok(), format!("{sockets} /dev/null"), "{lines}");
    }
}

#[test]
fn standard_input_is_the_servers_where_it_is_honoured() {
    for (value, honoured) in [("false", false), ("true", true)] {
        let site = Site::code(APP).ini(&format!("honour-stdin = {value}"));
        site.write_ini();
        let input = site.write("input", "").canonicalize().unwrap();
        let mut command = site.command(["--ini", "uwsgi.ini"]);
        command.stdin(File::open(&input).unwrap());
        let server = Server::of(command, site);
        server.wait_for_workers(1);
        let wanted = if honoured { input.display().to_string() } else { "/dev/null".to_owned() };
        assert_eq!(server.get("/").ok(), format!("0 {wanted}"));
    }
}
