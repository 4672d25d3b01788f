//! What goes wrong in Python, as text for the log.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use ruwsgi_log::Log;
use ruwsgi_wire::{Key, Vars};

/// Writes the traceback of an exception to the log, as Python prints it.
pub fn tell(py: Python<'_>, log: &Log, error: &PyErr) {
    let mut text = traceback(py, error).unwrap_or_else(|_| format!("{error}\n"));
    if !text.ends_with('\n') {
        text.push('\n');
    }
    log.say(text.as_bytes());
}

fn traceback(py: Python<'_>, error: &PyErr) -> PyResult<String> {
    let parts = py
        .import(intern!(py, "traceback"))?
        .call_method1(intern!(py, "format_exception"), (error.get_type(py), error.value(py), error.traceback(py)))?;
    let text = PyString::new(py, "").call_method1(intern!(py, "join"), (parts,))?;
    Ok(text.cast::<PyString>()?.to_string_lossy().into_owned())
}

/// The page of `catch-exceptions`: what was asked for, and what came of it.
pub fn page(py: Python<'_>, error: &PyErr, vars: &Vars) -> String {
    let part = |key| String::from_utf8_lossy(vars.key(key).unwrap_or_default()).into_owned();
    let (method, uri) = (part(Key::RequestMethod), part(Key::RequestUri));
    let traceback = traceback(py, error).unwrap_or_else(|_| error.to_string());
    format!("an exception of the application for {method} {uri} (catch-exceptions)\n\n{traceback}")
}

/// The name of an object's type, for a sentence.
pub fn kind(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}
