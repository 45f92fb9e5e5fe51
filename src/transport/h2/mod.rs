//! HTTP/2 (RFC 9113): the connection is the library's (h2), and a stream of it is one that a relay can take.
//!
//! On a server, a connection may have begun as the website's: what a client says first, and the settings with which it
//! is answered, are the website's own, and only a first request for a tunnel has the connection served here from then
//! on ([`takeover`]).

#[cfg(feature = "server")]
mod body;
mod request;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
mod spoken;
mod stream;
#[cfg(feature = "server")]
mod taken_over;
#[cfg(feature = "server")]
pub mod takeover;

#[cfg(feature = "server")]
pub(crate) use body::copy_body;
pub(crate) use request::is_grpc_type;
#[cfg(feature = "server")]
pub(crate) use request::{Asked, Extended, Requests};
#[cfg(feature = "server")]
pub(crate) use server::{Arrived, Beginning, H2Connection};
pub(crate) use stream::{Answered, EndOf, H2Stream, NoteSaid, Said};
#[cfg(feature = "server")]
pub use taken_over::Taken;

use crate::runtime::buffers;
use std::io;

/// The most that a stream may have written that is not sent, in bytes.
pub(super) const SEND_BUFFER: usize = 256 * 1024;

/// What one may have now: there may be a thousand for whom the peer has no room.
pub(crate) fn send_buffer() -> usize {
    const STREAMS: usize = 1024;
    const LEAST: usize = 16 * 1024;
    buffers::limit().map_or(SEND_BUFFER, |limit| (limit / STREAMS).clamp(LEAST, SEND_BUFFER))
}

/// So many streams have room in the window of their connection, so that whoever does not read holds up no others: no
/// more tunnels of ours share a connection.
pub(super) const STREAMS: usize = 8;

/// The most that a stream may bring which is not read yet: 100 ms of 2.6 Gbit/s, of which half is enough to be on its way,
/// since the library says that more is read when half of it is.
const MOST_OF_STREAM: usize = 32 * 1024 * 1024;

/// What a connection may hold that is not read yet at the most.
pub(super) const MOST: usize = STREAMS * MOST_OF_STREAM;

/// The window of streams in a connection that may hold so much.
pub(super) fn stream_window(connection: usize) -> u32 {
    /// What every stream has at the beginning (RFC 9113 section 6.9.2).
    const LEAST: usize = 64 * 1024;
    to_u32((connection / STREAMS).clamp(LEAST, MOST_OF_STREAM))
}

pub(super) fn to_u32(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// Whether a request is known not to have been looked at (RFC 9113 section 8.7).
pub(crate) fn is_untouched(error: &h2::Error) -> bool {
    error.is_remote()
        && (error.is_go_away() || (error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM)))
}

/// What has happened, where the library's words for it say the contrary.
pub(crate) fn described(error: &h2::Error) -> String {
    match error.reason() {
        Some(h2::Reason::REFUSED_STREAM) if error.is_remote() && error.is_reset() => {
            "the server, or a proxy in front, has refused the stream: is `serviceName` the server's?"
                .to_owned()
        }
        Some(reason) if error.is_remote() && error.is_reset() => {
            format!("the server, or a proxy in front, has broken off the stream ({})", reason_name(reason))
        }
        Some(reason) if error.is_remote() && error.is_go_away() => {
            format!("the server, or a proxy in front, ends the connection ({})", reason_name(reason))
        }
        _ => error.to_string(),
    }
}

fn reason_name(reason: h2::Reason) -> String {
    match reason {
        h2::Reason::NO_ERROR => "NO_ERROR".to_owned(),
        reason => format!("{reason:?}"),
    }
}

/// The library's error as one of a stream.
pub(super) fn io_error(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionReset.into());
    }
    let kind = if error.is_reset() || error.is_go_away() {
        io::ErrorKind::ConnectionReset
    } else {
        io::ErrorKind::InvalidData
    };
    io::Error::new(kind, error)
}
