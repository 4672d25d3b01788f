//! The phases of a zygote and of a worker: their hooks, and the privileges, where it is the zygote that gives them up.

use pyo3::prelude::*;
use ruwsgi_options::Config;
use ruwsgi_stage::hooks::{self, Phase, Scene};
use ruwsgi_stage::privileges::{self, Moment};
use ruwsgi_stage::{Stopped, why};
use ruwsgi_sys::{confine, process};

use crate::stdio;
use crate::zygote::Failure;

impl From<Stopped> for Failure {
    fn from(Stopped { code, reason }: Stopped) -> Self {
        Self { code, reason }
    }
}

/// Does the hooks of a phase. What they add to the environment, the application sees.
pub fn enter(py: Python<'_>, phase: Phase, config: &Config) -> Result<(), Failure> {
    if phase.hooks(&config.hooks).is_empty() {
        return Ok(());
    }
    in_scene(py, config, |scene| hooks::run(phase, config, scene))
}

/// Gives up root before the application is loaded, if that is left to the zygote. A capability that is kept is the
/// application's, and not that of the programs it starts.
pub fn lower_before(py: Python<'_>, config: &Config, master: i32) -> Result<(), Failure> {
    if privileges::moment(config) == Moment::InZygote {
        in_scene(py, config, |scene| privileges::lower(config, scene))?;
        rise(master)?;
    }
    confine::keep_from_programs();
    Ok(())
}

/// The same after the application was loaded.
pub fn lower_after(py: Python<'_>, config: &Config, master: i32) -> Result<(), Failure> {
    match privileges::moment(config) {
        Moment::AtStart | Moment::InZygote => return Ok(()),
        // The master does the hooks.
        Moment::AfterApps => privileges::lower_quietly(config).map_err(Stopped::from)?,
        Moment::AfterAppsInZygote => in_scene(py, config, |scene| privileges::lower(config, scene))?,
    }
    rise(master)?;
    confine::keep_from_programs();
    Ok(())
}

/// What a change of the user has taken away.
fn rise(master: i32) -> Result<(), Failure> {
    confine::allow_inspection();
    let failed = |error: std::io::Error| Failure { code: 1, reason: format!("the zygote: {}", why(&error)) };
    process::die_with_parent().map_err(failed)?;
    // It was there before: who is another parent now has nobody to tell.
    if process::parent_id() == master { Ok(()) } else { Err(Failure { code: 0, reason: String::new() }) }
}

fn in_scene(
    py: Python<'_>,
    config: &Config,
    act: impl FnOnce(&mut Scene) -> Result<(), Stopped> + Send,
) -> Result<(), Failure> {
    // What is buffered would stand behind what the commands write.
    stdio::flush(py);
    let mut scene = Scene::new(config, std::env::vars_os().collect());
    py.detach(|| act(&mut scene))?;
    for (name, value) in &scene.variables {
        let set = py.import("os").and_then(|os| os.getattr("environ")?.set_item(name, value));
        set.map_err(|error| Failure { code: 1, reason: format!("putenv: {name}: {error}") })?;
    }
    Ok(())
}
