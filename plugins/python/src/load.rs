//! The application: found, imported, and its callable looked up. What is missing is told with its place.

use pyo3::exceptions::{PyAttributeError, PyModuleNotFoundError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use ruwsgi_log::Log;
use ruwsgi_options::Config;

use crate::trouble;
use crate::zygote::Failure;

/// The exit code that says "application", as uWSGI's does.
const APPLICATION: u8 = 22;

/// The name of the callable, where none was said.
const CALLABLE: &str = "application";

/// Puts `pythonpath` in front of `sys.path`: the last one first, patterns expanded, as uWSGI does.
pub fn add_paths(py: Python<'_>, config: &Config, log: &Log) {
    let added = || -> PyResult<()> {
        let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
        for said in &config.python.pythonpath {
            let found = py.import("glob")?.call_method1("glob", (said,))?.cast_into::<PyList>()?;
            found.sort()?;
            if found.is_empty() {
                // It may appear later; and `!` or `[` may be meant as they are.
                path.insert(0, said)?;
            }
            for folder in found {
                path.insert(0, folder)?;
            }
        }
        Ok(())
    };
    if let Err(error) = added() {
        trouble::tell(py, log, &error);
    }
}

/// The application that the configuration asks for; `None` where there is none, and none is needed.
pub fn application(py: Python<'_>, config: &Config, log: &Log) -> Result<Option<Py<PyAny>>, Failure> {
    let failure = |reason| Failure { code: APPLICATION, reason };
    let python = &config.python;
    let loaded = match (&python.module, &python.wsgi_file) {
        (Some(module), file) => {
            if file.is_some() {
                tracing::warn!("wsgi-file is not loaded: module comes first{}", place(config, "wsgi-file"));
            }
            from_module(py, config, log, module)
        }
        (None, Some(file)) => from_file(py, config, log, file),
        (None, None) if config.workers.need_app == Some(true) => {
            let place = place(config, "need-app");
            return Err(failure(format!("need-app: no application was asked for (module, wsgi-file){place}")));
        }
        (None, None) => {
            tracing::info!("no application was asked for (module, wsgi-file): requests are answered with 500");
            return Ok(None);
        }
    };
    match loaded {
        Ok(application) => Ok(Some(application.unbind())),
        Err(reason) if config.workers.need_app == Some(false) => {
            tracing::error!("{reason}");
            tracing::warn!("need-app = false: requests are answered with 500");
            Ok(None)
        }
        Err(reason) => Err(failure(reason)),
    }
}

/// Where an option was said: ` (uwsgi.ini:5)`.
fn place(config: &Config, option: &str) -> String {
    config.origin(option).map_or_else(String::new, |origin| format!(" ({origin})"))
}

/// An error in one sentence: exceptions may have many lines, and an error of the kernel its number.
fn first_line(error: &impl ToString) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" (os error").next().unwrap_or(line).to_owned()
}

/// `package.module`, `module:callable`, `module:factory()`.
fn from_module<'py>(py: Python<'py>, config: &Config, log: &Log, said: &str) -> Result<Bound<'py, PyAny>, String> {
    let place = place(config, "module");
    let (name, callable) = match said.split_once(':') {
        Some((name, callable)) => (name, Some(callable)),
        None => (said, None),
    };
    let module = py.import(name).map_err(|error| {
        if is_missing(py, &error, name) {
            tracing::info!("sys.path: {}", path(py));
            return format!("module: there is no module \"{name}\"{place}");
        }
        trouble::tell(py, log, &error);
        format!("module: \"{name}\" can't be imported: {}{place}", first_line(&error))
    })?;
    match callable {
        Some(callable) => find(&module, name, callable, &place, log),
        None => find_by_option(&module, config, name, &place, log),
    }
}

/// The module itself, or a package that it is in, does not exist. (One that it imports would be worth a traceback.)
fn is_missing(py: Python<'_>, error: &PyErr, name: &str) -> bool {
    let missing = || {
        let missing = error.value(py).getattr("name").ok()?.extract::<String>().ok()?;
        Some(missing == name || name.strip_prefix(&missing)?.starts_with('.'))
    };
    error.is_instance_of::<PyModuleNotFoundError>(py) && missing() == Some(true)
}

fn path(py: Python<'_>) -> String {
    let entries = || -> PyResult<Vec<String>> { py.import("sys")?.getattr("path")?.extract() };
    entries().unwrap_or_default().join(":")
}

/// A file, under the module name that uWSGI gives it.
fn from_file<'py>(py: Python<'py>, config: &Config, log: &Log, said: &str) -> Result<Bound<'py, PyAny>, String> {
    let place = place(config, "wsgi-file");
    let source = std::fs::read(said)
        .map_err(|error| format!("wsgi-file: {said} can't be read: {}{place}", first_line(&error)))?;
    let module = execute(py, said, &source).map_err(|error| {
        trouble::tell(py, log, &error);
        format!("wsgi-file: {said} can't be loaded: {}{place}", first_line(&error))
    })?;
    find_by_option(&module, config, said, &place, log)
}

/// Runs a source file as a module. Without a cache of its bytecode: `app.wsgi` and `app.py` would share one.
fn execute<'py>(py: Python<'py>, file: &str, source: &[u8]) -> PyResult<Bound<'py, PyModule>> {
    let name: String = file
        .strip_suffix(".py")
        .unwrap_or(file)
        .chars()
        .map(|letter| if matches!(letter, '/' | '.') { '_' } else { letter })
        .collect();
    let name = format!("uwsgi_file_{name}");
    let loader = py.import("importlib.machinery")?.getattr("SourceFileLoader")?.call1((&name, file))?;
    let util = py.import("importlib.util")?;
    let options = PyDict::new(py);
    options.set_item("loader", &loader)?;
    let spec = util.call_method("spec_from_file_location", (&name, file), Some(&options))?;
    let module = util.call_method1("module_from_spec", (spec,))?.cast_into::<PyModule>()?;
    let builtins = py.import("builtins")?;
    let path = module.getattr("__file__")?;
    let code = builtins.call_method1("compile", (PyBytes::new(py, source), path, "exec", 0, true))?;
    let modules = py.import("sys")?.getattr("modules")?;
    modules.set_item(&name, &module)?;
    let run = builtins.call_method1("exec", (code, module.dict()));
    if let Err(error) = run {
        modules.del_item(&name)?;
        return Err(error);
    }
    Ok(module)
}

fn find_by_option<'py>(
    module: &Bound<'py, PyModule>,
    config: &Config,
    shown: &str,
    place_of_module: &str,
    log: &Log,
) -> Result<Bound<'py, PyAny>, String> {
    match &config.python.callable {
        Some(callable) => find(module, shown, callable, &place(config, "callable"), log),
        None => find(module, shown, CALLABLE, place_of_module, log),
    }
}

/// Looks up `name`, `object.attribute` or `factory()` in the module, which people know as `shown`.
fn find<'py>(
    module: &Bound<'py, PyModule>,
    shown: &str,
    expression: &str,
    place: &str,
    log: &Log,
) -> Result<Bound<'py, PyAny>, String> {
    let py = module.py();
    let (path, is_factory) = match expression.strip_suffix("()") {
        Some(path) => (path, true),
        None => (expression, false),
    };
    let mut object = module.as_any().clone();
    for name in path.split('.') {
        object = object.getattr(name).map_err(|error| {
            if !error.is_instance_of::<PyAttributeError>(py) {
                trouble::tell(py, log, &error);
                return format!("{shown}: {expression} can't be looked up: {}{place}", first_line(&error));
            }
            let has = callables(module).unwrap_or_default();
            let has = if has.is_empty() { "no other either".to_owned() } else { has.join(", ") };
            format!("{shown} has no callable \"{expression}\"; it has: {has}{place}")
        })?;
    }
    if is_factory {
        object = object.call0().map_err(|error| {
            trouble::tell(py, log, &error);
            format!("{shown}: {expression} failed: {}{place}", first_line(&error))
        })?;
    }
    if !object.is_callable() {
        let kind = trouble::kind(&object);
        return Err(format!("{shown}: {expression} is not callable: it is of type {kind}{place}"));
    }
    Ok(object)
}

/// The names of a module's own callables: what it defines, and what it made (an application object).
fn callables(module: &Bound<'_, PyModule>) -> PyResult<Vec<String>> {
    let py = module.py();
    let types = py.import("types")?;
    let definitions = (py.get_type::<pyo3::types::PyType>(), types.getattr("FunctionType")?);
    let builtin = types.getattr("BuiltinFunctionType")?;
    let name = module.name()?;
    let mut found = Vec::new();
    for (key, value) in module.dict() {
        let key = key.to_string();
        if key.starts_with('_') || !value.is_callable() || value.is_instance(&builtin)? {
            continue;
        }
        let defined = value.is_instance(&definitions.0)? || value.is_instance(&definitions.1)?;
        if !defined || value.getattr(intern!(py, "__module__"))?.eq(&name)? {
            found.push(key);
        }
    }
    Ok(found)
}
