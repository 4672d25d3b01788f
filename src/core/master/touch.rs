//! Files that are looked at: one that changes, comes or goes asks for something.
//!
//! uWSGI looks once a second whether the time of a file, in whole seconds, has become greater. Here any other time, size
//! or file will do, so that two changes within a second are two.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ruwsgi_options::{Config, Hook};

use super::fifo::Letter;
use super::order::Command;

/// How often the files are looked at, in milliseconds.
const PERIOD_MS: u64 = 1_000;

/// What a file asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// What a letter of the FIFO does.
    Letter(Letter),
    /// This command of the shell.
    Run(String),
    /// This action.
    Hook(Box<Hook>),
}

/// A file that is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Touch {
    option: &'static str,
    path: PathBuf,
    wish: Wish,
}

/// The files that are looked at.
#[derive(Debug, Default)]
pub(super) struct Touches {
    files: Vec<(Touch, Option<Stamp>)>,
    /// Those of a reload, for when it is known to be good.
    next: Option<Vec<(Touch, Option<Stamp>)>>,
    next_ms: u64,
}

/// By what a change is known: the time of change in seconds and nanoseconds, the size, the file.
type Stamp = (i64, i64, u64, u64);

fn touches(config: &Config) -> Vec<Touch> {
    let (workers, logging) = (&config.workers, &config.logging);
    let command = |command| Wish::Letter(Letter::Command(command));
    let lists = [
        ("touch-reload", &workers.touch_reload, command(Command::Reload)),
        ("touch-workers-reload", &workers.touch_workers_reload, command(Command::RenewWorkers)),
        ("fs-reload", &workers.fs_reload, command(Command::Reload)),
        ("fs-brutal-reload", &workers.fs_brutal_reload, command(Command::ReloadBrutally)),
        ("touch-logreopen", &logging.touch_logreopen, Wish::Letter(Letter::LogReopen)),
        ("touch-logrotate", &logging.touch_logrotate, Wish::Letter(Letter::LogRotate)),
    ];
    let of_list = |(option, paths, wish): (_, &Vec<String>, Wish)| -> Vec<Touch> {
        paths.iter().map(|path| Touch { option, path: path.into(), wish: wish.clone() }).collect()
    };
    let run = |(path, text): &(String, String)| Touch {
        option: "touch-exec",
        path: path.into(),
        wish: Wish::Run(text.clone()),
    };
    let act = |(path, hook): &(PathBuf, Hook)| Touch {
        option: "hook-touch",
        path: path.clone(),
        wish: Wish::Hook(Box::new(hook.clone())),
    };
    let commands = workers.touch_exec.iter().map(run).chain(config.hooks.hook_touch.iter().map(act));
    lists.into_iter().flat_map(of_list).chain(commands).collect()
}

impl Touches {
    /// Looks at what these options name from now on; of what it looks at already, it knows what was.
    pub(super) fn renew(&mut self, config: &Config) {
        self.prepare(config);
        self.adopt();
    }

    /// Looks at what was, of what these options name: changes from here on count.
    pub(super) fn prepare(&mut self, config: &Config) {
        self.look_at(touches(config));
    }

    fn look_at(&mut self, touches: Vec<Touch>) {
        let mut next = Vec::new();
        for touch in touches {
            let known = self.known(&touch);
            let stamp = known.unwrap_or_else(|| stamp(&touch.path));
            if known.is_none() && stamp.is_none() {
                tracing::info!("{}: {} is not there: its creation counts", touch.option, touch.path.display());
            }
            next.push((touch, stamp));
        }
        self.next = Some(next);
    }

    fn known(&self, touch: &Touch) -> Option<Option<Stamp>> {
        self.files.iter().find(|(other, _)| other == touch).map(|(_, stamp)| *stamp)
    }

    /// What was prepared is looked at from here on.
    pub(super) fn adopt(&mut self) {
        let Some(mut next) = self.next.take() else { return };
        for (touch, stamp) in &mut next {
            *stamp = self.known(touch).unwrap_or(*stamp);
        }
        self.files = next;
    }

    /// What was prepared is not looked at.
    pub(super) fn give_up(&mut self) {
        self.next = None;
    }

    /// When somebody has to look; `None`: there is nothing to look at.
    pub(super) fn wake_ms(&self) -> Option<u64> {
        (!self.files.is_empty()).then_some(self.next_ms)
    }

    /// Looks, if it is time; what is asked for, each thing once.
    pub(super) fn look(&mut self, now_ms: u64) -> Vec<Wish> {
        if self.files.is_empty() || now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms = now_ms + PERIOD_MS;
        let mut wishes: Vec<Wish> = Vec::new();
        for (Touch { option, path, wish }, seen) in &mut self.files {
            let now = stamp(path);
            if now == *seen {
                continue;
            }
            let what = match (*seen, now) {
                (None, _) => "is there now",
                (_, None) => "is gone",
                _ => "has changed",
            };
            tracing::info!("{option}: {} {what}", path.display());
            *seen = now;
            if !wishes.contains(wish) {
                wishes.push(wish.clone());
            }
        }
        wishes
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

    fn reload(path: &Path) -> Vec<Touch> {
        let wish = Wish::Letter(Letter::Command(Command::Reload));
        vec![Touch { option: "touch-reload", path: path.to_owned(), wish }]
    }

    #[test]
    fn a_change_is_a_time_a_size_a_coming_or_a_going() {
        let path = std::env::temp_dir().join(format!("ruwsgi-touch-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let mut touches = Touches::default();
        assert_eq!(touches.wake_ms(), None);
        touches.look_at(reload(&path));
        touches.adopt();
        let mut now_ms = 0;
        let mut look = |touches: &mut Touches| {
            now_ms = touches.wake_ms().unwrap();
            !touches.look(now_ms).is_empty()
        };
        assert!(!look(&mut touches));
        std::fs::write(&path, "").unwrap();
        assert!(look(&mut touches) && !look(&mut touches));
        std::fs::write(&path, "x").unwrap();
        assert!(look(&mut touches) && !look(&mut touches));
        let early = SystemTime::UNIX_EPOCH + Duration::from_millis(1_001_001);
        File::options().write(true).open(&path).unwrap().set_modified(early).unwrap();
        assert!(look(&mut touches) && !look(&mut touches));
        touches.look_at(reload(&path));
        std::fs::remove_file(&path).unwrap();
        touches.adopt();
        assert!(look(&mut touches) && !look(&mut touches));
        touches.look_at(Vec::new());
        touches.adopt();
        assert_eq!(touches.wake_ms(), None);
    }

    #[test]
    fn nobody_looks_more_often_than_once_a_second() {
        let mut touches = Touches::default();
        touches.look_at(reload(Path::new("/nonexistent/touch")));
        touches.adopt();
        touches.look(5_000);
        assert_eq!(touches.wake_ms(), Some(6_000));
    }
}
