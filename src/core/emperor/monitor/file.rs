//! One file of a vassal: is it there, has it changed, can it be a configuration? The vassal reads it by itself; here its
//! content is only compared.
//!
//! A change is another content, or another time of the same file: whoever touches a file means it. A link that leads to
//! another file of the same content is no change: Kubernetes replaces all files of a ConfigMap when one changes.

use std::fs::{File, Metadata, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use ruwsgi_sys::{clock, file};

use crate::why;

/// The largest configuration, in bytes: what the vassal would read.
const MOST_BYTES: u64 = 16 << 20;
/// Who has just made an empty file may be about to write it, in seconds.
const WRITING_S: i64 = 1;
/// A file that changes for longer than this while it is read is told, in milliseconds.
const RESTLESS_MS: u64 = 3_000;

/// By what a file is known again without being read: device, inode, size, the times of its content and of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Identity {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// What is known of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    identity: Identity,
    hash: u64,
    pub version: u64,
    /// It has changed just now, in a way that counts.
    pub changed: bool,
    /// Why it can't be run.
    pub broken: Option<String>,
    /// Where it listens on demand, as a command has said.
    pub address: Option<Option<String>>,
    /// Since when it changes while it is read.
    restless_ms: Option<u64>,
}

impl Known {
    /// When its content changed, in seconds since 1970.
    pub(super) fn modified(&self) -> i64 {
        self.identity.modified.0
    }
}

/// What a look finds.
pub(super) enum Look {
    Gone,
    /// It changes while it is read: what was known of it. Nothing may have been, then its version is 0.
    Restless(Known),
    Seen(Known),
}

impl Identity {
    fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// Looks at a file of which this was known.
pub(super) fn look(path: &Path, former: Option<&Known>, nofollow: bool, now_ms: u64) -> Look {
    let is_link = path.is_symlink();
    match read(path, former, nofollow) {
        Ok(None) => Look::Seen(former.cloned().unwrap_or_default()),
        Ok(Some(fresh)) => judge(fresh, former, is_link, now_ms),
        // A link that leads nowhere is told if it never led anywhere.
        Err(Trouble::Gone) if former.is_some_and(|former| former.broken.is_none()) || !is_link => Look::Gone,
        Err(Trouble::Gone) => broken(former, "it is a link to what is not there".to_owned()),
        Err(Trouble::Other(why)) => broken(former, why),
    }
}

enum Trouble {
    Gone,
    Other(String),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Gone,
            _ => Self::Other(format!("it can't be read: {}", why(&error))),
        }
    }
}

/// What was read of a file.
#[derive(Clone, Copy)]
struct Fresh {
    identity: Identity,
    hash: u64,
    blank: bool,
    huge: bool,
    /// It was another file when it had been read.
    restless: bool,
}

/// Reads it, unless it is the file that is known.
fn read(path: &Path, former: Option<&Known>, nofollow: bool) -> Result<Option<Fresh>, Trouble> {
    if nofollow && path.is_symlink() {
        // The link is what counts: what it leads to may change as it likes.
        let identity = Identity::of(&std::fs::symlink_metadata(path)?);
        std::fs::metadata(path)?;
        let fresh = Fresh { identity, hash: 0, blank: false, huge: false, restless: false };
        return Ok(former.is_none_or(|former| former.identity != identity).then_some(fresh));
    }
    let found = std::fs::metadata(path)?;
    if found.is_dir() {
        return Err(Trouble::Other("it is a directory".to_owned()));
    }
    if !found.is_file() {
        return Err(Trouble::Other("it is no regular file".to_owned()));
    }
    let identity = Identity::of(&found);
    if former.is_some_and(|former| former.identity == identity && former.restless_ms.is_none()) {
        return Ok(None);
    }
    // Whatever stands there by now: this waits for nobody.
    let opened = OpenOptions::new().read(true).custom_flags(file::NONBLOCK).open(path)?;
    let identity = Identity::of(&opened.metadata()?);
    let (hash, blank, huge) = digest(&opened)?;
    let restless = Identity::of(&opened.metadata()?) != identity;
    Ok(Some(Fresh { identity, hash, blank, huge, restless }))
}

fn digest(file: &File) -> io::Result<(u64, bool, bool)> {
    let (mut hasher, mut blank, mut total) = (DefaultHasher::new(), true, 0);
    let mut room = vec![0; 64 * 1024];
    let mut limited = file.take(MOST_BYTES + 1);
    loop {
        match limited.read(&mut room) {
            Ok(0) => return Ok((hasher.finish(), blank, total > MOST_BYTES)),
            Ok(count) => {
                hasher.write(&room[..count]);
                blank &= room[..count].trim_ascii().is_empty();
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn judge(fresh: Fresh, former: Option<&Known>, is_link: bool, now_ms: u64) -> Look {
    let age_s = clock::unix_seconds() - fresh.identity.modified.0;
    let being_written = fresh.blank && (0..=WRITING_S).contains(&age_s);
    let since = former.and_then(|former| former.restless_ms).unwrap_or(now_ms);
    if fresh.restless || being_written {
        let mut known = former.cloned().unwrap_or_default();
        known.restless_ms = Some(since);
        if now_ms.saturating_sub(since) > RESTLESS_MS {
            known.broken = Some("it keeps changing while it is read".to_owned());
        }
        return Look::Restless(known);
    }
    let broken = match (fresh.blank, fresh.huge) {
        (true, _) => Some("it is empty".to_owned()),
        (_, true) => Some("it is larger than 16 MiB: is this a configuration?".to_owned()),
        _ => None,
    };
    let changed = former.is_none_or(|former| {
        let other_file = former.identity.file != fresh.identity.file;
        let touched = former.identity.modified != fresh.identity.modified && !(is_link && other_file);
        // What was never read has no content to compare.
        let read = former.identity != Identity::default();
        former.hash != fresh.hash || touched || !read
    });
    let before = former.cloned().unwrap_or_default();
    Look::Seen(Known { identity: fresh.identity, hash: fresh.hash, changed, broken, restless_ms: None, ..before })
}

/// It can't be read: whatever it is, it is another one when it can.
fn broken(former: Option<&Known>, reason: String) -> Look {
    let former = former.cloned().unwrap_or_default();
    Look::Seen(Known { broken: Some(reason), identity: Identity::default(), ..former })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("ruwsgi-vassal-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn write(&self, name: &str, text: &str, age_s: u64) -> std::path::PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, text).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age_s);
            File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn seen(path: &Path, former: Option<&Known>) -> Known {
        match look(path, former, false, 0) {
            Look::Seen(known) => known,
            Look::Gone => panic!("gone"),
            Look::Restless(_) => panic!("restless"),
        }
    }

    #[test]
    fn content_counts_and_so_does_a_touch() {
        let folder = Folder::new("content");
        let path = folder.write("a.ini", "one", 100);
        let first = seen(&path, None);
        assert!(first.changed && first.broken.is_none());
        let first = Known { changed: false, ..first };
        assert!(!seen(&path, Some(&first)).changed);
        // Another content with the same time, and an older time with the same content.
        let then = std::fs::metadata(&path).unwrap().modified().unwrap();
        std::fs::write(&path, "two").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(then).unwrap();
        assert!(seen(&path, Some(&first)).changed);
        folder.write("a.ini", "one", 5_000);
        assert!(seen(&path, Some(&first)).changed);
    }

    #[test]
    fn a_link_to_another_file_of_the_same_content_is_no_change() {
        let folder = Folder::new("link");
        for (version, text) in [("v1", "one"), ("v2", "one"), ("v3", "two")] {
            std::fs::create_dir(folder.0.join(version)).unwrap();
            folder.write(&format!("{version}/a.ini"), text, 10);
        }
        let (data, path) = (folder.0.join("..data"), folder.0.join("a.ini"));
        let swap = |version: &str| {
            let fresh = folder.0.join("..fresh");
            std::os::unix::fs::symlink(version, &fresh).unwrap();
            std::fs::rename(fresh, &data).unwrap();
        };
        swap("v1");
        std::os::unix::fs::symlink("..data/a.ini", &path).unwrap();
        let first = Known { changed: false, ..seen(&path, None) };
        swap("v2");
        let second = seen(&path, Some(&first));
        assert!(!second.changed);
        swap("v3");
        assert!(seen(&path, Some(&second)).changed);
        std::fs::remove_file(&data).unwrap();
        assert!(matches!(look(&path, Some(&second), false, 0), Look::Gone));
        assert!(seen(&path, None).broken.is_some_and(|why| why.contains("link")));
    }

    #[test]
    fn what_is_no_configuration_says_why() {
        let folder = Folder::new("broken");
        let why = |path: &Path| seen(path, None).broken.unwrap();
        assert_eq!(why(&folder.write("a.ini", " \n", 100)), "it is empty");
        assert!(matches!(
            look(&folder.write("b.ini", "", 0), None, false, 0),
            Look::Restless(Known { version: 0, .. })
        ));
        std::fs::create_dir(folder.0.join("d.ini")).unwrap();
        assert_eq!(why(&folder.0.join("d.ini")), "it is a directory");
        assert_eq!(why(Path::new("/dev/null")), "it is no regular file");
        let huge = folder.write("h.ini", "x", 100);
        File::options().write(true).open(&huge).unwrap().set_len(MOST_BYTES + 1).unwrap();
        assert!(why(&huge).contains("16 MiB"));
        assert!(matches!(look(&folder.0.join("none.ini"), None, false, 0), Look::Gone));
    }
}
