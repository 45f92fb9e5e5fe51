//! A bound over what many connections hold together.

use crate::runtime::buffers::Held;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::warn;

/// How often the log is told that the bound is reached.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// How many bytes connections may hold together while they have not shown what they are. Whoever finds
/// nothing left must do without: what is not to be held has to go on.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    held: AtomicUsize,
    freed: Notify,
    warned: Mutex<Option<Instant>>,
}

/// What one connection holds of it, until it is dropped.
#[derive(Debug)]
pub struct Share<'a> {
    budget: &'a Budget,
    held: Held,
}

impl Budget {
    /// One of so many bytes.
    pub fn new(limit: usize) -> Budget {
        Budget { limit, held: AtomicUsize::new(0), freed: Notify::new(), warned: Mutex::new(None) }
    }

    /// A share that holds nothing yet.
    pub fn share(&self) -> Share<'_> {
        Share { budget: self, held: Held::default() }
    }

    /// How many bytes more could be held.
    pub fn left(&self) -> usize {
        self.limit.saturating_sub(self.held.load(Ordering::Relaxed))
    }

    /// Waits until so many bytes can be held.
    pub async fn wait_for(&self, bytes: usize) -> Share<'_> {
        let mut share = self.share();
        loop {
            let freed = self.freed.notified();
            if share.grow_to(bytes) {
                return share;
            }
            freed.await;
        }
    }

    /// Once in a while: a flood must not fill the log, too.
    fn warn(&self) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            *warned = Some(Instant::now());
            let limit = self.limit / 1024;
            warn!("unfinished first messages hold {limit} KiB: what begins now is not waited for");
        }
    }
}

impl Share<'_> {
    /// Holds so many bytes, if they are more than before. `false`: there are not so many left, and it
    /// holds what it held.
    #[must_use]
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.held.get());
        let limit = self.budget.limit;
        let within = |held: usize| held.checked_add(more).filter(|&held| held <= limit);
        if self.budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_err() {
            self.budget.warn();
            return false;
        }
        self.held.set(self.held.get() + more);
        true
    }

    /// How many bytes more could be held.
    pub fn left(&self) -> usize {
        self.budget.left()
    }

    /// Holds nothing any more.
    pub fn free(&mut self) {
        let held = self.held.get();
        if held > 0 {
            self.held.set(0);
            self.budget.held.fetch_sub(held, Ordering::Relaxed);
            // One that waits in vain passes it on by trying again with the next.
            self.budget.freed.notify_waiters();
        }
    }
}

impl Drop for Share<'_> {
    fn drop(&mut self) {
        self.free();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_held_than_there_is() {
        let budget = Budget::new(100);
        let (mut one, mut other) = (budget.share(), budget.share());
        assert!(one.grow_to(60) && other.grow_to(40));
        assert!(one.grow_to(60) && one.grow_to(10) && !one.grow_to(61) && budget.left() == 0);
        drop(other);
        assert!(one.grow_to(100) && one.left() == 0);
        one.free();
        assert!(budget.left() == 100 && !one.grow_to(usize::MAX));
    }

    #[tokio::test]
    async fn whoever_waits_gets_what_is_freed() {
        let budget = Budget::new(100);
        let mut first = budget.share();
        assert!(first.grow_to(50));
        let waiting = async { budget.wait_for(80).await.held.get() };
        let freeing = async {
            tokio::task::yield_now().await;
            drop(first);
        };
        assert_eq!(tokio::join!(waiting, freeing).0, 80);
        assert_eq!(budget.left(), 100);
    }
}
