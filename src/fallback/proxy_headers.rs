//! PROXY headers that are not taken: whoever comes through the load balancer that sends them is a visitor, and nobody
//! else can tell why.

use crate::net::conn_info::ConnInfo;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tracing::{debug, warn};

/// The first is told at once, the others are counted until [`ProxyHeaders::tell`].
#[derive(Debug, Default)]
pub(super) struct ProxyHeaders(Mutex<Option<More>>);

/// What came after the last that was told.
#[derive(Debug)]
struct More {
    count: u64,
    /// Where the last came from: a stranger's may have been the first, and a load balancer sends many.
    last: IpAddr,
}

impl ProxyHeaders {
    /// One came from the other end of this connection; from addresses in `trusted` they may be `taken`.
    pub(super) fn count(&self, peer: &ConnInfo, taken: bool) {
        debug!(%peer, "a PROXY header came that is not taken");
        let address = peer.visitor.ip();
        let mut more = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = more.is_none();
        let count = more.as_ref().map_or(0, |more| more.count + 1);
        *more = Some(More { count, last: address });
        drop(more);
        if is_first && taken {
            warn!(%peer, "a PROXY header came from {address}, which the option `trusted` does not name");
        } else if is_first {
            warn!(
                %peer,
                "a PROXY header came from {address}, and this server takes none: `proxy-protocol=in` with \
                 `trusted={address}` takes it"
            );
        }
    }

    /// Tells what was counted within a period. If nothing came, the next is told at once again.
    pub(super) fn tell(&self, period: Duration) {
        let mut more = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(More { count: count @ 1.., last }) = more.take() else { return };
        *more = Some(More { count: 0, last });
        drop(more);
        let seconds = period.as_secs();
        match count {
            1 => warn!("1 more PROXY header that is not taken came within {seconds} s, from {last}"),
            _ => warn!(
                "{count} more PROXY headers that are not taken came within {seconds} s, the last from {last}"
            ),
        }
    }
}
