//! The application: found, imported, and its callable looked up. What is missing is told with its place.

use pyo3::exceptions::{PyAttributeError, PyModuleNotFoundError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use ruwsgi_log::Log;
use ruwsgi_options::Config;

use crate::trouble;

/// The name of the callable, where none was said.
const CALLABLE: &str = "application";

/// Puts the words of `pyargv` behind the first one of `sys.argv`.
pub fn set_arguments(py: Python<'_>, config: &Config, log: &Log) {
    let Some(words) = &config.python.pyargv else { return };
    let added = || -> PyResult<()> {
        let argv = py.import("sys")?.getattr("argv")?.cast_into::<PyList>()?;
        // As uWSGI does: quotes mean nothing.
        words.split(' ').filter(|word| !word.is_empty()).try_for_each(|word| argv.append(word))
    };
    if let Err(error) = added() {
        trouble::tell(py, log, &error);
    }
}

/// Puts `pythonpath` in front of `sys.path`: the last one first, patterns expanded, as uWSGI does.
pub fn add_paths(py: Python<'_>, config: &Config, log: &Log) {
    let added = || -> PyResult<()> {
        let path = py.import("sys")?.getattr("path")?.cast_into::<PyList>()?;
        for said in config.python.pythonpath.iter().map(|path| path.as_os_str()) {
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

/// An application that is to be found.
pub struct Wanted<'c> {
    /// The option that asks for it.
    pub option: &'static str,
    /// `module`, `module:callable` or a file.
    pub said: &'c str,
    pub is_file: bool,
    /// Where that was said: ` (uwsgi.ini:5)`.
    pub place: String,
    /// One application, not several by an `applications` dict.
    pub alone: bool,
}

/// What was found.
pub enum Found<'py> {
    /// One callable.
    One(Bound<'py, PyAny>),
    /// Several, by their mountpoints.
    Several(Vec<(String, Bound<'py, PyAny>)>),
}

/// Imports a module or runs a file, for what that does.
pub fn import(py: Python<'_>, log: &Log, said: &str, place: &str) -> Result<(), String> {
    let wanted = Wanted { option: "import", said, is_file: true, place: place.to_owned(), alone: true };
    if said.contains('/') || said.ends_with(".py") {
        run_file(py, log, &wanted).map(drop)
    } else {
        import_module(py, log, &wanted, said).map(drop)
    }
}

/// Loads what is wanted, and finds the callable in it.
pub fn find_application<'py>(
    py: Python<'py>,
    config: &Config,
    log: &Log,
    wanted: &Wanted<'_>,
) -> Result<Found<'py>, String> {
    if wanted.is_file {
        let module = run_file(py, log, wanted)?;
        return find_by_option(&module, config, wanted, wanted.said, log);
    }
    let (name, callable) = match wanted.said.split_once(':') {
        Some((name, callable)) => (name, Some(callable)),
        None => (wanted.said, None),
    };
    let module = import_module(py, log, wanted, name)?;
    match callable {
        Some(callable) => find(&module, name, callable, &wanted.place, log).map(Found::One),
        None => find_by_option(&module, config, wanted, name, log),
    }
}

/// Where an option was said: ` (uwsgi.ini:5)`.
pub fn place(config: &Config, option: &str) -> String {
    config.origin(option).map_or_else(String::new, |origin| format!(" ({origin})"))
}

/// An error in one sentence: exceptions may have many lines, and an error of the kernel its number.
fn first_line(error: &impl ToString) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.split(" (os error").next().unwrap_or(line).to_owned()
}

fn import_module<'py>(
    py: Python<'py>,
    log: &Log,
    wanted: &Wanted<'_>,
    name: &str,
) -> Result<Bound<'py, PyModule>, String> {
    let Wanted { option, place, .. } = wanted;
    py.import(name).map_err(|error| {
        if is_missing(py, &error, name) {
            tracing::info!("sys.path: {}", path(py));
            return format!("{option}: there is no module \"{name}\"{place}");
        }
        trouble::tell(py, log, &error);
        format!("{option}: \"{name}\" can't be imported: {}{place}", first_line(&error))
    })
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

/// A file, under the module name that uWSGI gives it. Mounted more than once, it is loaded once.
fn run_file<'py>(py: Python<'py>, log: &Log, wanted: &Wanted<'_>) -> Result<Bound<'py, PyModule>, String> {
    let Wanted { option, said, place, .. } = wanted;
    let source = std::fs::read(said)
        .map_err(|error| format!("{option}: {said} can't be read: {}{place}", first_line(&error)))?;
    execute(py, said, &source).map_err(|error| {
        trouble::tell(py, log, &error);
        format!("{option}: {said} can't be loaded: {}{place}", first_line(&error))
    })
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
    let modules = py.import("sys")?.getattr("modules")?;
    if let Ok(module) = modules.get_item(&name)
        && module
            .getattr("__file__")
            .and_then(|known| known.extract::<String>())
            .is_ok_and(|known| is_path(&known, file))
    {
        return Ok(module.cast_into()?);
    }
    let loader = py.import("importlib.machinery")?.getattr("SourceFileLoader")?.call1((&name, file))?;
    let util = py.import("importlib.util")?;
    let options = PyDict::new(py);
    options.set_item("loader", &loader)?;
    let spec = util.call_method("spec_from_file_location", (&name, file), Some(&options))?;
    let module = util.call_method1("module_from_spec", (spec,))?.cast_into::<PyModule>()?;
    let builtins = py.import("builtins")?;
    let path = module.getattr("__file__")?;
    let code = builtins.call_method1("compile", (PyBytes::new(py, source), path, "exec", 0, true))?;
    modules.set_item(&name, &module)?;
    let run = builtins.call_method1("exec", (code, module.dict()));
    if let Err(error) = run {
        modules.del_item(&name)?;
        return Err(error);
    }
    Ok(module)
}

fn is_path(known: &str, file: &str) -> bool {
    known == file || std::path::absolute(file).is_ok_and(|file| file.as_os_str() == known)
}

/// The callable that `callable` names, or several by an `applications` dict, or the callable `application`.
fn find_by_option<'py>(
    module: &Bound<'py, PyModule>,
    config: &Config,
    wanted: &Wanted<'_>,
    shown: &str,
    log: &Log,
) -> Result<Found<'py>, String> {
    if let Some(callable) = &config.python.callable {
        return find(module, shown, callable, &place(config, "callable"), log).map(Found::One);
    }
    if !wanted.alone
        && let Some(all) = applications(module)
    {
        let found = all.into_iter().map(|(point, value)| Ok((point, resolve(module, shown, value, wanted, log)?)));
        return found.collect::<Result<_, String>>().map(Found::Several);
    }
    find(module, shown, CALLABLE, &wanted.place, log).map(Found::One)
}

/// The `applications` of the uwsgi module or of this one: a dict of callables (or their names here) by mountpoint. uWSGI
/// wants the mountpoints as bytes. A dict of something else is the application's own affair.
fn applications<'py>(module: &Bound<'py, PyModule>) -> Option<Vec<(String, Bound<'py, PyAny>)>> {
    let of_server = module.py().import("uwsgi").ok()?.getattr("applications").ok();
    let of_module = || module.getattr("applications").ok();
    let dict = of_server.and_then(|it| it.cast_into::<PyDict>().ok()).or_else(|| of_module()?.cast_into().ok())?;
    let all: Option<Vec<_>> = dict.iter().map(|(point, value)| Some((text(&point)?, value))).collect();
    all.filter(|all| !all.is_empty() && all.iter().all(|(point, _)| point.is_empty() || point.starts_with('/')))
}

fn resolve<'py>(
    module: &Bound<'py, PyModule>,
    shown: &str,
    value: Bound<'py, PyAny>,
    wanted: &Wanted<'_>,
    log: &Log,
) -> Result<Bound<'py, PyAny>, String> {
    match text(&value) {
        Some(name) => find(module, shown, &name, &wanted.place, log),
        None if value.is_callable() => Ok(value),
        None => {
            let (kind, place) = (trouble::kind(&value), &wanted.place);
            Err(format!("{shown}: applications holds what is not callable: it is of type {kind}{place}"))
        }
    }
}

fn text(value: &Bound<'_, PyAny>) -> Option<String> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return String::from_utf8(bytes.as_bytes().to_vec()).ok();
    }
    value.cast::<PyString>().ok().map(|text| text.to_string_lossy().into_owned())
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
