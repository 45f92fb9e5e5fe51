//! A connection that was taken over: what of its frames is not for the library, since another has said it, or has been
//! told it.

use super::spoken::Spoken;
use crate::transport::Stream;
use crate::wire::h2::{FrameHead, INITIAL_WINDOW, PREFACE, frame, kind, window_increment};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What has passed before a connection was taken over.
///
/// - The client acknowledges the website's settings, and then ours: the former is not for us.
/// - It has been told that its settings are known: it is not told again.
/// - The website has let it send so much on the connection: the library counts that as its own, and what it says of it
///   is not passed on.
/// - It was answered when it pinged.
#[derive(Debug, Default)]
pub struct Taken {
    /// What the client has said, as the library is to hear it.
    said: Vec<u8>,
    spoken: Spoken,
    /// Acknowledgements of settings that are still to come, and are not for the library.
    foreign_acks: usize,
}

impl Taken {
    pub(super) fn new(client: Vec<u8>, spoken: Spoken) -> Taken {
        let mut foreign_acks = spoken.settings;
        let mut said = client.get(..PREFACE.len()).unwrap_or_default().to_vec();
        let mut rest = client.get(PREFACE.len()..).unwrap_or_default();
        while let Some((head, _)) = frame(rest) {
            let (whole, behind) = rest.split_at(head.frame_len().min(rest.len()));
            rest = behind;
            match head.kind {
                kind::SETTINGS if head.is_settings_ack() && foreign_acks > 0 => foreign_acks -= 1,
                PING => {}
                _ => said.extend_from_slice(whole),
            }
        }
        // (what has not come whole yet may be one of these, too)
        said.extend_from_slice(rest);
        Taken { said, spoken, foreign_acks }
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
        let Taken { said, spoken, foreign_acks } = self;
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
        };
        // What begins the connection is no frame.
        let (preface, frames) = said.split_at(PREFACE.len().min(said.len()));
        resumed.ready.extend_from_slice(preface);
        resumed.take(frames);
        resumed
    }
}

/// PING (RFC 9113 section 6.7).
const PING: u8 = 6;

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
            if let Some(rest @ [_, ..]) = self.ready.get(self.read_at..) {
                let len = rest.len().min(buffer.remaining());
                buffer.put_slice(&rest[..len]);
                self.read_at += len;
                if self.read_at == self.ready.len() {
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
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
