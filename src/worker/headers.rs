//! `add-header` and `rem-header`: fields that every response has, and fields that none has.
//!
//! `response.rs` asks for each field of an application, and at the end of each head. What the server answers by itself
//! (a 400, a 500) is not changed.

use ruwsgi_options::Config;
use ruwsgi_wire::Exchange;

/// What is added to responses, and what is taken away from them.
pub(crate) struct Headers {
    added: Vec<(String, String)>,
    removed: Vec<String>,
}

impl Headers {
    /// From the options; `None`: responses stay as they are.
    pub(crate) fn of(config: &Config) -> Option<Self> {
        let (added, removed) = (config.sockets.add_header.clone(), config.sockets.rem_header.clone());
        (!added.is_empty() || !removed.is_empty()).then_some(Self { added, removed })
    }

    /// Whether an application's field goes no further.
    pub(crate) fn removes(&self, name: &[u8]) -> bool {
        self.removed.iter().any(|removed| removed.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Adds the fields to a head; how many they are.
    pub(crate) fn add(&self, exchange: &mut dyn Exchange, out: &mut Vec<u8>) -> u32 {
        // They were looked at when they were read: none is refused.
        let mut add =
            |(name, value): &&(String, String)| exchange.field(name.as_bytes(), value.as_bytes(), out).is_ok();
        self.added.iter().filter(|field| add(field)).count() as u32
    }
}
