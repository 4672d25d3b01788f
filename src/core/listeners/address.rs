//! Addresses as uWSGI reads them: with a colon an internet address, without one a path, behind `@` a name in the
//! abstract namespace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use ruwsgi_sys::listen;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// A host, which may be empty (any), a name, or a pattern of this machine's addresses; port 0: any free one.
    Inet { host: String, port: u16 },
    /// A file.
    Unix(PathBuf),
    /// A name without a file.
    Abstract(Vec<u8>),
    /// A socket that whoever started the server has opened: its descriptor.
    Given(i32),
}

impl Address {
    /// Reads it; an error goes on where the text ended: `"x" ERROR`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix('@').or_else(|| text.strip_prefix("\\0")) {
            return Ok(Self::Abstract(name.as_bytes().to_vec()));
        }
        if let Some(number) = text.strip_prefix("fd://") {
            let number = number.parse().ok().filter(|number| *number >= 0);
            return number.map(Self::Given).ok_or_else(|| "names no descriptor".to_owned());
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return if text.is_empty() { Err("is no address".to_owned()) } else { Ok(Self::Unix(text.into())) };
        };
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or("is no address: a bracket is missing")?,
            None if host.contains(':') => return Err("is no address: IPv6 goes in brackets, [::1]:8080".to_owned()),
            None => host,
        };
        // uWSGI: an empty port and one that begins with 0 are chosen by the kernel.
        let port = match port {
            "" => 0,
            zero if zero.starts_with('0') && zero.bytes().all(|byte| byte.is_ascii_digit()) => 0,
            number => number.parse().map_err(|_| format!("is no address: {number:?} is no port"))?,
        };
        Ok(Self::Inet { host: host.to_owned(), port })
    }

    /// As a text that is read as this address.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Inet { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Inet { host, port } => format!("{host}:{port}"),
            Self::Unix(path) => path.display().to_string(),
            Self::Abstract(name) => format!("@{}", String::from_utf8_lossy(name)),
            Self::Given(number) => format!("fd://{number}"),
        }
    }

    /// The same, as a name without a file where it is a file (`abstract-socket`).
    pub(crate) fn without_file(self) -> Self {
        match self {
            Self::Unix(path) => Self::Abstract(path.into_os_string().into_encoded_bytes()),
            other => other,
        }
    }

    /// The kernel chooses the port.
    pub(crate) fn is_any_port(&self) -> bool {
        matches!(self, Self::Inet { port: 0, .. })
    }

    /// The internet address to bind.
    pub(crate) fn resolve(&self) -> Result<SocketAddr, String> {
        let Self::Inet { host, port } = self else { return Err("is no internet address".to_owned()) };
        if host.is_empty() || host == "*" {
            return Ok((Ipv4Addr::UNSPECIFIED, *port).into());
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok((ip, *port).into());
        }
        if host.contains('*') {
            let here = listen::interface_addresses().map_err(|error| format!("can't be looked up: {error}"))?;
            let found = here.into_iter().find(|ip| matches(host, &ip.to_string()));
            return found.map(|ip| (ip, *port).into()).ok_or_else(|| "fits no address of this machine".to_owned());
        }
        let found = (host.as_str(), *port).to_socket_addrs().map_err(|error| format!("can't be looked up: {error}"))?;
        let found: Vec<SocketAddr> = found.collect();
        // IPv4 first, as uWSGI's gethostbyname does.
        let best = found.iter().find(|address| address.is_ipv4()).or(found.first());
        best.copied().ok_or_else(|| "has no address".to_owned())
    }
}

/// `pattern` fits `text`; a `*` stands for anything.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == text };
    let Some(rest) = text.strip_prefix(before) else { return false };
    (0..=rest.len()).any(|skip| rest.get(skip..).is_some_and(|rest| matches(after, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inet(text: &str) -> String {
        Address::parse(text).and_then(|address| address.resolve()).map_or_else(|why| why, |found| found.to_string())
    }

    #[test]
    fn an_address_is_read_again_from_its_text() {
        for text in ["127.0.0.1:80", ":0", "*:8080", "[::1]:80", "localhost:1", "/run/a b", "x.sock", "@name", "fd://3"]
        {
            let address = Address::parse(text).unwrap();
            assert_eq!(Address::parse(&address.text()), Ok(address), "{text}");
        }
    }

    #[test]
    fn addresses_are_read_as_uwsgi_reads_them() {
        assert_eq!(inet(":8080"), "0.0.0.0:8080");
        assert_eq!(inet("*:8080"), "0.0.0.0:8080");
        assert_eq!(inet("127.0.0.1:8080"), "127.0.0.1:8080");
        assert_eq!(inet("localhost:80"), "127.0.0.1:80");
        assert_eq!(inet("[::1]:80"), "[::1]:80");
        assert_eq!(inet("127.*:81"), "127.0.0.1:81");
        assert_eq!([inet("127.0.0.1:"), inet(":0"), inet(":080")], ["127.0.0.1:0", "0.0.0.0:0", "0.0.0.0:0"]);
        assert_eq!(inet("127.0.0.1:http"), "is no address: \"http\" is no port");
        assert_eq!(inet("127.0.0.1:65536"), "is no address: \"65536\" is no port");
        assert_eq!(inet("::1:80"), "is no address: IPv6 goes in brackets, [::1]:8080");
        assert_eq!(inet("[::1:80"), "is no address: a bracket is missing");
        assert_eq!(inet("250.*:80"), "fits no address of this machine");
    }

    #[test]
    fn what_has_no_colon_is_a_file() {
        assert_eq!(Address::parse("/run/app.sock"), Ok(Address::Unix("/run/app.sock".into())));
        assert_eq!(Address::parse("8080"), Ok(Address::Unix("8080".into())));
        assert_eq!(Address::parse("@app"), Ok(Address::Abstract(b"app".to_vec())));
        assert_eq!(Address::parse("\\0app"), Ok(Address::Abstract(b"app".to_vec())));
        let path = Address::Unix("/run/app.sock".into());
        assert_eq!(path.without_file(), Address::Abstract(b"/run/app.sock".to_vec()));
        assert_eq!(Address::parse(""), Err("is no address".to_owned()));
        assert_eq!(Address::parse("fd://3"), Ok(Address::Given(3)));
        assert!(Address::parse("fd://x").is_err() && Address::parse("fd://-1").is_err());
    }

    #[test]
    fn a_star_stands_for_anything() {
        assert!(matches("10.*", "10.0.0.1") && matches("*.1", "10.0.0.1") && matches("1*0*1", "10.0.0.1"));
        assert!(!matches("10.*", "192.168.10.1") && !matches("10.*.2", "10.0.0.1"));
    }
}
