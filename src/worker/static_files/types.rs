//! Media types, by the extension of a name: those of the user's `mimefile`, then those of a crate.

use std::collections::HashMap;
use std::path::Path;

/// What extensions stand for.
pub(super) struct Types(HashMap<String, String>);

impl Types {
    pub(super) fn new(files: &[String]) -> Self {
        let mut types = HashMap::new();
        for file in files {
            match std::fs::read(file) {
                Ok(text) => add(&mut types, &String::from_utf8_lossy(&text)),
                Err(error) => tracing::warn!("mimefile: \"{file}\" can't be read: {error}"),
            }
        }
        Self(types)
    }

    /// `None`: nobody knows, and as in uWSGI nothing is claimed.
    pub(super) fn of(&self, path: &Path) -> Option<&str> {
        let extension = path.extension()?.to_str()?;
        match self.0.get(&extension.to_ascii_lowercase()) {
            Some(said) => Some(said),
            None => new_mime_guess::from_ext(extension).first_raw(),
        }
    }
}

/// Lines of a type and its extensions; `#` begins a remark.
fn add(types: &mut HashMap<String, String>, text: &str) {
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(media_type) = words.next() else { continue };
        for extension in words {
            types.insert(extension.to_ascii_lowercase(), media_type.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_web_is_made_of_is_known() {
        let types = Types(HashMap::new());
        for (name, expected) in [
            ("a.html", Some("text/html")),
            ("a.css", Some("text/css")),
            ("a.js", Some("text/javascript")),
            ("a.xml", Some("application/xml")),
            ("a.min.JS", Some("text/javascript")),
            ("a.json", Some("application/json")),
            ("a.svg", Some("image/svg+xml")),
            ("a.png", Some("image/png")),
            ("a.webp", Some("image/webp")),
            ("a.avif", Some("image/avif")),
            ("a.woff2", Some("font/woff2")),
            ("a.wasm", Some("application/wasm")),
            ("a.pdf", Some("application/pdf")),
            ("a.txt", Some("text/plain")),
            ("a.ico", Some("image/vnd.microsoft.icon")),
            ("a.mp4", Some("video/mp4")),
            ("a", None),
            (".css", None),
            ("a.unheard", None),
            ("a.css/b", None),
        ] {
            assert_eq!(types.of(Path::new(name)), expected, "{name}");
        }
    }

    #[test]
    fn the_users_types_come_first() {
        let mut types = HashMap::new();
        add(&mut types, "# a remark\ntext/x-style css CSSX # another\n\nlonely/type\n");
        let types = Types(types);
        assert_eq!(types.of(Path::new("a.css")), Some("text/x-style"));
        assert_eq!(types.of(Path::new("a.cssx")), Some("text/x-style"));
        assert_eq!(types.of(Path::new("a.js")), Some("text/javascript"));
    }
}
