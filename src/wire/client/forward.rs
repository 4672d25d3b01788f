//! A request that was read by one protocol and is passed on in another: from [`Vars`] to the bytes of a backend.
//!
//! Called by routers, once for each backend that is asked. Fields keep their names on the way from HTTP to HTTP, and
//! become CGI variables (RFC 3875 4.1.18) for the others. What may not travel is said by who calls.

use std::borrow::Cow;

use super::http::field_name;
use super::{Client, Dialect, Unaskable, Var, fastcgi, scgi};
use crate::http::octets::{self, FIELD, STRANGE};
use crate::http::{push_field, push_length};
use crate::{Key, Name, Vars};

/// A name and a value, where they are or made anew.
type Pair<'p> = (Cow<'p, [u8]>, Cow<'p, [u8]>);

/// A request to be passed on.
pub struct Passed<'p> {
    /// What it says.
    pub vars: &'p Vars,
    /// The kind of packet, for a backend that speaks uwsgi.
    pub modifiers: (u8, u8),
    /// The length of its body; `None`: it comes in chunks, which only HTTP can say.
    pub length: Option<u64>,
    /// Fields that end here, by their names.
    pub without: &'p [&'p [u8]],
    /// Fields (by their names) and CGI variables that are added.
    pub with: &'p [(Name<'p>, &'p [u8])],
}

impl Client {
    /// Appends what begins a request, as [`ask`](Self::ask) does.
    pub fn pass(&mut self, passed: &Passed<'_>, out: &mut Vec<u8>) -> Result<(), Unaskable> {
        self.answer.begin(passed.vars.key(Key::RequestMethod) == Some(b"HEAD"));
        self.chunked = self.dialect == Dialect::Http && passed.length.is_none();
        match self.dialect {
            Dialect::Http => passed.push_http(out),
            Dialect::Uwsgi | Dialect::PersistentUwsgi => passed.push_uwsgi(out),
            Dialect::FastCgi => passed.with_pairs(|vars| fastcgi::push(vars, passed.length, out)),
            Dialect::Scgi => passed.with_pairs(|vars| scgi::push(vars, passed.length, out)),
        }
    }
}

/// Whether two names are one for CGI.
fn same(one: Name<'_>, other: Name<'_>) -> bool {
    match (one, other) {
        (Name::Cgi(one), Name::Cgi(other)) => one == other,
        (Name::Field(one), Name::Field(other)) => {
            let letter = |byte: u8| if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| letter(*one) == letter(*other))
        }
        (Name::Cgi(cgi), Name::Field(field)) | (Name::Field(field), Name::Cgi(cgi)) => {
            cgi.strip_prefix(b"HTTP_").is_some_and(|cgi| same(Name::Field(cgi), Name::Field(field)))
        }
    }
}

fn is_cookie(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"Cookie")
}

impl<'p> Passed<'p> {
    /// What is neither known by a key nor ends here, and then what is added.
    fn others(&self) -> impl Iterator<Item = (Name<'p>, &'p [u8])> {
        let ends = |name: Name<'_>| {
            self.without.iter().any(|without| same(Name::Field(without), name))
                || self.with.iter().any(|(with, _)| same(*with, name))
        };
        self.vars.others().filter(move |(name, _)| !ends(*name)).chain(self.with.iter().copied())
    }

    fn is_kept(&self, key: Key) -> bool {
        let field = key.name().strip_prefix("HTTP_");
        let is_field = |name: &[u8]| field.is_some_and(|field| same(Name::Field(field.as_bytes()), Name::Field(name)));
        key != Key::ContentLength && !self.without.iter().any(|without| is_field(without))
    }

    /// `CONTENT_LENGTH`, where there is something to say: nobody has, and there is no body, says nothing.
    fn length(&self) -> Option<u64> {
        let said = self.vars.key(Key::ContentLength).is_some_and(|said| !said.is_empty());
        self.length.filter(|length| *length > 0 || said)
    }

    /// Fields that came more than once become one (RFC 9110 5.3, RFC 6265 5.4), where they first stood; of variables, the
    /// last one counts. Gives each name and its value.
    fn each_variable(&self, mut take: impl FnMut(Name<'p>, Cow<'p, [u8]>)) {
        let others: Vec<(Name<'p>, &'p [u8])> = self.others().collect();
        for (index, &(name, value)) in others.iter().enumerate() {
            if others[..index].iter().any(|(other, _)| same(name, *other)) {
                continue;
            }
            let mut again = others[index + 1..].iter().filter(|(other, _)| same(name, *other)).peekable();
            if again.peek().is_none() {
                take(name, Cow::Borrowed(value));
                continue;
            }
            let mut joined = value.to_vec();
            for (other, value) in again {
                match other {
                    Name::Field(field) => {
                        joined.extend_from_slice(if is_cookie(field) { b"; " } else { b", " });
                        joined.extend_from_slice(value);
                    }
                    Name::Cgi(_) => joined = value.to_vec(),
                }
            }
            take(name, Cow::Owned(joined));
        }
    }

    fn push_uwsgi(&self, out: &mut Vec<u8>) -> Result<(), Unaskable> {
        let start = out.len();
        out.extend_from_slice(&[self.modifiers.0, 0, 0, self.modifiers.1]);
        let mut fits = self.length.is_some();
        for (key, value) in self.vars.keyed().filter(|(key, _)| self.is_kept(*key)) {
            fits &= push_text(key.name().as_bytes(), out) && push_text(value, out);
        }
        if let Some(length) = self.length() {
            let mut text = itoa::Buffer::new();
            fits &= push_text(b"CONTENT_LENGTH", out) && push_text(text.format(length).as_bytes(), out);
        }
        self.each_variable(|name, value| {
            match name {
                Name::Cgi(name) => fits &= push_text(name, out),
                Name::Field(name) => {
                    fits &= push_size("HTTP_".len() + name.len(), out);
                    out.extend_from_slice(b"HTTP_");
                    out.extend(name.iter().map(|byte| cgi_letter(*byte)));
                }
            }
            fits &= push_text(&value, out);
        });
        if self.length.is_none() {
            return Err(Unaskable::NoLength);
        }
        let size = u16::try_from(out.len() - start - 4).ok().filter(|_| fits).ok_or(Unaskable::TooLarge)?;
        out[start + 1..start + 3].copy_from_slice(&size.to_le_bytes());
        Ok(())
    }

    /// Gives all of it as CGI variables, without `CONTENT_LENGTH`, to a protocol that wants a list.
    fn with_pairs(&self, push: impl FnOnce(&[Var<'_>]) -> Result<(), Unaskable>) -> Result<(), Unaskable> {
        let kept = self.vars.keyed().filter(|(key, _)| self.is_kept(*key));
        let mut pairs: Vec<Pair<'_>> = kept.map(|(key, value)| (key.name().as_bytes().into(), value.into())).collect();
        self.each_variable(|name, value| {
            let name = match name {
                Name::Cgi(name) => Cow::Borrowed(name),
                Name::Field(name) => {
                    let letters = name.iter().map(|byte| cgi_letter(*byte));
                    Cow::Owned(b"HTTP_".iter().copied().chain(letters).collect())
                }
            };
            pairs.push((name, value));
        });
        let vars: Vec<Var<'_>> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        push(&vars)
    }

    fn push_http(&self, out: &mut Vec<u8>) -> Result<(), Unaskable> {
        let vars = self.vars;
        let method = vars.key(Key::RequestMethod).unwrap_or_default();
        let target = origin_form(vars.key(Key::RequestUri).unwrap_or_default());
        if !octets::is_token(method) || target.is_empty() || octets::union(&target) & STRANGE != 0 {
            return Err(Unaskable::Byte);
        }
        for part in [method, b" ", &target, b" HTTP/1.1\r\n"] {
            out.extend_from_slice(part);
        }
        let mut right = true;
        let mut field = |name: &[u8], value: &[u8]| {
            right &= octets::is_token(name) && octets::all(value, FIELD);
            push_field(name, value, out);
        };
        // RFC 9112 3.2: also where there is nothing to say, which only HTTP/1.0 has.
        field(b"Host", vars.key(Key::HttpHost).unwrap_or_default());
        for (key, name) in [
            (Key::ContentType, &b"Content-Type"[..]),
            (Key::ForwardedProto, b"X-Forwarded-Proto"),
            (Key::ForwardedSsl, b"X-Forwarded-Ssl"),
            (Key::Forwarded, b"Forwarded"),
        ] {
            let said = vars.key(key).filter(|_| self.is_kept(key));
            if let Some(value) = said.filter(|value| key != Key::ContentType || !value.is_empty()) {
                field(name, value);
            }
        }
        for (name, value) in self.others() {
            match name {
                Name::Field(name) => field(name, value),
                Name::Cgi(name) => {
                    if let Some(name) = name.strip_prefix(b"HTTP_") {
                        field(&field_name(name), value);
                    }
                }
            }
        }
        if !right {
            return Err(Unaskable::Byte);
        }
        match self.length {
            None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Some(_) => {
                if let Some(length) = self.length() {
                    push_length(length, out);
                }
            }
        }
        out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

fn cgi_letter(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte.to_ascii_uppercase() }
}

/// Appends a text and its length before it; whether that can be said.
fn push_text(text: &[u8], out: &mut Vec<u8>) -> bool {
    let fits = push_size(text.len(), out);
    out.extend_from_slice(text);
    fits
}

fn push_size(bytes: usize, out: &mut Vec<u8>) -> bool {
    let size = u16::try_from(bytes);
    out.extend_from_slice(&size.unwrap_or_default().to_le_bytes());
    size.is_ok()
}

/// The target as a server that is no proxy wants it (RFC 9112 3.2.1): without scheme and authority, which `Host` names.
fn origin_form(target: &[u8]) -> Cow<'_, [u8]> {
    if target.starts_with(b"/") || target == b"*" {
        return Cow::Borrowed(target);
    }
    let Some(scheme) = target.windows(3).position(|three| three == b"://") else { return Cow::Borrowed(target) };
    let rest = &target[scheme + 3..];
    match rest.iter().position(|byte| matches!(byte, b'/' | b'?')) {
        Some(at) if rest[at] == b'/' => Cow::Borrowed(&rest[at..]),
        Some(at) => Cow::Owned([b"/", &rest[at..]].concat()),
        None => Cow::Borrowed(b"/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Head, Limits, http};

    fn read(raw: &str) -> Vars {
        let mut vars = Vars::default();
        let head = http::exchange(&Limits::default()).head(raw.as_bytes(), &mut vars);
        assert!(matches!(head, Head::Whole { .. }), "{head:?}");
        vars
    }

    fn pass(dialect: Dialect, vars: &Vars, length: Option<u64>) -> Result<Vec<u8>, Unaskable> {
        let with = [(Name::Field(&b"X-Forwarded-For"[..]), &b"192.0.2.1"[..]), (Name::Cgi(b"UWSGI_ROUTER"), b"http")];
        let without: [&[u8]; 2] = [b"Transfer-Encoding", b"x-drop"];
        let passed = Passed { vars, modifiers: (5, 7), length, without: &without, with: &with };
        let mut out = Vec::new();
        Client::new(dialect).pass(&passed, &mut out).map(|()| out)
    }

    const RAW: &str = "GET http://a.example?x=1 HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nCookie: a=1\r\nx-one: 2\r\nX-Drop: y\r\n\
                       X-Forwarded-For: 6.6.6.6\r\nCookie: b=2\r\nContent-Type: text/plain\r\n\r\n";

    fn pairs(packet: &[u8]) -> Vec<(String, String)> {
        let size = usize::from(u16::from_le_bytes([packet[1], packet[2]]));
        assert_eq!(size, packet.len() - 4);
        let (mut at, mut texts) = (4, Vec::new());
        while at < packet.len() {
            let length = usize::from(u16::from_le_bytes([packet[at], packet[at + 1]]));
            texts.push(String::from_utf8(packet[at + 2..at + 2 + length].to_vec()).unwrap());
            at += 2 + length;
        }
        texts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
    }

    #[test]
    fn http_becomes_a_packet() {
        let packet = pass(Dialect::Uwsgi, &read(RAW), Some(0)).unwrap();
        assert_eq!((packet[0], packet[3]), (5, 7));
        let pairs = pairs(&packet);
        let value = |name: &str| {
            let found: Vec<&str> = pairs.iter().filter(|pair| pair.0 == name).map(|pair| pair.1.as_str()).collect();
            assert!(found.len() < 2, "{name} stands twice");
            found.first().copied()
        };
        assert_eq!(value("REQUEST_URI"), Some("http://a.example?x=1"));
        assert_eq!((value("HTTP_HOST"), value("QUERY_STRING")), (Some("a.example"), Some("x=1")));
        assert_eq!((value("HTTP_X_ONE"), value("HTTP_COOKIE")), (Some("1, 2"), Some("a=1; b=2")));
        assert_eq!((value("HTTP_X_DROP"), value("CONTENT_LENGTH")), (None, None));
        assert_eq!((value("HTTP_X_FORWARDED_FOR"), value("UWSGI_ROUTER")), (Some("192.0.2.1"), Some("http")));
        assert_eq!(pass(Dialect::Uwsgi, &read(RAW), None), Err(Unaskable::NoLength));
        let long = read(&format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\nY: {0}\r\nZ: {0}\r\n\r\n", "x".repeat(10_000)));
        assert!(pass(Dialect::Uwsgi, &long, Some(0)).is_ok());
        let mut vars = Vars::default();
        vars.set(Key::QueryString, &[b'x'; 70_000]);
        assert_eq!(pass(Dialect::Uwsgi, &vars, Some(0)), Err(Unaskable::TooLarge));
    }

    #[test]
    fn http_stays_http() {
        let text = String::from_utf8(pass(Dialect::Http, &read(RAW), Some(0)).unwrap()).unwrap();
        assert_eq!(
            text,
            "GET /?x=1 HTTP/1.1\r\nHost: a.example\r\nContent-Type: text/plain\r\nX-One: 1\r\nCookie: a=1\r\nx-one: 2\r\n\
             Cookie: b=2\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
        );
        let post = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n";
        let text = String::from_utf8(pass(Dialect::Http, &read(post), Some(0)).unwrap()).unwrap();
        assert!(text.ends_with("Content-Length: 0\r\n\r\n"), "{text}");
        let text = String::from_utf8(pass(Dialect::Http, &read(post), None).unwrap()).unwrap();
        assert!(text.ends_with("Transfer-Encoding: chunked\r\n\r\n") && !text.contains("Content-Length"), "{text}");
    }

    #[test]
    fn the_lists_of_the_others_have_each_name_once() {
        for dialect in [Dialect::Scgi, Dialect::FastCgi] {
            let text = String::from_utf8_lossy(&pass(dialect, &read(RAW), Some(3)).unwrap()).into_owned();
            for name in ["HTTP_X_ONE", "HTTP_COOKIE", "CONTENT_LENGTH", "REQUEST_METHOD", "HTTP_X_FORWARDED_FOR"] {
                assert_eq!(text.matches(name).count(), 1, "{dialect:?} {name}");
            }
        }
    }
}
