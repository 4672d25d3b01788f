//! Where a node is: the address in an announcement, read once, so that nothing is read for each request.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What a router connects to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// TCP.
    Inet(SocketAddr),
    /// A unix socket.
    Unix(PathBuf),
    /// A unix socket without a file.
    Abstract(Vec<u8>),
}

impl Place {
    /// Reads an address as instances announce it. Nothing is looked up: the loop of a router would wait for it. Without
    /// a host (`:3031`, as uWSGI announces a socket that is bound to all addresses), it is where the announcement came
    /// from; `None` for `sender`: this machine. Another machine can name no socket of this one.
    pub fn parse(text: &[u8], sender: Option<IpAddr>) -> Result<Self, &'static str> {
        let is_local = sender.is_none_or(|ip| ip.to_canonical().is_loopback());
        let foreign = "is a path, and comes from another machine";
        if let Some(name) = text.strip_prefix(b"@") {
            return match name {
                b"" => Err("is no address"),
                _ if !is_local => Err(foreign),
                _ => Ok(Self::Abstract(name.to_vec())),
            };
        }
        if text.contains(&0) || text.is_empty() {
            return Err("is no address");
        }
        let Some(colon) = text.iter().rposition(|byte| *byte == b':').filter(|_| text[0] != b'/') else {
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(text));
            return if is_local { Ok(Self::Unix(path)) } else { Err(foreign) };
        };
        let wrong = "is neither IP:PORT nor the path of a socket (names are not looked up)";
        let text = std::str::from_utf8(text).map_err(|_| wrong)?;
        let here = sender.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)).to_canonical();
        let address = match &text[..colon] {
            "" | "*" => SocketAddr::new(here, text[colon + 1..].parse().map_err(|_| wrong)?),
            _ => text.parse::<SocketAddr>().map_err(|_| wrong)?,
        };
        let ip = if address.ip().is_unspecified() { here } else { address.ip().to_canonical() };
        if address.port() == 0 { Err("has no port") } else { Ok(Self::Inet(SocketAddr::new(ip, address.port()))) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inet(address) => address.fmt(to),
            Self::Unix(path) => path.as_os_str().as_bytes().escape_ascii().fmt(to),
            Self::Abstract(name) => write!(to, "@{}", name.escape_ascii()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, sender: Option<&str>) -> String {
        let sender = sender.map(|ip| ip.parse().unwrap());
        Place::parse(text.as_bytes(), sender).map_or_else(str::to_owned, |place| place.to_string())
    }

    #[test]
    fn addresses_are_those_that_instances_announce() {
        assert_eq!(shown("10.0.0.1:3031", None), "10.0.0.1:3031");
        assert_eq!(shown("[fd00::1]:3031", None), "[fd00::1]:3031");
        assert_eq!(shown("/run/app.sock", None), "/run/app.sock");
        assert_eq!(shown("/run/a:b", None), "/run/a:b");
        assert_eq!(shown("app.sock", None), "app.sock");
        assert_eq!(shown("@app", None), "@app");
        for bad in ["", "@", "10.0.0.1:", "10.0.0.1:0", "host:3031", "::1:3031", ":x", "a\0b"] {
            assert!(shown(bad, None).starts_with(['i', 'h']), "{bad:?}: {}", shown(bad, None));
        }
    }

    #[test]
    fn another_machine_names_no_socket_of_this_one() {
        for text in ["/run/app.sock", "@app", "app.sock"] {
            assert_eq!(shown(text, Some("10.0.0.7")), "is a path, and comes from another machine");
            assert_eq!(shown(text, Some("::ffff:127.0.0.1")), text);
            assert_eq!(shown(text, Some("::1")), text);
        }
    }

    #[test]
    fn who_says_no_host_is_where_it_says_it() {
        for any in [":3031", "*:3031", "0.0.0.0:3031", "[::]:3031"] {
            assert_eq!(shown(any, None), "127.0.0.1:3031");
            assert_eq!(shown(any, Some("10.0.0.7")), "10.0.0.7:3031");
            assert_eq!(shown(any, Some("::ffff:10.0.0.7")), "10.0.0.7:3031");
        }
        assert_eq!(shown("10.0.0.1:3031", Some("10.0.0.7")), "10.0.0.1:3031");
    }
}
