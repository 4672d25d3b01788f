//! Whatever an application says, a client can tell where the response ends.

#![no_main]

#[path = "../../src/wire/tests/http/client.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate")]
mod client;
#[path = "../../src/wire/tests/http/reply.rs"]
mod reply;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| reply::check(data));
