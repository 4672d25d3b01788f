//! Kinds of values of sockets and what goes over them, for the `table`.

use crate::kind::{Kind, Reading, Said, some};
use crate::table::Mapped;

/// `NAME: VALUE`, each time one more.
pub struct Fields;
/// `SOCKET:WORKER,WORKER`, each time one more.
pub struct Mappings;

impl Kind for Mappings {
    type Field = Vec<Mapped>;
    const HINT: &'static str = "NUM:WORKERS";
    const TAKES: Option<&'static str> = Some("the number of a socket, a colon and numbers of workers, such as 0:1,2");

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let mapped = text.split_once(':').and_then(|(socket, workers)| {
            let workers = workers.split(',').map(|worker| worker.trim().parse().ok().filter(|worker| *worker > 0));
            Some(Mapped { socket: socket.trim().parse().ok()?, workers: workers.collect::<Option<_>>()? })
        });
        field.push(mapped.ok_or_else(|| format!("{text:?} is not SOCKET:WORKERS, such as 0:1,2"))?);
        Ok(None)
    }
}

impl Kind for Fields {
    type Field = Vec<(String, String)>;
    const HINT: &'static str = "NAME: VALUE";
    const TAKES: Option<&'static str> = Some("a name, a colon and a value");

    /// What could end a line would be a hole in every response (RFC 9110 5.1, 5.5).
    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let framing = |name: &str| ["content-length", "transfer-encoding"].contains(&&*name.to_ascii_lowercase());
        match text.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some((name, _)) if framing(name) => Err(format!("{name} is not the same for all responses")),
            Some((name, value))
                if !name.is_empty() && name.bytes().all(is_token) && !value.contains(char::is_control) =>
            {
                field.push((name.to_owned(), value.to_owned()));
                Ok(None)
            }
            _ => Err(format!("{text:?} is not NAME: VALUE, such as X-Frame-Options: DENY")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn sockets_are_mapped_to_workers() {
        assert_eq!(read::<Mappings>(Some("1:2, 3")).0, [Mapped { socket: 1, workers: vec![2, 3] }]);
        for bad in ["", "1", "1:", ":1", "a:1", "0:0", "0:1,,2"] {
            assert!(read::<Mappings>(Some(bad)).1.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn fields_are_names_and_values() {
        let field = |text| read::<Fields>(Some(text));
        assert_eq!(field("X-A: b: c"), (vec![("X-A".into(), "b: c".into())], Ok(None)));
        assert_eq!(field("Connection:close").0, [("Connection".into(), "close".into())]);
        for bad in ["", "X-A", ": b", "Content-length: 1", "X A: b", "X-A : b", "X-A: b\r\nC: d"] {
            assert!(field(bad).1.is_err(), "{bad:?}");
        }
    }
}
