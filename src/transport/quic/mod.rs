//! QUIC (RFC 9000) as v2ray-plugin's `mode=quic` has it: one bidirectional stream a tunnel, and in it nothing but the
//! tunnel's bytes. A client opens streams on a connection for as long as its server takes them, and then another
//! connection.
//!
//! v2ray's halves send nothing while a tunnel is silent, and a connection that has been silent for 30 s is dead to both.
//! So each half of ours sees to it that its connections are not silent while there are tunnels in them.

mod client;
mod connector;
#[cfg(feature = "server")]
pub(crate) mod demux;
mod error;
#[cfg(feature = "server")]
mod expiring;
#[cfg(feature = "server")]
mod flights;
mod heard;
mod hmac;
#[cfg(feature = "server")]
mod idle;
mod ids;
mod keep_alive;
pub(crate) mod packets;
mod refused;
mod reset;
#[cfg(feature = "server")]
mod server;
mod stream;
#[cfg(all(test, feature = "server"))]
mod test_socket;

#[cfg(feature = "server")]
mod website;
mod windows;

pub use client::QuicOpener;
pub use error::QuicError;
pub use packets::QuicPackets;
#[cfg(feature = "server")]
pub(crate) use server::{Arriving, Listener, QuicConnection, Refusal, Settings, asks_for_us, offers_as_ours};
pub use stream::QuicStream;

use crate::config::Congestion;
use crate::wire::quic::VERSION_1;
use ids::ConnectionIds;
use quinn::congestion::{BbrConfig, CubicConfig};
use quinn::{EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use reset::ResetKey;
use std::sync::Arc;
use std::time::Duration;

/// After so long without a packet a connection is dead: a client's number, and a server's. (quic-go in v2ray)
const CLIENT_IDLE: Duration = Duration::from_secs(30);
#[cfg(feature = "server")]
const SERVER_IDLE: Duration = Duration::from_secs(45);

/// The only error code that there is in these connections: v2ray's programs and sing-box have no other.
const CODE: VarInt = VarInt::from_u32(0);

/// What both halves ask of an endpoint.
fn endpoint_config(reset_key: [u8; 32], ids: ConnectionIds) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey::new(reset_key)));
    config
        .cid_generator(move || Box::new(ids.clone()))
        // Go's clients do not offer it, and a hello is read by whoever watches.
        .grease_quic_bit(false)
        .supported_versions(vec![VERSION_1]);
    config
}

fn transport_config(congestion: Congestion, window: usize, idle: Duration, streams: u32) -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(streams.into())
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(windows::window(window))
        .stream_receive_window(windows::of_stream(window))
        .send_window(window as u64)
        .max_idle_timeout(IdleTimeout::try_from(idle).ok())
        // Nobody sends them.
        .datagram_receive_buffer_size(None)
        .allow_spin(false);
    match congestion {
        Congestion::Cubic => config.congestion_controller_factory(Arc::new(CubicConfig::default())),
        Congestion::Bbr => config.congestion_controller_factory(Arc::new(BbrConfig::default())),
    };
    config
}
