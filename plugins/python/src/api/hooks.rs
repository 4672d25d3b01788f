//! What an application hangs into the module, called at its time.

use pyo3::intern;
use pyo3::prelude::*;
use ruwsgi_log::Log;

use crate::trouble;

/// `uwsgi.post_fork_hook`: in each worker, before it serves. With `lazy-apps` before the application is loaded, as in
/// uWSGI.
pub fn post_fork(py: Python<'_>, log: &Log) {
    call(py, log, "post_fork_hook");
}

/// `uwsgi.atexit`: at the end of each worker, before what Python's own `atexit` knows.
pub fn at_exit(py: Python<'_>, log: &Log) {
    call(py, log, "atexit");
}

/// `uwsgi.after_req_hook`, as it is when a worker begins to serve.
pub fn after_request(py: Python<'_>) -> Option<Py<PyAny>> {
    hook(py, "after_req_hook").map(Bound::unbind)
}

fn hook<'py>(py: Python<'py>, name: &str) -> Option<Bound<'py, PyAny>> {
    let module = py.import(intern!(py, "uwsgi")).ok()?;
    module.dict().get_item(name).ok().flatten().filter(PyAnyMethods::is_callable)
}

fn call(py: Python<'_>, log: &Log, name: &str) {
    if let Some(Err(error)) = hook(py, name).map(|hook| hook.call0()) {
        trouble::tell(py, log, &error);
    }
}
