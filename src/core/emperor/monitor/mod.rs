//! Where vassals come from. A [`Monitor`] names the files that there are; here they are read and compared with what was
//! there before, and what becomes of it is the truth that the plan goes by.
//!
//! Another source (a database, a queue) is another file beside these and a row in [`monitor`].

mod directory;
mod file;
mod glob;
mod list;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ruwsgi_options::{Config, Province, ProvinceKind};
use ruwsgi_sys::watch::Watcher;

use self::file::{Known, Look};
use super::name::{Name, shown};
use super::on_demand;
use super::plan::{Sighting, Terms, Verdict};
use super::tyrant;

/// A source of vassals.
pub(crate) trait Monitor {
    /// The files that there are. An error: that can't be known, so nothing has changed.
    fn look(&self) -> Result<Vec<Place>, String>;
    /// The folders in which changes show.
    fn folders(&self) -> Vec<PathBuf>;
    /// Whatever changes shows in these folders; otherwise somebody has to look often.
    fn is_complete(&self) -> bool;
}

/// A file of a vassal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub name: Name,
    /// The file, from the root on.
    pub path: PathBuf,
    /// What the vassal is told to read.
    pub argument: OsString,
    /// Where it is started.
    pub folder: PathBuf,
}

/// The suffixes of configurations, and the options that read them.
const SUFFIXES: [(&str, &str); 6] =
    [("ini", "--ini"), ("xml", "--xml"), ("yaml", "--yaml"), ("yml", "--yaml"), ("json", "--json"), ("js", "--json")];
/// Names of this length and longer are passed over, as in uWSGI.
const LONGEST_NAME: usize = 255;
/// How often all files are looked at where the kernel tells of changes, in milliseconds, and where it does not.
const RARELY_MS: u64 = 30_000;
const OFTEN_MS: u64 = 3_000;
/// Changes within this time are looked at together.
const TOGETHER_MS: u64 = 100;
/// What was being written is looked at again after this time.
const SOON_MS: u64 = 100;
/// So many folders of files behind links are watched at most.
const MOST_FOLDERS: usize = 512;

/// The option by which a vassal reads a file of this name; `None`: it is no configuration.
pub(crate) fn option_for(name: &Path, extra: &[String]) -> Option<&'static str> {
    let bytes = name.as_os_str().as_bytes();
    let base = name.file_name()?.as_bytes();
    if base.starts_with(b".") || base.len() >= LONGEST_NAME {
        return None;
    }
    let suffix = name.extension()?.to_str();
    let known = SUFFIXES.iter().find(|(known, _)| suffix == Some(known)).map(|(_, option)| *option);
    let is_extra = || extra.iter().any(|extra| bytes.ends_with(extra.as_bytes()));
    known.or_else(|| is_extra().then_some("--config"))
}

/// The monitor of a place.
fn monitor(province: &Province, folder: &Path, extra: &[String]) -> Result<Box<dyn Monitor>, String> {
    let path = folder.join(std::ffi::OsStr::from_bytes(&province.path));
    let extra = extra.to_vec();
    let refused = |why: &str| Err(format!("emperor: {} {why} ({})", shown(&province.said), province.origin));
    Ok(match province.kind {
        ProvinceKind::Directory | ProvinceKind::Either if path.is_dir() => {
            Box::new(directory::Directory { folder: path, extra })
        }
        ProvinceKind::Glob => Box::new(glob::Glob::new(&province.path, folder, extra)),
        ProvinceKind::Either if province.path.iter().any(|byte| b"*?[".contains(byte)) => {
            Box::new(glob::Glob::new(&province.path, folder, extra))
        }
        ProvinceKind::List if path.is_file() => Box::new(list::List { file: path, extra }),
        ProvinceKind::List => return refused("is no file of this machine"),
        ProvinceKind::Directory | ProvinceKind::Either => return refused("is no directory of this machine"),
    })
}

/// The places of a configuration that are none on this machine.
pub(crate) fn refusals(config: &Config, folder: &Path) -> Vec<String> {
    let extra = &config.emperor.extra_extensions;
    config.emperor.provinces.iter().filter_map(|one| monitor(one, folder, extra).err()).collect()
}

/// All monitors, and what they have seen.
pub(crate) struct Monitors {
    all: Vec<Box<dyn Monitor>>,
    /// What each of them saw when it could see.
    last: Vec<Vec<Place>>,
    /// Which of them can't see, and why.
    blind: Vec<Option<String>>,
    places: BTreeMap<Name, Place>,
    known: HashMap<Name, Known>,
    watcher: Option<Watcher>,
    next_ms: u64,
    last_ms: u64,
    period_ms: Option<u64>,
    versions: u64,
    doubles: Vec<PathBuf>,
}

impl Monitors {
    /// Those that a configuration names.
    pub(crate) fn of(config: &Config, folder: &Path) -> Result<Self, String> {
        let mut monitors = Self {
            all: Vec::new(),
            last: Vec::new(),
            blind: Vec::new(),
            places: BTreeMap::new(),
            known: HashMap::new(),
            watcher: None,
            next_ms: 0,
            last_ms: 0,
            period_ms: None,
            versions: 0,
            doubles: Vec::new(),
        };
        monitors.renew(config, folder)?;
        match Watcher::new() {
            Ok(watcher) => monitors.watcher = Some(watcher),
            Err(error) => tracing::warn!("emperor: inotify: {}: files are looked at often", crate::why(&error)),
        }
        Ok(monitors)
    }

    /// From here on those of another configuration; what was seen is known.
    pub(crate) fn renew(&mut self, config: &Config, folder: &Path) -> Result<(), String> {
        let extra = &config.emperor.extra_extensions;
        let new = config.emperor.provinces.iter().map(|one| monitor(one, folder, extra));
        self.all = new.collect::<Result<_, _>>()?;
        self.last = self.all.iter().map(|_| Vec::new()).collect();
        self.blind = self.all.iter().map(|_| None).collect();
        self.period_ms = config.emperor.freq.map(|seconds| u64::from(seconds.max(1)) * 1_000);
        self.next_ms = 0;
        Ok(())
    }

    /// What wakes when something changes.
    pub(crate) fn watcher(&self) -> Option<&Watcher> {
        self.watcher.as_ref()
    }

    /// When to look next.
    pub(crate) fn wake_ms(&self) -> u64 {
        self.next_ms
    }

    /// The kernel has something to tell: whether it is time to look earlier.
    pub(crate) fn hear(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        let changes = watcher.changes();
        if changes.lost || !changes.names.is_empty() {
            self.look_soon(TOGETHER_MS);
        }
    }

    /// Somebody wants a look now.
    pub(crate) fn look_now(&mut self) {
        self.next_ms = 0;
    }

    fn look_soon(&mut self, pause_ms: u64) {
        self.next_ms = self.next_ms.min(self.last_ms + pause_ms);
    }

    /// The file of a vassal.
    pub(crate) fn place(&self, name: &Name) -> Option<&Place> {
        self.places.get(name)
    }

    /// Where the file of a vassal lies, and when it changed, in seconds since 1970.
    pub(crate) fn facts(&self, name: &Name) -> (String, i64) {
        let folder = self.places.get(name).and_then(|place| place.path.parent());
        let folder = folder.map(|folder| folder.display().to_string()).unwrap_or_default();
        (folder, self.known.get(name).map_or(0, Known::modified))
    }

    /// All that there is now.
    pub(crate) fn look(&mut self, config: &Config, now_ms: u64) -> Vec<Sighting> {
        self.last_ms = now_ms;
        self.ask_all();
        self.merge();
        let (mut all, mut restless) = (Vec::new(), false);
        let known = std::mem::take(&mut self.known);
        let places = std::mem::take(&mut self.places);
        for (name, place) in &places {
            let former = known.get(name);
            let look = file::look(&place.path, former, config.emperor.nofollow, now_ms);
            let mut now = match look {
                Look::Gone => continue,
                Look::Restless(known) => {
                    restless = true;
                    if known.version == 0 && known.broken.is_none() {
                        self.known.insert(name.clone(), known);
                        continue;
                    }
                    known
                }
                Look::Seen(known) => known,
            };
            if now.changed {
                self.versions += 1;
                now.version = self.versions;
                now.changed = false;
                now.address = None;
            }
            let verdict = self.judge(place, &mut now, config);
            all.push(Sighting { name: name.clone(), version: now.version, verdict });
            self.known.insert(name.clone(), now);
        }
        self.places = places;
        let whole = self.watch();
        let period = self.period_ms.unwrap_or(if whole { RARELY_MS } else { OFTEN_MS });
        self.next_ms = now_ms + period;
        if restless {
            self.look_soon(SOON_MS);
        }
        all
    }

    /// What each monitor sees; one that can't see has seen what it saw last.
    fn ask_all(&mut self) {
        for (index, monitor) in self.all.iter().enumerate() {
            match monitor.look() {
                Ok(places) => {
                    self.last[index] = places;
                    self.blind[index] = None;
                }
                Err(why) => {
                    if self.blind[index].as_ref() != Some(&why) {
                        tracing::error!("emperor: {why}; its vassals stay as they are");
                    }
                    self.blind[index] = Some(why);
                }
            }
        }
    }

    /// One vassal a name: the monitor that was said first counts.
    fn merge(&mut self) {
        self.places.clear();
        let mut doubles = Vec::new();
        for place in self.last.iter().flatten() {
            match self.places.get(&place.name) {
                Some(first) if first.path != place.path => {
                    if !self.doubles.contains(&place.path) {
                        let (path, first) = (shown(place.path.as_os_str().as_bytes()), first.path.display());
                        tracing::warn!("vassal {}: {path} is not run: {first} has this name", place.name);
                    }
                    doubles.push(place.path.clone());
                }
                Some(_) => {}
                None => drop(self.places.insert(place.name.clone(), place.clone())),
            }
        }
        self.doubles = doubles;
    }

    fn judge(&self, place: &Place, known: &mut Known, config: &Config) -> Verdict {
        if let Some(reason) = &known.broken {
            return Verdict::Broken(reason.clone());
        }
        if place.argument.as_bytes().contains(&b':') {
            return Verdict::Broken("what stands behind a colon in a name is a section: rename the file".to_owned());
        }
        let owner = if config.emperor.tyrant {
            match tyrant::owner(&place.path, config.emperor.tyrant_nofollow) {
                Ok(owner) => Some(owner),
                Err(reason) => return Verdict::Forbidden(reason),
            }
        } else {
            None
        };
        match on_demand::address(place, config, &mut known.address) {
            Ok(address) => Verdict::Fine(Terms { owner, address }),
            Err(reason) => Verdict::Broken(reason),
        }
    }

    /// Watches all folders in which something may change; whether nothing can change elsewhere.
    fn watch(&mut self) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut folders: Vec<PathBuf> = self.all.iter().flat_map(|monitor| monitor.folders()).collect();
        // A link changes in its own folder, and what it leads to in another one.
        let linked = self.places.values().filter(|place| place.path.is_symlink());
        folders.extend(linked.filter_map(|place| Some(place.path.canonicalize().ok()?.parent()?.to_owned())));
        folders.sort();
        folders.dedup();
        let too_many = folders.len() > MOST_FOLDERS;
        folders.truncate(MOST_FOLDERS);
        let failed = watcher.watch(&folders);
        let real = failed.iter().any(|(_, error)| error.kind() != io::ErrorKind::NotFound);
        !real && failed.is_empty() && !too_many && self.all.iter().all(|monitor| monitor.is_complete())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_says_how_a_file_is_read() {
        let extra = ["conf".to_owned(), ".app.cfg".to_owned()];
        let option = |name: &str| option_for(Path::new(name), &extra);
        assert_eq!(option("a.ini"), Some("--ini"));
        assert_eq!(option("a b.yml"), Some("--yaml"));
        assert_eq!(option("/v/a.js"), Some("--json"));
        assert_eq!(option("a.conf"), Some("--config"));
        assert_eq!(option("a.app.cfg"), Some("--config"));
        for none in ["a", "a.txt", ".a.ini", "/v/.#a.ini", "a.ini~", "a.INI", "..data"] {
            assert_eq!(option(none), None, "{none}");
        }
        assert_eq!(option(&format!("{}.ini", "a".repeat(251))), None);
        assert_eq!(option(&format!("{}.ini", "a".repeat(250))), Some("--ini"));
    }
}
