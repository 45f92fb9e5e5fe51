//! Where the messages of HTTP/1.1 begin and end on a connection between two others.
//!
//! Source: RFC 9112 (section 6 for bodies, 7 for chunks, 9.3 and 9.6 for connections), read strictly:
//! what two servers could read in two ways is [`FramingError`]. We act on what is found, so a wrong guess
//! would be a way to smuggle requests; no guess is made.
//!
//! A [`MessageHead`] is read byte by byte and keeps nothing but what it says about its body, so that neither the
//! pieces it comes in nor its length cost anything. What came and was not answered is in [`PendingRequests`].

mod body;
mod error;
mod head;
mod pending;
#[cfg(test)]
mod tests;

pub use body::MessageBody;
pub use error::FramingError;
pub use head::MessageHead;
pub use pending::{PendingRequests, RequestFraming};
