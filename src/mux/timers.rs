//! All that is done at a certain time. The clock is tokio's, so tests turn it.

use crate::relay::Timeouts;
use crate::transport::websocket::{CLIENT_GRACE, SERVER_GRACE};
use crate::wire::websocket::Role;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

/// How often sessions that end or stall are looked at.
pub(super) const TICK: Duration = Duration::from_millis(500);

/// How long a socket takes nothing before its session counts as stalled.
pub(super) const STALL: Duration = Duration::from_secs(3);

/// The same for a session that has always been alone: nobody waits for it, as far as can be known.
pub(super) const STALL_ALONE: Duration = Duration::from_secs(15);

/// How long a session may be silent before its backend is dialled all the same: it may be the one that
/// speaks first.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// How long both ends of a session may be silent.
pub(super) const SILENT_MAX: Duration = Duration::from_secs(60);

/// How long a peer to which too much is to be said may take nothing.
pub(super) const UNREAD_MAX: Duration = Duration::from_secs(60);

/// How long a client keeps a connection without sessions (as v2ray's client does).
pub(super) const CLIENT_IDLE: Duration = Duration::from_secs(16);

/// How long a server keeps one: longer than any client, which is the one to close.
pub(super) const SERVER_IDLE: Duration = Duration::from_secs(60);

/// How long what waits may take once the connection is broken: its sessions are reset after that in any case.
const DRAIN: Duration = Duration::from_secs(5);

/// How long a session may stand still.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// While both directions are open.
    pub(super) idle: Duration,
    /// When the socket has ended, and the peer has not.
    pub(super) socket_ended: Duration,
    /// When the peer has ended.
    pub(super) peer_ended: Duration,
}

#[derive(Debug)]
pub(super) struct Timers {
    timeouts: Timeouts,
    /// How long a foreign peer is waited for that may never say that it has ended.
    grace: Duration,
    /// How long the connection is kept without sessions.
    kept_unused: Duration,
    /// Since when there are none.
    unused_since: Instant,
    /// Since when the connection is known to be over.
    over_since: Option<Instant>,
    sleep: Pin<Box<Sleep>>,
}

impl Timers {
    pub(super) fn new(role: Role, timeouts: Timeouts) -> Timers {
        let (grace, kept_unused) = match role {
            Role::Client => (CLIENT_GRACE, CLIENT_IDLE),
            Role::Server => (SERVER_GRACE, SERVER_IDLE),
        };
        let (unused_since, sleep) = (Instant::now(), Box::pin(sleep(TICK)));
        Timers { timeouts, grace, kept_unused, unused_since, over_since: None, sleep }
    }

    /// How long sessions may stand still.
    pub(super) fn limits(&self, peer_is_foreign: bool) -> Limits {
        let Timeouts { idle, half_closed, .. } = self.timeouts;
        let socket_ended = if peer_is_foreign { self.grace } else { half_closed };
        Limits { idle, socket_ended, peer_ended: half_closed }
    }

    /// How long the peer may take nothing of what came last.
    pub(super) fn half_closed(&self) -> Duration {
        self.timeouts.half_closed
    }

    /// There are sessions.
    pub(super) fn note_in_use(&mut self) {
        self.unused_since = Instant::now();
    }

    /// How much longer a connection without sessions is kept; nothing when its time is over.
    pub(super) fn unused_left(&self) -> Duration {
        self.kept_unused.saturating_sub(self.unused_since.elapsed())
    }

    /// How long nothing may happen before sessions are looked at again.
    pub(super) fn longest(&self) -> Duration {
        self.kept_unused.min(self.timeouts.idle)
    }

    /// The connection is over. Returns whether that is news.
    pub(super) fn note_over(&mut self) -> bool {
        let is_news = self.over_since.is_none();
        self.over_since.get_or_insert_with(Instant::now);
        is_news
    }

    /// Whether the connection has been over for so long that nothing is delivered any more, if it did not
    /// end in order.
    pub(super) fn drain_is_over(&self) -> bool {
        self.over_since.is_some_and(|since| since.elapsed() > DRAIN)
    }

    pub(super) fn change_reactor(&mut self) {
        let due = self.sleep.deadline();
        self.sleep.set(sleep_until(due));
    }

    /// Ready when `wanted` has passed, or a shorter time that was wanted before. The next time is the same.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, wanted: Duration) -> Poll<()> {
        let due = Instant::now() + wanted;
        if self.sleep.deadline() > due {
            self.sleep.as_mut().reset(due);
        }
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.sleep.as_mut().reset(Instant::now() + wanted.max(Duration::from_millis(1)));
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use tokio::time::advance;

    const MS: Duration = Duration::from_millis(1);

    fn timers(role: Role) -> Timers {
        Timers::new(role, Timeouts::new(Duration::from_secs(7200)))
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_sessions_is_kept_longer_by_a_server() {
        for (role, kept) in [(Role::Client, CLIENT_IDLE), (Role::Server, SERVER_IDLE)] {
            let mut timers = timers(role);
            advance(kept - MS).await;
            assert_eq!(timers.unused_left(), MS);
            timers.note_in_use();
            assert_eq!(timers.unused_left(), kept);
            advance(kept).await;
            assert_eq!(timers.unused_left(), Duration::ZERO);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_foreign_peer_is_not_waited_for_as_one_of_ours_is() {
        for (role, grace) in [(Role::Client, CLIENT_GRACE), (Role::Server, SERVER_GRACE)] {
            let timers = timers(role);
            let half_closed = timers.timeouts.half_closed;
            assert_eq!(timers.limits(true).socket_ended, grace);
            assert_eq!(timers.limits(false).socket_ended, half_closed);
            assert_eq!(timers.limits(true).peer_ended, half_closed);
            assert_eq!(timers.limits(true).idle, Duration::from_secs(7200));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_has_its_time_once_the_connection_is_broken() {
        let mut timers = timers(Role::Server);
        assert!(timers.note_over());
        assert!(!timers.note_over(), "it was known");
        advance(DRAIN).await;
        assert!(!timers.drain_is_over());
        advance(MS).await;
        assert!(timers.drain_is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn the_shortest_time_that_is_wanted_counts() {
        let mut timers = timers(Role::Server);
        let began = Instant::now();
        let minute = Duration::from_secs(60);
        poll_fn(|cx| timers.poll(cx, minute)).await;
        assert_eq!(began.elapsed(), TICK, "a new connection is looked at soon");
        let mut wanted = [minute, TICK].into_iter();
        poll_fn(|cx| match wanted.next() {
            Some(wanted) => {
                cx.waker().wake_by_ref();
                timers.poll(cx, wanted)
            }
            None => timers.poll(cx, minute),
        })
        .await;
        assert_eq!(began.elapsed(), 2 * TICK);
    }
}
