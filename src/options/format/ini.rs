//! The INI dialect of uWSGI, which is like no other: no quotes, no comments behind a value, no continued lines, a bare
//! key has an empty value, and a section's name is its line without the first and the last character.
//!
//! `format` calls it with the text of a file after `magic`. It knows neither options nor files.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{Line, Section};

/// Reads the lines of one section. What stands before the first section belongs to the section without a name.
pub fn section<'a>(text: &'a [u8], asked: &[u8]) -> Section<'a> {
    // uWSGI takes the mark that some editors put first for a part of the first line, and so misses the section.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut section = Section { found: asked.is_empty(), ..Section::default() };
    let mut names = HashSet::new();
    let mut current: &[u8] = b"";
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let line = strip_start(strip_end(line));
        match line.first() {
            None | Some(b';' | b'#') => {}
            Some(b'[') => {
                current = line.get(1..line.len() - 1).unwrap_or_default();
                section.found |= current == asked;
                if names.insert(current) {
                    section.names.push(Cow::Borrowed(current));
                }
            }
            Some(_) if current == asked => {
                let (key, value) = match line.iter().position(|byte| *byte == b'=') {
                    Some(at) => (strip_end(&line[..at]), strip_start(&line[at + 1..])),
                    None => (line, &b""[..]),
                };
                section.lines.push(Line { index, key: Cow::Borrowed(key), value: Cow::Borrowed(value) });
            }
            Some(_) => {}
        }
    }
    section
}

/// Blanks, tabs and carriage returns are nothing at both ends.
fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

fn strip_start(text: &[u8]) -> &[u8] {
    &text[text.iter().position(|byte| !is_blank(byte)).unwrap_or(text.len())..]
}

fn strip_end(text: &[u8]) -> &[u8] {
    &text[..text.iter().rposition(|byte| !is_blank(byte)).map_or(0, |last| last + 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// `key=value` of each line.
    fn lines(text: &str) -> Vec<String> {
        lines_of(text, "uwsgi")
    }

    fn lines_of(text: &str, asked: &str) -> Vec<String> {
        let show = |line: &Line<'_>| {
            format!("{}={}", String::from_utf8_lossy(&line.key), String::from_utf8_lossy(&line.value))
        };
        section(text.as_bytes(), asked.as_bytes()).lines.iter().map(show).collect()
    }

    #[test]
    fn keys_and_values_lose_the_blanks_around_them() {
        assert_eq!(lines("[uwsgi]\n\t  a \t=\t b c \r\nd=e\n"), ["a=b c", "d=e"]);
    }

    #[test]
    fn the_first_equals_sign_counts() {
        assert_eq!(lines("[uwsgi]\nenv = A=B=C\na ==b\n= c\n"), ["env=A=B=C", "a==b", "=c"]);
    }

    #[test]
    fn a_bare_key_has_an_empty_value_and_does_not_swallow_the_next_line() {
        assert_eq!(lines("[uwsgi]\nmaster\nprocesses = 4\n"), ["master=", "processes=4"]);
    }

    #[test]
    fn a_colon_is_part_of_a_key() {
        assert_eq!(lines("[uwsgi]\nroute: x = y\nhttp-socket: 80\n"), ["route: x=y", "http-socket: 80="]);
    }

    #[test]
    fn comments_are_whole_lines() {
        assert_eq!(lines("; no\n[uwsgi]\n# no\n  ; no\na = 1 ; yes\nb = 2 # yes\n"), ["a=1 ; yes", "b=2 # yes"]);
    }

    #[test]
    fn quotes_and_backslashes_are_text() {
        assert_eq!(lines("[uwsgi]\na = \"b\"\nc = d\\\ne = f\n"), ["a=\"b\"", "c=d\\", "e=f"]);
    }

    #[test]
    fn keys_keep_their_case() {
        assert_eq!(lines("[uwsgi]\nMaster = 1\n"), ["Master=1"]);
        assert_eq!(lines("[UWSGI]\nmaster = 1\n"), [""; 0]);
    }

    #[test]
    fn a_section_is_its_line_without_the_last_character_whatever_that_is() {
        assert_eq!(lines("[uwsgi]\na=1\n[uwsgix\nb=2\n[uwsgi]x\nc=3\n[ uwsgi ]\nd=4\n"), ["a=1", "b=2"]);
        assert_eq!(lines_of("[uwsgi] ; web\na=1\n", "uwsgi] ; we"), ["a=1"]);
        assert_eq!(lines_of("[\na=1\n", ""), ["a=1"]);
    }

    #[test]
    fn a_section_may_be_opened_again() {
        assert_eq!(lines("[uwsgi]\na=1\n[other]\nb=2\n[uwsgi]\na=3\n"), ["a=1", "a=3"]);
    }

    #[test]
    fn what_stands_before_any_section_has_none() {
        assert_eq!(lines("a=1\n[uwsgi]\nb=2\n"), ["b=2"]);
        assert_eq!(lines_of("a=1\n[uwsgi]\nb=2\n", ""), ["a=1"]);
    }

    #[test]
    fn a_missing_section_is_known_as_missing() {
        let text = b"[a]\n[uwsgi]\nx=1\n[a]\n";
        assert!(section(text, b"uwsgi").found);
        let missing = section(text, b"web");
        assert!(!missing.found && missing.lines.is_empty());
        assert_eq!(missing.names, [&b"a"[..], b"uwsgi"].map(Cow::Borrowed));
        assert!(section(b"[uwsgi]", b"uwsgi").found, "an empty one is there");
    }

    #[test]
    fn lines_know_their_number() {
        let indices: Vec<usize> =
            section(b"[uwsgi]\n\na\n#\r\nb=1", b"uwsgi").lines.iter().map(|line| line.index).collect();
        assert_eq!(indices, [2, 4]);
    }

    #[test]
    fn a_byte_order_mark_is_nothing() {
        assert_eq!(lines("\u{feff}[uwsgi]\na=1\n"), ["a=1"]);
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut random = Random::new(7);
        let bytes = b"[]=;#% \t\r\n\nab\xff\0[uwsgi]";
        for _ in 0..20_000 {
            let text: Vec<u8> = (0..random.below(60)).map(|_| *random.pick(bytes)).collect();
            let read = section(&text, b"uwsgi");
            assert!(read.lines.iter().all(|line| !line.key.contains(&b'\n') && !line.value.contains(&b'\n')));
        }
    }
}
