//! Whether somebody listens, asked of the system: nobody is connected to for it, whose log would show that.

use std::net::SocketAddr;

/// Whether somebody listens on this address of loopback, as far as the system tells. `false` says nothing: it may be
/// another network's, or behind a translation of addresses.
pub fn is_listened_on(address: SocketAddr) -> bool {
    address.ip().is_loopback() && is_own_listened_on(address) == Some(true)
}

/// Whether somebody listens on this address, which is one of this machine's; `None` where the system does not tell.
pub fn is_own_listened_on(address: SocketAddr) -> Option<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use std::io::{BufRead as _, BufReader};
        let (file, own) = match address {
            SocketAddr::V4(v4) => {
                ("/proc/thread-self/net/tcp", format!("{:08X}", u32::from_ne_bytes(v4.ip().octets())))
            }
            SocketAddr::V6(v6) => {
                let words = v6.ip().octets();
                let words = words.chunks_exact(4).map(|word| match *word {
                    [a, b, c, d] => format!("{:08X}", u32::from_ne_bytes([a, b, c, d])),
                    _ => String::new(),
                });
                ("/proc/thread-self/net/tcp6", words.collect())
            }
        };
        let listens_in = |file: &str, is_wanted: &dyn Fn(&str) -> bool| {
            let file = std::fs::File::open(file).ok()?;
            // Those that listen stand in front.
            let lines = BufReader::new(file).lines().map_while(Result::ok).skip(1);
            let mut listening = lines.map_while(|line| listening(&line));
            Some(listening.any(|(ip, port)| port == address.port() && is_wanted(&ip)))
        };
        let is_any = |ip: &str| ip.bytes().all(|digit| digit == b'0');
        // A socket for all addresses of IPv6 takes those of IPv4, too, but where it says that it does not: that is
        // not told here.
        let of_its_family = listens_in(file, &|ip| ip == own || is_any(ip))?;
        let of_both =
            || address.is_ipv4() && listens_in("/proc/thread-self/net/tcp6", &is_any).unwrap_or(false);
        Some(of_its_family || of_both())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = address;
        None
    }
}

/// Whether somebody takes UDP at this port of this machine; `None` where the system does not tell.
pub fn is_taken_over_udp(port: u16) -> Option<bool> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let has_port = |line: &str| {
            let address = line.split_whitespace().nth(1)?;
            (u16::from_str_radix(address.rsplit_once(':')?.1, 16).ok()? == port).then_some(())
        };
        let is_in = |file: &str| {
            let lines = std::fs::read_to_string(file).ok()?;
            Some(lines.lines().skip(1).any(|line| has_port(line).is_some()))
        };
        let of_ipv6 = is_in("/proc/thread-self/net/udp6").unwrap_or(false);
        Some(is_in("/proc/thread-self/net/udp")? || of_ipv6)
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = port;
        None
    }
}

/// The address and the port of a line of `/proc/net/tcp`; `None` where it is not of a socket that listens.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn listening(line: &str) -> Option<(String, u16)> {
    const LISTEN: &str = "0A";
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.rsplit_once(':')?;
    let state = fields.nth(1)?;
    (state == LISTEN).then_some((ip.to_owned(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(all(test, any(target_os = "linux", target_os = "android")))]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn who_listens_is_known_without_a_connection() {
        for address in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            listener.set_nonblocking(true).unwrap();
            let local = listener.local_addr().unwrap();
            let address = match local {
                SocketAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], local.port())),
                SocketAddr::V6(_) => local,
            };
            assert!(is_listened_on(address), "{address}");
            assert!(listener.accept().is_err());
            drop(listener);
            assert!(!is_listened_on(address), "{address}");
        }
        assert!(!is_listened_on(([192, 0, 2, 1], 80).into()));
    }

    #[test]
    fn an_address_for_all_is_told_like_any_other() {
        for any in ["0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(any) else { continue };
            let address = listener.local_addr().unwrap();
            assert_eq!(is_own_listened_on(address), Some(true), "{address}");
            drop(listener);
            assert_eq!(is_own_listened_on(address), Some(false), "{address}");
        }
    }
}
