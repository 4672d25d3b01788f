//! `wsgi.input`: the body of a request as a file, PEP 3333 "Input and Error Streams".

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyList};
use ruwsgi_worker::Input;

/// The input object of a request. It may be kept beyond the request, which takes the body back at its end.
#[pyclass(frozen, name = "Input", module = "ruwsgi")]
pub struct Body(Mutex<State>);

struct State {
    input: Input,
    /// The request ended before the body was read to its end.
    cut: bool,
}

impl Body {
    pub fn new(input: Input) -> Self {
        Self(Mutex::new(State { input, cut: false }))
    }

    /// Takes the body back: the request is over. Waits for another thread that reads just now.
    pub fn end(&self, py: Python<'_>) -> Input {
        let mut state = self.lock(py);
        state.cut = !state.input.is_complete() || !state.input.buffered().is_empty();
        std::mem::take(&mut state.input)
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, State> {
        self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Body {
    /// Reads `size` bytes, fewer only at the end; all of them without a size.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let mut state = self.lock(py);
        let want = limit(size);
        state.fill(py, want, "read", size)?;
        let count = state.input.buffered().len().min(want);
        Ok(state.take(py, count))
    }

    /// Reads to the end of a line, at most `size` bytes.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.lock(py).line(py, size)
    }

    /// Reads lines until they have `hint` bytes together; all of them without one.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let (mut bytes, enough) = (0, limit(hint.filter(|hint| *hint > 0)));
        let mut state = self.lock(py);
        while bytes < enough {
            let line = state.line(py, None)?;
            let length = line.as_bytes().len();
            if length == 0 {
                break;
            }
            bytes += length;
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.lock(py).line(py, None)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }

    /// How many bytes were read.
    fn tell(&self, py: Python<'_>) -> u64 {
        self.lock(py).input.position()
    }

    /// Goes to a place, as a file does; only where the whole body is here: one below 1 MB, or any with `post-buffering`.
    #[pyo3(signature = (offset, whence=0, /))]
    fn seek(&self, py: Python<'_>, offset: i64, whence: u8) -> PyResult<u64> {
        let input = &mut self.lock(py).input;
        let Some(length) = input.length() else {
            return Err(PyOSError::new_err("seek() on wsgi.input: this body needs post-buffering"));
        };
        let from = match whence {
            0 => 0,
            1 => input.position(),
            2 => length,
            _ => return Err(PyValueError::new_err(format!("seek() on wsgi.input: whence {whence} is not 0, 1 or 2"))),
        };
        let position = from.checked_add_signed(offset).filter(|position| *position <= length);
        let position = position.ok_or_else(|| PyOSError::new_err("seek() on wsgi.input: outside of the body"))?;
        input.seek(position);
        Ok(position)
    }

    /// Does nothing: the body belongs to the request.
    #[expect(clippy::unused_self, reason = "a method in Python")]
    fn close(&self) {}
}

impl State {
    /// Reads until `want` bytes are here, or the end. Lets others run where that takes a while.
    fn fill(&mut self, py: Python<'_>, want: usize, method: &str, size: Option<isize>) -> PyResult<()> {
        if self.cut && want > 0 {
            return Err(PyOSError::new_err(format!("{method}() on wsgi.input: the request is over")));
        }
        if self.input.buffered().len() >= want || self.input.is_complete() {
            return Ok(());
        }
        // The texts are uWSGI's, which applications look for.
        py.detach(|| self.input.fill(want)).map_err(|error| {
            let what = if error.kind() == io::ErrorKind::TimedOut { "timeout" } else { "error" };
            PyOSError::new_err(format!("{what} during {method}({}) on wsgi.input", size.unwrap_or(-1)))
        })
    }

    fn line<'py>(&mut self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit(size);
        let mut searched = 0;
        loop {
            let here = self.input.buffered();
            let here = &here[..here.len().min(limit)];
            if let Some(newline) = memchr::memchr(b'\n', &here[searched..]) {
                return Ok(self.take(py, searched + newline + 1));
            }
            searched = here.len();
            if searched == limit {
                return Ok(self.take(py, searched));
            }
            self.fill(py, searched + 1, "readline", size)?;
            if self.input.buffered().len() == searched {
                return Ok(self.take(py, searched));
            }
        }
    }

    fn take<'py>(&mut self, py: Python<'py>, count: usize) -> Bound<'py, PyBytes> {
        let bytes = PyBytes::new(py, &self.input.buffered()[..count]);
        self.input.consume(count);
        bytes
    }
}

/// A size as Python's files understand it: none or a negative one is no limit.
fn limit(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX)
}
