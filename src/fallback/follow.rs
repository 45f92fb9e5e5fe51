//! A visitor's requests and the website's answers, followed on their way through.
//!
//! Browsers, and proxies that pool their upstream connections, send several requests on one connection,
//! and one that is for us may be any of them. So the relay to the website looks at where messages begin
//! and end ([`framing`](crate::wire::http::framing)) and touches nothing. The bytes pass as they come,
//! but for those of a head that may yet turn out to be a client's: they are held back until that is
//! known, or for [`HOLD`]. When it is, and the website has answered all that was asked before it, the
//! relay gives the visitor back.
//!
//! Whatever is unclear makes the connection the website's for good. Nothing is looked at from there on,
//! and what was held back goes on its way: it is as if we were not there.

mod answers;
mod requests;
#[cfg(test)]
mod tests;

pub use answers::Answers;
pub use requests::Requests;

use crate::detect::Rules;
use crate::net::budget::Budget;
use crate::wire::http::framing::{FramingError, MessageBody, MessageHead, PendingRequests};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// How long the beginning of a head that may be a client's is held back. A client's head comes in one go,
/// or nearly so; whoever takes longer is a visitor.
pub const HOLD: Duration = Duration::from_secs(1);

/// The most bytes that are held back.
pub const MAX_HELD: usize = 64 * 1024;

/// What both directions know of one another.
#[derive(Debug, Default)]
pub struct Talk {
    asked: Mutex<PendingRequests>,
    unclear: OnceLock<FramingError>,
}

impl Talk {
    /// Why the connection is the website's for good, if it is.
    pub fn unclear(&self) -> Option<FramingError> {
        self.unclear.get().copied()
    }

    /// The connection is the website's for good. The first reason counts.
    fn give_up(&self, why: FramingError) {
        let _ = self.unclear.set(why);
    }

    fn asked(&self) -> MutexGuard<'_, PendingRequests> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The two directions of a visitor's connection to a website, and what they know. `decided` says that the
/// head which comes first is the website's in any case.
pub fn directions<'r>(
    rules: &'r Rules,
    undecided: &'r Budget,
    decided: bool,
) -> (Requests<'r>, Answers, Arc<Talk>) {
    let talk = Arc::new(Talk::default());
    (
        Requests::new(rules, undecided.share(), Arc::clone(&talk), decided),
        Answers::new(Arc::clone(&talk)),
        talk,
    )
}

/// The message that comes.
#[derive(Debug)]
enum Message {
    Head(MessageHead),
    Body(MessageBody),
}

impl Message {
    /// Bytes of it that need not be looked at.
    fn untouched(&self) -> u64 {
        match self {
            Message::Head(_) => 0,
            Message::Body(body) => body.passthrough_len(),
        }
    }
}
