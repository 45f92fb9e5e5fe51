//! How much a connection with many tunnels may hold that is not read yet, or has not arrived: what the libraries keep
//! of QUIC and of HTTP/2 is in no account of ours, so all connections have parts of one share.

use crate::runtime::buffers;
#[cfg(feature = "server")]
use std::sync::atomic::{AtomicUsize, Ordering};
#[cfg(feature = "server")]
use std::sync::{Mutex, PoisonError};

/// What a connection may hold each way, however many there are, and while it has no tunnel.
#[cfg(feature = "server")]
pub(super) const LEAST: usize = 64 * 1024;

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
#[derive(Debug)]
pub(super) struct Grant {
    bytes: AtomicUsize,
    most: usize,
}

#[cfg(feature = "server")]
impl Grant {
    /// A connection that may hold no more than this.
    pub(super) fn new(most: usize) -> Grant {
        Grant { bytes: AtomicUsize::new(0), most }
    }

    /// Grants what there is for a connection now, which has tunnels or none. Returns what it is.
    pub(super) fn renew(&self, has_tunnels: bool) -> usize {
        let share = buffers::limit().map_or(UNLIMITED, |limit| limit / SHARE);
        let mut granted = GRANTED.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.bytes.load(Ordering::Relaxed);
        let left = share.saturating_sub(granted.saturating_sub(before));
        let now = if has_tunnels { (left / OF_WHAT_IS_LEFT).clamp(LEAST, self.most) } else { 0 };
        *granted = granted.saturating_sub(before) + now;
        self.bytes.store(now, Ordering::Relaxed);
        now.max(LEAST)
    }

    /// What each of many connections has in the end: those who come in a crowd have less at first.
    pub(super) fn of_many(most: usize) -> usize {
        const MANY: usize = 64;
        (buffers::limit().map_or(UNLIMITED, |limit| limit / SHARE) / MANY).min(most)
    }

    /// What there is for one more connection.
    pub(super) fn next(most: usize) -> usize {
        Grant::new(most).renew(true)
    }

    /// What it is.
    #[cfg(feature = "quic")]
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed).max(LEAST)
    }
}

#[cfg(feature = "server")]
impl Drop for Grant {
    fn drop(&mut self) {
        self.renew(false);
    }
}

/// What a connection of a client may hold each way, which is no more than this.
pub(super) fn of_client(most: usize) -> usize {
    /// Where little may be buffered.
    const LEAST: usize = 512 * 1024;
    buffers::limit().map_or(most, |limit| (limit / OF_WHAT_IS_LEFT).clamp(LEAST.min(most), most))
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
        let grants: Vec<_> = std::iter::repeat_with(|| Grant::new(16 * MIB)).take(200).collect();
        let has: Vec<_> = grants.iter().map(|grant| grant.renew(true)).collect();
        assert_eq!((has[0], has[199]), (2 * MIB, LEAST));
        assert!(has.iter().sum::<usize>() <= 32 * MIB + 200 * LEAST && has.is_sorted_by(|a, b| a >= b));
        // Who comes last has its part as soon as others have no tunnels any more; those who have none hold nothing.
        for grant in &grants[..199] {
            assert_eq!(grant.renew(false), LEAST);
        }
        assert_eq!((grants[199].renew(true), granted()), (2 * MIB, 2 * MIB));
        drop(grants);
        assert_eq!(granted(), 0);
    }
}
