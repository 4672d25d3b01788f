//! Every row of the corpus gets its verdict, and the same one however its bytes are cut.

use crate::client::{Outcome, hold, latin1};
use crate::rows::{Row, rows};
use ruwsgi_wire::Limits;

/// The buffer of uWSGI, which the corpus supposes.
fn limits() -> Limits {
    Limits { head_bytes: 4096, ..Limits::default() }
}

/// What is wrong with what came of a row, if something is.
fn fault(row: &Row, outcome: &Outcome) -> Option<String> {
    let right = match (row.text("verdict"), row.text("prefer")) {
        ("accept", _) | ("either", "accept") => outcome.is_served(),
        ("reject", _) | ("either", "reject") => !outcome.is_served(),
        ("either", _) => true,
        (verdict, _) => panic!("the verdict {verdict} of {}", row.id),
    };
    if !right {
        return Some(format!("{outcome:?}"));
    }
    let Outcome::Served(vars, body) = outcome else { return None };
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
    let length = row.json["body_len"].as_u64().unwrap_or(0);
    (body.len() as u64 != length).then(|| format!("the body has {} bytes", body.len()))
}

#[test]
fn verdicts() {
    let rows = rows("uwsgi");
    let faults: Vec<String> = rows
        .iter()
        .filter_map(|row| Some(format!("{}: {}", row.id, fault(row, &hold(&limits(), [&*row.raw]))?)))
        .collect();
    assert!(faults.is_empty(), "{} of {} rows:\n{}", faults.len(), rows.len(), faults.join("\n"));
}

#[test]
fn sizes_that_the_corpus_leaves_open() {
    let rows = rows("uwsgi");
    let served = |id: &str, limits: &Limits| {
        let row = rows.iter().find(|row| row.id == format!("uwsgi/{id}")).unwrap();
        hold(limits, [&*row.raw]).is_served()
    };
    assert_eq!([served("size-4096", &limits()), served("size-4097", &limits())], [true, false]);
    assert_eq!([served("size-4097", &Limits::default()), served("size-65535", &Limits::default())], [true, false]);
    assert!(served("size-65535", &Limits { head_bytes: 65_535, ..Limits::default() }));
}

#[test]
fn in_two_pieces() {
    for row in rows("uwsgi") {
        let whole = hold(&limits(), [&*row.raw]);
        // Bodies are cut where something happens: near their ends.
        let length = row.raw.len();
        for cut in (0..=length).filter(|&cut| length < 8192 || cut < 512 || length - cut < 512) {
            let (start, end) = row.raw.split_at(cut);
            assert_eq!(hold(&limits(), [start, end]), whole, "{} cut at {cut}", row.id);
        }
    }
}

#[test]
fn byte_by_byte() {
    for row in rows("uwsgi").iter().filter(|row| row.raw.len() <= 100_000) {
        let whole = hold(&limits(), [&*row.raw]);
        for size in [1, 2, 3, 5] {
            assert_eq!(hold(&limits(), row.raw.chunks(size)), whole, "{} by {size}", row.id);
        }
    }
}

/// Bytes of real packets in another order: nothing panics, and pieces make no difference.
#[test]
fn mutations() {
    let rows = rows("uwsgi");
    let seeds: Vec<&[u8]> = rows.iter().map(|row| &*row.raw).filter(|raw| (1..1000).contains(&raw.len())).collect();
    // xorshift64*
    let mut state = 0x5eed_u64;
    let mut below = |limit: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    };
    let mut served = 0;
    for _ in 0..50_000 {
        let mut raw = seeds[below(seeds.len())].to_vec();
        for _ in 0..=below(3) {
            let at = below(raw.len());
            match below(4) {
                0 => raw[at] = below(256) as u8,
                1 => raw[at] = raw[at].wrapping_add(1),
                2 => raw.truncate(at.max(4)),
                _ => raw.insert(at, 0),
            }
            if raw.len() > 4 && below(2) == 0 {
                let size = (raw.len() - 4) as u16;
                raw[..3].copy_from_slice(&[0, size.to_le_bytes()[0], size.to_le_bytes()[1]]);
            }
        }
        let whole = hold(&limits(), [&*raw]);
        served += usize::from(whole.is_served());
        for size in [1, 2 + below(40)] {
            assert_eq!(hold(&limits(), raw.chunks(size)), whole, "{raw:?} by {size}");
        }
    }
    assert!(served > 1000, "only {served} are requests at all");
}
