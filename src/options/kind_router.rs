//! How the values of options about routers are read. Rows of the `table` name these kinds; see `kind`.

use crate::kind::{Arg, Kind, Number, Reading, Said, some};
use crate::table::Listener;

/// An address where a router listens, each time one more.
pub struct Door;
/// The number of a socket of this instance; bare, the first one.
pub struct SocketNumber;
/// A kind of uwsgi packet.
pub struct Modifier;
/// `NAME=VALUE`, each time one more.
pub struct Pairs;
/// A flag that may name a number of bytes.
pub struct MostBytes;
/// The version of the PROXY protocol.
pub struct ProxyVersion;

impl Kind for Door {
    type Field = Vec<Listener>;
    const HINT: &'static str = "ADDRESS";

    fn read(field: &mut Vec<Listener>, said: &Said<'_>) -> Reading {
        let (address, origin) = (some(said.value)?, said.origin.clone());
        field.push(Listener { address, option: said.name, protocol: said.name, by_default: false, origin });
        Ok(None)
    }
}

impl Kind for SocketNumber {
    type Field = Option<usize>;
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("the number of a socket, from 0");

    fn read(field: &mut Option<usize>, said: &Said<'_>) -> Reading {
        let Some(text) = said.value.filter(|text| !text.is_empty() && *text != "true") else {
            *field = Some(0);
            return Ok(None);
        };
        let (value, remark) = Number::read(Some(text)).within(0, 10_000)?;
        *field = Some(value);
        Ok(remark)
    }
}

impl Kind for Modifier {
    type Field = u8;
    const HINT: &'static str = "NUM";
    const TAKES: Option<&'static str> = Some("a number from 0 to 255");

    fn read(field: &mut u8, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(0, 255)?;
        *field = value;
        Ok(remark)
    }
}

impl Kind for Pairs {
    type Field = Vec<(String, String)>;
    const HINT: &'static str = "NAME=VALUE";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() && !text.contains(char::is_control) => {
                field.push((name.to_owned(), value.to_owned()));
                Ok(None)
            }
            _ => Err(format!("{text:?} is not NAME=VALUE")),
        }
    }
}

impl Kind for MostBytes {
    type Field = Option<u64>;
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "BYTES";
    const TAKES: Option<&'static str> = Some("a number of bytes");

    /// 1 is the flag, as in uWSGI.
    fn read(field: &mut Option<u64>, said: &Said<'_>) -> Reading {
        let text = said.value.filter(|text| !matches!(*text, "" | "true"));
        let (value, remark) = Number::read(text).within(0, i64::MAX.into())?;
        *field = Some(value).filter(|value| *value > 1);
        Ok(remark)
    }
}

impl Kind for ProxyVersion {
    type Field = Option<u8>;
    const HINT: &'static str = "VERSION";
    const TAKES: Option<&'static str> = Some("1 or 2");

    fn read(field: &mut Option<u8>, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(1, 2)?;
        *field = Some(value);
        Ok(remark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn numbers_of_routers() {
        assert_eq!(
            [None, Some(""), Some("true"), Some("2")].map(|text| read::<SocketNumber>(text).0),
            [Some(0), Some(0), Some(0), Some(2)]
        );
        assert!(read::<Modifier>(Some("256")).1.is_err() && read::<ProxyVersion>(Some("3")).1.is_err());
        assert_eq!([None, Some("1"), Some("1000")].map(|text| read::<MostBytes>(text).0), [None, None, Some(1000)]);
        assert_eq!(read::<Pairs>(Some("A=b=c")).0, [("A".to_owned(), "b=c".to_owned())]);
        assert!(read::<Pairs>(Some("=b")).1.is_err() && read::<Pairs>(Some("A")).1.is_err());
    }
}
