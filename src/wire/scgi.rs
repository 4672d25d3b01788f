//! SCGI, as nginx, Apache and lighttpd speak it (the specification: python.ca/scgi/protocol.txt), for
//! [`crate::PROTOCOLS`].
//!
//! A request is a netstring of variables (`LENGTH:NAME NUL VALUE NUL ... ,`), then the body, as many bytes as
//! `CONTENT_LENGTH` says, which comes first and always. The answer is a response as CGI has it, and the connection ends
//! with it.
//!
//! The engine drives it through [`Exchange`]. What variables must be like is `cgi`'s business.

use crate::fronted::{Answer, Begin, Fronted, Heads};
use crate::{Body, Exchange, Head, Limits, Refusal, Vars, cgi};

/// Starts the conversation of a new connection.
#[must_use]
pub fn exchange(limits: &Limits) -> Box<dyn Exchange> {
    new(limits, Begin::StatusField)
}

/// The same; the answer begins with a status line of HTTP (`scgi-nph-socket`).
#[must_use]
pub fn nph_exchange(limits: &Limits) -> Box<dyn Exchange> {
    new(limits, Begin::StatusLine)
}

fn new(limits: &Limits, begin: Begin) -> Box<dyn Exchange> {
    Box::new(Fronted::new(Scgi { limits: limits.clone() }, begin))
}

/// One connection.
struct Scgi {
    limits: Limits,
}

/// Where the variables are in the input, and how long all of the netstring is.
struct Netstring {
    start: usize,
    end: usize,
    bytes: usize,
}

impl Scgi {
    /// Finds the netstring at the start of the input. `None`: it is not all there.
    fn netstring(&self, input: &[u8], answer: &mut Answer) -> Result<Option<Netstring>, Refusal> {
        match input.first() {
            None => return Ok(None),
            // The one that begins with 0 is empty, and an empty one is no request.
            Some(b'0') => return Err(Refusal::Malformed("a netstring whose length begins with 0")),
            Some(b'1'..=b'9') => {}
            Some(&byte) => return Err(foreign(byte)),
        }
        let most_digits = self.limits.head_bytes.max(1).ilog10() as usize + 1;
        let digits = input.iter().take(most_digits + 1).take_while(|byte| byte.is_ascii_digit()).count();
        match input.get(digits) {
            _ if digits > most_digits => {}
            None => return Ok(None),
            Some(b':') => {}
            Some(_) => return Err(Refusal::Malformed("no colon behind the length of a netstring")),
        }
        answer.expect();
        if digits > most_digits {
            return Err(Refusal::HeadTooLarge);
        }
        let length = input[..digits].iter().fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        if length > self.limits.head_bytes {
            return Err(Refusal::HeadTooLarge);
        }
        let (start, end) = (digits + 1, digits + 1 + length);
        match input.get(end) {
            None => Ok(None),
            Some(b',') => Ok(Some(Netstring { start, end, bytes: end + 1 })),
            // No request, then: nobody knows what the bytes mean.
            Some(_) => {
                answer.forget();
                Err(Refusal::Malformed("no comma where the length says that it is"))
            }
        }
    }

    /// Makes variables of what is in the netstring.
    fn read(&self, block: &[u8], vars: &mut Vars) -> Result<Body, Refusal> {
        let whole = vars.add(block);
        let mut names = Vec::with_capacity(64);
        let mut is_scgi = false;
        let mut reader = cgi::Reader::new(vars, self.limits.fields);
        let mut at = 0;
        while at < block.len() {
            let (Some(name), Some(value)) = (text(block, &mut at), text(block, &mut at)) else {
                return Err(Refusal::Malformed("a variable has no end"));
            };
            let (said, text) = (&block[name.clone()], &block[value.clone()]);
            if names.is_empty() && (said != b"CONTENT_LENGTH" || text.is_empty()) {
                return Err(Refusal::Malformed("CONTENT_LENGTH is not the first variable"));
            }
            is_scgi |= said == b"SCGI" && text == b"1";
            names.push(said);
            reader.take(Vars::part(whole, name), Vars::part(whole, value))?;
        }
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::Malformed("two variables with one name"));
        }
        if !is_scgi {
            return Err(Refusal::Malformed("no variable SCGI with the value 1"));
        }
        reader.finish()
    }
}

impl Heads for Scgi {
    fn head(&mut self, input: &[u8], vars: &mut Vars, answer: &mut Answer) -> Head {
        let read = self.netstring(input, answer).and_then(|found| match found {
            None => Ok(None),
            Some(Netstring { start, end, bytes }) => Ok(Some((bytes, self.read(&input[start..end], vars)?))),
        });
        match read {
            Ok(None) => Head::Partial { begun: !input.is_empty() },
            Ok(Some((bytes, body))) => {
                answer.ask(vars, false);
                Head::Whole { bytes, body, expects_continue: false }
            }
            Err(refusal) => Head::Refused(refusal),
        }
    }
}

/// The next name or value, without the NUL behind it.
fn text(block: &[u8], at: &mut usize) -> Option<std::ops::Range<usize>> {
    let start = *at;
    let end = start + memchr::memchr(0, block.get(start..)?)?;
    *at = end + 1;
    Some(start..end)
}

/// Why something that begins with no digit is refused: mostly it is another protocol.
fn foreign(byte: u8) -> Refusal {
    Refusal::Malformed(match byte {
        b'A'..=b'Z' => "HTTP on a socket that speaks SCGI (http-socket speaks HTTP)",
        // RFC 8446 5.1: a handshake record.
        22 => "TLS on a socket that speaks SCGI",
        _ => "no length where a netstring begins",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Next};

    const BASE: [(&str, &str); 4] =
        [("CONTENT_LENGTH", "0"), ("SCGI", "1"), ("REQUEST_METHOD", "GET"), ("PATH_INFO", "/a")];

    fn netstring(said: &[(&str, &str)]) -> Vec<u8> {
        let block: String = said.iter().map(|(name, value)| format!("{name}\0{value}\0")).collect();
        format!("{}:{block},", block.len()).into_bytes()
    }

    fn with(said: &[(&'static str, &'static str)]) -> Vec<u8> {
        netstring(&[&BASE[..], said].concat())
    }

    /// What becomes of a request, and what a refused one gets.
    fn head(raw: &[u8]) -> Result<(Vars, Body), (Refusal, String)> {
        let (mut exchange, mut vars) = (exchange(&Limits { head_bytes: 4096, ..Limits::default() }), Vars::default());
        match exchange.head(raw, &mut vars) {
            Head::Whole { body, expects_continue: false, .. } => Ok((vars, body)),
            Head::Refused(refusal) => {
                let mut out = Vec::new();
                exchange.refuse(refusal, b"today", &mut out);
                Err((refusal, String::from_utf8(out).unwrap()))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_netstring_is_a_request() {
        let raw = netstring(&[&[("CONTENT_LENGTH", "5")], &BASE[1..]].concat());
        let (mut exchange, mut vars) = (exchange(&Limits::default()), Vars::default());
        for end in 0..raw.len() {
            let part = exchange.head(&raw[..end], &mut vars);
            assert!(matches!(part, Head::Partial { begun } if begun == (end > 0)), "{end}");
        }
        let whole = exchange.head(&[&raw[..], b"hello"].concat(), &mut vars);
        assert!(matches!(whole, Head::Whole { bytes, body: Body::Length(5), .. } if bytes == raw.len()));
        assert_eq!((vars.key(Key::PathInfo), vars.count()), (Some(&b"/a"[..]), 4));
    }

    #[test]
    fn what_the_specification_demands_is_demanded() {
        let bad = "Status: 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 16\r\n\r\n400 Bad Request\n";
        for (raw, word) in [
            (netstring(&BASE[1..]), "first"),
            (netstring(&[("CONTENT_LENGTH", ""), ("SCGI", "1")]), "first"),
            (netstring(&[("CONTENT_LENGTH", "x"), ("SCGI", "1")]), "number"),
            (netstring(&[("CONTENT_LENGTH", "0"), ("REQUEST_METHOD", "GET")]), "SCGI"),
            (netstring(&[("CONTENT_LENGTH", "0"), ("SCGI", "2"), ("REQUEST_METHOD", "GET")]), "SCGI"),
            (with(&[("HTTP_X", "1"), ("HTTP_X", "2")]), "one name"),
            (with(&[("", "")]), "name"),
            (b"4:A\0B\0,".to_vec(), "first"),
            (b"3:A\0B,".to_vec(), "no end"),
            (b"2:A\0,".to_vec(), "no end"),
        ] {
            let (refusal, out) = head(&raw).err().unwrap();
            assert!(refusal.reason().contains(word) && out == bad, "{raw:?}: {refusal:?} {out}");
        }
    }

    #[test]
    fn what_is_no_netstring_gets_no_answer() {
        for raw in
            [&b"GET / HTTP/1.1"[..], b"\x16\x03\x01", b" 5:", b":", b"0:,", b"05:", b"0", b"4x:", b"-1:", b"1:ab"]
        {
            let (refusal, out) = head(raw).err().unwrap();
            assert!(matches!(refusal, Refusal::Malformed(_)) && out.is_empty(), "{raw:?}: {refusal:?} {out}");
        }
    }

    #[test]
    fn the_size_is_limited_before_it_is_there() {
        for raw in [&b"4097:"[..], b"99999:", b"18446744073709551617:"] {
            let (refusal, out) = head(raw).err().unwrap();
            assert!(refusal == Refusal::HeadTooLarge && out.starts_with("Status: 431 "), "{raw:?}: {refusal:?} {out}");
        }
        assert_eq!(head(b"99999").err().unwrap().0, Refusal::HeadTooLarge);
    }

    #[test]
    fn the_answer_is_one_of_cgi_and_with_nph_one_of_http() {
        let answer = |mut exchange: Box<dyn Exchange>| {
            exchange.head(&with(&[("SERVER_PROTOCOL", "HTTP/1.1")]), &mut Vars::default());
            let mut out = Vec::new();
            exchange.status(b"404", &mut out).unwrap();
            exchange.field(b"Status", b"200 OK", &mut out).unwrap();
            exchange.field(b"X", b"y", &mut out).unwrap();
            exchange.end_head(Some(5), b"today", false, &mut out);
            assert_eq!((exchange.data(5, &mut out), exchange.finish(&mut out)), (5, Next::Close));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(answer(exchange(&Limits::default())), "Status: 404 Not Found\r\nX: y\r\n\r\n");
        let nph = "HTTP/1.1 404 Not Found\r\nStatus: 200 OK\r\nX: y\r\n\r\n";
        assert_eq!(answer(nph_exchange(&Limits::default())), nph);
    }
}
