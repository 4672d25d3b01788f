//! What the configuration says about a router, in the same words for all of them.

use ruwsgi_options::{Config, Listener};
use ruwsgi_wire::client::Dialect;

use super::Front;

/// A router, as a plugin brings it.
pub struct Router {
    /// Its name: that of its option, and of its processes.
    pub name: &'static str,
    /// What a configuration says about it; `None`: nothing.
    pub settings: fn(&Config) -> Option<Settings>,
    /// Its front, made anew in each process.
    pub front: fn(&Config) -> Box<dyn Front>,
}

/// What the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// So many processes.
    pub processes: u32,
    /// Its backends.
    pub mapping: Mapping,
    /// How long it waits.
    pub patience: Patience,
    /// So many events at a time.
    pub events: u32,
    /// No line for a backend that fails.
    pub quiet: bool,
    /// Nobody is let in while there are no backends.
    pub cheap: bool,
    /// Where it tells its statistics, and by which option.
    pub stats: Option<(&'static str, String)>,
    /// They are told over HTTP.
    pub stats_http: bool,
    /// The user and group of its processes.
    pub user: Option<String>,
    /// The group.
    pub group: Option<String>,
    /// The largest body, in bytes.
    pub most_body: Option<u64>,
    /// Bodies are received before a backend is asked, in a file above so many bytes; 0: they are not.
    pub post_buffering: u64,
    /// So many bytes may wait for each side.
    pub room: usize,
}

/// Which backends there are.
#[derive(Clone, Debug, PartialEq)]
pub struct Mapping {
    /// `-use-pattern`
    pub pattern: Option<String>,
    /// `-subscription-server`
    pub subscription: Vec<String>,
    /// What says no key, or one that nobody has announced, has this one.
    pub fallback_key: Option<String>,
    /// `-use-base`
    pub base: Option<String>,
    /// `-use-socket`
    pub socket: Option<usize>,
    /// `-to`
    pub to: Vec<String>,
    /// `-fallback`
    pub fallback: Vec<String>,
    /// Those are also for what says no key.
    pub fallback_without_key: bool,
    /// What backends speak that don't say.
    pub dialect: Dialect,
    /// So many others are asked where one fails.
    pub retries: u32,
    /// How long a backend that failed is left alone, in milliseconds.
    pub grace_ms: u64,
}

/// How long it waits, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// For a request head.
    pub head_ms: u64,
    /// For a connection to a backend.
    pub connect_ms: u64,
    /// For anything else.
    pub silence_ms: u64,
    /// For another request; `None`: there is one on each connection.
    pub keepalive_ms: Option<u64>,
}

impl Patience {
    /// From the seconds of the options: 60 where nobody says otherwise, as in uWSGI.
    #[must_use]
    pub fn new(silence: Option<u32>, head: Option<u32>, connect: Option<u32>) -> Self {
        let ms = |seconds: Option<u32>| seconds.map(|seconds| u64::from(seconds) * 1_000);
        let silence_ms = ms(silence).unwrap_or(60_000);
        Self {
            head_ms: ms(head).unwrap_or(silence_ms),
            connect_ms: ms(connect).unwrap_or(silence_ms),
            silence_ms,
            keepalive_ms: None,
        }
    }
}

impl Mapping {
    /// No backend can be found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let none =
            self.pattern.is_none() && self.base.is_none() && self.socket.is_none() && self.subscription.is_empty();
        none && self.to.is_empty() && self.fallback.is_empty()
    }
}

impl Default for Mapping {
    /// No backends, which speak uwsgi, and the patience with them that uWSGI has.
    fn default() -> Self {
        Self {
            pattern: None,
            subscription: Vec::new(),
            fallback_key: None,
            base: None,
            socket: None,
            to: Vec::new(),
            fallback: Vec::new(),
            fallback_without_key: false,
            dialect: Dialect::Uwsgi,
            retries: 3,
            grace_ms: 30_000,
        }
    }
}

impl Default for Settings {
    /// Nothing is said.
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            processes: 1,
            mapping: Mapping::default(),
            patience: Patience::new(None, None, None),
            events: 64,
            quiet: false,
            cheap: false,
            stats: None,
            stats_http: false,
            user: None,
            group: None,
            most_body: None,
            post_buffering: 0,
            room: 32 * 1024,
        }
    }
}

/// The settings of a router, from the options that each router has by the same names: `$said` is its part of `$config`. The
/// rest is for the plugin to fill in.
#[macro_export]
macro_rules! router_settings {
    ($config:expr, $said:expr, $listeners:expr, $stats:literal) => {
        $crate::gateway::Settings {
            listeners: $listeners.clone(),
            processes: $said.processes,
            mapping: $crate::gateway::Mapping {
                pattern: $said.pattern.clone(),
                subscription: $said.subscription_servers.clone(),
                base: $said.base.clone(),
                socket: $said.socket,
                to: $said.to.clone(),
                fallback: $said.fallback.clone(),
                grace_ms: u64::from($said.grace) * 1_000,
                ..Default::default()
            },
            events: $said.events,
            quiet: $said.quiet > 0,
            cheap: $said.cheap,
            stats: $said.stats.clone().map(|address| ($stats, address)),
            stats_http: $config.stats.stats_http,
            ..Default::default()
        }
    };
}
