//! Where an instance tells something of itself: `host:port`, `/path`, `@name`, or one of these behind `http://`. For `top`
//! and `stacks`; whatever stands there, real uWSGI too, is read to its end.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::time::{Duration, Instant};

/// The largest answer.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// An address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    kind: Kind,
    /// The request that is sent; `None`: whoever is there speaks first.
    asks: Option<String>,
    /// As it was said.
    pub shown: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Inet(String),
    Path(String),
    Name(String),
}

impl Place {
    /// Reads an address.
    pub fn parse(said: &str) -> Result<Self, String> {
        let (rest, http) = said.strip_prefix("http://").map_or((said, false), |rest| (rest, true));
        let (kind, path) = match rest {
            _ if rest.starts_with('/') => (Kind::Path(rest.to_owned()), "/"),
            _ if rest.starts_with('@') && rest.len() > 1 => (Kind::Name(rest[1..].to_owned()), "/"),
            _ => {
                let (host, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
                let host = if host.starts_with(':') { format!("127.0.0.1{host}") } else { host.to_owned() };
                let port = host.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
                match port {
                    Some(1..) => (Kind::Inet(host), path),
                    _ if http => (Kind::Inet(format!("{host}:80")), path),
                    _ => return Err(format!("{said:?} is no address: HOST:PORT, /PATH, @NAME or http://HOST:PORT/")),
                }
            }
        };
        let asks = http.then(|| format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        Ok(Self { kind, asks, shown: said.to_owned() })
    }

    /// The same, asked for this path.
    pub fn asked_for(mut self, path: &str) -> Self {
        self.asks = Some(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        self
    }

    /// It is on this machine.
    pub fn is_near(&self) -> bool {
        let Kind::Inet(host) = &self.kind else { return true };
        host.to_socket_addrs().is_ok_and(|mut all| all.all(|at| at.ip().is_loopback()))
    }

    /// Everything that is told there. An HTTP head is left out; a status that is none of success is an error.
    pub fn read(&self, patience: Duration) -> io::Result<Vec<u8>> {
        let told = |error: &io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                io::Error::other(format!("{}: no answer within {} s", self.shown, patience.as_secs_f32()))
            }
            _ => io::Error::other(format!("{}: {error}", self.shown)),
        };
        self.whole(patience).and_then(body).map_err(|error| told(&error))
    }

    fn whole(&self, patience: Duration) -> io::Result<Vec<u8>> {
        match &self.kind {
            Kind::Inet(host) => {
                let mut last = io::Error::other("this name has no address");
                for address in host.to_socket_addrs()? {
                    match TcpStream::connect_timeout(&address, patience) {
                        Ok(stream) => {
                            stream.set_write_timeout(Some(patience))?;
                            return self.talk(stream, patience, |stream, left| stream.set_read_timeout(Some(left)));
                        }
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            Kind::Path(path) => self.talk_unix(UnixStream::connect(path)?, patience),
            Kind::Name(name) => {
                self.talk_unix(UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?, patience)
            }
        }
    }

    fn talk_unix(&self, stream: UnixStream, patience: Duration) -> io::Result<Vec<u8>> {
        stream.set_write_timeout(Some(patience))?;
        self.talk(stream, patience, |stream, left| stream.set_read_timeout(Some(left)))
    }

    /// Asks, if somebody has to, and reads all within that time.
    fn talk<S: Read + Write>(
        &self,
        mut stream: S,
        patience: Duration,
        limit: impl Fn(&S, Duration) -> io::Result<()>,
    ) -> io::Result<Vec<u8>> {
        let deadline = Instant::now() + patience;
        if let Some(request) = &self.asks {
            // Who speaks first may have closed already: what he has said can be read all the same.
            let _ = stream.write_all(request.as_bytes());
        }
        let mut all = Vec::new();
        let mut room = vec![0; 64 * 1024];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            limit(&stream, left)?;
            match stream.read(&mut room) {
                Ok(0) => return Ok(all),
                Ok(length) if all.len() + length > MOST_BYTES => {
                    return Err(io::Error::other(format!("more than {MOST_BYTES} bytes")));
                }
                Ok(length) => all.extend(&room[..length]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !all.is_empty() => return Ok(all),
                Err(error) => return Err(error),
            }
        }
    }
}

/// What stands behind an HTTP head, if there is one.
fn body(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    if !bytes.starts_with(b"HTTP/1.") {
        return Ok(bytes);
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Err(io::Error::other("the answer has no end of its head"));
    };
    let body = bytes[end + 4..].to_vec();
    let status = String::from_utf8_lossy(&bytes[9..bytes.len().min(12)]).into_owned();
    if status == "200" {
        return Ok(body);
    }
    let said: String =
        String::from_utf8_lossy(&body[..body.len().min(200)]).chars().filter(|c| !c.is_control()).collect();
    Err(io::Error::other(format!("status {status}: {said}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_uwsgitop() {
        let kind = |said: &str| Place::parse(said).map(|place| (place.kind, place.asks.is_some()));
        assert_eq!(kind("127.0.0.1:1717"), Ok((Kind::Inet("127.0.0.1:1717".into()), false)));
        assert_eq!(kind(":1717"), Ok((Kind::Inet("127.0.0.1:1717".into()), false)));
        assert_eq!(kind("[::1]:1717"), Ok((Kind::Inet("[::1]:1717".into()), false)));
        assert_eq!(kind("/run/stats"), Ok((Kind::Path("/run/stats".into()), false)));
        assert_eq!(kind("@stats"), Ok((Kind::Name("stats".into()), false)));
        assert_eq!(kind("http://a/b"), Ok((Kind::Inet("a:80".into()), true)));
        assert_eq!(kind("http://a:81"), Ok((Kind::Inet("a:81".into()), true)));
        for wrong in ["", "a", "a:b", "a:0", "@", "a:99999"] {
            assert!(kind(wrong).is_err(), "{wrong}");
        }
        assert!(Place::parse("/a").unwrap().is_near() && Place::parse("127.9.9.9:1").unwrap().is_near());
    }

    #[test]
    fn a_head_is_left_out_and_an_error_is_told() {
        assert_eq!(body(b"{}".to_vec()).unwrap(), b"{}");
        assert_eq!(body(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\n{}".to_vec()).unwrap(), b"{}");
        let error = body(b"HTTP/1.1 403 Forbidden\r\n\r\nno\x1b!\n".to_vec()).unwrap_err().to_string();
        assert_eq!(error, "status 403: no!");
        assert!(body(b"HTTP/1.1 200".to_vec()).is_err());
    }
}
