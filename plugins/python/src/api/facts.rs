//! What does not change in the life of a process: the attributes of the module.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};
use ruwsgi_options::Config;
use ruwsgi_sys::nix::unistd::gethostname;

use super::Instance;

/// The release of uWSGI whose module this is, which libraries compare with, and behind it who it really is.
pub const VERSION: &str = concat!("2.0.31-ruwsgi-", env!("CARGO_PKG_VERSION"));

/// The options that SDKs look for before they start their threads: all of these are always so here, said or not.
const ALWAYS: [&str; 4] = ["master", "enable-threads", "single-interpreter", "py-call-uwsgi-fork-hooks"];

pub(super) fn add(module: &Bound<'_, PyModule>, instance: &Instance) -> PyResult<()> {
    let py = module.py();
    let config = &*instance.config;
    let bytes = |text: &[u8]| PyBytes::new(py, text);
    module.add("version", bytes(VERSION.as_bytes()))?;
    module.add("version_info", (2, 0, 31, 0, bytes(concat!("ruwsgi-", env!("CARGO_PKG_VERSION")).as_bytes())))?;
    module.add("hostname", bytes(&node()))?;
    module.add("numproc", config.workers.processes)?;
    module.add("cores", config.workers.threads)?;
    module.add("has_threads", 1)?;
    module.add("buffer_size", config.sockets.buffer_size)?;
    module.add("started_on", instance.started)?;
    module.add("is_a_reload", instance.reloaded)?;
    module.add("sockets", &instance.listeners)?;
    module.add("applications", py.None())?;
    module.add("loop", py.None())?;
    module.add("unbit", py.None())?;
    module.add("SPOOL_OK", -2)?;
    module.add("SPOOL_RETRY", -1)?;
    module.add("SPOOL_IGNORE", 0)?;
    if let Some(mode) = &config.process.mode {
        module.add("mode", bytes(mode.as_bytes()))?;
    }
    if let Some(pidfile) = &config.process.pidfile {
        module.add("pidfile", bytes(pidfile.as_bytes()))?;
    }
    module.add("opt", options(py, config)?)
}

/// The name of this machine.
pub fn node() -> Vec<u8> {
    gethostname().map(OsString::into_vec).unwrap_or_default()
}

/// A dict that keeps which of its names were asked for.
const OPTIONS: &str = include_str!("options.py");

/// The names that the application has asked `uwsgi.opt` for, with line breaks between them.
pub fn asked_for(py: Python<'_>) -> String {
    let asked = || {
        let modules = py.import("sys")?.getattr("modules")?;
        let asked = modules.get_item("uwsgi")?.getattr("opt")?.getattr("asked")?;
        asked.try_iter()?.map(|name| name?.extract::<String>()).collect::<PyResult<Vec<_>>>()
    };
    // An application may have put something else into its place.
    asked().unwrap_or_default().join("\n")
}

/// Everything that was said, unknown names too: `str` to `bytes`, or to `True` where there is no value. The last one
/// counts, as in uWSGI.
fn options<'py>(py: Python<'py>, config: &Config) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    for directive in &config.directives {
        match &directive.value {
            Some(value) => options.set_item(&directive.name, PyBytes::new(py, value))?,
            None => options.set_item(&directive.name, true)?,
        }
    }
    for name in ALWAYS {
        let said = options.get_item(name)?.and_then(|value| value.extract::<Vec<u8>>().ok());
        let says_so = said.is_some_and(|said| [&b"true"[..], b"1", b"on", b"yes"].contains(&said.as_slice()));
        if !says_so {
            options.set_item(name, true)?;
        }
    }
    let scope = PyDict::new(py);
    let builtins = py.import("builtins")?;
    let code = builtins.call_method1("compile", (OPTIONS, "<ruwsgi: uwsgi.opt>", "exec", 0, true))?;
    builtins.call_method1("exec", (code, &scope))?;
    scope.as_any().get_item("Options")?.call1((options,))
}
