//! How much a connection may hold that is not read yet, or has not arrived: what quinn keeps is in no account of ours, so
//! all connections have parts of one share.

use crate::runtime::buffers;
#[cfg(feature = "server")]
use quinn::Connection;
use quinn::VarInt;
#[cfg(feature = "server")]
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a stream may bring that is not read yet: a second of 50 Mbit/s, or 50 ms of 1 Gbit/s, as quic-go's grow to in v2ray.
pub(super) const STREAM: VarInt = VarInt::from_u32(6 * 1024 * 1024);

/// What a connection of a server may hold each way, at the most; and before its handshake is over, at the least.
#[cfg(feature = "server")]
const MOST: usize = 15 * 1024 * 1024;
pub(super) const LEAST: usize = 256 * 1024;

/// The same of a client, which has few, and where who does not read is not to hold up the others.
const MOST_OF_CLIENT: usize = 64 * 1024 * 1024;

/// All connections have this part of what may be buffered, each no more than one in sixteen of what is left of it.
#[cfg(feature = "server")]
const SHARE: usize = 2;
const OF_WHAT_IS_LEFT: usize = 16;

/// Where nothing limits what may be buffered.
#[cfg(feature = "server")]
const UNLIMITED: usize = 1024 * 1024 * 1024;

#[cfg(feature = "server")]
static GRANTED: AtomicUsize = AtomicUsize::new(0);

/// What one connection may hold each way, until this is dropped.
#[cfg(feature = "server")]
#[derive(Debug)]
pub(super) struct Grant(usize);

#[cfg(feature = "server")]
impl Grant {
    /// For one more connection; `None` where there is nothing left.
    pub(super) fn one_more() -> Option<Grant> {
        let share = buffers::limit().map_or(UNLIMITED, |limit| limit / SHARE);
        let mut bytes = 0;
        let taken = GRANTED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |before| {
            bytes = (share.saturating_sub(before) / OF_WHAT_IS_LEFT).clamp(LEAST, MOST);
            (before + bytes <= share).then_some(before + bytes)
        });
        taken.is_ok().then(|| Grant(bytes))
    }

    /// Lets a connection hold that much.
    pub(super) fn apply(&self, connection: &Connection) {
        connection.set_receive_window(self.window());
        connection.set_send_window(self.0 as u64);
    }

    pub(super) fn window(&self) -> VarInt {
        window(self.0)
    }
}

#[cfg(feature = "server")]
impl Drop for Grant {
    fn drop(&mut self) {
        GRANTED.fetch_sub(self.0, Ordering::Relaxed);
    }
}

/// What a connection of a client may hold each way.
pub(super) fn of_client() -> VarInt {
    window(
        buffers::limit()
            .map_or(MOST_OF_CLIENT, |limit| (limit / OF_WHAT_IS_LEFT).clamp(LEAST, MOST_OF_CLIENT)),
    )
}

pub(super) fn window(bytes: usize) -> VarInt {
    VarInt::from_u32(u32::try_from(bytes).unwrap_or(u32::MAX))
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn all_together_have_no_more_than_their_share() {
        buffers::set_limit(Some(64 * 1024 * 1024));
        let grants: Vec<_> = std::iter::from_fn(Grant::one_more).collect();
        let all: usize = grants.iter().map(|grant| grant.0).sum();
        assert!((30..=32).contains(&(all / (1024 * 1024))), "{all}");
        assert!(grants[0].0 > LEAST && grants.last().unwrap().0 == LEAST);
        assert!(Grant::one_more().is_none());
        drop(grants);
        assert_eq!(GRANTED.load(Ordering::Relaxed), 0);
        assert_eq!(Grant::one_more().map(|grant| grant.0), Some(2 * 1024 * 1024));
    }
}
