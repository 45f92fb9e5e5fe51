//! A stream of an HTTP/2 connection, as a relay takes it: the bytes of its DATA frames.

use super::io_error;
use crate::relay::RelayStream;
use crate::transport::usage::InUse;
use bytes::{Buf as _, Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// How long trailers are late: what of an answer a client has not taken is with the proxy.
const LATE: Duration = Duration::from_secs(2);

/// How the end of our direction is said.
#[derive(Debug)]
pub(crate) enum EndOf {
    /// By the last DATA frame.
    Data,
    /// By these trailers.
    Trailers(HeaderMap),
    /// By these trailers, once the peer has ended or some time is over: a proxy in between that has all of an answer, while
    /// the question has not ended, may break off and lose what its client has not taken (Envoy). v2ray's server gives it
    /// a second.
    LateTrailers(HeaderMap, Option<Pin<Box<Sleep>>>),
}

/// What stands in front of the peer's bytes, and is waited for with the first of them.
pub(crate) type Answer = Pin<Box<dyn Future<Output = io::Result<Answered>> + Send>>;

/// An answer: what the peer says, and the other stream that it is of, where the first one was not looked at.
pub(crate) struct Answered {
    pub(crate) receive: RecvStream,
    pub(crate) instead: Option<(SendStream<Bytes>, InUse)>,
}

/// What was said on a stream that has no answer, so that it may be said again on another one.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<SaidSoFar>);

#[derive(Debug, Default)]
struct SaidSoFar {
    bytes: Vec<u8>,
    ended: bool,
    too_much: bool,
    /// It was said again, and the end with it.
    ended_again: bool,
}

impl Said {
    /// The most that is kept.
    const MOST: usize = 64 * 1024;

    fn get(&self) -> MutexGuard<'_, SaidSoFar> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, bytes: &[u8]) {
        let mut said = self.get();
        if said.bytes.len() + bytes.len() > Said::MOST {
            *said = SaidSoFar { ended: said.ended, too_much: true, ..SaidSoFar::default() };
        } else if !said.too_much {
            said.bytes.extend_from_slice(bytes);
        }
    }

    /// Whether all of it is known.
    pub(crate) fn is_whole(&self) -> bool {
        !self.get().too_much
    }

    /// Whether the end came when it had been said again.
    fn lacks_end(&self) -> bool {
        let said = self.get();
        said.ended && !said.ended_again
    }

    /// Says all of it on another stream.
    pub(crate) fn say(&self, send: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
        let mut said = self.get();
        said.ended_again = said.ended;
        if !said.bytes.is_empty() || said.ended {
            send.send_data(Bytes::copy_from_slice(&said.bytes), said.ended)?;
        }
        Ok(())
    }
}

/// What is done once the peer's direction has ended in order.
pub(crate) type OnceEnded = fn(Option<&HeaderMap>) -> io::Result<()>;

/// A bidirectional stream.
pub struct H2Stream {
    /// `None` if the peer wanted to hear nothing more before it was answered.
    send: Mutex<Option<SendStream<Bytes>>>,
    receive: Receive,
    /// What has come and is not read.
    unread: Bytes,
    end: Option<EndOf>,
    /// A peer that breaks off with CANCEL, or with NO_ERROR, has said all that it had to say: v2ray and sing-box end
    /// their tunnels so.
    cancel_is_end: bool,
    /// What an end without order is said with.
    abort_code: Reason,
    once_ended: Option<OnceEnded>,
    /// Stands behind what has come.
    failure: Option<io::Error>,
    /// Until there is an answer.
    said: Option<Arc<Said>>,
    traffic: Option<Arc<dyn NoteSaid>>,
    in_use: InUse,
}

/// Wants to know that something is said.
pub(crate) trait NoteSaid: Send + Sync {
    fn note_said(&self);
}

enum Receive {
    Answer(Answer),
    Body(RecvStream),
    Ended,
}

impl H2Stream {
    /// A stream that a peer has opened.
    #[cfg(feature = "server")]
    pub(super) fn accepted(
        send: Option<SendStream<Bytes>>,
        receive: RecvStream,
        end: EndOf,
        cancel_is_end: bool,
        abort_code: Reason,
        in_use: InUse,
    ) -> H2Stream {
        H2Stream {
            send: Mutex::new(send),
            receive: Receive::Body(receive),
            unread: Bytes::new(),
            end: Some(end),
            cancel_is_end,
            abort_code,
            once_ended: None,
            failure: None,
            said: None,
            traffic: None,
            in_use,
        }
    }

    /// A stream that was opened here, whose answer is still to come. What is said until then is kept in `said`. `once_ended`
    /// judges the trailers.
    pub(crate) fn opened(
        send: SendStream<Bytes>,
        answer: Answer,
        said: Arc<Said>,
        once_ended: OnceEnded,
        traffic: Arc<dyn NoteSaid>,
        in_use: InUse,
    ) -> H2Stream {
        H2Stream {
            send: Mutex::new(Some(send)),
            receive: Receive::Answer(answer),
            unread: Bytes::new(),
            end: Some(EndOf::Data),
            cancel_is_end: false,
            abort_code: Reason::INTERNAL_ERROR,
            once_ended: Some(once_ended),
            failure: None,
            said: Some(said),
            traffic: Some(traffic),
            in_use,
        }
    }

    fn send(&mut self) -> io::Result<&mut SendStream<Bytes>> {
        let send = self.send.get_mut().unwrap_or_else(PoisonError::into_inner);
        send.as_mut().ok_or(io::ErrorKind::BrokenPipe.into())
    }

    /// The next bytes of the peer; none at its end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        /// Frames without data may be endless.
        const MOST_EMPTY: usize = 64;
        for _ in 0..MOST_EMPTY {
            match &mut self.receive {
                Receive::Answer(answer) => {
                    let answered = ready!(answer.as_mut().poll(cx));
                    let Answered { receive, instead } =
                        answered.inspect_err(|_| self.receive = Receive::Ended)?;
                    self.receive = Receive::Body(receive);
                    let said = self.said.take();
                    if let Some((mut send, in_use)) = instead {
                        if said.is_some_and(|said| said.lacks_end()) {
                            let _ = send.send_data(Bytes::new(), true);
                        }
                        *self.send.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(send);
                        self.in_use = in_use;
                        // Who writes has waited for this.
                        cx.waker().wake_by_ref();
                    }
                }
                Receive::Body(body) => match ready!(body.poll_data(cx)) {
                    Some(Ok(bytes)) if bytes.is_empty() => {}
                    Some(Ok(bytes)) => {
                        // Whoever reads takes it at once, but for what is left of one frame. (It is in flight.)
                        let _ = body.flow_control().release_capacity(bytes.len());
                        return Poll::Ready(Ok(bytes));
                    }
                    Some(Err(error)) if self.cancel_is_end && says_end(&error) => {
                        self.receive = Receive::Ended
                    }
                    Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                    None => {
                        let trailers = ready!(body.poll_trailers(cx));
                        self.receive = Receive::Ended;
                        let trailers = match trailers {
                            Ok(trailers) => trailers,
                            Err(error) if self.cancel_is_end && says_end(&error) => None,
                            Err(error) => return Poll::Ready(Err(io_error(error))),
                        };
                        if let Some(once_ended) = self.once_ended {
                            once_ended(trailers.as_ref())?;
                        }
                    }
                },
                Receive::Ended => return Poll::Ready(Ok(Bytes::new())),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Room for so many bytes, or fewer.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        let send = self.send()?;
        send.reserve_capacity(wanted.min(super::SEND_BUFFER));
        loop {
            let room = send.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io_error(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
    }
}

/// Whether a peer that breaks off in this way has said all.
fn says_end(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && matches!(error.reason(), Some(Reason::CANCEL | Reason::NO_ERROR))
}

impl AsyncRead for H2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            if self.unread.is_empty() && self.failure.is_none() {
                match self.poll_bytes(cx) {
                    Poll::Ready(Ok(bytes)) if bytes.is_empty() => break,
                    Poll::Ready(Ok(bytes)) => self.unread = bytes,
                    Poll::Ready(Err(error)) => self.failure = Some(error),
                    Poll::Pending if buffer.filled().len() == before => return Poll::Pending,
                    Poll::Pending => break,
                }
            }
            if self.unread.is_empty() {
                break;
            }
            let len = self.unread.len().min(buffer.remaining());
            buffer.put_slice(&self.unread[..len]);
            self.unread.advance(len);
            if self.unread.is_empty() {
                // Or it keeps all that was read with it.
                self.unread = Bytes::new();
            }
        }
        match self.failure.take_if(|_| buffer.filled().len() == before) {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl H2Stream {
    /// Breaks off, behind what was said. (The library forgets what it has not sent when it is told to reset a stream, and
    /// does not tell when it has.)
    fn break_off(&mut self, code: Reason) {
        /// Long enough for what the connection takes at once.
        const MOMENT: Duration = Duration::from_millis(100);
        let Some(mut send) = self.send.get_mut().unwrap_or_else(PoisonError::into_inner).take() else {
            return;
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => {
                let in_use = self.in_use.one_more();
                runtime.spawn(async move {
                    sleep(MOMENT).await;
                    send.send_reset(code);
                    drop(in_use);
                });
            }
            Err(_) => send.send_reset(code),
        }
    }

    /// Sends as much of what `bytes` makes as there is room for. Until there is an answer, an error is none: the answer
    /// tells whether it is, or comes on another stream.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        wanted: usize,
        bytes: impl FnOnce(usize) -> Bytes,
    ) -> Poll<io::Result<usize>> {
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        let sent = match ready!(self.poll_room(cx, wanted)) {
            Ok(len) => {
                let bytes = bytes(len);
                let again = bytes.clone();
                let sent = self.send()?.send_data(bytes, false).map_err(io_error);
                if let (Ok(()), Some(said)) = (&sent, &self.said) {
                    said.note(&again);
                }
                sent.map(|()| len)
            }
            Err(error) => Err(error),
        };
        match sent {
            Err(_) if matches!(self.receive, Receive::Answer(_)) => Poll::Pending,
            sent => {
                if let Some(traffic) = &self.traffic {
                    traffic.note_said();
                }
                Poll::Ready(sent)
            }
        }
    }
}

impl AsyncWrite for H2Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_send(cx, bytes.len(), |len| Bytes::copy_from_slice(&bytes[..len]))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = slices.iter().map(|slice| slice.len()).sum();
        self.poll_send(cx, all, |len| {
            let mut bytes = BytesMut::with_capacity(len);
            for slice in slices {
                let room = len - bytes.len();
                bytes.extend_from_slice(&slice[..slice.len().min(room)]);
            }
            bytes.freeze()
        })
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// A peer that has broken off wants to hear of no end; how it did so is read.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let has_peer_ended = matches!(self.receive, Receive::Ended);
        if let Some(EndOf::LateTrailers(_, time)) = &mut self.end
            && !has_peer_ended
        {
            ready!(time.get_or_insert_with(|| Box::pin(sleep(LATE))).as_mut().poll(cx));
        }
        let end = self.end.take();
        if let Some(said) = &self.said {
            said.get().ended = true;
        }
        if let Ok(send) = self.send() {
            let _ = match end {
                Some(EndOf::Data) => send.send_data(Bytes::new(), true),
                Some(EndOf::Trailers(trailers) | EndOf::LateTrailers(trailers, _)) => {
                    send.send_trailers(trailers)
                }
                None => Ok(()),
            };
        }
        Poll::Ready(Ok(()))
    }
}

impl RelayStream for H2Stream {
    fn abort(&mut self) {
        let (end, code) = (self.end.take(), self.abort_code);
        match end {
            // Some proxies make an end in order of a stream that breaks off (HAProxy, Caddy), and none of these.
            Some(EndOf::LateTrailers(mut trailers, _)) => {
                trailers.insert("grpc-status", HeaderValue::from_static("2"));
                if let Ok(send) = self.send() {
                    let _ = send.send_trailers(trailers);
                }
            }
            _ => self.break_off(code),
        }
    }

    fn is_broken(&self, cx: &mut Context<'_>) -> bool {
        let mut send = self.send.lock().unwrap_or_else(PoisonError::into_inner);
        send.as_mut().is_none_or(|send| send.poll_reset(cx).is_ready())
    }
}

impl Drop for H2Stream {
    /// What has not come to its end in order breaks off: the library would say that it was cancelled, which some peers take
    /// for an end.
    fn drop(&mut self) {
        if self.end.is_some() {
            self.abort();
        }
    }
}

impl std::fmt::Debug for H2Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("H2Stream")
    }
}
