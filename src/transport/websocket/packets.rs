//! WebSocket whose messages are packets of UDP: each binary message is one, both ways.
//!
//! Nobody waits for a packet. What the connection does not take now waits in the queue of the [`Port`], which drops what
//! is too much; what the port does not take is dropped.

use super::{Event, WebSocket};
use crate::metrics::PacketDropped;
use crate::relay::{
    CLOSE_TIMEOUT, End, Outcome, Pieces, ProtocolError, RelayStream, Scratch, Side, WriteBuffer,
    close_gracefully, unanswered, with_scratch,
};
use crate::runtime::buffers::{self, Held};
use crate::runtime::turn::{self, TURN, end_turn, note_moved};
use crate::runtime::watchdog;
use crate::transport::Stream;
use crate::udp::{Ended, IDLE, LONGEST, Packets, Port, dropped};
use crate::wire::Step;
use crate::wire::websocket::{CLOSE_INTERNAL_ERROR, CLOSE_NORMAL, CLOSE_UNSUPPORTED_DATA, Encoder, Role};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::ReadBuf;
use tokio::time::{Instant, Sleep, sleep};

/// The most that is read at once.
const READ: usize = 64 * 1024;

/// The most packets that are taken of one read: of those that are shorter than any application's, the rest is dropped.
const PACKETS: usize = 4096;

/// The most bytes of messages that are written at once, with their heads: at least the longest one.
const BATCH: usize = 72 * 1024;

/// The same where the process buffers as much as it may: at least one message.
const SMALL_BATCH: usize = 8 * 1024;

/// Messages that are written at once.
const MESSAGES: usize = 64;

/// What a packet costs, in bytes that could be moved meanwhile.
const COST: u64 = 256;

/// How long a peer may take nothing of what there is for it.
const UNREAD_MAX: Duration = Duration::from_secs(60);

/// An open WebSocket connection whose messages are packets.
#[derive(Debug)]
pub struct PacketStream<S = Stream> {
    io: S,
    websocket: WebSocket,
    /// What came right behind the handshake.
    behind: Vec<u8>,
    incoming: Incoming,
}

impl<S: RelayStream> PacketStream<S> {
    /// A connection whose handshake is done. `behind` was read with it.
    pub(super) fn new(io: S, websocket: WebSocket, behind: Vec<u8>) -> PacketStream<S> {
        PacketStream { io, websocket, behind, incoming: Incoming::default() }
    }

    /// The same, with a packet in the handshake, if that is not empty.
    pub(super) fn with_first(mut self, packet: &[u8]) -> PacketStream<S> {
        if !packet.is_empty() {
            self.incoming.packets.push(packet);
        }
        self
    }

    /// Passes packets on between the connection and the port, until either has ended or nothing has passed for [`IDLE`].
    pub async fn run(self, port: impl Into<Port>) -> Outcome {
        watchdog::stage("udp");
        let mut session = Session::new(self, port.into());
        let end = poll_fn(|cx| session.poll(cx)).await;
        session.close(end).await
    }

    /// Closes the connection of a peer whose packets nobody takes: this end takes none of anybody.
    pub async fn refuse(self) -> Outcome {
        self.close(CLOSE_UNSUPPORTED_DATA).await
    }

    /// The same, as there is no port for them now.
    pub async fn fail(self) -> Outcome {
        self.close(CLOSE_INTERNAL_ERROR).await
    }

    async fn close(mut self, code: u16) -> Outcome {
        let last = self.websocket.close_frame(code);
        close_gracefully(&mut self.io, last, CLOSE_TIMEOUT).await;
        Outcome { up: 0, down: 0, end: End::Closed, closing: None }
    }
}

/// Messages that have come, whole or in part.
#[derive(Debug, Default)]
struct Incoming {
    packets: Packets,
    /// How many messages had begun.
    begun: u32,
    /// The last one of these has not ended.
    is_open: bool,
    /// It is too long, and what comes of it is thrown away.
    is_too_long: bool,
    held: Held,
}

impl Incoming {
    /// The decoder has gone on: so many messages have begun, and the last one of them may have ended. If it has found
    /// payload, that is the last one's.
    fn note(&mut self, begun: u32, is_between: bool, payload: &[u8]) {
        let mut new = begun.wrapping_sub(self.begun);
        self.begun = begun;
        while new > 0 {
            self.finish();
            self.is_open = true;
            new -= 1;
        }
        if self.packets.unfinished() + payload.len() > LONGEST {
            self.is_too_long = true;
            self.packets.abandon();
        }
        if !self.is_too_long {
            self.packets.extend(payload);
        }
        if is_between {
            self.finish();
        }
    }

    /// Takes what has come. Returns whether the peer sends nothing more.
    ///
    /// # Errors
    ///
    /// It is not what RFC 6455 says. What was whole before it is here.
    fn take(&mut self, websocket: &mut WebSocket, input: &mut [u8]) -> Result<bool, ProtocolError> {
        let mut at = 0;
        loop {
            let step = websocket.decode(input, &mut at);
            let payload = if let Ok(Step::Payload(range)) = &step { &input[range.clone()] } else { &[] };
            self.note(websocket.decoder.messages(), websocket.decoder.is_between_messages(), payload);
            match step? {
                Step::Payload(_) | Step::Event(Event::SessionEnd(_)) => {}
                Step::NeedMore => return Ok(false),
                Step::Event(Event::End) => return Ok(true),
            }
        }
    }

    /// The last message has ended, if it had not.
    fn finish(&mut self) {
        if !std::mem::take(&mut self.is_open) {
            return;
        }
        if std::mem::take(&mut self.is_too_long) {
            dropped(PacketDropped::TooLong, 1);
        } else if self.packets.len() < PACKETS {
            self.packets.finish();
        } else {
            self.packets.abandon();
            dropped(PacketDropped::Busy, 1);
        }
    }

    fn send(&mut self, port: &mut Port) {
        note_moved(COST * self.packets.len() as u64);
        port.send(&mut self.packets);
        self.held.set(self.packets.bytes());
    }
}

/// A connection and the port that it serves.
struct Session<S> {
    io: S,
    websocket: WebSocket,
    behind: Option<Vec<u8>>,
    incoming: Incoming,
    port: Port,
    /// Of the tunnel.
    side: Side,
    /// What the connection has not taken yet: whole messages, but for the front of the first.
    out: WriteBuffer,
    /// The connection could not be written to. What has come before that is still read.
    write_error: Option<io::Error>,
    /// Since when the peer has taken nothing of what waits for it.
    unread_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
    /// The reactor that watches the connection.
    reactor: u32,
}

impl<S: RelayStream> Session<S> {
    fn new(open: PacketStream<S>, port: Port) -> Session<S> {
        let PacketStream { io, websocket, behind, incoming } = open;
        let side = if websocket.role == Role::Server { Side::Accepted } else { Side::Dialled };
        Session {
            io,
            websocket,
            behind: Some(behind),
            incoming,
            port,
            side,
            out: WriteBuffer::default(),
            write_error: None,
            unread_since: None,
            timer: Box::pin(sleep(IDLE)),
            reactor: turn::reactor(),
        }
    }

    /// Ready when the session is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.reactor != turn::reactor() {
            self.reactor = turn::reactor();
            self.io.change_reactor();
            let due = self.timer.deadline();
            self.timer.set(tokio::time::sleep_until(due));
        }
        let before = turn::moved();
        if let Some(mut behind) = self.behind.take()
            && let Some(end) = self.take_input(&mut behind)
        {
            return Poll::Ready(end);
        }
        loop {
            if turn::moved().wrapping_sub(before) >= 2 * TURN {
                end_turn(cx);
                return Poll::Pending;
            }
            self.poll_flush(cx);
            let mut moved = match self.poll_read(cx) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => true,
                Poll::Pending => false,
            };
            if self.write_error.is_none() && self.out.is_empty() {
                match self.poll_port(cx) {
                    Ok(any) => moved |= any,
                    Err(Ended::Forgotten) => return Poll::Ready(End::Closed),
                    Err(Ended::Idle) => return Poll::Ready(End::Idle(IDLE)),
                }
            }
            if moved {
                continue;
            }
            match self.poll_clock(cx) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Reads once. Ready with the end, if that has come.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        with_scratch(|Scratch { bytes, .. }| {
            let mut buffer = ReadBuf::new(&mut bytes[..buffers::room(READ)]);
            let read = ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer));
            if let Err(error) = read {
                return Poll::Ready(Some(End::Reset(self.side, error)));
            }
            let len = buffer.filled().len();
            if len == 0 {
                self.websocket.connection_ended();
                let error = self.write_error.take();
                return Poll::Ready(Some(error.map_or(End::Closed, |error| End::Reset(self.side, error))));
            }
            self.websocket.note_heard();
            // Each byte is read and written.
            note_moved(2 * len as u64);
            Poll::Ready(self.take_input(&mut bytes[..len]))
        })
    }

    /// Sends the port what is in it. Returns the end, if that is there, too.
    fn take_input(&mut self, input: &mut [u8]) -> Option<End> {
        let taken = self.incoming.take(&mut self.websocket, input);
        self.incoming.send(&mut self.port);
        match taken {
            Ok(false) => None,
            Ok(true) => Some(self.peer_ends()),
            Err(error) => Some(End::Malformed(self.side, error)),
        }
    }

    fn peer_ends(&self) -> End {
        let takes_none = self.websocket.close_code() == Some(CLOSE_UNSUPPORTED_DATA);
        if self.side == Side::Dialled && takes_none {
            dropped(PacketDropped::NotTaken, 1);
            return End::Reset(self.side, io::Error::new(io::ErrorKind::Unsupported, "it takes no UDP"));
        }
        End::Closed
    }

    /// Writes what the port has with one call. Returns whether there was anything.
    fn poll_port(&mut self, cx: &mut Context<'_>) -> Result<bool, Ended> {
        with_scratch(|Scratch { bytes, pieces }| {
            pieces.clear();
            let room = if buffers::are_full() { SMALL_BATCH } else { BATCH };
            let (used, ended) = self.frame(cx, &mut bytes[..BATCH], room, pieces);
            if used == 0 {
                return ended.map_or(Ok(false), Err);
            }
            note_moved(2 * used as u64);
            match self.out.write_slices(cx, &mut self.io, pieces.slices(bytes)) {
                Ok(_) => self.websocket.note_sent(),
                Err(error) => self.break_off(error),
            }
            Ok(true)
        })
    }

    /// Makes messages of what the port has. Returns how much of the buffer is used, and whether nothing more comes.
    fn frame(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        room: usize,
        messages: &mut Pieces,
    ) -> (usize, Option<Ended>) {
        let (mut used, mut count) = (0, 0);
        loop {
            let packets = match self.port.poll_packets(cx) {
                Poll::Pending => return (used, None),
                Poll::Ready(Err(ended)) => return (used, Some(ended)),
                Poll::Ready(Ok(packets)) => packets,
            };
            let (mut taken, mut is_full) = (0, false);
            let mut any = false;
            while let Some(packet) = packets.first() {
                let end = used + Encoder::HEAD + packet.len();
                is_full = count == MESSAGES || (count > 0 && end > room);
                if is_full {
                    break;
                }
                if packet.len() > LONGEST {
                    dropped(PacketDropped::TooLong, 1);
                    packets.take(1);
                    continue;
                }
                buffer[used + Encoder::HEAD..end].copy_from_slice(packet);
                taken += packet.len();
                any = true;
                packets.take(1);
                // (there is room for its head)
                if let Ok(start) = self.websocket.encode_in_place(&mut buffer[used..end]) {
                    messages.input(used + start..end);
                }
                (used, count) = (end, count + 1);
            }
            if any {
                self.port.note_taken(taken);
            }
            if is_full {
                return (used, None);
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) {
        if self.write_error.is_some() {
            // Nobody takes it any more.
            self.out.clear();
            self.unread_since = None;
            return;
        }
        // (a pong that waits is replaced by the next one)
        if self.websocket.has_control_frames() && self.out.len() < BATCH {
            self.out.append(|out| self.websocket.take_control_frames(out));
        }
        while !self.out.is_empty() {
            match self.out.poll_write(cx, &mut self.io) {
                Poll::Ready(Ok(_)) => {
                    self.unread_since = None;
                    self.websocket.note_sent();
                }
                Poll::Ready(Err(error)) => return self.break_off(error),
                Poll::Pending => {
                    self.unread_since.get_or_insert_with(Instant::now);
                    return;
                }
            }
        }
        if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(cx) {
            self.break_off(error);
        }
    }

    fn break_off(&mut self, error: io::Error) {
        self.write_error.get_or_insert(error);
    }

    /// Looks at the clock. Ready with the end, if it is time for that, or when there is something to say.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        loop {
            let now = Instant::now();
            let idle_at = self.port.idle_at();
            if idle_at <= now {
                return Poll::Ready(Some(End::Idle(IDLE)));
            }
            let unread_at = self.unread_since.map(|since| since + UNREAD_MAX);
            if unread_at.is_some_and(|at| at <= now) {
                let error = io::Error::new(io::ErrorKind::TimedOut, "it does not read what it asks for");
                return Poll::Ready(Some(End::Reset(self.side, error)));
            }
            let ping_at = self.websocket.ping_due_at().filter(|_| self.out.is_empty());
            if ping_at.is_some_and(|at| at <= now) {
                if let Some(silence) = self.websocket.reach_ping(now)
                    && self.io.unacked_for().is_some_and(|time| time >= silence)
                {
                    return Poll::Ready(Some(End::Reset(self.side, unanswered())));
                }
                return Poll::Ready(None);
            }
            let due = [unread_at, ping_at].into_iter().flatten().fold(idle_at, Instant::min);
            // It is set anew only when it fires, or is too late.
            if self.timer.deadline() > due || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due);
            }
            ready!(self.timer.as_mut().poll(cx));
        }
    }

    /// Closes the connection in the manner of this end.
    async fn close(self, end: End) -> Outcome {
        let Session { mut io, mut websocket, mut out, port, .. } = self;
        let (up, down) = port.up_and_down();
        // Its source is new with its next packet.
        drop(port);
        if let End::Reset(..) = end {
            io.abort();
        } else {
            let mut last = out.take();
            last.extend(websocket.close_frame(CLOSE_NORMAL));
            close_gracefully(&mut io, last, CLOSE_TIMEOUT).await;
        }
        Outcome { up, down, end, closing: None }
    }
}

#[cfg(test)]
#[path = "packets_tests.rs"]
mod tests;
