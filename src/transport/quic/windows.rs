//! How much a connection may hold that is not read yet, or has not arrived: what quinn keeps is in no account of ours, so
//! all connections have parts of one share.

use crate::runtime::buffers;
#[cfg(feature = "server")]
use quinn::Connection;
use quinn::VarInt;
#[cfg(feature = "server")]
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "server")]
use std::sync::{Mutex, PoisonError};

/// A stream may have this part of its connection's window, so that whoever does not read holds up no other stream: no
/// more of ours share a connection.
pub(super) const STREAMS: usize = 16;

/// The most that a stream may bring which is not read yet: 100 ms of 320 Mbit/s.
const MOST_OF_STREAM: usize = 4 * 1024 * 1024;

/// What a connection may hold each way, however many there are, and while it has no tunnel.
#[cfg(feature = "server")]
pub(super) const LEAST: usize = 64 * 1024;

/// What one of a server may at the most.
#[cfg(feature = "server")]
const MOST: usize = STREAMS * MOST_OF_STREAM;

/// The same of a client.
const MOST_OF_CLIENT: usize = STREAMS * MOST_OF_STREAM;

/// All connections have this part of what may be buffered, each no more than one in sixteen of what is left of it.
#[cfg(feature = "server")]
const SHARE: usize = 2;
const OF_WHAT_IS_LEFT: usize = 16;

/// Where nothing limits what may be buffered.
#[cfg(feature = "server")]
const UNLIMITED: usize = 1024 * 1024 * 1024;

/// All that is granted.
#[cfg(feature = "server")]
static GRANTED: Mutex<usize> = Mutex::new(0);

/// What one connection of a server may hold each way, until this is dropped.
#[cfg(feature = "server")]
#[derive(Debug, Default)]
pub(super) struct Grant(AtomicUsize);

#[cfg(feature = "server")]
impl Grant {
    /// Grants what there is for a connection now, which has tunnels or none. Returns what it is.
    fn renew(&self, has_tunnels: bool) -> usize {
        let share = buffers::limit().map_or(UNLIMITED, |limit| limit / SHARE);
        let mut granted = GRANTED.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.0.load(Ordering::Relaxed);
        let left = share.saturating_sub(granted.saturating_sub(before));
        let now = if has_tunnels { (left / OF_WHAT_IS_LEFT).clamp(LEAST, MOST) } else { 0 };
        *granted = granted.saturating_sub(before) + now;
        self.0.store(now, Ordering::Relaxed);
        now.max(LEAST)
    }

    /// Lets a connection hold what there is for it now.
    pub(super) fn apply(&self, connection: &Connection, has_tunnels: bool) {
        let bytes = self.renew(has_tunnels);
        connection.set_receive_window(window(bytes));
        connection.set_send_window(bytes as u64);
    }

    /// What each of many connections has in the end: those who come in a crowd have less at first.
    pub(super) fn of_many() -> usize {
        const MANY: usize = 64;
        (buffers::limit().map_or(UNLIMITED, |limit| limit / SHARE) / MANY).min(MOST)
    }

    /// What there is for one more connection.
    pub(super) fn next() -> usize {
        Grant::default().renew(true)
    }

    pub(super) fn window(&self) -> VarInt {
        window(self.0.load(Ordering::Relaxed).max(LEAST))
    }
}

#[cfg(feature = "server")]
impl Drop for Grant {
    fn drop(&mut self) {
        self.renew(false);
    }
}

/// What a connection of a client may hold each way.
pub(super) fn of_client() -> usize {
    /// Where little may be buffered.
    const LEAST: usize = 512 * 1024;
    buffers::limit().map_or(MOST_OF_CLIENT, |limit| (limit / OF_WHAT_IS_LEFT).clamp(LEAST, MOST_OF_CLIENT))
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

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn granted() -> usize {
        *GRANTED.lock().unwrap()
    }

    #[test]
    fn all_together_have_their_share_and_each_has_something() {
        buffers::set_limit(Some(64 * MIB));
        let grants: Vec<_> = std::iter::repeat_with(Grant::default).take(200).collect();
        let has: Vec<_> = grants.iter().map(|grant| grant.renew(true)).collect();
        assert_eq!((has[0], has[199]), (2 * MIB, LEAST));
        assert!(has.iter().sum::<usize>() <= 32 * MIB + 200 * LEAST && has.is_sorted_by(|a, b| a >= b));
        // Who comes last has its part as soon as others have no tunnels any more; those who have none hold nothing.
        for grant in &grants[..199] {
            assert_eq!(grant.renew(false), LEAST);
        }
        assert_eq!((grants[199].renew(true), granted()), (2 * MIB, 2 * MIB));
        assert_eq!(grants[199].window(), window(2 * MIB));
        drop(grants);
        assert_eq!(granted(), 0);
    }
}
