//! `log-format`: compiled once into pieces, then written piece by piece. A variable that is unknown, or has no value,
//! is a `-`, as uWSGI has it.

use std::borrow::Cow;
use std::ffi::CString;

use ruwsgi_options::Logging;
use ruwsgi_sys::{clock, process};
use ruwsgi_wire::{Key, Name, Vars};

use super::{Facts, escape};

/// A format.
pub(super) struct Format {
    pieces: Vec<Piece>,
    /// How `%(ftime)` is written.
    ftime: CString,
    /// A piece asks for the memory of the process.
    memory: bool,
    /// It makes an object: values are escaped as the inside of a JSON string is.
    json: bool,
}

/// A piece of a line.
enum Piece {
    Text(Vec<u8>),
    Value(Value),
    /// `%(var.NAME)`
    Var(Cgi),
    /// What the application has set under this name for this request.
    Logvar(Vec<u8>),
    /// `%(metric.NAME)`: what uWSGI writes where there are no metrics.
    Metric,
}

/// The name of a CGI variable, as `Vars` know it.
pub(super) struct Cgi {
    name: Vec<u8>,
    key: Option<Key>,
}

/// The times of a core's lines, each made once a second.
#[derive(Debug, Default)]
pub(crate) struct Times {
    second: i64,
    ctime: Option<Vec<u8>>,
    ltime: Option<Vec<u8>>,
    ftime: Option<Vec<u8>>,
    /// `2026-11-21T23:59:59`
    utc: Option<String>,
}

/// Writes the value of a variable.
type Value = fn(&mut Vec<u8>, &mut Line<'_, '_>);

/// What the values are made of.
struct Line<'l, 'f> {
    facts: &'l Facts<'f>,
    times: &'l mut Times,
    ftime: &'l CString,
    /// Address space and resident, in bytes.
    memory: (u64, u64),
}

const MEGABYTE: u64 = 1024 * 1024;
/// `20/Nov/2026:12:00:00 +0100`: the time of the common log format.
const LTIME: &std::ffi::CStr = c"%d/%b/%Y:%H:%M:%S %z";

/// All variables but `var.`, `metric.` and those that applications make.
const VALUES: &[(&str, Value)] = &[
    ("uri", |out, line| line.key(out, Key::RequestUri)),
    ("method", |out, line| line.key(out, Key::RequestMethod)),
    ("user", |out, line| line.key(out, Key::RemoteUser)),
    ("addr", |out, line| escape(out, &line.facts.address)),
    ("host", |out, line| line.host(out)),
    ("proto", |out, line| line.key(out, Key::ServerProtocol)),
    ("uagent", |out, line| line.var(out, b"HTTP_USER_AGENT")),
    ("referer", |out, line| line.var(out, b"HTTP_REFERER")),
    ("status", |out, line| put(out, line.facts.sent.status)),
    ("rsize", |out, line| put(out, line.facts.sent.body_bytes)),
    ("hsize", |out, line| put(out, line.facts.sent.head_bytes)),
    ("size", |out, line| put(out, line.facts.sent.head_bytes + line.facts.sent.body_bytes)),
    ("cl", |out, line| line.length(out)),
    ("micros", |out, line| put(out, line.facts.micros)),
    ("msecs", |out, line| put(out, line.facts.micros / 1000)),
    ("secs", |out, line| line.seconds(out)),
    ("tmsecs", |out, line| put(out, line.facts.began_us / 1000)),
    ("tmicros", |out, line| put(out, line.facts.began_us)),
    ("time", |out, line| put(out, line.facts.began_us / 1_000_000)),
    ("ltime", |out, line| line.ltime(out)),
    ("ftime", |out, line| line.ftime(out)),
    ("ctime", |out, line| line.ctime(out)),
    ("epoch", |out, _| put(out, clock::unix_us() / 1_000_000)),
    ("pid", |out, line| put(out, line.facts.pid)),
    ("wid", |out, line| put(out, line.facts.slot)),
    ("switches", |out, line| put(out, line.facts.sent.switches)),
    ("vars", |out, line| put(out, line.facts.variables().0)),
    ("core", |out, line| put(out, line.facts.core)),
    ("vsz", |out, line| put(out, line.memory.0)),
    ("rss", |out, line| put(out, line.memory.1)),
    ("vszM", |out, line| put(out, line.memory.0 / MEGABYTE)),
    ("rssM", |out, line| put(out, line.memory.1 / MEGABYTE)),
    ("pktsize", |out, line| put(out, line.facts.variables().1)),
    ("modifier1", |out, line| put(out, line.facts.modifiers.0)),
    ("modifier2", |out, line| put(out, line.facts.modifiers.1)),
    ("headers", |out, line| put(out, line.facts.sent.fields)),
    ("werr", |out, line| put(out, line.facts.sent.write_errors)),
    ("rerr", |out, line| put(out, line.facts.read_errors)),
    ("ioerr", |out, line| put(out, line.facts.sent.write_errors + line.facts.read_errors)),
];

/// The variables that cost a look at the memory of the process.
const MEMORY: [&str; 4] = ["vsz", "rss", "vszM", "rssM"];

fn put(out: &mut Vec<u8>, value: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

impl Format {
    /// From the text of the option. A `%(` without its `)` is text.
    pub(super) fn compile(text: &str, logging: &Logging) -> Self {
        let (mut pieces, mut memory, mut rest) = (Vec::new(), false, text);
        while let Some((before, name, behind)) = variable(rest) {
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            memory |= MEMORY.contains(&name);
            pieces.push(Piece::of(name));
            rest = behind;
        }
        pieces.push(Piece::Text(rest.into()));
        let date = logging.log_date.as_deref().filter(|date| logging.log_format_strftime && !date.is_empty());
        let ftime = date.and_then(|date| CString::new(date).ok()).unwrap_or_else(|| LTIME.to_owned());
        let json = text.trim().starts_with('{') && text.trim().ends_with('}');
        Self { pieces, ftime, memory, json }
    }

    /// Appends the line of a request.
    pub(super) fn write(&self, out: &mut Vec<u8>, facts: &Facts<'_>, times: &mut Times) {
        let memory = if self.memory { process::memory() } else { (0, 0) };
        times.turn_to((facts.began_us / 1_000_000) as i64);
        let line = &mut Line { facts, times, ftime: &self.ftime, memory };
        for piece in &self.pieces {
            let before = out.len();
            match piece {
                Piece::Text(text) => {
                    out.extend_from_slice(text);
                    continue;
                }
                Piece::Value(value) => value(out, line),
                Piece::Var(name) => {
                    escape(out, &name.of(facts.vars).unwrap_or_else(|| named(facts.collected, &name.name).into()));
                }
                Piece::Logvar(name) => escape(out, named(facts.logvars, name)),
                Piece::Metric => out.push(b'0'),
            }
            if out.len() == before {
                out.push(b'-');
            }
            if self.json && out[before..].iter().any(|byte| matches!(byte, b'"' | b'\\')) {
                let value = out.split_off(before);
                for byte in value {
                    out.extend_from_slice(if matches!(byte, b'"' | b'\\') { b"\\" } else { b"" });
                    out.push(byte);
                }
            }
        }
    }
}

/// The first variable of a format: what is before it, its name, and what is behind it.
fn variable(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("%(")?;
    let (name, behind) = rest.split_once(')')?;
    Some((before, name, behind))
}

impl Piece {
    fn of(name: &str) -> Self {
        let value = VALUES.iter().find(|(known, _)| *known == name);
        match (value, name.strip_prefix("var."), name.strip_prefix("metric.")) {
            (Some((_, value)), ..) => Self::Value(*value),
            (_, Some(var), _) => Self::Var(Cgi::new(var.as_bytes())),
            (.., Some(_)) => Self::Metric,
            _ => Self::Logvar(name.into()),
        }
    }
}

impl Line<'_, '_> {
    fn key(&self, out: &mut Vec<u8>, key: Key) {
        escape(out, self.facts.vars.key(key).unwrap_or_default());
    }

    fn var(&self, out: &mut Vec<u8>, name: &[u8]) {
        escape(out, &fields(self.facts.vars, name).unwrap_or_default());
    }

    fn host(&self, out: &mut Vec<u8>) {
        let host = self.facts.vars.key(Key::HttpHost).filter(|host| !host.is_empty());
        escape(out, host.or(self.facts.vars.key(Key::ServerName)).unwrap_or_default());
    }

    fn length(&self, out: &mut Vec<u8>) {
        let length = self.facts.vars.key(Key::ContentLength).filter(|length| !length.is_empty());
        escape(out, length.unwrap_or(b"0"));
    }

    fn seconds(&self, out: &mut Vec<u8>) {
        let micros = self.facts.micros;
        put(out, micros / 1_000_000);
        out.push(b'.');
        out.extend_from_slice(&thousandths(micros / 1000));
        out.extend_from_slice(&thousandths(micros));
    }

    fn ctime(&mut self, out: &mut Vec<u8>) {
        let second = self.times.second;
        out.extend_from_slice(self.times.ctime.get_or_insert_with(|| clock::ctime(second).into_bytes()));
    }

    fn ltime(&mut self, out: &mut Vec<u8>) {
        let second = self.times.second;
        out.extend_from_slice(self.times.ltime.get_or_insert_with(|| clock::strftime(LTIME, second)));
    }

    fn ftime(&mut self, out: &mut Vec<u8>) {
        let (second, format) = (self.times.second, self.ftime);
        out.extend_from_slice(self.times.ftime.get_or_insert_with(|| clock::strftime(format, second)));
    }
}

fn named<'f>(values: &'f [(Vec<u8>, Vec<u8>)], name: &[u8]) -> &'f [u8] {
    values.iter().find(|(known, _)| known == name).map_or(&[], |(_, value)| value)
}

impl Times {
    fn turn_to(&mut self, second: i64) {
        if self.second != second {
            *self = Self { second, ..Self::default() };
        }
    }

    /// Appends a time in microseconds since 1970 as RFC 3339 has it.
    pub(super) fn utc(&mut self, out: &mut Vec<u8>, time_us: u64) {
        self.turn_to((time_us / 1_000_000) as i64);
        let second = self.second;
        out.extend_from_slice(self.utc.get_or_insert_with(|| clock::utc(second)).as_bytes());
        out.push(b'.');
        out.extend_from_slice(&thousandths(time_us / 1000));
        out.push(b'Z');
    }
}

/// The last three digits of a number.
pub(super) fn thousandths(number: u64) -> [u8; 3] {
    let digit = |by: u64| b'0' + (number / by % 10) as u8;
    [digit(100), digit(10), digit(1)]
}

impl Cgi {
    /// A variable by its name.
    pub(super) fn new(name: &[u8]) -> Self {
        let key = Key::ALL.into_iter().find(|key| key.name().as_bytes() == name);
        Self { name: name.to_owned(), key }
    }

    /// Its value in a request; of a field that came several times all, as the application sees them.
    pub(super) fn of<'v>(&self, vars: &'v Vars) -> Option<Cow<'v, [u8]>> {
        match self.key {
            Some(key) => vars.key(key).map(Cow::Borrowed),
            None => fields(vars, &self.name),
        }
    }
}

fn fields<'v>(vars: &'v Vars, name: &[u8]) -> Option<Cow<'v, [u8]>> {
    let same = |(known, _): &(Name<'_>, &[u8])| match known {
        Name::Cgi(known) => *known == name,
        Name::Field(known) => name.strip_prefix(b"HTTP_").is_some_and(|name| is_field(known, name)),
    };
    let mut values = vars.others().filter(same).map(|(_, value)| value);
    let first = Cow::Borrowed(values.next()?);
    Some(values.fold(first, |all, value| Cow::Owned([&all, value].join(&b", "[..]))))
}

/// `User-Agent` is `USER_AGENT`.
fn is_field(field: &[u8], name: &[u8]) -> bool {
    let letter = |byte: &u8| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
    field.len() == name.len() && field.iter().map(letter).eq(name.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::{config, facts};
    use crate::response::Sent;

    fn line(options: &[(&str, &str)], format: &str, facts: &Facts<'_>) -> String {
        let mut line = Vec::new();
        Format::compile(format, &config(options).logging).write(&mut line, facts, &mut Times::default());
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn each_variable_has_its_value() {
        let mut vars = Vars::default();
        vars.set(Key::RequestMethod, b"POST");
        vars.set(Key::RequestUri, b"/a?b\n");
        vars.set(Key::ServerProtocol, b"HTTP/1.1");
        vars.set(Key::RemoteAddr, b"192.0.2.1");
        vars.set(Key::ServerName, b"here");
        vars.set(Key::ContentLength, b"3");
        for (name, value) in [("User-Agent", "ua\u{1b}"), ("Referer", "http://ref/"), ("X-Y", "1"), ("x-y", "2")] {
            let (name, value) = (vars.add(name.as_bytes()), vars.add(value.as_bytes()));
            vars.push_field(name, value);
        }
        let (name, value) = (vars.add(b"DOCUMENT_ROOT"), vars.add(b"/srv"));
        vars.push_cgi(name, value);
        let sent = Sent { status: 404, fields: 2, head_bytes: 53, body_bytes: 5, write_errors: 1, ..Sent::default() };
        let logvars = [(b"shop".to_vec(), b"a\nb".to_vec()), (b"uri".to_vec(), b"not this".to_vec())];
        let began_us = 1_795_305_599_012_345;
        let facts = Facts {
            logvars: &logvars,
            modifiers: (30, 1),
            micros: 2_001_875,
            began_us,
            read_errors: 1,
            ..facts(&vars, &sent)
        };
        for (variable, value) in [
            ("uri", "/a?b\\x0a"),
            ("method", "POST"),
            ("user", "-"),
            ("addr", "192.0.2.1"),
            ("host", "here"),
            ("proto", "HTTP/1.1"),
            ("uagent", "ua\\x1b"),
            ("referer", "http://ref/"),
            ("status", "404"),
            ("rsize", "5"),
            ("hsize", "53"),
            ("size", "58"),
            ("cl", "3"),
            ("micros", "2001875"),
            ("msecs", "2001"),
            ("secs", "2.001875"),
            ("tmsecs", "1795305599012"),
            ("tmicros", "1795305599012345"),
            ("time", "1795305599"),
            ("pid", "7"),
            ("wid", "3"),
            ("switches", "0"),
            ("vars", "22"),
            ("core", "0"),
            ("modifier1", "30"),
            ("modifier2", "1"),
            ("headers", "2"),
            ("werr", "1"),
            ("rerr", "1"),
            ("ioerr", "2"),
            ("var.PATH_INFO", "-"),
            ("var.REQUEST_METHOD", "POST"),
            ("var.HTTP_X_Y", "1, 2"),
            ("var.DOCUMENT_ROOT", "/srv"),
            ("var.HTTP_DOCUMENT_ROOT", "-"),
            ("var.", "-"),
            ("metric.worker.1.requests", "0"),
            ("shop", "a\\x0ab"),
            ("nothing", "-"),
            ("", "-"),
        ] {
            assert_eq!(line(&[], &format!("%({variable})"), &facts), value, "{variable}");
        }
        let number = |variable: &str| line(&[], &format!("%({variable})"), &facts).parse::<u64>().unwrap();
        assert!(number("epoch") > 1_700_000_000 && number("pktsize") > 100);
        assert!(number("vsz") >= number("rss") && number("rss") > 100_000);
        assert!(number("vszM") >= number("rssM") && number("vszM") > 1);
    }

    #[test]
    fn times_are_those_of_the_beginning() {
        let (vars, sent) = (Vars::default(), Sent::default());
        let facts = Facts { began_us: 1_795_305_599_999_999, ..facts(&vars, &sent) };
        let second = 1_795_305_599;
        let text = |format: &std::ffi::CStr| String::from_utf8(clock::strftime(format, second)).unwrap();
        assert_eq!(line(&[], "%(ctime) %(ctime)", &facts), format!("{0} {0}", clock::ctime(second)));
        assert_eq!(line(&[], "%(ltime)", &facts), text(c"%d/%b/%Y:%H:%M:%S %z"));
        let (date, on) = (("log-date", "%Y-%m-%d,000"), ("log-format-strftime", "true"));
        assert_eq!(line(&[date, on], "%(ftime)", &facts), text(c"%Y-%m-%d,000"));
        for other in [&[date][..], &[on], &[on, ("log-date", "true")]] {
            assert_eq!(line(other, "%(ftime)", &facts), text(LTIME), "{other:?}");
        }
        let mut times = Times::default();
        let format = Format::compile("%(ctime)", &config(&[]).logging);
        let mut shown = |began_us| {
            let mut line = Vec::new();
            format.write(&mut line, &Facts { began_us, address: b""[..].into(), ..facts }, &mut times);
            line
        };
        assert_ne!(shown(1_000_000), shown(2_000_000));
    }

    #[test]
    fn an_object_stays_one_whatever_the_values_are() {
        let mut vars = Vars::default();
        vars.set(Key::RequestUri, b"/\"a\\b\x1b");
        let sent = Sent::default();
        let shown = line(&[], "{\"uri\": \"%(uri)\", \"none\": \"%(nothing)\"}", &facts(&vars, &sent));
        let parsed: serde_json::Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(parsed["uri"], "/\"a\\b\\x1b");
        assert_eq!(line(&[], "%(uri)", &facts(&vars, &sent)), "/\"a\\b\\x1b", "text is as it was");
    }

    #[test]
    fn what_is_no_variable_is_text() {
        let (vars, sent) = (Vars::default(), Sent::default());
        let facts = facts(&vars, &sent);
        for (format, shown) in [
            ("", ""),
            ("plain 100% %d", "plain 100% %d"),
            ("%(pid)%(pid)", "77"),
            ("a%(pid)b%(wid)c", "a7b3c"),
            ("%(pid", "%(pid"),
            ("%(pid) %(", "7 %("),
            ("{\"pid\":%(pid)}", "{\"pid\":7}"),
            ("caf\u{e9}\t%(pid)", "caf\u{e9}\t7"),
        ] {
            assert_eq!(line(&[], format, &facts), shown, "{format}");
        }
    }

    #[test]
    fn no_format_makes_it_panic() {
        let (vars, sent) = (Vars::default(), Sent::default());
        let facts = facts(&vars, &sent);
        let parts = ["%", "(", ")", "%(", "pid", "var.", "metric.", "x", "\u{e9}"];
        for seed in 0..5_000_usize {
            let format: String = (0..6).map(|place| parts[(seed / parts.len().pow(place)) % parts.len()]).collect();
            let _ = line(&[], &format, &facts);
        }
    }
}
