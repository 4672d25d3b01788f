//! XML: `<uwsgi>` is the root or stands in it; `<processes>4</processes>` is a value, `<master/>` is 1.
//!
//! `format` calls [`section`]. By roxmltree, which opens no file and expands no bomb of entities.

use std::borrow::Cow;

use roxmltree::{Document, Node, NodeType, ParsingOptions};

use super::{Line, Malformed, Numbers, Section};

/// Reads `<uwsgi>`. With an id, elements that have another one are passed over.
pub fn section<'a>(text: &'a str, id: &str) -> Result<Section<'a>, Malformed> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(|error| {
        let index = (error.pos().row as usize).saturating_sub(1);
        let why = error.to_string();
        let why = why.rsplit_once(" at ").map_or(why.as_str(), |(why, _)| why);
        Malformed { index, problem: format!("this is no XML: {why}") }
    })?;
    let is_other = |node: &Node<'_, '_>| !id.is_empty() && node.attribute("id").is_some_and(|own| own != id);
    let root = document.root_element();
    let found = if root.has_tag_name("uwsgi") {
        Some(root)
    } else {
        root.children().find(|node| node.has_tag_name("uwsgi") && !is_other(node))
    };
    let Some(element) = found else {
        return Err(Malformed { index: 0, problem: "there is no element <uwsgi>".into() });
    };
    let mut section = Section { found: true, ..Section::default() };
    let mut numbers = Numbers::new(text.as_bytes());
    for node in element.children().filter(|node| !is_other(node)) {
        let index = numbers.line_at(node.range().start);
        let mut say = |key: &str, value: String| {
            section.lines.push(Line {
                index,
                key: Cow::Owned(key.as_bytes().to_vec()),
                value: Cow::Owned(value.into_bytes()),
            });
        };
        match (node.node_type(), content(node)) {
            (NodeType::Text, _) if text[node.range()].starts_with("<![CDATA[") => {
                say("eval", node.text().unwrap_or_default().into());
            }
            (NodeType::Element, _) if node.has_tag_name("app") => app(node, &mut say),
            (NodeType::Element, Some(value)) => say(node.tag_name().name(), value),
            (NodeType::Element, None) => {
                let note = format!("{}: what it holds is no value, and passed over", node.tag_name().name());
                section.notes.push((index, note));
            }
            _ => {}
        }
    }
    Ok(section)
}

/// The text of an element; 1 for an empty one.
fn content(node: Node<'_, '_>) -> Option<String> {
    match node.first_child() {
        None => Some("1".into()),
        Some(child) => child.text().filter(|_| child.is_text()).map(str::to_owned),
    }
}

/// `<app mountpoint="/blog">blog</app>`, or with an element around the name: an application and its mount.
fn app(node: Node<'_, '_>, say: &mut impl FnMut(&str, String)) {
    let inner = node.children().find(Node::is_element).and_then(content);
    if let Some(value) = inner.or_else(|| content(node).filter(|_| node.has_children())) {
        let value = match (node.attribute("mountpoint"), node.attribute("domain")) {
            (Some(point), _) => format!("{point}={value}"),
            (None, Some(domain)) => format!("{domain}|={value}"),
            (None, None) => value,
        };
        say("mount", value);
    }
    say("app", String::new());
}

#[cfg(test)]
mod tests {
    use super::*;
    use bstr::ByteSlice;

    fn values(text: &str, id: &str) -> Vec<String> {
        let section = section(text, id).expect("XML");
        let show = |line: &Line<'_>| format!("{}:{}={}", line.index + 1, line.key.as_bstr(), line.value.as_bstr());
        section.lines.iter().map(show).collect()
    }

    #[test]
    fn elements_are_options() {
        let text = "<?xml version='1.0'?>\n<!-- c -->\n<uwsgi>\n <socket>127.0.0.1:3031</socket>\n <master/><x></x>\n\
                    <env>A=&lt;1&amp;2</env><pad> a </pad></uwsgi>";
        let wanted = ["4:socket=127.0.0.1:3031", "5:master=1", "5:x=1", "6:env=A=<1&2", "6:pad= a "];
        assert_eq!(values(text, ""), wanted);
    }

    #[test]
    fn ids_choose() {
        let text = "<all><uwsgi id='a'><x>1</x></uwsgi><uwsgi id='b'><x>2</x><y id='c'/><z id='b'/></uwsgi></all>";
        assert_eq!(values(text, ""), ["1:x=1"]);
        assert_eq!(values(text, "b"), ["1:x=2", "1:z=1"]);
        assert!(section(text, "nope").is_err());
    }

    #[test]
    fn applications_have_mounts() {
        let text = "<uwsgi><app mountpoint='/a'>m</app><app domain='h'><module>n</module></app><app/></uwsgi>";
        assert_eq!(values(text, ""), ["1:mount=/a=m", "1:app=", "1:mount=h|=n", "1:app=", "1:app="]);
    }

    #[test]
    fn code_in_cdata_is_evaluated() {
        assert_eq!(values("<uwsgi><![CDATA[import x]]></uwsgi>", ""), ["1:eval=import x"]);
    }

    #[test]
    fn what_is_missing_or_broken_has_a_line() {
        let error = |text| section(text, "").expect_err("an error");
        assert_eq!(error("<html/>").problem, "there is no element <uwsgi>");
        let broken = error("<uwsgi>\n<a></b>\n</uwsgi>");
        assert_eq!(broken.index, 1);
        assert!(broken.problem.starts_with("this is no XML: "), "{broken:?}");
        assert!(error("").problem.contains("no XML"));
        let bomb = "<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;'>\
                    <!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;'>]>\
                    <uwsgi><x>&d;&d;&d;&d;&d;&d;&d;&d;</x></uwsgi>";
        assert!(section(bomb, "").is_err() || values(bomb, "").concat().len() < 100_000);
    }
}
