//! The processes of the instance, and what they may be asked for.

use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use ruwsgi_contract::message::{FromWorker, Wish};
use ruwsgi_contract::scoreboard::Status;
use ruwsgi_sys::{listen, process, title};

use super::instance;
use super::text;
use crate::ffi;

pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(worker_id, module)?)?;
    module.add_function(wrap_pyfunction!(mule_id, module)?)?;
    module.add_function(wrap_pyfunction!(masterpid, module)?)?;
    module.add_function(wrap_pyfunction!(ready, module)?)?;
    module.add_function(wrap_pyfunction!(reload, module)?)?;
    module.add_function(wrap_pyfunction!(stop, module)?)?;
    module.add_function(wrap_pyfunction!(mem, module)?)?;
    module.add_function(wrap_pyfunction!(micros, module)?)?;
    module.add_function(wrap_pyfunction!(setprocname, module)?)?;
    module.add_function(wrap_pyfunction!(listen_queue, module)?)?;
    module.add_function(wrap_pyfunction!(i_am_the_spooler, module)?)?;
    module.add_function(wrap_pyfunction!(in_farm, module)?)
}

/// The number of this worker, from 1; 0 while the application is loaded for all of them.
#[pyfunction]
#[pyo3(signature = (/))]
fn worker_id() -> PyResult<u32> {
    Ok(instance()?.worker.get().map_or(0, |worker| worker.slot))
}

/// The number of this mule: 0, which is none.
#[pyfunction]
#[pyo3(signature = (/))]
fn mule_id() -> u32 {
    0
}

/// The pid of the master.
#[pyfunction]
#[pyo3(signature = (/))]
fn masterpid() -> PyResult<i32> {
    Ok(instance()?.master)
}

/// This worker accepts requests.
#[pyfunction]
#[pyo3(signature = (/))]
fn ready() -> PyResult<Option<bool>> {
    let status = instance()?.seat().map(|seat| seat.occupant().status);
    Ok(matches!(status, Some(Status::Up | Status::Draining)).then_some(true))
}

/// Asks the master to reload the instance, as SIGHUP does.
#[pyfunction]
#[pyo3(signature = (/))]
fn reload() -> PyResult<bool> {
    ask(Wish::Reload)
}

/// Asks the master to stop the instance at once, as SIGQUIT does.
#[pyfunction]
#[pyo3(signature = (/))]
fn stop() -> PyResult<bool> {
    ask(Wish::Stop)
}

fn ask(wish: Wish) -> PyResult<bool> {
    instance()?.say(&FromWorker::Asks(wish))?;
    Ok(true)
}

/// The memory of this process in bytes: resident, and of its addresses.
#[pyfunction]
#[pyo3(signature = (/))]
fn mem() -> (u64, u64) {
    process::memory_of(process::id()).unwrap_or_default()
}

/// Microseconds since 1970.
#[pyfunction]
#[pyo3(signature = (/))]
fn micros() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros()
}

/// Shows another name in the list of processes, between procname-prefix and procname-append.
#[pyfunction]
#[pyo3(signature = (name, /))]
fn setprocname(name: &Bound<'_, PyAny>) -> PyResult<()> {
    let name = text::bytes(name)?;
    Ok(title::set_command_line(&instance()?.config.full_process_name(&String::from_utf8_lossy(&name)))?)
}

/// How many connections wait to be accepted on a listening socket.
#[pyfunction]
#[pyo3(signature = (number=0, /))]
fn listen_queue(number: i64) -> PyResult<u32> {
    let listener = usize::try_from(number).ok().and_then(|number| instance().ok()?.listeners.get(number));
    let listener = listener.ok_or_else(|| PyValueError::new_err(format!("there is no socket {number}")))?;
    let listener = ffi::duplicate(*listener)?;
    Ok(listen::queue(&listener).0)
}

/// This process is no spooler.
#[pyfunction]
#[pyo3(signature = (/))]
fn i_am_the_spooler() -> Option<bool> {
    None
}

/// This process is in no farm of mules.
#[pyfunction]
#[pyo3(signature = (_farm=None, /))]
fn in_farm(_farm: Option<&Bound<'_, PyAny>>) -> Option<bool> {
    None
}
