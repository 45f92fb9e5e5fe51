//! One direction of a relay.
//!
//! Bytes are read into a scratch buffer that all flows of a thread share, changed in place, and
//! written from there at once. Only what the receiver does not take is kept, so a flow that waits
//! owns no buffer.

use super::codec::{Codec, CodecError, Pieces};
use super::splice::{Moved, SpliceError, Spliced};
use super::stream::RelayStream;
use crate::runtime::turn::{TURN, end_turn, note_moved};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Bytes that are read at once: more costs cache, less costs system calls. An `obfs=tls` pair used 0.72
/// CPU seconds per GB upward and 0.74 downward with 64 KiB, 0.72 and 0.72 with 128 KiB, 0.64 and 0.65
/// with 256 KiB.
const SCRATCH: usize = 256 * 1024;

/// A read of so many bytes is one of a flow that keeps coming: what waits for its turn is shorter.
const LARGE: usize = 32 * 1024;

/// The kernel is not asked to carry fewer bytes than that: they cost less as they are.
const WORTH_SPLICING: u64 = LARGE as u64;

/// Pieces that are written with one call; more are first put together.
const MAX_PIECES: usize = 64;

/// The same for a visitor, who may ask for much and read nothing: what it does not take has to be kept.
const SMALL: usize = 64 * 1024;

/// Room that all flows of a thread share.
struct Scratch {
    bytes: Box<[u8]>,
    pieces: Pieces,
}

thread_local! {
    static ROOM: RefCell<Scratch> = RefCell::new(Scratch {
        bytes: vec![0; SCRATCH].into_boxed_slice(),
        pieces: Pieces::default(),
    });
}

/// Reads once, at most `most` bytes, and appends them. Returns how many they were, 0 at the end.
///
/// While it waits there is no buffer, and `into` grows by what comes and no more.
///
/// # Errors
///
/// The connection broke.
pub async fn read_some<S: AsyncRead + Unpin>(
    source: &mut S,
    into: &mut Vec<u8>,
    most: usize,
) -> io::Result<usize> {
    poll_fn(|cx| {
        ROOM.with_borrow_mut(|Scratch { bytes, .. }| {
            let room = most.min(bytes.len());
            let mut buffer = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(&mut *source).poll_read(cx, &mut buffer))?;
            into.reserve_exact(buffer.filled().len());
            into.extend_from_slice(buffer.filled());
            Poll::Ready(Ok(buffer.filled().len()))
        })
    })
    .await
}

/// Why a flow broke off.
#[derive(Debug)]
pub(super) enum FlowError {
    /// Its source.
    Read(io::Error),
    /// Its sink.
    Write(io::Error),
    /// The bytes.
    Codec(CodecError),
}

/// How a stream ended that a stage before the relay has read to its end.
#[derive(Debug)]
pub enum EndSeen {
    /// In order. The codec knows already, if there is something about it to know.
    Closed,
    /// The connection broke.
    Broken(io::Error),
    /// The bytes were not what the format says.
    Malformed(CodecError),
}

/// What a flow is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It passes bytes on.
    Open,
    /// Its source has ended; its sink is to be told.
    Closing,
    /// It is over.
    Done,
    /// The relay is over: last words are being said.
    Parting,
    /// They are said.
    Parted,
}

/// Which of its ends a flow waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// The source is to bring something; its end would be seen.
    Source,
    /// The sink is to take something.
    Sink,
    /// Neither: the flow is over, or its codec wants nothing for now.
    Nothing,
}

/// How much a flow moves at a time, by which it is decided whether the kernel is to carry it.
#[derive(Debug, Default)]
struct Bulk {
    /// Large reads in a row.
    large_reads: u8,
    /// Steps of splicing in a row that moved less than half of a large read.
    small_moves: u8,
    on: bool,
}

impl Bulk {
    /// Two of them are a beginning: pages, pictures and handshakes are smaller.
    const LARGE_READS: u8 = 2;
    /// A pause of the sender shows as one small move; a flow that has become an exchange, as many.
    const SMALL_MOVES: u8 = 8;

    fn note_read(&mut self, n: usize) {
        self.large_reads = if n >= LARGE { self.large_reads + 1 } else { 0 };
        if self.large_reads >= Self::LARGE_READS {
            *self = Bulk { on: true, ..Bulk::default() };
        }
    }

    fn note_splice(&mut self, n: usize) {
        self.small_moves = if n < LARGE / 2 { self.small_moves + 1 } else { 0 };
        if self.small_moves >= Self::SMALL_MOVES {
            *self = Bulk::default();
        }
    }
}

/// One direction of a relay.
#[derive(Debug)]
pub struct Flow<C> {
    codec: C,
    stage: Stage,
    /// What the sink has not taken yet, from `written` on.
    pending: Vec<u8>,
    written: usize,
    /// Why the source brings nothing more. It came behind what is pending, so it counts when that is
    /// written.
    failure: Option<Box<FlowError>>,
    /// The source broke where it was written to, and that was reported there. What it still brings passes;
    /// its end is none in order, and nobody is told of it but by a reset.
    source_broken: bool,
    /// Payload bytes that passed.
    payload: u64,
    /// Bytes that moved in any way, to see that something did.
    moved: u64,
    bulk: Bulk,
    spliced: Spliced,
    /// What the last step of splicing took from the source.
    taken: usize,
    waits: Waits,
    /// The most bytes that are read at once.
    most: usize,
}

impl<C: Codec> Flow<C> {
    /// A direction in which nothing has passed yet.
    pub fn new(codec: C) -> Flow<C> {
        Flow::with_pending(codec, Vec::new(), 0)
    }

    /// A direction that begins with bytes for the sink, `payload` of them payload. They do not go
    /// through the codec.
    pub fn with_pending(codec: C, pending: Vec<u8>, payload: usize) -> Flow<C> {
        Flow {
            codec,
            stage: Stage::Open,
            pending,
            written: 0,
            failure: None,
            source_broken: false,
            payload: payload as u64,
            moved: 0,
            bulk: Bulk::default(),
            spliced: Spliced::default(),
            taken: 0,
            waits: Waits::Source,
            most: SCRATCH,
        }
    }

    /// The same, but for a sink that is not known to take much: no more is fetched from the source than
    /// can be kept for each of many such.
    pub fn modest(mut self) -> Flow<C> {
        self.most = SMALL;
        self.spliced = Spliced::small();
        self
    }

    /// Takes bytes of the source that were read before, through the codec. Bytes that are not what the
    /// format says end the flow as they do later: behind what came before them.
    pub fn feed(&mut self, input: &mut [u8]) {
        let mut pieces = Pieces::default();
        self.transform(input, &mut pieces);
        for slice in pieces.slices(input) {
            self.pending.extend_from_slice(slice);
        }
    }

    /// The source has ended so, behind the bytes that this flow begins with.
    pub fn ended(mut self, end: Option<EndSeen>) -> Self {
        match end {
            None => {}
            Some(EndSeen::Closed) => self.stage = Stage::Closing,
            Some(EndSeen::Broken(error)) => self.failure = Some(Box::new(FlowError::Read(error))),
            Some(EndSeen::Malformed(error)) => self.failure = Some(Box::new(FlowError::Codec(error))),
        }
        self
    }

    /// From now on the end of the source is not passed on: the sink will be reset.
    pub(super) fn break_source(&mut self) {
        self.source_broken = true;
    }

    /// Lets the codec turn input into pieces. What it made before it met an error is as good as what it
    /// made in an earlier read, so the error waits until that is written.
    fn transform(&mut self, input: &mut [u8], pieces: &mut Pieces) {
        match self.codec.pass(input, pieces) {
            Ok(payload) => self.payload += payload as u64,
            Err(error) => {
                self.payload += pieces.input_len() as u64;
                self.failure = Some(Box::new(FlowError::Codec(error)));
            }
        }
        if pieces.finished {
            self.stage = Stage::Closing;
        }
    }

    /// Payload bytes that passed.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// A number that grows whenever something moves.
    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    /// Whether this direction is over.
    pub(super) fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }

    /// How long the other direction may stand still, now that this one has ended.
    pub(super) fn grace(&self) -> Option<Duration> {
        if self.is_done() { self.codec.grace() } else { None }
    }

    /// Whether the other direction has ended with this one.
    pub(super) fn ended_both(&self) -> bool {
        self.is_done() && self.codec.ends_both()
    }

    /// Whether the end is said by the codec, which may take its time over it.
    pub(super) fn says_end(&self) -> bool {
        self.codec.says_end()
    }

    /// Whether there is something to say though nothing has come.
    pub(super) fn wants_to_speak(&self) -> bool {
        self.codec.wants_to_speak()
    }

    /// When there will be something to say though nothing has come. There is no such time while the codec
    /// is not asked: the flow is woken by its sink then.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.codec.deadline().filter(|_| self.may_interject())
    }

    /// Whether all that came before is written, so that what the codec has to say comes behind it.
    fn may_interject(&self) -> bool {
        self.pending.is_empty() && !self.spliced.holds_bytes()
    }

    /// What the last turn ended with.
    pub(super) fn waits(&self) -> Waits {
        self.waits
    }

    /// Whether what comes is not for the sink any more.
    pub(super) fn wants_out(&self) -> bool {
        self.codec.wants_out()
    }

    /// Whether it is open, and all that has passed so far has reached the sink.
    pub(super) fn is_level(&self) -> bool {
        self.stage == Stage::Open && self.failure.is_none() && self.may_interject()
    }

    /// What becomes of the codec when the relay is over.
    pub(super) fn into_codec(self) -> C {
        self.codec
    }

    /// Passes on what there is, until the source has nothing, the sink takes nothing, or the turn is over.
    ///
    /// `last` says that the other direction is over: then both streams are closed as soon as this one
    /// is, and a TCP sink need not be told apart from that.
    pub(super) fn poll<S, D>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut D,
        last: bool,
    ) -> Poll<Result<(), FlowError>>
    where
        S: RelayStream,
        D: RelayStream,
    {
        let before = self.moved;
        let result = loop {
            // Each byte is read and written. (What is in a pipe leaves it at once, as far as it can.)
            if self.moved - before >= 2 * TURN && !self.spliced.holds_bytes() {
                end_turn(cx);
                note_moved(self.moved - before);
                return Poll::Pending;
            }
            match self.step(cx, source, sink, last) {
                Poll::Pending => {
                    note_moved(self.moved - before);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(())) if self.is_done() && self.pending.is_empty() => break Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => {
                    self.let_go(cx, sink, &error);
                    break Err(error);
                }
            }
        };
        note_moved(self.moved - before);
        self.stage = Stage::Done;
        self.waits = Waits::Nothing;
        self.pending = Vec::new();
        self.written = 0;
        Poll::Ready(result)
    }

    fn step<S, D>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut D,
        last: bool,
    ) -> Poll<Result<(), FlowError>>
    where
        S: RelayStream,
        D: RelayStream,
    {
        self.waits = Waits::Sink;
        if self.may_interject() && self.codec.wants_to_speak() {
            self.payload += self.codec.interject(&mut self.pending) as u64;
        }
        match self.stage {
            _ if self.written < self.pending.len() => ready!(self.write_pending(cx, sink))?,
            Stage::Done | Stage::Parting | Stage::Parted => {
                return Pin::new(sink).poll_flush(cx).map_err(FlowError::Write);
            }
            Stage::Open if self.failure.is_some() => {
                ready!(Pin::new(sink).poll_flush(cx)).map_err(FlowError::Write)?;
                if let Some(failure) = self.failure.take() {
                    return Poll::Ready(Err(*failure));
                }
            }
            Stage::Open => match (source.as_tcp(), sink.as_tcp()) {
                (Some(source), Some(sink)) if self.is_spliceable() => ready!(self.splice(cx, source, sink))?,
                _ => {
                    // Nothing of what was written may lie in a buffer of the sink while the source is
                    // waited for. (A socket has none; TLS has.)
                    ready!(Pin::new(&mut *sink).poll_flush(cx)).map_err(FlowError::Write)?;
                    ready!(self.pass(cx, source, sink))?;
                }
            },
            Stage::Closing if self.source_broken || (last && sink.as_tcp().is_some()) => {
                self.stage = Stage::Done
            }
            Stage::Closing => {
                if !self.codec.says_end() {
                    if source.ended_abruptly() {
                        sink.end_abruptly();
                    }
                    ready!(Pin::new(sink).poll_shutdown(cx)).map_err(FlowError::Write)?;
                }
                self.stage = Stage::Done;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Whether the kernel is to take the next step.
    fn is_spliceable(&self) -> bool {
        self.bulk.on && (self.spliced.holds_bytes() || self.codec.untouched() >= WORTH_SPLICING)
    }

    /// The flow breaks off. What the codec held back had come before that, and goes to the sink as far as
    /// it takes it at once.
    fn let_go<D: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, sink: &mut D, error: &FlowError) {
        let mut held = Vec::new();
        self.codec.let_go(&mut held);
        if matches!(error, FlowError::Read(_)) && !held.is_empty() {
            // The sink is reset next: there is nobody to wait for.
            let _ = Pin::new(sink).poll_write(cx, &held);
        }
    }

    /// After the relay's end: tells the sink what the codec has left to say, closes that direction, and
    /// waits for the other end to do the same, so that no reset overtakes the words. Ready at once for
    /// codecs that say nothing.
    pub(super) fn poll_part<T>(&mut self, cx: &mut Context<'_>, sink: &mut T) -> Poll<()>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        if self.stage != Stage::Parting && self.stage != Stage::Parted {
            let Some(words) = self.codec.last_words() else { return Poll::Ready(()) };
            self.pending.extend_from_slice(&words);
            self.stage = Stage::Parting;
        }
        if self.stage == Stage::Parting {
            while self.written < self.pending.len() {
                if ready!(self.write_pending(cx, sink)).is_err() {
                    return Poll::Ready(());
                }
            }
            if ready!(Pin::new(&mut *sink).poll_shutdown(cx)).is_err() {
                return Poll::Ready(());
            }
            self.stage = Stage::Parted;
        }
        ROOM.with_borrow_mut(|Scratch { bytes, .. }| {
            loop {
                let mut buffer = ReadBuf::new(bytes);
                match ready!(Pin::new(&mut *sink).poll_read(cx, &mut buffer)) {
                    Ok(()) if !buffer.filled().is_empty() => {}
                    _ => return Poll::Ready(()),
                }
            }
        })
    }

    /// Writes what is left over from an earlier turn, and frees it when it is gone.
    fn write_pending<D: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut D,
    ) -> Poll<Result<(), FlowError>> {
        let left = self.pending.get(self.written..).unwrap_or_default();
        let n = ready!(Pin::new(sink).poll_write(cx, left)).and_then(not_zero).map_err(FlowError::Write)?;
        self.written += n;
        self.moved += n as u64;
        if self.written == self.pending.len() {
            self.pending = Vec::new();
            self.written = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Lets the kernel carry what comes, one step at a time.
    fn splice(
        &mut self,
        cx: &mut Context<'_>,
        source: &TcpStream,
        sink: &TcpStream,
    ) -> Poll<Result<(), FlowError>> {
        if !self.spliced.holds_bytes() {
            self.waits = Waits::Source;
        }
        match ready!(self.spliced.step(cx, source, sink, self.codec.untouched())) {
            Ok(Moved::In(n)) => {
                self.codec.passed_by(n as u64);
                self.moved += n as u64;
                self.payload += n as u64;
                self.taken = n;
            }
            Ok(Moved::Out(n)) => {
                self.moved += n as u64;
                if !self.spliced.holds_bytes() {
                    self.bulk.note_splice(self.taken);
                }
            }
            Ok(Moved::End) => self.stage = Stage::Closing,
            Err(SpliceError::Source(error)) => return Poll::Ready(Err(FlowError::Read(error))),
            Err(SpliceError::Sink(error)) => return Poll::Ready(Err(FlowError::Write(error))),
            Err(SpliceError::NoPipe) => self.bulk = Bulk::default(),
        }
        Poll::Ready(Ok(()))
    }

    /// Reads once and writes what came of it.
    fn pass<S, D>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut D,
    ) -> Poll<Result<(), FlowError>>
    where
        S: RelayStream,
        D: RelayStream,
    {
        ROOM.with_borrow_mut(|Scratch { bytes, pieces }| {
            let room = bytes.len().min(self.most).min(self.codec.room());
            if room == 0 {
                self.waits = Waits::Nothing;
                return Poll::Pending;
            }
            self.waits = Waits::Source;
            let mut buffer = ReadBuf::new(bytes.get_mut(..room).unwrap_or_default());
            ready!(Pin::new(source).poll_read(cx, &mut buffer)).map_err(FlowError::Read)?;
            let input = buffer.filled_mut();
            if input.is_empty() && self.source_broken {
                self.stage = Stage::Done;
                return Poll::Ready(Ok(()));
            }
            if input.is_empty() {
                self.codec.end().map_err(FlowError::Codec)?;
                self.stage = Stage::Closing;
                return Poll::Ready(Ok(()));
            }
            self.moved += input.len() as u64;
            if self.codec.untouched() > 0 {
                self.bulk.note_read(input.len());
            }
            pieces.clear();
            self.transform(input, pieces);
            self.write(cx, sink, input, pieces)
        })
    }

    /// Writes pieces as far as the sink takes them, and keeps the rest.
    fn write<D: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut D,
        input: &[u8],
        pieces: &Pieces,
    ) -> Poll<Result<(), FlowError>> {
        let mut skip = if pieces.list.len() > MAX_PIECES {
            0
        } else {
            let mut slices = [IoSlice::new(&[]); MAX_PIECES];
            let mut count = 0;
            for (slot, slice) in slices.iter_mut().zip(pieces.slices(input)) {
                *slot = IoSlice::new(slice);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            let written = match slices {
                [] => return Poll::Ready(Ok(())),
                // Most of what passes is one piece, and the plain call is the cheaper one.
                [one] => Pin::new(sink).poll_write(cx, one),
                many => Pin::new(sink).poll_write_vectored(cx, many),
            };
            match written {
                Poll::Ready(result) => result.and_then(not_zero).map_err(FlowError::Write)?,
                Poll::Pending => 0,
            }
        };
        self.moved += skip as u64;
        for slice in pieces.slices(input) {
            let taken = skip.min(slice.len());
            self.pending.extend_from_slice(slice.get(taken..).unwrap_or_default());
            skip -= taken;
        }
        // Where something is left, the next step meets a sink that is full and waits for it.
        Poll::Ready(Ok(()))
    }
}

/// A sink that takes nothing and reports no error would be asked for ever.
pub(super) fn not_zero(n: usize) -> io::Result<usize> {
    if n == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(n) }
}
