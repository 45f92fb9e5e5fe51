//! How many connections are open, and whether the process only waits for them to end.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

static OPEN: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);
static DRAINING: AtomicBool = AtomicBool::new(false);
static BEGUN: Notify = Notify::const_new();
static LAST_ENDED: Notify = Notify::const_new();

/// A connection that is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Open(());

impl Open {
    /// One more.
    pub(crate) fn count() -> Open {
        let before = OPEN.fetch_add(1, Ordering::Relaxed);
        MOST.fetch_max(before + 1, Ordering::Relaxed);
        Open(())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if OPEN.fetch_sub(1, Ordering::AcqRel) == 1 && is_draining() {
            LAST_ENDED.notify_one();
        }
    }
}

/// How many connections are open.
pub(crate) fn open() -> usize {
    OPEN.load(Ordering::Acquire)
}

/// How many were open at the most since this was asked last.
pub(crate) fn take_most() -> usize {
    MOST.swap(open(), Ordering::Relaxed)
}

/// From now on connections are waited for: those that wait for something to do end.
pub(crate) fn begin() {
    DRAINING.store(true, Ordering::SeqCst);
    BEGUN.notify_waiters();
}

/// Whether connections are only waited for.
pub(crate) fn is_draining() -> bool {
    DRAINING.load(Ordering::SeqCst)
}

/// Waits until connections are only waited for.
pub(crate) async fn begun() {
    // What is made before it begins is told of it.
    let begun = BEGUN.notified();
    if !is_draining() {
        begun.await;
    }
}

/// Waits until no connection is open.
pub(crate) async fn all_ended() {
    while open() > 0 {
        LAST_ENDED.notified().await;
    }
}
