//! Waiting until one more connection may be open.

use crate::runtime::admission;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

/// How long accepting pauses when there are no descriptors left.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// What is freed is taken at once and lacks again, so the log is told no more often.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Room for what is accepted at one place.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// When it was last logged that accepting pauses.
    warned: Mutex<Option<Instant>>,
}

impl Room {
    /// Waits until one more may be open. Those who come meanwhile wait with the system.
    pub(crate) async fn wait(&self) {
        let mut told = false;
        while let Some(full) = admission::is_full() {
            if self.is_to_warn() {
                warn!("accepting pauses: {full}");
                told = true;
            }
            sleep(PAUSE).await;
        }
        if told {
            info!("accepting goes on");
        }
    }

    /// Whether the log is to be told that accepting pauses.
    pub(super) fn is_to_warn(&self) -> bool {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = warned.is_none_or(|at| at.elapsed() > BETWEEN_WARNINGS);
        if is_due {
            *warned = Some(Instant::now());
        }
        is_due
    }
}
