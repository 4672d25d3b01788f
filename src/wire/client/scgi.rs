//! A request as an SCGI netstring.

use super::{Unaskable, Var, others};

/// Appends the netstring: the length first, as the specification wants it, and each name once.
pub(super) fn push(vars: &[Var<'_>], length: Option<u64>, out: &mut Vec<u8>) -> Result<(), Unaskable> {
    let mut text = itoa::Buffer::new();
    let length = text.format(length.ok_or(Unaskable::NoLength)?).as_bytes();
    let last = |index: usize, name: &[u8]| !vars[index + 1..].iter().any(|(later, _)| *later == name);
    let once = vars.iter().enumerate().filter(|(index, (name, _))| last(*index, name)).map(|(_, var)| *var);
    let once: Vec<Var<'_>> = once.filter(|(name, _)| *name != b"SCGI").collect();
    let first = [(&b"CONTENT_LENGTH"[..], length), (b"SCGI", b"1")];
    let mut block = Vec::new();
    for text in first.into_iter().chain(others(&once)).flat_map(|(name, value)| [name, value]) {
        if text.contains(&0) {
            return Err(Unaskable::Byte);
        }
        block.extend_from_slice(text);
        block.push(0);
    }
    out.extend_from_slice(itoa::Buffer::new().format(block.len()).as_bytes());
    out.push(b':');
    out.append(&mut block);
    out.push(b',');
    Ok(())
}
