//! A client that speaks HTTP/1 on its own: it sends exactly what a test gives it and reads answers byte for byte, as
//! strictly as a test needs: what is no HTTP fails the test.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use super::PATIENCE;

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection.
pub struct Client {
    stream: Stream,
    /// Read, and not yet part of an answer.
    buffer: Vec<u8>,
}

/// One response.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `HTTP/1.1`
    pub version: String,
    /// 200
    pub status: u16,
    /// `OK`
    pub reason: String,
    /// As they came.
    pub fields: Vec<(String, String)>,
    /// Without its framing.
    pub body: Vec<u8>,
    /// The head as it came, with the blank line.
    pub head: Vec<u8>,
}

impl Answer {
    /// The value of a field; `None` when it is absent. Fails when it is there twice.
    pub fn field(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} is there more than once in {:?}", self.fields);
        values.first().copied()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let same = self.fields.iter().filter(|(have, _)| have.eq_ignore_ascii_case(name));
        same.map(|(_, value)| value.as_str()).collect()
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|_| panic!("the body is no UTF-8: {:?}", self.body))
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body is no JSON ({error}): {self:?}"))
    }

    /// The body, where the answer must be a 200.
    pub fn ok(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        self.text()
    }
}

impl From<UnixStream> for Client {
    fn from(stream: UnixStream) -> Self {
        Self::over(Stream::Unix(stream))
    }
}

impl Client {
    /// Connects over TCP.
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        stream.set_nodelay(true).unwrap();
        Self::over(Stream::Tcp(stream))
    }

    /// Connects to a unix socket.
    pub fn unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap_or_else(|error| panic!("connecting to {path:?}: {error}"));
        Self::over(Stream::Unix(stream))
    }

    fn over(stream: Stream) -> Self {
        let client = Self { stream, buffer: Vec::new() };
        client.patience(PATIENCE);
        client
    }

    fn patience(&self, time: Duration) {
        match &self.stream {
            Stream::Tcp(stream) => stream.set_read_timeout(Some(time)).and(stream.set_write_timeout(Some(time))),
            Stream::Unix(stream) => stream.set_read_timeout(Some(time)).and(stream.set_write_timeout(Some(time))),
        }
        .unwrap();
    }

    /// The address of this end.
    pub fn local(&self) -> SocketAddr {
        let Stream::Tcp(stream) = &self.stream else { panic!("a unix socket has no address") };
        stream.local_addr().unwrap()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let bytes = bytes.as_ref();
        self.try_send(bytes).unwrap_or_else(|error| panic!("sending {} bytes: {error}", bytes.len()));
        self
    }

    /// Sends bytes; a server that has closed already is an error.
    pub fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.write_all(bytes),
            Stream::Unix(stream) => stream.write_all(bytes),
        }
    }

    /// Says that nothing more comes (FIN), and goes on reading.
    pub fn finish_sending(&mut self) -> &mut Self {
        self.try_finish_sending().unwrap();
        self
    }

    /// Says that nothing more comes; a server that has closed already is an error.
    pub fn try_finish_sending(&mut self) -> std::io::Result<()> {
        match &self.stream {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// `GET path` on this connection, and its answer.
    pub fn get(&mut self, path: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).answer()
    }

    /// `POST path` with a body, and its answer.
    pub fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> Answer {
        let body = body.as_ref();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        self.send([head.as_bytes(), body].concat()).answer()
    }

    /// Reads one answer to a request that is not HEAD. `100 Continue` counts as one.
    pub fn answer(&mut self) -> Answer {
        let mut answer = self.answer_head();
        let bodyless = answer.status < 200 || answer.status == 204 || answer.status == 304;
        answer.body = match (answer.field("Transfer-Encoding"), answer.field("Content-Length")) {
            _ if bodyless => Vec::new(),
            (Some(coding), None) => {
                assert_eq!(coding, "chunked");
                self.chunks()
            }
            (None, Some(length)) => self.exactly(length.parse().unwrap_or_else(|_| panic!("length {length:?}"))),
            (None, None) => self.rest(),
            (Some(_), Some(_)) => panic!("both framings: {:?}", answer.fields),
        };
        answer
    }

    /// Reads a head only: the answer to HEAD, or one whose body a test reads itself.
    pub fn answer_head(&mut self) -> Answer {
        let head = self.until(b"\r\n\r\n");
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n");
        let status = lines.next().unwrap();
        let mut parts = status.splitn(3, ' ');
        let (version, code) = (parts.next().unwrap(), parts.next().unwrap_or_default());
        assert!(version.starts_with("HTTP/1."), "no status line: {text:?}");
        let fields = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?} in {text:?}"));
            (name.to_owned(), value.trim().to_owned())
        });
        Answer {
            version: version.to_owned(),
            status: code.parse().unwrap_or_else(|_| panic!("status {status:?}")),
            reason: parts.next().unwrap_or_default().to_owned(),
            fields: fields.collect(),
            body: Vec::new(),
            head,
        }
    }

    /// Reads so many bytes.
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.more(), "the connection ended after {} of {count} bytes", self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }

    /// Reads up to and with `mark`.
    pub fn until(&mut self, mark: &[u8]) -> Vec<u8> {
        let mut from = 0;
        loop {
            let found = self.buffer[from..].windows(mark.len()).position(|window| window == mark);
            if let Some(at) = found {
                return self.buffer.drain(..from + at + mark.len()).collect();
            }
            from = self.buffer.len().saturating_sub(mark.len() - 1);
            let mark = String::from_utf8_lossy(mark);
            assert!(self.more(), "the connection ended before {mark:?}: {:?}", String::from_utf8_lossy(&self.buffer));
        }
    }

    fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = String::from_utf8(self.until(b"\r\n")).unwrap();
            let size = usize::from_str_radix(line.trim_end(), 16).unwrap_or_else(|_| panic!("chunk size {line:?}"));
            body.extend(self.exactly(size));
            assert_eq!(self.exactly(2), b"\r\n", "after a chunk of {size} bytes");
            if size == 0 {
                return body;
            }
        }
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buffer)
    }

    /// The server closes and says nothing more. A reset counts as closed.
    pub fn closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "before the end came {:?}", String::from_utf8_lossy(&rest));
    }

    /// Waits for the next bytes; `true` when the end of the connection comes instead. A reset fails the test.
    pub fn has_ended_cleanly(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        let got = self.read(&mut buffer).unwrap_or_else(|error| panic!("waiting for an answer: {error}"));
        self.buffer.extend(&buffer[..got]);
        got == 0
    }

    /// Nothing has come that is not read yet, and the connection is open.
    pub fn is_quiet(&mut self) -> bool {
        let set = |stream: &Stream, on| match stream {
            Stream::Tcp(stream) => stream.set_nonblocking(on),
            Stream::Unix(stream) => stream.set_nonblocking(on),
        };
        set(&self.stream, true).unwrap();
        let mut byte = [0];
        let got = self.read(&mut byte);
        set(&self.stream, false).unwrap();
        self.buffer.extend(got.as_ref().map(|got| &byte[..*got]).unwrap_or_default());
        self.buffer.is_empty() && got.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// Reads what comes within `time`; `None` when nothing does. An empty text is the end of the connection.
    pub fn read_within(&mut self, time: Duration) -> Option<Vec<u8>> {
        self.patience(time);
        let mut buffer = vec![0; 64 * 1024];
        let got = self.read(&mut buffer);
        self.patience(PATIENCE);
        match got {
            Ok(got) => {
                buffer.truncate(got);
                Some(buffer)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(_) => Some(Vec::new()),
        }
    }

    /// Reads more; `false` at the end of the connection.
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.read(&mut buffer) {
            Ok(got) => {
                self.buffer.extend(&buffer[..got]);
                got > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => false,
            // A read with a time-out is never restarted: signal(7).
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Err(error) => {
                let have = String::from_utf8_lossy(&self.buffer);
                panic!("no byte for {} s ({error}); so far came {have:?}", PATIENCE.as_secs())
            }
        }
    }

    /// Reads what comes next, past what was read already.
    pub fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match &mut self.stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        }
    }
}
