//! Tunnels that are streams of a connection.

use super::Server;
use crate::metrics::{self, Failure};
use crate::net::conn_info::ConnInfo;
use crate::net::dial::Dialer;
#[cfg(feature = "quic")]
use crate::net::limits::hold;
use crate::net::limits::{Arrival, Slot};
use crate::telemetry::Record;
#[cfg(feature = "grpc")]
use crate::telemetry::Target;
#[cfg(feature = "grpc")]
use crate::transport::Accepted;
use crate::transport::NotAccepted;
#[cfg(feature = "quic")]
use crate::transport::Tunnel;
#[cfg(feature = "grpc")]
use std::sync::Arc;
use tracing::warn;

impl Server {
    /// Serves a tunnel to its end.
    #[cfg(feature = "quic")]
    pub(super) async fn serve_tunnel(
        &self,
        tunnel: Tunnel,
        slot: Option<Slot>,
        backend: &Dialer,
        mut record: Record,
    ) {
        match Box::pin(backend.connect()).await {
            Ok(backend) => {
                record.stands(record.began.elapsed());
                let mut outcome = hold(slot, tunnel.relay(backend, self.timeouts)).await;
                record.ended(&outcome);
                outcome.close().await;
            }
            Err(error) => {
                tunnel.abort();
                tell_failure(record, &NotAccepted::Backend(error));
            }
        }
    }

    /// Serves what a client was granted to its end.
    #[cfg(feature = "grpc")]
    pub(super) async fn serve_accepted(
        &self,
        accepted: Result<Accepted, NotAccepted>,
        slot: Option<Slot>,
        backend: &Arc<Dialer>,
        target: Target,
        mut record: Record,
    ) {
        let tunnel = match accepted {
            Ok(accepted) => self.backends.relaying(accepted, slot, backend, target, &mut record).await,
            Err(error) => Err(error),
        };
        match tunnel {
            Ok(tunnel) => {
                record.stands(record.began.elapsed());
                let mut outcome = tunnel.await;
                record.ended(&outcome);
                outcome.close().await;
            }
            Err(error) => tell_failure(record, &error),
        }
    }

    /// A place for a tunnel, where these are limited. `None` if there is none.
    pub(super) async fn slot(&self, info: &ConnInfo) -> Option<Option<Slot>> {
        let Some(limits) = &self.limits else { return Some(None) };
        let mut arrival = Arrival::default();
        limits.note_arrival(&mut arrival, info);
        limits.admit(&arrival, info, 0, self.fallback.undecided()).await.ok().map(Some)
    }
}

/// Tells both logs that a client of ours has no tunnel.
pub(super) fn tell_failure(record: Record, error: &NotAccepted) {
    let failure = match error {
        NotAccepted::Backend(_) => Failure::Backend,
        NotAccepted::Malformed(_) => Failure::Malformed,
        NotAccepted::Broken(_) => Failure::Gone,
        NotAccepted::Empty => Failure::Empty,
    };
    metrics::connection_failed(failure);
    match error {
        NotAccepted::Broken(_) | NotAccepted::Empty => record.failed("gone", error),
        NotAccepted::Backend(_) | NotAccepted::Malformed(_) => {
            warn!(peer = %record.info, stage = error.stage(), %error, "tunnel failed");
            record.failed("failed", error);
        }
    }
}
