//! Whether the server of a connection can be thought to be there.

use quinn::Connection;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// A server from which nothing has come for so long, though something was said to it, is dialled anew for the next tunnel:
/// it was started anew, or the way to it is another. (The connection ends only after its time-out; it may yet be heard of.)
const ANSWER: Duration = Duration::from_secs(3);

/// What is known of it.
#[derive(Debug)]
pub(super) struct Heard {
    connection: Connection,
    asked: Mutex<Option<Asked>>,
}

/// Something was said.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: Instant,
    /// How many datagrams had come by then.
    received: u64,
}

impl Heard {
    pub(super) fn new(connection: Connection) -> Heard {
        Heard { connection, asked: Mutex::new(None) }
    }

    fn received(&self) -> u64 {
        self.connection.stats().udp_rx.datagrams
    }

    /// Something is said in a tunnel.
    pub(super) fn note_said(&self) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.is_none() {
            *asked = Some(Asked { at: Instant::now(), received: self.received() });
        }
    }

    /// Something has come in a tunnel.
    pub(super) fn note_heard(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether the server answers, as far as it was asked.
    pub(super) fn answers(&self) -> bool {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Asked { at, received }) = *asked else { return true };
        let now = self.received();
        if now > received {
            *asked = Some(Asked { at: Instant::now(), received: now });
            return true;
        }
        at.elapsed() < ANSWER
    }
}
