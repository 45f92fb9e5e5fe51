//! Where visitors come from: told by a proxy in front, believed only where it is trusted, and told to the
//! website behind.
//!
//! Between real programs (`proxies`), with headers by hand (`headers`) and such as are not taken (`untaken`), and as the
//! website sees it (`told`).

mod checks;
mod headers;
mod proxies;
mod told;
mod untaken;
mod website;

use crate::support::STEP;
use crate::support::backend::Backend;
use crate::support::conn::{End, connect_from, recv_to_end, send};
use crate::support::plugin::{Ours, Plugin, server};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;

/// The visitors' address: another one than that of the proxies in front.
const VISITOR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// A visit from [`VISITOR`]: what the site answered, and the address and port that the visitor had.
#[track_caller]
fn visit(addr: SocketAddr, request: &str) -> (String, SocketAddr) {
    let visitor = connect_from(VISITOR, addr);
    let own = visitor.local_addr().expect("an address");
    send(&visitor, request.as_bytes());
    let (answer, end) = recv_to_end(&visitor, STEP);
    assert_ne!(end, End::Open, "{}", String::from_utf8_lossy(&answer));
    (String::from_utf8_lossy(&answer).into_owned(), own)
}

/// A request after which the site closes.
fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
}

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

const V1: &[u8] = b"PROXY TCP4 203.0.113.7 192.0.2.1 51234 443\r\n";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 with everything behind its signature.
fn v2(rest: &[&[u8]]) -> Vec<u8> {
    [SIGNATURE, &rest.concat()].concat()
}

/// The same as [`V1`] says.
fn v2_ipv4() -> Vec<u8> {
    v2(&[&[0x21, 0x11, 0, 12], &[203, 0, 113, 7], &[192, 0, 2, 1], &[0xc8, 0x22], &[0x01, 0xbb]])
}

/// A server behind a proxy at 127.0.0.1, a site that the test plays, and Shadowsocks.
struct Behind {
    server: Plugin,
    connections: Receiver<TcpStream>,
    shadowsocks: Backend,
    _site: Backend,
}

impl Behind {
    fn start(options: &str) -> Behind {
        let (site, connections) = Backend::manual();
        let shadowsocks = Backend::echo();
        let options = format!(
            "obfs=http;failover={};proxy-protocol=in;trusted=127.0.0.1;loglevel=debug;{options}",
            site.addr
        );
        let server = server(Ours, shadowsocks.addr, &options);
        Behind { server, connections, shadowsocks, _site: site }
    }
}
