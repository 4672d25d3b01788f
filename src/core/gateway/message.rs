//! What the master and its router processes say to each other. After an upgrade in place the one is of another release
//! than the others: words may be added, and none is ever changed.

use std::net::IpAddr;

use crate::subscription::{Credentials, Sender};

/// To a router process. Descriptors go along where that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToRouter {
    /// Let nobody in any more, finish what there is within so many milliseconds, end. `last`: nobody goes on.
    Drain {
        /// The time for it.
        mercy_ms: u32,
        /// Nobody goes on with the same listeners.
        last: bool,
    },
    /// Go on in this log (one descriptor).
    Log,
    /// Another process of the same router has heard this, and believed it.
    Heard(Sender, Vec<u8>),
    /// Tell what you know: another process begins.
    Tell,
    /// What another process knows (one descriptor).
    Known,
}

/// From a router process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FromRouter {
    /// It lets clients in.
    Up,
    /// It can't begin.
    Failed(String),
    /// It has heard this, and believes it.
    Heard(Sender, Vec<u8>),
    /// What it knows (one descriptor).
    Known,
}

impl ToRouter {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Drain { mercy_ms, last } => [&b"D"[..], &mercy_ms.to_le_bytes(), &[u8::from(*last)]].concat(),
            Self::Log => b"L".to_vec(),
            Self::Tell => b"T".to_vec(),
            Self::Known => b"K".to_vec(),
            Self::Heard(sender, datagram) => heard(*sender, datagram),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'D', a, b, c, d, last] => {
                Some(Self::Drain { mercy_ms: u32::from_le_bytes([*a, *b, *c, *d]), last: *last != 0 })
            }
            b"L" => Some(Self::Log),
            b"T" => Some(Self::Tell),
            b"K" => Some(Self::Known),
            [b'H', rest @ ..] => read_heard(rest).map(|(sender, datagram)| Self::Heard(sender, datagram)),
            _ => None,
        }
    }
}

impl FromRouter {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Up => b"U".to_vec(),
            Self::Known => b"K".to_vec(),
            Self::Failed(why) => [b"F", why.as_bytes()].concat(),
            Self::Heard(sender, datagram) => heard(*sender, datagram),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"U" => Some(Self::Up),
            b"K" => Some(Self::Known),
            [b'H', rest @ ..] => read_heard(rest).map(|(sender, datagram)| Self::Heard(sender, datagram)),
            [b'F', why @ ..] => Some(Self::Failed(String::from_utf8_lossy(why).into_owned())),
            _ => None,
        }
    }
}

/// A datagram and who has sent it: 16 bytes of an address, mapped where it is IPv4 and nothing where there is none, then
/// pid, user and group, nothing for none.
pub(super) fn heard(sender: Sender, datagram: &[u8]) -> Vec<u8> {
    let ip = sender.ip.map_or([0; 16], |ip| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    });
    let Credentials { pid, uid, gid } = sender.credentials.unwrap_or(Credentials { pid: 0, uid: 0, gid: 0 });
    [b"H", &ip[..], &pid.to_le_bytes(), &uid.to_le_bytes(), &gid.to_le_bytes(), datagram].concat()
}

pub(super) fn read_heard(bytes: &[u8]) -> Option<(Sender, Vec<u8>)> {
    let (ip, bytes) = bytes.split_first_chunk::<16>()?;
    let (pid, bytes) = bytes.split_first_chunk()?;
    let (uid, bytes) = bytes.split_first_chunk()?;
    let (gid, datagram) = bytes.split_first_chunk()?;
    let ip = (*ip != [0; 16]).then(|| IpAddr::from(*ip).to_canonical());
    let who =
        Credentials { pid: i32::from_le_bytes(*pid), uid: u32::from_le_bytes(*uid), gid: u32::from_le_bytes(*gid) };
    Some((Sender { ip, credentials: (who.pid != 0).then_some(who) }, datagram.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_releases_say_stays_what_it_is() {
        let ip = Some("192.0.2.1".parse().unwrap());
        let sender = Sender { ip, credentials: Some(Credentials { pid: 1, uid: 2, gid: 3 }) };
        let heard = b"H\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x01\x01\0\0\0\x02\0\0\0\x03\0\0\0x";
        for (said, bytes) in [
            (ToRouter::Drain { mercy_ms: 258, last: true }, &b"D\x02\x01\0\0\x01"[..]),
            (ToRouter::Log, b"L"),
            (ToRouter::Tell, b"T"),
            (ToRouter::Known, b"K"),
            (ToRouter::Heard(sender, b"x".to_vec()), heard),
        ] {
            assert_eq!(said.encode(), bytes);
        }
        for (said, bytes) in [
            (FromRouter::Up, &b"U"[..]),
            (FromRouter::Known, b"K"),
            (FromRouter::Failed("no".into()), b"Fno"),
            (FromRouter::Heard(sender, b"x".to_vec()), heard),
        ] {
            assert_eq!(said.encode(), bytes);
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        for said in [ToRouter::Drain { mercy_ms: 70_000, last: true }, ToRouter::Log, ToRouter::Tell, ToRouter::Known] {
            assert_eq!(ToRouter::decode(&said.encode()), Some(said));
        }
        for said in [FromRouter::Up, FromRouter::Known, FromRouter::Failed("no".into())] {
            assert_eq!(FromRouter::decode(&said.encode()), Some(said));
        }
        let who = Credentials { pid: 7, uid: 8, gid: 9 };
        for sender in [
            Sender::default(),
            Sender { ip: Some("192.0.2.1".parse().unwrap()), credentials: None },
            Sender { ip: Some("2001:db8::1".parse().unwrap()), credentials: Some(who) },
        ] {
            let said = ToRouter::Heard(sender, b"packet".to_vec());
            assert_eq!(ToRouter::decode(&said.encode()), Some(said));
        }
        assert_eq!((ToRouter::decode(b"D"), FromRouter::decode(b"")), (None, None));
    }
}
