//! Packets that are dropped: counted, and told, though not each of them.

use crate::metrics::{self, PacketDropped};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// How often the log is told of one cause.
const EVERY: Duration = Duration::from_secs(60);

/// What the log has not been told yet, of each cause: since when, and how many.
static UNTOLD: [Mutex<(Option<Instant>, u64)>; PacketDropped::ALL.len()] =
    [const { Mutex::new((None, 0)) }; PacketDropped::ALL.len()];

/// So many packets are dropped.
pub fn dropped(why: PacketDropped, packets: usize) {
    if packets == 0 {
        return;
    }
    metrics::packets_dropped(why, packets as u64);
    let mut untold = UNTOLD[why as usize].lock().unwrap_or_else(PoisonError::into_inner);
    let (told_at, number) = &mut *untold;
    *number += packets as u64;
    if told_at.is_some_and(|at| at.elapsed() < EVERY) {
        return;
    }
    *told_at = Some(Instant::now());
    let packets = std::mem::take(number);
    drop(untold);
    match why {
        // A network does so, too.
        PacketDropped::Busy => {
            debug!(packets, "UDP packets are dropped: they come faster than they can go on")
        }
        PacketDropped::TooLong => {
            warn!(
                packets,
                "UDP packets are dropped: they are longer than the other end takes (2,048 bytes where it is none of ours, or over \
                                gRPC; else 65,507)"
            )
        }
        PacketDropped::NotTaken => {
            warn!(packets, "UDP packets are dropped: the server takes none (has it the option `udp`?)");
        }
        PacketDropped::NotSet => {
            warn!(packets, "UDP packets of a client are dropped: this server has not the option `udp`");
        }
        PacketDropped::Sessions => {
            warn!(packets, "UDP packets are dropped: there are as many sessions as there may be")
        }
        PacketDropped::Server => {
            warn!(packets, "UDP packets are dropped: there is no connection to the server")
        }
        PacketDropped::Backend => {
            warn!(
                packets,
                "UDP packets are dropped: Shadowsocks does not take them (are its `mode` and `plugin_mode` `tcp_and_udp`?)"
            );
        }
    }
}
