//! Whether the way to a server works, as far as can be known: nobody is asked.

use crate::relay::unanswered_attempts;
use crate::transport::h2::NoteSaid;
use crate::transport::question::Question;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;

/// What was said to a server was sent again so often in vain: it is dialled anew for the next tunnel. (The connection
/// ends only after the kernel's time-out; it may yet be heard of.)
const ATTEMPTS: u8 = 3;

/// What is known of a connection.
#[derive(Debug, Clone)]
pub struct Way {
    /// Once more, to ask the kernel how it fares. (Nothing is known where the system does not give it a second time.)
    tcp: Option<Arc<TcpStream>>,
    heard: Arc<Traffic>,
}

/// What was said, and what has come.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    question: Question,
    /// So many bytes, as far as a number of the machine goes: it begins again then.
    received: AtomicUsize,
}

impl NoteSaid for Traffic {
    fn note_said(&self) {
        self.question.ask(|| self.received.load(Ordering::Relaxed) as u64);
    }
}

impl Traffic {
    /// So many bytes have come.
    pub(super) fn note_received(&self, len: usize) {
        self.received.fetch_add(len, Ordering::Relaxed);
    }
}

impl Way {
    /// That of this connection.
    pub(super) fn of(tcp: &TcpStream) -> Way {
        let again = || {
            let again = socket2::SockRef::from(tcp).try_clone().ok()?;
            TcpStream::from_std(again.into()).ok().map(Arc::new)
        };
        Way { tcp: again(), heard: Arc::default() }
    }

    /// The address at its other end.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.tcp.as_ref()?.peer_addr().ok()
    }

    /// What passes on it.
    pub(super) fn traffic(&self) -> &Arc<Traffic> {
        &self.heard
    }

    /// Whether the server can be thought to be there: the kernel of its end acknowledges, and somebody behind that has
    /// something to say.
    pub fn answers(&self) -> bool {
        let attempts = self.tcp.as_ref().and_then(|tcp| unanswered_attempts(tcp));
        attempts.is_none_or(|attempts| attempts < ATTEMPTS)
            && self.heard.question.is_in_time(|| self.heard.received.load(Ordering::Relaxed) as u64)
    }
}
