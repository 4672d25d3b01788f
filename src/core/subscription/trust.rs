//! Whom a router believes: the owner of a key on this machine, the holder of the private key on others.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ruwsgi_options::DigestAndFile;

use super::sign::{Digest, PublicKey};

/// Who has sent a datagram over a unix socket, as the kernel says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// Who knows keys and owners.
pub trait Trust {
    /// The user and group to whom this key belongs; `None`: to nobody.
    fn owner(&self, key: &[u8]) -> Option<(u32, u32)>;
    /// Whether the holder of the private key has signed this; `Err`: why not.
    fn verify(&mut self, key: &[u8], base: &[u8], signature: &[u8]) -> Result<(), &'static str>;
}

/// Keys and owners are files in folders.
#[derive(Default)]
pub struct Files {
    digest: Option<Digest>,
    folder: PathBuf,
    owners: Vec<PathBuf>,
    known: HashMap<PathBuf, (SystemTime, PublicKey)>,
}

impl Files {
    /// Those of `subscriptions-sign-check` and `subscriptions-credentials-check`.
    #[must_use]
    pub fn of(keys: Option<&DigestAndFile>, owners: &[String]) -> Self {
        Self {
            digest: keys.and_then(|keys| Digest::named(keys.digest)),
            folder: keys.map_or_else(PathBuf::new, |keys| keys.path.clone().into()),
            owners: owners.iter().map(PathBuf::from).collect(),
            known: HashMap::new(),
        }
    }

    /// The public key in a file, read again when the file has changed.
    fn public(&mut self, path: &Path) -> Result<&PublicKey, &'static str> {
        let Ok(changed) = std::fs::metadata(path).and_then(|found| found.modified()) else {
            self.known.remove(path);
            return Err("there is no public key for it");
        };
        if self.known.get(path).is_none_or(|(then, _)| *then != changed) {
            let text = std::fs::read_to_string(path).map_err(|_| "its public key can't be read")?;
            let key = PublicKey::parse(&text).map_err(|_| "its public key is none")?;
            self.known.insert(path.to_owned(), (changed, key));
        }
        self.known.get(path).map(|(_, key)| key).ok_or("there is no public key for it")
    }
}

impl Trust for Files {
    fn owner(&self, key: &[u8]) -> Option<(u32, u32)> {
        // Nobody leads out of the folder.
        if key.contains(&b'/') || key.contains(&0) || key.starts_with(b".") {
            return None;
        }
        let name = std::ffi::OsStr::from_bytes(key);
        let found = self.owners.iter().find_map(|folder| std::fs::symlink_metadata(folder.join(name)).ok())?;
        Some((found.uid(), found.gid()))
    }

    fn verify(&mut self, key: &[u8], base: &[u8], signature: &[u8]) -> Result<(), &'static str> {
        let digest = self.digest.ok_or("there is no digest to check it with")?;
        let path = key_file(&self.folder, key);
        if self.public(&path)?.verifies(digest, base, signature) { Ok(()) } else { Err("the signature is wrong") }
    }
}

/// As uWSGI has it: what is no digit, letter, dot, hyphen or underscore is an underscore.
fn key_file(folder: &Path, key: &[u8]) -> PathBuf {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_".contains(byte);
    let name: String = key.iter().map(|byte| if plain(byte) { char::from(*byte) } else { '_' }).collect();
    folder.join(format!("{name}.pem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_key_is_that_of_uwsgi_and_stays_in_its_folder() {
        let file = |key: &str| key_file(Path::new("/keys"), key.as_bytes()).display().to_string();
        assert_eq!(file("a-b.example.com:8080"), "/keys/a-b.example.com_8080.pem");
        assert_eq!(file("../../etc/x"), "/keys/.._.._etc_x.pem");
        assert_eq!(file("\u{e9}"), "/keys/__.pem");
    }

    #[test]
    fn owners_are_those_of_files_in_the_folder() {
        let folder = std::env::temp_dir().join(format!("ruwsgi-owners-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("example.com"), "").unwrap();
        let files = Files::of(None, &["/nowhere".to_owned(), folder.display().to_string()]);
        let owned = std::fs::metadata(&folder).unwrap();
        assert_eq!(files.owner(b"example.com"), Some((owned.uid(), owned.gid())));
        for nobody in ["example.org", ".", "..", "x/../example.com", "example.com\0"] {
            assert_eq!(files.owner(nobody.as_bytes()), None, "{nobody}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
