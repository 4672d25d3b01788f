//! Streams of requests: nothing panics, and it makes no difference where the bytes are cut. The first byte says where.

#![no_main]

#[path = "../../src/wire/tests/http/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate")]
mod client;

use libfuzzer_sys::fuzz_target;
use ruwsgi_wire::Limits;

fuzz_target!(|data: &[u8]| {
    let Some((&size, raw)) = data.split_first() else { return };
    let limits = Limits { head_bytes: 512, fields: 10, ..Limits::default() };
    let whole = client::hold(&limits, [raw]);
    client::hold(&limits, raw.chunks(usize::from(size).max(1))).assert_same(&whole, "in pieces");
});
