//! Every row of the corpora gets its verdict, and the same one however its bytes are cut.

use crate::client::{End, Outcome, hold};
use crate::rows::{Row, rows};
use ruwsgi_wire::Limits;

/// Rows that say what a server with HTTP/2 does. This one has none, and answers 505.
const HTTP2: [&str; 2] = ["rfc9112/h2-preface", "rfc9112/h2-preface-broken"];

/// What is wrong with an outcome, if something is.
fn fault(row: &Row, outcome: &Outcome) -> Option<String> {
    let sure = row.json["n_ok"].as_u64().unwrap() as usize;
    let wanted = row.json["requests"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (served, wanted) in outcome.served.iter().zip(wanted) {
        let version = wanted["version"].as_str().unwrap();
        // RFC 9110 2.5: a later minor version is read as 1.1.
        let version = if version == "1.0" { "HTTP/1.0" } else { "HTTP/1.1" };
        let same = served.method == wanted["method"].as_str().unwrap()
            && served.target == wanted["target"].as_str().unwrap()
            && served.protocol == version
            && Some(served.body.len() as u64) == wanted["body_len"].as_u64();
        if !same {
            return Some(format!("{served:?} is not {wanted}"));
        }
    }
    let count = outcome.served.len();
    let all = count == wanted.len() && matches!(outcome.end, End::Idle | End::Closed);
    let kept_out = count <= sure && !matches!(outcome.end, End::Idle | End::Closed);
    let status = row.json["status"].as_array().map(|list| list.iter().filter_map(serde_json::Value::as_u64));
    let right_status = match (outcome.end, status) {
        // What is cut is refused for what is there.
        (End::Refused(refusal), Some(mut list)) if row.json["incomplete"].is_null() => {
            list.any(|status| refusal.status().starts_with(&status.to_string()))
        }
        _ => true,
    };
    let right = match (row.text("verdict"), row.text("prefer")) {
        ("accept", _) => all && count >= sure,
        ("reject", _) => kept_out && right_status,
        ("either", "accept") if HTTP2.contains(&row.id.as_str()) => kept_out,
        ("either", "accept") => all,
        ("either", "reject") => kept_out,
        // Cut is neither.
        ("either", _) => all || count >= sure && (kept_out || outcome.end != End::CutHead),
        (verdict, _) => panic!("the verdict {verdict} of {}", row.id),
    };
    (!right).then(|| format!("{} and {:?} for {} {}", count, outcome.end, row.text("verdict"), row.text("prefer")))
}

#[test]
fn verdicts() {
    let rows = rows("http1");
    let faults: Vec<String> = rows
        .iter()
        // The PROXY protocol is another layer.
        .filter(|row| row.json["needs"].is_null())
        .filter_map(|row| Some(format!("{}: {}", row.id, fault(row, &hold(&Limits::default(), [&*row.raw]))?)))
        .collect();
    assert!(faults.is_empty(), "{} rows:\n{}", faults.len(), faults.join("\n"));
}

/// Long rows are cut where something happens: near their ends.
fn cuts(length: usize) -> impl Iterator<Item = usize> {
    (0..=length).filter(move |&cut| length < 2048 || cut < 256 || length - cut < 256)
}

#[test]
fn in_two_pieces() {
    let limits = Limits::default();
    for row in rows("http1") {
        let whole = hold(&limits, [&*row.raw]);
        for cut in cuts(row.raw.len()) {
            let (start, end) = row.raw.split_at(cut);
            hold(&limits, [start, end]).assert_same(&whole, &format!("{} cut at {cut}", row.id));
        }
    }
}

#[test]
fn byte_by_byte() {
    let limits = Limits::default();
    for row in rows("http1").iter().filter(|row| row.raw.len() <= 40_000) {
        let whole = hold(&limits, [&*row.raw]);
        for size in [1, 2, 3, 5] {
            hold(&limits, row.raw.chunks(size)).assert_same(&whole, &format!("{} by {size}", row.id));
        }
    }
}

/// `buffer-size = 4096` is uWSGI's default: the same verdicts, but for heads that are longer.
#[test]
fn small_heads() {
    let limits = Limits { head_bytes: 4096, ..Limits::default() };
    for row in rows("http1").iter().filter(|row| row.raw.len() > 4096 && row.raw.len() <= 200_000) {
        let whole = hold(&limits, [&*row.raw]);
        for size in [1000, 4095, 4096, 4097] {
            hold(&limits, row.raw.chunks(size)).assert_same(&whole, &format!("{} by {size}", row.id));
        }
    }
}
