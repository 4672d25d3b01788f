//! One thing that was said, where it was said, and how a list of them crosses to the extension module.
//!
//! The master encodes the directives into a sealed file, the zygote decodes them. Nothing here knows what an option
//! means.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bstr::{BString, ByteSlice};

use crate::report::Error;

/// Where something was said.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A line of a configuration file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line, from 1.
        line: u32,
    },
    /// The command line.
    Argv,
    /// A `UWSGI_*` or `RUWSGI_*` variable.
    Env,
    /// An option that `declare-option` made.
    Declared {
        /// Its name.
        by: String,
        /// Where it was used.
        at: Box<Origin>,
    },
    /// Nobody said it.
    Default,
}

impl Origin {
    /// The file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File { path, .. } => Some(path),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(out, "{}:{line}", path.display()),
            Self::Argv => out.write_str("command line"),
            Self::Env => out.write_str("environment"),
            // Where it was written: what stands between them stands for each other.
            Self::Declared { by, .. } => write!(out, "by {by}, {}", self.written()),
            Self::Default => out.write_str("default"),
        }
    }
}

impl Origin {
    /// Where somebody wrote it, whatever stood for what.
    pub(crate) fn written(&self) -> &Self {
        match self {
            Self::Declared { at, .. } => at.written(),
            other => other,
        }
    }
}

/// One thing that was said: an option or a placeholder, its value, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The name as it was written.
    pub name: String,
    /// The value, which is bytes. `None` for a flag of the command line; a bare key of a file has an empty one.
    pub value: Option<BString>,
    /// Where it was said.
    pub origin: Origin,
}

impl Directive {
    /// A directive.
    pub fn new(name: impl Into<String>, value: Option<&str>, origin: Origin) -> Self {
        Self { name: name.into(), value: value.map(BString::from), origin }
    }

    /// The line of a file that says the same. uWSGI writes a flag of the command line with `true`, too.
    pub fn line(&self) -> BString {
        let value = self.value.as_ref().map_or(b"true".as_bstr(), |value| value.as_bstr());
        [self.name.as_bytes(), b" = ", value].concat().into()
    }
}

/// The tags of an encoded origin.
const FILE: u8 = 0;
const ARGV: u8 = 1;
const ENV: u8 = 2;
const DEFAULT: u8 = 3;
const DECLARED: u8 = 4;

/// Directives as bytes. Each: name, a byte that tells whether there is a value, the value, the origin. A text is its
/// length in four bytes, little-endian, and the text.
pub fn encode(directives: &[Directive]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * directives.len());
    for directive in directives {
        text(&mut out, directive.name.as_bytes());
        out.push(u8::from(directive.value.is_some()));
        text(&mut out, directive.value.as_ref().map_or(b"", |value| value.as_bytes()));
        place(&mut out, &directive.origin);
    }
    out
}

fn place(out: &mut Vec<u8>, origin: &Origin) {
    match origin {
        Origin::File { path, line } => {
            out.push(FILE);
            text(out, path.as_os_str().as_bytes());
            out.extend_from_slice(&line.to_le_bytes());
        }
        Origin::Argv => out.push(ARGV),
        Origin::Env => out.push(ENV),
        Origin::Default => out.push(DEFAULT),
        Origin::Declared { by, at } => {
            out.push(DECLARED);
            text(out, by.as_bytes());
            place(out, at);
        }
    }
}

fn text(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// What [`encode`] made, or an error for bytes that it did not make.
pub fn decode(bytes: &[u8]) -> Result<Vec<Directive>, Error> {
    let mut rest = bytes;
    let mut directives = Vec::new();
    while !rest.is_empty() {
        match directive(&mut rest) {
            Some(directive) => directives.push(directive),
            None => {
                let at = bytes.len() - rest.len();
                return Err(Error::new(format!("the encoded configuration is damaged near byte {at}")));
            }
        }
    }
    Ok(directives)
}

fn directive(rest: &mut &[u8]) -> Option<Directive> {
    let name = utf8(rest)?;
    let said = byte(rest)? != 0;
    let value = sized(rest)?.into();
    let origin = origin(rest, DEEPEST)?;
    Some(Directive { name, value: said.then_some(value), origin })
}

/// How often an origin may stand inside another: templates use templates no deeper.
const DEEPEST: usize = 64;

fn origin(rest: &mut &[u8], deeper: usize) -> Option<Origin> {
    Some(match byte(rest)? {
        FILE => {
            let path = Path::new(OsStr::from_bytes(sized(rest)?)).to_owned();
            Origin::File { path, line: number(rest)? }
        }
        ARGV => Origin::Argv,
        ENV => Origin::Env,
        DEFAULT => Origin::Default,
        DECLARED if deeper > 0 => Origin::Declared { by: utf8(rest)?, at: Box::new(origin(rest, deeper - 1)?) },
        _ => return None,
    })
}

fn utf8(rest: &mut &[u8]) -> Option<String> {
    String::from_utf8(sized(rest)?.to_vec()).ok()
}

fn sized<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = number(rest)? as usize;
    let (head, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(head)
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(u32::from_le_bytes(*head))
}

fn byte(rest: &mut &[u8]) -> Option<u8> {
    let (head, tail) = rest.split_first()?;
    *rest = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn declared() -> Origin {
        Origin::Declared { by: "preset".into(), at: Origin::File { path: "app.ini".into(), line: 3 }.into() }
    }

    fn sample() -> Vec<Directive> {
        let odd = PathBuf::from(OsStr::from_bytes(b"/srv/caf\xe9.ini"));
        vec![
            Directive::new("master", None, Origin::Argv),
            Directive::new("module", Some("app:application"), Origin::File { path: "app.ini".into(), line: 12 }),
            Directive::new("bare", Some(""), Origin::File { path: odd, line: u32::MAX }),
            Directive::new("", Some("é\n%(x)"), Origin::Env),
            Directive::new("processes", Some("1"), Origin::Default),
            Directive { name: "chdir".into(), value: Some(b"/caf\xe9".into()), origin: declared() },
        ]
    }

    #[test]
    fn what_is_encoded_comes_back() {
        assert_eq!(decode(&encode(&sample())), Ok(sample()));
        assert_eq!(decode(b""), Ok(vec![]));
    }

    #[test]
    fn a_cut_is_an_error_or_ends_between_two_directives() {
        let whole = encode(&sample());
        for cut in 0..whole.len() {
            if let Ok(some) = decode(&whole[..cut]) {
                assert_eq!(some, sample()[..some.len()]);
                assert!(some.len() < sample().len());
            }
        }
    }

    #[test]
    fn damage_never_panics() {
        let whole = encode(&sample());
        let mut random = Random::new(1);
        for _ in 0..20_000 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
            let _ = decode(&bytes);
        }
    }

    #[test]
    fn an_origin_reads_as_people_write_it() {
        assert_eq!(Origin::File { path: "app.ini".into(), line: 12 }.to_string(), "app.ini:12");
        assert_eq!(Origin::Argv.to_string(), "command line");
        assert_eq!(Origin::Env.to_string(), "environment");
        assert_eq!(declared().to_string(), "by preset, app.ini:3");
    }
}
