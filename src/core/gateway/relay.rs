//! The answer of a backend becomes the answer to a client: framed anew, so that nothing that a backend says can be taken
//! for more than one answer. Called by sessions with what comes; touches no socket.

use ruwsgi_wire::client::{BadAnswer, Client, Dialect, Head, Said};
use ruwsgi_wire::{Exchange, Next};

/// How far an answer is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing was passed on.
    #[default]
    Awaited,
    /// Its head was.
    Begun,
    /// The connection is another protocol's from here on.
    Upgraded,
    /// It is whole. `reusable`: the backend can be asked again on the same connection.
    Over {
        /// The backend can be asked again on the same connection.
        reusable: bool,
        /// What becomes of the client's connection.
        next: Next,
    },
}

/// Where an answer goes.
pub(super) struct Relay<'r> {
    /// The conversation with the client.
    pub(super) exchange: &'r mut dyn Exchange,
    /// What goes to the client.
    pub(super) out: &'r mut Vec<u8>,
    /// The value of a `Date` field.
    pub(super) date: &'r [u8],
    /// This is to be the last answer of the connection.
    pub(super) close: bool,
    /// The client has asked for another protocol.
    pub(super) upgrade: bool,
    /// How far it is.
    pub(super) reply: Reply,
}

/// Why an answer was not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It is none, or not whole.
    Answer(BadAnswer),
    /// It can't be said to the client.
    Unsayable(&'static str),
}

impl Broken {
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Answer(BadAnswer::Malformed(how)) | Self::Unsayable(how) => how,
            Self::Answer(BadAnswer::Cut) => "the answer ends before it is whole",
            Self::Answer(BadAnswer::Empty) => "the backend closes without an answer",
        }
    }
}

impl Relay<'_> {
    /// Passes on what has come.
    pub(super) fn hear(&mut self, client: &mut Client, input: &[u8]) -> Result<(), Broken> {
        let dialect = client.dialect();
        let mut broken = None;
        let heard = client.listen(input, &mut |said| self.take(&said, dialect, &mut broken));
        broken.map_or(heard.map_err(Broken::Answer), Err)
    }

    /// The backend has closed.
    pub(super) fn hear_end(&mut self, client: &mut Client) -> Result<(), Broken> {
        let dialect = client.dialect();
        let mut broken = None;
        let heard = client.listen_end(&mut |said| self.take(&said, dialect, &mut broken));
        broken.map_or(heard.map_err(Broken::Answer), Err)
    }

    fn take(&mut self, said: &Said<'_>, dialect: Dialect, broken: &mut Option<Broken>) {
        if broken.is_some() {
            return;
        }
        match *said {
            Said::Head(head) if head.status == 101 => match self.upgrade(&head) {
                Ok(()) => self.reply = Reply::Upgraded,
                Err(how) => *broken = Some(Broken::Unsayable(how)),
            },
            Said::Head(head) => match self.head(&head, dialect) {
                Ok(()) => self.reply = Reply::Begun,
                Err(how) => *broken = Some(Broken::Unsayable(how)),
            },
            Said::Data(data) if self.reply == Reply::Upgraded => self.out.extend_from_slice(data),
            Said::Data(data) => {
                let fitting = self.exchange.data(data.len(), self.out);
                self.out.extend_from_slice(&data[..fitting]);
                self.exchange.data_end(self.out);
            }
            Said::Log(text) => tracing::info!("{}", String::from_utf8_lossy(text).trim_end()),
            Said::End { .. } if self.reply == Reply::Upgraded => {}
            Said::End { reusable } => {
                let next = self.exchange.finish(self.out);
                self.reply = Reply::Over { reusable, next };
            }
        }
    }

    fn head(&mut self, head: &Head<'_>, dialect: Dialect) -> Result<(), &'static str> {
        let before = self.out.len();
        let said = self.say_head(head, dialect);
        if said.is_err() {
            self.out.truncate(before);
        }
        said
    }

    fn say_head(&mut self, head: &Head<'_>, dialect: Dialect) -> Result<(), &'static str> {
        let digit = |by: u16| b'0' + (head.status / by % 10) as u8;
        let status = [&[digit(100), digit(10), digit(1), b' '][..], head.reason].concat();
        self.exchange.status(&status, self.out).map_err(|_| "the status line of the answer is none")?;
        for (name, value) in head.fields() {
            if !ends_here(head, name, dialect) {
                let said = self.exchange.field(name, value, self.out);
                said.map_err(|_| "a field of the answer is malformed")?;
            }
        }
        self.exchange.end_head(None, self.date, self.close, self.out);
        Ok(())
    }

    /// RFC 9110 7.8: only whoever has asked for it can be answered so.
    fn upgrade(&mut self, head: &Head<'_>) -> Result<(), &'static str> {
        if !self.upgrade {
            return Err("the answer changes the protocol, and nobody has asked for that");
        }
        let whole = |name: &[u8], value: &[u8]| {
            let token = |byte: &u8| byte.is_ascii_graphic() && *byte != b':';
            let text = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
            !name.is_empty() && name.iter().all(token) && value.iter().all(text)
        };
        if !head.fields().all(|(name, value)| whole(name, value)) {
            return Err("a field of the answer is malformed");
        }
        self.out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\n");
        for (name, value) in head.fields() {
            for part in [name, b": ", value, b"\r\n"] {
                self.out.extend_from_slice(part);
            }
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Fields that are about the connection to the backend (RFC 9110 7.6.1). A backend that is no HTTP server speaks as the
/// origin server does: what it says about the connection is for the client's.
fn ends_here(head: &Head<'_>, name: &[u8], dialect: Dialect) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    if is("Transfer-Encoding") {
        return true;
    }
    if dialect != Dialect::Http {
        return false;
    }
    let own = ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer"].iter().any(|other| is(other));
    own || is("Upgrade") && head.status != 426 || is_option(head, name)
}

/// The name is one of the options of `Connection`; those that mean something else don't become ones by that.
fn is_option(head: &Head<'_>, name: &[u8]) -> bool {
    let named =
        |value: &[u8]| value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(name));
    let framing =
        ["Content-Length", "Date", "Content-Type"].iter().any(|own| name.eq_ignore_ascii_case(own.as_bytes()));
    !framing && head.all("Connection").any(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_wire::client::Passed;
    use ruwsgi_wire::{Limits, Vars, http};

    struct Talk {
        text: String,
        reply: Reply,
        broken: Option<Broken>,
    }

    /// A request, and what the client gets for this answer of a backend, in pieces of so many bytes.
    fn talk(request: &str, dialect: Dialect, answer: &str, piece: usize) -> Talk {
        let (mut exchange, mut vars) = (http::exchange(&Limits::default()), Vars::default());
        let _ = exchange.head(request.as_bytes(), &mut vars);
        let mut client = Client::new(dialect);
        let passed = Passed { vars: &vars, modifiers: (0, 0), length: Some(0), without: &[], with: &[] };
        client.pass(&passed, &mut Vec::new()).unwrap();
        let mut out = Vec::new();
        let upgrade = request.contains("Upgrade");
        let mut relay = Relay {
            exchange: &mut *exchange,
            out: &mut out,
            date: b"today",
            close: false,
            upgrade,
            reply: Reply::default(),
        };
        let mut broken = None;
        for piece in answer.as_bytes().chunks(piece) {
            broken = broken.or(relay.hear(&mut client, piece).err());
        }
        if broken.is_none() && !matches!(relay.reply, Reply::Over { .. } | Reply::Upgraded) {
            broken = relay.hear_end(&mut client).err();
        }
        let reply = relay.reply;
        Talk { text: String::from_utf8(out).unwrap(), reply, broken }
    }

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn an_answer_is_framed_anew() {
        let answer = "HTTP/1.1 200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nX-End: 2\r\n\r\nhello";
        for piece in [1, 1000] {
            let told = talk(GET, Dialect::Http, answer, piece);
            assert!(
                told.text
                    .starts_with("HTTP/1.1 200 OK\r\nX-End: 2\r\nDate: today\r\nTransfer-Encoding: chunked\r\n\r\n")
            );
            assert_eq!(told.reply, Reply::Over { reusable: false, next: Next::KeepAlive }, "{}", told.text);
            let old = talk("GET / HTTP/1.0\r\n\r\n", Dialect::Uwsgi, "HTTP/1.1 200 OK\r\n\r\nhello", piece);
            assert!(old.text.ends_with("\r\n\r\nhello"), "{}", old.text);
            assert_eq!(old.reply, Reply::Over { reusable: false, next: Next::Close });
        }
        let kept = talk(GET, Dialect::Http, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", 1000);
        assert_eq!(kept.reply, Reply::Over { reusable: true, next: Next::KeepAlive });
        let last =
            talk(GET, Dialect::Uwsgi, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi", 1000);
        assert_eq!(last.reply, Reply::Over { reusable: false, next: Next::Close }, "the application wants it so");
    }

    #[test]
    fn what_is_no_answer_is_not_passed_on() {
        for (answer, word) in [
            ("SSH-2.0-OpenSSH\r\n\r\n", "head"),
            ("", "without an answer"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx", "Content-Length"),
            ("HTTP/1.1 200 OK\r\nA B: c\r\n\r\n", "head"),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "protocol"),
        ] {
            let told = talk(GET, Dialect::Http, answer, 1000);
            assert!(
                told.text.is_empty() && told.broken.unwrap().reason().contains(word),
                "{answer}: {:?}",
                told.broken
            );
        }
        let cut = talk(GET, Dialect::Http, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", 1000);
        assert_eq!((cut.broken, cut.reply), (Some(Broken::Answer(BadAnswer::Cut)), Reply::Begun));
        let long =
            talk(GET, Dialect::Http, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiHTTP/1.1 200 No\r\n\r\n", 1000);
        assert!(long.text.ends_with("\r\n\r\nhi") && matches!(long.reply, Reply::Over { reusable: false, .. }));
    }

    #[test]
    fn a_connection_becomes_another_protocol_s() {
        let ask = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        let answer = "HTTP/1.1 101 Whatever\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\u{1}frames";
        for piece in [1, 1000] {
            let told = talk(ask, Dialect::Uwsgi, answer, piece);
            assert_eq!((told.reply, told.broken), (Reply::Upgraded, None));
            assert!(told.text.ends_with("Connection: Upgrade\r\n\r\n\u{1}frames"), "{}", told.text);
        }
    }
}
