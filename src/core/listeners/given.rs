//! Sockets that whoever started the server has opened: systemd (sd_listen_fds(3): `LISTEN_PID`, `LISTEN_FDS`,
//! `LISTEN_FDNAMES`), inetd and its kin (standard input).
//!
//! `start` and `reload` call [`with_given`], which says them as if they stood in the configuration, so that nothing else
//! has to know of them.

use std::ffi::OsString;
use std::path::Path;

use ruwsgi_options::{Config, Directive, Listener, Origin};
use ruwsgi_sys::listen::{self, At};
use ruwsgi_sys::process;

use super::{Address, address_of};

/// What systemd says is for this process alone: no child is to take it for its own.
pub(crate) const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The first descriptor that systemd passes on.
const FIRST: i32 = 3;
/// So many at most: beyond it lies nonsense.
const MOST: usize = 1024;

/// A socket that is given.
struct Given {
    number: i32,
    /// What `FileDescriptorName` calls it.
    name: String,
    at: At,
}

/// The configuration with the sockets that are given: a listener that names one (`fd://NAME`), or the address at which
/// one is bound, gets that; the others are listeners of their own, in the protocol after which they are called, or in
/// that of `protocol`.
pub(crate) fn with_given(config: Config, env: &[(OsString, OsString)]) -> Result<Config, String> {
    let all = given(&config, env)?;
    let mut directives = config.directives.clone();
    let mut used = Vec::new();
    for listener in config.listeners() {
        let address = match listener.address.strip_prefix("fd://") {
            Some(name) => all.iter().find(|one| one.name == name || one.number.to_string() == name),
            None => all.iter().find(|one| is_at(&config, listener, &one.at)),
        };
        let Some(one) = address else { continue };
        used.push(one.number);
        let same = |said: &&mut Directive| {
            said.origin == listener.origin && said.value.as_ref().is_some_and(|value| *value == listener.address)
        };
        if let Some(said) = directives.iter_mut().find(same) {
            said.value = Some(format!("fd://{}", one.number).into());
        }
    }
    for one in all.iter().filter(|one| !used.contains(&one.number)) {
        let address = format!("fd://{}", one.number);
        directives.push(Directive::new(option(&one.name), Some(&address), Origin::Env));
    }
    if directives == config.directives {
        return Ok(config);
    }
    Config::interpret(directives).map(|(config, _)| config).map_err(|error| error.to_string())
}

/// The option for a socket of this name.
fn option(name: &str) -> &'static str {
    match name {
        "http" | "http11" => "http-socket",
        "uwsgi" => "uwsgi-socket",
        "puwsgi" => "puwsgi-socket",
        "fastcgi" => "fastcgi-socket",
        "scgi" => "scgi-socket",
        _ => "socket",
    }
}

fn is_at(config: &Config, listener: &Listener, at: &At) -> bool {
    match (address_of(config, listener), at) {
        (Ok(address @ Address::Inet { port: 1.., .. }), At::Inet(bound)) => {
            address.resolve().is_ok_and(|it| it == *bound)
        }
        (Ok(Address::Unix(path)), At::Unix(bound)) => {
            let whole = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            !config.sockets.abstract_socket && whole(&path) == whole(bound)
        }
        (Ok(Address::Abstract(name)), At::Abstract(bound)) => name == *bound,
        _ => false,
    }
}

/// What is given, by systemd or else as standard input.
fn given(config: &Config, env: &[(OsString, OsString)]) -> Result<Vec<Given>, String> {
    let text = |name: &str| env.iter().rfind(|(known, _)| known == name).and_then(|(_, value)| value.to_str());
    let number = |name| text(name).and_then(|text| text.parse::<usize>().ok());
    let ours = number("LISTEN_PID").is_some_and(|pid| pid == process::id() as usize);
    let Some(count) = number("LISTEN_FDS").filter(|count| ours && (1..=MOST).contains(count)) else {
        // Mostly it is no socket at all.
        let standard = (!config.sockets.skip_zero).then(|| listen::inherited(0).ok()).flatten();
        return Ok(standard.map(|(_, at)| Given { number: 0, name: String::new(), at }).into_iter().collect());
    };
    let names: Vec<&str> = text("LISTEN_FDNAMES").unwrap_or_default().split(':').collect();
    let one = |index: usize| {
        let number = FIRST + index as i32;
        let name = names.get(index).copied().unwrap_or_default().to_owned();
        match listen::inherited(number) {
            Ok((_, at)) => Ok(Given { number, name, at }),
            Err(error) => Err(format!("LISTEN_FDS: descriptor {number} {error}")),
        }
    };
    (0..count).map(one).collect()
}
