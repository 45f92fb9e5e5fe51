//! One direction of a relay.
//!
//! Bytes are read into a scratch buffer that all flows of a thread share, changed in place, and
//! written from there at once. Only what the receiver does not take is kept, so a flow that waits
//! owns no buffer.

use super::bulk::{Bulk, WORTH_SPLICING};
use super::outcome::{EndSeen, FlowError};
use super::pieces::Pieces;
use super::protocol::{Direction, Protocol};
use super::scratch::{Scratch, with_scratch};
use super::splice::{SpliceError, SpliceProgress, Spliced};
use super::stream::RelayStream;
use super::write_buffer::WriteBuffer;
use crate::metrics;
use crate::runtime::buffers;
use crate::runtime::turn::{TURN, end_turn, note_moved};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes that are read at once for a visitor, who may ask for much and read nothing: what it does not take
/// has to be kept.
const MODEST: usize = 64 * 1024;

/// What a flow is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It passes bytes on.
    Open,
    /// Its source has ended; its sink is to be told.
    Closing,
    /// It is over.
    Done,
}

/// Which of its ends a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The source is to bring something; its end would be seen.
    Source,
    /// The sink is to take something.
    Sink,
    /// Neither: the flow is over, or its protocol wants nothing for now.
    Nothing,
}

/// One direction of a relay. The protocol is lent to it by the [relay](super::Relay), to which it belongs.
#[derive(Debug)]
pub(super) struct Flow {
    direction: Direction,
    stage: Stage,
    /// What the sink has not taken yet.
    pending: WriteBuffer,
    /// Why the source brings nothing more. It came behind what is pending, so it counts when that is
    /// written.
    failure: Option<Box<FlowError>>,
    /// The source broke where it was written to, and that was reported there. What it still brings passes;
    /// its end is none in order, and nobody is told of it but by a reset.
    source_broken: bool,
    /// Payload bytes that passed.
    payload: u64,
    /// Bytes that moved in any way, to see that something did. Control frames are none of them: a peer that
    /// only says that it is there moves nothing.
    moved: u64,
    /// What is pending are control frames alone.
    says_control: bool,
    /// The source has ended in its format's own terms, and its connection is open: control frames may come.
    listens: bool,
    bulk: Bulk,
    spliced: Spliced,
    /// What the last step of splicing took from the source.
    last_spliced: usize,
    waits: Waits,
    /// No more is fetched from the source at once than can be kept for each of many sinks.
    modest: bool,
}

impl Flow {
    /// A direction in which nothing has passed yet.
    pub(super) fn new(direction: Direction) -> Flow {
        Flow {
            direction,
            stage: Stage::Open,
            pending: WriteBuffer::default(),
            failure: None,
            source_broken: false,
            payload: 0,
            moved: 0,
            says_control: false,
            listens: false,
            bulk: Bulk::default(),
            spliced: Spliced::default(),
            last_spliced: 0,
            waits: Waits::Source,
            modest: false,
        }
    }

    /// Has bytes for the sink wait, `payload` of them payload. They do not go through the protocol.
    pub(super) fn put(&mut self, bytes: WriteBuffer, payload: usize) {
        self.pending = bytes;
        self.payload = payload as u64;
    }

    /// So many bytes of payload have passed in another way.
    pub(super) fn note_passed(&mut self, payload: usize) {
        self.payload += payload as u64;
    }

    /// No more is fetched from the source at once than can be kept for each of many sinks.
    pub(super) fn set_modest(&mut self) {
        self.modest = true;
        self.spliced = Spliced::small();
    }

    /// Takes bytes of the source that were read before.
    pub(super) fn feed(&mut self, protocol: &mut impl Protocol, input: &mut [u8]) {
        let mut pieces = Pieces::default();
        self.transform(protocol, input, &mut pieces);
        for slice in pieces.slices(input) {
            self.pending.push(slice);
        }
    }

    /// The source has ended so, behind the bytes that this flow begins with.
    pub(super) fn set_ended(&mut self, end: EndSeen) {
        match end {
            EndSeen::Closed => {
                self.stage = Stage::Closing;
                self.listens = true;
            }
            EndSeen::Broken(error) => self.failure = Some(Box::new(FlowError::Read(error))),
            EndSeen::Malformed(error) => self.failure = Some(Box::new(FlowError::Protocol(error))),
        }
    }

    /// From now on the end of the source is not passed on: the sink will be reset.
    pub(super) fn break_source(&mut self) {
        self.source_broken = true;
    }

    /// Lets the protocol turn input into pieces. What it made before it met an error is as good as what it
    /// made in an earlier read, so the error waits until that is written.
    fn transform(&mut self, protocol: &mut impl Protocol, input: &mut [u8], pieces: &mut Pieces) {
        let mut forwarded = protocol.forward(self.direction, input, pieces);
        if !pieces.fit(input.len()) {
            debug_assert!(false, "pieces of more than the {} bytes that were read", input.len());
            // Nothing of it can be trusted, and nothing may be lost unseen.
            pieces.clear();
            forwarded = Err("bytes were to be passed on that had not come".into());
        }
        match forwarded {
            Ok(payload) => self.payload += payload as u64,
            Err(error) => {
                self.payload += pieces.input_len() as u64;
                self.failure = Some(Box::new(FlowError::Protocol(error)));
            }
        }
        if pieces.is_finished() {
            self.stage = Stage::Closing;
            self.listens = true;
        }
    }

    /// Payload bytes that passed.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// Counts the payload that has passed since there were so many bytes of it.
    pub(super) fn count(&self, before: u64) {
        let direction = match self.direction {
            Direction::Up => metrics::Direction::Up,
            Direction::Down => metrics::Direction::Down,
        };
        // Visitors alone are served modestly.
        let flow = if self.modest { metrics::Flow::Visitor } else { metrics::Flow::Tunnel };
        if self.payload != before {
            metrics::moved(flow, direction, self.payload - before);
        }
    }

    /// A number that grows whenever something moves.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether this direction is over.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// Whether all has come that its source was going to bring.
    pub(super) fn has_ended(&self) -> bool {
        self.stage != Stage::Open && !self.source_broken
    }

    /// How long the other direction may stand still, now that this one has ended.
    pub(super) fn grace(&self, protocol: &impl Protocol) -> Option<Duration> {
        if self.is_done() { protocol.grace(self.direction) } else { None }
    }

    /// Whether the other direction has ended with this one.
    pub(super) fn closed_both(&self, protocol: &impl Protocol) -> bool {
        self.is_done() && protocol.both_closed(self.direction)
    }

    /// Whether this direction is over and its sink knows by the end of its connection: nothing more is
    /// said to it.
    pub(super) fn is_closed(&self, protocol: &impl Protocol) -> bool {
        self.is_done() && !protocol.close_is_in_band(self.direction)
    }

    /// When there will be something to write though nothing has come. There is no such time while the
    /// protocol is not asked: the flow is woken by its sink then.
    pub(super) fn deadline(&self, protocol: &impl Protocol) -> Option<Instant> {
        protocol.deadline(self.direction).filter(|_| self.all_is_written())
    }

    /// That time has come. Returns how long the sink has been silent, if that is suspect.
    pub(super) fn reach_deadline(&self, protocol: &mut impl Protocol, now: Instant) -> Option<Duration> {
        protocol.reach_deadline(self.direction, now)
    }

    /// Whether all that came before is written, so that what the protocol has to say comes behind it.
    fn all_is_written(&self) -> bool {
        self.pending.is_empty() && !self.spliced.holds_bytes()
    }

    /// What the last turn ended with.
    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether it is open, and all that has passed so far has reached the sink.
    pub(super) fn is_level(&self) -> bool {
        self.stage == Stage::Open && self.failure.is_none() && self.all_is_written()
    }

    /// After the relay's end: what the sink is to be told before its connection is closed, behind what it has
    /// not taken yet. `None` where nothing is said.
    pub(super) fn last_bytes(&mut self, protocol: &mut impl Protocol) -> Option<Vec<u8>> {
        let frame = protocol.close_frame(self.direction)?;
        self.pending.push(&frame);
        Some(self.pending.take())
    }

    /// Passes on what there is, until the source has nothing, the sink takes nothing, or the turn is over.
    ///
    /// `last` says that the other direction is over: then both streams are closed as soon as this one
    /// is, and a TCP sink need not be told apart from that.
    pub(super) fn poll<P: Protocol>(
        &mut self,
        cx: &mut Context<'_>,
        protocol: &mut P,
        source: &mut impl RelayStream,
        sink: &mut impl RelayStream,
        last: bool,
    ) -> Poll<Result<(), FlowError>> {
        let payload = self.payload;
        let mut moved = 0;
        let result = loop {
            // Each byte is read and written. (What is in a pipe leaves it at once, as far as it can.)
            if moved >= 2 * TURN && !self.spliced.holds_bytes() {
                end_turn(cx);
                self.note_turn(moved, payload);
                return Poll::Pending;
            }
            match self.step(cx, protocol, source, sink, last) {
                Poll::Pending => {
                    self.note_turn(moved, payload);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(n)) => {
                    moved += n as u64;
                    if self.is_done() && self.pending.is_empty() {
                        break Ok(());
                    }
                }
                Poll::Ready(Err(error)) => {
                    self.release_on_error(cx, protocol, sink, &error);
                    break Err(error);
                }
            }
        };
        self.note_turn(moved, payload);
        self.stage = Stage::Done;
        self.waits = Waits::Nothing;
        self.pending.clear();
        if P::HAS_CONTROL_FRAMES && self.listens && result.is_ok() {
            return Poll::Ready(self.listen(cx, protocol, source).map_err(FlowError::Read));
        }
        Poll::Ready(result)
    }

    /// Tells what has moved and passed in a turn, in which `payload` was what had passed before.
    fn note_turn(&self, moved: u64, payload: u64) {
        note_moved(moved);
        self.count(payload);
    }

    /// Reads on behind the end for control frames, such as pings, which want an answer for as long as the
    /// other direction is open. Payload is void here.
    fn listen(
        &mut self,
        cx: &mut Context<'_>,
        protocol: &mut impl Protocol,
        source: &mut impl RelayStream,
    ) -> io::Result<()> {
        let mut heard = 0;
        while self.listens && heard < TURN {
            let read = with_scratch(|Scratch { bytes, pieces }| {
                let mut buffer = ReadBuf::new(bytes);
                ready!(Pin::new(&mut *source).poll_read(cx, &mut buffer))?;
                pieces.clear();
                // Nothing depends on what is malformed here: it is the end of listening, and of nothing else.
                self.listens = match buffer.filled_mut() {
                    [] => {
                        let _ = protocol.end(self.direction);
                        false
                    }
                    input => protocol.forward(self.direction, input, pieces).is_ok(),
                };
                Poll::Ready(io::Result::Ok(buffer.filled().len()))
            });
            match read {
                Poll::Pending => {
                    note_moved(heard);
                    return Ok(());
                }
                Poll::Ready(read) => heard += read.inspect_err(|_| self.listens = false)? as u64,
            }
        }
        note_moved(heard);
        end_turn(cx);
        Ok(())
    }

    /// Does one thing. Returns how many bytes that moved, control frames among them.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        protocol: &mut impl Protocol,
        source: &mut impl RelayStream,
        sink: &mut impl RelayStream,
        last: bool,
    ) -> Poll<Result<usize, FlowError>> {
        self.waits = Waits::Sink;
        if self.all_is_written() {
            self.put_what_is_due(protocol);
        }
        match self.stage {
            _ if !self.pending.is_empty() => {
                let n = ready!(self.pending.poll_write(cx, sink)).map_err(FlowError::Write)?;
                if !self.says_control {
                    self.moved += n as u64;
                }
                return Poll::Ready(Ok(n));
            }
            Stage::Done => ready!(Pin::new(sink).poll_flush(cx)).map_err(FlowError::Write)?,
            Stage::Open if self.failure.is_some() => {
                ready!(Pin::new(sink).poll_flush(cx)).map_err(FlowError::Write)?;
                if let Some(failure) = self.failure.take() {
                    return Poll::Ready(Err(*failure));
                }
            }
            Stage::Open => {
                // Where much is held already, nothing is read that would only wait. (TLS is flushed before each read.)
                if let Some(sink) = sink.as_tcp().filter(|_| buffers::are_full()) {
                    ready!(sink.poll_write_ready(cx)).map_err(FlowError::Write)?;
                }
                match (source.as_tcp(), sink.as_tcp()) {
                    (Some(source), Some(sink)) if self.is_spliceable(protocol) => {
                        return self.splice(cx, protocol, source, sink);
                    }
                    _ => {
                        // Nothing of what was written may lie in a buffer of the sink while the source is
                        // waited for. (A socket has none; TLS has.)
                        ready!(Pin::new(&mut *sink).poll_flush(cx)).map_err(FlowError::Write)?;
                        return self.copy(cx, protocol, source, sink);
                    }
                }
            }
            Stage::Closing if self.source_broken || (last && sink.as_tcp().is_some()) => {
                self.stage = Stage::Done
            }
            Stage::Closing => {
                if !protocol.close_is_in_band(self.direction) {
                    if source.ended_abruptly() {
                        sink.end_abruptly();
                    }
                    ready!(Pin::new(sink).poll_shutdown(cx)).map_err(FlowError::Write)?;
                }
                self.stage = Stage::Done;
            }
        }
        Poll::Ready(Ok(0))
    }

    /// Has what the protocol says of its own, or holds no longer, wait for the sink.
    fn put_what_is_due(&mut self, protocol: &mut impl Protocol) {
        self.says_control = protocol.has_control_frames(self.direction);
        if self.says_control {
            self.pending.append(|out| protocol.take_control_frames(self.direction, out));
        }
        if protocol.release_is_due(self.direction) {
            self.says_control = false;
            self.pending.append(|out| self.payload += protocol.release(self.direction, out) as u64);
        }
    }

    /// Whether the kernel is to take the next step.
    fn is_spliceable(&self, protocol: &impl Protocol) -> bool {
        let much = || protocol.passthrough_len(self.direction) >= WORTH_SPLICING;
        self.bulk.is_on() && (self.spliced.holds_bytes() || much())
    }

    /// The flow breaks off. What the protocol held back had come before that, and goes to the sink as far
    /// as it takes it at once.
    fn release_on_error(
        &mut self,
        cx: &mut Context<'_>,
        protocol: &mut impl Protocol,
        sink: &mut (impl AsyncWrite + Unpin),
        error: &FlowError,
    ) {
        let mut held = Vec::new();
        protocol.release_on_error(self.direction, &mut held);
        if matches!(error, FlowError::Read(_)) && !held.is_empty() {
            // The sink is reset next: there is nobody to wait for.
            let _ = Pin::new(sink).poll_write(cx, &held);
        }
    }

    /// Lets the kernel carry what comes, one step at a time.
    fn splice(
        &mut self,
        cx: &mut Context<'_>,
        protocol: &mut impl Protocol,
        source: &TcpStream,
        sink: &TcpStream,
    ) -> Poll<Result<usize, FlowError>> {
        if !self.spliced.holds_bytes() {
            self.waits = Waits::Source;
        }
        let mut moved = 0;
        match ready!(self.spliced.step(cx, source, sink, protocol.passthrough_len(self.direction))) {
            Ok(SpliceProgress::In(n)) => {
                protocol.skip(self.direction, n as u64);
                moved = n;
                self.payload += n as u64;
                self.last_spliced = n;
            }
            Ok(SpliceProgress::Out(n)) => {
                moved = n;
                if !self.spliced.holds_bytes() {
                    self.bulk.note_splice(self.last_spliced);
                }
            }
            Ok(SpliceProgress::End) => self.stage = Stage::Closing,
            Err(SpliceError::Source(error)) => return Poll::Ready(Err(FlowError::Read(error))),
            Err(SpliceError::Sink(error)) => return Poll::Ready(Err(FlowError::Write(error))),
            Err(SpliceError::NoPipe) => self.bulk = Bulk::default(),
        }
        self.moved += moved as u64;
        Poll::Ready(Ok(moved))
    }

    /// Reads once and writes what came of it.
    fn copy<P: Protocol>(
        &mut self,
        cx: &mut Context<'_>,
        protocol: &mut P,
        source: &mut impl RelayStream,
        sink: &mut impl RelayStream,
    ) -> Poll<Result<usize, FlowError>> {
        with_scratch(|Scratch { bytes, pieces }| {
            let most = if self.modest { MODEST } else { bytes.len() };
            let most = buffers::room(most).min(bytes.len());
            let limit = most.min(protocol.read_limit(self.direction));
            if limit == 0 {
                self.waits = Waits::Nothing;
                return Poll::Pending;
            }
            self.waits = Waits::Source;
            let mut buffer = ReadBuf::new(&mut bytes[..limit]);
            ready!(Pin::new(source).poll_read(cx, &mut buffer)).map_err(FlowError::Read)?;
            let input = buffer.filled_mut();
            if input.is_empty() && self.source_broken {
                self.stage = Stage::Done;
                return Poll::Ready(Ok(0));
            }
            if input.is_empty() {
                protocol.end(self.direction).map_err(FlowError::Protocol)?;
                self.stage = Stage::Closing;
                return Poll::Ready(Ok(0));
            }
            let (read, payload_before) = (input.len(), self.payload);
            if protocol.passthrough_len(self.direction) > 0 {
                self.bulk.note_read(input.len());
            }
            pieces.clear();
            self.transform(protocol, input, pieces);
            if self.payload > payload_before || !P::HAS_CONTROL_FRAMES {
                self.moved += read as u64;
            }
            // Where something is left, the next step meets a sink that is full and waits for it.
            self.says_control = false;
            let written = self.pending.write_slices(cx, sink, pieces.slices(input));
            let written = written.map_err(FlowError::Write)?;
            self.moved += written as u64;
            Poll::Ready(Ok(read + written))
        })
    }
}
