//! Two streams become one: bytes, half-closes and resets pass from each to the other until both
//! directions have ended.
//!
//! A [`Relay`] is two [`Flow`]s, one a direction, each with a [`Codec`] that says what becomes of the
//! bytes on the way. Where that is nothing ([`Identity`]) and both streams are TCP, a flow that has shown
//! that it is bulk is carried by the kernel (`splice.rs`, Linux); all others are copied through a scratch
//! buffer that the flows of a thread share (`flow.rs`), so a flow that waits owns no buffer.
//!
//! A codec may hold bytes back for a while, within a bound and until a deadline, and it may find that the
//! near stream is not for the far one any more, which [`Relay::run_or_give_back`] is for.
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
    pub(super) fn bytes_acked(_: &super::TcpStream) -> Option<u64> {
        None
    }
}
mod codec;
mod flow;
#[cfg(any(target_os = "linux", target_os = "android"))]
mod splice;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "no_splice.rs"]
mod splice;
mod stream;
#[cfg(test)]
mod tests;

pub use codec::{Codec, CodecError, Identity, Pieces};
pub use flow::{EndSeen, Flow, read_some};
pub use stream::{RelayStream, has_ended, reset};

use crate::runtime::turn;
use crate::runtime::watchdog::{self, Stage};
use flow::{FlowError, Waits};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

/// How long a relay may stand still.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// While both directions are open.
    pub idle: Duration,
    /// Once one direction has ended: whoever sent its last byte and hears nothing for so long is
    /// taken for gone. Web servers and kernels give an orphan one to five minutes; the longer is taken,
    /// because a slow answer to a half-closed request is lost otherwise.
    pub half_closed: Duration,
    /// While the near side takes nothing of what is there for it. `None`: as long as the others, since a
    /// reader may pause.
    pub send: Option<Duration>,
}

impl Timeouts {
    /// The grace time-out for half-closed tunnels goes with the idle time-out.
    pub fn new(idle: Duration) -> Timeouts {
        Timeouts { idle, half_closed: idle.min(Duration::from_secs(300)), send: None }
    }

    /// The same for visitors, whom web servers give up when they do not read (nginx: `send_timeout`).
    /// The website cannot see that they do not, since what it sends goes into buffers of ours.
    pub fn of_visitors(self) -> Timeouts {
        Timeouts { send: Some(SEND_TIMEOUT), ..self }
    }
}

/// How long a visitor may take nothing of an answer: nginx's default between two writes.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a side that nobody reads from, because the other one takes nothing, is looked at: whether it
/// is still there. What a side that has gone had sent before is passed on for as long as that moves, and
/// no longer than this when it does not.
const LOOK: Duration = Duration::from_secs(5);

/// One of the two streams of a relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The stream that was accepted.
    Near,
    /// The stream that was dialled.
    Far,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Near => "near side",
            Side::Far => "far side",
        })
    }
}

/// Why a relay ended.
#[derive(Debug)]
pub enum End {
    /// Both directions were closed in order.
    Closed,
    /// One side reset its connection, or it broke; the other was reset too.
    Reset(Side, io::Error),
    /// Nothing moved for too long.
    Idle(Duration),
    /// The near side took nothing of what was there for it for too long.
    Stalled(Duration),
    /// One side's bytes were not what its format says.
    Malformed(Side, CodecError),
    /// The near side is given back: what it says now is not for the far side.
    GivenBack,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::Closed => f.write_str("closed"),
            End::Reset(side, error) => write!(f, "{side}: {error}"),
            End::Idle(time) => write!(f, "idle for {} s", time.as_secs()),
            End::Stalled(time) => write!(f, "near side: nothing was taken for {} s", time.as_secs()),
            End::Malformed(side, error) => write!(f, "{side}: {error}"),
            End::GivenBack => f.write_str("given back"),
        }
    }
}

/// What a relay did.
#[derive(Debug)]
pub struct Outcome {
    /// Payload bytes from the near to the far side.
    pub up: u64,
    /// Payload bytes from the far to the near side.
    pub down: u64,
    /// Why it ended.
    pub end: End,
}

/// Two streams and what flows between them.
pub struct Relay<N, F, Up, Down> {
    near: N,
    far: F,
    up: Flow<Up>,
    down: Flow<Down>,
    timeouts: Timeouts,
    /// The reactor that watches both streams.
    reactor: u32,
    /// A side whose connection broke while it was written to. What it had sent before is still
    /// passed on; then the other side is reset.
    broken: Option<(Side, io::Error)>,
}

impl<N: RelayStream, F: RelayStream, Up: Codec, Down: Codec> Relay<N, F, Up, Down> {
    /// Joins two streams. Each flow may begin with bytes that were read before ([`Flow::with_pending`]).
    pub fn new(near: N, far: F, up: Flow<Up>, down: Flow<Down>, timeouts: Timeouts) -> Self {
        Relay { near, far, up, down, timeouts, reactor: turn::reactor(), broken: None }
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
            Side::Near => self.up.break_source(),
            Side::Far => self.down.break_source(),
        }
        self.broken = Some((side, error));
    }

    /// Passes everything on until both directions have ended.
    ///
    /// (An `async fn` would have room for the relay twice: for its argument, and for the variable that this
    /// becomes.)
    #[expect(clippy::manual_async_fn, reason = "a third less memory for each tunnel")]
    pub fn run(mut self) -> impl Future<Output = Outcome> {
        async move {
            let end = self.pass_on().await;
            self.outcome(end)
        }
    }

    /// The same, but the codec of the up direction may [want out](Codec::wants_out). As soon as all that
    /// passed is written in both directions, the near stream is given back then, open and with nothing
    /// read from it that the codec does not have; the far stream is closed.
    #[expect(clippy::manual_async_fn, reason = "as above")]
    pub fn run_or_give_back(mut self) -> impl Future<Output = (Outcome, Option<(N, Up)>)> {
        async move {
            let end = self.pass_on().await;
            let given_back = matches!(end, End::GivenBack);
            let outcome = self.outcome(end);
            (outcome, given_back.then(|| (self.near, self.up.into_codec())))
        }
    }

    fn outcome(&self, end: End) -> Outcome {
        Outcome { up: self.up.payload(), down: self.down.payload(), end }
    }

    async fn pass_on(&mut self) -> End {
        let mut clock = Clock::new(Instant::now());
        let mut stuck = Stuck::default();
        let mut timer = pin!(sleep_until(clock.since + self.timeouts.idle));
        watchdog::stage(Stage::Relay);
        let end = poll_fn(|cx| {
            if self.reactor != turn::reactor() {
                self.reactor = turn::reactor();
                self.near.change_reactor();
                self.far.change_reactor();
                let due = timer.deadline();
                timer.set(sleep_until(due));
            }
            let flows = catch_unwind(AssertUnwindSafe(|| self.poll_flows(cx))).unwrap_or_else(|panic| {
                // Neither side may take what it got for all there was.
                self.near.abort();
                self.far.abort();
                resume_unwind(panic)
            });
            if let Some(end) = flows {
                return Poll::Ready(end);
            }
            let wake = match self.look(cx, &mut stuck) {
                Ok(wake) => wake,
                Err(end) => return Poll::Ready(end),
            };
            let grace = self.up.grace().or(self.down.grace());
            let moved = match grace {
                None => self.moved(),
                // Whoever only says that it is still there is not waited for.
                Some(_) => self.up.payload() + self.down.payload(),
            };
            let limit = if self.up.is_done() || self.down.is_done() {
                grace.unwrap_or(self.timeouts.half_closed)
            } else {
                self.timeouts.idle
            };
            let deadlines = [self.up.deadline(), self.down.deadline(), wake];
            let next = deadlines.into_iter().flatten().min();
            clock.poll(cx, timer.as_mut(), moved, limit, next).map(|()| match grace {
                Some(_) => End::Closed,
                None => End::Idle(limit),
            })
        })
        .await;
        match &end {
            End::Reset(Side::Near, _) => self.far.abort(),
            End::Reset(Side::Far, _) => self.near.abort(),
            End::GivenBack => {}
            End::Malformed(side, _) => {
                // What the other side got is not all there was, so it must not look like it.
                match side {
                    Side::Near => self.far.abort(),
                    Side::Far => self.near.abort(),
                }
                Box::pin(self.part()).await;
            }
            // On the heap: a relay has no room for what it says in its last second.
            _ => Box::pin(self.part()).await,
        }
        end
    }

    /// A number that grows whenever something moves.
    fn moved(&self) -> u64 {
        self.up.moved() + self.down.moved() + self.near.drained() + self.far.drained()
    }

    /// Looks after what no reading and no writing tells: that the near side does not take what is there
    /// for it, and that a side from which nothing is read has gone. Returns when to look again.
    fn look(&self, cx: &mut Context<'_>, stuck: &mut Stuck) -> Result<Option<Instant>, End> {
        let all_read = self.up.waits() == Waits::Source && self.down.waits() == Waits::Source;
        if all_read && self.broken.is_none() {
            *stuck = Stuck::default();
            return Ok(None);
        }
        let now = Instant::now();
        let sending = self.timeouts.send.filter(|_| self.down.waits() == Waits::Sink);
        let due = sending.map(|limit| {
            let taken = stuck.taken(now, || self.taken_by_near());
            (stuck.sending.since(taken, now) + limit, limit)
        });
        match due {
            None => (stuck.sending, stuck.sampled) = (Still::default(), None),
            Some((due, limit)) if due <= now => return Err(End::Stalled(limit)),
            Some(_) => {}
        }
        let still = stuck.anything.since(self.moved(), now);
        let mut look = stuck.look.unwrap_or(still + LOOK);
        if look <= now {
            if still + LOOK <= now
                && let Some(side) = self.gone(cx)
            {
                return Err(End::Reset(side, stream::broken()));
            }
            look = now + LOOK;
        }
        stuck.look = Some(look);
        Ok(due.map(|(due, _)| due).into_iter().chain([look]).min())
    }

    /// A number that grows with what the near side has taken. What the kernel keeps for it is not taken:
    /// it may keep more at any time, as memory comes free.
    fn taken_by_near(&self) -> u64 {
        let written = || self.down.moved() + self.near.drained();
        self.near.bytes_acked().unwrap_or_else(written)
    }

    /// A side whose connection is broken, though nobody reads from it.
    fn gone(&self, cx: &mut Context<'_>) -> Option<Side> {
        let unread = |waits| waits != Waits::Source;
        match &self.broken {
            Some((side, _)) => Some(*side),
            None if unread(self.up.waits()) && self.near.is_broken(cx) => Some(Side::Near),
            None if unread(self.down.waits()) && self.far.is_broken(cx) => Some(Side::Far),
            None => None,
        }
    }

    /// Lets codecs that have something to say before their connections are closed say it.
    async fn part(&mut self) {
        /// Long enough for a round trip; nobody waits for it but a connection that is done with.
        const PARTING: Duration = Duration::from_secs(1);
        let words = poll_fn(|cx| {
            let up = self.up.poll_part(cx, &mut self.far);
            let down = self.down.poll_part(cx, &mut self.near);
            if up.is_ready() && down.is_ready() { Poll::Ready(()) } else { Poll::Pending }
        });
        let _ = timeout(PARTING, words).await;
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let last = self.down.is_done() && !self.down.says_end();
        let up = self.up.poll(cx, &mut self.near, &mut self.far, last);
        self.note(up, Side::Near, Side::Far)
    }

    fn poll_down(&mut self, cx: &mut Context<'_>) -> Option<End> {
        let last = self.up.is_done() && !self.up.says_end();
        let down = self.down.poll(cx, &mut self.far, &mut self.near, last);
        self.note(down, Side::Far, Side::Near)
    }

    fn poll_flows(&mut self, cx: &mut Context<'_>) -> Option<End> {
        if let Some(end) = self.poll_up(cx).or_else(|| self.poll_down(cx)) {
            return Some(end);
        }
        // What has come in one direction may be something to answer in the other.
        if self.up.wants_to_speak()
            && let Some(end) = self.poll_up(cx)
        {
            return Some(end);
        }
        if self.up.wants_out() && self.up.is_level() && self.down.is_level() && self.broken.is_none() {
            return Some(End::GivenBack);
        }
        if self.up.ended_both() || self.down.ended_both() {
            return Some(End::Closed);
        }
        let drained = match self.broken {
            // Nothing more can come from a broken side once what it had sent is passed on.
            Some((Side::Far, _)) => self.down.is_done(),
            Some((Side::Near, _)) => self.up.is_done(),
            None => return (self.up.is_done() && self.down.is_done()).then_some(End::Closed),
        };
        if drained { self.broken.take().map(|(side, error)| End::Reset(side, error)) } else { None }
    }

    /// Takes note of how one direction fares; an end is an end of both.
    fn note(&mut self, polled: Poll<Result<(), FlowError>>, from: Side, to: Side) -> Option<End> {
        match polled {
            Poll::Pending | Poll::Ready(Ok(())) => None,
            Poll::Ready(Err(FlowError::Read(error))) => Some(match self.broken.take() {
                Some((side, first)) => End::Reset(side, first),
                None => End::Reset(from, error),
            }),
            Poll::Ready(Err(FlowError::Codec(error))) => Some(End::Malformed(from, error)),
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

/// Since when a number has been the same.
#[derive(Debug, Default)]
struct Still(Option<(u64, Instant)>);

impl Still {
    fn since(&mut self, number: u64, now: Instant) -> Instant {
        match self.0 {
            Some((before, since)) if before == number => since,
            _ => {
                self.0 = Some((number, now));
                now
            }
        }
    }
}

/// What is known while a side is not read from.
#[derive(Debug, Default)]
struct Stuck {
    /// What the near side has taken.
    sending: Still,
    /// What moved at all.
    anything: Still,
    /// What the near side had taken when the kernel was asked last, and when that was.
    sampled: Option<(u64, Instant)>,
    /// When to look the next time.
    look: Option<Instant>,
}

impl Stuck {
    /// What the near side has taken. The kernel is asked no more often than the other side is looked at.
    fn taken(&mut self, now: Instant, ask: impl FnOnce() -> u64) -> u64 {
        match self.sampled {
            Some((taken, at)) if now < at + LOOK => taken,
            _ => {
                let taken = ask();
                self.sampled = Some((taken, now));
                taken
            }
        }
    }
}

/// Notices when nothing moves. One timer, set anew only when it fires: a busy relay pays nothing.
struct Clock {
    moved: u64,
    since: Instant,
    /// The last moment that came and for which the task was woken. Once is enough: whoever cannot act on
    /// it then waits for something else, and must not be woken for ever.
    woken: Option<Instant>,
}

impl Clock {
    fn new(now: Instant) -> Clock {
        Clock { moved: 0, since: now, woken: None }
    }

    /// Ready when nothing moved for longer than `limit`. `next` is when the task is to be woken before
    /// that.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        moved: u64,
        limit: Duration,
        next: Option<Instant>,
    ) -> Poll<()> {
        if self.moved != moved {
            self.moved = moved;
            self.since = Instant::now();
        }
        let due = self.since + limit;
        let next = next.filter(|next| self.woken != Some(*next));
        let wake = next.map_or(due, |next| next.min(due));
        // A direction that has just ended brings the deadline nearer.
        if timer.deadline() > wake {
            timer.as_mut().reset(wake);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if due <= now {
                return Poll::Ready(());
            }
            if wake <= now {
                // It has come while the flows were looked at.
                self.woken = Some(wake);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            timer.as_mut().reset(wake);
        }
        Poll::Pending
    }
}
