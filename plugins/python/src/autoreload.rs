//! `py-auto-reload`: a thread of worker 1 looks every few seconds at the files of all loaded modules, and asks the master
//! for a reload when one has changed.
//!
//! It goes on after that: where the new code does not load, the old worker still serves, and the next change is the one
//! that may help. It never imports anything, and holds the GIL only to read the names.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use ruwsgi_contract::message::{FromWorker, Message, Wish};
use ruwsgi_options::Config;
use ruwsgi_sys::channel::Channel;

/// The files of what was just loaded: what changes from here on is noticed, also if it does before anybody looks.
pub fn loaded(py: Python<'_>, config: &Config) -> Files {
    let mut files = Files::default();
    if config.python.auto_reload > 0 {
        files.look(modules(py, &ignored(config)).unwrap_or_default());
    }
    files
}

/// Starts the thread, in the worker that has it.
pub fn watch(config: &Config, slot: u32, channel: &Channel, mut files: Files) {
    let seconds = config.python.auto_reload;
    if seconds == 0 || slot != 1 {
        return;
    }
    let (every, ignored) = (Duration::from_secs(seconds.into()), ignored(config));
    let started = channel.try_clone().and_then(|channel| {
        let life = move || {
            loop {
                let modules = Python::attach(|py| modules(py, &ignored)).unwrap_or_default();
                for changed in files.look(modules) {
                    tracing::info!("py-auto-reload: {} has changed: reload", changed.display());
                    // A master that is gone reloads nothing.
                    let _ = channel.send(&FromWorker::Asks(Wish::Reload).encode(), &[]);
                }
                thread::park_timeout(every);
            }
        };
        thread::Builder::new().name("autoreload".to_owned()).spawn(life)
    });
    if let Err(error) = started {
        tracing::error!("py-auto-reload: nobody looks for changes: {error}");
    }
}

fn ignored(config: &Config) -> HashSet<String> {
    config.python.auto_reload_ignore.iter().cloned().collect()
}

/// The files of the modules that are loaded.
fn modules(py: Python<'_>, ignored: &HashSet<String>) -> PyResult<Vec<PathBuf>> {
    let modules = py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?;
    let mut files = Vec::new();
    // A copy: a module may run code when it is asked, and that may import.
    for (name, module) in modules.copy()? {
        let Ok(name) = name.extract::<String>() else { continue };
        // Built-in modules and namespaces have no file, and some objects pose as modules.
        let file = module.getattr(intern!(py, "__file__")).and_then(|file| file.extract::<PathBuf>());
        if let (Ok(file), false) = (file, ignored.contains(&name)) {
            files.push(file);
        }
    }
    Ok(files)
}

/// The files that were seen, and their times of change.
#[derive(Default)]
pub struct Files(HashMap<PathBuf, Option<SystemTime>>);

impl Files {
    /// Which of these have changed since they were seen. One that is gone may be about to be replaced: it has changed
    /// when it is there again.
    fn look(&mut self, files: Vec<PathBuf>) -> Vec<PathBuf> {
        let mut changed = Vec::new();
        for file in files {
            let now = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).ok();
            let seen = self.0.entry(file.clone()).or_insert(now);
            if now.is_some() && *seen != now {
                *seen = now;
                changed.push(file);
            }
        }
        changed
    }
}
