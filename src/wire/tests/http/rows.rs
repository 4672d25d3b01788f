//! The rows of the corpora of a protocol: our own, and those of the folder beside the project where it is there.

use std::io::Read;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// What a server must do with some bytes.
pub struct Row {
    pub id: String,
    pub raw: Vec<u8>,
    pub json: Value,
}

impl Row {
    /// A text of the row, empty if it is not there.
    pub fn text(&self, key: &str) -> &str {
        self.json[key].as_str().unwrap_or_default()
    }

    fn read(line: &str) -> Self {
        let json: Value = serde_json::from_str(line).unwrap();
        let bytes = |key: &str| json[key].as_str().map(|text| STANDARD.decode(text).unwrap());
        let raw = bytes("raw_b64").unwrap_or_else(|| {
            let mut raw = Vec::new();
            let packed = bytes("raw_zb64").unwrap();
            flate2::read::ZlibDecoder::new(&*packed).read_to_end(&mut raw).unwrap();
            raw
        });
        Self { id: json["id"].as_str().unwrap().to_owned(), raw, json }
    }
}

/// All rows of a protocol that can be found.
pub fn rows(protocol: &str) -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folders = ["tests/corpora", "../shared/conformance"].map(|folder| format!("{folder}/{protocol}"));
    let mut files: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    files.sort();
    files.dedup_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    let rows: Vec<Row> = files
        .iter()
        .flat_map(|file| std::fs::read_to_string(file).unwrap().lines().map(Row::read).collect::<Vec<_>>())
        .collect();
    assert!(!rows.is_empty(), "our own corpus is not there");
    rows
}
