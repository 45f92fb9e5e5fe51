//! Hosts and ports as users write them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A host: an address, or a name that is looked up when it is needed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A literal address.
    Ip(IpAddr),
    /// What the resolver makes an address of: a name, or an address of IPv6 with its zone
    /// (`fe80::1%eth0`, RFC 4007 section 11), whose number it knows.
    Name(String),
}

fn is_zoned(text: &str) -> bool {
    text.split_once('%').is_some_and(|(address, zone)| {
        let zone_is_one = (1..=64).contains(&zone.len())
            && zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._@".contains(&b));
        zone_is_one && address.parse::<Ipv6Addr>().is_ok()
    })
}

impl Host {
    /// Reads one host: IPv4, IPv6 with or without brackets, or a name. `None` if it is none of them.
    pub fn parse(text: &str) -> Option<Host> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']')?;
            if is_zoned(inner) {
                return Some(Host::Name(inner.to_owned()));
            }
            let address: Ipv6Addr = inner.parse().ok()?;
            return Some(Host::Ip(address.into()));
        }
        // shadowsocks-libev writes the wildcard `::0`, which the standard parser takes too.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Host::Ip(address));
        }
        if is_zoned(text) {
            return Some(Host::Name(text.to_owned()));
        }
        // The resolver wants names beyond ASCII as they stand in DNS.
        let name = crate::wire::http::host::ascii_name(text)?;
        let is_name = !name.is_empty()
            && name.len() <= 253
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        is_name.then_some(Host::Name(name))
    }

    /// The same without the zone of an address, which says something on this machine only (RFC 6874
    /// section 1).
    pub fn without_zone(&self) -> Host {
        let zoned = match self {
            Host::Name(name) => name.split_once('%').and_then(|(address, _)| address.parse().ok()),
            Host::Ip(_) => None,
        };
        zoned.map_or_else(|| self.clone(), Host::Ip)
    }

    /// Whether this is the address that means "all of mine", which nobody dials.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Host::Ip(address) if address.is_unspecified())
    }
}

impl fmt::Display for Host {
    /// As it stands in front of a port: IPv6 in brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Host::Ip(address) => address.fmt(f),
            Host::Name(name) if name.contains(':') => write!(f, "[{name}]"),
            Host::Name(name) => name.fmt(f),
        }
    }
}

/// A host and a TCP port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// Where.
    pub host: Host,
    /// The port; 0 only where the system is to choose one (tests, the demo).
    pub port: u16,
}

impl HostPort {
    /// Reads `host:port` (`[host]:port` for IPv6). `None` if a part is missing or wrong.
    pub fn parse(text: &str) -> Option<HostPort> {
        let (host, port) = text.rsplit_once(':')?;
        // `::1:8080` could be an address or an address and a port: brackets say which.
        if host.contains(':') && !host.starts_with('[') {
            return None;
        }
        Some(HostPort { host: Host::parse(host)?, port: parse_port(port)? })
    }

    /// The address, where it is no name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.host {
            Host::Ip(ip) => Some(ip),
            Host::Name(_) => None,
        }
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Reads a port a socket can have: 1 to 65535, digits only.
pub fn parse_port(text: &str) -> Option<u16> {
    let digits_only = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|&port| digits_only && port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_every_spelling() {
        for (text, shown) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "[::1]"),
            ("[::1]", "[::1]"),
            ("::0", "[::]"),
            ("www.example.com", "www.example.com"),
            ("my_host", "my_host"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("fe80::1%eth0", "[fe80::1%eth0]"),
            ("[fe80::1%2]", "[fe80::1%2]"),
        ] {
            assert_eq!(Host::parse(text).map(|host| host.to_string()).as_deref(), Some(shown), "{text}");
        }
        assert_eq!(Host::parse("fe80::1%eth0").unwrap().without_zone().to_string(), "[fe80::1]");
        assert_eq!(HostPort::parse("[fe80::1%eth0]:80").unwrap().to_string(), "[fe80::1%eth0]:80");
        for text in [
            "",
            "fe80::1%",
            "127.0.0.1%lo",
            "fe80::1%a/b",
            "a；b.example",
            "[::1",
            "[127.0.0.1]",
            "a b",
            "http://x",
            "a/b",
            "::1]",
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_needs_both_parts() {
        assert_eq!(HostPort::parse("[::1]:80").unwrap().to_string(), "[::1]:80");
        assert_eq!(HostPort::parse("localhost:8080").unwrap().port, 8080);
        for text in ["127.0.0.1", "127.0.0.1:", ":80", "::1:80", "h:0", "h:65536", "h:+80", "h:x", "h:80:90"]
        {
            assert_eq!(HostPort::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_unspecified_addresses_are_wildcards() {
        for text in ["0.0.0.0", "::", "::0", "[::]"] {
            assert!(Host::parse(text).unwrap().is_wildcard(), "{text}");
        }
        for text in ["127.0.0.1", "::1", "localhost"] {
            assert!(!Host::parse(text).unwrap().is_wildcard(), "{text}");
        }
    }
}
