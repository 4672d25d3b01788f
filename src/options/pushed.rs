//! `emperor://NAME`: the configuration that an emperor pushes through the descriptor of `UWSGI_EMPEROR_FD_CONFIG`, as a
//! packet of the uwsgi protocol: modifier1 115, a length of two bytes, and the text.
//!
//! `resource` reads it. At a reload the emperor pushes it again, after the master has asked for it.

use std::io::Read;
use std::sync::Arc;

use ruwsgi_sys::birth;

/// The variable with the number of the descriptor.
const VARIABLE: &str = "UWSGI_EMPEROR_FD_CONFIG";
/// modifier1 of a configuration.
const MODIFIER: u8 = 115;

/// The text.
pub fn read() -> Result<Arc<[u8]>, String> {
    let number = std::env::var(VARIABLE).map_err(|_| format!("no emperor has pushed it: {VARIABLE} is not set"))?;
    let number: u32 = number.parse().map_err(|_| format!("{VARIABLE}: {number:?} is no descriptor"))?;
    let stream = birth::inherited_reader(number as i32).map_err(|error| format!("{VARIABLE}: {number}: {error}"))?;
    packet(stream)
}

fn packet(mut from: impl Read) -> Result<Arc<[u8]>, String> {
    let mut head = [0; 4];
    from.read_exact(&mut head).map_err(|error| format!("the emperor pushed no configuration: {error}"))?;
    if head[0] != MODIFIER {
        return Err(format!("the emperor pushed no configuration but a packet of kind {}", head[0]));
    }
    let mut text = vec![0; usize::from(u16::from_le_bytes([head[1], head[2]]))];
    from.read_exact(&mut text).map_err(|error| format!("the emperor pushed half of a configuration: {error}"))?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_a_configuration() {
        assert_eq!(packet(&b"s\x08\0\0[uwsgi]\nmore"[..]), Ok(b"[uwsgi]\n".to_vec().into()));
        assert!(packet(&b"\0\x08\0\0[uwsgi]\n"[..]).is_err_and(|why| why.contains("kind 0")));
        assert!(packet(&b"s\x08\0\0[uw"[..]).is_err_and(|why| why.contains("half")));
        assert!(packet(&b"s"[..]).is_err_and(|why| why.contains("no configuration")));
    }
}
