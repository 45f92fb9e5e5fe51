//! No way to the server is tried for a moment after one has failed: packets come at any rate.

use super::dropped;
use crate::metrics::PacketDropped;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long none is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether there is a pause, and why.
#[derive(Debug, Default)]
pub struct Pause(Mutex<Option<(Instant, PacketDropped)>>);

impl Pause {
    fn begun(&self) -> MutexGuard<'_, Option<(Instant, PacketDropped)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is one from now on, as packets cannot go on for this reason. Returns whether that is news.
    pub fn begin(&self, why: PacketDropped) -> bool {
        self.begun().replace((Instant::now(), why)).is_none_or(|(at, _)| at.elapsed() >= PAUSE)
    }

    /// A way works.
    pub fn end(&self) {
        *self.begun() = None;
    }

    /// Whether a packet is dropped that has come now: then it is counted.
    pub fn drops(&self) -> bool {
        let why = self.begun().filter(|(at, _)| at.elapsed() < PAUSE).map(|(_, why)| why);
        if let Some(why) = why {
            dropped(why, 1);
        }
        why.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_by_itself_or_when_a_way_works() {
        let pause = Pause::default();
        assert!(!pause.drops());
        assert!(pause.begin(PacketDropped::Server));
        assert!(pause.drops());
        assert!(!pause.begin(PacketDropped::NotTaken), "it is no news");
        tokio::time::advance(PAUSE).await;
        assert!(!pause.drops());
        assert!(pause.begin(PacketDropped::Server));
        pause.end();
        assert!(!pause.drops());
    }
}
