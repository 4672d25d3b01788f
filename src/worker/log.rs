//! What is written about a request: whether, and in which words.
//!
//! `turn.rs` asks when a request is over. A line is made in a buffer of its core and never waits for anybody; where it
//! goes is the affair of `ruwsgi_log`.

mod filter;
mod format;
mod json;
mod line;

use std::borrow::Cow;

use ruwsgi_options::Config;
use ruwsgi_sys::{clock, process};
use ruwsgi_wire::Vars;

use self::filter::Filter;
pub(crate) use self::format::Times;
use self::format::{Cgi, Format};
use self::json::Json;
use crate::response::Sent;

/// What the options say about request lines.
pub(crate) struct RequestLog {
    filter: Filter,
    shape: Shape,
    in_micros: bool,
    /// uWSGI's own line begins with the memory of the worker.
    memory: bool,
    /// The field whose value stands for the address of the client, if a proxy that is trusted has sent it.
    forwarded: Option<Cgi>,
}

/// What a line looks like.
enum Shape {
    /// As uWSGI's own.
    Own,
    Format(Format),
    Json(Box<Json>),
}

/// A request that is over.
pub(crate) struct Facts<'f> {
    pub vars: &'f Vars,
    pub sent: &'f Sent,
    /// What the application has said about it.
    pub logvars: &'f [(Vec<u8>, Vec<u8>)],
    /// Fields of its response that are variables of it.
    pub collected: &'f [(Vec<u8>, Vec<u8>)],
    /// The address of the client, as far as it can be believed.
    pub address: Cow<'f, [u8]>,
    pub modifiers: (u8, u8),
    pub pid: u32,
    /// The number of the worker.
    pub slot: u32,
    pub core: usize,
    /// Requests that the application of this worker has answered, with this one. `None`: this one was not for it.
    pub requests: Option<u64>,
    /// Requests of the instance, with this one.
    pub total: u64,
    /// When it began, in microseconds since 1970; 0 where no line shows it.
    pub began_us: u64,
    /// How long it took.
    pub micros: u64,
    /// Its body could not be read to the end.
    pub read_errors: u32,
}

impl RequestLog {
    /// From the options; `None`: no request ever has a line.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let logging = &config.logging;
        Some(Self {
            filter: Filter::of(logging)?,
            shape: match logging.log_format.as_deref() {
                None => Shape::Own,
                Some("json") => Shape::Json(Box::new(Json::new(config.stats.memory_report))),
                Some(text) => Shape::Format(Format::compile(text, logging)),
            },
            in_micros: logging.log_micros,
            memory: config.stats.memory_report,
            forwarded: logging.log_x_forwarded_for.then(|| Cgi::new(b"HTTP_X_FORWARDED_FOR")),
        })
    }

    /// The time for a request that begins, in microseconds since 1970; 0 where no line shows it.
    pub(crate) fn time_us(&self) -> u64 {
        if matches!(self.shape, Shape::Own) { 0 } else { clock::unix_us() }
    }

    /// What the client is said to be behind a proxy; `None`: nobody says so, or nobody wants to know.
    pub(crate) fn forwarded<'v>(&self, vars: &'v Vars) -> Option<Cow<'v, [u8]>> {
        self.forwarded.as_ref()?.of(vars).filter(|address| !address.is_empty())
    }

    /// Makes the line of a request; `false`: it has none.
    pub(crate) fn write(&self, line: &mut Vec<u8>, facts: &Facts<'_>, times: &mut Times, ctime: &str) -> bool {
        if !self.filter.wants(facts.sent, facts.micros, facts.read_errors) {
            return false;
        }
        line.clear();
        match &self.shape {
            Shape::Format(format) => format.write(line, facts, times),
            Shape::Json(json) => json.write(line, facts, times),
            Shape::Own => {
                if self.memory {
                    line::write_memory(line, process::memory());
                }
                line::write(line, facts, ctime, self.in_micros);
            }
        }
        line.push(b'\n');
        true
    }
}

impl Facts<'_> {
    /// As uWSGI counts variables: names and values, and two bytes of length before each.
    fn variables(&self) -> (usize, usize) {
        let count = self.vars.count();
        (count * 2, self.vars.size() + 4 * count)
    }
}

/// What a client or an application has chosen never moves a terminal or begins another line: control characters, and
/// bytes that are no UTF-8, are written as `\x1b`.
fn escape(line: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text, [b'\n'; 2]) {
        return line.extend_from_slice(text);
    }
    for part in text.utf8_chunks() {
        for letter in part.valid().chars() {
            let mut bytes = [0; 4];
            let bytes = letter.encode_utf8(&mut bytes).as_bytes();
            if letter.is_control() { escape_bytes(line, bytes) } else { line.extend_from_slice(bytes) }
        }
        escape_bytes(line, part.invalid());
    }
}

/// Nothing but printable ASCII, and none of `except`. It looks at all of it, many bytes at a time: nearly always it is.
fn is_plain(text: &[u8], except: [u8; 2]) -> bool {
    text.iter().fold(true, |all, byte| all & matches!(byte, b' '..=b'~') & !except.contains(byte))
}

fn escape_bytes(line: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
        line.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::{Directive, Origin};
    use ruwsgi_wire::Key;

    /// A request that is over, and about which next to nothing is known.
    pub(super) fn facts<'f>(vars: &'f Vars, sent: &'f Sent) -> Facts<'f> {
        Facts {
            vars,
            sent,
            logvars: &[],
            collected: &[],
            address: vars.key(Key::RemoteAddr).unwrap_or_default().into(),
            modifiers: (0, 0),
            pid: 7,
            slot: 3,
            core: 0,
            requests: Some(1),
            total: 2,
            began_us: 0,
            micros: 1999,
            read_errors: 0,
        }
    }

    /// The options, as lines of a file.
    pub(super) fn config(lines: &[(&str, &str)]) -> Config {
        let directive = |(name, value): &(&str, &str)| Directive::new(*name, Some(value), Origin::Argv);
        Config::interpret(lines.iter().map(directive).collect()).unwrap().0
    }

    #[test]
    fn control_characters_and_broken_text_are_escaped() {
        let escaped = |text: &[u8]| {
            let mut line = Vec::new();
            escape(&mut line, text);
            String::from_utf8(line).unwrap()
        };
        for (text, shown) in [
            (&b"/a?b=\"c\" ~"[..], "/a?b=\"c\" ~"),
            (b"a\nb\x1b[2J\x7f\0", "a\\x0ab\\x1b[2J\\x7f\\x00"),
            ("caf\u{e9} \u{4e2d}".as_bytes(), "caf\u{e9} \u{4e2d}"),
            ("\u{85}\u{9b}2J".as_bytes(), "\\xc2\\x85\\xc2\\x9b2J"),
            (b"caf\xe9!\xff", "caf\\xe9!\\xff"),
        ] {
            assert_eq!(escaped(text), shown);
        }
    }

    #[test]
    fn the_address_behind_a_proxy_is_what_all_its_fields_say() {
        let mut vars = Vars::default();
        for address in ["192.0.2.1", "198.51.100.2"] {
            let (name, value) = (vars.add(b"X-Forwarded-For"), vars.add(address.as_bytes()));
            vars.push_field(name, value);
        }
        vars.set(Key::RemoteAddr, b"127.0.0.1");
        let log = RequestLog::of(&config(&[("log-x-forwarded-for", "true")])).unwrap();
        assert_eq!(log.forwarded(&vars).unwrap().as_ref(), b"192.0.2.1, 198.51.100.2");
        assert!(log.forwarded(&Vars::default()).is_none());
        assert!(RequestLog::of(&config(&[])).unwrap().forwarded(&vars).is_none());
    }
}
