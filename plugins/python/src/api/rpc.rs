//! `uwsgi.rpc()`: functions that a process has under a name. A worker has those of its zygote and its own; those of
//! other nodes come with a later release.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyNotImplementedError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use super::{instance, text};
use crate::trouble;

/// uWSGI's bound for a name.
const NAME_BYTES: usize = 254;

/// In the order of their names' first registration.
static FUNCTIONS: Mutex<Vec<(Vec<u8>, Py<PyAny>)>> = Mutex::new(Vec::new());

pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(register_rpc, module)?)?;
    module.add_function(wrap_pyfunction!(rpc_list, module)?)?;
    module.add_function(wrap_pyfunction!(rpc, module)?)?;
    module.add_function(wrap_pyfunction!(call, module)?)
}

fn functions() -> MutexGuard<'static, Vec<(Vec<u8>, Py<PyAny>)>> {
    FUNCTIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a function a name; the number of its arguments is not checked, as in uWSGI.
#[pyfunction]
#[pyo3(signature = (name, function, _arguments=0, /))]
fn register_rpc(name: &Bound<'_, PyAny>, function: Py<PyAny>, _arguments: u8) -> PyResult<bool> {
    let name = text::bytes(name)?;
    if name.len() > NAME_BYTES {
        // uWSGI's words, and what there is to know.
        let told = format!("unable to register rpc function: its name has {} bytes, at most {NAME_BYTES}", name.len());
        return Err(PyValueError::new_err(told));
    }
    let mut functions = functions();
    let known = functions.iter_mut().find(|(known, _)| *known == name);
    // What is replaced may run code when it goes: not under the lock.
    let replaced = match known {
        Some((_, known)) => Some(std::mem::replace(known, function)),
        None => {
            functions.push((name, function));
            None
        }
    };
    drop(functions);
    drop(replaced);
    Ok(true)
}

/// The names, in a tuple of bytes.
#[pyfunction]
fn rpc_list(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let names: Vec<_> = functions().iter().map(|(name, _)| PyBytes::new(py, name)).collect();
    PyTuple::new(py, names)
}

/// Calls a function of this process (the node is `None` or empty) with texts: bytes, or `None` where it gives none.
#[pyfunction]
#[pyo3(signature = (node, name, /, *arguments))]
fn rpc<'py>(
    node: Option<&Bound<'py, PyAny>>,
    name: &Bound<'py, PyAny>,
    arguments: &Bound<'py, PyTuple>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let node = node.map(text::bytes).transpose()?.unwrap_or_default();
    if !node.is_empty() {
        let node = node.escape_ascii();
        let told = format!("uwsgi.rpc(\"{node}\"): other nodes come with a later release of ruwsgi");
        return Err(PyNotImplementedError::new_err(told));
    }
    call(name, arguments)
}

/// Calls a function of this process with texts. One that is unknown, fails or gives no bytes is `None`, as in uWSGI.
#[pyfunction]
#[pyo3(signature = (name, /, *arguments))]
fn call<'py>(name: &Bound<'py, PyAny>, arguments: &Bound<'py, PyTuple>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let (py, name) = (name.py(), text::bytes(name)?);
    let texts = arguments.iter().map(|argument| Ok(PyBytes::new(py, &text::bytes(&argument)?)));
    let texts = texts.collect::<PyResult<Vec<_>>>()?;
    let function = functions().iter().find(|(known, _)| *known == name).map(|(_, function)| function.clone_ref(py));
    let Some(function) = function else { return Ok(None) };
    match function.call1(py, PyTuple::new(py, texts)?) {
        Ok(result) => {
            Ok(result.into_bound(py).cast_into::<PyBytes>().ok().filter(|bytes| !bytes.as_bytes().is_empty()))
        }
        Err(error) => {
            trouble::tell(py, &instance()?.log, &error);
            Ok(None)
        }
    }
}
