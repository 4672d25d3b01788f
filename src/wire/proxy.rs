//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/1.8/doc/proxy-protocol.txt): what a load balancer that
//! passes bytes on says about its client, before the first of these bytes.
//!
//! [`exchange`] puts it in front of another protocol. A header is read as strictly as the specification wants it: what
//! is none, or a wrong one, ends the connection without an answer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{BadResponse, Exchange, Head, Next, Refusal, Vars, fastcgi};

/// Appends the header of a version (1 or 2) for a connection between a client and a server; `None`: nothing is known of
/// them that could be said.
pub fn push(version: u8, between: Option<(SocketAddr, SocketAddr)>, out: &mut Vec<u8>) {
    // Both are of one family, or none can be said.
    let between = between.filter(|(client, server)| client.is_ipv4() == server.is_ipv4());
    match (version, between) {
        (1, None) => out.extend_from_slice(b"PROXY UNKNOWN\r\n"),
        (1, Some((client, server))) => {
            let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (client.ip(), server.ip());
            let line = format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), server.port());
            out.extend_from_slice(line.as_bytes());
        }
        (_, None) => out.extend_from_slice(&[TWO, &[0x21, 0x00, 0, 0]].concat()),
        (_, Some((client, server))) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let ports = [client.port().to_be_bytes(), server.port().to_be_bytes()].concat();
            let block = [octets(client.ip()), octets(server.ip()), ports].concat();
            let family = if client.is_ipv4() { 0x11 } else { 0x21 };
            out.extend_from_slice(&[TWO, &[0x21, family, 0, block.len() as u8], &block].concat());
        }
    }
}

/// Whether a connection has to begin with a header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proxied {
    /// It has none.
    #[default]
    Never,
    /// It may: what follows can't be taken for one.
    Maybe,
    /// It must.
    Always,
}

/// Between whom a connection was made, as the header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The client.
    pub client: SocketAddr,
    /// Where it has connected to.
    pub server: SocketAddr,
}

/// Puts the header in front of `inner`. `trusted`: the peer may say who its client is.
#[must_use]
pub fn exchange(inner: Box<dyn Exchange>, proxied: Proxied, trusted: bool) -> Box<dyn Exchange> {
    match (proxied, trusted) {
        (Proxied::Never, _) | (Proxied::Maybe, false) => inner,
        _ => Box::new(Proxy { inner, must: proxied == Proxied::Always, trusted, stage: Stage::Header, origin: None }),
    }
}

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Header,
    Inner,
    /// It is over, and nobody is told anything.
    Silent,
}

struct Proxy {
    inner: Box<dyn Exchange>,
    must: bool,
    trusted: bool,
    stage: Stage,
    origin: Option<Origin>,
}

impl Exchange for Proxy {
    fn head(&mut self, input: &[u8], vars: &mut Vars) -> Head {
        if self.stage == Stage::Inner {
            return self.inner.head(input, vars);
        }
        vars.clear();
        let read = if self.trusted { read(input) } else { Err("from a peer that is not trusted") };
        match read {
            Ok(Read::Partial) => Head::Partial { begun: !input.is_empty() },
            Ok(Read::Header { bytes, origin }) => {
                (self.stage, self.origin) = (Stage::Inner, origin);
                Head::Reply { bytes, answer: Vec::new(), next: Next::KeepAlive }
            }
            Ok(Read::None) if !self.must => {
                self.stage = Stage::Inner;
                self.inner.head(input, vars)
            }
            Ok(Read::None) => self.refuse_header("no PROXY header where one must be"),
            Err(how) => self.refuse_header(how),
        }
    }

    fn is_fronted(&self) -> bool {
        self.inner.is_fronted()
    }

    fn origin(&self) -> Option<Origin> {
        self.origin
    }

    /// Nobody else has read the header.
    fn is_portable(&self) -> bool {
        self.stage == Stage::Header
    }

    fn modifiers(&self) -> (u8, u8) {
        self.inner.modifiers()
    }

    fn proceed(&mut self, out: &mut Vec<u8>) {
        self.inner.proceed(out);
    }

    fn status(&mut self, status: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.inner.status(status, out)
    }

    fn field(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), BadResponse> {
        self.inner.field(name, value, out)
    }

    fn end_head(&mut self, length: Option<u64>, date: &[u8], close: bool, out: &mut Vec<u8>) {
        self.inner.end_head(length, date, close, out);
    }

    fn data(&mut self, length: usize, out: &mut Vec<u8>) -> usize {
        self.inner.data(length, out)
    }

    fn data_end(&mut self, out: &mut Vec<u8>) {
        self.inner.data_end(out);
    }

    fn records(&self) -> Option<fastcgi::Records> {
        self.inner.records()
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Next {
        self.inner.finish(out)
    }

    fn refuse(&mut self, refusal: Refusal, date: &[u8], out: &mut Vec<u8>) {
        if self.stage == Stage::Inner {
            self.inner.refuse(refusal, date, out);
        }
    }
}

impl Proxy {
    fn refuse_header(&mut self, how: &'static str) -> Head {
        self.stage = Stage::Silent;
        Head::Refused(Refusal::Proxy(how))
    }
}

/// What the start of a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// It may become a header.
    Partial,
    /// No header.
    None,
    /// `None`: the load balancer speaks for itself, or knows nothing.
    Header { bytes: usize, origin: Option<Origin> },
}

/// What a header of version 1 begins with.
const ONE: &[u8] = b"PROXY ";
/// The longest header of version 1, with its line break (section 2.1).
const MOST_ONE: usize = 107;
/// What a header of version 2 begins with.
const TWO: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes of version 2 before the addresses.
const FIXED_TWO: usize = 16;

fn read(input: &[u8]) -> Result<Read, &'static str> {
    let begins = |with: &[u8]| input.starts_with(&with[..with.len().min(input.len())]);
    match (begins(ONE), begins(TWO)) {
        (true, _) if input.len() >= ONE.len() => one(input),
        (_, true) if input.len() >= TWO.len() => two(input),
        (false, false) => Ok(Read::None),
        _ => Ok(Read::Partial),
    }
}

/// Section 2.1: `PROXY TCP4 192.0.2.1 192.0.2.2 54321 80` and a line break.
fn one(input: &[u8]) -> Result<Read, &'static str> {
    let line = &input[..input.len().min(MOST_ONE)];
    let Some(end) = memchr::memchr(b'\n', line) else {
        return if line.len() < MOST_ONE { Ok(Read::Partial) } else { Err("a PROXY line without an end") };
    };
    let bytes = end + 1;
    let text = line[ONE.len()..end].strip_suffix(b"\r").and_then(|text| std::str::from_utf8(text).ok());
    let words: Vec<&str> = text.ok_or("a PROXY line that does not end with CR LF")?.split(' ').collect();
    match words[..] {
        ["UNKNOWN", ..] => Ok(Read::Header { bytes, origin: None }),
        [family @ ("TCP4" | "TCP6"), client, server, client_port, server_port] => {
            let ip = |text: &str| text.parse().ok().filter(|ip: &IpAddr| ip.is_ipv4() == (family == "TCP4"));
            let address = |text, at| Some(SocketAddr::new(ip(text)?, port(at)?));
            let (client, server) = (address(client, client_port), address(server, server_port));
            let origin = client.zip(server).map(|(client, server)| Origin { client, server });
            Ok(Read::Header { bytes, origin: Some(origin.ok_or("a PROXY line with a wrong address or port")?) })
        }
        _ => Err("a PROXY line that is none"),
    }
}

/// Decimal, without zeros in front.
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

/// Section 2.2: version and command, family and protocol, a length, the addresses, and more that nobody asked for.
fn two(input: &[u8]) -> Result<Read, &'static str> {
    let Some(&[command, family, high, low]) = input.get(TWO.len()..FIXED_TWO) else { return Ok(Read::Partial) };
    let is_proxy = match command {
        0x20 => false,
        0x21 => true,
        _ => return Err("a PROXY header of another version or with an unknown command"),
    };
    let bytes = FIXED_TWO + usize::from(u16::from_be_bytes([high, low]));
    let Some(block) = input.get(FIXED_TWO..bytes) else { return Ok(Read::Partial) };
    let origin = match family {
        _ if !is_proxy => None,
        0x11 => Some(addresses::<4>(block, |ip| Ipv4Addr::from(ip).into())?),
        0x21 => Some(addresses::<16>(block, |ip| Ipv6Addr::from(ip).to_canonical())?),
        // Not known to it, datagrams, unix sockets: the address of the peer counts.
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => None,
        _ => return Err("a PROXY header with an unknown family"),
    };
    Ok(Read::Header { bytes, origin })
}

/// Two addresses, then their ports.
fn addresses<const N: usize>(block: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> Result<Origin, &'static str> {
    let short = "a PROXY header that is shorter than its addresses";
    let (&client, rest) = block.split_first_chunk::<N>().ok_or(short)?;
    let (&server, rest) = rest.split_first_chunk::<N>().ok_or(short)?;
    let Some(&[c1, c0, s1, s0]) = rest.first_chunk::<4>() else { return Err(short) };
    let (client_port, server_port) = (u16::from_be_bytes([c1, c0]), u16::from_be_bytes([s1, s0]));
    let client = SocketAddr::new(ip(client), client_port);
    Ok(Origin { client, server: SocketAddr::new(ip(server), server_port) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Limits, http};

    fn header(text: &str) -> Result<Option<Origin>, &'static str> {
        match read(text.as_bytes())? {
            Read::Header { bytes, origin } => {
                assert_eq!(bytes, text.len());
                Ok(origin)
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn between(client: &str, server: &str) -> Option<Origin> {
        Some(Origin { client: client.parse().unwrap(), server: server.parse().unwrap() })
    }

    fn two_of(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        [TWO, &[command, family], &(block.len() as u16).to_be_bytes(), block].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0xd4, 0x31, 0, 80];

    #[test]
    fn lines_of_version_1() {
        let four = between("192.0.2.1:54321", "192.0.2.2:80");
        assert_eq!(header("PROXY TCP4 192.0.2.1 192.0.2.2 54321 80\r\n"), Ok(four));
        assert_eq!(header("PROXY TCP6 2001:db8::1 ::1 65535 0\r\n"), Ok(between("[2001:db8::1]:65535", "[::1]:0")));
        assert_eq!(header("PROXY UNKNOWN\r\n"), Ok(None));
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(header(&format!("PROXY UNKNOWN {longest} {longest} 65535 65535\r\n")), Ok(None));
        for line in [
            "PROXY TCP4 192.0.2.1 192.0.2.2 54321 80\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 54321 080\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 54321 65536\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +5 80\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 54321\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 54321 80 \r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 54321 80\r\n",
            "PROXY TCP4 192.0.2.256 192.0.2.2 54321 80\r\n",
            "PROXY TCP4 ::1 ::1 54321 80\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 54321 80\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 54321 80\r\n",
            "PROXY \r\n",
            "PROXY / HTTP/1.1\r\n",
        ] {
            assert!(read(line.as_bytes()).is_err(), "{line:?}");
        }
        assert!(read(format!("PROXY UNKNOWN {}", "x".repeat(200)).as_bytes()).is_err());
    }

    #[test]
    fn what_is_said_is_understood() {
        for pair in [None, between("192.0.2.1:54321", "192.0.2.2:80"), between("[2001:db8::1]:5", "[::1]:0")] {
            for version in [1, 2] {
                let mut out = Vec::new();
                push(version, pair.map(|pair| (pair.client, pair.server)), &mut out);
                let bytes = out.len();
                assert_eq!(read(&out), Ok(Read::Header { bytes, origin: pair }), "{version}");
            }
        }
        let mut mixed = Vec::new();
        push(1, Some(("192.0.2.1:1".parse().unwrap(), "[::1]:2".parse().unwrap())), &mut mixed);
        assert_eq!(mixed, b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn blocks_of_version_2() {
        let four = between("192.0.2.1:54321", "192.0.2.2:80");
        let whole = |raw: &[u8]| match read(raw) {
            Ok(Read::Header { bytes, origin }) if bytes == raw.len() => Ok(origin),
            other => Err(format!("{other:?}")),
        };
        assert_eq!(whole(&two_of(0x21, 0x11, &FOUR)), Ok(four));
        let more = [&FOUR[..], b"\x04\x00\x01x"].concat();
        assert_eq!(whole(&two_of(0x21, 0x11, &more)), Ok(four), "TLVs are passed over");
        let mut six = [0; 36];
        (six[15], six[31], six[33], six[35]) = (1, 2, 3, 4);
        assert_eq!(whole(&two_of(0x21, 0x21, &six)), Ok(between("[::1]:3", "[::2]:4")));
        six[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        assert_eq!(whole(&two_of(0x21, 0x21, &six)).unwrap().unwrap().client, "192.0.2.1:3".parse().unwrap());
        for (command, family, block) in
            [(0x20, 0x00, &[][..]), (0x20, 0x11, &FOUR), (0x21, 0x00, b""), (0x21, 0x31, &[0; 216])]
        {
            assert_eq!(whole(&two_of(command, family, block)), Ok(None), "{command:x} {family:x}");
        }
        for (command, family, block) in [
            (0x11, 0x11, &FOUR[..]),
            (0x22, 0x11, &FOUR),
            (0x21, 0x13, &FOUR),
            (0x21, 0x41, &FOUR),
            (0x21, 0x11, &FOUR[..11]),
        ] {
            assert!(read(&two_of(command, family, block)).is_err(), "{command:x} {family:x}");
        }
    }

    /// What becomes of a connection that begins so, given in two pieces wherever they are cut.
    fn connection(raw: &[u8], proxied: Proxied, trusted: bool) -> (String, Option<Origin>) {
        let one = |cut: usize| {
            let limits = Limits::default();
            let (mut exchange, mut vars) = (exchange(http::exchange(&limits), proxied, trusted), Vars::default());
            let mut at = 0;
            for end in [cut, raw.len()] {
                loop {
                    match exchange.head(&raw[at..end], &mut vars) {
                        Head::Partial { .. } => break,
                        Head::Reply { bytes, answer, next } => {
                            assert!(answer.is_empty() && next == Next::KeepAlive);
                            at += bytes;
                        }
                        Head::Whole { .. } => return ("served".to_owned(), exchange.origin()),
                        Head::Refused(refusal) => {
                            let mut out = Vec::new();
                            exchange.refuse(refusal, b"today", &mut out);
                            let told = if out.is_empty() { "silently" } else { "aloud" };
                            return (format!("{told}: {}", refusal.reason()), exchange.origin());
                        }
                    }
                }
            }
            ("waits".to_owned(), exchange.origin())
        };
        let whole = one(raw.len());
        for cut in 1..raw.len() {
            assert_eq!(one(cut), whole, "{raw:?} cut at {cut}");
        }
        whole
    }

    #[test]
    fn a_connection_begins_with_a_header_or_ends() {
        let get = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        let line = [&b"PROXY TCP4 192.0.2.1 192.0.2.2 54321 80\r\n"[..], get].concat();
        let block = [&two_of(0x21, 0x11, &FOUR)[..], get].concat();
        let four = between("192.0.2.1:54321", "192.0.2.2:80");
        for raw in [&line, &block] {
            for proxied in [Proxied::Maybe, Proxied::Always] {
                assert_eq!(connection(raw, proxied, true), ("served".into(), four));
            }
            assert_eq!(connection(raw, Proxied::Always, false).0, "silently: from a peer that is not trusted");
            assert!(connection(raw, Proxied::Never, true).0.starts_with("aloud"));
            assert!(connection(raw, Proxied::Maybe, false).0.starts_with("aloud"));
        }
        assert_eq!(connection(get, Proxied::Maybe, true), ("served".into(), None));
        assert_eq!(connection(get, Proxied::Always, true).0, "silently: no PROXY header where one must be");
        let twice = [&b"PROXY UNKNOWN\r\n"[..], &line].concat();
        assert!(connection(&twice, Proxied::Always, true).0.starts_with("aloud"), "one header");
    }
}
