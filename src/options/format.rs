//! The formats of files: each turns a text into the lines of one section. `gather` calls [`section`] with the text after
//! `magic`; nothing here knows options or files.

pub mod ini;
mod json;
mod xml;
mod yaml;

use std::borrow::Cow;

use bstr::{BStr, ByteSlice};

use crate::words::Format;

/// One line of the asked section.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Its number in the text, from 0.
    pub index: usize,
    /// The name.
    pub key: Cow<'a, [u8]>,
    /// The value; empty without one.
    pub value: Cow<'a, [u8]>,
}

/// What a text has for one section.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Section<'a> {
    /// Its lines. A section may be opened many times: all of them count.
    pub lines: Vec<Line<'a>>,
    /// Whether it was opened at all.
    pub found: bool,
    /// The names of all sections, in order, each once.
    pub names: Vec<Cow<'a, [u8]>>,
    /// What is passed over, and the number of its line from 0.
    pub notes: Vec<(usize, String)>,
}

/// Why a text can't be read, and the number of the line from 0.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The line.
    pub index: usize,
    /// What is wrong.
    pub problem: String,
}

/// Reads one section: the one that was asked for, or the usual one where none was.
pub fn section<'a>(format: Format, text: &'a [u8], asked: &BStr, usual: &str) -> Result<Section<'a>, Malformed> {
    let wanted = if asked.is_empty() { usual.as_bytes() } else { asked };
    if format == Format::Ini {
        return Ok(ini::section(text, wanted));
    }
    let text = std::str::from_utf8(text).map_err(|error| {
        let index = text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        Malformed { index, problem: "this is not UTF-8".into() }
    })?;
    let wanted = wanted.to_str_lossy();
    match format {
        Format::Yaml => yaml::section(text, &wanted),
        Format::Json => json::section(text, &wanted),
        Format::Xml => xml::section(text, &asked.to_str_lossy()),
        Format::Ini => unreachable!("read above"),
    }
}

/// The numbers of lines in a text, asked for from front to back.
struct Numbers<'a> {
    text: &'a [u8],
    at: usize,
    line: usize,
}

impl<'a> Numbers<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 0 }
    }

    /// The line of this byte, from 0.
    fn line_at(&mut self, at: usize) -> usize {
        if let Some(between) = self.text.get(self.at..at) {
            self.line += between.iter().filter(|byte| **byte == b'\n').count();
            self.at = at;
        }
        self.line
    }

    /// The line of a part of the text.
    fn line_of(&mut self, part: &[u8]) -> usize {
        self.line_at((part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize))
    }
}

/// A text has no NUL byte; where it has one, the number of the line, from 1, and what to say.
pub fn is_text(bytes: &[u8]) -> Result<(), (u32, String)> {
    let Some(at) = bytes.find_byte(0) else { return Ok(()) };
    let line = bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    let problem = match bytes {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "this is UTF-16: save it as UTF-8",
        _ => "a NUL byte: this is no text",
    };
    Err((line, problem.into()))
}
