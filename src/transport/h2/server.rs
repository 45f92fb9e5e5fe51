//! HTTP/2 on the server half: a connection, and the requests that come on it.

use super::stream::{EndOf, H2Stream};
use super::taken_over::{Taken, TakenOver};
use super::{MOST, io_error, send_buffer, stream_window, to_u32};
use crate::relay::SEND_TIMEOUT;
use crate::runtime::drain;
use crate::transport::Stream;
use crate::transport::usage::{InUse, Usage};
use crate::transport::windows::Grant;
use crate::wire::h2::{INITIAL_WINDOW, MOST_WINDOW};
use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{Request, Response};
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a client may take until it has said how it begins.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection without a stream for so long is closed. (nginx's `keepalive_timeout` is 75 s; clients of v2ray and
/// sing-box keep theirs for ever.)
const UNUSED: Duration = Duration::from_secs(300);

/// For so long a peer may read nothing of streams that are over. (The relay has the same patience with visitors.)
const STUCK: Duration = SEND_TIMEOUT;

/// How long a connection that is to end may take to do so, once it has no streams.
const GOODBYE: Duration = Duration::from_secs(5);

/// How many streams a connection may have.
const MOST_STREAMS: u32 = 1024;

/// The longest list of headers that is taken, in bytes: more than web servers take.
const MOST_HEADERS: u32 = 64 * 1024;

/// Frames may be so long (RFC 9113 section 4.2).
const FRAME_SIZES: RangeInclusive<u32> = 16_384..=16_777_215;

/// How a connection has begun.
#[derive(Debug)]
pub(crate) enum Beginning {
    /// Nobody has answered; this was read of it.
    Fresh(Vec<u8>),
    /// As the website's.
    TakenOver(Taken),
}

/// A connection whose requests are answered here.
pub(crate) struct H2Connection {
    connection: Connection<TakenOver, Bytes>,
    tunnels: Arc<Usage>,
    grant: Grant,
    has_windows: bool,
    /// Since when there has been no stream.
    unused_since: Option<Instant>,
    ends: bool,
}

/// A request, and how it is answered.
pub(crate) struct Arrived {
    pub(crate) request: Request<RecvStream>,
    pub(crate) respond: SendResponse<Bytes>,
    in_use: InUse,
}

impl H2Connection {
    /// A connection that has begun so. `connect`: WebSockets may be asked for.
    ///
    /// # Errors
    ///
    /// It is no HTTP/2, or it takes too long.
    pub(crate) async fn begin(io: Stream, beginning: Beginning, connect: bool) -> io::Result<H2Connection> {
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(MOST_STREAMS)
            .max_header_list_size(MOST_HEADERS)
            .max_send_buffer_size(send_buffer());
        if connect {
            builder.enable_connect_protocol();
        }
        let grant = Grant::new(MOST);
        let mut has_windows = false;
        let io = match beginning {
            Beginning::Fresh(read_buf) => TakenOver::fresh(io, read_buf),
            Beginning::TakenOver(taken) => {
                // It has a tunnel at once. What the website has granted is not taken back.
                has_windows = true;
                let bytes = grant.renew(true).max(Grant::of_many(MOST));
                let spoken = taken.spoken();
                let frame_size = spoken.frame_size.unwrap_or_default();
                builder
                    .initial_connection_window_size(to_u32(bytes).max(taken.window()).min(MOST_WINDOW))
                    .initial_window_size(
                        stream_window(bytes).max(spoken.stream_window.unwrap_or(INITIAL_WINDOW)),
                    )
                    .max_frame_size(frame_size.clamp(*FRAME_SIZES.start(), *FRAME_SIZES.end()));
                taken.resume(io)
            }
        };
        let connection = timeout(HANDSHAKE_TIMEOUT, builder.handshake(io))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
            .map_err(io_error)?;
        let unused_since = Some(Instant::now());
        Ok(H2Connection { connection, tunnels: Usage::new(), grant, has_windows, unused_since, ends: false })
    }

    /// Waits for the next request, and sees to the others meanwhile: nothing passes in any stream but while this is
    /// waited for. `None` at the end.
    ///
    /// # Errors
    ///
    /// The connection broke, or its peer has said what none may say.
    pub(crate) async fn next(&mut self) -> Option<io::Result<Arrived>> {
        /// How often it is looked whether anybody uses it.
        const LOOK: Duration = Duration::from_secs(10);
        /// How often, until what is asked of the peer may be asked: it has not acknowledged what was asked before.
        const RETRY: Duration = Duration::from_millis(20);
        loop {
            let mut look = Instant::now() + LOOK;
            if self.tunnels.unused_for().is_some_and(|time| time >= STUCK) && self.connection.has_streams() {
                // All of them are over here, and their peer does not read that.
                return None;
            }
            if self.connection.has_streams() {
                self.unused_since = None;
                if self.lacks_windows() {
                    self.set_windows();
                    look = Instant::now() + RETRY;
                }
            } else {
                let unused = *self.unused_since.get_or_insert_with(Instant::now);
                look = look.min(unused + UNUSED);
                if self.ends && unused.elapsed() >= GOODBYE {
                    return None;
                }
                if unused.elapsed() >= UNUSED {
                    self.end();
                }
            }
            let arrived = tokio::select! {
                biased;
                arrived = self.connection.accept() => arrived,
                () = self.tunnels.has_turned() => {
                    self.set_windows();
                    continue;
                }
                () = drain::begun(), if !self.ends => {
                    self.end();
                    continue;
                }
                () = sleep_until(look) => continue,
            };
            return arrived.map(|arrived| {
                let (request, respond) = arrived.map_err(io_error)?;
                self.unused_since = None;
                Ok(Arrived { request, respond, in_use: self.tunnels.one_more() })
            });
        }
    }

    /// Whether it is to end.
    pub(crate) fn ends(&self) -> bool {
        self.ends
    }

    /// Has the peer open further streams elsewhere.
    pub(crate) fn end(&mut self) {
        self.ends = true;
        self.unused_since = Some(Instant::now());
        self.connection.graceful_shutdown();
    }

    /// Whether the connection has tunnels, and small windows all the same.
    fn lacks_windows(&self) -> bool {
        !self.has_windows && self.tunnels.tunnels() > 0
    }

    /// Lets the connection hold what there is for it: much with its first tunnel, little when it has none any more.
    fn set_windows(&mut self) {
        let has_tunnels = self.tunnels.tunnels() > 0;
        let bytes = self.grant.renew(has_tunnels);
        if self.lacks_windows() {
            // (an error says that the first settings are not acknowledged yet)
            let window = stream_window(bytes.max(Grant::of_many(MOST)));
            self.has_windows = self.connection.set_initial_window_size(window).is_ok();
        }
        self.connection.set_target_window_size(to_u32(bytes).max(INITIAL_WINDOW));
    }
}

impl Arrived {
    /// The request, how it is answered, and what holds its connection open.
    pub(crate) fn into_parts(self) -> (Request<RecvStream>, SendResponse<Bytes>, InUse) {
        (self.request, self.respond, self.in_use)
    }

    /// Nobody answers it.
    pub(crate) fn refuse(mut self) {
        self.respond.send_reset(Reason::REFUSED_STREAM);
    }

    /// Answers with this, and takes the stream behind the answer, whose end is said so. (Where trailers say it, the
    /// peer's may be said by breaking off.) What a peer has said that has broken off already is still read.
    pub(crate) fn accept(mut self, answer: Response<()>, end: EndOf, abort_code: Reason) -> H2Stream {
        let cancel_is_end = !matches!(end, EndOf::Data);
        let send = self.respond.send_response(answer, false).ok();
        let receive = self.request.into_body();
        H2Stream::accepted(send, receive, end, cancel_is_end, abort_code, self.in_use)
    }
}
