//! Sees to it that a connection is not silent while there are tunnels in it.

use crate::transport::usage::Usage;
use quinn::{Connection, ConnectionError, VarInt};
use rand::RngExt as _;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep_until;

/// So many milliseconds of silence are enough to break. Peers that send nothing themselves (v2ray-plugin, sing-box) take
/// a connection for dead after 30 s; many home routers forget it then, too.
const SILENCE: RangeInclusive<u64> = 10_000..=15_000;

/// Keeps a connection alive for as long as it has tunnels, until it has ended so; it had so many tunnels not long before.
/// `window` says what its window for receiving is.
pub(super) async fn keep_alive(
    connection: Connection,
    usage: Arc<Usage>,
    window: impl Fn() -> VarInt,
) -> (ConnectionError, usize) {
    loop {
        let pause = Duration::from_millis(rand::rng().random_range(SILENCE));
        let (last, tunnels) = (usage.last_activity(), usage.tunnels());
        tokio::select! {
            ended = connection.closed() => return (ended, tunnels),
            () = sleep_until(last + pause) => {}
        }
        if usage.last_activity() == last {
            if usage.tunnels() > 0 {
                ping(&connection, window());
            }
            usage.note_activity();
        }
    }
}

/// Has a packet sent that the peer acknowledges. quinn has no way to ask for a PING but an interval that is the same for
/// a connection's whole life, and that would keep one alive which nobody uses. A window that grows is announced
/// (RFC 9000 section 19.9); by one byte, it stays what it is.
fn ping(connection: &Connection, window: VarInt) {
    connection.set_receive_window(VarInt::from_u64(window.into_inner() - 1).unwrap_or(window));
    connection.set_receive_window(window);
}
