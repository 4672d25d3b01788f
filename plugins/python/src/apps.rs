//! The applications of a process, and which of them a request is for.
//!
//! `mount.rs` fills the table, `wsgi.rs` asks it. Nothing here calls Python.

use std::sync::Arc;

use pyo3::prelude::*;
use ruwsgi_contract::message::AppInfo;
use ruwsgi_contract::scoreboard::APPS;
use ruwsgi_wire::{Key, Name, Vars};

/// An application that is loaded.
pub struct App {
    /// Where it is mounted, as it was written: empty or `/path`.
    pub point: String,
    pub callable: Py<PyAny>,
    /// How long loading took, in seconds.
    pub startup_s: u64,
}

/// All of them. Their places are their numbers, as people see them in the log.
#[derive(Default)]
pub struct Apps {
    list: Vec<App>,
    /// Paths decide, not the front end alone (`manage-script-name`).
    by_path: bool,
    /// Nobody answers what no mount matches (`no-default-app`).
    strict: bool,
}

/// Shared by the cores of a worker.
pub type SharedApps = Arc<Apps>;

impl Apps {
    pub fn new(by_path: bool, strict: bool) -> Self {
        Self { list: Vec::new(), by_path, strict }
    }

    pub fn push(&mut self, app: App) {
        self.list.push(app);
    }

    pub fn iter(&self) -> impl Iterator<Item = &App> {
        self.list.iter()
    }

    /// What statistics show of them, as far as they are counted one by one.
    pub fn infos(&self) -> impl Iterator<Item = AppInfo> {
        let info = |(number, app): (usize, &App)| AppInfo {
            number: number as u32,
            startup_s: u32::try_from(app.startup_s).unwrap_or(u32::MAX),
            point: app.point.clone(),
        };
        self.list.iter().take(APPS).enumerate().map(info)
    }

    pub fn get(&self, number: usize) -> Option<&App> {
        self.list.get(number)
    }

    pub fn count(&self) -> usize {
        self.list.len()
    }

    pub fn has(&self, point: &str) -> bool {
        self.list.iter().any(|app| app.point == point)
    }

    /// Who answers what no mount matches: the application of the root, or else the first one, as in uWSGI.
    pub fn default(&self) -> Option<usize> {
        if self.strict {
            return None;
        }
        let root = self.list.iter().position(|app| matches!(app.point.as_str(), "" | "/"));
        root.or((!self.list.is_empty()).then_some(0))
    }

    /// The part of the path that is a mountpoint, the longest one, becomes `SCRIPT_NAME`. A mountpoint ends where the
    /// path ends or goes on with a slash. One that was written with a slash at its end keeps it, as in uWSGI: then the
    /// rest of the path has none at its start.
    pub fn split_path(&self, vars: &mut Vars) {
        if !self.by_path {
            return;
        }
        let Some(span) = vars.span(Key::PathInfo) else { return };
        let path = vars.bytes(span);
        let fits = |point: &str| {
            let prefix = point.strip_suffix('/').unwrap_or(point).as_bytes();
            !prefix.is_empty() && path.starts_with(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
        };
        let points = self.list.iter().map(|app| app.point.as_str());
        if let Some(point) = points.filter(|point| fits(point)).max_by_key(|point| point.len()) {
            let rest = Vars::part(span, point.len().min(path.len())..path.len());
            vars.set(Key::ScriptName, point.as_bytes());
            vars.set_span(Key::PathInfo, rest);
        }
    }

    /// The number of the application that a request is for. The front end may name it by `SCRIPT_NAME` or, before
    /// that, by `UWSGI_APPID`.
    pub fn choose(&self, vars: &Vars) -> Option<usize> {
        if self.list.len() == 1 && !self.strict {
            return Some(0);
        }
        let id = vars.others().find(|(name, _)| *name == Name::Cgi(b"UWSGI_APPID")).map(|(_, value)| value);
        let point = id.or_else(|| vars.key(Key::ScriptName)).unwrap_or_default();
        self.list.iter().position(|app| app.point.as_bytes() == point).or_else(|| self.default())
    }
}
