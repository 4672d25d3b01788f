//! YAML: a mapping of the document that has the section's name. Scalars are values, as they are written; a sequence says
//! its name again and again.
//!
//! `format` calls [`section`]. uWSGI's usual build reads YAML line by line and so accepts files that are none (templates
//! with `{{ }}`): they are read like that here, too, with a note.

use std::borrow::Cow;

use bstr::ByteSlice;
use saphyr_parser::{Event, Parser, ScalarStyle, ScanError};

use super::{Line, Malformed, Section};

/// Reads one mapping of the first document.
pub fn section<'a>(text: &'a str, asked: &str) -> Result<Section<'a>, Malformed> {
    let error = match events(text, asked) {
        Ok(section) => return Ok(section),
        Err(error) => error,
    };
    let index = error.marker().line().saturating_sub(1);
    let mut section = lines(text, asked);
    if section.lines.is_empty() {
        return Err(Malformed { index, problem: format!("this is no YAML: {}", error.info()) });
    }
    section.notes.push((index, format!("this is no YAML ({}): read line by line", error.info())));
    Ok(section)
}

/// Where the events are: collections that are open, the outermost first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A mapping that is the document, or a sequence in it.
    Outside,
    /// The mapping of the section: between its pairs.
    Inside,
    /// A sequence of values inside of it.
    Values,
    /// Something that is no value.
    Beyond,
}

struct Walk<'a> {
    section: Section<'a>,
    open: Vec<Place>,
    /// The name that waits for its value, at each level.
    keys: Vec<Option<Cow<'a, str>>>,
    /// The line of the last name.
    line: usize,
}

fn events<'a>(text: &'a str, asked: &str) -> Result<Section<'a>, ScanError> {
    let mut walk = Walk { section: Section::default(), open: Vec::new(), keys: Vec::new(), line: 0 };
    for event in Parser::new_from_str(text) {
        let (event, span) = event?;
        let index = span.start.line().saturating_sub(1);
        match event {
            Event::MappingStart(..) => walk.open(index, true, asked),
            Event::SequenceStart(..) => walk.open(index, false, asked),
            Event::MappingEnd | Event::SequenceEnd => walk.close(),
            // What an anchor named: no value of its own.
            Event::Alias(_) => walk.value(index, None, asked),
            // A plain nothing is no token for uWSGI, a quoted one is an empty value.
            Event::Scalar(text, style, ..) => {
                let nothing = style == ScalarStyle::Plain && span.start.index() == span.end.index();
                walk.value(index, Some(text).filter(|_| !nothing), asked);
            }
            Event::DocumentEnd => break,
            _ => {}
        }
    }
    Ok(walk.section)
}

impl<'a> Walk<'a> {
    fn open(&mut self, index: usize, mapping: bool, asked: &str) {
        let key = self.keys.last().and_then(|key| key.as_deref());
        let place = match self.open.last() {
            None => Place::Outside,
            Some(Place::Outside) if key == Some(asked) => {
                self.section.found = true;
                if mapping { Place::Inside } else { Place::Outside }
            }
            Some(Place::Inside) if !mapping && key.is_some() => Place::Values,
            // A list of mappings is one mapping, as it is for uWSGI.
            Some(Place::Outside) if mapping && self.is_asked(asked) => Place::Inside,
            Some(place) => {
                if matches!(place, Place::Inside | Place::Values) {
                    let key = self.pending();
                    self.section.notes.push((index, format!("{key}: what it holds is no value, and passed over")));
                }
                Place::Beyond
            }
        };
        self.open.push(place);
        self.keys.push(None);
    }

    /// Whether this is a sequence under the section's name.
    fn is_asked(&self, asked: &str) -> bool {
        self.keys.iter().any(|key| key.as_deref() == Some(asked))
    }

    fn pending(&self) -> String {
        self.keys.iter().rev().find_map(Clone::clone).unwrap_or_default().into_owned()
    }

    fn close(&mut self) {
        self.open.pop();
        self.keys.pop();
        // What was open is the value of the name before it.
        if self.open.last() != Some(&Place::Values)
            && let Some(key) = self.keys.last_mut()
        {
            *key = None;
        }
    }

    fn value(&mut self, index: usize, text: Option<Cow<'a, str>>, asked: &str) {
        let Some(place) = self.open.last().copied() else { return };
        let level = self.keys.len() - 1;
        match place {
            Place::Values => {
                let key = self.keys[level - 1].clone().unwrap_or_default();
                self.say(index, key, text);
            }
            Place::Outside | Place::Inside if self.keys[level].is_none() => {
                let text = text.unwrap_or_default();
                if place == Place::Outside && !self.section.names.iter().any(|name| **name == *text.as_bytes()) {
                    self.section.names.push(bytes(text.clone()));
                }
                self.keys[level] = Some(text);
                self.line = index;
            }
            Place::Inside => {
                let key = self.keys[level].take().unwrap_or_default();
                self.say(self.line, key, text);
            }
            Place::Outside => {
                let key = self.keys[level].take();
                self.section.found |= key.as_deref() == Some(asked);
            }
            Place::Beyond => {}
        }
    }

    fn say(&mut self, index: usize, key: Cow<'a, str>, text: Option<Cow<'a, str>>) {
        match text {
            Some(text) => self.section.lines.push(Line { index, key: bytes(key), value: bytes(text) }),
            None => self.section.notes.push((index, format!("{key}: it has no value, and is passed over"))),
        }
    }
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// As uWSGI's usual build reads it: `#` ends a line wherever it stands, the section ends where the indentation does, and a
/// value stands behind a colon and a blank.
fn lines<'a>(text: &'a str, asked: &str) -> Section<'a> {
    let mut section = Section::default();
    let mut depth = 0;
    for (index, line) in text.as_bytes().split(|byte| *byte == b'\n').enumerate() {
        let line = line.split(|byte| *byte == b'#').next().unwrap_or_default();
        let begin = line.iter().position(|byte| !b" \t\r".contains(byte));
        let Some(begin) = begin else { continue };
        let indent = line[..begin].iter().map(|byte| if *byte == b' ' { 1 } else { 8 }).sum::<usize>();
        if indent <= depth {
            depth = indent;
            if section.found {
                break;
            }
        } else if !section.found {
            continue;
        }
        let line = &line[begin..];
        if b"-[{".contains(&line[0]) {
            if section.found {
                break;
            }
            continue;
        }
        if !section.found {
            let name = line.split(|byte| *byte == b':').next().filter(|name| name.len() < line.len());
            section.found = name == Some(asked.as_bytes());
            continue;
        }
        let Some((key, value)) = line.split_once_str(": ").or_else(|| line.split_once_str(":\t")) else { break };
        let trim = |text: &'a [u8]| text.trim_with(|mark| " \t\r".contains(mark));
        section.lines.push(Line { index, key: Cow::Borrowed(trim(key)), value: Cow::Borrowed(trim(value)) });
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, asked: &str) -> (Vec<String>, Vec<String>) {
        let section = section(text, asked).expect("YAML");
        let show = |line: &Line<'_>| format!("{}:{}={}", line.index + 1, line.key.as_bstr(), line.value.as_bstr());
        let notes = section.notes.iter().map(|(index, note)| format!("{}: {note}", index + 1)).collect();
        (section.lines.iter().map(show).collect(), notes)
    }

    fn values(text: &str) -> Vec<String> {
        let (lines, notes) = read(text, "uwsgi");
        assert_eq!(notes, [""; 0]);
        lines
    }

    #[test]
    fn scalars_are_values_as_they_are_written() {
        let text =
            "# c\nuwsgi:\n  socket: '/tmp/a b' # c\n  master: true\n  x: \"\"\n  n: 0x10\n  t: |\n    a\n    b\n";
        assert_eq!(values(text), ["3:socket=/tmp/a b", "4:master=true", "5:x=", "6:n=0x10", "7:t=a\nb\n"]);
    }

    #[test]
    fn sequences_say_their_name_again() {
        assert_eq!(
            values("uwsgi:\n  env:\n  - A=1\n  - B=2\n  x: [c, d]\n"),
            ["3:env=A=1", "4:env=B=2", "5:x=c", "5:x=d"]
        );
        assert_eq!(values("uwsgi:\n- a: 1\n  b: 2\n- c: 3\n"), ["2:a=1", "3:b=2", "4:c=3"]);
    }

    #[test]
    fn other_mappings_are_other_sections() {
        let text = "a: 1\nuwsgi:\n  x: 1\nweb:\n  x: 2\nlast: {uwsgi: {x: 3}}\n";
        assert_eq!(values(text), ["3:x=1"]);
        assert_eq!(read(text, "web").0, ["5:x=2"]);
        let missing = section(text, "nope").expect("YAML");
        assert!(!missing.found && missing.lines.is_empty());
        assert_eq!(
            missing.names.iter().map(|name| name.as_bstr().to_string()).collect::<Vec<_>>(),
            ["a", "uwsgi", "web", "last"]
        );
        assert!(section("uwsgi:\n", "uwsgi").expect("YAML").found);
        assert!(!section("", "uwsgi").expect("YAML").found);
    }

    #[test]
    fn what_is_no_value_is_told() {
        let (lines, notes) = read("uwsgi:\n  a: {b: c}\n  d:\n  e: &x 1\n  f: *x\n  g: 2\n", "uwsgi");
        assert_eq!(lines, ["4:e=1", "6:g=2"]);
        assert_eq!(notes.len(), 3, "{notes:?}");
        assert_eq!(notes[0], "2: a: what it holds is no value, and passed over");
        assert_eq!(notes[1], "3: d: it has no value, and is passed over");
    }

    #[test]
    fn a_template_is_read_line_by_line() {
        let (lines, notes) = read("uwsgi:\n  chdir: {{ dir }}/code # c\n  processes: 4\nother:\n  x: 1\n", "uwsgi");
        assert_eq!(lines, ["2:chdir={{ dir }}/code", "3:processes=4"]);
        assert!(notes[0].contains("this is no YAML"), "{notes:?}");
    }

    #[test]
    fn nonsense_has_a_line() {
        let error = section("a: 1\n\t- : [\n", "uwsgi").expect_err("an error");
        assert!(error.index <= 1 && error.problem.starts_with("this is no YAML: "), "{error:?}");
    }
}
