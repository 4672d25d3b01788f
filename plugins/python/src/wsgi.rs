//! WSGI: one request, from the environ to the end of the body. PEP 3333 in full.
//!
//! The engine calls this through `Language` and `App`; nothing here knows of connections.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use pyo3::exceptions::PyBrokenPipeError;
use pyo3::prelude::*;
use ruwsgi_contract::scoreboard::Scoreboard;
use ruwsgi_log::Log;
use ruwsgi_options::Config;
use ruwsgi_wire::Vars;
use ruwsgi_worker::{App, Language, Request, Response};

use crate::api::{self, Here};
use crate::apps::SharedApps;
use crate::body;
use crate::environ::{Concurrency, Environs};
use crate::ffi::{self, Attachment};
use crate::input::Body;
use crate::reply::{Manners, Reply};
use crate::start_response::Functions;
use crate::trouble;
use crate::worker::Seat;

/// The applications of a worker.
pub struct Wsgi {
    pub apps: SharedApps,
    /// `uwsgi.after_req_hook`.
    pub after: Option<Py<PyAny>>,
    pub config: Arc<Config>,
    pub scoreboard: Arc<Scoreboard>,
    pub place: Seat,
    pub log: Log,
}

impl Language for Wsgi {
    type App = Core;

    fn app(&self, core: usize) -> Core {
        let attachment = if core == 0 { Attachment::of_caller() } else { Attachment::of_new_thread() };
        let workers = &self.config.workers;
        let concurrency = Concurrency {
            threads: workers.threads > 1,
            processes: workers.processes > 1,
            file_wrapper: !self.config.python.disable_file_wrapper,
            core: (workers.threads > 1).then_some(core),
        };
        let parts = Python::attach(|py| {
            if core > 0 {
                name_thread(py, &format!("uWSGIWorker{}Core{core}", self.place.slot))?;
            }
            let functions = Functions::new(py)?;
            let here = Here { loan: functions.loan().clone(), environ: None, requests: 0 };
            api::set_here(|place| *place = Some(here));
            Ok(Parts {
                apps: self.apps.clone(),
                environs: Environs::new(py, concurrency)?,
                functions,
                after: self.after.as_ref().map(|hook| hook.clone_ref(py)),
                shows_failures: self.config.python.catch_exceptions,
                manners: Manners::of(&self.config),
                scoreboard: self.scoreboard.clone(),
                seat: self.place.seat,
                log: self.log.clone(),
            })
        });
        let parts = parts.map_err(|error: PyErr| tracing::error!("core {core} can't answer requests: {error}"));
        Core { parts: parts.ok(), attachment }
    }
}

/// Makes this thread known to `threading`, by uWSGI's name.
fn name_thread(py: Python<'_>, name: &str) -> PyResult<()> {
    py.import("threading")?.call_method0("current_thread")?.setattr("name", name)
}

/// The applications on one core.
pub struct Core {
    parts: Option<Parts>,
    // The last field: what is above is dropped while the thread is attached.
    attachment: Attachment,
}

struct Parts {
    apps: SharedApps,
    environs: Environs,
    functions: Functions,
    after: Option<Py<PyAny>>,
    /// `catch-exceptions`
    shows_failures: bool,
    manners: Manners,
    scoreboard: Arc<Scoreboard>,
    seat: usize,
    log: Log,
}

impl App for Core {
    fn mount(&mut self, vars: &mut Vars) {
        if let Some(parts) = &self.parts {
            parts.apps.split_path(vars);
        }
    }

    fn serve(&mut self, request: &mut Request<'_>, response: &mut Response<'_>) {
        let Some(parts) = &mut self.parts else { return response.fail() };
        let served = catch_unwind(AssertUnwindSafe(|| {
            Python::attach(|py| {
                parts.turn(py, request, response);
                api::leave(py);
            });
        }));
        // The panic was told by the hook; it costs this request.
        if served.is_err() {
            response.fail();
        }
    }

    fn after(&mut self) {
        let Some(Parts { after: Some(hook), log, .. }) = &self.parts else { return };
        Python::attach(|py| {
            if let Err(error) = hook.call0(py) {
                trouble::tell(py, log, &error);
            }
        });
    }

    fn rest(&mut self) {
        self.attachment.rest();
    }

    fn resume(&mut self) {
        self.attachment.resume();
    }
}

impl Parts {
    fn turn(&mut self, py: Python<'_>, request: &mut Request<'_>, response: &mut Response<'_>) {
        let number = self.apps.choose(request.vars);
        let Some((number, app)) = number.and_then(|number| Some((number, self.apps.get(number)?))) else {
            // uWSGI's words, which people look for.
            self.log.tell(b"--- no python application found, check your startup logs for errors ---\n");
            return response.fail();
        };
        response.set_app(number);
        let has_body = !request.input.is_complete() || !request.input.buffered().is_empty();
        let input = has_body.then(|| Bound::new(py, Body::new(std::mem::take(&mut request.input))));
        let input = match input.transpose() {
            Ok(input) => input,
            Err(error) => {
                trouble::tell(py, &self.log, &error);
                return response.fail();
            }
        };
        let (environs, functions) = (&mut self.environs, &self.functions);
        let mut reply = Reply::new(response, self.manners);
        let loan = functions.loan();
        let called = loan.lend(py, &mut reply, || {
            let environ = environs.make(py, request.vars, request.scheme, input.as_ref())?;
            api::set_here(|here| {
                if let Some(here) = here {
                    here.environ = Some(environ.clone().unbind());
                }
            });
            ffi::call(app.callable.bind(py), environ.as_any(), functions.start_response().bind(py))
        });
        let answered = called.and_then(|result| body::send(&result, &mut reply, loan, &self.log));
        if reply.is_gone() {
            tracing::debug!("the client is gone");
        }
        let failed = answered.is_err_and(|error| self.failure(py, &error, request, &mut reply));
        self.count(number, failed);
        if let Some(input) = input {
            request.input = input.get().end(py);
        }
        self.renew(py);
    }

    /// Answers for an application that raised, and tells of it; `false`: it only noticed that the client is gone.
    fn failure(&self, py: Python<'_>, error: &PyErr, request: &Request<'_>, reply: &mut Reply<'_, '_>) -> bool {
        // The application was told that the client is gone, and need not have handled it.
        if reply.is_gone() && error.is_instance_of::<PyBrokenPipeError>(py) {
            reply.fail();
            return false;
        }
        trouble::tell(py, &self.log, error);
        if !(self.shows_failures && reply.page(trouble::page(py, error, request.vars).as_bytes())) {
            reply.fail();
        }
        true
    }

    fn count(&self, app: usize, failed: bool) {
        if failed {
            self.scoreboard.seat(self.seat).count_exception();
        }
        // One is counted by the engine.
        if self.apps.count() > 1 {
            self.scoreboard.seat(self.seat).count_app(app, failed);
        }
    }

    /// Functions that the application has kept are left to it.
    fn renew(&mut self, py: Python<'_>) {
        if self.functions.are_free(py) {
            return;
        }
        match Functions::new(py) {
            Ok(new) => {
                self.functions = new;
                let loan = self.functions.loan().clone();
                api::set_here(|here| {
                    if let Some(here) = here {
                        here.loan = loan;
                    }
                });
            }
            Err(error) => trouble::tell(py, &self.log, &error),
        }
    }
}
