//! The kinds of the options of loggers: where lines go besides the log, which of them, and in which shape. Rows of the
//! `table` name these kinds; see `kind`.

use crate::directive::Origin;
use crate::kind::{Arg, Kind, Reading, Said, some};

/// `[ID] NAME[:ARGUMENT]`, each time one more.
pub struct Loggers;
/// The argument of the logger `syslog`, each time one more.
pub struct Syslog;
/// That of the logger `socket`.
pub struct LogSocket;
/// `ID PATTERN`, each time one more.
pub struct Routes;
/// A pattern, each time one more.
pub struct LinePatterns;
/// `NAME[:ID] ARGUMENTS`, each time one more.
pub struct Encoders;

/// A logger as it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggerSaid {
    /// By what routes and encoders name it.
    pub id: Option<String>,
    /// One of [`LOGGERS`].
    pub name: &'static str,
    /// What it is told.
    pub argument: String,
    /// The option.
    pub option: &'static str,
    /// Where it was said.
    pub origin: Origin,
}

/// Lines that match go to a logger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSaid {
    /// The logger; empty where the pattern is for all.
    pub id: String,
    /// The pattern.
    pub pattern: String,
    /// The option.
    pub option: &'static str,
    /// Where it was said.
    pub origin: Origin,
}

/// What is made of a line before a logger gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncoderSaid {
    /// One of [`ENCODERS`].
    pub name: &'static str,
    /// For this logger alone.
    pub id: Option<String>,
    /// What it is told.
    pub arguments: String,
}

/// The loggers that there are.
pub const LOGGERS: [&str; 7] = ["file", "fd", "stdio", "socket", "syslog", "rsyslog", "systemd"];
/// The encoders that there are.
pub const ENCODERS: [&str; 5] = ["prefix", "suffix", "nl", "format", "json"];

impl Kind for Loggers {
    type Field = Vec<LoggerSaid>;
    const HINT: &'static str = "[ID] NAME[:ARGUMENT]";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        // An id has letters and digits; a blank behind anything else is part of the argument.
        let plain = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let (id, rest) = match text.split_once(' ') {
            Some((id, rest)) if plain(id) => (Some(id.to_owned()), rest.trim_start()),
            _ => (None, &text[..]),
        };
        let (name, argument) = rest.split_once(':').unwrap_or((rest, ""));
        let known = LOGGERS.iter().find(|known| **known == name);
        let name = known.ok_or_else(|| format!("there is no logger {name:?}: {} are", LOGGERS.join(", ")))?;
        let needs = matches!(*name, "file" | "fd" | "socket" | "rsyslog");
        if argument.is_empty() && needs {
            return Err(format!("{name} wants an argument: {name}:{}", wanted(name)));
        }
        if *name == "fd" && argument.parse::<i32>().is_err() {
            return Err(format!("{argument:?} is no number of a descriptor"));
        }
        field.push(LoggerSaid { id, name, argument: argument.into(), option: said.name, origin: said.origin.clone() });
        Ok(None)
    }
}

fn wanted(name: &str) -> &'static str {
    match name {
        "file" => "/var/log/app.log",
        "fd" => "3",
        "rsyslog" => "10.0.0.1:514,app",
        _ => "10.0.0.1:1234",
    }
}

impl Kind for Syslog {
    type Field = Vec<LoggerSaid>;
    const ARG: Arg = Arg::Optional;
    const HINT: &'static str = "NAME[,FACILITY]";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        // A bare key of a file is `true` for some.
        let argument = said.value.filter(|text| *text != "true").unwrap_or_default().to_owned();
        field.push(LoggerSaid { id: None, name: "syslog", argument, option: said.name, origin: said.origin.clone() });
        Ok(None)
    }
}

impl Kind for LogSocket {
    type Field = Vec<LoggerSaid>;
    const HINT: &'static str = "ADDRESS[,PREFIX]";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let argument = some(said.value)?;
        field.push(LoggerSaid { id: None, name: "socket", argument, option: said.name, origin: said.origin.clone() });
        Ok(None)
    }
}

impl Kind for Routes {
    type Field = Vec<RouteSaid>;
    const HINT: &'static str = "ID PATTERN";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (id, pattern) = text.split_once(' ').ok_or_else(|| format!("{text:?} is not ID PATTERN"))?;
        let (id, pattern) = (id.to_owned(), pattern.trim_start().to_owned());
        field.push(RouteSaid { id, pattern, option: said.name, origin: said.origin.clone() });
        Ok(None)
    }
}

impl Kind for LinePatterns {
    type Field = Vec<RouteSaid>;
    const HINT: &'static str = "PATTERN";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let pattern = some(said.value)?;
        field.push(RouteSaid { id: String::new(), pattern, option: said.name, origin: said.origin.clone() });
        Ok(None)
    }
}

impl Kind for Encoders {
    type Field = Vec<EncoderSaid>;
    const HINT: &'static str = "NAME[:ID] ARGUMENTS";

    fn read(field: &mut Self::Field, said: &Said<'_>) -> Reading {
        let text = some(said.value)?;
        let (head, arguments) = text.split_once(' ').unwrap_or((&text, ""));
        let (name, id) = head.split_once(':').map_or((head, None), |(name, id)| (name, Some(id.to_owned())));
        let known = ENCODERS.iter().find(|known| **known == name);
        let name = match (known, name) {
            (Some(name), _) => name,
            (None, "gzip" | "compress") => return Err(format!("{name} is not built yet: a log is text here")),
            (None, _) => return Err(format!("there is no encoder {name:?}: {} are", ENCODERS.join(", "))),
        };
        field.push(EncoderSaid { name, id, arguments: arguments.into() });
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::tests::read;

    #[test]
    fn a_logger_has_a_name_perhaps_an_id_and_an_argument() {
        let logger = |text: &str| {
            let (mut said, reading) = read::<Loggers>(Some(text));
            reading.map(|_| said.remove(0)).map(|said| (said.id, said.name, said.argument))
        };
        let id = |id: &str| Some(id.to_owned());
        assert_eq!(logger("file:/a b"), Ok((None, "file", "/a b".into())));
        assert_eq!(logger("local file:/a"), Ok((id("local"), "file", "/a".into())));
        assert_eq!(logger("req1 stdio"), Ok((id("req1"), "stdio", String::new())));
        assert_eq!(logger("rsyslog:10.0.0.1:514,x"), Ok((None, "rsyslog", "10.0.0.1:514,x".into())));
        for (text, why) in [
            ("redislog:x", "there is no logger \"redislog\""),
            ("file", "file wants an argument: file:/var/log/app.log"),
            ("fd:x", "no number of a descriptor"),
        ] {
            assert!(logger(text).is_err_and(|error| error.contains(why)), "{text}");
        }
        assert_eq!(read::<LogSocket>(None).1, Err("no value".into()));
        assert_eq!(read::<Syslog>(Some("true")).0[0].argument, "");
    }

    #[test]
    fn an_encoder_may_be_for_one_logger() {
        let (said, _) = read::<Encoders>(Some("json:stash {\"m\": \"${msg}\"}"));
        let stash = EncoderSaid { name: "json", id: Some("stash".into()), arguments: "{\"m\": \"${msg}\"}".into() };
        assert_eq!(said, [stash]);
        assert_eq!(read::<Encoders>(Some("nl")).0[0].arguments, "");
        assert!(read::<Encoders>(Some("gzip")).1.is_err() && read::<Encoders>(Some("xml x")).1.is_err());
        assert!(read::<Routes>(Some("onlyid")).1.is_err());
    }
}
