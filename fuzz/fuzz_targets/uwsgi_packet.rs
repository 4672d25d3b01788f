//! uwsgi packets: nothing panics, what is served has a method and no name of the server's, and it makes no difference
//! where the bytes are cut. The first byte says where.

#![no_main]

#[path = "../../src/wire/tests/uwsgi/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate")]
mod client;

use client::Outcome;
use libfuzzer_sys::fuzz_target;
use ruwsgi_wire::Limits;

fuzz_target!(|data: &[u8]| {
    let Some((&size, raw)) = data.split_first() else { return };
    let limits = Limits { head_bytes: 512, fields: 10, ..Limits::default() };
    let whole = client::hold(&limits, [raw]);
    if let Outcome::Served(vars, _) = &whole {
        assert!(vars.len() <= 10 && vars.iter().any(|(name, value)| name == "REQUEST_METHOD" && !value.is_empty()));
        assert!(vars.iter().all(|(name, _)| {
            !name.is_empty() && !name.contains(['\0', '=']) && !name.starts_with("wsgi.") && name != "HTTP_PROXY"
        }));
    }
    assert_eq!(client::hold(&limits, raw.chunks(usize::from(size).max(1))), whole);
});
