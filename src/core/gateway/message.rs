//! What the master and its router processes say to each other.

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
}

/// From a router process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FromRouter {
    /// It lets clients in.
    Up,
    /// It can't begin.
    Failed(String),
}

impl ToRouter {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Drain { mercy_ms, last } => [&b"D"[..], &mercy_ms.to_le_bytes(), &[u8::from(*last)]].concat(),
            Self::Log => b"L".to_vec(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'D', a, b, c, d, last] => {
                Some(Self::Drain { mercy_ms: u32::from_le_bytes([*a, *b, *c, *d]), last: *last != 0 })
            }
            b"L" => Some(Self::Log),
            _ => None,
        }
    }
}

impl FromRouter {
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Up => b"U".to_vec(),
            Self::Failed(why) => [b"F", why.as_bytes()].concat(),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        match bytes {
            b"U" => Some(Self::Up),
            [b'F', why @ ..] => Some(Self::Failed(String::from_utf8_lossy(why).into_owned())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        for said in [ToRouter::Drain { mercy_ms: 70_000, last: true }, ToRouter::Log] {
            assert_eq!(ToRouter::decode(&said.encode()), Some(said));
        }
        for said in [FromRouter::Up, FromRouter::Failed("no".into())] {
            assert_eq!(FromRouter::decode(&said.encode()), Some(said));
        }
        assert_eq!((ToRouter::decode(b"D"), FromRouter::decode(b"")), (None, None));
    }
}
