//! Codecs that hold bytes back, and those that want out.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Does not look at so many bytes, and then holds everything back.
#[derive(Debug, Default)]
pub(super) struct Holding {
    untouched: u64,
    held: Vec<u8>,
    room: usize,
    deadline: Option<Instant>,
    let_go: bool,
}

impl Holding {
    /// One that holds these bytes until then.
    pub(super) fn with(held: &[u8], deadline: Instant) -> Holding {
        Holding { held: held.to_vec(), deadline: Some(deadline), room: held.len(), ..Holding::default() }
    }
}

impl Codec for Holding {
    fn pass(&mut self, input: &mut [u8], out: &mut Pieces) -> Result<usize, CodecError> {
        let n = input.len().min(self.untouched as usize);
        self.untouched -= n as u64;
        out.input(0..n);
        self.held.extend_from_slice(&input[n..]);
        Ok(n)
    }

    fn untouched(&self) -> u64 {
        self.untouched
    }

    fn passed_by(&mut self, n: u64) {
        self.untouched -= n;
    }

    fn room(&self) -> usize {
        self.untouched as usize + self.room - self.held.len()
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline.filter(|_| !self.held.is_empty())
    }

    fn wants_to_speak(&self) -> bool {
        let late = || self.deadline().is_some_and(|deadline| deadline <= Instant::now());
        !self.held.is_empty() && (self.let_go || late())
    }

    fn interject(&mut self, out: &mut Vec<u8>) -> usize {
        out.append(&mut self.held);
        out.len()
    }

    fn wants_out(&self) -> bool {
        self.held.ends_with(b"out")
    }

    fn end(&mut self) -> Result<(), CodecError> {
        self.let_go = true;
        Ok(())
    }

    fn let_go(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }
}

type GivenBack = Option<(TcpStream, Holding)>;

/// A relay of bytes that are held, as [`relay`] makes it.
async fn holding(up: Holding) -> (TcpStream, TcpStream, JoinHandle<(Outcome, GivenBack)>) {
    let (app, near) = connection().await;
    let (backend, far) = connection().await;
    let relay = Relay::new(near, far, Flow::new(up), Flow::new(Identity), PATIENT);
    (app, backend, tokio::spawn(relay.run_or_give_back()))
}

/// The kernel carries what need not be looked at and not one byte more; then both ends are level, and the
/// near one is given back with what came behind.
#[tokio::test(flavor = "multi_thread")]
async fn the_near_stream_is_given_back_at_the_very_byte() {
    const ROOM: usize = 1000;
    let up = bytes(9_000_001, 5);
    let holding_back = Holding { untouched: up.len() as u64, room: ROOM, ..Holding::default() };
    let (mut app, mut backend, running) = holding(holding_back).await;
    let sent = up.clone();
    let sending = tokio::spawn(async move {
        app.write_all(&[&sent[..], b"held, out"].concat()).await.unwrap();
        app
    });
    let mut got = Vec::new();
    // The far connection is closed in order.
    soon(backend.read_to_end(&mut got)).await.unwrap();
    assert!(got == up);
    let mut app = soon(sending).await.unwrap();
    let (outcome, given_back) = soon(running).await.unwrap();
    assert!(matches!(outcome.end, End::GivenBack) && outcome.up == 9_000_001, "{outcome:?}");
    let (mut near, codec) = given_back.unwrap();
    assert_eq!(codec.held, b"held, out");
    app.write_all(b"more").await.unwrap();
    let mut more = [0; 4];
    soon(near.read_exact(&mut more)).await.unwrap();
    near.write_all(b"back").await.unwrap();
    drop(near);
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

/// What the far side has said is written first, however long that takes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_given_back_before_the_far_side_has_been_heard_out() {
    let (mut app, near) = connection().await;
    let (mut backend, far) = connection().await;
    let gate = Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
    let up = Flow::new(Holding { room: 1000, ..Holding::default() });
    let near = Gated(near, Arc::clone(&gate));
    let running = tokio::spawn(Relay::new(near, far, up, Flow::new(Identity), PATIENT).run_or_give_back());
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
    let (outcome, given_back) = soon(running).await.unwrap();
    assert!(matches!(outcome.end, End::GivenBack), "{outcome:?}");
    assert_eq!(given_back.unwrap().1.held, b"out");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_bounded_and_goes_at_its_deadline() {
    let deadline = Instant::now() + Duration::from_millis(100);
    let codec = Holding { room: 1000, deadline: Some(deadline), ..Holding::default() };
    let (mut app, mut backend, _running) = holding(codec).await;
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
