//! How long a relay may stand still, and who notices that it does.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How long a relay may stand still.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// While both directions are open.
    pub idle: Duration,
    /// Once one direction has ended: whoever sent its last byte and hears nothing for so long is
    /// taken for gone. Web servers and kernels give an orphan one to five minutes; the longer is taken,
    /// because a slow answer to a half-closed request is lost otherwise.
    pub half_closed: Duration,
    /// While the accepted side takes nothing of what is there for it. `None`: as long as the others, since a
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

/// What it is time for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing has moved for too long.
    Idle,
    /// The next moment that was asked for has come.
    Next(Instant),
}

/// Notices when nothing moves. One timer, set anew only when it fires: a busy relay pays nothing.
pub(super) struct IdleWatch {
    moved: u64,
    since: Instant,
    /// The last moment that came and was told. Once is enough: whoever cannot act on it then waits for
    /// something else, and must not be woken for ever.
    told: Option<Instant>,
}

impl IdleWatch {
    pub(super) fn new(now: Instant) -> IdleWatch {
        IdleWatch { moved: 0, since: now, told: None }
    }

    /// Ready when `moved` has not changed for longer than `limit`, and once when `next` has come before
    /// that.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        moved: u64,
        limit: Duration,
        next: Option<Instant>,
    ) -> Poll<Due> {
        if self.moved != moved {
            self.moved = moved;
            self.since = Instant::now();
        }
        let due = self.since + limit;
        let next = next.filter(|next| self.told != Some(*next));
        let wake = next.map_or(due, |next| next.min(due));
        // A direction that has just ended brings the deadline nearer.
        if timer.deadline() > wake {
            timer.as_mut().reset(wake);
        }
        while timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            if due <= now {
                return Poll::Ready(Due::Idle);
            }
            if wake <= now {
                // It has come while the flows were looked at.
                self.told = Some(wake);
                return Poll::Ready(Due::Next(now));
            }
            timer.as_mut().reset(wake);
        }
        Poll::Pending
    }
}
