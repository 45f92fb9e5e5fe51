//! Whatever the disguise, and whatever arrives together: the other side sees the same bytes, and behind
//! them the same end.

mod pieces;
mod slow;

use crate::support::backend::{Backend, next};
use crate::support::conn::{self, End, connect, exchange, fin, recv_head, recv_to_end, send};
use crate::support::link::Link;
use crate::support::peers::need;
use crate::support::plugin::{Ours, Plugin, client, server};
use crate::support::ports::free_port;
use crate::support::v2ray::{Certificate, NAME};
use crate::support::websocket::{BINARY, CLOSE, PING, Ws, frame, mux};
use crate::support::{STEP, assert_same, digest, eventually, millis, noise, secs, settled, within};
use sha1::Digest as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

/// Options of a client, and those of its server.
const PLAIN: [(&str, &str); 12] = [
    ("obfs=http;obfs-host=a", "obfs=http"),
    ("obfs=http;obfs-host=a;handshake=standard", "obfs=http"),
    ("obfs=tls;obfs-host=a", "obfs=tls"),
    ("mode=httpupgrade", "mode=websocket"),
    ("mode=httpupgrade;handshake=eager", "mode=websocket"),
    ("mode=httpupgrade;path=/?ed=2048", "mode=websocket"),
    ("mode=websocket;mux=0", "mode=websocket"),
    ("mode=websocket;mux=1", "mode=websocket"),
    ("mode=websocket;mux=8", "mode=websocket"),
    ("mode=websocket;mux=0;path=/?ed=2048", "mode=websocket"),
    ("mode=websocket;mux=1;path=/?ed=8", "mode=websocket"),
    ("mode=grpc;serviceName=chairs", "mode=grpc;serviceName=chairs"),
];

const SIZES: [usize; 4] = [1, 5, 16 * 1024, 3 * 1024 * 1024 + 1];

/// Both halves, and a link between them if it delays.
struct Tunnel {
    client: Plugin,
    server: Plugin,
    what: String,
    _link: Option<Link>,
}

impl Tunnel {
    fn new(backend: SocketAddr, (for_client, for_server): (&str, &str), delay: Duration) -> Tunnel {
        let server = server(Ours, backend, for_server);
        let link = (!delay.is_zero()).then(|| Link::to(server.addr, delay));
        let remote = link.as_ref().map_or(server.addr, |link| link.addr);
        let client = client(Ours, remote, for_client);
        Tunnel { client, server, what: format!("{for_client}, {delay:?}"), _link: link }
    }

    fn logs(&self) -> String {
        format!("{}: {}\n{}", self.what, self.client.child.show_log(), self.server.child.show_log())
    }
}

/// Runs a test over every disguise: on loopback, and over a link that delays; then in TLS.
fn over_every_disguise(test: impl Fn(&dyn Fn(SocketAddr) -> Tunnel)) {
    for delay in [Duration::ZERO, millis(15)] {
        for options in PLAIN {
            test(&|backend| Tunnel::new(backend, options, delay));
        }
    }
}

fn over_every_disguise_in_tls(test: impl Fn(&dyn Fn(SocketAddr) -> Tunnel)) {
    let certificate = Certificate::new(NAME);
    for delay in [Duration::ZERO, millis(15)] {
        for (for_client, for_server) in PLAIN.iter().filter(|(options, _)| options.starts_with("mode=")) {
            let for_client = format!("{for_client};{}", certificate.for_client());
            let for_server = format!("{for_server};{}", certificate.for_server());
            test(&|backend| Tunnel::new(backend, (&for_client, &for_server), delay));
        }
    }
}

/// Reads each connection to its end, says what came and how it ended, and answers an end in order with
/// the digest.
fn recorder() -> (Backend, Receiver<(Vec<u8>, End)>) {
    let (sender, records) = mpsc::channel();
    let backend = Backend::serve(move |stream| {
        use std::io::Write;
        let (bytes, end) = recv_to_end(&stream, STEP);
        let answer = digest(&bytes);
        let _ = sender.send((bytes, end));
        if end == End::Fin {
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (backend, records)
}

/// The first byte is one with which a Mux.Cool head may begin, or any other.
fn payload(len: usize, first: u8) -> Vec<u8> {
    let mut bytes = noise(len, len as u64);
    if let Some(byte) = bytes.first_mut() {
        *byte = first;
    }
    bytes
}

fn half_close(tunnel: &dyn Fn(SocketAddr) -> Tunnel) {
    let (backend, _records) = recorder();
    let tunnel = tunnel(backend.addr);
    for len in SIZES {
        // What is longer than a head of Mux.Cool is told from one whatever its first byte.
        for first in if len > 1 { [0, 0x80].iter() } else { [0, 1, 2, 0x80].iter() } {
            let file = payload(len, *first);
            let (answer, end) = exchange(&connect(tunnel.client.addr), &file, STEP);
            assert_eq!(
                (String::from_utf8_lossy(&answer).as_ref(), end),
                (digest(&file).as_str(), End::Fin),
                "{len} bytes, the first {first}; {}",
                tunnel.logs()
            );
        }
    }
}

#[test]
fn a_half_close_arrives_behind_the_bytes_and_the_answer_comes_back() {
    within(secs(300), || over_every_disguise(half_close));
}

#[test]
fn in_tls_a_half_close_arrives_behind_the_bytes_and_the_answer_comes_back() {
    within(secs(300), || {
        need!("openssl");
        over_every_disguise_in_tls(half_close);
    });
}

fn close(tunnel: &dyn Fn(SocketAddr) -> Tunnel) {
    let (backend, records) = recorder();
    let tunnel = tunnel(backend.addr);
    for len in SIZES {
        for first in [0, 0x80] {
            let file = payload(len, first);
            let app = connect(tunnel.client.addr);
            send(&app, &file);
            drop(app);
            let record = records.recv_timeout(STEP);
            let Ok((got, end)) = record else { panic!("{len} bytes never came; {}", tunnel.logs()) };
            assert_same(&format!("{len} bytes and a close; {}", tunnel.what), &got, &file);
            assert_eq!(end, End::Fin, "{len} bytes; {}", tunnel.logs());
        }
    }
}

#[test]
fn bytes_and_a_close_arrive() {
    within(secs(300), || over_every_disguise(close));
}

#[test]
fn in_tls_bytes_and_a_close_arrive() {
    within(secs(300), || {
        need!("openssl");
        over_every_disguise_in_tls(close);
    });
}

fn reset(tunnel: &dyn Fn(SocketAddr) -> Tunnel) {
    let (backend, records) = recorder();
    let tunnel = tunnel(backend.addr);
    for len in [1, 5, 16 * 1024] {
        let file = payload(len, 0);
        let app = connect(tunnel.client.addr);
        send(&app, &file);
        conn::reset(app);
        let record = records.recv_timeout(STEP);
        let Ok((got, end)) = record else { panic!("{len} bytes never came; {}", tunnel.logs()) };
        assert_eq!(end, End::Reset, "{len} bytes; {}", tunnel.logs());
        // A kernel throws away what it has not sent when it resets: of much there may be less.
        let as_many = if len > 5 { got.len().min(len) } else { len };
        assert_same(&format!("{len} bytes and a reset; {}", tunnel.what), &got, &file[..as_many]);
    }
}

#[test]
fn bytes_and_a_reset_arrive() {
    within(secs(300), || over_every_disguise(reset));
}

#[test]
fn in_tls_bytes_and_a_reset_arrive() {
    within(secs(300), || {
        need!("openssl");
        over_every_disguise_in_tls(reset);
    });
}

/// The application says nothing, and ends its direction when the tunnel is open: the backend hears the
/// end, and what it then says arrives.
fn nothing_and_half_close(tunnel: &dyn Fn(SocketAddr) -> Tunnel) {
    let (backend, connections) = Backend::manual();
    let tunnel = tunnel(backend.addr);
    let app = connect(tunnel.client.addr);
    // The pause is the stimulus: without it there would be no tunnel.
    std::thread::sleep(millis(300));
    fin(&app);
    let behind = next(&connections);
    assert_eq!(recv_to_end(&behind, STEP), (Vec::new(), End::Fin), "{}", tunnel.logs());
    send(&behind, b"nobody asked");
    drop(behind);
    assert_eq!(recv_to_end(&app, STEP), (b"nobody asked".to_vec(), End::Fin), "{}", tunnel.logs());
}

#[test]
fn a_half_close_without_a_byte_arrives() {
    within(secs(300), || over_every_disguise(nothing_and_half_close));
}

/// A backend that answers, ends and is gone, before the application ends.
fn answer_and_close(tunnel: &dyn Fn(SocketAddr) -> Tunnel) {
    for len in SIZES {
        let file = payload(len, 0);
        let sent = file.clone();
        let backend = Backend::serve(move |stream| {
            conn::recv(&stream, 1);
            send(&stream, &sent);
        });
        let tunnel = tunnel(backend.addr);
        let app = connect(tunnel.client.addr);
        send(&app, b"?");
        let (got, end) = recv_to_end(&app, STEP);
        assert_same(&format!("{len} bytes down; {}", tunnel.what), &got, &file);
        assert_eq!(end, End::Fin, "{len} bytes down; {}", tunnel.logs());
    }
}

#[test]
fn an_answer_and_its_end_arrive() {
    within(secs(300), || over_every_disguise(answer_and_close));
}

#[test]
fn in_tls_an_answer_and_its_end_arrive() {
    within(secs(300), || {
        need!("openssl");
        over_every_disguise_in_tls(answer_and_close);
    });
}

/// A backend that answers and resets.
fn answer_and_reset(tunnel: &dyn Fn(SocketAddr) -> Tunnel) {
    let backend = Backend::serve(move |stream| {
        conn::recv(&stream, 1);
        conn::reset(stream);
    });
    let tunnel = tunnel(backend.addr);
    let app = connect(tunnel.client.addr);
    send(&app, b"?");
    assert_eq!(recv_to_end(&app, STEP), (Vec::new(), End::Reset), "{}", tunnel.logs());
}

#[test]
fn a_reset_by_the_backend_arrives() {
    within(secs(300), || over_every_disguise(answer_and_reset));
}

/// No Shadowsocks behind the server: the application sees a failure, not an answer without a byte.
fn nobody_behind(tunnel: &dyn Fn(SocketAddr) -> Tunnel) {
    let tunnel = tunnel(SocketAddr::from(([127, 0, 0, 1], free_port())));
    let app = connect(tunnel.client.addr);
    send(&app, b"hello");
    assert_eq!(recv_to_end(&app, STEP), (Vec::new(), End::Reset), "{}", tunnel.logs());
}

#[test]
fn a_backend_that_is_not_there_is_a_reset_at_the_application() {
    within(secs(300), || over_every_disguise(nobody_behind));
}

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What a client says at once, the ends included.
fn says_at_once(server: &Plugin, frames: &[u8], with_request: bool) -> TcpStream {
    if with_request {
        let stream = connect(server.addr);
        let head = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
             Sec-WebSocket-Version: 13\r\nUpgrade: websocket\r\n\r\n"
        );
        send(&stream, &[head.as_bytes(), frames].concat());
        assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "));
        stream
    } else {
        let ws = Ws::open(server.addr, "/");
        ws.send_raw(frames);
        ws.stream
    }
}

fn mark(session: &[u8]) -> Vec<u8> {
    let digest = sha1::Sha1::new().chain_update(KEY).chain_update("half-closed").finalize();
    frame(0x80 | PING, &[&digest[..8], session].concat())
}

/// Payload and an end in one segment, also in that of the request.
#[test]
fn an_end_in_the_first_read_of_a_websocket_comes_behind_its_payload() {
    within(secs(120), || {
        let (backend, records) = recorder();
        let server = server(Ours, backend.addr, "mode=websocket");
        let say = |payload: &[u8]| frame(0x80 | BINARY, payload);
        let session = [mux::open(3), mux::keep(3, b"hello")].concat();
        let close = frame(0x80 | CLOSE, &1000_u16.to_be_bytes());
        let broken = [0xc2_u8, 0x80, 0, 0, 0, 0].to_vec();
        for (what, payload, end, seen) in [
            ("a close frame", &b"hello"[..], close.clone(), End::Fin),
            ("a half-close", b"hello", mark(b""), End::Fin),
            ("a half-close behind a 0", b"\0", mark(b""), End::Fin),
            ("a close frame behind a 0", b"\0", close.clone(), End::Fin),
            ("a frame that is none", b"hello", broken, End::Reset),
            ("the end of a session", &session, mark(&[0, 3]), End::Fin),
            ("the end of a session as v2ray says it", &session, say(&mux::end(3)), End::Fin),
            ("a close frame behind a session", &session, close, End::Fin),
        ] {
            for with_request in [false, true] {
                let stream = says_at_once(&server, &[say(payload), end.clone()].concat(), with_request);
                let Ok((got, end)) = records.recv_timeout(STEP) else { panic!("{what}: nothing came") };
                let wanted = if payload.len() > 6 { b"hello" } else { payload };
                assert_eq!((&got[..], end), (wanted, seen), "{what}; {}", server.child.show_log());
                drop(stream);
            }
        }
    });
}

/// A head of Mux.Cool is never cut by the end of a message, so the first one decides.
#[test]
fn the_first_message_decides_what_is_inside() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "mode=websocket");
        for first in [&b"\0"[..], b"\x01", b"\x02", b"\0\x0c", b"\0\x0c\0\x01\x01", b"\x10"] {
            let mut ws = Ws::open(server.addr, "/");
            // An empty one says nothing, and neither does one of which nothing is there yet.
            ws.send(BINARY, b"");
            ws.send(BINARY, first);
            assert_eq!(ws.recv(first.len()), first);
        }
        // The end of a session that never was comes before the first that is: as a message of its own.
        let mut ws = Ws::open(server.addr, "/");
        ws.send_mux(&mux::end(1));
        ws.send_mux(&mux::open_named(2, b"hello"));
        assert_eq!(ws.mux_recv(2, 5), b"hello");
    });
}

/// Early data are no message: what is not whole in them may go on in the first one, or be all there is.
#[test]
fn early_data_that_may_be_the_front_of_a_head_are_not_waited_for() {
    within(secs(60), || {
        let echo = Backend::echo();
        let server = server(Ours, echo.addr, "mode=websocket");
        let (mut ws, _) = Ws::open_with(server.addr, "/", "Sec-WebSocket-Protocol: AA\r\n");
        assert_eq!(ws.recv(1), b"\0");
        let (mut ws, _) = Ws::open_with(server.addr, "/", "Sec-WebSocket-Protocol: AAwAAQ\r\n");
        let head = mux::open(1);
        ws.send_mux(&[&head[4..], &mux::keep(1, b"hello")].concat());
        assert_eq!(ws.mux_recv(1, 5), b"hello");
    });
}

/// Sessions that wait in a connection that cannot be made: each is told in the log, and is reset.
#[test]
fn sessions_that_wait_for_a_connection_that_fails_are_told_and_reset() {
    within(secs(60), || {
        // A server that takes the connection, and refuses the upgrade when all sessions wait for it.
        let (site, visits) = Backend::manual();
        let client = client(Ours, site.addr, "mode=websocket;mux=8");
        let apps: Vec<TcpStream> = (0..5)
            .map(|i| {
                let app = connect(client.addr);
                send(&app, &[i; 5]);
                app
            })
            .collect();
        let visit = next(&visits);
        recv_head(&visit);
        // Nothing says from outside when the sessions have joined the queue.
        std::thread::sleep(millis(500));
        send(&visit, b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
        for app in &apps {
            assert_eq!(recv_to_end(app, STEP).1, End::Reset, "{}", client.child.show_log());
            let peer = app.local_addr().expect("its address").to_string();
            client.child.wait_line(&peer, |line| line.contains(&peer) && line.contains("403"));
        }
        assert_eq!(visits.try_iter().count(), 0, "one connection for all");
    });
}

/// A website that takes no connection: its queue is full. A client whose request takes longer than most has
/// its answer all the same.
#[test]
fn a_website_that_does_not_answer_keeps_no_client_waiting() {
    within(secs(60), || {
        let silent = SocketAddr::from(([127, 0, 0, 3], free_port()));
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&silent.into()).expect("bind");
        socket.listen(0).expect("listen");
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&silent, millis(300)) {
            queue.push(stream);
            assert!(queue.len() < 50, "the queue never fills");
        }
        let echo = Backend::echo();
        for mode in ["obfs=http", "mode=websocket"] {
            let server = server(Ours, echo.addr, &format!("{mode};failover={silent}"));
            let stream = connect(server.addr);
            let request =
                b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
            send(&stream, &request[..20]);
            // The pause is the stimulus: the website is dialled meanwhile.
            std::thread::sleep(millis(500));
            send(&stream, &request[20..]);
            // Less than a dial takes that nobody answers.
            stream.set_read_timeout(Some(secs(5))).expect("a limit");
            assert!(recv_head(&stream).starts_with("HTTP/1.1 101 "), "{mode}");
            assert_eq!(conn::recv(&stream, 5), b"hello", "{mode}");
        }
    });
}

/// After a burst of short sessions neither half keeps what nobody needs.
#[test]
fn short_sessions_leave_nothing_behind() {
    within(secs(120), || {
        for mux in ["mux=1", "mux=8"] {
            let (backend, records) = recorder();
            let options = format!("mode=websocket;{mux}");
            let tunnel = Tunnel::new(backend.addr, (&options, "mode=websocket"), Duration::ZERO);
            let files = |plugin: &Plugin| {
                std::fs::read_dir(format!("/proc/{}/fd", plugin.child.pid()))
                    .expect("its descriptors")
                    .count()
            };
            let before = [&tunnel.client, &tunnel.server].map(|half| settled(|| files(half)));
            for _ in 0..60 {
                let app = connect(tunnel.client.addr);
                send(&app, b"hello");
            }
            for _ in 0..60 {
                assert_eq!(records.recv_timeout(STEP).expect("a record"), (b"hello".to_vec(), End::Fin));
            }
            // Eight connections may wait for the next sessions.
            let few = |plugin: &Plugin, before: usize| eventually(secs(10), || files(plugin) <= before + 10);
            assert!(few(&tunnel.client, before[0]), "{mux}: {} at the client", files(&tunnel.client));
            assert!(few(&tunnel.server, before[1]), "{mux}: {} at the server", files(&tunnel.server));
        }
    });
}
