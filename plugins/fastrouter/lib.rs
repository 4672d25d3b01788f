//! The fastrouter: uwsgi packets from front ends (nginx's `uwsgi_pass`), to backends that speak uwsgi, HTTP, FastCGI or SCGI.
//! The gateway host of `ruwsgi-core` runs it; here is what it makes of a packet.
//!
//! A packet for a backend that speaks uwsgi is passed on byte for byte, whatever its kind, and so is what comes back. For
//! the others it is read as the workers read it, and asked anew. It never waits and never touches a socket.

#![forbid(unsafe_code)]

use ruwsgi_core::gateway::{Asking, Front, Node, Patience, Router, Settings, Visitor};
use ruwsgi_core::router_settings;
use ruwsgi_options::Config;
use ruwsgi_wire::client::{Client, Dialect, Passed, Unaskable};
use ruwsgi_wire::{Exchange, Key, Limits, Name, Vars, uwsgi};

/// The router.
pub const ROUTER: Router = Router { name: "fastrouter", settings, front };

/// The largest packet that the protocol can say.
const MOST_BYTES: usize = 65_535;

fn settings(config: &Config) -> Option<Settings> {
    let said = &config.fastrouter;
    if said.addresses.is_empty() {
        return None;
    }
    let mut settings = router_settings!(config, said, said.addresses, "fastrouter-stats");
    settings.mapping.fallback_key = said.fallback_key.clone();
    settings.mapping.fallback_without_key = said.fallback_on_no_key;
    settings.mapping.retries = said.max_retries;
    Some(Settings {
        patience: Patience::new(said.timeout, None, None),
        user: said.uid.clone(),
        group: said.gid.clone(),
        post_buffering: said.post_buffering,
        ..settings
    })
}

fn front(config: &Config) -> Box<dyn Front> {
    let said = &config.fastrouter;
    let head_bytes = match usize::try_from(said.buffer_size) {
        Ok(0) | Err(_) => MOST_BYTES,
        Ok(asked) => asked,
    };
    Box::new(Fast {
        limits: Limits { head_bytes, fields: 1024, ..Limits::default() },
        key: said.force_key.clone(),
        buffers: said.post_buffering > 0,
    })
}

struct Fast {
    limits: Limits,
    /// `fastrouter-force-key`
    key: Option<String>,
    /// Bodies come first.
    buffers: bool,
}

/// Fields that are about a connection that ends here.
const HOP_BY_HOP: [&[u8]; 8] =
    [b"Connection", b"Keep-Alive", b"Proxy-Connection", b"TE", b"Trailer", b"Transfer-Encoding", b"Upgrade", b"Expect"];

impl Front for Fast {
    fn exchange(&self, _: &Visitor) -> Option<Box<dyn Exchange>> {
        Some(uwsgi::routed_exchange(&self.limits))
    }

    /// uWSGI's order.
    fn key<'v>(&'v self, vars: &'v Vars, _: &'v Visitor) -> &'v [u8] {
        if let Some(key) = &self.key {
            return key.as_bytes();
        }
        let own = vars.others().filter(|(name, _)| *name == Name::Cgi(b"UWSGI_FASTROUTER_KEY")).last();
        let host = vars.key(Key::HttpHost).or(vars.key(Key::ServerName));
        own.map(|(_, key)| key).or(host).unwrap_or_default()
    }

    fn ask(&self, asking: Asking<'_>, client: &mut Client, out: &mut Vec<u8>) -> Result<(), Unaskable> {
        let Asking { vars, length, node, modifiers, .. } = asking;
        let http = client.dialect() == Dialect::Http;
        let own = client_field(vars).filter(|_| http);
        let with: Vec<(Name<'_>, &[u8])> =
            own.iter().map(|value| (Name::Field(&b"X-Forwarded-For"[..]), &value[..])).collect();
        let without = if http { &HOP_BY_HOP[..] } else { &[] };
        let modifiers = node.modifiers.unwrap_or(modifiers);
        client.pass(&Passed { vars, modifiers, length, without, with: &with }, out)
    }

    /// The packet as it came, but for its kind, where the backend wants another one.
    fn verbatim(&self, head: &[u8], _: &Visitor, node: &Node) -> Option<Vec<u8>> {
        let kind = (head.first().copied().unwrap_or_default(), 0);
        if node.target.dialect != Dialect::Uwsgi || self.buffers && self.may_collect(kind) {
            return None;
        }
        let mut packet = head.to_vec();
        if let (Some((one, two)), true) = (node.modifiers, packet.len() >= 4) {
            (packet[0], packet[3]) = (one, two);
        }
        Some(packet)
    }

    /// Only of these is known what an answer is.
    fn may_collect(&self, (modifier1, _): (u8, u8)) -> bool {
        matches!(modifier1, 0 | 30)
    }

    fn ends_with_backend(&self) -> bool {
        true
    }
}

/// The client, behind those that the front end names already.
fn client_field(vars: &Vars) -> Option<Vec<u8>> {
    let address = vars.key(Key::RemoteAddr).filter(|address| !address.is_empty())?;
    let named = vars.others().filter(|(name, _)| *name == Name::Cgi(b"HTTP_X_FORWARDED_FOR")).last();
    Some(match named {
        // nginx has put it there.
        Some((_, named)) if named.ends_with(address) => named.to_vec(),
        Some((_, named)) => [named, b", ", address].concat(),
        None => address.to_vec(),
    })
}
