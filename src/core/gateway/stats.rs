//! The statistics of a router process, in the keys and order of uWSGI's. The first process of a router tells them, to
//! whoever connects.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use ruwsgi_contract::VERSION;
use ruwsgi_sys::{process, stream};
use serde_json::{Value, json};

use super::world::World;
use crate::listeners::Bound;
use crate::subscription::{NodePicture, PoolPicture};

/// So many may be told at a time, and each has so long, in milliseconds.
const VISITORS: usize = 32;
const PATIENCE_MS: u64 = 5_000;

/// Where statistics are told.
pub(super) struct Teller {
    door: Rc<Bound>,
    visitors: Vec<Told>,
}

struct Told {
    stream: OwnedFd,
    text: Vec<u8>,
    sent: usize,
    until_ms: u64,
}

impl Teller {
    pub(super) fn new(door: Rc<Bound>, registry: &Registry, token: Token) -> std::io::Result<Self> {
        registry.register(&mut SourceFd(&door.as_fd().as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { door, visitors: Vec::new() })
    }

    /// Lets in who waits, and tells them what `text` makes.
    pub(super) fn look(&mut self, registry: &Registry, token: Token, now_ms: u64, text: impl Fn() -> Vec<u8>) {
        while let Ok(Some((stream, _))) = stream::accept(self.door.as_fd()) {
            let interest = Interest::WRITABLE | Interest::READABLE;
            if self.visitors.len() < VISITORS
                && registry.register(&mut SourceFd(&stream.as_raw_fd()), token, interest).is_ok()
            {
                self.visitors.push(Told { stream, text: text(), sent: 0, until_ms: now_ms + PATIENCE_MS });
            }
        }
        self.visitors.retain_mut(|visitor| visitor.until_ms > now_ms && visitor.go_on());
    }

    /// Somebody is being told.
    pub(super) fn is_busy(&self) -> bool {
        !self.visitors.is_empty()
    }
}

impl Told {
    /// Sends what fits; `false`: that was all, or nobody is there.
    fn go_on(&mut self) -> bool {
        while self.sent < self.text.len() {
            match stream::write(self.stream.as_fd(), &self.text[self.sent..]) {
                Ok(more) => self.sent += more,
                Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
            }
        }
        // What was said here is not heard, and would make the end a reset.
        let _ = stream::read(self.stream.as_fd(), &mut Vec::new(), 8 * 1024);
        false
    }
}

impl World {
    /// The statistics, as one document.
    pub(super) fn statistics(&self, sessions: usize, cheap: bool, names: &[String]) -> Vec<u8> {
        let (uid, gid) = process::owner();
        let cwd = std::env::current_dir().map(|cwd| cwd.display().to_string()).unwrap_or_default();
        let mut document = json!({
            "version": VERSION,
            "pid": process::id(),
            "uid": uid,
            "gid": gid,
            "cwd": cwd,
            "active_sessions": sessions,
        });
        let mut put = |key: &str, value: Value| {
            if let Some(object) = document.as_object_mut() {
                object.insert(key.to_owned(), value);
            }
        };
        put(self.name, json!(names));
        let nodes = self.route.nodes();
        if !nodes.is_empty() {
            let node = |(name, hits, failed): (String, u64, Option<u64>)| {
                // uWSGI: seconds since it failed; 0 where it works.
                let grace = failed.map_or(0, |failed_ms| self.now.ms.saturating_sub(failed_ms) / 1_000 + 1);
                json!({"name": name, "hits": hits, "grace": grace})
            };
            put("static_nodes", nodes.into_iter().map(node).collect());
        }
        if let Some(nodes) = &self.route.subscribed {
            put("subscriptions", nodes.picture().iter().map(pool).collect());
        }
        put("requests", json!(self.requests));
        put("cheap", json!(u8::from(cheap)));
        let mut text = serde_json::to_vec(&document).unwrap_or_default();
        text.push(b'\n');
        if !self.settings.stats_http {
            return text;
        }
        let length = text.len();
        let head = format!(
            "HTTP/1.0 200 OK\r\nConnection: close\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), &text].concat()
    }
}

/// A key and its nodes.
fn pool(pool: &PoolPicture<'_>) -> Value {
    let node = |node: &NodePicture<'_>| {
        let mut told = json!({"name": node.name()});
        if let Some(object) = told.as_object_mut() {
            object.extend(node.numbers().into_iter().map(|(name, number)| (name.to_owned(), number.into())));
        }
        told
    };
    let nodes: Vec<Value> = pool.nodes.iter().map(node).collect();
    json!({
        "key": String::from_utf8_lossy(pool.key),
        "hash": hash(pool.key),
        "hits": pool.hits,
        "algo": pool.algorithm,
        "nodes": nodes,
    })
}

/// The number of a key as uWSGI has it (djb33x).
fn hash(key: &[u8]) -> u32 {
    key.iter().fold(5_381, |hash: u32, byte| hash.wrapping_mul(33) ^ u32::from(*byte)) % 0xffff
}
