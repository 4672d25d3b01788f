//! uwsgi packets: what `gateway` asks of them.

#![no_main]

mod gateway;

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::check("uwsgi", data));
