//! Python's cyclic collector while an application is loaded, and what is made of the heap afterwards. The zygote calls it.
//!
//! Nearly all that an import makes is there to stay, and is looked through in vain again and again: 6 % of the time that
//! Django takes to load and to answer one request.

use pyo3::prelude::*;
use ruwsgi_log::Log;

use crate::trouble;

/// So many new objects cause a look while loading; Python's own number is 700 or 2,000. With ten times more, another 5 %
/// are saved, and so much lies about at the end that the holes which it leaves cost each worker a MiB of its own.
const LOADING: i64 = 10_000;

/// Runs `load` while the collector looks rarely.
pub fn resting<T>(py: Python<'_>, log: &Log, load: impl FnOnce() -> T) -> T {
    let before = look_rarely(py);
    let loaded = load();
    if let Err(error) = before.and_then(|before| look_as_often(py, before)) {
        trouble::tell(py, log, &error);
    }
    loaded
}

/// How often the collector has looked; `None`: nothing was changed.
fn look_rarely(py: Python<'_>) -> PyResult<Option<i64>> {
    let (often, second, third) = threshold(py)?;
    // 0 is never, and somebody has said so.
    if !(1..LOADING).contains(&often) {
        return Ok(None);
    }
    py.import("gc")?.call_method1("set_threshold", (LOADING, second, third))?;
    Ok(Some(often))
}

/// What the application has set meanwhile is left alone.
fn look_as_often(py: Python<'_>, before: Option<i64>) -> PyResult<()> {
    let (now, second, third) = threshold(py)?;
    if let Some(often) = before.filter(|_| now == LOADING) {
        py.import("gc")?.call_method1("set_threshold", (often, second, third))?;
    }
    Ok(())
}

fn threshold(py: Python<'_>) -> PyResult<(i64, i64, i64)> {
    py.import("gc")?.call_method0("get_threshold")?.extract()
}

/// What is alive now lives as long as the process: the collector need not write into it, so that the workers share it.
pub fn freeze(py: Python<'_>) -> PyResult<()> {
    let gc = py.import("gc")?;
    gc.call_method0("collect")?;
    gc.call_method0("freeze").map(drop)
}
