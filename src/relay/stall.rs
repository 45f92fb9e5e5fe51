//! Sides that take nothing: since when, and what is seen of the other side meanwhile.

use std::time::Duration;
use tokio::time::Instant;

/// How often a side that nobody reads from, because the other one takes nothing, is checked: whether it
/// is still there. What a side that has gone had sent before is passed on for as long as that moves, and
/// no longer than this when it does not.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Since when a number has been the same.
#[derive(Debug, Default)]
struct Unchanged(Option<(u64, Instant)>);

impl Unchanged {
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
pub(super) struct StallWatch {
    /// What the accepted side has taken.
    taken: Unchanged,
    /// What moved at all.
    moved: Unchanged,
    /// What the accepted side had taken when the kernel was asked last, and when that was.
    sampled: Option<(u64, Instant)>,
    next_check: Option<Instant>,
}

impl StallWatch {
    /// When the accepted side will have taken nothing for so long. `ask` tells what it has
    /// taken: a question to the kernel, which is asked no more often than the other side is checked.
    pub(super) fn send_deadline(
        &mut self,
        now: Instant,
        limit: Duration,
        ask: impl FnOnce() -> u64,
    ) -> Instant {
        let taken = match self.sampled {
            Some((taken, at)) if now < at + CHECK_INTERVAL => taken,
            _ => {
                let taken = ask();
                self.sampled = Some((taken, now));
                taken
            }
        };
        self.taken.since(taken, now) + limit
    }

    /// The accepted side has nothing to take.
    pub(super) fn nothing_to_send(&mut self) {
        (self.taken, self.sampled) = (Unchanged::default(), None);
    }

    /// Whether it is time to check whether the sides are still there: nothing has moved meanwhile. And when
    /// the next time is.
    pub(super) fn check(&mut self, now: Instant, moved: u64) -> (bool, Instant) {
        let still_since = self.moved.since(moved, now);
        let mut next = self.next_check.unwrap_or(still_since + CHECK_INTERVAL);
        let mut due = false;
        if next <= now {
            due = still_since + CHECK_INTERVAL <= now;
            next = now + CHECK_INTERVAL;
        }
        self.next_check = Some(next);
        (due, next)
    }
}
