//! WSGI: one request, from the environ to the end of the body. PEP 3333 in full.
//!
//! The engine calls this through `Language` and `App`; nothing here knows of connections.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::exceptions::PyBrokenPipeError;
use pyo3::prelude::*;
use ruwsgi_log::Log;
use ruwsgi_worker::{App, Language, Request, Response};

use crate::body;
use crate::environ::{Concurrency, Environs};
use crate::ffi::{self, Attachment};
use crate::input::Body;
use crate::reply::Reply;
use crate::start_response::Functions;
use crate::trouble;

/// The application of a worker.
pub struct Wsgi {
    /// `None`: there is none, and that was allowed.
    pub application: Option<Py<PyAny>>,
    pub concurrency: Concurrency,
    /// The number of the worker.
    pub slot: u32,
    pub log: Log,
}

impl Language for Wsgi {
    type App = Core;

    fn app(&self, core: usize) -> Core {
        let attachment = if core == 0 { Attachment::of_caller() } else { Attachment::of_new_thread() };
        let parts = Python::attach(|py| {
            if core > 0 {
                name_thread(py, &format!("uWSGIWorker{}Core{core}", self.slot))?;
            }
            Ok(Parts {
                application: self.application.as_ref().map(|application| application.clone_ref(py)),
                environs: Environs::new(py, self.concurrency)?,
                functions: Functions::new(py)?,
            })
        });
        let parts = parts.map_err(|error: PyErr| tracing::error!("core {core} can't answer requests: {error}"));
        Core { parts: parts.ok(), log: self.log.clone(), attachment }
    }
}

/// Makes this thread known to `threading`, by uWSGI's name.
fn name_thread(py: Python<'_>, name: &str) -> PyResult<()> {
    py.import("threading")?.call_method0("current_thread")?.setattr("name", name)
}

/// The application on one core.
pub struct Core {
    parts: Option<Parts>,
    log: Log,
    // The last field: what is above is dropped while the thread is attached.
    attachment: Attachment,
}

struct Parts {
    application: Option<Py<PyAny>>,
    environs: Environs,
    functions: Functions,
}

impl App for Core {
    fn serve(&mut self, request: &mut Request<'_>, response: &mut Response<'_>) {
        let Some(parts) = &mut self.parts else { return response.fail() };
        let log = &self.log;
        let served = catch_unwind(AssertUnwindSafe(|| Python::attach(|py| parts.turn(py, log, request, response))));
        // The panic was told by the hook; it costs this request.
        if served.is_err() {
            response.fail();
        }
    }

    fn rest(&mut self) {
        self.attachment.rest();
    }

    fn resume(&mut self) {
        self.attachment.resume();
    }
}

impl Parts {
    fn turn(&mut self, py: Python<'_>, log: &Log, request: &mut Request<'_>, response: &mut Response<'_>) {
        let Self { application, environs, functions } = self;
        let Some(application) = application else {
            // uWSGI's words, which people look for.
            log.say(b"--- no python application found, check your startup logs for errors ---\n");
            return response.fail();
        };
        let has_body = !request.input.is_complete() || !request.input.buffered().is_empty();
        let input = has_body.then(|| Bound::new(py, Body::new(std::mem::take(&mut request.input))));
        let input = match input.transpose() {
            Ok(input) => input,
            Err(error) => {
                trouble::tell(py, log, &error);
                return response.fail();
            }
        };
        let mut reply = Reply::new(response);
        let loan = functions.loan();
        let called = loan.lend(py, &mut reply, || {
            let environ = environs.make(py, request.vars, request.scheme, input.as_ref())?;
            ffi::call(application.bind(py), environ.as_any(), functions.start_response().bind(py))
        });
        let answered = called.and_then(|result| body::send(&result, &mut reply, loan, log));
        if reply.is_gone() {
            tracing::debug!("the client is gone");
        }
        if let Err(error) = answered {
            // The application was told that the client is gone, and need not have handled it.
            if !(reply.is_gone() && error.is_instance_of::<PyBrokenPipeError>(py)) {
                trouble::tell(py, log, &error);
            }
            reply.fail();
        }
        if let Some(input) = input {
            request.input = input.get().end(py);
        }
        if !functions.are_free(py) {
            match Functions::new(py) {
                Ok(new) => *functions = new,
                Err(error) => trouble::tell(py, log, &error),
            }
        }
    }
}
