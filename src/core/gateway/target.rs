//! The address of a backend and what it speaks: `127.0.0.1:3031`, `/run/app.sock`, `@name`, `http://10.0.0.1:80`.

use std::hash::{Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use ruwsgi_sys::listen::At;
use ruwsgi_sys::stream::Remote;
use ruwsgi_wire::client::Dialect;

use crate::listeners::Address;

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// What to connect to.
    pub remote: Remote,
    /// What it speaks.
    pub dialect: Dialect,
    /// As it was written.
    pub shown: String,
}

impl Hash for Target {
    /// Asked for each request: where it is tells nearly all of them apart.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.remote.hash(state);
    }
}

const SCHEMES: [(&str, Dialect); 5] = [
    ("uwsgi://", Dialect::Uwsgi),
    ("puwsgi://", Dialect::PersistentUwsgi),
    ("http://", Dialect::Http),
    ("fastcgi://", Dialect::FastCgi),
    ("scgi://", Dialect::Scgi),
];

impl Target {
    /// Reads an address that an option says: names are looked up, which may take a while.
    pub(crate) fn parse(text: &str, dialect: Dialect) -> Result<Self, String> {
        Self::read(text, dialect, Address::resolve)
    }

    /// Reads an address that came while requests are served: names are none.
    pub(crate) fn numeric(text: &str, dialect: Dialect) -> Result<Self, String> {
        Self::read(text, dialect, |address| match address {
            Address::Inet { host, .. } if !host.is_empty() && host.parse::<std::net::IpAddr>().is_err() => {
                Err("is no numeric address".to_owned())
            }
            other => other.resolve(),
        })
    }

    fn read(
        text: &str,
        dialect: Dialect,
        resolve: impl Fn(&Address) -> Result<SocketAddr, String>,
    ) -> Result<Self, String> {
        let scheme = SCHEMES.iter().find_map(|(scheme, dialect)| Some((text.strip_prefix(scheme)?, *dialect)));
        let (plain, dialect) = scheme.unwrap_or((text, dialect));
        let remote = match Address::parse(plain.trim_end_matches('/'))? {
            address @ Address::Inet { .. } => {
                let at = resolve(&address)?;
                if at.port() == 0 {
                    return Err("is no address to connect to: it has no port".to_owned());
                }
                Remote::Inet(reachable(at))
            }
            Address::Unix(path) => Remote::Unix(path.as_os_str().as_bytes().to_vec()),
            Address::Abstract(name) => Remote::Unix([b"\0", &name[..]].concat()),
            Address::Given(_) => return Err("is no address to connect to".to_owned()),
        };
        Ok(Self { remote, dialect, shown: text.to_owned() })
    }

    /// A listener of this instance.
    pub(crate) fn of(at: &At, dialect: Dialect) -> Self {
        let (remote, shown) = match at {
            At::Inet(at) => (Remote::Inet(reachable(*at)), at.to_string()),
            At::Unix(path) => (Remote::Unix(path.as_os_str().as_bytes().to_vec()), path.display().to_string()),
            At::Abstract(name) => (Remote::Unix([b"\0", &name[..]].concat()), format!("@{}", name.escape_ascii())),
        };
        Self { remote, dialect, shown }
    }

    /// What the listeners of a protocol understand.
    pub(crate) fn dialect_of(protocol: &str) -> Dialect {
        match protocol {
            "http" => Dialect::Http,
            "puwsgi" => Dialect::PersistentUwsgi,
            "fastcgi" | "fastcgi-nph" => Dialect::FastCgi,
            "scgi" | "scgi-nph" => Dialect::Scgi,
            _ => Dialect::Uwsgi,
        }
    }
}

/// Who listens everywhere is reached here.
fn reachable(at: SocketAddr) -> SocketAddr {
    if at.ip().is_unspecified() && at.is_ipv4() {
        return (Ipv4Addr::LOCALHOST, at.port()).into();
    }
    if at.ip().is_unspecified() {
        return (std::net::Ipv6Addr::LOCALHOST, at.port()).into();
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_say_what_is_spoken_there() {
        let read = |text| Target::numeric(text, Dialect::Uwsgi).map(|target| (target.remote, target.dialect));
        let inet = |text: &str| Remote::Inet(text.parse().unwrap());
        assert_eq!(read("127.0.0.1:3031"), Ok((inet("127.0.0.1:3031"), Dialect::Uwsgi)));
        assert_eq!(read(":3031"), Ok((inet("127.0.0.1:3031"), Dialect::Uwsgi)));
        assert_eq!(read("http://[::1]:80/"), Ok((inet("[::1]:80"), Dialect::Http)));
        assert_eq!(read("fastcgi:///run/php.sock"), Ok((Remote::Unix(b"/run/php.sock".to_vec()), Dialect::FastCgi)));
        assert_eq!(read("puwsgi://@app").map(|(_, dialect)| dialect), Ok(Dialect::PersistentUwsgi));
        assert_eq!(read("@app"), Ok((Remote::Unix(b"\0app".to_vec()), Dialect::Uwsgi)));
        assert_eq!(read("localhost:80").unwrap_err(), "is no numeric address");
        for wrong in ["127.0.0.1:0", "127.0.0.1:http", "", "fd://3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(Target::parse("localhost:80", Dialect::Http).is_ok());
    }
}
