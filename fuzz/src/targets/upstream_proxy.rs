//! What a client's proxy answers, on a socket: a connection that it has joined begins at the byte behind its answer.

use super::pieces::{cuts, pieces};
use super::sockets;
use obfs_rs::net::addr::{Host, HostPort};
use obfs_rs::net::proxy::{Proxy, ProxyError, ProxyKind};
use obfs_rs::wire::http::connect::ConnectAnswer;
use std::mem::{Discriminant, discriminant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::yield_now;

/// The most bytes of an answer, and of what is behind it: what fits into a socket.
const MOST: usize = 32 * 1024;

/// What is behind the answer, or why there is no connection.
type Joined<'a> = Result<&'a [u8], Discriminant<ProxyError>>;

pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MOST)];
    for kind in [ProxyKind::Http, ProxyKind::Socks5] {
        for login in [None, Some(("user".to_owned(), "password".to_owned()))] {
            let has_login = login.is_some();
            let address = HostPort { host: Host::Name("proxy.example".into()), port: 1080 };
            let proxy = Proxy { kind, address, login };
            let [whole, others @ ..] = cuts(bytes);
            let found = join(&proxy, bytes, &whole);
            for ends in others {
                assert_eq!(join(&proxy, bytes, &ends), found, "{kind:?} in pieces that end at {ends:?}");
            }
            let begins = match kind {
                ProxyKind::Socks5 => behind_socks5(bytes, has_login),
                ProxyKind::Http => match ConnectAnswer::read(bytes) {
                    ConnectAnswer::Connected(at) => bytes.get(at..),
                    _ => None,
                },
            };
            assert_eq!(found.ok(), begins, "{kind:?}");
        }
    }
}

fn join<'a>(proxy: &Proxy, bytes: &'a [u8], ends: &[usize]) -> Joined<'a> {
    let server = HostPort { host: Host::Name("www.example.com".into()), port: 443 };
    sockets::run(async {
        let (near, mut far) = sockets::tcp_pair();
        let answer = async {
            for piece in pieces(bytes, ends) {
                // It may have closed.
                let _ = far.write_all(piece).await;
                yield_now().await;
            }
            let _ = far.shutdown().await;
        };
        let joined = async {
            match proxy.join(near, &server, b"CONNECT").await {
                Ok(mut joined) => {
                    let mut behind = Vec::new();
                    joined.read_to_end(&mut behind).await.expect("the rest");
                    assert!(bytes.ends_with(&behind), "{} is not behind it", behind.escape_ascii());
                    Ok(&bytes[bytes.len() - behind.len()..])
                }
                Err(error) => {
                    let text = error.to_string();
                    assert!(!text.chars().any(char::is_control) && text.len() < 4096, "{text:?}");
                    Err(discriminant(&error))
                }
            }
        };
        tokio::join!(answer, joined).1
    })
}

/// What is behind the answers of a SOCKS5 server that has joined the connection (RFC 1928 sections 3 and 6, RFC 1929).
fn behind_socks5(bytes: &[u8], has_login: bool) -> Option<&[u8]> {
    let bytes = match (bytes, has_login) {
        ([5, 0, rest @ ..], _) | ([5, 2, 1, 0, rest @ ..], true) => rest,
        _ => return None,
    };
    let [5, 0, 0, rest @ ..] = bytes else { return None };
    match rest {
        [1, rest @ ..] => rest.get(4 + 2..),
        [4, rest @ ..] => rest.get(16 + 2..),
        // To the library a name that is no text is none.
        [3, length, rest @ ..] => {
            let (name, rest) = rest.split_at_checked((*length).into())?;
            std::str::from_utf8(name).ok().and_then(|_| rest.get(2..))
        }
        _ => None,
    }
}
