//! Lines of words, as a [`State`](super::State) is written: any bytes can be a word, and a line stays a line.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Lines that are written.
#[derive(Default)]
pub(super) struct Text(pub(super) Vec<u8>);

impl Text {
    pub(super) fn line(&mut self, kind: &str, words: &[Word]) {
        self.0.extend_from_slice(kind.as_bytes());
        for word in words {
            self.0.push(b' ');
            self.0.extend_from_slice(&word.0);
        }
        self.0.push(b'\n');
    }
}

/// A word as it is written: what could be taken for the end of one is escaped, and so is nothing at all.
#[derive(Clone)]
pub(super) struct Word(Vec<u8>);

impl Word {
    pub(super) fn text(text: &str) -> Self {
        OsStr::new(text).into()
    }

    pub(super) fn bytes(bytes: &[u8]) -> Self {
        OsStr::from_bytes(bytes).into()
    }

    pub(super) fn flag(flag: bool) -> Self {
        u32::from(flag).into()
    }

    /// A number, or `-` for none.
    pub(super) fn maybe(number: Option<impl Into<Self>>) -> Self {
        number.map_or(Self::text("-"), Into::into)
    }
}

impl From<&OsStr> for Word {
    fn from(word: &OsStr) -> Self {
        let mut bytes = Vec::new();
        for byte in word.as_bytes() {
            match byte {
                b'%' | 0..=b' ' | 127.. => bytes.extend_from_slice(format!("%{byte:02x}").as_bytes()),
                _ => bytes.push(*byte),
            }
        }
        Self(if bytes.is_empty() { b"%".to_vec() } else { bytes })
    }
}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        impl From<$number> for Word {
            fn from(number: $number) -> Self {
                Self(number.to_string().into_bytes())
            }
        }
    )*};
}

numbers!(i32 u32 u64 i64);

/// The words of a line that is read.
pub(super) struct Words<'l>(pub(super) std::slice::Split<'l, u8, fn(&u8) -> bool>);

impl<'l> Words<'l> {
    pub(super) fn next(&mut self) -> Option<OsString> {
        let word: &'l [u8] = self.0.next()?;
        let mut bytes = Vec::with_capacity(word.len());
        let mut rest = word;
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            match (first, behind) {
                (b'%', [high, low, left @ ..]) => {
                    let digits = [*high, *low];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                    rest = left;
                }
                (b'%', []) => {}
                _ => bytes.push(*first),
            }
        }
        Some(OsString::from_vec(bytes))
    }

    pub(super) fn text(&mut self) -> Option<String> {
        self.next()?.into_string().ok()
    }

    pub(super) fn number<N: std::str::FromStr>(&mut self) -> Option<N> {
        self.text()?.parse().ok()
    }

    /// `-` is none.
    pub(super) fn maybe<N: std::str::FromStr>(&mut self) -> Option<Option<N>> {
        let text = self.text()?;
        if text == "-" { Some(None) } else { text.parse().ok().map(Some) }
    }

    pub(super) fn bytes(&mut self) -> Option<Vec<u8>> {
        Some(self.next()?.into_vec())
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        Some(self.number::<u32>()? != 0)
    }
}
