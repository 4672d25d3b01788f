//! The request line: uWSGI's, byte for byte, because parsers depend on it.

use std::io::Write;

use ruwsgi_wire::{Key, Vars};

use crate::response::Sent;

/// What the line says besides the request and its response.
pub(crate) struct Facts<'f> {
    pub pid: u32,
    /// Requests that the application of this worker has answered, with this one. `None`: this one was not for it.
    pub requests: Option<u64>,
    /// Requests of the instance, with this one.
    pub total: u64,
    pub ctime: &'f str,
    pub micros: u64,
    pub core: usize,
}

/// Appends `[pid: 1|app: 0|req: 1/1] 1.2.3.4 () {40 vars in 700 bytes} [Fri Nov 20 12:00:00 2026] GET / => generated 11
/// bytes in 1 msecs (HTTP/1.1 200) 2 headers in 80 bytes (1 switches on core 0)` and a newline.
pub(crate) fn request_line(line: &mut Vec<u8>, vars: &Vars, sent: &Sent, facts: &Facts<'_>) {
    // uWSGI counts names and values, and two bytes of length before each.
    let count = vars.count();
    let size = vars.size() + 4 * count;
    let say = |line: &mut Vec<u8>, text: std::fmt::Arguments<'_>| {
        // A Vec takes everything: writing to it can't fail.
        let _ = line.write_fmt(text);
    };
    let (pid, total, app) = (facts.pid, facts.total, sent.app);
    match facts.requests {
        Some(requests) => say(line, format_args!("[pid: {pid}|app: {app}|req: {requests}/{total}] ")),
        None => say(line, format_args!("[pid: {pid}|app: -1|req: -1/{total}] ")),
    }
    escape(line, vars.key(Key::RemoteAddr).unwrap_or_default());
    line.extend_from_slice(b" (");
    escape(line, vars.key(Key::RemoteUser).unwrap_or_default());
    say(line, format_args!(") {{{} vars in {size} bytes}} [{}] ", count * 2, facts.ctime));
    escape(line, vars.key(Key::RequestMethod).unwrap_or_default());
    line.push(b' ');
    escape(line, vars.key(Key::RequestUri).unwrap_or_default());
    let via = if sent.from_file { "via sendfile() " } else { "" };
    say(line, format_args!(" => generated {} bytes in {} msecs {via}(", sent.body_bytes, facts.micros / 1000));
    escape(line, vars.key(Key::ServerProtocol).unwrap_or_default());
    say(
        line,
        format_args!(
            " {}) {} headers in {} bytes ({} switches on core {})\n",
            sent.status, sent.fields, sent.head_bytes, sent.switches, facts.core
        ),
    );
}

/// Control characters of a client never reach a terminal.
fn escape(line: &mut Vec<u8>, text: &[u8]) {
    for byte in text {
        match byte {
            b' '..=b'~' => line.push(*byte),
            _ => drop(write!(line, "\\x{byte:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_the_one_of_uwsgi() {
        let mut vars = Vars::default();
        vars.set(Key::RequestMethod, b"GET");
        vars.set(Key::RequestUri, b"/a\x1b?b");
        vars.set(Key::ServerProtocol, b"HTTP/1.1");
        vars.set(Key::RemoteAddr, b"1.2.3.4");
        let sent = Sent {
            status: 200,
            fields: 2,
            head_bytes: 80,
            body_bytes: 11,
            switches: 1,
            from_file: false,
            ..Sent::default()
        };
        let facts =
            Facts { pid: 7, requests: Some(1), total: 2, ctime: "Fri Nov 20 12:00:00 2026", micros: 1999, core: 0 };
        let mut line = Vec::new();
        request_line(&mut line, &vars, &sent, &facts);
        assert_eq!(
            String::from_utf8_lossy(&line),
            "[pid: 7|app: 0|req: 1/2] 1.2.3.4 () {8 vars in 90 bytes} [Fri Nov 20 12:00:00 2026] GET /a\\x1b?b => \
             generated 11 bytes in 1 msecs (HTTP/1.1 200) 2 headers in 80 bytes (1 switches on core 0)\n"
        );
        line.clear();
        request_line(&mut line, &vars, &Sent { from_file: true, ..sent }, &Facts { requests: None, ..facts });
        let line = String::from_utf8_lossy(&line);
        assert!(line.starts_with("[pid: 7|app: -1|req: -1/2] 1.2.3.4 "), "{line}");
        assert!(line.contains(" => generated 11 bytes in 1 msecs via sendfile() (HTTP/1.1 200) 2 headers "), "{line}");
    }
}
