//! The proxies in front of a server whose word is taken about where visitors come from.

use super::network::Network;
use std::fmt;
use std::net::IpAddr;

/// What stands in front of a server.
#[derive(Debug, Clone, Default)]
pub struct TrustedProxies {
    /// Whose word is taken about where visitors come from.
    pub trusted: Vec<Network>,
    /// Whether they say it with the PROXY protocol.
    pub proxy_protocol: bool,
}

impl TrustedProxies {
    /// Whether the word of this address is taken.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.iter().any(|network| network.contains(address))
    }

    /// Whether a connection from this address begins with a PROXY header.
    pub fn sends_proxy_header(&self, address: IpAddr) -> bool {
        self.proxy_protocol && self.trust(address)
    }
}

impl fmt::Display for TrustedProxies {
    /// What the start-up line says of it, with the comma in front.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.trusted.is_empty() {
            return Ok(());
        }
        let header = if self.proxy_protocol { "PROXY header and " } else { "" };
        let trusted: Vec<_> = self.trusted.iter().map(Network::to_string).collect();
        write!(f, ", {header}X-Forwarded-For taken from {}", trusted.join(", "))
    }
}
