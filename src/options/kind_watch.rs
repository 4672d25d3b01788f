//! The kind of the options that watch a descriptor which whoever started the server has opened. Rows of the `table` name
//! it; see `kind`.

use crate::directive::Origin;
use crate::kind::{Kind, Reading, Said, some};

/// `FD[:BYTES] [MESSAGE]`, each time one more.
pub struct Descriptors;

/// The most that is read at a time.
const MOST: usize = 65_536;

/// A descriptor to be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its number.
    pub number: i32,
    /// So many bytes are one word: they are read at a time, and what they say is nobody's concern.
    pub bytes: usize,
    /// What the log says.
    pub message: Option<String>,
    /// The option.
    pub option: &'static str,
    /// Where it was said.
    pub origin: Origin,
}

impl Kind for Descriptors {
    type Field = Vec<Watched>;
    const HINT: &'static str = "FD[:BYTES] [MESSAGE]";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (which, message) = match text.split_once(' ') {
            Some((which, message)) => (which, Some(message.trim().to_owned())),
            None => (&text[..], None),
        };
        let (number, bytes) = which.split_once(':').unwrap_or((which, "1"));
        let number = number.parse().ok().filter(|number| *number >= 0);
        let number = number.ok_or_else(|| format!("{text:?} does not begin with the number of a descriptor"))?;
        let bytes = bytes.parse().ok().filter(|bytes| (1..=MOST).contains(bytes));
        let bytes = bytes.ok_or_else(|| format!("{text:?}: 1 to {MOST} bytes can be read at a time"))?;
        let message = message.filter(|message| !message.is_empty());
        field.push(Watched { number, bytes, message, option: said.name, origin: said.origin.clone() });
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn a_descriptor_has_a_number_a_size_and_a_message() {
        let is = |text| {
            let (said, _) = read::<Descriptors>(Some(text));
            (said[0].number, said[0].bytes, said[0].message.clone())
        };
        assert_eq!(is("3"), (3, 1, None));
        assert_eq!(is("0:8"), (0, 8, None));
        assert_eq!(is("7:65536 a new  version "), (7, 65_536, Some("a new  version".to_owned())));
        assert_eq!(is("7 "), (7, 1, None));
        for wrong in ["", "x", "-1", ":8", "3:", "3:0", "3:65537", "3:x", " 3"] {
            assert!(read::<Descriptors>(Some(wrong)).1.is_err(), "{wrong:?}");
        }
    }
}
