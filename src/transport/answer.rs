//! A server that has not answered yet. What a client does not hear it tells: that the server is silent, as
//! where packets are dropped on the way, and that it breaks off, as where a censor does so in its name.
//! Where a tunnel waits for an answer before it begins, its error says so; the others have begun by then.

use super::Stream;
use crate::net::reached::{self, Reached};
use crate::relay::RelayStream;
use crate::wire::http::{UpgradeAnswer, first_line};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tracing::{debug, info, warn};

/// How long a server may say nothing before that is told: longer than slow paths and busy servers take.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// How long a server may take to answer a request that waits for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an upgrade was not granted.
#[derive(Debug, Error)]
pub enum UpgradeError {
    /// The server said something else than "go on".
    #[error("the server did not switch protocols, it answered `{line}`{}", hint(line))]
    Refused {
        /// The first line of it.
        line: String,
    },
    /// The server closed before it had answered.
    #[error("the server closed the connection before it answered{}", after(.0))]
    Closed(String),
    /// The server did not answer in time.
    #[error("the server did not answer within {} s", ANSWER_TIMEOUT.as_secs())]
    Silent,
    /// The connection broke.
    #[error("the connection to the server broke before it answered: {0}{by}", by = by_whom(.0))]
    Broken(#[from] io::Error),
}

/// Who may have ended a connection so.
fn by_whom(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            ", by the server or by somebody on the way"
        }
        _ => "",
    }
}

fn after(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(" (after `{line}`)") }
}

/// What to look at where a server answered this line to a request for an upgrade.
fn hint(line: &str) -> &'static str {
    let mut words = line.split(' ');
    let status = words.next().filter(|version| version.starts_with("HTTP/")).and(words.next());
    match status {
        // What a refused request brings: the website.
        Some("200" | "204" | "206" | "403" | "404" | "405" | "410" | "501") => {
            ": that is what its website says; are `path` (or `obfs-uri`) and `host` (or `obfs-host`) the server's, and is \
             its certificate for that name?"
        }
        Some("301" | "302" | "303" | "307" | "308") => {
            ": that is what its website says; are `path` and `host` the server's, and is `tls` missing here?"
        }
        Some("400") => {
            ": is `tls` missing here, or is `host` (or `obfs-host`) not the server's? Or a proxy in front passes no \
             upgrades"
        }
        Some("426") => {
            ": a proxy in front passes no upgrades (nginx: `proxy_http_version 1.1` and the header `Upgrade`)"
        }
        Some("401" | "407") => ": somebody in between asks for a password",
        Some("421") => ": the server is none of this name; is `host` the server's?",
        Some(
            "429" | "500" | "502" | "503" | "504" | "520" | "521" | "522" | "523" | "524" | "525" | "526",
        ) => ": a proxy in front of the server does not get to it",
        Some("101") => ": something in between has changed the answer",
        Some(_) => ": are `path` (or `obfs-uri`) and `host` (or `obfs-host`) the server's?",
        // An alert, or a hello (RFC 8446 section 5.1).
        None if line.starts_with("\\u{15}\\u{3}") || line.starts_with("\\u{16}\\u{3}") => {
            ": it speaks TLS on this port; is `tls` missing here?"
        }
        None => ": that is not HTTP; is this the server's port, and does it have the same `obfs` or `mode`?",
    }
}

/// Sends a request and waits until it is granted; a server that says nothing for long is told. `key` is the
/// `Sec-WebSocket-Key` in it, where the answer is to show that it was read. Returns what came behind the answer.
///
/// # Errors
///
/// It was not granted, or not in time.
pub(super) async fn awaited(
    server: &mut Stream,
    request: &[u8],
    key: Option<&str>,
) -> Result<Vec<u8>, UpgradeError> {
    let address = server.tcp().and_then(|tcp| tcp.peer_addr().ok());
    let exchange = async {
        server.write_all(request).await?;
        server.flush().await?;
        let mut bytes = Vec::with_capacity(1024);
        loop {
            if server.read_buf(&mut bytes).await? == 0 {
                return Err(UpgradeError::Closed(first_line(&bytes)));
            }
            note_answer();
            match UpgradeAnswer::read(&bytes, key) {
                UpgradeAnswer::NeedMore => {
                    reached::note(|| Reached::Said(first_line(&bytes)));
                    bytes.reserve(1024);
                }
                UpgradeAnswer::Switched(head_len) => {
                    reached::note(|| Reached::Granted);
                    return Ok(bytes.split_off(head_len));
                }
                UpgradeAnswer::Refused(line) => return Err(UpgradeError::Refused { line }),
            }
        }
    };
    let mut answer = pin!(timeout(ANSWER_TIMEOUT, exchange));
    let answered = tokio::select! {
        biased;
        answered = &mut answer => answered,
        () = sleep(SILENCE) => {
            tell_silence(address);
            answer.await
        }
    };
    answered.unwrap_or(Err(UpgradeError::Silent))
}

/// Whether the server's silence was told, and nothing has come from it since.
static IS_SILENT: AtomicBool = AtomicBool::new(false);

/// Tells it once, and not for each tunnel that waits.
pub(super) fn tell_silence(server: Option<SocketAddr>) {
    let (server, seconds) = (server.map(tracing::field::display), SILENCE.as_secs());
    if IS_SILENT.swap(true, Ordering::Relaxed) {
        debug!(server, "the server has said nothing for {seconds} s to this tunnel either");
        return;
    }
    warn!(
        server,
        "the server has said nothing for {seconds} s: packets are dropped on the way, or it is busy, or what is asked \
         through it does not answer"
    );
}

pub(super) fn note_answer() {
    if IS_SILENT.load(Ordering::Relaxed) && IS_SILENT.swap(false, Ordering::Relaxed) {
        info!("the server answers again");
    }
}

/// The stream to a server whose answer nothing waits for.
pub(super) struct Unanswered {
    inner: Stream,
    /// Until its first byte.
    waiting: Option<Box<Waiting>>,
}

struct Waiting {
    server: Option<SocketAddr>,
    /// Until its silence is told.
    timer: Option<Pin<Box<Sleep>>>,
    /// An end without an answer is worth a line: nobody else tells it, and it was not we who ended first.
    tells_end: bool,
}

impl Waiting {
    fn wait(&mut self, cx: &mut Context<'_>) {
        if self.timer.as_mut().is_some_and(|timer| timer.as_mut().poll(cx).is_ready()) {
            self.timer = None;
            tell_silence(self.server);
        }
    }

    /// Tells it, and returns the error as one that was told.
    fn tell_break(&self, error: io::Error) -> io::Error {
        warn!(server = self.server.map(tracing::field::display), %error, "the connection was reset before the server answered, by it or by somebody on the way");
        io::Error::new(error.kind(), error)
    }

    fn tell_end(&self) {
        if self.tells_end {
            warn!(
                server = self.server.map(tracing::field::display),
                "the server closed the connection before it answered"
            );
        }
    }
}

impl Unanswered {
    /// Waits for the first byte from now on. `tells_end`: that the stream ends without one is told, too.
    pub(super) fn new(inner: Stream, tells_end: bool) -> Unanswered {
        let timer = Some(Box::pin(sleep(SILENCE)));
        let waiting = Waiting { server: inner.tcp().and_then(|tcp| tcp.peer_addr().ok()), timer, tells_end };
        Unanswered { inner, waiting: Some(Box::new(waiting)) }
    }

    fn note_write<T>(&mut self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        polled.map_err(|error| match self.waiting.take() {
            Some(waiting) => waiting.tell_break(error),
            None => error,
        })
    }
}

impl AsyncRead for Unanswered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let had = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if let Some(mut waiting) = self.waiting.take() {
            match &polled {
                Poll::Pending => {
                    waiting.wait(cx);
                    self.waiting = Some(waiting);
                }
                Poll::Ready(Ok(())) if buf.filled().len() > had => note_answer(),
                Poll::Ready(Ok(())) => waiting.tell_end(),
                Poll::Ready(Err(_)) => return polled.map_err(|error| waiting.tell_break(error)),
            }
        }
        polled
    }
}

impl AsyncWrite for Unanswered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note_write(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.note_write(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.note_write(polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(waiting) = &mut self.waiting {
            waiting.tells_end = false;
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl RelayStream for Unanswered {
    fn abort(&mut self) {
        self.inner.abort();
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        self.inner.is_broken(cx)
    }

    fn as_tcp(&self) -> Option<&TcpStream> {
        self.inner.as_tcp()
    }

    fn peer_has_closed(&self) -> bool {
        self.inner.peer_has_closed()
    }

    fn bytes_acked(&self) -> Option<u64> {
        self.inner.bytes_acked()
    }

    fn unacked_for(&self) -> Option<Duration> {
        self.inner.unacked_for()
    }

    fn ended_abruptly(&self) -> bool {
        self.inner.ended_abruptly()
    }

    fn end_abruptly(&mut self) {
        self.inner.end_abruptly();
    }

    fn drained(&self) -> u64 {
        self.inner.drained()
    }

    fn change_reactor(&mut self) {
        self.inner.change_reactor();
    }
}
