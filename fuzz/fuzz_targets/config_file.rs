//! Files of every format, as bytes: nothing panics, and each line is where it says. The first byte chooses the format.

#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ruwsgi_options::{Origin, Source, survey};

/// In memory, where the system has such a folder.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    let folder = folder.join(format!("ruwsgi-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
});

fuzz_target!(|data: &[u8]| {
    let Some((&choice, text)) = data.split_first() else { return };
    let format = ["ini", "yaml", "json", "xml"][usize::from(choice % 4)];
    std::fs::write(FOLDER.join("a"), text).expect("a file");
    // By the environment: a command line is another reader, and a slow one.
    let env = vec![(format!("UWSGI_{}", format.to_uppercase()).into(), "a".into())];
    let source = Source { env, cwd: FOLDER.clone(), ..Source::default() };
    // Not here: the text may name commands.
    let found = survey(&source, false);
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u32 + 1;
    for record in &found.records {
        if let Origin::File { path, line } = &record.directive.origin {
            assert!(path.as_os_str() != "a" || (1..=lines).contains(line), "{line} of {lines}");
        }
    }
    let _ = found.request();
});
