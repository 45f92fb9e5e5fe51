//! Limits that an operator sets: who is over one waits and meets the website, and nobody else notices.

mod addresses;
mod buffers;
mod tunnels;

use crate::support::conn::{connect_from, recv_head, send};
use crate::support::{STEP, noise};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Only clients know the path.
const UPGRADE: &[u8] =
    b"GET /secret HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// How long a client waits that is refused then; a little less, for clocks that differ.
const WAIT: Duration = Duration::from_millis(4900);

/// An address of this machine.
fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, n).into()
}

/// A client that has asked for a tunnel.
#[track_caller]
fn ask_from(source: IpAddr, server: SocketAddr) -> TcpStream {
    let client = connect_from(source, server);
    send(&client, UPGRADE);
    client
}

/// Whether a client that has asked for a tunnel has one; if not, it is the website that has answered.
#[track_caller]
fn has_tunnel(client: &TcpStream) -> bool {
    let head = recv_head(client);
    assert!(["HTTP/1.1 101 ", "HTTP/1.1 404 "].iter().any(|line| head.starts_with(line)), "{head}");
    head.starts_with("HTTP/1.1 101 ")
}

/// A client that has a tunnel.
#[track_caller]
fn tunnel_from(source: IpAddr, server: SocketAddr) -> TcpStream {
    let client = ask_from(source, server);
    assert!(has_tunnel(&client), "a client is refused");
    client
}

/// Sends through a tunnel and wants it back, again and again, until told otherwise; returns how many bytes. Nothing
/// may take longer than a step, and nothing be lost or changed.
fn keep_busy(tunnel: &TcpStream, stop: &AtomicBool) -> u64 {
    let piece = noise(50_000, 7);
    let (mut reader, mut writer) = (tunnel, tunnel);
    let (mut got, mut bytes) = (vec![0; piece.len()], 0);
    while !stop.load(Ordering::SeqCst) {
        let began = Instant::now();
        writer.write_all(&piece).expect("the good client sends");
        reader.read_exact(&mut got).expect("the good client has an answer");
        assert!(got == piece && began.elapsed() < STEP, "the good client was disturbed");
        bytes += piece.len() as u64;
    }
    bytes
}
