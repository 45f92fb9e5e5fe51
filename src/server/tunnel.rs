//! A client's tunnel, from what it was found to be to what it is joined to.

use super::{Server, limits, packets};
use crate::detect::{ClientKind, Handoff};
use crate::mux;
use crate::net::dial::Dialer;
use crate::net::limits::{SessionLimits, Slot};
use crate::telemetry::{Kind, PathClass, Record, Target};
use crate::transport::{self, Accepted, NotAccepted, Relaying, Stream};
use std::sync::Arc;

impl Server {
    /// Opens a tunnel for a client, which is to be run. It has its slot, where there is one, to its end.
    pub(super) async fn tunnel(
        &self,
        c: Handoff<Stream>,
        kind: ClientKind,
        slot: Option<Slot>,
        record: &mut Record,
    ) -> Result<Relaying, NotAccepted> {
        let (io, read_buf) = c.into_parts();
        let (role, backend) = self.backends.of(&kind, &io);
        let target = Target { role, address: Arc::clone(backend.shown()) };
        record.kind = transport::kind(&kind);
        record.path = match record.kind {
            Kind::FakeTls => None,
            Kind::Http if kind.route().is_none() && self.config.rules.takes_any_http_path() => {
                Some(PathClass::Any)
            }
            _ => Some(PathClass::Ours),
        };
        record.target = Some(target.clone());
        let accepted = Box::pin(transport::accept(io, kind, read_buf, backend)).await?;
        self.relaying(accepted, slot, backend, target, record).await
    }

    /// Joins what a client was granted to the backend.
    pub(super) async fn relaying(
        &self,
        accepted: Accepted,
        slot: Option<Slot>,
        backend: &Arc<Dialer>,
        target: Target,
        record: &mut Record,
    ) -> Result<Relaying, NotAccepted> {
        let (tunnel, dialled) = match accepted {
            Accepted::Tunnel(tunnel, dialled) => (tunnel, dialled),
            Accepted::Mux(open, dialled) => {
                record.kind = Kind::Mux;
                let limits = slot.map(|slot| SessionLimits::new(slot, record.info));
                let backend = mux::Backend::new(Arc::clone(backend), dialled, limits, record.info, target)
                    .with_udp(self.config.udp);
                return Ok(mux::serve(open, backend, self.timeouts));
            }
            Accepted::Packets(open) => {
                record.kind = Kind::Udp;
                let packets = packets::serve(*open, backend, slot.as_ref(), self.config.udp);
                return Ok(limits::with_slot(slot, packets));
            }
        };
        let backend = match dialled {
            Some(backend) => Ok(backend),
            None => Box::pin(backend.connect()).await,
        };
        match backend {
            Ok(backend) => Ok(limits::with_slot(slot, tunnel.relay(backend, self.timeouts))),
            Err(error) => {
                // The client would take the end of the connection for that of an answer.
                tunnel.abort();
                Err(NotAccepted::Backend(error))
            }
        }
    }
}
