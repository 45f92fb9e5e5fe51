//! PROXY headers of both versions.

use super::pieces::settled;
use obfs_rs::wire::proxy_protocol::{Addresses, Header, MAX_HEADER, Version};
use std::net::{IpAddr, SocketAddr};

pub fn check(bytes: &[u8]) {
    let (at, found) = settled(bytes, &Ok(None), Header::parse);
    match found {
        // As long as it needs more, all of them belong to it.
        Ok(None) => assert!(bytes.len() < MAX_HEADER),
        Ok(Some(header)) => {
            assert!(header.len <= at && header.len <= MAX_HEADER);
            // Nothing behind it counts.
            assert_eq!(Header::parse(&bytes[..header.len]), Ok(Some(header)));
            if let Some(addresses) = header.addresses {
                written(addresses);
            }
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
    // Any addresses, of one family or of two.
    if let Some((&[a, b, c, d, from, to], rest)) = bytes.split_first_chunk() {
        let source = SocketAddr::new(IpAddr::from([a, b, c, d]), u16::from(from) << 8 | 1);
        let destination = match rest.first_chunk::<16>() {
            Some(&octets) => SocketAddr::new(IpAddr::from(octets), to.into()),
            None => SocketAddr::new(IpAddr::from([d, c, b, a]), to.into()),
        };
        written(Addresses { source, destination });
    }
}

/// What is written is read, as the same ends.
fn written(addresses: Addresses) {
    let same = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
    for version in [Version::V1, Version::V2] {
        let mut bytes = addresses.encode(version);
        let len = bytes.len();
        let (at, read) = settled(&bytes, &Ok(None), Header::parse);
        let header = read.expect("a header").expect("all of it");
        assert_eq!((at, header.len), (len, len));
        let read = header.addresses.expect("its addresses");
        assert_eq!(
            (same(read.source), same(read.destination)),
            (same(addresses.source), same(addresses.destination))
        );
        bytes.extend_from_slice(b"what follows");
        assert_eq!(Header::parse(&bytes), Ok(Some(header)));
    }
}
