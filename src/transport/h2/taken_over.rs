//! A connection that was taken over: what of its frames is not for the library, since another has said it, or has been
//! told it.

use super::spoken::Spoken;
use crate::transport::Stream;
use crate::wire::h2::{ACK, FrameHead, INITIAL_WINDOW, PREFACE, frame, kind, window_increment};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has passed before a connection was taken over.
///
/// - The client acknowledges the website's settings, and then ours: the former is not for us.
/// - It has been told that its settings are known: it is not told again.
/// - The library takes no more than was there at the beginning before its own settings are acknowledged, and the website
///   may have let the client send more: so they are acknowledged at once, with what is no less, and the client's own
///   acknowledgement is not for it either.
/// - The website has let it send so much on the connection: the library counts that as its own, and what it says of it
///   is not passed on.
/// - It was answered when it pinged.
#[derive(Debug, Default)]
pub struct Taken {
    /// What the client has said, as the library is to hear it.
    said: Vec<u8>,
    /// How much of it there is up to the end of the first request.
    request_end: usize,
    spoken: Spoken,
    /// Acknowledgements of settings that are still to come, and are not for the library.
    foreign_acks: usize,
}

impl Taken {
    /// The client has said this, in which the first request ends there.
    pub(super) fn new(client: &[u8], looked: usize, spoken: Spoken) -> Taken {
        let mut request_end = 0;
        let mut foreign_acks = spoken.settings;
        let mut is_known = spoken.settings == 0;
        let mut said = client.get(..PREFACE.len()).unwrap_or_default().to_vec();
        let mut rest = client.get(PREFACE.len()..).unwrap_or_default();
        while let Some((head, _)) = frame(rest) {
            let (whole, behind) = rest.split_at(head.frame_len().min(rest.len()));
            rest = behind;
            if head.kind == kind::HEADERS && !is_known {
                said.extend_from_slice(SETTINGS_ACK);
                foreign_acks += 1;
                is_known = true;
            }
            match head.kind {
                kind::SETTINGS if head.is_settings_ack() && foreign_acks > 0 => foreign_acks -= 1,
                PING => {}
                _ => said.extend_from_slice(whole),
            }
            if client.len() - rest.len() == looked {
                request_end = said.len();
            }
        }
        // (what has not come whole yet may be one of these, too)
        said.extend_from_slice(rest);
        Taken { said, request_end, spoken, foreign_acks }
    }

    /// What the website has said.
    pub(super) fn spoken(&self) -> &Spoken {
        &self.spoken
    }

    /// What the client may send on the connection at the beginning.
    pub(super) fn window(&self) -> u32 {
        INITIAL_WINDOW + self.spoken.window
    }

    /// The connection as the library is to see it.
    pub(super) fn resume(self, io: Stream) -> TakenOver {
        let Taken { said, request_end, spoken, foreign_acks } = self;
        let mut resumed = TakenOver {
            io,
            ready: Vec::new(),
            read_at: 0,
            reading: Frames::default(),
            foreign_acks,
            out: Vec::new(),
            written: 0,
            writing: Frames::default(),
            known_acks: spoken.acks,
            known_window: spoken.window,
            pause: Pause::Over,
        };
        // What begins the connection is no frame, and what is known is known once.
        let (request, rest) = said.split_at(request_end.min(said.len()));
        let (preface, frames) = request.split_at(PREFACE.len().min(request.len()));
        resumed.ready.extend_from_slice(preface);
        resumed.ready.extend_from_slice(frames);
        if request_end > 0 {
            resumed.pause = Pause::At(resumed.ready.len());
        }
        resumed.take(rest);
        resumed
    }
}

/// PING (RFC 9113 section 6.7).
const PING: u8 = 6;

/// What says that settings are known (section 6.5).
const SETTINGS_ACK: &[u8] = &[0, 0, 0, kind::SETTINGS, ACK, 0, 0, 0, 0];

/// A stream of frames, as far as it has come.
#[derive(Debug, Default)]
struct Frames {
    /// What has come of a frame that is to be seen whole.
    partial: Vec<u8>,
    /// How much is left of one that passes.
    left: usize,
}

impl Frames {
    /// Frames that are longer pass without a look.
    const SMALL: usize = 64;

    /// Takes bytes off the front of `bytes`: those that pass, or a frame that `is_small` wants to see.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<Piece> {
        if self.left > 0 {
            let (now, later) = bytes.split_at(bytes.len().min(self.left));
            self.left -= now.len();
            *bytes = later;
            return (!now.is_empty()).then(|| Piece::Passes(now.to_vec()));
        }
        loop {
            let head = FrameHead::read(&self.partial);
            let wanted = head.map_or(FrameHead::LEN, |head| head.frame_len().min(Frames::SMALL));
            if let Some(head) = head
                && (head.frame_len() > Frames::SMALL || self.partial.len() >= head.frame_len())
            {
                self.left = head.frame_len() - self.partial.len().min(head.frame_len());
                let bytes = std::mem::take(&mut self.partial);
                return Some(if self.left > 0 { Piece::Passes(bytes) } else { Piece::Frame(head, bytes) });
            }
            if bytes.is_empty() {
                return None;
            }
            let (now, later) = bytes.split_at(bytes.len().min(wanted - self.partial.len()));
            self.partial.extend_from_slice(now);
            *bytes = later;
        }
    }

    fn is_between_frames(&self) -> bool {
        self.partial.is_empty() && self.left == 0
    }
}

enum Piece {
    Passes(Vec<u8>),
    Frame(FrameHead, Vec<u8>),
}

/// A connection that was taken over, as the library sees it.
#[derive(Debug)]
pub(crate) struct TakenOver {
    io: Stream,
    /// What has come for the library, of which it has read this much.
    ready: Vec<u8>,
    read_at: usize,
    reading: Frames,
    foreign_acks: usize,
    /// What the library has said, of which this much is written.
    out: Vec<u8>,
    written: usize,
    writing: Frames,
    known_acks: usize,
    known_window: u32,
    pause: Pause,
}

/// The library counts what it lets the client send from the moment when it says so, while the client may send that
/// already: so it reads no further than the first request before it has said so.
#[derive(Debug)]
enum Pause {
    /// Behind so much of what has come.
    At(usize),
    /// The library is to be woken when it has said what it has to say.
    Waits(Waker),
    Over,
}

impl TakenOver {
    /// A connection that nobody else has begun, of which this was read.
    pub(super) fn fresh(io: Stream, read_buf: Vec<u8>) -> TakenOver {
        let mut taken = Taken::default().resume(io);
        taken.ready = read_buf;
        taken
    }

    /// Whether all frames of the client pass as they are.
    fn reads_all(&self) -> bool {
        self.foreign_acks == 0 && self.reading.is_between_frames()
    }

    /// Takes what the client has said.
    fn take(&mut self, mut bytes: &[u8]) {
        while !self.reads_all() {
            match self.reading.next(&mut bytes) {
                None => return,
                Some(Piece::Frame(head, _)) if self.foreign_acks > 0 && head.is_settings_ack() => {
                    self.foreign_acks -= 1;
                }
                Some(Piece::Frame(_, piece) | Piece::Passes(piece)) => self.ready.extend_from_slice(&piece),
            }
        }
        self.ready.extend_from_slice(bytes);
    }

    /// Whether all frames of the library pass as they are.
    fn writes_all(&self) -> bool {
        self.known_acks == 0
            && self.known_window == 0
            && self.writing.is_between_frames()
            && self.out.is_empty()
    }

    /// Takes what the library says.
    fn put(&mut self, mut bytes: &[u8]) {
        while let Some(piece) = self.writing.next(&mut bytes) {
            match piece {
                Piece::Frame(head, _) if self.known_acks > 0 && head.is_settings_ack() => {
                    self.known_acks -= 1
                }
                Piece::Frame(head, mut update)
                    if self.known_window > 0 && head.kind == kind::WINDOW_UPDATE && head.stream == 0 =>
                {
                    let increment = window_increment(update.get(FrameHead::LEN..).unwrap_or_default())
                        .unwrap_or_default();
                    let known = increment.min(self.known_window);
                    self.known_window -= known;
                    if increment > known {
                        update.truncate(FrameHead::LEN);
                        update.extend_from_slice(&(increment - known).to_be_bytes());
                        self.out.extend_from_slice(&update);
                    }
                }
                Piece::Frame(_, piece) | Piece::Passes(piece) => self.out.extend_from_slice(&piece),
            }
        }
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest @ [_, ..]) = self.out.get(self.written..) {
            let len = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += len;
        }
        self.written = 0;
        self.out.clear();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for TakenOver {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let read_at = self.read_at;
            let end = match &mut self.pause {
                Pause::At(end) if read_at >= *end => {
                    self.pause = Pause::Waits(cx.waker().clone());
                    return Poll::Pending;
                }
                Pause::Waits(waker) => {
                    waker.clone_from(cx.waker());
                    return Poll::Pending;
                }
                Pause::At(end) => *end,
                Pause::Over => self.ready.len(),
            };
            if let Some(rest @ [_, ..]) = self.ready.get(read_at..end) {
                let len = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..len]);
                self.read_at += len;
                if self.read_at == self.ready.len() && matches!(self.pause, Pause::Over) {
                    self.ready = Vec::new();
                    self.read_at = 0;
                }
                return Poll::Ready(Ok(()));
            }
            if self.reads_all() {
                return Pin::new(&mut self.io).poll_read(cx, buffer);
            }
            let mut space = [0; 4096];
            let mut read = ReadBuf::new(&mut space);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.take(read.filled());
        }
    }
}

impl AsyncWrite for TakenOver {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        /// What is looked at at once.
        const PIECE: usize = 16 * 1024;
        if self.writes_all() {
            return Pin::new(&mut self.io).poll_write(cx, bytes);
        }
        ready!(self.poll_out(cx))?;
        let bytes = &bytes[..bytes.len().min(PIECE)];
        self.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.writes_all() {
            return Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        if let Pause::Waits(_) = self.pause
            && let Pause::Waits(waker) = std::mem::replace(&mut self.pause, Pause::Over)
        {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::h2::END_HEADERS;
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    const SETTINGS: &[u8] = &[0, 0, 6, kind::SETTINGS, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 9];
    const CLIENT_PING: &[u8] = &[0, 0, 8, PING, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
    const REQUEST: &[u8] = &[0, 0, 1, kind::HEADERS, END_HEADERS, 0, 0, 0, 1, 0x82];
    const DATA: &[u8] = &[0, 0, 3, kind::DATA, 0, 0, 0, 0, 1, 7, 8, 9];

    fn update(increment: u32) -> Vec<u8> {
        [&[0, 0, 4, kind::WINDOW_UPDATE, 0, 0, 0, 0, 0][..], &increment.to_be_bytes()].concat()
    }

    async fn connection() -> (Stream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0.into(), client)
    }

    /// What the library reads of a client that had said `before` and says `after`.
    async fn reads(before: &[u8], looked: usize, after: &[u8], spoken: Spoken, piece: usize) -> Vec<u8> {
        let (io, mut client) = connection().await;
        let mut resumed = Taken::new(before, looked, spoken).resume(io);
        let mut read = Vec::new();
        for piece in after.chunks(piece) {
            client.write_all(piece).await.unwrap();
        }
        drop(client);
        let mut space = [0; 64];
        loop {
            // (it reads no further than the request before it has said what there is to say)
            let flushed = std::future::poll_fn(|cx| Pin::new(&mut resumed).poll_flush(cx));
            flushed.await.unwrap();
            let some = tokio::select! {
                biased;
                some = resumed.read(&mut space) => some.unwrap(),
                () = tokio::task::yield_now() => continue,
            };
            if some == 0 {
                return read;
            }
            read.extend_from_slice(&space[..some]);
        }
    }

    #[tokio::test]
    async fn what_answers_another_is_not_read() {
        let spoken = Spoken { settings: 1, acks: 1, ..Spoken::default() };
        let wanted = [PREFACE, SETTINGS, SETTINGS_ACK, REQUEST, DATA, SETTINGS_ACK, DATA].concat();
        for piece in [1, 5, 1000] {
            // The website's settings were acknowledged before the request.
            let early = [PREFACE, SETTINGS, CLIENT_PING, SETTINGS_ACK, REQUEST, DATA].concat();
            let after = [SETTINGS_ACK, SETTINGS_ACK, DATA].concat();
            assert_eq!(reads(&early, early.len() - DATA.len(), &after, spoken, piece).await, wanted);
            // They are acknowledged behind it, and what was said was cut within a frame.
            let early = [PREFACE, SETTINGS, CLIENT_PING, REQUEST, &DATA[..4]].concat();
            let after = [&DATA[4..], SETTINGS_ACK, SETTINGS_ACK, SETTINGS_ACK, DATA].concat();
            assert_eq!(reads(&early, early.len() - 4, &after, spoken, piece).await, wanted);
        }
        // A website that had said nothing has nothing acknowledged.
        let early = [PREFACE, SETTINGS, REQUEST].concat();
        let read = reads(&early, early.len(), SETTINGS_ACK, Spoken::default(), 1000).await;
        assert_eq!(read, [&early, SETTINGS_ACK].concat());
    }

    #[tokio::test]
    async fn what_another_has_said_is_not_said_again() {
        let spoken = Spoken { settings: 1, acks: 1, window: 100, ..Spoken::default() };
        let said =
            [SETTINGS, SETTINGS_ACK, &update(60), DATA, &update(50), SETTINGS_ACK, &update(7)].concat();
        let wanted = [SETTINGS, DATA, &update(10), SETTINGS_ACK, &update(7)].concat();
        for piece in [1, 5, 1000] {
            let (io, mut client) = connection().await;
            let mut resumed = Taken::new(PREFACE, 0, spoken).resume(io);
            for piece in said.chunks(piece) {
                resumed.write_all(piece).await.unwrap();
            }
            resumed.shutdown().await.unwrap();
            let mut read = Vec::new();
            client.read_to_end(&mut read).await.unwrap();
            assert_eq!(read, wanted, "in pieces of {piece}");
        }
    }

    #[test]
    fn the_window_is_what_the_website_has_said() {
        assert_eq!(Taken::default().window(), INITIAL_WINDOW);
        let spoken = Spoken { window: 5, ..Spoken::default() };
        assert_eq!(Taken::new(PREFACE, 0, spoken).window(), INITIAL_WINDOW + 5);
    }
}
