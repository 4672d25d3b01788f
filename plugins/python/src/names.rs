//! Names and values of request fields as Python strings, kept from one request to the next.
//!
//! Bounded whatever clients send: so many names, each in one of four places that follow from its bytes, and one short
//! value for each. A name that finds its places taken pushes another out.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use ruwsgi_wire::Name;

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
/// A value that was another one so many times in a row is not kept any more: a cookie, a request's number.
const CHANGES: u32 = 16;
/// One in so many of those is kept all the same, to see whether that is over.
const LOOKS: u32 = 64;

/// A value that was seen last.
#[derive(Default)]
pub struct Value {
    bytes: Vec<u8>,
    text: Option<Py<PyString>>,
    /// How often in a row it was another one.
    changes: u32,
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

    /// Puts `bytes` into a dict: as the text of the last time, if they are the same.
    pub fn put(&mut self, dict: &Bound<'_, PyDict>, name: &Py<PyString>, bytes: &[u8]) -> PyResult<()> {
        if let Some(text) = &self.text
            && same(&self.bytes, bytes)
        {
            self.changes = 0;
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
            self.text = Some(text.unbind());
        }
        Ok(())
    }
}

/// The names that were seen.
pub struct Names(Vec<Option<Known>>);

struct Known {
    /// As it was sent.
    name: Vec<u8>,
    is_field: bool,
    variable: Py<PyString>,
    value: Value,
}

impl Default for Names {
    fn default() -> Self {
        Self((0..PLACES).map(|_| None).collect())
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
        let first = hash(bytes);
        // Nearly every name is where it is looked for first.
        if let Some(known) = &mut self.0[first]
            && known.is(bytes, is_field)
        {
            return known.value.put(dict, &known.variable, value);
        }
        let place = self.place(first, bytes, is_field);
        let known = match &mut self.0[place] {
            Some(known) if known.is(bytes, is_field) => known,
            place => {
                let variable = ffi::latin1(py, &variable(name))?.unbind();
                place.insert(Known { name: bytes.to_vec(), is_field, variable, value: Value::default() })
            }
        };
        known.value.put(dict, &known.variable, value)
    }

    /// Where a name is, or is to be, of the places that begin with `first`.
    fn place(&self, first: usize, bytes: &[u8], is_field: bool) -> usize {
        let mut free = None;
        for place in (0..WAYS).map(|way| (first + way) % PLACES) {
            match &self.0[place] {
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

/// `left == right`, in steps of words. What a request says has just been copied, and processors hand what they are about
/// to store on to a load of as much or less, but not to one of more: the comparison of the C library, which loads whole
/// vectors, waits for the store each time.
#[inline]
fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    if let (Some(left_end), Some(right_end)) = (left.last_chunk::<8>(), right.last_chunk::<8>()) {
        // The last eight bytes may have been among those before.
        let (left, right) = (left.as_chunks::<8>().0, right.as_chunks::<8>().0);
        let equal = |(left, right): (&[u8; 8], &[u8; 8])| u64::from_ne_bytes(*left) == u64::from_ne_bytes(*right);
        return equal((left_end, right_end)) && left.iter().zip(right).all(equal);
    }
    left.iter().zip(right).all(|(left, right)| left == right)
}

/// From the ends of a name: whoever makes names that share their places makes them slow, nothing more.
fn hash(name: &[u8]) -> usize {
    let ends = match (name.first_chunk(), name.last_chunk()) {
        (Some(first), Some(last)) => u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29),
        _ => name.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte)),
    };
    ((ends ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - PLACES_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_the_same_is_found_to_be() {
        let text: Vec<u8> = (0..40).collect();
        for length in 0..=text.len() {
            assert!(same(&text[..length], &text.clone()[..length]));
            for at in 0..length {
                let mut other = text[..length].to_vec();
                other[at] ^= 1;
                assert!(!same(&text[..length], &other), "{length} {at}");
            }
            assert!(!same(&text, &text[..length]) || length == text.len());
        }
    }
}
