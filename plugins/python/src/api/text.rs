//! A text as uWSGI's functions take it: `str` or `bytes`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::trouble;

/// The bytes of an argument; a `str` in UTF-8.
pub fn bytes(argument: &Bound<'_, PyAny>) -> PyResult<Vec<u8>> {
    if let Ok(bytes) = argument.cast::<PyBytes>() {
        return Ok(bytes.as_bytes().to_vec());
    }
    let text = argument.cast::<PyString>().map_err(|_| {
        let kind = trouble::kind(argument);
        PyTypeError::new_err(format!("a str or bytes is needed, not {kind}"))
    })?;
    Ok(text.to_string_lossy().into_owned().into_bytes())
}
