//! Whose word about a client is taken: `X-Forwarded-Proto` and its kin come from a proxy that is known.

use std::net::IpAddr;

/// The proxies that are trusted: unix sockets, this machine, private networks, and those that `trusted-proxies` names.
#[derive(Debug, Default)]
pub struct Trust {
    everybody: bool,
    networks: Vec<(IpAddr, u8)>,
}

impl Trust {
    /// From the values of `trusted-proxies`: `*`, addresses, or networks (`192.0.2.0/24`), separated by commas or
    /// blanks. Gives back what is none of these.
    #[must_use]
    pub fn new(values: &[String]) -> (Self, Vec<String>) {
        let (mut trust, mut wrong) = (Self::default(), Vec::new());
        for word in values.iter().flat_map(|value| value.split([',', ' ', '\t'])).filter(|word| !word.is_empty()) {
            match network(word) {
                _ if word == "*" => trust.everybody = true,
                Some(network) => trust.networks.push(network),
                None => wrong.push(word.to_owned()),
            }
        }
        (trust, wrong)
    }

    /// Is this peer believed? A peer without an address is one on a unix socket.
    #[must_use]
    pub fn covers(&self, peer: Option<IpAddr>) -> bool {
        let Some(ip) = peer else { return true };
        is_private(ip) || self.names(peer)
    }

    /// Does `trusted-proxies` name this peer? Proxies that know nothing of `Forwarded` let it pass from their clients, so
    /// that nobody is believed about that who is only near; a unix socket is, where any proxy is named.
    #[must_use]
    pub fn names(&self, peer: Option<IpAddr>) -> bool {
        let Some(ip) = peer else { return self.everybody || !self.networks.is_empty() };
        self.everybody || self.networks.iter().any(|(net, bits)| contains(*net, *bits, ip))
    }
}

/// Whether the first element of a `Forwarded` field, which is the client's, says `proto=https` (RFC 7239 4, 5.4).
#[must_use]
pub fn forwarded_https(value: &[u8]) -> bool {
    let mut quoted = false;
    let mut separates = |byte: u8| {
        quoted ^= byte == b'"';
        !quoted && matches!(byte, b';' | b',')
    };
    // Where the first element ends, its last parameter does, too.
    let mut last = false;
    let mut parameters = value.split_inclusive(|&byte| separates(byte)).take_while(|part| {
        let before = std::mem::replace(&mut last, part.ends_with(b","));
        !before
    });
    parameters.any(|pair| {
        let pair = pair.strip_suffix(b";").or(pair.strip_suffix(b",")).unwrap_or(pair);
        let pair = pair.trim_ascii();
        let scheme = pair.get(..6).filter(|name| name.eq_ignore_ascii_case(b"proto=")).and(pair.get(6..));
        scheme.is_some_and(|scheme| {
            let plain = scheme.strip_prefix(b"\"").and_then(|scheme| scheme.strip_suffix(b"\"")).unwrap_or(scheme);
            plain.eq_ignore_ascii_case(b"https")
        })
    })
}

fn network(word: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = word.split_once('/').map_or((word, None), |(address, bits)| (address, Some(bits)));
    let address: IpAddr = address.parse().ok()?;
    let whole = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.map_or(Some(whole), |bits| bits.parse().ok())?;
    (bits <= whole).then_some((address, bits))
}

fn contains(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => (u32::from(net) ^ u32::from(ip)).leading_zeros() >= u32::from(bits),
        (IpAddr::V6(net), IpAddr::V6(ip)) => (u128::from(net) ^ u128::from(ip)).leading_zeros() >= u32::from(bits),
        _ => false,
    }
}

/// Loopback, RFC 1918, RFC 4193, RFC 6598 and link-local addresses.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let shared = u32::from(ip) >> 22 == u32::from(std::net::Ipv4Addr::new(100, 64, 0, 0)) >> 22;
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(ip: &str) -> Option<IpAddr> {
        Some(ip.parse().unwrap())
    }

    #[test]
    fn private_networks_are_trusted_and_others_are_not() {
        let trust = Trust::default();
        for ip in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.31.0.1", "100.64.0.1", "169.254.1.1", "::1", "fd00::1"]
        {
            assert!(trust.covers(peer(ip)), "{ip}");
        }
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1"] {
            assert!(!trust.covers(peer(ip)), "{ip}");
        }
        assert!(trust.covers(None));
    }

    #[test]
    fn forwarded_is_read_as_far_as_the_client() {
        for yes in [
            "proto=https",
            "for=192.0.2.1;Proto=HTTPS;by=x",
            "for=\"[::1]:5, x\"; proto=\"https\"",
            "proto=https, proto=http",
        ] {
            assert!(forwarded_https(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "proto=http",
            "proto=http, proto=https",
            "for=\"proto=https",
            "for=x;xproto=https",
            "for=\"x;proto=https;y\"",
            "proto=httpsx",
            "proto",
        ] {
            assert!(!forwarded_https(no.as_bytes()), "{no}");
        }
        let named = Trust::new(&["192.0.2.0/24".into()]).0;
        assert!(named.names(peer("192.0.2.9")) && named.names(None) && !named.names(peer("127.0.0.1")));
        assert!(!Trust::default().names(None));
    }

    #[test]
    fn named_networks_are_trusted() {
        let (trust, wrong) =
            Trust::new(&["192.0.2.0/24, 2001:db8::/32".into(), "198.51.100.7 nonsense 1.2.3.4/33".into()]);
        assert_eq!(wrong, ["nonsense", "1.2.3.4/33"]);
        for ip in ["192.0.2.255", "2001:db8:1::1", "198.51.100.7"] {
            assert!(trust.covers(peer(ip)), "{ip}");
        }
        assert!(!trust.covers(peer("192.0.3.1")) && !trust.covers(peer("198.51.100.8")));
        assert!(Trust::new(&["*".into()]).0.covers(peer("8.8.8.8")));
    }
}
