//! Both halves in one process, with Shadowsocks and the application in the hands of the test, and clients that say what
//! ours does not.

use super::super::connector::Connector;
use super::super::demux::Rules;
use super::super::test_socket::welcome;
use super::super::{CLIENT_IDLE, Listener, QuicOpener, Settings, transport_config, windows};
use super::{BUFFER, Outgoing, QuicPackets, STREAMS, allow};
use crate::config::{
    BackendRoutes, Congestion, ExtraRoot, Failover, QuicClientConfig, QuicServerConfig, ServerConfig,
    TlsClientConfig, TlsServerConfig, TunnelConfig,
};
use crate::detect;
use crate::metrics::text;
use crate::net::Dialer;
use crate::net::addr::{Host, HostPort};
use crate::net::handed_over::HandedOver;
use crate::net::limits::LimitOptions;
use crate::net::network::TrustedProxies;
use crate::net::options::SocketOptions;
use crate::net::udp::set_buffers;
use crate::server::Server;
use crate::service::Run as _;
use crate::transport::tls::Acceptor;
use crate::udp::{Backend, Ended, IDLE, LONGEST, PacketSocket, Packets, Port, Sources};
use quinn::Connection;
use std::collections::HashSet;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};
use tokio::time::{Instant, advance, timeout};

const SOON: Duration = Duration::from_secs(20);

/// Of example.com, with its key, for these tests alone.
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/transport/quic/packets/certificate.pem");

fn host(address: SocketAddr) -> HostPort {
    HostPort { host: Host::Ip(address.ip()), port: address.port() }
}

/// A UDP socket for which the system keeps a flood.
fn socket() -> UdpSocket {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    set_buffers(&socket, 8 << 20);
    socket.set_nonblocking(true).unwrap();
    UdpSocket::from_std(socket).unwrap()
}

async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = vec![0; 65_536];
    let (len, from) = timeout(SOON, socket.recv_from(&mut packet)).await.unwrap().unwrap();
    packet.truncate(len);
    (packet, from)
}

/// A UDP port, and the TCP port of the same number. Others have ports, too, so several are tried.
async fn shadowsocks() -> (UdpSocket, TcpListener) {
    const TIMES: usize = 100;
    for _ in 0..TIMES {
        let udp = socket();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            return (udp, tcp);
        }
    }
    panic!("no number is free for both");
}

/// A server, and Shadowsocks behind it.
struct Far {
    server: SocketAddr,
    shadowsocks: UdpSocket,
    tcp: TcpListener,
}

impl Far {
    async fn new(udp: bool, limits: LimitOptions) -> Far {
        let (shadowsocks, tcp) = shadowsocks().await;
        let config = ServerConfig {
            listen: vec![host("127.0.0.1:0".parse().unwrap())],
            backend: host(shadowsocks.local_addr().unwrap()),
            rules: detect::Rules::default(),
            failover: Failover::default(),
            auto: false,
            names: Vec::new(),
            routes: BackendRoutes::default(),
            tls: Some(TlsServerConfig {
                candidates: vec![(CERTIFICATE.into(), CERTIFICATE.into())],
                name: None,
            }),
            quic: Some(QuicServerConfig { congestion: Congestion::Cubic, website: None, alone: true }),
            fronts: TrustedProxies::default(),
            limits,
            grpc_alone: false,
            udp,
        };
        let server = Server::bind(config, &TunnelConfig::default(), HandedOver::default()).unwrap();
        let far = Far { server: server.addresses()[0], shadowsocks, tcp };
        tokio::spawn(async move { server.run().await });
        far
    }

    fn dialer(&self) -> Dialer {
        Dialer::new(vec![host(self.server)], SocketOptions::default())
    }

    /// A connection whose datagrams and streams the test makes.
    async fn connection(&self, takes_packets: bool) -> Connection {
        let mut transport = transport_config(Congestion::Cubic, windows::of_client(), CLIENT_IDLE, 0);
        if takes_packets {
            allow(&mut transport);
        }
        let connector = Connector::new(client_config(), self.dialer(), transport).unwrap();
        connector.connect().await.unwrap()
    }

    async fn arrives(&self) -> Vec<u8> {
        receive(&self.shadowsocks).await.0
    }
}

fn client_config() -> QuicClientConfig {
    let extra_root = Some(ExtraRoot::File(PathBuf::from(CERTIFICATE)));
    QuicClientConfig {
        tls: TlsClientConfig { server_name: "example.com".into(), extra_root },
        congestion: Congestion::Cubic,
    }
}

/// A client, and its local port.
struct Near {
    packets: Arc<QuicPackets>,
    port: SocketAddr,
}

impl Near {
    fn new(far: &Far) -> Near {
        Near::with(QuicPackets::new(client_config(), far.dialer()).unwrap())
    }

    fn with(packets: QuicPackets) -> Near {
        let packets = Arc::new(packets);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        set_buffers(&socket, 8 << 20);
        let socket = Arc::new(PacketSocket::new(socket).unwrap());
        let port = socket.local_addr().unwrap();
        let carrier = Arc::clone(&packets);
        tokio::spawn(async move {
            let mut sources = Sources::new(Arc::clone(&socket));
            loop {
                let take = |from, packet: &[u8]| {
                    if let Some(source) = sources.take(from, packet, Instant::now()) {
                        carrier.carry(Port::from(source));
                    }
                };
                let mut take = take;
                poll_fn(|cx| socket.poll_recv(cx, &mut take)).await.unwrap();
            }
        });
        Near { packets, port }
    }
}

/// How many packets were dropped for this cause, in this process.
fn dropped(cause: &str) -> u64 {
    let line = format!("obfs_rs_udp_packets_dropped_total{{cause=\"{cause}\"}} ");
    let text = text();
    let number = text.lines().find_map(|found| found.strip_prefix(&line)).unwrap();
    number.parse().unwrap()
}

/// Waits until so many were.
async fn are_dropped(cause: &str, many: u64) {
    let all = async {
        while dropped(cause) < many {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(SOON, all).await.unwrap();
}

#[tokio::test]
async fn packets_of_all_sizes_arrive_as_they_are_both_ways() {
    let far = Far::new(true, LimitOptions::default()).await;
    let near = Near::new(&far);
    let (app, other) = (socket(), socket());
    let mut froms = HashSet::new();
    for (size, fill) in
        [0, 1, 1000, 1150, 1200, 1252, 1400, 1452, 1500, 9000, 60_000, LONGEST].into_iter().zip(1..)
    {
        for app in [&app, &other] {
            let packet: Vec<u8> = vec![fill; size];
            app.send_to(&packet, near.port).await.unwrap();
            let (arrived, from) = receive(&far.shadowsocks).await;
            assert!(arrived == packet, "{size} bytes up, {} have arrived", arrived.len());
            froms.insert(from);
            let answer: Vec<u8> = vec![!fill; size];
            far.shadowsocks.send_to(&answer, from).await.unwrap();
            let (arrived, from) = receive(app).await;
            assert!(arrived == answer, "{size} bytes down, {} have arrived", arrived.len());
            assert_eq!(from, near.port);
        }
    }
    assert_eq!(froms.len(), 2, "each source has one socket of its own to Shadowsocks");
}

#[tokio::test]
async fn a_server_without_udp_loses_no_tunnel_and_gets_no_packet() {
    let far = Far::new(false, LimitOptions::default()).await;
    let near = Near::new(&far);
    let app = socket();
    for many in 1..=3 {
        app.send_to(b"packet", near.port).await.unwrap();
        are_dropped("not-taken", many).await;
    }
    let opener = QuicOpener::new(client_config(), far.dialer()).unwrap();
    let tunnel = opener.open(b"first".to_vec()).await.unwrap();
    let (near_app, mut application) = crate::relay::test_streams::connection().await;
    let timeouts = crate::relay::Timeouts::new(SOON);
    tokio::spawn(async move { drop(tunnel.relay(near_app, timeouts).await) });
    let (mut shadowsocks, _) = timeout(SOON, far.tcp.accept()).await.unwrap().unwrap();
    let mut said = [0; 5];
    timeout(SOON, shadowsocks.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"first");
    shadowsocks.write_all(b"answer").await.unwrap();
    let mut said = [0; 6];
    timeout(SOON, application.read_exact(&mut said)).await.unwrap().unwrap();
    assert_eq!(&said, b"answer");
    // What such a server says of itself is what it has said before there was UDP.
    let connection = far.connection(true).await;
    assert_eq!(connection.max_datagram_size(), None);
    assert!(timeout(Duration::from_millis(200), connection.open_uni()).await.is_err());
}

#[tokio::test]
async fn a_session_goes_on_in_another_connection() {
    let far = Far::new(true, LimitOptions::default()).await;
    let near = Near::new(&far);
    let app = socket();
    app.send_to(b"one", near.port).await.unwrap();
    let (packet, first) = receive(&far.shadowsocks).await;
    assert_eq!(packet, b"one");
    near.packets.end_connection();
    app.send_to(b"two", near.port).await.unwrap();
    let (packet, second) = receive(&far.shadowsocks).await;
    assert_eq!(packet, b"two");
    assert_ne!(first, second, "it is a new flow to the server");
    far.shadowsocks.send_to(b"answer", second).await.unwrap();
    assert_eq!(receive(&app).await.0, b"answer");
}

#[tokio::test]
async fn packets_are_dropped_and_counted_where_there_is_no_server() {
    let far = Far::new(true, LimitOptions::default()).await;
    let nowhere = HostPort { host: Host::Name("server.invalid".into()), port: 443 };
    let dialer = Dialer::new(vec![nowhere], SocketOptions::default());
    let near = Near::with(QuicPackets::new(client_config(), dialer).unwrap());
    let apps = [socket(), socket()];
    for many in 1..=3 {
        for app in &apps {
            app.send_to(b"packet", near.port).await.unwrap();
        }
        are_dropped("server-unreachable", 2 * many).await;
    }
    let near = Near::new(&far);
    apps[0].send_to(b"packet", near.port).await.unwrap();
    assert_eq!(far.arrives().await, b"packet", "that is another client's");
}

#[tokio::test]
async fn a_flow_that_made_room_for_others_begins_anew() {
    const FLOWS: u64 = 1024;
    let far = Far::new(true, LimitOptions::default()).await;
    let outgoing = Outgoing::new(far.connection(true).await);
    let mut sockets = HashSet::new();
    let mut say = async |flow: u64| {
        let mut packets = Packets::default();
        packets.push(b"packet");
        outgoing.send(flow, &mut packets);
        let (packet, from) = receive(&far.shadowsocks).await;
        assert_eq!(packet, b"packet");
        (from, sockets.insert(from))
    };
    let (first, _) = say(0).await;
    let (second, _) = say(1).await;
    for flow in 2..FLOWS {
        assert!(say(flow).await.1);
    }
    assert_eq!(say(0).await, (first, false), "it is known");
    assert!(say(FLOWS).await.1, "one more than there may be");
    assert_eq!(say(0).await, (first, false), "it was silent for less long than the others");
    assert_ne!(say(1).await.0, second, "it was forgotten");
}

#[tokio::test]
async fn flows_beyond_the_limit_on_tunnels_are_dropped() {
    // Of which half is left to TCP.
    let limits = LimitOptions { tunnels: Some(2), ..LimitOptions::default() };
    let far = Far::new(true, limits).await;
    let near = Near::new(&far);
    let (one, two) = (socket(), socket());
    one.send_to(b"one", near.port).await.unwrap();
    assert_eq!(far.arrives().await, b"one");
    two.send_to(b"two", near.port).await.unwrap();
    are_dropped("too-many-sessions", 1).await;
    one.send_to(b"more", near.port).await.unwrap();
    assert_eq!(far.arrives().await, b"more");
}

#[tokio::test]
async fn of_a_flood_the_first_packets_arrive_and_the_others_are_counted() {
    const MANY: u32 = 10_000;
    let far = Far::new(true, LimitOptions::default()).await;
    let outgoing = Outgoing::new(far.connection(true).await);
    let mut packets = Packets::default();
    for number in 0..MANY {
        let mut packet = [7; 1000];
        packet[..4].copy_from_slice(&number.to_be_bytes());
        packets.push(&packet);
    }
    // Nothing else runs until all of them are given away.
    outgoing.send(0, &mut packets);
    let sent = MANY - u32::try_from(dropped("busy")).unwrap();
    let most = u32::try_from(BUFFER / 1000).unwrap();
    assert!((most / 2..=most).contains(&sent), "{sent} of {MANY}");
    for number in 0..sent {
        assert_eq!(far.arrives().await[..4], number.to_be_bytes());
    }
}

#[tokio::test]
async fn a_stream_that_does_not_end_or_is_too_long_holds_up_nothing() {
    let far = Far::new(true, LimitOptions::default()).await;
    let connection = far.connection(true).await;
    let mut unfinished = connection.open_uni().await.unwrap();
    unfinished.write_all(b"\x07begun").await.unwrap();
    let mut long = connection.open_uni().await.unwrap();
    let writing = long.write_all(&[0; 8 + LONGEST + 1]).await;
    let stopped = timeout(SOON, long.stopped()).await.unwrap();
    assert!(writing.is_err() || matches!(stopped, Ok(Some(_))), "{writing:?} {stopped:?}");
    are_dropped("too-long", 1).await;
    let mut longest = connection.open_uni().await.unwrap();
    longest.write_all(&[[0].as_slice(), &[5; LONGEST]].concat()).await.unwrap();
    longest.finish().unwrap();
    assert_eq!(far.arrives().await, [5; LONGEST]);
    unfinished.write_all(b"!").await.unwrap();
    unfinished.finish().unwrap();
    assert_eq!(far.arrives().await, b"begun!");
    // They are bounded, and where there may be no more, nobody waits for one.
    let mut open = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), connection.open_uni()).await {
        let mut stream = stream.unwrap();
        stream.write_all(b"\0").await.unwrap();
        open.push(stream);
    }
    assert!((STREAMS as usize / 2..=STREAMS as usize).contains(&open.len()), "{}", open.len());
    let outgoing = Outgoing::new(connection);
    let mut packets = Packets::default();
    packets.push(&[1; 9000]);
    packets.push(b"short");
    let busy = dropped("busy");
    outgoing.send(0, &mut packets);
    assert_eq!(far.arrives().await, b"short");
    assert_eq!(dropped("busy"), busy + 1);
}

#[tokio::test]
async fn a_datagram_that_ends_within_its_number_is_nothing() {
    let far = Far::new(true, LimitOptions::default()).await;
    let connection = far.connection(true).await;
    for datagram in [&b""[..], b"\x40", b"\xc0\0\0", b"\x40\x01long form", b"\x01"] {
        connection.send_datagram(datagram.to_vec().into()).unwrap();
    }
    let (packet, from) = receive(&far.shadowsocks).await;
    assert_eq!(packet, b"long form");
    assert_eq!(receive(&far.shadowsocks).await, (Vec::new(), from), "the same flow, and an empty packet");
    // What a server has to say comes in the form that is shortest.
    far.shadowsocks.send_to(b"answer", from).await.unwrap();
    let answer = timeout(SOON, connection.read_datagram()).await.unwrap().unwrap();
    assert_eq!(&answer[..], b"\x01answer");
}

/// The server of a tunnel's connection is told nothing of UDP, though it takes UDP itself.
#[tokio::test]
async fn only_the_connection_for_packets_takes_datagrams() {
    let tls = TlsServerConfig { candidates: vec![(CERTIFICATE.into(), CERTIFICATE.into())], name: None };
    let settings = Settings::new(&Acceptor::new(&tls, false).unwrap(), Congestion::Cubic, true).unwrap();
    let rules = Rules { is_ours: Box::new(|_, _| true), website: None, welcome: Arc::new(welcome) };
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener::new(socket, &settings, rules).unwrap();
    let dialer = || Dialer::new(vec![host(address)], SocketOptions::default());
    let takes_datagrams = async || {
        let arriving = timeout(SOON, listener.accept()).await.unwrap().unwrap();
        let (_, outgoing) = arriving.establish(&settings).await.unwrap().packets().unwrap();
        outgoing.is_possible()
    };
    let opener = QuicOpener::new(client_config(), dialer()).unwrap();
    let (tunnel, takes) = tokio::join!(opener.open(b"first".to_vec()), takes_datagrams());
    assert!(tunnel.is_ok() && !takes);
    let near = Near::with(QuicPackets::new(client_config(), dialer()).unwrap());
    let app = self::socket();
    app.send_to(b"packet", near.port).await.unwrap();
    assert!(takes_datagrams().await);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_over_when_nothing_has_passed_for_a_time() {
    let shadowsocks = socket();
    let dialer = Dialer::new(vec![host(shadowsocks.local_addr().unwrap())], SocketOptions::default());
    let mut port = Port::from(Backend::open(&Arc::new(dialer)).unwrap());
    let mut idle = Box::pin(tokio::time::sleep_until(port.idle_at()));
    let mut packets = Packets::default();
    let mut poll = |port: &mut Port| {
        let mut packets = Packets::default();
        super::poll_port(port, &mut packets, idle.as_mut(), &mut Context::from_waker(Waker::noop()))
    };
    assert!(poll(&mut port).is_pending());
    advance(IDLE - Duration::from_secs(1)).await;
    assert!(poll(&mut port).is_pending());
    packets.push(b"packet");
    port.send(&mut packets);
    advance(IDLE - Duration::from_secs(1)).await;
    assert!(poll(&mut port).is_pending(), "something has passed");
    advance(Duration::from_secs(2)).await;
    assert_eq!(poll(&mut port), Poll::Ready(Err(Ended::Idle)));
}

/// A way to a server. Once `is_lost` is set nothing passes, until another connection begins.
async fn way(server: SocketAddr, is_lost: Arc<AtomicBool>) -> SocketAddr {
    let (near, far) = (socket(), socket());
    far.connect(server).await.unwrap();
    let address = near.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        let mut client = None;
        loop {
            tokio::select! {
                came = near.recv_from(&mut up) => {
                    let (len, from) = came.unwrap();
                    client = Some(from);
                    // (a long header: a handshake)
                    if up[0] & 0x80 != 0 {
                        is_lost.store(false, Ordering::Relaxed);
                    }
                    if !is_lost.load(Ordering::Relaxed) {
                        far.send(&up[..len]).await.unwrap();
                    }
                }
                came = far.recv(&mut down) => {
                    let len = came.unwrap();
                    if !is_lost.load(Ordering::Relaxed) {
                        near.send_to(&down[..len], client.unwrap()).await.unwrap();
                    }
                }
            }
        }
    });
    address
}

#[tokio::test]
async fn a_session_leaves_a_connection_on_which_nobody_answers() {
    let far = Far::new(true, LimitOptions::default()).await;
    let is_lost = Arc::new(AtomicBool::new(false));
    let way = way(far.server, Arc::clone(&is_lost)).await;
    let dialer = Dialer::new(vec![host(way)], SocketOptions::default());
    let near = Near::with(QuicPackets::new(client_config(), dialer).unwrap());
    let app = socket();
    app.send_to(b"one", near.port).await.unwrap();
    let (_, first) = receive(&far.shadowsocks).await;
    far.shadowsocks.send_to(b"answer", first).await.unwrap();
    assert_eq!(receive(&app).await.0, b"answer");
    is_lost.store(true, Ordering::Relaxed);
    let mut packet = [0; 16];
    let arrives = async {
        loop {
            app.send_to(b"two", near.port).await.unwrap();
            let received = far.shadowsocks.recv_from(&mut packet);
            if let Ok(received) = timeout(Duration::from_millis(100), received).await {
                break received.unwrap();
            }
        }
    };
    let (len, second) = timeout(SOON, arrives).await.unwrap();
    assert_eq!((&packet[..len], second == first), (&b"two"[..], false));
}
