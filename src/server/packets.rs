//! What one source says over UDP, in a connection of its own.

use crate::metrics::PacketDropped;
use crate::net::Dialer;
use crate::net::dial::DialError;
use crate::net::limits::Slot;
use crate::transport::Relaying;
use crate::transport::websocket::PacketStream;
use crate::udp::{self, Backend};
use std::sync::Arc;
use tracing::debug;

/// Passes packets on between the connection and the backend, if they are `taken`.
///
/// As with other sessions of UDP, half of the tunnels that there may be are left to TCP.
pub(super) fn serve(open: PacketStream, backend: &Arc<Dialer>, slot: Option<&Slot>, taken: bool) -> Relaying {
    if !taken {
        udp::dropped(PacketDropped::NotSet, 1);
        return Box::pin(open.refuse());
    }
    if slot.is_some_and(|slot| !slot.leaves_half()) {
        udp::dropped(PacketDropped::Sessions, 1);
        return Box::pin(open.fail());
    }
    match Backend::open(backend) {
        Ok(backend) => Box::pin(open.run(backend)),
        Err(error) => {
            debug!(%error, "cannot send to Shadowsocks over UDP");
            let no_room = matches!(error, DialError::NoDescriptors);
            udp::dropped(if no_room { PacketDropped::Sessions } else { PacketDropped::Backend }, 1);
            Box::pin(open.fail())
        }
    }
}
