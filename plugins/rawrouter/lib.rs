//! The rawrouter: bytes as they come, from TCP or unix clients to backends, both ways. It may tell backends who their
//! client is: by the PROXY protocol, or by SMTP's XCLIENT. The gateway host of `ruwsgi-core` runs it.

#![forbid(unsafe_code)]

use std::net::SocketAddr;

use ruwsgi_core::gateway::{Asking, Front, Node, Patience, Router, Settings, Visitor};
use ruwsgi_core::router_settings;
use ruwsgi_options::Config;
use ruwsgi_sys::listen::At;
use ruwsgi_sys::stream::Peer;
use ruwsgi_wire::client::{Client, Unaskable};
use ruwsgi_wire::{Exchange, Vars, proxy};

/// The router.
pub const ROUTER: Router = Router { name: "rawrouter", settings, front };

/// So many bytes may wait for a side.
const ROOM: usize = 64 * 1024;
const LEAST_ROOM: usize = 1024;

fn settings(config: &Config) -> Option<Settings> {
    let said = &config.rawrouter;
    if said.addresses.is_empty() {
        return None;
    }
    let mut settings = router_settings!(config, said, said.addresses, "rawrouter-stats");
    settings.mapping.fallback_without_key = true;
    settings.mapping.retries = said.max_retries;
    let room = match usize::try_from(said.buffer_size) {
        Ok(0) | Err(_) => ROOM,
        Ok(asked) => asked.max(LEAST_ROOM),
    };
    Some(Settings { patience: Patience::new(said.timeout, None, None), room, ..settings })
}

fn front(config: &Config) -> Box<dyn Front> {
    let said = &config.rawrouter;
    Box::new(Raw { proxy: said.proxy_protocol, xclient: said.xclient })
}

struct Raw {
    /// The version of the PROXY protocol.
    proxy: Option<u8>,
    xclient: bool,
}

impl Front for Raw {
    fn exchange(&self, _: &Visitor) -> Option<Box<dyn Exchange>> {
        None
    }

    /// Where the client has connected to, as uWSGI has it.
    fn key<'v>(&'v self, _: &'v Vars, visitor: &'v Visitor) -> &'v [u8] {
        visitor.address.as_bytes()
    }

    fn ask(&self, _: Asking<'_>, _: &mut Client, _: &mut Vec<u8>) -> Result<(), Unaskable> {
        Ok(())
    }

    fn verbatim(&self, _: &[u8], visitor: &Visitor, _: &Node) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        if let Some(version) = self.proxy {
            proxy::push(version, between(visitor), &mut out);
        }
        Some(out)
    }

    fn wants_address(&self) -> bool {
        self.proxy.is_some()
    }

    fn introduction(&self, visitor: &Visitor) -> Option<Vec<u8>> {
        let address = visitor.peer.ip().filter(|_| self.xclient)?;
        Some(format!("XCLIENT ADDR={address}\r\n").into_bytes())
    }
}

/// Between whom a connection is; `None` where one of them has no address.
fn between(visitor: &Visitor) -> Option<(SocketAddr, SocketAddr)> {
    match (visitor.peer, &*visitor.at) {
        (Peer::Inet(client), At::Inet(server)) => Some((client, *server)),
        _ => None,
    }
}
