//! The request line where nobody asks for another: uWSGI's, byte for byte, because parsers depend on it.

use ruwsgi_wire::Key;

use super::{Facts, escape};

/// Appends `[pid: 1|app: 0|req: 1/1] 1.2.3.4 () {40 vars in 700 bytes} [Fri Nov 20 12:00:00 2026] GET / => generated 11
/// bytes in 1 msecs (HTTP/1.1 200) 2 headers in 80 bytes (1 switches on core 0)`. Piece by piece: `format_args!` costs
/// three times as much, and there is a line for each request.
pub(super) fn write(line: &mut Vec<u8>, facts: &Facts<'_>, ctime: &str, in_micros: bool) {
    let Facts { vars, sent, .. } = facts;
    line.reserve(256 + vars.key(Key::RequestUri).map_or(0, <[u8]>::len));
    number(line, "[pid: ", facts.pid);
    match facts.requests {
        Some(requests) => {
            number(line, "|app: ", sent.app);
            number(line, "|req: ", requests);
        }
        None => text(line, "|app: -1|req: -1"),
    }
    number(line, "/", facts.total);
    text(line, "] ");
    escape(line, &facts.address);
    text(line, " (");
    escape(line, vars.key(Key::RemoteUser).unwrap_or_default());
    let (count, size) = facts.variables();
    number(line, ") {", count);
    number(line, " vars in ", size);
    text(line, " bytes} [");
    text(line, ctime);
    text(line, "] ");
    escape(line, vars.key(Key::RequestMethod).unwrap_or_default());
    text(line, " ");
    escape(line, vars.key(Key::RequestUri).unwrap_or_default());
    number(line, " => generated ", sent.body_bytes);
    let (took, unit) = if in_micros { (facts.micros, " micros ") } else { (facts.micros / 1000, " msecs ") };
    number(line, " bytes in ", took);
    text(line, unit);
    text(line, if sent.from_file { "via sendfile() (" } else { "(" });
    escape(line, vars.key(Key::ServerProtocol).unwrap_or_default());
    number(line, " ", sent.status);
    number(line, ") ", sent.fields);
    number(line, " headers in ", sent.head_bytes);
    number(line, " bytes (", sent.switches);
    number(line, " switches on core ", facts.core);
    text(line, ")");
}

/// Appends `{address space usage: 133849088 bytes/127MB} {rss usage: 11640832 bytes/11MB} `.
pub(super) fn write_memory(line: &mut Vec<u8>, (addresses, resident): (u64, u64)) {
    number(line, "{address space usage: ", addresses);
    number(line, " bytes/", addresses >> 20);
    number(line, "MB} {rss usage: ", resident);
    number(line, " bytes/", resident >> 20);
    text(line, "MB} ");
}

pub(super) fn text(line: &mut Vec<u8>, text: &str) {
    line.extend_from_slice(text.as_bytes());
}

pub(super) fn number(line: &mut Vec<u8>, before: &str, number: impl itoa::Integer) {
    text(line, before);
    text(line, itoa::Buffer::new().format(number));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::facts;
    use crate::response::Sent;
    use ruwsgi_wire::Vars;

    #[test]
    fn memory_stands_before_the_line() {
        let mut line = Vec::new();
        write_memory(&mut line, (133_849_088, 11_640_832));
        let shown = "{address space usage: 133849088 bytes/127MB} {rss usage: 11640832 bytes/11MB} ";
        assert_eq!(String::from_utf8(line).unwrap(), shown);
    }

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
