//! Whether the way to a server works, as far as the kernel knows: nobody is asked.

use crate::relay::unanswered_attempts;
use std::sync::Arc;
use tokio::net::TcpStream;

/// What was said to a server was sent again so often in vain: it is dialled anew for the next tunnel. (The connection
/// ends only after the kernel's time-out; it may yet be heard of.)
const ATTEMPTS: u8 = 3;

/// A connection once more, to ask the kernel how it fares.
#[derive(Debug, Clone)]
pub struct Way(Option<Arc<TcpStream>>);

impl Way {
    /// That of this connection. (Nothing is known where the system does not give it a second time.)
    pub(super) fn of(tcp: &TcpStream) -> Way {
        let again = || {
            let again = socket2::SockRef::from(tcp).try_clone().ok()?;
            TcpStream::from_std(again.into()).ok().map(Arc::new)
        };
        Way(again())
    }

    /// Whether the server can be thought to be there.
    pub fn answers(&self) -> bool {
        self.0.as_ref().and_then(|tcp| unanswered_attempts(tcp)).is_none_or(|attempts| attempts < ATTEMPTS)
    }
}
