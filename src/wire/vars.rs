//! The variables of one request: one buffer and ranges into it, whatever the protocol.

use std::ops::Range;

/// A range of the buffer of [`Vars`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// The variables that the core itself looks at, each in a place of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Key {
    /// `REQUEST_METHOD`
    RequestMethod,
    /// `REQUEST_URI`: the target as it was sent
    RequestUri,
    /// `PATH_INFO`: decoded
    PathInfo,
    /// `QUERY_STRING`: raw, empty if none
    QueryString,
    /// `SERVER_PROTOCOL`: `HTTP/1.1`
    ServerProtocol,
    /// `SCRIPT_NAME`
    ScriptName,
    /// `CONTENT_TYPE`
    ContentType,
    /// `CONTENT_LENGTH`
    ContentLength,
    /// `HTTP_HOST`
    HttpHost,
    /// `SERVER_NAME`
    ServerName,
    /// `SERVER_PORT`
    ServerPort,
    /// `REMOTE_ADDR`
    RemoteAddr,
    /// `REMOTE_PORT`
    RemotePort,
    /// `REMOTE_USER`
    RemoteUser,
    /// `HTTPS`
    Https,
    /// `REQUEST_SCHEME`
    RequestScheme,
    /// `HTTP_X_FORWARDED_PROTO`
    ForwardedProto,
    /// `HTTP_X_FORWARDED_SSL`
    ForwardedSsl,
    /// `HTTP_FORWARDED`
    Forwarded,
    /// `UWSGI_SCHEME`: what a front end says about the scheme
    UwsgiScheme,
}

impl Key {
    /// All keys, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::RequestMethod,
        Self::RequestUri,
        Self::PathInfo,
        Self::QueryString,
        Self::ServerProtocol,
        Self::ScriptName,
        Self::ContentType,
        Self::ContentLength,
        Self::HttpHost,
        Self::ServerName,
        Self::ServerPort,
        Self::RemoteAddr,
        Self::RemotePort,
        Self::RemoteUser,
        Self::Https,
        Self::RequestScheme,
        Self::ForwardedProto,
        Self::ForwardedSsl,
        Self::Forwarded,
        Self::UwsgiScheme,
    ];

    /// The variable's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestMethod => "REQUEST_METHOD",
            Self::RequestUri => "REQUEST_URI",
            Self::PathInfo => "PATH_INFO",
            Self::QueryString => "QUERY_STRING",
            Self::ServerProtocol => "SERVER_PROTOCOL",
            Self::ScriptName => "SCRIPT_NAME",
            Self::ContentType => "CONTENT_TYPE",
            Self::ContentLength => "CONTENT_LENGTH",
            Self::HttpHost => "HTTP_HOST",
            Self::ServerName => "SERVER_NAME",
            Self::ServerPort => "SERVER_PORT",
            Self::RemoteAddr => "REMOTE_ADDR",
            Self::RemotePort => "REMOTE_PORT",
            Self::RemoteUser => "REMOTE_USER",
            Self::Https => "HTTPS",
            Self::RequestScheme => "REQUEST_SCHEME",
            Self::ForwardedProto => "HTTP_X_FORWARDED_PROTO",
            Self::ForwardedSsl => "HTTP_X_FORWARDED_SSL",
            Self::Forwarded => "HTTP_FORWARDED",
            Self::UwsgiScheme => "UWSGI_SCHEME",
        }
    }

    /// The key of a variable, by its name: most have none, and length and first bytes tell.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"REQUEST_METHOD" => Self::RequestMethod,
            b"REQUEST_URI" => Self::RequestUri,
            b"PATH_INFO" => Self::PathInfo,
            b"QUERY_STRING" => Self::QueryString,
            b"SERVER_PROTOCOL" => Self::ServerProtocol,
            b"SCRIPT_NAME" => Self::ScriptName,
            b"CONTENT_TYPE" => Self::ContentType,
            b"CONTENT_LENGTH" => Self::ContentLength,
            b"HTTP_HOST" => Self::HttpHost,
            b"SERVER_NAME" => Self::ServerName,
            b"SERVER_PORT" => Self::ServerPort,
            b"REMOTE_ADDR" => Self::RemoteAddr,
            b"REMOTE_PORT" => Self::RemotePort,
            b"REMOTE_USER" => Self::RemoteUser,
            b"HTTPS" => Self::Https,
            b"REQUEST_SCHEME" => Self::RequestScheme,
            b"HTTP_X_FORWARDED_PROTO" => Self::ForwardedProto,
            b"HTTP_X_FORWARDED_SSL" => Self::ForwardedSsl,
            b"HTTP_FORWARDED" => Self::Forwarded,
            b"UWSGI_SCHEME" => Self::UwsgiScheme,
            _ => return None,
        })
    }
}

/// The name of a variable that has no [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name<'v> {
    /// A CGI variable under its own name: `DOCUMENT_ROOT`.
    Cgi(&'v [u8]),
    /// An HTTP field as it was sent: `User-Agent` stands for `HTTP_USER_AGENT`.
    Field(&'v [u8]),
}

#[derive(Clone, Copy, Debug)]
struct Var {
    name: Span,
    value: Span,
    field: bool,
}

/// The variables of one request. Reused from request to request: it allocates only while it grows.
#[derive(Debug, Default)]
pub struct Vars {
    bytes: Vec<u8>,
    keyed: [Option<Span>; Key::ALL.len()],
    others: Vec<Var>,
    dropped: Vec<Span>,
}

impl Vars {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.keyed = [None; Key::ALL.len()];
        self.others.clear();
        self.dropped.clear();
    }

    /// Appends bytes to the buffer, and says where they are.
    #[inline]
    pub fn add(&mut self, bytes: &[u8]) -> Span {
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        Span { start, end: self.bytes.len() as u32 }
    }

    /// Appends to the buffer what `write` appends, and says where it is. `write` must not touch what is there.
    pub fn add_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let start = self.bytes.len() as u32;
        write(&mut self.bytes);
        Span { start, end: self.bytes.len() as u32 }
    }

    /// Part of a span: `range` counts from its start.
    ///
    /// # Panics
    /// If the range lies outside.
    #[must_use]
    pub fn part(span: Span, range: Range<usize>) -> Span {
        let part = Span { start: span.start + range.start as u32, end: span.start + range.end as u32 };
        assert!(part.start <= part.end && part.end <= span.end, "a part outside of its span");
        part
    }

    /// The bytes of a span.
    #[must_use]
    #[inline]
    pub fn bytes(&self, span: Span) -> &[u8] {
        &self.bytes[span.range()]
    }

    /// Sets one of the known variables to bytes that are in the buffer already.
    #[inline]
    pub fn set_span(&mut self, key: Key, value: Span) {
        self.keyed[key as usize] = Some(value);
    }

    /// Sets one of the known variables.
    #[inline]
    pub fn set(&mut self, key: Key, value: &[u8]) {
        let span = self.add(value);
        self.set_span(key, span);
    }

    /// Where the value of one of the known variables is.
    #[must_use]
    #[inline]
    pub fn span(&self, key: Key) -> Option<Span> {
        self.keyed[key as usize]
    }

    /// Removes one of the known variables.
    pub fn unset(&mut self, key: Key) {
        self.keyed[key as usize] = None;
    }

    /// One of the known variables.
    #[must_use]
    #[inline]
    pub fn key(&self, key: Key) -> Option<&[u8]> {
        self.keyed[key as usize].map(|span| self.bytes(span))
    }

    /// Adds an HTTP field under the name that was sent; both are in the buffer already.
    pub fn push_field(&mut self, name: Span, value: Span) {
        self.others.push(Var { name, value, field: true });
    }

    /// Adds a CGI variable; both are in the buffer already.
    pub fn push_cgi(&mut self, name: Span, value: Span) {
        self.others.push(Var { name, value, field: false });
    }

    /// Notes the name of a field that the application does not get to see, because of an underscore in it.
    pub fn push_dropped(&mut self, name: Span) {
        self.dropped.push(name);
    }

    /// The names of the fields that were left out because of an underscore, as they were sent.
    pub fn dropped(&self) -> impl Iterator<Item = &[u8]> {
        self.dropped.iter().map(|&name| self.bytes(name))
    }

    /// The known variables that are set, in the order of [`Key::ALL`].
    pub fn keyed(&self) -> impl Iterator<Item = (Key, &[u8])> {
        Key::ALL.into_iter().filter_map(|key| Some((key, self.key(key)?)))
    }

    /// The others, in the order they came; a name may come twice.
    pub fn others(&self) -> impl Iterator<Item = (Name<'_>, &[u8])> {
        self.others.iter().map(|var| {
            let name = self.bytes(var.name);
            (if var.field { Name::Field(name) } else { Name::Cgi(name) }, self.bytes(var.value))
        })
    }

    /// How many variables there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.keyed.iter().flatten().count() + self.others.len()
    }

    /// How many bytes they have as a uwsgi packet would count them: names and values.
    #[must_use]
    pub fn size(&self) -> usize {
        let keyed: usize = self.keyed().map(|(key, value)| key.name().len() + value.len()).sum();
        let others: usize = self
            .others()
            .map(|(name, value)| match name {
                Name::Cgi(name) => name.len() + value.len(),
                Name::Field(name) => "HTTP_".len() + name.len() + value.len(),
            })
            .sum();
        keyed + others
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_by_their_names() {
        assert!(Key::ALL.into_iter().enumerate().all(|(number, key)| key as usize == number));
        assert!(Key::ALL.into_iter().all(|key| Key::named(key.name().as_bytes()) == Some(key)));
        assert_eq!([Key::named(b""), Key::named(b"HTTP_ACCEPT"), Key::named(b"path_info")], [None; 3]);
    }
}
