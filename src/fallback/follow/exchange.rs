//! What both directions need to know.

use crate::wire::http::framing::{FramingError, MessageBody, MessageHead, PendingRequests};

/// What is known from both directions.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    pub(super) pending: PendingRequests,
    /// Why the connection is the website's for good, if it is.
    pub(super) unclear: Option<FramingError>,
}

impl Exchange {
    /// The connection is the website's for good. The first reason counts.
    pub(super) fn give_up(&mut self, why: FramingError) {
        self.unclear.get_or_insert(why);
    }

    pub(super) fn is_clear(&self) -> bool {
        self.unclear.is_none()
    }
}

/// The message that comes.
#[derive(Debug)]
pub(super) enum Message {
    Head(MessageHead),
    Body(MessageBody),
}

impl Message {
    /// Bytes of it that need not be looked at.
    pub(super) fn passthrough_len(&self) -> u64 {
        match self {
            Message::Head(_) => 0,
            Message::Body(body) => body.passthrough_len(),
        }
    }
}
