//! PROXY headers of both versions.

use super::pieces::{cuts, pieces, settled};
use super::sockets;
use obfs_rs::transport::proxy_protocol::{ReceiveError, receive};
use obfs_rs::wire::proxy_protocol::{Addresses, Header, MAX_HEADER, Version};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::yield_now;

pub fn check(bytes: &[u8]) {
    let (at, found) = settled(bytes, &Ok(None), Header::parse);
    match found {
        // As long as it needs more, all of them belong to it.
        Ok(None) => assert!(bytes.len() < MAX_HEADER),
        Ok(Some(header)) => {
            assert!(header.len <= at && header.len <= MAX_HEADER);
            assert!(Header::is_begun_by(bytes));
            // Nothing behind it counts.
            assert_eq!(Header::parse(&bytes[..header.len]), Ok(Some(header)));
            if let Some(addresses) = header.addresses {
                written(addresses);
            }
        }
        Err(error) => assert!(!error.to_string().chars().any(char::is_control)),
    }
    on_a_socket(bytes, &found);
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

/// The same from a socket, of which nothing is taken but the header.
fn on_a_socket<E>(bytes: &[u8], found: &Result<Option<Header>, E>) {
    // (what fits into a socket)
    if bytes.len() > 64 * 1024 {
        return;
    }
    let [.., ends] = cuts(bytes);
    sockets::run(async {
        let (mut near, mut far) = sockets::tcp_pair();
        let front = async {
            for piece in pieces(bytes, &ends) {
                far.write_all(piece).await.expect("room for all");
                yield_now().await;
            }
            far.shutdown().await.expect("a socket");
        };
        let ((), received) = tokio::join!(front, receive(&mut near));
        match (received, found) {
            (Ok(addresses), Ok(Some(header))) => {
                assert_eq!(addresses, header.addresses);
                let mut behind = Vec::new();
                near.read_to_end(&mut behind).await.expect("the rest");
                assert_eq!(behind, &bytes[header.len..]);
            }
            (Err(ReceiveError::Empty), Ok(None)) => assert_eq!(bytes, b""),
            (Err(error @ ReceiveError::Cut(_)), Ok(None))
            | (Err(error @ ReceiveError::Invalid(..)), Err(_)) => {
                assert!(!error.to_string().chars().any(char::is_control));
            }
            (received, _) => panic!("{received:?}"),
        }
    });
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
