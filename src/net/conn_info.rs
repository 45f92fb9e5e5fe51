//! Where a connection came from.

use crate::net::network::TrustedProxies;
use crate::wire::forwarded_for;
use crate::wire::proxy_protocol::{Addresses, Version};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpStream;

/// The two ends of a connection that was accepted, as the visitor has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnInfo {
    /// Who came.
    pub visitor: SocketAddr,
    /// The address that it came to, where somebody wants to know.
    local_addr: Option<SocketAddr>,
    /// The proxy by whose PROXY header the two are known.
    front: Option<SocketAddr>,
    /// For whom the visitor, a proxy, speaks: for the log.
    forwarded_for: Option<IpAddr>,
}

impl ConnInfo {
    /// Of a connection that was accepted from this address.
    pub fn new(visitor: SocketAddr) -> ConnInfo {
        ConnInfo { visitor: canonical(visitor), local_addr: None, front: None, forwarded_for: None }
    }

    /// Asks the socket for its other end too, which costs a system call.
    ///
    /// # Errors
    ///
    /// It is gone already.
    pub fn load_local_addr(&mut self, socket: &TcpStream) -> io::Result<()> {
        self.local_addr = Some(canonical(socket.local_addr()?));
        Ok(())
    }

    /// The address that it came to; that of nobody if that was not [asked](Self::load_local_addr).
    pub fn local_addr(&self) -> SocketAddr {
        let nobody = match self.visitor {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        self.local_addr.unwrap_or(SocketAddr::new(nobody, 0))
    }

    /// Takes over the addresses of the PROXY header that the connection begins with.
    pub fn apply_proxy_header(&mut self, Addresses { source, destination }: Addresses) {
        self.front = Some(self.visitor);
        self.visitor = canonical(source);
        self.local_addr = Some(canonical(destination));
    }

    /// Looks into the first bytes of the stream for whom the visitor speaks, if it is a proxy that is
    /// trusted.
    pub fn read_forwarded_for(&mut self, bytes: &[u8], fronts: &TrustedProxies) {
        if fronts.trust(self.visitor.ip()) {
            self.forwarded_for = forwarded_for::last_untrusted(bytes, |address| fronts.trust(address));
        }
    }

    /// Whether a PROXY header has told who came.
    pub fn is_by_header(&self) -> bool {
        self.front.is_some()
    }

    /// Who came, as far as that is known: whom a trusted proxy speaks for, or else the visitor.
    pub fn address(&self) -> IpAddr {
        self.forwarded_for.unwrap_or(self.visitor.ip())
    }

    /// Who came, and the proxies by which it is known, the nearest to it first.
    pub fn from_and_via(&self) -> (String, Vec<String>) {
        let front = self.front.map(|front| front.to_string());
        match self.forwarded_for {
            Some(address) => {
                let via = [self.visitor.to_string()].into_iter().chain(front).collect();
                (address.to_string(), via)
            }
            None => (self.visitor.to_string(), front.into_iter().collect()),
        }
    }

    /// The PROXY header for a website: the connection's two ends. Whom a proxy in front speaks for the
    /// website reads from its requests itself, each of which may speak for another.
    pub fn proxy_header(&self, version: Version) -> Vec<u8> {
        Addresses { source: self.visitor, destination: self.local_addr() }.encode(version)
    }
}

/// A socket for both families has IPv4 in IPv6's clothes.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    match address.ip().to_canonical() {
        ip if ip == address.ip() => address,
        ip => SocketAddr::new(ip, address.port()),
    }
}

impl fmt::Display for ConnInfo {
    /// The visitor, and the proxies by which it is known, the nearest to it first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(address) = self.forwarded_for {
            write!(f, "{address} via ")?;
        }
        self.visitor.fmt(f)?;
        match self.front {
            Some(front) => write!(f, " via {front}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::network::Network;

    fn origin(visitor: &str, front: Option<&str>) -> ConnInfo {
        let address = |text: &str| text.parse().unwrap();
        ConnInfo {
            visitor: address(visitor),
            local_addr: Some(address("192.0.2.1:80")),
            front: front.map(address),
            forwarded_for: None,
        }
    }

    #[test]
    fn the_log_names_the_visitor_and_who_speaks_for_it() {
        const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.7\r\n\r\n";
        let trusted = vec![Network::parse("10.0.0.0/8").unwrap()];
        let fronts = TrustedProxies { trusted, proxy_protocol: true };
        for (visitor, front, shown) in [
            ("198.51.100.1:5", None, "198.51.100.1:5"),
            ("198.51.100.1:5", Some("10.0.0.1:6"), "198.51.100.1:5 via 10.0.0.1:6"),
            ("10.0.0.2:5", None, "203.0.113.7 via 10.0.0.2:5"),
            ("10.0.0.2:5", Some("10.0.0.1:6"), "203.0.113.7 via 10.0.0.2:5 via 10.0.0.1:6"),
        ] {
            let mut origin = origin(visitor, front);
            origin.read_forwarded_for(HEAD, &fronts);
            assert_eq!(origin.to_string(), shown);
            assert!(shown.starts_with(&origin.address().to_string()), "{shown}");
            origin.read_forwarded_for(HEAD, &TrustedProxies::default());
            assert_eq!(
                origin.proxy_header(Version::V1),
                format!("PROXY TCP4 {} 192.0.2.1 5 80\r\n", origin.visitor.ip()).as_bytes()
            );
        }
    }

    #[test]
    fn ipv4_is_shown_as_such() {
        assert_eq!(canonical("[::ffff:192.0.2.1]:80".parse().unwrap()).to_string(), "192.0.2.1:80");
        assert_eq!(canonical("[fe80::1%2]:80".parse().unwrap()).to_string(), "[fe80::1%2]:80");
    }
}
