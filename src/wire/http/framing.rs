//! Where the messages of HTTP/1.1 begin and end on a connection between two others.
//!
//! Source: RFC 9112 (section 6 for bodies, 7 for chunks, 9.3 and 9.6 for connections), read strictly:
//! what two servers could read in two ways is [`FramingError`]. We act on what is found, so a wrong guess
//! would be a way to smuggle requests; no guess is made.
//!
//! A [`MessageHead`] is read byte by byte and keeps nothing but what it says about its body, so that neither the
//! pieces it comes in nor its length cost anything. What came and was not answered is in [`PendingRequests`].

mod body;
mod head;
mod pending;
#[cfg(test)]
mod tests;

pub use body::MessageBody;
pub use head::MessageHead;
pub use pending::{PendingRequests, RequestFraming};

use thiserror::Error;

/// The longest head that is followed, in bytes; the trailers of a chunked body count as one.
const MAX_HEAD: usize = 32 * 1024;

/// The most requests that wait for their answers.
const MAX_PENDING: usize = 32;

/// Why it is not clear where the next message on a connection begins, or why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FramingError {
    /// A start line that is not one of HTTP/1.1.
    #[error("no start line of HTTP/1.1")]
    StartLine,
    /// A line with a bare CR or LF, a folded one, or one with a name or value that is none.
    #[error("a malformed header line")]
    Field,
    /// More than `MAX_HEAD`.
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
    /// More than `MAX_PENDING` requests without an answer.
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
