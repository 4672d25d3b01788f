//! Gives the binary and the extension module of one build the same name, which the handshake compares.
//!
//! The name is a hash over everything that both are made from, so that a module of another build is never loaded.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = BTreeSet::new();
    for folder in
        ["src/sys", "src/log", "src/wire", "src/options", "src/contract", "src/stage", "src/worker", "plugins/python"]
    {
        println!("cargo::rerun-if-changed={}", root.join(folder).display());
        collect(&root.join(folder), &mut files);
    }
    files.insert(root.join("Cargo.toml"));
    files.insert(root.join("Cargo.lock"));
    println!("cargo::rerun-if-changed={}", root.join("Cargo.toml").display());
    println!("cargo::rerun-if-changed={}", root.join("Cargo.lock").display());
    let mut hash = hash_of(&files, &root);
    for name in ["PROFILE", "TARGET", "OPT_LEVEL", "DEBUG", "RUSTC", "CARGO_ENCODED_RUSTFLAGS", "CARGO_PKG_VERSION"] {
        println!("cargo::rerun-if-env-changed={name}");
        std::env::var(name).unwrap_or_default().hash(&mut hash);
    }
    println!("cargo::rustc-env=RUWSGI_BUILD={:016x}", hash.finish());
    let shapes = ["contract", "sys/channel.rs", "sys/lock.rs", "sys/memory.rs"].map(|part| root.join("src").join(part));
    files.retain(|file| shapes.iter().any(|shape| file.starts_with(shape)));
    println!("cargo::rustc-env=RUWSGI_SHAPE={:016x}", hash_of(&files, &root).finish());
}

fn hash_of(files: &BTreeSet<PathBuf>, root: &Path) -> DefaultHasher {
    let mut hash = DefaultHasher::new();
    for file in files {
        file.strip_prefix(root).unwrap_or(file).hash(&mut hash);
        std::fs::read(file).unwrap_or_default().hash(&mut hash);
    }
    hash
}

fn collect(folder: &Path, files: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|end| end == "rs" || end == "toml" || end == "py") {
            files.insert(path);
        }
    }
}
