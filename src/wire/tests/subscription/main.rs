//! The rows of the corpus of subscription packets: each gets its verdict, says what it says, and is written again as it
//! was; and broken ones, made of them with seeded numbers.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

#[path = "../http/rows.rs"]
mod rows;

use rows::{Row, rows};
use ruwsgi_wire::subscription::{Command, Malformed, Packet, Signed, sign};

/// What a packet says about a name, as text.
fn value(packet: &Packet<'_>, name: &str) -> Option<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match name {
        "key" => Some(text(packet.key)),
        "address" => Some(text(packet.address)),
        "modifier1" => Some(packet.modifier1.to_string()),
        "modifier2" => Some(packet.modifier2.to_string()),
        "cores" => Some(packet.cores.to_string()),
        "load" => Some(packet.load.to_string()),
        "weight" => Some(packet.weight.to_string()),
        "backup" => Some(packet.backup.to_string()),
        "algo" => packet.algo.map(text),
        "sni_key" => packet.sni_key.map(text),
        "sni_crt" => packet.sni_crt.map(text),
        "sni_ca" => packet.sni_ca.map(text),
        "notify" => packet.notify.map(text),
        "unix" => packet.unix.map(|unix| unix.to_string()),
        _ => None,
    }
}

fn again(packet: &Packet<'_>) -> Vec<u8> {
    let mut bytes = packet.write().unwrap();
    if let Some(Signed { signature, .. }) = packet.signed {
        sign(&mut bytes, |_| Ok::<_, Malformed>(signature.to_vec())).unwrap();
    }
    bytes
}

fn fault(row: &Row) -> Option<String> {
    let packet = match (Packet::parse(&row.raw), row.text("verdict")) {
        (Err(_), "reject") => return None,
        (Ok(packet), "accept") => packet,
        (parsed, _) => return Some(format!("{parsed:?}")),
    };
    let command = if packet.command == Command::Subscribe { "subscribe" } else { "unsubscribe" };
    if command != row.text("command") {
        return Some(format!("it is for {command}"));
    }
    for (name, wanted) in row.json["says"].as_object().unwrap() {
        let said = match name.as_str() {
            // Only its first letter counts.
            "proto" => packet.proto.map(char::from) == wanted.as_str().unwrap().chars().next(),
            "vassal" => true,
            _ => value(&packet, name).as_deref() == wanted.as_str(),
        };
        if !said {
            return Some(format!("{name} is {:?}", value(&packet, name)));
        }
    }
    let same = row.json["canonical"] == false || again(&packet) == row.raw;
    (!same).then(|| "written again, it is another one".to_owned())
}

#[test]
fn verdicts() {
    let rows = rows("subscription");
    let faults: Vec<String> = rows.iter().filter_map(|row| Some(format!("{}: {}", row.id, fault(row)?))).collect();
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
    assert!(rows.iter().filter(|row| row.json["canonical"] == true).count() >= 12);
}

#[test]
fn broken_packets_are_refused_or_say_something_that_can_be_said_again() {
    let (rows, mut state) = (rows("subscription"), 1_u64);
    let mut below = |bound: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % bound.max(1)
    };
    for _ in 0..20_000 {
        let mut raw = rows[below(rows.len())].raw.clone();
        for _ in 0..=below(4) {
            let at = below(raw.len());
            match below(4) {
                0 => raw.truncate(at),
                1 => raw.insert(at.min(raw.len()), below(256) as u8),
                _ => raw.iter_mut().skip(at).take(1).for_each(|byte| *byte = below(256) as u8),
            }
        }
        if let Ok(packet) = Packet::parse(&raw) {
            let bytes = again(&packet);
            let read = Packet::parse(&bytes).unwrap();
            assert_eq!(Packet { signed: None, ..read }, Packet { signed: None, ..packet });
        }
    }
}
