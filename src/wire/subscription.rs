//! The packets by which an instance tells routers where it serves, byte for byte those of uWSGI 2.0.
//!
//! A packet is one datagram: `224 u8 | size u16 LE | command u8`, then names and values as in any uwsgi packet; numbers
//! are decimal. A signature, where there is one, is the last pair and signs all pairs before it. Routers read with
//! [`Packet::parse`], instances write with [`Packet::write`] and [`sign`]. Nobody is believed here: whether a sender may
//! say what it says, and whether the address is one, is for `core` to find out.
//!
//! Names that are not known are passed over, as uWSGI does: its 2.1 says more than its 2.0.

use std::error::Error;
use std::fmt;

/// The `modifier1` of these packets.
pub const MODIFIER: u8 = 224;
/// The largest packet: a router of uWSGI reads no more.
pub const MOST_BYTES: usize = 4096;
/// The longest key, and the longest address.
pub const MOST_NAME_BYTES: usize = 255;
/// The longest path of a socket for acknowledgements, which is that of any unix socket in uWSGI.
pub const MOST_NOTIFY_BYTES: usize = 101;

const HEADER_BYTES: usize = 4;
const SIGNATURE: &[u8] = b"sign";

/// What a packet is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Command {
    /// Requests for this key may go to this address.
    #[default]
    Subscribe,
    /// No longer.
    Unsubscribe,
}

/// What a packet says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packet<'p> {
    /// What it is for.
    pub command: Command,
    /// For which requests: a host name, mostly.
    pub key: &'p [u8],
    /// Where to connect.
    pub address: &'p [u8],
    /// The first number of the packets that go there.
    pub modifier1: u8,
    /// The second one.
    pub modifier2: u8,
    /// How many requests the instance runs at a time.
    pub cores: u64,
    /// How many connections wait there.
    pub load: u64,
    /// Its share of the requests; 0: nobody has said.
    pub weight: u64,
    /// Only for when all of a lower number are gone (uWSGI 2.1).
    pub backup: u64,
    /// What it speaks, by the first letter (uWSGI 2.1).
    pub proto: Option<u8>,
    /// How requests are shared out among those of this key (uWSGI 2.1).
    pub algo: Option<&'p [u8]>,
    /// The key of a certificate for this name.
    pub sni_key: Option<&'p [u8]>,
    /// The certificate.
    pub sni_crt: Option<&'p [u8]>,
    /// Whom the certificates of clients are from.
    pub sni_ca: Option<&'p [u8]>,
    /// The unix datagram socket at which the instance likes to hear that it is known now.
    pub notify: Option<&'p [u8]>,
    /// When it was signed, in seconds since 1970.
    pub unix: Option<u64>,
    /// What was signed, and the signature; [`Packet::write`] leaves it to [`sign`].
    pub signed: Option<Signed<'p>>,
}

/// A signature and what it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'p> {
    /// All pairs before it.
    pub base: &'p [u8],
    /// The signature.
    pub signature: &'p [u8],
}

/// Why a datagram is no such packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It is for somebody else.
    Foreign(u8),
    /// Its second number is no command.
    Command(u8),
    /// It is shorter or longer than it says, or a length in it points behind its end.
    Length,
    /// It is larger than packets may be.
    TooLarge,
    /// A pair without a name.
    NoName,
    /// This is said twice.
    Twice(&'static str),
    /// This is missing or empty.
    Missing(&'static str),
    /// This is too long.
    TooLong(&'static str),
    /// This is no number, or too large.
    Number(&'static str),
    /// Something stands behind the signature.
    BehindSignature,
}

impl fmt::Display for Malformed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(modifier) => write!(to, "it is a packet of kind {modifier}, not {MODIFIER}"),
            Self::Command(command) => write!(to, "{command} is no command"),
            Self::Length => to.write_str("its lengths do not fit"),
            Self::TooLarge => write!(to, "it is larger than {MOST_BYTES} bytes"),
            Self::NoName => to.write_str("a pair has no name"),
            Self::Twice(name) => write!(to, "it says {name} twice"),
            Self::Missing(name) => write!(to, "it says no {name}"),
            Self::TooLong(name) => write!(to, "{name} is too long"),
            Self::Number(name) => write!(to, "{name} is no number that fits"),
            Self::BehindSignature => to.write_str("something stands behind the signature"),
        }
    }
}

impl Error for Malformed {}

/// The values of a packet, as they are met.
#[derive(Default)]
struct Seen<'p> {
    values: [Option<&'p [u8]>; NAMES.len()],
    signed: Option<Signed<'p>>,
}

/// The names that say something; the signature is a case of its own.
const NAMES: [&str; 15] = [
    "key",
    "address",
    "modifier1",
    "modifier2",
    "cores",
    "load",
    "weight",
    "backup",
    "proto",
    "algo",
    "sni_key",
    "sni_crt",
    "sni_ca",
    "notify",
    "unix",
];

impl<'p> Seen<'p> {
    fn read(block: &'p [u8]) -> Result<Self, Malformed> {
        let (mut seen, mut at) = (Self::default(), 0);
        while at < block.len() {
            let begin = at;
            let name = text(block, &mut at).ok_or(Malformed::Length)?;
            let value = text(block, &mut at).ok_or(Malformed::Length)?;
            match name {
                _ if seen.signed.is_some() => return Err(Malformed::BehindSignature),
                b"" => return Err(Malformed::NoName),
                SIGNATURE => seen.signed = Some(Signed { base: &block[..begin], signature: value }),
                _ => seen.take(name, value)?,
            }
        }
        Ok(seen)
    }

    fn take(&mut self, name: &[u8], value: &'p [u8]) -> Result<(), Malformed> {
        let Some(index) = NAMES.iter().position(|known| known.as_bytes() == name) else { return Ok(()) };
        // Two readers could believe different ones, and a signature covers both.
        match self.values[index].replace(value) {
            Some(_) => Err(Malformed::Twice(NAMES[index])),
            None => Ok(()),
        }
    }

    fn value(&self, name: &'static str) -> Option<&'p [u8]> {
        let index = NAMES.iter().position(|known| *known == name)?;
        self.values[index].filter(|value| !value.is_empty())
    }

    fn name(&self, name: &'static str) -> Result<&'p [u8], Malformed> {
        match self.value(name) {
            None => Err(Malformed::Missing(name)),
            Some(value) if value.len() > MOST_NAME_BYTES => Err(Malformed::TooLong(name)),
            Some(value) => Ok(value),
        }
    }

    /// Absent is 0.
    fn number<N: TryFrom<u64> + Default>(&self, name: &'static str) -> Result<N, Malformed> {
        let Some(digits) = self.value(name) else { return Ok(N::default()) };
        let add = |sum: u64, digit: &u8| {
            let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
            sum.checked_mul(10)?.checked_add(digit)
        };
        let number = digits.iter().try_fold(0, add).ok_or(Malformed::Number(name))?;
        N::try_from(number).map_err(|_| Malformed::Number(name))
    }
}

impl<'p> Packet<'p> {
    /// Reads a datagram.
    pub fn parse(datagram: &'p [u8]) -> Result<Self, Malformed> {
        if datagram.len() > MOST_BYTES {
            return Err(Malformed::TooLarge);
        }
        let Some((&[modifier, low, high, command], block)) = datagram.split_first_chunk() else {
            return Err(Malformed::Length);
        };
        if modifier != MODIFIER {
            return Err(Malformed::Foreign(modifier));
        }
        if usize::from(u16::from_le_bytes([low, high])) != block.len() {
            return Err(Malformed::Length);
        }
        let command = match command {
            0 => Command::Subscribe,
            1 => Command::Unsubscribe,
            other => return Err(Malformed::Command(other)),
        };
        let seen = Seen::read(block)?;
        let notify = seen.value("notify");
        if notify.is_some_and(|path| path.len() > MOST_NOTIFY_BYTES) {
            return Err(Malformed::TooLong("notify"));
        }
        Ok(Self {
            command,
            key: seen.name("key")?,
            address: seen.name("address")?,
            modifier1: seen.number("modifier1")?,
            modifier2: seen.number("modifier2")?,
            cores: seen.number("cores")?,
            load: seen.number("load")?,
            weight: seen.number("weight")?,
            backup: seen.number("backup")?,
            proto: seen.value("proto").and_then(|value| value.first().copied()),
            algo: seen.value("algo"),
            sni_key: seen.value("sni_key"),
            sni_crt: seen.value("sni_crt"),
            sni_ca: seen.value("sni_ca"),
            notify,
            unix: seen.value("unix").map(|_| seen.number("unix")).transpose()?,
            signed: seen.signed,
        })
    }

    /// Makes the datagram, without a signature. The order is that of uWSGI; what only its 2.1 knows is left out where
    /// nobody has said it.
    pub fn write(&self) -> Result<Vec<u8>, Malformed> {
        let mut out = vec![MODIFIER, 0, 0, u8::from(self.command == Command::Unsubscribe)];
        let mut text = itoa::Buffer::new();
        for (name, value) in [("key", self.key), ("address", self.address)] {
            if value.is_empty() || value.len() > MOST_NAME_BYTES {
                return Err(if value.is_empty() { Malformed::Missing(name) } else { Malformed::TooLong(name) });
            }
            push(&mut out, name, value)?;
        }
        let numbers = [
            ("modifier1", self.modifier1.into()),
            ("modifier2", self.modifier2.into()),
            ("cores", self.cores),
            ("load", self.load),
            ("weight", self.weight),
        ];
        for (name, number) in numbers {
            push(&mut out, name, text.format(number).as_bytes())?;
        }
        if self.backup > 0 {
            push(&mut out, "backup", text.format(self.backup).as_bytes())?;
        }
        let proto = self.proto.map(|letter| [letter]);
        let texts = [
            ("proto", proto.as_ref().map(<[u8; 1]>::as_slice)),
            ("algo", self.algo),
            ("sni_key", self.sni_key),
            ("sni_crt", self.sni_crt),
            ("sni_ca", self.sni_ca),
            ("notify", self.notify),
        ];
        for (name, value) in texts {
            value.map_or(Ok(()), |value| push(&mut out, name, value))?;
        }
        if let Some(unix) = self.unix {
            push(&mut out, "unix", text.format(unix).as_bytes())?;
        }
        close(&mut out)?;
        Ok(out)
    }
}

/// Adds a signature to a packet that [`Packet::write`] made; `signer` makes it of what is to be signed.
pub fn sign<E: From<Malformed>>(
    packet: &mut Vec<u8>,
    signer: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let signature = signer(&packet[HEADER_BYTES..])?;
    push(packet, "sign", &signature)?;
    Ok(close(packet)?)
}

fn push(out: &mut Vec<u8>, name: &'static str, value: &[u8]) -> Result<(), Malformed> {
    for text in [name.as_bytes(), value] {
        let size = u16::try_from(text.len()).map_err(|_| Malformed::TooLong(name))?;
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(text);
    }
    Ok(())
}

/// Says in the header how large the packet is.
fn close(out: &mut [u8]) -> Result<(), Malformed> {
    if out.len() > MOST_BYTES {
        return Err(Malformed::TooLarge);
    }
    let size = u16::try_from(out.len() - HEADER_BYTES).map_err(|_| Malformed::TooLarge)?;
    out[1..3].copy_from_slice(&size.to_le_bytes());
    Ok(())
}

fn text<'b>(block: &'b [u8], at: &mut usize) -> Option<&'b [u8]> {
    let length = block.get(*at..)?.first_chunk()?;
    let start = *at + length.len();
    *at = start + usize::from(u16::from_le_bytes(*length));
    block.get(start..*at)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of uWSGI 2.0.31: `--subscribe-to 127.0.0.1:PORT:a.com --processes 2 --threads 3`.
    const PLAIN: &[u8] = b"\xe0q\x00\x00\x03\x00key\x05\x00a.com\x07\x00address\x06\x00:43137\t\x00modifier1\x01\x000\
        \t\x00modifier2\x01\x000\x05\x00cores\x01\x006\x04\x00load\x01\x000\x06\x00weight\x01\x000\
        \x06\x00notify\x10\x00/tmp/subx/n.sock";

    fn plain() -> Packet<'static> {
        let notify = Some(&b"/tmp/subx/n.sock"[..]);
        Packet { key: b"a.com", address: b":43137", cores: 6, notify, ..Packet::default() }
    }

    fn packet(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = vec![MODIFIER, 0, 0, 0];
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            out.extend((text.len() as u16).to_le_bytes());
            out.extend(text.as_bytes());
        }
        let size = (out.len() as u16 - 4).to_le_bytes();
        out[1..3].copy_from_slice(&size);
        out
    }

    fn refused(pairs: &[(&str, &str)]) -> Malformed {
        Packet::parse(&packet(&[&[("key", "k"), ("address", ":1")][..], pairs].concat())).unwrap_err()
    }

    #[test]
    fn packets_are_those_of_uwsgi() {
        assert_eq!(Packet::parse(PLAIN), Ok(plain()));
        assert_eq!(plain().write().unwrap(), PLAIN);
        let left = Packet { command: Command::Unsubscribe, ..plain() };
        let bytes = left.write().unwrap();
        assert_eq!((&bytes[..4], &bytes[4..]), (&b"\xe0q\x00\x01"[..], &PLAIN[4..]));
        assert_eq!(Packet::parse(&bytes), Ok(left));
    }

    #[test]
    fn everything_that_is_written_is_read() {
        let full = Packet {
            modifier1: 5,
            modifier2: 255,
            load: 7,
            weight: u64::MAX,
            backup: 2,
            proto: Some(b'h'),
            algo: Some(b"lrc"),
            sni_key: Some(b"/x"),
            sni_crt: Some(b"/y"),
            sni_ca: Some(b"/z"),
            unix: Some(1_795_240_887),
            ..plain()
        };
        let mut bytes = full.write().unwrap();
        assert_eq!(Packet::parse(&bytes), Ok(full.clone()));
        let base = bytes[4..].to_vec();
        sign(&mut bytes, |signed| {
            assert_eq!(signed, base);
            Ok::<_, Malformed>(vec![0; 256])
        })
        .unwrap();
        let signed = Signed { base: &base, signature: &[0; 256] };
        assert_eq!(Packet::parse(&bytes), Ok(Packet { signed: Some(signed), ..full }));
    }

    #[test]
    fn no_part_of_a_packet_is_one() {
        for end in 0..PLAIN.len() {
            assert_eq!(Packet::parse(&PLAIN[..end]), Err(Malformed::Length), "{end}");
            let mut cut = PLAIN[..end].to_vec();
            if end >= 4 {
                cut[1..3].copy_from_slice(&(end as u16 - 4).to_le_bytes());
                assert!(Packet::parse(&cut) != Ok(plain()), "{end}");
            }
        }
        assert_eq!(Packet::parse(&[PLAIN, b"x"].concat()), Err(Malformed::Length));
        assert_eq!(Packet::parse(&[MODIFIER; MOST_BYTES + 1]), Err(Malformed::TooLarge));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(refused(&[("key", "l")]), Malformed::Twice("key"));
        assert_eq!(refused(&[("", "l")]), Malformed::NoName);
        assert_eq!(refused(&[("sign", "x"), ("weight", "1")]), Malformed::BehindSignature);
        assert_eq!(refused(&[("sign", "x"), ("sign", "1")]), Malformed::BehindSignature);
        assert_eq!(refused(&[("notify", &"n".repeat(102))]), Malformed::TooLong("notify"));
        for (name, value) in
            [("modifier1", "256"), ("weight", "-1"), ("load", "1 "), ("unix", "18446744073709551616"), ("cores", "x")]
        {
            assert!(matches!(refused(&[(name, value)]), Malformed::Number(said) if said == name), "{name} {value}");
        }
        let long = "k".repeat(256);
        assert_eq!(Packet::parse(&packet(&[("key", &long)])), Err(Malformed::TooLong("key")));
        assert_eq!(Packet::parse(&packet(&[("key", "k"), ("address", "")])), Err(Malformed::Missing("address")));
        assert_eq!(Packet::parse(&packet(&[("address", ":1")])), Err(Malformed::Missing("key")));
        assert_eq!(Packet::parse(&[0, 0, 0, 0]), Err(Malformed::Foreign(0)));
        assert_eq!(Packet::parse(&[MODIFIER, 0, 0, 2]), Err(Malformed::Command(2)));
        assert!(Packet::parse(&packet(&[("key", "k"), ("address", ":1"), ("later", "x")])).is_ok());
    }

    #[test]
    fn nothing_is_sent_that_nobody_reads() {
        let long = vec![b'k'; 256];
        assert_eq!(Packet { key: &long, ..plain() }.write(), Err(Malformed::TooLong("key")));
        assert_eq!(Packet { address: b"", ..plain() }.write(), Err(Malformed::Missing("address")));
        let path = vec![b'p'; 4000];
        assert_eq!(Packet { sni_key: Some(&path), ..plain() }.write(), Err(Malformed::TooLarge));
        let mut bytes = plain().write().unwrap();
        assert_eq!(sign(&mut bytes, |_| Ok(vec![0; 4000])), Err(Malformed::TooLarge));
    }
}
