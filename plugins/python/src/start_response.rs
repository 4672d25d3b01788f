//! `start_response` and the `write` that it returns: builtin functions over one reply.
//!
//! Both are made once and serve request after request, unless an application keeps one: then the next request gets
//! new ones, and the old ones say that their request is over.

use std::ffi::CStr;
use std::sync::Arc;

use pyo3::exceptions::{PyAssertionError, PyBrokenPipeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use ruwsgi_worker::Gone;

use crate::ffi::{self, Arguments, Function, Loan};
use crate::reply::Reply;

/// The two functions, and the reply that they share.
pub struct Functions {
    loan: Arc<Loan>,
    start_response: Py<PyAny>,
    write: Py<PyAny>,
}

impl Functions {
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let loan = Arc::new(Loan::default());
        let write = ffi::function(&Bound::new(py, Write(loan.clone()))?)?.unbind();
        let start = Bound::new(py, StartResponse { loan: loan.clone(), write: write.clone_ref(py) })?;
        Ok(Self { loan, start_response: ffi::function(&start)?.unbind(), write })
    }

    pub fn start_response(&self) -> &Py<PyAny> {
        &self.start_response
    }

    pub fn loan(&self) -> &Arc<Loan> {
        &self.loan
    }

    /// Nobody else has kept one: they can serve the next request. (`write` is held here and by `start_response`.)
    pub fn are_free(&self, py: Python<'_>) -> bool {
        ffi::has_references(&self.start_response, 1, py) && ffi::has_references(&self.write, 2, py)
    }
}

/// `start_response(status, headers, exc_info=None)`, PEP 3333.
#[pyclass(frozen, module = "ruwsgi")]
struct StartResponse {
    loan: Arc<Loan>,
    write: Py<PyAny>,
}

impl Function for StartResponse {
    const FUNCTION: &'static CStr = c"start_response";

    fn call<'py>(slf: &Bound<'py, Self>, arguments: Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let names = ["status", "headers", "exc_info"];
        let [Some(status), Some(headers), exc_info] = arguments.places("start_response", names)? else {
            return Err(PyTypeError::new_err("start_response() takes a status and headers"));
        };
        let exc_info = exc_info.filter(|given| !given.is_none());
        this.loan.with(py, |reply| {
            check(reply, exc_info.as_deref())?;
            reply.start(status, headers)
        })?;
        Ok(this.write.bind(py).clone())
    }
}

/// May a head be made now? A second one only with `exc_info`, and if the first is out, `exc_info` is raised.
fn check(reply: &Reply<'_, '_>, exc_info: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    match exc_info {
        Some(exc_info) if reply.is_committed() => Err(exception_of(exc_info)?),
        None if reply.is_started() => {
            Err(PyAssertionError::new_err("start_response() was called again without exc_info"))
        }
        _ => Ok(()),
    }
}

/// The exception of a `sys.exc_info()` tuple, with its traceback.
fn exception_of(exc_info: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    let py = exc_info.py();
    let tuple = exc_info.cast::<PyTuple>().ok().filter(|tuple| tuple.len() == 3);
    let tuple = tuple.ok_or_else(|| PyTypeError::new_err("exc_info must be a tuple as sys.exc_info() gives it"))?;
    let error = PyErr::from_value(tuple.get_item(1)?);
    if let Ok(traceback) = tuple.get_item(2)?.cast_into() {
        error.set_traceback(py, Some(traceback));
    }
    Ok(error)
}

/// The `write(data)` of PEP 3333.
#[pyclass(frozen, module = "ruwsgi")]
struct Write(Arc<Loan>);

impl Function for Write {
    const FUNCTION: &'static CStr = c"write";

    fn call<'py>(slf: &Bound<'py, Self>, arguments: Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let [data] = arguments.places("write", ["data"])?;
        let data = data.as_ref().and_then(|data| data.cast::<PyBytes>().ok());
        let data = data.ok_or_else(|| PyTypeError::new_err("write() takes bytes"))?;
        match slf.get().0.with(py, |reply| reply.write(&data))? {
            Ok(()) => Ok(py.None().into_bound(py)),
            Err(Gone) => Err(PyBrokenPipeError::new_err("write(): the client is gone")),
        }
    }
}
