//! The request that this thread answers just now.
//!
//! A core says where its replies are to be found; between requests they are lent to nobody. Any other thread has none.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pyo3::exceptions::{PyAttributeError, PySystemError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use ruwsgi_contract::message::FromWorker;

use super::{instance, later, text};
use crate::ffi::{self, Loan};
use crate::reply::Reply;

/// What a core knows about its request.
pub struct Here {
    /// Where the reply is lent.
    pub loan: Arc<Loan>,
    /// The environ of the request, while there is one.
    pub environ: Option<Py<PyDict>>,
    /// How many requests this core has answered.
    pub requests: u64,
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// Changes what this thread knows about its request; `None` at first.
pub fn set_here(change: impl FnOnce(&mut Option<Here>)) {
    HERE.with_borrow_mut(change);
}

/// The request is over: its environ is let go, while this thread may touch it.
pub fn leave(_py: Python<'_>) {
    let environ = HERE.with_borrow_mut(|here| {
        let here = here.as_mut()?;
        here.requests += 1;
        here.environ.take()
    });
    // Outside: what it lets go may run Python.
    drop(environ);
}

pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(request_id, module)?)?;
    module.add_function(wrap_pyfunction!(set_logvar, module)?)?;
    module.add_function(wrap_pyfunction!(get_logvar, module)?)?;
    module.add_function(wrap_pyfunction!(connection_fd, module)?)?;
    module.add_function(wrap_pyfunction!(is_connected, module)?)?;
    module.add_function(wrap_pyfunction!(set_user_harakiri, module)?)?;
    module.add_function(wrap_pyfunction!(cl, module)?)?;
    module.add_function(wrap_pyfunction!(__getattr__, module)?)
}

/// Uses the reply of this thread's request.
fn with<R>(py: Python<'_>, using: impl for<'a, 'b, 'r> FnOnce(&'a mut Reply<'b, 'r>) -> R) -> PyResult<R> {
    // uWSGI's words.
    let outside = || PySystemError::new_err("you can call uwsgi api function only from the main callable");
    let loan = HERE.with_borrow(|here| here.as_ref().map(|here| here.loan.clone())).ok_or_else(outside)?;
    if !loan.is_lent(py) {
        return Err(outside());
    }
    loan.with(py, |reply| Ok(using(reply)))
}

fn environ(py: Python<'_>) -> Option<Py<PyDict>> {
    HERE.with_borrow(|here| here.as_ref()?.environ.as_ref().map(|environ| environ.clone_ref(py)))
}

/// How many requests this core has answered before this one.
#[pyfunction]
#[pyo3(signature = (/))]
fn request_id() -> u64 {
    HERE.with_borrow(|here| here.as_ref().map_or(0, |here| here.requests))
}

/// Keeps a value for the line of the log.
#[pyfunction]
#[pyo3(signature = (name, value, /))]
fn set_logvar(name: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let (py, name, value) = (name.py(), text::bytes(name)?, text::bytes(value)?);
    with(py, |reply| reply.set_logvar(&name, &value))
}

/// A value that was kept.
#[pyfunction]
#[pyo3(signature = (name, /))]
fn get_logvar<'py>(name: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let (py, name) = (name.py(), text::bytes(name)?);
    let value = with(py, |reply| reply.logvar(&name).map(<[u8]>::to_vec))?;
    Ok(value.map(|value| PyBytes::new(py, &value)))
}

/// The descriptor of the client's connection.
#[pyfunction]
#[pyo3(signature = (/))]
fn connection_fd(py: Python<'_>) -> PyResult<i32> {
    with(py, |reply| reply.socket())
}

/// The other end of this connection is there.
#[pyfunction]
#[pyo3(signature = (fd, /))]
fn is_connected(fd: i32) -> bool {
    ffi::duplicate(fd).is_ok_and(|fd| ruwsgi_sys::stream::is_connected(&fd))
}

/// Has this worker killed when the request takes longer; 0 takes that back.
#[pyfunction]
#[pyo3(signature = (seconds, /))]
fn set_user_harakiri(py: Python<'_>, seconds: i64) -> PyResult<()> {
    let instance = instance()?;
    if seconds > 0 && !instance.worker()?.has_deadlines.load(Ordering::Relaxed) {
        instance.say(&FromWorker::Deadlines)?;
        instance.worker()?.has_deadlines.store(true, Ordering::Relaxed);
    }
    let wait_ms =
        u64::try_from(seconds).ok().filter(|seconds| *seconds > 0).map(|seconds| seconds.saturating_mul(1000));
    with(py, |reply| reply.set_deadline(wait_ms))
}

/// The size of the body as the client says it.
#[pyfunction]
#[pyo3(signature = (/))]
fn cl(py: Python<'_>) -> PyResult<u64> {
    let Some(environ) = environ(py) else { return with(py, |_| 0) };
    let length = environ.bind(py).get_item("CONTENT_LENGTH")?;
    Ok(length.and_then(|length| length.extract::<String>().ok()?.parse().ok()).unwrap_or(0))
}

/// What the module has at times only: `env`, the environ of this thread's request.
#[pyfunction]
#[pyo3(signature = (name, /))]
fn __getattr__<'py>(py: Python<'py>, name: &Bound<'py, PyString>) -> PyResult<Py<PyAny>> {
    let name = name.to_string_lossy();
    if name == "env"
        && let Some(environ) = environ(py)
    {
        return Ok(environ.into_any());
    }
    Err(PyAttributeError::new_err(later::absent(&name)))
}
