//! FastCGI records: what `gateway` asks of them.

#![no_main]

mod gateway;

libfuzzer_sys::fuzz_target!(|data: &[u8]| gateway::check("fastcgi", data));
