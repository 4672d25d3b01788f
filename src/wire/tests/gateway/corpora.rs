//! Every row of the corpora gets its verdict, and the same one however its bytes are cut.

use crate::client::{Outcome, hold, latin1, records};
use crate::rows::{Row, rows};
use ruwsgi_wire::Limits;

const PROTOCOLS: [&str; 3] = ["uwsgi", "fastcgi", "scgi"];

/// The buffer of uWSGI, which the rows about uwsgi suppose.
fn limits(protocol: &str) -> Limits {
    match protocol {
        "uwsgi" => Limits { head_bytes: 4096, ..Limits::default() },
        _ => Limits::default(),
    }
}

fn whole(protocol: &'static str, row: &Row) -> Vec<Outcome> {
    hold(protocol, &limits(protocol), [&*row.raw])
}

/// What is wrong with what came of a row, if something is.
fn fault(row: &Row, outcomes: &[Outcome]) -> Option<String> {
    let served = outcomes.iter().find(|outcome| outcome.is_served());
    let own = row.json["reply_type"].is_number() || row.json["app"] == false;
    let right = match (row.text("verdict"), row.text("prefer")) {
        ("accept", _) if own => served.is_none() && replied(row, outcomes),
        ("accept", _) | ("either", "accept") => served.is_some(),
        ("reject", _) | ("either", "reject") => served.is_none() && refused(row, outcomes),
        ("either", _) => true,
        (verdict, _) => panic!("the verdict {verdict} of {}", row.id),
    };
    if !right {
        return Some(format!("{outcomes:?}"));
    }
    let Some(Outcome::Served(vars, body)) = served else { return None };
    // The last one counts.
    let value = |name: &str| vars.iter().rfind(|(known, _)| known == name).map(|(_, value)| latin1(value));
    for (name, wanted) in row.json["vars"].as_object().into_iter().flatten() {
        if value(name).as_deref() != wanted.as_str() {
            return Some(format!("{name} is {:?}", value(name)));
        }
    }
    let unwanted = row.json["must_not_have"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
    if let Some(name) = unwanted.into_iter().find(|name| value(name).is_some()) {
        return Some(format!("{name} is there"));
    }
    let length = row.json["body_len"].as_u64();
    length.filter(|length| body.len() as u64 != *length).map(|_| format!("the body has {} bytes", body.len()))
}

/// The server has answered by itself, with a record of this type: `END_REQUEST` unless the row says another.
fn replied(row: &Row, outcomes: &[Outcome]) -> bool {
    let wanted = row.json["reply_type"].as_u64().unwrap_or(3);
    let reply = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Replied(answer) => Some(answer),
        _ => None,
    });
    reply.is_some_and(|answer| records(answer).iter().any(|(kind, ..)| u64::from(*kind) == wanted))
}

/// The front end was told why, where the row says how: the status in `END_REQUEST`.
fn refused(row: &Row, outcomes: &[Outcome]) -> bool {
    let Some(wanted) = row.json["end_request"].as_u64() else { return true };
    let answer = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Refused(_, answer) => Some(answer),
        _ => None,
    });
    let ends = answer.map(|answer| records(answer).into_iter().filter(|(kind, ..)| *kind == 3).collect::<Vec<_>>());
    ends.is_some_and(|ends| matches!(&*ends, [(_, _, content)] if u64::from(content[4]) == wanted))
}

#[test]
fn verdicts() {
    for protocol in PROTOCOLS {
        let rows = rows(protocol);
        let faults: Vec<String> =
            rows.iter().filter_map(|row| Some(format!("{}: {}", row.id, fault(row, &whole(protocol, row))?))).collect();
        assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
    }
}

#[test]
fn sizes_that_the_corpus_leaves_open() {
    let rows = rows("uwsgi");
    let served = |id: &str, limits: &Limits| {
        let row = rows.iter().find(|row| row.id == format!("uwsgi/{id}")).unwrap();
        hold("uwsgi", limits, [&*row.raw])[0].is_served()
    };
    let small = limits("uwsgi");
    assert_eq!([served("size-4096", &small), served("size-4097", &small)], [true, false]);
    assert_eq!([served("size-4097", &Limits::default()), served("size-65535", &Limits::default())], [true, false]);
    assert!(served("size-65535", &Limits { head_bytes: 65_535, ..Limits::default() }));
}

#[test]
fn in_two_pieces() {
    for protocol in PROTOCOLS {
        for row in rows(protocol) {
            let whole = whole(protocol, &row);
            // Bodies are cut where something happens: near their ends.
            let length = row.raw.len();
            let near = if length < 100_000 { 512 } else { 32 };
            for cut in (0..=length).filter(|&cut| length < 4096 || cut < near || length - cut < near) {
                let (start, end) = row.raw.split_at(cut);
                assert_eq!(hold(protocol, &limits(protocol), [start, end]), whole, "{} cut at {cut}", row.id);
            }
        }
    }
}

#[test]
fn byte_by_byte() {
    for protocol in PROTOCOLS {
        for row in rows(protocol).iter().filter(|row| row.raw.len() <= 50_000) {
            let whole = whole(protocol, row);
            for size in [1, 2, 3, 5] {
                let pieces = hold(protocol, &limits(protocol), row.raw.chunks(size));
                assert_eq!(pieces, whole, "{} by {size}", row.id);
            }
        }
    }
}

/// Bytes of real requests in another order: nothing panics, and pieces make no difference.
#[test]
fn mutations() {
    for (protocol, least) in [("uwsgi", 300), ("fastcgi", 150), ("scgi", 150)] {
        let rows = rows(protocol);
        let seeds: Vec<&[u8]> = rows.iter().map(|row| &*row.raw).filter(|raw| (1..1000).contains(&raw.len())).collect();
        let mut served = 0;
        let mut state = 0x5eed_u64;
        for _ in 0..10_000 {
            let raw = mutant(protocol, &seeds, &mut state);
            let whole = hold(protocol, &limits(protocol), [&*raw]);
            served += usize::from(whole.iter().any(Outcome::is_served));
            for size in [1, 2 + below(&mut state, 40)] {
                assert_eq!(hold(protocol, &limits(protocol), raw.chunks(size)), whole, "{raw:?} by {size}");
            }
        }
        assert!(served > least, "{protocol}: only {served} are requests at all");
    }
}

/// xorshift64*
fn below(state: &mut u64, limit: usize) -> usize {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
}

fn mutant(protocol: &str, seeds: &[&[u8]], state: &mut u64) -> Vec<u8> {
    let mut raw = seeds[below(state, seeds.len())].to_vec();
    for _ in 0..=below(state, 3) {
        let at = below(state, raw.len());
        match below(state, 4) {
            0 => raw[at] = below(state, 256) as u8,
            1 => raw[at] = raw[at].wrapping_add(1),
            2 => raw.truncate(at.max(4)),
            _ => raw.insert(at, 0),
        }
        // What has one length in front is mostly cut off at once without it.
        if protocol == "uwsgi" && raw.len() > 4 && below(state, 2) == 0 {
            let size = (raw.len() - 4) as u16;
            raw[..3].copy_from_slice(&[0, size.to_le_bytes()[0], size.to_le_bytes()[1]]);
        }
    }
    raw
}
