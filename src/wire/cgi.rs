//! The variables of a request as a front end sends them (CGI, RFC 3875), and what must hold of them.
//!
//! Called by the protocols of front ends (`uwsgi`) for one variable after the other; those protocols know the framing,
//! nothing here does. Whoever can reach the socket is the front end, but much of what it sends was written by its
//! client: what could be taken for two things, or for something that only this server may say, is refused.

use crate::http::octets;
use crate::{Body, Key, Refusal, Span, Vars};

/// Each name with a refusal that says it.
macro_rules! instructions {
    ($($name:literal),+ $(,)?) => {
        [$(($name, Refusal::Malformed(concat!($name, " is an instruction to the server: requests can't give any")))),+]
    };
}

/// Variables by which uWSGI can be told to run code, change its process or read files: whoever reaches the socket could.
static INSTRUCTIONS: [(&str, Refusal); 11] = instructions![
    "UWSGI_FILE",
    "UWSGI_SCRIPT",
    "UWSGI_MODULE",
    "UWSGI_CALLABLE",
    "UWSGI_HOME",
    "UWSGI_PYHOME",
    "UWSGI_CHDIR",
    "UWSGI_SETENV",
    "UWSGI_POSTFILE",
    "UWSGI_TOUCH_RELOAD",
    "UWSGI_CACHE_GET",
];

/// Collects the variables of one request, in the order in which they come.
pub(crate) struct Reader<'v> {
    vars: &'v mut Vars,
    /// How many more may come.
    room: usize,
    length: Option<u64>,
}

impl<'v> Reader<'v> {
    pub(crate) fn new(vars: &'v mut Vars, most: usize) -> Self {
        Self { vars, room: most, length: None }
    }

    /// Takes one variable; both of its parts are in the buffer of the variables already. Of two with one name the last
    /// one counts, as in uWSGI.
    pub(crate) fn take(&mut self, name: Span, value: Span) -> Result<(), Refusal> {
        self.room = self.room.checked_sub(1).ok_or(Refusal::TooManyFields)?;
        let (said, text) = (self.vars.bytes(name), self.vars.bytes(value));
        check_name(said)?;
        if let Some(key) = Key::named(said) {
            check_value(key, text)?;
            return self.keyed(key, value);
        }
        if let Some(field) = said.strip_prefix(b"HTTP_") {
            // A setting of many HTTP clients: httpoxy, CVE-2016-5385.
            if field == b"PROXY" {
                return Ok(());
            }
            if breaks_a_line(text) {
                return Err(Refusal::Malformed("a line break or NUL in a header field"));
            }
        } else if said.starts_with(b"UWSGI_")
            && let Some((_, refusal)) = INSTRUCTIONS.iter().find(|(instruction, _)| instruction.as_bytes() == said)
        {
            return Err(*refusal);
        }
        self.vars.push_cgi(name, value);
        Ok(())
    }

    fn keyed(&mut self, key: Key, value: Span) -> Result<(), Refusal> {
        if key == Key::ContentLength {
            // Two equal ones could be taken for one; nobody honest sends them.
            if self.vars.key(key).is_some() {
                return Err(Refusal::Malformed("more than one CONTENT_LENGTH"));
            }
            self.length = content_length(self.vars.bytes(value))?;
        }
        self.vars.set_span(key, value);
        Ok(())
    }

    /// All variables are there: how the body is framed.
    pub(crate) fn finish(self) -> Result<Body, Refusal> {
        if self.vars.key(Key::RequestMethod).is_none() {
            return Err(Refusal::Malformed("no REQUEST_METHOD"));
        }
        // A client may ask for one in so many words, as it may without a front end; nobody else puts one there.
        let nul = self.vars.key(Key::PathInfo).is_some_and(|path| memchr::memchr(0, path).is_some());
        let asked = self.vars.key(Key::RequestUri).is_some_and(|target| target.windows(3).any(|three| three == b"%00"));
        if nul && !asked {
            return Err(Refusal::Malformed("NUL in a path"));
        }
        Ok(match self.length {
            None | Some(0) => Body::Empty,
            Some(length) => Body::Length(length),
        })
    }
}

/// A name of a variable: there is one, and it stands for nothing else in an environment or an environ.
fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(Refusal::Malformed("a variable without a name"));
    }
    if name.iter().any(|&byte| byte == b'=' || byte.is_ascii_control()) {
        return Err(Refusal::Malformed("a control character or = in the name of a variable"));
    }
    // What these mean is this server's to say (PEP 3333).
    if [&b"wsgi."[..], b"uwsgi.", b"x-wsgiorg."].into_iter().any(|prefix| name.starts_with(prefix)) {
        return Err(Refusal::Malformed("a variable whose name only the server may use (wsgi. ...)"));
    }
    Ok(())
}

fn check_value(key: Key, text: &[u8]) -> Result<(), Refusal> {
    match key {
        Key::RequestMethod if !octets::is_token(text) => Err(Refusal::Malformed("REQUEST_METHOD is not a token")),
        // RFC 3875 4.1.5; the asterisk is the target of OPTIONS.
        Key::PathInfo if !matches!(text, [] | [b'/', ..] | [b'*']) => {
            Err(Refusal::Malformed("PATH_INFO does not begin with a slash"))
        }
        // These are decoded: a line break may be in them.
        Key::ScriptName if memchr::memchr(0, text).is_some() => Err(Refusal::Malformed("NUL in a path")),
        Key::PathInfo | Key::ScriptName => Ok(()),
        _ if breaks_a_line(text) => Err(Refusal::Malformed("a line break or NUL in a variable that has none")),
        _ => Ok(()),
    }
}

/// RFC 9110 5.5: it ends a line somewhere, or a text.
fn breaks_a_line(text: &[u8]) -> bool {
    memchr::memchr3(b'\r', b'\n', 0, text).is_some()
}

/// RFC 3875 4.1.2: a number. nginx sends an empty one where the client sent none.
fn content_length(text: &[u8]) -> Result<Option<u64>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    match octets::decimal(text) {
        Some(Some(length)) => Ok(Some(length)),
        Some(None) => Err(Refusal::BodyTooLarge),
        None => Err(Refusal::Malformed("CONTENT_LENGTH is not a number")),
    }
}

/// The path without the part that names the application. It stays as it is where that is not its start.
pub(crate) fn strip_script_name(vars: &mut Vars) {
    let (Some(script), Some(path), Some(span)) =
        (vars.key(Key::ScriptName), vars.key(Key::PathInfo), vars.span(Key::PathInfo))
    else {
        return;
    };
    let Some(rest) = path.strip_prefix(script) else { return };
    if rest.is_empty() || rest.starts_with(b"/") || script.ends_with(b"/") {
        let rest = Vars::part(span, script.len()..path.len());
        vars.set_span(Key::PathInfo, rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &[(&str, &str)]) -> Result<(Vars, Body), Refusal> {
        let mut vars = Vars::default();
        let spans: Vec<(Span, Span)> =
            said.iter().map(|(name, value)| (vars.add(name.as_bytes()), vars.add(value.as_bytes()))).collect();
        let mut reader = Reader::new(&mut vars, 8);
        for (name, value) in spans {
            reader.take(name, value)?;
        }
        let body = reader.finish()?;
        Ok((vars, body))
    }

    /// Beside a method, this variable alone.
    fn with(name: &str, value: &str) -> Result<Vars, Refusal> {
        read(&[("REQUEST_METHOD", "GET"), (name, value)]).map(|(vars, _)| vars)
    }

    #[track_caller]
    fn refused(name: &str, value: &str, word: &str) {
        let refusal = with(name, value).expect_err(name);
        assert!(refusal.reason().contains(word), "{name}={value}: {refusal:?}");
    }

    #[test]
    fn names() {
        for name in ["", "A=B", "A\0B", "A\nB", "wsgi.input", "wsgi.url_scheme", "uwsgi.node", "x-wsgiorg.fdevent"] {
            refused(name, "x", "name");
        }
        for name in ["http_x", "HTTP_X_\u{e9}", "wsgi", "UWSGI_ROUTER", "UWSGI_APPID", "WSGI.INPUT", "a b"] {
            assert_eq!(with(name, "x").unwrap().others().count(), 1, "{name}");
        }
    }

    #[test]
    fn the_client_gives_no_orders() {
        for (name, _) in INSTRUCTIONS {
            refused(name, "exec://id", name);
        }
        assert_eq!(with("HTTP_PROXY", "http://evil").unwrap().others().count(), 0);
        assert_eq!(with("HTTP_PROXY_", "x").unwrap().others().count(), 1);
    }

    #[test]
    fn values() {
        refused("HTTP_X", "a\r\nb", "line break");
        refused("HTTP_HOST", "a\0", "line break");
        refused("REQUEST_URI", "/\n", "line break");
        refused("SERVER_PROTOCOL", "HTTP/1.1\r\nX: y", "line break");
        refused("PATH_INFO", "etc/passwd", "slash");
        refused("PATH_INFO", "/a\0b", "NUL");
        refused("SCRIPT_NAME", "/a\0b", "NUL");
        for method in ["", "GET /", "G\0T", "G\u{e9}T"] {
            refused("REQUEST_METHOD", method, "token");
        }
        for (name, value) in
            [("PATH_INFO", ""), ("PATH_INFO", "*"), ("PATH_INFO", "/a\nb"), ("BIN", "\0\r\n"), ("HTTP_X", "")]
        {
            assert!(with(name, value).is_ok(), "{name}={value:?}");
        }
        assert_eq!(read(&[("PATH_INFO", "/")]).err(), Some(Refusal::Malformed("no REQUEST_METHOD")));
    }

    #[test]
    fn lengths() {
        let length = |text| read(&[("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", text)]).map(|(_, body)| body);
        assert!(matches!(length("5"), Ok(Body::Length(5))));
        assert!(matches!(length("0005"), Ok(Body::Length(5))));
        assert!(matches!(length(""), Ok(Body::Empty)));
        assert!(matches!(length("0"), Ok(Body::Empty)));
        for text in ["-1", "+5", "5 ", " 5", "5abc", "0x5", "5.0", "1_0", "5\0", "\u{ff15}"] {
            assert!(length(text).is_err(), "{text:?}");
        }
        assert_eq!(length("18446744073709551621").err(), Some(Refusal::BodyTooLarge));
        for other in ["5", "6", ""] {
            let twice = [("REQUEST_METHOD", "POST"), ("CONTENT_LENGTH", "5"), ("CONTENT_LENGTH", other)];
            assert!(read(&twice).is_err(), "{other:?}");
        }
    }

    #[test]
    fn the_last_of_two_counts_and_not_too_many_may_come() {
        let path = ("PATH_INFO", "/a");
        let (vars, _) = read(&[("REQUEST_METHOD", "GET"), path, ("PATH_INFO", "/b")]).unwrap();
        assert_eq!((vars.key(Key::PathInfo), vars.count()), (Some(&b"/b"[..]), 2));
        let method = ("REQUEST_METHOD", "GET");
        assert!(read(&[method; 8]).is_ok());
        assert_eq!(read(&[method; 9]).err(), Some(Refusal::TooManyFields));
    }

    #[test]
    fn the_path_loses_the_name_of_the_application() {
        for (script, path, rest) in [
            ("/app", "/app/x", "/x"),
            ("/app", "/app", ""),
            ("/app/", "/app/x", "x"),
            ("", "/x", "/x"),
            ("/app", "/application", "/application"),
            ("/app", "/other", "/other"),
            ("/app/x/y", "/app", "/app"),
        ] {
            let mut vars = Vars::default();
            strip_script_name(&mut vars);
            vars.set(Key::ScriptName, script.as_bytes());
            strip_script_name(&mut vars);
            vars.set(Key::PathInfo, path.as_bytes());
            strip_script_name(&mut vars);
            assert_eq!(vars.key(Key::PathInfo), Some(rest.as_bytes()), "{script} {path}");
        }
    }
}
