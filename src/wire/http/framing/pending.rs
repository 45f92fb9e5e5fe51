//! The requests on a connection, and what follows their heads and the heads of their answers.

use super::{FramingError, MAX_PENDING, MessageBody, MessageHead};

/// What a request says.
#[derive(Debug, Clone)]
pub struct RequestFraming {
    /// The answer has no body, whatever it says.
    is_head: bool,
    /// The body is not sent before a `100`.
    waits: bool,
    /// What follows the head.
    pub body: MessageBody,
}

impl RequestFraming {
    /// Reads a request's head that has ended.
    ///
    /// # Errors
    ///
    /// It is not clear what follows, or this is the last request.
    pub fn of(head: &MessageHead) -> Result<RequestFraming, FramingError> {
        let body = match (head.chunked, head.length) {
            (true, Some(_)) => return Err(FramingError::Both),
            (true, None) => MessageBody::chunked(),
            (false, length) => MessageBody::Sized(length.unwrap_or(0)),
        };
        if head.close {
            return Err(FramingError::Last);
        }
        Ok(RequestFraming { is_head: head.is_head, waits: head.expects && !body.is_over(), body })
    }
}

/// The requests on a connection whose answers are not complete.
#[derive(Debug, Default)]
pub struct PendingRequests {
    count: usize,
    /// Bit `n`: the request `n` places behind the one that is answered next is a `HEAD`.
    heads: u32,
    /// The body of the last request waits for a `100`, as far as is known.
    waiting: bool,
}

impl PendingRequests {
    /// Whether all that was asked is answered.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A request has come.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn ask(&mut self, request: &RequestFraming) -> Result<(), FramingError> {
        if self.count >= MAX_PENDING {
            return Err(FramingError::TooMany);
        }
        self.heads |= u32::from(request.is_head) << self.count;
        self.count += 1;
        self.waiting = request.waits;
        Ok(())
    }

    /// The body of the last request comes, whether it waited or not.
    pub fn body_comes(&mut self) {
        self.waiting = false;
    }

    /// What follows an answer's head that has ended. `None` after an interim answer: the answer is still
    /// to come.
    ///
    /// # Errors
    ///
    /// It is not clear, or nothing does.
    pub fn answer(&mut self, head: &MessageHead) -> Result<Option<MessageBody>, FramingError> {
        if self.is_empty() {
            return Err(FramingError::Unasked);
        }
        let MessageHead { status, chunked, length, .. } = *head;
        if chunked && length.is_some() {
            return Err(FramingError::Both);
        }
        let has_none = matches!(status, 100..200 | 204 | 304) || self.heads & 1 == 1;
        // RFC 9110 section 8.6 and RFC 9112 section 6.1: these have no length either.
        if matches!(status, 100..200 | 204) && (chunked || length.is_some_and(|length| length > 0)) {
            return Err(FramingError::NoBody);
        }
        if status == 101 {
            return Err(FramingError::Switched);
        }
        if status < 200 {
            self.waiting &= status != 100 || self.count > 1;
            return Ok(None);
        }
        if self.waiting && self.count == 1 {
            return Err(FramingError::Expected);
        }
        if head.close {
            return Err(FramingError::Last);
        }
        match (has_none, chunked, length) {
            (true, _, _) => Ok(Some(MessageBody::Sized(0))),
            (false, true, _) => Ok(Some(MessageBody::chunked())),
            (false, false, Some(length)) => Ok(Some(MessageBody::Sized(length))),
            (false, false, None) => Err(FramingError::UntilClose),
        }
    }

    /// An answer is complete.
    pub fn answered(&mut self) {
        self.count = self.count.saturating_sub(1);
        self.heads >>= 1;
    }
}
