//! The name of a vassal: that of its file, or the path by which a pattern or a list names it. Any bytes may stand in it,
//! so whoever shows it shows one line of text.

use std::ffi::{OsStr, OsString};
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

/// A name; a clone costs nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(Rc<OsStr>);

impl Name {
    /// As the file system has it.
    pub(crate) fn os(&self) -> &OsStr {
        &self.0
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl From<OsString> for Name {
    fn from(name: OsString) -> Self {
        Self(name.into())
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(OsStr::new(name).into())
    }
}

/// On one line, and without what a terminal would obey.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes().utf8_chunks() {
            for letter in chunk.valid().chars() {
                if letter.is_control() { write!(f, "{}", letter.escape_default())? } else { f.write_char(letter)? }
            }
            chunk.invalid().iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

/// A text from elsewhere, as names are shown.
pub(crate) fn shown(text: &[u8]) -> String {
    Name(OsStr::from_bytes(text).into()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_name_is_shown_on_one_line() {
        let shown = |bytes: &[u8]| Name::from(OsStr::from_bytes(bytes).to_owned()).to_string();
        assert_eq!(shown(b"shop.ini"), "shop.ini");
        assert_eq!(shown(b"a 'b' \"c\".ini"), "a 'b' \"c\".ini");
        assert_eq!(shown(b"a\nb\x1b[2J.ini"), "a\\nb\\u{1b}[2J.ini");
        assert_eq!(shown(b"caf\xe9.ini"), "caf\\xe9.ini");
        assert_eq!(shown("straße.ini".as_bytes()), "straße.ini");
    }
}
