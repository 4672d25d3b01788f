//! The environ of a request: a fresh dict with everything that PEP 3333 and CGI name.
//!
//! Most of a request is what the one before it said. So each core keeps a template that holds the variables which
//! every request has, with the values of the last one; a request corrects what differs and gets a copy. What not
//! every request has goes into the copy alone, where the name and the last value of each field are at hand as Python
//! strings (`names.rs`). Values are compared byte by byte; nothing is ever looked up by a whole head.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyString};
use ruwsgi_wire::{Key, Name, Vars};

use crate::api;
use crate::ffi;
use crate::file_wrapper::FileWrapper;
use crate::input::Body;
use crate::names::{Names, Value, variable};

/// The variables that requests have, with rare exceptions.
const USUAL: [Key; 11] = [
    Key::RequestMethod,
    Key::RequestUri,
    Key::PathInfo,
    Key::QueryString,
    Key::ServerProtocol,
    Key::ScriptName,
    Key::HttpHost,
    Key::ServerName,
    Key::ServerPort,
    Key::RemoteAddr,
    Key::RemotePort,
];

/// The others that have a key.
const UNUSUAL: [Key; 9] = [
    Key::ContentType,
    Key::ContentLength,
    Key::RemoteUser,
    Key::Https,
    Key::RequestScheme,
    Key::ForwardedProto,
    Key::ForwardedSsl,
    Key::Forwarded,
    Key::UwsgiScheme,
];

// Each key is in one of the two.
const _: () = assert!(USUAL.len() + UNUSUAL.len() == Key::ALL.len());

/// How the server describes itself in `SERVER_SOFTWARE`.
const SOFTWARE: &str = concat!("ruwsgi/", env!("CARGO_PKG_VERSION"));

/// What the configuration says about how the application runs.
#[derive(Clone, Copy)]
pub struct Concurrency {
    pub threads: bool,
    pub processes: bool,
    /// Applications may give files back for the server to send.
    pub file_wrapper: bool,
    /// The number of this core, where there are several.
    pub core: Option<usize>,
}

/// What makes the environs of one core.
pub struct Environs {
    template: Py<PyDict>,
    usual: [Variable; USUAL.len()],
    unusual: [Variable; UNUSUAL.len()],
    names: Names,
    scheme: &'static str,
}

/// A known variable: its name and its last value.
struct Variable {
    name: Py<PyString>,
    last: Value,
}

impl Environs {
    pub fn new(py: Python<'_>, concurrency: Concurrency) -> PyResult<Self> {
        let name = |key: Key| Variable { name: PyString::intern(py, key.name()).unbind(), last: Value::default() };
        let template = template(py, concurrency)?;
        let (usual, unusual) = (USUAL.map(name), UNUSUAL.map(name));
        let empty = PyString::new(py, "");
        for variable in &usual {
            template.set_item(&variable.name, &empty)?;
        }
        make_room(&template)?;
        Ok(Self { template: template.unbind(), usual, unusual, names: Names::default(), scheme: "http" })
    }

    /// The environ of one request; `body` is its input, if it has a body.
    pub fn make<'py>(
        &mut self,
        py: Python<'py>,
        vars: &Vars,
        scheme: &'static str,
        body: Option<&Bound<'py, Body>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let template = self.template.bind(py);
        let mut exceptions = false;
        for (&key, Variable { name, last }) in USUAL.iter().zip(&mut self.usual) {
            match vars.key(key) {
                Some(value) if last.is(value) => {}
                Some(value) if !Value::is_long(value) => last.put(template, name, value, &mut self.names.recent)?,
                _ => exceptions = true,
            }
        }
        if self.scheme != scheme {
            template.set_item(intern!(py, "wsgi.url_scheme"), scheme)?;
            self.scheme = scheme;
        }
        let environ = template.copy()?;
        let mut size = template.len();
        if exceptions {
            size -= self.correct(&environ, vars)?;
        }
        for (&key, Variable { name, last }) in UNUSUAL.iter().zip(&mut self.unusual) {
            if let Some(value) = vars.key(key) {
                last.put(&environ, name, value, &mut self.names.recent)?;
                size += 1;
            }
        }
        if let Some(body) = body {
            environ.set_item(intern!(py, "wsgi.input"), body)?;
        }
        for (name, value) in vars.others() {
            self.names.put(&environ, name, value)?;
            size += 1;
        }
        if environ.len() != size {
            join_repeated(&environ, vars)?;
        }
        Ok(environ)
    }

    /// Where a request lacks what others have, or has a value too long for the template; how many it lacks.
    fn correct(&self, environ: &Bound<'_, PyDict>, vars: &Vars) -> PyResult<usize> {
        let mut lacking = 0;
        for (&key, variable) in USUAL.iter().zip(&self.usual) {
            match vars.key(key) {
                None => {
                    environ.del_item(&variable.name)?;
                    lacking += 1;
                }
                Some(value) if Value::is_long(value) => {
                    environ.set_item(&variable.name, ffi::latin1(environ.py(), value)?)?;
                }
                Some(_) => {}
            }
        }
        Ok(lacking)
    }
}

/// The constant part.
fn template(py: Python<'_>, concurrency: Concurrency) -> PyResult<Bound<'_, PyDict>> {
    let template = PyDict::new(py);
    template.set_item(intern!(py, "wsgi.version"), (1, 0))?;
    template.set_item(intern!(py, "wsgi.url_scheme"), intern!(py, "http"))?;
    // One for all requests without a body: it has no state but its end.
    template.set_item(intern!(py, "wsgi.input"), Body::new(ruwsgi_worker::Input::default()).into_pyobject(py)?)?;
    template.set_item(intern!(py, "wsgi.input_terminated"), true)?;
    template.set_item(intern!(py, "wsgi.errors"), errors(py)?)?;
    template.set_item(intern!(py, "wsgi.multithread"), concurrency.threads)?;
    template.set_item(intern!(py, "wsgi.multiprocess"), concurrency.processes)?;
    template.set_item(intern!(py, "wsgi.run_once"), false)?;
    if concurrency.file_wrapper {
        template.set_item(intern!(py, "wsgi.file_wrapper"), py.get_type::<FileWrapper>())?;
    }
    template.set_item(intern!(py, "SERVER_SOFTWARE"), SOFTWARE)?;
    template.set_item(intern!(py, "uwsgi.version"), PyBytes::new(py, api::VERSION.as_bytes()))?;
    template.set_item(intern!(py, "uwsgi.node"), PyBytes::new(py, &api::node()))?;
    if let Some(core) = concurrency.core {
        template.set_item(intern!(py, "uwsgi.core"), core)?;
    }
    Ok(template)
}

/// `wsgi.errors`: standard error, which is `None` in a process that was started with it closed.
fn errors(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let stderr = py.import("sys")?.getattr("stderr")?;
    if stderr.is_none() { py.import("io")?.call_method1("open", ("/dev/null", "w")) } else { Ok(stderr) }
}

/// Makes the table of the dict large enough for the fields of most requests: a copy keeps the table, and growing it
/// would cost each request a second one. A deleted entry leaves its room; with too many, CPython would copy item by
/// item.
fn make_room(template: &Bound<'_, PyDict>) -> PyResult<()> {
    // Strings: one key of another kind would make every lookup slower.
    let places = ["0", "1", "2", "3", "4"];
    for place in places {
        template.set_item(place, false)?;
    }
    for place in places {
        template.del_item(place)?;
    }
    Ok(())
}

/// Fields that came more than once, or whose names differ only in what CGI does not tell apart, become one value:
/// RFC 9110 5.3, and RFC 6265 5.4 for `Cookie`. The last one of a CGI variable stays, as in uWSGI.
fn join_repeated(environ: &Bound<'_, PyDict>, vars: &Vars) -> PyResult<()> {
    let py = environ.py();
    let mut joined: Vec<(Vec<u8>, Vec<u8>)> = vars
        .keyed()
        .filter(|(key, _)| key.name().starts_with("HTTP_"))
        .map(|(key, value)| (key.name().as_bytes().to_vec(), value.to_vec()))
        .collect();
    for (name, value) in vars.others() {
        let (name, field) = (variable(name), matches!(name, Name::Field(_)));
        match joined.iter_mut().find(|(known, _)| *known == name) {
            Some((_, before)) if field => {
                before.extend_from_slice(if name == b"HTTP_COOKIE" { b"; " } else { b", " });
                before.extend_from_slice(value);
            }
            Some((_, before)) => *before = value.to_vec(),
            None => joined.push((name, value.to_vec())),
        }
    }
    for (name, value) in joined {
        environ.set_item(ffi::latin1(py, &name)?, ffi::latin1(py, &value)?)?;
    }
    Ok(())
}
