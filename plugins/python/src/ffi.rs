//! The fence: the only file of this crate with `unsafe`, and the only one that calls CPython past PyO3.
//!
//! Each call is here because PyO3's own costs the hot path more than it should, or does not exist: strings from and to
//! latin-1, calls without a tuple, functions without PyO3's trampoline, the GIL across two calls, the hooks around a
//! fork, and a response that lives on the stack of its request and is lent to objects that may outlive it.

#![allow(unsafe_code, reason = "this file is the fence: each block says why it is sound")]

use std::ffi::{CStr, c_char, c_int};
use std::io;
use std::ops::Deref;
use std::os::fd::{FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use pyo3::exceptions::{PyRuntimeError, PySystemError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyString};
use pyo3::{Borrowed, PyClass};

use crate::reply::Reply;

unsafe extern "C" {
    /// Exported by every CPython since 3.3; in the stable ABI since 3.10, which is why PyO3 has it from there.
    fn PyUnicode_AsUTF8AndSize(text: *mut ffi::PyObject, size: *mut ffi::Py_ssize_t) -> *const c_char;
}

/// A `str` whose characters are these bytes, as WSGI wants them (PEP 3333, "A Note On String Types").
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    // SAFETY: reads `bytes` and gives a new str, or null with an exception set.
    unsafe {
        let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t, ptr::null());
        Ok(Bound::from_owned_ptr_or_err(py, text)?.cast_into_unchecked())
    }
}

/// The characters of a `str` as latin-1 bytes.
pub enum Latin1<'a> {
    /// The string's own: it is ASCII.
    Own(&'a [u8]),
    /// Encoded.
    Encoded(Bound<'a, PyBytes>),
}

impl Deref for Latin1<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Own(bytes) => bytes,
            Self::Encoded(bytes) => bytes.as_bytes(),
        }
    }
}

/// The bytes of a `str`; an exception where a character is above U+00FF.
pub fn latin1_of<'a>(text: Borrowed<'a, '_, PyString>) -> PyResult<Latin1<'a>> {
    let mut size = 0;
    // SAFETY: a str; the buffer belongs to it and stays as long as it does, which is longer than 'a. A str of which
    // each character takes one byte in UTF-8 is ASCII, so these bytes are its latin-1 too.
    unsafe {
        let bytes = PyUnicode_AsUTF8AndSize(text.as_ptr(), &raw mut size);
        if bytes.is_null() {
            return Err(PyErr::fetch(text.py()));
        }
        if size == ffi::PyUnicode_GetLength(text.as_ptr()) {
            return Ok(Latin1::Own(std::slice::from_raw_parts(bytes.cast(), size as usize)));
        }
    }
    // SAFETY: a str; gives new bytes, or null with an exception set. The token is valid for 'a, as the str is.
    unsafe {
        let py = Python::<'a>::assume_attached();
        let bytes = ffi::PyUnicode_AsLatin1String(text.as_ptr());
        Ok(Latin1::Encoded(Bound::from_owned_ptr_or_err(py, bytes)?.cast_into_unchecked()))
    }
}

/// `callable(first, second)` without a tuple in between.
pub fn call<'py>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, PyAny>,
    second: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: three live objects, in the array that is asked for, or with the null that ends the list; gives a new
    // object, or null with an exception set.
    unsafe {
        let result = match vectorcall() {
            Some(vectorcall) => {
                let arguments = [first.as_ptr(), second.as_ptr()];
                vectorcall(callable.as_ptr(), arguments.as_ptr(), arguments.len(), ptr::null_mut())
            }
            None => {
                let none = ptr::null_mut::<ffi::PyObject>();
                ffi::PyObject_CallFunctionObjArgs(callable.as_ptr(), first.as_ptr(), second.as_ptr(), none)
            }
        };
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

type Vectorcall = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    usize,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// `PyObject_Vectorcall`: exported since 3.11, in the stable ABI since 3.12, and not there before.
fn vectorcall() -> Option<Vectorcall> {
    static FOUND: OnceLock<Option<Vectorcall>> = OnceLock::new();
    *FOUND.get_or_init(|| {
        // SAFETY: looks for a name in what the process has loaded. Whoever exports it is CPython, whose type it has.
        unsafe {
            let found = libc::dlsym(libc::RTLD_DEFAULT, c"PyObject_Vectorcall".as_ptr());
            (!found.is_null()).then(|| std::mem::transmute::<*mut libc::c_void, Vectorcall>(found))
        }
    })
}

/// Another descriptor of the same open file, close-on-exec. The number came from Python: it may be anything.
pub fn duplicate(fd: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl reads no memory of ours; what it gives is new and nobody else's.
    unsafe {
        let new = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 0);
        if new < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(new)) }
    }
}

/// Where the interpreter is, as uWSGI shows it.
pub fn interpreter_address(_py: Python<'_>) -> usize {
    // SAFETY: the GIL is held; the pointer is shown, not used.
    unsafe { ffi::PyInterpreterState_Get() as usize }
}

/// Exactly so many references to this object exist.
pub fn has_references<T>(object: &Py<T>, count: u32, _py: Python<'_>) -> bool {
    // SAFETY: a live object. Since 3.14 the upper half of the word holds flags.
    (unsafe { ffi::Py_REFCNT(object.as_ptr()) }) as u32 == count
}

/// What can be called as a plain builtin function, with `Self` behind it.
pub trait Function: PyClass<Frozen = True> + Sync {
    /// Its name in Python.
    const FUNCTION: &'static CStr;

    /// The call.
    fn call<'py>(slf: &Bound<'py, Self>, arguments: Arguments<'_, 'py>) -> PyResult<Bound<'py, PyAny>>;
}

/// The arguments of one call, as they lie on Python's stack.
pub struct Arguments<'a, 'py> {
    py: Python<'py>,
    values: &'a [*mut ffi::PyObject],
    positional: usize,
    /// The tuple of the names of those that are not positional, or null.
    names: *mut ffi::PyObject,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// Puts them into places; `names` may be used as keywords.
    pub fn places<const N: usize>(
        &self,
        function: &str,
        names: [&str; N],
    ) -> PyResult<[Option<Borrowed<'a, 'py, PyAny>>; N]> {
        let mut places = [None; N];
        if self.positional > N {
            let many = self.positional;
            return Err(PyTypeError::new_err(format!("{function}() takes at most {N} arguments, not {many}")));
        }
        for (index, value) in self.values.iter().enumerate() {
            let place = if index < self.positional { index } else { self.keyword(function, &names, index)? };
            // SAFETY: the caller's argument, alive during the call.
            let value = unsafe { Borrowed::from_ptr(self.py, *value) };
            if places[place].replace(value).is_some() {
                return Err(PyTypeError::new_err(format!("{function}() got {} twice", names[place])));
            }
        }
        Ok(places)
    }

    /// The place of the argument `index`, which was given by name.
    fn keyword(&self, function: &str, names: &[&str], index: usize) -> PyResult<usize> {
        // SAFETY: the tuple that CPython passes beside keyword arguments; it has a str for each of them.
        let name = unsafe {
            let name = ffi::PyTuple_GetItem(self.names, (index - self.positional) as ffi::Py_ssize_t);
            Borrowed::from_ptr_or_err(self.py, name)?
        };
        let name = name.cast::<PyString>()?;
        let name = name.to_string_lossy();
        names
            .iter()
            .position(|known| *known == name)
            .ok_or_else(|| PyTypeError::new_err(format!("{function}() has no argument {name}")))
    }
}

/// A builtin function that calls `T`, without the tuple and the dict that a `__call__` of `#[pymethods]` is given.
pub fn function<'py, T: Function>(slf: &Bound<'py, T>) -> PyResult<Bound<'py, PyAny>> {
    /// Arguments as an array since 3.7; in the stable ABI since 3.10, unchanged.
    const METH_FASTCALL: c_int = 0x80;
    let definition: &'static ffi::PyMethodDef = const {
        // SAFETY: two function pointers; CPython calls one of these flags with the arguments of a `Trampoline`.
        let call = unsafe { std::mem::transmute::<Trampoline, ffi::PyCFunctionWithKeywords>(trampoline::<T>) };
        &ffi::PyMethodDef {
            ml_name: T::FUNCTION.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionWithKeywords: call },
            ml_flags: METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: ptr::null(),
        }
    };
    // SAFETY: the definition is static and only read; the function takes a reference to `slf`.
    unsafe {
        let function = ffi::PyCFunction_NewEx(ptr::from_ref(definition).cast_mut(), slf.as_ptr(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(slf.py(), function)
    }
}

type Trampoline = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

unsafe extern "C" fn trampoline<T: Function>(
    slf: *mut ffi::PyObject,
    values: *const *mut ffi::PyObject,
    positional: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    Python::attach(|py| {
        let called = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: `function` made this with a `T` behind it; CPython passes an array of `positional` objects, and
            // one more for each of `names`, all alive during the call.
            let (slf, arguments) = unsafe {
                let positional = positional as usize;
                let named = if names.is_null() { 0 } else { ffi::PyTuple_Size(names) as usize };
                let count = positional + named;
                let values = if count == 0 { &[] } else { std::slice::from_raw_parts(values, count) };
                let slf = Borrowed::from_ptr(py, slf).cast_unchecked::<T>();
                (slf, Arguments { py, values, positional, names })
            };
            T::call(&slf, arguments)
        }));
        match called {
            Ok(Ok(result)) => result.into_ptr(),
            Ok(Err(error)) => {
                error.restore(py);
                ptr::null_mut()
            }
            Err(_) => {
                PySystemError::new_err("a panic in ruwsgi").restore(py);
                ptr::null_mut()
            }
        }
    })
}

/// A reply that lives on the stack of a request, lent to Python objects, which may keep a loan beyond its end.
#[derive(Default)]
pub struct Loan(Mutex<Option<NonNull<Reply<'static, 'static>>>>);

// SAFETY: the pointer is used only under the lock, and a `Reply` may be used by any thread (checked below).
unsafe impl Send for Loan {}
// SAFETY: as above.
unsafe impl Sync for Loan {}

const _: () = {
    const fn sendable<T: Send>() {}
    sendable::<Reply<'static, 'static>>();
};

impl Loan {
    /// Lends `reply` while `during` runs. If another thread uses it just then, waits until that is over.
    pub fn lend<R>(&self, py: Python<'_>, reply: &mut Reply<'_, '_>, during: impl FnOnce() -> R) -> R {
        struct End<'l, 'py>(&'l Loan, Python<'py>);
        impl Drop for End<'_, '_> {
            fn drop(&mut self) {
                *self.0.lock(self.1) = None;
            }
        }
        *self.lock(py) = Some(NonNull::from(reply).cast());
        let _end = End(self, py);
        during()
    }

    /// Uses the reply, while it is lent.
    pub fn with<R>(
        &self,
        py: Python<'_>,
        using: impl for<'a, 'b, 'r> FnOnce(&'a mut Reply<'b, 'r>) -> PyResult<R>,
    ) -> PyResult<R> {
        let lent = self.lock(py);
        let Some(mut reply) = *lent else {
            return Err(PyRuntimeError::new_err("the request is over"));
        };
        // SAFETY: `lend` holds the only reference for as long as the pointer is here, and ends under this lock. The
        // lifetimes are erased, so `using` must do with any.
        let used = using(unsafe { reply.as_mut() });
        drop(lent);
        used
    }

    /// A reply is lent just now.
    pub fn is_lent(&self, py: Python<'_>) -> bool {
        self.lock(py).is_some()
    }

    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, Option<NonNull<Reply<'static, 'static>>>> {
        self.0.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one core's thread in the interpreter. Made on that thread and used there alone.
///
/// Between [`rest`](Self::rest) and [`resume`](Self::resume) nothing of Python may be touched on this thread.
pub struct Attachment {
    resting: *mut ffi::PyThreadState,
    made: Option<ffi::PyGILState_STATE>,
}

impl Attachment {
    /// Of a thread that holds the GIL already, and will when this is dropped.
    pub fn of_caller() -> Self {
        Self { resting: ptr::null_mut(), made: None }
    }

    /// Makes this thread known to the interpreter until this is dropped, and takes the GIL.
    pub fn of_new_thread() -> Self {
        // SAFETY: the interpreter is initialised: this module was imported by it.
        Self { resting: ptr::null_mut(), made: Some(unsafe { ffi::PyGILState_Ensure() }) }
    }

    /// Gives the GIL back.
    pub fn rest(&mut self) {
        if self.resting.is_null() {
            // SAFETY: this thread holds the GIL: it is not resting.
            self.resting = unsafe { ffi::PyEval_SaveThread() };
        }
    }

    /// Takes the GIL again.
    pub fn resume(&mut self) {
        if !self.resting.is_null() {
            // SAFETY: the state that `rest` saved on this thread.
            unsafe { ffi::PyEval_RestoreThread(std::mem::replace(&mut self.resting, ptr::null_mut())) };
        }
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.resume();
        if let Some(state) = self.made {
            // SAFETY: the end of what `of_new_thread` began, on the same thread, with the GIL.
            unsafe { ffi::PyGILState_Release(state) };
        }
    }
}

/// Before a fork: takes the locks that a child must find free, runs `os.register_at_fork` hooks.
pub fn before_fork(_py: Python<'_>) {
    // SAFETY: the GIL is held.
    unsafe { ffi::PyOS_BeforeFork() };
}

/// After a fork, in the parent.
pub fn after_fork_in_parent(_py: Python<'_>) {
    // SAFETY: the GIL is held, on the thread that called `before_fork`.
    unsafe { ffi::PyOS_AfterFork_Parent() };
}

/// After a fork, in the child that goes on as Python: this thread becomes its main thread.
pub fn after_fork_in_child(_py: Python<'_>) {
    // SAFETY: the GIL is held: the forking thread held it, and is the only one here.
    unsafe { ffi::PyOS_AfterFork_Child() };
}
