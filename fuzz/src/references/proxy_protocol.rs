//! PROXY headers beside the crate `ppp`.

use obfs_rs::wire::proxy_protocol::{Addresses, Header};
use ppp::{HeaderResult, v1, v2};
use std::net::{IpAddr, SocketAddr};

/// The ends of a header, and its length.
type Ends = (Option<Addresses>, usize);

fn addresses<A: Into<IpAddr>>(source: A, from: u16, destination: A, to: u16) -> Option<Addresses> {
    let (source, destination) =
        (SocketAddr::new(source.into(), from), SocketAddr::new(destination.into(), to));
    Some(Addresses { source, destination })
}

fn theirs(bytes: &[u8]) -> Option<Ends> {
    Some(match HeaderResult::parse(bytes) {
        HeaderResult::V1(header) => {
            let header = header.ok()?;
            let ends = match header.addresses {
                v1::Addresses::Unknown => None,
                v1::Addresses::Tcp4(ip) => {
                    addresses(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
                }
                v1::Addresses::Tcp6(ip) => {
                    addresses(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
                }
            };
            (ends, header.header.len())
        }
        HeaderResult::V2(header) => {
            let header = header.ok()?;
            let ends = match header.addresses {
                // A LOCAL header speaks for nobody, and we pass on streams alone.
                _ if header.command == v2::Command::Local || header.protocol != v2::Protocol::Stream => None,
                v2::Addresses::IPv4(ip) => {
                    addresses(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
                }
                v2::Addresses::IPv6(ip) => {
                    addresses(ip.source_address, ip.source_port, ip.destination_address, ip.destination_port)
                }
                v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
            };
            (ends, header.len())
        }
    })
}

pub fn check(bytes: &[u8]) {
    if let (Ok(Some(header)), Some((addresses, len))) = (Header::parse(bytes), theirs(bytes)) {
        assert_eq!(header.addresses, addresses);
        // A line that says that nothing is known ends with CR LF, whatever stands before that (section 2.1 of the
        // specification); theirs ends such a line elsewhere where a CR or a LF stands in it alone.
        let line = &bytes[..header.len];
        let strays =
            line.starts_with(b"PROXY UNKNOWN") && line.iter().filter(|b| b"\r\n".contains(b)).count() > 2;
        assert!(strays || header.len == len, "{} bytes and {len}", header.len);
    }
}
