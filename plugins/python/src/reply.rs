//! One response as WSGI sees it: the head by `start_response`, then pieces of body.

use std::os::fd::{AsFd, AsRawFd};

use pyo3::Borrowed;
use pyo3::exceptions::{PyAssertionError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyString, PyTuple};
use ruwsgi_options::Config;
use ruwsgi_wire::BadResponse;
use ruwsgi_worker::{Gone, Response};

use crate::file_wrapper::Part;
use crate::{ffi, trouble};

/// A piece of body from this size on is written without the GIL: copying it into the kernel takes a while.
const LARGE_BYTES: usize = 64 * 1024;

/// How an application may behave, and what becomes of one whose client is gone.
#[derive(Clone, Copy)]
pub struct Manners {
    /// `wsgi-accept-buffer`
    buffers: bool,
    /// `write()` raises (not with `disable-write-exception`).
    raises: bool,
    /// So many pieces may be lost before the server ends the iteration; `None`: it never does, the exception of
    /// `write()` has to.
    tolerance: Option<u64>,
}

impl Manners {
    /// From the options.
    pub fn of(config: &Config) -> Self {
        let python = &config.python;
        let tolerance = (!python.write_errors_exception_only).then_some(python.write_errors_tolerance);
        Self { buffers: python.accept_buffers, raises: !python.disable_write_exception, tolerance }
    }
}

/// The response to one request, while the application makes it.
pub struct Reply<'b, 'r> {
    response: &'b mut Response<'r>,
    /// There is a head, whole and accepted.
    started: bool,
    /// The client is gone: nothing more can be sent.
    gone: bool,
    /// So many pieces could not be sent.
    lost: u64,
    manners: Manners,
}

impl<'b, 'r> Reply<'b, 'r> {
    pub fn new(response: &'b mut Response<'r>, manners: Manners) -> Self {
        Self { response, started: false, gone: false, lost: 0, manners }
    }

    /// Pieces of body may be anything that shows its memory.
    pub fn takes_buffers(&self) -> bool {
        self.manners.buffers
    }

    /// There is a head.
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// The head is out: it can't be replaced any more.
    pub fn is_committed(&self) -> bool {
        self.response.is_committed()
    }

    /// The client is gone.
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Makes the head; one that was made before is forgotten.
    pub fn start(&mut self, status: Borrowed<'_, '_, PyAny>, headers: Borrowed<'_, '_, PyAny>) -> PyResult<()> {
        self.started = false;
        let status = text(status, || "the status".to_owned())?;
        let status = encode(&status, || "the status".to_owned())?;
        self.response.begin(&status).map_err(|bad| refuse(bad, &status, b""))?;
        let headers =
            headers.cast::<PyList>().map_err(|_| PyTypeError::new_err("http headers must be in a python list"))?;
        for index in 0..headers.len() {
            let pair = headers.get_item(index)?;
            let pair =
                pair.cast::<PyTuple>().ok().filter(|pair| pair.len() == 2).ok_or_else(|| {
                    PyTypeError::new_err(format!("header {index} must be a tuple of a name and a value"))
                })?;
            let (name, value) = (pair.get_borrowed_item(0)?, pair.get_borrowed_item(1)?);
            let name = text(name, || format!("the name of header {index}"))?;
            let name = encode(&name, || format!("the name of header {index}"))?;
            let of = || format!("the value of header \"{}\"", name.escape_ascii());
            let value = text(value, of)?;
            let value = encode(&value, of)?;
            self.response.field(&name, &value).map_err(|bad| refuse(bad, &name, &value))?;
        }
        self.started = true;
        Ok(())
    }

    /// A body, or the end of one, needs a head.
    pub fn must_be_started(&self) -> PyResult<()> {
        if self.started {
            return Ok(());
        }
        Err(PyAssertionError::new_err("the application did not call start_response() before its body"))
    }

    /// The whole body has so many bytes, none of which was sent.
    pub fn length(&mut self, length: usize) {
        // After write(), part of it was.
        if !self.response.is_committed() {
            self.response.length(length as u64);
        }
    }

    /// Sends one item of the application's iterable, which may be none.
    pub fn item(&mut self, item: Option<&Bound<'_, PyBytes>>) -> PyResult<Result<(), Gone>> {
        self.response.count_switch();
        match item {
            Some(bytes) => self.send(bytes).map(|sent| self.bear(sent)),
            None => Ok(Ok(())),
        }
    }

    /// Counts a piece that could not be sent; `Err`: the application is to stop.
    fn bear(&mut self, sent: Result<(), Gone>) -> Result<(), Gone> {
        if self.manners.tolerance.is_some_and(|tolerance| self.lost > tolerance) { sent } else { Ok(()) }
    }

    fn note(&mut self, sent: Result<(), Gone>) -> Result<(), Gone> {
        self.gone |= sent.is_err();
        self.lost += u64::from(sent.is_err());
        sent
    }

    /// Sends what the application gives to `write()`; `Err`: it is to be told that the client is gone.
    pub fn write(&mut self, piece: &Bound<'_, PyBytes>) -> PyResult<Result<(), Gone>> {
        let sent = self.send(piece)?;
        let bearable = self.manners.tolerance.is_some_and(|tolerance| self.lost <= tolerance);
        Ok(if self.manners.raises && !bearable { sent } else { Ok(()) })
    }

    /// Sends a piece of the body. An empty one is nothing: it does not even send the head. Lets others run where
    /// sending takes a while.
    pub fn send(&mut self, piece: &Bound<'_, PyBytes>) -> PyResult<Result<(), Gone>> {
        self.must_be_started()?;
        let (py, response, mut bytes) = (piece.py(), &mut *self.response, piece.as_bytes());
        let mut send = || {
            while !bytes.is_empty() {
                let taken = if bytes.len() < LARGE_BYTES {
                    response.write(bytes)?
                } else {
                    py.detach(|| response.write(bytes))?
                };
                bytes = &bytes[taken..];
                if !bytes.is_empty() {
                    py.detach(|| response.wait_for_room())?;
                }
            }
            Ok(())
        };
        let sent = send();
        Ok(self.note(sent))
    }

    /// Sends a part of a file as the whole body, or as all that is left of it. Nothing may follow: the connection sends
    /// it while the client takes it, and no thread waits.
    pub fn last_file(&mut self, part: Part) -> PyResult<Result<(), Gone>> {
        self.must_be_started()?;
        let Part { file, at, length } = part;
        if !self.response.is_committed() {
            self.response.length(length);
        }
        let sent = self.response.hand_over(file, at, length);
        Ok(self.note(sent))
    }

    /// Sends a part of a file as a piece of the body.
    pub fn file(&mut self, py: Python<'_>, part: &Part) -> PyResult<Result<(), Gone>> {
        self.must_be_started()?;
        self.response.count_switch();
        let (mut at, mut length) = (part.at, part.length);
        let response = &mut *self.response;
        let sent = py.detach(|| {
            while length > 0 {
                let taken = response.send_file(part.file.as_fd(), at, length)?;
                (at, length) = (at + taken, length - taken);
                if length > 0 {
                    response.wait_for_room()?;
                }
            }
            Ok(())
        });
        let sent = self.note(sent);
        Ok(self.bear(sent))
    }

    /// Answers with a page of the server's own, if the head is not out yet.
    pub fn page(&mut self, text: &[u8]) -> bool {
        let response = &mut *self.response;
        if response.is_committed() {
            return false;
        }
        let head = response
            .begin(b"500 Internal Server Error")
            .and_then(|()| response.field(b"Content-Type", b"text/plain; charset=utf-8"));
        response.length(text.len() as u64);
        let mut rest = text;
        while head.is_ok() && !rest.is_empty() {
            match response.write(rest).and_then(|taken| response.wait_for_room().map(|()| taken)) {
                Ok(taken) => rest = &rest[taken..],
                Err(Gone) => self.gone = true,
            }
            if self.gone {
                break;
            }
        }
        head.is_ok()
    }

    /// Keeps a value for the log.
    pub fn set_logvar(&mut self, name: &[u8], value: &[u8]) {
        self.response.set_logvar(name, value);
    }

    /// A value that was kept for the log.
    pub fn logvar(&self, name: &[u8]) -> Option<&[u8]> {
        self.response.logvar(name)
    }

    /// The descriptor of the client's connection.
    pub fn socket(&self) -> i32 {
        self.response.socket().as_raw_fd()
    }

    /// Lets the request go on for so long and no longer; `None`: as long as any other.
    pub fn set_deadline(&self, wait_ms: Option<u64>) {
        self.response.set_deadline(wait_ms);
    }

    /// The application failed.
    pub fn fail(&mut self) {
        self.response.fail();
    }
}

fn text<'a, 'py>(object: Borrowed<'a, 'py, PyAny>, what: impl Fn() -> String) -> PyResult<Borrowed<'a, 'py, PyString>> {
    object.cast::<PyString>().map_err(|_| {
        let kind = trouble::kind(&object);
        PyTypeError::new_err(format!("{} must be a str, not {kind}", what()))
    })
}

fn encode<'a>(text: &Borrowed<'a, '_, PyString>, what: impl Fn() -> String) -> PyResult<ffi::Latin1<'a>> {
    ffi::latin1_of(*text).map_err(|error| {
        let told = PyValueError::new_err(format!("{} is not latin-1", what()));
        told.set_cause(text.py(), Some(error));
        told
    })
}

/// What the protocol refuses, as an exception that names it.
fn refuse(bad: BadResponse, name: &[u8], value: &[u8]) -> PyErr {
    let (name, value) = (name.escape_ascii(), value.escape_ascii());
    let why = match bad {
        BadResponse::Status => format!("the status \"{name}\" is not three digits, a space and a reason"),
        BadResponse::FieldName => format!("the header name \"{name}\" is no token"),
        BadResponse::FieldValue => format!("the value of header \"{name}\" holds CR, LF or NUL: \"{value}\""),
        BadResponse::HopByHop => format!("the header \"{name}\" is hop-by-hop: it is the server's"),
        BadResponse::ContentLength => {
            format!("the header \"{name}\" is no number, or was given twice with different values: \"{value}\"")
        }
    };
    PyValueError::new_err(why)
}
