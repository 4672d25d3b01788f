//! A whole request head: bytes to [`Vars`], and what they say about the body and the connection.
//!
//! Called by [`super::Http`] with bytes that begin with a request line. Syntax is `httparse`'s business, as far as that
//! is strict; the rest of it and all meaning (RFC 9110, RFC 9112 3 and 6) is here. Whatever two readers could take for
//! two different things is refused: that is what request smuggling is made of.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::Chunked;
use super::octets::{self, STRANGE};
use super::target::{self, Target};
use crate::{Body, Key, Limits, Refusal, Span, Vars};

/// So many fields are parsed into the stack: what browsers behind proxies send. 32 bytes each.
const USUAL_FIELDS: usize = 64;

/// A request head that is whole and right.
#[derive(Debug)]
pub(super) struct Request {
    /// How many bytes it took.
    pub(super) bytes: usize,
    pub(super) body: Body,
    pub(super) expects_continue: bool,
    pub(super) asked: Asked,
}

/// What the response has to know of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// HTTP/1.1; HTTP/1.0 otherwise.
    pub(crate) one_one: bool,
    /// The method is HEAD.
    pub(crate) head: bool,
    /// The client can and wants to go on using the connection.
    pub(crate) keep_alive: bool,
}

impl Default for Asked {
    /// Nothing is known: the client may be of today, and the connection is not worth keeping.
    fn default() -> Self {
        Self { one_one: true, head: false, keep_alive: false }
    }
}

/// Parses a head into cleared `vars`. `None`: its end is not there. A refusal names the first thing that is wrong with
/// the meaning; for bytes that are wrong, [`super::syntax::Syntax`] has the better words.
pub(super) fn parse(input: &[u8], limits: &Limits, vars: &mut Vars) -> Result<Option<Request>, Refusal> {
    let mut few = [const { MaybeUninit::uninit() }; USUAL_FIELDS];
    let mut many = Vec::new();
    let mut parsed = httparse::Request::new(&mut []);
    let mut status = parsed.parse_with_uninit_headers(input, &mut few[..limits.fields.min(USUAL_FIELDS)]);
    if status == Err(httparse::Error::TooManyHeaders) {
        if limits.fields <= USUAL_FIELDS {
            return Err(Refusal::TooManyFields);
        }
        many.reserve_exact(limits.fields);
        parsed = httparse::Request::new(&mut []);
        status = parsed.parse_with_uninit_headers(input, &mut many.spare_capacity_mut()[..limits.fields]);
    }
    let bytes = match status {
        Ok(httparse::Status::Complete(bytes)) => bytes,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooManyFields),
        Err(httparse::Error::Version) => return Err(Refusal::Version),
        Err(_) => return Err(Refusal::Malformed("not an HTTP request head")),
    };
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Refusal::Malformed("not an HTTP request head"));
    };
    let head = &input[..bytes];
    if !head.ends_with(b"\r\n\r\n") {
        return Err(Refusal::Malformed("a bare LF ends a line"));
    }
    let mut reader = Reader { head, span: vars.add(head), vars, limits, facts: Facts::default() };
    let absolute = reader.request_line(method.as_bytes(), target.as_bytes())?;
    for field in parsed.headers.iter() {
        reader.field(field.name.as_bytes(), field.value)?;
    }
    if reader.facts.repeats {
        reader.join(parsed.headers);
    }
    if let Some(host) = absolute {
        // It names the host better than Host does (RFC 9112 3.2.2).
        reader.vars.set_span(Key::HttpHost, host);
    }
    reader.facts.finish(bytes, method, minor == 1).map(Some)
}

/// Goes through a head that is copied into `vars` already, and marks what lies where.
struct Reader<'r> {
    head: &'r [u8],
    /// All of the head in `vars`.
    span: Span,
    vars: &'r mut Vars,
    limits: &'r Limits,
    facts: Facts,
}

impl Reader<'_> {
    /// Where a part of the head is, counted from its start.
    fn range(&self, part: &[u8]) -> Range<usize> {
        let start = part.as_ptr() as usize - self.head.as_ptr() as usize;
        start..start + part.len()
    }

    fn place(&self, part: &[u8]) -> Span {
        Vars::part(self.span, self.range(part))
    }

    /// Sets the variables of the request line. Says where the authority of an absolute target is.
    fn request_line(&mut self, method: &[u8], target: &[u8]) -> Result<Option<Span>, Refusal> {
        let classes = octets::union(target);
        if classes & STRANGE != 0 {
            return Err(Refusal::Malformed("a byte that can't be in a request target"));
        }
        let split = Target::split(method, target)?;
        let place = self.range(target);
        let part = |range: &Range<usize>| Vars::part(self.span, place.start + range.start..place.start + range.end);
        let (path, query, authority) = (part(&split.path), part(&split.query), split.authority.as_ref().map(part));
        let version = Vars::part(self.span, place.end + 1..place.end + 1 + "HTTP/1.1".len());
        let start = Vars::part(self.span, 0..0);

        let path_bytes = &target[split.path];
        let path = if split.asterisk || target::is_plain(path_bytes, classes) {
            path
        } else {
            self.vars.add_with(|out| target::append_path_info(path_bytes, out))
        };
        self.vars.set_span(Key::RequestMethod, self.place(method));
        self.vars.set_span(Key::RequestUri, self.place(target));
        self.vars.set_span(Key::PathInfo, path);
        self.vars.set_span(Key::QueryString, query);
        self.vars.set_span(Key::ServerProtocol, version);
        self.vars.set_span(Key::ScriptName, start);
        Ok(authority)
    }

    fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let (name_at, place) = (self.range(name), self.place(value));
        // Each line but the request line ends where the next name begins: `httparse` would take a bare LF.
        if &self.head[name_at.start - 2..name_at.start] != b"\r\n" {
            return Err(Refusal::Malformed("a bare LF ends a line"));
        }
        let name_span = Vars::part(self.span, name_at);
        match Field::named(name) {
            Field::Host => {
                self.facts.host(value)?;
                self.vars.set_span(Key::HttpHost, place);
                return Ok(());
            }
            Field::ContentLength => {
                self.facts.content_length(value)?;
                // The zeros in front say nothing; `int` of Python takes no more than 4,300 digits.
                let zeros = value.iter().take(value.len() - 1).take_while(|&&digit| digit == b'0').count();
                self.vars.set_span(Key::ContentLength, Vars::part(place, zeros..value.len()));
                return Ok(());
            }
            Field::Keyed(key) => {
                self.facts.repeats |= self.vars.key(key).is_some();
                self.vars.set_span(key, place);
                return Ok(());
            }
            // HTTP_PROXY is a setting of many HTTP clients: httpoxy, CVE-2016-5385.
            Field::Proxy => return Ok(()),
            Field::TransferEncoding => self.facts.transfer_encoding(value)?,
            Field::Connection => self.facts.connection(value),
            Field::Expect => self.facts.expect(value),
            Field::Other => {
                if !self.limits.underscore_fields && octets::has_underscore(name) {
                    self.vars.push_dropped(name_span);
                    return Ok(());
                }
            }
        }
        self.vars.push_field(name_span, place);
        Ok(())
    }

    /// Joins what was sent more than once under a key (`a, b`), as uWSGI does. Content-Type is no list, but it comes as
    /// one (RFC 9110 8.3).
    fn join(&mut self, fields: &[httparse::Header<'_>]) {
        for key in [Key::ContentType, Key::ForwardedProto, Key::ForwardedSsl, Key::Forwarded] {
            let mut values = fields.iter().filter(|field| Field::named(field.name.as_bytes()) == Field::Keyed(key));
            let Some(first) = values.next() else { continue };
            let joined = self.vars.add_with(|out| {
                out.extend_from_slice(first.value);
                for next in values {
                    out.extend_from_slice(b", ");
                    out.extend_from_slice(next.value);
                }
            });
            self.vars.set_span(key, joined);
        }
    }
}

/// The fields that mean something here.
#[derive(PartialEq, Eq)]
enum Field {
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Expect,
    Proxy,
    /// Only its place is known.
    Keyed(Key),
    Other,
}

impl Field {
    /// By length first: most fields are none of these, and one look tells.
    fn named(name: &[u8]) -> Self {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        match name.len() {
            4 if is("Host") => Self::Host,
            5 if is("Proxy") => Self::Proxy,
            6 if is("Expect") => Self::Expect,
            9 if is("Forwarded") => Self::Keyed(Key::Forwarded),
            10 if is("Connection") => Self::Connection,
            12 if is("Content-Type") => Self::Keyed(Key::ContentType),
            14 if is("Content-Length") => Self::ContentLength,
            15 if is("X-Forwarded-Ssl") => Self::Keyed(Key::ForwardedSsl),
            17 if is("Transfer-Encoding") => Self::TransferEncoding,
            17 if is("X-Forwarded-Proto") => Self::Keyed(Key::ForwardedProto),
            _ => Self::Other,
        }
    }
}

/// What the fields say together.
#[derive(Default)]
struct Facts {
    has_host: bool,
    length: Option<u64>,
    coding: Coding,
    close: bool,
    keep_alive: bool,
    expects_continue: bool,
    expects_else: bool,
    /// One of the keyed fields came twice.
    repeats: bool,
}

/// The transfer codings, up to the last one seen.
#[derive(Default, PartialEq, Eq)]
enum Coding {
    #[default]
    None,
    /// Some, and the last is not chunked.
    Other,
    /// Chunked alone.
    Chunked,
    /// Chunked on top of others.
    ChunkedOther,
}

impl Facts {
    /// RFC 9112 3.2: one, and a right one.
    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.has_host {
            return Err(Refusal::Malformed("more than one Host"));
        }
        self.has_host = true;
        target::check_host(value)
    }

    /// RFC 9112 6.3: one number. Equal ones could be taken for one; nobody honest sends them.
    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal::Malformed("more than one Content-Length"));
        }
        match octets::decimal(value) {
            Some(Some(length)) => self.length = Some(length),
            Some(None) => return Err(Refusal::BodyTooLarge),
            None => return Err(Refusal::Malformed("Content-Length is not a number")),
        }
        Ok(())
    }

    /// RFC 9112 6.1, 7: chunked comes last and once. What else there is can't be decoded here.
    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for coding in octets::list(value) {
            if matches!(self.coding, Coding::Chunked | Coding::ChunkedOther) {
                return Err(Refusal::Malformed("a transfer coding behind chunked"));
            }
            let name = coding.split(|&byte| byte == b';').next().map(octets::trim).unwrap_or_default();
            if !octets::is_token(name) {
                return Err(Refusal::Malformed("Transfer-Encoding is not a list of names"));
            }
            self.coding = if !name.eq_ignore_ascii_case(b"chunked") {
                Coding::Other
            } else if name.len() != coding.len() {
                return Err(Refusal::Malformed("chunked has no parameters"));
            } else if self.coding == Coding::Other {
                Coding::ChunkedOther
            } else {
                Coding::Chunked
            };
        }
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in octets::list(value) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn expect(&mut self, value: &[u8]) {
        if value.eq_ignore_ascii_case(b"100-continue") {
            self.expects_continue = true;
        } else {
            self.expects_else = true;
        }
    }

    fn finish(self, bytes: usize, method: &str, one_one: bool) -> Result<Request, Refusal> {
        if one_one && !self.has_host {
            return Err(Refusal::Malformed("no Host in HTTP/1.1"));
        }
        // RFC 9110 10.1.1: from an HTTP/1.0 client, it comes through a proxy that does not know what it means.
        if one_one && self.expects_else {
            return Err(Refusal::Expectation);
        }
        let body = match (self.coding, self.length) {
            (Coding::None, None | Some(0)) => Body::Empty,
            (Coding::None, Some(length)) => Body::Length(length),
            // RFC 9112 6.1 and 6.3 would let it pass and close; every smuggled request looks like one of these.
            (_, Some(_)) => return Err(Refusal::Malformed("both Content-Length and Transfer-Encoding")),
            (_, None) if !one_one => return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0")),
            (Coding::Other, None) => return Err(Refusal::Malformed("the last transfer coding is not chunked")),
            (Coding::ChunkedOther, None) => return Err(Refusal::TransferCoding),
            (Coding::Chunked, None) => Body::Framed(crate::Decoder::Chunked(Chunked::default())),
        };
        let expects_continue = one_one && self.expects_continue && !matches!(body, Body::Empty);
        let keep_alive = !self.close && (one_one || self.keep_alive);
        let asked = Asked { one_one, head: method == "HEAD", keep_alive };
        Ok(Request { bytes, body, expects_continue, asked })
    }
}
