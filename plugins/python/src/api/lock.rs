//! `uwsgi.lock()`: locks among all threads of all workers of the instance, old and new ones at a reload.

use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use ruwsgi_sys::lock::{Locked, Locks};

use super::instance;

pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(lock, module)?)?;
    module.add_function(wrap_pyfunction!(unlock, module)?)?;
    module.add_function(wrap_pyfunction!(is_locked, module)?)
}

fn of_number(number: i64) -> PyResult<(&'static Locks, usize)> {
    let locks = &instance()?.locks;
    let number = usize::try_from(number).ok().filter(|number| *number < locks.count());
    // uWSGI's words.
    Ok((locks, number.ok_or_else(|| PyValueError::new_err("Invalid lock number"))?))
}

/// Waits for a lock and takes it. The kernel frees it when the thread that has it ends, however that comes.
#[pyfunction]
#[pyo3(signature = (number=0, /))]
fn lock(py: Python<'_>, number: i64) -> PyResult<()> {
    let (locks, index) = of_number(number)?;
    match py.detach(|| locks.lock(index))? {
        Locked::Now => Ok(()),
        // In uWSGI it would wait for itself for ever.
        Locked::Already => {
            Err(PyRuntimeError::new_err(format!("lock({number}): this thread has it already: it would wait for ever")))
        }
    }
}

/// Frees a lock that this thread has; another one stays as it is.
#[pyfunction]
#[pyo3(signature = (number=0, /))]
fn unlock(number: i64) -> PyResult<()> {
    let (locks, index) = of_number(number)?;
    locks.unlock(index)?;
    Ok(())
}

/// Somebody has a lock.
#[pyfunction]
#[pyo3(signature = (number=0, /))]
fn is_locked(number: i64) -> PyResult<bool> {
    let (locks, index) = of_number(number)?;
    Ok(locks.is_locked(index)?)
}
