//! What a start would meet, told without starting: `ruwsgi check` asks. [`on_paper`] looks at the configuration alone,
//! [`here`] at this machine, too. Nothing is made, bound for longer than a glance, or changed.

mod here;

use std::collections::HashMap;
use std::net::Ipv4Addr;

use ruwsgi_options::{Config, Listener, Problem};

use crate::listeners::{Address, address_of};
pub use here::here;

/// The reasons not to start that the sockets give, whatever the machine.
pub fn on_paper(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: HashMap<Address, &Listener> = HashMap::new();
    for listener in config.listeners().iter().chain(config.router_listeners()) {
        let Listener { address: text, option, origin, .. } = listener;
        // Whoever starts the server says what these are.
        if text.starts_with("fd://") {
            continue;
        }
        let address = match address_of(config, listener) {
            Ok(address) => plain(address),
            Err(why) => {
                problems.push(Problem::error(format!("{text:?} {why}")).of(option, text).at(origin));
                continue;
            }
        };
        match seen.get(&address).filter(|_| !address.is_any_port()) {
            Some(first) => {
                let told = format!("{text:?} is said twice: {} listens there already ({})", first.option, first.origin);
                problems.push(Problem::error(told).of(option, text).at(origin));
            }
            None => {
                seen.insert(address, listener);
            }
        }
    }
    let serves_itself = config.is_routers_only() || !config.emperor.provinces.is_empty();
    if config.listeners().is_empty() && !serves_itself {
        problems.push(Problem::error("nothing to listen on: say socket = ADDRESS, or http-socket = ADDRESS"));
    }
    problems
}

/// All ways to write "any address" as one.
fn plain(address: Address) -> Address {
    match address {
        Address::Inet { host, port } if host.is_empty() || host == "*" => {
            Address::Inet { host: Ipv4Addr::UNSPECIFIED.to_string(), port }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruwsgi_options::{Directive, Origin};

    pub fn config(lines: &[(&str, &str)]) -> Config {
        let directive = |(index, (name, value)): (usize, &(&str, &str))| {
            Directive::new(*name, Some(value), Origin::File { path: "app.ini".into(), line: index as u32 + 1 })
        };
        Config::interpret(lines.iter().enumerate().map(directive).collect()).unwrap().0
    }

    fn told(lines: &[(&str, &str)]) -> Vec<String> {
        on_paper(&config(lines)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_wrong_address_is_told() {
        let told =
            told(&[("http", "a:b"), ("socket", ":80"), ("socket", "::1:80"), ("http", "=0"), ("http", "fd://web")]);
        assert_eq!(told.len(), 3, "{told:?}");
        assert_eq!(told[0], "http: \"a:b\" is no address: \"b\" is no port (app.ini:1)");
    }

    #[test]
    fn an_address_can_be_had_once() {
        let twice = told(&[("http", ":80"), ("socket", "0.0.0.0:80")]);
        assert_eq!(twice, ["socket: \"0.0.0.0:80\" is said twice: http listens there already (app.ini:1) (app.ini:2)"]);
        assert_eq!(told(&[("http", "/a"), ("socket", "/a")]).len(), 1);
        assert_eq!(told(&[("http", ":0"), ("http", ":0"), ("http", "[::]:80"), ("http", ":80")]), [""; 0]);
    }

    #[test]
    fn a_server_listens() {
        assert_eq!(told(&[]), ["nothing to listen on: say socket = ADDRESS, or http-socket = ADDRESS"]);
    }
}
