//! A response made from arbitrary bytes, and a strict client that reads it. The fuzz target `http_response` shares it.

use ruwsgi_wire::http::{self, Chunked};
use ruwsgi_wire::{Exchange, Head, Limits, Next, Vars};

use super::client::DATE;

const REQUESTS: [&str; 6] = [
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
];
const STATUSES: [&str; 8] = [
    "200 OK",
    "200",
    "404 ",
    "204 No Content",
    "205 Reset Content",
    "304 Not Modified",
    "999 x",
    "500 Internal Server Error",
];
const NAMES: [&str; 10] = [
    "Content-Length",
    "Connection",
    "Date",
    "Upgrade",
    "Keep-Alive",
    "Transfer-Encoding",
    "X-A",
    "Set-Cookie",
    "content-length",
    "TE",
];
const VALUES: [&str; 8] = ["0", "5", "5 ", "100", "close", "keep-alive, close", "chunked", ""];

/// Arbitrary bytes as instructions; zeros when they are used up.
struct Script<'s>(&'s [u8]);

impl<'s> Script<'s> {
    fn number(&mut self, limit: usize) -> usize {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(first) % limit
    }

    fn bytes(&mut self) -> &'s [u8] {
        let length = self.number(12).min(self.0.len());
        let (bytes, rest) = self.0.split_at(length);
        self.0 = rest;
        bytes
    }

    /// One of the usual texts, or anything.
    fn text(&mut self, usual: &[&'static str]) -> &'s [u8] {
        match self.number(usual.len() + 1) {
            0 => self.bytes(),
            number => usual[number - 1].as_bytes(),
        }
    }
}

/// A response as it went out.
struct Sent {
    bytes: Vec<u8>,
    body: Vec<u8>,
    next: Next,
}

/// Lets an application send what the script says. `None`: it got an error.
fn send(exchange: &mut dyn Exchange, script: &mut Script<'_>) -> Option<Sent> {
    let (mut out, mut body) = (Vec::new(), Vec::new());
    exchange.status(script.text(&STATUSES), &mut out).ok()?;
    for _ in 0..script.number(4) {
        exchange.field(script.text(&NAMES), script.text(&VALUES), &mut out).ok()?;
    }
    let length = [None, Some(0), Some(5), Some(40)][script.number(4)];
    exchange.end_head(length, DATE, script.number(8) == 7, &mut out);
    for _ in 0..script.number(5) {
        let piece = vec![b'x'; script.number(30)];
        let take = exchange.data(piece.len(), &mut out);
        assert!(take <= piece.len(), "more than there is");
        out.extend_from_slice(&piece[..take]);
        body.extend_from_slice(&piece[..take]);
        exchange.data_end(&mut out);
    }
    let next = exchange.finish(&mut out);
    Some(Sent { bytes: out, body, next })
}

/// What the fields of a response say.
struct Fields {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
}

fn fields(response: &httparse::Response<'_, '_>) -> Fields {
    let values = |name: &str| -> Vec<String> {
        let named = response.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| String::from_utf8_lossy(field.value).to_lowercase()).collect()
    };
    let (lengths, codings, options) = (values("content-length"), values("transfer-encoding"), values("connection"));
    assert!(lengths.len() <= 1 && codings.len() <= 1 && options.len() <= 1, "{lengths:?} {codings:?} {options:?}");
    assert!(!values("date").is_empty() && values("keep-alive").is_empty() && values("te").is_empty());
    assert!(lengths.is_empty() || codings.is_empty(), "both framings");
    assert!(codings.iter().all(|coding| coding == "chunked"));
    let option = |name| options.iter().any(|value| value.split(", ").any(|option| option == name));
    Fields {
        length: lengths.first().map(|length| length.parse().unwrap()),
        chunked: !codings.is_empty(),
        close: option("close"),
        keep_alive: option("keep-alive"),
    }
}

/// Sends what `data` says, and reads it as RFC 9112 6.3 and 9.3 want it read.
pub fn check(data: &[u8]) {
    let mut script = Script(data);
    let request = REQUESTS[script.number(REQUESTS.len())];
    let mut exchange = http::exchange(&Limits::default());
    assert!(matches!(exchange.head(request.as_bytes(), &mut Vars::default()), Head::Whole { .. }));
    let Some(Sent { bytes, body, next }) = send(&mut *exchange, &mut script) else { return };

    let mut space = [httparse::EMPTY_HEADER; 16];
    let mut response = httparse::Response::new(&mut space);
    let head = response.parse(&bytes).unwrap().unwrap();
    let (rest, code) = (&bytes[head..], response.code.unwrap());
    let one_one = response.version == Some(1);
    assert_eq!(one_one, request.contains("HTTP/1.1"));
    let says = fields(&response);

    let mut whole = true;
    if request.starts_with("HEAD") || matches!(code, 204 | 205 | 304) {
        assert!(rest.is_empty() && !says.chunked, "a body where none can be");
        assert!(code != 204 || says.length.is_none(), "204 with a length");
        assert!(code != 205 || says.length == Some(0), "205 without its zero");
    } else if says.chunked {
        let (mut chunked, mut decoded) = (Chunked::default(), Vec::new());
        let step = chunked.decode(rest, &mut decoded).unwrap();
        assert!(one_one && step.done && step.consumed == rest.len() && decoded == body, "chunks");
    } else {
        assert_eq!(rest, body);
        whole = says.length == Some(rest.len() as u64);
        assert!(says.length.is_none_or(|length| rest.len() as u64 <= length), "longer than its length");
    }
    assert!(whole || next == Next::Close, "a client would wait for ever");
    if next == Next::KeepAlive {
        assert!(if one_one { !says.close } else { says.keep_alive }, "the client closes");
        assert!(!request.contains("close"), "the client does not want it");
    } else if one_one && whole {
        assert!(says.close, "the client is not told");
    }
}
