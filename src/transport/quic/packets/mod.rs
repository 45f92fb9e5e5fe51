//! UDP sessions in the datagrams of a connection (RFC 9221): each is a flow, whose number stands in front of its packets
//! ([`crate::wire::quic::datagram`]). A client chooses it, counting up from 0, and the server answers in the same flow.
//! Nothing opens a flow and nothing closes it: either end forgets it after a time without packets, and a packet of a flow
//! that a server does not know begins one.
//!
//! A packet that is too long for a datagram has a unidirectional stream for itself. None waits: what the connection does
//! not take now is dropped.
//!
//! How long a datagram may be is found by the library, from 1,200 bytes up to 1,452 of a UDP payload, which is what
//! Ethernet carries over IPv6; what is longer goes in streams, for the first round trips 1,200 bytes, too. To begin with
//! more would lose whole connections on a path that carries less, and packets of hosts are made for such paths.

mod client;
mod incoming;
mod outgoing;
#[cfg(all(test, feature = "server", feature = "metrics"))]
mod tests;

pub use client::QuicPackets;
pub(crate) use incoming::Incoming;
pub(crate) use outgoing::Outgoing;

use crate::udp::{Ended, Packets, Port};
use quinn::{TransportConfig, VarInt};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// The most streams with a packet at a time, each way.
const STREAMS: u32 = 64;

/// How long such a stream may take.
const STREAM_TIME: Duration = Duration::from_secs(10);

/// The most bytes that wait each way: what a fast path brings in some milliseconds.
const BUFFER: usize = 1024 * 1024;

/// Has a connection take packets.
pub(super) fn allow(config: &mut TransportConfig) {
    config
        .max_concurrent_uni_streams(VarInt::from_u32(STREAMS))
        .datagram_receive_buffer_size(Some(BUFFER))
        .datagram_send_buffer_size(BUFFER);
}

/// Waits for what comes from a port, and takes it into `packets`, which are empty. `idle` wakes whoever waits when the
/// session may be over.
///
/// # Errors
///
/// The session is over.
pub(crate) fn poll_port(
    port: &mut Port,
    packets: &mut Packets,
    mut idle: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Ended>> {
    if let Poll::Ready(found) = port.poll_packets(cx) {
        std::mem::swap(found?, packets);
        port.note_taken(packets.bytes());
        return Poll::Ready(Ok(()));
    }
    loop {
        ready!(idle.as_mut().poll(cx));
        let over = port.idle_at();
        if over <= Instant::now() {
            return Poll::Ready(Err(Ended::Idle));
        }
        idle.as_mut().reset(over);
    }
}
