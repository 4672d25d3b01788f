//! A request as a uwsgi packet.

use super::{Unaskable, Var, others};

/// Appends the packet.
pub(super) fn push(vars: &[Var<'_>], length: Option<u64>, out: &mut Vec<u8>) -> Result<(), Unaskable> {
    let mut text = itoa::Buffer::new();
    let length = text.format(length.ok_or(Unaskable::NoLength)?).as_bytes();
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    for text in others(vars).chain([(&b"CONTENT_LENGTH"[..], length)]).flat_map(|(name, value)| [name, value]) {
        let size = u16::try_from(text.len()).map_err(|_| Unaskable::TooLarge)?;
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(text);
    }
    let size = u16::try_from(out.len() - start - 4).map_err(|_| Unaskable::TooLarge)?;
    out[start + 1..start + 3].copy_from_slice(&size.to_le_bytes());
    Ok(())
}
