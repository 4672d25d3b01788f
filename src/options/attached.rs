//! Texts inside the executable: `data://0` is what was appended last (`--binary-append-data FILE` makes that form),
//! `section://name` is a section of ELF. `resource` calls it with the bytes of the executable.

use bstr::{BStr, ByteSlice};
use object::{Object, ObjectSection};

/// What was appended: texts, each followed by its length in eight bytes, little-endian. Slot 0 is the last one.
pub fn data(binary: &[u8], slot: usize) -> Result<Vec<u8>, String> {
    let mut rest = Some((binary, &b""[..]));
    for _ in 0..=slot {
        rest = rest.and_then(|(rest, _)| take_last(rest));
    }
    match rest {
        Some((_, text)) => Ok(text.to_vec()),
        None => Err(format!("nothing is appended to the executable in slot {slot}")),
    }
}

/// What stands before the last text, and the text.
fn take_last(binary: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, length) = binary.split_last_chunk::<8>()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length > 0)?;
    rest.len().checked_sub(length).map(|at| rest.split_at(at))
}

/// A text as it is appended.
pub fn append(text: &[u8]) -> Vec<u8> {
    [text, &(text.len() as u64).to_le_bytes()].concat()
}

/// A section of the executable.
pub fn section(binary: &[u8], name: &BStr) -> Result<Vec<u8>, String> {
    let file = object::File::parse(binary).map_err(|error| format!("the executable can't be read: {error}"))?;
    let found = file.section_by_name_bytes(name).and_then(|section| section.data().ok());
    found.map(<[u8]>::to_vec).ok_or_else(|| format!("the executable has no section {}", name.as_bstr()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_last_is_slot_0() {
        let binary = [&b"ELF"[..], &append(b"first"), &append(b"second")].concat();
        assert_eq!(data(&binary, 0), Ok(b"second".to_vec()));
        assert_eq!(data(&binary, 1), Ok(b"first".to_vec()));
        assert!(data(&binary, 2).is_err());
        assert!(data(b"ELF", 0).is_err());
        assert!(data(&[0xff; 64], 0).is_err(), "a length beyond the file");
    }

    #[test]
    fn an_executable_has_sections() {
        let binary = std::fs::read("/proc/self/exe").expect("this executable");
        assert!(section(&binary, b".shstrtab".into()).is_ok_and(|text| text.find(b".shstrtab").is_some()));
        assert!(section(b"no executable", b"x".into()).is_err_and(|why| why.contains("can't be read")));
    }
}
