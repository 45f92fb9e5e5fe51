//! Addresses under which this process would meet itself.

use super::Listeners;
use super::conn_info::canonical;
use super::resolve;
use crate::net::addr::{Host, HostPort};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses that a half listens on, each with whether an IPv6 wildcard leaves IPv4 to others.
#[derive(Debug, Clone, Default)]
pub struct OwnAddresses(Vec<(SocketAddr, bool)>);

impl OwnAddresses {
    /// Of these sockets.
    pub fn of(listeners: &Listeners) -> OwnAddresses {
        let own = listeners.addresses_and_families();
        OwnAddresses(own.map(|(address, only_v6)| (canonical(address), only_v6)).collect())
    }

    /// Of what is going to be listened on, as far as that is known before: a mistake is best told by one who
    /// has never listened. (Whether an IPv6 wildcard leaves IPv4 to others is a setting of the system.)
    pub fn to_be(addresses: &[HostPort]) -> OwnAddresses {
        let known = addresses.iter().filter_map(|HostPort { host, port }| match host {
            Host::Ip(ip) if *port != 0 => Some((canonical(SocketAddr::new(*ip, *port)), true)),
            _ => None,
        });
        OwnAddresses(known.collect())
    }

    /// The first of these addresses that can only lead back, and the own one that it leads to. A name is
    /// asked for only where that costs nothing; what other names lead to is seen when they are dialled.
    pub fn find<'a>(
        &self,
        targets: impl IntoIterator<Item = &'a HostPort>,
    ) -> Option<(&'a HostPort, SocketAddr)> {
        targets.into_iter().find_map(|target| {
            let addresses: Vec<SocketAddr> = match &target.host {
                Host::Ip(ip) => vec![SocketAddr::new(*ip, target.port)],
                Host::Name(name) if name.eq_ignore_ascii_case("localhost") => {
                    resolve::addresses(name, target.port).ok()?
                }
                Host::Name(_) => return None,
            };
            let own: Option<Vec<_>> = addresses.into_iter().map(|address| self.reached_by(address)).collect();
            Some((target, *own?.first()?))
        })
    }

    /// Removes those of the addresses that lead back. If none is left, returns one, and the own one that it
    /// leads to.
    pub fn remove_from(&self, addresses: &mut Vec<SocketAddr>) -> Option<(SocketAddr, SocketAddr)> {
        let mut removed = None;
        addresses.retain(|&address| {
            let own = self.reached_by(address);
            removed = own.map(|own| (address, own)).or(removed);
            own.is_none()
        });
        removed.filter(|_| addresses.is_empty())
    }

    fn reached_by(&self, target: SocketAddr) -> Option<SocketAddr> {
        let target = canonical(target);
        // Who dials "any address" gets the loopback.
        let ip = match target.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let reached = self.0.iter().find(|(address, only_v6)| {
            let takes_all = match address.ip() {
                IpAddr::V4(own) => own.is_unspecified() && ip.is_ipv4(),
                IpAddr::V6(own) => own.is_unspecified() && (ip.is_ipv6() || !only_v6),
            };
            address.port() == target.port() && (address.ip() == ip || takes_all && is_local(ip))
        });
        reached.map(|(address, _)| *address)
    }
}

/// Whether an address is one of this machine's. Nothing is sent.
fn is_local(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = || {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((ip, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ip.is_loopback() || source() == Some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(addresses: &[(&str, bool)]) -> OwnAddresses {
        let parse = |(address, only_v6): &(&str, bool)| (address.parse().unwrap(), *only_v6);
        OwnAddresses(addresses.iter().map(parse).collect())
    }

    #[test]
    fn what_leads_back_is_told_from_what_does_not() {
        let v4 = own(&[("0.0.0.0:443", false)]);
        let v6 = own(&[("[::]:443", false)]);
        let both = own(&[("[::]:443", true), ("0.0.0.0:443", false)]);
        let only_v6 = own(&[("[::]:443", true)]);
        let one = own(&[("127.0.0.1:443", false), ("192.0.2.1:443", false)]);
        for (own, target, leads_back) in [
            (&v4, "127.0.0.1:443", true),
            (&v4, "127.9.9.9:443", true),
            (&v4, "0.0.0.0:443", true),
            (&v4, "[::ffff:127.0.0.1]:443", true),
            (&v4, "127.0.0.1:80", false),
            (&v4, "[::1]:443", false),
            // An address for documentation is nobody's.
            (&v4, "192.0.2.1:443", false),
            (&v6, "127.0.0.1:443", true),
            (&v6, "[::1]:443", true),
            (&both, "127.0.0.1:443", true),
            (&both, "[::]:443", true),
            (&only_v6, "127.0.0.1:443", false),
            (&one, "127.0.0.1:443", true),
            (&one, "0.0.0.0:443", true),
            (&one, "127.0.0.2:443", false),
            (&one, "192.0.2.1:443", true),
            (&one, "localhost:80", false),
            (&v4, "www.example.com:443", false),
        ] {
            let target = HostPort::parse(target).unwrap();
            assert_eq!(own.find([&target]).is_some(), leads_back, "{own:?} {target}");
        }
        // Where localhost is both, the other one may be another server's.
        assert!(
            own(&[("0.0.0.0:443", false), ("[::]:443", true)])
                .find([&HostPort::parse("localhost:443").unwrap()])
                .is_some()
        );
    }

    #[test]
    fn of_a_names_addresses_those_that_lead_elsewhere_stay() {
        let own = own(&[("0.0.0.0:443", false)]);
        let parse = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (back, elsewhere) = (parse("127.0.0.1:443"), parse("192.0.2.1:443"));
        let mut addresses = vec![back, elsewhere];
        assert_eq!(own.remove_from(&mut addresses), None);
        assert_eq!(addresses, [elsewhere]);
        let mut addresses = vec![back];
        assert_eq!(own.remove_from(&mut addresses), Some((back, parse("0.0.0.0:443"))));
    }
}
