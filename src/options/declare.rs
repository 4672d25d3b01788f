//! Options that a configuration makes for itself: `declare-option = web=http-socket=:$1;processes=$2`. Using one says what
//! its template says, with the words of its value. `gather` calls it; nothing acts here.

use std::collections::HashMap;

use bstr::{BStr, BString, ByteSlice};

/// The templates by name.
#[derive(Default)]
pub struct Declared(HashMap<String, BString>);

impl Declared {
    /// A new option, from `name=template`; the first of a name counts.
    pub fn add(&mut self, definition: &BStr) -> Result<(), String> {
        let Some((name, template)) = definition.split_once_str("=") else {
            return Err(format!("{definition:?} is not of the form name=template"));
        };
        let name = name.to_str().map_err(|_| format!("{definition:?} is not UTF-8"))?;
        self.0.entry(name.to_owned()).or_insert_with(|| template.into());
        Ok(())
    }

    /// Whether there is such an option.
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// What it stands for with this value: names and values. What has no `=` ends it.
    pub fn stands_for(&self, name: &str, value: &BStr) -> Vec<(String, BString)> {
        let Some(template) = self.0.get(name) else { return Vec::new() };
        let parts = template.split_str(";").filter(|part| !part.is_empty()).map(|part| part.split_once_str("="));
        let filled = |part: &[u8]| fill(part, value);
        parts.map_while(|part| part.map(|(name, value)| (filled(name).to_string(), filled(value)))).collect()
    }
}

/// Text with `$1`, `$2` ... replaced by words. There are as many numbers as blanks and one; a number without a word stays,
/// and a value that is empty is one empty word.
fn fill(text: &[u8], value: &BStr) -> BString {
    let numbers = value.iter().filter(|byte| **byte == b' ').count() + 1;
    let mut words = value.split_str(" ").filter(|word| !word.is_empty());
    let mut text = text.to_vec();
    for number in 1..=numbers {
        let word = words.next().or((value.is_empty() && number == 1).then_some(b""));
        if let Some(word) = word {
            text = text.replace(format!("${number}"), word);
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(definition: &str, value: &str) -> Vec<String> {
        let mut declared = Declared::default();
        declared.add(definition.into()).expect("a definition");
        let name = definition.split('=').next().expect("a name");
        declared.stands_for(name, value.into()).iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn words_take_the_place_of_numbers() {
        let web = "web=http-socket=:$1;processes=$2;env=$1=$2";
        assert_eq!(said(web, "8080 4"), ["http-socket=:8080", "processes=4", "env=8080=4"]);
        assert_eq!(said(web, "8080"), ["http-socket=:8080", "processes=$2", "env=8080=$2"]);
        assert_eq!(said(web, ""), ["http-socket=:", "processes=$2", "env==$2"]);
        assert_eq!(said("x=set=$1_a=$2", "b  c"), ["set=b_a=c"], "blanks are no words");
        assert_eq!(said("x=a=1;b;c=2", ""), ["a=1"]);
    }

    #[test]
    fn a_definition_has_a_name() {
        assert!(Declared::default().add("nothing".into()).is_err());
    }
}
