//! Several parts of a file as one body: `multipart/byteranges` (RFC 9110 14.6). Called by the sender of files.

use std::hash::{BuildHasher, Hasher, RandomState};

use super::ranges::Part;
use crate::file_part::Slice;

/// A body of several parts, before it is sent.
pub(super) struct Multipart {
    /// The value of `Content-Type`.
    pub media_type: String,
    pub slices: Vec<Slice>,
    /// Of the body, in bytes.
    pub length: u64,
}

impl Multipart {
    /// `media_type` is the file's, `size` its whole size.
    pub(super) fn new(parts: &[Part], media_type: Option<&str>, size: u64) -> Self {
        let boundary = boundary();
        let media_type = media_type.map(|media_type| format!("Content-Type: {media_type}\r\n")).unwrap_or_default();
        let mut line = "";
        let mut slices = Vec::with_capacity(parts.len() + 1);
        for part in parts {
            let Part { first, last } = part;
            let head = format!("{line}--{boundary}\r\n{media_type}Content-Range: bytes {first}-{last}/{size}\r\n\r\n");
            slices.push(Slice { text: head.into_bytes(), at: *first, length: part.length() });
            line = "\r\n";
        }
        slices.push(Slice { text: format!("\r\n--{boundary}--\r\n").into_bytes(), at: 0, length: 0 });
        let length = slices.iter().map(Slice::left).sum();
        Self { media_type: format!("multipart/byteranges; boundary={boundary}"), slices, length }
    }
}

/// Nobody who writes a file knows it beforehand.
fn boundary() -> String {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_between_their_boundaries() {
        let parts = [Part { first: 0, last: 1 }, Part { first: 5, last: 5 }];
        let Multipart { media_type, slices, length } = Multipart::new(&parts, Some("text/plain"), 9);
        let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").unwrap();
        assert!(boundary.len() == 32 && boundary != self::boundary());
        let mut body = Vec::new();
        for slice in &slices {
            body.extend_from_slice(&slice.text);
            body.extend_from_slice(&b"012345678"[slice.at as usize..][..slice.length as usize]);
        }
        let expected = format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/9\r\n\r\n01\r\n\
             --{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 5-5/9\r\n\r\n5\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
        assert_eq!(length, expected.len() as u64);
    }
}
