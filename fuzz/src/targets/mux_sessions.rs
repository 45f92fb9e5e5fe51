//! A server with the sessions of a client that may say anything: it comes to its end, passes on no more than came,
//! and speaks Mux.Cool to it until then.

use super::pieces::{Numbers, cuts, pieces};
use super::sockets;
use obfs_rs::mux::{Backend, serve};
use obfs_rs::net::Dialer;
use obfs_rs::net::addr::{Host, HostPort};
use obfs_rs::net::conn_info::ConnInfo;
use obfs_rs::net::options::SocketOptions;
use obfs_rs::relay::Timeouts;
use obfs_rs::telemetry::Target;
use obfs_rs::transport::websocket::{OpenWebSocket, WebSocket};
use obfs_rs::wire::mux::{Decoder as MuxDecoder, Status};
use obfs_rs::wire::websocket::{Decoder, Encoder, Role, frame_in_place};
use obfs_rs::wire::{Decoder as _, Step};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;

/// The most bytes of the stream: they fit into the socket.
const MOST: usize = 16 * 1024;

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

pub fn check(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(MOST)];
    let mut numbers = Numbers::new(bytes);
    for ends in cuts(bytes) {
        let pause = Duration::from_millis([0, 200, 3000][numbers.below(3)]);
        let (passed, said) = sockets::run(connection(bytes, &ends, pause));
        assert!(passed <= bytes.len(), "{passed} bytes for a backend of {}", bytes.len());
        heard(said);
    }
}

/// What comes to the one backend that is there, and what the client hears.
async fn connection(bytes: &[u8], ends: &[usize], pause: Duration) -> (usize, Vec<u8>) {
    let (near, far) = sockets::pair();
    let (socket, mut backend) = sockets::tcp_pair();
    let info = ConnInfo::new(([192, 0, 2, 1], 4711).into());
    // The first session has its backend; nobody answers where the others are dialled.
    let nobody = HostPort { host: Host::Ip(IpAddr::V4(Ipv4Addr::LOCALHOST)), port: 1 };
    let dialer = Arc::new(Dialer::new(vec![nobody], SocketOptions::default()));
    let target = Target { role: "backend", address: "127.0.0.1:1".into() };
    let to = Backend::new(dialer, Some(socket), None, info, target);
    let open = OpenWebSocket::new(near, WebSocket::new(Role::Server, KEY), Vec::new());
    let served = serve(open.into(), to, Timeouts::new(Duration::from_secs(300)));
    let (mut from_server, mut to_server) = far.into_split();
    let client = async {
        for piece in pieces(bytes, ends).filter(|piece| !piece.is_empty()) {
            let mut frame = [&[0; Encoder::HEAD][..], piece].concat();
            let start = frame_in_place(&mut frame, Some([7; 4])).expect("room for a head");
            if to_server.write_all(&frame[start..]).await.is_err() {
                break;
            }
            sleep(pause).await;
        }
        let _ = to_server.shutdown().await;
    };
    let ear = async {
        let mut said = Vec::new();
        let _ = from_server.read_to_end(&mut said).await;
        said
    };
    let echo = async {
        let (mut count, mut piece) = (0, [0; 4096]);
        while let Ok(n @ 1..) = backend.read(&mut piece).await {
            count += n;
            if backend.write_all(&piece[..n]).await.is_err() {
                break;
            }
        }
        drop(backend);
        count
    };
    let (_, (), said, passed) = tokio::join!(served, client, ear, echo);
    (passed, said)
}

/// What a server says is WebSocket, with Mux.Cool in it that begins no session.
fn heard(mut said: Vec<u8>) {
    let (mut websocket, mut mux, mut at) = (Decoder::new(Role::Client), MuxDecoder::default(), 0);
    loop {
        let range = match websocket.decode(&mut said, &mut at).expect("frames of WebSocket") {
            Step::NeedMore => return,
            Step::Event(_) => continue,
            Step::Payload(range) => range,
        };
        let (frames, mut at) = (&said[range], 0);
        loop {
            match mux.decode(frames, &mut at).expect("frames of Mux.Cool") {
                Step::NeedMore => break,
                Step::Payload(_) => {}
                Step::Event(head) => {
                    assert!(
                        matches!(head.status, Status::Keep | Status::End | Status::KeepAlive),
                        "{head:?}"
                    );
                }
            }
        }
    }
}
