//! Encoders: what is made of a line, newline included, before a logger gets it. As in uWSGI, each one takes what the one
//! before it has made, and a newline is there only if one of them leaves or adds it.

use std::ffi::CString;

use ruwsgi_options::EncoderSaid;
use ruwsgi_sys::clock;

pub(super) struct Encoder {
    id: Option<String>,
    shape: Shape,
}

enum Shape {
    Prefix(String),
    Suffix(String),
    Newline,
    /// The parts; in JSON, what is put in is escaped as the inside of a string.
    Parts {
        parts: Vec<Part>,
        json: bool,
    },
}

enum Part {
    Text(String),
    Line,
    LineWithNewline,
    Seconds,
    Micros,
    Millis,
    Time(CString),
}

impl Encoder {
    pub(super) fn of(said: &EncoderSaid) -> Self {
        let text = said.arguments.clone();
        let shape = match said.name {
            "prefix" => Shape::Prefix(text),
            "suffix" => Shape::Suffix(text),
            "nl" => Shape::Newline,
            name => Shape::Parts { parts: parts(&text), json: name == "json" },
        };
        Self { id: said.id.clone(), shape }
    }

    /// It is for all loggers, or for the one with this id.
    pub(super) fn is_for(&self, id: Option<&str>) -> bool {
        self.id.is_none() || self.id.as_deref() == id
    }

    pub(super) fn encode(&self, line: &[u8]) -> Vec<u8> {
        match &self.shape {
            Shape::Prefix(text) => [text.as_bytes(), line].concat(),
            Shape::Suffix(text) => [line, text.as_bytes()].concat(),
            Shape::Newline => [line, b"\n"].concat(),
            Shape::Parts { parts, json } => fill(parts, *json, line),
        }
    }
}

/// `${NAME}` is a part; a name that nobody knows is nothing, as in uWSGI.
fn parts(text: &str) -> Vec<Part> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((before, (name, behind))) =
        rest.split_once("${").and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        parts.push(Part::Text(before.to_owned()));
        parts.extend(part(name));
        rest = behind;
    }
    parts.push(Part::Text(rest.to_owned()));
    parts
}

fn part(name: &str) -> Option<Part> {
    Some(match name {
        "msg" => Part::Line,
        "msgnl" => Part::LineWithNewline,
        "unix" => Part::Seconds,
        "micros" => Part::Micros,
        "millis" => Part::Millis,
        _ => Part::Time(CString::new(name.strip_prefix("strftime:")?).ok()?),
    })
}

fn fill(parts: &[Part], json: bool, line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len() + 64);
    let now_us = clock::unix_us();
    for part in parts {
        let mut put = |text: &[u8]| if json { escape(&mut out, text) } else { out.extend_from_slice(text) };
        match part {
            Part::Text(text) => out.extend_from_slice(text.as_bytes()),
            Part::Line => put(line.strip_suffix(b"\n").unwrap_or(line)),
            Part::LineWithNewline => put(line),
            Part::Seconds => put((now_us / 1_000_000).to_string().as_bytes()),
            Part::Micros => put(now_us.to_string().as_bytes()),
            Part::Millis => put((now_us / 1000).to_string().as_bytes()),
            Part::Time(format) => put(&clock::strftime(format, clock::unix_seconds())),
        }
    }
    out
}

/// The inside of a JSON string, whatever the bytes are.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    let quoted = serde_json::to_string(&String::from_utf8_lossy(text)).unwrap_or_default();
    out.extend_from_slice(quoted.as_bytes().get(1..quoted.len().saturating_sub(1)).unwrap_or_default());
}
