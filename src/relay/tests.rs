//! What a relay owes its two ends, on real sockets: once where the kernel may carry the bytes, once
//! where they are copied.

mod handoff;
mod panics;
mod stuck;
mod turns;

use super::*;
use std::io::ErrorKind;
use std::pin::Pin;
use std::time::Duration;
use test_streams::connection;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A TCP stream whose bytes the kernel may not carry.
struct Copied(TcpStream);

impl AsyncRead for Copied {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Copied {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl RelayStream for Copied {
    fn abort(&mut self) {
        self.0.abort();
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        self.0.is_broken(cx)
    }
}

#[derive(Debug, Clone, Copy)]
enum Way {
    Kernel,
    Copy,
}

const BOTH: [Way; 2] = [Way::Kernel, Way::Copy];

/// A relay between an application and a backend, and the two.
async fn relay(way: Way, timeouts: Timeouts) -> (TcpStream, TcpStream, JoinHandle<Outcome>) {
    let (app, accepted) = connection().await;
    let (backend, dialled) = connection().await;
    // What the kernel holds for a slow reader is lost with a reset.
    socket2::SockRef::from(&accepted).set_send_buffer_size(ACCEPTED_BUFFER).unwrap();
    let flows = Flows::new(Identity);
    let running = match way {
        Way::Kernel => tokio::spawn(Relay::new(accepted, dialled, flows, timeouts).run()),
        Way::Copy => tokio::spawn(Relay::new(Copied(accepted), Copied(dialled), flows, timeouts).run()),
    };
    (app, backend, running)
}

/// How much the kernel holds on the accepted side, half of it for itself.
const ACCEPTED_BUFFER: usize = 256 * 1024;

const PATIENT: Timeouts =
    Timeouts { idle: Duration::from_secs(60), half_closed: Duration::from_secs(60), send: None };

/// Bytes in which nothing can be lost or swapped unseen.
fn bytes(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(count)
    .collect()
}

/// Gives up on what does not end.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), what).await.expect("within 30 s")
}

#[tokio::test(flavor = "multi_thread")]
async fn megabytes_pass_both_ways_at_once_and_are_counted() {
    for way in BOTH {
        let (app, backend, running) = relay(way, PATIENT).await;
        let (up, down) = (bytes(9_000_001, 1), bytes(7_000_003, 2));
        let exchange = |stream: TcpStream, send: Vec<u8>| async move {
            let (mut from, mut to) = stream.into_split();
            let sending = tokio::spawn(async move {
                to.write_all(&send).await.unwrap();
                to.shutdown().await.unwrap();
            });
            let mut got = Vec::new();
            from.read_to_end(&mut got).await.unwrap();
            sending.await.unwrap();
            got
        };
        let (at_app, at_backend) =
            soon(async { tokio::join!(exchange(app, up.clone()), exchange(backend, down.clone())) }).await;
        assert!(at_app == down && at_backend == up, "{way:?}");
        let outcome = soon(running).await.unwrap();
        assert!(matches!(outcome.end, End::Closed), "{way:?}: {outcome:?}");
        assert_eq!((outcome.up, outcome.down), (9_000_001, 7_000_003), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_reader_loses_nothing_and_stops_the_sender() {
    for way in BOTH {
        let (mut app, backend, running) = relay(way, PATIENT).await;
        // Send until nothing moves for a moment: everything between the two is full then.
        let block = bytes(65_536, 3);
        let mut sent = 0_usize;
        while let Ok(ready) = timeout(Duration::from_millis(300), backend.writable()).await {
            ready.unwrap();
            sent += backend.try_write(&block[sent % block.len()..]).unwrap_or(0);
        }
        assert!(sent > 1_000_000 && sent < 100_000_000, "{way:?}: {sent} bytes on their way");
        drop(backend);
        let mut got = Vec::new();
        soon(app.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got.len(), sent, "{way:?}");
        assert!(got.chunks(block.len()).all(|chunk| chunk == &block[..chunk.len()]), "{way:?}");
        drop(app);
        assert_eq!(soon(running).await.unwrap().down, sent as u64, "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_direction_may_end_long_before_the_other() {
    for way in BOTH {
        let (mut app, mut backend, running) = relay(way, PATIENT).await;
        app.write_all(b"question").await.unwrap();
        app.shutdown().await.unwrap();
        let mut question = Vec::new();
        soon(backend.read_to_end(&mut question)).await.unwrap();
        assert_eq!(question, b"question");
        let answer = bytes(3_000_000, 4);
        backend.write_all(&answer).await.unwrap();
        drop(backend);
        let mut got = Vec::new();
        soon(app.read_to_end(&mut got)).await.unwrap();
        assert!(got == answer, "{way:?}");
        assert!(matches!(soon(running).await.unwrap().end, End::Closed), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_the_middle_of_bulk_is_passed_on() {
    for way in BOTH {
        let (mut app, mut backend, running) = relay(way, PATIENT).await;
        let mut block = vec![0; 65_536];
        let sending = tokio::spawn(async move {
            while app.write_all(&[7; 65_536]).await.is_ok() {}
            // The reset has come through: nothing but an error is left.
            app.read(&mut [0; 16]).await.map_err(|error| error.kind())
        });
        for _ in 0..64 {
            soon(backend.read_exact(&mut block)).await.unwrap();
        }
        reset(&backend);
        drop(backend);
        let left = soon(sending).await.unwrap();
        assert!(matches!(left, Err(ErrorKind::ConnectionReset) | Ok(0)), "{way:?}: {left:?}");
        let outcome = soon(running).await.unwrap();
        assert!(matches!(outcome.end, End::Reset(Side::Dialled, _)), "{way:?}: {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_a_reset_still_arrives() {
    for way in BOTH {
        let (mut app, mut backend, _running) = relay(way, PATIENT).await;
        backend.write_all(b"last words").await.unwrap();
        let mut words = [0; 10];
        soon(app.read_exact(&mut words)).await.unwrap();
        assert_eq!(&words, b"last words");
        reset(&backend);
        drop(backend);
        let end = soon(app.read(&mut words)).await.map_err(|error| error.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset), "{way:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_ends_a_relay_sooner_when_one_side_has_ended() {
    let impatient = Timeouts { half_closed: Duration::from_millis(50), ..PATIENT };
    for way in BOTH {
        let (mut app, _backend, running) = relay(way, impatient).await;
        app.shutdown().await.unwrap();
        let outcome = soon(running).await.unwrap();
        assert!(matches!(outcome.end, End::Idle(time) if time.as_millis() == 50), "{way:?}: {outcome:?}");
    }
    let (_app, _backend, running) =
        relay(Way::Kernel, Timeouts { idle: Duration::from_millis(50), ..PATIENT }).await;
    assert!(matches!(soon(running).await.unwrap().end, End::Idle(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_read_before_go_first() {
    for pending in [&b"read before "[..], b""] {
        let (mut app, accepted) = connection().await;
        let (mut backend, dialled) = connection().await;
        let flows = Flows::new(Identity).with_payload(Direction::Up, pending.to_vec());
        let running = tokio::spawn(Relay::new(accepted, dialled, flows, PATIENT).run());
        app.write_all(b"and after").await.unwrap();
        drop(app);
        let mut got = Vec::new();
        soon(backend.read_to_end(&mut got)).await.unwrap();
        assert_eq!(got, [pending, b"and after"].concat());
        drop(backend);
        assert_eq!(soon(running).await.unwrap().up, got.len() as u64);
    }
}

/// Each tunnel has this for as long as it lives.
#[tokio::test]
async fn a_running_relay_has_room_for_one_relay() {
    let (_app, accepted) = connection().await;
    let (_backend, dialled) = connection().await;
    let relay = Relay::new(accepted, dialled, Flows::new(Identity), PATIENT);
    let size = size_of_val(&relay);
    assert!(size_of_val(&relay.run()) < 2 * size, "{size}");
}
