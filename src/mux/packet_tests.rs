//! Sessions of UDP on the server half, with Shadowsocks and the client in the hands of the test.

use super::engine::Engine;
use super::packets::FOREIGN_LONGEST;
use super::sessions::SESSIONS;
use super::source::Backend;
use crate::net::Dialer;
use crate::net::addr::{Host, HostPort};
use crate::net::conn_info::ConnInfo;
use crate::net::options::SocketOptions;
use crate::relay::test_streams::connection;
use crate::relay::{Outcome, Timeouts};
use crate::telemetry::Target;
use crate::transport::websocket::{OpenWebSocket, WebSocket};
use crate::udp::{IDLE, LONGEST};
use crate::wire::Step;
use crate::wire::mux::{self, Decoder, Encoder, Status};
use crate::wire::websocket::{Encoder as Frame, Role};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinHandle;
use tokio::time::{advance, pause, timeout};

const SOON: Duration = Duration::from_secs(20);

/// What a server has said of a session.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Packet(u16, Vec<u8>),
    End(u16, bool),
}

/// A client, and Shadowsocks.
struct Ends {
    client: TcpStream,
    websocket: WebSocket,
    frames: Decoder,
    /// A packet that has not come to its end.
    partial: Option<(u16, usize, Vec<u8>)>,
    said: Vec<Said>,
    shadowsocks: UdpSocket,
    running: JoinHandle<Outcome>,
}

impl Ends {
    async fn new(udp: bool) -> Ends {
        let shadowsocks = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = shadowsocks.local_addr().unwrap();
        let host = HostPort { host: Host::Ip(address.ip()), port: address.port() };
        let dialer = Arc::new(Dialer::new(vec![host], SocketOptions::default()));
        let target = Target { role: "backend", address: Arc::clone(dialer.shown()) };
        let (near, client) = connection().await;
        let info = ConnInfo::new(client.local_addr().unwrap());
        let backend = Backend::new(dialer, None, None, info, target).with_udp(udp);
        let open = OpenWebSocket::new(near, WebSocket::new(Role::Server, b"key"), Vec::new());
        let timeouts = Timeouts::new(Duration::from_secs(7200));
        let running = tokio::spawn(Engine::new(open, backend, timeouts).run());
        let websocket = WebSocket::new(Role::Client, b"key");
        Ends {
            client,
            websocket,
            frames: Decoder::default(),
            partial: None,
            said: Vec::new(),
            shadowsocks,
            running,
        }
    }

    /// The client says this, in one message.
    async fn say(&mut self, frames: &[u8]) {
        let mut message = vec![0; Frame::HEAD];
        message.extend_from_slice(frames);
        let start = self.websocket.encode_in_place(&mut message).unwrap();
        self.client.write_all(&message[start..]).await.unwrap();
    }

    /// The client sends a packet in this session.
    async fn send(&mut self, encoder: &mut Encoder, packet: &[u8]) {
        let mut frame = vec![0; Encoder::HEAD];
        frame.extend_from_slice(packet);
        let start = encoder.encode_in_place(&mut frame).unwrap();
        self.say(&frame[start..]).await;
    }

    /// What Shadowsocks gets, and from where.
    async fn arrives(&self) -> (Vec<u8>, std::net::SocketAddr) {
        let mut packet = vec![0; 65_536];
        let (len, from) = timeout(SOON, self.shadowsocks.recv_from(&mut packet)).await.unwrap().unwrap();
        packet.truncate(len);
        (packet, from)
    }

    /// What the client hears next.
    async fn hears(&mut self) -> Said {
        let mut bytes = vec![0; 65_536];
        while self.said.is_empty() {
            let len = timeout(SOON, self.client.read(&mut bytes)).await.unwrap().unwrap();
            assert!(len > 0, "the connection has ended");
            let (input, mut at) = (&mut bytes[..len], 0);
            while let Step::Payload(mut payload) = self.websocket.decode(input, &mut at).unwrap() {
                let inside = &input[..payload.end];
                loop {
                    match self.frames.decode(inside, &mut payload.start).unwrap() {
                        Step::NeedMore => break,
                        Step::Event(head) if head.status == Status::End => {
                            self.said.push(Said::End(head.id, head.error));
                        }
                        Step::Event(head) => {
                            let len = usize::from(head.data.unwrap());
                            self.partial = Some((head.id, len, Vec::new()));
                        }
                        Step::Payload(part) => {
                            let (_, _, packet) = self.partial.as_mut().unwrap();
                            packet.extend_from_slice(&inside[part]);
                        }
                    }
                    if let Some((id, len, packet)) = self.partial.take() {
                        if packet.len() == len {
                            self.said.push(Said::Packet(id, packet));
                        } else {
                            self.partial = Some((id, len, packet));
                        }
                    }
                }
            }
        }
        self.said.remove(0)
    }
}

/// As v2ray's and xray's clients say it: a target of their own, an id behind it, and a target for each packet.
#[tokio::test]
async fn a_target_is_never_followed_and_packets_keep_their_boundaries() {
    let mut ends = Ends::new(true).await;
    let open = [
        &[0, 28, 0, 7, 1, 1, 2, 0, 53, 2, 11][..],
        b"example.com",
        b"\x01\x02\x03\x04\x05\x06\x07\x08",
        &[0, 5],
        b"hello",
    ];
    let mut open = open.concat();
    open[1] = u8::try_from(open.len() - 2 - 2 - 5).unwrap();
    ends.say(&open).await;
    let keep =
        [&[0, 12, 0, 7, 2, 1, 2, 0, 53, 1, 192, 0, 2, 1][..], &[0, 0], &[0, 4, 0, 7, 2, 1, 0, 3], b"end"];
    let keep = keep.concat();
    // A head that is cut anywhere.
    for byte in keep {
        ends.say(&[byte]).await;
    }
    let (first, from) = ends.arrives().await;
    assert_eq!(first, b"hello");
    assert_eq!(ends.arrives().await, (Vec::new(), from));
    assert_eq!(ends.arrives().await, (b"end".to_vec(), from));
    ends.shadowsocks.send_to(b"", from).await.unwrap();
    ends.shadowsocks.send_to(b"answer", from).await.unwrap();
    assert_eq!(ends.hears().await, Said::Packet(7, Vec::new()));
    assert_eq!(ends.hears().await, Said::Packet(7, b"answer".to_vec()));
    // An end is answered, and its id can be used anew.
    ends.say(&mux::end(7, false)).await;
    assert_eq!(ends.hears().await, Said::End(7, false));
    ends.send(&mut Encoder::udp_client(7), b"again").await;
    let (again, another) = ends.arrives().await;
    assert_eq!(again, b"again");
    assert_ne!(another, from, "the socket of a session that has ended is used again");
}

#[tokio::test]
async fn what_others_cannot_take_is_not_sent_to_them() {
    let mut ends = Ends::new(true).await;
    let mut session = Encoder::udp_client(1);
    ends.send(&mut session, b"first").await;
    let (_, from) = ends.arrives().await;
    for size in [FOREIGN_LONGEST + 1, FOREIGN_LONGEST] {
        ends.shadowsocks.send_to(&vec![1; size], from).await.unwrap();
    }
    assert_eq!(ends.hears().await, Said::Packet(1, vec![1; FOREIGN_LONGEST]));
    // One of ours asks who it is, and says so who it is itself.
    let question = ends.websocket.question();
    ends.client.write_all(question.as_bytes()).await.unwrap();
    ends.send(&mut session, b"second").await;
    ends.arrives().await;
    for size in [FOREIGN_LONGEST + 1, LONGEST, 1] {
        ends.shadowsocks.send_to(&vec![2; size], from).await.unwrap();
    }
    for size in [FOREIGN_LONGEST + 1, LONGEST, 1] {
        assert_eq!(ends.hears().await, Said::Packet(1, vec![2; size]));
    }
    // A packet that no socket takes goes nowhere, and the session goes on.
    ends.send(&mut session, &vec![3; LONGEST + 1]).await;
    ends.send(&mut session, &vec![3; LONGEST]).await;
    assert_eq!(ends.arrives().await.0, vec![3; LONGEST]);
}

/// The other one may be in the place of the one that has ended.
#[tokio::test]
async fn a_packet_that_comes_in_parts_is_whole_though_another_session_ends_meanwhile() {
    for (cut, ended) in [(1, 2), (2, 1)] {
        let mut ends = Ends::new(true).await;
        let mut sessions = [Encoder::udp_client(1), Encoder::udp_client(2)];
        let mut from = Vec::new();
        for session in &mut sessions {
            ends.send(session, b"first").await;
            from.push(ends.arrives().await.1);
        }
        let mut frame = vec![0; Encoder::HEAD];
        frame.extend(b"a packet in parts");
        let start = sessions[cut - 1].encode_in_place(&mut frame).unwrap();
        let (front, rest) = frame[start..].split_at(12);
        ends.say(front).await;
        // An answer shows that the front was read.
        ends.shadowsocks.send_to(b"answer", from[ended - 1]).await.unwrap();
        let ended = u16::try_from(ended).unwrap();
        assert_eq!(ends.hears().await, Said::Packet(ended, b"answer".to_vec()));
        pause();
        advance(IDLE - Duration::from_secs(1)).await;
        ends.shadowsocks.send_to(b"it is alive", from[cut - 1]).await.unwrap();
        assert_eq!(ends.hears().await, Said::Packet(u16::try_from(cut).unwrap(), b"it is alive".to_vec()));
        advance(Duration::from_secs(2)).await;
        assert_eq!(ends.hears().await, Said::End(ended, false));
        ends.say(rest).await;
        assert_eq!(ends.arrives().await.0, b"a packet in parts");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_server_without_udp_refuses_and_goes_on() {
    let mut ends = Ends::new(false).await;
    ends.send(&mut Encoder::udp_client(1), b"lost").await;
    assert_eq!(ends.hears().await, Said::End(1, true));
    assert!(!ends.running.is_finished());
    assert!(ends.shadowsocks.try_recv_from(&mut [0; 9]).is_err(), "it got the packet");
}

#[tokio::test]
async fn sessions_are_bounded() {
    let mut ends = Ends::new(true).await;
    for id in 1..=u16::try_from(SESSIONS).unwrap() {
        ends.send(&mut Encoder::udp_client(id), b"one").await;
        ends.arrives().await;
    }
    ends.send(&mut Encoder::udp_client(999), b"one too many").await;
    assert_eq!(ends.hears().await, Said::End(999, false));
    ends.say(&mux::end(5, false)).await;
    assert_eq!(ends.hears().await, Said::End(5, false));
    ends.send(&mut Encoder::udp_client(1000), b"in its place").await;
    assert_eq!(ends.arrives().await.0, b"in its place");
}

#[tokio::test]
async fn a_session_ends_when_nothing_passes() {
    let mut ends = Ends::new(true).await;
    let (mut one, mut two) = (Encoder::udp_client(1), Encoder::udp_client(2));
    ends.send(&mut one, b"once").await;
    ends.arrives().await;
    ends.send(&mut two, b"and").await;
    let (_, from) = ends.arrives().await;
    pause();
    advance(IDLE - Duration::from_secs(9)).await;
    // What Shadowsocks says counts as well.
    ends.shadowsocks.send_to(b"again", from).await.unwrap();
    assert_eq!(ends.hears().await, Said::Packet(2, b"again".to_vec()));
    advance(Duration::from_secs(10)).await;
    assert_eq!(ends.hears().await, Said::End(1, false));
    assert!(!ends.running.is_finished());
    advance(IDLE).await;
    assert_eq!(ends.hears().await, Said::End(2, false));
}
