//! `log-format = json`: a line of a request as one object, in the words of ECS and OpenTelemetry. Whatever a client or an
//! application has sent, it is valid JSON and no control character.

use std::io::Write;

use ruwsgi_sys::process;
use ruwsgi_wire::Key;

use super::format::{Cgi, Times, thousandths};
use super::line::{number, text};
use super::{Facts, is_plain};

/// Fields of requests that are looked for by their names.
pub(super) struct Json {
    agent: Cgi,
    referer: Cgi,
    request_id: Cgi,
    /// W3C Trace Context: `00-TRACE-SPAN-FLAGS`.
    trace: Cgi,
    memory: bool,
}

impl Json {
    pub(super) fn new(memory: bool) -> Self {
        let field = |name: &str| Cgi::new(name.as_bytes());
        Self {
            agent: field("HTTP_USER_AGENT"),
            referer: field("HTTP_REFERER"),
            request_id: field("HTTP_X_REQUEST_ID"),
            trace: field("HTTP_TRACEPARENT"),
            memory,
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, facts: &Facts<'_>, times: &mut Times) {
        let (vars, sent) = (facts.vars, facts.sent);
        let key = |key| vars.key(key).unwrap_or_default();
        let (method, uri) = (key(Key::RequestMethod), key(Key::RequestUri));
        out.reserve(768 + 2 * uri.len());
        out.extend_from_slice(b"{\"@timestamp\":\"");
        times.utc(out, facts.began_us);
        let level = if sent.status >= 500 { "error" } else { "info" };
        text(out, "\",\"log.level\":\"");
        text(out, level);
        text(out, "\",\"message\":\"");
        escape(out, method);
        out.push(b' ');
        escape(out, uri);
        number(out, " ", sent.status);
        out.push(b'"');
        let (path, query) = split(uri);
        let traced = self.trace.of(vars).unwrap_or_default();
        let (trace, span) = context(&traced);
        field(out, ",\"http.request.method\":", method);
        field(out, ",\"url.path\":", path);
        field(out, ",\"url.query\":", query);
        field(out, ",\"url.domain\":", key(Key::HttpHost));
        field(out, ",\"network.protocol\":", key(Key::ServerProtocol));
        field(out, ",\"client.address\":", &facts.address);
        field(out, ",\"user.name\":", key(Key::RemoteUser));
        field(out, ",\"user_agent.original\":", &self.agent.of(vars).unwrap_or_default());
        field(out, ",\"http.request.referrer\":", &self.referer.of(vars).unwrap_or_default());
        field(out, ",\"request_id\":", &self.request_id.of(vars).unwrap_or_default());
        field(out, ",\"trace_id\":", trace);
        field(out, ",\"span_id\":", span);
        let length = whole(key(Key::ContentLength));
        if !length.is_empty() {
            text(out, ",\"http.request.body.size\":");
            out.extend_from_slice(length);
        }
        number(out, ",\"http.response.status_code\":", sent.status);
        number(out, ",\"http.response.body.size\":", sent.body_bytes);
        number(out, ",\"event.duration\":", facts.micros.saturating_mul(1000));
        number(out, ",\"duration_ms\":", facts.micros / 1000);
        out.push(b'.');
        out.extend_from_slice(&thousandths(facts.micros));
        number(out, ",\"process.pid\":", facts.pid);
        number(out, ",\"worker.id\":", facts.slot);
        number(out, ",\"worker.core\":", facts.core);
        if self.memory {
            let (_, resident) = process::memory();
            number(out, ",\"process.memory.rss\":", resident);
        }
        labels(out, facts);
        out.push(b'}');
    }
}

/// A text under its key; one that is empty is left out.
fn field(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    if !value.is_empty() {
        text(out, key);
        quote(out, value);
    }
}

/// What the application has said about the request, and fields that were collected; of a name that comes twice, the first.
fn labels(out: &mut Vec<u8>, facts: &Facts<'_>) {
    let all: Vec<&(Vec<u8>, Vec<u8>)> = facts.logvars.iter().chain(facts.collected).collect();
    let mut separator: &[u8] = b",\"labels\":{";
    for (at, (name, value)) in all.iter().enumerate() {
        if all[..at].iter().any(|(known, _)| known == name) {
            continue;
        }
        out.extend_from_slice(separator);
        quote(out, name);
        out.push(b':');
        quote(out, value);
        separator = b",";
    }
    if !all.is_empty() {
        out.push(b'}');
    }
}

fn split(uri: &[u8]) -> (&[u8], &[u8]) {
    match uri.iter().position(|byte| *byte == b'?') {
        Some(at) => (&uri[..at], &uri[at + 1..]),
        None => (uri, b""),
    }
}

/// Only what is a number in JSON: no empty text, no zero before others.
fn whole(text: &[u8]) -> &[u8] {
    let plain = text.iter().all(u8::is_ascii_digit) && (text.len() == 1 || text.first() != Some(&b'0'));
    if plain { text } else { b"" }
}

/// Trace and span of a `traceparent`, if it is one.
fn context(text: &[u8]) -> (&[u8], &[u8]) {
    let hex = |part: &[u8], length: usize| part.len() == length && part.iter().all(u8::is_ascii_hexdigit);
    match text.split(|byte| *byte == b'-').collect::<Vec<_>>()[..] {
        [version, trace, span, _, ..] if hex(version, 2) && hex(trace, 32) && hex(span, 16) => (trace, span),
        _ => (b"", b""),
    }
}

/// A JSON string.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    escape(out, text);
    out.push(b'"');
}

/// The inside of a JSON string. Bytes that are no UTF-8 become U+FFFD.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text, [b'"', b'\\']) {
        return out.extend_from_slice(text);
    }
    for letter in String::from_utf8_lossy(text).chars() {
        let mut bytes = [0; 4];
        // A Vec takes everything: writing to it can't fail.
        let _ = match letter {
            '"' | '\\' => out.write_all(&[b'\\', letter as u8]),
            _ if letter.is_control() => write!(out, "\\u{:04x}", u32::from(letter)),
            _ => out.write_all(letter.encode_utf8(&mut bytes).as_bytes()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::facts;
    use crate::response::Sent;
    use ruwsgi_wire::Vars;

    fn line(vars: &Vars, sent: &Sent, logvars: &[(Vec<u8>, Vec<u8>)]) -> serde_json::Value {
        let mut out = Vec::new();
        let began_us = 1_795_305_599_012_345;
        let facts = Facts { logvars, began_us, micros: 2_001_875, ..facts(vars, sent) };
        Json::new(true).write(&mut out, &facts, &mut Times::default());
        assert!(out.iter().all(|byte| !byte.is_ascii_control()), "{}", String::from_utf8_lossy(&out));
        serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
    }

    #[test]
    fn a_request_is_an_object() {
        let mut vars = Vars::default();
        vars.set(Key::RequestMethod, b"POST");
        vars.set(Key::RequestUri, b"/a?b=c");
        vars.set(Key::ContentLength, b"3");
        vars.set(Key::HttpHost, b"shop.example");
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        for (name, value) in [("Traceparent", parent), ("X-Request-Id", "r1"), ("User-Agent", "ua \"x\" \\ \u{1b}[2J")]
        {
            let (name, value) = (vars.add(name.as_bytes()), vars.add(value.as_bytes()));
            vars.push_field(name, value);
        }
        let logvars = [(b"shop".to_vec(), b"a\nb\xff".to_vec()), (b"shop".to_vec(), b"again".to_vec())];
        let shown = line(&vars, &Sent { status: 503, body_bytes: 5, ..Sent::default() }, &logvars);
        for (key, value) in [
            ("@timestamp", "2026-11-21T23:59:59.012Z"),
            ("log.level", "error"),
            ("message", "POST /a?b=c 503"),
            ("http.request.method", "POST"),
            ("url.path", "/a"),
            ("url.query", "b=c"),
            ("url.domain", "shop.example"),
            ("user_agent.original", "ua \"x\" \\ \u{1b}[2J"),
            ("trace_id", "0af7651916cd43dd8448eb211c80319c"),
            ("span_id", "b7ad6b7169203331"),
            ("request_id", "r1"),
        ] {
            assert_eq!(shown[key], value, "{key} in {shown}");
        }
        for (key, value) in [
            ("http.response.status_code", 503),
            ("http.response.body.size", 5),
            ("http.request.body.size", 3),
            ("event.duration", 2_001_875_000),
            ("process.pid", 7),
            ("worker.id", 3),
        ] {
            assert_eq!(shown[key], value, "{key} in {shown}");
        }
        assert_eq!(shown["duration_ms"], 2001.875);
        assert_eq!(shown["labels"], serde_json::json!({"shop": "a\nb\u{fffd}"}));
        assert!(shown["process.memory.rss"].as_u64().unwrap() > 100_000);
    }

    #[test]
    fn whatever_bytes_come_it_is_json() {
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        for _ in 0..2000 {
            let mut vars = Vars::default();
            for key in [Key::RequestMethod, Key::RequestUri, Key::ContentLength, Key::HttpHost, Key::RemoteUser] {
                let bytes: Vec<u8> = (0..random() % 12).map(|_| random()).collect();
                vars.set(key, &bytes);
            }
            let logvars = [((0..3).map(|_| random()).collect(), (0..9).map(|_| random()).collect())];
            line(&vars, &Sent::default(), &logvars);
        }
    }
}
