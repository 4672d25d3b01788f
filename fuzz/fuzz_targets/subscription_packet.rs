//! Subscription packets: nothing panics, and what is read can be written and read again. The first byte says nothing.

#![no_main]

use ruwsgi_wire::subscription::Packet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((_, raw)) = data.split_first() else { return };
    let Ok(packet) = Packet::parse(raw) else { return };
    assert!(!packet.key.is_empty() && packet.key.len() <= 255 && packet.address.len() <= 255);
    // What was not said is written, too, and may be more than fits.
    let Ok(bytes) = packet.write() else { return };
    let again = Packet::parse(&bytes).expect("what was written is read");
    assert_eq!(Packet { signed: None, ..packet }, again);
});
