//! The PROXY protocol in front of HTTP: nothing panics, and it makes no difference where the bytes are cut. The first byte
//! says where.

#![no_main]

use ruwsgi_wire::proxy::{self, Origin, Proxied};
use ruwsgi_wire::{Head, Limits, Refusal, Vars, http};

/// What becomes of a connection, and whom it is from.
fn talk<'p>(pieces: impl Iterator<Item = &'p [u8]>) -> (Option<Refusal>, bool, Option<Origin>) {
    let limits = Limits { head_bytes: 512, fields: 10, ..Limits::default() };
    let mut exchange = proxy::exchange(http::exchange(&limits), Proxied::Always, true);
    let (mut vars, mut buffer) = (Vars::default(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() {
            match exchange.head(&buffer, &mut vars) {
                Head::Partial { .. } => break,
                Head::Reply { bytes, answer, .. } => {
                    assert!(answer.is_empty());
                    buffer.drain(..bytes);
                }
                Head::Whole { .. } => return (None, true, exchange.origin()),
                Head::Refused(refusal) => return (Some(refusal), false, exchange.origin()),
            }
        }
    }
    (None, false, exchange.origin())
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((&size, raw)) = data.split_first() else { return };
    assert_eq!(talk(raw.chunks(usize::from(size).max(1))), talk([raw].into_iter()));
});
