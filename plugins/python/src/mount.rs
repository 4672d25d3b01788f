//! Everything that the configuration asks to be loaded: imports, the main application or several by an `applications`
//! dict, and the mounts.
//!
//! The zygote calls it, or with `lazy-apps` each worker. All applications share one interpreter. One process can't hold
//! two Django projects (their settings and registry of models are the process's): the second one is refused.

use pyo3::prelude::*;
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_sys::clock;

use crate::apps::{App, Apps};
use crate::load::{self, Found, Wanted, place};
use crate::zygote::Failure;

/// The exit code that says "application", as uWSGI's does.
const APPLICATION: u8 = 22;

/// The variable by which a Django project finds its settings.
const SETTINGS: &str = "DJANGO_SETTINGS_MODULE";

/// Loads everything. What is missing or broken ends the start, unless `need-app = false`.
pub fn everything(py: Python<'_>, config: &Config, log: &Log) -> Result<Apps, Failure> {
    let python = &config.python;
    let mut loading = Loading {
        config,
        log,
        apps: Apps::new(python.manage_script_name, python.no_default_app),
        django: Django::new(py),
    };
    for said in &python.imports {
        if let Err(reason) = load::import(py, log, said, &place(config, "import")) {
            loading.broken(reason)?;
        }
    }
    if let Some(wanted) = main(config) {
        loading.load(py, "", &wanted)?;
    }
    for mount in &python.mounts {
        if loading.apps.has(&mount.point) {
            // uWSGI's words, more or less.
            tracing::warn!("mountpoint {} already configured: skipped ({})", mount.point, mount.origin);
            continue;
        }
        let place = format!(" ({})", mount.origin);
        let wanted = Wanted { option: "mount", said: &mount.app, is_file: mount.is_file, place, alone: true };
        loading.load(py, &mount.point, &wanted)?;
    }
    let apps = loading.apps;
    tell(&apps);
    if apps.count() == 0 && main(config).is_none() && python.mounts.is_empty() {
        none_asked_for(config)?;
    }
    Ok(apps)
}

/// The application that is not a mount.
fn main(config: &Config) -> Option<Wanted<'_>> {
    let python = &config.python;
    let wanted = |option, said, is_file| Wanted { option, said, is_file, place: place(config, option), alone: false };
    match (&python.module, &python.wsgi_file) {
        (Some(module), file) => {
            if file.is_some() {
                tracing::warn!("wsgi-file is not loaded: module comes first{}", place(config, "wsgi-file"));
            }
            Some(wanted("module", module.as_str(), false))
        }
        (None, Some(file)) => Some(wanted("wsgi-file", file.as_str(), true)),
        (None, None) => None,
    }
}

fn none_asked_for(config: &Config) -> Result<(), Failure> {
    if config.workers.need_app == Some(true) {
        let place = place(config, "need-app");
        let reason = format!("need-app: no application was asked for (module, wsgi-file, mount){place}");
        return Err(Failure { code: APPLICATION, reason });
    }
    tracing::info!("no application was asked for (module, wsgi-file, mount): requests are answered with 500");
    Ok(())
}

/// uWSGI's words, which people look for; one application at the root is no news.
fn tell(apps: &Apps) {
    if apps.count() == 1 && apps.has("") {
        return;
    }
    for (number, App { point, startup_s, .. }) in apps.iter().enumerate() {
        let default = if apps.default() == Some(number) { " (default app)" } else { "" };
        tracing::info!("WSGI app {number} (mountpoint='{point}') ready in {startup_s} seconds{default}");
    }
}

/// A loading that is under way.
struct Loading<'c> {
    config: &'c Config,
    log: &'c Log,
    apps: Apps,
    django: Django,
}

impl Loading<'_> {
    fn load(&mut self, py: Python<'_>, point: &str, wanted: &Wanted<'_>) -> Result<(), Failure> {
        let began_us = clock::monotonic_us();
        let shown = if point.is_empty() { wanted.said } else { point };
        self.django.before(py);
        let found = load::find_application(py, self.config, self.log, wanted);
        let conflict = self.django.after(py, shown);
        let found = match (found, conflict) {
            (Ok(found), None) => found,
            (_, Some(conflict)) => return self.broken(format!("{}: {conflict}{}", wanted.option, wanted.place)),
            (Err(reason), None) => return self.broken(reason),
        };
        let startup_s = (clock::monotonic_us() - began_us) / 1_000_000;
        let found = match found {
            Found::One(callable) => vec![(point.to_owned(), callable)],
            Found::Several(all) => all,
        };
        for (point, callable) in found {
            self.apps.push(App { point, callable: callable.unbind(), startup_s });
        }
        Ok(())
    }

    fn broken(&self, reason: String) -> Result<(), Failure> {
        if self.config.workers.need_app != Some(false) {
            return Err(Failure { code: APPLICATION, reason });
        }
        tracing::error!("{reason}");
        tracing::warn!("need-app = false: the start goes on without it");
        Ok(())
    }
}

/// Notices a second Django project by the settings that it asks for. `wsgi.py` names them with `setdefault`, so it would
/// silently run with those of the first one: while another application is loaded, the first one's are out of sight.
struct Django {
    /// The environment named them before anything was loaded: they hold for all.
    is_given: bool,
    /// Whose settings are loaded: the application, and their module.
    loaded: Option<(String, String)>,
}

impl Django {
    fn new(py: Python<'_>) -> Self {
        Self { is_given: settings(py).is_some(), loaded: None }
    }

    fn before(&self, py: Python<'_>) {
        if self.loaded.is_some() {
            set_settings(py, None);
        }
    }

    /// What is wrong after the application `shown` was loaded, if something is.
    fn after(&mut self, py: Python<'_>, shown: &str) -> Option<String> {
        let named = settings(py);
        match (&self.loaded, named) {
            _ if self.is_given => None,
            (None, named) => {
                self.loaded = named.map(|named| (shown.to_owned(), named));
                None
            }
            (Some((first, settings)), named) => {
                set_settings(py, Some(settings));
                let other = named.filter(|named| named != settings)?;
                Some(format!(
                    "{shown} is a Django project ({other}), and so is {first} ({settings}): one process holds one of \
                     them, so each needs an instance of its own (one vassal each)"
                ))
            }
        }
    }
}

fn settings(py: Python<'_>) -> Option<String> {
    let environ = py.import("os").and_then(|os| os.getattr("environ"));
    environ.and_then(|environ| environ.call_method1("get", (SETTINGS,))).ok()?.extract().ok()
}

fn set_settings(py: Python<'_>, value: Option<&str>) {
    let set = || -> PyResult<()> {
        let environ = py.import("os")?.getattr("environ")?;
        match value {
            Some(value) => environ.set_item(SETTINGS, value),
            None => environ.call_method1("pop", (SETTINGS, py.None())).map(drop),
        }
    };
    if let Err(error) = set() {
        tracing::error!("{SETTINGS} can't be changed: {error}");
    }
}
