//! `wsgi.file_wrapper`: a file as an iterable of blocks, PEP 3333 "Optional Platform-Specific File Handling".
//!
//! What is a file of the kernel goes out by sendfile(2), from where it stands; anything else is read block by block.

use std::fs::File;
use std::io::Seek;
use std::os::fd::OwnedFd;

use pyo3::intern;
use pyo3::prelude::*;

use crate::ffi;

/// What `environ["wsgi.file_wrapper"](file, block_size)` gives.
#[pyclass(frozen, module = "ruwsgi")]
pub struct FileWrapper {
    file: Py<PyAny>,
    block_size: isize,
}

/// A file from its position to its end.
pub struct Part {
    pub file: OwnedFd,
    pub at: u64,
    pub length: u64,
}

/// How deep wrappers of files are looked through.
const DEPTH: usize = 8;

impl FileWrapper {
    /// The file that the kernel can send, if this is one. An exception on the way is none: reading will tell.
    pub fn part(&self, py: Python<'_>) -> Option<Part> {
        let file = self.file.bind(py);
        if !is_as_on_disk(file).ok()? {
            return None;
        }
        let number = file.call_method0(intern!(py, "fileno")).ok()?.extract().ok()?;
        let mut open = File::from(ffi::duplicate(number).ok()?);
        let facts = open.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let at = match file.getattr_opt(intern!(py, "tell")).ok()? {
            // Python has read ahead of what it gave out.
            Some(tell) => tell.call0().ok()?.extract().ok()?,
            None => open.stream_position().ok()?,
        };
        Some(Part { file: open.into(), at, length: facts.len().saturating_sub(at) })
    }
}

/// What `read` would give are the bytes of the descriptor. Files that decompress have a descriptor too; one that Python
/// does not know (no class of `io`) is what PEP 3333 wants of a thing with a `fileno`.
fn is_as_on_disk(file: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = file.py();
    let io = py.import(intern!(py, "io"))?;
    let is = |object: &Bound<'_, PyAny>, class: &str| Ok::<_, PyErr>(object.get_type().is(&io.getattr(class)?));
    if file.getattr_opt(intern!(py, "fileno"))?.is_none() {
        return Ok(false);
    }
    let mut object = file.clone();
    for _ in 0..DEPTH {
        if is(&object, "FileIO")? {
            return Ok(true);
        }
        object = if is(&object, "BufferedReader")? || is(&object, "BufferedRandom")? {
            object.getattr(intern!(py, "raw"))?
        } else if is(&object, "TextIOWrapper")? {
            object.getattr(intern!(py, "buffer"))?
        } else if object.is_instance(&io.getattr(intern!(py, "IOBase"))?)? {
            return Ok(false);
        } else {
            // Temporary files and Django's are wrappers of what `file` is.
            match object.getattr_opt(intern!(py, "file"))? {
                Some(inner) => inner,
                None => return Ok(true),
            }
        };
    }
    Ok(false)
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
