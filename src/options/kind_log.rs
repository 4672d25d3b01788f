//! The kinds of the options of logs and names. As in `kind`, text becomes the type of a field.

use crate::kind::{Arg, INT, Kind, Number, Reading, Remark, Said, flag, octal, some};
use crate::table::Collected;

/// A number that knows whether it was said; 0 is none, as uWSGI has it.
pub struct MaybeNumber;
/// The permissions of a file: exactly three octal digits.
pub struct ThreeDigits;
/// A file to log to.
pub struct LogFile;
/// A file to log to, or an address.
pub struct LogTarget;
/// The line of a request.
pub struct LogFormat;
/// How the time stands before a line: an empty text is ctime(3)'s way, as bare, `true` and the like ask for.
pub struct LogDate;
/// `FIELD VARIABLE`, each time one more.
pub struct Collects;
/// `procname-prefix`, and `procname-prefix-spaced` with its blank: of both, the last one counts.
pub struct Prefix;

impl Kind for MaybeNumber {
    type Field = Option<u64>;
    const HINT: &'static str = "NUM";

    fn read(field: &mut Option<u64>, said: &Said<'_>) -> Reading {
        let (value, remark) = Number::read(said.value).within(0, INT)?;
        *field = Some(value).filter(|value| *value > 0);
        Ok(remark)
    }
}

impl Kind for ThreeDigits {
    type Field = Option<u32>;
    const HINT: &'static str = "MODE";

    fn read(field: &mut Option<u32>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        *field =
            Some(octal(text, 3).ok_or_else(|| format!("{text:?} is not a mode of three octal digits, such as 640"))?);
        Ok(None)
    }
}

impl Kind for LogFile {
    type Field = Option<String>;
    const HINT: &'static str = "FILE";

    fn read(field: &mut Option<String>, said: &Said<'_>) -> Reading {
        let path = some(said.value)?;
        if is_address(&path) {
            return Err(format!("{path} is an address: log-socket = {path} logs there"));
        }
        *field = Some(path);
        Ok(None)
    }
}

impl Kind for LogTarget {
    type Field = Option<String>;
    const HINT: &'static str = "FILE";

    fn read(field: &mut Option<String>, said: &Said<'_>) -> Reading {
        *field = Some(some(said.value)?);
        Ok(None)
    }
}

/// For uWSGI, whatever has a colon is an address; a path may have one here.
#[must_use]
pub fn is_address(text: &str) -> bool {
    text.contains(':') && !text.contains('/')
}

impl Kind for LogFormat {
    type Field = Option<String>;
    const HINT: &'static str = "FORMAT";

    fn read(field: &mut Option<String>, said: &Said<'_>) -> Reading {
        let format = some(said.value)?;
        let metric = format.split("%(metric.").nth(1).and_then(|rest| rest.split_once(')'));
        let told = metric.map(|(name, _)| Remark::Told(format!("there are no metrics yet: %(metric.{name}) is 0")));
        *field = Some(format);
        Ok(told)
    }
}

impl Kind for LogDate {
    type Field = Option<String>;
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "FORMAT";

    fn read(field: &mut Option<String>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        *field = match flag(Some(text)) {
            (on, None) => on.then(String::new),
            (_, Some(_)) => Some(text.to_owned()),
        };
        Ok(None)
    }
}

impl Kind for Collects {
    type Field = Vec<Collected>;
    const HINT: &'static str = "FIELD NAME";

    fn read(field: &mut Vec<Collected>, said: &Said<'_>) -> Reading {
        let text = said.value.unwrap_or_default();
        match text.split_once(' ').map(|(header, variable)| (header, variable.trim_start())) {
            Some((header, variable)) if !header.is_empty() && !variable.is_empty() => {
                field.push(Collected { header: header.to_owned(), variable: variable.to_owned() });
                Ok(None)
            }
            _ => Err(format!("{text:?} is not FIELD NAME, such as X-User USER")),
        }
    }
}

impl Kind for Prefix {
    type Field = Option<String>;
    const HINT: &'static str = "TEXT";

    fn read(field: &mut Option<String>, said: &Said<'_>) -> Reading {
        let blank = if said.name.ends_with("-spaced") { " " } else { "" };
        *field = Some(some(said.value)? + blank);
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn what_a_log_is_told() {
        assert_eq!(read::<LogDate>(None).0.as_deref(), Some(""));
        for (text, field) in [("", Some("")), ("true", Some("")), ("on", Some("")), ("false", None), ("%F", Some("%F"))]
        {
            assert_eq!(read::<LogDate>(Some(text)).0.as_deref(), field, "{text:?}");
        }
        assert_eq!(read::<LogFile>(Some("/var/log/a:b.log")).0.as_deref(), Some("/var/log/a:b.log"));
        assert!(read::<LogFile>(Some("10.0.0.1:514")).1.is_err_and(|error| error.contains("log-socket")));
        assert_eq!(read::<MaybeNumber>(Some("200")), (Some(200), Ok(None)));
        assert_eq!(read::<MaybeNumber>(Some("true")), (None, Ok(Some("\"true\" is not a number -> 0".into()))));
        assert_eq!(read::<LogFormat>(Some("%(uri)")), (Some("%(uri)".into()), Ok(None)));
        let told = "there are no metrics yet: %(metric.a.b) is 0";
        assert_eq!(read::<LogFormat>(Some("%(uri) %(metric.a.b)")).1, Ok(Some(told.into())));
        let collected = Collected { header: "X-User".into(), variable: "USER".into() };
        assert_eq!(read::<Collects>(Some("X-User  USER")), (vec![collected], Ok(None)));
        assert!(["", "X-User", "X-User ", " USER"].iter().all(|wrong| read::<Collects>(Some(wrong)).1.is_err()));
        assert_eq!(read::<ThreeDigits>(Some("640")).0, Some(0o640));
        assert!(read::<ThreeDigits>(None).1.is_err() && read::<ThreeDigits>(Some("1")).1.is_err());
    }
}
