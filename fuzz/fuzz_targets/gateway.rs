//! What holds of every protocol of front ends: nothing panics, what is served has a method and no name of the server's,
//! and it makes no difference where the bytes are cut. The first byte says where.

#[path = "../../src/wire/tests/gateway/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate")]
mod client;

use client::Outcome;
use ruwsgi_wire::Limits;

pub fn check(protocol: &'static str, data: &[u8]) {
    let Some((&size, raw)) = data.split_first() else { return };
    let limits = Limits { head_bytes: 512, fields: 10, ..Limits::default() };
    let whole = client::hold(protocol, &limits, [raw]);
    for outcome in &whole {
        let Outcome::Served(vars, _) = outcome else { continue };
        assert!(vars.len() <= 10 && vars.iter().any(|(name, value)| name == "REQUEST_METHOD" && !value.is_empty()));
        assert!(vars.iter().all(|(name, _)| {
            !name.is_empty() && !name.contains(['\0', '=']) && !name.starts_with("wsgi.") && name != "HTTP_PROXY"
        }));
    }
    assert_eq!(client::hold(protocol, &limits, raw.chunks(usize::from(size).max(1))), whole);
}
