//! Whether two addresses lead to one socket, where that can be seen.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// Where the system lists its sockets.
pub struct Table {
    four: &'static str,
    six: &'static str,
    /// That of a socket which hears everybody.
    state: &'static str,
}

pub const TCP: Table = Table { four: "/proc/net/tcp", six: "/proc/net/tcp6", state: "0A" };
pub const UDP: Table = Table { four: "/proc/net/udp", six: "/proc/net/udp6", state: "07" };

/// Whether a visitor of both meets the same: they are one address, or two of this machine at which the same
/// socket listens. Where the system does not tell, only the first is seen.
pub fn is_same(a: SocketAddr, b: SocketAddr, table: &Table) -> bool {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (a, b) = (canonical(a), canonical(b));
    if a == b {
        return true;
    }
    let is_local = |address: SocketAddr| UdpSocket::bind((address.ip(), 0)).is_ok();
    let tables = || -> std::io::Result<String> {
        // Without IPv6 there is no second one.
        let six = std::fs::read_to_string(table.six).unwrap_or_default();
        Ok(std::fs::read_to_string(table.four)? + &six)
    };
    a.port() == b.port()
        && a.is_ipv4() == b.is_ipv4()
        && is_local(a)
        && is_local(b)
        && tables().is_ok_and(|tables| {
            let has_no_own = |address| !is_bound(&tables, address, table.state);
            has_no_own(a) && has_no_own(b)
        })
}

/// Whether one of the listening sockets is bound to this address itself; if none is, one that listens on all answers.
fn is_bound(tables: &str, address: SocketAddr, state: &str) -> bool {
    let words = |octets: &[u8]| -> String {
        // Words of 32 bits as this machine has them in memory.
        let (words, _) = octets.as_chunks::<4>();
        words.iter().map(|word| format!("{:08X}", u32::from_ne_bytes(*word))).collect()
    };
    let mut own = vec![match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    }];
    if let IpAddr::V4(ip) = address.ip() {
        own.push(words(&ip.to_ipv6_mapped().octets()));
    }
    let own: Vec<_> = own.iter().map(|ip| format!("{ip}:{:04X}", address.port())).collect();
    tables.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next();
        fields.nth(1) == Some(state) && local.is_some_and(|local| own.iter().any(|own| own == local))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn one_address_is_the_same_however_it_is_written() {
        let is = |a: &str, b: &str| is_same(a.parse().unwrap(), b.parse().unwrap(), &TCP);
        assert!(is("127.0.0.1:80", "127.0.0.1:80"));
        assert!(is("[::ffff:127.0.0.1]:80", "127.0.0.1:80"));
        assert!(!is("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!is("192.0.2.1:80", "198.51.100.1:80"));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_socket_that_listens_on_all_addresses_is_behind_each() {
        let at = |listener: &TcpListener, ip: &str| {
            SocketAddr::new(ip.parse().unwrap(), listener.local_addr().unwrap().port())
        };
        let all = TcpListener::bind("0.0.0.0:0").unwrap();
        assert!(is_same(at(&all, "127.0.0.1"), at(&all, "127.0.0.2"), &TCP));
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_same(at(&one, "127.0.0.1"), at(&one, "127.0.0.2"), &TCP));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sockets_of_udp_are_listed_apart() {
        let at = |socket: &UdpSocket, ip: &str| {
            SocketAddr::new(ip.parse().unwrap(), socket.local_addr().unwrap().port())
        };
        let all = UdpSocket::bind("0.0.0.0:0").unwrap();
        assert!(is_same(at(&all, "127.0.0.1"), at(&all, "127.0.0.2"), &UDP));
        let one = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(!is_same(at(&one, "127.0.0.1"), at(&one, "127.0.0.2"), &UDP));
    }
}
