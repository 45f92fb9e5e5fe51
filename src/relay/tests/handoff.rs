//! Protocols that hold bytes back, and those that want a handoff.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does not look at so many bytes that go up, and then holds everything back.
#[derive(Debug, Default)]
pub(super) struct Holding {
    passthrough: u64,
    held: Vec<u8>,
    room: usize,
    deadline: Option<Instant>,
    ended: bool,
}

impl Holding {
    /// One that holds these bytes until then.
    pub(super) fn with(held: &[u8], deadline: Instant) -> Holding {
        Holding { held: held.to_vec(), deadline: Some(deadline), room: held.len(), ..Holding::default() }
    }
}

impl Protocol for Holding {
    fn forward(
        &mut self,
        direction: Direction,
        input: &mut [u8],
        out: &mut Pieces,
    ) -> Result<usize, ProtocolError> {
        if direction == Direction::Down {
            return Identity.forward(direction, input, out);
        }
        let n = input.len().min(self.passthrough as usize);
        self.passthrough -= n as u64;
        out.input(0..n);
        self.held.extend_from_slice(&input[n..]);
        Ok(n)
    }

    fn passthrough_len(&self, direction: Direction) -> u64 {
        if direction == Direction::Up { self.passthrough } else { u64::MAX }
    }

    fn skip(&mut self, direction: Direction, n: u64) {
        if direction == Direction::Up {
            self.passthrough -= n;
        }
    }

    fn read_limit(&self, direction: Direction) -> usize {
        match direction {
            Direction::Up => self.passthrough as usize + self.room - self.held.len(),
            Direction::Down => usize::MAX,
        }
    }

    fn deadline(&self, direction: Direction) -> Option<Instant> {
        self.deadline.filter(|_| direction == Direction::Up && !self.held.is_empty())
    }

    fn release_is_due(&self, direction: Direction) -> bool {
        let late = || self.deadline(direction).is_some_and(|deadline| deadline <= Instant::now());
        direction == Direction::Up && !self.held.is_empty() && (self.ended || late())
    }

    fn release(&mut self, _: Direction, out: &mut Vec<u8>) -> usize {
        out.append(&mut self.held);
        out.len()
    }

    fn release_on_error(&mut self, direction: Direction, out: &mut Vec<u8>) {
        if direction == Direction::Up {
            out.append(&mut self.held);
        }
    }

    fn wants_handoff(&self) -> bool {
        self.held.ends_with(b"out")
    }

    fn end(&mut self, direction: Direction) -> Result<(), ProtocolError> {
        self.ended |= direction == Direction::Up;
        Ok(())
    }
}

type HandedOff = (Outcome, Holding, Option<TcpStream>);

/// A relay of bytes that are held, as [`relay`] makes it.
async fn holding(up: Holding) -> (TcpStream, TcpStream, JoinHandle<HandedOff>) {
    let (app, accepted) = connection().await;
    let (backend, dialled) = connection().await;
    let relay = Relay::new(accepted, dialled, Flows::new(up), PATIENT);
    (app, backend, tokio::spawn(relay.run_or_hand_off()))
}

/// The kernel carries what need not be looked at and not one byte more; then both ends are level, and the
/// accepted one is handed off with what came behind.
#[tokio::test(flavor = "multi_thread")]
async fn the_accepted_stream_is_handed_off_at_the_very_byte() {
    const ROOM: usize = 1000;
    let up = bytes(9_000_001, 5);
    let holding_back = Holding { passthrough: up.len() as u64, room: ROOM, ..Holding::default() };
    let (mut app, mut backend, running) = holding(holding_back).await;
    let sent = up.clone();
    let sending = tokio::spawn(async move {
        app.write_all(&[&sent[..], b"held, out"].concat()).await.unwrap();
        app
    });
    let mut got = Vec::new();
    // The dialled connection is closed in order.
    soon(backend.read_to_end(&mut got)).await.unwrap();
    assert!(got == up);
    let mut app = soon(sending).await.unwrap();
    let (outcome, protocol, accepted) = soon(running).await.unwrap();
    assert!(matches!(outcome.end, End::HandedOff) && outcome.up == 9_000_001, "{outcome:?}");
    let mut accepted = accepted.unwrap();
    assert_eq!(protocol.held, b"held, out");
    app.write_all(b"more").await.unwrap();
    let mut more = [0; 4];
    soon(accepted.read_exact(&mut more)).await.unwrap();
    accepted.write_all(b"back").await.unwrap();
    drop(accepted);
    let mut back = Vec::new();
    soon(app.read_to_end(&mut back)).await.unwrap();
    assert_eq!((&more, &back[..]), (b"more", &b"back"[..]));
}

/// A TCP stream that takes nothing until its gate is open. Counts how often it was asked to.
struct Gated(TcpStream, Arc<(AtomicBool, AtomicUsize)>);

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.1.0.load(Ordering::SeqCst) {
            return Pin::new(&mut self.0).poll_write(cx, buf);
        }
        self.1.1.fetch_add(1, Ordering::SeqCst);
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl RelayStream for Gated {
    fn abort(&mut self) {
        self.0.abort();
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        self.0.is_broken(cx)
    }
}

/// What the dialled side has said is written first, however long that takes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_handed_off_before_the_dialled_side_has_been_heard_out() {
    let (mut app, accepted) = connection().await;
    let (mut backend, dialled) = connection().await;
    let gate = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
    let flows = Flows::new(Holding { room: 1000, ..Holding::default() });
    let accepted = Gated(accepted, Arc::clone(&gate));
    let running = tokio::spawn(Relay::new(accepted, dialled, flows, PATIENT).run_or_hand_off());
    let asked = async |times: usize| {
        while gate.1.load(Ordering::SeqCst) < times {
            tokio::task::yield_now().await;
        }
    };
    backend.write_all(b"answer").await.unwrap();
    soon(asked(1)).await;
    app.write_all(b"out").await.unwrap();
    soon(asked(gate.1.load(Ordering::SeqCst) + 1000)).await;
    assert!(!running.is_finished());
    gate.0.store(true, Ordering::SeqCst);
    let mut answer = [0; 6];
    soon(app.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"answer");
    let (outcome, protocol, accepted) = soon(running).await.unwrap();
    assert!(matches!(outcome.end, End::HandedOff) && accepted.is_some(), "{outcome:?}");
    assert_eq!(protocol.held, b"out");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_bounded_and_goes_at_its_deadline() {
    let deadline = Instant::now() + Duration::from_millis(100);
    let protocol = Holding { room: 1000, deadline: Some(deadline), ..Holding::default() };
    let (mut app, mut backend, _running) = holding(protocol).await;
    app.write_all(&[7; 1500]).await.unwrap();
    let mut got = [0; 1000];
    soon(backend.read_exact(&mut got)).await.unwrap();
    assert!(Instant::now() >= deadline);
    // Its end brings the rest.
    let mut got = [0; 500];
    soon(backend.read_exact(&mut got)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_arrives_before_an_end_and_before_a_reset() {
    for reset_it in [false, true] {
        let (mut app, mut backend, _running) = holding(Holding { room: 1000, ..Holding::default() }).await;
        app.write_all(b"held").await.unwrap();
        if reset_it {
            reset(&app);
            drop(app);
        } else {
            app.shutdown().await.unwrap();
        }
        let mut got = [0; 4];
        soon(backend.read_exact(&mut got)).await.unwrap();
        assert_eq!(&got, b"held");
        let end = soon(backend.read(&mut got)).await.map_err(|error| error.kind());
        assert_eq!(end, if reset_it { Err(ErrorKind::ConnectionReset) } else { Ok(0) });
    }
}
