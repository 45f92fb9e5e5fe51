//! The sockets that several threads accept from are closed only when all of them have closed them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

#[derive(Debug)]
struct Gate {
    is_to_close: watch::Sender<bool>,
    /// How many threads have the sockets open.
    parts: watch::Sender<usize>,
}

/// What one thread has of it.
#[derive(Debug)]
pub(crate) struct Part {
    gate: Arc<Gate>,
    is_closed: AtomicBool,
}

impl Part {
    /// That of the first thread.
    pub(crate) fn first() -> Part {
        let gate = Gate { is_to_close: watch::Sender::new(false), parts: watch::Sender::new(1) };
        Part { gate: Arc::new(gate), is_closed: false.into() }
    }

    /// That of one thread more.
    pub(crate) fn another(&self) -> Part {
        self.gate.parts.send_modify(|parts| *parts += 1);
        Part { gate: Arc::clone(&self.gate), is_closed: false.into() }
    }

    /// Asks all threads to close the sockets.
    pub(crate) fn close(&self) {
        self.gate.is_to_close.send_replace(true);
    }

    /// Waits until the sockets are to be closed.
    pub(crate) async fn is_to_close(&self) {
        // The senders are ours, so they cannot be gone.
        let _ = self.gate.is_to_close.subscribe().wait_for(|&is_to_close| is_to_close).await;
    }

    /// This thread has closed them.
    pub(crate) fn note_closed(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            self.gate.parts.send_modify(|parts| *parts -= 1);
        }
    }

    /// Waits until all threads have closed them.
    pub(crate) async fn all_closed(&self) {
        let _ = self.gate.parts.subscribe().wait_for(|&parts| parts == 0).await;
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.note_closed();
    }
}
