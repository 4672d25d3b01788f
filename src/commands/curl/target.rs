//! Where `ruwsgi curl` asks: a URL, taken apart.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::Duration;

use ruwsgi_wire::client::Dialect;

/// A connection to a server.
pub trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

#[derive(Debug, PartialEq, Eq)]
enum Address {
    Inet(String, u16),
    Unix(String),
    Abstract(String),
}

/// A server and what to ask it for.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    pub dialect: Dialect,
    address: Address,
    /// The address, for people.
    pub shown: String,
    /// What stands for it in `Host`.
    host: String,
    /// Path and query, at least `/`.
    uri: String,
}

impl Target {
    /// From `PROTOCOL://ADDRESS/PATH`; `socket` is where to connect instead of the address.
    pub fn parse(url: &str, socket: Option<&str>) -> Result<Self, String> {
        let wrong = |why: &str| format!("{url:?} {why}");
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let dialect = match scheme {
            "http" => Dialect::Http,
            "uwsgi" => Dialect::Uwsgi,
            "fastcgi" => Dialect::FastCgi,
            "scgi" => Dialect::Scgi,
            _ => return Err(wrong("names no protocol: uwsgi, fastcgi, scgi and http are known")),
        };
        let (host, uri) = match rest.strip_prefix("unix:") {
            // As nginx writes it.
            Some(unix) => {
                let (path, uri) = unix.split_once(':').unwrap_or((unix, ""));
                (&rest[.."unix:".len() + path.len()], uri)
            }
            None => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        };
        let uri = uri.split('#').next().unwrap_or_default();
        let address = match socket.or(host.strip_prefix("unix:")) {
            Some("") => return Err(wrong("names no socket")),
            Some(path) => match path.strip_prefix('@') {
                Some(name) => Address::Abstract(name.to_owned()),
                None => Address::Unix(path.to_owned()),
            },
            None => inet(host, dialect).map_err(|why| wrong(&why))?,
        };
        let shown = socket.map_or(host, |socket| socket).to_owned();
        let host = if host.starts_with("unix:") { "localhost" } else { host }.to_owned();
        let slash = if uri.starts_with('/') { "" } else { "/" };
        Ok(Self { dialect, address, shown, host, uri: format!("{slash}{uri}") })
    }

    /// Connects; each read and write may take so long.
    pub fn connect(&self, patience: Duration) -> io::Result<Box<dyn Stream>> {
        let told = |error: io::Error| io::Error::other(format!("{}: can't connect: {error}", self.shown));
        let unix = |stream: io::Result<UnixStream>| -> io::Result<Box<dyn Stream>> {
            let stream = stream.map_err(told)?;
            stream.set_read_timeout(Some(patience))?;
            stream.set_write_timeout(Some(patience))?;
            Ok(Box::new(stream))
        };
        match &self.address {
            Address::Unix(path) => unix(UnixStream::connect(path)),
            Address::Abstract(name) => {
                unix(SocketAddr::from_abstract_name(name).and_then(|name| UnixStream::connect_addr(&name)))
            }
            Address::Inet(host, port) => {
                let mut last = io::Error::other("the name has no address");
                for address in (host.as_str(), *port).to_socket_addrs().map_err(told)? {
                    match TcpStream::connect_timeout(&address, patience) {
                        Ok(stream) => {
                            stream.set_nodelay(true)?;
                            stream.set_read_timeout(Some(patience))?;
                            stream.set_write_timeout(Some(patience))?;
                            return Ok(Box::new(stream));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(told(last))
            }
        }
    }

    /// The variables of a request, as nginx would send them for it.
    pub fn vars(&self, method: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
        let (path, query) = self.uri.split_once('?').unwrap_or((&self.uri, ""));
        let (name, port) = match &self.address {
            Address::Inet(host, port) => (host.as_str(), port.to_string()),
            _ => (self.host.as_str(), "80".to_owned()),
        };
        let path = super::decoded(path);
        let agent = concat!("ruwsgi-curl/", env!("CARGO_PKG_VERSION"));
        let vars: [(&str, &[u8]); 14] = [
            ("REQUEST_METHOD", method.as_bytes()),
            ("REQUEST_URI", self.uri.as_bytes()),
            ("PATH_INFO", &path),
            ("QUERY_STRING", query.as_bytes()),
            ("SCRIPT_NAME", b""),
            ("SERVER_PROTOCOL", b"HTTP/1.1"),
            ("SERVER_NAME", name.as_bytes()),
            ("SERVER_PORT", port.as_bytes()),
            ("REQUEST_SCHEME", b"http"),
            ("REMOTE_ADDR", b"127.0.0.1"),
            ("REMOTE_PORT", b"0"),
            ("HTTP_HOST", self.host.as_bytes()),
            ("HTTP_USER_AGENT", agent.as_bytes()),
            ("HTTP_ACCEPT", b"*/*"),
        ];
        vars.into_iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect()
    }
}

/// Only HTTP has a port of its own.
fn inet(host: &str, dialect: Dialect) -> Result<Address, String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            (name, port.parse().map_err(|_| format!("has no port: {port:?} is no number"))?)
        }
        _ if dialect == Dialect::Http => (host, 80),
        _ => return Err("has no port".to_owned()),
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if name.is_empty() { Err("has no host".to_owned()) } else { Ok(Address::Inet(name.to_owned(), port)) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    fn parsed(url: &str, socket: Option<&str>) -> (Dialect, Address, String, String) {
        let Target { dialect, address, host, uri, .. } = Target::parse(url, socket).unwrap();
        (dialect, address, host, uri)
    }

    fn inet(host: &str, port: u16) -> Address {
        Address::Inet(host.to_owned(), port)
    }

    #[test]
    fn urls_are_taken_apart() {
        let said = |host: &str, uri: &str| (host.to_owned(), uri.to_owned());
        for (url, dialect, address, (host, uri)) in [
            ("uwsgi://127.0.0.1:3031", Dialect::Uwsgi, inet("127.0.0.1", 3031), said("127.0.0.1:3031", "/")),
            ("scgi://[::1]:4000/a/b?c=d#e", Dialect::Scgi, inet("::1", 4000), said("[::1]:4000", "/a/b?c=d")),
            ("http://localhost?x", Dialect::Http, inet("localhost", 80), said("localhost", "/?x")),
            ("localhost:8080/x", Dialect::Http, inet("localhost", 8080), said("localhost:8080", "/x")),
            (
                "fastcgi://unix:/run/a.sock:/x?y",
                Dialect::FastCgi,
                Address::Unix("/run/a.sock".into()),
                said("localhost", "/x?y"),
            ),
            ("uwsgi://unix:@app", Dialect::Uwsgi, Address::Abstract("app".into()), said("localhost", "/")),
        ] {
            assert_eq!(parsed(url, None), (dialect, address, host, uri), "{url}");
        }
        let by_socket = parsed("http://example.com/x", Some("app.sock"));
        assert_eq!(
            by_socket,
            (Dialect::Http, Address::Unix("app.sock".into()), "example.com".to_owned(), "/x".to_owned())
        );
    }

    #[test]
    fn what_is_no_url_is_told() {
        for (url, word) in [
            ("gopher://a", "protocol"),
            ("uwsgi://a/", "port"),
            ("uwsgi://a:b/", "port"),
            ("http://:80/", "host"),
            ("scgi://unix:", "socket"),
        ] {
            let error = Target::parse(url, None).unwrap_err();
            assert!(error.contains(word) && error.contains(url), "{error}");
        }
    }
}
