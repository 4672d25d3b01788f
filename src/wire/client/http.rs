//! A request as HTTP/1.1: the variables of the client's own header become fields again.

use super::{Unaskable, Var, others, var};
use crate::http::octets::{self, FIELD, STRANGE};
use crate::http::{push_field, push_length, push_size};

/// Appends the head. What could end a line is no request.
pub(super) fn push(vars: &[Var<'_>], length: Option<u64>, out: &mut Vec<u8>) -> Result<(), Unaskable> {
    let (method, target) = (var(vars, "REQUEST_METHOD"), var(vars, "REQUEST_URI"));
    if !octets::is_token(method) || target.is_empty() || octets::union(target) & STRANGE != 0 {
        return Err(Unaskable::Byte);
    }
    for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    for (name, value) in others(vars) {
        let name = match name {
            b"CONTENT_TYPE" if !value.is_empty() => b"Content-Type".to_vec(),
            _ => match name.strip_prefix(b"HTTP_") {
                Some(name) => field_name(name),
                None => continue,
            },
        };
        if !octets::is_token(&name) || !octets::all(value, FIELD) {
            return Err(Unaskable::Byte);
        }
        // How the body is framed is said below, by who frames it.
        if ![&b"Transfer-Encoding"[..], b"Content-Length"].contains(&&*name) {
            push_field(&name, value, out);
        }
    }
    match length {
        None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        Some(0) if matches!(method, b"GET" | b"HEAD") => {}
        Some(length) => push_length(length, out),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// `X_FORWARDED_FOR` as `X-Forwarded-For`.
pub(super) fn field_name(name: &[u8]) -> Vec<u8> {
    let mut begins = true;
    let letter = |&byte: &u8| {
        let written = match byte {
            b'_' => b'-',
            other if begins => other.to_ascii_uppercase(),
            other => other.to_ascii_lowercase(),
        };
        begins = written == b'-';
        written
    };
    name.iter().map(letter).collect()
}

/// Appends a chunk; one of no bytes would be the last.
pub(super) fn push_chunk(piece: &[u8], out: &mut Vec<u8>) {
    if !piece.is_empty() {
        push_size(piece.len(), out);
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
}
