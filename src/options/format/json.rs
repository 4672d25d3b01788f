//! JSON: an object of the document that has the section's name. An array says its name again and again; `true` is 1,
//! `false` and `null` are 0.
//!
//! `format` calls [`section`]. By serde_json, whose raw values tell where they stand.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Line, Malformed, Numbers, Section};

/// The pairs of an object in their order, those that come twice too.
struct Pairs<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

struct Collect;

impl<'de> Visitor<'de> for Collect {
    type Value = Pairs<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            pairs.push((Cow::Owned(name), value));
        }
        Ok(Pairs(pairs))
    }
}

fn pairs(text: &str) -> Result<Pairs<'_>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let pairs = reader.deserialize_map(Collect)?;
    reader.end()?;
    Ok(pairs)
}

/// Reads one object. As in uWSGI it has to be there.
pub fn section<'a>(text: &'a str, asked: &str) -> Result<Section<'a>, Malformed> {
    let text = text.trim_start_matches('\u{feff}');
    let broken = |error: serde_json::Error| {
        // What the library adds of lines and columns is told as the place.
        let why = error.to_string();
        let why = why.rsplit_once(" at line").map_or(why.as_str(), |(why, _)| why);
        Malformed { index: error.line().saturating_sub(1), problem: format!("this is no JSON: {why}") }
    };
    let mut numbers = Numbers::new(text.as_bytes());
    let all = pairs(text).map_err(broken)?;
    let found = all.0.iter().rev().find(|(name, value)| name == asked && value.get().starts_with('{'));
    let Some((_, object)) = found else {
        let names: Vec<&str> = all.0.iter().map(|(name, _)| &**name).collect();
        let names = if names.is_empty() { "nothing".into() } else { names.join(", ") };
        return Err(Malformed { index: 0, problem: format!("there is no object {asked:?}, only {names}") });
    };
    let mut section = Section { found: true, ..Section::default() };
    for (name, value) in pairs(object.get()).map_err(broken)?.0 {
        let index = numbers.line_of(value.get().as_bytes());
        let elements = if value.get().starts_with('[') {
            serde_json::from_str::<Vec<&RawValue>>(value.get()).map_err(broken)?
        } else {
            vec![value]
        };
        for element in elements {
            match scalar(element) {
                Some(value) => {
                    section.lines.push(Line {
                        index,
                        key: Cow::Owned(name.clone().into_owned().into()),
                        value: Cow::Owned(value),
                    });
                }
                None => section.notes.push((index, format!("{name}: what it holds is no value, and passed over"))),
            }
        }
    }
    Ok(section)
}

fn scalar(value: &RawValue) -> Option<Vec<u8>> {
    let text = value.get();
    Some(match text.as_bytes().first()? {
        b't' => b"1".to_vec(),
        b'f' | b'n' => b"0".to_vec(),
        b'"' => serde_json::from_str::<String>(text).ok()?.into_bytes(),
        b'{' | b'[' => return None,
        _ => text.as_bytes().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::ByteSlice;

    fn values(text: &str, asked: &str) -> Vec<String> {
        let section = section(text, asked).expect("JSON");
        let show = |line: &Line<'_>| format!("{}:{}={}", line.index + 1, line.key.as_bstr(), line.value.as_bstr());
        section.lines.iter().map(show).collect()
    }

    #[test]
    fn values_are_what_uwsgi_makes_of_them() {
        let text = "{\"uwsgi\": {\n\"a\": \"x\\u00e9\",\n\"b\": true, \"c\": false,\n\"d\": null, \"e\": 12, \"f\": 1.5,\n\"g\": [1, \"y\", true]}}";
        let wanted = ["2:a=x\u{e9}", "3:b=1", "3:c=0", "4:d=0", "4:e=12", "4:f=1.5", "5:g=1", "5:g=y", "5:g=1"];
        assert_eq!(values(text, "uwsgi"), wanted);
    }

    #[test]
    fn names_may_come_twice_and_objects_are_sections() {
        let text = "{\"web\": {\"a\": 1}, \"uwsgi\": {\"a\": 1, \"a\": 2, \"b\": {\"c\": 1}}}";
        assert_eq!(values(text, "uwsgi"), ["1:a=1", "1:a=2"]);
        assert_eq!(values(text, "web"), ["1:a=1"]);
        assert_eq!(section(text, "uwsgi").expect("JSON").notes.len(), 1);
    }

    #[test]
    fn what_is_missing_or_broken_has_a_line() {
        let error = |text| section(text, "uwsgi").expect_err("an error");
        assert_eq!(error("{\"web\": {}}").problem, "there is no object \"uwsgi\", only web");
        assert_eq!(error("{\"uwsgi\": 1}").problem, "there is no object \"uwsgi\", only uwsgi");
        let broken = error("{\n\"uwsgi\": {\n\"a\": }\n}");
        assert_eq!((broken.index, broken.problem.as_str()), (2, "this is no JSON: expected value"));
        assert!(error("{} x").problem.contains("trailing"));
        assert!(error(&"[".repeat(100_000)).problem.contains("no JSON"));
    }
}
