//! Limits for clients: who has a place, and for how long.

use super::Server;
use crate::detect::{Detection, detect};
use crate::net::conn_info::ConnInfo;
use crate::net::limits::{Arrival, Refused, Slot};

impl Server {
    /// Counts who comes, and has a client wait for a place where tunnels are limited. One that gets none is a visitor:
    /// whoever watches or asks sees the website, as from every other server that takes no such request.
    pub(super) async fn admit(
        &self,
        arrival: &mut Arrival,
        info: &ConnInfo,
        read_buf: &[u8],
        seen: &mut Detection,
    ) -> Result<Option<Slot>, Refused> {
        let Some(limits) = &self.limits else { return Ok(None) };
        limits.note_arrival(arrival, info);
        if !matches!(seen, Detection::Client(_)) {
            return Ok(None);
        }
        let admitted = limits.admit(arrival, info, read_buf.len(), self.fallback.undecided()).await;
        if admitted.is_err() {
            *seen = detect(read_buf, &self.config.rules.of_visitors());
        }
        admitted.map(Some)
    }
}
