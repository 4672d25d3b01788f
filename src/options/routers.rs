//! Which of the addresses of `http` belong to a router process: all of them, as soon as an option needs one, and
//! otherwise none, because the workers serve HTTP themselves. `Config::read` calls it when everything was said.

use crate::report::Problem;
use crate::table::{Config, Listener};

/// What only a router can do. Other options of it change nothing where workers do its work.
const NEEDS: [&str; 19] = [
    "http-to",
    "http-fallback",
    "http-use-pattern",
    "http-use-base",
    "http-use-socket",
    "http-subscription-server",
    "http-subscription-fallback-key",
    "http-stats",
    "http-uid",
    "http-gid",
    "http-var",
    "http-server-name-as-http-host",
    "http-modifier1",
    "http-modifier2",
    "http-manage-expect",
    "http-backend-http",
    "http-post-buffering",
    "http-headers-timeout",
    "http-connect-timeout",
];

/// What is for a router, and waits for one.
const IDLE: [&str; 6] =
    ["http-processes", "http-gracetime", "http-events", "http-quiet", "http-buffer-size", "http-cheap"];

impl Config {
    /// The option that needs the HTTP router, if there is one.
    fn http_router_for(&self) -> Option<&'static str> {
        match self.http.router {
            Some(false) => None,
            Some(true) => Some("http-router"),
            None => NEEDS.into_iter().find(|option| self.origin(option).is_some()),
        }
    }

    /// Gives the addresses of `http` to the router, where there is one. Without a backend that anybody names, that is
    /// the first socket of this instance; it gets one if it has none, as in uWSGI.
    pub(crate) fn route(&mut self) -> Vec<Problem> {
        let is_http = |listener: &Listener| listener.option == "http";
        if !self.sockets.listeners.iter().any(is_http) {
            return Vec::new();
        }
        if self.http_router_for().is_none() {
            let waits = |option: &&str| self.origin(option).is_some();
            let told = |option: &str| Problem {
                name: option.to_owned(),
                origin: self.origin(option).cloned(),
                ..Problem::warning("not needed: the workers serve HTTP themselves (http-router = true: a router does)")
            };
            return IDLE.iter().filter(|option| waits(option)).map(|option| told(option)).collect();
        }
        let all = std::mem::take(&mut self.sockets.listeners);
        (self.routed, self.sockets.listeners) = all.into_iter().partition(is_http);
        let http = &self.http;
        let named = http.pattern.is_some() || http.base.is_some() || !http.to.is_empty();
        if !named && http.subscription_servers.is_empty() && self.sockets.listeners.is_empty() {
            let origin = self.routed[0].origin.clone();
            let address = "127.0.0.1:0".to_owned();
            self.sockets.listeners.push(Listener {
                address,
                option: "socket",
                protocol: "uwsgi",
                by_default: false,
                origin,
            });
        }
        Vec::new()
    }

    /// Nothing is served but by routers: there is no need of workers.
    pub fn is_routers_only(&self) -> bool {
        self.listeners().is_empty() && self.router_listeners().next().is_some()
    }

    /// Where routers listen, in the order in which it was said.
    pub fn router_listeners(&self) -> impl Iterator<Item = &Listener> {
        self.routed.iter().chain(&self.fastrouter.addresses).chain(&self.rawrouter.addresses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directive::{Directive, Origin};

    fn read(lines: &[(&str, &str)]) -> (Config, Vec<String>) {
        let directive = |(line, (name, value)): (usize, &(&str, &str))| {
            Directive::new(*name, Some(value), Origin::File { path: "app.ini".into(), line: line as u32 + 1 })
        };
        let (config, told) = Config::interpret(lines.iter().enumerate().map(directive).collect()).unwrap();
        (config, told.iter().map(ToString::to_string).collect())
    }

    fn addresses(listeners: &[Listener]) -> Vec<(&str, &str)> {
        listeners.iter().map(|one| (one.protocol, one.address.as_str())).collect()
    }

    #[test]
    fn workers_serve_http_until_an_option_needs_a_router() {
        let (config, told) = read(&[("http", ":80"), ("http-processes", "4"), ("http-timeout", "5")]);
        assert_eq!((addresses(config.listeners()), config.routed.len()), (vec![("http", ":80")], 0));
        assert!(
            told.len() == 1 && told[0].starts_with("http-processes: not needed") && told[0].ends_with("(app.ini:2)")
        );
        let (config, told) = read(&[("httprouter", ":80"), ("socket", "/s"), ("http-to", "127.0.0.1:3031")]);
        assert_eq!(addresses(config.listeners()), [("uwsgi", "/s")]);
        assert_eq!((addresses(&config.routed), told.len()), (vec![("http", ":80")], 0));
        let (config, _) = read(&[("http", ":80"), ("http-to", "/s"), ("http-router", "false")]);
        assert_eq!(config.routed.len(), 0);
    }

    #[test]
    fn a_router_without_backends_is_for_this_instance() {
        let (config, _) = read(&[("http", ":80"), ("http-router", "true")]);
        assert_eq!(addresses(config.listeners()), [("uwsgi", "127.0.0.1:0")]);
        let (config, _) = read(&[("http", ":80"), ("http-modifier1", "9"), ("http-socket", "/h")]);
        assert_eq!(addresses(config.listeners()), [("http", "/h")]);
        let (config, _) = read(&[("http", ":80"), ("http-use-base", "/run/"), ("fastrouter", ":81")]);
        assert_eq!(addresses(config.listeners()), []);
        assert_eq!(config.router_listeners().count(), 2);
    }
}
