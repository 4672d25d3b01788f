//! The log, as the application uses it.

use std::io;
use std::os::fd::AsFd;

use pyo3::prelude::*;

use super::instance;
use super::text;

pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(log, module)?)?;
    module.add_function(wrap_pyfunction!(logsize, module)?)
}

/// Writes a line to the log of the server.
#[pyfunction]
#[pyo3(signature = (line, /))]
fn log(line: &Bound<'_, PyAny>) -> PyResult<bool> {
    let mut line = text::bytes(line)?;
    line.push(b'\n');
    instance()?.log.tell(&line);
    Ok(true)
}

/// The size of the log in bytes, where it is a file; otherwise 0.
#[pyfunction]
#[pyo3(signature = (/))]
fn logsize() -> u64 {
    let file = io::stderr().as_fd().try_clone_to_owned().map(std::fs::File::from);
    let facts = file.and_then(|file| file.metadata());
    facts.ok().filter(std::fs::Metadata::is_file).map_or(0, |facts| facts.len())
}
