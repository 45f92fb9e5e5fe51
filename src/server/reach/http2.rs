//! Whether a website speaks HTTP/2 in the clear.

use crate::wire::h2::{FrameHead, PREFACE, kind};
use crate::wire::proxy_protocol::{Addresses, Version};
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long it may take to say something.
const PATIENCE: Duration = Duration::from_secs(5);

/// A SETTINGS frame without settings (RFC 9113 section 6.5).
const SETTINGS: [u8; FrameHead::LEN] = [0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0];

/// Says what a client says first, behind the PROXY header that visitors have in front of them.
///
/// # Errors
///
/// What it has done instead of saying its settings.
pub(super) async fn is_spoken(mut site: TcpStream, proxy_header: Option<Version>) -> Result<(), String> {
    let mut hello = match proxy_header.map(|version| header(&site, version)) {
        Some(Ok(header)) => header,
        Some(Err(error)) => return Err(format!("broke the connection: {error}")),
        None => Vec::new(),
    };
    hello.extend_from_slice(PREFACE);
    hello.extend_from_slice(&SETTINGS);
    let asked = async {
        site.write_all(&hello).await?;
        read_head(&mut site).await
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(Some(head))) if is_first(&head) => Ok(()),
        Ok(Ok(Some(_))) => Err("says something else".to_owned()),
        Ok(Ok(None)) => Err("ends the connection".to_owned()),
        Ok(Err(error)) => Err(format!("broke the connection: {error}")),
        Err(_) => Err(format!("says nothing within {} s", PATIENCE.as_secs())),
    }
}

/// Our own connection, as those of visitors are told.
pub(super) fn header(site: &TcpStream, version: Version) -> io::Result<Vec<u8>> {
    let (source, destination) = (site.local_addr()?, site.peer_addr()?);
    Ok(Addresses { source, destination }.encode(version))
}

/// The head of the first frame, or what stands in its place; `None` if the connection ends before.
async fn read_head(site: &mut (impl AsyncReadExt + Unpin)) -> io::Result<Option<[u8; FrameHead::LEN]>> {
    let mut head = [0; FrameHead::LEN];
    match site.read_exact(&mut head).await {
        Ok(_) => Ok(Some(head)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether this is the head of what a server says first (section 3.4).
fn is_first(head: &[u8]) -> bool {
    FrameHead::read(head)
        .is_some_and(|head| head.kind == kind::SETTINGS && head.stream == 0 && !head.is_settings_ack())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proxy_protocol::Header;
    use tokio::net::TcpListener;

    /// What is found of a website that says this, and what it has heard.
    async fn found(says: &[u8], proxy_header: Option<Version>) -> (Result<(), String>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let website = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            while !heard.ends_with(&SETTINGS) {
                assert_ne!(connection.read_buf(&mut heard).await.unwrap(), 0);
            }
            connection.write_all(says).await.unwrap();
            connection.shutdown().await.unwrap();
            heard
        };
        let asking = async { is_spoken(TcpStream::connect(address).await.unwrap(), proxy_header).await };
        tokio::join!(asking, website)
    }

    #[tokio::test]
    async fn a_website_speaks_http2_that_says_its_settings_first() {
        let settings = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 100];
        for says in [&settings[..], &SETTINGS] {
            let (found, heard) = found(says, None).await;
            assert_eq!(found, Ok(()), "{says:?}");
            assert_eq!(heard, [PREFACE, &SETTINGS].concat());
        }
        for (says, wanted) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "says something else"),
            // A window, a stream's settings, an acknowledgement.
            (&[0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1], "says something else"),
            (&[0, 0, 0, 4, 0, 0, 0, 0, 1], "says something else"),
            (&[0, 0, 0, 4, 1, 0, 0, 0, 0], "says something else"),
            (&SETTINGS[..8], "ends the connection"),
            (b"", "ends the connection"),
        ] {
            assert_eq!(found(says, None).await.0, Err(wanted.to_owned()), "{says:?}");
        }
    }

    #[tokio::test]
    async fn a_website_that_is_told_who_comes_is_told_it_here_too() {
        for version in [Version::V1, Version::V2] {
            let (found, heard) = found(&SETTINGS, Some(version)).await;
            assert_eq!(found, Ok(()));
            let header = Header::parse(&heard).unwrap().unwrap();
            let ends = header.addresses.unwrap();
            assert!(ends.source.ip().is_loopback() && ends.destination.ip().is_loopback(), "{ends:?}");
            assert_eq!(heard[header.len..], [PREFACE, &SETTINGS].concat(), "{version}");
        }
    }

    #[tokio::test]
    async fn a_website_that_says_nothing_is_not_waited_for_long() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let _silent = listener.accept().await.unwrap();
        tokio::time::pause();
        assert_eq!(is_spoken(site, None).await, Err("says nothing within 5 s".to_owned()));
    }
}
