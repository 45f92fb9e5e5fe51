//! Two streams become one: bytes, half-closes and resets pass from each to the other until both
//! directions have ended.
//!
//! A [`Relay`] has two flows, one a [`Direction`], and one [`Protocol`] that says what becomes of the bytes of
//! both. Where that is nothing ([`Identity`]) and both streams are TCP, a flow that has shown
//! that it is bulk is carried by the kernel (`splice.rs`, Linux); all others are copied through a scratch
//! buffer that the flows of a thread share (`flow.rs`), so a flow that waits owns no buffer.
//!
//! A protocol may hold bytes back for a while, within a bound and until a deadline, and it may find that the
//! accepted stream is not for the dialled one any more, which [`Relay::run_or_hand_off`] is for.
//!
//! A [`Tunnel`] is one of the two streams, with its protocol, that waits for the other one: all that is left of the
//! stages that opened it, each of which is larger than it is.
//!
//! What was tried, for an `obfs=http` pair on two cores with iperf3 on the same machine, in CPU seconds
//! per GB of both halves (HAProxy with `splice-auto` in the same runs: 1.0 to 1.1):
//!
//! | way | CPU s/GB | kept |
//! | --- | --- | --- |
//! | copies through 64 KiB shared by a thread (now 256 KiB) | 0.87–0.97 | for small exchanges, and where bytes are framed |
//! | `splice(2)`, pipes of 64 KiB / 256 KiB / 1 MiB | 0.62 / 0.58 / 0.54 | 1 MiB |
//! | the same with `SO_RCVLOWAT` of 128 KiB | 0.51–0.53 | no: the end of a burst would wait for a timer |
//! | no more than 1 MiB at once, then others have their turn | 0.46–0.48 beside 0.44 | yes: an echo beside three such tunnels takes 5 ms in place of 24 |
//! | one thread a half in place of two | 0.54 | yes, but for kept-alive requests: 22 µs in place of 28 |
//!
//! What is left is the kernel's: nine tenths of the samples are in it, a third in waking the next process.
//! `MSG_ZEROCOPY` saves a copy that splicing does not make, and on loopback makes it after all; sockmap
//! needs rights that a plugin does not have.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod acked;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod acked {
    pub(super) fn bytes_acked(_: &tokio::net::TcpStream) -> Option<u64> {
        None
    }

    pub(super) fn peer_has_closed(_: &tokio::net::TcpStream) -> bool {
        false
    }

    pub(super) fn unacked_for(_: &tokio::net::TcpStream) -> Option<std::time::Duration> {
        None
    }

    #[cfg(feature = "grpc")]
    pub(crate) fn unanswered_attempts(_: &tokio::net::TcpStream) -> Option<u8> {
        None
    }
}
mod bulk;
mod close;
mod flow;
mod flows;
mod outcome;
mod pieces;
mod protocol;
mod scratch;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod splice;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "no_splice.rs"]
mod splice;
mod stall;
mod stream;
#[cfg(test)]
pub(crate) mod test_streams;
#[cfg(test)]
mod tests;
mod timeouts;
mod write_buffer;

#[cfg(feature = "grpc")]
pub(crate) use acked::unanswered_attempts;
pub use close::{CLOSE_TIMEOUT, close_gracefully};
pub use flows::Flows;
pub use outcome::{Closing, End, EndSeen, Outcome, Side};
pub use pieces::Pieces;
pub use protocol::{Direction, Identity, Protocol, ProtocolError};
pub use scratch::read_some;
pub(crate) use scratch::{Scratch, with_scratch};
pub(crate) use stream::unanswered;
pub use stream::{RelayStream, has_ended, reset};
pub use timeouts::{SEND_TIMEOUT, Timeouts};
pub use write_buffer::WriteBuffer;

use crate::runtime::turn;
use crate::runtime::watchdog;
use flow::{Flow, Waits};
use outcome::FlowError;
use stall::StallWatch;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use timeouts::{Due, IdleWatch};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

/// A stream with its disguise, to be joined to a stream without: Shadowsocks, or its application.
pub struct Tunnel(Box<dyn Join + Send>);

/// A relay that runs.
pub type Relaying = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Tunnel {
    /// On a connection that was dialled: the application's bytes go `up`.
    pub fn dialled<S, P>(stream: S, flows: Flows<P>) -> Tunnel
    where
        S: RelayStream + Send + 'static,
        P: Protocol + Send + 'static,
    {
        Tunnel(Box::new(Dialled { stream, flows }))
    }

    /// On a connection that was accepted: its bytes go `up`. It may be known by a `write_error` that it
    /// takes nothing more; what it had sent before is passed on all the same, and then the error.
    pub fn accepted<S, P>(stream: S, flows: Flows<P>, write_error: Option<io::Error>) -> Tunnel
    where
        S: RelayStream + Send + 'static,
        P: Protocol + Send + 'static,
    {
        Tunnel(Box::new(Accepted { stream, flows, write_error }))
    }

    /// Passes everything on between the tunnel and the other stream until both have ended.
    pub fn relay(self, other: TcpStream, timeouts: Timeouts) -> Relaying {
        self.0.join(other, timeouts)
    }

    /// Closes the tunnel with a reset, so that its peer does not take that for an end in order.
    pub fn abort(mut self) {
        self.0.abort();
    }
}

trait Join {
    fn join(self: Box<Self>, other: TcpStream, timeouts: Timeouts) -> Relaying;
    fn abort(&mut self);
}

struct Dialled<S, P> {
    stream: S,
    flows: Flows<P>,
}

impl<S, P> Join for Dialled<S, P>
where
    S: RelayStream + Send + 'static,
    P: Protocol + Send + 'static,
{
    fn join(self: Box<Self>, app: TcpStream, timeouts: Timeouts) -> Relaying {
        let Dialled { stream, flows } = *self;
        Box::pin(Relay::new(app, stream, flows, timeouts).run())
    }

    fn abort(&mut self) {
        self.stream.abort();
    }
}

struct Accepted<S, P> {
    stream: S,
    flows: Flows<P>,
    write_error: Option<io::Error>,
}

impl<S, P> Join for Accepted<S, P>
where
    S: RelayStream + Send + 'static,
    P: Protocol + Send + 'static,
{
    fn join(self: Box<Self>, backend: TcpStream, timeouts: Timeouts) -> Relaying {
        let Accepted { stream, flows, write_error } = *self;
        Box::pin(Relay::new(stream, backend, flows, timeouts).broken(Side::Accepted, write_error).run())
    }

    fn abort(&mut self) {
        self.stream.abort();
    }
}

/// Two streams and what flows between them.
pub struct Relay<A, D, P> {
    accepted: A,
    dialled: D,
    flows: Flows<P>,
    timeouts: Timeouts,
    /// The reactor that watches both streams.
    reactor: u32,
    /// A side whose connection broke while it was written to. What it had sent before is still
    /// passed on; then the other side is reset.
    broken: Option<(Side, io::Error)>,
}

impl<A: RelayStream, D: RelayStream, P: Protocol> Relay<A, D, P> {
    /// Joins two streams.
    pub fn new(accepted: A, dialled: D, flows: Flows<P>, timeouts: Timeouts) -> Self {
        flows.count_beginning();
        Relay { accepted, dialled, flows, timeouts, reactor: turn::reactor(), broken: None }
    }

    /// A side is known to be broken already: it could not be written to. What it had sent before is
    /// still passed on.
    pub fn broken(mut self, side: Side, error: Option<io::Error>) -> Self {
        if let Some(error) = error {
            self.note_broken(side, error);
        }
        self
    }

    fn note_broken(&mut self, side: Side, error: io::Error) {
        match side {
            Side::Accepted => self.flows.up.break_source(),
            Side::Dialled => self.flows.down.break_source(),
        }
        self.broken = Some((side, error));
    }

    /// Passes everything on until both directions have ended. What is left to be said then is for the outcome's
    /// [`close`](Outcome::close).
    ///
    /// (An `async fn` would have room for the relay twice: for its argument, and for the variable that this
    /// becomes.)
    #[expect(clippy::manual_async_fn, reason = "a third less memory for each tunnel")]
    pub fn run(mut self) -> impl Future<Output = Outcome>
    where
        A: Send + 'static,
        D: Send + 'static,
        P: Send + 'static,
    {
        async move {
            let end = self.pass_on().await;
            let mut outcome = self.outcome(end);
            outcome.closing = self.closing(&outcome.end);
            outcome
        }
    }

    /// The same, but the protocol may [want a handoff](Protocol::wants_handoff). As soon as all that passed is
    /// written in both directions, the accepted stream is returned then, open and with nothing read from it
    /// that the protocol does not have; the dialled stream is closed.
    #[expect(clippy::manual_async_fn, reason = "as above")]
    pub fn run_or_hand_off(mut self) -> impl Future<Output = (Outcome, P, Option<A>)> {
        async move {
            let end = self.pass_on().await;
            let handed_off = matches!(end, End::HandedOff);
            let outcome = self.outcome(end);
            (outcome, self.flows.protocol, handed_off.then_some(self.accepted))
        }
    }

    fn outcome(&self, end: End) -> Outcome {
        Outcome { up: self.flows.up.payload(), down: self.flows.down.payload(), end, closing: None }
    }

    async fn pass_on(&mut self) -> End {
        let mut idle = IdleWatch::new(Instant::now());
        let mut stalls = StallWatch::default();
        let mut timer = pin!(sleep_until(Instant::now() + self.timeouts.idle));
        watchdog::stage("relay");
        let end = poll_fn(|cx| {
            if self.reactor != turn::reactor() {
                self.reactor = turn::reactor();
                self.accepted.change_reactor();
                self.dialled.change_reactor();
                let due = timer.deadline();
                timer.set(sleep_until(due));
            }
            let flows = catch_unwind(AssertUnwindSafe(|| self.poll_flows(cx))).unwrap_or_else(|panic| {
                // Neither side may take what it got for all there was.
                self.accepted.abort();
                self.dialled.abort();
                resume_unwind(panic)
            });
            if let Some(end) = flows {
                return Poll::Ready(end);
            }
            let check = match self.check_stalls(cx, &mut stalls) {
                Ok(at) => at,
                Err(end) => return Poll::Ready(end),
            };
            let Flows { protocol, up, down } = &self.flows;
            let grace = up.grace(protocol).or(down.grace(protocol));
            let moved = match grace {
                None => self.moved(),
                // Whoever only says that it is still there is not waited for.
                Some(_) => up.payload() + down.payload(),
            };
            let limit = if up.is_done() || down.is_done() {
                grace.unwrap_or(self.timeouts.half_closed)
            } else {
                self.timeouts.idle
            };
            let deadlines = [up.deadline(protocol), down.deadline(protocol), check];
            let next = deadlines.into_iter().flatten().min();
            match idle.poll(cx, timer.as_mut(), moved, limit, next) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Due::Idle) if grace.is_some() => Poll::Ready(End::Closed),
                Poll::Ready(Due::Idle) => Poll::Ready(End::Idle(limit)),
                Poll::Ready(Due::Next(now)) => match self.reach_deadlines(now) {
                    Some(end) => Poll::Ready(end),
                    None => {
                        cx.waker().wake_by_ref();
                        Poll::Pending
                    }
                },
            }
        })
        .await;
        // What the other side got is not all there was, so its end must not look like it.
        if let End::Reset(side, _) | End::Malformed(side, _) = &end {
            match side {
                Side::Accepted => self.dialled.abort(),
                Side::Dialled => self.accepted.abort(),
            }
        }
        end
    }

    /// A number that grows whenever something moves, or a direction ends.
    fn moved(&self) -> u64 {
        let Flows { up, down, .. } = &self.flows;
        let ends = u64::from(up.is_done()) + u64::from(down.is_done());
        up.moved() + down.moved() + self.accepted.drained() + self.dialled.drained() + ends
    }

    /// Tells the protocol which deadlines have come. One whose sink has long been silent may have to do with a
    /// dead way: where not even the kernel at its other end answers, that is the relay's end. (While nothing is
    /// sent, the kernel's own keep-alive finds that out; what is sent and not acknowledged, it sends again for
    /// much longer.)
    ///
    /// Nothing of its own is said to a side that has closed behind what is not read yet, as v2ray's server does: it
    /// would answer with a reset, which takes that away.
    fn reach_deadlines(&mut self, now: Instant) -> Option<End> {
        let Relay { accepted, dialled, flows: Flows { protocol, up, down }, .. } = self;
        let dead = reach_deadline(protocol, (up, down), now, dialled);
        let unanswered = |side| End::Reset(side, stream::unanswered());
        if dead {
            return Some(unanswered(Side::Dialled));
        }
        reach_deadline(protocol, (down, up), now, accepted).then(|| unanswered(Side::Accepted))
    }

    /// Looks after what no reading and no writing tells: that the accepted side does not take what is there
    /// for it, and that a side from which nothing is read has gone. Returns when to check again.
    fn check_stalls(&self, cx: &mut Context<'_>, stalls: &mut StallWatch) -> Result<Option<Instant>, End> {
        let Flows { up, down, .. } = &self.flows;
        let all_read = up.waits() == Waits::Source && down.waits() == Waits::Source;
        if all_read && self.broken.is_none() {
            *stalls = StallWatch::default();
            return Ok(None);
        }
        let now = Instant::now();
        let mut send_deadline = None;
        match self.timeouts.send.filter(|_| down.waits() == Waits::Sink) {
            None => stalls.nothing_to_send(),
            Some(limit) => {
                let due = stalls.send_deadline(now, limit, || self.taken_by_accepted());
                if due <= now {
                    return Err(End::Stalled(limit));
                }
                send_deadline = Some(due);
            }
        }
        let (due, next_check) = stalls.check(now, self.moved());
        if due && let Some(side) = self.find_broken(cx) {
            return Err(End::Reset(side, stream::broken()));
        }
        Ok(Some(send_deadline.map_or(next_check, |due| due.min(next_check))))
    }

    /// A number that grows with what the accepted side has taken. What the kernel keeps for it is not taken:
    /// it may keep more at any time, as memory comes free.
    fn taken_by_accepted(&self) -> u64 {
        let written = || self.flows.down.moved() + self.accepted.drained();
        self.accepted.bytes_acked().unwrap_or_else(written)
    }

    /// A side whose connection is broken, though nobody reads from it.
    fn find_broken(&self, cx: &mut Context<'_>) -> Option<Side> {
        let Flows { up, down, .. } = &self.flows;
        // Where all has come and all has gone, a reset takes nothing away any more.
        let matters =
            |from: &Flow, to: &Flow| from.waits() != Waits::Source && !(from.has_ended() && to.is_done());
        match &self.broken {
            Some((side, _)) => Some(*side),
            None if matters(up, down) && self.accepted.is_broken(cx) => Some(Side::Accepted),
            None if matters(down, up) && self.dialled.is_broken(cx) => Some(Side::Dialled),
            None => None,
        }
    }

    /// Has the protocol say what it has to say before its connection is closed; the other one is closed at once.
    fn closing(self, end: &End) -> Option<Closing>
    where
        A: Send + 'static,
        D: Send + 'static,
    {
        let Relay { accepted, dialled, flows, timeouts, .. } = self;
        let Flows { mut protocol, mut up, mut down } = flows;
        let peer_closed = up.closed_both(&protocol) || down.closed_both(&protocol);
        // A peer of a tunnel that ended in order, and that has not closed it, may still have to read what came last.
        let patience =
            if matches!(end, End::Closed) && !peer_closed { timeouts.half_closed } else { CLOSE_TIMEOUT };
        match end {
            End::Reset(..) | End::HandedOff => None,
            _ => match (up.last_bytes(&mut protocol), down.last_bytes(&mut protocol)) {
                (Some(last), _) => Some(Closing::of(dialled, last, patience)),
                (None, Some(last)) => Some(Closing::of(accepted, last, patience)),
                (None, None) => None,
            },
        }
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let Flows { protocol, up, down } = &mut self.flows;
        let (last, was_done) = (down.is_closed(protocol), up.is_done() && down.has_ended());
        let polled = up.poll(cx, protocol, &mut self.accepted, &mut self.dialled, last);
        self.note(polled, Side::Accepted, Side::Dialled, was_done)
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let Flows { protocol, up, down } = &mut self.flows;
        let (last, was_done) = (up.is_closed(protocol), down.is_done() && up.has_ended());
        let polled = down.poll(cx, protocol, &mut self.dialled, &mut self.accepted, last);
        self.note(polled, Side::Dialled, Side::Accepted, was_done)
    }

    fn poll_flows(&mut self, cx: &mut Context<'_>) -> Option<End> {
        if let Some(end) = self.poll_up(cx).or_else(|| self.poll_down(cx)) {
            return Some(end);
        }
        // What has come down may be something to answer, or to release, up.
        let protocol = &self.flows.protocol;
        if (protocol.has_control_frames(Direction::Up) || protocol.release_is_due(Direction::Up))
            && let Some(end) = self.poll_up(cx)
        {
            return Some(end);
        }
        let Flows { protocol, up, down } = &self.flows;
        if protocol.wants_handoff() && up.is_level() && down.is_level() && self.broken.is_none() {
            return Some(End::HandedOff);
        }
        if up.closed_both(protocol) || down.closed_both(protocol) {
            return Some(End::Closed);
        }
        let drained = match self.broken {
            // Nothing more can come from a broken side once what it had sent is passed on.
            Some((Side::Dialled, _)) => down.is_done(),
            Some((Side::Accepted, _)) => up.is_done(),
            None => return (up.is_done() && down.is_done()).then_some(End::Closed),
        };
        if drained { self.broken.take().map(|(side, error)| End::Reset(side, error)) } else { None }
    }

    /// Takes note of how one direction fares; an end is an end of both. `was_done`: only control frames were left to
    /// be said to a side from which all has come.
    fn note(
        &mut self,
        polled: Poll<Result<(), FlowError>>,
        from: Side,
        to: Side,
        was_done: bool,
    ) -> Option<End> {
        match polled {
            Poll::Pending | Poll::Ready(Ok(())) => None,
            // It has closed, and wants no answer.
            Poll::Ready(Err(FlowError::Write(_))) if was_done => None,
            Poll::Ready(Err(FlowError::Read(error))) => Some(match self.broken.take() {
                Some((side, first)) => End::Reset(side, first),
                None => End::Reset(from, error),
            }),
            Poll::Ready(Err(FlowError::Protocol(error))) => Some(End::Malformed(from, error)),
            Poll::Ready(Err(FlowError::Write(error))) => match self.broken {
                // It is known, and what that side had said is still on its way.
                Some((side, _)) if side == to => None,
                Some(_) => Some(End::Reset(to, error)),
                None => {
                    self.note_broken(to, error);
                    None
                }
            },
        }
    }
}

/// Reaches the deadline of a flow if it has come; `back` is the one from its sink. Returns whether the way to the
/// sink is dead.
fn reach_deadline<P: Protocol>(
    protocol: &mut P,
    (flow, back): (&Flow, &Flow),
    now: Instant,
    sink: &impl RelayStream,
) -> bool {
    let is_due = flow.deadline(protocol).is_some_and(|at| at <= now);
    if !is_due || (P::HAS_CONTROL_FRAMES && back.waits() == Waits::Sink && sink.peer_has_closed()) {
        return false;
    }
    let silence = flow.reach_deadline(protocol, now);
    silence.is_some_and(|silence| sink.unacked_for().is_some_and(|time| time >= silence))
}
