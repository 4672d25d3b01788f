//! The body of a response: what the application gave back, sent piece by piece and closed.

use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyMemoryView, PyTuple};
use ruwsgi_log::Log;
use ruwsgi_worker::Gone;

use crate::ffi::Loan;
use crate::file_wrapper::FileWrapper;
use crate::reply::Reply;
use crate::trouble;

/// Sends a result. An error is the application's; a client that is gone just ends it.
pub fn send(result: &Bound<'_, PyAny>, reply: &mut Reply<'_, '_>, loan: &Loan, log: &Log) -> PyResult<()> {
    if reply.takes_buffers() && !result.is_instance_of::<PyBytes>() {
        let Ok(bytes) = copy(result) else { return send_iterable(result, reply, loan, log) };
        reply.length(bytes.as_bytes().len());
        return reply.send(&bytes).map(drop);
    }
    // Nearly all results are one of these: their length is known, and they have no close().
    if let Ok(list) = result.cast_exact::<PyList>() {
        return send_whole(reply, list.len(), |index| list.get_item(index));
    }
    if let Ok(tuple) = result.cast_exact::<PyTuple>() {
        return send_whole(reply, tuple.len(), |index| tuple.get_item(index));
    }
    // uWSGI takes bytes for a body; as an iterable they would be numbers.
    if let Ok(bytes) = result.cast::<PyBytes>() {
        reply.length(bytes.as_bytes().len());
        return reply.send(bytes).map(drop);
    }
    send_iterable(result, reply, loan, log)
}

fn send_iterable(result: &Bound<'_, PyAny>, reply: &mut Reply<'_, '_>, loan: &Loan, log: &Log) -> PyResult<()> {
    let py = result.py();
    let part = result.cast_exact::<FileWrapper>().ok().and_then(|wrapper| wrapper.get().part(py));
    let buffers = reply.takes_buffers();
    // An iterable may still call start_response() and write(); its close() may speak of the request.
    loan.lend(py, reply, || {
        let sent = match part {
            Some(part) => loan.with(py, |reply| reply.last_file(part)).map(drop),
            None => send_items(result, loan, buffers),
        };
        if let Err(error) = close(result) {
            trouble::tell(py, log, &error);
        }
        sent
    })
}

fn send_whole<'py>(
    reply: &mut Reply<'_, '_>,
    count: usize,
    item: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<()> {
    reply.must_be_started()?;
    if count == 1 {
        // The usual result needs no second look.
        let item = item(0)?;
        let bytes = bytes(&item)?;
        reply.length(bytes.map_or(0, |bytes| bytes.as_bytes().len()));
        return reply.item(bytes).map(drop);
    }
    let mut length = 0;
    for index in 0..count {
        length += bytes(&item(index)?)?.map_or(0, |bytes| bytes.as_bytes().len());
    }
    reply.length(length);
    for index in 0..count {
        if reply.item(bytes(&item(index)?)?)? == Err(Gone) {
            break;
        }
    }
    Ok(())
}

fn send_items(result: &Bound<'_, PyAny>, loan: &Loan, buffers: bool) -> PyResult<()> {
    let py = result.py();
    let items = result.try_iter().map_err(|error| {
        let kind = trouble::kind(result);
        let told = PyTypeError::new_err(format!("the application returned {kind}, which is not iterable"));
        told.set_cause(py, Some(error));
        told
    })?;
    for item in items {
        let item = item?;
        let sent = match item.cast_exact::<FileWrapper>() {
            Ok(wrapper) => send_file(wrapper, loan)?,
            Err(_) if buffers && !item.is_none() && !item.is_instance_of::<PyBytes>() => {
                let bytes = copy(&item)?;
                loan.with(py, |reply| reply.item(Some(&bytes)))?
            }
            Err(_) => {
                let bytes = bytes(&item)?;
                loan.with(py, |reply| reply.item(bytes))?
            }
        };
        if sent == Err(Gone) {
            return Ok(());
        }
    }
    loan.with(py, |reply| reply.must_be_started())
}

/// A wrapped file as one item among others, as uWSGI takes it.
fn send_file(wrapper: &Bound<'_, FileWrapper>, loan: &Loan) -> PyResult<Result<(), Gone>> {
    let py = wrapper.py();
    if let Some(part) = wrapper.get().part(py) {
        return loan.with(py, |reply| reply.file(py, &part));
    }
    for block in wrapper.as_any().try_iter()? {
        let block = block?;
        let bytes = bytes(&block)?;
        if loan.with(py, |reply| reply.item(bytes))? == Err(Gone) {
            return Ok(Err(Gone));
        }
    }
    Ok(Ok(()))
}

/// A piece of body; `None` is none, as in uWSGI.
fn bytes<'a, 'py>(item: &'a Bound<'py, PyAny>) -> PyResult<Option<&'a Bound<'py, PyBytes>>> {
    match item.cast::<PyBytes>() {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) if item.is_none() => Ok(None),
        Err(_) => {
            let kind = trouble::kind(item);
            Err(PyTypeError::new_err(format!("the body of a response must consist of bytes, not {kind}")))
        }
    }
}

/// What an object shows of its memory (`wsgi-accept-buffer`): an array, a bytearray, a memoryview.
fn copy<'py>(item: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyMemoryView::from(item)?.call_method0("tobytes")?.cast_into()?)
}

/// PEP 3333: whatever happened before, an iterable that has a `close` is closed, once.
fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    match result.getattr_opt(intern!(result.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}
