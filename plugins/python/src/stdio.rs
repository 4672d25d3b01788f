//! Python's standard output and error: lines appear when they are written, and none is written twice or lost at a
//! fork or an `_exit`.

use pyo3::intern;
use pyo3::prelude::*;

/// Output to a file or a pipe would otherwise stay in a buffer that nobody flushes. Errors are no reason not to start:
/// a stream may be `None`, closed, or the application's own object.
pub fn buffer_lines(py: Python<'_>) {
    if std::env::var_os("PYTHONUNBUFFERED").is_some_and(|value| !value.is_empty()) {
        return;
    }
    for stream in streams(py) {
        let line_buffering = pyo3::types::PyDict::new(py);
        let _ = line_buffering
            .set_item("line_buffering", true)
            .and_then(|()| stream.call_method("reconfigure", (), Some(&line_buffering)));
    }
}

/// Writes what is buffered.
pub fn flush(py: Python<'_>) {
    for stream in streams(py) {
        let _ = stream.call_method0(intern!(py, "flush"));
    }
}

fn streams(py: Python<'_>) -> impl Iterator<Item = Bound<'_, PyAny>> {
    let sys = py.import(intern!(py, "sys")).ok();
    ["stdout", "stderr"].into_iter().filter_map(move |name| sys.as_ref()?.getattr(name).ok())
}
