//! Broken bytes, made from the rows of the corpora with seeded numbers: nothing panics, and pieces make no difference.

use crate::client::{Numbers, hold};
use crate::reply;
use crate::rows::rows;
use ruwsgi_wire::Limits;

/// What smugglers put between honest bytes.
const PIECES: [&[u8]; 40] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\"",
    b"\\",
    b"\x0b",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"=",
    b"#",
    b"%",
    b"..",
    b"//",
    b"0",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"ffffffffffffffff",
    b"chunked",
    b"identity",
    b"close",
    b"keep-alive",
    b"HTTP/1.1",
    b"HTTP/1.0",
    b"HTTP/1.2",
    b"http://a",
    b"[::1]",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"A_B: c\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
];

fn mutate(raw: &[u8], numbers: &mut Numbers) -> Vec<u8> {
    let mut raw = raw.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(raw.len() + 1);
        let end = (at + numbers.below(8)).min(raw.len());
        match numbers.below(5) {
            0 => drop(raw.splice(at..at, PIECES[numbers.below(PIECES.len())].iter().copied())),
            1 => drop(raw.splice(at..end, PIECES[numbers.below(PIECES.len())].iter().copied())),
            2 => drop(raw.drain(at..end)),
            3 => {
                let again = raw[at..end].to_vec();
                drop(raw.splice(at..at, again));
            }
            _ if at < raw.len() => raw[at] = numbers.below(256) as u8,
            _ => {}
        }
    }
    raw
}

#[test]
fn whole_and_in_pieces() {
    let limits = Limits { head_bytes: 1024, fields: 20, ..Limits::default() };
    let rows = rows("http1");
    let seeds: Vec<_> = rows.iter().filter(|row| row.raw.len() < 2000).collect();
    let mut numbers = Numbers(0x5eed);
    for _ in 0..20_000 {
        let raw = mutate(&seeds[numbers.below(seeds.len())].raw, &mut numbers);
        let whole = hold(&limits, [&*raw]);
        for size in [1, 2 + numbers.below(40)] {
            let place = format!("{:?} by {size}", String::from_utf8_lossy(&raw));
            hold(&limits, raw.chunks(size)).assert_same(&whole, &place);
        }
    }
}

#[test]
fn clients_can_always_tell_the_end() {
    let mut numbers = Numbers(0xb0d7);
    for _ in 0..100_000 {
        let script: Vec<u8> = (0..numbers.below(60)).map(|_| numbers.below(256) as u8).collect();
        reply::check(&script);
    }
}
