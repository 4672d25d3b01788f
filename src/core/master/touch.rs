//! The files of `touch-reload`: one that changes, comes or goes asks for a reload.
//!
//! uWSGI looks once a second whether the time of a file, in whole seconds, has become greater. Here any other time, size
//! or file will do, so that two changes within a second are two.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// How often the files are looked at, in milliseconds.
const PERIOD_MS: u64 = 1_000;

/// The files that are looked at.
#[derive(Debug, Default)]
pub(super) struct Touches {
    files: Vec<(PathBuf, Option<Stamp>)>,
    next_ms: u64,
}

/// By what a change is known: the time of change in seconds and nanoseconds, the size, the file.
type Stamp = (i64, i64, u64, u64);

impl Touches {
    /// Looks at these from now on; of those that it looks at already, it knows what was.
    pub(super) fn renew(&mut self, paths: &[String]) {
        let former = std::mem::take(&mut self.files);
        for path in paths.iter().map(PathBuf::from) {
            let known = former.iter().find(|(other, _)| *other == path);
            let stamp = known.map_or_else(|| stamp(&path), |(_, stamp)| *stamp);
            if known.is_none() && stamp.is_none() {
                tracing::info!("touch-reload: {} is not there: its creation reloads", path.display());
            }
            self.files.push((path, stamp));
        }
    }

    /// When somebody has to look; `None`: there is nothing to look at.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        (!self.files.is_empty()).then_some(self.next_ms)
    }

    /// Looks, if it is time; whether something has changed.
    pub(super) fn look(&mut self, now_ms: u64) -> bool {
        if self.files.is_empty() || now_ms < self.next_ms {
            return false;
        }
        self.next_ms = now_ms + PERIOD_MS;
        let mut changed = false;
        for (path, seen) in &mut self.files {
            let now = stamp(path);
            if now == *seen {
                continue;
            }
            let what = match (*seen, now) {
                (None, _) => "is there now",
                (_, None) => "is gone",
                _ => "has changed",
            };
            tracing::info!("touch-reload: {} {what}", path.display());
            *seen = now;
            changed = true;
        }
        changed
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let of = |file: Metadata| (file.mtime(), file.mtime_nsec(), file.size(), file.ino());
    std::fs::metadata(path).ok().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_change_is_a_time_a_size_a_coming_or_a_going() {
        let path = std::env::temp_dir().join(format!("ruwsgi-touch-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let paths = [path.to_str().unwrap().to_owned()];
        let mut touches = Touches::default();
        assert_eq!(touches.wake_ms(), None);
        touches.renew(&paths);
        let mut now_ms = 0;
        let mut look = |touches: &mut Touches| {
            now_ms = touches.wake_ms().unwrap();
            touches.look(now_ms)
        };
        assert!(!look(&mut touches));
        std::fs::write(&path, "").unwrap();
        assert!(look(&mut touches) && !look(&mut touches));
        std::fs::write(&path, "x").unwrap();
        assert!(look(&mut touches) && !look(&mut touches));
        let early = SystemTime::UNIX_EPOCH + Duration::from_millis(1_001_001);
        File::options().write(true).open(&path).unwrap().set_modified(early).unwrap();
        assert!(look(&mut touches) && !look(&mut touches));
        touches.renew(&paths);
        std::fs::remove_file(&path).unwrap();
        touches.renew(&paths);
        assert!(look(&mut touches) && !look(&mut touches));
        touches.renew(&[]);
        assert_eq!(touches.wake_ms(), None);
    }

    #[test]
    fn nobody_looks_more_often_than_once_a_second() {
        let mut touches = Touches::default();
        touches.renew(&["/nonexistent/touch".to_owned()]);
        touches.look(5_000);
        assert_eq!(touches.wake_ms(), Some(6_000));
    }
}
