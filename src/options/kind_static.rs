//! The kinds of the options of static files. As in `kind`, text becomes the type of a field.

use regex_lite::Regex;

use crate::kind::{Kind, Number, Reading, Remark, Said};
use crate::table::{Expiry, StaticMap};

/// Paths and names, each time one more; an empty one is an error, since it would stand for something else: the current
/// directory, or every name.
pub struct Paths;
/// `PREFIX=PATH`
pub struct Mapping;
/// `TYPE=SECONDS`
pub struct ExpiryOfType;
/// `REGEXP SECONDS`
pub struct ExpiryOfPattern;

/// `REGEXP`, each time one more.
pub struct Patterns;
/// Names of encodings with commas between them.
pub struct Encodings;
/// `file-serve-mode`.
pub struct FileServing;

/// How a compressed file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
    /// gzip (RFC 1952).
    Gzip,
}

impl Encoding {
    /// All of them, the smallest files first.
    pub const ALL: [Self; 3] = [Self::Br, Self::Zstd, Self::Gzip];

    /// Its name in HTTP.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }

    /// What the name of a file ends with.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Br => ".br",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// Whether this is what a client or an option calls it. `x-gzip` is the same (RFC 9110 8.4.1.3).
    #[must_use]
    pub fn is_named(self, name: &[u8]) -> bool {
        name.eq_ignore_ascii_case(self.name().as_bytes())
            || (self == Self::Gzip && name.eq_ignore_ascii_case(b"x-gzip"))
    }
}

/// Who sends a file that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServedBy {
    /// This server.
    Server,
    /// The front end, told by this field.
    FrontEnd(&'static str),
}

/// The most seconds that `Expires` may lie ahead.
const MOST_SECONDS: i128 = i32::MAX as i128;

impl Kind for Paths {
    type Field = Vec<String>;
    const HINT: &'static str = "PATH";

    fn read(field: &mut Vec<String>, said: &Said<'_>) -> Reading {
        match said.value {
            None | Some("") => Err("no value".into()),
            Some(path) => {
                field.push(path.to_owned());
                Ok(None)
            }
        }
    }
}

impl Kind for Mapping {
    type Field = Vec<StaticMap>;
    const HINT: &'static str = "PREFIX=PATH";

    /// An empty prefix is for everything, as in uWSGI.
    fn read(field: &mut Vec<StaticMap>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        let (prefix, path) = match text.split_once('=') {
            Some((prefix, path)) if !path.is_empty() => (prefix.to_owned(), path.to_owned()),
            _ => return Err(format!("{text:?} is not PREFIX=PATH, such as /static=/srv/static")),
        };
        let never = !prefix.is_empty() && !prefix.starts_with('/');
        let told = never.then(|| Remark::Told(format!("{prefix:?} matches nothing: a path starts with a slash")));
        field.push(StaticMap { prefix, path });
        Ok(told)
    }
}

impl Kind for ExpiryOfType {
    type Field = Vec<Expiry>;
    const HINT: &'static str = "TYPE=SECONDS";

    fn read(field: &mut Vec<Expiry>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        let shape = || format!("{text:?} is not TYPE=SECONDS, such as text/css=3600");
        let (of, seconds) = text.split_once('=').filter(|(of, _)| !of.is_empty()).ok_or_else(shape)?;
        push(field, of, seconds)
    }
}

impl Kind for ExpiryOfPattern {
    type Field = Vec<Expiry>;
    const HINT: &'static str = "REGEXP SECONDS";

    fn read(field: &mut Vec<Expiry>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        let shape = || format!("{text:?} is not REGEXP SECONDS, such as \\.css$ 3600");
        let (of, seconds) = text.split_once(' ').filter(|(of, _)| !of.is_empty()).ok_or_else(shape)?;
        Regex::new(of).map_err(|error| format!("{of:?} is not a regular expression: {error}"))?;
        push(field, of, seconds.trim_start())
    }
}

impl Kind for Patterns {
    type Field = Vec<String>;
    const HINT: &'static str = "REGEXP";

    fn read(field: &mut Vec<String>, said: &Said<'_>) -> Reading {
        let text = said.value.filter(|text| !text.is_empty()).ok_or("no value")?;
        Regex::new(text).map_err(|error| format!("{text:?} is not a regular expression: {error}"))?;
        field.push(text.to_owned());
        Ok(None)
    }
}

impl Kind for Encodings {
    type Field = Vec<Encoding>;
    const HINT: &'static str = "LIST";
    const TAKES: Option<&'static str> = Some("br, zstd and gzip, in the order of preference");

    fn read(field: &mut Vec<Encoding>, said: &Said<'_>) -> Reading {
        let mut encodings = Vec::new();
        let words = said.value.unwrap_or_default().split([',', ' ']).filter(|word| !word.is_empty());
        for word in words {
            let named = Encoding::ALL.into_iter().find(|encoding| encoding.is_named(word.as_bytes()));
            let encoding = named.ok_or_else(|| format!("{word:?} is none of br, zstd and gzip"))?;
            if !encodings.contains(&encoding) {
                encodings.push(encoding);
            }
        }
        if encodings.is_empty() {
            return Err("no value".into());
        }
        *field = encodings;
        Ok(None)
    }
}

impl Kind for FileServing {
    type Field = ServedBy;
    const HINT: &'static str = "MODE";
    const TAKES: Option<&'static str> = Some("x-sendfile or x-accel-redirect");

    fn read(field: &mut ServedBy, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        *field = match text.to_ascii_lowercase().as_str() {
            "x-sendfile" | "xsendfile" => ServedBy::FrontEnd("X-Sendfile"),
            "x-accel-redirect" | "xaccelredirect" | "nginx" => ServedBy::FrontEnd("X-Accel-Redirect"),
            _ => return Err(format!("{text:?} is neither x-sendfile nor x-accel-redirect")),
        };
        Ok(None)
    }
}

fn push(field: &mut Vec<Expiry>, of: &str, seconds: &str) -> Reading {
    let number = Number::read(Some(seconds));
    let problem = number.problem.clone();
    let (seconds, remark) = number.within(0, MOST_SECONDS)?;
    // Nothing that begins with a number: 0 would be sent, and mean that nothing may be kept.
    if let (0, Some(problem)) = (seconds, problem) {
        return Err(problem);
    }
    field.push(Expiry { of: of.to_owned(), seconds });
    Ok(remark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::Origin;

    fn read<K: Kind>(value: &str) -> (K::Field, Result<bool, String>)
    where
        K::Field: Default,
    {
        let mut field = K::Field::default();
        let said = Said { name: "option", value: Some(value), bytes: Some(value.into()), origin: &Origin::Argv };
        let reading = K::read(&mut field, &said).map(|remark| remark.is_some());
        (field, reading)
    }

    #[test]
    fn a_mapping_has_a_prefix_and_a_path() {
        let map = |prefix: &str, path: &str| vec![StaticMap { prefix: prefix.into(), path: path.into() }];
        assert_eq!(read::<Mapping>("/s=/srv/s"), (map("/s", "/srv/s"), Ok(false)));
        assert_eq!(read::<Mapping>("/s=a=b"), (map("/s", "a=b"), Ok(false)));
        assert_eq!(read::<Mapping>("=/srv"), (map("", "/srv"), Ok(false)));
        assert_eq!(read::<Mapping>("s=/srv"), (map("s", "/srv"), Ok(true)));
        for wrong in ["", "/s", "/s="] {
            assert!(read::<Mapping>(wrong).1.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_empty_path_is_not_the_current_directory() {
        assert_eq!(read::<Paths>("").1, Err("no value".into()));
        assert_eq!(read::<Paths>("static").0, ["static"]);
    }

    #[test]
    fn encodings_are_a_list_without_strangers() {
        use Encoding::{Br, Gzip, Zstd};
        let read = |value: &str| {
            let mut field = Encoding::ALL.to_vec();
            let said = Said { name: "option", value: Some(value), bytes: Some(value.into()), origin: &Origin::Argv };
            Encodings::read(&mut field, &said).map(|_| field)
        };
        assert_eq!(read("zstd, br"), Ok(vec![Zstd, Br]));
        assert_eq!(read("GZIP gzip"), Ok(vec![Gzip]));
        for wrong in ["", ",", "gzip,deflate"] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn patterns_are_regular_expressions() {
        assert_eq!(read::<Patterns>(r"\.css$").0, [r"\.css$"]);
        for wrong in ["", "("] {
            assert!(read::<Patterns>(wrong).1.is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn expiries_have_something_to_match_and_a_number() {
        let expiry = |of: &str, seconds| vec![Expiry { of: of.into(), seconds }];
        assert_eq!(read::<ExpiryOfType>("text/css=50"), (expiry("text/css", 50), Ok(false)));
        assert_eq!(read::<ExpiryOfPattern>(r"\.css$ 60"), (expiry(r"\.css$", 60), Ok(false)));
        assert_eq!(read::<ExpiryOfPattern>(". 60 ; note"), (expiry(".", 60), Ok(true)));
        assert_eq!(read::<ExpiryOfPattern>(". 0"), (expiry(".", 0), Ok(false)));
        for wrong in ["", "text/css", "=5", "text/css=", "text/css=soon", "text/css=-1"] {
            assert!(read::<ExpiryOfType>(wrong).1.is_err(), "{wrong:?}");
        }
        for wrong in ["", ".", " 5", ". soon", "( 60", r"(a)\1 60"] {
            assert!(read::<ExpiryOfPattern>(wrong).1.is_err(), "{wrong:?}");
        }
    }
}
