//! Traps in addresses and sockets.

use std::path::Path;

use super::seen::{Line, Seen};
use crate::report::Problem;

/// Ports where a browser, curl or a load balancer is expected to speak HTTP.
const HTTP_PORTS: &[u16] = &[80, 443, 3000, 5000, 8000, 8080, 8888];

/// `http-socket = 8080`
pub fn port_as_file(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let value = &*line.value;
        if value.is_empty() || value.contains([':', '/', '@', '%', '$', '{', '<']) {
            return None;
        }
        let hint = if value.bytes().all(|byte| byte.is_ascii_digit()) {
            format!("for the port write :{value}")
        } else if value.parse::<std::net::Ipv4Addr>().is_ok() || value == "localhost" {
            format!("for an address write {value}:PORT")
        } else {
            return None;
        };
        Some(line.is(format!("{value:?} has no colon, so it is a unix socket of that name: {hint}")))
    };
    seen.listeners().filter_map(told).collect()
}

/// `socket = unix:/run/app.sock`
pub fn scheme(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let value = &*line.value;
        let (scheme, rest) = value.split_once(':')?;
        let rest = match scheme {
            "unix" if rest.contains('/') => rest.strip_prefix("//").unwrap_or(rest),
            "http" | "https" | "tcp" | "uwsgi" => rest.strip_prefix("//")?,
            _ => return None,
        };
        Some(line.is(format!("{value:?}: an address has no {scheme}: in front, write {rest}")))
    };
    seen.listeners().filter_map(told).collect()
}

/// `socket = :8080`, and nothing that speaks HTTP.
pub fn http_port(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |(line, port): (&Line<'_>, u16)| {
        line.is(format!(
            "port {port} is usual for HTTP, but {} speaks the uwsgi protocol: a browser, curl or a load balancer gets no \
             answer; for them it is http-socket = {} (nginx's uwsgi_pass is right with {0})",
            line.name, line.value
        ))
    };
    on_http_ports(seen).map(told).collect()
}

fn on_http_ports<'s, 'a>(seen: &'s Seen<'a>) -> impl Iterator<Item = (&'s Line<'a>, u16)> {
    let alone = !seen.listeners().any(|line| seen.is_http(line)) && seen.last("https").is_none();
    let lines = seen.listeners().filter(move |_| alone);
    let ports = lines.filter_map(|line| Some((line, host_and_port(&line.value)?.1)));
    ports.filter(|(_, port)| HTTP_PORTS.contains(port))
}

/// `socket = 0.0.0.0:3031`
pub fn public(seen: &Seen<'_>) -> Vec<Problem> {
    let told = |line: &Line<'_>| {
        let (host, port) = host_and_port(&line.value)?;
        let everywhere = matches!(host, "" | "*" | "0.0.0.0" | "[::]");
        let already = on_http_ports(seen).any(|(other, _)| other.origin == line.origin);
        (everywhere && !already && !seen.is_http(line)).then(|| {
            line.is(format!(
                "whoever reaches port {port} from elsewhere can claim any REMOTE_USER and REMOTE_ADDR: write \
                 127.0.0.1:{port} or a unix socket where the front end runs on this machine, or let a firewall or \
                 container network keep others out"
            ))
        })
    };
    seen.listeners().filter_map(told).collect()
}

/// `host:port` of an address that has both.
fn host_and_port(value: &str) -> Option<(&str, u16)> {
    let (host, port) = value.rsplit_once(':')?;
    Some((host, port.parse().ok()?))
}

fn unix<'s, 'a>(seen: &'s Seen<'a>) -> impl Iterator<Item = &'s Line<'a>> {
    seen.listeners().filter(|line| !line.value.contains(':') && !line.value.starts_with('@'))
}

/// `chmod-socket = 666`
pub fn open_mode(seen: &Seen<'_>) -> Vec<Problem> {
    let Some(line) = seen.last("chmod-socket").filter(|_| unix(seen).next().is_some()) else { return Vec::new() };
    let mode = if matches!(&*line.value, "" | "1") { "666" } else { &line.value };
    let everybody = u32::from_str_radix(mode, 8).is_ok_and(|mode| mode & 0o002 != 0);
    let told = format!(
        "{mode} lets every user of this machine talk to the application, past the front end: chmod-socket = 660 with \
         chown-socket = USER:GROUP lets the front end's group alone"
    );
    if everybody { vec![line.is(told)] } else { Vec::new() }
}

/// `socket = /tmp/app.sock`
pub fn in_tmp(seen: &Seen<'_>) -> Vec<Problem> {
    let in_tmp = |line: &&Line<'_>| ["/tmp", "/var/tmp"].iter().any(|tmp| Path::new(&*line.value).starts_with(tmp));
    let told = |line: &Line<'_>| {
        line.is(format!(
            "{}: everybody may make files there, and a front end that systemd starts with PrivateTmp=true sees another \
             /tmp; a directory under /run has neither problem",
            line.value
        ))
    };
    unix(seen).filter(in_tmp).map(told).collect()
}

/// `trusted-proxies = *`
pub fn trusts_everybody(seen: &Seen<'_>) -> Vec<Problem> {
    let all = seen.all("trusted-proxies").filter(|line| matches!(&*line.value, "*" | "0.0.0.0/0" | "::/0"));
    let told = "everybody may say that a request came over https: name the networks of the proxies";
    all.map(|line| line.is(told)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::tests::{found, silent};

    #[test]
    fn a_bare_port_is_a_file() {
        assert_eq!(
            found(port_as_file, &[("http", "8080")]),
            ["http: \"8080\" has no colon, so it is a unix socket of that name: for the port write :8080 (app.ini:1)"]
        );
        assert_eq!(found(port_as_file, &[("socket", "127.0.0.1"), ("http-socket", "localhost")]).len(), 2);
        silent(
            port_as_file,
            &[("socket", ":8080"), ("socket", "app.sock"), ("socket", "/a/8080"), ("socket", "@8080")],
        );
        silent(port_as_file, &[("listen", "8080"), ("socket", "$(PORT)")]);
    }

    #[test]
    fn addresses_have_no_scheme() {
        assert!(found(scheme, &[("socket", "unix:/run/a.sock")])[0].contains("write /run/a.sock"));
        assert!(found(scheme, &[("socket", "unix:///run/a.sock")])[0].contains("write /run/a.sock"));
        assert!(found(scheme, &[("http", "http://0.0.0.0:80")])[0].contains("write 0.0.0.0:80"));
        silent(scheme, &[("socket", "unix:8000"), ("http", "http:80"), ("socket", ":80"), ("socket", "/a:b")]);
    }

    #[test]
    fn a_browser_gets_no_answer_from_socket() {
        let told = found(http_port, &[("socket", "0.0.0.0:8080")]);
        assert!(told[0].contains("http-socket = 0.0.0.0:8080") && told[0].contains("with socket)"), "{told:?}");
        silent(http_port, &[("socket", ":8080"), ("protocol", "http")]);
        silent(http_port, &[("socket", ":8080"), ("http", ":80")]);
        silent(http_port, &[("socket", ":3031"), ("socket", "/run/8080"), ("http-socket", ":8080")]);
    }

    #[test]
    fn who_reaches_a_socket_claims_to_be_anybody() {
        for address in [":3031", "0.0.0.0:3031", "*:3031", "[::]:3031"] {
            assert_eq!(found(public, &[("socket", address)]).len(), 1, "{address}");
        }
        for address in ["127.0.0.1:3031", "/run/a.sock", "10.0.0.1:3031", ":8080"] {
            silent(public, &[("socket", address)]);
        }
        silent(public, &[("http-socket", ":3031")]);
        silent(public, &[("socket", ":3031"), ("protocol", "http")]);
    }

    #[test]
    fn a_mode_for_everybody_is_told_where_it_counts() {
        assert!(found(open_mode, &[("socket", "/a"), ("chmod-socket", "666")])[0].starts_with("chmod-socket: 666 "));
        assert!(found(open_mode, &[("socket", "/a"), ("chmod", "")])[0].starts_with("chmod: 666 "));
        assert_eq!(found(open_mode, &[("http", "a.sock"), ("chmod-socket", "777")]).len(), 1);
        silent(open_mode, &[("socket", "/a"), ("chmod-socket", "660")]);
        silent(open_mode, &[("socket", "/a"), ("chmod-socket", "664")]);
        silent(open_mode, &[("socket", ":1"), ("socket", "@a"), ("chmod-socket", "666")]);
    }

    #[test]
    fn tmp_is_no_place_for_sockets() {
        assert_eq!(found(in_tmp, &[("socket", "/tmp/a.sock"), ("http", "/var/tmp/b/c")]).len(), 2);
        silent(in_tmp, &[("socket", "/tmpfs/a"), ("socket", "127.0.0.1:1"), ("pidfile", "/tmp/a.pid")]);
    }

    #[test]
    fn a_proxy_is_somebody() {
        assert_eq!(found(trusts_everybody, &[("trusted-proxies", "*")]).len(), 1);
        silent(trusts_everybody, &[("trusted-proxies", "10.0.0.0/8")]);
    }
}
