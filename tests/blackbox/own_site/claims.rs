//! Visitors of our own website who turn out to be clients, on the connection on which they visited.

use super::twins::Folder;
use crate::support::backend::Backend;
use crate::support::conn::{assert_echo, connect, recv, recv_head, send};
use crate::support::plugin::{Ours, Plugin, server};
use crate::support::websocket::{BINARY, frame};
use crate::support::{assert_same, noise, secs, within};
use std::io::Read as _;
use std::net::TcpStream;

const GET: &str = "GET /style.css HTTP/1.1\r\nHost: a\r\n\r\n";
const UPGRADE: &str = "GET /tunnel HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

fn serve(options: &str) -> (Backend, Plugin) {
    let backend = Backend::echo();
    let server = server(Ours, backend.addr, options);
    (backend, server)
}

/// One page, whole.
fn page(visitor: &TcpStream) -> String {
    let head = recv_head(visitor);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length = length.and_then(|length| length.parse().ok()).unwrap_or_default();
    recv(visitor, length);
    head
}

#[test]
fn the_second_request_may_be_an_upgrade() {
    within(secs(60), || {
        let folder = Folder::new();
        for (site, status) in [
            (format!("failover=dir:{}", folder.root.display()), "200"),
            ("failover=redirect:https://www.example.com".to_owned(), "301"),
            ("failover=status:503".to_owned(), "503"),
            (String::new(), "404"),
        ] {
            let (backend, server) = serve(&format!("obfs=http;obfs-uri=/tunnel;{site}"));
            // one after the other
            let visitor = connect(server.addr);
            for _ in 0..3 {
                send(&visitor, GET.as_bytes());
                assert!(page(&visitor).starts_with(&format!("HTTP/1.1 {status} ")), "{site}");
            }
            assert_eq!(backend.accepted(), 0);
            send(&visitor, UPGRADE.as_bytes());
            assert!(recv_head(&visitor).starts_with("HTTP/1.1 101 "), "{site}");
            assert_echo(&visitor, &noise(300_000, 1));
            // all at once, and with the first bytes of the stream
            let visitor = connect(server.addr);
            send(&visitor, [GET, GET, UPGRADE, "hello"].concat().as_bytes());
            for _ in 0..2 {
                assert!(page(&visitor).starts_with(&format!("HTTP/1.1 {status} ")), "{site}");
            }
            assert!(recv_head(&visitor).starts_with("HTTP/1.1 101 "), "{site}");
            assert_eq!(recv(&visitor, 5), b"hello");
            // in pieces, behind a body
            let visitor = connect(server.addr);
            send(&visitor, b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello");
            page(&visitor);
            for piece in UPGRADE.as_bytes().chunks(20) {
                send(&visitor, piece);
            }
            assert!(recv_head(&visitor).starts_with("HTTP/1.1 101 "), "{site}");
            assert_echo(&visitor, b"hello");
            assert_eq!(backend.accepted(), 3);
        }
    });
}

#[test]
fn an_upgrade_that_is_not_ours_is_a_request() {
    within(secs(60), || {
        let (backend, server) = serve("obfs=http;obfs-uri=/tunnel");
        let visitor = connect(server.addr);
        for upgrade in [
            UPGRADE.replace("/tunnel", "/other"),
            UPGRADE.replace("websocket", "h2c"),
            UPGRADE.replace("GET", "POST"),
            // in a body it is one
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{UPGRADE}", UPGRADE.len()),
        ] {
            send(&visitor, upgrade.as_bytes());
            assert!(page(&visitor).starts_with("HTTP/1.1 404 "), "{upgrade}");
        }
        assert_eq!(backend.accepted(), 0);
        // Behind a request that ends the connection it is nothing.
        let closing = GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        send(&visitor, (closing + UPGRADE).as_bytes());
        assert!(page(&visitor).contains("\r\nConnection: close\r\n"));
        assert_eq!((&visitor).read(&mut [0]).expect("an end"), 0);
        assert_eq!(backend.accepted(), 0);
    });
}

#[test]
fn the_second_request_may_open_a_websocket() {
    within(secs(60), || {
        let (backend, server) = serve("mode=websocket;path=/tunnel;failover=status:404");
        let visitor = connect(server.addr);
        send(&visitor, GET.as_bytes());
        assert!(page(&visitor).starts_with("HTTP/1.1 404 "));
        let versioned = UPGRADE.replace(
            "\r\n\r\n",
            "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        );
        let data = noise(60_000, 2);
        send(&visitor, &[versioned.as_bytes(), &frame(0x80 | BINARY, &data)].concat());
        let head = recv_head(&visitor);
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        let mut echo = Vec::new();
        while echo.len() < data.len() {
            let head = recv(&visitor, 2);
            let length = match head[1] {
                126 => {
                    let length = recv(&visitor, 2);
                    usize::from(u16::from_be_bytes([length[0], length[1]]))
                }
                length => usize::from(length),
            };
            let payload = recv(&visitor, length);
            if head[0] & 0x0f == BINARY {
                echo.extend(payload);
            }
        }
        assert_same("the echo", &echo, &data);
        assert_eq!(backend.accepted(), 1);
    });
}
