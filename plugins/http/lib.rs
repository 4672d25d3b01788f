//! The HTTP router: HTTP/1.1 from clients, uwsgi or HTTP (or FastCGI, SCGI) to backends. The gateway host of
//! `ruwsgi-core` runs it; here is what it makes of a request.
//!
//! Requests are read by the parser that the workers use, so that a client can't mean two things by one, and what a backend
//! gets is written anew. It never waits and never touches a socket.

#![forbid(unsafe_code)]

use std::net::{IpAddr, SocketAddr};

use ruwsgi_core::gateway::{Asking, Front, Patience, Router, Settings, Visitor};
use ruwsgi_core::router_settings;
use ruwsgi_options::Config;
use ruwsgi_sys::listen::At;
use ruwsgi_wire::client::{Client, Dialect, Passed, Unaskable};
use ruwsgi_wire::proxy::{self, Origin, Proxied};
use ruwsgi_wire::trust::Trust;
use ruwsgi_wire::{Exchange, Key, Limits, Name, Vars, http};

/// The router.
pub const ROUTER: Router = Router { name: "http", settings, front };

fn settings(config: &Config) -> Option<Settings> {
    let (http, sockets) = (&config.http, &config.sockets);
    if config.routed.is_empty() {
        return None;
    }
    let mut settings = router_settings!(config, http, config.routed, "http-stats");
    let mapping = &mut settings.mapping;
    mapping.fallback_key = http.fallback_key.clone();
    mapping.fallback_without_key = true;
    mapping.dialect = if http.backend_http { Dialect::Http } else { Dialect::Uwsgi };
    let named = mapping.pattern.is_some() || mapping.base.is_some() || !mapping.to.is_empty();
    if !named && mapping.subscription.is_empty() && mapping.socket.is_none() {
        // Nobody says for whom: for the workers of this instance.
        mapping.socket = Some(0);
    }
    let silence = sockets.http_timeout.or(sockets.socket_timeout);
    let keepalive_ms = config.keepalive().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    Some(Settings {
        patience: Patience { keepalive_ms, ..Patience::new(silence, http.headers_timeout, http.connect_timeout) },
        user: http.uid.clone(),
        group: http.gid.clone(),
        most_body: (sockets.limit_post > 0).then_some(sockets.limit_post),
        post_buffering: http.post_buffering,
        ..settings
    })
}

fn front(config: &Config) -> Box<dyn Front> {
    let (http, sockets) = (&config.http, &config.sockets);
    let head_bytes = match usize::try_from(http.buffer_size) {
        Ok(0) | Err(_) => sockets.buffer_size,
        Ok(asked) => asked,
    };
    Box::new(Http {
        limits: Limits {
            head_bytes,
            keep_alive: config.keepalive().is_some(),
            underscore_fields: sockets.underscore_headers,
            ..Limits::default()
        },
        proxied: if sockets.http_enable_proxy_protocol == Some(true) { Proxied::Always } else { Proxied::Never },
        trust: Trust::new(&sockets.trusted_proxies).0,
        host: host_name(),
        name_is_host: http.server_name_as_host > 0,
        vars: http.vars.clone(),
        modifiers: (http.modifier1, http.modifier2),
        most_expected: http.manage_expect,
    })
}

/// The name of this machine.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}

struct Http {
    limits: Limits,
    proxied: Proxied,
    trust: Trust,
    host: String,
    name_is_host: bool,
    /// `http-var`
    vars: Vec<(String, String)>,
    modifiers: (u8, u8),
    most_expected: Option<u64>,
}

/// Fields that are about the connection from the client (RFC 9110 7.6.1), beside those that `Connection` names.
const HOP_BY_HOP: [&[u8]; 9] = [
    b"Connection",
    b"Keep-Alive",
    b"Proxy-Connection",
    b"TE",
    b"Trailer",
    b"Transfer-Encoding",
    b"Upgrade",
    b"Expect",
    b"HTTP2-Settings",
];

/// What a client that is not trusted may not say about itself.
const CLAIMS: [Key; 3] = [Key::ForwardedProto, Key::ForwardedSsl, Key::Forwarded];

impl Front for Http {
    fn exchange(&self, visitor: &Visitor) -> Option<Box<dyn Exchange>> {
        let trusted = self.trust.covers(visitor.peer.ip());
        Some(proxy::exchange(http::exchange(&self.limits), self.proxied, trusted))
    }

    fn key<'v>(&'v self, vars: &'v Vars, _: &'v Visitor) -> &'v [u8] {
        vars.key(Key::HttpHost).filter(|host| !host.is_empty()).unwrap_or(self.host.as_bytes())
    }

    fn ask(&self, asking: Asking<'_>, client: &mut Client, out: &mut Vec<u8>) -> Result<(), Unaskable> {
        let Asking { vars, visitor, origin, length, upgrade, node, .. } = asking;
        let address = origin.map(|origin| origin.client).or(match visitor.peer {
            ruwsgi_sys::stream::Peer::Inet(address) => Some(address),
            ruwsgi_sys::stream::Peer::Local => None,
        });
        if !self.trust.covers(address.map(|address| address.ip())) {
            CLAIMS.into_iter().for_each(|claim| vars.unset(claim));
        }
        let modifiers = node.modifiers.unwrap_or(self.modifiers);
        if client.dialect() == Dialect::Http {
            return self.ask_http((vars, length, upgrade), address, client, out);
        }
        self.complete(vars, visitor, origin, address);
        let passed = Passed { vars, modifiers, length, without: &[b"Transfer-Encoding"], with: &[] };
        client.pass(&passed, out)
    }

    fn upgrades(&self, vars: &Vars) -> bool {
        let list =
            |value: &[u8]| value.split(|byte| *byte == b',').any(|it| it.trim_ascii().eq_ignore_ascii_case(b"upgrade"));
        let asked = fields(vars, "Connection").any(list);
        // A backend that speaks HTTP/2 on from there would speak past everything that is checked here.
        let harmless = |value: &[u8]| !value.to_ascii_lowercase().windows(3).any(|part| part == b"h2c");
        let mut protocols = fields(vars, "Upgrade").peekable();
        asked && protocols.peek().is_some() && protocols.all(harmless)
    }

    fn most_expected(&self) -> Option<u64> {
        self.most_expected
    }
}

impl Http {
    /// What a worker that speaks HTTP itself would know, and the variables of uWSGI's router.
    fn complete(&self, vars: &mut Vars, visitor: &Visitor, origin: Option<Origin>, address: Option<SocketAddr>) {
        let mut text = itoa::Buffer::new();
        let host = vars.key(Key::HttpHost).filter(|_| self.name_is_host).map(<[u8]>::to_vec);
        vars.set(Key::ServerName, host.as_deref().unwrap_or(self.host.as_bytes()));
        let port = match (origin, &*visitor.at) {
            (Some(origin), _) => Some(origin.server.port()),
            (None, At::Inet(at)) => Some(at.port()),
            _ => None,
        };
        // PEP 3333 wants one: uWSGI says 80 where there is none.
        vars.set(Key::ServerPort, text.format(port.unwrap_or(80)).as_bytes());
        push(vars, b"UWSGI_ROUTER", b"http");
        match address {
            Some(address) => {
                let ip = vars.add_with(|out| push_ip(address.ip(), out));
                vars.set_span(Key::RemoteAddr, ip);
                vars.set(Key::RemotePort, text.format(address.port()).as_bytes());
            }
            None => vars.set(Key::RemoteAddr, b""),
        }
        if let Some(origin) = origin {
            push(vars, b"SERVER_ADDR", origin.server.ip().to_string().as_bytes());
        }
        for (name, value) in &self.vars {
            match Key::named(name.as_bytes()) {
                Some(key) => vars.set(key, value.as_bytes()),
                None => push(vars, name.as_bytes(), value.as_bytes()),
            }
        }
    }

    /// Over HTTP, the client is told of in fields: those that a client who is not trusted has sent are replaced.
    fn ask_http(
        &self,
        (vars, length, upgrade): (&mut Vars, Option<u64>, bool),
        address: Option<SocketAddr>,
        client: &mut Client,
        out: &mut Vec<u8>,
    ) -> Result<(), Unaskable> {
        let trusted = self.trust.covers(address.map(|address| address.ip()));
        let own = address.map(|address| address.ip().to_string().into_bytes());
        let before = fields(vars, "X-Forwarded-For").filter(|_| trusted);
        let way: Vec<u8> = before.chain(own.as_deref()).collect::<Vec<_>>().join(&b", "[..]);
        if vars.key(Key::ForwardedProto).is_none() {
            vars.set(Key::ForwardedProto, b"http");
        }
        let protocol = fields(vars, "Upgrade").next().filter(|_| upgrade);
        let mut without: Vec<&[u8]> = HOP_BY_HOP.to_vec();
        let options = fields(vars, "Connection").flat_map(|value| value.split(|byte| *byte == b','));
        without.extend(options.map(<[u8]>::trim_ascii));
        // What a message can't do without is no option of a connection, whoever says so.
        without.retain(|name| {
            ![&b"Host"[..], b"Content-Length", b"Content-Type"].iter().any(|it| it.eq_ignore_ascii_case(name))
        });
        let mut with: Vec<(Name<'_>, &[u8])> = Vec::new();
        if way.is_empty() {
            without.push(b"X-Forwarded-For");
        } else {
            with.push((Name::Field(b"X-Forwarded-For"), &way));
        }
        if let Some(protocol) = protocol {
            with.extend([(Name::Field(&b"Upgrade"[..]), protocol), (Name::Field(b"Connection"), b"Upgrade")]);
            without.retain(|name| !name.eq_ignore_ascii_case(b"Upgrade") && !name.eq_ignore_ascii_case(b"Connection"));
        }
        client.pass(&Passed { vars, modifiers: (0, 0), length, without: &without, with: &with }, out)
    }
}

/// The values of a field.
fn fields<'v>(vars: &'v Vars, name: &'v str) -> impl Iterator<Item = &'v [u8]> {
    vars.others().filter_map(move |(known, value)| match known {
        Name::Field(known) if known.eq_ignore_ascii_case(name.as_bytes()) => Some(value),
        _ => None,
    })
}

/// Appends an address as text. Most are of IPv4, and and are written without what `Display` brings along.
fn push_ip(ip: IpAddr, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, part) in ip.octets().into_iter().enumerate() {
                out.extend_from_slice(if index > 0 { b"." } else { b"" });
                out.extend_from_slice(itoa::Buffer::new().format(part).as_bytes());
            }
        }
        ip => out.extend_from_slice(ip.to_string().as_bytes()),
    }
}

fn push(vars: &mut Vars, name: &[u8], value: &[u8]) {
    let (name, value) = (vars.add(name), vars.add(value));
    vars.push_cgi(name, value);
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use ruwsgi_core::gateway::{Node, Target};
    use ruwsgi_options::{Directive, Origin as Said};
    use ruwsgi_sys::stream::{Peer, Remote};
    use ruwsgi_wire::Head;

    fn config(lines: &[(&str, &str)]) -> Config {
        let said = |(name, value): &(&str, &str)| Directive::new(*name, Some(value), Said::Argv);
        Config::interpret(lines.iter().map(said).collect()).unwrap().0
    }

    /// What a backend is asked for this request of this client.
    fn asked(lines: &[(&str, &str)], client: &str, raw: &str, dialect: Dialect) -> String {
        let front = front(&config(lines));
        let at = Rc::new(At::Inet("192.0.2.80:80".parse().unwrap()));
        let visitor = Visitor { peer: Peer::Inet(client.parse().unwrap()), at, address: "x".into() };
        let mut vars = Vars::default();
        let head = front.exchange(&visitor).unwrap().head(raw.as_bytes(), &mut vars);
        assert!(matches!(head, Head::Whole { .. }), "{head:?}");
        let upgrade = front.upgrades(&vars);
        let remote = Remote::Unix(b"/s".to_vec());
        let target = Rc::new(Target { remote, dialect, shown: "/s".into() });
        let node = Node { id: ruwsgi_core::gateway::Id::Said(0), target, modifiers: None };
        let (vars, visitor, node) = (&mut vars, &visitor, &node);
        let asking = Asking { vars, visitor, origin: None, length: Some(0), upgrade, modifiers: (0, 0), node };
        let mut out = Vec::new();
        front.ask(asking, &mut Client::new(dialect), &mut out).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    const NEAR: &str = "127.0.0.1:4000";
    const FAR: &str = "198.51.100.7:4000";

    #[test]
    fn what_strangers_say_about_themselves_is_not_passed_on() {
        let raw = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n";
        let far = asked(&[], FAR, raw, Dialect::Http);
        assert!(
            far.contains("X-Forwarded-Proto: http\r\n") && far.contains("X-Forwarded-For: 198.51.100.7\r\n"),
            "{far}"
        );
        let near = asked(&[], NEAR, raw, Dialect::Http);
        assert!(near.contains("X-Forwarded-Proto: https\r\n"), "{near}");
        assert!(near.contains("X-Forwarded-For: 6.6.6.6, 127.0.0.1\r\n"), "{near}");
        let named = asked(&[("trusted-proxies", "198.51.100.0/24")], FAR, raw, Dialect::Http);
        assert!(named.contains("X-Forwarded-For: 6.6.6.6, 198.51.100.7\r\n"), "{named}");
        assert!(!asked(&[], FAR, raw, Dialect::Uwsgi).contains("HTTP_X_FORWARDED_PROTO"));
        assert!(asked(&[], NEAR, raw, Dialect::Uwsgi).contains("HTTP_X_FORWARDED_PROTO"));
    }

    #[test]
    fn only_harmless_protocols_are_changed_to() {
        let with = |upgrade: &str, connection: &str| {
            let raw = format!("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: {upgrade}\r\nConnection: {connection}\r\n\r\n");
            asked(&[], NEAR, &raw, Dialect::Http).contains("Upgrade")
        };
        assert!(with("websocket", "upgrade") && with("websocket", "keep-alive, Upgrade"));
        assert!(!with("h2c", "Upgrade, HTTP2-Settings") && !with("websocket, H2C", "upgrade"));
        assert!(!with("websocket", "keep-alive"));
    }

    #[test]
    fn no_option_of_a_connection_takes_away_what_a_request_needs() {
        let raw = "POST / HTTP/1.1\r\nHost: a\r\nConnection: host, content-length, x-a\r\nContent-Length: 0\r\nX-A: 1\r\n\r\n";
        let text = asked(&[], NEAR, raw, Dialect::Http);
        assert!(
            text.contains("Host: a\r\n") && text.contains("Content-Length: 0\r\n") && !text.contains("X-A"),
            "{text}"
        );
    }

    #[test]
    fn the_options_say_what_there_is() {
        assert!(settings(&config(&[("http", ":80")])).is_none());
        let said = settings(&config(&[("http", ":80"), ("http-router", "true"), ("http-timeout", "5")])).unwrap();
        assert_eq!(
            (said.mapping.socket, said.patience.connect_ms, said.patience.keepalive_ms),
            (Some(0), 5_000, Some(75_000))
        );
        let said = [("http", ":80"), ("http-to", "/a"), ("http-keepalive", "0"), ("http-connect-timeout", "2")];
        let said = settings(&config(&said)).unwrap();
        assert_eq!((said.mapping.socket, said.patience.connect_ms, said.patience.keepalive_ms), (None, 2_000, None));
    }
}
