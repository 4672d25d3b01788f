//! `uwsgi.workers()`: what the scoreboard says about each worker of this generation.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyTuple};
use ruwsgi_contract::scoreboard::{Occupant, Seat, Status};
use ruwsgi_sys::process;

use super::{Instance, instance};
use crate::ffi;

pub(super) fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(workers, module)?)?;
    module.add_function(wrap_pyfunction!(total_requests, module)?)
}

/// A dict for each worker. Times and sizes are counted from the first call on, or always where requests are logged.
#[pyfunction]
#[pyo3(signature = (/))]
fn workers(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let instance = instance()?;
    instance.scoreboard.measure();
    let slots = 1..=instance.config.workers.processes;
    let all: PyResult<Vec<_>> = slots.map(|slot| worker(py, instance, slot)).collect();
    PyTuple::new(py, all?)
}

fn worker<'py>(py: Python<'py>, instance: &Instance, slot: u32) -> PyResult<Bound<'py, PyDict>> {
    let found = instance.scoreboard.occupant(slot);
    let none = Occupant {
        slot,
        pid: 0,
        status: Status::Gone,
        spawned: 0,
        respawns: 0,
        before: 0,
        requests: 0,
        exceptions: 0,
        running_us: 0,
        average_us: 0,
        sent_bytes: 0,
    };
    let (seat, it) = found.map_or((None, none), |(seat, it)| (Some(seat), it));
    let (rss, vsz) = if it.pid > 0 { process::memory_of(it.pid).unwrap_or_default() } else { (0, 0) };
    let status: &[u8] = match seat {
        // A slot that nobody serves.
        None => b"cheap",
        Some(seat) if seat.in_flight() > 0 => b"busy",
        Some(_) => b"idle",
    };
    let dict = PyDict::new(py);
    dict.set_item(intern!(py, "id"), it.slot)?;
    dict.set_item(intern!(py, "pid"), it.pid)?;
    dict.set_item(intern!(py, "requests"), it.before.wrapping_add(it.requests))?;
    dict.set_item(intern!(py, "delta_requests"), it.requests)?;
    dict.set_item(intern!(py, "signals"), 0)?;
    dict.set_item(intern!(py, "exceptions"), it.exceptions)?;
    dict.set_item(intern!(py, "status"), PyBytes::new(py, status))?;
    dict.set_item(intern!(py, "rss"), rss)?;
    dict.set_item(intern!(py, "vsz"), vsz)?;
    dict.set_item(intern!(py, "running_time"), it.running_us)?;
    dict.set_item(intern!(py, "last_spawn"), it.spawned)?;
    dict.set_item(intern!(py, "respawn_count"), it.respawns)?;
    dict.set_item(intern!(py, "tx"), it.sent_bytes)?;
    dict.set_item(intern!(py, "avg_rt"), it.average_us)?;
    dict.set_item(intern!(py, "apps"), apps(py, instance, seat, &it)?)?;
    Ok(dict)
}

/// The applications of a worker: all workers of a generation have the same.
fn apps<'py>(
    py: Python<'py>,
    instance: &Instance,
    seat: Option<Seat<'_>>,
    of: &Occupant,
) -> PyResult<Bound<'py, PyTuple>> {
    let (Some(apps), Some(seat)) = (instance.apps.get(), seat) else { return Ok(PyTuple::empty(py)) };
    let mut all = Vec::with_capacity(apps.count());
    for (number, app) in apps.iter().enumerate() {
        // Several are counted one by one, by `wsgi.rs`.
        let (requests, exceptions) = if apps.count() == 1 { (of.requests, of.exceptions) } else { seat.app(number) };
        let dict = PyDict::new(py);
        dict.set_item(intern!(py, "id"), number)?;
        dict.set_item(intern!(py, "modifier1"), 0)?;
        dict.set_item(intern!(py, "mountpoint"), PyBytes::new(py, app.point.as_bytes()))?;
        dict.set_item(intern!(py, "startup_time"), app.startup_s)?;
        dict.set_item(intern!(py, "interpreter"), ffi::interpreter_address(py))?;
        dict.set_item(intern!(py, "callable"), app.callable.as_ptr() as usize)?;
        dict.set_item(intern!(py, "requests"), requests)?;
        dict.set_item(intern!(py, "exceptions"), exceptions)?;
        dict.set_item(intern!(py, "chdir"), PyBytes::new(py, b""))?;
        all.push(dict);
    }
    PyTuple::new(py, all)
}

/// Requests that the workers of this generation have answered.
#[pyfunction]
#[pyo3(signature = (/))]
fn total_requests() -> PyResult<u64> {
    Ok(instance()?.scoreboard.requests())
}
