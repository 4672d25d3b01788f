//! The rows of `tests/corpora/http1` against a running server: what is served, what is refused, how requests are
//! framed. Where the folder of a larger collection lies beside the project, its rows are run too.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::Value;

use crate::harness::{Client, Site, project};

struct Row {
    id: String,
    raw: Vec<u8>,
    verdict: String,
    prefer: String,
    /// The offence is in a body: the application may have begun to answer.
    in_body: bool,
    /// How many requests before the offence are whole.
    whole: usize,
    /// (method, target, length of the body) that the application must see.
    requests: Vec<(String, String, u64)>,
}

/// One answer as it came over the wire.
struct Seen {
    status: u16,
    body: Vec<u8>,
}

fn rows(path: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(path).unwrap();
    let values = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    values.filter(|row| row["needs"].is_null()).map(|row| self::row(&row)).collect()
}

fn row(row: &Value) -> Row {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let raw = match row["raw_b64"].as_str() {
        Some(plain) => BASE64_STANDARD.decode(plain).unwrap(),
        None => {
            let packed = BASE64_STANDARD.decode(text("raw_zb64")).unwrap();
            let mut raw = Vec::new();
            flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut raw).unwrap();
            raw
        }
    };
    let requests = row["requests"].as_array().map_or(&[][..], Vec::as_slice);
    let request = |value: &Value| {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        (text("method"), text("target"), value["body_len"].as_u64().unwrap_or(0))
    };
    Row {
        id: text("id"),
        raw,
        verdict: text("verdict"),
        prefer: text("prefer"),
        in_body: row["phase"] == "body",
        whole: row["n_ok"].as_u64().unwrap_or(0) as usize,
        requests: requests.iter().map(request).collect(),
    }
}

/// How a client ends what it sends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// The end of what it sends comes with the last bytes.
    AtOnce,
    /// It waits until nothing more comes, then says that it is done.
    AfterSilence,
}

/// Sends the bytes and reads whatever comes until the server closes; `None` when it does not.
fn converse(address: SocketAddr, raw: &[u8], end: End) -> Option<Vec<u8>> {
    let mut client = Client::tcp(address);
    let mut seen = Vec::new();
    // A server that has refused the start may have closed before the rest is sent.
    let sent = client.try_send(raw).is_ok();
    let silence = Duration::from_millis(250);
    if sent && end == End::AfterSilence {
        while let Some(more) = client.read_within(silence) {
            seen.extend(&more);
            if more.is_empty() {
                return Some(seen);
            }
        }
    }
    let _ = client.try_finish_sending();
    loop {
        let more = client.read_within(Duration::from_secs(5))?;
        seen.extend(&more);
        if more.is_empty() {
            return Some(seen);
        }
    }
}

/// Splits what came into answers; `None` for bytes that are no HTTP. `methods`: those of the requests, as far as they
/// are known (HEAD has no body). The last body may be cut: that is how a failure in it shows.
fn answers(mut bytes: &[u8], methods: &[&str]) -> Option<Vec<Seen>> {
    let mut seen: Vec<Seen> = Vec::new();
    while !bytes.is_empty() {
        let head = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let text = String::from_utf8_lossy(&bytes[..head]).to_lowercase();
        let status = text.strip_prefix("http/1.")?.get(2..5)?.parse::<u16>().ok()?;
        bytes = &bytes[head + 4..];
        if status < 200 {
            continue;
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let bodyless = status == 204 || status == 304 || methods.get(seen.len()) == Some(&"HEAD");
        let length = if bodyless { 0 } else { length.unwrap_or(bytes.len()).min(bytes.len()) };
        seen.push(Seen { status, body: bytes[..length].to_vec() });
        bytes = &bytes[length..];
    }
    Some(seen)
}

fn good(answer: &Seen) -> bool {
    answer.status < 400 || answer.status == 404 || answer.status == 405
}

/// What is wrong with the answers to a row; `None` when nothing is.
fn judge(row: &Row, seen: &[Seen]) -> Option<String> {
    let served = seen.iter().filter(|answer| good(answer)).count();
    let statuses: Vec<u16> = seen.iter().map(|answer| answer.status).collect();
    let as_rejected = || {
        // One more when the body is at fault: the application may be streaming already.
        let most = row.whole + usize::from(row.in_body);
        (served > most).then(|| format!("{served} served, at most {most} may be: {statuses:?}"))
    };
    let as_accepted = || {
        if served < row.requests.len() || served < seen.len() {
            return Some(format!("{} requests are to be served: {statuses:?}", row.requests.len()));
        }
        row.requests.iter().zip(seen).find_map(|(request, answer)| misframed(request, answer))
    };
    match (row.verdict.as_str(), row.prefer.as_str()) {
        ("accept", _) => as_accepted(),
        ("reject", _) | ("either", "reject") => as_rejected(),
        ("either", "accept") if !row.requests.is_empty() => as_accepted(),
        _ if served > row.whole => as_accepted(),
        _ => None,
    }
}

fn misframed((method, target, body): &(String, String, u64), answer: &Seen) -> Option<String> {
    if method == "HEAD" || answer.status != 200 {
        return None;
    }
    let seen: Value = serde_json::from_slice(&answer.body).ok()?;
    let (env, read) = (&seen["env"], &seen["body"]);
    let same = env["REQUEST_METHOD"] == **method && env["REQUEST_URI"] == **target && *read == *body;
    (!same).then(|| {
        format!(
            "{method} {target} with {body} bytes was seen as {} {} with {read}",
            env["REQUEST_METHOD"], env["REQUEST_URI"]
        )
    })
}

/// Runs all rows on some threads; what is wrong, by row.
fn run(address: SocketAddr, rows: &[Row], end: End) -> BTreeMap<String, String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let methods: Vec<&str> = row.requests.iter().map(|request| request.0.as_str()).collect();
                    let why = match converse(address, &row.raw, end).map(|bytes| answers(&bytes, &methods)) {
                        Some(Some(seen)) => judge(row, &seen),
                        Some(None) => Some("what came is no HTTP".to_owned()),
                        None => Some("the connection stays open when the client has ended it".to_owned()),
                    };
                    if let Some(why) = why {
                        wrong.lock().unwrap().insert(row.id.clone(), why);
                    }
                }
            });
        }
    });
    wrong.into_inner().unwrap()
}

fn check(files: &[PathBuf], end: End) {
    check_with(files, end, Site::app("conformance.py"));
}

/// The same application behind the HTTP router.
fn routed() -> Site {
    let site = Site::empty().ini("wsgi-file = app.py\nuwsgi-socket = app.sock\nhttp = 127.0.0.1:0\nhttp-router = true");
    std::fs::copy(crate::harness::app("conformance.py"), site.path("app.py")).unwrap();
    site
}

fn check_with(files: &[PathBuf], end: End, site: Site) {
    let server = site.ini("disable-logging = true").start();
    let workers = server.workers();
    let rows: Vec<Row> = files.iter().flat_map(|file| rows(file)).collect();
    assert!(!rows.is_empty());
    let wrong = run(server.address(), &rows, end);
    let list: String = wrong.iter().map(|(id, why)| format!("{id}: {why}\n")).collect();
    assert!(wrong.is_empty(), "{} of {} rows are judged otherwise:\n{list}", wrong.len(), rows.len());
    assert_eq!(server.workers(), workers, "a worker died");
}

fn ours() -> Vec<PathBuf> {
    vec![project().join("tests/corpora/http1/rfc9112.jsonl")]
}

#[test]
fn rows_sent_in_one_piece_with_their_end() {
    check(&ours(), End::AtOnce);
}

#[test]
fn rows_sent_by_a_client_that_waits() {
    check(&ours(), End::AfterSilence);
}

#[test]
fn rows_sent_through_the_router() {
    check_with(&ours(), End::AtOnce, routed());
    check_with(&ours(), End::AfterSilence, routed());
}

#[test]
fn rows_of_a_larger_collection() {
    let folder = project().join("../shared/conformance/http1");
    let files: Vec<_> = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    let files: Vec<_> = files.into_iter().filter(|path| path.extension().is_some_and(|end| end == "jsonl")).collect();
    if !files.is_empty() {
        check(&files, End::AtOnce);
        check_with(&files, End::AtOnce, routed());
    }
}
