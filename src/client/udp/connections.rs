//! A WebSocket connection for each source.

use crate::metrics::{self, PacketDropped};
use crate::net::conn_info::ConnInfo;
use crate::relay::End;
use crate::runtime::{balance, watchdog};
use crate::telemetry::{Kind, Record, Target};
use crate::transport::WebOpener;
use crate::udp::{Pause, Port, Source, dropped};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::warn;

/// The most connections that are being opened at a time. Sources beyond wait, and their packets in their queues.
const OPENING: usize = 32;

/// A server that closes before that, and has said nothing, wants no packets.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The connections of all sources.
#[derive(Debug)]
pub(crate) struct Connections {
    opener: WebOpener,
    opening: Semaphore,
    pause: Pause,
}

impl Connections {
    /// Those to the server of this opener.
    pub(super) fn new(opener: WebOpener) -> Connections {
        Connections { opener, opening: Semaphore::new(OPENING), pause: Pause::default() }
    }

    /// Carries what a source says, and hears.
    pub(super) fn carry(self: &Arc<Self>, source: Source) {
        if self.pause.drops() {
            return;
        }
        let (connections, peer) = (Arc::clone(self), source.remote().address);
        balance::spawn(watchdog::watched(Some(peer), async move {
            connections.serve(source, peer).await;
        }));
    }

    async fn serve(&self, source: Source, peer: SocketAddr) {
        let target = Target { role: "server", address: Arc::clone(self.opener.server()) };
        let record = Record::of(Kind::UDP, ConnInfo::new(peer), Instant::now()).to(target);
        // (nobody closes it)
        let permit = self.opening.acquire().await;
        if self.pause.drops() {
            return record.failed("failed", &"there was no connection to the server just before");
        }
        let open = match Box::pin(self.opener.packets()).await {
            Ok(open) => open,
            Err(error) => {
                if self.pause.begin(PacketDropped::Server) {
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
        let is_over_at_once = outcome.down == 0 && opened.elapsed() < AT_ONCE;
        let why = match &outcome.end {
            // (as it says in so many words)
            End::Reset(_, error) if error.kind() == io::ErrorKind::Unsupported => {
                Some(PacketDropped::NotTaken)
            }
            End::Reset(..) | End::Malformed(..) => Some(PacketDropped::Server),
            End::Closed if is_over_at_once => Some(PacketDropped::Server),
            _ => None,
        };
        why.map(|why| self.pause.begin(why));
        record.ended(&outcome);
    }
}
