//! What quinn is told of a connection's [windows](crate::transport::windows).

#[cfg(feature = "server")]
pub(super) use crate::transport::windows::{Grant, LEAST};

use crate::transport::windows;
#[cfg(feature = "server")]
use quinn::Connection;
use quinn::VarInt;

/// A stream may have this part of its connection's window, so that whoever does not read holds up no other stream: no
/// more of ours share a connection.
pub(super) const STREAMS: usize = 16;

/// The most that a stream may bring which is not read yet: 100 ms of 320 Mbit/s.
const MOST_OF_STREAM: usize = 4 * 1024 * 1024;

/// What a connection may hold each way at the most.
pub(super) const MOST: usize = STREAMS * MOST_OF_STREAM;

/// Lets a connection hold what there is for it now.
#[cfg(feature = "server")]
pub(super) fn apply(grant: &Grant, connection: &Connection, has_tunnels: bool) {
    let bytes = grant.renew(has_tunnels);
    connection.set_receive_window(window(bytes));
    connection.set_send_window(bytes as u64);
}

/// What a connection of a client may hold each way.
pub(super) fn of_client() -> usize {
    windows::of_client(MOST)
}

/// What a stream of a connection with this window may bring that is not read yet.
pub(super) fn of_stream(window: usize) -> VarInt {
    /// A few datagrams.
    const LEAST: usize = 16 * 1024;
    self::window((window / STREAMS).clamp(LEAST, MOST_OF_STREAM))
}

pub(super) fn window(bytes: usize) -> VarInt {
    VarInt::from_u32(u32::try_from(bytes).unwrap_or(u32::MAX))
}
