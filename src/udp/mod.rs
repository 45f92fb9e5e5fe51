//! UDP (SIP003u): packets between a session's [`Port`] and what carries them.
//!
//! A session is what one source says to Shadowsocks's port and hears from it. Its undisguised end is a [`Port`]: on the
//! client half a [source](Sources) at the local UDP port, on the server half a [socket](Backend) to Shadowsocks. Its other
//! end is one of three: a session of Mux.Cool (`mux`), a WebSocket connection of its own (`transport::websocket`), or a
//! flow in the datagrams of a QUIC connection (`transport::quic`). All of them carry whole packets both ways.
//!
//! # What is bounded
//!
//! Nothing waits for a packet: one that cannot be taken now is dropped and [counted](dropped), as a network does it,
//! and whoever sends too fast learns it so. In particular:
//!
//! - up to [`QUEUE`] bytes wait for what carries a session, or less where the process
//!   [buffers](crate::runtime::buffers) much;
//! - there are at most [`SOURCES`] sources at a time: a new one takes the place of the one that was silent longest;
//! - a session in which nothing passes for [`IDLE`] ends.

mod backend;
mod drops;
mod packets;
mod pause;
mod port;
mod queue;
mod socket;
mod sources;

pub use backend::Backend;
pub use drops::dropped;
pub use packets::Packets;
pub use pause::Pause;
pub use port::{Ended, Port};
pub use socket::{PacketSocket, Remote};
pub use sources::{Source, Sources};

use std::time::Duration;

/// The most bytes that wait for what carries a session: what comes in some milliseconds of a flood.
pub const QUEUE: usize = 1024 * 1024;

/// The most sources at a time.
pub const SOURCES: usize = 1024;

/// How long nothing has passed in a session before it ends, as v2ray and shadowsocks-rust have it.
pub const IDLE: Duration = Duration::from_secs(300);

/// The longest payload of a UDP packet, in bytes (over IPv4; over IPv6 it is less than this by what its header is longer).
pub const LONGEST: usize = 65_507;
