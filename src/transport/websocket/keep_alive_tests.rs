//! Tunnels on which nothing passes, on a clock that the test turns.

use super::WebSocket;
use crate::relay::test_streams::InMemory;
use crate::relay::{End, Flows, Outcome, Relay, Side, Timeouts};
use crate::wire::websocket::{Control, Decoder, Encoder, Role, ping, pong};
use crate::wire::{Decoder as _, Step};
use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

const EVERY: Duration = Duration::from_secs(45);
const LEAST: Duration = Duration::from_secs(36);
const MINUTE: Duration = Duration::from_secs(60);

/// Room for what is on its way.
const ROOM: usize = 64 * 1024;

/// A tunnel, and who is at its ends.
struct Tunnel {
    /// The application of a client, the backend of a server.
    plain: DuplexStream,
    peer: Peer,
    running: JoinHandle<Outcome>,
    /// How often it was looked at.
    polls: Arc<AtomicUsize>,
}

/// The other end of a tunnel, in the hands of the test.
struct Peer {
    stream: DuplexStream,
    role: Role,
    decoder: Decoder,
    /// Whether it answers pings.
    answers: bool,
    /// The connection has ended.
    ended: bool,
}

impl Tunnel {
    fn client(every: Option<Duration>, idle: Duration) -> Tunnel {
        Tunnel::client_with(every, idle, None)
    }

    /// One whose server's kernel has acknowledged nothing for that time.
    fn client_with(every: Option<Duration>, idle: Duration, unacked_for: Option<Duration>) -> Tunnel {
        let (accepted, plain) = InMemory::new(ROOM);
        let (mut dialled, far) = InMemory::new(ROOM);
        dialled.unacked_for = unacked_for;
        let websocket = WebSocket::new(Role::Client, b"key").kept_alive(every);
        Tunnel::run(accepted, dialled, websocket, idle, plain, Peer::new(far, Role::Server))
    }

    fn server(idle: Duration) -> Tunnel {
        let (accepted, far) = InMemory::new(ROOM);
        let (dialled, plain) = InMemory::new(ROOM);
        let websocket = WebSocket::new(Role::Server, b"key");
        Tunnel::run(accepted, dialled, websocket, idle, plain, Peer::new(far, Role::Client))
    }

    fn run(
        accepted: InMemory,
        dialled: InMemory,
        websocket: WebSocket,
        idle: Duration,
        plain: DuplexStream,
        peer: Peer,
    ) -> Tunnel {
        let polls = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&polls);
        let relay = Relay::new(accepted, dialled, Flows::new(websocket), Timeouts::new(idle)).run();
        let running = tokio::spawn(async move {
            let mut relay = pin!(relay);
            let mut outcome = poll_fn(|cx| {
                count.fetch_add(1, Ordering::Relaxed);
                relay.as_mut().poll(cx)
            })
            .await;
            outcome.close().await;
            outcome
        });
        Tunnel { plain, peer, running, polls }
    }
}

impl Peer {
    fn new(stream: DuplexStream, role: Role) -> Peer {
        Peer { stream, role, decoder: Decoder::new(role), answers: true, ended: false }
    }

    /// What comes in that time: the payload, and after how long each ping and each pong came.
    async fn hear(&mut self, time: Duration) -> (Vec<u8>, Vec<Duration>, Vec<Duration>) {
        let began = Instant::now();
        let (mut payload, mut pings, mut pongs) = (Vec::new(), Vec::new(), Vec::new());
        let mut bytes = vec![0; ROOM];
        while let Ok(read) = timeout((began + time) - Instant::now(), self.stream.read(&mut bytes)).await {
            let Ok(len @ 1..) = read else {
                self.ended = true;
                break;
            };
            let (input, mut at) = (&mut bytes[..len], 0);
            loop {
                match self.decoder.decode(input, &mut at).unwrap() {
                    Step::NeedMore => break,
                    Step::Payload(range) => payload.extend_from_slice(&input[range]),
                    Step::Event(Control::Ping) => {
                        pings.push(began.elapsed());
                        if self.answers {
                            let pong = pong(self.role, self.decoder.control());
                            self.stream.write_all(pong.as_bytes()).await.unwrap();
                        }
                    }
                    Step::Event(Control::Pong) => pongs.push(began.elapsed()),
                    Step::Event(Control::Close(_)) => {
                        self.ended = true;
                        return (payload, pings, pongs);
                    }
                }
            }
        }
        (payload, pings, pongs)
    }

    async fn say(&mut self, data: &[u8]) {
        let mut frame = vec![0; Encoder::HEAD];
        frame.extend_from_slice(data);
        let start = Encoder::new(self.role).encode_in_place(&mut frame).unwrap();
        self.stream.write_all(&frame[start..]).await.unwrap();
    }

    async fn ping(&mut self) {
        self.stream.write_all(ping(self.role, b"are you there").as_bytes()).await.unwrap();
    }
}

/// Whether the silences between these moments are as long as they are to be.
#[track_caller]
fn assert_in_time(moments: &[Duration]) {
    for pair in moments.windows(2) {
        assert!((LEAST..=EVERY).contains(&(pair[1] - pair[0])), "{moments:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_tunnel_is_pinged_and_does_next_to_nothing_else() {
    let mut tunnel = Tunnel::client(Some(EVERY), 120 * MINUTE);
    let (payload, pings, _) = tunnel.peer.hear(60 * MINUTE).await;
    assert_eq!(payload, b"");
    assert!((80..=100).contains(&pings.len()), "{} pings in an hour", pings.len());
    assert_in_time(&pings);
    // Its time, the ping that goes out, and the pong.
    let polls = tunnel.polls.load(Ordering::Relaxed);
    assert!(polls <= 3 * pings.len() + 10, "{polls} looks at it for {} pings", pings.len());

    // A server that answers none is asked no more often.
    tunnel.peer.answers = false;
    let (_, pings, _) = tunnel.peer.hear(20 * MINUTE).await;
    assert_in_time(&pings);
    assert!(!tunnel.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_where_nothing_is_asked_for() {
    let mut tunnel = Tunnel::client(None, 120 * MINUTE);
    assert_eq!(tunnel.peer.hear(60 * MINUTE).await, (vec![], vec![], vec![]));
}

/// What passes both ways is enough; what passes one way is not, for some proxies look at the other.
#[tokio::test(start_paused = true)]
async fn a_direction_that_is_silent_brings_a_ping_though_the_other_is_not() {
    let mut tunnel = Tunnel::client(Some(EVERY), 120 * MINUTE);
    for (up, down) in [(true, true), (true, false), (false, true)] {
        let mut pings = Vec::new();
        for _ in 0..60 {
            if up {
                tunnel.plain.write_all(b"up").await.unwrap();
            }
            if down {
                tunnel.peer.say(b"down").await;
                tunnel.plain.read_exact(&mut [0; 4]).await.unwrap();
            }
            pings.extend(tunnel.peer.hear(Duration::from_secs(10)).await.1);
        }
        let expected = if up && down { 0..=0 } else { 13..=17 };
        assert!(expected.contains(&pings.len()), "up: {up}, down: {down}: {} pings", pings.len());
    }
}

/// While the application reads nothing, the proxies in front are still to see something; but who has closed behind
/// what is not read yet would answer with a reset, which takes that away.
#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_read_is_pinged_unless_it_has_closed() {
    for peer_has_closed in [false, true] {
        let (accepted, plain) = InMemory::new(ROOM);
        let (mut dialled, far) = InMemory::new(ROOM);
        dialled.peer_has_closed = peer_has_closed;
        let websocket = WebSocket::new(Role::Client, b"key").kept_alive(Some(EVERY));
        let peer = Peer::new(far, Role::Server);
        let mut tunnel = Tunnel::run(accepted, dialled, websocket, 120 * MINUTE, plain, peer);
        let download = vec![1; 2 * ROOM + 1];
        // As much as the application's end has room for, and some that waits for it.
        tunnel.peer.say(&download).await;
        tunnel.peer.answers = false;
        let (_, pings, _) = tunnel.peer.hear(30 * MINUTE).await;
        assert_eq!(pings.len() > 30, !peer_has_closed, "{} pings in half an hour", pings.len());
        tunnel.plain.read_exact(&mut vec![0; download.len()]).await.unwrap();
    }
}

/// Both ends tell an idle tunnel by its payload, though pings and pongs pass on it.
#[tokio::test(start_paused = true)]
async fn pings_do_not_make_a_tunnel_less_idle() {
    let idle = 10 * MINUTE;
    let mut tunnel = Tunnel::client(Some(EVERY), idle);
    tunnel.peer.hear(5 * MINUTE).await;
    tunnel.plain.write_all(b"payload").await.unwrap();
    let began = Instant::now();
    let (payload, pings, _) = tunnel.peer.hear(60 * MINUTE).await;
    assert_eq!((payload.as_slice(), pings.len() > 10), (&b"payload"[..], true));
    assert!(matches!(tunnel.running.await.unwrap().end, End::Idle(time) if time == idle));
    assert!(began.elapsed() < idle + Duration::from_secs(10), "{:?}", began.elapsed());

    let mut tunnel = Tunnel::server(idle);
    let began = Instant::now();
    while !tunnel.peer.ended {
        tunnel.peer.ping().await;
        tunnel.peer.hear(EVERY).await;
    }
    assert!(matches!(tunnel.running.await.unwrap().end, End::Idle(time) if time == idle));
    assert!(began.elapsed() < idle + EVERY + Duration::from_secs(10), "{:?}", began.elapsed());
}

/// An end is no payload, and yet something has happened: what is said after it has its time.
#[tokio::test(start_paused = true)]
async fn an_end_on_an_idle_tunnel_is_not_its_end() {
    let idle = 10 * MINUTE;
    let mut tunnel = Tunnel::server(idle);
    sleep(9 * MINUTE).await;
    tunnel.plain.shutdown().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let (_, pings, _) = tunnel.peer.hear(Duration::from_millis(100)).await;
    assert_eq!(pings.len(), 1, "the end of the backend");
    assert!(!tunnel.running.is_finished());
}

/// The way is dead, as even the server's kernel says nothing any more.
#[tokio::test(start_paused = true)]
async fn a_dead_way_is_found() {
    let mut tunnel = Tunnel::client_with(Some(EVERY), 120 * MINUTE, Some(60 * MINUTE));
    tunnel.peer.hear(10 * MINUTE).await;
    tunnel.peer.answers = false;
    let began = Instant::now();
    tunnel.peer.hear(10 * MINUTE).await;
    let end = tunnel.running.await.unwrap().end;
    assert!(
        matches!(&end, End::Reset(Side::Dialled, error) if error.kind() == ErrorKind::TimedOut),
        "{end:?}"
    );
    let silent = began.elapsed();
    assert!((4 * MINUTE - EVERY..5 * MINUTE).contains(&silent), "{silent:?}");

    // It acknowledges what it gets: the server may be slow to read it.
    let mut tunnel = Tunnel::client_with(Some(EVERY), 120 * MINUTE, Some(EVERY));
    tunnel.peer.answers = false;
    tunnel.peer.hear(60 * MINUTE).await;
    assert!(!tunnel.running.is_finished());
}

/// In each state in which a server reads what its client says.
#[tokio::test(start_paused = true)]
async fn a_server_answers_at_once() {
    let soon = Duration::from_millis(10);
    let mut tunnel = Tunnel::server(120 * MINUTE);
    tunnel.peer.ping().await;
    assert_eq!(tunnel.peer.hear(soon).await.2.len(), 1, "idle");

    // The backend sends without end, and the client reads slowly: the pong does not wait for all of it.
    let much = vec![7; 4 << 20];
    let (mut from, to) = tokio::io::split(tunnel.plain);
    let mut to = to;
    let sending = tokio::spawn(async move {
        to.write_all(&much).await.unwrap();
        to
    });
    sleep(MINUTE).await;
    tunnel.peer.ping().await;
    let (mut payload, mut answered) = (0, false);
    while !answered {
        let mut bytes = vec![0; 1000];
        let len = tunnel.peer.stream.read(&mut bytes).await.unwrap();
        let mut at = 0;
        loop {
            match tunnel.peer.decoder.decode(&mut bytes[..len], &mut at).unwrap() {
                Step::Payload(range) => payload += range.len(),
                Step::Event(event) => answered |= event == Control::Pong,
                Step::NeedMore => break,
            }
        }
        assert!(payload < 1 << 20, "the pong is behind {payload} bytes");
    }
    let rest = tunnel.peer.hear(MINUTE).await.0.len();
    assert_eq!(payload + rest, 4 << 20);
    let mut to = sending.await.unwrap();

    // The backend has ended; then it is the client that has.
    to.shutdown().await.unwrap();
    tunnel.peer.hear(soon).await;
    tunnel.peer.ping().await;
    assert_eq!(tunnel.peer.hear(soon).await.2.len(), 1, "half-closed by the backend");
    tunnel.peer.say(b"more").await;
    from.read_exact(&mut [0; 4]).await.unwrap();
    tunnel.peer.ping().await;
    assert_eq!(tunnel.peer.hear(soon).await.2.len(), 1, "half-closed by the backend, and later");
    assert!(!tunnel.running.is_finished());

    let mut tunnel = Tunnel::server(120 * MINUTE);
    let end = WebSocket::new(Role::Server, b"key").mark;
    tunnel.peer.stream.write_all(ping(Role::Client, &end).as_bytes()).await.unwrap();
    assert_eq!(tunnel.peer.hear(soon).await.2.len(), 1, "the client's end is answered");
    tunnel.peer.ping().await;
    assert_eq!(tunnel.peer.hear(soon).await.2.len(), 1, "half-closed by the client");
    tunnel.peer.say(b"void").await;
    tunnel.peer.ping().await;
    assert_eq!(tunnel.peer.hear(soon).await.2.len(), 1, "behind payload that is none");
    assert_eq!(tunnel.plain.read(&mut [0; 4]).await.unwrap(), 0, "what comes behind an end is not passed on");
    tunnel.plain.write_all(b"answer").await.unwrap();
    assert_eq!(tunnel.peer.hear(soon).await.0, b"answer");
}
