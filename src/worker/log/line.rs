//! The request line where nobody asks for another: uWSGI's, byte for byte, because parsers depend on it.

use std::io::Write;

use ruwsgi_wire::Key;

use super::{Facts, escape};

/// Appends `[pid: 1|app: 0|req: 1/1] 1.2.3.4 () {40 vars in 700 bytes} [Fri Nov 20 12:00:00 2026] GET / => generated 11
/// bytes in 1 msecs (HTTP/1.1 200) 2 headers in 80 bytes (1 switches on core 0)`.
pub(super) fn write(line: &mut Vec<u8>, facts: &Facts<'_>, ctime: &str, in_micros: bool) {
    let Facts { vars, sent, .. } = facts;
    let (count, size) = facts.variables();
    let (took, unit) = if in_micros { (facts.micros, "micros") } else { (facts.micros / 1000, "msecs") };
    let via = if sent.from_file { "via sendfile() " } else { "" };
    let say = |line: &mut Vec<u8>, text: std::fmt::Arguments<'_>| {
        // A Vec takes everything: writing to it can't fail.
        let _ = line.write_fmt(text);
    };
    let (pid, total) = (facts.pid, facts.total);
    match facts.requests {
        Some(requests) => say(line, format_args!("[pid: {pid}|app: {}|req: {requests}/{total}] ", sent.app)),
        None => say(line, format_args!("[pid: {pid}|app: -1|req: -1/{total}] ")),
    }
    escape(line, &facts.address);
    line.extend_from_slice(b" (");
    escape(line, vars.key(Key::RemoteUser).unwrap_or_default());
    say(line, format_args!(") {{{count} vars in {size} bytes}} [{ctime}] "));
    escape(line, vars.key(Key::RequestMethod).unwrap_or_default());
    line.push(b' ');
    escape(line, vars.key(Key::RequestUri).unwrap_or_default());
    say(line, format_args!(" => generated {} bytes in {took} {unit} {via}(", sent.body_bytes));
    escape(line, vars.key(Key::ServerProtocol).unwrap_or_default());
    say(
        line,
        format_args!(
            " {}) {} headers in {} bytes ({} switches on core {})",
            sent.status, sent.fields, sent.head_bytes, sent.switches, facts.core
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::facts;
    use crate::response::Sent;
    use ruwsgi_wire::Vars;

    #[test]
    fn the_line_is_the_one_of_uwsgi() {
        let mut vars = Vars::default();
        vars.set(Key::RequestMethod, b"GET");
        vars.set(Key::RequestUri, b"/a\x1b?b");
        vars.set(Key::ServerProtocol, b"HTTP/1.1");
        vars.set(Key::RemoteAddr, b"1.2.3.4");
        let sent = Sent { status: 200, fields: 2, head_bytes: 80, body_bytes: 11, switches: 1, ..Sent::default() };
        let line = |facts: &Facts<'_>, in_micros| {
            let mut line = Vec::new();
            write(&mut line, facts, "Fri Nov 20 12:00:00 2026", in_micros);
            String::from_utf8(line).unwrap()
        };
        assert_eq!(
            line(&facts(&vars, &sent), false),
            "[pid: 7|app: 0|req: 1/2] 1.2.3.4 () {8 vars in 90 bytes} [Fri Nov 20 12:00:00 2026] GET /a\\x1b?b => \
             generated 11 bytes in 1 msecs (HTTP/1.1 200) 2 headers in 80 bytes (1 switches on core 0)"
        );
        let sent = Sent { from_file: true, ..sent };
        let line = line(&Facts { requests: None, ..facts(&vars, &sent) }, true);
        assert!(line.starts_with("[pid: 7|app: -1|req: -1/2] 1.2.3.4 "), "{line}");
        assert!(line.contains(" in 1999 micros via sendfile() (HTTP/1.1 200) 2 headers "), "{line}");
    }
}
