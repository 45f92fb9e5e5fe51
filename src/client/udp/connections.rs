//! A WebSocket connection for each source.

use crate::metrics::{self, PacketDropped};
use crate::net::conn_info::ConnInfo;
use crate::relay::End;
use crate::runtime::{balance, watchdog};
use crate::telemetry::{Kind, Record, Target};
use crate::transport::WebOpener;
use crate::udp::{Port, Source, dropped};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

/// The most connections that are being opened at a time. Sources beyond wait, and their packets in their queues.
const OPENING: usize = 32;

/// How long none is opened after one has failed: what sources say meanwhile is dropped.
const PAUSE: Duration = Duration::from_secs(1);

/// The connections of all sources.
#[derive(Debug)]
pub(crate) struct Connections {
    opener: WebOpener,
    opening: Semaphore,
    /// When one has failed last.
    failed: Mutex<Option<Instant>>,
}

impl Connections {
    /// Those to the server of this opener.
    pub(super) fn new(opener: WebOpener) -> Connections {
        Connections { opener, opening: Semaphore::new(OPENING), failed: Mutex::default() }
    }

    /// Carries what a source says, and hears.
    pub(super) fn carry(self: &Arc<Self>, source: Source) {
        if self.is_paused() {
            return dropped(PacketDropped::Server, 1);
        }
        let (connections, peer) = (Arc::clone(self), source.remote().address);
        balance::spawn(watchdog::watched(Some(peer), async move {
            connections.serve(source, peer).await;
        }));
    }

    async fn serve(&self, source: Source, peer: SocketAddr) {
        let target = Target { role: "server", address: Arc::clone(self.opener.server()) };
        let record = Record::of(Kind::Udp, ConnInfo::new(peer), Instant::now()).to(target);
        // (nobody closes it)
        let permit = self.opening.acquire().await;
        if self.is_paused() {
            dropped(PacketDropped::Server, 1);
            return record.failed("failed", &"there was no connection to the server just before");
        }
        let open = match Box::pin(self.opener.packets()).await {
            Ok(open) => open,
            Err(error) => {
                if self.fails() {
                    warn!(%peer, stage = error.stage(), %error, "UDP session failed");
                }
                dropped(PacketDropped::Server, 1);
                metrics::connection_failed(error.failure());
                return record.failed("failed", &error);
            }
        };
        drop(permit);
        let opened = Instant::now();
        let outcome = Box::pin(open.run(Port::from(source))).await;
        let is_over_at_once = outcome.down == 0 && opened.elapsed() < PAUSE;
        match &outcome.end {
            End::Reset(..) | End::Malformed(..) => drop(self.fails()),
            End::Closed if is_over_at_once => drop(self.fails()),
            _ => {}
        }
        record.ended(&outcome);
    }

    fn is_paused(&self) -> bool {
        self.failed().is_some_and(|at| at.elapsed() < PAUSE)
    }

    /// One has failed. Returns whether that is news.
    fn fails(&self) -> bool {
        self.failed().replace(Instant::now()).is_none_or(|at| at.elapsed() >= PAUSE)
    }

    fn failed(&self) -> MutexGuard<'_, Option<Instant>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
