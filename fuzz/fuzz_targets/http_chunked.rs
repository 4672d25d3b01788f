//! Chunked bodies: nothing panics, and it makes no difference where the bytes are cut. The first byte says where.

#![no_main]

use libfuzzer_sys::fuzz_target;
use ruwsgi_wire::Refusal;
use ruwsgi_wire::http::Chunked;

/// The data, how much was taken, and whether it was all.
fn decode(raw: &[u8], size: usize) -> (Vec<u8>, Result<(usize, bool), Refusal>) {
    let (mut chunked, mut out, mut consumed) = (Chunked::default(), Vec::new(), 0);
    for piece in raw.chunks(size) {
        match chunked.decode(piece, &mut out) {
            Ok(step) => {
                consumed += step.consumed;
                if step.done {
                    return (out, Ok((consumed, true)));
                }
                assert_eq!(step.consumed, piece.len());
            }
            Err(refusal) => return (out, Err(refusal)),
        }
    }
    (out, Ok((consumed, false)))
}

fuzz_target!(|data: &[u8]| {
    let Some((&size, raw)) = data.split_first() else { return };
    let whole = decode(raw, raw.len().max(1));
    assert!(whole.0.len() <= raw.len());
    assert_eq!(whole, decode(raw, usize::from(size).max(1)));
});
