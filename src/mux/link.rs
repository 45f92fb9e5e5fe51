//! The connection that carries the sessions: what comes on it, what it has not taken yet, and how
//! it is closed.

use crate::relay::{
    CLOSE_TIMEOUT, End, Pieces, ProtocolError, RelayStream, Side, WriteBuffer, close_gracefully, unanswered,
};
use crate::runtime::turn::note_moved;
use crate::transport::framed::{Framed, Received};
use crate::transport::framing::{self, Framing};
use crate::wire::mux::{Decoder, Encoder, Head, Status};
use crate::wire::websocket::Role;
use crate::wire::{FrameSizeError, Step};
use std::io;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::Instant;

/// The most that is read at once, of the connection and of the sockets in one round.
pub(super) const READ: usize = 64 * 1024;

/// Bytes of frames without data that wait for a connection before it is read no further.
pub(super) const WORDS: usize = 64 * 1024;

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The head of a frame of Mux.Cool.
    Frame(Head),
    /// Data of a session, where they are in the input.
    Data(u16, Range<usize>),
    /// The peer sends nothing more in a session, and still takes what comes for it.
    HalfClose(u16),
    /// The peer sends nothing more.
    End,
}

/// How far an input has been read.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Behind the last frame; `None` where the frames have been taken off.
    pub(super) frames: Option<usize>,
    /// The payload that was found last, as far as it has not been looked at.
    pub(super) payload: Range<usize>,
    /// Whether there was any payload in the frames.
    pub(super) payload_seen: bool,
}

pub(super) struct Link<S, F> {
    io: S,
    /// Of the tunnel.
    side: Side,
    framing: F,
    decoder: Decoder,
    /// Data that come belong to a frame that has none for a session.
    discards: bool,
    /// What the connection has not taken yet; always whole messages, but for the front of the first.
    out: WriteBuffer,
    /// The connection could not be written to. What has come before that is still read.
    write_error: Option<io::Error>,
    /// Since when the peer has taken nothing of what is too much to let it send more.
    unread_since: Option<Instant>,
}

impl<S: RelayStream, F: Framing> Link<S, F> {
    /// Room in front of a session's data for both heads.
    pub(super) const HEADS: usize = F::HEAD + Encoder::HEAD;

    /// A connection whose handshake is done, and what has come on it.
    pub(super) fn new(handoff: Framed<S, F>, role: Role) -> (Link<S, F>, Received) {
        let link = Link {
            io: handoff.io,
            side: if role == Role::Server { Side::Accepted } else { Side::Dialled },
            framing: handoff.framing,
            decoder: Decoder::default(),
            discards: false,
            out: handoff.write_buf,
            write_error: handoff.write_error,
            unread_since: None,
        };
        (link, handoff.received)
    }

    pub(super) fn reset(&self, error: io::Error) -> End {
        End::Reset(self.side, error)
    }

    pub(super) fn malformed(&self, error: ProtocolError) -> End {
        End::Malformed(self.side, error)
    }

    /// Reads once. `Err` when the connection has ended.
    pub(super) fn poll_read<'a>(
        &mut self,
        cx: &mut Context<'_>,
        space: &'a mut [u8],
    ) -> Poll<Result<&'a mut [u8], End>> {
        let mut buffer = ReadBuf::new(space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)).map_err(|error| self.reset(error))?;
        let len = buffer.filled().len();
        if len == 0 {
            if let Err(error) = self.framing.end(self.framing.decoded()) {
                return Poll::Ready(Err(self.malformed(error)));
            }
            return Poll::Ready(Err(self.write_error.take().map_or(End::Closed, |error| self.reset(error))));
        }
        self.framing.note_heard();
        // Each byte is read and written.
        note_moved(2 * len as u64);
        Poll::Ready(Ok(&mut space[..len]))
    }

    /// The next thing in `input`, of which `cursor` says how far it has been read. `None` when all of it has.
    pub(super) fn next(
        &mut self,
        input: &mut [u8],
        cursor: &mut Cursor,
    ) -> Result<Option<Event>, ProtocolError> {
        loop {
            while !cursor.payload.is_empty() {
                let payload = input.get(..cursor.payload.end).ok_or("a range is not in its buffer")?;
                match self.decoder.decode(payload, &mut cursor.payload.start)? {
                    Step::NeedMore => break,
                    Step::Payload(_) if self.discards => {}
                    Step::Payload(data) => return Ok(Some(Event::Data(self.decoder.session(), data))),
                    Step::Event(head) => {
                        self.discards = matches!(head.status, Status::End | Status::KeepAlive);
                        return Ok(Some(Event::Frame(head)));
                    }
                }
            }
            let Some(at) = &mut cursor.frames else { return Ok(None) };
            match self.framing.decode(input, at)? {
                Step::NeedMore => return Ok(None),
                Step::Event(framing::Event::End) => return Ok(Some(Event::End)),
                Step::Event(framing::Event::SessionEnd(id)) => return Ok(Some(Event::HalfClose(id))),
                Step::Payload(range) => {
                    cursor.payload = range;
                    cursor.payload_seen = true;
                }
            }
        }
    }

    /// Makes a message of one mux frame of `frame[HEADS..]`. Returns where it begins.
    pub(super) fn frame(&mut self, encoder: &mut Encoder, frame: &mut [u8]) -> Result<usize, FrameSizeError> {
        let size = FrameSizeError(frame.len());
        let start = encoder.encode_in_place(frame.get_mut(F::HEAD..).ok_or(size)?)?;
        Ok(start + self.framing.encode_in_place(frame.get_mut(start..).ok_or(size)?)?)
    }

    /// Writes frames, which are pieces of `buffer`, as far as the connection takes them, and keeps the rest.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, buffer: &[u8], frames: &Pieces) {
        debug_assert!(frames.fit(buffer.len()), "frames of more than the {} bytes there are", buffer.len());
        let written = if frames.fit(buffer.len()) {
            self.out.write_slices(cx, &mut self.io, frames.slices(buffer))
        } else {
            Err(io::Error::other("a frame is not in its buffer"))
        };
        match written {
            Ok(_) => self.framing.note_sent(),
            Err(error) => self.break_off(error),
        }
    }

    /// Queues a frame of Mux.Cool in a message of its own.
    pub(super) fn queue_frame(&mut self, frame: &[u8]) {
        let mut message = vec![0; F::HEAD];
        message.extend_from_slice(frame);
        match self.framing.encode_in_place(&mut message) {
            Ok(start) => self.out.push(&message[start..]),
            Err(error) => self.break_off(io::Error::other(error)),
        }
    }

    /// Queues what tells a peer of ours that a session has ended in this direction.
    pub(super) fn queue_half_close(&mut self, id: u16) {
        self.out.append(|out| self.framing.push_session_end(id, out));
    }

    /// Queues what asks the peer whether it is one of ours.
    pub(super) fn queue_question(&mut self) {
        self.out.append(|out| self.framing.push_question(out));
    }

    /// Whether the peer is known to be one of ours.
    pub(super) fn peer_is_ours(&self) -> bool {
        self.framing.peer_is_ours()
    }

    /// Queues a ping that asks whether the peer is there.
    pub(super) fn queue_ping(&mut self) {
        self.out.append(|out| self.framing.push_ping(out));
        self.framing.note_asked();
    }

    /// From now on the connection is to be kept alive.
    pub(super) fn begin_silence(&mut self, now: Instant) {
        self.framing.begin_silence(now);
    }

    /// Sends a ping if the connection has been silent for so long that one is due. Returns when the next one
    /// is: there is no such time while the connection takes nothing.
    pub(super) fn keep_alive(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<Option<Instant>, End> {
        let direction = self.framing.encoded();
        if self.is_drained() && self.framing.deadline(direction).is_some_and(|due| due <= now) {
            if let Some(silence) = self.framing.reach_deadline(direction, now)
                && self.io.unacked_for().is_some_and(|time| time >= silence)
            {
                return Err(self.reset(unanswered()));
            }
            self.poll_flush(cx);
        }
        Ok(self.framing.deadline(direction).filter(|_| self.is_drained()))
    }

    /// Whether the peer has answered a ping.
    pub(super) fn pong_came(&self) -> bool {
        self.framing.peer_answers_pings()
    }

    /// Whether the peer has shown that it knows no half-closes.
    pub(super) fn peer_is_foreign(&self) -> bool {
        self.framing.peer_is_foreign()
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if self.write_error.is_some() {
            // Nobody takes it any more.
            self.out.clear();
            return;
        }
        let direction = self.framing.encoded();
        if self.framing.has_control_frames(direction) && self.out.len() < WORDS {
            self.out.append(|out| self.framing.take_control_frames(direction, out));
        }
        while !self.out.is_empty() {
            match self.out.poll_write(cx, &mut self.io) {
                Poll::Ready(Ok(_)) => {
                    self.unread_since = None;
                    self.framing.note_sent();
                }
                Poll::Ready(Err(error)) => return self.break_off(error),
                Poll::Pending => {
                    if self.is_full() {
                        self.unread_since.get_or_insert_with(Instant::now);
                    }
                    return;
                }
            }
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(cx) {
            self.break_off(error);
        }
    }

    /// The connection takes nothing any more. What its peer had said before is still read, to the end or
    /// to the next error: that is when it is over.
    pub(super) fn break_off(&mut self, error: io::Error) {
        self.write_error.get_or_insert(error);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.write_error.is_some()
    }

    pub(super) fn is_drained(&self) -> bool {
        self.out.is_empty()
    }

    /// Whether there is something to be written, and somebody to take it.
    pub(super) fn wants_flush(&self) -> bool {
        !self.is_broken() && (self.framing.has_control_frames(self.framing.encoded()) || !self.is_drained())
    }

    /// Whether so much waits that further sessions are better off elsewhere.
    pub(super) fn is_busy(&self) -> bool {
        self.out.len() >= READ
    }

    /// Whether the peer has so much to read that it is to say no more. One read of the sockets is never
    /// that much: an end that waits for the other to read would wait for ever.
    pub(super) fn is_full(&self) -> bool {
        self.out.len() >= READ + WORDS
    }

    /// How long the peer has been waited for to read.
    pub(super) fn unread_for(&self) -> Option<Duration> {
        self.unread_since.map(|since| since.elapsed())
    }

    pub(super) fn abort(&mut self) {
        self.io.abort();
    }

    pub(super) fn change_reactor(&mut self) {
        self.io.change_reactor();
    }

    /// Closes the connection in the manner of this end: with a reset, or with what its frames say last. A peer has the time of
    /// its `patience` until it has read what came last.
    pub(super) async fn close(&mut self, end: &End, patience: Duration) {
        if let End::Reset(..) = end {
            return self.abort();
        }
        if let End::Malformed(..) = end {
            self.framing.note_malformed();
        }
        let patience = if let End::Closed = end { patience } else { CLOSE_TIMEOUT };
        let mut last = self.out.take();
        last.extend(self.framing.close_frame(self.framing.encoded()).into_iter().flatten());
        close_gracefully(&mut self.io, last, patience).await;
    }
}
