//! Where the messages of HTTP/1.1 begin and end on a connection that somebody else speaks on.
//!
//! Source: RFC 9112 (section 6 for bodies, 7 for chunks, 9.3 and 9.6 for connections), read strictly:
//! what two servers could read in two ways is [`FramingError`]. Whoever follows a connection acts on what it
//! finds, so a wrong guess would be a way to smuggle requests; no guess is made.
//!
//! A [`MessageHead`] is read byte by byte and keeps nothing but what it says about its body, so that neither the
//! pieces it comes in nor its length cost anything. What came and was not answered is in [`PendingRequests`].

mod body;
mod head;
#[cfg(test)]
mod tests;

pub use body::MessageBody;
pub use head::MessageHead;

use thiserror::Error;

/// The longest head that is followed, in bytes; the trailers of a chunked body count as one.
pub const MAX_HEAD: usize = 32 * 1024;

/// The most requests that wait for their answers.
pub const MAX_PENDING: usize = 32;

/// Why nobody can say where the next message on a connection begins, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FramingError {
    /// A start line that is not one of HTTP/1.1.
    #[error("no start line of HTTP/1.1")]
    StartLine,
    /// A line with a bare CR or LF, a folded one, or one with a name or value that is none.
    #[error("a malformed header line")]
    Field,
    /// More than [`MAX_HEAD`].
    #[error("a head over {MAX_HEAD} bytes")]
    LongHead,
    /// `Content-Length` that is no number, or is there more than once.
    #[error("a Content-Length that is not one number")]
    Length,
    /// `Transfer-Encoding` that is not exactly `chunked`.
    #[error("a Transfer-Encoding that is not chunked")]
    Encoding,
    /// Both of them.
    #[error("both Content-Length and Transfer-Encoding")]
    Both,
    /// A length on a message that has no body.
    #[error("a length where there is no body")]
    NoBody,
    /// A chunk that is not one.
    #[error("a malformed chunk")]
    Chunk,
    /// A body that ends with its connection.
    #[error("a body until the end of the connection")]
    UntilClose,
    /// The message says that it is the last one.
    #[error("Connection: close")]
    Last,
    /// A tunnel, which has no messages.
    #[error("a CONNECT")]
    Connect,
    /// A change to another protocol.
    #[error("the website switched protocols")]
    Switched,
    /// An answer without a request.
    #[error("an answer that nobody asked for")]
    Unasked,
    /// More than [`MAX_PENDING`] requests without an answer.
    #[error("more than {MAX_PENDING} requests without an answer")]
    TooMany,
    /// An answer to a request whose body waits for a `100`: it may come yet, or not (RFC 9110
    /// section 10.1.1).
    #[error("a body that may or may not come")]
    Expected,
    /// The connection has ended in one direction.
    #[error("the end of a direction")]
    Ended,
}

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
        let body = match (head.is_chunked(), head.length()) {
            (true, Some(_)) => return Err(FramingError::Both),
            (true, None) => MessageBody::chunked(),
            (false, length) => MessageBody::Sized(length.unwrap_or(0)),
        };
        if head.closes() {
            return Err(FramingError::Last);
        }
        Ok(RequestFraming { is_head: head.is_head(), waits: head.expects() && !body.is_over(), body })
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
        let (chunked, length) = (head.is_chunked(), head.length());
        if chunked && length.is_some() {
            return Err(FramingError::Both);
        }
        let status = head.status();
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
        if head.closes() {
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
