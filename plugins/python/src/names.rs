//! Names and values of request fields as Python strings, kept from one request to the next.
//!
//! Bounded whatever clients send: so many names, each in one of four places that follow from its bytes, and one short
//! value for each; so many values that change. A name that finds its places taken pushes another out.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use ruwsgi_wire::Name;
use ruwsgi_worker::recent::{Recent, hash, same};

use crate::ffi;

/// How many names are kept: 2 to the power of this.
const PLACES_BITS: u32 = 8;
const PLACES: usize = 1 << PLACES_BITS;
/// How many places a name may be in.
const WAYS: usize = 4;
/// The longest value that is kept, in bytes.
const VALUE_BYTES: usize = 1024;
/// The longest name that is kept, in bytes.
const NAME_BYTES: usize = 64;
/// A value that was a new one so many times in a row is not kept any more: a cookie, a request's number.
const CHANGES: u32 = 16;
/// One in so many of those is kept all the same, to see whether that is over.
const LOOKS: u32 = 64;

/// Values of any name.
pub type Texts = Recent<Py<PyString>>;

/// A value that was seen last.
#[derive(Default)]
pub struct Value {
    bytes: Vec<u8>,
    text: Option<Py<PyString>>,
    /// How often in a row it was neither the last one nor a recent one.
    changes: u32,
    /// Which of the recent ones it was, the last time that it was one; only to be compared.
    again: usize,
}

impl Value {
    /// It is not worth keeping.
    pub fn is_long(bytes: &[u8]) -> bool {
        bytes.len() > VALUE_BYTES
    }

    /// It is the last one that was kept.
    pub fn is(&self, bytes: &[u8]) -> bool {
        self.text.is_some() && same(&self.bytes, bytes)
    }

    /// Puts `bytes` into a dict: as the text of an earlier time, if they are the same.
    pub fn put(
        &mut self,
        dict: &Bound<'_, PyDict>,
        name: &Py<PyString>,
        bytes: &[u8],
        recent: &mut Texts,
    ) -> PyResult<()> {
        if let Some(text) = &self.text
            && same(&self.bytes, bytes)
        {
            self.changes = 0;
            return dict.set_item(name, text);
        }
        if let Some(text) = recent.get(bytes) {
            // While it comes and goes, to remember it as the last one would cost more than to find it there again.
            let is_again = std::mem::replace(&mut self.again, text.as_ptr() as usize) == text.as_ptr() as usize;
            (self.changes, self.text) = (0, is_again.then(|| text.clone_ref(dict.py())));
            if is_again {
                self.bytes.clear();
                self.bytes.extend_from_slice(bytes);
            }
            return dict.set_item(name, text);
        }
        let text = ffi::latin1(dict.py(), bytes)?;
        dict.set_item(name, &text)?;
        self.changes = self.changes.wrapping_add(1);
        if self.changes > CHANGES && !self.changes.is_multiple_of(LOOKS) {
            self.text = None;
        } else if !Self::is_long(bytes) {
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
            recent.keep(bytes, text.clone().unbind());
            self.text = Some(text.unbind());
        }
        Ok(())
    }
}

/// The names that were seen.
pub struct Names {
    places: Vec<Option<Known>>,
    pub recent: Texts,
}

struct Known {
    /// As it was sent.
    name: Vec<u8>,
    is_field: bool,
    variable: Py<PyString>,
    value: Value,
}

impl Default for Names {
    fn default() -> Self {
        Self { places: (0..PLACES).map(|_| None).collect(), recent: Texts::default() }
    }
}

impl Names {
    /// Puts a variable into a dict.
    pub fn put(&mut self, dict: &Bound<'_, PyDict>, name: Name<'_>, value: &[u8]) -> PyResult<()> {
        let py = dict.py();
        let (bytes, is_field) = match name {
            Name::Field(bytes) => (bytes, true),
            Name::Cgi(bytes) => (bytes, false),
        };
        if bytes.len() > NAME_BYTES {
            return dict.set_item(ffi::latin1(py, &variable(name))?, ffi::latin1(py, value)?);
        }
        let first = hash(bytes, PLACES_BITS);
        // Nearly every name is where it is looked for first.
        if let Some(known) = &mut self.places[first]
            && known.is(bytes, is_field)
        {
            return known.value.put(dict, &known.variable, value, &mut self.recent);
        }
        let place = self.place(first, bytes, is_field);
        let known = match &mut self.places[place] {
            Some(known) if known.is(bytes, is_field) => known,
            place => {
                let variable = ffi::latin1(py, &variable(name))?.unbind();
                place.insert(Known { name: bytes.to_vec(), is_field, variable, value: Value::default() })
            }
        };
        known.value.put(dict, &known.variable, value, &mut self.recent)
    }

    /// Where a name is, or is to be, of the places that begin with `first`.
    fn place(&self, first: usize, bytes: &[u8], is_field: bool) -> usize {
        let mut free = None;
        for place in (0..WAYS).map(|way| (first + way) % PLACES) {
            match &self.places[place] {
                Some(known) if known.is(bytes, is_field) => return place,
                None => free = free.or(Some(place)),
                Some(_) => {}
            }
        }
        free.unwrap_or(first)
    }
}

impl Known {
    fn is(&self, bytes: &[u8], is_field: bool) -> bool {
        same(&self.name, bytes) && self.is_field == is_field
    }
}

/// The name in the environ.
pub fn variable(name: Name<'_>) -> Vec<u8> {
    match name {
        Name::Cgi(name) => name.to_vec(),
        Name::Field(name) => {
            let upper = name.iter().map(|byte| if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() });
            b"HTTP_".iter().copied().chain(upper).collect()
        }
    }
}
