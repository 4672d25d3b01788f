//! `wsgi.file_wrapper`: a file as an iterable of blocks, PEP 3333 "Optional Platform-Specific File Handling".

use pyo3::intern;
use pyo3::prelude::*;

/// What `environ["wsgi.file_wrapper"](file, block_size)` gives.
#[pyclass(frozen, module = "ruwsgi")]
pub struct FileWrapper {
    file: Py<PyAny>,
    block_size: isize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (file, block_size=8192, /))]
    fn new(file: Py<PyAny>, block_size: isize) -> Self {
        Self { file, block_size }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    /// The next block; what is empty (`b""`) is the end.
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.file.bind(py).call_method1(intern!(py, "read"), (self.block_size,))?;
        Ok(if block.is_truthy()? { Some(block) } else { None })
    }

    /// Closes the file, if it has a `close`.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(close) = self.file.bind(py).getattr_opt(intern!(py, "close"))? {
            close.call0()?;
        }
        Ok(())
    }
}
