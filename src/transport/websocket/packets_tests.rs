//! Packets in messages, with the other end of the connection, and of the port, in the hands of the test.

use super::*;
use crate::config::{WebBody, WebConfig};
use crate::net::Dialer;
use crate::net::addr::{Host, HostPort};
use crate::net::options::SocketOptions;
use crate::relay::test_streams::{InMemory, connection};
use crate::transport::WebOpener;
use crate::udp::{Backend, PacketSocket, Remote, Source, Sources};
use crate::wire::Decoder as _;
use crate::wire::http::switching_protocols;
use crate::wire::websocket::{Control, Decoder, mask};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use tokio::time::timeout;

const KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
const SOON: Duration = Duration::from_secs(20);

const FIN: u8 = 0x80;
const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;

/// A frame of a client (or of a server), whose payload may be of any length.
fn frame_of(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    let masked = if role == Role::Client { 0x80 } else { 0 };
    match payload.len() {
        len @ 0..=125 => frame.push(masked | len as u8),
        len @ 126..=65_535 => {
            frame.push(masked | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(masked | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    let mut payload = payload.to_vec();
    if role == Role::Client {
        let key = [1, 2, 3, 4];
        frame.extend(key);
        mask(key, &mut payload);
    }
    frame.extend(payload);
    frame
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(Role::Client, first, payload)
}

/// A message in fragments, with a ping behind each of them.
fn message(opcode: u8, fragments: &[Vec<u8>], pings: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, fragment) in fragments.iter().enumerate() {
        let fin = if index + 1 == fragments.len() { FIN } else { 0 };
        bytes.extend(frame(fin | if index == 0 { opcode } else { CONTINUATION }, fragment));
        if pings {
            bytes.extend(frame(FIN | PING, b"?"));
        }
    }
    bytes
}

/// What a server finds in these pieces, and whether that ends.
fn found(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Result<bool, String>) {
    let (mut incoming, mut websocket) = (Incoming::default(), WebSocket::new(Role::Server, KEY));
    let mut all = Vec::new();
    let mut end = Ok(false);
    for piece in pieces {
        end = incoming.take(&mut websocket, &mut piece.to_vec()).map_err(|error| error.to_string());
        all.extend(incoming.packets.iter().map(<[u8]>::to_vec));
        incoming.packets.clear();
        assert!(incoming.packets.unfinished() <= LONGEST);
        if end != Ok(false) {
            break;
        }
    }
    (all, end)
}

fn messages() -> impl Strategy<Value = Vec<(bool, bool, Vec<Vec<u8>>)>> {
    let part = prop_oneof![2 => Just(0..1), 4 => Just(0..6), 1 => Just(120..130)]
        .prop_flat_map(|len| prop::collection::vec(any::<u8>(), len));
    let fragments = prop::collection::vec(part, 1..4);
    prop::collection::vec((any::<bool>(), any::<bool>(), fragments), 0..8)
}

proptest! {
    /// Empty ones among them.
    #[test]
    fn no_packet_is_lost_nor_joined_whatever_the_pieces(
        messages in messages(),
        ends in 0..3_u8,
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut bytes = Vec::new();
        for (text, pings, fragments) in &messages {
            bytes.extend(message(if *text { TEXT } else { BINARY }, fragments, *pings));
        }
        let wanted_end = match ends {
            1 => {
                bytes.extend(frame(FIN | CLOSE, &1000_u16.to_be_bytes()));
                Ok(true)
            }
            2 => {
                bytes.extend(frame(FIN | CONTINUATION, b"stray"));
                Err("a WebSocket continuation frame has no message to continue".to_owned())
            }
            _ => Ok(false),
        };
        let wanted: Vec<Vec<u8>> = messages.iter().map(|(_, _, fragments)| fragments.concat()).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        prop_assert_eq!(found(&pieces), (wanted.clone(), wanted_end.clone()));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(found(&single).0, wanted);
    }
}

#[test]
fn a_message_that_is_too_long_is_dropped_and_the_next_one_is_whole() {
    let next = frame(FIN | BINARY, b"next");
    let longest = vec![7; LONGEST];
    for (long, is_taken) in [
        (vec![longest.clone()], true),
        (vec![vec![7; LONGEST + 1]], false),
        (vec![vec![7; 200_000]], false),
        (vec![longest.clone(), Vec::new()], true),
        (vec![longest, vec![7]], false),
        (vec![vec![7]; LONGEST], true),
        (vec![vec![7]; 200_000], false),
    ] {
        let bytes = [message(BINARY, &long, false), next.clone()].concat();
        let pieces: Vec<&[u8]> = bytes.chunks(60_000).collect();
        let (packets, end) = found(&pieces);
        let wanted = if is_taken { vec![long.concat(), b"next".to_vec()] } else { vec![b"next".to_vec()] };
        assert!(packets == wanted, "{} fragments, {} packets", long.len(), packets.len());
        assert_eq!(end, Ok(false));
    }
}

/// They cost more than they bring.
#[test]
fn of_one_read_only_so_many_packets_are_taken() {
    let bytes = frame(FIN | BINARY, b"").repeat(PACKETS + 10);
    let (packets, end) = found(&[&bytes, &frame(FIN | BINARY, b"next")]);
    assert_eq!((packets.len(), end), (PACKETS + 1, Ok(false)));
    assert_eq!(packets.last().unwrap(), b"next");
}

/// An application that speaks to a local port, and the sources of that.
struct App {
    socket: UdpSocket,
    sources: Sources,
    remote: Remote,
}

impl App {
    async fn new() -> App {
        let local = PacketSocket::new(std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let remote = Remote { address: socket.local_addr().unwrap(), local: None };
        App { socket, sources: Sources::new(Arc::new(local)), remote }
    }

    fn says(&mut self, packet: &[u8]) -> Option<Source> {
        self.sources.take(self.remote, packet, Instant::now())
    }

    async fn hears(&self) -> Vec<u8> {
        received(&self.socket).await.0
    }
}

async fn received(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut packet = vec![0; 65_536];
    let (len, from) = timeout(SOON, socket.recv_from(&mut packet)).await.unwrap().unwrap();
    packet.truncate(len);
    (packet, from)
}

/// Shadowsocks, and a socket to it.
async fn shadowsocks() -> (UdpSocket, Backend) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let host = HostPort { host: Host::Ip(address.ip()), port: address.port() };
    let dialer = Arc::new(Dialer::new(vec![host], SocketOptions::default()));
    let backend = Backend::open(&dialer).unwrap();
    (socket, backend)
}

fn open<S: RelayStream>(io: S, role: Role, behind: &[u8]) -> PacketStream<S> {
    PacketStream::new(io, WebSocket::new(role, KEY), behind.to_vec())
}

/// A connection in memory that runs, and its other end.
fn running(
    role: Role,
    room: usize,
    behind: &[u8],
    port: impl Into<Port>,
) -> (JoinHandle<Outcome>, DuplexStream) {
    let (near, far) = InMemory::new(room);
    (tokio::spawn(open(near, role, behind).run(port.into())), far)
}

/// The close code that comes last, and what comes before it.
async fn closed(far: &mut DuplexStream, role: Role) -> (Vec<u8>, Option<u16>) {
    let mut bytes = Vec::new();
    timeout(SOON, far.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let (mut decoder, mut at, mut payload) = (Decoder::new(role), 0, Vec::new());
    loop {
        match decoder.decode(&mut bytes, &mut at).unwrap() {
            Step::Payload(range) => payload.extend_from_slice(&bytes[range]),
            Step::Event(Control::Close(code)) => return (payload, code),
            Step::Event(_) => {}
            Step::NeedMore => return (payload, None),
        }
    }
}

#[tokio::test]
async fn packets_of_all_sizes_pass_both_ways() {
    let (mut app, (socket, backend)) = (App::new().await, shadowsocks().await);
    let (near, far) = connection().await;
    let server = tokio::spawn(open(far, Role::Server, b"").run(backend));
    let mut client = None;
    let mut near = Some(near);
    let (mut up, mut down) = (0, 0);
    let sizes = (0..=1500).chain((1500..LONGEST).step_by(499)).chain(65_490..=LONGEST);
    for size in sizes {
        let packet: Vec<u8> = (0..size).map(|at| (at * 31 + size) as u8).collect();
        if let Some(source) = app.says(&packet) {
            client = Some(tokio::spawn(open(near.take().unwrap(), Role::Client, b"").run(source)));
        }
        let (came, from) = received(&socket).await;
        assert!(came == packet, "{} of {size} bytes", came.len());
        let answer: Vec<u8> = packet.iter().rev().copied().collect();
        socket.send_to(&answer, from).await.unwrap();
        assert!(app.hears().await == answer, "{size} bytes");
        (up, down) = (up + size as u64, down + size as u64);
    }
    drop(app);
    let ended = |outcome: Outcome| (outcome.up, outcome.down, outcome.end.to_string());
    let wanted = (up, down, "closed".to_owned());
    assert_eq!(ended(client.unwrap().await.unwrap()), wanted);
    assert_eq!(ended(server.await.unwrap()), wanted);
}

/// Each is one message, and many are one write.
#[tokio::test]
async fn what_waits_goes_out_at_once_in_its_order() {
    let mut app = App::new().await;
    let source = app.says(b"0").unwrap();
    for number in 1..200 {
        assert!(app.says(number.to_string().as_bytes()).is_none());
    }
    let (running, mut far) = running(Role::Client, 1 << 20, b"", source);
    let (mut decoder, mut bytes, mut read) = (Decoder::new(Role::Server), vec![0; 1 << 16], Vec::new());
    while read.len() < 200 {
        let len = timeout(SOON, far.read(&mut bytes)).await.unwrap().unwrap();
        assert!(len > MESSAGES.min(200 - read.len()) * 7, "{len} bytes at once");
        let mut at = 0;
        while let Step::Payload(range) = decoder.decode(&mut bytes[..len], &mut at).unwrap() {
            assert!(decoder.is_between_messages());
            read.push(String::from_utf8(bytes[range].to_vec()).unwrap());
        }
    }
    assert_eq!(decoder.messages(), 200);
    assert!(read.iter().enumerate().all(|(index, number)| *number == index.to_string()), "{read:?}");
    drop(app);
    assert_eq!(closed(&mut far, Role::Server).await, (Vec::new(), Some(CLOSE_NORMAL)));
    drop(far);
    assert!(matches!(running.await.unwrap().end, End::Closed));
}

#[tokio::test]
async fn what_came_with_the_handshake_is_packets_too() {
    let (socket, backend) = shadowsocks().await;
    let behind =
        [message(BINARY, &[b"a".to_vec(), b"b".to_vec()], true), frame(FIN | BINARY, b""), frame(2, b"c")];
    let (near, mut far) = InMemory::new(4096);
    let open = open(near, Role::Server, &behind.concat()).with_first(b"first");
    let running = tokio::spawn(open.run(backend));
    for wanted in [&b"first"[..], b"ab", b""] {
        assert_eq!(received(&socket).await.0, wanted);
    }
    far.write_all(&frame(FIN, b"d")).await.unwrap();
    assert_eq!(received(&socket).await.0, b"cd");
    // In the middle of a message: what is not whole is nothing.
    far.write_all(&frame(BINARY, b"half")).await.unwrap();
    far.write_all(&frame(FIN | CLOSE, &1001_u16.to_be_bytes())).await.unwrap();
    assert_eq!(closed(&mut far, Role::Client).await, (Vec::new(), Some(1001)));
    drop(far);
    let outcome = running.await.unwrap();
    assert!(matches!(outcome.end, End::Closed), "{}", outcome.end);
    assert_eq!((outcome.up, outcome.down), (9, 0));
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_told_so() {
    let (socket, backend) = shadowsocks().await;
    let (running, mut far) = running(Role::Server, 4096, b"", backend);
    let bytes = [frame(FIN | BINARY, b"good"), frame(0x40 | FIN | BINARY, b"bad")].concat();
    far.write_all(&bytes).await.unwrap();
    assert_eq!(closed(&mut far, Role::Client).await, (Vec::new(), Some(1002)));
    drop(far);
    assert!(matches!(running.await.unwrap().end, End::Malformed(Side::Accepted, _)));
    assert_eq!(received(&socket).await.0, b"good");
}

#[tokio::test]
async fn a_server_that_takes_none_says_so_and_a_client_knows_it() {
    let (near, mut far) = InMemory::new(4096);
    let refusing = tokio::spawn(open(near, Role::Server, b"").refuse());
    assert_eq!(closed(&mut far, Role::Client).await, (Vec::new(), Some(CLOSE_UNSUPPORTED_DATA)));
    drop(far);
    assert!(matches!(refusing.await.unwrap().end, End::Closed));
    let mut app = App::new().await;
    let source = app.says(b"packet").unwrap();
    let behind = frame_of(Role::Server, FIN | CLOSE, &CLOSE_UNSUPPORTED_DATA.to_be_bytes());
    let (running, _far) = running(Role::Client, 4096, &behind, source);
    match running.await.unwrap().end {
        End::Reset(Side::Dialled, error) => assert_eq!(error.kind(), io::ErrorKind::Unsupported),
        end => panic!("{end}"),
    }
}

/// The request of a Go program with one header more; what comes right behind the answer is packets.
#[tokio::test]
async fn a_client_asks_for_packets() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let host = HostPort { host: Host::Ip(address.ip()), port: address.port() };
    let config = WebConfig {
        body: WebBody::Frames,
        path: "/path".into(),
        host: "front.example".into(),
        user_agent: "Go-http-client/1.1".into(),
        headers: vec![("X-Own".into(), "1".into())],
        early_data: 2048,
        mux: 0,
        keep_alive: None,
        tls: None,
    };
    let opener = WebOpener::new(config, Dialer::new(vec![host], SocketOptions::default())).unwrap();
    let server = tokio::spawn(async move {
        let mut client = listener.accept().await.unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert!(client.read_buf(&mut request).await.unwrap() > 0);
        }
        let request = String::from_utf8(request).unwrap();
        let key =
            request.split_once("Sec-WebSocket-Key: ").unwrap().1.split_once("\r\n").unwrap().0.to_owned();
        let answer = switching_protocols(Some(key.as_bytes()), None, std::time::SystemTime::UNIX_EPOCH);
        let packets =
            ["one", "", "two"].map(|packet| frame_of(Role::Server, FIN | BINARY, packet.as_bytes()));
        client.write_all(&[answer, packets.concat()].concat()).await.unwrap();
        (client, request.replace(&key, "KEY"))
    });
    let mut app = App::new().await;
    let source = app.says(b"packet").unwrap();
    let open = timeout(SOON, opener.packets()).await.unwrap().unwrap();
    let (_client, request) = server.await.unwrap();
    assert_eq!(
        request,
        "GET /path HTTP/1.1\r\nHost: front.example\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: KEY\r\nSec-WebSocket-Version: 13\r\nUpgrade: websocket\r\nX-Own: 1\r\n\
         X-Sock-Type: udp\r\n\r\n"
    );
    let running = tokio::spawn(open.run(source));
    for wanted in ["one", "", "two"] {
        assert_eq!(app.hears().await, wanted.as_bytes());
    }
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn a_session_in_which_nothing_passes_ends() {
    let (_socket, backend) = shadowsocks().await;
    let began = Instant::now();
    let (running, mut far) = running(Role::Server, 4096, b"", backend);
    tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
    // Pings are answered, and count for nothing.
    far.write_all(&frame(FIN | PING, b"?")).await.unwrap();
    let mut pong = [0; 3];
    far.read_exact(&mut pong).await.unwrap();
    assert_eq!(pong, [0x8a, 1, b'?']);
    assert_eq!(closed(&mut far, Role::Client).await, (Vec::new(), Some(CLOSE_NORMAL)));
    assert_eq!(began.elapsed().as_secs(), IDLE.as_secs());
    drop(far);
    assert!(matches!(running.await.unwrap().end, End::Idle(IDLE)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_reads_nothing_is_given_up_and_costs_no_more_than_one_batch() {
    let mut app = App::new().await;
    let source = app.says(&[0; 1200]).unwrap();
    let began = Instant::now();
    let (running, mut far) = running(Role::Client, 1024, b"", source);
    for _ in 0..500 {
        app.says(&[0; 1200]);
        tokio::task::yield_now().await;
    }
    let outcome = running.await.unwrap();
    assert!(matches!(&outcome.end, End::Reset(_, error) if error.kind() == io::ErrorKind::TimedOut));
    assert_eq!(began.elapsed().as_secs(), UNREAD_MAX.as_secs());
    assert!(outcome.up <= (1200 + BATCH) as u64, "{} bytes were taken", outcome.up);
    let mut left = Vec::new();
    far.read_to_end(&mut left).await.unwrap();
    assert_eq!(left.len(), 1024);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_passes_is_kept_alive() {
    const EVERY: Duration = Duration::from_secs(45);
    let mut app = App::new().await;
    let source = app.says(b"packet").unwrap();
    let (near, mut far) = InMemory::new(4096);
    let websocket = WebSocket::new(Role::Client, KEY).kept_alive(Some(EVERY));
    let running = tokio::spawn(PacketStream::new(near, websocket, Vec::new()).run(source));
    let mut decoder = Decoder::new(Role::Server);
    let (mut bytes, mut pings, mut payload) = (vec![0; 4096], 0, Vec::new());
    loop {
        let len = far.read(&mut bytes).await.unwrap();
        let mut at = 0;
        loop {
            match decoder.decode(&mut bytes[..len], &mut at).unwrap() {
                Step::Payload(range) => payload.extend_from_slice(&bytes[range]),
                Step::Event(Control::Ping) => pings += 1,
                Step::Event(_) => {}
                Step::NeedMore => break,
            }
        }
        if len == 0 {
            break;
        }
    }
    // Which keep no session from being idle.
    assert!((6..=9).contains(&pings), "{pings} pings");
    assert_eq!(payload, b"packet");
    drop(far);
    assert!(matches!(running.await.unwrap().end, End::Idle(IDLE)));
}
